"""`cluster usage`, and the memory that `cluster check` tells."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flink_controller.domain.names import namespace_of
from flink_controller.domain.observation import TaskManagerSeen
from flink_controller.domain.status import ActiveRun, JobType, Runs
from flink_controller.domain.trust import NamespacePolicy, Quotas, RegistryEvent
from tests.unit.cli.bench import CLUSTER, SPEC, Bench
from tests.unit.domain.reported_samples import attempt, dead, ref, status

MIB = 2**20
TASK_MANAGERS = (
    TaskManagerSeen(4, 1, shared_bytes=1024 * MIB, free_bytes=256 * MIB),
    TaskManagerSeen(4, 4, shared_bytes=1024 * MIB, free_bytes=1024 * MIB),
)


def put(bench: Bench, job_id: str, *, parallelism: int | None = None, **fields: object) -> None:
    """Record a job that runs, with its spec where a parallelism is given."""
    if parallelism is not None:
        artifact = f"{namespace_of(job_id)}/etl.jar".replace("default/", "artifacts/")
        spec = {**SPEC, "job_id": job_id, "artifact_path": artifact, "deployment": {"parallelism": parallelism}}
        bench.specs.put(job_id, spec)
    bench.put_status(status(job_id=job_id, **fields))


def allow_runs(bench: Bench, namespace: str, most: int) -> None:
    event = RegistryEvent(time=bench.clock.now(), action="Changed", subject=f"POLICY#{namespace}", message="")
    bench.registry.put_policy(NamespacePolicy(namespace=namespace, quotas=Quotas(active_runs=most)), event)


@pytest.fixture
def used(bench: Bench) -> Bench:
    """Give a cluster with two TaskManagers, and jobs of two namespaces on it."""
    bench.registry.put_cluster(CLUSTER)
    bench.probe.task_managers_ = TASK_MANAGERS
    put(bench, "web", parallelism=2)
    put(bench, "data/etl", parallelism=1)
    put(bench, "data/off", parallelism=4, attempt=dead())
    allow_runs(bench, "data", 7)
    return bench


USED = """\
CLUSTER  TASKMANAGERS  SLOTS FREE  MEMORY FREE  RUNNING  MESSAGE
default  2             5 of 8      1.25g of 2g  2        -

NAMESPACE  JOBS  RUNNING  SLOTS  ACTIVE RUNS
data       2     1        1      0 of 7
default    1     1        2      0
"""


def test_what_clusters_have_and_namespaces_take_is_a_line_each(used: Bench) -> None:
    assert used.run("cluster", "usage").out == USED


def test_a_document_has_bytes(used: Bench) -> None:
    found = used.run("cluster", "usage", "-o", "json").json

    assert found["clusters"] == [
        {
            "cluster": "default",
            "capacity": {
                "task_managers": 2,
                "slots": 8,
                "slots_free": 5,
                "memory_bytes": 2048 * MIB,
                "memory_free_bytes": 1280 * MIB,
            },
            "running": 2,
            "message": "",
        }
    ]
    assert found["namespaces"][0] == {
        "namespace": "data",
        "jobs": 2,
        "running": 1,
        "active_runs": 0,
        "slots": 1,
        "unknown_slots": 0,
        "quotas": {"active_runs": 7, "jobs": None, "slots": None},
    }


def test_a_cluster_that_does_not_answer_is_named_and_the_others_are_shown(used: Bench) -> None:
    used.registry.put_cluster(CLUSTER.model_copy(update={"name": "away"}))
    used.probes["away"] = replace(used.probe, unreachable=True)
    put(used, "data/far", parallelism=3, cluster="away", attempt=attempt(cluster="away"))

    result = used.run("cluster", "usage")

    assert result.status == 0
    away, default = result.out.splitlines()[1:3]
    assert away.split(maxsplit=5) == ["away", "-", "-", "-", "1", "http://flink:8081 gives no answer: connection refused"]
    assert default.split()[:5] == ["default", "2", "5", "of", "8"]


def test_jobs_on_a_cluster_that_is_not_registered_are_shown(bench: Bench) -> None:
    put(bench, "web", parallelism=2)

    found = bench.run("cluster", "usage", "-o", "json").json

    assert found["clusters"] == [{"cluster": "default", "capacity": None, "running": 1, "message": "is not registered"}]


def test_slots_that_no_spec_tells_are_not_guessed(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    put(bench, "data/a", parallelism=2)
    put(bench, "data/gone")
    put(bench, "data/bad")
    bench.specs.put("data/bad", {**SPEC, "job_id": "data/bad", "deployment": {"parallelism": "many"}})

    assert bench.run("cluster", "usage").out.splitlines()[-1].split() == ["data", "3", "3", "2,", "and", "2", "unknown", "0"]


def test_a_run_that_waits_for_another_try_counts_against_the_quota_and_takes_no_slots(used: Bench) -> None:
    at = used.clock.now()
    lanes = (attempt(2), dead(number=3))
    active = tuple(
        ActiveRun(scheduled_at=at + timedelta(hours=hour), revision=ref(1), attempt=lane, started_at=at)
        for hour, lane in enumerate(lanes)
    )
    put(used, "data/off", parallelism=4, job_type=JobType.BATCH, attempt=None, running=None, runs=Runs(active=active))

    data = used.run("cluster", "usage", "-o", "json").json["namespaces"][0]

    assert (data["running"], data["active_runs"], data["slots"]) == (2, 2, 5)


def test_memory_that_one_taskmanager_does_not_tell_is_unknown(used: Bench) -> None:
    used.probe.task_managers_ = (*TASK_MANAGERS, TaskManagerSeen(1, 1))

    (line,) = used.run("cluster", "usage", "-o", "json").json["clusters"]

    assert (line["capacity"]["slots"], line["capacity"]["memory_bytes"]) == (9, None)


def test_an_installation_without_clusters_says_how_to_begin(bench: Bench) -> None:
    assert bench.run("cluster", "usage").out == "no clusters; flinkctl cluster add registers one\n"


def test_a_fleet_costs_one_call_a_cluster_and_the_list_none(used: Bench) -> None:
    for number in range(50):
        put(used, f"n/job-{number:03}", parallelism=1)
    calls, reads = used.probe.calls, used.statuses.reads

    used.run("cluster", "list")
    assert used.probe.calls == calls

    used.run("cluster", "usage")
    assert used.probe.calls == calls + 1
    assert used.statuses.reads - reads == 1


def test_a_check_tells_slots_taskmanagers_and_memory(used: Bench) -> None:
    (one,) = used.run("cluster", "check", "-o", "json").json["items"]
    messages = {found["name"]: found["message"] for found in one["checks"]}

    assert messages["slots"] == "8 of 8 slots free on 1 TaskManagers"
    assert messages["memory"] == "1.25g of 2g that slots share is free"
