"""What can go wrong at a port call or at a delivery, and where each fault means something.

A run counts its *points*: every call of a port, and every delivery of a wake-up, in order. A fault names its point by
number, so the same story with the same faults is the same run.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

DELAYS: Final = (timedelta(seconds=2), timedelta(seconds=20), timedelta(seconds=59))
"""How late effects land, by turns: a function is gone after 60 s, and its connection with it."""
LONG_DELAY: Final = timedelta(seconds=200)
"""How long a proxy may hold a request: longer than any quarantine."""
SKEW: Final = timedelta(seconds=20)
"""How far the clock of an invocation may be off."""
OUTAGE: Final = timedelta(seconds=100)
"""How long something that fails goes on failing: less than the deadline of a proof, which counts on."""
INDEX_LAG: Final = timedelta(seconds=10)
"""How long an index shows the past; usually it is well below a second."""
TASKMANAGERS_AWAY: Final = timedelta(seconds=40)
JOBMANAGER_AWAY: Final = timedelta(seconds=90)


class FaultKind(StrEnum):
    """What happens at a point."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOSE_ANSWER = "lose the answer"
    """The call took effect, and the caller sees an error."""
    DENY = "deny"
    """The call took effect, and the answer says that it was refused."""
    FAIL = "fail"
    """The call has no effect, and the caller sees an error."""
    OVERTAKE = "overtake"
    """The invocation is paused until its lease is over and others have looked; then it goes on."""
    LAND_LATE = "land late"
    """The invocation dies, and its request arrives later."""
    LAND_AFTER_RESTART = "land after a restart"
    """The invocation dies, the JobManager restarts, and then the request arrives."""
    LAND_LONG_AFTER_RESTART = "land long after a restart"
    RESTART_JOBMANAGER = "restart the JobManager"
    KILL_JOBMANAGER = "kill the JobManager"
    """It comes back a while later."""
    KILL_TASKMANAGERS = "kill the TaskManagers"
    """They come back a while later."""
    FORGET_TERMINAL = "forget terminal jobs"
    EXPIRE_TRIGGERS = "expire triggers"
    STALE_INDEX = "stale index"
    """What is written from here on does not show in an index for a while."""
    OVERWRITE = "overwrite the object"
    """Somebody puts other, unsigned bytes under the artifact's key."""
    OUTAGE = "outage"
    """This port fails for a while."""
    DROP = "drop"
    """The wake-up is lost."""
    DUPLICATE = "duplicate"
    """The wake-up is delivered twice."""
    REORDER = "reorder"
    """The wake-up comes after later ones."""
    CLOCK_FAST = "clock fast"
    """The clock of the invocation that is woken is ahead."""
    CLOCK_SLOW = "clock slow"
    """The clock of the invocation that is woken is behind."""


@dataclass(frozen=True)
class Fault:
    """One fault at the n-th point of a run, counted from 1."""

    at: int
    kind: FaultKind

    @property
    def delay(self) -> timedelta:
        """How late an effect lands."""
        if self.kind is FaultKind.LAND_LONG_AFTER_RESTART:
            return LONG_DELAY
        return DELAYS[self.at % len(DELAYS)]


@dataclass(frozen=True)
class Point:
    """A point of a run that was reached: what was called, and what the world was like."""

    name: str
    """`port.method`, `flink[cluster].method`, or what delivers: `stream`, `queue`, `tick`, `upload`."""
    is_admission: bool = False
    """Whether an upload's invocation made the call."""
    has_ended_jobs: bool = False
    has_known_triggers: bool = False
    invocation: int = 0
    at: datetime | None = None

    @property
    def is_delivery(self) -> bool:
        """Whether something was delivered here, rather than called."""
        return self.name in DELIVERIES

    @property
    def is_flink(self) -> bool:
        """Whether a JobManager was called."""
        return self.name.startswith("flink[")

    @property
    def is_write(self) -> bool:
        """Whether the call can change anything, a cache of Flink's included."""
        return self.method in _WRITES or self.method in {"checkpoints", "root_cause"}

    def is_followed_by(self, other: "Point") -> bool:
        """Whether nothing can have happened between this call and another one but the call itself."""
        return not self.is_delivery and (self.invocation, self.at) == (other.invocation, other.at)

    @property
    def method(self) -> str:
        """What was called."""
        return self.name.rpartition(".")[2]


DELIVERIES: Final = frozenset({"stream", "queue", "tick", "upload"})
EFFECTS: Final = frozenset({"submit", "stop", "savepoint", "cancel", "cancel_application", "rescale", "dispose"})
"""Calls of a JobManager that change a job."""
LATE: Final = frozenset({FaultKind.LAND_LATE, FaultKind.LAND_AFTER_RESTART, FaultKind.LAND_LONG_AFTER_RESTART})
"""Faults whose invocation dies, and whose request arrives all the same."""
_OF_DELIVERIES: Final = frozenset(
    {FaultKind.DROP, FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.CLOCK_FAST, FaultKind.CLOCK_SLOW}
)
_WRITES: Final = EFFECTS | {
    "upload_jar", "delete_jar", "checkpoint", "replace", "acquire", "commit", "release", "release_jar", "record", "send", "send_now"
}  # fmt: skip


def applies(kind: FaultKind, point: Point) -> bool:
    """Tell whether a fault makes a difference at a point.

    A death after a call that only reads is a death before the next call, so it is not tried twice.
    """
    if point.is_delivery or kind in _OF_DELIVERIES:
        # An upload's event is delivered at least once, by contract; nothing else would bring it.
        is_kept = kind is FaultKind.DROP and point.name == "upload"
        return point.is_delivery and kind in _OF_DELIVERIES and not is_kept
    method = point.method
    match kind:
        case FaultKind.CRASH_AFTER | FaultKind.LAND_LATE:
            return method in _WRITES
        case FaultKind.DENY:
            return method in EFFECTS
        case FaultKind.LAND_AFTER_RESTART | FaultKind.LAND_LONG_AFTER_RESTART:
            return point.is_flink and (method in EFFECTS or method == "upload_jar")
        case FaultKind.RESTART_JOBMANAGER | FaultKind.KILL_JOBMANAGER:
            return point.is_flink
        case FaultKind.KILL_TASKMANAGERS:
            return point.is_flink and method == "jobs"
        case FaultKind.FORGET_TERMINAL:
            return point.is_flink and point.has_ended_jobs
        case FaultKind.EXPIRE_TRIGGERS:
            return point.is_flink and point.has_known_triggers
        case FaultKind.STALE_INDEX:
            return method == "commit"
        case FaultKind.OVERWRITE:
            return not point.is_admission and (point.name == "objects.open" or method == "upload_jar")
        case _:
            return True
