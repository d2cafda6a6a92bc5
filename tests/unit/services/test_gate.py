"""A cluster that does not answer is asked rarely, by one look at a time, and soon again when it is back."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.circuit import FAILURES_TO_OPEN, PROBE, CircuitState
from flink_controller.domain.errors import FlinkUnreachableError, StaleWriteError, TransientError
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import FlinkUnreachable
from flink_controller.ports import Barriers
from flink_controller.services.gate import Gate
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.memory_circuits import MemoryCircuits
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

MINUTE = 60 * SECOND


class Asked(Bench):
    """An installation that counts what its cluster is asked, answered or not."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.ports = intercepted(self.ports, self._note)

    def _note(self, call: PortCall) -> Any:
        self.asked += call.name.startswith("flink[")
        return call.target()

    def tick(self) -> None:
        """Let a minute pass, with its tick."""
        reconcile_fleet(self.ports, POLICY)
        self.run(MINUTE)

    @property
    def circuit(self) -> Any:
        """What is recorded of the cluster."""
        return self.circuits.read("default").circuit


def fleet(jobs: int) -> Asked:
    """Give an installation of many jobs that are stable."""
    bench = Asked()
    bench.upload()
    for number in range(jobs):
        bench.put(f"job-{number}")
        bench.look(f"job-{number}")
    bench.run(MINUTE)
    return bench


def flagged(bench: Bench, job_id: str) -> bool:
    status = bench.statuses.read(job_id)
    assert status is not None
    reachable = status.condition("ClusterReachable")
    return reachable is not None and reachable.status == "False"


def test_a_cluster_that_answers_costs_no_write() -> None:
    bench = Asked()
    bench.stabilise()
    reconcile_fleet(bench.ports, POLICY)

    assert bench.circuits.writes == 0


def test_many_jobs_on_a_dead_cluster_make_few_calls_and_all_say_so() -> None:
    bench = fleet(60)
    bench.flink.kill_jobmanager()
    bench.asked = 0

    bench.tick()

    assert all(flagged(bench, f"job-{number}") for number in range(60))
    assert bench.asked <= FAILURES_TO_OPEN + 3
    bench.asked = 0
    for _ in range(10):
        bench.tick()
    # The tick's own, and a probe or two beside it.
    assert bench.asked <= 10 * 3


def test_it_closes_again_and_every_job_notices_within_a_tick_or_so() -> None:
    bench = fleet(20)
    bench.flink.kill_jobmanager()
    for _ in range(12):
        bench.tick()
    assert bench.circuit.state is not CircuitState.CLOSED

    bench.flink.start_jobmanager()
    bench.tick()

    assert bench.circuit.is_closed
    assert not any(flagged(bench, f"job-{number}") for number in range(20))


def test_without_ticks_a_look_closes_it() -> None:
    bench = Asked()
    bench.stabilise()
    bench.flink.kill_jobmanager()
    bench.look()
    bench.run(10 * MINUTE)
    bench.flink.start_jobmanager()

    bench.run(6 * MINUTE)

    assert bench.circuit.is_closed
    assert not flagged(bench, JOB)


def test_a_restart_of_a_few_seconds_delays_nobody_by_minutes() -> None:
    bench = fleet(20)
    bench.flink.kill_jobmanager()
    for number in range(20):
        bench.look(f"job-{number}")
    bench.clock.advance(5 * SECOND)
    bench.flink.start_jobmanager()

    bench.run(31 * SECOND)

    assert bench.circuit.is_closed
    assert not any(flagged(bench, f"job-{number}") for number in range(20))


def test_a_job_on_an_open_circuit_says_why_and_is_no_verdict() -> None:
    bench = fleet(5)
    bench.flink.kill_jobmanager()
    for number in range(5):
        bench.look(f"job-{number}")

    status = bench.statuses.read("job-4")

    assert status is not None
    assert status.waiting is not None
    assert status.waiting[0] == "ClusterUnreachable"
    assert "not asked before" in status.waiting[1]
    assert status.attempt is not None
    assert not status.attempt.is_dead
    assert lifecycle(status) is Lifecycle.STABLE


