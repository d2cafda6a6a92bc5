"""Savepoints of a job that runs on: when they are due, what becomes of them, and what is recorded."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_controller.domain.actions import StopWithSavepoint, TriggerSavepoint
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import (
    Checkpoints,
    FlinkState,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
    TriggerUnknown,
)
from flink_controller.domain.plan import Plan
from flink_controller.domain.saving import RETRY_FIRST, RETRY_LAST, next_at
from flink_controller.domain.spec import InvalidSpec
from flink_controller.domain.status import Attempt, PeriodicSavepoints, Revision, SavepointKind
from tests.unit.domain.builders import KEY, Job, artifact, invalid_spec, savepoint

HOUR_MS = 3_600_000
HOUR = timedelta(hours=1)
START = datetime(2026, 11, 1, tzinfo=UTC)


def saving_job() -> Job:
    """Give a proven job with a savepoint every hour, looked at until the next is planned."""
    job = Job(stream_config__savepoint_trigger_interval=HOUR_MS).prove()
    job.look()
    return job


def at_due(job: Job) -> Plan:
    """Let time pass until the next savepoint is due, and look."""
    planned = job.look().next_look
    assert planned is not None
    return job.wait(planned - job.now).look()


def attempt_since(live_at: datetime) -> Attempt:
    job = Job().prove()
    return job.attempt.model_copy(update={"live_at": live_at})


@given(st.text("abcdefgh-", min_size=1, max_size=20), st.integers(1000, 7 * 24 * HOUR_MS), st.integers(0, 10**9))
def test_savepoints_are_due_once_an_interval_at_instants_of_the_jobs_own(job_id: str, interval_ms: int, offset: int) -> None:
    since, live = START + timedelta(seconds=offset), attempt_since(START)
    instants = []
    for _ in range(3):
        since = next_at(job_id, PeriodicSavepoints(interval_ms=interval_ms, since=since), live)
        instants.append(since)

    assert instants[0] - (START + timedelta(seconds=offset)) <= timedelta(milliseconds=interval_ms)
    assert {later - earlier for earlier, later in pairwise(instants)} == {timedelta(milliseconds=interval_ms)}


def test_a_fleet_with_one_interval_is_spread_over_it() -> None:
    wanted, live = PeriodicSavepoints(interval_ms=HOUR_MS, since=START), attempt_since(START)

    due = [next_at(f"team/job-{number}", wanted, live) for number in range(1000)]

    by_minute = [sum(START + HOUR * n / 60 < at <= START + HOUR * (n + 1) / 60 for at in due) for n in range(60)]
    assert sum(by_minute) == 1000
    assert max(by_minute) <= 40


def test_a_savepoint_is_taken_when_it_is_due_and_recorded() -> None:
    job = saving_job()
    asked_at = job.now

    made = at_due(job)
    job.trigger = TriggerCompleted("s3://state/sp")
    after = job.wait(1).look()
    job.trigger = None

    assert isinstance(made.action, TriggerSavepoint)
    assert timedelta(0) < job.now - asked_at <= HOUR + timedelta(seconds=1)
    (record,) = after.savepoints
    assert (record.number, record.kind, record.path) == (1, SavepointKind.PERIODIC, "s3://state/sp")
    assert (record.revision, record.attempt) == (1, 1)
    assert record.started_at is not None
    assert record.completed_at - record.started_at == timedelta(seconds=1)
    assert job.known.savepoint is not None
    assert "SavepointCompleted" in job.told
    planned = job.look().next_look
    assert planned is not None
    assert planned - record.started_at == HOUR


def test_a_job_with_a_periodic_savepoint_under_way_is_stable_and_takes_no_second_one() -> None:
    job = saving_job()
    at_due(job)
    job.trigger = TriggerInProgress()
    job.put(stream_config__savepoint_trigger_interval=HOUR_MS, deployment__savepoint_nonce="a")

    made = job.wait(HOUR).look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.STABLE
    assert job.known.operation_counter == 1


def test_a_lost_request_is_repeated_under_the_same_id() -> None:
    job = saving_job()
    first = at_due(job)
    job.trigger = TriggerUnknown()

    again = job.wait(6).look()

    assert again.action == first.action


def test_savepoints_that_fail_are_told_once_and_tried_ever_more_rarely_until_one_completes() -> None:
    job = saving_job()
    at_due(job)
    waits = []
    for number in range(9):
        job.trigger = TriggerFailed(f"a task refuses {number}")
        job.look()
        job.trigger = None
        failed_at = job.now
        assert isinstance(at_due(job).action, TriggerSavepoint)
        waits.append(job.now - failed_at)

    assert waits == [min(RETRY_FIRST * 2**number, RETRY_LAST) for number in range(9)]
    assert job.told.count("SavepointFailed") == 1
    job.trigger = TriggerCompleted("s3://state/sp")
    job.look()
    assert job.known.periodic is not None
    assert (job.known.periodic.failures, job.known.periodic.retry_at) == (0, None)
    assert job.told[-1] == "SavepointCompleted"


@pytest.mark.parametrize("spec", [{"state": "suspended"}, {"args": ["--other"]}])
def test_what_ends_the_job_comes_before_a_savepoint_that_is_due(spec: dict[str, object]) -> None:
    job = saving_job()
    job.put(stream_config__savepoint_trigger_interval=HOUR_MS, **spec)

    made = job.wait(HOUR).look()

    assert isinstance(made.action, StopWithSavepoint)


def test_a_suspended_job_takes_none() -> None:
    job = saving_job()
    job.put(stream_config__savepoint_trigger_interval=HOUR_MS, state="suspended")
    job.look()
    job.trigger = TriggerCompleted("s3://state/stop")
    job.end(FlinkState.FINISHED)
    job.trigger = None

    made = job.wait(2 * HOUR).look()

    assert made.action is None
    assert made.next_look is None


def test_a_paused_job_takes_none() -> None:
    job = saving_job()
    job.is_paused = True

    assert job.wait(HOUR).look().action is None


def test_an_unproven_job_takes_none() -> None:
    job = Job(stream_config__savepoint_trigger_interval=HOUR_MS).run()

    assert not isinstance(job.wait(HOUR).look().action, TriggerSavepoint)


def test_a_job_that_flink_is_bringing_back_waits_with_its_savepoint() -> None:
    job = saving_job()
    job.show(FlinkState.RESTARTING, tasks=0, modified_ms=2)

    waiting = job.wait(HOUR).look()
    job.show(modified_ms=3)
    made = job.wait(60).look()

    assert waiting.action is None
    assert waiting.next_look is not None
    assert isinstance(made.action, TriggerSavepoint)


def test_an_interval_that_is_taken_back_takes_none() -> None:
    job = saving_job()
    job.put()

    made = job.wait(HOUR).look()

    assert made.action is None
    assert made.next_look is None
    assert job.known.periodic is None


def test_another_interval_counts_from_the_last_savepoint() -> None:
    job = saving_job()
    job.put(stream_config__savepoint_trigger_interval=60_000)

    planned = job.look().next_look

    assert planned is not None
    assert planned - job.now <= timedelta(minutes=1)


def test_an_invalid_spec_does_not_end_the_savepoints() -> None:
    job = saving_job()
    job.spec = invalid_spec(args="no list")
    assert isinstance(job.spec, InvalidSpec)
    job.revisions[1] = Revision(
        job_id="etl", number=1, created_at=job.now, spec_hash="", spec={
            "job_id": "etl", "job_type": "stream", "artifact_path": KEY,
            "stream_config": {"savepoint_trigger_interval": HOUR_MS},
        }, artifact=artifact(),
    )  # fmt: skip

    assert isinstance(at_due(job).action, TriggerSavepoint)


def test_the_savepoint_of_a_stop_is_recorded_with_its_kind() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.trigger = TriggerCompleted("s3://state/stop")

    made = job.end(FlinkState.FINISHED)

    assert [(found.kind, found.path) for found in made.savepoints] == [(SavepointKind.SUSPEND, "s3://state/stop")]


def test_a_savepoint_by_somebody_elses_stop_is_recorded_with_a_number_of_its_own() -> None:
    job = Job().prove()
    job.show(FlinkState.FINISHED)
    job.checkpoints = Checkpoints(is_enabled=True, savepoint=savepoint(9, "s3://elsewhere/sp", is_stop=True))

    made = job.end(FlinkState.FINISHED)

    assert [(found.kind, found.number) for found in made.savepoints] == [(SavepointKind.OUTSIDE, 1)]
    assert job.known.operation_counter == 1
