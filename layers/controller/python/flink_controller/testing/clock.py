"""Time that only tests move."""

from datetime import UTC, datetime, timedelta
from typing import Final

START: Final = datetime(2030, 1, 1, tzinfo=UTC)
"""When every test begins, unless it says otherwise."""


class VirtualClock:
    """`Clock` whose time stands still until it is advanced or slept on."""

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        """Give the current virtual time, in UTC."""
        return self._now

    def sleep(self, duration: timedelta) -> None:
        """Let virtual time pass."""
        self.advance(duration)

    def advance(self, duration: timedelta) -> None:
        """Let virtual time pass.

        Raises:
            ValueError: the duration is negative.
        """
        if duration < timedelta(0):
            raise ValueError("time does not go back")
        self._now += duration
