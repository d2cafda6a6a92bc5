"""Vital signs of running jobs through the services: what a tick samples, whom it wakes, and what their looks find."""

from datetime import timedelta
from typing import Any

from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import FlinkState
from flink_controller.domain.status import SymptomKind
from flink_controller.services.sample import CALLS_OF_ONE
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.interception import PortCall, intercepted
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

MINUTE = timedelta(minutes=1)
SAMPLES = ("checkpoint_progress", "graph", "load")
MONITORING = {"checkpoint_window_seconds": 60, "restart_window_seconds": 120, "backpressure_window_seconds": 60}


def fleet(jobs: int) -> Bench:
    """Stable jobs that expect no look."""
    bench = Bench()
    bench.upload()
    for number in range(jobs):
        bench.put(f"etl-{number}")
        bench.look(f"etl-{number}")
    bench.run(2 * MINUTE)
    return bench


def watched(behaviour: JobBehaviour | None = None, **deployment: object) -> Bench:
    """One stable job with short windows."""
    bench = Bench()
    bench.upload(behaviour=behaviour)
    settings = {"checkpoint_interval": 2000, "rollback": {"stabilization_seconds": 5}, **deployment}
    bench.put(deployment=settings, monitoring=MONITORING)
    bench.look()
    bench.run(20 * SECOND)
    assert lifecycle(bench.status) is Lifecycle.STABLE
    return bench


def tick(bench: Bench, times: int = 1) -> None:
    """Let minutes pass, with their ticks and whatever they wake."""
    for _ in range(times):
        bench.run(MINUTE)
        reconcile_fleet(bench.ports, POLICY)
        bench.run(SECOND)


def told(bench: Bench) -> list[str]:
    return [event.reason for event in bench.statuses.events(JOB)]


def test_a_quiet_tick_makes_one_list_and_at_most_twenty_detail_calls_and_writes_nothing() -> None:
    bench = fleet(12)
    for _ in range(4):
        bench.run(MINUTE)
        calls, writes, sent = bench.flink.calls.copy(), bench.statuses.writes, bench.follow_ups.writes

        found = reconcile_fleet(bench.ports, POLICY)

        made = bench.flink.calls - calls
        assert found.woken == ()
        assert made.pop("jobs") == 1
        assert set(made) == set(SAMPLES)
        assert 20 - CALLS_OF_ONE < made.total() <= 20
        assert (bench.statuses.writes, bench.follow_ups.writes) == (writes, sent)


def test_every_job_is_sampled_in_turn_within_the_stated_number_of_ticks() -> None:
    bench = fleet(12)
    asked: set[str] = set()

    def listen(made: PortCall) -> Any:
        if made.method == "checkpoint_progress":
            asked.add(made.args[0])
        return made.target()

    ports = intercepted(bench.ports, listen)
    for _ in range(-(-12 // (20 // CALLS_OF_ONE))):
        bench.run(MINUTE)
        reconcile_fleet(ports, POLICY)

    assert asked == {job.flink_job_id for job in bench.flink.jobs()}


def test_a_cluster_that_goes_away_during_the_samples_harms_no_tick() -> None:
    bench = fleet(2)

    def leave(made: PortCall) -> Any:
        if made.method == "checkpoint_progress":
            bench.flink.kill_jobmanager()
        return made.target()

    found = reconcile_fleet(intercepted(bench.ports, leave), POLICY)

    assert (found.unreachable, found.woken) == ((), ())


def test_checkpoints_that_stall_are_found_by_a_sample_told_once_and_resolved_once() -> None:
    bench = watched()
    bench.flink.holds_snapshots = True

    tick(bench, 3)

    assert told(bench).count("CheckpointStalled") == 1
    found = bench.status.condition("CheckpointHealthy")
    assert found is not None
    assert (found.status, found.reason) == ("False", "CheckpointStalled")
    bench.flink.holds_snapshots = False
    tick(bench)
    tick(bench)
    assert told(bench).count("CheckpointRecovered") == 1
    assert bench.status.symptoms == ()
    assert bench.status.next_look is None


def test_a_restart_between_two_ticks_is_told_with_its_exception() -> None:
    bench = watched(JobBehaviour(fails_after=70 * SECOND, failure="a.B: full"), restart_strategy="exponential-delay")

    tick(bench, 2)

    [found] = [event for event in bench.statuses.events(JOB) if event.reason == "JobRestarted"]
    assert (found.message, found.count) == ("a.B: full", 1)
    assert bench.status.attempt_counter == 1


def test_a_restart_loop_is_told_once_and_resolved_once() -> None:
    bench = watched(JobBehaviour(fails_after=25 * SECOND, restarts=4))

    tick(bench, 2)

    assert told(bench).count("RestartLooping") == 1
    assert bench.status.symptom(SymptomKind.RESTARTS) is not None
    # Flink gives up, and the controller starts what goes on failing only after its backoff.
    assert "JobFailed" in told(bench) or bench.status.attempt_counter == 1


def test_missing_tasks_are_told_once_and_resolved_once() -> None:
    bench = watched()
    bench.flink.kill_taskmanagers()

    tick(bench, 2)

    assert told(bench).count("TasksMissing") == 1
    bench.flink.start_taskmanagers()
    tick(bench, 2)
    assert told(bench).count("TasksBack") == 1
    assert told(bench).count("TasksMissing") == 1
    assert bench.status.symptoms == ()
    assert bench.status.attempt_counter == 1


def test_backpressure_is_found_by_a_sample_told_once_and_resolved_once() -> None:
    bench = watched(JobBehaviour(slow_for=6 * MINUTE))

    tick(bench, 4)

    assert told(bench).count("BackpressureStarted") == 1
    found = bench.status.condition("Backpressured")
    assert found is not None
    assert "it waits for sink, busy 100%" in found.message
    tick(bench, 5)
    assert told(bench).count("BackpressureEnded") == 1
    assert bench.status.symptoms == ()


def test_an_unhealthy_job_is_restarted_from_its_newest_checkpoint_where_its_spec_says_so() -> None:
    bench = watched(on_failure={"when": "unhealthy", "backoff_seconds": 1, "limit": 2})
    bench.flink.holds_snapshots = True
    newest = bench.flink.checkpoints(bench.flink.jobs()[0].flink_job_id)
    assert newest is not None
    assert newest.completed is not None

    while bench.status.attempt_counter == 1:
        tick(bench)
    bench.flink.holds_snapshots = False
    tick(bench, 2)

    first, second = bench.flink.jobs()
    assert (first.state, second.state) == (FlinkState.CANCELED, FlinkState.RUNNING)
    assert bench.status.attempt is not None
    assert bench.status.attempt.restore_from == newest.completed.path
    assert told(bench).count("RecoveryStarted") == 1
    assert told(bench).count("CheckpointRecovered") == 1
    assert lifecycle(bench.status) is Lifecycle.STABLE
