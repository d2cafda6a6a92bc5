"""Everything that the simulation can try, and what it came to: `make simulate`.

Exhaustive: every fault of every kind at every point of every story where it means something, with the lease and without
it; every pair of deaths of the short stories; every mutant. Then pairs of any two faults and random worlds, for as long as
told.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, count, islice
from random import Random

import pytest

from flink_controller.testing.random_worlds import draw, violation
from flink_controller.testing.simulator import FaultKind
from tests.simulation.enumerate import (
    BY_NAME,
    Tally,
    crash_pairs,
    drawn_pairs,
    enumerate_pairs,
    enumerate_story,
    points_of,
)
from tests.simulation.gaps import gap_of
from tests.simulation.mutants import MUTANTS, Caught, catch

WORKERS = 2
SHORT_STORY = 60
"""Points of a story whose pairs of deaths are all told."""
PAIRS_A_PART = 40
WORLDS_A_PART = 50


@dataclass
class Total:
    """What everything came to."""

    tally: Tally = field(default_factory=Tally)
    points: int = 0
    worlds: int = 0
    mutants: dict[str, Caught | None] = field(default_factory=dict)


def _single(job: tuple[str, FaultKind, bool]) -> Tally:
    name, kind, enforces_leases = job
    return enumerate_story(name, [kind], enforces_leases=enforces_leases)


def _all_pairs(name: str) -> Tally:
    return enumerate_pairs(name, crash_pairs(name))


def _some_pairs(job: tuple[str, int]) -> Tally:
    name, seed = job
    random = Random(f"{name}/{seed}")  # noqa: S311  # replayed by its seed
    return enumerate_pairs(name, drawn_pairs(name, random, PAIRS_A_PART), enforces_leases=seed % 2 == 0)


def _worlds(first: int) -> Tally:
    tally = Tally()
    for seed in range(first, first + WORLDS_A_PART):
        tally.runs["random world"] += 1
        story = draw(seed)
        told = violation(story)
        if told is None:
            continue
        gap = gap_of(story, told)
        if gap is None:
            tally.violations.append(f"random world {seed}: {told}")
        else:
            tally.known[gap.story] += 1
    return tally


def _mutant(index: int) -> Caught | None:
    mutant = MUTANTS[index]
    with pytest.MonkeyPatch.context() as patch:
        mutant.install(patch)
        return catch(mutant)


def _quick() -> None:
    """Collect garbage rarely: worlds are many and short."""
    gc.set_threshold(100_000, 50, 50)


def _say(total: Total) -> None:
    sys.stdout.write(f"\r{total.tally.runs.total()} runs, {len(total.tally.violations)} violations")
    sys.stdout.flush()


def _round(seed: int) -> Iterator[tuple[str, int]]:
    yield from ((name, seed) for name in BY_NAME)


def exhaust(total: Total, pool: ProcessPoolExecutor) -> None:
    """Tell everything that can be listed."""
    total.points = sum(len(points_of(name)) for name in BY_NAME)
    jobs = [(name, kind, leases) for leases in (True, False) for name in BY_NAME for kind in FaultKind]
    short = [name for name in BY_NAME if len(points_of(name)) <= SHORT_STORY]
    parts: tuple[Iterable[Tally], ...] = (pool.map(_single, jobs), pool.map(_all_pairs, short))
    for part in parts:
        for tally in part:
            total.tally.add(tally)
            _say(total)
    for mutant, caught in zip(MUTANTS, pool.map(_mutant, range(len(MUTANTS))), strict=True):
        total.mutants[mutant.name] = caught


def wander(total: Total, pool: ProcessPoolExecutor, until: float, first_seed: int) -> None:
    """Draw pairs and worlds until the time is over."""
    for turn in count():
        if time.monotonic() >= until:
            return
        pairs = pool.map(_some_pairs, islice(_round(first_seed + turn), 8 * (turn % 8), 8 * (turn % 8) + 8))
        worlds = pool.map(_worlds, range(first_seed + turn * 1000, first_seed + turn * 1000 + 400, WORLDS_A_PART))
        for tally in chain(pairs, worlds):
            total.tally.add(tally)
            _say(total)


def _table(mutants: dict[str, Caught | None]) -> Iterator[str]:
    for name, caught in mutants.items():
        yield f"  {name:<70} {'SURVIVED' if caught is None else f'{caught.promise:<4} {caught.told}'}"


def report(total: Total, seconds: float, write: Callable[[str], object]) -> None:
    """Print the counts."""
    runs, violations = total.tally.runs, total.tally.violations
    caught = sum(found is not None for found in total.mutants.values())
    write("\r")
    for kind, told in sorted(runs.items()):
        write(f"{told:8} {kind}\n")
    for story, told in sorted(total.tally.known.items()):
        write(f"{told:8} of them ran into {story}, which is known\n")
    if total.mutants:
        write("\n".join(["mutants, and what shows them:", *_table(total.mutants), ""]))
    for told_violation in violations[:50]:
        write(f"  {told_violation}\n")
    write(
        f"{len(BY_NAME)} stories with {total.points} points, {runs.total()} runs, {len(violations)} violations,"
        f" {caught} of {len(total.mutants)} mutants caught, {seconds:.0f} s, {runs.total() / seconds:.0f} runs a second\n"
    )


def main() -> int:
    """Print the counts; 1 if a promise was broken or a mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=300, help="how long to draw pairs and worlds, after everything else"
    )
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="first seed of what is drawn; the time by default"
    )
    parser.add_argument("--only-random", action="store_true", help="leave out what can be listed")
    options = parser.parse_args()
    total, began = Total(), time.monotonic()
    sys.stdout.write(f"seeds from {options.seed}\n")
    with ProcessPoolExecutor(WORKERS, initializer=_quick) as pool:
        if not options.only_random:
            exhaust(total, pool)
        wander(total, pool, time.monotonic() + options.seconds, options.seed)
    report(total, time.monotonic() - began, sys.stdout.write)
    return 1 if total.tally.violations or None in total.mutants.values() else 0


if __name__ == "__main__":
    raise SystemExit(main())
