"""What a job requires of its cluster is held against what the cluster offers."""

from dataclasses import replace

import pytest

from flink_controller.domain.actions import ReadOffer, StopWithSavepoint, Submit
from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.fitness import asks_flink, size_bytes, size_text, unfit
from flink_controller.domain.observation import Offer, OfferUnread
from flink_controller.testing.flink_twin import USUAL_TASK_MANAGER
from tests.unit.domain.builders import OTHER, Job, valid_spec

PLAIN = Cluster(name="default", url="http://flink:8081", savepoint_root="s3://b/s", checkpoint_root="s3://b/c")
SECURE = PLAIN.model_copy(update={"url": "https://flink", "auth": Auth.KERBEROS, "kerberos_principal": "flink@REALM"})
WANTS = {"security__ssl_enabled": True, "security__kerberos_principal": "flink@REALM"}
USUAL = replace(USUAL_TASK_MANAGER, slots=4, slots_free=4)
SMALL = replace(USUAL, cpu_cores=1.0, memory_bytes=2**30, heap_bytes=2**29, network_bytes=2**26)
REPORTER = {"metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"}


def test_each_field_that_a_cluster_does_not_meet_is_told_with_both_figures() -> None:
    fault = unfit(valid_spec(**WANTS).spec, PLAIN)

    assert fault is not None
    assert "security.ssl_enabled wants https, the cluster is registered with http" in fault
    assert "security.kerberos_principal wants 'flink@REALM', the cluster is registered with none" in fault


def test_what_is_met_or_not_asked_for_is_no_fault() -> None:
    assert unfit(valid_spec(**WANTS).spec, SECURE) is None
    assert unfit(valid_spec().spec, PLAIN) is None
    assert unfit(valid_spec(security__ssl_enabled=False).spec, SECURE) is None


@pytest.mark.parametrize(
    ("field", "met", "unmet", "told"),
    [
        ("resources__memory", "1g", "1025m", "resources.memory wants 1025m, the smallest of 2 TaskManagers has 1g"),
        ("resources__cpu_cores", 1, 1.5, "resources.cpu_cores wants 1.5, the smallest of 2 TaskManagers has 1"),
        (
            "resources__network_memory",
            "64m",
            "1g",
            "resources.network_memory wants 1g, the smallest of 2 TaskManagers has 64m",
        ),
        (
            "advanced__taskmanager_heap_size",
            "512mb",
            "4g",
            "advanced.taskmanager_heap_size wants 4g, the smallest of 2 TaskManagers has 512m",
        ),
    ],
)
def test_the_smallest_task_manager_counts(field: str, met: object, unmet: object, told: str) -> None:
    offer = Offer({}, (USUAL, SMALL))

    assert unfit(valid_spec(**{field: met}).spec, PLAIN, offer) is None
    assert unfit(valid_spec(**{field: unmet}).spec, PLAIN, offer) == f"cluster default: {told}"


def test_what_flink_does_not_tell_is_not_taken_for_enough() -> None:
    offer = Offer({}, (USUAL, replace(USUAL, memory_bytes=None)))

    assert "does not tell" in str(unfit(valid_spec(resources__memory="1g").spec, PLAIN, offer))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"taskmanager.memory.process.size": "2 gb"}, None),
        ({"taskmanager.memory.process.size": "1728m"}, "one will have 1.68g (taskmanager.memory.process.size)"),
        ({}, "does not say (taskmanager.memory.process.size) what one will have: start one"),
        ({"taskmanager.memory.process.size": "much"}, "does not say (taskmanager.memory.process.size) what one will have"),
    ],
)
def test_while_no_task_manager_is_registered_the_configuration_of_those_to_come_counts(
    settings: dict[str, str], told: str | None
) -> None:
    fault = unfit(valid_spec(resources__memory="2g").spec, PLAIN, Offer(settings, ()))

    assert fault is None if told is None else told in str(fault)


def test_cores_to_come_are_found_where_kubernetes_and_yarn_have_them() -> None:
    spec = valid_spec(resources__cpu_cores=2).spec

    assert unfit(spec, PLAIN, Offer({"kubernetes.taskmanager.cpu.amount": "2.0"}, ())) is None
    assert "one will have 1 (yarn.containers.vcores)" in str(unfit(spec, PLAIN, Offer({"yarn.containers.vcores": "1"}, ())))


