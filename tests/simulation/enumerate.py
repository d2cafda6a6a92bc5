"""Tell every story with every fault at every point where it means something, and count.

The test suite runs a part; `make simulate` runs everything (see `tests.simulation.simulate`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random

from flink_controller.testing.faults import Point, applies
from flink_controller.testing.scenarios import SCENARIOS, Scenario, run
from flink_controller.testing.simulator import Fault, FaultKind, ViolationError

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

    def tell(self, name: str, faults: tuple[Fault, ...], *, enforces_leases: bool) -> None:
        """Tell one story under some faults, and keep what came of it."""
        violation = violation_of(BY_NAME[name], *faults, enforces_leases=enforces_leases)
        if violation is not None:
            self.violations.append(f"{_said(name, faults, enforces_leases=enforces_leases)}: {violation}")

    def line(self) -> str:
        """Say it in one line."""
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.runs.items()))
        return f"{self.runs.total()} runs ({kinds}), {len(self.violations)} violations"


def enumerate_story(
    name: str, kinds: Iterable[FaultKind], *, stride: int = 1, offset: int = 0, enforces_leases: bool = True
) -> Tally:
    """Tell one story with each kind of fault at every `stride`-th point where it means something."""
    tally = Tally()
    for kind in kinds:
        for fault in list(faults_of(name, kind, enforces_leases=enforces_leases))[offset % stride :: stride]:
            tally.runs[kind.value] += 1
            tally.tell(name, (fault,), enforces_leases=enforces_leases)
    return tally


def enumerate_pairs(name: str, pairs: Iterable[tuple[Fault, Fault]], *, enforces_leases: bool = True) -> Tally:
    """Tell one story with two faults at once, for each pair."""
    tally = Tally()
    for pair in pairs:
        tally.runs["pair"] += 1
        tally.tell(name, pair, enforces_leases=enforces_leases)
    return tally


@cache
def points_of(name: str, *, enforces_leases: bool = True) -> tuple[Point, ...]:
    """Give the points of a story without faults; up to its first fault every telling is the same."""
    return run(BY_NAME[name], enforces_leases=enforces_leases).points


def faults_of(name: str, kind: FaultKind, *, enforces_leases: bool = True) -> Iterator[Fault]:
    """Give every single fault of a kind that makes a difference to a story."""
    points = points_of(name, enforces_leases=enforces_leases)
    for index, point in enumerate(points):
        if applies(kind, point) and not _is_told(kind, points, index):
            yield Fault(index + 1, kind)


def _is_told(kind: FaultKind, points: tuple[Point, ...], index: int) -> bool:
    """Whether a death is told already by another one that leaves the same world behind.

    A death before a call is the death before the previous call of the same invocation if that one only reads and no time
    passes between them; and a death after a call is the death before the next one.
    """
    if kind is FaultKind.CRASH_BEFORE and index > 0:
        return points[index - 1].is_followed_by(points[index]) and not points[index - 1].is_write
    if kind is FaultKind.CRASH_AFTER and index + 1 < len(points):
        return points[index].is_followed_by(points[index + 1])
    return False


CRASHES = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)


def crash_pairs(name: str) -> Iterator[tuple[Fault, Fault]]:
    """Give every pair of deaths of a story: the second one strikes whoever makes up for the first, too."""
    points = points_of(name)
    for first in (fault for kind in CRASHES for fault in faults_of(name, kind)):
        # The story grows by what makes up for the first death: half as long again covers it.
        for second in range(first.at + 1, len(points) * 3 // 2):
            yield first, Fault(second, FaultKind.CRASH_BEFORE)


def drawn_pairs(name: str, random: Random, count: int) -> Iterator[tuple[Fault, Fault]]:
    """Draw pairs of faults of any two kinds; together they put clocks no further apart than one of them does."""
    length = len(points_of(name))
    singles = [fault for kind in FaultKind for fault in faults_of(name, kind)]
    for _ in range(count):
        first, kind = random.choice(singles), random.choice(list(FaultKind))
        if {first.kind, kind} == {FaultKind.CLOCK_FAST, FaultKind.CLOCK_SLOW}:
            continue
        yield first, Fault(min(first.at + 1 + int(random.expovariate(1 / 25)), length * 3 // 2), kind)


def violation_of(scenario: Scenario, *faults: Fault, enforces_leases: bool = True) -> str | None:
    """Tell a story under some faults; give the promise that was broken, or None."""
    try:
        run(scenario, *faults, enforces_leases=enforces_leases)
    except ViolationError as error:
        return str(error)
    return None


def _said(name: str, faults: Iterable[Fault], *, enforces_leases: bool) -> str:
    told = " and ".join(f"'{fault.kind}' at point {fault.at}" for fault in faults)
    return f"{name} with {told}{'' if enforces_leases else ', lease off'}"
