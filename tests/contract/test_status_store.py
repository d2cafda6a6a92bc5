"""What `StatusStore` promises, one caller at a time; `test_status_races.py` has many at once."""

import hashlib

import pytest

from flink_controller.domain.errors import ControllerError, LeaseTakenError, StaleWriteError
from flink_controller.domain.status import DueKind, SavepointKind, SavepointRecord, StagedJar
from flink_controller.ports import STATUS_LIMIT_BYTES, Commit, Held
from tests.contract.samples import DIGEST, event, held, recorded, revision, status
from tests.contract.worlds import AwsWorld, World, after

JAR = StagedJar(cluster="default", sha256=DIGEST, jar_id="1_a.jar", incarnation="life-1", path="/up/1_a.jar")


def test_the_first_lease_of_a_job_finds_no_status(world: World) -> None:
    assert held(world.statuses) == Held("job", None, fence=1, version=0)


def test_a_lease_alone_is_no_status(world: World) -> None:
    held(world.statuses)

    assert world.statuses.read("job") is None
    assert list(world.statuses.summaries()) == []


def test_a_held_lease_is_refused_to_another_owner_and_says_until_when(world: World) -> None:
    held(world.statuses, owner="first")

    with pytest.raises(LeaseTakenError) as caught:
        held(world.statuses, owner="second", at=59)

    assert caught.value.until == after(60)


def test_an_expired_lease_can_be_taken(world: World) -> None:
    held(world.statuses, owner="first")

    assert held(world.statuses, owner="second", at=60).fence == 2


def test_the_owner_can_take_its_lease_again(world: World) -> None:
    held(world.statuses, owner="me")

    assert held(world.statuses, owner="me", at=1).fence == 2


def test_a_released_lease_can_be_taken_at_once(world: World) -> None:
    world.statuses.release(held(world.statuses, owner="first"))

    assert held(world.statuses, owner="second").fence == 2


def test_releasing_a_lease_that_was_taken_over_leaves_it_alone(world: World) -> None:
    old = held(world.statuses, owner="first")
    held(world.statuses, owner="second", at=60)

    world.statuses.release(old)

    with pytest.raises(LeaseTakenError):
        held(world.statuses, owner="third", at=61)


def test_releasing_the_lease_of_an_unknown_job_makes_nothing(world: World) -> None:
    world.statuses.release(Held("job", None, fence=1, version=0))

    assert held(world.statuses).fence == 1


def test_a_committed_status_is_read_back(world: World) -> None:
    recorded(world.statuses, Commit(status()))

    assert world.statuses.read("job") == status()


def test_a_commit_gives_the_conditions_of_the_next(world: World) -> None:
    first = world.statuses.commit(held(world.statuses), Commit(status()), release=False)
    second = world.statuses.commit(first, Commit(status(cluster="other")), release=False)

    assert first == Held("job", status(), fence=1, version=1)
    assert second == Held("job", status(cluster="other"), fence=1, version=2)


def test_the_next_lease_finds_the_status(world: World) -> None:
    recorded(world.statuses, Commit(status()))

    assert held(world.statuses, owner="next") == Held("job", status(), fence=2, version=1)


def test_a_commit_that_keeps_the_lease_keeps_others_out(world: World) -> None:
    world.statuses.commit(held(world.statuses), Commit(status()), release=False)

    with pytest.raises(LeaseTakenError):
        held(world.statuses, owner="other")


def test_a_commit_that_releases_lets_others_in(world: World) -> None:
    world.statuses.commit(held(world.statuses), Commit(status()), release=True)

    assert held(world.statuses, owner="other").fence == 2


@pytest.mark.parametrize("items", [(), (event(1),)], ids=["status alone", "with items"])
def test_the_holder_of_an_old_lease_commits_nothing(world: World, items: tuple[object, ...]) -> None:
    old = held(world.statuses, owner="old")
    held(world.statuses, owner="new", at=60)

    with pytest.raises(StaleWriteError):
        world.statuses.commit(old, Commit(status(), events=items), release=False)  # type: ignore[arg-type]  # parametrised

    assert world.statuses.read("job") is None
    assert world.statuses.events("job") == []


