"""What `ArtifactRecords` promises."""

from datetime import timedelta

import pytest

from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict
from tests.contract.samples import version
from tests.contract.worlds import World, after

WINDOW = timedelta(seconds=5)
OTHER_DIGEST = "cd" * 32


def record(world: World, *versions: ArtifactVersion) -> ArtifactHead:
    for found in versions:
        head = world.records.record(found, burst_window=WINDOW)
    assert world.records.head("artifacts", "artifacts/a.jar") == head
    return head


def test_a_key_that_was_never_seen_has_no_head(world: World) -> None:
    assert world.records.head("artifacts", "artifacts/a.jar") is None
    assert world.records.versions("artifacts", "artifacts/a.jar") == []
    assert world.records.admitted_with_digest("artifacts", "artifacts/a.jar", OTHER_DIGEST) is None


def test_of_many_keys_the_heads_of_those_that_were_seen_are_read(world: World) -> None:
    heads = {
        ("artifacts", key): world.records.record(version("v1", key=key), burst_window=WINDOW)
        for key in (f"artifacts/{number}.jar" for number in range(130))
    }

    found = world.records.heads([("artifacts", "artifacts/absent.jar"), ("other", "artifacts/1.jar"), *heads])

    assert found == heads


def test_the_first_admitted_version_is_the_head(world: World) -> None:
    head = record(world, version("v1"))

    assert head == ArtifactHead(latest=version("v1"), admitted=version("v1"), burst_started_at=after(0))
    assert world.records.versions("artifacts", "artifacts/a.jar") == [version("v1")]


def test_a_waiting_version_is_the_latest_and_not_the_admitted(world: World) -> None:
    waiting = version("v2", uploaded_at=after(10), verdict=Verdict.WAITING, decided_at=after(11))

    head = record(world, version("v1"), waiting)

    assert head.latest == waiting
    assert head.admitted == version("v1")


def test_a_waiting_version_can_be_admitted_later(world: World) -> None:
    waiting = version("v1", verdict=Verdict.WAITING)
    admitted = version("v1", decided_at=after(30))

    head = record(world, waiting, admitted)

    assert head.latest == admitted
    assert head.admitted == admitted
    assert world.records.versions("artifacts", "artifacts/a.jar") == [admitted]


def test_an_admitted_version_stays_admitted(world: World) -> None:
    head = record(world, version("v1"), version("v1", verdict=Verdict.REFUSED, decided_at=after(60)))

    assert head.admitted == version("v1")
    assert head.latest == version("v1")
    assert world.records.versions("artifacts", "artifacts/a.jar") == [version("v1")]


def test_a_late_verdict_on_an_older_upload_moves_nothing_back(world: World) -> None:
    newer = version("v2", uploaded_at=after(10), decided_at=after(10), sha256=OTHER_DIGEST)
    older = version("v1", uploaded_at=after(0), decided_at=after(20))

    head = record(world, newer, older)

    assert head.latest == newer
    assert head.admitted == newer
    assert world.records.versions("artifacts", "artifacts/a.jar") == [older, newer]


def test_an_older_upload_is_admitted_while_a_newer_one_waits(world: World) -> None:
    newer = version("v2", uploaded_at=after(10), verdict=Verdict.WAITING)
    older = version("v1", uploaded_at=after(0), decided_at=after(20))

    head = record(world, newer, older)

    assert head.latest == newer
    assert head.admitted == older


@pytest.mark.parametrize("again", ["v1", "v2"])
def test_recording_twice_changes_nothing(world: World, again: str) -> None:
    versions = {
        "v1": version("v1"),
        "v2": version("v2", uploaded_at=after(10), verdict=Verdict.WAITING, decided_at=after(10)),
    }
    before = record(world, *versions.values())

    assert record(world, versions[again]) == before


def test_of_two_uploads_in_one_second_the_one_seen_last_is_the_newer(world: World) -> None:
    first, second = version("v1"), version("v2", sha256=OTHER_DIGEST)

    assert record(world, first, second).admitted == second
    assert record(world, first).latest == second


def test_an_admission_soon_after_another_belongs_to_its_burst(world: World) -> None:
    head = record(
        world,
        version("v1"),
        version("v2", uploaded_at=after(4), decided_at=after(4)),
        version("v3", uploaded_at=after(8), decided_at=after(9)),
    )

    assert head.burst_started_at == after(0)
    assert head.admitted is not None
    assert head.admitted.version_id == "v3"


def test_an_admission_long_after_another_starts_a_burst(world: World) -> None:
    head = record(world, version("v1"), version("v2", uploaded_at=after(60), decided_at=after(61)))

    assert head.burst_started_at == after(61)


def test_the_newest_admitted_version_with_a_digest_is_found(world: World) -> None:
    record(
        world,
        version("v1"),
        version("v2", uploaded_at=after(60), decided_at=after(61)),
        version("v3", uploaded_at=after(90), verdict=Verdict.REFUSED),
        version("v4", uploaded_at=after(120), sha256=OTHER_DIGEST),
    )

    found = world.records.admitted_with_digest("artifacts", "artifacts/a.jar", version("v1").sha256 or "")

    assert found is not None
    assert found.version_id == "v2"
    assert world.records.admitted_with_digest("artifacts", "artifacts/b.jar", OTHER_DIGEST) is None


def test_many_versions_are_listed_in_order(world: World) -> None:
    record(world, *(version(f"v{number}", uploaded_at=after(number), decided_at=after(number)) for number in range(25)))

    found = world.records.versions("artifacts", "artifacts/a.jar")

    assert [one.version_id for one in found] == [f"v{number}" for number in range(25)]


def test_keys_do_not_mix(world: World) -> None:
    record(world, version("v1"))

    assert world.records.head("artifacts", "artifacts/a.jar.sig") is None
    assert world.records.head("other", "artifacts/a.jar") is None


def test_a_pruned_record_is_gone_and_the_head_stays(world: World) -> None:
    old, new = version("v1"), version("v2", uploaded_at=after(10), decided_at=after(10), sha256=OTHER_DIGEST)
    head = record(world, old, new)

    world.records.prune(old)
    world.records.prune(old)

    assert world.records.versions("artifacts", "artifacts/a.jar") == [new]
    assert world.records.admitted_with_digest("artifacts", "artifacts/a.jar", old.sha256 or "") is None
    assert world.records.head("artifacts", "artifacts/a.jar") == head
