"""Which state the next attempt starts from, and what the end of the last one means.

Asked once per attempt, when it is known to be dead. The answer is recorded before anything is started from it; an unknown
location blocks and never becomes an empty start.
"""

from datetime import timedelta

from flink_controller.domain import restoring, saving
from flink_controller.domain.actions import LoadRevision, Preparation, SearchState
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.observation import Checkpoints, StorageUnreadable, StoredState, TriggerCompleted
from flink_controller.domain.plan import Draft, bounded, target_of
from flink_controller.domain.spec import JobSpec, Monitoring, UpgradeMode
from flink_controller.domain.status import (
    Attempt,
    DesiredState,
    EndState,
    Failures,
    Handover,
    Operation,
    OperationKind,
    RefusedRevision,
)


def is_resolved(draft: Draft) -> bool:
    """Whether the state that the dead attempt left behind is known."""
    attempt, handover = draft.status.attempt, draft.status.handover
    return attempt is None or (handover is not None and handover.of_attempt == attempt.number)


def resolve(draft: Draft, attempt: Attempt) -> Preparation | None:
    """Find the state of a dead attempt and draw the conclusions; give what must be looked up first, or None.

    After None either the handover is recorded or the draft says what the job waits for.
    """
    found = _newest(draft, attempt)
    match found:
        case SearchState():
            return found
        case None:
            return None
        case StorageUnreadable(cause=cause):
            draft.wait("StateUnknown", f"the state of {attempt.flink_job_id} cannot be found: {cause}")
            return None
        case Handover():
            pass
    spec = None if draft.status.running is None else draft.spec_of(draft.status.running)
    if spec is None and draft.status.running is not None and _needs_policy(draft, attempt):
        number = draft.standing_for(draft.status.running).number
        if number in draft.facts.findings.revisions:
            draft.wait("RevisionMissing", f"revision {number} is not on record any more; write the spec again")
            return None
        return LoadRevision(number)
    _conclude(draft, attempt, found, spec)
    return None


GONE = frozenset({DesiredState.DELETED, DesiredState.ABANDONED})
"""States in which a job ends whatever became of its state."""
UNSEEN = frozenset({EndState.LOST, EndState.UNKNOWN})
"""Ends that nobody saw: the job may have been done."""
STATISTICS_AGE = timedelta(seconds=5)
"""How old Flink's checkpoint statistics may be: they come from a cache, of 3 s by default (`web.refresh-interval`)."""


def _newest(draft: Draft, attempt: Attempt) -> Handover | SearchState | StorageUnreadable | None:
    """Find the newest state of a dead attempt; None: it is too early to tell."""
    if attempt.end is EndState.BURNED:
        return _handover(attempt, _inherited(draft, attempt))
    trigger = draft.seen.trigger if draft.seen is not None else None
    if attempt.end is EndState.FINISHED and isinstance(trigger, TriggerCompleted) and _was_stopped(draft):
        return _handover(attempt, trigger.path)
    listed = _listed_checkpoints(draft, attempt)
    is_early = attempt.dead_at is not None and draft.now < attempt.dead_at + STATISTICS_AGE
    if attempt.end is EndState.FINISHED and listed is not None and is_early and attempt.dead_at is not None:
        # Only the statistics tell a stop by somebody else from an end; of every other end storage tells all.
        draft.wait(
            "StateSettling", "waiting for Flink's statistics of the last checkpoint", attempt.dead_at + STATISTICS_AGE
        )
        return None
    stored = draft.facts.findings.stored.get(attempt.flink_job_id)
    if stored is None:
        return SearchState(attempt.flink_job_id, attempt.checkpoint_root, attempt.savepoint_directories)
    if isinstance(stored, StorageUnreadable):
        if draft.status.desired_state is DesiredState.ABANDONED:
            return _handover(attempt, attempt.restore_from)
        return stored
    return _choose(draft, attempt, listed, stored)


def _listed_checkpoints(draft: Draft, attempt: Attempt) -> Checkpoints | None:
    if draft.seen is None or draft.job(attempt.flink_job_id) is None:
        return None
    return draft.seen.checkpoints


def _choose(draft: Draft, attempt: Attempt, listed: Checkpoints | None, stored: StoredState) -> Handover | StorageUnreadable:
    """Choose among what storage holds and what Flink lists: the highest checkpoint id wins."""
    saved = listed.savepoint if listed is not None else None
    candidates = [*stored.checkpoints, *([saved] if saved is not None else [])]
    newest = max(candidates, key=lambda found: found.id, default=None)
    if attempt.end is EndState.FINISHED:
        is_stop = saved is not None and saved.is_stop and newest is not None and newest.id == saved.id
        if is_stop or (listed is None and newest is not None and newest.is_savepoint):
            assert newest is not None
            return _handover(attempt, newest.path)
        # Only Flink's statistics tell an end from a stop whose savepoint lies elsewhere, and they may be lost by now.
        return Handover(path=None, of_attempt=attempt.number, is_end=True, is_presumed=listed is None)
    if newest is not None:
        return _handover(attempt, newest.path)
    if draft.status.desired_state in GONE:
        return _handover(attempt, _inherited(draft, attempt))
    if not attempt.retains_state:
        return StorageUnreadable("the job's own code deletes its checkpoints when it ends, and no savepoint was found")
    if attempt.end in UNSEEN and attempt.keeps_checkpoints_at_root:
        # Flink deletes retained checkpoints in one case only: the job has FINISHED, by itself or by a stop elsewhere.
        return Handover(path=None, of_attempt=attempt.number, is_end=True, is_presumed=True)
    if attempt.end in UNSEEN and attempt.has_completed_checkpoint:
        return StorageUnreadable(
            f"it had completed a checkpoint, and not below {attempt.checkpoint_root}, where it is searched"
        )
    return _handover(attempt, _inherited(draft, attempt))


