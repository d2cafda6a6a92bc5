"""Tell every story with a fault at every port call, and count.

`python -m tests.simulation.enumerate` runs everything, with the lease and without it; the test suite runs a part.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from flink_controller.testing.scenarios import SCENARIOS, Scenario, run
from flink_controller.testing.simulator import Fault, FaultKind, ViolationError

WORKERS = 2
BY_NAME = {scenario.__name__: scenario for scenario in SCENARIOS}


@dataclass
class Tally:
    """What an enumeration came to."""

    runs: Counter[str] = field(default_factory=Counter)
    """By kind of fault."""
    violations: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Add another part."""
        self.runs.update(other.runs)
        self.violations.extend(other.violations)

    def line(self) -> str:
        """Say it in one line."""
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.runs.items()))
        return f"{self.runs.total()} runs ({kinds}), {len(self.violations)} violations"


def enumerate_story(
    name: str, kinds: Iterable[FaultKind], *, stride: int = 1, offset: int = 0, enforces_leases: bool = True
) -> Tally:
    """Tell one story with each kind of fault at every `stride`-th port call."""
    scenario, tally = BY_NAME[name], Tally()
    calls = run(scenario, enforces_leases=enforces_leases).calls
    for kind in kinds:
        for at in range(1 + offset % stride, calls + 1, stride):
            tally.runs[kind.value] += 1
            fault = Fault(at, kind)
            violation = _violation(scenario, fault, enforces_leases=enforces_leases)
            if violation is not None:
                lease = "" if enforces_leases else ", lease off"
                tally.violations.append(f"{name} with '{kind}' at call {at}{lease}: {violation}")
    return tally


def _violation(scenario: Scenario, fault: Fault, *, enforces_leases: bool) -> str | None:
    try:
        run(scenario, fault, enforces_leases=enforces_leases)
    except ViolationError as error:
        return str(error)
    return None


def _part(job: tuple[str, FaultKind, bool]) -> Tally:
    name, kind, enforces_leases = job
    return enumerate_story(name, [kind], enforces_leases=enforces_leases)


def everything(*, enforces_leases: bool) -> Iterator[Tally]:
    """Tell every story with every fault, a part at a time."""
    jobs = [(name, kind, enforces_leases) for name in BY_NAME for kind in FaultKind]
    with ProcessPoolExecutor(WORKERS) as pool:
        yield from pool.map(_part, jobs)


def main() -> int:
    """Print the counts; 1 if a promise was broken."""
    total, began = Tally(), time.monotonic()
    for enforces_leases in (True, False):
        part = Tally()
        for tally in everything(enforces_leases=enforces_leases):
            part.add(tally)
            sys.stdout.write(f"\r{part.runs.total()} runs, {len(part.violations)} violations")
            sys.stdout.flush()
        sys.stdout.write(f"\rlease {'on' if enforces_leases else 'off'}: {part.line()}\n")
        total.add(part)
    seconds = time.monotonic() - began
    for violation in total.violations[:50]:
        sys.stdout.write(f"  {violation}\n")
    sys.stdout.write(f"{len(BY_NAME)} stories, {total.line()}, {total.runs.total() / seconds:.0f} runs a second\n")
    return 1 if total.violations else 0


if __name__ == "__main__":
    raise SystemExit(main())
