"""From what was seen to what is known of an attempt: the advance rule.

The next attempt of a lane may start only when the current one is known to be dead: seen terminal; or seen once and now
absent in the same life of the JobManager; or burned; or a new life plus quarantine. Everything else is waiting.
"""

from flink_controller.domain.observation import JobSeen, NotSent
from flink_controller.domain.plan import Draft, living_of
from flink_controller.domain.status import Attempt, AttemptPhase, EndState

BURN_JOB_NAME = "flinkctl-burn"


def learn(draft: Draft) -> None:
    """Take what the cluster lists into the status, for each lane."""
    _learn_of_lane(draft)
    with draft.second_lane():
        _learn_of_lane(draft)
    for run in draft.status.runs.active:
        with draft.lane_of(run):
            _learn_of_lane(draft)
    if draft.seen is None:
        return
    if all(draft.job(attempt.flink_job_id) is not None for attempt in living_of(draft.status)):
        draft.set(quarantine=None)


def _learn_of_lane(draft: Draft) -> None:
    attempt = draft.attempt
    if attempt is None or attempt.is_dead:
        return
    if attempt.phase is AttemptPhase.SUBMITTING and isinstance(draft.answer, NotSent):
        draft.set_attempt(is_unsent=True)
    if draft.seen is None:
        return
    cluster = draft.facts.observation.cluster
    if cluster is None or cluster.name != attempt.cluster:
        return
    job = draft.job(attempt.flink_job_id)
    if job is not None:
        _present(draft, attempt, job)
    elif draft.seen.incarnation is not None:
        _absent(draft, attempt, draft.seen.incarnation)


def _present(draft: Draft, attempt: Attempt, job: JobSeen) -> None:
    if draft.seen is not None and draft.seen.incarnation is not None:
        draft.set_attempt(incarnation=draft.seen.incarnation)
    if job.state.is_terminal:
        _ended(draft, attempt, job)
        return
    if is_burn(attempt, job):
        return
    draft.set_attempt(phase=AttemptPhase.LIVE, flink_state=job.state.value)
    if attempt.live_at is None:
        draft.set_attempt(live_at=draft.now)
        draft.event("Running", f"{job.flink_job_id} is {job.state} on {attempt.cluster}")
    if not job.is_processing:
        draft.set_attempt(settled_at=None, modified_ms=job.modified_ms)
    elif attempt.settled_at is None or attempt.modified_ms != job.modified_ms:
        # A change that happened between two looks shows in Flink's own stamp: restart loops cannot hide.
        draft.set_attempt(settled_at=draft.now, modified_ms=job.modified_ms)
    checkpoints = draft.checkpoints
    if checkpoints is not None:
        completed = checkpoints.completed
        is_at_root = completed is not None and completed.path.startswith(f"{attempt.checkpoint_root}/")
        draft.set_attempt(
            is_checkpointed=checkpoints.is_enabled,
            has_completed_checkpoint=attempt.has_completed_checkpoint or completed is not None,
            keeps_checkpoints_at_root=attempt.keeps_checkpoints_at_root or is_at_root,
            retains_state=not checkpoints.deletes_on_cancellation,
        )


def is_burn(attempt: Attempt, job: JobSeen) -> bool:
    """Whether what is listed under the id is our own burn; a team's job may have any name."""
    return attempt.phase is AttemptPhase.BURNING and job.name == BURN_JOB_NAME


def _ended(draft: Draft, attempt: Attempt, job: JobSeen) -> None:
    if attempt.phase is AttemptPhase.BURNING and draft.application is not None and draft.application.is_alive:
        # Its id is used up; what main() does beside its job goes on, and is ended first.
        return
    if is_burn(attempt, job):
        die(draft, EndState.BURNED, cause=attempt.refusal)
        return
    die(draft, EndState(job.state.value), cause=draft.root_cause or attempt.refusal)


def _absent(draft: Draft, attempt: Attempt, incarnation: str) -> None:
    cluster = draft.facts.observation.cluster
    assert cluster is not None
    quarantine = draft.status.quarantine
    wait = draft.facts.policy.quarantine(cluster.heartbeat_timeout_s)
    is_over = quarantine is not None and quarantine.incarnation == incarnation and draft.now >= quarantine.since + wait
    # A lane beside it may have submitted since, in this very life; with high availability only a job that was seen waits.
    is_in_question = attempt.phase is AttemptPhase.LIVE if cluster.high_availability else attempt.incarnation != incarnation
    if is_over and is_in_question:
        die(draft, EndState.LOST)
        return
    same_life = incarnation == attempt.incarnation and not cluster.high_availability
    if same_life and attempt.phase is AttemptPhase.LIVE:
        die(draft, EndState.UNKNOWN)


def die(draft: Draft, end: EndState, *, cause: str | None = None) -> None:
    """Record that the attempt is known to be dead."""
    draft.set_attempt(
        phase=AttemptPhase.DEAD,
        end=end,
        dead_at=draft.now,
        flink_state="UNKNOWN" if end in {EndState.UNKNOWN, EndState.LOST, EndState.BURNED} else end.value,
        root_cause=cause,
        settled_at=None,
    )
