"""A batch job: which scheduled instants become runs, and the lane that each run has to itself.

An instant is decided on once: it becomes a run, or a record of why it did not, and `decided_until` passes it in the same
write. A run starts by the write that holds the intent of its first submit: its record, the counter, and its place in the
namespace's quota. From there its lane obeys the same rules as a streaming job's: the same learning, submitting and
burning, on attempts that are numbered by the job's one counter. What differs is the end: a run is never brought back
because Flink has forgotten it.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from flink_controller.domain import distrusting, handover, intents, quarantine, submitting
from flink_controller.domain.actions import Action, Cancel, LoadRun, PruneRuns, ReleaseJar
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.plan import Draft, bounded
from flink_controller.domain.run_arguments import iso
from flink_controller.domain.schedule import TZDATA_VERSION, Schedule, parse
from flink_controller.domain.spec import BatchConfig, JobSpec
from flink_controller.domain.status import (
    ActiveRun,
    AttemptPhase,
    DesiredState,
    DueKind,
    EndState,
    PendingRun,
    RevisionRef,
    Run,
    RunOutcome,
    StagedJar,
)

ON_TIME: Final = timedelta(minutes=2)
"""Two ticks. An instant that is later than this was missed, and `missed_run_policy` says what becomes of it."""
BACKLOG: Final = 10
"""Missed instants that `run_all` makes up for, the newest; older ones are recorded as missed."""
MAX_ACTIVE: Final = 5
"""Runs of one job at a time, whatever the policy: they stand in one status item."""
CLOCK_BEHIND: Final = timedelta(hours=1)
"""A clock this far behind what was decided already is wrong; less is the usual difference between two clocks."""
WATCHED: Final = timedelta(minutes=2)
"""How long a run is polled; the tick of the fleet notices the end of longer ones within a minute."""
SOON: Final = timedelta(minutes=15)
"""An end that comes within the queue's longest delay is looked for to the second."""
MAX_BACKOFF: Final = timedelta(hours=1)
TIMES_OUT: Final = "TimeToLive"


def step(draft: Draft) -> Action | None:
    """Take one step of a batch job on a cluster that answered."""
    revision = draft.status.desired
    spec = None if revision is None else draft.spec_of(revision)
    if revision is not None and spec is None and draft.status.desired_state is DesiredState.RUNNING:
        action: Action | None = intents.load_revision(draft, revision)
        if action is not None:
            return action
    for run in draft.status.runs.active:
        with draft.lane_of(run):
            _conclude(draft, run, spec)
    if spec is not None and revision is not None:
        _take_due(draft, spec, revision)
    for run in draft.status.runs.active:
        with draft.lane_of(run):
            action = _lane(draft, run)
        if action is not None:
            return action
    if spec is not None and revision is not None:
        action = _start(draft, spec, revision)
        if action is not None:
            return action
    return _tidy(draft, spec)


def settle(draft: Draft) -> None:
    """Say when a schedule must wake the job, and whether anything is left to run."""
    revision = draft.status.desired
    is_on = draft.status.desired_state is DesiredState.RUNNING and not closed(draft)
    spec = None if revision is None else draft.spec_of(revision)
    if closed(draft):
        draft.set_runs(closed=closed(draft))
    if closed(draft) == "Deleted" and draft.status.runs.pending:
        _not_started(draft, draft.status.runs.pending, RunOutcome.SKIPPED, "Deleted", "no run is started")
        draft.set_runs(pending=())
    runs = draft.status.runs
    expiries = [run.expires_at for run in runs.active if run.expires_at is not None and run.ending is None]
    due = [(at, DueKind.EXPIRE) for at in expiries]
    if spec is not None and runs.schedule:
        config = spec.batch_config
        next_at = _next(draft, config) if is_on else None
        draft.set_runs(next_at=next_at)
        is_served = runs.served is not None if config.cron is None else next_at is None
        is_over = is_on and is_served and not runs.active and not runs.pending
        if is_over and not draft.status.is_completed:
            draft.event("Completed", "nothing is left to run")
        draft.set(is_completed=is_over)
        if next_at is not None:
            due.append((next_at + _jitter(draft, config), DueKind.LAUNCH))
    elif draft.status.due is not None and draft.status.due[0] is DueKind.LAUNCH and is_on:
        due.append((draft.status.due[1], DueKind.LAUNCH))
    for at in expiries:
        # The tick finds it too, up to a minute later.
        if timedelta(0) < at - draft.now <= SOON:
            draft.look(at)
    first = min(due, default=None)
    draft.set(due=None if first is None else (first[1], first[0]))


