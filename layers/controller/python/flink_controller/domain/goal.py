"""When is what somebody waits for there, and when will it not come? Judged from the spec item and the status alone.

A status that was recorded before the item was written says nothing about it: every goal but `deleted` first asks whether
the controller has looked at this very item.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import JobStatus, JobType


class Goal(StrEnum):
    """What can be waited for."""

    STABLE = "stable"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    DELETED = "deleted"


@dataclass(frozen=True)
class Reached:
    """It is there."""

    message: str


@dataclass(frozen=True)
class Missed:
    """It will not come before somebody does something; the message says what is wrong."""

    message: str


@dataclass(frozen=True)
class Absent:
    """There is no such job."""


@dataclass(frozen=True)
class NotYet:
    """It may still come; the message says what is waited for."""

    message: str


Progress: TypeAlias = Reached | Missed | Absent | NotYet
_BACK = {Lifecycle.ROLLING_BACK, Lifecycle.ROLLED_BACK}
_GONE = {Lifecycle.DELETING, Lifecycle.DELETED}


def judge(goal: Goal, item: Mapping[str, Any] | None, status: JobStatus | None) -> Progress:
    """Tell how far a job is from a goal.

    Args:
        goal: what is waited for.
        item: the spec item as it is stored now; None: there is none.
        status: what is recorded; None: nothing.
    """
    if goal is Goal.DELETED:
        return _deleted(item, status)
    if item is None:
        if status is None:
            return Absent()
        state = lifecycle(status)
        return Missed("the job was deleted" if state is Lifecycle.DELETED else "the job is being deleted")
    if status is None or status.observed_spec_hash != hash_item(item):
        return NotYet("waiting for the controller to look at the spec")
    if status.rejected_spec_hash is not None:
        valid = status.condition("SpecValid")
        return Missed(f"the spec was rejected: {'' if valid is None else valid.message}")
    state = lifecycle(status)
    if state is Lifecycle.FAILED and goal is not Goal.SUSPENDED:
        return Missed(f"the job is FAILED: {explained(status)}")
    if state in _GONE:
        return Missed("the job is abandoned")
    match goal:
        case Goal.SUSPENDED:
            return _suspended(state, status)
        case Goal.COMPLETED:
            return Reached("the job has completed") if state is Lifecycle.COMPLETED else NotYet(told(status))
        case _:
            return _up(goal, state, status)


def _batch(goal: Goal, state: Lifecycle, status: JobStatus) -> Progress:
    """A batch job is stable between its runs, and running while one is."""
    found = status.condition("JobRunning")
    if goal is Goal.RUNNING:
        return Reached("a run is active") if found is not None and found.status == "True" else NotYet(told(status))
    return Reached("the job is scheduled") if state is Lifecycle.STABLE else NotYet(told(status))


def told(status: JobStatus) -> str:
    """Say where a job is and why, in one line."""
    reason = explained(status)
    return f"{lifecycle(status).value}: {reason}" if reason else lifecycle(status).value


def explained(status: JobStatus) -> str:
    """Give the one reason that matters most, with its message."""
    ready = status.condition("Ready")
    if ready is None:
        return ""
    return f"{ready.reason}: {ready.message}" if ready.message else ready.reason


def _deleted(item: Mapping[str, Any] | None, status: JobStatus | None) -> Progress:
    is_abandoned = item is not None and item.get("state") == "abandoned"
    if item is not None and not is_abandoned:
        return NotYet("its spec item is there; flinkctl delete removes it")
    if status is None:
        return Absent()
    if lifecycle(status) is not Lifecycle.DELETED:
        return NotYet(told(status))
    kept = None if status.handover is None else status.handover.path
    return Reached(f"the job is deleted; its state is kept at {kept}" if kept else "the job is deleted; no state was kept")


def _suspended(state: Lifecycle, status: JobStatus) -> Progress:
    if state is Lifecycle.SUSPENDED:
        kept = None if status.handover is None else status.handover.path
        return Reached(f"the job is suspended; its state is kept at {kept}" if kept else "the job is suspended")
    if state is Lifecycle.COMPLETED:
        return Missed("the job has completed, so there is nothing to suspend")
    return NotYet(told(status))


def _up(goal: Goal, state: Lifecycle, status: JobStatus) -> Progress:
    if state in _BACK and status.refused is not None:
        target = "" if status.stable is None else f"; revision {status.stable.number} is brought back"
        return Missed(
            f"revision {status.refused.number} was refused: {status.refused.reason}: {status.refused.message}{target}"
        )
    if state is Lifecycle.COMPLETED:
        return Missed("the job has completed")
    if status.job_type is JobType.BATCH:
        return _batch(goal, state, status)
    desired, running = status.desired, status.running
    is_current = desired is not None and running is not None and desired.number == running.number
    if goal is Goal.RUNNING:
        found = status.condition("JobRunning")
        is_up = found is not None and found.status == "True" and state in {Lifecycle.DEPLOYED, Lifecycle.STABLE}
        return (
            Reached(f"revision {desired.number} runs")
            if desired is not None and is_current and is_up
            else NotYet(told(status))
        )
    stable = status.stable
    is_stable = is_current and state is Lifecycle.STABLE and stable is not None and stable == desired
    return Reached(f"revision {stable.number} is stable") if stable is not None and is_stable else NotYet(told(status))
