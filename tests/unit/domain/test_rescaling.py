"""Another parallelism in place: asked for, read back, or made by an upgrade after all."""

from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.actions import CountFreeSlots, Rescale, StopWithSavepoint, Submit
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import (
    Accepted,
    FlinkState,
    NoAnswer,
    RefusalKind,
    Refused,
    StoredState,
    TriggerCompleted,
    Vertex,
)
from flink_controller.domain.plan import Plan
from flink_controller.domain.rescaling import DEADLINE
from flink_controller.domain.spec import NoSpec
from flink_controller.domain.status import AttemptPhase, OperationKind
from tests.unit.domain.builders import CLUSTER, Job, head, retained

ADAPTIVE = CLUSTER.model_copy(update={"adaptive_scheduler": True})
ONE = Vertex(1, 1)
"""A vertex that the job's code has set to one."""


def job(parallelism: int = 2, **changes: Any) -> Job:
    """Give a proven job on a cluster with the adaptive scheduler."""
    made = Job(deployment__parallelism=parallelism, **changes)
    made.cluster = ADAPTIVE
    return made.prove()


def asked(made: Job | None = None, after: int = 4) -> Job:
    """Get to where another parallelism was just asked for."""
    made = made or job()
    made.put(deployment__parallelism=after)
    plan = made.look()
    assert isinstance(plan.action, Rescale)
    made.vertices = (ONE, Vertex(after, 2))
    return made


def done(made: Job, after: int = 4) -> Plan:
    """Let Flink have restarted the tasks, and look."""
    made.vertices = (ONE, Vertex(after, after))
    made.show(modified_ms=made.jobs[made.attempt.flink_job_id].modified_ms + 1)
    return made.look()


def test_a_change_of_parallelism_alone_is_asked_for_in_place() -> None:
    made = job()
    made.put(deployment__parallelism=4)

    plan = made.look()

    assert plan.action == Rescale(made.attempt.flink_job_id, before=2, after=4)
    assert (made.operation.kind, made.operation.parallelism) == (OperationKind.RESCALE, (2, 4))
    assert made.lifecycle is Lifecycle.UPGRADING
    assert made.attempt.revision == 1


def test_it_is_done_when_it_is_read_back_from_a_job_whose_tasks_all_run() -> None:
    made = asked()

    made.look(Accepted())
    assert made.reason == "Rescaling"
    made.vertices = (ONE, Vertex(4, 4))
    made.show(tasks=1)
    made.look()
    assert made.reason == "Rescaling", "not all tasks run"
    plan = done(made)

    assert plan.action is None
    assert made.known.operation is None
    assert made.known.stable is not None
    assert (made.attempt.number, made.attempt.revision, made.known.stable.number) == (1, 2, 2)
    assert made.lifecycle is Lifecycle.STABLE
    assert made.told[-2:] == ["UpgradeStarted", "Rescaled"]


@pytest.mark.parametrize(
    ("before", "changes", "adaptive"),
    [
        (1, {"deployment__parallelism": 4}, True),
        (2, {"deployment__parallelism": 4}, False),
        (2, {"deployment__parallelism": 4, "args": ["--new"]}, True),
    ],
    ids=["from one", "another scheduler", "beside another change"],
)
def test_what_cannot_be_done_in_place_is_an_upgrade(before: int, changes: dict[str, Any], *, adaptive: bool) -> None:
    made = job(before)
    made.cluster = ADAPTIVE if adaptive else CLUSTER
    made.put(**changes)

    plan = made.look()

    assert isinstance(plan.action, StopWithSavepoint)


def test_a_new_artifact_is_an_upgrade_even_beside_another_parallelism() -> None:
    made = job()
    made.put(deployment__parallelism=4)
    made.head = head(2)

    assert isinstance(made.look().action, StopWithSavepoint)


def test_blue_green_stays_blue_green() -> None:
    made = job(deployment__upgrade_mode="blue-green")
    made.put(deployment__parallelism=4, deployment__upgrade_mode="blue-green")

    assert not isinstance(made.look().action, Rescale)


