"""A look at a job: what it costs, whom it wakes, and what it makes of rubbish."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.errors import LeaseTakenError, StaleWriteError
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import JobSeen
from flink_controller.ports import Held
from flink_controller.services.reconcile import BUSY_DELAY, LEASE, Outcome, reconcile_jobs
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.memory_statuses import MemoryStatuses
from tests.unit.services.bench import BUCKET, JOB, KEY, POLICY, SECOND, Bench

DAY = timedelta(days=1)


def test_a_deploy_makes_five_writes_and_few_calls_on_flink() -> None:
    bench = Bench()
    bench.upload()
    bench.put()
    writes, sent = bench.statuses.writes, bench.follow_ups.writes

    bench.look()
    bench.run(60 * SECOND)

    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert bench.statuses.writes - writes == 5
    assert bench.follow_ups.writes - sent == 1
    assert bench.flink.calls.pop("jobs") <= 8
    assert dict(bench.flink.calls) == {"config": 1, "upload_jar": 1, "submit": 1, "checkpoints": 1}


def test_a_look_that_changes_nothing_writes_only_its_lease() -> None:
    bench = Bench()
    bench.stabilise()
    writes, calls = bench.statuses.writes, bench.flink.calls.copy()

    outcome = bench.look()

    assert outcome is Outcome.UNCHANGED
    assert bench.statuses.writes - writes == 2
    # The vital signs of a job that was healthy once are read by whatever look it gets.
    assert bench.flink.calls - calls == {"jobs": 1, "checkpoints": 1, "graph": 1, "load": 1}


def test_a_stable_job_expects_no_further_look() -> None:
    bench = Bench()
    bench.stabilise()

    assert bench.status.next_look is None
    assert bench.follow_ups.pending == ()


def test_repeated_wakes_do_not_multiply_the_chain_of_looks() -> None:
    bench = Bench()
    bench.upload()
    bench.put()
    bench.look()

    for _ in range(20):
        bench.look()

    assert len(bench.follow_ups.pending) == 1


def test_a_waiting_job_has_one_look_under_way() -> None:
    bench = Bench()
    bench.put()

    for _ in range(5):
        bench.clock.advance(SECOND)
        bench.look()

    assert len(bench.follow_ups.pending) == 1
    assert bench.status.waiting is not None


def test_a_job_that_somebody_else_looks_at_is_woken_again_later() -> None:
    bench = Bench()
    bench.put()
    now = bench.clock.now()
    bench.statuses.acquire(JOB, owner="other", now=now, until=now + LEASE)

    outcome = bench.look()

    assert outcome is Outcome.BUSY
    (follow_up,) = bench.follow_ups.pending
    assert follow_up.due_at - now == BUSY_DELAY


def test_a_holder_that_may_have_died_is_waited_for_in_growing_steps() -> None:
    bench = Bench()
    bench.put()
    now = bench.clock.now()
    bench.statuses.acquire(JOB, owner="other", now=now, until=now + LEASE)

    delays = []
    while bench.look() is Outcome.BUSY:
        (follow_up,) = bench.follow_ups.take_due(bench.clock.now() + DAY)
        delays.append((follow_up.due_at - bench.clock.now()).total_seconds())
        bench.clock.advance(follow_up.due_at - bench.clock.now())

    assert sum(delays) >= LEASE.total_seconds()
    assert len(delays) <= 6


class Overtaken(MemoryStatuses):
    """A store in which somebody else always writes first."""

    def commit(self, held: Held, commit: Any, *, release: bool) -> Held:
        raise StaleWriteError(f"{held.job_id} moved on, {commit.status.job_id}, {release}")


def test_a_look_that_was_overtaken_is_repeated() -> None:
    bench = Bench()
    bench.put()
    bench.ports = replace(bench.ports, statuses=Overtaken())

    outcome = bench.look()

    assert outcome is Outcome.OVERTAKEN
    assert [found.job_id for found in bench.follow_ups.pending] == [JOB]


def test_a_job_that_nobody_knows_leaves_no_trace() -> None:
    bench = Bench()

    assert bench.look("nobody") is Outcome.UNKNOWN_JOB
    assert bench.statuses.read("nobody") is None
    assert bench.follow_ups.pending == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"deployment": {"parallelism": 2.5}},
        {"deployment": "x"},
        {"deployment": {b"x"}},
        {"nonsense": True},
        {"artifact_path": "artifacts/../x.jar"},
        {"artifact_path": "team/etl.jar"},
        {"cluster": "http://flink:8081"},
        {"args": {"a", "b"}},
        {"labels": {"x": b"\xff"}},
        {"job_type": None},
        {"filler": ["x" * 1000] * 390},
        {"state": "abandoned"},
    ],
)
def test_a_malformed_item_gets_a_status_and_nothing_more(changes: dict[str, Any]) -> None:
    bench = Bench()
    bench.put(**changes)

    first = bench.look()
    second = bench.look()

    assert (first, second) == (Outcome.RECORDED, Outcome.UNCHANGED)
    assert lifecycle(bench.status) is Lifecycle.FAILED
    assert bench.follow_ups.pending == ()
    assert bench.flink.calls.total() == 0


@pytest.mark.parametrize("job_id", ["BAD ID", "a/b/c", "x" * 200, "artifacts/etl", "ä"])
def test_an_item_under_an_impossible_name_gets_a_status_too(job_id: str) -> None:
    bench = Bench()
    bench.put(job_id)

    assert bench.look(job_id) is Outcome.RECORDED
    found = bench.statuses.read(job_id)
    assert found is not None
    assert lifecycle(found) is Lifecycle.FAILED


def test_a_malformed_item_leaves_the_running_job_alone() -> None:
    bench = Bench()
    bench.stabilise()
    bench.put(nonsense=True)

    bench.look()
    bench.run(60 * SECOND)

    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert bench.flink.calls["stop"] == bench.flink.calls["cancel"] == 0


def test_a_malformed_cluster_raises_nothing() -> None:
    bench = Bench()
    bench.upload()
    bench.put()
    bench.registry.spoil("CLUSTER#default")

    assert bench.look() is Outcome.RECORDED
    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "ClusterMalformed"


def test_a_cluster_that_goes_away_while_bytes_are_brought_to_it_is_unreachable() -> None:
    bench = Bench()
    bench.upload()
    bench.put()
    open_ = bench.objects.open

    class Fatal:
        def __getattr__(self, name: str) -> object:
            return getattr(bench.objects, name)

        def open(self, *args: str) -> object:
            bench.flink.kill_jobmanager()
            return open_(*args)

    bench.ports = replace(bench.ports, objects=Fatal())  # type: ignore[arg-type]  # a twin with one fault

    bench.look()

    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "ClusterUnreachable"
    assert bench.status.attempt is None


def test_an_upgrade_carries_the_state_over() -> None:
    bench = Bench()
    bench.stabilise()
    digest = bench.upload(jar_bytes("v2"))

    bench.look()
    bench.run(120 * SECOND)

    first, second = bench.flink.history
    assert second.jar_sha256 == digest
    assert second.restored_from is not None
    assert second.progress > first.progress == 0
    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert [jar.name for jar in bench.flink.jars()] == [f"{jar.name}" for jar in bench.flink.jars() if digest in jar.name]


def test_a_refused_upgrade_brings_the_old_revision_back() -> None:
    bench = Bench()
    bench.stabilise()
    bench.upload(jar_bytes("v2"), behaviour=JobBehaviour(main_throws="no such topic"))

    bench.look()
    bench.run(120 * SECOND)

    assert lifecycle(bench.status) is Lifecycle.ROLLED_BACK
    assert bench.status.refused is not None
    assert "no such topic" in bench.status.refused.message


def test_a_savepoint_on_request_is_taken_while_the_job_runs_on() -> None:
    bench = Bench()
    bench.stabilise()
    bench.put(
        deployment={"checkpoint_interval": 2000, "rollback": {"stabilization_seconds": 5}, "savepoint_nonce": "a"},
    )

    bench.look()
    bench.run(30 * SECOND)

    assert bench.status.savepoint is not None
    assert len(bench.flink.history) == 1


def test_a_suspend_while_main_runs_uses_the_id_up() -> None:
    bench = Bench()
    bench.upload(behaviour=JobBehaviour(main=timedelta(minutes=5)))
    bench.put()
    bench.look()
    bench.put(state="suspended")

    bench.look()
    bench.run(timedelta(minutes=10))

    assert lifecycle(bench.status) is Lifecycle.SUSPENDED
    assert bench.flink.live_copies() == []


def test_a_burn_whose_jar_cannot_be_brought_is_tried_again() -> None:
    bench = Bench()
    bench.upload(behaviour=JobBehaviour(main=timedelta(minutes=5)))
    bench.put()
    bench.look()
    bench.put(state="suspended")
    # The JobManager goes once it has listed the jobs, so that the burn finds nobody.
    listed = bench.flink.jobs

    def last_words(prefix: str = "") -> list[JobSeen]:
        found = listed(prefix)
        bench.flink.kill_jobmanager()
        return found

    bench.flink.jobs = last_words  # type: ignore[method-assign]  # a fault of the moment

    bench.look()

    assert lifecycle(bench.status) is Lifecycle.SUSPENDING


def test_jobs_beyond_the_time_budget_are_handed_to_the_queue() -> None:
    bench = Bench()
    for job_id in ("a", "b", "c"):
        bench.put(job_id, nonsense=True)

    late = reconcile_jobs(bench.ports, POLICY, ["a", "a"], owner="me", until=bench.clock.now() + SECOND)
    later = reconcile_jobs(bench.ports, POLICY, ["b", "c", "b"], owner="me", until=bench.clock.now())

    assert (late, later) == ([], ["b", "c"])
    assert [found.job_id for found in bench.follow_ups.pending] == ["b", "c"]


def test_a_pinned_digest_is_deployed_from_an_older_version() -> None:
    bench = Bench()
    first = bench.upload()
    bench.clock.advance(DAY)
    bench.upload(jar_bytes("v2"))
    bench.put(artifact_signature=f"sha256:{first}")

    bench.look()

    assert [start.jar_sha256 for start in bench.flink.history] == [first]


def test_a_pin_that_nothing_fits_waits() -> None:
    bench = Bench()
    bench.upload()
    bench.put(artifact_signature="sha256:" + "0" * 64)

    bench.look()

    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "ArtifactMissing"


def test_a_taken_lease_says_until_when() -> None:
    bench = Bench()
    now = bench.clock.now()
    bench.statuses.acquire(JOB, owner="other", now=now, until=now + LEASE)

    with pytest.raises(LeaseTakenError) as taken:
        bench.statuses.acquire(JOB, owner="me", now=now, until=now + LEASE)

    assert taken.value.until == now + LEASE
    assert bench.records.head(BUCKET, KEY) is None
