"""How Flink lays out checkpoints and savepoints, whatever holds them.

A checkpoint or savepoint is complete when its `_metadata` is: Flink writes that file last. It begins with a magic number,
the version of its format, and the checkpoint's id (big endian; measured on Flink 1.20, format 4, and 2.3, format 6), so that
checkpoints and savepoints of one attempt can be put in order.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, Protocol

from flink_controller.domain.names import shown
from flink_controller.domain.observation import Checkpoint, SavepointFound, StorageUnreadable, StoredState

METADATA: Final = "_metadata"
HEADER_BYTES: Final = 16
_HEADER: Final = struct.Struct(">iiq")
_MAGIC: Final = 0x4960672D
_CHECKPOINT: Final = re.compile(r"chk-(\d{1,18})")
_SAVEPOINT: Final = "savepoint-"
_JOB_ID: Final = re.compile(r"[0-9a-f]{32}")
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029%\\]|\.\.")
_ENOUGH: Final = 10
"""Complete checkpoints that are read, newest first. The newest one decides; the others are there for a person."""


class UnreadableError(Exception):
    """A place could not be listed or read; nothing may be concluded from it. Stays within the adapters."""


class Directory(Protocol):
    """A place with directories in it."""

    def names(self, uri: str) -> list[str]:
        """List the directories directly under a URI; nothing when it does not exist.

        Raises:
            UnreadableError: it could not be listed.
        """

    def head(self, uri: str) -> tuple[bytes, datetime] | None:
        """Read the first `HEADER_BYTES` of a file and when it was written; None when there is no such file.

        Raises:
            UnreadableError: it could not be read.
        """

    def files(self, uri: str) -> Iterator[tuple[str, int, datetime]]:
        """List every file under a URI, by its path from there, with its size in bytes and when it was written.

        Raises:
            UnreadableError: it could not be listed.
        """


def list_savepoints(directory: Directory, uri: str) -> tuple[SavepointFound, ...] | StorageUnreadable:
    """List the savepoints under a URI, complete or not, with the bytes that each takes. Never raises."""
    found: dict[str, SavepointFound] = {}
    try:
        base = _safe(uri)
        for path, size_bytes, written_at in directory.files(base):
            name, _, rest = path.partition("/")
            if not name.startswith(_SAVEPOINT) or not rest:
                continue
            known = found.get(name) or SavepointFound(f"{base}/{name}", 0, written_at, is_complete=False)
            found[name] = SavepointFound(
                known.path,
                known.size_bytes + size_bytes,
                max(known.written_at, written_at),
                is_complete=known.is_complete or rest == METADATA,
            )
    except UnreadableError as error:
        return StorageUnreadable(str(error))
    return tuple(found[name] for name in sorted(found))


def find_state(
    directory: Directory, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
) -> StoredState | StorageUnreadable:
    """Look for the complete checkpoints and savepoints of a job id. Never raises."""
    try:
        checkpoints = _checkpoints(directory, flink_job_id, checkpoint_root)
        savepoints = [found for uri in savepoint_directories for found in _savepoints(directory, uri)]
    except UnreadableError as error:
        return StorageUnreadable(str(error))
    return StoredState((*checkpoints, *savepoints))


def holds_state(directory: Directory, uri: str) -> bool | StorageUnreadable:
    """Tell whether a complete savepoint or checkpoint lies at a URI, with or without its file's name. Never raises."""
    try:
        return _complete(directory, _safe(uri).removesuffix(f"/{METADATA}"), number=None) is not None
    except UnreadableError as error:
        return StorageUnreadable(str(error))


def _checkpoints(directory: Directory, flink_job_id: str, root: str) -> list[Checkpoint]:
    if not _JOB_ID.fullmatch(flink_job_id):
        raise UnreadableError(f"{shown(flink_job_id)} is no Flink job id")
    base = f"{_safe(root)}/{flink_job_id}"
    matches = [match for name in directory.names(base) if (match := _CHECKPOINT.fullmatch(name)) is not None]
    found: list[Checkpoint] = []
    for match in sorted(matches, key=lambda match: int(match.group(1)), reverse=True):
        checkpoint = _complete(directory, f"{base}/{match.group()}", number=int(match.group(1)))
        found += [] if checkpoint is None else [checkpoint]
        if len(found) == _ENOUGH:
            break
    return found


def _savepoints(directory: Directory, uri: str) -> list[Checkpoint]:
    base = _safe(uri)
    # The directory may be an operation's, with the savepoint's own under it, or a savepoint's that somebody named.
    places = [base, *(f"{base}/{name}" for name in sorted(directory.names(base)) if name.startswith(_SAVEPOINT))]
    found = [_complete(directory, place, number=None) for place in places]
    return [savepoint for savepoint in found if savepoint is not None]


def _complete(directory: Directory, uri: str, *, number: int | None) -> Checkpoint | None:
    """Read one checkpoint or savepoint.

    Args:
        directory: where to look.
        uri: its own directory.
        number: the number in a checkpoint's name; None for a savepoint.
    """
    head = directory.head(f"{uri}/{METADATA}")
    if head is None:
        return None
    content, written_at = head
    if len(content) < HEADER_BYTES:
        # Flink died while it wrote: no state is there, and no restore could read it.
        return None
    magic, _, checkpoint_id = _HEADER.unpack(content[:HEADER_BYTES])
    if magic != _MAGIC or checkpoint_id < 0:
        if number is None:
            # Without its id a savepoint cannot be put in order with the checkpoints; a guess could lose newer state.
            raise UnreadableError(f"{uri}/{METADATA} does not begin as Flink's metadata does")
        checkpoint_id = number
    return Checkpoint(id=checkpoint_id, path=uri, is_savepoint=number is None, completed_at=written_at)


def _safe(uri: str) -> str:
    """Refuse what could lead elsewhere."""
    if _UNSAFE.search(uri):
        raise UnreadableError(f"{shown(uri)}: '..', '%', '\\' and control characters are not allowed")
    return uri.rstrip("/")
