"""Which savepoints go, which never do, and how their removal survives what goes wrong."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_controller.domain.actions import DisposeSavepoint, LoadSavepoints
from flink_controller.domain.observation import StorageUnreadable
from flink_controller.domain.plan import Plan
from flink_controller.domain.retention import RETRY_FIRST, RETRY_LAST, TOLD_AFTER, is_needed, surplus
from flink_controller.domain.status import (
    Handover,
    Restored,
    Retention,
    Savepoint,
    SavepointKind,
    SavepointRecord,
    SavepointState,
)
from flink_controller.testing.clock import START
from tests.unit.domain.builders import Job

DAY = timedelta(days=1)


def record(number: int, kind: SavepointKind = SavepointKind.PERIODIC, **changes: Any) -> SavepointRecord:
    known: dict[str, Any] = {
        "number": number,
        "path": f"s3://state/savepoints/default/{number}",
        "kind": kind,
        "completed_at": START + timedelta(minutes=number),
    }
    return SavepointRecord(**{**known, **changes})


def kept_job(*records: SavepointRecord, **retention: Any) -> Job:
    """Give a proven job with records of savepoints, the last one its newest."""
    job = Job(stream_config__savepoint_retention=retention or {"count": 1}).prove()
    job.wait(timedelta(hours=1))
    job.savepoints = {found.number: found for found in records}
    newest = Savepoint(path=records[-1].path, completed_at=records[-1].completed_at)
    job.status = job.known.model_copy(update={"savepoint": newest})
    return job


def asked(made: Plan) -> str | None:
    return made.action.path if isinstance(made.action, DisposeSavepoint) else None


@given(
    st.lists(st.sampled_from(list(SavepointKind)), max_size=12),
    st.integers(1, 5),
    st.integers(1, 30),
    st.booleans(),
    st.integers(0, 60),
)
def test_only_what_the_rule_is_for_goes_and_no_more_than_it_says(
    kinds: list[SavepointKind],
    count: int,
    days: int,
    takes_manual: bool,  # noqa: FBT001  # drawn
    age_days: int,
) -> None:
    records = [record(number, kind) for number, kind in enumerate(kinds, 1)]
    rule, now = Retention(count=count, days=days, takes_manual=takes_manual), START + timedelta(hours=1) + age_days * DAY

    gone = surplus(records, rule, now)

    allowed = {SavepointKind.PERIODIC, SavepointKind.MANUAL} if takes_manual else {SavepointKind.PERIODIC}
    assert {found.kind for found in gone} <= allowed
    left = [found for found in records if found.kind in allowed and found not in gone]
    assert len(left) <= count
    if age_days < days - 1:
        assert len(left) == min(count, sum(found.kind in allowed for found in records))
    if age_days > days:
        assert left == []


def test_the_oldest_goes_first_and_its_removal_is_on_record_before_flink_is_asked() -> None:
    job = kept_job(record(1), record(2), record(3))

    made = job.look()

    assert asked(made) == record(1).path
    assert made.status.disposal is not None
    assert [(found.number, found.state) for found in made.savepoints] == [(1, SavepointState.DISPOSING)]


def test_each_in_turn_is_gone_until_the_rule_is_fulfilled() -> None:
    job = kept_job(record(1), record(2), record(3))
    removed = []
    for _ in range(6):
        path = asked(job.look())
        if path is not None:
            removed.append(path)
            job.found_states[path] = False

    assert removed == [record(1).path, record(2).path]
    assert list(job.savepoints) == [3]
    assert job.known.disposal is None
    assert job.told.count("SavepointDisposed") == 2


def test_a_rule_that_is_fulfilled_reads_nothing_until_something_grows_too_old() -> None:
    job = kept_job(record(1), count=5, days=1)
    made = job.look()

    job.wait(60).look()

    assert LoadSavepoints() not in job.prepared
    assert made.next_look == record(1).completed_at + DAY


@dataclass(frozen=True)
class Need:
    name: str
    status: dict[str, Any]


NEEDS = [
    Need("what a rollback restores", {"stable_state": record(1).path}),
    Need("what green starts from", {"green_state": record(1).path}),
    Need("what was handed on", {"handover": Handover(path=record(1).path, of_attempt=1)}),
    Need("what its spec names", {"claims": (record(1).path,)}),
]


@pytest.mark.parametrize("need", NEEDS, ids=lambda need: need.name)
def test_what_the_job_needs_is_never_removed(need: Need) -> None:
    job = kept_job(record(1), record(2))
    job.status = job.known.model_copy(update=need.status)
    if need.name == "what its spec names":
        job.put(stream_config__savepoint_retention={"count": 1}, deployment__restore={"from": record(1).path, "nonce": "1"})
        job.found_states[record(1).path] = False

    assert asked(job.look()) is None


def test_what_a_restore_left_aside_is_needed_until_it_is_proven() -> None:
    job = kept_job(record(1), record(2))
    restored = Restored(path="s3a://other/x/_metadata", kept=record(1).path, of_attempt=0)
    status = job.known.model_copy(update={"restored": restored})

    assert is_needed(status, record(1).path)
    assert is_needed(status, "s3://other/x")


def test_what_the_running_attempt_started_from_is_never_removed() -> None:
    job = kept_job(record(1), record(2))
    job.status = job.known.model_copy(update={"attempt": job.attempt.model_copy(update={"restore_from": record(1).path})})

    assert asked(job.look()) is None


def test_where_a_lost_state_would_be_searched_nothing_is_removed() -> None:
    job = kept_job(record(1), record(2))
    directory = record(1).path.rpartition("/")[0]
    job.status = job.known.model_copy(
        update={"attempt": job.attempt.model_copy(update={"savepoint_directories": (directory,)})}
    )

    assert asked(job.look()) is None


def test_what_another_jobs_spec_names_is_never_removed_and_looked_at_again() -> None:
    job = kept_job(record(1), record(2))
    job.holders[record(1).path] = ("other/etl",)

    held = job.look()
    job.holders.clear()
    assert held.next_look is not None
    later = job.wait(held.next_look - job.now).look()

    assert asked(held) is None
    assert asked(later) == record(1).path


@pytest.mark.parametrize("kind", [kind for kind in SavepointKind if kind is not SavepointKind.PERIODIC])
def test_without_a_rule_in_the_spec_only_the_clocks_own_are_removed(kind: SavepointKind) -> None:
    job = Job(stream_config__savepoint_trigger_interval=3_600_000).prove()
    job.savepoints = {number: record(number, kind) for number in range(1, 30)}
    job.status = job.known.model_copy(update={"savepoint": Savepoint(path="s3://newest", completed_at=START)})

    assert asked(job.wait(timedelta(minutes=1)).look()) is None


@pytest.mark.parametrize("state", ["suspended", "running"])
def test_a_removal_that_is_under_way_goes_on_whatever_becomes_of_the_job(state: str) -> None:
    job = kept_job(record(1), record(2))
    job.look()
    job.put(stream_config__savepoint_retention={"count": 1}, state=state)
    job.found_states[record(1).path] = False
    job.look()
    job.wait(5).look()

    assert state == "suspended" or job.known.disposal is None


def test_a_request_that_was_lost_is_made_again_and_a_failure_told_once() -> None:
    job = kept_job(record(1), record(2))
    job.look()
    waits, tries = [], 0
    for _ in range(9):
        failed = job.wait(6).look()
        assert failed.action is None
        assert failed.next_look is not None
        waits.append(failed.next_look - job.now)
        tries += asked(job.wait(failed.next_look - job.now).look()) == record(1).path

    assert waits == [min(RETRY_FIRST * 2**number, RETRY_LAST) for number in range(9)]
    assert tries == 9
    assert job.told.count("SavepointDisposalFailed") == 1
    assert TOLD_AFTER <= 9
    job.found_states[record(1).path] = False
    job.look()
    assert job.told[-1] == "SavepointDisposed"


def test_storage_that_cannot_be_read_proves_no_removal() -> None:
    job = kept_job(record(1), record(2))
    job.look()
    job.found_states[record(1).path] = StorageUnreadable("AccessDenied")

    job.wait(6).look()

    assert job.known.disposal is not None
    assert 1 in job.savepoints


def test_a_paused_job_removes_nothing() -> None:
    job = kept_job(record(1), record(2))
    job.is_paused = True

    assert asked(job.look()) is None


def wished(job: Job, number: int, nonce: str = "a") -> Plan:
    job.put(deployment__savepoint_disposal={"id": number, "nonce": nonce})
    return job.look()


def test_one_savepoint_is_removed_on_request_whatever_its_kind() -> None:
    job = kept_job(record(1, SavepointKind.UPGRADE), record(2))

    made = wished(job, 1)

    assert asked(made) == record(1).path
    assert job.known.disposal_nonce == "a"


@pytest.mark.parametrize("number", [2, 3])
def test_a_request_for_what_is_needed_or_not_known_is_refused_once(number: int) -> None:
    job = kept_job(record(1), record(2))

    made = wished(job, number)
    job.look()

    assert asked(made) is None
    assert job.told.count("SavepointKept") == 1


def test_the_places_that_a_spec_names_are_claimed_as_long_as_they_are_needed() -> None:
    job = Job(deployment__initial_savepoint_path="old/savepoint-1/")
    made = job.look()
    place = "s3://state/savepoints/default/old/savepoint-1"

    assert made.status.claims == (place,)
    assert job.prove().look().status.claims == (place,)
