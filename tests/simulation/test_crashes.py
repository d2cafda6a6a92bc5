"""Every story ends well with a fault at any point, and keeps every promise on the way."""

from collections import Counter
from random import Random

import pytest

from flink_controller.testing.scenarios import SCENARIOS
from flink_controller.testing.simulator import FaultKind
from tests.simulation.enumerate import BY_NAME, CRASHES, drawn_pairs, enumerate_pairs, enumerate_story, points_of

SUBTLER = tuple(kind for kind in FaultKind if kind not in CRASHES)
CRASH_STRIDE = 3
STRIDE = 72
"""The suite tries every third death and this part of the subtler faults, always the same; random worlds are new ones in
every run, and `make simulate` tries all."""
PAIRS = 2


@pytest.mark.parametrize("name", BY_NAME)
def test_a_crash_before_or_after_any_port_call_breaks_no_promise(name: str, counted: Counter[str]) -> None:
    tally = enumerate_story(name, CRASHES, stride=CRASH_STRIDE)

    counted.update(tally.runs)
    assert tally.violations == []
    assert len(points_of(name)) >= 40


@pytest.mark.parametrize("name", BY_NAME)
def test_subtler_faults_break_no_promise(name: str, counted: Counter[str]) -> None:
    tally = enumerate_story(name, SUBTLER, stride=STRIDE)

    counted.update(tally.runs)
    assert tally.violations == []


@pytest.mark.parametrize("name", BY_NAME)
def test_the_lease_is_not_what_makes_it_safe(name: str, counted: Counter[str]) -> None:
    kinds = (FaultKind.OVERTAKE, FaultKind.CRASH_AFTER, FaultKind.LAND_LATE)
    tally = enumerate_story(name, kinds, stride=STRIDE, offset=1, enforces_leases=False)

    counted.update({f"{kind}, lease off": runs for kind, runs in tally.runs.items()})
    assert tally.violations == []


@pytest.mark.parametrize("name", BY_NAME)
def test_two_faults_at_once_break_no_promise(name: str, counted: Counter[str]) -> None:
    random = Random(name)  # noqa: S311  # replayed by its seed
    tally = enumerate_pairs(name, drawn_pairs(name, random, PAIRS))

    counted.update(tally.runs)
    assert tally.violations == []


def test_there_are_enough_stories_to_mean_something() -> None:
    assert len(SCENARIOS) >= 60
