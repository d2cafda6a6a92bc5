"""Quotas of streaming jobs and of slots: who takes what, who waits, and who gets room."""

import pytest

from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.status import JobStatus
from flink_controller.domain.trust import NamespacePolicy, Quotas, RegistryEvent, trust_mark
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.clock import START
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

TOLD = RegistryEvent(time=START, action="Changed", subject="POLICY#default", message="")
OTHER = "other"


def limit(bench: Bench, *, jobs: int | None = None, slots: int | None = None) -> None:
    bench.registry.put_policy(NamespacePolicy(namespace="default", quotas=Quotas(jobs=jobs, slots=slots)), TOLD)


def deployment(parallelism: int, **changes: object) -> dict[str, object]:
    return {
        "parallelism": parallelism,
        "checkpoint_interval": 2000,
        "rollback": {"stabilization_seconds": 5},
        **changes,
    }


def status_of(bench: Bench, job_id: str) -> JobStatus:
    found = bench.statuses.read(job_id)
    assert found is not None
    return found


def slots_of(bench: Bench, job_id: str = JOB) -> int | None:
    reserved = status_of(bench, job_id).reserved
    return None if reserved is None else reserved.slots


def waiting_of(bench: Bench, job_id: str = JOB) -> str | None:
    waiting = status_of(bench, job_id).waiting
    return None if waiting is None else waiting[0]


def start(bench: Bench, job_id: str = JOB, *, parallelism: int = 1) -> None:
    bench.put(job_id, deployment=deployment(parallelism))
    bench.look(job_id)
    bench.run(60 * SECOND)


def test_where_no_quota_is_set_nothing_is_counted() -> None:
    bench = Bench()

    bench.stabilise()

    assert bench.status.reserved is None


def test_a_job_beyond_the_quota_waits_with_the_figures_and_starts_once_another_is_deleted() -> None:
    bench = Bench()
    limit(bench, jobs=1)
    bench.stabilise()

    start(bench, OTHER)

    message = (
        "the namespace has no room for 1 more of jobs, with 1 of 1 in use; flinkctl cluster usage shows who has it,"
        " flinkctl policy set --max-jobs N raises it"
    )
    assert status_of(bench, OTHER).waiting == ("QuotaExceeded", message)
    assert (lifecycle(status_of(bench, OTHER)), status_of(bench, OTHER).attempt_counter) == (Lifecycle.WAITING, 0)
    bench.specs.delete(JOB)
    bench.look()
    bench.run(180 * SECOND)
    assert lifecycle(status_of(bench, OTHER)) is Lifecycle.STABLE


def test_a_larger_revision_waits_for_slots_while_the_old_one_runs_on() -> None:
    bench = Bench()
    limit(bench, slots=3)
    bench.upload()
    start(bench, parallelism=2)

    start(bench, parallelism=4)

    assert (waiting_of(bench), slots_of(bench)) == ("QuotaExceeded", 2)
    assert bench.status.attempt is not None
    assert (bench.status.attempt.number, bench.status.attempt.is_dead) == (1, False)
    limit(bench, slots=4)
    bench.run(180 * SECOND)
    assert (lifecycle(bench.status), slots_of(bench)) == (Lifecycle.STABLE, 4)


def test_a_smaller_revision_gives_its_slots_back_once_it_is_proven() -> None:
    bench = Bench()
    limit(bench, slots=4)
    bench.upload()
    start(bench, parallelism=4)

    bench.put(deployment=deployment(1))
    bench.look()
    held_on_the_way = slots_of(bench)
    bench.run(120 * SECOND)

    assert held_on_the_way == 4
    assert (lifecycle(bench.status), slots_of(bench)) == (Lifecycle.STABLE, 1)


def test_a_green_copy_takes_slots_beside_the_blue_one() -> None:
    bench = Bench()
    limit(bench, slots=3)
    bench.upload()
    start(bench, parallelism=2)

    bench.put(deployment=deployment(2, upgrade_mode="blue-green"), args=["--green"])
    bench.look()
    bench.run(60 * SECOND)

    assert (waiting_of(bench), slots_of(bench)) == ("QuotaExceeded", 2)
    assert len(bench.flink.live_copies()) == 1
    limit(bench, slots=4)
    bench.run(240 * SECOND)
    assert (lifecycle(bench.status), slots_of(bench)) == (Lifecycle.STABLE, 2)
    assert bench.status.running == bench.status.desired


def test_a_suspended_job_holds_nothing() -> None:
    bench = Bench()
    limit(bench, jobs=1, slots=1)
    bench.stabilise()

    bench.put(state="suspended")
    bench.look()
    bench.run(60 * SECOND)

    assert lifecycle(bench.status) is Lifecycle.SUSPENDED
    assert bench.status.reserved is None


def test_what_runs_when_a_quota_begins_is_counted_whether_it_fits_or_not_and_runs_on() -> None:
    bench = Bench()
    bench.upload()
    start(bench, parallelism=2)
    limit(bench, slots=1)

    woken = reconcile_fleet(bench.ports, POLICY).woken
    bench.run(30 * SECOND)
    again = reconcile_fleet(bench.ports, POLICY).woken

    assert (woken, again) == ((JOB,), ())
    assert (lifecycle(bench.status), slots_of(bench)) == (Lifecycle.STABLE, 2)
    start(bench, OTHER)
    assert waiting_of(bench, OTHER) == "QuotaExceeded"


def test_nothing_is_held_any_more_once_the_quota_is_lifted() -> None:
    bench = Bench()
    limit(bench, jobs=1)
    bench.stabilise()
    limit(bench)

    reconcile_fleet(bench.ports, POLICY)
    bench.run(30 * SECOND)

    assert bench.status.reserved is None


def test_a_lost_job_comes_back_on_what_it_holds() -> None:
    bench = Bench()
    limit(bench, jobs=1, slots=1)
    bench.stabilise()
    bench.run(30 * SECOND)

    bench.flink.restart_jobmanager()
    bench.look()
    bench.run(300 * SECOND)

    assert bench.status.attempt_counter == 2
    assert (lifecycle(bench.status), slots_of(bench)) == (Lifecycle.STABLE, 1)


@pytest.mark.parametrize("quotas", [Quotas(jobs=3), Quotas(slots=7)])
def test_such_a_quota_has_no_artifact_judged_again(quotas: Quotas) -> None:
    limited = NamespacePolicy(namespace="default", quotas=quotas)

    assert trust_mark((), limited, START) == trust_mark((), NamespacePolicy(namespace="default"), START)
