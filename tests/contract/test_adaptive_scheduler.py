"""Another parallelism in place: the twin does what Flink's adaptive scheduler does. `FLINK_VERSION` chooses which."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

pytest.register_assert_rewrite("tests.contract.flink_worlds")

from flink_controller.domain.cluster_check import has_adaptive_scheduler  # noqa: E402 - asserts are rewritten first
from flink_controller.domain.observation import Accepted, FlinkState, Refused  # noqa: E402
from tests.contract.flink_worlds import SLOTS, STATISTICS_AGE, Probe, TwinWorld, started  # noqa: E402

OPTIONS = {
    "jobmanager.scheduler": "adaptive",
    # Both spellings: 1.20's, and that of 2.x. The default of the first is 30 s, too long to wait for here.
    "jobmanager.adaptive-scheduler.scaling-interval.min": "1s",
    "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling": "1s",
    "jobmanager.adaptive-scheduler.resource-stabilization-timeout": "1s",
    "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout": "1s",
    "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout": "1s",
}


@pytest.fixture(scope="module", params=["twin", pytest.param("real", marks=pytest.mark.flink)])
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    root = tmp_path_factory.mktemp("adaptive")
    if request.param == "twin":
        yield Probe(TwinWorld("2.3", is_adaptive=True), 0, root)
        return
    with started(root, options=OPTIONS) as world:
        yield Probe(world, 0, world.beats)


@pytest.fixture
def job(probe: Probe) -> Iterator[str]:
    flink_job_id = probe.start(parallelism=2)
    yield flink_job_id
    probe.flink.cancel(flink_job_id)
    probe.wait_for_state(flink_job_id, FlinkState.CANCELED)


def _bounds(probe: Probe, flink_job_id: str) -> set[tuple[int, int]]:
    """Give wanted and actual parallelism of all vertices but those that code has set to one."""
    vertices = probe.flink.vertices(flink_job_id)
    assert vertices is not None
    return {(vertex.wanted, vertex.actual) for vertex in vertices} - {(1, 1)}


def test_the_scheduler_is_seen_in_the_configuration(probe: Probe) -> None:
    assert has_adaptive_scheduler(probe.flink.config().settings)


def test_a_job_is_rescaled_in_place_and_keeps_its_state(probe: Probe, job: str) -> None:
    probe.world.pass_time(timedelta(seconds=1))
    reached = probe.world.progress(job)

    answer = probe.flink.rescale(job, before=2, after=4)

    assert answer == Accepted()
    assert {wanted for wanted, _ in _bounds(probe, job)} == {4}, "asked for at once"
    probe.wait(lambda: _bounds(probe, job) == {(4, 4)} and probe.is_processing(job))
    assert probe.seen(job) is not None
    probe.wait(lambda: probe.world.progress(job) > reached)
    assert probe.flink.rescale(job, before=2, after=4) == Accepted(), "the same request again"
    probe.world.pass_time(STATISTICS_AGE)
    assert _bounds(probe, job) == {(4, 4)}
    assert probe.is_processing(job)
    probe.flink.rescale(job, before=4, after=2)
    probe.wait(lambda: _bounds(probe, job) == {(2, 2)} and probe.is_processing(job))


def test_more_than_there_are_slots_for_is_accepted_and_not_reached(probe: Probe, job: str) -> None:
    answer = probe.flink.rescale(job, before=2, after=20)

    assert answer == Accepted()
    probe.wait(lambda: _bounds(probe, job) == {(20, SLOTS)} and probe.is_processing(job))
    assert probe.flink.free_slots() == 0


def test_what_exceeds_the_jobs_maximum_is_refused(probe: Probe, job: str) -> None:
    answer = probe.flink.rescale(job, before=2, after=30_000)

    assert isinstance(answer, Refused)
    assert "exceeds its maximum parallelism" in answer.cause
    assert _bounds(probe, job) == {(2, 2)}


def test_a_job_that_flink_does_not_know_has_no_vertices(probe: Probe) -> None:
    unknown = probe.new_id()

    assert probe.flink.vertices(unknown) is None
    assert isinstance(probe.flink.rescale(unknown, before=2, after=4), Refused)
