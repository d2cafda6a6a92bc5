"""Ask for the vital signs of a few running jobs on a cluster in each tick, in turn. Changes nothing and decides nothing.

Whoever shows something is woken; its own look reads again and judges. The turn follows from the time alone, so that nothing
is written down. Restarts need no sample: they show in the list of jobs.

Cost: at most `Policy.sample_calls` on a cluster in a tick, four for one job at most, so that each job is asked at least every
ceil(jobs / (calls // 4)) ticks.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from flink_controller.domain.errors import FlinkUnreachableError
from flink_controller.domain.observation import JobSeen
from flink_controller.domain.plan import Policy
from flink_controller.domain.spec import Monitoring
from flink_controller.domain.status import StatusSummary
from flink_controller.domain.vitals import checkpoint_window, has_stalled
from flink_controller.ports import FlinkGateway
from flink_controller.services.pressure import SOURCES, read_sources

CALLS_OF_ONE = 2 + SOURCES
"""One for checkpoints, one for the graph, one a source."""
UNKNOWN_WINDOW = checkpoint_window(timedelta(minutes=1), timedelta(minutes=10), Monitoring())
"""Of a job whose settings nobody has written down yet: that of Flink's default timeout."""


def suspects(
    policy: Policy,
    gateway: FlinkGateway,
    summaries: Sequence[StatusSummary],
    listed: Mapping[str, JobSeen],
    now: datetime,
) -> Iterator[str]:
    """Name the jobs of a cluster that a sample says something of.

    Never raises for a cluster that does not answer: the next tick lists its jobs first.
    """
    well = sorted((known for known in summaries if _is_due(known, listed)), key=lambda known: known.job_id)
    at_once, left = policy.sample_calls // CALLS_OF_ONE, policy.sample_calls
    if not well or not at_once:
        return
    first = int(now.timestamp() // 60) * at_once % len(well)
    for known in (well[first:] + well[:first])[: policy.sample_calls]:
        if left < CALLS_OF_ONE:
            return
        try:
            calls, is_suspect = _sample(gateway, known, now)
        except FlinkUnreachableError:
            return
        left -= calls
        if is_suspect:
            yield known.job_id


def _is_due(known: StatusSummary, listed: Mapping[str, JobSeen]) -> bool:
    """Whether a job seems well: all others are looked at anyway."""
    job = None if known.flink_job_id is None else listed.get(known.flink_job_id)
    return known.is_watched and not known.has_symptom and job is not None and job.is_processing


def _sample(gateway: FlinkGateway, known: StatusSummary, now: datetime) -> tuple[int, bool]:
    assert known.flink_job_id is not None
    calls = 0
    if known.checkpoint_window_s != 0 and known.live_at is not None:
        calls = 1
        progress = gateway.checkpoint_progress(known.flink_job_id)
        window = UNKNOWN_WINDOW if known.checkpoint_window_s is None else timedelta(seconds=known.checkpoint_window_s)
        if progress is not None and has_stalled(progress, window=window, since=known.live_at, now=now):
            return calls, True
    further, is_pressed = read_sources(gateway, known.flink_job_id)
    return calls + further, is_pressed
