"""Say what is going on while something takes longer than a person waits in silence.

Lines instead of a spinner: several steps run at the same time, and a log file must read as well as a terminal.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console

QUIET_SECONDS: Final = 2.0
"""A step shorter than this leaves one line at its end; a longer one announces itself."""
REPEAT_SECONDS: Final = 15.0
"""A step that goes on says so this often."""


class Progress:
    """Writes one line when a step turns out to be long, and one when it is done."""

    def __init__(self, console: Console | None = None, *, is_silent: bool = False) -> None:
        """Write to `console` (default: stderr, so that output can still be piped); nothing at all if silent."""
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._is_silent = is_silent

    def say(self, text: str) -> None:
        """Write one line."""
        if not self._is_silent:
            self._console.print(text, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Report the work inside as one step, `title` being what is done ("install Flink 2.3.0")."""
        started = time.monotonic()
        is_over = threading.Event()
        reporter = threading.Thread(target=self._report, args=(title, started, is_over), daemon=True)
        reporter.start()
        try:
            yield
        except BaseException:
            self._end(is_over, reporter, f"failed  {title}", started)
            raise
        self._end(is_over, reporter, f"done    {title}", started)

    def _end(self, is_over: threading.Event, reporter: threading.Thread, text: str, started: float) -> None:
        is_over.set()
        reporter.join()
        self.say(f"{text} ({time.monotonic() - started:.1f} s)")

    def _report(self, title: str, started: float, is_over: threading.Event) -> None:
        if is_over.wait(QUIET_SECONDS):
            return
        self.say(f"…       {title}")
        while not is_over.wait(REPEAT_SECONDS):
            self.say(f"…       {title}, {time.monotonic() - started:.0f} s so far")


SILENT: Final = Progress(is_silent=True)
"""For tests and other callers that show nothing."""
