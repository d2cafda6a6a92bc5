"""When is what somebody waits for there?"""

from typing import Any

import pytest

from flink_controller.domain.goal import Absent, Goal, Missed, NotYet, Reached, judge, told
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import DesiredState, Handover, JobStatus, RefusedRevision
from tests.unit.domain.reported_samples import ITEM, attempt, condition, dead, ref, status, view

RUNS = condition("JobRunning", "True")
KEPT = Handover(path="s3://kept", of_attempt=1)
EMPTY = Handover(path=None, of_attempt=1)
REFUSED = RefusedRevision(number=2, spec_hash="f" * 64, artifact_version="v", reason="NotHealthy", message="no checkpoint")


def observed(**fields: Any) -> tuple[dict[str, Any], JobStatus]:
    """Give an item in a state, and a status that has seen it."""
    item = {**ITEM, "state": fields.get("desired_state", DesiredState.RUNNING).value}
    return item, status(observed_spec_hash=view(state=item["state"]).spec_hash, **fields)


def test_a_job_of_which_nothing_is_known_is_absent() -> None:
    assert all(judge(goal, None, None) == Absent() for goal in Goal)


@pytest.mark.parametrize("goal", [goal for goal in Goal if goal is not Goal.DELETED])
def test_what_was_recorded_before_the_item_says_nothing(goal: Goal) -> None:
    late = status(observed_spec_hash="0" * 64)

    assert isinstance(judge(goal, ITEM, late), NotYet)
    assert isinstance(judge(goal, ITEM, None), NotYet)


@pytest.mark.parametrize("goal", [goal for goal in Goal if goal is not Goal.DELETED])
def test_a_job_whose_item_is_gone_reaches_nothing_else(goal: Goal) -> None:
    deleting = judge(goal, None, status())
    deleted = judge(goal, None, status(desired_state=DesiredState.DELETED, attempt=dead(), handover=KEPT))

    assert (deleting, deleted) == (Missed("the job is being deleted"), Missed("the job was deleted"))


def test_a_rejected_spec_reaches_nothing() -> None:
    item, found = observed(rejected_spec_hash="x", conditions=(condition("SpecValid", "False", "SpecRejected", "foo: no"),))

    assert judge(Goal.STABLE, item, found) == Missed("the spec was rejected: foo: no")
    assert judge(Goal.STABLE, item, found.model_copy(update={"conditions": ()})) == Missed("the spec was rejected: ")


def test_a_failed_job_reaches_nothing_but_its_suspension() -> None:
    item, found = observed(halted="no such table", halt_reason="SubmissionRefused", attempt=dead(), handover=EMPTY)

    assert isinstance(judge(Goal.STABLE, item, found), Missed)
    assert isinstance(judge(Goal.RUNNING, item, found), Missed)
    assert isinstance(judge(Goal.SUSPENDED, item, found), NotYet)


def test_stable_asks_for_one_revision_in_all_three_places() -> None:
    item, found = observed()

    assert judge(Goal.STABLE, item, found) == Reached("revision 1 is stable")
    for other in (
        {"desired": ref(2)},
        {"running": ref(2)},
        {"stable": ref(2)},
        {"desired": None},
        {"attempt": attempt(is_proven=False)},
    ):
        assert isinstance(judge(Goal.STABLE, item, found.model_copy(update=other)), NotYet)


def test_running_asks_for_tasks_and_not_for_proof() -> None:
    item, found = observed(conditions=(RUNS,), attempt=attempt(is_proven=False))

    assert judge(Goal.RUNNING, item, found) == Reached("revision 1 runs")
    assert isinstance(judge(Goal.RUNNING, item, found.model_copy(update={"conditions": ()})), NotYet)
    assert isinstance(judge(Goal.RUNNING, item, found.model_copy(update={"desired": ref(2)})), NotYet)


def test_a_rollback_is_a_failure_of_what_was_asked_for() -> None:
    item, found = observed(desired=ref(2), refused=REFUSED)

    assert judge(Goal.STABLE, item, found) == Missed(
        "revision 2 was refused: NotHealthy: no checkpoint; revision 1 is brought back"
    )
    assert isinstance(judge(Goal.RUNNING, item, found), Missed)


def test_a_finished_job_is_completed_and_nothing_else() -> None:
    item, found = observed(is_completed=True, attempt=dead(), handover=EMPTY)

    assert judge(Goal.COMPLETED, item, found) == Reached("the job has completed")
    assert judge(Goal.STABLE, item, found) == Missed("the job has completed")
    assert isinstance(judge(Goal.COMPLETED, *observed()), NotYet)


def test_a_suspended_job_tells_where_its_state_is() -> None:
    asked = {"desired_state": DesiredState.SUSPENDED}

    assert judge(Goal.SUSPENDED, *observed(attempt=dead(), handover=KEPT, **asked)) == Reached(
        "the job is suspended; its state is kept at s3://kept"
    )
    assert judge(Goal.SUSPENDED, *observed(attempt=None, **asked)) == Reached("the job is suspended")
    assert isinstance(judge(Goal.SUSPENDED, *observed(**asked)), NotYet)
    assert isinstance(judge(Goal.SUSPENDED, *observed(attempt=dead(), is_completed=True, handover=EMPTY, **asked)), Missed)


def test_deleted_asks_for_the_item_to_be_gone() -> None:
    gone = status(desired_state=DesiredState.DELETED, attempt=dead(), handover=KEPT)

    assert judge(Goal.DELETED, None, gone) == Reached("the job is deleted; its state is kept at s3://kept")
    assert isinstance(judge(Goal.DELETED, ITEM, gone), NotYet)
    assert isinstance(judge(Goal.DELETED, None, status(desired_state=DesiredState.DELETED)), NotYet)
    empty = gone.model_copy(update={"handover": EMPTY})
    assert judge(Goal.DELETED, None, empty) == Reached("the job is deleted; no state was kept")
    assert judge(Goal.DELETED, None, gone.model_copy(update={"attempt": None, "handover": None})) == Reached(
        "the job is deleted; no state was kept"
    )


def test_an_abandoned_job_is_deleted_although_its_item_is_there() -> None:
    item = {"job_id": "etl", "state": "abandoned"}
    forgotten = status(desired_state=DesiredState.ABANDONED, halt_reason="Abandoned", halted="forgotten")

    assert isinstance(judge(Goal.DELETED, item, forgotten), Reached)


def test_a_tombstone_is_no_answer_to_an_item_that_was_written_again() -> None:
    gone = status(desired_state=DesiredState.DELETED, attempt=dead(), handover=KEPT, observed_spec_hash=None)

    assert isinstance(judge(Goal.STABLE, ITEM, gone), NotYet)


def test_an_abandoned_job_reaches_nothing_else() -> None:
    item = {"job_id": "etl", "state": "abandoned"}
    forgotten = status(desired_state=DesiredState.ABANDONED, observed_spec_hash=hash_item(item))

    assert judge(Goal.STABLE, item, forgotten) == Missed("the job is abandoned")


def test_a_job_is_told_with_its_reason_if_there_is_one() -> None:
    assert told(status()) == "STABLE"
    assert told(status(conditions=(condition("Ready", "True", "Stable"),))) == "STABLE: Stable"
    assert told(status(conditions=(condition("Ready", "True", "Stable", "well"),))) == "STABLE: Stable: well"
