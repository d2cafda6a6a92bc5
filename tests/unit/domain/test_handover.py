"""Which state the next attempt starts from, and what the end of the last one means."""

from datetime import timedelta

import pytest

from flink_controller.domain.actions import Burn, LoadRevision, SearchState, Submit
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import (
    Checkpoint,
    Checkpoints,
    FlinkState,
    RefusalKind,
    Refused,
    StorageUnreadable,
    StoredState,
    TriggerCompleted,
)
from flink_controller.domain.plan import Plan
from flink_controller.domain.spec import NoSpec
from tests.unit.domain.builders import CHECKPOINTED, NEW_LIFE, QUARANTINE, Job, invalid_spec, retained, savepoint

CHK_5, CHK_9, SP_7 = retained(5, "chk-5"), retained(9, "chk-9"), savepoint(7, "sp-7")
STOP_9 = savepoint(9, "stop-9", is_stop=True)


def statistics(completed: Checkpoint | None = None, saved: Checkpoint | None = None) -> Checkpoints:
    return Checkpoints(is_enabled=True, completed=completed, savepoint=saved)


@pytest.mark.parametrize(
    ("state", "listed", "stored", "expected"),
    [
        (FlinkState.CANCELED, statistics(CHK_5), (CHK_5,), "chk-5"),
        (FlinkState.CANCELED, statistics(CHK_5), (CHK_5, CHK_9), "chk-9"),
        (FlinkState.CANCELED, statistics(CHK_5, SP_7), (CHK_5,), "sp-7"),
        (FlinkState.CANCELED, statistics(CHK_5, SP_7), (CHK_5, CHK_9), "chk-9"),
        (FlinkState.CANCELED, statistics(), (), None),
        (FlinkState.CANCELED, None, (CHK_9, CHK_5), "chk-9"),
        (FlinkState.FAILED, None, (CHK_5, SP_7), "sp-7"),
        (FlinkState.FINISHED, statistics(CHK_5, STOP_9), (CHK_5,), "stop-9"),
        (FlinkState.FINISHED, None, (CHK_5, SP_7), "sp-7"),
        (FlinkState.FINISHED, statistics(CHK_5, SP_7), (CHK_5, SP_7), "completed"),
        (FlinkState.FINISHED, statistics(CHK_5, SP_7), (CHK_5, CHK_9), "completed"),
        (FlinkState.FINISHED, statistics(), (), "completed"),
        (FlinkState.FINISHED, None, (CHK_9,), "completed"),
        (FlinkState.FINISHED, None, (), "completed"),
    ],
)
def test_the_highest_checkpoint_wins_wherever_it_lies(
    state: FlinkState, listed: Checkpoints | None, stored: tuple[Checkpoint, ...], expected: str | None
) -> None:
    job = Job().prove()
    job.checkpoints, job.stored = listed, StoredState(stored)

    job.end(state)

    assert job.known.handover is not None
    assert job.known.handover.of_attempt == 1 or job.attempt.number == 2
    found = "completed" if job.known.is_completed else job.known.handover.path
    assert found == expected


def test_statistics_of_a_job_that_just_ended_are_not_believed() -> None:
    job = Job().prove()
    job.checkpoints = CHECKPOINTED
    job.show(FlinkState.FINISHED)

    early = job.look()

    assert early.action is None
    assert job.reason == "StateSettling"
    assert early.next_look == job.now + timedelta(seconds=5)
    assert SearchState not in [type(action) for action in job.prepared]


def test_a_trigger_that_tells_the_savepoint_of_its_stop_needs_no_search() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.trigger = TriggerCompleted("s3://sp/1")
    job.show(FlinkState.FINISHED)

    job.look()

    assert job.prepared == []
    assert job.known.handover is not None
    assert job.known.handover.path == "s3://sp/1"
    assert job.lifecycle is Lifecycle.SUSPENDED