@pytest.mark.parametrize("items", [(), (event(2),)], ids=["status alone", "with items"])
def test_a_commit_on_an_old_version_writes_nothing(world: World, items: tuple[object, ...]) -> None:
    first = held(world.statuses)
    world.statuses.commit(first, Commit(status()), release=False)

    with pytest.raises(StaleWriteError):
        world.statuses.commit(first, Commit(status(cluster="other"), events=items), release=False)  # type: ignore[arg-type]  # parametrised

    assert world.statuses.read("job") == status()
    assert world.statuses.events("job") == []


def test_a_commit_without_any_lease_writes_nothing(world: World) -> None:
    with pytest.raises(StaleWriteError):
        world.statuses.commit(Held("job", None, fence=1, version=0), Commit(status()), release=False)

    assert world.statuses.read("job") is None


def test_an_expired_lease_that_nobody_took_still_commits(world: World) -> None:
    world.statuses.commit(held(world.statuses), Commit(status()), release=True)
    late = held(world.statuses, at=100)

    assert world.statuses.commit(late, Commit(status(cluster="late")), release=False).version == 2


def test_a_status_that_is_too_large_is_refused_and_nothing_is_written(world: World) -> None:
    huge = status(cluster="x" * STATUS_LIMIT_BYTES)

    with pytest.raises(ControllerError, match=f"more than {STATUS_LIMIT_BYTES}"):
        recorded(world.statuses, Commit(huge))

    assert world.statuses.read("job") is None


def test_revisions_are_read_one_by_one_and_in_order(world: World) -> None:
    recorded(world.statuses, Commit(status(), revisions=(revision(2), revision(10), revision(1))))

    assert [found.number for found in world.statuses.revisions("job")] == [1, 2, 10]
    assert world.statuses.revision("job", 10) == revision(10)
    assert world.statuses.revision("job", 3) is None


def test_a_revision_can_be_forgotten_with_the_write_that_makes_another(world: World) -> None:
    recorded(world.statuses, Commit(status(), revisions=(revision(1), revision(2))))

    recorded(world.statuses, Commit(status(), revisions=(revision(3),), forgotten=(1, 7)))

    assert [found.number for found in world.statuses.revisions("job")] == [2, 3]


def test_a_revisions_outcome_can_be_recorded_later(world: World) -> None:
    recorded(world.statuses, Commit(status(), revisions=(revision(1),)))
    recorded(world.statuses, Commit(status(), revisions=(revision(1, outcome="Stable"),)))

    assert world.statuses.revisions("job") == [revision(1, outcome="Stable")]


def test_the_newest_events_are_read_oldest_first(world: World) -> None:
    recorded(world.statuses, Commit(status(), events=tuple(event(number) for number in (1, 2, 9, 10, 11))))

    assert [found.sequence for found in world.statuses.events("job", limit=3)] == [9, 10, 11]
    assert [found.sequence for found in world.statuses.events("job")] == [1, 2, 9, 10, 11]
    assert world.statuses.events("job", limit=0) == []


def test_a_repeated_event_replaces_itself(world: World) -> None:
    recorded(world.statuses, Commit(status(), events=(event(1),)))
    recorded(world.statuses, Commit(status(), events=(event(1, count=7),)))

    assert world.statuses.events("job") == [event(1, count=7)]


def test_one_jobs_items_are_not_anothers(world: World) -> None:
    recorded(world.statuses, Commit(status("a"), revisions=(revision(1, "a"),), events=(event(1),)))
    recorded(world.statuses, Commit(status("a/b")))

    assert world.statuses.revisions("a/b") == []
    assert world.statuses.events("a/b") == []


def test_summaries_list_every_status(world: World) -> None:
    for name in ("b", "a", "ns/c"):
        recorded(world.statuses, Commit(status(name)))

    assert sorted(found.job_id for found in world.statuses.summaries()) == ["a", "b", "ns/c"]


def test_many_statuses_are_read_by_their_names_and_unknown_ones_left_out(world: World) -> None:
    names = [f"ns/job-{number:03}" for number in range(101)]
    for name in names:
        recorded(world.statuses, Commit(status(name)))

    found = world.statuses.read_many([*names, "nobody"])

    assert found == {name: status(name) for name in names}
    assert world.statuses.read_many([]) == {}


