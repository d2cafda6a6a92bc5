"""What `ArtifactObjects` promises."""

import hashlib
from datetime import timedelta

import pytest

from flink_controller.domain.errors import NotFoundError
from tests.contract.worlds import AwsWorld, World

KEY = "artifacts/ü b+c.jar"


def test_an_object_that_nobody_uploaded_is_none(world: World) -> None:
    assert world.objects.latest(world.bucket, KEY) is None
    assert world.objects.read(world.bucket, KEY, limit_bytes=10) is None


def test_the_newest_version_is_the_latest(world: World) -> None:
    world.upload(KEY, b"one")
    version_id = world.upload(KEY, b"three")

    found = world.objects.latest(world.bucket, KEY)

    assert found is not None
    assert (found.bucket, found.key, found.version_id, found.size_bytes) == (world.bucket, KEY, version_id, 5)
    assert found.uploaded_at.tzinfo is not None
    assert found.uploaded_at.microsecond == 0


def test_what_was_uploaded_lately_is_listed(world: World) -> None:
    world.upload(KEY, b"one")
    world.upload(KEY, b"two")
    world.upload("other/etl.jar", b"three")
    world.upload("artifacts/gone.jar", b"four")
    world.delete_object("artifacts/gone.jar")
    newest = world.objects.latest(world.bucket, KEY)
    assert newest is not None

    assert list(world.objects.uploaded_since(world.bucket, "artifacts/", newest.uploaded_at)) == [KEY]
    assert list(world.objects.uploaded_since(world.bucket, "artifacts/", newest.uploaded_at + timedelta(minutes=1))) == []


def test_every_version_can_be_read(world: World) -> None:
    first = world.upload(KEY, b"one")
    second = world.upload(KEY, b"two")

    with world.objects.open(world.bucket, KEY, first) as old, world.objects.open(world.bucket, KEY, second) as new:
        assert (old.read(), new.read()) == (b"one", b"two")


def test_a_deleted_object_is_none_and_its_versions_stay(world: World) -> None:
    version_id = world.upload(KEY, b"one")
    world.delete_object(KEY)

    assert world.objects.latest(world.bucket, KEY) is None
    assert world.objects.read(world.bucket, KEY, limit_bytes=10) is None
    with world.objects.open(world.bucket, KEY, version_id) as body:
        assert body.read() == b"one"


def test_a_version_that_does_not_exist_is_not_found(world: World) -> None:
    world.upload(KEY, b"one")

    with pytest.raises(NotFoundError):
        world.objects.open(world.bucket, KEY, "0" * 32)
    with pytest.raises(NotFoundError):
        world.objects.open(world.bucket, "artifacts/absent.jar", "0" * 32)


def test_a_large_object_is_streamed_whole(world: World) -> None:
    content = bytes(range(256)) * 4096 * 5
    version_id = world.upload(KEY, content)
    digest = hashlib.sha256()

    with world.objects.open(world.bucket, KEY, version_id) as body:
        while chunk := body.read(100_000):
            digest.update(chunk)

    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("size", "expected"), [(0, 0), (1, 1), (10, 10), (11, 11), (12, 11), (5000, 11)])
def test_a_small_object_is_read_up_to_one_byte_beyond_the_limit(world: World, size: int, expected: int) -> None:
    world.upload(KEY, b"x" * size)

    found = world.objects.read(world.bucket, KEY, limit_bytes=10)

    assert found == b"x" * expected


def test_a_delete_marker_is_no_version_to_open(aws_world: AwsWorld) -> None:
    aws_world.upload(KEY, b"one")
    marker = aws_world.delete_object(KEY)

    with pytest.raises(NotFoundError):
        aws_world.objects.open(aws_world.bucket, KEY, marker or "")


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 4, b"0123"), (6, 4, b"6789"), (8, 100, b"89"), (0, 10, b"0123456789"), (10, 5, b"")],
)
def test_a_part_of_a_version_is_read(world: World, start: int, length: int, expected: bytes) -> None:
    version = world.upload(KEY, b"0123456789")
    world.upload(KEY, b"something else")

    assert world.objects.part(world.bucket, KEY, version, start=start, length=length) == expected


def test_a_part_of_a_version_that_is_not_there_is_not_found(world: World) -> None:
    world.upload(KEY, b"0123456789")

    with pytest.raises(NotFoundError):
        world.objects.part(world.bucket, KEY, "no-such-version", start=0, length=1)
