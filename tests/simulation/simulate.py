"""Everything that the simulation can try, for as long as told, and what it came to: `make simulate SECONDS=600`.

First every mutant: a harness that catches none proves nothing. Then, side by side until the time is over: every fault at
every point of every story, with the lease and without it, in an order drawn from the seed; every pair of deaths of the
short stories; pairs of any two faults; random worlds; a state machine. How much of what can be listed was told is part of the report.
"""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

import pytest

from flink_controller.testing.random_batches import BatchTeller
from flink_controller.testing.random_worlds import Teller, draw, shortened, violation
from flink_controller.testing.simulator import FaultKind, ViolationError
from tests.simulation import state_machine
from tests.simulation.enumerate import (
    BY_NAME,
    Tally,
    crash_pairs,
    drawn_pairs,
    enumerate_pairs,
    enumerate_story,
    points_of,
)
from tests.simulation.mutants import MUTANTS, Caught, catch

WORKERS = 2
SHORT_STORY = 60
"""Points of a story whose pairs of deaths are all told."""
PAIRS_A_PART = 20
WORLDS_A_PART = 20
SLICES = 4
"""Parts of one kind of fault in one story, so that no part takes long."""
SHARES = {"single": 5, "deaths": 2, "pairs": 2, "worlds": 2, "machines": 1}
"""Parts of each sort that are begun in one round."""

Part = Callable[[], Tally]


@dataclass
class Total:
    """What everything came to."""

    tally: Tally = field(default_factory=Tally)
    listed: Counter[str] = field(default_factory=Counter)
    """Parts that can be listed, by sort; what is drawn has no end."""
    told: Counter[str] = field(default_factory=Counter)
    """Parts that were told, by sort."""
    mutants: dict[str, Caught | None] = field(default_factory=dict)


def _single(name: str, kind: FaultKind, part: int, *, enforces_leases: bool) -> Tally:
    found = enumerate_story(name, [kind], stride=SLICES, offset=part, enforces_leases=enforces_leases)
    suffix = "" if enforces_leases else ", lease off"
    return Tally(Counter({f"{told}{suffix}": runs for told, runs in found.runs.items()}), found.violations)


def _deaths(name: str, part: int, parts: int) -> Tally:
    found = enumerate_pairs(name, list(crash_pairs(name))[part::parts])
    return Tally(Counter({"pair of deaths": found.runs.total()}), found.violations)


def _pairs(name: str, seed: int) -> Tally:
    random = Random(f"{name}/{seed}")  # noqa: S311  # replayed by its seed
    return enumerate_pairs(name, drawn_pairs(name, random, PAIRS_A_PART), enforces_leases=seed % 2 == 0)


def _worlds(first: int) -> Tally:
    tally = Tally()
    for seed in range(first, first + WORLDS_A_PART):
        tally.runs["random world"] += 1
        # Every third is a batch job's.
        story = draw(seed, BatchTeller if seed % 3 == 0 else Teller)
        told = violation(story)
        if told is not None:
            tally.violations.append(f"{told}\n{shortened(story).told()}")
    return tally


def _machine(first: int) -> Tally:
    try:
        return Tally(Counter({"state machine": state_machine.run(first, WORLDS_A_PART)}))
    except ViolationError as error:
        return Tally(violations=[f"state machine {first}: {error}", *getattr(error, "__notes__", ())])


def _mutant(index: int) -> Caught | None:
    mutant = MUTANTS[index]
    with pytest.MonkeyPatch.context() as patch:
        mutant.install(patch)
        return catch(mutant)


def _quick() -> None:
    """Collect garbage rarely: worlds are many and short."""
    gc.set_threshold(100_000, 50, 50)


def _listed(random: Random) -> dict[str, list[Part]]:
    """Give everything that can be listed, in an order of its own."""
    single: list[Part] = [
        partial(_single, name, kind, part, enforces_leases=leases)
        for leases in (True, False)
        for name in BY_NAME
        for kind in FaultKind
        for part in range(SLICES)
    ]
    short = [name for name in BY_NAME if len(points_of(name)) <= SHORT_STORY]
    parts = 40
    deaths: list[Part] = [partial(_deaths, name, part, parts) for name in short for part in range(parts)]
    random.shuffle(single)
    random.shuffle(deaths)
    return {"single": single, "deaths": deaths}


