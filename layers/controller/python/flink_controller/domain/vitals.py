"""How a job fares that was healthy once: checkpoints, restarts, tasks, backpressure.

What is wrong is a symptom: suspected first where it must last, told once, and told once more when it is over. Nothing in
here reads a clock or remembers a reading; a job with a symptom says when to look again, and all others are sampled by the
tick of the fleet, which only wakes them.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from flink_controller.domain.observation import CheckpointProgress, JobSeen, LoadedVertex, Pressure, TaskFailure
from flink_controller.domain.plan import Draft, Policy, bounded, is_watched, target_of
from flink_controller.domain.spec import JobSpec, Monitoring, Rollback, SpecView, ValidSpec
from flink_controller.domain.status import Attempt, CheckpointFigures, DesiredState, JobStatus, Symptom, SymptomKind

FAILED_CHECKPOINTS = 3
"""In a row: one may be slow, two may meet a restart."""
INTERVALS = 3
"""Least length of the window, in checkpoint intervals."""
RESTARTS = 3
"""Within `monitoring.restart_window_seconds` they are a loop."""
FAILURES_TOLD = 3
"""Root exceptions that one look tells, the newest; of more their number."""
HIGH = 0.5
"""Share of its time that a subtask cannot emit: what Flink's own page calls high backpressure."""
BUSY = 0.5
"""Share of its time that a subtask works: above, more of them help."""
FIGURES_AGE = timedelta(minutes=10)
"""Before figures of healthy checkpoints are written down again: each time costs a write."""
SYMPTOM_LOOK_FIRST, SYMPTOM_LOOK_LAST = timedelta(seconds=1), timedelta(seconds=60)
"""Between two looks at a symptom: a quarter of its window, within these."""


class Reading(StrEnum):
    """What a look can read of a job's vital signs."""

    CHECKPOINTS = "checkpoints"
    FAILURES = "failures"
    PRESSURE = "pressure"


def readings(status: JobStatus, spec: SpecView, job: JobSeen, policy: Policy) -> frozenset[Reading]:
    """Say what a look must read: nothing while something else is about to happen to the job."""
    attempt, target = status.attempt, target_of(status)
    is_busy = status.operation is not None or status.second is not None
    if policy.sample_calls == 0 or attempt is None or is_busy or not is_watched(status):
        return frozenset()
    is_settled = isinstance(spec, ValidSpec) and spec.spec_hash == status.observed_spec_hash
    if not is_settled or target is None or target.number != attempt.revision or job.state.is_terminal:
        return frozenset()
    found = {Reading.CHECKPOINTS}
    is_in_trouble = any(status.symptom(kind) for kind in (SymptomKind.RESTARTS, SymptomKind.TASKS))
    if is_in_trouble or not job.is_processing or job.modified_ms != attempt.modified_ms:
        found.add(Reading.FAILURES)
    if job.is_processing:
        found.add(Reading.PRESSURE)
    return frozenset(found)