def test_with_nothing_newer_a_restart_starts_from_what_the_last_one_started_from() -> None:
    job = Job(deployment__initial_savepoint_path="old").run()

    made = job.end(FlinkState.CANCELED)

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://state/savepoints/default/old"


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_job_whose_retained_checkpoints_are_gone_was_done_though_nobody_saw_its_end(*, is_lost: bool) -> None:
    job = Job().prove()

    _vanish(job, is_lost=is_lost)

    assert job.lifecycle is Lifecycle.COMPLETED
    assert job.known.attempt_counter == 1
    assert "nobody saw its end" in next(event.message for event in job.events.values() if event.reason == "Completed")


def test_after_an_end_that_nobody_saw_nothing_begins_anew_by_itself() -> None:
    job = Job().prove()
    _vanish(job, is_lost=True)

    job.put(args=["--new"])
    job.look()

    assert job.reason == "StateUnknown", "it may have been a stop with a savepoint elsewhere"
    assert job.known.attempt_counter == 1
    job.put(args=["--new"], deployment__upgrade_mode="stateless")
    made = job.look()
    assert isinstance(made.action, Submit)
    assert made.action.restore_from is None


def test_a_job_whose_checkpoints_never_lay_where_they_are_searched_is_neither_done_nor_begun_anew() -> None:
    job = Job().run()
    job.checkpoints = statistics(retained(5, "s3://elsewhere/chk-5"))
    job.wait(100).look()

    _vanish(job)

    assert job.reason == "StateUnknown"
    assert job.known.attempt_counter == 1


def test_a_job_that_vanished_before_its_first_checkpoint_starts_from_what_it_started_from() -> None:
    job = Job(deployment__initial_savepoint_path="old").run()

    made = _vanish(job)

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://state/savepoints/default/old"


def _vanish(job: Job, *, is_lost: bool = False) -> Plan:
    """Let Flink list a job no more, in the same life of the JobManager or with the next one."""
    job.jobs, job.checkpoints = {}, None
    if is_lost:
        job.life = NEW_LIFE
        job.look()
        job.wait(QUARANTINE)
    return job.look()


def test_a_job_that_deleted_its_own_checkpoints_blocks() -> None:
    job = Job().run()
    job.checkpoints = Checkpoints(is_enabled=True, deletes_on_cancellation=True)
    job.look()
    job.checkpoints = None

    made = job.end(FlinkState.CANCELED)

    assert made.action is None
    assert job.reason == "StateUnknown"


def test_a_blocked_job_goes_on_once_its_storage_can_be_read() -> None:
    job = Job().prove()
    job.stored = StorageUnreadable("access denied")
    job.end(FlinkState.CANCELED)
    job.stored = StoredState((CHK_9,))

    made = job.wait(60).look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "chk-9"


def test_a_failed_jobs_policy_is_read_from_its_own_revision() -> None:
    job = Job(deployment__on_failure__action="none").prove()
    job.spec = invalid_spec(nonsense=True)

    job.end(FlinkState.FAILED, cause="out of memory")

    assert LoadRevision(1) in job.prepared
    assert job.lifecycle is Lifecycle.FAILED
    assert job.known.halted == "out of memory"


def test_a_failed_jobs_policy_must_be_on_record() -> None:
    job = Job().prove()
    job.spec = invalid_spec(nonsense=True)
    job.revisions.clear()

    made = job.end(FlinkState.FAILED)

    assert made.action is None
    assert job.reason == "RevisionMissing"


@pytest.mark.parametrize(
    ("action", "expected"),
    [("restart", Lifecycle.DEPLOYING), ("rollback", Lifecycle.DEPLOYING), ("none", Lifecycle.FAILED)],
)
def test_the_failure_of_a_proven_job_follows_its_policy(action: str, expected: Lifecycle) -> None:
    job = Job(deployment__on_failure__action=action).prove()

    job.end(FlinkState.FAILED, cause="out of memory")

    assert job.lifecycle is expected
    assert "JobFailed" in job.told


def test_restarts_are_given_up_at_their_limit() -> None:
    job = Job(deployment__on_failure__limit=2).prove()
    for _ in range(3):
        job.end(FlinkState.FAILED, cause="out of memory")
        job.jobs.clear()
        made = job.wait(3600).look()
        if job.known.halted is None:
            assert isinstance(made.action, Submit)
            job.run()

    assert job.lifecycle is Lifecycle.FAILED
    assert job.known.halt_reason == "JobFailed"
    assert job.says("Stalled") == ("True", "JobFailed")


