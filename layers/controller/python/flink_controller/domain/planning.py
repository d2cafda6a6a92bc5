"""The heart: from a spec, a status and an observation to what to record and at most one thing to do.

`plan` is pure and total. It first takes in what is wanted (`acceptance`) and what was seen (`learning`), then takes the
one step that leads on. Every effect is preceded by its intent: the status that `plan` returns beside an effect must be
recorded before the effect is carried out. A crash anywhere is followed by looking again, and the same rules find out
what happened from the recorded intent and the cluster's list.
"""

from datetime import timedelta

from flink_controller.domain import (
    acceptance,
    batch,
    blue_green,
    conditions,
    intents,
    learning,
    quarantine,
    retention,
    running,
    stuck,
    submitting,
    vitals,
)
from flink_controller.domain.actions import (
    Action,
    Cancel,
)
from flink_controller.domain.blue_green import GoOn
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import REFUSED_CREDENTIALS
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.names import attempt_number, tag
from flink_controller.domain.observation import (
    FlinkUnreachable,
    JobSeen,
)
from flink_controller.domain.pauses import pause_told
from flink_controller.domain.plan import Draft, Facts, Plan, attempts_of, living, living_of
from flink_controller.domain.status import (
    Attempt,
    AttemptPhase,
    DesiredState,
    JobStatus,
    JobType,
    OperationKind,
)

UNREACHABLE_LOOK = timedelta(seconds=30)
"""Between two looks at a cluster that does not answer; the tick of the fleet finds it as well."""


def plan(facts: Facts, status: JobStatus | None) -> Plan:
    """Decide what to do about a job.

    Returns:
        The status to record, the events and revisions that belong to it, at most one action, and when to look again.
        An effect among the actions must not be carried out before the status is recorded.
    """
    before = status or JobStatus(job_id=facts.job_id, created_at=facts.now, updated_at=facts.now)
    draft = Draft(facts, before.model_copy(update={"waiting": None}))
    _say_paused(draft)
    acceptance.mute(draft)
    conditions.assess_inputs(draft)
    acceptance.accept(draft)
    learning.learn(draft)
    action = _step(draft)
    if draft.status.job_type is JobType.STREAM:
        if action is None and draft.facts.observation.pause is None:
            action = retention.step(draft)
        retention.claim(draft)
    if draft.status.job_type is JobType.BATCH:
        batch.settle(draft)
    vitals.forget_of_the_ended(draft)
    conditions.assess_outcome(draft)
    stuck.tell(draft)
    return draft.finish(action)


def _step(draft: Draft) -> Action | None:
    observation = draft.facts.observation
    if observation.pause is not None:
        # Whatever is half done stays so; what was seen of it above is recorded all the same.
        if lifecycle(draft.status) is not Lifecycle.DELETED:
            draft.look(draft.now + intents.BLOCKED_LOOK)
        return None
    if observation.cluster is None:
        return _without_cluster(draft)
    if draft.seen is None:
        unreachable = observation.flink if isinstance(observation.flink, FlinkUnreachable) else None
        cause = "it was not asked" if unreachable is None else unreachable.cause
        if draft.status.desired_state is DesiredState.ABANDONED:
            return _abandon(draft)
        again_at = draft.now + UNREACHABLE_LOOK
        if unreachable is not None and unreachable.retry_at is not None:
            # The tick of the fleet wakes the job earlier, as soon as the cluster answers.
            again_at = max(again_at, unreachable.retry_at)
        is_refused = unreachable is not None and unreachable.reason == REFUSED_CREDENTIALS
        reason = "ClusterRefusesCredentials" if is_refused else "ClusterUnreachable"
        draft.wait(reason, f"cluster {observation.cluster.name}: {cause}", again_at)
        return None
    strays = _strays(draft)
    if any(number > draft.status.attempt_counter for number, _ in strays):
        _ahead(draft, max(number for number, _ in strays))
        return None
    for _, job in strays:
        if not job.state.is_terminal:
            return _cancel_leftover(draft, job)
    draft.set(leftover=None)
    return batch.step(draft) if draft.status.job_type is JobType.BATCH else _stream(draft, observation.cluster)


def _stream(draft: Draft, cluster: Cluster) -> Action | None:
    """Take the step of a streaming job on a cluster that answered."""
    if draft.status.second is not None:
        step = blue_green.step(draft)
        if not isinstance(step, GoOn):
            return step
    attempt = living(draft.status)
    return submitting.at_rest(draft) if attempt is None else _with_attempt(draft, attempt, cluster)


