"""`deployment.restore`: what is checked beforehand, what is kept, and the way back."""

from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.actions import Cancel, FindState, StopWithSavepoint, Submit
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import (
    FlinkState,
    RefusalKind,
    Refused,
    StorageUnreadable,
    TriggerCompleted,
    TriggerFailed,
)
from flink_controller.domain.plan import Plan
from flink_controller.domain.status import SavepointKind
from tests.unit.domain.builders import CHECKPOINTED, Job, invalid_spec, job_tag, retained

OLDER = "s3://state/savepoints/default/older"
STOPPED = "s3://state/stop"


def wish(nonce: str = "1", path: str = OLDER, **changes: Any) -> dict[str, Any]:
    return {"deployment__restore": {"from": path, "nonce": nonce}, **changes}


def stopped(job: Job) -> Plan:
    """Let the stop that is under way end well, and look."""
    job.trigger = TriggerCompleted(STOPPED)
    made = job.end(FlinkState.FINISHED)
    job.trigger = None
    return made


def restored_job() -> Job:
    """Give a job whose attempt from the older place was just submitted."""
    job = Job().prove()
    job.put(**wish())
    job.look()
    stopped(job)
    return job


def test_a_job_is_stopped_with_a_savepoint_and_starts_from_the_place_that_is_named() -> None:
    job = Job().prove()
    job.put(**wish())

    stop = job.look()
    start = stopped(job)

    assert isinstance(stop.action, StopWithSavepoint)
    assert isinstance(start.action, Submit)
    assert start.action.restore_from == OLDER
    assert [record.kind for record in start.savepoints] == [SavepointKind.RESTORE]
    assert job.known.restored is not None
    assert job.known.restored.kept == STOPPED
    assert job.known.restore_nonce == "1"


def test_a_wish_is_honoured_once() -> None:
    job = restored_job().prove()

    made = job.look()

    assert made.action is None
    assert job.known.restored is None
    assert job.lifecycle is Lifecycle.STABLE
    assert job.told.count("RestoreStarted") == job.told.count("Restored") == 1


def test_another_nonce_is_another_wish() -> None:
    job = restored_job().prove()
    job.look()
    job.put(**wish("2"))

    assert isinstance(job.look().action, StopWithSavepoint)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("s3://state/savepoints/another/x", "StateForbidden"),
        ("s3://elsewhere/x", "StateForbidden"),
        ("file:///state/savepoints/default/x", "StateForbidden"),
        (f"s3://state/checkpoints/{'0' * 32}/chk-1", "StateForbidden"),
        ("not-there", "StateMissing"),
    ],
)
def test_a_place_that_cannot_serve_touches_nothing(path: str, reason: str) -> None:
    job = Job().prove()
    job.found_states["s3://state/savepoints/default/not-there"] = False
    job.put(**wish(path=path))

    made = job.look()

    assert made.action is None
    assert job.reason == reason
    assert job.lifecycle is Lifecycle.STABLE
    assert made.next_look is not None


def test_a_checkpoint_of_the_job_itself_may_be_named() -> None:
    job = Job().prove()
    job.put(**wish(path=f"s3://state/checkpoints/{job_tag()}{1:016x}/chk-3"))

    assert isinstance(job.look().action, StopWithSavepoint)


def test_a_wish_that_is_taken_back_in_time_is_not_honoured() -> None:
    job = Job().prove()
    job.put(**wish())
    job.look()
    job.put()

    made = stopped(job)

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == STOPPED
    assert job.known.restore_nonce is None


def test_a_restore_wins_over_a_new_revision_which_then_starts_from_there() -> None:
    job = Job().prove()
    job.put(**wish(args=["--new"]))

    job.look()
    made = stopped(job)

    assert isinstance(made.action, Submit)
    assert (made.action.restore_from, made.action.args) == (OLDER, ("--new",))


def test_a_stateless_spec_starts_from_the_place_all_the_same() -> None:
    job = Job(deployment__upgrade_mode="stateless").prove()
    item = wish()
    job.put(deployment__restore=item["deployment__restore"], deployment__upgrade_mode="stateless")

    stop = job.look()
    made = stopped(job)

    assert isinstance(stop.action, StopWithSavepoint)
    assert isinstance(made.action, Submit)
    assert made.action.restore_from == OLDER


