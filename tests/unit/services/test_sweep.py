"""One look over the whole fleet: who is woken, why, and what it costs when nobody is."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Barrier

import pytest

from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import FlinkUnreachableError, TransientError
from flink_controller.domain.names import flink_job_id
from flink_controller.domain.observation import JobSeen
from flink_controller.domain.status import DueKind, JobStatus
from flink_controller.ports import Commit
from flink_controller.services.sweep import SEGMENTS, Sweep, reconcile_fleet
from flink_controller.services.wake_due import wake_due
from flink_controller.testing.clock import START
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

MINUTE = timedelta(minutes=1)


def quiet() -> Bench:
    """A fleet of one stable job that expects no look."""
    bench = Bench()
    bench.stabilise()
    bench.follow_ups.take_due(bench.clock.now() + timedelta(days=1))
    return bench


def sweep(bench: Bench) -> Sweep:
    return reconcile_fleet(bench.ports, POLICY)


def record(bench: Bench, **changes: object) -> None:
    held = bench.statuses.acquire(JOB, owner="me", now=bench.clock.now(), until=bench.clock.now() + SECOND)
    status = held.status or JobStatus(job_id=JOB, created_at=START, updated_at=START)
    bench.statuses.commit(held, Commit(status.model_copy(update=changes)), release=True)


def test_a_quiet_tick_lists_each_cluster_once_writes_nothing_and_wakes_nobody() -> None:
    bench = quiet()
    calls, writes = bench.flink.calls.copy(), bench.statuses.writes
    sent = bench.follow_ups.writes

    found = sweep(bench)

    assert found == Sweep(jobs=1, clusters=1, unreachable=(), woken=())
    assert bench.flink.calls - calls == {"jobs": 1, "checkpoint_progress": 1, "graph": 1, "load": 1}
    assert bench.statuses.writes == writes
    assert bench.follow_ups.writes == sent


def test_a_job_that_nobody_of_ours_started_is_reported_and_left_alone() -> None:
    bench = quiet()
    leftover, foreign = flink_job_id("tests", JOB, 0), "f0" * 16
    for job_id in (leftover, foreign):
        bench.flink.submit(
            Submit(job_id, bench.flink.jars()[0].jar_id, None, (), 1, None, allow_non_restored_state=False, configuration={})
        )
    bench.clock.advance(SECOND)

    found = sweep(bench)

    assert found.foreign == (f"default/{foreign}",)
    assert found.woken == (JOB,)
    assert foreign in bench.flink.live_copies()


def test_an_empty_fleet_asks_no_cluster() -> None:
    bench = Bench()

    assert sweep(bench) == Sweep(0, 0, (), ())
    assert bench.flink.calls.total() == 0


def test_a_look_that_is_due_is_made_up_for() -> None:
    bench = quiet()
    record(bench, next_look=bench.clock.now())

    assert sweep(bench).woken == (JOB,)
    assert [found.job_id for found in bench.follow_ups.pending] == [JOB]


def test_a_look_that_is_not_due_is_left_alone() -> None:
    bench = quiet()
    record(bench, next_look=bench.clock.now() + SECOND)

    assert sweep(bench).woken == ()


def test_a_job_that_vanished_is_looked_at() -> None:
    bench = quiet()
    bench.flink.restart_jobmanager()

    assert sweep(bench).woken == (JOB,)


def test_a_job_that_ended_by_itself_is_looked_at() -> None:
    bench = quiet()
    bench.flink.cancel(bench.flink.jobs()[0].flink_job_id)
    bench.clock.advance(SECOND)

    assert sweep(bench).woken == (JOB,)


def test_a_job_without_all_its_tasks_is_looked_at() -> None:
    bench = quiet()
    bench.flink.kill_taskmanagers()

    assert sweep(bench).woken == (JOB,)


def test_a_leftover_of_ours_is_looked_at() -> None:
    bench = quiet()
    attempt = bench.status.attempt
    assert attempt is not None
    record(bench, attempt=attempt.model_copy(update={"flink_job_id": flink_job_id("tests", JOB, 9)}))

    assert sweep(bench).woken == (JOB,)


def test_a_live_job_that_should_not_be_is_looked_at() -> None:
    bench = quiet()
    record(bench, halted="given up", halt_reason="JobFailed", next_look=None)

    assert sweep(bench).woken == (JOB,)


def test_an_unreachable_cluster_wakes_its_jobs_once() -> None:
    bench = quiet()
    bench.flink.kill_jobmanager()

    first = sweep(bench)
    bench.look()
    bench.follow_ups.take_due(bench.clock.now() + timedelta(days=1))
    record(bench, next_look=None)
    second = sweep(bench)

    assert (first.unreachable, first.woken) == (("default",), (JOB,))
    assert (second.unreachable, second.woken) == (("default",), ())


def test_a_cluster_that_is_back_wakes_those_who_missed_it() -> None:
    bench = quiet()
    bench.flink.kill_jobmanager()
    bench.look()
    record(bench, next_look=None)
    bench.flink.start_jobmanager()

    assert sweep(bench).woken == (JOB,)


@pytest.mark.parametrize("is_spoiled", [True, False])
def test_a_cluster_without_a_readable_item_counts_as_unreachable(is_spoiled: bool) -> None:  # noqa: FBT001  # a case's outcome
    bench = quiet()
    if is_spoiled:
        bench.registry.spoil("CLUSTER#default")
    else:
        bench.registry.delete_cluster("default")

    found = sweep(bench)

    assert found.unreachable == ("default",)
    assert found.woken == (JOB,)


class HangingClusters:
    """Connections that take five seconds each to come to nothing."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.asked = bench, list[str]()

    def connect(self, cluster: Cluster) -> "HangingCluster":
        return HangingCluster(self, cluster.name)


