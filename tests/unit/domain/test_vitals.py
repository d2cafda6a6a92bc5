"""What is wrong with a job that was healthy once: suspected, told once, and told once more when it is over."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from flink_controller.domain.actions import Cancel
from flink_controller.domain.observation import (
    CheckpointProgress,
    Checkpoints,
    FlinkState,
    Load,
    LoadedVertex,
    Pressure,
    StoredState,
    TaskFailure,
)
from flink_controller.domain.plan import Policy
from flink_controller.domain.spec import Monitoring
from flink_controller.domain.status import Symptom, SymptomKind
from flink_controller.domain.vitals import Reading, checkpoint_window, has_stalled, readings
from flink_controller.testing.clock import START
from tests.unit.domain.builders import CHECKPOINTED, Job, retained

MINUTE = timedelta(minutes=1)
INTERVAL, TIMEOUT = timedelta(seconds=60), timedelta(minutes=10)
WINDOW = INTERVAL + TIMEOUT
CALM, PRESSED = (
    Pressure(),
    Pressure((LoadedVertex("Source: numbers", Load(0.9, 1, 0.05)),), LoadedVertex("sink", Load(0.0, 0, 1.0))),
)


def checkpoints(completed_at: datetime | None, *, failed: int = 0, **changes: Any) -> Checkpoints:
    known: dict[str, Any] = {
        "is_enabled": True,
        "completed": CHECKPOINTED.completed if completed_at is not None else None,
        "interval": INTERVAL,
        "timeout": TIMEOUT,
        "progress": CheckpointProgress(
            completed_at, timedelta(seconds=1.2), 4385, failed, "Checkpoint expired before completing." if failed else ""
        ),
    }
    return Checkpoints(**{**known, **changes})


def proven(**changes: Any) -> Job:
    return Job(**changes).prove()


def failure(at: datetime, cause: str = "java.lang.IllegalStateException: told to fail") -> TaskFailure:
    return TaskFailure(at, cause, "count (1/1)", ("at com.example.Job.map(Job.java:7)",))


def count_of(job: Job, reason: str) -> int:
    return sum(event.count for event in job.events.values() if event.reason == reason)


# Checkpoints


def test_figures_of_checkpoints_are_told_and_written_down_now_and_then() -> None:
    job = proven()
    job.checkpoints = checkpoints(job.now)
    job.look()
    first = job.known

    job.wait(MINUTE)
    job.checkpoints = checkpoints(job.now)
    job.look()

    assert job.says("CheckpointHealthy") == ("True", "CheckpointCompleted")
    found = first.condition("CheckpointHealthy")
    assert found is not None
    assert "in 1.2 s, 4385 bytes; wanted every 60 s, each within 600 s" in found.message
    assert job.known == first
    job.wait(10 * MINUTE)
    job.checkpoints = checkpoints(job.now)
    job.look()
    assert job.known.checkpointing != first.checkpointing


@pytest.mark.parametrize(("age", "failed"), [(WINDOW, 0), (MINUTE, 3)])
def test_checkpoints_that_stall_are_told_once_and_once_more_when_they_are_back(age: timedelta, failed: int) -> None:
    job = proven().wait(WINDOW)
    stuck_at = job.now
    job.checkpoints = checkpoints(stuck_at)
    job.look()
    job.wait(age)
    job.checkpoints = checkpoints(stuck_at, failed=failed)

    made = job.look()
    job.wait(MINUTE).look()

    assert count_of(job, "CheckpointStalled") == 1
    assert job.says("CheckpointHealthy") == ("False", "CheckpointStalled")
    assert made.next_look is not None
    assert made.next_look - stuck_at - age <= MINUTE
    job.wait(MINUTE)
    job.checkpoints = checkpoints(job.now)
    made = job.look()
    assert job.told[-1] == "CheckpointRecovered"
    assert job.known.symptoms == ()
    assert job.says("CheckpointHealthy") == ("True", "CheckpointCompleted")
    assert made.next_look is None


def test_a_job_that_takes_no_checkpoints_stalls_not() -> None:
    job = proven().wait(10 * WINDOW)
    job.checkpoints = Checkpoints(is_enabled=False)

    job.look()

    assert job.known.symptoms == ()


def test_the_window_is_longer_than_any_checkpoint_in_time() -> None:
    window = checkpoint_window(INTERVAL, TIMEOUT, Monitoring())

    assert window == timedelta(minutes=11)
    assert checkpoint_window(TIMEOUT, MINUTE, Monitoring()) == 3 * TIMEOUT
    assert checkpoint_window(INTERVAL, TIMEOUT, Monitoring(checkpoint_window_seconds=5)) == timedelta(seconds=5)


def test_two_failed_checkpoints_are_no_stall_and_a_young_attempt_has_time() -> None:
    def stalled(progress: CheckpointProgress, now: datetime) -> bool:
        return has_stalled(progress, window=WINDOW, since=START, now=now)

    assert not stalled(CheckpointProgress(failed_in_a_row=2), START + MINUTE)
    assert not stalled(CheckpointProgress(), START + WINDOW - MINUTE)
    assert stalled(CheckpointProgress(), START + WINDOW)
    assert not stalled(CheckpointProgress(START - WINDOW), START + MINUTE)


# Restarts


def test_each_root_exception_is_told_once_with_where_it_was_thrown() -> None:
    job = proven()
    job.failures = (failure(job.now),)

    job.look()
    job.look()

    [told] = [event for event in job.events.values() if event.reason == "JobRestarted"]
    assert told.count == 1
    assert told.message == (
        "java.lang.IllegalStateException: told to fail in count (1/1) at com.example.Job.map(Job.java:7)"
    )


def test_many_root_exceptions_are_told_by_their_number_and_the_newest() -> None:
    job = proven()
    job.failures = tuple(failure(job.now - n * MINUTE, f"a.B: {n}") for n in range(8))

    job.look()

    messages = [job.events[at].message for at in sorted(job.events) if job.events[at].reason == "JobRestarted"]
    assert messages[0] == "5 restarts more than are told one by one"
    assert [message[:7] for message in messages[1:]] == ["a.B: 2 ", "a.B: 1 ", "a.B: 0 "]


def test_three_restarts_within_the_window_are_a_loop_until_none_came_for_as_long() -> None:
    job = proven()
    job.failures = tuple(failure(job.now - n * MINUTE) for n in range(3))

    made = job.look()

    assert "RestartLooping" in job.told
    assert job.says("JobRunning") == ("True", "RestartLooping")
    assert made.next_look == job.now + MINUTE
    job.wait(9 * MINUTE).look()
    assert "RestartsSettled" not in job.told
    made = job.wait(MINUTE).look()
    assert count_of(job, "RestartLooping") == 1
    assert job.told[-1] == "RestartsSettled"
    assert (job.known.symptoms, made.next_look) == ((), None)


def test_two_restarts_are_no_loop() -> None:
    job = proven()
    job.failures = (failure(job.now), failure(job.now - MINUTE))

    job.look()

    assert job.known.symptoms == ()


# Tasks


def test_tasks_that_are_missing_for_a_while_are_told_once_and_once_more_when_they_are_back() -> None:
    job = proven()
    job.show(tasks=1, modified_ms=2)

    made = job.look()

    assert "TasksMissing" not in job.told
    assert made.next_look == job.now + timedelta(seconds=30)
    job.wait(30).look()
    job.wait(30).look()
    assert count_of(job, "TasksMissing") == 1
    job.show(modified_ms=3)
    made = job.look()
    assert "TasksBack" not in job.told
    assert made.next_look == job.now + timedelta(seconds=30)
    job.wait(30).look()
    assert job.told[-1] == "TasksBack"
    assert job.known.symptoms == ()


def test_a_restart_that_is_over_soon_is_not_told_as_missing_tasks() -> None:
    job = proven()
    job.show(FlinkState.RESTARTING, tasks=0, modified_ms=2)
    job.look()

    job.show(modified_ms=3)
    job.wait(10).look()

    assert "TasksMissing" not in job.told
    assert job.known.symptoms == ()


# Backpressure


def test_backpressure_is_told_once_it_has_lasted_and_once_it_has_been_away_for_as_long() -> None:
    job = proven()
    job.pressure = PRESSED

    made = job.look()

    assert job.says("Backpressured") == ("False", "NoBackpressure")
    assert made.next_look == job.now + MINUTE
    job.wait(5 * MINUTE).look()
    job.wait(MINUTE).look()
    assert count_of(job, "BackpressureStarted") == 1
    assert job.says("Backpressured") == ("True", "BackpressureStarted")
    job.pressure = CALM
    job.wait(MINUTE).look()
    job.pressure = PRESSED
    job.wait(MINUTE).look()
    job.pressure = CALM
    job.wait(MINUTE).look()
    assert "BackpressureEnded" not in job.told, "it came back once"
    made = job.wait(5 * MINUTE).look()
    assert job.told[-1] == "BackpressureEnded"
    assert count_of(job, "BackpressureStarted") == 1
    assert made.next_look is None


def test_backpressure_names_the_worst_subtask_and_what_it_waits_for() -> None:
    job = proven(monitoring__backpressure_window_seconds=1)
    job.pressure = PRESSED
    job.look()
    job.wait(1).look()

    found = job.known.condition("Backpressured")

    assert found is not None
    assert found.message.endswith(
        "Source: numbers (90% of subtask 1's time) cannot emit; it waits for sink, busy 100%: raise the parallelism, or make"
        " it do less"
    )


def test_a_bottleneck_that_is_idle_waits_for_something_itself() -> None:
    job = proven(monitoring__backpressure_window_seconds=1)
    job.pressure = Pressure(PRESSED.pressed, LoadedVertex("sink", Load(0.0, 0, 0.1)))
    job.look()
    job.wait(1).look()

    found = job.known.condition("Backpressured")

    assert found is not None
    assert found.message.endswith("sink, busy only 10%: look at what that one waits for itself")


def test_a_look_without_readings_changes_nothing() -> None:
    job = proven(monitoring__backpressure_window_seconds=60)
    job.pressure = PRESSED
    job.look()
    job.pressure = None

    made = job.wait(30).look()

    assert job.known.symptom(SymptomKind.BACKPRESSURE) is not None
    assert made.next_look is not None


# What is read


def test_a_healthy_job_is_asked_for_checkpoints_and_pressure_alone() -> None:
    job = proven()

    assert wanted(job) == {Reading.CHECKPOINTS, Reading.PRESSURE}


def test_a_job_that_has_restarted_is_asked_why() -> None:
    job = proven()
    job.show(modified_ms=2)
    assert wanted(job) == set(Reading)

    job.show(tasks=0, modified_ms=2)
    assert wanted(job) == {Reading.CHECKPOINTS, Reading.FAILURES}


def test_nothing_is_read_of_a_job_that_is_about_to_change_or_was_never_healthy() -> None:
    changing, young = proven(), Job().run()
    changing.put(args=["--new"])

    assert wanted(changing) == wanted(young) == set()


def wanted(job: Job) -> set[Reading]:
    seen = job.jobs[job.attempt.flink_job_id]
    return set(readings(job.known, job.spec, seen, Policy(controller_id="tests")))


# Ends


def test_what_is_wrong_with_a_job_is_forgotten_once_it_is_not_to_run() -> None:
    job = proven()
    job.show(tasks=0, modified_ms=2)
    job.look()
    assert job.known.symptoms != ()

    job.put(state="suspended")
    job.look()

    assert job.known.symptoms == ()


def test_an_symptom_outlives_the_attempt_and_is_over_when_the_next_one_is_well() -> None:
    job = proven()
    stuck_at = job.now
    job.checkpoints = checkpoints(stuck_at)
    job.wait(WINDOW + MINUTE).look()
    job.checkpoints = None
    job.stored = StoredState((retained(),))
    job.end(FlinkState.FAILED, cause="a.B: full")
    job.wait(MINUTE).look()
    job.show(modified_ms=9)
    job.look()

    job.wait(30)
    job.checkpoints = checkpoints(job.now)
    job.look()

    assert job.attempt.number == 2
    assert count_of(job, "CheckpointStalled") == 1
    assert job.told[-1] == "CheckpointRecovered"


# The policy


UNHEALTHY = {"deployment__on_failure": {"when": "unhealthy", "limit": 2, "backoff_seconds": 60}}


def stuck(**changes: Any) -> Job:
    """A job without a checkpoint for longer than its window."""
    job = proven(**changes)
    job.checkpoints = checkpoints(job.now)
    return job.wait(WINDOW + MINUTE)


def restarted(job: Job) -> None:
    """Let the cancel end, and the next attempt run with as little success."""
    job.stored = StoredState((retained(),))
    job.checkpoints = None
    job.wait(1).end(FlinkState.CANCELED)
    job.show(modified_ms=job.attempt.number)
    job.look()
    job.checkpoints = checkpoints(None, failed=3)


def test_an_unhealthy_job_is_left_alone_unless_its_spec_says_otherwise() -> None:
    for changes in ({}, {"deployment__on_failure": {"when": "unhealthy", "action": "none"}}):
        job = stuck(**changes)

        assert job.look().action is None


def test_an_unhealthy_job_is_cancelled_and_goes_on_from_its_newest_checkpoint() -> None:
    job = stuck(**UNHEALTHY)

    made = job.look()

    assert made.action == Cancel(job.attempt.flink_job_id)
    assert (job.operation.purpose, job.known.failures.count) == ("recover", 1)
    job.stored = StoredState((retained(),))
    job.wait(1).end(FlinkState.CANCELED)
    assert job.attempt.number == 2
    assert job.attempt.restore_from == retained().path
    assert job.told.count("RecoveryStarted") == 1


def test_recoveries_in_a_row_wait_longer_each_time_and_come_to_an_end() -> None:
    job = stuck(**UNHEALTHY)
    job.look()
    restarted(job)

    made = job.wait(30).look()

    assert made.action is None
    assert made.next_look is not None
    assert job.wait(60).look().action == Cancel(job.attempt.flink_job_id)
    assert job.known.failures.count == 2
    restarted(job)
    for _ in range(3):
        made = job.wait(60 * MINUTE).look()
        assert made.action is None
    assert job.told.count("RecoveryGivenUp") == 1
    assert job.says("Stalled") == ("True", "RecoveryGivenUp")


def test_that_recovery_was_given_up_is_not_told_again_after_a_pause() -> None:
    job = stuck(**UNHEALTHY)
    job.look()
    restarted(job)
    job.wait(90).look()
    restarted(job)
    job.wait(60 * MINUTE).look()
    assert job.told.count("RecoveryGivenUp") == 1

    job.is_paused = True
    job.wait(MINUTE).look()
    held = job.says("Stalled")
    job.is_paused = False
    job.wait(MINUTE).look()

    assert held == job.says("Stalled") == ("True", "RecoveryGivenUp")
    assert job.told.count("RecoveryGivenUp") == 1


def test_a_job_whose_code_deletes_its_checkpoints_is_not_cancelled() -> None:
    job = stuck(**UNHEALTHY)
    job.checkpoints = checkpoints(START, deletes_on_cancellation=True)

    assert job.look().action is None


def test_an_attempt_that_lived_for_long_begins_a_new_row_of_failures() -> None:
    job = proven()
    for _ in range(7):
        job.stored = StoredState((retained(),))
        job.wait(11 * MINUTE)
        job.end(FlinkState.FAILED, cause="a.B: full")
        assert job.known.failures.count == 1
        job.wait(MINUTE).look()
        job.run().wait(30)
        job.checkpoints = CHECKPOINTED
        job.look()
        job.checkpoints = None


def test_failures_soon_after_each_proof_are_one_row_that_ends() -> None:
    job = proven(deployment__on_failure={"limit": 3, "backoff_seconds": 1})
    for count in (1, 2, 3):
        job.stored = StoredState((retained(),))
        job.end(FlinkState.FAILED, cause="a.B: full")
        assert job.known.failures.count == count
        job.wait(MINUTE).look()
        job.run().wait(30)
        job.checkpoints = CHECKPOINTED
        job.look()
        job.checkpoints = None

    job.end(FlinkState.FAILED, cause="a.B: full")

    assert job.told[-1] == "GivenUp"
    assert job.known.halted == "given up after 3 restarts: a.B: full"


def test_what_was_stopped_on_purpose_does_not_wait_for_the_backoff_of_earlier_failures() -> None:
    job = proven(deployment__on_failure={"limit": 3, "backoff_seconds": 3600})
    job.stored = StoredState((retained(),))
    job.end(FlinkState.FAILED, cause="a.B: full")
    job.wait(60 * MINUTE).look()
    job.run()

    job.put(deployment__on_failure={"limit": 3, "backoff_seconds": 3600}, deployment__restart_nonce="1")
    job.look()
    job.end(FlinkState.CANCELED)

    assert job.attempt.number == 3


@pytest.mark.parametrize("enabled", [True, False])
def test_on_failure_rollback_goes_back_to_the_stable_revision_whatever_rollback_says(enabled: bool) -> None:  # noqa: FBT001
    policy: dict[str, Any] = {
        "deployment__on_failure": {"action": "rollback"},
        "deployment__rollback": {"enabled": enabled},
    }
    job = proven(**policy)
    job.put(**policy, args=["--new"])
    job.look()
    job.stored = StoredState((retained(),))
    job.end(FlinkState.CANCELED)
    job.run()

    job.end(FlinkState.FAILED, cause="a.B: full")

    assert "RollbackStarted" in job.told


def test_the_stable_revision_itself_is_restarted_by_on_failure_rollback() -> None:
    job = proven(deployment__on_failure={"action": "rollback", "backoff_seconds": 1})
    job.stored = StoredState((retained(),))

    job.end(FlinkState.FAILED, cause="a.B: full")
    job.wait(MINUTE).look()

    assert job.attempt.number == 2
    assert job.attempt.restore_from == retained().path


def test_an_symptom_reads_back_as_it_was_written() -> None:
    job = proven()
    job.show(tasks=0, modified_ms=2)
    job.look()

    found = type(job.known).model_validate_json(job.known.model_dump_json(exclude_defaults=True))

    assert found.symptoms == job.known.symptoms
    assert isinstance(found.symptoms[0], Symptom)
