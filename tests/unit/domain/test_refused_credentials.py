"""A cluster that refuses the controller: told as that, told once, and no job of it is lost."""

from datetime import UTC, datetime, timedelta

from flink_controller.domain.circuit import FAILURES_TO_OPEN, Circuit
from flink_controller.domain.errors import REFUSED_CREDENTIALS
from flink_controller.domain.lifecycle import Lifecycle
from tests.unit.domain.builders import Job

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_it_is_neither_missing_nor_failed_nor_confused_with_a_cluster_that_is_away() -> None:
    job = Job().prove()
    job.unreachable, job.unreachable_because = "it answered 401", REFUSED_CREDENTIALS

    made = job.look()
    job.look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.STABLE
    assert job.told.count("ClusterRefusesCredentials") == 1
    assert job.reason == "ClusterRefusesCredentials"
    assert job.says("ClusterReachable") == ("False", "ClusterRefusesCredentials")
    assert job.says("JobRunning") == ("Unknown", "ClusterRefusesCredentials")


def test_the_reason_outlives_an_open_circuit() -> None:
    circuit = Circuit()
    for number in range(FAILURES_TO_OPEN):
        circuit = circuit.after_failure(
            NOW + timedelta(seconds=number), "it answered 401", by="a look", reason=REFUSED_CREDENTIALS
        )

    assert circuit.refusal().reason == REFUSED_CREDENTIALS