@dataclass
class HangingCluster:
    """One of them."""

    clusters: HangingClusters
    name: str

    def jobs(self) -> list[JobSeen]:
        self.clusters.asked.append(self.name)
        self.clusters.bench.clock.advance(5 * SECOND)
        raise FlinkUnreachableError("does not answer")


class MeetingClusters:
    """Clusters that answer once as many of them are asked at the same time."""

    def __init__(self, together: int) -> None:
        self._asked = Barrier(together, timeout=30)

    def connect(self, _cluster: Cluster) -> "MeetingClusters":
        return self

    def jobs(self) -> list[JobSeen]:
        self._asked.wait()
        return []


def clusters(bench: Bench, count: int) -> None:
    """Register clusters with one job each."""
    cluster = bench.registry.cluster("default")
    assert cluster is not None
    for number in range(count):
        job = f"job-{number}"
        bench.registry.put_cluster(cluster.model_copy(update={"name": f"c{number}"}))
        held = bench.statuses.acquire(job, owner="me", now=bench.clock.now(), until=bench.clock.now() + SECOND)
        status = JobStatus(job_id=job, created_at=START, updated_at=START, cluster=f"c{number}")
        bench.statuses.commit(held, Commit(status), release=True)


def test_clusters_that_hang_leave_time_for_the_rest_of_a_tick_and_each_gets_its_turn() -> None:
    bench = Bench()
    hanging = HangingClusters(bench)
    ports = replace(bench.ports, flink=hanging)  # type: ignore[arg-type]  # a sweep asks for no more before the list
    clusters(bench, 20)

    asked = []
    for _ in range(20):
        start = bench.clock.now()
        reconcile_fleet(ports, POLICY)
        asked.append(bench.clock.now() - start)
        bench.clock.advance(start + MINUTE - bench.clock.now())

    assert max(asked) == timedelta(seconds=30)
    assert set(hanging.asked) == {f"c{number}" for number in range(20)}


def test_clusters_are_asked_at_once_where_there_are_threads_for_it() -> None:
    bench = Bench()
    clusters(bench, 4)
    ports = replace(bench.ports, flink=MeetingClusters(together=4))  # type: ignore[arg-type]  # as above

    with ThreadPoolExecutor(4) as pool:
        found = reconcile_fleet(ports, POLICY, each=pool.map)

    assert (found.clusters, found.unreachable) == (4, ())


