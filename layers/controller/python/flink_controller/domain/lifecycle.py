"""Where a job is in its life: derived from the status on every read, never stored as a decision."""

from datetime import datetime
from enum import StrEnum

from flink_controller.domain.plan import cut, is_watched, living, living_of, running_artifacts, target_of, wants_running
from flink_controller.domain.status import (
    AttemptPhase,
    Condition,
    DesiredState,
    JobStatus,
    JobType,
    OperationKind,
    StatusSummary,
)
from flink_controller.domain.trust import DISTRUST_REASONS


class Lifecycle(StrEnum):
    """The states that people and programs see."""

    CREATED = "CREATED"
    WAITING = "WAITING"
    DEPLOYING = "DEPLOYING"
    DEPLOYED = "DEPLOYED"
    STABLE = "STABLE"
    UPGRADING = "UPGRADING"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    SUSPENDING = "SUSPENDING"
    SUSPENDED = "SUSPENDED"
    FAILED = "FAILED"
    COMPLETED = "COMPLETED"
    DELETING = "DELETING"
    DELETED = "DELETED"


_REFUSALS = frozenset(
    {
        "ArtifactAltered",
        "BucketNotVersioned",
        "DigestDenied",
        "EntryClassMissing",
        "KeyNotAllowed",
        "KeyRevoked",
        "KeyUnknown",
        "NotAJar",
        "NotModules",
        "ScriptRefused",
        "SignatureInvalid",
        "StatementInvalid",
        "StatementRequired",
    }
)
"""Verdicts on an artifact that say FAILED while nothing was ever submitted; every other wait says WAITING."""


MESSAGE_IN_LISTS = 160
"""Characters of a message in a summary: the index is read whole each minute, and `describe` has the rest."""
_HOLDING = frozenset({"QuotaExceeded", "Quarantine", "ClockBehind"})
"""Waits that keep a batch job from its next run."""


def lifecycle(status: JobStatus) -> Lifecycle:
    """Derive the lifecycle of a status."""
    alive = next(iter(living_of(status)), None)
    match status.desired_state:
        case DesiredState.DELETED | DesiredState.ABANDONED:
            is_gone = (alive is None and not status.runs.active) or status.halt_reason == "Abandoned"
            return Lifecycle.DELETED if is_gone and _is_at_rest(status) else Lifecycle.DELETING
        case DesiredState.SUSPENDED:
            if status.is_completed:
                return Lifecycle.COMPLETED
            return Lifecycle.SUSPENDED if alive is None and not status.runs.active else Lifecycle.SUSPENDING
        case DesiredState.RUNNING:
            return _running(status)


def _is_at_rest(status: JobStatus) -> bool:
    """Whether what the last attempt left behind is settled too."""
    attempt = status.attempt
    if attempt is None or status.halt_reason == "Abandoned":
        return True
    return status.handover is not None and status.handover.of_attempt == attempt.number


def _running(status: JobStatus) -> Lifecycle:
    if status.is_completed:
        return Lifecycle.COMPLETED
    if status.halted is not None:
        return Lifecycle.FAILED
    if status.desired is None:
        return _before_first(status)
    if status.job_type is JobType.BATCH:
        return _batch(status)
    attempt, target = status.attempt, target_of(status)
    is_back = status.refused is not None and status.refused.number == status.desired.number
    if attempt is None:
        return _before_first(status) if status.waiting is not None else Lifecycle.DEPLOYING
    if status.waiting is not None and status.waiting[0] == "Quarantine":
        return Lifecycle.WAITING
    at_target = target is not None and attempt.revision == target.number and attempt.phase is AttemptPhase.LIVE
    if at_target and (status.operation is None or status.operation.kind is OperationKind.SAVEPOINT):
        if not attempt.is_proven:
            return Lifecycle.ROLLING_BACK if is_back else Lifecycle.DEPLOYED
        return Lifecycle.ROLLED_BACK if is_back else Lifecycle.STABLE
    if is_back:
        return Lifecycle.ROLLING_BACK
    if status.stable is not None and target is not None and status.stable.number != target.number:
        return Lifecycle.UPGRADING
    return Lifecycle.DEPLOYING


