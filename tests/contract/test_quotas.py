"""What `StatusStore` promises about the quotas of streaming jobs: counted by what statuses hold, once, all or nothing."""

from dataclasses import replace

import pytest

from flink_controller.domain.errors import QuotaExceededError
from flink_controller.domain.status import Reservation
from flink_controller.domain.trust import Quotas
from flink_controller.ports import Commit
from tests.contract.samples import event, held, recorded, status
from tests.contract.worlds import World

FOUR = Quotas(jobs=2, slots=4)


def holding(slots: int | None, job_id: str = "job", quotas: Quotas | None = FOUR) -> Commit:
    reserved = None if slots is None else Reservation(slots=slots)
    return Commit(status(job_id).model_copy(update={"reserved": reserved}), quotas=quotas)


def test_jobs_share_the_slots_of_their_namespace_and_of_no_other(world: World) -> None:
    recorded(world.statuses, holding(3))

    with pytest.raises(QuotaExceededError, match="2 more of slots, with 3 of 4 in use"):
        recorded(world.statuses, holding(2, "other"))

    recorded(world.statuses, holding(1, "other"))
    recorded(world.statuses, holding(4, "elsewhere/third"))


def test_jobs_are_counted_beside_their_slots(world: World) -> None:
    recorded(world.statuses, holding(1))
    recorded(world.statuses, holding(1, "other"))

    with pytest.raises(QuotaExceededError, match="1 more of jobs, with 2 of 2 in use"):
        recorded(world.statuses, holding(1, "third"))


def test_a_refused_commit_writes_nothing(world: World) -> None:
    recorded(world.statuses, Commit(status()))
    lease = held(world.statuses, owner="next")
    too_much = replace(holding(5), events=(event(1),))

    with pytest.raises(QuotaExceededError):
        world.statuses.commit(lease, too_much, release=False)

    assert world.statuses.read("job") == status()
    assert world.statuses.events("job") == []


def test_what_is_held_already_takes_no_further_room(world: World) -> None:
    recorded(world.statuses, holding(4))

    recorded(world.statuses, holding(4))


def test_less_gives_room_and_nothing_gives_all(world: World) -> None:
    recorded(world.statuses, holding(4))
    recorded(world.statuses, holding(2))
    recorded(world.statuses, holding(2, "other"))

    recorded(world.statuses, holding(None))

    recorded(world.statuses, holding(4, "other"))


def test_what_is_counted_without_a_quota_is_counted_in_full(world: World) -> None:
    recorded(world.statuses, holding(9, quotas=None))

    with pytest.raises(QuotaExceededError, match="1 more of slots, with 9 of 4 in use"):
        recorded(world.statuses, holding(1, "other"))


def test_a_limit_that_is_not_set_holds_nobody_back(world: World) -> None:
    recorded(world.statuses, holding(4))

    recorded(world.statuses, holding(90, "other", Quotas(jobs=2)))
