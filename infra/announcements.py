"""Write what programs outside build on: the schema of what the bus carries, and an example of each kind.

`python -m infra.announcements` writes the files anew.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from flink_controller.domain.alerts import MEANINGS, Alert
from flink_controller.domain.announcements import SOURCE, Announcement, ArtifactEvent, JobEvent, of_artifact, of_job
from flink_controller.domain.artifact import ArtifactVersion, Verdict
from flink_controller.domain.status import Event, Incident

ROOT: Final = Path(__file__).resolve().parents[1]
SCHEMA: Final = "docs/events.schema.json"
EXAMPLES: Final = "events/published"
_AT: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_CONTROLLER: Final = "flink-job-controller-prod"
_MESSAGES: Final[Mapping[str, str]] = {
    "JobFailed": "java.lang.IllegalStateException: poisoned record at offset 4711",
    "RollbackStarted": "revision 8 → 7: java.lang.NoSuchMethodError: com.example.Etl.parse",
    "RunEnded": "2026-03-01T02:00:00Z Failed: JobFailed: java.io.IOException: disk full",
    "RunNotStarted": "2026-03-01T02:00:00Z Missed: the cluster did not answer in time",
    "SavepointFailed": "the savepoint expired before completing",
    "Stuck": "WAITING since 2026-03-01 11:40:00 UTC; ArtifactMissing: artifacts/etl.jar was not uploaded yet",
}


def schema() -> dict[str, Any]:
    """Give the JSON schema of the `detail` of every event on the bus."""
    made = TypeAdapter(Announcement).json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events of the Flink Job Controller",
        "description": f"The `detail` of every event with source {SOURCE}.",
        **made,
    }


def examples() -> dict[str, JobEvent | ArtifactEvent]:
    """Give an example of each kind by its file's name: a transition, a refusal, each incident's beginning, and an end."""
    found: dict[str, JobEvent | ArtifactEvent] = {
        "transition": of_job(_CONTROLLER, "data/etl", _event("Stable", "Normal", "revision 8 is healthy")),
        "artifact-refused": of_artifact(_CONTROLLER, _REFUSED),
        "recovery": of_job(
            _CONTROLLER,
            "data/etl",
            _event("Stable", "Normal", "revision 8 is healthy", closes=(Incident(alert=Alert.JOB_FAILED.value),)),
        ),
    }
    for reason, meaning in sorted(MEANINGS.items()):
        if meaning.opens is not None:
            event = _event(
                reason,
                "Warning",
                _MESSAGES.get(reason, "the cause, in one bounded line"),
                opens=Incident(alert=meaning.opens.value, is_told=True),
            )
            found[f"{meaning.opens}-opened"] = of_job(_CONTROLLER, "data/etl", event)
    return found


def files() -> dict[str, str]:
    """Give every file that this module writes, by its path in the repository."""
    made = {SCHEMA: _text(schema())}
    for name, event in examples().items():
        made[f"{EXAMPLES}/{name}.json"] = _text(
            {"source": SOURCE, "detail-type": event.detail_type, "detail": event.model_dump(mode="json")}
        )
    return made


def _event(reason: str, type_: str, message: str, **incidents: Any) -> Event:
    return Event(sequence=42, time=_AT, type=type_, reason=reason, message=message, revision=8, attempt=12, **incidents)


_REFUSED: Final = ArtifactVersion(
    bucket="my-artifacts",
    key="data/etl.jar",
    version_id="3sL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY",
    uploaded_at=_AT,
    size_bytes=1_048_576,
    decided_at=_AT,
    verdict=Verdict.REFUSED,
    reason="SignatureInvalid",
    message="data/etl.jar.sig is no signature of these bytes by a registered key",
)


def _text(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the files anew, and remove examples of what there is no more."""
    folder = ROOT / EXAMPLES
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, text in files().items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
