"""End a live attempt with its state: by a savepoint, or by a cancel that leaves the newest checkpoint behind."""

from datetime import datetime, timedelta

from flink_controller.domain import handover, health, intents, restoring, submitting
from flink_controller.domain.actions import (
    Action,
    Cancel,
    ReadCheckpoints,
    StopWithSavepoint,
)
from flink_controller.domain.observation import (
    Refused,
    TriggerFailed,
    TriggerUnknown,
)
from flink_controller.domain.plan import Draft, bounded, target_of
from flink_controller.domain.spec import JobSpec, UpgradeMode
from flink_controller.domain.status import (
    Attempt,
    Operation,
    OperationKind,
    RevisionRef,
)

RETRY_STOP = timedelta(seconds=10)
"""Between two tries of a savepoint that failed."""


def stop(draft: Draft, attempt: Attempt, purpose: str) -> Action | None:
    """Begin to end a live attempt. What can fail cheaply is done before the running job is touched."""
    running = draft.status.running
    assert running is not None
    spec = draft.spec_of(running)
    if spec is None:
        return intents.load_revision(draft, running)
    if purpose in {"upgrade", "rollback", "restart", restoring.PURPOSE}:
        ready = submitting.ready_to_submit(draft, target_of(draft.status) or running)
        if not isinstance(ready, bool):
            return ready
        if not ready:
            health.judge(draft, attempt, spec)
            return None
    newer = target_of(draft.status)
    if purpose == "upgrade" and newer is not None:
        planned = submitting.plan_first(draft, newer)
        if isinstance(planned, str):
            return _refuse_unstarted(draft, attempt, newer, spec, planned)
        if planned is not None:
            return planned
    wish = draft.spec_of(newer) if newer is not None else None
    deployment = (wish or spec).deployment
    mode, max_age = deployment.upgrade_mode, deployment.max_checkpoint_age_seconds
    is_cancel = purpose == "rollback" or (
        purpose in {"upgrade", "restart"}
        and (mode is UpgradeMode.STATELESS or (mode is UpgradeMode.LAST_STATE and _has_state(attempt)))
    )
    if is_cancel and mode is UpgradeMode.LAST_STATE and purpose != "rollback" and max_age is not None:
        if attempt.flink_job_id not in draft.facts.findings.checkpoints:
            return ReadCheckpoints(attempt.flink_job_id)
        is_cancel = _is_young(draft, attempt, timedelta(seconds=max_age))
    if purpose == "upgrade":
        draft.event("UpgradeStarted", f"revision {attempt.revision} → {newer.number if newer else '?'}", of=newer)
    if is_cancel:
        draft.set(operation=intents.new_operation(draft, OperationKind.CANCEL, attempt.flink_job_id, purpose))
        return Cancel(attempt.flink_job_id)
    return _request_stop(draft, attempt, spec, purpose, started_at=draft.now, failures=0)


def _refuse_unstarted(draft: Draft, attempt: Attempt, newer: RevisionRef, spec: JobSpec, cause: str) -> Action | None:
    """Leave what runs alone: Flink has said beforehand that it will not start the new revision."""
    wish = draft.spec_of(newer)
    if draft.status.stable is not None and (wish is None or wish.deployment.rollback.enabled):
        draft.event("SubmissionRefused", cause, warning=True, of=newer)
        handover.refuse(draft, "SubmissionRefused", cause)
        draft.look(draft.now)
        return None
    draft.wait("SubmissionRefused", cause, draft.now + intents.BLOCKED_LOOK)
    health.judge(draft, attempt, spec)
    return None


def _is_young(draft: Draft, attempt: Attempt, max_age: timedelta) -> bool:
    """Whether the newest checkpoint was completed lately; one that is not seen is not young."""
    read = draft.facts.findings.checkpoints[attempt.flink_job_id]
    newest = None if read is None else read.newest
    return newest is not None and newest.completed_at is not None and draft.now <= newest.completed_at + max_age


def _has_state(attempt: Attempt) -> bool:
    """Whether a cancel leaves the newest checkpoint behind."""
    return attempt.retains_state and (attempt.has_completed_checkpoint or attempt.is_checkpointed is True)


def _request_stop(
    draft: Draft, attempt: Attempt, spec: JobSpec, purpose: str, *, started_at: datetime, failures: int
) -> Action:
    operation = intents.new_operation(draft, OperationKind.STOP, attempt.flink_job_id, purpose, spec=spec)
    operation = operation.model_copy(update={"started_at": started_at, "failures": failures})
    draft.set(operation=operation)
    intents.remember_directory(draft, attempt, operation.target_directory)
    return StopWithSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)


