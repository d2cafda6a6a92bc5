"""Every story ends well with a crash before and after every port call, and keeps every promise on the way."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from flink_controller.testing.scenarios import SCENARIOS
from flink_controller.testing.simulator import FaultKind
from tests.simulation.enumerate import BY_NAME, enumerate_story

CRASHES = (FaultKind.CRASH_BEFORE, FaultKind.CRASH_AFTER)
SUBTLER = (FaultKind.LOSE_ANSWER, FaultKind.OVERTAKE)
STRIDE = 4
"""The suite tries a quarter of the subtler faults, another quarter each day; `make simulate` tries all."""


@pytest.mark.parametrize("name", BY_NAME)
def test_a_crash_before_or_after_any_port_call_breaks_no_promise(name: str, counted: Counter[str]) -> None:
    tally = enumerate_story(name, CRASHES)

    counted.update(tally.runs)
    assert tally.violations == []
    assert tally.runs.total() >= 2 * 40


@pytest.mark.parametrize("name", BY_NAME)
def test_lost_answers_and_overtaken_invocations_break_no_promise(name: str, counted: Counter[str]) -> None:
    tally = enumerate_story(name, SUBTLER, stride=STRIDE, offset=datetime.now(UTC).day)

    counted.update(tally.runs)
    assert tally.violations == []


@pytest.mark.parametrize("name", BY_NAME)
def test_the_lease_is_not_what_makes_it_safe(name: str, counted: Counter[str]) -> None:
    tally = enumerate_story(
        name, (FaultKind.OVERTAKE, FaultKind.CRASH_AFTER), stride=STRIDE, offset=1, enforces_leases=False
    )

    counted.update({f"{kind}, lease off": runs for kind, runs in tally.runs.items()})
    assert tally.violations == []


def test_there_are_enough_stories_to_mean_something() -> None:
    assert len(SCENARIOS) >= 30
