"""The EventBridge bus that programs outside subscribe to."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.domain.announcements import SOURCE, ArtifactEvent, JobEvent
from flink_controller.domain.errors import TransientError

PUT_ACTIONS: Final[frozenset[str]] = frozenset({"events:PutEvents"})
"""On the bus."""
MAX_EVENTS: Final = 10
"""Events that EventBridge takes at once."""


class EventBridgeBus:
    """`EventBus` on EventBridge: one call per ten events."""

    def __init__(self, client: ClientSource[Any], bus_name: str) -> None:
        self._source = client
        self._bus_name = bus_name

    @cached_property
    def _client(self) -> Any:
        return opened(self._source)

    def put(self, events: Sequence[JobEvent | ArtifactEvent]) -> None:
        """Publish events, all or an error: those before the one that was not taken may have been published."""
        for start in range(0, len(events), MAX_EVENTS):
            entries = [self._entry(event) for event in events[start : start + MAX_EVENTS]]
            with translated("publish events"):
                answer = self._client.put_events(Entries=entries)
            if answer["FailedEntryCount"]:
                failed = next(entry for entry in answer["Entries"] if "ErrorCode" in entry)
                raise TransientError(
                    f"EventBridge did not take {answer['FailedEntryCount']} of {len(entries)} events:"
                    f" {failed['ErrorCode']}: {failed.get('ErrorMessage', '')}"
                )

    def _entry(self, event: JobEvent | ArtifactEvent) -> dict[str, Any]:
        return {
            "EventBusName": self._bus_name,
            "Source": SOURCE,
            "DetailType": event.detail_type,
            "Time": event.time,
            "Detail": event.model_dump_json(),
        }
