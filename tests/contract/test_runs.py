"""What `StatusStore` promises about runs: one per instant, within the quota, all or nothing with the status."""

from datetime import datetime

import pytest

from flink_controller.domain.errors import QuotaExceededError, RunTakenError, StaleWriteError
from flink_controller.domain.status import Run, RunOutcome
from flink_controller.domain.trust import Quotas
from flink_controller.ports import Commit
from tests.contract.samples import event, held, recorded, status
from tests.contract.worlds import World, after


def run(minute: int, outcome: RunOutcome = RunOutcome.RUNNING, **changes: object) -> Run:
    return Run.model_validate({"scheduled_at": at(minute), "outcome": outcome, **changes})


def at(minute: int) -> datetime:
    return after(60 * minute)


def starting(*minutes: int, quota: int = 10, job_id: str = "job") -> Commit:
    return Commit(status(job_id), started_runs=tuple(run(minute) for minute in minutes), quotas=Quotas(active_runs=quota))


def test_a_started_run_is_read_back(world: World) -> None:
    recorded(world.statuses, starting(1))

    assert world.statuses.run("job", at(1)) == run(1)
    assert world.statuses.run("job", at(2)) is None


def test_runs_are_listed_oldest_first_and_the_newest_are_kept(world: World) -> None:
    recorded(world.statuses, Commit(status(), runs=tuple(run(minute, RunOutcome.SKIPPED) for minute in (3, 1, 2))))

    assert [found.scheduled_at for found in world.statuses.runs("job")] == [at(1), at(2), at(3)]
    assert [found.scheduled_at for found in world.statuses.runs("job", limit=2)] == [at(2), at(3)]
    assert world.statuses.runs("job", limit=0) == []


def test_an_instant_has_one_run_and_a_second_one_writes_nothing(world: World) -> None:
    recorded(world.statuses, starting(1))
    lease = held(world.statuses, owner="next")

    with pytest.raises(RunTakenError) as caught:
        world.statuses.commit(
            lease,
            Commit(status(cluster="other"), events=(event(1),), started_runs=(run(1),), quotas=Quotas()),
            release=False,
        )

    assert caught.value.scheduled_at == at(1)
    assert world.statuses.read("job") == status()
    assert world.statuses.events("job") == []
    world.statuses.commit(lease, Commit(status(cluster="other")), release=False)


def test_a_record_can_be_written_again(world: World) -> None:
    recorded(world.statuses, starting(1))

    recorded(world.statuses, Commit(status(), runs=(run(1, RunOutcome.SUCCEEDED),), ended_runs=1))

    found = world.statuses.run("job", at(1))
    assert found is not None
    assert found.outcome is RunOutcome.SUCCEEDED


def test_the_quota_of_a_namespace_is_shared_by_its_jobs(world: World) -> None:
    recorded(world.statuses, starting(1, quota=2))
    recorded(world.statuses, starting(1, quota=2, job_id="other"))

    with pytest.raises(QuotaExceededError):
        recorded(world.statuses, starting(2, quota=2, job_id="third"))

    assert world.statuses.runs("third") == []
    recorded(world.statuses, starting(1, quota=2, job_id="elsewhere/third"))


def test_the_end_of_a_run_makes_room_for_another(world: World) -> None:
    recorded(world.statuses, starting(1, quota=1))
    ended = run(1, RunOutcome.SUCCEEDED)

    recorded(
        world.statuses, Commit(status(), started_runs=(run(2),), runs=(ended,), ended_runs=1, quotas=Quotas(active_runs=1))
    )

    with pytest.raises(QuotaExceededError):
        recorded(world.statuses, starting(3, quota=1, job_id="other"))


def test_a_quota_of_none_lets_nothing_start(world: World) -> None:
    with pytest.raises(QuotaExceededError):
        recorded(world.statuses, starting(1, quota=0))


def test_a_stale_holder_starts_nothing(world: World) -> None:
    old = held(world.statuses, owner="old")
    held(world.statuses, owner="new", at=60)

    with pytest.raises(StaleWriteError):
        world.statuses.commit(old, starting(1), release=False)

    assert world.statuses.runs("job") == []


def test_old_records_go_and_active_ones_stay(world: World) -> None:
    outcomes = [RunOutcome.RUNNING, *([RunOutcome.SUCCEEDED, RunOutcome.FAILED] * 3)]
    recorded(world.statuses, Commit(status(), runs=tuple(run(n, outcome) for n, outcome in enumerate(outcomes))))

    assert world.statuses.prune_runs("job", succeeded=1, other=2) == 3
    assert world.statuses.prune_runs("job", succeeded=1, other=2) == 0

    assert [found.scheduled_at for found in world.statuses.runs("job")] == [at(0), at(4), at(5), at(6)]