def test_jobs_are_found_by_the_artifact_that_they_name(world: World) -> None:
    recorded(world.statuses, Commit(status("a", artifact_location="artifacts/artifacts/a.jar")))
    recorded(world.statuses, Commit(status("b", artifact_location="artifacts/artifacts/b.jar")))
    recorded(world.statuses, Commit(status("c", artifact_location="artifacts/artifacts/a.jar")))

    assert sorted(world.statuses.jobs_naming("artifacts", "artifacts/a.jar")) == ["a", "c"]


def test_a_job_that_names_another_artifact_now_is_not_found_by_the_old_one(world: World) -> None:
    recorded(world.statuses, Commit(status("a", artifact_location="artifacts/artifacts/a.jar")))
    recorded(world.statuses, Commit(status("a", artifact_location="artifacts/artifacts/b.jar")))
    recorded(world.statuses, Commit(status("b", artifact_location="artifacts/artifacts/a.jar")))
    recorded(world.statuses, Commit(status("b")))

    assert list(world.statuses.jobs_naming("artifacts", "artifacts/a.jar")) == []


def test_due_jobs_are_found_by_kind_most_overdue_first(world: World) -> None:
    for name, kind, due_at in (
        ("a", DueKind.LAUNCH, 30),
        ("b", DueKind.LAUNCH, 10),
        ("c", DueKind.LAUNCH, 31),
        ("d", DueKind.EXPIRE, 5),
    ):
        recorded(world.statuses, Commit(status(name).model_copy(update={"due": (kind, after(due_at))})))

    assert list(world.statuses.due(DueKind.LAUNCH, after(30))) == ["b", "a"]
    assert list(world.statuses.due(DueKind.EXPIRE, after(4))) == []


def test_a_job_with_nothing_due_any_more_is_not_found(world: World) -> None:
    recorded(world.statuses, Commit(status().model_copy(update={"due": (DueKind.LAUNCH, after(10))})))
    recorded(world.statuses, Commit(status()))

    assert list(world.statuses.due(DueKind.LAUNCH, after(60))) == []


@pytest.mark.parametrize(
    "job_id", ["x" * 2048, "é" * 1024, "sha256:" + "0" * 64, "#", "a\nb", "STATUS"], ids=lambda name: ascii(name[:12])
)
def test_any_name_that_a_spec_item_can_have_gets_a_status(world: World, job_id: str) -> None:
    recorded(world.statuses, Commit(status(job_id), events=(event(1),)))

    assert world.statuses.read(job_id) == status(job_id)
    assert world.statuses.events(job_id) == [event(1)]
    assert [found.job_id for found in world.statuses.summaries()] == [job_id]


def test_nobody_can_name_a_job_so_that_it_lands_on_anothers_hash(world: World) -> None:
    long_name = "x" * 2000
    recorded(world.statuses, Commit(status(long_name)))
    hashed = "sha256:" + hashlib.sha256(long_name.encode()).hexdigest()

    assert world.statuses.read(hashed) is None
    assert world.statuses.read(long_name) == status(long_name)


def test_a_staged_jar_is_recorded_with_the_status(world: World) -> None:
    recorded(world.statuses, Commit(status(), jar=JAR))

    assert world.statuses.staged_jar("default", DIGEST) == JAR
    assert world.statuses.staged_jar("other", DIGEST) is None


def test_a_jar_of_a_stale_commit_is_not_recorded(world: World) -> None:
    old = held(world.statuses, owner="old")
    held(world.statuses, owner="new", at=60)

    with pytest.raises(StaleWriteError):
        world.statuses.commit(old, Commit(status(), jar=JAR), release=False)

    assert world.statuses.staged_jar("default", DIGEST) is None


def test_a_jar_stays_while_somebody_uses_it(world: World) -> None:
    recorded(world.statuses, Commit(status("a"), jar=JAR))
    recorded(world.statuses, Commit(status("b"), jar=JAR))

    assert world.statuses.release_jar("default", DIGEST, "a") is None
    assert world.statuses.staged_jar("default", DIGEST) == JAR


