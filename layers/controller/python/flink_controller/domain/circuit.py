"""Whether a cluster is asked at all: a circuit that opens when it does not answer.

It saves calls and says nothing about any job. The value is pure; whoever changes it writes it on condition of `version`,
so of several who want to probe one succeeds, and of several who report the same failure one is counted at a time.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from flink_controller.domain.artifact import Value
from flink_controller.domain.errors import UNREACHABLE
from flink_controller.domain.observation import FlinkUnreachable

FAILURES_TO_OPEN: Final = 3
"""Calls without an answer, with none that was answered between them. One lost packet, or a JobManager that is restarted
quickly, opens nothing."""
OPEN_FIRST: Final = timedelta(seconds=15)
"""A restart of a JobManager takes about as long."""
OPEN_LAST: Final = timedelta(minutes=5)
"""Longest time without a probe by a look. The tick of the fleet asks every minute besides."""
PROBE: Final = timedelta(seconds=30)
"""How long others wait for a probe: longer than a call to Flink can hang. A prober that died is replaced after it."""
_CAUSE_LIMIT: Final = 200


class CircuitState(StrEnum):
    """Whether a cluster is asked."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"
    """One prober finds out whether it answers again."""


class Circuit(Value):
    """What is recorded of a cluster that did not answer. The one that nothing is recorded of is closed."""

    state: CircuitState = CircuitState.CLOSED
    failures: int = 0
    """Since the last answer."""
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    """When the next probe may begin; of a half-open circuit, when its prober is given up."""
    prober: str | None = None
    cause: str = ""
    """Of the last failure."""
    reason: str = UNREACHABLE
    """Of the last failure, as a status says it."""
    counted_by: str = ""
    """Who counted it. Tells a write that was repeated from two looks that met the same failure."""
    version: int = 0
    """Number of changes; zero of what was never recorded."""

    @property
    def is_closed(self) -> bool:
        """Whether anybody may ask."""
        return self.state is CircuitState.CLOSED

    def allows(self, now: datetime) -> bool:
        """Tell whether a call may be made now; unless the circuit is closed, only by whoever has recorded a probe."""
        return self.is_closed or self.retry_at is None or now >= self.retry_at

    def probed_by(self, prober: str, now: datetime) -> "Circuit":
        """Give the circuit whose prober somebody wants to be."""
        return self._changed(state=CircuitState.HALF_OPEN, prober=prober, retry_at=now + PROBE)

    def after_success(self) -> "Circuit":
        """Give the circuit after an answer: closed, whoever got it."""
        if self.is_closed and not self.failures:
            return self
        return Circuit(version=self.version + 1)

    def after_failure(self, now: datetime, cause: str, *, by: str, reason: str = UNREACHABLE) -> "Circuit":
        """Give the circuit after a call without an answer.

        While it is open, a call that was begun before, or that does not ask for leave, changes nothing.
        """
        if not self.allows(now) and self.prober != by:
            return self
        failures = self.failures + 1
        counted = {"failures": failures, "cause": cause[:_CAUSE_LIMIT], "reason": reason, "prober": None, "counted_by": by}
        if failures < FAILURES_TO_OPEN:
            return self._changed(**counted)
        return self._changed(
            **counted, state=CircuitState.OPEN, opened_at=self.opened_at or now, retry_at=now + _open_for(failures)
        )

    def refusal(self) -> FlinkUnreachable:
        """Say why the cluster is not asked."""
        if self.state is CircuitState.HALF_OPEN:
            return FlinkUnreachable(
                f"another look finds out whether it answers again; last: {self.cause}", reason=self.reason
            )
        until = "" if self.retry_at is None else f" before {self.retry_at:%H:%M:%S} UTC"
        return FlinkUnreachable(
            f"not asked{until}, after {self.failures} failures in a row; last: {self.cause}",
            retry_at=self.retry_at,
            reason=self.reason,
        )

    def _changed(self, **changes: object) -> "Circuit":
        return self.model_copy(update={**changes, "version": self.version + 1})


def _open_for(failures: int) -> timedelta:
    doublings = min(failures - FAILURES_TO_OPEN, 10)
    return min(OPEN_FIRST * (1 << doublings), OPEN_LAST)