def _batch(status: JobStatus) -> Lifecycle:
    """Between runs a batch job is STABLE; what it waits for before it could ever run is told."""
    if status.waiting is not None and (status.waiting[0] in _HOLDING or not status.runs.started):
        return _before_first(status)
    if status.runs.active and all(run.attempt.phase is AttemptPhase.SUBMITTING for run in status.runs.active):
        return Lifecycle.DEPLOYING
    return Lifecycle.STABLE


def _before_first(status: JobStatus) -> Lifecycle:
    if status.rejected_spec_hash is not None:
        return Lifecycle.FAILED
    waits = status.waiting[0] if status.waiting is not None else ""
    if waits in _REFUSALS:
        return Lifecycle.FAILED
    if waits:
        return Lifecycle.WAITING
    return Lifecycle.CREATED


def _checkpoint_window(status: JobStatus) -> int | None:
    attempt, known = status.attempt, status.checkpointing
    if attempt is not None and attempt.is_checkpointed is False:
        return 0
    return None if known is None or attempt is None or known.of_attempt != attempt.number else known.window_s


def summarise(status: JobStatus) -> StatusSummary:
    """Give what a sweep compares with the cluster's list."""
    attempt, alive = status.attempt, living(status)
    reachable, ready = status.condition("ClusterReachable"), status.condition("Ready")
    verified, running = status.condition("ArtifactVerified"), running_artifacts(status)
    return StatusSummary(
        job_id=status.job_id,
        job_type=status.job_type,
        cluster=next((found.cluster for found in living_of(status)), status.cluster),
        lifecycle=lifecycle(status).value,
        flink_job_id=None if attempt is None else attempt.flink_job_id,
        run_ids=tuple(run.attempt.flink_job_id for run in status.runs.active),
        live_run_ids=tuple(run.attempt.flink_job_id for run in status.runs.active if run.attempt.phase is AttemptPhase.LIVE),
        is_expected_live=alive is not None and alive.phase is AttemptPhase.LIVE and wants_running(status),
        is_watched=is_watched(status),
        has_symptom=bool(status.symptoms),
        live_at=None if alive is None else alive.live_at,
        modified_ms=None if alive is None else alive.modified_ms,
        checkpoint_window_s=_checkpoint_window(status),
        is_flagged_unreachable=reachable is not None and reachable.status == "False",
        observed_spec_hash=status.observed_spec_hash,
        artifact_version=(
            None if status.desired is None or status.rejected_spec_hash else status.desired.artifact.version_id
        ),
        artifact_sha256=None if alive is None or status.running is None else status.running.artifact.sha256,
        run_digests=tuple(
            dict.fromkeys(run.revision.artifact.sha256 for run in status.runs.active if not run.attempt.is_dead)
        ),
        signers=tuple(dict.fromkeys(signer for artifact in running for signer in artifact.signers)),
        is_flagged_distrusted=verified is not None and verified.reason in DISTRUST_REASONS,
        is_flagged_disallowed=status.is_disallowed,
        is_counted=status.reserved is not None,
        next_look=status.next_look,
        desired_revision=None if status.desired is None else status.desired.number,
        running_revision=None if alive is None else alive.revision,
        reason="" if ready is None else ready.reason,
        message="" if ready is None or ready.status == "True" else cut(ready.message, MESSAGE_IN_LISTS),
        unready_since=_unready_since(status, ready),
        ready_since=ready.last_transition_time if ready is not None and ready.status == "True" else None,
        alerts=tuple(incident.alert for incident in status.incidents),
        updated_at=status.updated_at,
    )


def _unready_since(status: JobStatus, ready: Condition | None) -> datetime | None:
    if ready is None:
        return status.created_at
    return None if ready.status == "True" else ready.last_transition_time


__all__ = ["Lifecycle", "lifecycle", "summarise"]
