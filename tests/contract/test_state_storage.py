"""What `StateStorage` promises, and what only a storage with files can get wrong."""

import struct
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from flink_controller.adapters.file_state import FileStateStorage
from flink_controller.adapters.s3_state import S3StateStorage
from flink_controller.adapters.state_storage import StateStorageByScheme
from flink_controller.domain.observation import Checkpoint, StorageUnreadable, StoredState
from flink_controller.ports import StateStorage
from flink_controller.testing.storage_twin import Snapshot, StorageTwin
from tests.contract.worlds import NOW, AwsWorld

JOB = "0123456789abcdef0000000000000001"
OTHER = "0123456789abcdef0000000000000002"
# The first bytes of _metadata as Flink 2.3.0 wrote them for chk-55, and Flink 1.20.5 for a savepoint with id 9.
FLINK_2_3 = bytes.fromhex("4960672d0000000600000000000000370000000000000003")
FLINK_1_20 = bytes.fromhex("4960672d0000000400000000000000090000000000000004")


def metadata(checkpoint_id: int) -> bytes:
    return struct.pack(">iiq", 0x4960672D, 6, checkpoint_id) + b"the rest"


class Storage(Protocol):
    """A storage, and a way to put files into it."""

    root: str

    @property
    def port(self) -> StateStorage: ...
    def write(self, path: str, content: bytes) -> None:
        """Write a file at a path under the root."""


class FileStorage:
    def __init__(self, directory: Path) -> None:
        self.root = f"file://{directory}"
        self.port = FileStateStorage()
        self._directory = directory

    def write(self, path: str, content: bytes) -> None:
        target = self._directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


class S3Storage:
    def __init__(self, world: AwsWorld) -> None:
        self.client: Any = world.s3
        self.bucket = f"state-{world.bucket}"
        self.client.create_bucket(Bucket=self.bucket)
        self.root = f"s3://{self.bucket}/flink"
        self.port = S3StateStorage(lambda: world.client("s3"), buckets=[self.bucket])

    def write(self, path: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"flink/{path}", Body=content)


class TwinStorage:
    def __init__(self) -> None:
        self.root = "s3://state/flink"
        self.port = StorageTwin()

    def write(self, path: str, content: bytes) -> None:
        directory, _, name = path.rpartition("/")
        if name != "_metadata":
            return
        checkpoint_id = struct.unpack(">iiq", content[:16])[2]
        self.port.write(
            Snapshot(
                path=f"{self.root}/{directory}",
                flink_job_id=JOB,
                checkpoint_id=checkpoint_id,
                progress=0,
                is_savepoint="savepoint" in directory,
                completed_at=NOW,
            )
        )


