"""Upgrade without a gap: green starts from a savepoint of running blue, and takes over once it is healthy.

The second lane is opened by a recorded intent that names both ids. Promotion is one recorded write and irrevocable: from
then on green is the job and blue's state is ignored. Until blue is known to be dead there is no further attempt; until
promotion blue is untouched, and a green that fails, or is not wanted any more, is removed. What the job put out between
the savepoint and the switch is put out twice.
"""

from datetime import timedelta
from typing import Final

from flink_controller.domain import handover, health, intents, quarantine, saving, submitting
from flink_controller.domain.actions import Action, Cancel, CountFreeSlots, TriggerSavepoint
from flink_controller.domain.plan import Draft, living, target_of, wants_running
from flink_controller.domain.spec import Rollback, UpgradeMode
from flink_controller.domain.status import (
    Attempt,
    AttemptPhase,
    EndState,
    Failures,
    LaneRole,
    OperationKind,
    RevisionRef,
    SecondLane,
)

RETRY_SAVEPOINT: Final = timedelta(seconds=30)


class GoOn:
    """The second lane needs nothing; the main lane's step may be taken."""


GO_ON: Final = GoOn()


def applies(draft: Draft, attempt: Attempt, target: RevisionRef) -> bool:
    """Whether an upgrade to a revision goes by a second lane: its spec says so, on the same cluster, with blue processing."""
    spec = draft.spec_of(target)
    if spec is None or spec.deployment.upgrade_mode is not UpgradeMode.BLUE_GREEN:
        return False
    is_ready = attempt.is_proven and attempt.settled_at is not None and draft.status.stable is not None
    return is_ready and spec.cluster == attempt.cluster and draft.status.refused is None


def begin(draft: Draft, attempt: Attempt, target: RevisionRef) -> Action | None:
    """Prepare green beside running blue: bytes and slots first, then a savepoint, then the second lane."""
    ready = submitting.ready_to_submit(draft, target)
    if not isinstance(ready, bool):
        return ready
    spec, cluster, staged = draft.spec_of(target), draft.facts.observation.cluster, draft.facts.findings.staged
    if not ready or spec is None or cluster is None or staged is None:
        return None
    needed, free = spec.deployment.parallelism, draft.facts.findings.free_slots
    if free is None:
        return CountFreeSlots()
    if free < needed:
        message = f"blue-green needs {needed} free slots on {cluster.name} for the new revision, and {free} are free"
        draft.wait("NoFreeSlots", message, draft.now + intents.BLOCKED_LOOK)
        return None
    if draft.status.green_state is None:
        return _save(draft, attempt, target)
    green = submitting.open_attempt(draft, target, cluster, staged, restore_from=draft.status.green_state)
    draft.set(second=SecondLane(role=LaneRole.GREEN, attempt=green, revision=target), green_state=None)
    with draft.second_lane():
        draft.event("Submitted", f"{green.flink_job_id} from {green.restore_from}, beside {attempt.flink_job_id}")
    return submitting.submit_of(draft, green, target, spec, cluster, staged)


def _save(draft: Draft, attempt: Attempt, target: RevisionRef) -> Action | None:
    retry_at = draft.status.green_retry_at
    if retry_at is not None and draft.now < retry_at:
        draft.wait("SavepointFailed", "the savepoint for the new revision is tried again", retry_at)
        return None
    running = draft.status.running
    spec = None if running is None else draft.spec_of(running)
    if running is not None and spec is None:
        return intents.load_revision(draft, running)
    if retry_at is None:
        draft.event("UpgradeStarted", f"revision {attempt.revision} → {target.number}, blue-green", of=target)
    operation = intents.new_operation(draft, OperationKind.SAVEPOINT, attempt.flink_job_id, saving.BLUE_GREEN, spec=spec)
    draft.set(operation=operation, green_retry_at=draft.now + RETRY_SAVEPOINT)
    intents.remember_directory(draft, attempt, operation.target_directory)
    return TriggerSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)


def step(draft: Draft) -> Action | GoOn | None:
    """Take the step of the second lane, or say that the main lane's may be taken."""
    with draft.second_lane():
        second = draft.status.second
        assert second is not None
        if second.attempt.is_dead:
            _conclude(draft, second)
            return GO_ON
        cluster = draft.facts.observation.cluster
        if cluster is None or cluster.name != second.attempt.cluster:
            draft.look(draft.now)
            return None
        if draft.seen is None or (draft.job(second.attempt.flink_job_id) is None and draft.seen.incarnation is None):
            draft.wait("ClusterRestarting", "the JobManager restarted during this look", draft.now + timedelta(seconds=1))
            return None
        if quarantine.is_in_question(draft, second.attempt):
            return quarantine.wait_out(draft, second.attempt)
        return _alive(draft, second)


