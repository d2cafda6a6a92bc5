"""In-memory twin of the place where Flink keeps checkpoints and savepoints. It outlives every cluster."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flink_controller.domain.observation import Checkpoint, StorageUnreadable, StoredState


@dataclass(frozen=True)
class Snapshot:
    """A complete checkpoint or savepoint, and the state in it."""

    path: str
    flink_job_id: str
    checkpoint_id: int
    progress: int
    """How far the job had come: what a restore goes on from."""
    is_savepoint: bool
    completed_at: datetime
    is_stop: bool = False
    origin: str | None = None
    """Path that the job which wrote this had started from."""


class StorageTwin:
    """`StateStorage` in memory, and what a `FlinkTwin` writes to."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._writers: list[Callable[[], None]] = []
        self.deleted: dict[str, Snapshot] = {}
        """Everything that existed once."""
        self.unreadable: str | None = None
        """Why nothing can be listed at the moment; None: it can."""

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """Everything that exists, by path."""
        self._let_writers_catch_up()
        return self._snapshots

    def attach(self, catch_up: Callable[[], None]) -> None:
        """Have a writer asked, before anything is read, to write what is due."""
        self._writers.append(catch_up)

    def search(
        self, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
    ) -> StoredState | StorageUnreadable:
        """List a job's checkpoints under a root, and all savepoints in given directories."""
        self._let_writers_catch_up()
        if self.unreadable is not None:
            return StorageUnreadable(self.unreadable)
        checkpoints = f"{checkpoint_root.rstrip('/')}/{flink_job_id}/chk-"
        savepoints = tuple(f"{directory.rstrip('/')}/savepoint-" for directory in savepoint_directories)
        return StoredState(
            tuple(
                # A listing does not tell the savepoint of a stop from another one.
                Checkpoint(found.checkpoint_id, found.path, found.is_savepoint, completed_at=found.completed_at)
                for path, found in sorted(self._snapshots.items())
                if path.startswith((checkpoints, *savepoints))
            )
        )

    def holds(self, path: str) -> bool | StorageUnreadable:
        """Tell whether a snapshot lies at a place."""
        self._let_writers_catch_up()
        if self.unreadable is not None:
            return StorageUnreadable(self.unreadable)
        return path.rstrip("/").removesuffix("/_metadata") in self._snapshots

    def write(self, snapshot: Snapshot) -> None:
        """Complete a checkpoint or savepoint."""
        self._snapshots[snapshot.path] = snapshot

    def delete(self, path: str) -> None:
        """Delete a checkpoint or savepoint. Harmless twice."""
        snapshot = self._snapshots.pop(path, None)
        if snapshot is not None:
            self.deleted[path] = snapshot

    def _let_writers_catch_up(self) -> None:
        for catch_up in self._writers:
            catch_up()
