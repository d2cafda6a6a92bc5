"""When is a revision proven, and when has it failed its proof?"""

from datetime import datetime, timedelta

from flink_controller.domain import handover
from flink_controller.domain.actions import TriggerCheckpoint
from flink_controller.domain.plan import Draft
from flink_controller.domain.spec import JobSpec, Rollback
from flink_controller.domain.status import Attempt, AttemptPhase, JobStatus

FIRST_LOOK = timedelta(milliseconds=40)
TASKS_LOOK = timedelta(seconds=10)
"""Longest time between two looks at a job whose tasks do not all run yet."""


def needs_checkpoints(attempt: Attempt, now: datetime, stabilization: timedelta) -> bool:
    """Whether a look must read the checkpoints: only then can they decide something.

    They are the expensive detail of a look, so a proven job is not asked again here.
    """
    if attempt.phase is not AttemptPhase.LIVE or attempt.is_proven or attempt.settled_at is None:
        return False
    return now >= attempt.settled_at + stabilization


def judge(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> None:
    """Prove a live attempt, or refuse its revision at the deadline; otherwise say when to look again."""
    if attempt.is_proven:
        return
    rollback = spec.deployment.rollback if spec is not None else Rollback()
    stabilization = timedelta(seconds=rollback.stabilization_seconds)
    if is_healthy(attempt, draft.now, stabilization):
        _prove(draft)
        return
    deadline = proof_deadline(draft.status, attempt, rollback)
    if draft.now >= deadline and handover.can_roll_back(draft, attempt, spec):
        handover.refuse(draft, "NotHealthy", unhealthy_because(attempt))
        return
    look_again(draft, attempt, rollback)


def look_again(draft: Draft, attempt: Attempt, rollback: Rollback) -> None:
    """Say when the proof of a live attempt can next be decided."""
    deadline = proof_deadline(draft.status, attempt, rollback)
    stabilization = timedelta(seconds=rollback.stabilization_seconds)
    if draft.now < deadline:
        draft.look(deadline)
    settled = attempt.settled_at
    if settled is None:
        draft.look(draft.now + min(max((draft.now - attempt.created_at) / 2, timedelta(milliseconds=40)), TASKS_LOOK))
    elif draft.now < settled + stabilization:
        draft.look(settled + stabilization)
    else:
        # The checkpoints are read with the next look, if they were not yet.
        draft.look(draft.now + (FIRST_LOOK if attempt.is_checkpointed is None else TASKS_LOOK))


def missing_checkpoint(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> TriggerCheckpoint | None:
    """Ask for the checkpoint that the proof needs, once, if none came by half of the deadline."""
    rollback = spec.deployment.rollback if spec is not None else Rollback()
    if attempt.flink_job_id in draft.facts.findings.checkpointed:
        draft.set_attempt(checkpoint_asked_at=draft.now)
        draft.look(draft.now + timedelta(seconds=1))
        return None
    half = (attempt.live_at or attempt.submitted_at) + timedelta(seconds=rollback.deadline_seconds) / 2
    is_missing = attempt.is_checkpointed is True and not attempt.has_completed_checkpoint and not attempt.is_proven
    if not is_missing or attempt.checkpoint_asked_at is not None or attempt.settled_at is None:
        return None
    if draft.now < half:
        draft.look(half)
        return None
    return TriggerCheckpoint(attempt.flink_job_id)


def proof_deadline(status: JobStatus, attempt: Attempt, rollback: Rollback) -> datetime:
    """Say when a live attempt must be healthy. A cluster that was away gives it the whole time again once it is back."""
    since, reachable = attempt.live_at or attempt.submitted_at, status.condition("ClusterReachable")
    if reachable is not None and reachable.status == "True":
        since = max(since, reachable.last_transition_time)
    return since + timedelta(seconds=rollback.deadline_seconds)


def is_healthy(attempt: Attempt, now: datetime, stabilization: timedelta) -> bool:
    """All tasks run unchanged for long enough, and a checkpoint was completed since the start if checkpoints are on."""
    if attempt.settled_at is None or now < attempt.settled_at + stabilization or attempt.is_checkpointed is None:
        return False
    return attempt.has_completed_checkpoint or not attempt.is_checkpointed


def unhealthy_because(attempt: Attempt) -> str:
    """Say what is missing for health."""
    if attempt.settled_at is None:
        return f"not all tasks run; Flink says {attempt.flink_state}"
    if attempt.is_checkpointed and not attempt.has_completed_checkpoint:
        return "all tasks run, and no checkpoint was completed yet"
    return "all tasks run, not long enough yet"


def _prove(draft: Draft) -> None:
    target, before = draft.status.running, draft.status.stable
    refused, desired = draft.status.refused, draft.status.desired
    draft.set_attempt(is_proven=True)
    if refused is not None and target is not None and refused.number == target.number:
        # It healed while the way back was barred.
        draft.set(refused=None)
    assert target is not None
    if target.is_recorded:
        # What cannot be started again is nothing to go back to.
        draft.set(stable=target, stable_state=None)
    is_back = refused is not None and desired is not None and refused.number == desired.number
    if is_back and before is not None and before.number == target.number:
        draft.event(
            "RolledBack", f"revision {target.number} runs again; revision {desired.number if desired else 0} was refused"
        )
    else:
        draft.event("Stable", f"revision {target.number} is healthy")
