"""Which storage answers for which address: a cluster's roots may lie on S3 or, on a laptop, in files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from flink_controller.adapters.stored_state import UnreadableError, find_state, holds_state, list_savepoints
from flink_controller.domain.names import shown
from flink_controller.domain.observation import SavepointFound, StorageUnreadable, StoredState

if TYPE_CHECKING:
    from datetime import datetime

    from flink_controller.adapters.stored_state import Directory


class StateStorageByScheme:
    """`StateStorage` that passes each address on by its scheme.

    Args:
        storages: the storage of each allowed scheme; `file` belongs here only in environment `local`.
    """

    def __init__(self, storages: "Mapping[str, Directory]") -> None:
        self._storages = dict(storages)

    def search(
        self, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
    ) -> StoredState | StorageUnreadable:
        """List the complete checkpoints of a job id under a root, and the savepoints in given directories."""
        return find_state(self, flink_job_id, checkpoint_root=checkpoint_root, savepoint_directories=savepoint_directories)

    def holds(self, path: str) -> bool | StorageUnreadable:
        """Tell whether a complete savepoint or checkpoint lies at a place."""
        return holds_state(self, path)

    def names(self, uri: str) -> list[str]:
        """List the directories directly under a URI."""
        return self._storage(uri).names(uri)

    def head(self, uri: str) -> "tuple[bytes, datetime] | None":
        """Read the first bytes of a file."""
        return self._storage(uri).head(uri)

    def savepoints(self, directory: str) -> "tuple[SavepointFound, ...] | StorageUnreadable":
        """List the savepoints in an operation's directory, complete or not, with the bytes that each takes."""
        return list_savepoints(self, directory)

    def files(self, uri: str) -> "Iterator[tuple[str, int, datetime]]":
        """List every file under a URI."""
        return self._storage(uri).files(uri)

    def directories(self, uri: str) -> tuple[str, ...] | StorageUnreadable:
        """List the directories directly under a URI. Never raises."""
        try:
            return tuple(self.names(uri))
        except UnreadableError as error:
            return StorageUnreadable(str(error))

    def _storage(self, uri: str) -> "Directory":
        storage = self._storages.get(uri.partition(":")[0])
        if storage is None:
            raise UnreadableError(f"{shown(uri)}: only {', '.join(sorted(self._storages))} addresses can be read here")
        return storage