def closed(draft: Draft) -> str:
    """Say why no run may start; empty when one may."""
    if draft.status.desired_state is DesiredState.SUSPENDED:
        return "Suspended"
    if draft.status.desired_state is not DesiredState.RUNNING:
        return "Deleted"
    return draft.status.halt_reason if draft.status.halted is not None else ""


def schedule_of(config: BatchConfig) -> Schedule | None:
    """Give the schedule of a valid spec; None when it has none."""
    return None if config.cron is None else parse(config.cron, config.timezone)


def scheduled_condition(draft: Draft) -> tuple[str, str, str]:
    """Give status, reason and message of the condition Scheduled."""
    runs, why = draft.status.runs, closed(draft)
    if why:
        return "False", why, "no run is started"
    if draft.status.waiting is not None and draft.status.waiting[0] == "ClockBehind":
        return "False", *draft.status.waiting
    if runs.next_at is not None:
        return "True", "Scheduled", f"next at {iso(runs.next_at)} (time zones of {TZDATA_VERSION})"
    if draft.status.is_completed:
        return "False", "Completed", "nothing is left to run"
    return "Unknown", "NoSchedule", "runs once per revision"


def _key(config: BatchConfig) -> str:
    return hashlib.sha256(f"{config.cron}\0{config.timezone}\0{config.start_at}\0{config.end_at}".encode()).hexdigest()[:16]


def _jitter(draft: Draft, config: BatchConfig) -> timedelta:
    """The same for every instant of a job, so that the distance between its runs stays what the schedule says."""
    if not config.jitter_seconds:
        return timedelta(0)
    digest = hashlib.sha256(draft.facts.job_id.encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % (config.jitter_seconds + 1))


def _next(draft: Draft, config: BatchConfig) -> datetime | None:
    runs, schedule = draft.status.runs, schedule_of(config)
    if schedule is None or runs.decided_until is None or _is_used_up(draft, config):
        return None
    found = schedule.next_fire(_lower(runs.decided_until, config))
    end = config.end
    return None if found is None or (end is not None and found > end) else found


def _lower(decided_until: datetime, config: BatchConfig) -> datetime:
    start = config.start
    return decided_until if start is None else max(decided_until, start - timedelta(microseconds=1))


def _is_used_up(draft: Draft, config: BatchConfig) -> bool:
    return config.max_runs is not None and draft.status.runs.started >= config.max_runs


