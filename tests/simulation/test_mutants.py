"""Every seeded fault in the protocol breaks a promise in some story: the simulation would notice."""

from collections.abc import Callable

import pytest

from tests.simulation.mutants import MUTANTS, Caught, Mutant, catch

LIMIT = 400
"""Runs within which a mutant must be caught; its hints make most of them a handful."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_protocol_is_caught(
    mutant: Mutant, monkeypatch: pytest.MonkeyPatch, record_caught: Callable[[str, Caught], None]
) -> None:
    mutant.install(monkeypatch)

    caught = catch(mutant, LIMIT)

    assert caught is not None, f"{mutant.name} breaks no promise in {LIMIT} runs"
    record_caught(mutant.name, caught)


def test_there_are_enough_mutants_to_mean_something() -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
