"""The machine's clock: the only place that asks for the time."""

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """`Clock` of this machine."""

    def now(self) -> datetime:
        """Give the current time, in UTC."""
        return datetime.now(UTC)  # here and nowhere else

    def sleep(self, duration: timedelta) -> None:
        """Wait; not at all for a negative duration."""
        time.sleep(max(0.0, duration.total_seconds()))
