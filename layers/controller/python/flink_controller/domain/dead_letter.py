"""A message that the controller gave up, as it lies in a queue of failures."""

import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_plus


@dataclass(frozen=True)
class Span:
    """A time from its beginning to its end, both within it."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class DeadLetter:
    """A message that was given up."""

    message_id: str
    receipt: str
    """Deletes the message; of one reading."""
    body: str

    @property
    def job_id(self) -> str | None:
        """The job that a wake-up names; None when it names none."""
        found = self._document().get("job_id")
        return found if isinstance(found, str) and found else None

    @property
    def objects(self) -> tuple[str, ...]:
        """The uploads that an invocation was about, as `bucket/key`."""
        payload = self._document().get("requestPayload")
        records = payload.get("Records") if isinstance(payload, dict) else None
        found = []
        for record in records if isinstance(records, list) else []:
            match record:
                case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
                    found.append(f"{bucket}/{unquote_plus(key)}")
        return tuple(found)

    @property
    def recorded(self) -> Span | None:
        """When the stream records of a batch were written, by AWS's clock in whole seconds; None when it names none."""
        match self._document():
            case {
                "DDBStreamBatchInfo": {
                    "approximateArrivalOfFirstRecord": str(first),
                    "approximateArrivalOfLastRecord": str(last),
                }
            }:
                try:
                    found = Span(datetime.fromisoformat(first), datetime.fromisoformat(last))
                except ValueError:
                    return None
                return None if found.since.tzinfo is None or found.until.tzinfo is None else found
        return None

    def _document(self) -> dict[str, object]:
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
