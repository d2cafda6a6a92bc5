"""A bounded part of `make fuzz`."""

import pytest

from infra.functions import FUNCTIONS
from tests.fuzz import events
from tests.fuzz.inputs import run


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_envelopes_keys_and_archives_are_refused_in_words(seed: int) -> None:
    found = run(10_000 + seed, 2_000)

    assert sum(found.values()) == 2_000
    assert {kind.partition(":")[0] for kind in found} == {"envelope", "archive", "key", "artifact"}
    assert found["envelope: refused"] > found["envelope: accepted, unchanged in meaning"]


def test_the_same_seed_gives_the_same_outcome() -> None:
    assert run(7, 200) == run(7, 200)


def test_damaged_events_of_every_source_make_no_handler_raise() -> None:
    found = events.run(1, 1_000)

    assert sum(found.values()) == 1_000
    assert {kind.partition(":")[0] for kind in found} == {row.name for row in FUNCTIONS}
    assert found["health: 200"]
