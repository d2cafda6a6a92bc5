"""In-memory twin of the place where Flink keeps checkpoints and savepoints. It outlives every cluster."""

from collections.abc import Sequence
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
        self.snapshots: dict[str, Snapshot] = {}
        """Everything that exists, by path."""
        self.deleted: dict[str, Snapshot] = {}
        """Everything that existed once."""
        self.unreadable: str | None = None
        """Why nothing can be listed at the moment; None: it can."""

    def search(
        self, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
    ) -> StoredState | StorageUnreadable:
        """List a job's checkpoints under a root, and all savepoints in given directories."""
        if self.unreadable is not None:
            return StorageUnreadable(self.unreadable)
        checkpoints = f"{checkpoint_root.rstrip('/')}/{flink_job_id}/chk-"
        savepoints = tuple(f"{directory.rstrip('/')}/savepoint-" for directory in savepoint_directories)
        return StoredState(
            tuple(
                # A listing does not tell the savepoint of a stop from another one.
                Checkpoint(found.checkpoint_id, found.path, found.is_savepoint, completed_at=found.completed_at)
                for path, found in sorted(self.snapshots.items())
                if path.startswith((checkpoints, *savepoints))
            )
        )

    def write(self, snapshot: Snapshot) -> None:
        """Complete a checkpoint or savepoint."""
        self.snapshots[snapshot.path] = snapshot

    def delete(self, path: str) -> None:
        """Delete a checkpoint or savepoint. Harmless twice."""
        snapshot = self.snapshots.pop(path, None)
        if snapshot is not None:
            self.deleted[path] = snapshot
