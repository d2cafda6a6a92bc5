"""Upgrade without a gap: green starts beside blue, and takes over or goes."""

from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.actions import (
    Burn,
    Cancel,
    CountFreeSlots,
    DeleteStaleJars,
    LoadRevision,
    ReleaseJar,
    StageJar,
    StopWithSavepoint,
    Submit,
    TriggerCheckpoint,
    TriggerSavepoint,
)
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import (
    Checkpoints,
    FlinkState,
    RefusalKind,
    Refused,
    StoredState,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
)
from flink_controller.domain.plan import Plan, StagingRefused
from flink_controller.domain.running import SAVEPOINT_PATIENCE
from flink_controller.domain.spec import NoSpec
from flink_controller.domain.status import AttemptPhase, LaneRole
from tests.unit.domain.builders import (
    CHECKPOINTED,
    NEW_LIFE,
    OTHER,
    QUARANTINE,
    SECOND,
    Job,
    artifact,
    head,
    invalid_spec,
    retained,
)

SAVED = "s3://state/savepoints/blue"


def blue(**changes: Any) -> Job:
    """Give a proven job of revision 1 whose spec asks for blue-green upgrades."""
    return Job(deployment__upgrade_mode="blue-green", **changes).prove()


def upgrade(job: Job, **changes: Any) -> Plan:
    """Ask for revision 2, and look."""
    job.put(deployment__upgrade_mode="blue-green", args=["--new"], **changes)
    return job.look()


def green(job: Job | None = None, **changes: Any) -> Job:
    """Get to where green's submit was just sent."""
    job = job or blue()
    upgrade(job, **changes)
    job.trigger = TriggerCompleted(SAVED)
    job.look()
    job.trigger = None
    return job


def green_live(job: Job | None = None, **changes: Any) -> Job:
    """Get to where green runs all tasks beside blue."""
    job = green(job, **changes)
    job.show(number=2)
    job.look()
    return job


def promoted() -> Job:
    """Get to where green has just taken over."""
    job = green_live().wait(30)
    job.second_checkpoints = CHECKPOINTED
    job.look()
    job.second_checkpoints = None
    return job


def test_what_green_needs_is_at_hand_before_a_savepoint_is_taken() -> None:
    job = blue()

    made = upgrade(job)

    assert [type(action) for action in job.prepared] == [StageJar, CountFreeSlots, LoadRevision]
    assert isinstance(made.action, TriggerSavepoint)
    assert made.action.flink_job_id == job.attempt.flink_job_id
    assert job.operation.purpose == "blue-green"
    assert job.attempt.savepoint_directories == (made.action.target_directory,)
    assert job.lifecycle is Lifecycle.UPGRADING
    assert "UpgradeStarted" in job.told


def test_without_enough_free_slots_blue_is_left_alone() -> None:
    job = blue()
    job.free_slots = 3

    few = upgrade(job, deployment__parallelism=4)
    reason = job.reason
    job.free_slots = 4
    enough = job.wait(60).look()

    assert few.action is None
    assert few.next_look is not None
    assert reason == "NoFreeSlots"
    assert isinstance(enough.action, TriggerSavepoint)


def test_bytes_that_cannot_be_staged_leave_blue_alone() -> None:
    job = blue()
    job.staging_refused = StagingRefused("KeyRevoked", "revoked")

    made = upgrade(job)

    assert made.action is None
    assert job.reason == "KeyRevoked"
    assert job.known.operation is None


def test_blues_own_revision_must_be_on_record() -> None:
    job = blue()
    job.revisions.clear()

    made = upgrade(job)

    assert made.action is None
    assert job.reason == "RevisionMissing"


def test_a_savepoint_that_fails_is_tried_again_after_a_while_and_blue_runs_on() -> None:
    job = blue()
    first = upgrade(job)
    job.trigger = TriggerFailed("a task refuses")

    failed = job.wait(1).look()
    job.trigger = None
    reason = job.reason
    early = job.wait(28).look()
    again = job.wait(1).look()

    assert (failed.action, early.action) == (None, None)
    assert reason == "SavepointFailed"
    assert isinstance(first.action, TriggerSavepoint)
    assert isinstance(again.action, TriggerSavepoint)
    assert again.action.trigger_id != first.action.trigger_id
    assert job.attempt.phase is AttemptPhase.LIVE