def test_a_first_submission_that_is_refused_is_given_up() -> None:
    job = Job().submit()
    burn = job.look(Refused(RefusalKind.PROGRAM, "no such topic"))
    job.show(FlinkState.FAILED, name="flinkctl-burn")

    job.look()

    assert isinstance(burn.action, Burn)
    assert job.lifecycle is Lifecycle.FAILED
    assert job.says("RevisionHealthy") == ("False", "SubmissionRefused")
    assert job.known.halted == "no such topic"


def test_an_upgrade_that_keeps_being_refused_for_a_passing_reason_is_rolled_back_at_the_limit() -> None:
    job = Job(deployment__on_failure__limit=2).prove()
    job.put(deployment__on_failure__limit=2, args=["--bad"])
    job.look()
    job.trigger = TriggerCompleted("s3://sp/good")
    job.show(FlinkState.FINISHED)
    job.look()
    job.trigger = None
    for _ in range(3):
        assert job.known.refused is None
        job.look(Refused(RefusalKind.OTHER, "500 Internal Server Error"))
        job.show(FlinkState.FAILED, name="flinkctl-burn")
        job.look()
        made = job.wait(3600).look()

    assert job.lifecycle is Lifecycle.ROLLING_BACK
    assert job.known.halted is None
    assert job.known.refused is not None
    assert job.known.refused.message == "500 Internal Server Error"
    assert job.attempt.revision == 1
    assert job.attempt.restore_from == "s3://sp/good"
    assert isinstance(made.action, Submit)


def test_with_rollback_disabled_a_refused_upgrade_stays_down_with_its_savepoint() -> None:
    job = Job(deployment__rollback__enabled=False).prove()
    job.put(deployment__rollback__enabled=False, args=["--bad"])
    job.look()
    job.trigger = TriggerCompleted("s3://sp/1")
    job.show(FlinkState.FINISHED)
    job.look()
    job.trigger = None
    job.look(Refused(RefusalKind.PROGRAM, "no such topic"))
    job.show(FlinkState.FAILED, name="flinkctl-burn")

    job.look()

    assert job.lifecycle is Lifecycle.FAILED
    assert job.known.handover is not None
    assert job.known.handover.path == "s3://sp/1"


def test_a_failure_while_the_job_is_deleted_is_no_reason_to_restart() -> None:
    job = Job().prove()
    job.spec = NoSpec()

    made = job.end(FlinkState.FAILED)

    assert made.action is None
    assert job.lifecycle is Lifecycle.DELETED
    assert job.known.failures.count == 0


@pytest.mark.parametrize(("state", "reason"), [(FlinkState.CANCELED, "Cancelled"), (FlinkState.FINISHED, "Stopped")])
def test_what_others_ended_is_told_and_brought_back(state: FlinkState, reason: str) -> None:
    job = Job().prove()
    job.checkpoints = statistics(CHK_5, STOP_9)

    made = job.end(state)

    assert isinstance(made.action, Submit)
    assert reason in job.told


def test_an_unseen_root_cause_is_told_as_such() -> None:
    job = Job(deployment__on_failure__action="none").prove()

    job.end(FlinkState.FAILED)

    assert job.known.halted == "Flink tells no cause"


def test_a_rollback_that_dies_before_it_is_proven_starts_from_its_own_state() -> None:
    job = Job().prove()
    job.put(args=["--bad"])
    job.look()
    job.trigger = TriggerCompleted("s3://sp/good")
    job.show(FlinkState.FINISHED)
    job.look()
    job.trigger = None
    job.look(Refused(RefusalKind.PROGRAM, "no such topic"))
    job.show(FlinkState.FAILED, name="flinkctl-burn")
    job.look()
    job.run()
    job.stored = StoredState((CHK_9,))

    made = job.end(FlinkState.CANCELED)

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "chk-9"
