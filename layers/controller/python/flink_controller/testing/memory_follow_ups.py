"""The queue of delayed wake-ups, in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flink_controller.ports import MAX_FOLLOW_UP_DELAY


@dataclass(frozen=True, order=True)
class FollowUp:
    """A wake-up on its way."""

    due_at: datetime
    sequence: int
    """Order of sending; tells messages with the same content apart."""
    job_id: str


class MemoryFollowUps:
    """Twin of `FollowUps`; whoever plays the queue takes out what is due.

    Args:
        now: the time of sending, from which delays count.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._pending: list[FollowUp] = []
        self._sent = 0
        self.writes = 0

    def send(self, job_id: str, delay: timedelta) -> None:
        """Wake a job after a delay of at most `MAX_FOLLOW_UP_DELAY`."""
        self.writes += 1
        self._add(job_id, min(max(delay, timedelta(0)), MAX_FOLLOW_UP_DELAY))

    def send_now(self, job_ids: Sequence[str]) -> None:
        """Wake jobs as soon as possible."""
        self.writes += 1
        for job_id in job_ids:
            self._add(job_id, timedelta(0))

    def waiting(self) -> int:
        """Count the wake-ups that wait."""
        return len(self._pending)

    @property
    def pending(self) -> tuple[FollowUp, ...]:
        """What has not been taken yet, in the order it falls due."""
        return tuple(sorted(self._pending))

    def take_due(self, now: datetime) -> tuple[FollowUp, ...]:
        """Take out everything that is due, in the order it fell due."""
        due = tuple(found for found in self.pending if found.due_at <= now)
        self._pending = [found for found in self._pending if found.due_at > now]
        return due

    def put_back(self, follow_up: FollowUp, due_at: datetime) -> None:
        """Let a message come again, as SQS does when its handler failed, or now and then for no reason."""
        self._add(follow_up.job_id, max(due_at - self._now(), timedelta(0)))

    def _add(self, job_id: str, delay: timedelta) -> None:
        self._sent += 1
        self._pending.append(FollowUp(self._now() + delay, self._sent, job_id))