def test_what_flink_refuses_is_no_failure() -> None:
    bench = Asked()
    bench.stabilise()
    status = bench.status
    assert status.attempt is not None
    gateway = bench.connect(bench.cluster)
    gateway.trigger(status.attempt.flink_job_id, "0" * 32)
    bench.look()

    assert bench.circuit.version == 0


def test_of_looks_at_the_same_time_one_probes() -> None:
    bench = fleet(3)
    bench.flink.kill_jobmanager()
    for number in range(3):
        bench.look(f"job-{number}")
    now = bench.circuit.retry_at
    gates = [Gate(bench.circuits, f"job-{number}", "me") for number in range(3)]
    for gate in gates:
        gate.pause("default", "default")

    refusals = [gate.refusal(now) for gate in gates]

    assert [refusal is None for refusal in refusals] == [True, False, False]
    assert isinstance(refusals[1], FlinkUnreachable)
    assert bench.circuit.state is CircuitState.HALF_OPEN


def test_a_prober_that_died_is_replaced() -> None:
    bench = fleet(3)
    bench.flink.kill_jobmanager()
    for number in range(3):
        bench.look(f"job-{number}")
    now = bench.circuit.retry_at
    dead, other = Gate(bench.circuits, "job-0", "me"), Gate(bench.circuits, "job-1", "me")
    dead.pause("default", "default")
    assert dead.refusal(now) is None
    other.pause("default", "default")

    assert other.refusal(now + PROBE - SECOND) is not None
    assert other.refusal(now + PROBE) is None


def test_a_burst_of_looks_opens_it_in_one_round() -> None:
    bench = fleet(6)
    bench.flink.kill_jobmanager()
    gates = [Gate(bench.circuits, f"job-{number}", "me") for number in range(6)]
    for gate in gates:
        gate.pause("default", "default")

    for gate in gates:
        gate.unanswered(bench.clock.now(), FlinkUnreachableError("connection refused"))

    assert (bench.circuit.state, bench.circuit.failures) == (CircuitState.OPEN, FAILURES_TO_OPEN)


class Unwritable(MemoryCircuits):
    """Circuits that cannot be recorded."""

    error: type[TransientError] = TransientError

    def replace(self, cluster: str, circuit: Any, *, expected: Any) -> None:
        raise self.error(f"{cluster} {circuit.version} {expected.version}")

    def read(self, cluster: str, scopes: Sequence[str] = ()) -> Barriers:
        return super().read(cluster, scopes)


@pytest.mark.parametrize("error", [TransientError, StaleWriteError])
def test_a_circuit_that_cannot_be_recorded_fails_no_look(error: type[TransientError]) -> None:
    bench = Bench()
    bench.stabilise()
    circuits = Unwritable(bench.registry)
    circuits.error = error
    gate = Gate(circuits, JOB, "me")
    gate.pause("default", "default")

    gate.unanswered(bench.clock.now(), FlinkUnreachableError("connection refused"))
    gate.answered()

    assert gate.refusal(bench.clock.now()) is None


def test_an_upload_that_fails_counts_as_well() -> None:
    bench = Asked()
    bench.upload()
    bench.put()

    def refuse(call: PortCall) -> Any:
        if call.method == "upload_jar":
            bench.flink.kill_jobmanager()
        return call.target()

    reconcile_job(intercepted(bench.ports, refuse), POLICY, JOB, owner="me")

    assert bench.circuit.failures == 1
    assert flagged(bench, JOB)


def test_each_cluster_has_its_own_circuit() -> None:
    bench = fleet(4)
    bench.flink.kill_jobmanager()
    for number in range(4):
        bench.look(f"job-{number}")

    assert not bench.circuit.is_closed
    assert bench.circuits.read("other").circuit.is_closed


def test_a_look_does_not_come_before_the_next_probe_may() -> None:
    bench = Asked()
    bench.stabilise()
    bench.flink.kill_jobmanager()
    for _ in range(8):
        bench.tick()
    circuit = bench.circuit

    bench.look()

    assert bench.status.next_look is not None
    assert bench.status.next_look >= min(circuit.retry_at, bench.clock.now() + timedelta(seconds=30))
