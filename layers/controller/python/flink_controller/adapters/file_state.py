"""Checkpoints and savepoints on a file system: for a laptop, where Flink has no S3 plugin."""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flink_controller.adapters.stored_state import HEADER_BYTES, UnreadableError, find_state, holds_state
from flink_controller.domain.names import shown
from flink_controller.domain.observation import StorageUnreadable, StoredState

READ_ACTIONS: Final[frozenset[str]] = frozenset()
"""A file system asks nothing of IAM."""
SCHEMES: Final = ("file",)

_URI: Final = re.compile(r"file:(?://)?(/.+)")
"""Flink itself writes `file:/path`."""


class FileStateStorage:
    """`StateStorage` on a file system that this process shares with Flink."""

    def search(
        self, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
    ) -> StoredState | StorageUnreadable:
        """List the complete checkpoints of a job id under a root, and the savepoints in given directories."""
        return find_state(self, flink_job_id, checkpoint_root=checkpoint_root, savepoint_directories=savepoint_directories)

    def holds(self, path: str) -> bool | StorageUnreadable:
        """Tell whether a complete savepoint or checkpoint lies at a place."""
        return holds_state(self, path)

    def names(self, uri: str) -> list[str]:
        """List the directories directly under a URI; a directory that was never made is an empty list."""
        try:
            return [entry.name for entry in _path(uri).iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableError(f"list {uri}: {error.strerror}") from error

    def head(self, uri: str) -> tuple[bytes, datetime] | None:
        """Read the first bytes of a file and when it was written; None when there is no such file."""
        try:
            with _path(uri).open("rb") as file:
                content = file.read(HEADER_BYTES)
            return content, datetime.fromtimestamp(_path(uri).stat().st_mtime, tz=UTC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UnreadableError(f"read {uri}: {error.strerror}") from error

    def files(self, uri: str) -> Iterator[tuple[str, int, datetime]]:
        """List every file under a URI, by its path from there, with its size in bytes and when it was written."""
        base = _path(uri)
        try:
            for path in sorted(base.rglob("*")):
                if path.is_file():
                    known = path.stat()
                    yield str(path.relative_to(base)), known.st_size, datetime.fromtimestamp(known.st_mtime, tz=UTC)
        except OSError as error:
            raise UnreadableError(f"list {uri}: {error.strerror}") from error


def _path(uri: str) -> Path:
    match = _URI.fullmatch(uri)
    if match is None:
        raise UnreadableError(f"{shown(uri)} is no address of a file: write file:///PATH")
    return Path(match.group(1))