def test_a_job_whose_tasks_do_not_all_run_is_upgraded() -> None:
    made = job()
    made.show(tasks=1)
    made.put(deployment__parallelism=4)

    assert isinstance(made.look().action, StopWithSavepoint)


def test_without_slots_nothing_is_touched() -> None:
    made = job()
    made.free_slots = 1
    made.put(deployment__parallelism=4)

    plan = made.look()

    assert plan.action is None
    assert made.reason == "NoFreeSlots"
    assert "needs 2 more slots on default, and 1 are free" in str(made.known.waiting)
    assert made.known.operation is None


def test_fewer_slots_need_not_be_counted() -> None:
    made = job(4)
    made.free_slots = 0
    made.put(deployment__parallelism=2)

    plan = made.look()

    assert isinstance(plan.action, Rescale)
    assert not any(isinstance(prepared, CountFreeSlots) for prepared in made.prepared)


def test_a_lost_request_is_sent_again() -> None:
    made = asked()
    made.vertices = (ONE, Vertex(2, 2))

    assert made.look(NoAnswer("cut")).action is None
    assert made.wait(5).look().action == Rescale(made.attempt.flink_job_id, before=2, after=4)
    assert made.wait(1).look().action is None


@pytest.mark.parametrize("answer", [Refused(RefusalKind.OTHER, "exceeds its maximum parallelism"), None])
def test_a_refusal_or_the_deadline_makes_it_an_upgrade(answer: Refused | None) -> None:
    made = asked()

    plan = made.look(answer) if answer else made.wait(DEADLINE).look()

    assert isinstance(plan.action, StopWithSavepoint)
    assert made.operation.purpose == "upgrade"
    assert made.told.count("RescaleFailed") == 1
    made.trigger = TriggerCompleted("s3://state/savepoints/sp")
    started = made.end(FlinkState.FINISHED).action
    assert isinstance(started, Submit)
    assert started.parallelism == 4


def test_a_newer_change_waits_for_the_request_that_is_under_way() -> None:
    made = asked()
    made.put(deployment__parallelism=2)

    assert made.look().action is None
    assert made.reason == "Rescaling"
    plan = done(made)

    assert plan.action is None
    assert made.attempt.revision == 2
    assert made.reason == "RescaleSettling", "a late first request must not undo the second one"
    plan = made.wait(timedelta(seconds=71)).look()
    assert plan.action == Rescale(made.attempt.flink_job_id, before=4, after=2)


def test_a_change_that_needs_an_upgrade_waits_for_the_request_too() -> None:
    made = asked()
    made.put(deployment__parallelism=4, args=["--new"])
    assert made.look().action is None

    plan = done(made)

    assert isinstance(plan.action, StopWithSavepoint)


def test_a_suspend_does_not_wait() -> None:
    made = asked()
    made.put(deployment__parallelism=4, state="suspended")

    plan = made.look()

    assert isinstance(plan.action, StopWithSavepoint)
    assert made.operation.purpose == "suspend"


def test_a_delete_does_not_wait() -> None:
    made = asked()
    made.spec = NoSpec()

    plan = made.look()

    assert isinstance(plan.action, StopWithSavepoint)
    assert made.operation.purpose == "delete"


def test_a_job_that_is_lost_meanwhile_comes_back_with_the_new_parallelism() -> None:
    made = asked()
    made.stored = StoredState((retained(),))
    made.jobs.clear()

    plan = made.look()

    assert isinstance(plan.action, Submit)
    assert plan.action.parallelism == 4
    assert plan.action.restore_from == retained().path
    assert made.attempt.phase is AttemptPhase.SUBMITTING
    assert made.known.operation is None


def test_a_restart_nonce_waits_for_the_request() -> None:
    made = asked()
    made.put(deployment__parallelism=4, deployment__restart_nonce="again")
    assert made.look().action is None

    plan = done(made)

    assert isinstance(plan.action, StopWithSavepoint)
    assert made.operation.purpose == "restart"