def _inherited(draft: Draft, attempt: Attempt) -> str | None:
    """Give what an attempt hands on that has written nothing: what it was to start from.

    A stateless start that never ran has given nothing up: what it was to leave aside is still there.
    """
    before = draft.status.handover
    if attempt.leaves_state and attempt.live_at is None and before is not None:
        return before.path
    return attempt.restore_from


def _handover(attempt: Attempt, path: str | None) -> Handover:
    return Handover(path=path, of_attempt=attempt.number)


def _was_stopped(draft: Draft) -> bool:
    operation = draft.status.operation
    return operation is not None and operation.kind is OperationKind.STOP


def _was_asked(draft: Draft) -> bool:
    operation = draft.status.operation
    return operation is not None and operation.kind in {OperationKind.STOP, OperationKind.CANCEL}


def _needs_policy(draft: Draft, attempt: Attempt) -> bool:
    return attempt.end in {EndState.FAILED, EndState.BURNED} and not _was_asked(draft)


def _conclude(draft: Draft, attempt: Attempt, handover: Handover, spec: JobSpec | None) -> None:
    asked, operation = _was_asked(draft), draft.status.operation
    if handover.path is not None and handover.path != attempt.restore_from and attempt.end is EndState.FINISHED:
        stopped_by = operation if operation is not None and operation.kind is OperationKind.STOP else None
        saving.record(draft, attempt, stopped_by, handover.path)
    if _was_proven(draft, attempt):
        draft.set(stable_state=handover.path)
    if operation is not None and operation.kind is OperationKind.SAVEPOINT:
        _tell_unfinished(draft, attempt, operation, handover)
    is_for_restore = operation is not None and operation.purpose == restoring.PURPOSE
    draft.set(handover=handover.model_copy(update={"is_for_restore": is_for_restore}), operation=None)
    if handover.is_end:
        # A change that came too late for the job that ended starts another one.
        draft.set(is_completed=not _is_replaced(draft, attempt))
        unseen = "; nobody saw its end, and Flink has deleted its checkpoints as it does then"
        draft.event("Completed", f"the job finished by itself{unseen if attempt.end in UNSEEN else ''}")
        return
    if asked:
        assert operation is not None
        draft.event("Stopped" if attempt.end is EndState.FINISHED else "Cancelled", f"for {operation.purpose}")
        return
    if restoring.has_failed(draft, attempt):
        _undo_restore(draft, attempt)
        return
    _unasked(draft, attempt, spec)


def _undo_restore(draft: Draft, attempt: Attempt) -> None:
    """The place that was named does not serve: go back to the state that was left aside for it; never start empty."""
    restored, cause = draft.status.restored, attempt.root_cause or attempt.refusal or "Flink tells no cause"
    assert restored is not None
    draft.event("RestoreFailed", f"from {restored.path}: {cause}", warning=True)
    draft.set(restored=None)
    if restored.kept is None:
        halt(draft, "RestoreFailed", cause)
        return
    draft.set(handover=_handover(attempt, restored.kept))
    if _was_proven(draft, attempt):
        draft.set(stable_state=restored.kept)


def _tell_unfinished(draft: Draft, attempt: Attempt, operation: Operation, handover: Handover) -> None:
    """Tell what became of a savepoint under way when its job ended."""
    if handover.path is not None and handover.path.startswith(f"{operation.target_directory}/"):
        saving.record(draft, attempt, operation, handover.path)
    else:
        draft.event("SavepointFailed", f"{operation.flink_job_id} ended before its savepoint was complete", warning=True)


def _is_replaced(draft: Draft, attempt: Attempt) -> bool:
    """Whether something else than what a dead attempt ran is wanted by now."""
    running, target = draft.status.running, target_of(draft.status)
    if running is None or target is None or target.number == attempt.revision:
        return False
    return classify(running, target) > SpecChange.IGNORE