@pytest.fixture(params=["twin", "file", "moto", pytest.param("emulator", marks=pytest.mark.aws)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Give one storage after the other."""
    match request.param:
        case "twin":
            return TwinStorage()
        case "file":
            return FileStorage(tmp_path)
        case "moto":
            return S3Storage(request.getfixturevalue("moto_world"))
        case _:
            return S3Storage(request.getfixturevalue("emulated_world"))


@pytest.fixture(params=["file", "moto", pytest.param("emulator", marks=pytest.mark.aws)])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Give the storages that have files."""
    if request.param == "file":
        return FileStorage(tmp_path)
    return S3Storage(request.getfixturevalue("moto_world" if request.param == "moto" else "emulated_world"))


def search(storage: Storage, *directories: str) -> StoredState | StorageUnreadable:
    return storage.port.search(
        JOB,
        checkpoint_root=f"{storage.root}/checkpoints",
        savepoint_directories=[f"{storage.root}/{directory}" for directory in directories],
    )


def found(storage: Storage, *directories: str) -> list[tuple[int, str, bool]]:
    """Give what was found, without times, by id."""
    result = search(storage, *directories)
    assert isinstance(result, StoredState)
    return sorted((one.id, one.path.removeprefix(f"{storage.root}/"), one.is_savepoint) for one in result.checkpoints)


def test_nothing_is_found_where_nothing_was_written(storage: Storage) -> None:
    assert found(storage, "savepoints/op-1") == []


def test_complete_checkpoints_of_the_job_are_found(storage: Storage) -> None:
    storage.write(f"checkpoints/{JOB}/chk-3/_metadata", metadata(3))
    storage.write(f"checkpoints/{JOB}/chk-12/_metadata", metadata(12))
    storage.write(f"checkpoints/{OTHER}/chk-99/_metadata", metadata(99))

    assert found(storage) == [(3, f"checkpoints/{JOB}/chk-3", False), (12, f"checkpoints/{JOB}/chk-12", False)]


def test_savepoints_are_found_in_the_given_directories_only(storage: Storage) -> None:
    storage.write("savepoints/op-1/savepoint-012345-aa/_metadata", metadata(7))
    storage.write("savepoints/op-2/savepoint-012345-bb/_metadata", metadata(9))

    assert found(storage, "savepoints/op-1", "savepoints/op-3") == [(7, "savepoints/op-1/savepoint-012345-aa", True)]


@pytest.mark.parametrize("suffix", ["", "/", "/_metadata"])
def test_a_place_with_a_complete_savepoint_or_checkpoint_holds_state(storage: Storage, suffix: str) -> None:
    storage.write("savepoints/op-1/savepoint-012345-aa/_metadata", metadata(7))
    storage.write(f"checkpoints/{JOB}/chk-3/_metadata", metadata(3))

    assert storage.port.holds(f"{storage.root}/savepoints/op-1/savepoint-012345-aa{suffix}") is True
    assert storage.port.holds(f"{storage.root}/checkpoints/{JOB}/chk-3{suffix}") is True
    assert storage.port.holds(f"{storage.root}/savepoints/op-1{suffix}") is False


def test_a_place_that_must_not_be_looked_at_holds_nobody_knows_what(files: Storage) -> None:
    assert isinstance(files.port.holds("ftp://elsewhere/x"), StorageUnreadable)


def test_the_highest_id_is_the_newest_wherever_it_lies(storage: Storage) -> None:
    storage.write(f"checkpoints/{JOB}/chk-9/_metadata", metadata(9))
    storage.write("savepoints/op-1/savepoint-012345-aa/_metadata", metadata(10))

    result = search(storage, "savepoints/op-1")

    assert isinstance(result, StoredState)
    assert isinstance(result.newest, Checkpoint)
    assert result.newest.id == 10
    assert isinstance(result.newest.completed_at, datetime)


def test_a_trailing_slash_changes_nothing(storage: Storage) -> None:
    storage.write(f"checkpoints/{JOB}/chk-3/_metadata", metadata(3))

    result = storage.port.search(JOB, checkpoint_root=f"{storage.root}/checkpoints/", savepoint_directories=[])

    assert isinstance(result, StoredState)
    assert [one.id for one in result.checkpoints] == [3]


def test_what_flink_wrote_is_read(files: Storage) -> None:
    files.write(f"checkpoints/{JOB}/chk-55/_metadata", FLINK_2_3)
    files.write("savepoints/op-1/savepoint-012345-aa/_metadata", FLINK_1_20)

    assert found(files, "savepoints/op-1") == [
        (9, "savepoints/op-1/savepoint-012345-aa", True),
        (55, f"checkpoints/{JOB}/chk-55", False),
    ]


def test_a_directory_that_is_a_savepoint_itself_is_found(files: Storage) -> None:
    files.write("savepoints/mine/_metadata", metadata(4))

    assert found(files, "savepoints/mine") == [(4, "savepoints/mine", True)]


def test_a_checkpoint_without_metadata_is_not_complete(files: Storage) -> None:
    files.write(f"checkpoints/{JOB}/chk-8/_metadata", metadata(8))
    files.write(f"checkpoints/{JOB}/chk-9/a-state-file", b"x")
    files.write(f"checkpoints/{JOB}/shared/b-state-file", b"x")
    files.write(f"checkpoints/{JOB}/chk-x/_metadata", metadata(77))

    assert found(files) == [(8, f"checkpoints/{JOB}/chk-8", False)]


@pytest.mark.parametrize("content", [b"", FLINK_2_3[:15]], ids=["empty", "short"])
def test_metadata_that_was_cut_off_is_not_complete(files: Storage, content: bytes) -> None:
    files.write(f"checkpoints/{JOB}/chk-8/_metadata", metadata(8))
    files.write(f"checkpoints/{JOB}/chk-9/_metadata", content)
    files.write("savepoints/op-1/savepoint-012345-aa/_metadata", content)

    assert [id_ for id_, _, _ in found(files, "savepoints/op-1")] == [8]


def test_a_checkpoint_with_an_unknown_header_is_ordered_by_its_name(files: Storage) -> None:
    files.write(f"checkpoints/{JOB}/chk-9/_metadata", b"another format, long enough")

    assert found(files) == [(9, f"checkpoints/{JOB}/chk-9", False)]


def test_a_savepoint_with_an_unknown_header_is_never_guessed(files: Storage) -> None:
    files.write("savepoints/op-1/savepoint-012345-aa/_metadata", b"another format, long enough")

    result = search(files, "savepoints/op-1")

    assert isinstance(result, StorageUnreadable)
    assert "savepoint-012345-aa" in result.cause


def test_the_newest_checkpoints_are_found_among_very_many(files: Storage) -> None:
    for number in range(1, 31):
        files.write(f"checkpoints/{JOB}/chk-{number}/_metadata", metadata(number))

    assert [id_ for id_, _, _ in found(files)] == list(range(21, 31))


def test_a_checkpoint_is_found_behind_more_shared_files_than_one_page_lists(moto_world: AwsWorld) -> None:
    storage = S3Storage(moto_world)
    for number in range(1005):
        storage.write(f"checkpoints/{JOB}/a-{number}/state", b"x")
    storage.write(f"checkpoints/{JOB}/chk-5/_metadata", metadata(5))

    assert [id_ for id_, _, _ in found(storage)] == [5]


@pytest.mark.parametrize(
    "uri",
    ["{root}/../x", "{root}/a%2e%2e", "{root}/a\nb", "{root}\\x", "relative", "", "http://x/y", "s3://", "s3:///x"],
)
def test_an_unsafe_or_foreign_address_is_unreadable(files: Storage, uri: str) -> None:
    address = uri.format(root=files.root)

    as_root = files.port.search(JOB, checkpoint_root=address, savepoint_directories=[])
    as_directory = files.port.search(JOB, checkpoint_root=files.root, savepoint_directories=[address])

    assert isinstance(as_root, StorageUnreadable)
    assert isinstance(as_directory, StorageUnreadable)


@pytest.mark.parametrize("job_id", ["", "..", JOB[:-1], JOB.upper(), f"{JOB}/chk-1"])
def test_what_is_no_flink_job_id_is_unreadable(files: Storage, job_id: str) -> None:
    result = files.port.search(job_id, checkpoint_root=files.root, savepoint_directories=[])

    assert isinstance(result, StorageUnreadable)


def test_a_bucket_that_is_not_configured_is_unreadable(aws_world: AwsWorld) -> None:
    storage = S3Storage(aws_world)
    aws_world.s3.create_bucket(Bucket="someone-elses")

    result = storage.port.search(JOB, checkpoint_root="s3://someone-elses/x", savepoint_directories=[])

    assert isinstance(result, StorageUnreadable)


def test_a_bucket_that_does_not_exist_is_unreadable(aws_world: AwsWorld) -> None:
    storage = S3StateStorage(aws_world.s3, buckets=["gone"])

    result = storage.search(JOB, checkpoint_root="s3://gone/x", savepoint_directories=[])

    assert isinstance(result, StorageUnreadable)
    assert "NoSuchBucket" in result.cause


def test_all_of_flinks_names_for_s3_are_read(aws_world: AwsWorld) -> None:
    storage = S3Storage(aws_world)
    storage.write(f"checkpoints/{JOB}/chk-5/_metadata", metadata(5))
    root = storage.root.replace("s3://", "s3a://")

    result = storage.port.search(JOB, checkpoint_root=f"{root}/checkpoints", savepoint_directories=[])

    assert isinstance(result, StoredState)
    assert [one.path for one in result.checkpoints] == [f"{root}/checkpoints/{JOB}/chk-5"]


def test_a_directory_that_may_not_be_listed_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / JOB).write_text("a file where a directory belongs")

    result = FileStateStorage().search(JOB, checkpoint_root=f"file://{tmp_path}", savepoint_directories=[])

    assert isinstance(result, StorageUnreadable)


def test_flinks_short_form_of_a_file_address_is_read(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.write("savepoints/op-1/savepoint-a-b/_metadata", metadata(4))

    result = storage.port.search(
        JOB, checkpoint_root=storage.root, savepoint_directories=[f"file:{tmp_path}/savepoints/op-1"]
    )

    assert isinstance(result, StoredState)
    assert [one.id for one in result.checkpoints] == [4]


def test_each_address_goes_to_the_storage_of_its_scheme(tmp_path: Path, moto_world: AwsWorld) -> None:
    in_files, on_s3 = FileStorage(tmp_path), S3Storage(moto_world)
    in_files.write(f"checkpoints/{JOB}/chk-3/_metadata", metadata(3))
    on_s3.write("savepoints/op-1/savepoint-a-b/_metadata", metadata(4))
    router = StateStorageByScheme({"file": in_files.port, "s3": on_s3.port})

    result = router.search(
        JOB,
        checkpoint_root=f"{in_files.root}/checkpoints",
        savepoint_directories=[f"{on_s3.root}/savepoints/op-1"],
    )

    assert isinstance(result, StoredState)
    assert {one.id for one in result.checkpoints} == {3, 4}


def test_a_scheme_that_is_not_allowed_is_unreadable(tmp_path: Path, moto_world: AwsWorld) -> None:
    router = StateStorageByScheme({"s3": S3Storage(moto_world).port})

    result = router.search(JOB, checkpoint_root=f"file://{tmp_path}", savepoint_directories=[])

    assert isinstance(result, StorageUnreadable)
    assert "only s3 addresses" in result.cause


def test_savepoints_are_listed_with_all_that_they_take_complete_or_not(files: Storage) -> None:
    files.write("op-1/savepoint-1/_metadata", metadata(1))
    files.write("op-1/savepoint-1/shared/one", b"12345")
    files.write("op-1/savepoint-2/two", b"1234567")
    files.write("op-1/other/_metadata", metadata(2))
    files.write("op-10/savepoint-3/_metadata", metadata(3))
    storage: Any = files.port
    by_scheme = StateStorageByScheme({"file": storage, "s3": storage})

    found = by_scheme.savepoints(f"{files.root}/op-1")

    assert isinstance(found, tuple)
    assert [(one.path, one.size_bytes, one.is_complete) for one in found] == [
        (f"{files.root}/op-1/savepoint-1", len(metadata(1)) + 5, True),
        (f"{files.root}/op-1/savepoint-2", 7, False),
    ]
    assert sorted(by_scheme.directories(files.root)) == ["op-1", "op-10"]  # type: ignore[arg-type]  # it can be read
    assert by_scheme.savepoints(f"{files.root}/nothing") == ()


def test_savepoints_in_a_place_that_cannot_be_listed_are_no_empty_list(files: Storage) -> None:
    storage: Any = files.port
    by_scheme = StateStorageByScheme({"file": storage, "s3": storage})

    assert isinstance(by_scheme.savepoints("s3://nobodys/flink"), StorageUnreadable)
    assert isinstance(by_scheme.directories("gs://nobodys/flink"), StorageUnreadable)