def test_a_savepoint_that_takes_long_is_waited_for_and_never_becomes_a_stop() -> None:
    job = blue()
    upgrade(job)
    job.trigger = TriggerInProgress()

    made = job.wait(SAVEPOINT_PATIENCE + SECOND).look()

    assert made.action is None
    assert made.next_look is not None
    assert job.operation.purpose == "blue-green"


def test_green_starts_from_the_savepoint_beside_running_blue() -> None:
    job = blue()
    upgrade(job)
    job.trigger = TriggerCompleted(SAVED)

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.flink_job_id.endswith("2")
    assert (made.action.restore_from, made.action.args) == (SAVED, ("--new",))
    assert (job.second.role, job.second.revision) == (LaneRole.GREEN, job.known.desired)
    assert (job.attempt.number, job.attempt.phase) == (1, AttemptPhase.LIVE)
    assert (job.known.green_state, job.known.operation) == (None, None)


@pytest.mark.parametrize("change", ["unproven blue", "blue without tasks", "another cluster", "another mode"])
def test_where_two_lanes_make_no_sense_the_old_job_is_stopped_first(change: str) -> None:
    job = Job(deployment__upgrade_mode="blue-green").run() if change == "unproven blue" else blue()
    if change == "blue without tasks":
        job.show(FlinkState.RESTARTING, tasks=0)
    if change == "another cluster":
        job.destination = OTHER
        job.put(deployment__upgrade_mode="blue-green", cluster="other")
    elif change == "another mode":
        job.put(args=["--new"])
    else:
        job.put(deployment__upgrade_mode="blue-green", args=["--new"])

    made = job.look()

    assert isinstance(made.action, StopWithSavepoint)


def test_green_that_is_not_listed_is_waited_for_and_sent_again() -> None:
    job = green()

    early = job.wait(60).look()
    late = job.wait(60).look()

    assert early.action is None
    assert isinstance(late.action, Submit)
    assert late.action.flink_job_id == job.second.attempt.flink_job_id
    assert job.attempt.number == 1


def test_green_is_proven_by_its_own_tasks_and_checkpoints() -> None:
    job = green_live()
    job.checkpoints = CHECKPOINTED

    made = job.wait(30).look()

    assert made.action is None
    assert job.reason == "GreenProving"
    assert not job.second.attempt.is_proven


def test_a_green_without_a_checkpoint_is_asked_for_one_at_half_of_its_deadline() -> None:
    job = green_live().wait(30)
    job.second_checkpoints = Checkpoints(is_enabled=True)
    job.look()
    before = list(job.prepared)

    made = job.wait(120).look()
    asked = list(job.prepared)
    job.wait(1).look()

    assert before == []
    assert asked == [TriggerCheckpoint(job.second.attempt.flink_job_id)]
    assert made.next_look == job.now
    assert job.prepared == []


def test_healthy_green_takes_over_and_blue_is_cancelled() -> None:
    job = green_live()
    old, new = job.attempt, job.second.attempt
    job.wait(30)
    job.second_checkpoints = CHECKPOINTED

    made = job.look()

    assert made.action == Cancel(old.flink_job_id)
    assert (job.attempt.flink_job_id, job.attempt.is_proven) == (new.flink_job_id, True)
    assert (job.second.role, job.second.attempt.flink_job_id) == (LaneRole.RETIRED, old.flink_job_id)
    assert job.known.running == job.known.stable == job.known.desired
    assert job.told[-2:] == ["Promoted", "Stable"]


def test_retired_blue_is_cancelled_until_it_has_ended_and_nothing_else_is_done() -> None:
    job = promoted()
    job.put(deployment__upgrade_mode="blue-green", args=["--newer"])

    early = job.wait(1).look()
    again = job.wait(4).look()

    assert early.action is None
    assert job.reason == "SecondLaneEnding"
    assert again.action == Cancel(job.second.attempt.flink_job_id)