def _drawn(seed: int) -> dict[str, Iterator[Part]]:
    """Give what has no end."""
    names = list(BY_NAME)
    return {
        "pairs": (partial(_pairs, names[turn % len(names)], seed + turn) for turn in count()),
        "machines": (partial(_machine, seed + turn) for turn in count()),
        "worlds": (partial(_worlds, seed * 1000 + turn * WORLDS_A_PART) for turn in count()),
    }


def _rounds(listed: dict[str, list[Part]], drawn: dict[str, Iterator[Part]]) -> Iterator[tuple[str, Part]]:
    while True:
        for sort, share in SHARES.items():
            for _ in range(share):
                if sort in drawn:
                    yield sort, next(drawn[sort])
                elif listed[sort]:
                    yield sort, listed[sort].pop()


def try_mutants(total: Total, pool: ProcessPoolExecutor) -> None:
    """Tell stories of every mutant until one shows it."""
    for mutant, caught in zip(MUTANTS, pool.map(_mutant, range(len(MUTANTS))), strict=True):
        total.mutants[mutant.name] = caught
        sys.stdout.write(f"\r{sum(found is not None for found in total.mutants.values())} mutants caught")
        sys.stdout.flush()


def tell_stories(total: Total, pool: ProcessPoolExecutor, until: float, seed: int) -> None:
    """Tell stories until the time is over."""
    listed = _listed(Random(seed))  # noqa: S311  # replayed by its seed
    total.listed.update({sort: len(parts) for sort, parts in listed.items()})
    rounds, running = _rounds(listed, _drawn(seed)), dict[Future[Tally], str]()
    while running or time.monotonic() < until:
        while len(running) < 2 * WORKERS and time.monotonic() < until:
            sort, part = next(rounds)
            running[pool.submit(part)] = sort
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            total.told[running.pop(future)] += 1
            total.tally.add(future.result())
        sys.stdout.write(f"\r{total.tally.runs.total()} runs, {len(total.tally.violations)} violations")
        sys.stdout.flush()


def report(total: Total, seconds: float, write: Callable[[str], object]) -> None:
    """Print the counts."""
    runs, violations = total.tally.runs, total.tally.violations
    write("\r")
    for kind, told in sorted(runs.items()):
        write(f"{told:8} {kind}\n")
    for sort, parts in total.listed.items():
        write(f"{total.told[sort] / max(parts, 1):8.0%} of all {sort} that can be listed\n")
    if total.mutants:
        write("mutants, and what shows them:\n")
    for name, caught in total.mutants.items():
        write(f"  {name:<70} {'SURVIVED' if caught is None else f'{caught.promise:<4} {caught.told}'}\n")
    for broken in violations[:50]:
        write(f"  {broken}\n")
    points, caught_ones = sum(len(points_of(name)) for name in BY_NAME), sum(map(bool, total.mutants.values()))
    write(
        f"{len(BY_NAME)} stories with {points} points, {runs.total()} runs, {len(violations)} violations,"
        f" {caught_ones} of {len(total.mutants)} mutants caught, {seconds:.0f} s, {runs.total() / seconds:.0f} runs a second\n"
    )


def main() -> int:
    """Print the counts; 1 if a promise was broken or a mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long to go on, mutants included")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of order and draws; the time by default")
    parser.add_argument("--without-mutants", action="store_true", help="leave the mutants out")
    options = parser.parse_args()
    total, began = Total(), time.monotonic()
    sys.stdout.write(f"seed {options.seed}\n")
    with ProcessPoolExecutor(WORKERS, initializer=_quick) as pool:
        if not options.without_mutants:
            try_mutants(total, pool)
        tell_stories(total, pool, began + options.seconds, options.seed)
    report(total, time.monotonic() - began, sys.stdout.write)
    return 1 if total.tally.violations or None in total.mutants.values() else 0


if __name__ == "__main__":
    raise SystemExit(main())