def test_the_first_start_of_a_job_honours_the_wish() -> None:
    job = Job(**wish())

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == OLDER
    assert job.known.restore_nonce == "1"


def test_the_first_start_never_begins_empty_for_a_place_that_is_not_there() -> None:
    job = Job(**wish())
    job.found_states[OLDER] = False

    made = job.look()

    assert made.action is None
    assert job.reason == "StateMissing"


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_place_that_flink_refuses_leads_back_to_what_was_kept(is_listed: bool) -> None:  # noqa: FBT001
    job = restored_job()
    refused = Refused(RefusalKind.PROGRAM, "Cannot map checkpoint/savepoint state")
    if is_listed:
        made = job.end(FlinkState.FAILED, cause="Cannot map checkpoint/savepoint state")
    else:
        job.look(refused)
        job.show(FlinkState.FAILED, name="flinkctl-burn")
        made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == STOPPED
    assert "RestoreFailed" in job.told
    assert job.known.restored is None


def test_a_restored_attempt_that_fails_before_it_is_proven_leads_back_too() -> None:
    job = restored_job().run()
    job.stored = type(job.stored)((retained(),)) if not isinstance(job.stored, StorageUnreadable) else job.stored

    made = job.end(FlinkState.FAILED, cause="a bug")

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == STOPPED


def test_with_nothing_kept_a_failed_restore_halts_and_says_so() -> None:
    job = Job(**wish())
    job.look()

    made = job.end(FlinkState.FAILED, cause="gone")

    assert made.action is None
    assert job.known.halt_reason == "RestoreFailed"
    assert job.lifecycle is Lifecycle.FAILED


def test_a_failed_job_is_brought_back_by_a_restore() -> None:
    job = Job(deployment__on_failure={"action": "none"}).prove()
    job.end(FlinkState.FAILED, cause="a bug")
    assert job.lifecycle is Lifecycle.FAILED
    job.put(deployment__on_failure={"action": "none"}, **wish())

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == OLDER


def test_a_job_whose_state_cannot_be_found_starts_from_the_place_that_is_named() -> None:
    job = Job().prove()
    job.stored = StorageUnreadable("its checkpoints are gone")
    job.end(FlinkState.FAILED)
    assert job.reason == "StateUnknown"
    job.put(**wish())

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == OLDER
    assert FindState(OLDER) in job.prepared


def test_a_job_that_can_take_no_savepoint_is_cancelled_at_the_deadline() -> None:
    job = Job().run()
    job.checkpoints = CHECKPOINTED
    job.put(**wish())
    job.look()
    job.trigger = TriggerFailed("a task refuses")
    job.look()

    made = job.wait(timedelta(minutes=11)).look()

    assert isinstance(made.action, Cancel)


def test_a_suspended_job_starts_from_the_place_when_it_is_resumed() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    stopped(job)
    job.put(**wish(state="suspended"))
    resting = job.look()
    job.put(**wish())

    made = job.look()

    assert resting.action is None
    assert isinstance(made.action, Submit)
    assert made.action.restore_from == OLDER


@pytest.mark.parametrize(
    ("restore", "fault"),
    [
        ({"nonce": "1"}, "is required with a nonce"),
        ({"from": "../x", "nonce": "1"}, "not allowed as parts of a path"),
    ],
)
def test_a_wish_that_is_no_whole_one_is_refused(restore: dict[str, str], fault: str) -> None:
    assert fault in invalid_spec(deployment__restore=restore).faults[0]


def test_a_batch_job_has_nothing_to_restore() -> None:
    found = invalid_spec(job_type="batch", deployment__restore={"from": OLDER, "nonce": "1"})

    assert "starts from nothing" in found.faults[0]


def test_a_place_that_is_gone_once_the_job_was_stopped_for_it_leads_back_to_what_it_had() -> None:
    job = Job().prove()
    job.put(**wish())
    job.look()
    job.found_states[OLDER] = False

    made = stopped(job)

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == STOPPED
    assert "RestoreFailed" in job.told
    assert job.known.restore_nonce == "1"
    assert job.reason is None


def test_a_suspended_job_does_not_start_from_elsewhere_than_it_was_told() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    stopped(job)
    job.put(**wish())
    job.found_states[OLDER] = False

    made = job.look()

    assert made.action is None
    assert job.reason == "StateMissing"
