"""A pause holds every effect back, and nothing else."""

from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.pauses import scope_fault, scopes_of
from flink_controller.domain.status import Pause
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.interception import PortCall, intercepted
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

EFFECTS = {"submit", "stop", "savepoint", "cancel", "upload_jar", "delete_jar"}
MINUTE = 60 * SECOND


def effects(bench: Bench) -> int:
    return sum(count for call, count in bench.flink.calls.items() if call in EFFECTS)


def tick(bench: Bench) -> None:
    """Let a minute pass, with its tick."""
    reconcile_fleet(bench.ports, POLICY)
    bench.run(MINUTE)


def test_the_scopes_of_a_job_are_named_from_wide_to_narrow() -> None:
    assert scopes_of("data/etl", ["one", "two"]) == (
        "all",
        "cluster/one",
        "cluster/two",
        "namespace/data",
        "job/data/etl",
    )
    assert scopes_of("etl", ["one", "one"]) == ("all", "cluster/one", "namespace/default", "job/etl")
    assert scopes_of("Not A Job", [""]) == ("all", "job/Not A Job")


@pytest.mark.parametrize(
    ("scope", "is_one"),
    [
        ("all", True),
        ("cluster/default", True),
        ("namespace/data", True),
        ("job/data/etl", True),
        ("", False),
        ("everything", False),
        ("cluster/", False),
        ("job/a/b/c", False),
        ("namespace/A", False),
    ],
)
def test_a_text_is_a_scope_or_says_why_not(scope: str, *, is_one: bool) -> None:
    assert (scope_fault(scope) is None) is is_one


@pytest.mark.parametrize("scope", ["all", "cluster/default", "namespace/default", f"job/{JOB}"])
def test_every_scope_holds_a_deploy_back_and_unpausing_lets_it_go_on(scope: str) -> None:
    bench = Bench()
    bench.registry.put_pause(Pause(scope=scope, reason="stop it"))
    bench.upload()
    bench.put()
    bench.look()

    for _ in range(5):
        tick(bench)

    assert effects(bench) == 0
    assert lifecycle(bench.status) is Lifecycle.WAITING
    assert bench.status.waiting == ("Paused", f"paused by {scope}: stop it; the job is only watched")

    bench.registry.delete_pause(scope)
    tick(bench)
    assert bench.status.attempt is not None
    tick(bench)
    assert lifecycle(bench.status) is Lifecycle.STABLE


@pytest.mark.parametrize("scope", ["cluster/other", "namespace/data", "job/data/etl"])
def test_a_pause_of_others_is_no_pause(scope: str) -> None:
    bench = Bench()
    bench.registry.put_pause(Pause(scope=scope))

    bench.stabilise()

    assert bench.status.waiting is None


def test_pauses_are_read_once_a_look_and_before_each_further_effect() -> None:
    bench = Bench()
    bench.stabilise()
    made: list[str] = []

    def note(call: PortCall) -> Any:
        made.append(call.name)
        return call.target()

    ports = intercepted(bench.ports, note)
    reconcile_job(ports, POLICY, JOB, owner="me")
    assert made.count("circuits.read") == 1

    made.clear()
    bench.put(args=["--two"])
    reconcile_job(ports, POLICY, JOB, owner="me")
    assert made.count("flink[default].jobs") > 3
    assert made.count("circuits.read") == 2
    assert made.index("flink[default].stop") < len(made) - made[::-1].index("circuits.read")


def test_an_upgrade_that_is_paused_between_its_steps_stays_half_done_and_is_finished_later() -> None:
    bench = Bench()
    bench.stabilise()
    bench.put(args=["--two"])

    def pause_after_the_stop(call: PortCall) -> Any:
        result = call.target()
        if call.method == "stop":
            bench.registry.put_pause(Pause(scope="all", reason="stop it"))
        return result

    reconcile_job(intercepted(bench.ports, pause_after_the_stop), POLICY, JOB, owner="me")
    for _ in range(10):
        tick(bench)

    assert bench.flink.live_copies() == []
    assert bench.flink.calls["submit"] == 1
    assert lifecycle(bench.status) is Lifecycle.UPGRADING
    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "Paused"
    assert bench.status.operation is None or bench.status.operation.failures == 0

    bench.registry.delete_pause("all")
    tick(bench)
    tick(bench)
    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert bench.flink.calls["submit"] == 2


@pytest.mark.parametrize("state", ["suspended", "deleted"])
def test_a_paused_job_is_neither_suspended_nor_deleted(state: str) -> None:
    bench = Bench()
    bench.stabilise()
    bench.registry.put_pause(Pause(scope="all"))
    before = effects(bench)
    if state == "deleted":
        bench.specs.delete(JOB)
    else:
        bench.put(state=state)

    bench.look()
    for _ in range(3):
        tick(bench)

    assert effects(bench) == before
    assert len(bench.flink.live_copies()) == 1
    assert lifecycle(bench.status) in {Lifecycle.SUSPENDING, Lifecycle.DELETING}


def test_a_paused_job_is_watched_on() -> None:
    bench = Bench()
    bench.stabilise()
    bench.registry.put_pause(Pause(scope="all", reason="stop it"))
    bench.look()
    bench.flink.kill_jobmanager()

    bench.look()

    reachable = bench.status.condition("ClusterReachable")
    assert reachable is not None
    assert reachable.status == "False"
    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "Paused"


def test_a_tick_shows_a_pause_on_jobs_that_expect_no_look() -> None:
    bench = Bench()
    bench.stabilise()
    bench.registry.put_pause(Pause(scope="namespace/default", reason="stop it"))

    assert reconcile_fleet(bench.ports, POLICY).woken == (JOB,)
    bench.run(SECOND)

    ready = bench.status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("True", "Paused")
    assert reconcile_fleet(bench.ports, POLICY).woken == ()


def test_what_is_deleted_already_is_not_looked_at_for_a_pause() -> None:
    bench = Bench()
    bench.stabilise()
    bench.specs.delete(JOB)
    bench.look()
    bench.run(timedelta(minutes=2))
    bench.registry.put_pause(Pause(scope="all"))

    bench.look()

    assert bench.status.next_look is None
    assert reconcile_fleet(bench.ports, POLICY).woken == ()
