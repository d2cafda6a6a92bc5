"""Counts what the simulation tried, and prints it at the end of the run."""

from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulation.mutants import Caught

_COUNTED: Counter[str] = Counter()
_CAUGHT: dict[str, Caught] = {}


@pytest.fixture
def counted() -> Counter[str]:
    """Give the run's counts of faults tried, by kind."""
    return _COUNTED


@pytest.fixture
def record_caught() -> Callable[[str, Caught], None]:
    """Give the place where what showed a mutant is written down."""
    return _CAUGHT.__setitem__


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts, and the table of mutants."""
    if _COUNTED:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(_COUNTED.items()))
        terminalreporter.write_line(f"simulation: {_COUNTED.total()} runs ({kinds})")
    if _CAUGHT:
        terminalreporter.write_line(f"simulation: {len(_CAUGHT)} mutants caught")
        for name, caught in _CAUGHT.items():
            terminalreporter.write_line(f"  {name:<70} {caught.promise:<4} {caught.told}")