def test_with_blues_end_the_upgrade_is_over_and_its_jar_is_given_up() -> None:
    job = blue()
    job.head = head(2)
    job.look()
    job.trigger = TriggerCompleted(SAVED)
    job.look()
    job.trigger = None
    job.show(number=2)
    job.look()
    job.wait(30)
    job.second_checkpoints = CHECKPOINTED
    job.look()
    job.second_checkpoints = None
    job.show(FlinkState.CANCELED, number=1)

    made = job.look()

    assert made.action is None
    assert job.known.second is None
    assert job.lifecycle is Lifecycle.STABLE
    assert job.told[-1] == "SecondLaneEnded"
    assert job.prepared == [ReleaseJar("default", artifact(1).sha256)]


def test_what_blue_left_behind_means_nothing_after_the_promotion() -> None:
    job = promoted()
    job.show(FlinkState.FAILED, number=1)
    job.look()
    job.stored = StoredState((retained(99, "s3://green/chk-99"),))
    job.show(FlinkState.CANCELED, number=2)

    made = job.look()

    assert job.known.failures.count == 0
    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://green/chk-99"


@pytest.mark.parametrize("kind", [RefusalKind.PROGRAM, RefusalKind.OTHER])
def test_a_green_that_flink_refuses_is_not_tried_again_and_blue_runs_on(kind: RefusalKind) -> None:
    job = green()

    burn = job.look(Refused(kind, "no such topic"))
    job.show(FlinkState.FAILED, number=2, name="flinkctl-burn")
    made = job.look()
    later = job.wait(3600).look()

    assert isinstance(burn.action, Burn)
    assert (made.action, later.action) == (None, None)
    assert job.known.second is None
    assert job.known.refused is not None
    assert (job.known.refused.reason, job.known.refused.message) == ("SubmissionRefused", "no such topic")
    assert (job.attempt.number, job.lifecycle) == (1, Lifecycle.ROLLED_BACK)
    assert job.told.count("RollbackStarted") == 1


def test_a_green_whose_burn_is_not_seen_yet_is_burned_again() -> None:
    job = green()
    job.look(Refused(RefusalKind.PROGRAM, "no such topic"))

    early = job.wait(1).look()
    late = job.wait(5).look()

    assert early.action is None
    assert late.action == Burn(job.second.attempt.flink_job_id, job.second.attempt.incarnation)


def test_a_green_whose_jar_was_gone_is_tried_again_from_another_savepoint() -> None:
    job = green()
    job.look(Refused(RefusalKind.JAR_GONE, "Jar file does not exist"))
    job.show(FlinkState.FAILED, number=2, name="flinkctl-burn")

    made = job.wait(30).look()

    assert isinstance(made.action, TriggerSavepoint)
    assert job.known.refused is None


def test_a_green_that_fails_by_itself_is_refused_with_its_cause() -> None:
    job = green_live()
    job.show(FlinkState.FAILED, number=2)
    job.second_root_cause = "out of memory"

    made = job.look()

    assert made.action is None
    assert job.known.second is None
    assert job.known.refused is not None
    assert (job.known.refused.reason, job.known.refused.message) == ("JobFailed", "out of memory")
    assert job.lifecycle is Lifecycle.ROLLED_BACK


def test_a_green_that_is_not_healthy_by_its_deadline_is_refused_and_removed() -> None:
    job = green_live()
    job.show(FlinkState.RESTARTING, number=2, tasks=0)
    job.look()

    refused = job.wait(300).look()
    job.show(FlinkState.CANCELED, number=2)
    after = job.look()

    assert isinstance(refused.action, Cancel)
    assert refused.action.flink_job_id.endswith("2")
    assert after.action is None
    assert job.known.second is None
    assert job.known.refused is not None
    assert job.known.refused.reason == "NotHealthy"
    assert (job.attempt.number, job.lifecycle) == (1, Lifecycle.ROLLED_BACK)