def test_jobs_that_name_no_cluster_ask_none() -> None:
    bench = Bench()
    bench.put(nonsense=True)
    bench.look()
    bench.follow_ups.take_due(bench.clock.now() + timedelta(days=1))

    found = sweep(bench)

    assert (found.jobs, found.clusters) == (1, 0)


@pytest.mark.parametrize("event", ["new", "changed", "removed"])
def test_a_lost_stream_record_heals_within_fifteen_ticks(event: str) -> None:
    bench = quiet() if event != "new" else Bench()
    if event == "removed":
        bench.specs.delete(JOB)
    else:
        bench.put(labels={"team": "data"})

    assert _woken_in_a_round(bench) == [JOB]


def test_an_upload_that_no_index_named_the_job_for_is_found_within_fifteen_ticks() -> None:
    bench = quiet()
    bench.upload(jar_bytes("another version"))
    bench.follow_ups.take_due(bench.clock.now() + MINUTE)

    woken = _woken_in_a_round(bench)

    assert woken == [JOB]


def test_an_upload_means_nothing_to_a_spec_that_is_pinned() -> None:
    bench = quiet()
    bench.put(artifact_signature=f"sha256:{bench.status.desired.artifact.sha256}")  # type: ignore[union-attr]  # stable
    bench.run(MINUTE)
    bench.upload(jar_bytes("another version"))
    bench.run(MINUTE)
    bench.follow_ups.take_due(bench.clock.now() + timedelta(days=1))

    assert _woken_in_a_round(bench) == []


def test_a_refused_spec_that_names_what_can_be_no_key_hinders_no_tick() -> None:
    bench = quiet()
    bench.put(artifact_path="artifacts/" + "x" * 5_000)
    bench.run(MINUTE)
    bench.follow_ups.take_due(bench.clock.now() + timedelta(days=1))
    asked: list[tuple[str, str]] = []

    def noted(call: PortCall) -> object:
        if call.name == "records.heads":
            asked.extend(call.args[0])
        return call.target()

    watched = intercepted(bench.ports, noted)
    for _ in range(SEGMENTS):
        reconcile_fleet(watched, POLICY)
        bench.clock.advance(MINUTE)

    assert asked == []


def _woken_in_a_round(bench: Bench) -> list[str]:
    woken: list[str] = []
    for _ in range(SEGMENTS):
        woken += sweep(bench).woken
        bench.clock.advance(MINUTE)
    return woken


def test_a_deleted_job_is_left_in_peace() -> None:
    bench = quiet()
    bench.specs.delete(JOB)
    bench.look()
    bench.run(MINUTE)

    woken: list[str] = []
    for _ in range(SEGMENTS):
        woken += sweep(bench).woken
        bench.clock.advance(MINUTE)

    assert woken == []


def test_a_job_is_woken_once_however_many_reasons_there_are() -> None:
    bench = quiet()
    record(bench, next_look=bench.clock.now())
    bench.flink.restart_jobmanager()

    assert sweep(bench).woken == (JOB,)


@pytest.mark.parametrize(
    ("kind", "after", "expected"),
    [(DueKind.LAUNCH, 0, [JOB]), (DueKind.LAUNCH, 5, [JOB]), (DueKind.LAUNCH, -1, []), (DueKind.EXPIRE, 5, [])],
)
def test_a_due_job_is_woken_by_its_own_schedule(kind: DueKind, after: int, expected: list[str]) -> None:
    bench = Bench()
    record(bench, due=(DueKind.LAUNCH, bench.clock.now() - after * SECOND))

    assert wake_due(bench.ports, kind) == expected
    assert [found.job_id for found in bench.follow_ups.pending] == expected


@pytest.mark.parametrize(
    "call", ["registry.cluster", "registry.pauses", "registry.policies", "specs.segment", "records.heads", "specs.present"]
)
def test_wake_ups_are_on_their_way_before_anything_else_can_fail(call: str) -> None:
    bench = quiet()
    record(bench, next_look=bench.clock.now())

    def failing(made: PortCall) -> object:
        if made.name == call:
            raise TransientError("DynamoDB does not answer")
        return made.target()

    with pytest.raises(TransientError):
        reconcile_fleet(intercepted(bench.ports, failing), POLICY)

    assert [found.job_id for found in bench.follow_ups.pending] == [JOB]
