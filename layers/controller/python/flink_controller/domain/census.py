"""The fleet in figures, from the index of statuses: what the tick of the fleet publishes and scrapers read."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.status import JobType, StatusSummary

STUCK_AFTER: Final = timedelta(minutes=20)
"""A transition usually takes seconds, and its longest part, a stop, 600 s by default (`savepoint_timeout_seconds`)."""
MOVING: Final = frozenset(
    {
        Lifecycle.DEPLOYING.value,
        Lifecycle.UPGRADING.value,
        Lifecycle.ROLLING_BACK.value,
        Lifecycle.SUSPENDING.value,
        Lifecycle.DELETING.value,
    }
)
"""Lifecycles that should lead to another one by themselves."""


@dataclass(frozen=True)
class Census:
    """Figures of all jobs at one time."""

    jobs: Mapping[tuple[str, JobType], int] = field(default_factory=dict)
    """Jobs on record, by lifecycle and type."""
    active: Mapping[JobType, int] = field(default_factory=lambda: dict.fromkeys(JobType, 0))
    """Flink jobs that should be running now: streams and runs of batch jobs."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Jobs that wait for something, by reason."""
    ready: Mapping[str, bool] = field(default_factory=dict)
    """Whether each job is ready; without the deleted ones."""
    look_lag: timedelta = timedelta(0)
    """By how much the recorded look that is longest overdue is late."""
    stuck: tuple[str, ...] = ()
    """Jobs in a transition that have not been ready for longer than `STUCK_AFTER`."""


def census(summaries: Iterable[StatusSummary], now: datetime) -> Census:
    """Count a fleet."""
    jobs, waiting = Counter[tuple[str, JobType]](), Counter[str]()
    active = dict.fromkeys(JobType, 0)
    ready = dict[str, bool]()
    lag, stuck = timedelta(0), []
    for known in summaries:
        jobs[known.lifecycle, known.job_type] += 1
        active[known.job_type] += known.is_expected_live + len(known.live_run_ids)
        if known.lifecycle != Lifecycle.DELETED.value:
            ready[known.job_id] = known.unready_since is None
        if known.lifecycle == Lifecycle.WAITING.value:
            waiting[known.reason] += 1
        if known.next_look is not None:
            lag = max(lag, now - known.next_look)
        if known.lifecycle in MOVING and known.unready_since is not None and now - known.unready_since > STUCK_AFTER:
            stuck.append(known.job_id)
    return Census(dict(jobs), active, dict(waiting), ready, lag, tuple(stuck))