@pytest.mark.parametrize(
    ("settings", "port", "told"),
    [
        (REPORTER, 9249, None),
        ({**REPORTER, "metrics.reporter.prom.port": "9250-9260"}, 9255, None),
        ({**REPORTER, "metrics.reporter.prom.port": "9250-9260, 9300"}, 9249, "reporters: 9250-9260, 9300"),
        ({"metrics.reporter.other.port": "8125"}, 8125, None),
        ({**REPORTER, "metrics.reporters": "other", "metrics.reporter.other.port": "x"}, 9249, "reporters: none"),
        ({}, 9249, "monitoring.metrics_port wants 9249, ports of the cluster's metrics reporters: none"),
    ],
)
def test_a_port_is_one_of_the_metrics_reporters(settings: dict[str, str], port: int, told: str | None) -> None:
    fault = unfit(valid_spec(monitoring__metrics_port=port).spec, PLAIN, Offer(settings, (USUAL,)))

    assert fault is None if told is None else told in str(fault)


def test_the_order_of_class_loading_is_the_clusters() -> None:
    spec = valid_spec(advanced__classloader_resolve_order="parent-first").spec

    assert unfit(spec, PLAIN, Offer({"classloader.resolve-order": "parent-first"}, ())) is None
    assert "classloader.resolve-order is 'child-first'" in str(unfit(spec, PLAIN, Offer({}, ())))
    assert unfit(valid_spec(advanced__classloader_resolve_order="child-first").spec, PLAIN, Offer({}, ())) is None


def test_flink_is_asked_only_where_only_flink_can_tell() -> None:
    assert not asks_flink(valid_spec(**WANTS, advanced__classloader_cache_mode="per-job").spec)
    assert asks_flink(valid_spec(monitoring__metrics_port=9249).spec)
    assert asks_flink(valid_spec(resources__cpu_cores=0.5).spec)


def test_sizes_are_flinks() -> None:
    assert (size_bytes("1728m"), size_bytes("2 GB"), size_bytes("64")) == (1728 * 2**20, 2 * 2**30, 64)
    assert (size_text(2**31), size_text(1728 * 2**20), size_text(1536), size_text(12)) == ("2g", "1.68g", "1.5k", "12 bytes")
    with pytest.raises(ValueError, match="no size"):
        size_bytes("2 parsecs")


def test_a_job_waits_while_its_cluster_is_unfit() -> None:
    job = Job(**WANTS)

    made = job.look()

    assert made.status.waiting is not None
    assert made.status.waiting[0] == "ClusterUnfit"
    assert made.action is None


def test_a_job_waits_while_task_managers_are_too_small_and_starts_once_one_is_not() -> None:
    job = Job(resources__memory="2g")
    job.offer = Offer({}, (SMALL,))

    unmet = job.look()
    job.offer = Offer({}, (USUAL,))
    met = job.look()

    assert unmet.action is None
    assert unmet.status.waiting is not None
    assert unmet.status.waiting[0] == "ClusterUnfit"
    assert isinstance(met.action, Submit)


def test_a_job_that_runs_is_left_alone_whatever_its_cluster_offers() -> None:
    job = Job()
    job.run().prove()
    job.offer = Offer({}, (SMALL,))

    job.spec = valid_spec(resources__memory="2g")
    made = job.look()

    assert made.action is None
    assert made.status.waiting is None
    assert not any(isinstance(prepared, ReadOffer) for prepared in job.prepared)


def test_an_upgrade_that_its_cluster_cannot_run_stops_nothing() -> None:
    job = Job()
    job.run().prove()
    job.offer = Offer({}, (SMALL,))

    job.spec = valid_spec(resources__memory="2g", deployment__parallelism=2)
    unmet = job.look()
    job.offer = Offer({}, (USUAL,))
    met = job.look()

    assert unmet.action is None
    assert unmet.status.waiting is not None
    assert unmet.status.waiting[0] == "ClusterUnfit"
    assert isinstance(met.action, StopWithSavepoint)


def test_a_move_asks_the_destination_before_the_job_is_stopped() -> None:
    job = Job()
    job.run().prove()
    job.destination = OTHER
    job.offer = OfferUnread("connection refused")

    job.spec = valid_spec(resources__memory="2g", cluster="other")
    unread = job.look()
    job.offer = Offer({}, (SMALL,))
    unmet = job.look()

    assert (unread.action, unmet.action) == (None, None)
    assert unread.status.waiting == ("ClusterUnreachable", "cluster other: connection refused")
    assert "cluster other: resources.memory wants 2g" in str(unmet.status.waiting)