def _take_due(draft: Draft, spec: JobSpec, revision: RevisionRef) -> None:
    """Decide on every instant that has come, and on every wish."""
    config, runs, why = spec.batch_config, draft.status.runs, closed(draft)
    if runs.schedule != _key(config):
        # What another schedule would have asked for in the past is nobody's wish.
        draft.set_runs(schedule=_key(config), decided_until=draft.now)
    elif runs.decided_until is not None and runs.decided_until > draft.now + CLOCK_BEHIND:
        draft.wait(
            "ClockBehind",
            f"every instant until {iso(runs.decided_until)} is decided on already, so it cannot be {iso(draft.now)} now",
            draft.now + intents.BLOCKED_LOOK,
        )
        return
    if runs.closed in {"Deleted", "RunFailed", "TooManyFailures"} and not why:
        # Written again, changed or restarted: a job without a schedule runs once more, and failures are counted anew.
        draft.set_runs(served=None, failed_in_a_row=0)
    # What was due while nothing could start is not made up for; what is asked for now is another matter.
    fresh = [PendingRun(scheduled_at=at) for at in _due(draft, config, why or runs.closed)]
    fresh += _wishes(draft, config, revision)
    draft.set_runs(closed=why)
    if _is_used_up(draft, config):
        why = why or "MaxRuns"
    pending = (*draft.status.runs.pending, *fresh)
    # The arguments of a wish are gone with it.
    gone = tuple(run for run in pending if run.nonce not in {None, config.run_now.nonce})
    _not_started(draft, gone, RunOutcome.SKIPPED, "Withdrawn", "another run was asked for before it could start")
    pending = tuple(run for run in pending if run not in gone)
    if why:
        # Somebody who asks for a run of a job that has failed too often means it.
        kept = tuple(run for run in pending if run.nonce is not None and why == draft.status.halt_reason)
        _not_started(draft, [run for run in pending if run not in kept], RunOutcome.SKIPPED, why, "no run is started")
        pending = kept
    pending = _in_time(draft, config, pending)
    pending = _policed(draft, config, pending)
    _not_started(draft, pending[: -BACKLOG - 1], RunOutcome.MISSED, "TooManyMissed", f"only the newest {BACKLOG} wait")
    draft.set_runs(pending=pending[-BACKLOG - 1 :])


def _due(draft: Draft, config: BatchConfig, why: str) -> tuple[datetime, ...]:
    """Give the instants that have come since the last decision, the newest only; older ones are recorded at once."""
    schedule, decided = schedule_of(config), draft.status.runs.decided_until
    assert decided is not None
    end, until = config.end, draft.now - _jitter(draft, config)
    until = until if end is None else min(until, end)
    lower = _lower(decided, config)
    if schedule is None or until <= lower:
        return ()
    found = schedule.latest(lower, until, BACKLOG + 1)
    if not found:
        return ()
    draft.set_runs(decided_until=until)
    if why:
        # One record tells of all of them.
        first = schedule.next_fire(lower) or found[0]
        _record(draft, first, RunOutcome.SKIPPED, why, "no run is started", until=found[-1])
        return ()
    if len(found) > BACKLOG:
        first = schedule.next_fire(lower) or found[0]
        _record(
            draft, first, RunOutcome.MISSED, "TooManyMissed", f"only the newest {BACKLOG} are made up for", until=found[0]
        )
    return found[-BACKLOG:]


def _wishes(draft: Draft, config: BatchConfig, revision: RevisionRef) -> Iterable[PendingRun]:
    """Give the run that somebody asked for, and the one of a new revision of a job without a schedule."""
    runs, nonce = draft.status.runs, config.run_now.nonce
    if nonce is not None and nonce != runs.nonce:
        draft.set_runs(nonce=nonce)
        yield PendingRun(scheduled_at=_instant(draft), nonce=nonce)
    elif config.cron is None and not closed(draft):
        is_new = runs.served is None or classify(runs.served, revision) > SpecChange.IGNORE
        if is_new:
            # One run waits for a revision, and it starts with the newest.
            at, waiting = _instant(draft), tuple(run for run in runs.pending if run.nonce is None)
            _not_started(
                draft, waiting, RunOutcome.SKIPPED, "Withdrawn", "a newer revision was accepted before it could start"
            )
            draft.set_runs(served=revision, pending=tuple(run for run in runs.pending if run not in waiting))
            yield PendingRun(scheduled_at=at)


