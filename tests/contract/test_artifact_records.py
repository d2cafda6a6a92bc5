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
    assert head == world.records.head("artifacts", "artifacts/a.jar")
    return head


def test_a_key_that_was_never_seen_has_no_head(world: World) -> None:
    assert world.records.head("artifacts", "artifacts/a.jar") is None
    assert [] == world.records.versions("artifacts", "artifacts/a.jar")
    assert world.records.admitted_with_digest("artifacts", "artifacts/a.jar", OTHER_DIGEST) is None


def test_the_first_admitted_version_is_the_head(world: World) -> None:
    head = record(world, version("v1"))

    assert ArtifactHead(latest=version("v1"), admitted=version("v1"), burst_started_at=after(0)) == head
    assert [version("v1")] == world.records.versions("artifacts", "artifacts/a.jar")


def test_a_waiting_version_is_the_latest_and_not_the_admitted(world: World) -> None:
    waiting = version("v2", uploaded_at=after(10), verdict=Verdict.WAITING, decided_at=after(11))

    head = record(world, version("v1"), waiting)

    assert waiting == head.latest
    assert version("v1") == head.admitted


def test_a_waiting_version_can_be_admitted_later(world: World) -> None:
    waiting = version("v1", verdict=Verdict.WAITING)
    admitted = version("v1", decided_at=after(30))

    head = record(world, waiting, admitted)

    assert admitted == head.latest
    assert admitted == head.admitted
    assert [admitted] == world.records.versions("artifacts", "artifacts/a.jar")


def test_an_admitted_version_stays_admitted(world: World) -> None:
    head = record(world, version("v1"), version("v1", verdict=Verdict.REFUSED, decided_at=after(60)))

    assert version("v1") == head.admitted
    assert version("v1") == head.latest
    assert [version("v1")] == world.records.versions("artifacts", "artifacts/a.jar")


def test_a_late_verdict_on_an_older_upload_moves_nothing_back(world: World) -> None:
    newer = version("v2", uploaded_at=after(10), decided_at=after(10), sha256=OTHER_DIGEST)
    older = version("v1", uploaded_at=after(0), decided_at=after(20))

    head = record(world, newer, older)

    assert newer == head.latest
    assert newer == head.admitted
    assert [older, newer] == world.records.versions("artifacts", "artifacts/a.jar")


def test_an_older_upload_is_admitted_while_a_newer_one_waits(world: World) -> None:
    newer = version("v2", uploaded_at=after(10), verdict=Verdict.WAITING)
    older = version("v1", uploaded_at=after(0), decided_at=after(20))

    head = record(world, newer, older)

    assert newer == head.latest
    assert older == head.admitted


@pytest.mark.parametrize("again", ["v1", "v2"])
def test_recording_twice_changes_nothing(world: World, again: str) -> None:
    versions = {
        "v1": version("v1"),
        "v2": version("v2", uploaded_at=after(10), verdict=Verdict.WAITING, decided_at=after(10)),
    }
    before = record(world, *versions.values())

    assert before == record(world, versions[again])


def test_of_two_uploads_in_one_second_the_one_seen_last_is_the_newer(world: World) -> None:
    first, second = version("v1"), version("v2", sha256=OTHER_DIGEST)

    assert second == record(world, first, second).admitted
    assert second == record(world, first).latest


def test_an_admission_soon_after_another_belongs_to_its_burst(world: World) -> None:
    head = record(
        world,
        version("v1"),
        version("v2", uploaded_at=after(4), decided_at=after(4)),
        version("v3", uploaded_at=after(8), decided_at=after(9)),
    )

    assert after(0) == head.burst_started_at
    assert head.admitted is not None
    assert "v3" == head.admitted.version_id


def test_an_admission_long_after_another_starts_a_burst(world: World) -> None:
    head = record(world, version("v1"), version("v2", uploaded_at=after(60), decided_at=after(61)))

    assert after(61) == head.burst_started_at


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
    assert "v2" == found.version_id
    assert world.records.admitted_with_digest("artifacts", "artifacts/b.jar", OTHER_DIGEST) is None


def test_many_versions_are_listed_in_order(world: World) -> None:
    record(world, *(version(f"v{number}", uploaded_at=after(number), decided_at=after(number)) for number in range(25)))

    found = world.records.versions("artifacts", "artifacts/a.jar")

    assert [f"v{number}" for number in range(25)] == [one.version_id for one in found]


def test_keys_do_not_mix(world: World) -> None:
    record(world, version("v1"))

    assert world.records.head("artifacts", "artifacts/a.jar.sig") is None
    assert world.records.head("other", "artifacts/a.jar") is None
