"""The queue of delayed wake-ups. A message carries a job's name and nothing else."""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.domain.errors import RejectedError, TransientError
from flink_controller.domain.names import shown
from flink_controller.ports import MAX_FOLLOW_UP_DELAY

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

SEND_ACTIONS: Final[frozenset[str]] = frozenset({"sqs:SendMessage"})
"""On the follow-up queue."""
COUNT_ACTIONS: Final[frozenset[str]] = frozenset({"sqs:GetQueueAttributes"})
"""On the follow-up queue."""

_BATCH: Final = 10
"""Messages that SQS takes at once."""
_TRIES: Final = 3
_WAITING: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed")


class SqsFollowUps:
    """`FollowUps` on SQS: `send` is one call, `send_now` one per ten jobs."""

    def __init__(self, client: "ClientSource[SQSClient]", queue_url: str) -> None:
        self._source = client
        self._queue_url = queue_url

    @cached_property
    def _client(self) -> "SQSClient":
        return opened(self._source)

    def send(self, job_id: str, delay: timedelta) -> None:
        """Wake a job after a delay (bounded to what the queue allows). Harmless twice."""
        bounded = min(max(delay, timedelta(0)), MAX_FOLLOW_UP_DELAY)
        with translated(f"send a follow-up for {shown(job_id)}"):
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=_body(job_id),
                # Rounded up: a look before its time finds nothing to do and has to ask again.
                DelaySeconds=math.ceil(bounded.total_seconds()),
            )

    def send_now(self, job_ids: Sequence[str]) -> None:
        """Wake jobs as soon as possible. Harmless twice."""
        for batch in _batches(job_ids):
            self._send_batch(batch)

    def waiting(self) -> int:
        """Count the wake-ups that wait, by one call."""
        with translated("count the follow-ups"):
            found = self._client.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=[*_WAITING])["Attributes"]
        return sum(int(found.get(name, "0")) for name in _WAITING)

    def _send_batch(self, job_ids: Sequence[str]) -> None:
        left: list[Any] = [{"Id": str(index), "MessageBody": _body(job_id)} for index, job_id in enumerate(job_ids)]
        for _ in range(_TRIES):
            with translated("send follow-ups"):
                answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=left)
            failed = {failure["Id"]: failure for failure in answer.get("Failed", ())}
            faulty = [failure for failure in failed.values() if failure["SenderFault"]]
            if faulty:
                raise RejectedError(f"SQS refuses a follow-up: {faulty[0]['Code']}: {faulty[0].get('Message', '')}")
            left = [entry for entry in left if entry["Id"] in failed]
            if not left:
                return
        raise TransientError(f"SQS took {len(job_ids) - len(left)} of {len(job_ids)} follow-ups")


def _batches(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(job_ids), _BATCH):
        yield job_ids[start : start + _BATCH]


def _body(job_id: str) -> str:
    return json.dumps({"job_id": job_id})
