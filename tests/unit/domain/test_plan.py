"""Events, messages, conditions and lifecycles: what a status says of its job."""

from datetime import timedelta

import pytest

from flink_controller.domain.conditions import FAULTS_LIMIT
from flink_controller.domain.health import unhealthy_because
from flink_controller.domain.lifecycle import _REFUSALS, Lifecycle, lifecycle, summarise
from flink_controller.domain.observation import Checkpoints, FlinkState, JobSeen, StoredState
from flink_controller.domain.plan import MESSAGE_LIMIT, bounded
from flink_controller.domain.spec import InvalidSpec
from flink_controller.domain.status import JobStatus
from flink_controller.testing.clock import START
from tests.reasons import refusal_reasons
from tests.unit.domain.builders import CHECKPOINTED, JOB, Job, retained


@pytest.mark.parametrize(("length", "kept"), [(MESSAGE_LIMIT, MESSAGE_LIMIT), (MESSAGE_LIMIT + 1, MESSAGE_LIMIT)])
def test_a_message_is_cut_to_what_a_status_holds(length: int, kept: int) -> None:
    found = bounded("x" * length)

    assert len(found) == kept
    assert found.endswith("…") is (length > kept)


def test_a_repeated_event_is_counted_and_takes_no_other_number() -> None:
    draft = Job().draft()

    draft.event("JobFailed", "once")
    draft.event("JobFailed", "again")
    draft.event("JobFailed", "again")

    assert [(event.sequence, event.message, event.count) for event in draft.events] == [(1, "once", 1), (2, "again", 2)]
    assert draft.status.event_counter == 2


def test_a_repetition_in_a_later_look_replaces_the_recorded_one() -> None:
    job = Job()
    first = job.draft()
    first.event("JobFailed", "again")
    job.status = first.status
    second = job.draft()

    second.event("JobFailed", "again")

    assert [(event.sequence, event.count) for event in second.events] == [(1, 2)]


def test_another_event_between_two_alike_starts_the_count_anew() -> None:
    draft = Job().draft()

    for reason in ("A", "B", "A"):
        draft.event(reason)

    assert [(event.sequence, event.count) for event in draft.events] == [(1, 1), (2, 1), (3, 1)]


def test_the_first_reason_to_wait_is_the_one_that_is_told() -> None:
    draft = Job().draft()

    draft.wait("A", "first", START + timedelta(seconds=9))
    draft.wait("B", "second", START + timedelta(seconds=3))

    assert draft.status.waiting == ("A", "first")
    assert draft.look_at == START + timedelta(seconds=3)


def test_a_list_of_faults_is_cut_and_names_where_all_are_told() -> None:
    job = Job()
    job.spec = InvalidSpec("0" * 64, tuple(f"field_{n}: {'x' * 200}" for n in range(30)))

    job.look()

    condition = job.known.condition("SpecValid")
    assert condition is not None
    assert len(condition.message) < FAULTS_LIMIT + 100
    assert condition.message.endswith("(flinkctl validate lists all 30)")


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    job = Job().prove()
    before = job.known.condition("JobRunning")
    job.wait(600).look()
    same = job.known.condition("JobRunning")
    job.show(FlinkState.RESTARTING, tasks=0)
    job.look()

    after = job.known.condition("JobRunning")

    assert before == same
    assert after is not None
    assert (after.status, after.last_transition_time) == ("False", job.now)


@pytest.mark.parametrize(
    ("checkpoints", "expected"),
    [
        (None, ("Unknown", "NotKnown")),
        (Checkpoints(is_enabled=False), ("Unknown", "CheckpointsOff")),
        (Checkpoints(is_enabled=True), ("False", "NoCheckpoint")),
        (CHECKPOINTED, ("True", "CheckpointCompleted")),
    ],
)
def test_checkpoints_are_told_as_they_were_read(checkpoints: Checkpoints | None, expected: tuple[str, str]) -> None:
    job = Job().run()
    job.checkpoints = checkpoints

    job.look()

    assert job.says("CheckpointHealthy") == expected


def test_a_first_revision_that_never_becomes_healthy_is_left_to_flink() -> None:
    job = Job().run()
    job.show(tasks=0)

    made = job.wait(300).look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.DEPLOYED
    assert job.says("RevisionHealthy") == ("False", "NotProven")
    assert job.says("Stalled") == ("True", "NotHealthy")


def test_health_says_what_is_missing() -> None:
    job = Job().run()
    young = unhealthy_because(job.attempt)
    job.checkpoints = Checkpoints(is_enabled=True)
    job.look()
    unsaved = unhealthy_because(job.attempt)
    job.show(tasks=0)
    job.look()

    assert "not long enough" in young
    assert "no checkpoint was completed" in unsaved
    assert "not all tasks run" in unhealthy_because(job.attempt)


def test_a_job_without_checkpoints_is_proven_by_its_tasks_alone() -> None:
    job = Job().run()
    job.checkpoints = Checkpoints(is_enabled=False)

    job.wait(30).look()

    assert job.lifecycle is Lifecycle.STABLE


@pytest.mark.parametrize(
    ("tasks_running", "tasks_total", "state", "expected"),
    [(2, 2, FlinkState.RUNNING, True), (1, 2, FlinkState.RUNNING, False), (0, 0, FlinkState.RUNNING, False),
     (2, 2, FlinkState.FAILING, False)],
)  # fmt: skip
def test_running_without_a_running_task_is_not_running(
    tasks_running: int, tasks_total: int, state: FlinkState, *, expected: bool
) -> None:
    assert JobSeen("a", "b", state, 1, tasks_running, tasks_total).is_processing is expected


def test_the_newest_state_has_the_highest_id() -> None:
    assert Checkpoints(is_enabled=True).newest is None
    assert CHECKPOINTED.newest == CHECKPOINTED.completed
    assert StoredState((retained(3), retained(8))).newest == retained(8)


def test_a_status_without_anything_is_created() -> None:
    assert lifecycle(JobStatus(job_id=JOB, created_at=START, updated_at=START)) is Lifecycle.CREATED


def test_a_first_artifact_that_is_refused_means_failed_and_one_that_is_missing_waiting() -> None:
    # An upload, or the end of an outage, is no change of anybody's mind about the bytes.
    passing = {"ArtifactMissing", "ArtifactUnreadable"}
    reasons = refusal_reasons() | passing

    failed = {
        reason
        for reason in reasons
        if lifecycle(JobStatus(job_id=JOB, created_at=START, updated_at=START, waiting=(reason, ""))) is Lifecycle.FAILED
    }

    assert failed == reasons - passing == _REFUSALS


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        (lambda job: job.submit(), Lifecycle.DEPLOYING),
        (lambda job: job.run(), Lifecycle.DEPLOYED),
        (lambda job: job.prove(), Lifecycle.STABLE),
    ],
)  # fmt: skip
def test_a_summary_tells_a_sweep_what_to_expect(stage: object, expected: Lifecycle) -> None:
    job = Job()
    assert callable(stage)
    stage(job)

    found = summarise(job.known)

    assert found.lifecycle == expected.value
    assert found.flink_job_id == job.attempt.flink_job_id
    assert found.is_expected_live is (expected is not Lifecycle.DEPLOYING)
    assert (found.desired_revision, found.running_revision) == (1, 1)


def test_a_completed_job_stays_completed_when_it_is_suspended() -> None:
    job = Job().prove()
    job.end(FlinkState.FINISHED)
    job.put(state="suspended")

    job.look()

    assert job.lifecycle is Lifecycle.COMPLETED
    assert job.says("Ready") == ("False", "Completed")
