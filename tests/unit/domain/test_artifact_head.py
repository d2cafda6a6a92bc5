"""What verdicts, late, twice and out of order, make of the head of an artifact."""

from datetime import timedelta

import pytest

from flink_controller.domain.artifact import ArtifactHead, Verdict
from flink_controller.domain.artifact_head import record
from flink_controller.testing.clock import START
from tests.unit.domain.builders import version

SECOND = timedelta(seconds=1)
WINDOW = 5 * SECOND
WAITING = version(1, verdict=Verdict.WAITING)


def test_the_first_verdict_makes_the_head() -> None:
    waiting = record(WAITING, head=None, known=None, burst_window=WINDOW).head
    admitted = record(version(1), head=None, known=None, burst_window=WINDOW).head

    assert (waiting.latest, waiting.admitted, waiting.burst_started_at) == (WAITING, None, None)
    assert (admitted.latest, admitted.admitted, admitted.burst_started_at) == (version(1), version(1), START)


def test_a_waiting_version_is_admitted_once_its_signature_is_there() -> None:
    head = record(WAITING, head=None, known=None, burst_window=WINDOW).head
    signed = version(1, decided_at=START + SECOND)

    found = record(signed, head=head, known=WAITING, burst_window=WINDOW)

    assert found.head == ArtifactHead(latest=signed, admitted=signed, burst_started_at=START + SECOND)


def test_the_first_admission_stands() -> None:
    head = record(version(1), head=None, known=None, burst_window=WINDOW).head
    later = version(1, verdict=Verdict.REFUSED, decided_at=START + SECOND)

    found = record(later, head=head, known=version(1), burst_window=WINDOW)

    assert (found.version, found.head) == (version(1), head)


def test_a_newer_version_that_waits_leaves_the_admitted_one() -> None:
    head = record(version(1), head=None, known=None, burst_window=WINDOW).head
    newer = version(2, at=START + SECOND, verdict=Verdict.WAITING)

    found = record(newer, head=head, known=None, burst_window=WINDOW).head

    assert (found.latest, found.admitted) == (newer, version(1))


def test_an_older_version_moves_nothing() -> None:
    newer = version(2, at=START + SECOND)
    head = record(newer, head=None, known=None, burst_window=WINDOW).head

    found = record(version(1), head=head, known=None, burst_window=WINDOW).head

    assert found == head


def test_within_one_second_the_version_that_was_seen_last_is_the_newer_one() -> None:
    head = record(version(1), head=None, known=None, burst_window=WINDOW).head

    found = record(version(2), head=head, known=None, burst_window=WINDOW).head

    assert found.latest == found.admitted == version(2)


def test_a_repetition_within_one_second_moves_nothing() -> None:
    head = record(version(1), head=None, known=None, burst_window=WINDOW).head
    head = record(version(2), head=head, known=None, burst_window=WINDOW).head

    found = record(version(1), head=head, known=version(1), burst_window=WINDOW).head

    assert found == head


@pytest.mark.parametrize(("gap", "is_same_burst"), [(1, True), (5, True), (6, False)])
def test_admissions_close_to_each_other_are_one_burst(gap: int, is_same_burst: bool) -> None:  # noqa: FBT001  # a case's outcome
    head = record(version(1), head=None, known=None, burst_window=WINDOW).head
    next_one = version(2, at=START + gap * SECOND)

    found = record(next_one, head=head, known=None, burst_window=WINDOW).head

    assert found.burst_started_at == (START if is_same_burst else START + gap * SECOND)


def test_a_refused_first_version_gives_way_to_an_admitted_second() -> None:
    head = record(version(1, verdict=Verdict.REFUSED), head=None, known=None, burst_window=WINDOW).head

    found = record(version(2, at=START + SECOND), head=head, known=None, burst_window=WINDOW).head

    assert found.admitted == version(2, at=START + SECOND)
