"""The state table's stream, read as what leaves the controller."""

from typing import Final

from flink_controller.adapters.dynamodb_items import parsed_text
from flink_controller.domain.announcements import ArtifactEvent, JobEvent, of_artifact, of_job
from flink_controller.domain.artifact import ArtifactVersion, Verdict
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
            if change == "INSERT" and partition.startswith(JOB_KEYS[0]) and sort.startswith(JOB_KEYS[1]):
                return of_job(controller_id, partition.removeprefix(JOB_KEYS[0]), parsed_text(Event, document))
            if partition.startswith(ARTIFACT_KEYS[0]) and sort.startswith(ARTIFACT_KEYS[1]):
                version = parsed_text(ArtifactVersion, document)
                return of_artifact(controller_id, version) if version.verdict is Verdict.REFUSED else None
    return None