def _alive(draft: Draft, second: SecondLane) -> Action | None:
    is_wanted = _is_wanted(draft, second)
    match second.attempt.phase:
        case AttemptPhase.SUBMITTING:
            return submitting.submitting(draft, revision=second.revision, is_wanted=is_wanted)
        case AttemptPhase.BURNING:
            return submitting.burning(draft, second.attempt)
        case _:
            pass
    if not is_wanted:
        return _cancel(draft, second)
    rollback = _rollback(draft, second)
    if health.is_healthy(second.attempt, draft.now, timedelta(seconds=rollback.stabilization_seconds)):
        return _promote(draft, second)
    if draft.now >= health.proof_deadline(draft.status, second.attempt, rollback):
        handover.refuse(draft, "NotHealthy", health.unhealthy_because(second.attempt))
        return _cancel(draft, second)
    wanted = health.missing_checkpoint(draft, second.attempt, draft.spec_of(second.revision))
    if wanted is not None:
        return wanted
    health.look_again(draft, second.attempt, rollback)
    draft.wait("GreenProving", f"{second.attempt.flink_job_id} runs beside the old revision until it is healthy")
    return None


def _is_wanted(draft: Draft, second: SecondLane) -> bool:
    """Whether green is still what the spec asks for, and blue still there to be replaced."""
    target = target_of(draft.status)
    if second.role is LaneRole.RETIRED or target is None or not wants_running(draft.status):
        return False
    blue = living(draft.status)
    return target.number == second.revision.number and blue is not None and blue.phase is AttemptPhase.LIVE


def _promote(draft: Draft, second: SecondLane) -> Action:
    """Make green the job: one write, with blue's end as its effect."""
    blue, old = draft.status.attempt, draft.status.running
    assert blue is not None
    assert old is not None
    draft.set(
        attempt=second.attempt.model_copy(update={"is_proven": True}),
        second=SecondLane(role=LaneRole.RETIRED, attempt=blue, revision=old, cancel_requested_at=draft.now),
        running=second.revision,
        stable=second.revision,
        stable_state=None,
        operation=None,
        failures=Failures(),
    )
    draft.event(
        "Promoted", f"revision {second.revision.number} took over; {blue.flink_job_id} is cancelled", of=second.revision
    )
    draft.event("Stable", f"revision {second.revision.number} is healthy", of=second.revision)
    return Cancel(blue.flink_job_id)


def _cancel(draft: Draft, second: SecondLane) -> Action | None:
    draft.wait("SecondLaneEnding", f"{second.attempt.flink_job_id} is cancelled")
    asked_at = second.cancel_requested_at
    if asked_at is not None and draft.now < asked_at + intents.RESEND:
        draft.look(draft.now + intents.poll_interval(draft.now - asked_at))
        return None
    current = draft.status.second
    assert current is not None
    draft.set(second=current.model_copy(update={"cancel_requested_at": draft.now}))
    return Cancel(second.attempt.flink_job_id)


def _conclude(draft: Draft, second: SecondLane) -> None:
    """The second lane is dead: blue as it should be, or green before it could take over."""
    attempt, is_wanted = second.attempt, _is_wanted(draft, second)
    if second.role is LaneRole.GREEN and is_wanted:
        # A jar that was gone is staged again; any other refusal would come again, each time with another savepoint.
        was_refused = attempt.refusal is not None and draft.status.void_jar_id is None
        is_refusal = attempt.end is EndState.FAILED or was_refused
        cause = attempt.root_cause or attempt.refusal or "Flink tells no cause"
        if is_refusal:
            reason = "SubmissionRefused" if attempt.live_at is None else "JobFailed"
            draft.event(reason, cause, warning=True)
            handover.refuse(draft, reason, cause)
    draft.event("SecondLaneEnded", f"{attempt.flink_job_id} is dead ({attempt.end})")
    draft.set(second=None)


def _rollback(draft: Draft, second: SecondLane) -> Rollback:
    spec = draft.spec_of(second.revision)
    return Rollback() if spec is None else spec.deployment.rollback