def test_the_deadline_of_a_green_whose_revision_cannot_be_read_is_the_default() -> None:
    job = green_live()
    job.spec = invalid_spec(nonsense=True)

    early = job.wait(299).look()
    late = job.wait(1).look()

    assert early.action is None
    assert isinstance(late.action, Cancel)


@pytest.mark.parametrize("wish", ["suspend", "delete", "newer spec"])
def test_a_green_that_is_not_wanted_any_more_is_removed_before_anything_else(wish: str) -> None:
    job = green_live()
    if wish == "suspend":
        job.put(deployment__upgrade_mode="blue-green", args=["--new"], state="suspended")
    elif wish == "delete":
        job.spec = NoSpec()
    else:
        job.put(deployment__upgrade_mode="blue-green", args=["--newer"])

    removal = job.look()
    job.show(FlinkState.CANCELED, number=2)
    after = job.look()

    assert isinstance(removal.action, Cancel)
    assert removal.action.flink_job_id.endswith("2")
    assert job.known.refused is None
    assert isinstance(after.action, TriggerSavepoint if wish == "newer spec" else StopWithSavepoint)
    assert after.action.flink_job_id == job.attempt.flink_job_id


def test_a_green_that_was_unwanted_for_a_moment_is_not_called_refused() -> None:
    job = green()
    job.put(deployment__upgrade_mode="blue-green", args=["--new"], state="suspended")
    burn = job.look()
    job.put(deployment__upgrade_mode="blue-green", args=["--new"])
    job.show(FlinkState.FAILED, number=2, name="flinkctl-burn")

    made = job.wait(30).look()

    assert isinstance(burn.action, Burn)
    assert job.known.refused is None
    assert isinstance(made.action, TriggerSavepoint)


def test_a_green_beside_a_dead_blue_is_removed_and_the_job_brought_back_from_blues_state() -> None:
    job = green_live()
    job.stored = StoredState((retained(9, "s3://blue/chk-9"),))
    job.show(FlinkState.FAILED, number=1)

    removal = job.look()
    job.show(FlinkState.CANCELED, number=2)
    back = job.look()

    assert isinstance(removal.action, Cancel)
    assert removal.action.flink_job_id.endswith("2")
    assert isinstance(back.action, Submit)
    assert back.action.restore_from == "s3://blue/chk-9"
    assert job.attempt.number == 3


def test_a_green_that_vanishes_is_started_anew_from_another_savepoint() -> None:
    job = green_live()
    del job.jobs[job.second.attempt.flink_job_id]

    made = job.wait(30).look()

    assert isinstance(made.action, TriggerSavepoint)
    assert job.known.second is None
    assert job.known.refused is None


def test_after_a_lost_jobmanager_nothing_starts_before_the_quarantine_of_both_is_over() -> None:
    job = green_live()
    job.stored = StoredState((retained(9, "s3://blue/chk-9"),))
    job.jobs, job.life = {}, NEW_LIFE

    first = job.look()
    cleared = list(job.prepared)
    early = job.wait(QUARANTINE - SECOND).look()
    late = job.wait(1).look()

    assert (first.action, early.action) == (None, None)
    assert cleared == [DeleteStaleJars(NEW_LIFE)]
    assert job.known.second is None
    assert isinstance(late.action, Submit)
    assert (job.attempt.number, late.action.restore_from) == (3, "s3://blue/chk-9")


def test_a_jobmanager_that_restarts_during_the_look_proves_nothing_of_green() -> None:
    job = green_live()
    job.life = None
    del job.jobs[job.second.attempt.flink_job_id]

    made = job.look()

    assert made.action is None
    assert job.reason == "ClusterRestarting"
    assert not job.second.attempt.is_dead


def test_a_look_at_another_cluster_than_greens_is_repeated_at_once() -> None:
    job = green_live()
    job.cluster = OTHER

    made = job.look()

    assert made.action is None
    assert made.next_look == job.now


def test_the_proof_of_green_is_looked_for_when_it_can_come() -> None:
    job = green_live()

    made = job.look()

    assert made.next_look == job.now + timedelta(seconds=30)
