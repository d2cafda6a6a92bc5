"""Random worlds keep every promise, come to rest, and in the end do what they are told."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from flink_controller.testing.random_batches import BatchTeller
from flink_controller.testing.random_worlds import Teller, draw, shortened, tell, violation

WORLDS = 40
BATCH_WORLDS = 10
FRESH = 15
FRESH_BATCHES = 4


def _broken(seeds: range, counted: Counter[str], teller: type[Teller] = Teller) -> list[str]:
    """Tell worlds; give the promises that were broken, with all it takes to see that again."""
    found = []
    for seed in seeds:
        story = draw(seed, teller)
        told = violation(story)
        counted["random world"] += 1
        if told is not None:
            found.append(f"{told}\n{shortened(story).told()}")
    return found


def test_worlds_from_fixed_seeds_keep_every_promise(counted: Counter[str]) -> None:
    assert _broken(range(WORLDS), counted) == []


def test_worlds_from_fresh_seeds_keep_every_promise(counted: Counter[str]) -> None:
    first = datetime.now(UTC).toordinal() * 1000

    assert _broken(range(first, first + FRESH), counted) == []


def test_batch_jobs_keep_every_promise_in_worlds_from_fixed_and_fresh_seeds(counted: Counter[str]) -> None:
    first = datetime.now(UTC).toordinal() * 1000

    assert _broken(range(BATCH_WORLDS), counted, BatchTeller) == []
    assert _broken(range(first, first + FRESH_BATCHES), counted, BatchTeller) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_seed_replays_exactly(seed: int) -> None:
    once, again = draw(seed), draw(seed)

    assert once == again
    assert violation(once) == violation(again)
    if violation(once) is None:
        assert tell(once) == tell(again)