def continue_stop(draft: Draft, attempt: Attempt, operation: Operation) -> Action | None:
    """A stop that has begun is completed, whatever the spec says meanwhile."""
    assert draft.seen is not None
    draft.wait("Stopping", f"{operation.kind} for {operation.purpose} since {operation.started_at:%H:%M:%S} UTC")
    if operation.kind is OperationKind.CANCEL:
        if draft.now >= operation.requested_at + intents.RESEND:
            draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
            return Cancel(attempt.flink_job_id)
        draft.look(draft.now + intents.poll_interval(draft.now - operation.requested_at))
        return None
    running = draft.status.running
    assert running is not None
    spec = draft.spec_of(running)
    if spec is None:
        return intents.load_revision(draft, running)
    trigger, answer = draft.seen.trigger, draft.answer
    deadline = operation.started_at + timedelta(seconds=spec.deployment.savepoint_timeout_seconds)
    if operation.last_failure is None and isinstance(trigger, TriggerFailed):
        _failed_savepoint(draft, operation, trigger.cause)
    elif operation.last_failure is None and isinstance(answer, Refused):
        _failed_savepoint(draft, operation, answer.cause)
    operation = draft.status.operation or operation
    if operation.last_failure is not None:
        return _retry_stop(draft, attempt, operation, spec, deadline)
    is_due = draft.now >= operation.requested_at + intents.RESEND
    if is_due and isinstance(trigger, TriggerUnknown | None):
        draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
        return StopWithSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)
    if draft.now >= deadline and _may_cancel(draft, attempt, operation, spec):
        _failed_savepoint(draft, operation, f"not complete after {spec.deployment.savepoint_timeout_seconds} s")
        return _fall_back(draft, attempt, operation)
    draft.look(draft.now + intents.poll_interval(draft.now - operation.requested_at))
    return None


def _failed_savepoint(draft: Draft, operation: Operation, cause: str) -> None:
    draft.set(operation=operation.model_copy(update={"failures": operation.failures + 1, "last_failure": bounded(cause)}))
    draft.event("SavepointFailed", cause, warning=True)


def _retry_stop(draft: Draft, attempt: Attempt, operation: Operation, spec: JobSpec, deadline: datetime) -> Action | None:
    """A savepoint failed and the job is alive: try again, fall back to its newest checkpoint, or wait; never without state.

    A new stop is sent only after the last one has ended: two at once fail each other and take the job with them (measured).
    """
    job = draft.job(attempt.flink_job_id)
    assert operation.last_failure is not None
    is_hopeless = job is None or not job.is_processing or attempt.is_checkpointed is False
    # A job that Flink is just bringing back, after a failover or a lost TaskManager, is soon there again to be stopped.
    is_given_up = is_hopeless and _has_state(attempt) and draft.now >= operation.requested_at + RETRY_STOP
    is_over = is_given_up or draft.now >= deadline
    if is_over and _may_cancel(draft, attempt, operation, spec):
        return _fall_back(draft, attempt, operation)
    again_at = operation.requested_at + min(RETRY_STOP * 2 ** min(operation.failures - 1, 5), timedelta(minutes=5))
    draft.wait("SavepointFailed", operation.last_failure, min(again_at, deadline) if draft.now < deadline else again_at)
    if draft.now < again_at:
        return None
    return _request_stop(
        draft, attempt, spec, operation.purpose, started_at=operation.started_at, failures=operation.failures
    )


def _may_cancel(draft: Draft, attempt: Attempt, operation: Operation, spec: JobSpec) -> bool:
    """Whether a stop that does not succeed may become a cancel.

    A delete and a restore always, for what they leave behind is not what goes on; the rest only if state stays behind.
    """
    if operation.purpose in {"delete", restoring.PURPOSE} or draft.status.desired_state in handover.GONE:
        return True
    return _has_state(attempt) and spec.deployment.savepoint_fallback == "last-state"


def _fall_back(draft: Draft, attempt: Attempt, operation: Operation) -> Action:
    cancel = intents.new_operation(draft, OperationKind.CANCEL, attempt.flink_job_id, operation.purpose)
    draft.set(operation=cancel.model_copy(update={"started_at": operation.started_at}))
    if not _has_state(attempt):
        draft.event(
            "NoNewerStateKept", f"cancelled at the deadline of its {operation.purpose} without a savepoint", warning=True
        )
    return Cancel(attempt.flink_job_id)