def test_the_last_user_to_leave_gets_the_jar_to_delete(world: World) -> None:
    recorded(world.statuses, Commit(status("a"), jar=JAR))
    recorded(world.statuses, Commit(status("b"), jar=JAR))
    world.statuses.release_jar("default", DIGEST, "a")

    assert world.statuses.release_jar("default", DIGEST, "b") == JAR
    assert world.statuses.staged_jar("default", DIGEST) is None


def test_releasing_a_jar_twice_is_harmless(world: World) -> None:
    recorded(world.statuses, Commit(status("a"), jar=JAR))
    recorded(world.statuses, Commit(status("b"), jar=JAR))

    world.statuses.release_jar("default", DIGEST, "a")

    assert world.statuses.release_jar("default", DIGEST, "a") is None
    assert world.statuses.staged_jar("default", DIGEST) == JAR
    assert world.statuses.release_jar("default", DIGEST, "b") == JAR
    assert world.statuses.release_jar("default", DIGEST, "b") is None


def test_releasing_a_jar_that_was_never_staged_makes_nothing(world: World) -> None:
    assert world.statuses.release_jar("default", DIGEST, "a") is None
    assert world.statuses.staged_jar("default", DIGEST) is None


def test_a_jar_staged_again_keeps_its_users(world: World) -> None:
    again = JAR.model_copy(update={"jar_id": "2_a.jar", "incarnation": "life-2"})
    recorded(world.statuses, Commit(status("a"), jar=JAR))
    recorded(world.statuses, Commit(status("b"), jar=again))

    assert world.statuses.staged_jar("default", DIGEST) == again
    assert world.statuses.release_jar("default", DIGEST, "b") is None
    assert world.statuses.release_jar("default", DIGEST, "a") == again


def test_items_lie_where_the_layout_says(aws_world: AwsWorld) -> None:
    recorded(aws_world.statuses, Commit(status("ns/job"), revisions=(revision(1),), events=(event(1),), jar=JAR))

    assert sorted((item["pk"]["S"], item["sk"]["S"]) for item in aws_world.raw_items()) == [
        ("JAR#default", DIGEST),
        ("JOB#ns/job", "EVENT#000000000001"),
        ("JOB#ns/job", "REVISION#00000001"),
        ("JOB#ns/job", "STATUS"),
    ]


def test_only_events_expire(aws_world: AwsWorld) -> None:
    recorded(aws_world.statuses, Commit(status(), revisions=(revision(1),), events=(event(1),), jar=JAR))

    expiring = {item["sk"]["S"]: item["expires_at"]["N"] for item in aws_world.raw_items() if "expires_at" in item}

    ninety_days_s = 90 * 24 * 3600
    assert expiring == {"EVENT#000000000001": str(int(after(1).timestamp()) + ninety_days_s)}


def test_records_of_savepoints_are_read_back_oldest_first(world: World) -> None:
    made = [
        SavepointRecord(
            number=number, path=f"s3://state/{number}", kind=SavepointKind.PERIODIC, completed_at=after(number), revision=1
        )
        for number in (2, 10, 1)
    ]
    recorded(world.statuses, Commit(status(), savepoints=tuple(made)))

    assert world.statuses.savepoints("job") == sorted(made, key=lambda found: found.number)
    assert world.statuses.savepoints("another") == []


def test_records_of_savepoints_that_are_gone_are_deleted(world: World) -> None:
    made = tuple(
        SavepointRecord(number=number, path=f"s3://state/{number}", kind=SavepointKind.PERIODIC, completed_at=after(number))
        for number in (1, 2)
    )
    first = world.statuses.commit(held(world.statuses), Commit(status(), savepoints=made), release=False)

    world.statuses.commit(first, Commit(status(), disposed=(1,)), release=True)

    assert [found.number for found in world.statuses.savepoints("job")] == [2]


def test_the_jobs_that_claim_a_place_are_found_until_they_do_not_any_more(world: World) -> None:
    both = status().model_copy(update={"claims": ("s3://a", "s3://b")})
    first = world.statuses.commit(held(world.statuses), Commit(both), release=False)
    before = world.statuses.holders("s3://a")

    world.statuses.commit(first, Commit(both.model_copy(update={"claims": ("s3://b",)})), release=True)

    assert before == ["job"]
    assert (world.statuses.holders("s3://a"), world.statuses.holders("s3://b")) == ([], ["job"])