def _instant(draft: Draft) -> datetime:
    """Give now, to the millisecond, as an instant that no other run of the job has."""
    runs = draft.status.runs
    taken = {run.scheduled_at for run in runs.pending} | {run.scheduled_at for run in runs.active}
    taken |= draft.facts.findings.runs_taken
    last = () if runs.last is None else (runs.last.scheduled_at,)
    at = draft.now.replace(microsecond=draft.now.microsecond // 1000 * 1000)
    # After what waits, too: that may give way to this one within the same millisecond, and keeps its record.
    at = max([at, *(run.scheduled_at + timedelta(milliseconds=1) for run in runs.pending)])
    while at in taken or at in last:
        at += timedelta(milliseconds=1)
    return at


def _in_time(draft: Draft, config: BatchConfig, pending: tuple[PendingRun, ...]) -> tuple[PendingRun, ...]:
    """Give up what cannot start by its deadline any more."""
    if config.starting_deadline_seconds is None:
        return pending
    oldest = draft.now - _jitter(draft, config) - timedelta(seconds=config.starting_deadline_seconds)
    late = tuple(run for run in pending if run.scheduled_at < oldest)
    _not_started(
        draft, late, RunOutcome.MISSED, "StartingDeadline", f"not started within {config.starting_deadline_seconds} s"
    )
    return tuple(run for run in pending if run not in late)


def _policed(draft: Draft, config: BatchConfig, pending: tuple[PendingRun, ...]) -> tuple[PendingRun, ...]:
    """Apply what the spec says about runs that meet others, and about instants that were missed."""
    if draft.status.runs.active and config.overlap_policy != "allow":
        return _overlapping(draft, config, pending)
    oldest = draft.now - _jitter(draft, config) - ON_TIME
    held = tuple(run for run in pending if run.is_held or run.nonce is not None)
    late = tuple(run for run in pending if run not in held and run.scheduled_at < oldest)
    fresh = tuple(run for run in pending if run not in held and run not in late)
    match config.missed_run_policy:
        case "skip":
            gone = late
        case "run_latest":
            gone = (*late, *fresh)[:-1] if late else ()
        case "run_all":
            gone = (*late, *fresh)[:-BACKLOG]
    _not_started(draft, gone, RunOutcome.MISSED, "MissedRunPolicy", f"missed_run_policy is {config.missed_run_policy}")
    kept = tuple(run for run in pending if run not in gone)
    if config.overlap_policy == "allow":
        room, no_place = max(MAX_ACTIVE - len(draft.status.runs.active), 0), draft.facts.findings.no_place
        over = kept if no_place else kept[room:]
        reason = "QuotaExceeded" if no_place else "TooManyActive"
        message = no_place or f"{len(draft.status.runs.active)} runs of the job are active"
        _not_started(draft, over, RunOutcome.SKIPPED, reason, message)
        return tuple(run for run in kept if run not in over)
    # What is made up for starts one after another; a turn that is waited for is neither lateness nor overlap.
    is_backlog = bool(late) and config.missed_run_policy == "run_all"
    return tuple(run.model_copy(update={"is_held": True}) if is_backlog else run for run in kept)


def _overlapping(draft: Draft, config: BatchConfig, pending: tuple[PendingRun, ...]) -> tuple[PendingRun, ...]:
    """Decide on what became due while a run is active."""
    fresh = tuple(run for run in pending if not run.is_held)
    match config.overlap_policy:
        case "forbid":
            # The one run of a revision comes once and never again: it waits, where an instant has a successor.
            gone = tuple(run for run in fresh if config.cron is not None or run.nonce is not None)
        case _:
            # The newest waits for its turn; what waited before gives way.
            gone = pending[:-1] if fresh else ()
    _not_started(
        draft, gone, RunOutcome.SKIPPED, "Overlap", f"overlap_policy is {config.overlap_policy}, and a run is active"
    )
    if config.overlap_policy == "replace" and fresh:
        for run in draft.status.runs.active:
            with draft.lane_of(run):
                _ask_to_end(draft, run, RunOutcome.CANCELLED, "Replaced")
    return tuple(run.model_copy(update={"is_held": True}) for run in pending if run not in gone)


def _not_started(draft: Draft, gone: Iterable[PendingRun], outcome: RunOutcome, reason: str, message: str) -> None:
    for run in gone:
        _record(draft, run.scheduled_at, outcome, reason, message, is_manual=run.nonce is not None)


def _record(
    draft: Draft,
    at: datetime,
    outcome: RunOutcome,
    reason: str,
    message: str,
    *,
    until: datetime | None = None,
    is_manual: bool = False,
) -> None:
    """Put on record why an instant has no run."""
    until = None if until == at else until
    draft.runs[at] = Run(
        scheduled_at=at,
        until=until,
        outcome=outcome,
        reason=reason,
        message=message,
        ended_at=draft.now,
        is_manual=is_manual,
    )
    span = iso(at) if until is None else f"{iso(at)} to {iso(until)}"
    draft.event("RunNotStarted", f"{span} {outcome}: {reason}: {message}", warning=outcome is RunOutcome.MISSED)


def _start(draft: Draft, spec: JobSpec, revision: RevisionRef) -> Action | None:
    """Start the next pending run, if it is its turn: its record, the counter and the intent are one write."""
    runs, config, cluster = draft.status.runs, spec.batch_config, draft.facts.observation.cluster
    if not runs.pending or draft.status.desired_state is not DesiredState.RUNNING or _is_used_up(draft, config):
        return None
    if runs.active and config.overlap_policy != "allow":
        return None
    assert cluster is not None
    pending, *rest = runs.pending
    if cluster.name != spec.cluster:
        draft.wait("ClusterBusy", f"runs are still active on {cluster.name}", draft.now + intents.BLOCKED_LOOK)
        return None
    if pending.scheduled_at in draft.facts.findings.runs_taken:
        draft.set_runs(pending=tuple(rest))
        draft.look(draft.now)
        return None
    if draft.facts.findings.no_place:
        draft.wait("QuotaExceeded", draft.facts.findings.no_place, draft.now + intents.BLOCKED_LOOK)
        return None
    ready = submitting.ready_to_submit(draft, revision)
    staged = draft.facts.findings.staged
    if not isinstance(ready, bool):
        return ready
    if not ready or staged is None:
        return None
    attempt = submitting.open_attempt(draft, revision, cluster, staged, restore_from=None)
    ttl = config.ttl_seconds
    run = ActiveRun(
        scheduled_at=pending.scheduled_at,
        previous_at=runs.previous_at or _scheduled_before(config, pending),
        revision=revision,
        attempt=attempt,
        started_at=draft.now,
        expires_at=None if ttl is None else draft.now + timedelta(seconds=ttl),
        nonce=pending.nonce,
        retries_left=config.backoff_limit,
        backoff_seconds=spec.deployment.on_failure.backoff_seconds,
        submission_deadline_seconds=config.submission_deadline_seconds,
    )
    draft.set_runs(
        active=(*runs.active, run), pending=tuple(rest), started=runs.started + 1, previous_at=pending.scheduled_at
    )
    draft.set(is_completed=False)
    with draft.lane_of(run):
        draft.started_runs.append(_told(draft, run, RunOutcome.RUNNING))
        draft.event("RunStarted", f"{iso(run.scheduled_at)} as {attempt.flink_job_id}")
        return _submit(draft, run, cluster, staged)


def _scheduled_before(config: BatchConfig, pending: PendingRun) -> datetime | None:
    """Give the instant before the first run's, so that its program knows the beginning of its span too."""
    schedule = schedule_of(config)
    return None if schedule is None or pending.nonce is not None else schedule.previous_fire(pending.scheduled_at)


def _submit(draft: Draft, run: ActiveRun, cluster: Cluster, staged: StagedJar) -> Action:
    spec = draft.spec_of(run.revision)
    assert spec is not None
    return submitting.submit_of(draft, intents.current_attempt(draft), run.revision, spec, cluster, staged)


def _lane(draft: Draft, run: ActiveRun) -> Action | None:
    """Take the step of a run that is not over."""
    seen, cluster, attempt = draft.seen, draft.facts.observation.cluster, run.attempt
    assert seen is not None
    assert cluster is not None
    if attempt.cluster != cluster.name:
        draft.look(draft.now + intents.BLOCKED_LOOK)
        return None
    _limit(draft, run)
    run = draft.run or run
    if attempt.is_dead:
        return _retry(draft, run, cluster)
    if draft.job(attempt.flink_job_id) is None and seen.incarnation is None:
        draft.wait("ClusterRestarting", "the JobManager restarted during this look", draft.now + timedelta(seconds=1))
        return None
    if quarantine.is_in_question(draft, attempt):
        return quarantine.wait_out(draft, attempt)
    match attempt.phase:
        case AttemptPhase.SUBMITTING:
            missing = _missing_args(draft, run)
            if missing is not None:
                return missing
            return submitting.submitting(draft, revision=run.revision, is_wanted=run.ending is None)
        case AttemptPhase.BURNING:
            return submitting.burning(draft, attempt)
        case _:
            return _live(draft, run)


def _limit(draft: Draft, run: ActiveRun) -> None:
    """Ask a run to end that is past a limit, or whose job is to be deleted."""
    attempt, cluster = run.attempt, draft.facts.observation.cluster
    assert cluster is not None
    timeout = draft.facts.policy.submit_timeout
    deadline = attempt.created_at + timedelta(seconds=run.submission_deadline_seconds)
    found = distrusting.ends_run(draft, run)
    if draft.status.desired_state in {DesiredState.DELETED, DesiredState.ABANDONED}:
        _ask_to_end(draft, run, RunOutcome.CANCELLED, "Deleted")
    elif run.expires_at is not None and draft.now >= run.expires_at:
        _ask_to_end(draft, run, RunOutcome.EXPIRED, TIMES_OUT)
    elif found is not None:
        # It leaves nothing behind that a later run could go on from, so there is nothing to save.
        _ask_to_end(draft, run, RunOutcome.CANCELLED, found.reason)
    elif attempt.phase is AttemptPhase.SUBMITTING and attempt.live_at is None:
        if cluster.high_availability and not attempt.is_unsent and draft.now >= attempt.submitted_at + timeout:
            # After a failover Flink may have forgotten that it ran and finished.
            _ask_to_end(draft, run, RunOutcome.LOST, "SubmitUnknown")
        elif draft.now >= deadline:
            _ask_to_end(draft, run, RunOutcome.FAILED, "SubmissionDeadline")


def _ask_to_end(draft: Draft, run: ActiveRun, outcome: RunOutcome, reason: str) -> None:
    if run.ending is None:
        draft.set_run(ending=outcome, ending_reason=reason)
        draft.event("RunEnding", f"{iso(run.scheduled_at)}: {reason}", warning=outcome is not RunOutcome.CANCELLED)


def _live(draft: Draft, run: ActiveRun) -> Action | None:
    """Watch a run, or cancel it until it is dead. Flink ends tasks that do not stop by themselves after a grace of its own."""
    if run.ending_reason in {"SubmitUnknown", "SubmissionDeadline"}:
        # It came up after all.
        draft.set_run(ending=None, ending_reason="")
        run = draft.run or run
    if run.ending is None:
        age = draft.now - (run.attempt.live_at or run.attempt.created_at)
        if age < WATCHED:
            draft.look(draft.now + intents.poll_interval(age))
        return None
    asked = run.cancel_requested_at
    if asked is None or draft.now >= asked + intents.RESEND:
        draft.set_run(cancel_requested_at=draft.now)
        return Cancel(run.attempt.flink_job_id)
    draft.look(draft.now + intents.poll_interval(draft.now - asked))
    return None


def _missing_args(draft: Draft, run: ActiveRun) -> LoadRun | None:
    is_known = run.nonce is None or run.scheduled_at in draft.facts.findings.runs or bool(draft.run_args)
    return None if is_known else LoadRun(run.scheduled_at)


def _retry(draft: Draft, run: ActiveRun, cluster: Cluster) -> Action | None:
    """Start the next attempt of a run whose last one failed, when its time has come."""
    if run.ending is not None:
        # Asked to end between two attempts: the next look concludes that.
        draft.look(draft.now)
        return None
    if run.retry_at is not None and draft.now < run.retry_at:
        draft.look(run.retry_at)
        return None
    missing = _missing_args(draft, run)
    if missing is not None:
        return missing
    ready = submitting.ready_to_submit(draft, run.revision)
    staged = draft.facts.findings.staged
    if not isinstance(ready, bool):
        return ready
    if not ready or staged is None:
        return None
    attempt = submitting.open_attempt(draft, run.revision, cluster, staged, restore_from=None)
    draft.set_run(attempt=attempt, retry_at=None, cancel_requested_at=None)
    run = draft.run or run
    draft.runs[run.scheduled_at] = _told(draft, run, RunOutcome.RUNNING)
    draft.event("RunRetried", f"{iso(run.scheduled_at)} as {attempt.flink_job_id}")
    return _submit(draft, run, cluster, staged)


def _conclude(draft: Draft, run: ActiveRun, spec: JobSpec | None) -> None:
    """Draw the conclusions of an attempt that is known to be dead: the run's end, or another attempt."""
    attempt = run.attempt
    is_retried = run.retry_at is not None and run.ending is None
    if not attempt.is_dead or is_retried:
        return
    if attempt.end is EndState.FINISHED:
        _end(draft, run, RunOutcome.SUCCEEDED, "Finished")
    elif run.ending is not None:
        _end(draft, run, run.ending, run.ending_reason, attempt.root_cause or "")
    elif attempt.end is EndState.CANCELED:
        _end(draft, run, RunOutcome.CANCELLED, "CancelledOutside", "cancelled outside of the controller")
    elif attempt.end is EndState.FAILED:
        _failed(draft, run, "JobFailed", attempt.root_cause or "Flink tells no cause")
    elif attempt.end is EndState.BURNED and attempt.refusal is not None and attempt.refusal_is_final:
        _failed(draft, run, "SubmissionRefused", attempt.refusal)
    elif attempt.end is EndState.BURNED or (attempt.is_unsent and attempt.live_at is None):
        # It never ran, by no fault of its program: tried again until the deadline of its submission.
        if draft.now >= run.started_at + timedelta(seconds=run.submission_deadline_seconds):
            _end(draft, run, RunOutcome.FAILED, "SubmissionDeadline", attempt.refusal or "")
        else:
            draft.set_run(retry_at=draft.now + intents.RESEND)
    else:
        _end(draft, run, RunOutcome.LOST, "JobLost", "nobody saw its end; it is not run again")
    _count(draft, run, spec)


def _failed(draft: Draft, run: ActiveRun, reason: str, cause: str) -> None:
    if run.retries_left == 0:
        _end(draft, run, RunOutcome.FAILED, reason, cause)
        return
    wait = min(timedelta(seconds=run.backoff_seconds) * 2 ** min(run.failures, 12), MAX_BACKOFF)
    draft.set_run(retries_left=run.retries_left - 1, failures=run.failures + 1, retry_at=draft.now + wait)
    draft.event(reason, f"{iso(run.scheduled_at)}: {cause}; tried again in {wait.total_seconds():.0f} s", warning=True)


def _end(draft: Draft, run: ActiveRun, outcome: RunOutcome, reason: str, message: str = "") -> None:
    """Put a run's end on record, once."""
    told = _told(draft, run, outcome).model_copy(
        update={"reason": reason, "message": bounded(message), "ended_at": draft.now}
    )
    draft.runs[run.scheduled_at] = told
    draft.ended_runs += 1
    is_bad = outcome in {RunOutcome.FAILED, RunOutcome.LOST, RunOutcome.EXPIRED}
    text = f"{iso(run.scheduled_at)} {outcome}: {reason}" + (f": {message}" if message else "")
    draft.event("RunEnded", text, warning=is_bad)
    runs = draft.status.runs
    failed = 0 if outcome is RunOutcome.SUCCEEDED else runs.failed_in_a_row + is_bad
    draft.set_runs(
        active=tuple(other for other in runs.active if other.scheduled_at != run.scheduled_at),
        last=told.model_copy(update={"args": ()}),
        failed_in_a_row=failed,
    )
    if outcome is RunOutcome.SUCCEEDED and draft.status.halt_reason in {"TooManyFailures", "RunFailed"}:
        # What was due meanwhile stays skipped, and the revision of a job without a schedule has run now.
        draft.set_runs(closed="" if draft.status.halt_reason == "RunFailed" else runs.closed)
        draft.set(halted=None, halt_reason="")


def _count(draft: Draft, run: ActiveRun, spec: JobSpec | None) -> None:
    """Stop a job that fails again and again, or whose only run did not succeed. A newer revision is still to run."""
    last, failed = draft.status.runs.last, draft.status.runs.failed_in_a_row
    if spec is None or last is None or draft.status.halted is not None or draft.run is not None:
        return
    limit = spec.batch_config.suspend_after_failures
    if spec.batch_config.cron is None:
        # A run that was replaced or deleted ended by the team's own wish.
        desired = draft.status.desired
        is_outdated = desired is not None and classify(run.revision, desired) > SpecChange.IGNORE
        if last.outcome is not RunOutcome.SUCCEEDED and last.reason not in {"Replaced", "Deleted"} and not is_outdated:
            handover.halt(draft, "RunFailed", f"{last.outcome}: {last.reason}: {last.message}".removesuffix(": "))
    elif limit is not None and failed >= limit:
        handover.halt(
            draft, "TooManyFailures", f"{failed} runs in a row did not succeed; the last: {last.reason}: {last.message}"
        )


def _told(draft: Draft, run: ActiveRun, outcome: RunOutcome) -> Run:
    attempt = run.attempt
    return Run(
        scheduled_at=run.scheduled_at,
        outcome=outcome,
        revision=run.revision.number,
        attempt=attempt.number,
        flink_job_id=attempt.flink_job_id,
        started_at=run.started_at,
        is_manual=run.nonce is not None,
        args=draft.run_args,
    )


def _tidy(draft: Draft, spec: JobSpec | None) -> Action | None:
    """Give up jars that no run needs, and records beyond what is kept."""
    runs, cluster, gone = draft.status.runs, draft.facts.observation.cluster, draft.facts.findings.released
    assert cluster is not None
    left = tuple(digest for digest in draft.status.staged_digests if digest not in gone)
    if left != draft.status.staged_digests:
        draft.set(staged_digests=left)
    is_deleted = draft.status.desired_state in {DesiredState.DELETED, DesiredState.ABANDONED}
    is_idle = not runs.active and not runs.pending
    drops = is_idle and (is_deleted or (spec is not None and spec.batch_config.cleanup_on_completion))
    desired = None if drops else draft.status.desired
    kept = {
        revision.artifact.staged_digest
        for revision in (desired, *(run.revision for run in runs.active))
        if revision is not None
    }
    unneeded = next((digest for digest in left if digest not in kept), None)
    if unneeded is not None:
        return ReleaseJar(cluster.name, unneeded)
    if draft.runs and spec is not None and not draft.facts.findings.has_pruned_runs:
        config = spec.batch_config
        return PruneRuns(config.succeeded_runs_kept, config.other_runs_kept)
    return None
