"""The state table's stream and its items, read as what leaves the controller."""

from collections.abc import Sequence
from typing import Final

from flink_controller.adapters.dynamodb_items import Item, parsed, parsed_text
from flink_controller.domain.announcements import ArtifactEvent, JobEvent, of_artifact, of_job
from flink_controller.domain.artifact import ArtifactVersion, Verdict
from flink_controller.domain.dead_letter import Span
from flink_controller.domain.status import Event

JOB_KEYS: Final = ("JOB#", "EVENT#")
"""How the keys of a job's events begin."""
ARTIFACT_KEYS: Final = ("ARTIFACT#", "VERSION#")
"""How the keys of artifact versions begin."""


def announced(controller_id: str, record: object) -> JobEvent | ArtifactEvent | None:
    """Read a stream record; None for one that is nobody's business.

    Raises:
        ControllerError: the item has a form that this version does not know.
    """
    match record:
        case {
            "eventName": str(change),
            "dynamodb": {
                "Keys": {"pk": {"S": str(partition)}, "sk": {"S": str(sort)}},
                "NewImage": {"document": {"S": str(document)}},
            },
        }:
            if change == "INSERT" and _is_event(partition, sort):
                return of_job(controller_id, partition.removeprefix(JOB_KEYS[0]), parsed_text(Event, document))
            if _is_version(partition, sort):
                return _refused(controller_id, parsed_text(ArtifactVersion, document))
    return None


def recorded(controller_id: str, item: Item, spans: Sequence[Span]) -> JobEvent | ArtifactEvent | None:
    """Read an item of the state table; None for one that tells of nothing in these spans.

    An event that repeated itself has the time of its last repetition, so one after a span counts as well.

    Raises:
        ControllerError: the item has a form that this version does not know.
    """
    partition, sort = item["pk"]["S"], item["sk"]["S"]
    if _is_event(partition, sort):
        event = parsed(Event, item)
        if any(span.since <= event.time and (event.time <= span.until or event.count > 1) for span in spans):
            return of_job(controller_id, partition.removeprefix(JOB_KEYS[0]), event)
    elif _is_version(partition, sort):
        version = parsed(ArtifactVersion, item)
        if any(span.since <= version.decided_at <= span.until for span in spans):
            return _refused(controller_id, version)
    return None


def _is_event(partition: str, sort: str) -> bool:
    return partition.startswith(JOB_KEYS[0]) and sort.startswith(JOB_KEYS[1])


def _is_version(partition: str, sort: str) -> bool:
    return partition.startswith(ARTIFACT_KEYS[0]) and sort.startswith(ARTIFACT_KEYS[1])


def _refused(controller_id: str, version: ArtifactVersion) -> ArtifactEvent | None:
    return of_artifact(controller_id, version) if version.verdict is Verdict.REFUSED else None