def watch(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> bool:
    """Judge what was read, open and close symptoms, and say when to look again.

    Returns:
        Whether this very attempt is unhealthy: its tasks are missing, or its checkpoints make no progress, for long enough.
        A symptom that an earlier one began says nothing about it.
    """
    if not is_watched(draft.status) or draft.seen is None:
        return False
    monitoring = spec.monitoring if spec is not None else Monitoring()
    is_stalled = _checkpoints(draft, attempt, monitoring)
    _restarts(draft, attempt, timedelta(seconds=monitoring.restart_window_seconds))
    rollback = spec.deployment.rollback if spec is not None else Rollback()
    is_incomplete = _tasks(draft, attempt, timedelta(seconds=rollback.stabilization_seconds))
    _pressure(draft, timedelta(seconds=monitoring.backpressure_window_seconds))
    if draft.status.symptoms:
        draft.look(draft.now + SYMPTOM_LOOK_LAST)
    return is_stalled or is_incomplete


def forget_of_the_ended(draft: Draft) -> None:
    """Forget what was wrong with a job that is not to run any more: whoever wanted that knows."""
    status = draft.status
    if status.desired_state is not DesiredState.RUNNING or status.is_completed:
        draft.set(symptoms=(), checkpointing=None)


def has_stalled(progress: CheckpointProgress, *, window: timedelta, since: datetime, now: datetime) -> bool:
    """Whether checkpoints make no progress.

    Args:
        progress: what Flink tells.
        window: how long a job may go without one.
        since: from when on it could take any.
        now: the time.
    """
    newest = max(since, progress.completed_at or since)
    return progress.failed_in_a_row >= FAILED_CHECKPOINTS or now >= newest + window


def checkpoint_window(interval: timedelta, timeout: timedelta, monitoring: Monitoring) -> timedelta:
    """Say how long a job may go without a completed checkpoint: one that is slow, and yet in time, is no fault."""
    if monitoring.checkpoint_window_seconds is not None:
        return timedelta(seconds=monitoring.checkpoint_window_seconds)
    return max(interval + timeout, INTERVALS * interval)


def _checkpoints(draft: Draft, attempt: Attempt, monitoring: Monitoring) -> bool:
    read = draft.checkpoints
    if read is None:
        return False
    if read.interval is None:
        draft.set(checkpointing=None)
        _close(draft, SymptomKind.CHECKPOINTS)
        return False
    timeout = read.timeout or timedelta(0)
    window, progress = checkpoint_window(read.interval, timeout, monitoring), read.progress
    figures = CheckpointFigures(
        of_attempt=attempt.number,
        interval_s=read.interval.total_seconds(),
        timeout_s=timeout.total_seconds(),
        window_s=max(int(window.total_seconds()), 1),
        completed_at=progress.completed_at,
        duration_s=0.0 if progress.duration is None else progress.duration.total_seconds(),
        size_bytes=progress.size_bytes or 0,
        failed_in_a_row=progress.failed_in_a_row,
    )
    known = draft.status.symptom(SymptomKind.CHECKPOINTS)
    is_stalled = has_stalled(progress, window=window, since=_could_run_since(draft, attempt), now=draft.now)
    if is_stalled:
        draft.set(checkpointing=figures)
        _tell(draft, SymptomKind.CHECKPOINTS, "CheckpointStalled", _stall(figures, progress, draft.now))
    elif known is not None and progress.completed_at is not None and progress.completed_at > known.since:
        draft.set(checkpointing=figures)
        _resolve(draft, SymptomKind.CHECKPOINTS, "CheckpointRecovered", f"checkpoints are completed again: {told(figures)}")
    elif known is not None or _is_outdated(draft.status.checkpointing, figures):
        draft.set(checkpointing=figures)
    _look_at_symptom(draft, SymptomKind.CHECKPOINTS, window)
    return is_stalled


def _could_run_since(draft: Draft, attempt: Attempt) -> datetime:
    since, reachable = attempt.live_at or attempt.submitted_at, draft.status.condition("ClusterReachable")
    return since if reachable is None or reachable.status != "True" else max(since, reachable.last_transition_time)


def _is_outdated(known: CheckpointFigures | None, figures: CheckpointFigures) -> bool:
    if known is None or (known.of_attempt, known.window_s) != (figures.of_attempt, figures.window_s):
        return True
    if known.completed_at is None or figures.completed_at is None:
        return known.completed_at != figures.completed_at
    return figures.completed_at >= known.completed_at + FIGURES_AGE


def told(figures: CheckpointFigures) -> str:
    """Tell figures of checkpoints, in one line."""
    limits = f"every {figures.interval_s:g} s, each within {figures.timeout_s:g} s"
    if figures.completed_at is None:
        return f"none was completed; {figures.failed_in_a_row} failed in a row; wanted {limits}"
    failed = f", {figures.failed_in_a_row} failed since" if figures.failed_in_a_row else ""
    return (
        f"the last one was completed at {figures.completed_at:%Y-%m-%d %H:%M:%S} UTC in {figures.duration_s:g} s,"
        f" {figures.size_bytes} bytes{failed}; wanted {limits}"
    )


def _stall(figures: CheckpointFigures, progress: CheckpointProgress, now: datetime) -> str:
    age = "" if progress.completed_at is None else f" for {int((now - progress.completed_at).total_seconds())} s"
    because = f": {progress.failure}" if progress.failure else ""
    return f"no checkpoint was completed{age}{because}; {told(figures)}"


def _restarts(draft: Draft, attempt: Attempt, window: timedelta) -> None:
    failures = None if draft.seen is None else draft.seen.failures
    if failures is None:
        return
    _tell_failures(draft, failures)
    recent = [failure for failure in failures if failure.at > draft.now - window]
    if len(recent) >= RESTARTS:
        message = f"{len(recent)} restarts in {int(window.total_seconds())} s; the last one: {recent[0].cause}"
        _tell(draft, SymptomKind.RESTARTS, "RestartLooping", message)
    elif not recent and draft.now >= (attempt.live_at or attempt.created_at) + window:
        _resolve(draft, SymptomKind.RESTARTS, "RestartsSettled", f"no restart for {int(window.total_seconds())} s")
    _look_at_symptom(draft, SymptomKind.RESTARTS, window)


def _tell_failures(draft: Draft, failures: tuple[TaskFailure, ...]) -> None:
    """Tell each root exception once, the oldest first."""
    until = draft.status.failures_told_until
    new = [failure for failure in failures if until is None or failure.at > until]
    if not new:
        return
    if len(new) > FAILURES_TOLD:
        draft.event("JobRestarted", f"{len(new) - FAILURES_TOLD} restarts more than are told one by one", warning=True)
    for failure in reversed(new[:FAILURES_TOLD]):
        where = f" in {failure.task}" if failure.task else ""
        draft.event("JobRestarted", " ".join((f"{failure.cause}{where}", *failure.frames)), warning=True)
    draft.set(failures_told_until=max(failure.at for failure in new))


def _tasks(draft: Draft, attempt: Attempt, patience: timedelta) -> bool:
    job, known = draft.job(attempt.flink_job_id), draft.status.symptom(SymptomKind.TASKS)
    if job is None or (job.is_processing and known is None):
        return False
    if job.is_processing and known is not None:
        settled = attempt.settled_at or draft.now
        if known.told_at is None:
            _close(draft, SymptomKind.TASKS)
        elif draft.now >= settled + patience:
            _resolve(draft, SymptomKind.TASKS, "TasksBack", f"all {job.tasks_total} tasks run")
        else:
            draft.look(settled + patience)
        return False
    since = draft.now if known is None else known.since
    failures = None if draft.seen is None else draft.seen.failures
    because = f": {failures[0].cause}" if failures else ""
    message = f"{job.tasks_running} of {job.tasks_total} tasks run, Flink says {job.state}{because}"
    if draft.now >= since + patience:
        _tell(draft, SymptomKind.TASKS, "TasksMissing", message)
    else:
        _suspect(draft, SymptomKind.TASKS, message)
        draft.look(since + patience)
    _look_at_symptom(draft, SymptomKind.TASKS, 4 * patience)
    return draft.now >= max(since, attempt.live_at or since) + patience


def _pressure(draft: Draft, window: timedelta) -> None:
    read, known = None if draft.seen is None else draft.seen.pressure, draft.status.symptom(SymptomKind.BACKPRESSURE)
    if read is not None and read.pressed:
        since = draft.now if known is None else known.since
        if known is not None and known.good_since is not None:
            _change(draft, known.model_copy(update={"good_since": None}))
        if draft.now >= since + window:
            _tell(draft, SymptomKind.BACKPRESSURE, "BackpressureStarted", _way(read, since))
        else:
            _suspect(draft, SymptomKind.BACKPRESSURE, _way(read, since))
    elif read is not None and known is not None:
        good_since = known.good_since or draft.now
        if known.told_at is None:
            _close(draft, SymptomKind.BACKPRESSURE)
        elif draft.now >= good_since + window:
            _resolve(draft, SymptomKind.BACKPRESSURE, "BackpressureEnded", "no source waits any more")
        else:
            _change(draft, known.model_copy(update={"good_since": good_since}))
    _look_at_symptom(draft, SymptomKind.BACKPRESSURE, window)


def _way(pressure: Pressure, since: datetime) -> str:
    first, last = pressure.pressed[0], pressure.pressed[-1]
    text = f"since {since:%H:%M:%S} UTC {_share(first)} cannot emit"
    if last != first:
        text += f", and so on to {_share(last)}"
    slow = pressure.bottleneck
    if slow is None:
        return text
    if slow.load.busy >= BUSY:
        return f"{text}; it waits for {slow.name}, busy {slow.load.busy:.0%}: raise the parallelism, or make it do less"
    return f"{text}; it waits for {slow.name}, busy only {slow.load.busy:.0%}: look at what that one waits for itself"


def _share(vertex: LoadedVertex) -> str:
    return f"{vertex.name} ({vertex.load.backpressured:.0%} of subtask {vertex.load.subtask}'s time)"


def _suspect(draft: Draft, kind: SymptomKind, message: str) -> None:
    """Take note of what may be wrong; nobody is told before it has lasted."""
    if draft.status.symptom(kind) is None:
        _change(draft, Symptom(kind=kind, since=draft.now, message=bounded(message)))


def _tell(draft: Draft, kind: SymptomKind, reason: str, message: str) -> None:
    """Tell a symptom once; what is told of it in the status stays current."""
    known = draft.status.symptom(kind) or Symptom(kind=kind, since=draft.now)
    if known.told_at is None:
        draft.event(reason, message, warning=True)
    _change(draft, known.model_copy(update={"told_at": known.told_at or draft.now, "message": bounded(message)}))


def _resolve(draft: Draft, kind: SymptomKind, reason: str, message: str) -> None:
    """Tell that a symptom is over, if it was ever told, and forget it."""
    known = draft.status.symptom(kind)
    if known is not None and known.told_at is not None:
        draft.event(reason, message)
    _close(draft, kind)


def _change(draft: Draft, symptom: Symptom) -> None:
    others = tuple(other for other in draft.status.symptoms if other.kind is not symptom.kind)
    draft.set(symptoms=(*others, symptom))


def _close(draft: Draft, kind: SymptomKind) -> None:
    if draft.status.symptom(kind) is not None:
        draft.set(symptoms=tuple(other for other in draft.status.symptoms if other.kind is not kind))


def _look_at_symptom(draft: Draft, kind: SymptomKind, window: timedelta) -> None:
    if draft.status.symptom(kind) is not None:
        draft.look(draft.now + min(max(window / 4, SYMPTOM_LOOK_FIRST), SYMPTOM_LOOK_LAST))
