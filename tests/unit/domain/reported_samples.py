"""Statuses in every state that reports, goals and previews tell apart."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flink_controller.domain.artifact import Artifact
from flink_controller.domain.spec import ValidSpec, read_spec
from flink_controller.domain.status import (
    Attempt,
    AttemptPhase,
    Condition,
    EndState,
    JobStatus,
    Operation,
    OperationKind,
    Revision,
    RevisionRef,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ARTIFACT = Artifact(bucket="b", key="artifacts/etl.jar", version_id="v1", sha256="a" * 64, key_id="team", size_bytes=1)
ITEM: dict[str, Any] = {"job_id": "etl", "job_type": "stream", "artifact_path": "artifacts/etl.jar"}


def view(**fields: Any) -> ValidSpec:
    """Read the sample spec with some fields changed."""
    found = read_spec("etl", {**ITEM, **fields})
    assert isinstance(found, ValidSpec), found
    return found


def ref(number: int, spec: ValidSpec | None = None, artifact: Artifact = ARTIFACT) -> RevisionRef:
    """Give a revision of a spec."""
    spec = spec or view()
    return RevisionRef(
        number=number,
        cluster=spec.spec.cluster,
        spec_hash=spec.revision_hash,
        fingerprints=spec.fingerprints,
        artifact=artifact,
    )


def attempt(number: int = 1, revision: int = 1, **fields: Any) -> Attempt:
    """Give a proven attempt."""
    given: dict[str, Any] = {
        "number": number,
        "flink_job_id": f"{number:032x}",
        "revision": revision,
        "cluster": "default",
        "restore_from": None,
        "checkpoint_root": "s3://state/checkpoints",
        "jar_id": "jar",
        "incarnation": "one",
        "phase": AttemptPhase.LIVE,
        "created_at": NOW,
        "submitted_at": NOW,
        "flink_state": "RUNNING",
        "settled_at": NOW,
        "is_checkpointed": True,
        "has_completed_checkpoint": True,
        "is_proven": True,
    }
    return Attempt(**{**given, **fields})


def dead(end: EndState = EndState.FINISHED, **fields: Any) -> Attempt:
    """Give an attempt that has ended."""
    return attempt(phase=AttemptPhase.DEAD, end=end, flink_state=end.value, dead_at=NOW + timedelta(minutes=1), **fields)


def status(**fields: Any) -> JobStatus:
    """Give the status of a job whose revision 1 is stable."""
    spec = view()
    given: dict[str, Any] = {
        "job_id": "etl",
        "cluster": "default",
        "created_at": NOW,
        "updated_at": NOW,
        "attempt_counter": 1,
        "revision_counter": 1,
        "observed_spec_hash": spec.spec_hash,
        "desired": ref(1),
        "running": ref(1),
        "stable": ref(1),
        "attempt": attempt(),
    }
    return JobStatus(**{**given, **fields})


def condition(type_: str, status_: str, reason: str = "Reason", message: str = "") -> Condition:
    """Give a condition."""
    return Condition(type=type_, status=status_, reason=reason, message=message, last_transition_time=NOW)


def operation(kind: OperationKind, purpose: str = "upgrade") -> Operation:
    """Give an operation under way."""
    return Operation(kind=kind, sequence=1, flink_job_id=f"{1:032x}", purpose=purpose, started_at=NOW, requested_at=NOW)


def revision(number: int, outcome: str = "Pending", reason: str = "") -> Revision:
    """Give a recorded revision."""
    return Revision(
        job_id="etl",
        number=number,
        created_at=NOW,
        spec_hash="f" * 64,
        spec=ITEM,
        artifact=ARTIFACT,
        outcome=outcome,
        reason=reason,
    )
