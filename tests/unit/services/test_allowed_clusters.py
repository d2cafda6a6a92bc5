"""The policy of a namespace says on which clusters its jobs may be started."""

from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.trust import NamespacePolicy, RegistryEvent
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.clock import START
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

TOLD = RegistryEvent(time=START, action="Changed", subject="POLICY#default", message="")


def allow(bench: Bench, *clusters: str) -> None:
    bench.registry.put_policy(NamespacePolicy(namespace="default", allowed_clusters=clusters), TOLD)


def tick(bench: Bench) -> tuple[str, ...]:
    woken = reconcile_fleet(bench.ports, POLICY).woken
    bench.run(30 * SECOND)
    return woken


def told(bench: Bench) -> list[str]:
    return [event.message for event in bench.statuses.events(JOB) if event.reason == "ClusterDisallowed"]


def test_a_job_waits_while_its_cluster_is_not_allowed_and_starts_once_it_is() -> None:
    bench = Bench()
    allow(bench, "other")
    bench.upload()
    bench.put()

    bench.look()

    assert bench.status.waiting == (
        "ClusterDisallowed",
        "namespace default may not use cluster default, only other; an operator decides that (flinkctl policy set --cluster)",
    )
    assert bench.status.attempt_counter == 0
    allow(bench, "other", "default")
    bench.run(120 * SECOND)
    assert lifecycle(bench.status) is Lifecycle.STABLE


def test_a_policy_that_cannot_be_read_lets_nothing_start() -> None:
    bench = Bench()
    bench.registry.spoil("POLICY#default")
    bench.upload()
    bench.put()

    bench.look()

    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "PolicyMalformed"
    assert bench.status.attempt_counter == 0


def test_what_runs_on_a_cluster_that_is_not_allowed_any_more_runs_on_and_is_told_once() -> None:
    bench = Bench()
    bench.stabilise()
    allow(bench, "other")

    woken = tick(bench)
    again = tick(bench)

    assert (woken, again) == ((JOB,), ())
    assert [message.partition(":")[0] for message in told(bench)] == ["it runs on, and is not started there again"]
    assert (lifecycle(bench.status), bench.status.attempt_counter) == (Lifecycle.STABLE, 1)


def test_it_is_told_anew_when_the_cluster_was_allowed_in_between() -> None:
    bench = Bench()
    bench.stabilise()
    for clusters in (("other",), ("*",), ("other",)):
        allow(bench, *clusters)

        assert tick(bench) == (JOB,)

    assert len(bench.statuses.events(JOB)) > 0
    assert sum(event.count for event in bench.statuses.events(JOB) if event.reason == "ClusterDisallowed") == 2


def test_a_restart_and_an_upgrade_of_what_runs_there_wait_and_stop_nothing() -> None:
    bench = Bench()
    bench.stabilise()
    allow(bench, "other")
    tick(bench)

    bench.put(args=["--two"])
    bench.look()
    bench.run(60 * SECOND)

    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "ClusterDisallowed"
    assert bench.status.attempt is not None
    assert (bench.status.attempt.number, bench.status.attempt.is_dead) == (1, False)