def _unasked(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> None:
    """An end that nobody asked for: lost and cancelled jobs are brought back, failed ones by policy."""
    match attempt.end:
        case EndState.LOST | EndState.UNKNOWN:
            draft.event("JobLost", f"{attempt.flink_job_id} is gone; it is brought back from its newest state", warning=True)
        case EndState.CANCELED:
            draft.event(
                "Cancelled", "cancelled outside of the controller; it is brought back from its newest state", warning=True
            )
        case EndState.FINISHED:
            draft.event("Stopped", "stopped outside of the controller; it is brought back from its savepoint", warning=True)
        case EndState.BURNED if attempt.refusal is None or not attempt.refusal_is_final:
            # Given up by us, or a fault of the way and not of the job: tried again with a fresh id.
            if attempt.refusal is not None:
                _count_failure(draft, attempt, spec)
        case _:
            _failed(draft, attempt, spec)


def _failed(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> None:
    cause = attempt.root_cause or attempt.refusal or "Flink tells no cause"
    never_ran = attempt.live_at is None
    reason = "SubmissionRefused" if never_ran else "JobFailed"
    draft.event(reason, cause, warning=True)
    if draft.status.desired_state is not DesiredState.RUNNING:
        return
    if can_roll_back(draft, attempt, spec) or _must_roll_back(draft, attempt, spec):
        refuse(draft, reason, cause)
        return
    if _is_replaced(draft, attempt):
        # What failed is not wanted any more; its failure says nothing about what is.
        return
    if (spec is not None and not never_ran and spec.deployment.on_failure.action == "none") or (
        never_ran and not _was_proven(draft, attempt)
    ):
        halt(draft, reason, cause)
    else:
        _count_failure(draft, attempt, spec)


def _was_proven(draft: Draft, attempt: Attempt) -> bool:
    stable = draft.status.stable
    return stable is not None and stable.number == attempt.revision


def _count_failure(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> None:
    failures = row_of_failures(draft, attempt, spec)
    limit = 5 if spec is None else spec.deployment.on_failure.limit
    if failures.count >= limit and can_roll_back(draft, attempt, spec):
        refuse(draft, "JobFailed", attempt.root_cause or attempt.refusal or "Flink tells no cause")
        return
    if failures.count >= limit:
        halt(draft, "JobFailed", f"given up after {failures.count} restarts: {attempt.root_cause or attempt.refusal}")
        return
    draft.set(failures=Failures(count=failures.count + 1, last_at=draft.now))


def row_of_failures(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> Failures:
    """Give the failures before this one; an attempt that ran for long enough has ended their row."""
    monitoring = Monitoring() if spec is None else spec.monitoring
    lasting = timedelta(seconds=monitoring.restart_window_seconds)
    if attempt.is_proven and attempt.live_at is not None and draft.now >= attempt.live_at + lasting:
        return Failures()
    return draft.status.failures


def _must_roll_back(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> bool:
    """Whether `on_failure` asks for what `rollback.enabled` leaves to the team otherwise."""
    return spec is not None and spec.deployment.on_failure.action == "rollback" and _has_stable(draft, attempt)


def can_roll_back(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> bool:
    """Whether there is a stable revision to go back to from this attempt's, and the spec allows it."""
    return _has_stable(draft, attempt) and (spec is None or spec.deployment.rollback.enabled)


def _has_stable(draft: Draft, attempt: Attempt) -> bool:
    stable, desired = draft.status.stable, draft.status.desired
    if stable is None or desired is None:
        return False
    return attempt.revision == desired.number and attempt.revision != stable.number


def refuse(draft: Draft, reason: str, cause: str) -> None:
    """Give up the desired revision; the stable one becomes the target, from the state that it left behind."""
    desired, stable = draft.status.desired, draft.status.stable
    assert desired is not None
    assert stable is not None
    if draft.status.refused is not None and draft.status.refused.number == desired.number:
        return
    draft.set(
        refused=RefusedRevision(
            number=desired.number,
            spec_hash=desired.spec_hash,
            artifact_version=desired.artifact.version_id,
            reason=reason,
            message=bounded(cause),
        ),
        failures=Failures(),
    )
    draft.event("RollbackStarted", f"revision {desired.number} → {stable.number}: {cause}", warning=True, of=desired)


def halt(draft: Draft, reason: str, cause: str) -> None:
    """Try nothing more until the spec or its artifact changes; the state is kept."""
    draft.set(halted=bounded(cause), halt_reason=reason)
    draft.event("GivenUp", cause, warning=True)


def start_state(draft: Draft, spec: JobSpec) -> str | None:
    """Give the state that the next attempt of the target revision starts from; None: from nothing."""
    status, named = draft.status, restoring.origin(draft)
    if named is not None:
        return named
    if status.attempt is None:
        return initial_state(draft, spec)
    if spec.deployment.upgrade_mode is UpgradeMode.STATELESS:
        return None
    handover, stable = status.handover, status.stable
    assert handover is not None
    is_back = status.refused is not None and stable is not None and status.attempt.revision != stable.number
    # A rollback never starts from what the failed revision wrote.
    return status.stable_state if is_back else handover.path


def initial_state(draft: Draft, spec: JobSpec) -> str | None:
    """Give where the very first attempt starts from, by `initial_savepoint_path`."""
    cluster = draft.facts.observation.cluster
    return None if cluster is None else restoring.place(spec, cluster, spec.deployment.initial_savepoint_path)