def _say_paused(draft: Draft) -> None:
    """Tell first of all who stopped everything: no other wait matters while nothing may be done about it."""
    pause = draft.facts.observation.pause
    if pause is not None:
        draft.wait("Paused", pause_told(pause))


def _with_attempt(draft: Draft, attempt: Attempt, cluster: Cluster) -> Action | None:
    """Go on with the attempt that is not known to be dead."""
    assert draft.seen is not None
    if attempt.cluster != cluster.name:
        draft.look(draft.now)
        return None
    if draft.job(attempt.flink_job_id) is None and draft.seen.incarnation is None:
        # The JobManager changed while it was read: nothing may be concluded from this look.
        draft.wait("ClusterRestarting", "the JobManager restarted during this look", draft.now + timedelta(seconds=1))
        return None
    if quarantine.is_in_question(draft, attempt):
        return quarantine.wait_out(draft, attempt)
    match attempt.phase:
        case AttemptPhase.SUBMITTING:
            wanted, revision = submitting.is_wanted(draft, attempt), draft.status.running
            assert revision is not None
            return submitting.submitting(draft, revision=revision, is_wanted=wanted)
        case AttemptPhase.BURNING:
            return submitting.burning(draft, attempt)
        case _:
            return running.live(draft, attempt)


def _without_cluster(draft: Draft) -> Action | None:
    attempt, fault = next(iter(living_of(draft.status)), None), draft.facts.observation.cluster_fault
    if fault is not None:
        draft.wait("ClusterMalformed", fault, draft.now + intents.BLOCKED_LOOK)
        return None
    if draft.status.desired_state in {DesiredState.DELETED, DesiredState.ABANDONED}:
        return _abandon(draft)
    name = draft.status.cluster if attempt is None else attempt.cluster
    if name or draft.status.desired is not None:
        draft.wait(
            "ClusterUnknown",
            f"no cluster {name} is registered; an operator adds it with flinkctl cluster add {name}",
            draft.now + intents.BLOCKED_LOOK,
        )
    return None


def _abandon(draft: Draft) -> Action | None:
    """End a delete that cannot end. The attempt stays what it is: forgetting an id does not make it dead."""
    attempt = next(iter(living_of(draft.status)), None)
    if attempt is not None and draft.status.halt_reason != "Abandoned":
        draft.set(halted=f"abandoned while {attempt.flink_job_id} was not known to be dead", halt_reason="Abandoned")
        draft.event("Abandoned", f"{attempt.flink_job_id} may still run on {attempt.cluster}", warning=True)
    return None


def _strays(draft: Draft) -> list[tuple[int, JobSeen]]:
    """Our jobs on the cluster that are not the current attempt, by number."""
    assert draft.seen is not None
    job_tag = tag(draft.facts.policy.controller_id, draft.facts.job_id)
    named = {attempt.flink_job_id for attempt in attempts_of(draft.status)}
    found = []
    for job in draft.seen.jobs.values():
        number = attempt_number(job_tag, job.flink_job_id)
        if number is not None and job.flink_job_id not in named:
            found.append((number, job))
    return found


def _ahead(draft: Draft, number: int) -> None:
    draft.wait(
        "AttemptAhead",
        f"Flink lists attempt {number} of this job, and the record counts only {draft.status.attempt_counter}: the state table"
        " is older than the cluster (restored from a backup?); nothing is touched until the counter is raised",
        draft.now + intents.BLOCKED_LOOK,
    )


def _cancel_leftover(draft: Draft, job: JobSeen) -> Action | None:
    """A job of ours that nothing names any more must not run beside the current one."""
    draft.wait(
        "LeftoverRunning", f"cancelling {job.flink_job_id}, left over from an earlier attempt", draft.now + intents.RESEND
    )
    known = draft.status.leftover
    if known is not None and known.flink_job_id == job.flink_job_id:
        if draft.now < known.requested_at + intents.RESEND:
            draft.look(draft.now + intents.poll_interval(draft.now - known.started_at))
            return None
        draft.set(leftover=known.model_copy(update={"requested_at": draft.now}))
        return Cancel(job.flink_job_id)
    draft.set(leftover=intents.new_operation(draft, OperationKind.CANCEL, job.flink_job_id, "leftover"))
    draft.event("LeftoverFound", f"{job.flink_job_id} belongs to no current attempt; it is cancelled", warning=True)
    return Cancel(job.flink_job_id)
