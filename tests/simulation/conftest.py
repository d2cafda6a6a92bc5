"""Counts what the simulation tried, and prints it at the end of the run."""

from collections import Counter

import pytest

_COUNTED: Counter[str] = Counter()


@pytest.fixture
def counted() -> Counter[str]:
    """Give the run's counts of faults tried, by kind."""
    return _COUNTED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts."""
    if _COUNTED:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(_COUNTED.items()))
        terminalreporter.write_line(f"simulation: {_COUNTED.total()} faults tried ({kinds})")
