"""A circuit as a value: when it opens, who may probe, and that it closes again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_controller.domain.circuit import FAILURES_TO_OPEN, OPEN_FIRST, OPEN_LAST, PROBE, Circuit, CircuitState
from flink_controller.testing.clock import START

SECOND = timedelta(seconds=1)


def opened(failures: int = FAILURES_TO_OPEN) -> Circuit:
    """Give a circuit after failures, each at the first moment that counts."""
    circuit, now = Circuit(), START
    for number in range(failures):
        now = max(now, circuit.retry_at or now)
        circuit = circuit.after_failure(now, f"cause {number}", by="somebody")
    return circuit


def test_a_closed_circuit_lets_everybody_ask_and_an_answer_changes_nothing() -> None:
    circuit = Circuit()

    assert circuit.is_closed
    assert circuit.allows(START)
    assert circuit.after_success() is circuit


def test_too_few_failures_open_nothing_and_one_answer_forgets_them() -> None:
    circuit = opened(FAILURES_TO_OPEN - 1)

    assert circuit.is_closed
    assert circuit.after_success() == Circuit(version=circuit.version + 1)


def test_failures_in_a_row_open_it_for_a_while() -> None:
    circuit = opened()

    assert circuit.state is CircuitState.OPEN
    assert circuit.opened_at == START
    assert not circuit.allows(START + OPEN_FIRST - SECOND)
    assert circuit.allows(START + OPEN_FIRST)


def test_it_stays_open_twice_as_long_after_each_failed_probe_up_to_a_limit() -> None:
    lengths = []
    for failures in range(FAILURES_TO_OPEN, FAILURES_TO_OPEN + 8):
        before, after = opened(failures - 1), opened(failures)
        assert after.retry_at is not None
        lengths.append(after.retry_at - (before.retry_at or START))

    assert lengths[:5] == [OPEN_FIRST * factor for factor in (1, 2, 4, 8, 16)]
    assert set(lengths[5:]) == {OPEN_LAST}
    assert opened(60).opened_at == START


def test_an_answer_closes_it_whoever_got_it() -> None:
    for circuit in (opened(), opened().probed_by("a", START)):
        closed = circuit.after_success()

        assert closed.is_closed
        assert closed.failures == 0
        assert closed.version == circuit.version + 1


def test_a_probe_keeps_others_away_until_it_is_given_up() -> None:
    circuit = opened().probed_by("a", START)

    assert circuit.state is CircuitState.HALF_OPEN
    assert not circuit.allows(START + PROBE - SECOND)
    assert circuit.allows(START + PROBE)


def test_a_failed_probe_opens_it_again() -> None:
    circuit = opened().probed_by("a", START).after_failure(START + SECOND, "still away", by="a")

    assert (circuit.state, circuit.failures, circuit.prober) == (CircuitState.OPEN, FAILURES_TO_OPEN + 1, None)
    assert circuit.retry_at == START + SECOND + 2 * OPEN_FIRST


@pytest.mark.parametrize("circuit", [opened(), opened().probed_by("a", START)])
def test_late_failures_of_others_change_nothing(circuit: Circuit) -> None:
    assert circuit.after_failure(START + SECOND, "late", by="b") is circuit


def test_why_the_cluster_is_not_asked_is_told_with_the_last_cause() -> None:
    refusal = opened().refusal()

    assert refusal.retry_at == START + OPEN_FIRST
    assert f"after {FAILURES_TO_OPEN} failures in a row; last: cause {FAILURES_TO_OPEN - 1}" in refusal.cause
    assert "another look" in opened().probed_by("a", START).refusal().cause


def test_causes_are_bounded() -> None:
    assert len(Circuit().after_failure(START, "x" * 10_000, by="a").cause) <= 200


@given(st.lists(st.tuples(st.sampled_from(["fail", "answer", "probe"]), st.integers(0, 400), st.sampled_from("ab"))))
def test_whatever_happens_somebody_may_ask_again_soon_and_versions_only_grow(steps: list[tuple[str, int, str]]) -> None:
    circuit, now = Circuit(), START
    for kind, seconds, who in steps:
        now += seconds * SECOND
        before = circuit
        if kind == "answer":
            circuit = circuit.after_success()
        elif kind == "fail":
            circuit = circuit.after_failure(now, "away", by=who)
        elif circuit.allows(now) and not circuit.is_closed:
            circuit = circuit.probed_by(who, now)

        assert circuit.allows(now + OPEN_LAST)
        assert circuit.version == before.version + (circuit is not before)
        assert circuit.is_closed == (circuit.retry_at is None)
