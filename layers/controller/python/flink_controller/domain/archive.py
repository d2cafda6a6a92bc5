"""What a zip archive holds, read from its central directory alone: nothing is unpacked.

Strict where readers differ: whatever two programs could read in two ways is refused, so that what was looked at here is
what the JVM will see. The format is that of PKWARE's APPNOTE 6.3, sections 4.3 to 4.5.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

from flink_controller.domain.names import shown

HEAD_BYTES: Final = 2**20
"""How much is kept of the start of an artifact; a manifest stands there."""
TAIL_BYTES: Final = 2**24
"""How much is kept of its end: room for a directory of `MAX_ENTRIES` names of usual length."""
MAX_ENTRIES: Final = 100_000
"""Jars with all of their dependencies have 10,000 to 60,000."""
MAX_NAME_BYTES: Final = 1024
MAX_UNPACKED_BYTES: Final = 4 * 2**30
MAX_RATIO: Final = 200
"""Of an entry larger than `RATIO_FLOOR_BYTES`. Classes shrink to a half, text to a tenth; a bomb to a thousandth."""
RATIO_FLOOR_BYTES: Final = 2**20

_LOCAL: Final = b"PK\x03\x04"
_ENTRY: Final = b"PK\x01\x02"
_END: Final = b"PK\x05\x06"
_LOCATOR: Final = b"PK\x06\x07"
_END_64: Final = b"PK\x06\x06"
_LOCAL_BYTES: Final = 30
_ENTRY_BYTES: Final = 46
_END_BYTES: Final = 22
_LOCATOR_BYTES: Final = 20
_END_64_BYTES: Final = 56
_COMMENT_BYTES: Final = 0xFFFF
_MARK_16: Final = 0xFFFF
_MARK_32: Final = 0xFFFFFFFF
_EXTRA_64: Final = 1
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_STORED: Final = 0
_DEFLATED: Final = 8
_FIRST_PRINTABLE: Final = 32
_DELETE: Final = 127
_FIELDS: Final = struct.Struct("<HH8xIIHHHH6xI")
"""Of an entry, from its flags on: flags, method, both sizes, the lengths of name, extra field and comment, disk, offset."""
_PLAIN: Final = re.compile(rb"(?:[A-Za-z0-9_$-][A-Za-z0-9_$.-]{0,200}/){0,20}[A-Za-z0-9_$-][A-Za-z0-9_$.-]{0,200}/?")
"""Almost every name in a jar, told by one look."""


class ArchiveError(ValueError):
    """The bytes are no archive that may run; the message continues a sentence that begins with its name."""


@dataclass(frozen=True)
class Contents:
    """What one pass over an artifact's bytes keeps of them: bounded, however large it is."""

    sha256: str
    size_bytes: int
    head: bytes
    """The first `HEAD_BYTES`."""
    tail: bytes
    """The last `TAIL_BYTES`."""
    sha384: str | None = None
    """Worked out only where a signature asks for it."""

    def at(self, offset: int, length: int) -> bytes | None:
        """Give a part of the bytes; None when it was not kept or lies beyond the end."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            return None
        if offset + length <= len(self.head):
            return self.head[offset : offset + length]
        start = offset - (self.size_bytes - len(self.tail))
        return self.tail[start : start + length] if start >= 0 else None


class Entry(NamedTuple):
    """One line of the directory."""

    name: str
    method: int
    packed_bytes: int
    unpacked_bytes: int
    offset: int
    """Of its local header."""
    least_bytes: int
    """That it takes in the file, its header included; more where the header has extra fields."""


@dataclass(frozen=True)
class _Directory:
    entries: int
    size_bytes: int
    offset: int


def read_archive(contents: Contents) -> dict[str, Entry]:
    """List an archive's entries by name.

    Raises:
        ArchiveError: it is no whole zip archive, is ambiguous, or is not safe to unpack.
    """
    if contents.size_bytes == 0:
        raise ArchiveError("is empty")
    if not contents.head.startswith(_LOCAL):
        raise ArchiveError(f"is not a jar (it begins with {shown(contents.head[:4].decode('latin-1'), 20)})")
    directory = _directory(contents)
    if directory.entries > MAX_ENTRIES:
        raise ArchiveError(f"has {directory.entries} entries; {MAX_ENTRIES} are the most")
    listing = contents.at(directory.offset, directory.size_bytes)
    if listing is None:
        raise ArchiveError(f"has a central directory of {directory.size_bytes} bytes; {TAIL_BYTES} are the most")
    entries = _entries(listing, directory)
    _refuse_overlaps(entries, directory)
    _refuse_bombs(entries)
    return {entry.name: entry for entry in entries}


def unpacked(contents: Contents, entry: Entry, limit_bytes: int) -> bytes | None:
    """Unpack one small entry; None when its bytes were not kept.

    Raises:
        ArchiveError: it is larger than allowed or damaged.
    """
    if entry.unpacked_bytes > limit_bytes:
        raise ArchiveError(f"has an entry {shown(entry.name)} of {entry.unpacked_bytes} bytes; {limit_bytes} are the most")
    header = contents.at(entry.offset, _LOCAL_BYTES)
    if header is None:
        return None
    name_bytes, extra_bytes = struct.unpack("<HH", header[26:30])
    if not header.startswith(_LOCAL):
        raise ArchiveError(f"has no entry where its directory says that {shown(entry.name)} is")
    packed = contents.at(entry.offset + _LOCAL_BYTES + name_bytes + extra_bytes, entry.packed_bytes)
    if packed is None or entry.method == _STORED:
        return packed
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflater.decompress(packed, limit_bytes + 1)
    except zlib.error:
        raise ArchiveError(f"has a damaged entry {shown(entry.name)}") from None
    if len(content) != entry.unpacked_bytes or not inflater.eof:
        raise ArchiveError(f"has an entry {shown(entry.name)} that is not as large as its directory says")
    return content


def _directory(contents: Contents) -> _Directory:
    """Find the directory by the end record, which must close the file."""
    tail = contents.tail[-(_COMMENT_BYTES + _END_BYTES) :]
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise ArchiveError("is a truncated jar: its central directory is missing")
    disk, first_disk, here, entries, size, offset, comment = struct.unpack("<4HIIH", tail[at + 4 : at + _END_BYTES])
    if at + _END_BYTES + comment != len(tail):
        raise ArchiveError("is not a whole jar: its end record does not close the file")
    if disk or first_disk or here != entries:
        raise ArchiveError("is one part of an archive in several")
    end_at = contents.size_bytes - (len(tail) - at)
    found = _Directory(entries, size, offset)
    locator = contents.at(end_at - _LOCATOR_BYTES, _LOCATOR_BYTES)
    if locator is not None and locator.startswith(_LOCATOR):
        found, end_at = _directory_64(contents, found, locator, end_at - _LOCATOR_BYTES)
    elif entries == _MARK_16 or _MARK_32 in {size, offset}:
        raise ArchiveError("is a truncated jar: its large directory is missing")
    if found.entries == 0:
        raise ArchiveError("is a jar without entries")
    if found.offset + found.size_bytes > end_at:
        raise ArchiveError("is a truncated jar: its central directory lies outside of the file")
    if found.offset + found.size_bytes != end_at:
        raise ArchiveError("has bytes that belong to no entry, between its directory and its end")
    return found


def _directory_64(contents: Contents, small: _Directory, locator: bytes, locator_at: int) -> tuple[_Directory, int]:
    """Read the large end record, which stands right before its locator."""
    disk, at, disks = struct.unpack("<IQI", locator[4:])
    record = contents.at(at, _END_64_BYTES)
    if disk or disks != 1 or at + _END_64_BYTES != locator_at or record is None or not record.startswith(_END_64):
        raise ArchiveError("is a truncated jar: its large directory is missing")
    length, _, _, disk, first_disk, here, entries, size, offset = struct.unpack("<QHHIIQQQQ", record[4:])
    if length != _END_64_BYTES - 12 or disk or first_disk or here != entries:
        raise ArchiveError("is one part of an archive in several")
    pairs = (
        (small.entries, entries, _MARK_16),
        (small.size_bytes, size, _MARK_32),
        (small.offset, offset, _MARK_32),
    )
    if any(first not in {second, mark} for first, second, mark in pairs):
        raise ArchiveError("has two end records that contradict each other")
    return _Directory(entries, size, offset), at


def _entries(listing: bytes, directory: _Directory) -> list[Entry]:
    found: list[Entry] = []
    names: set[str] = set()
    at, end = 0, len(listing)
    for _ in range(directory.entries):
        name_at = at + _ENTRY_BYTES
        if name_at > end or not listing.startswith(_ENTRY, at):
            raise ArchiveError("has a damaged central directory")
        flags, method, packed, unpacked_bytes, name_bytes, extra_bytes, comment_bytes, disk, offset = _FIELDS.unpack_from(
            listing, at + 8
        )
        at = name_at + name_bytes + extra_bytes + comment_bytes
        if at > end or disk not in {0, _MARK_16}:
            raise ArchiveError("has a damaged central directory")
        name = _name(listing[name_at : name_at + name_bytes])
        if flags & _ENCRYPTED:
            raise ArchiveError(f"has an encrypted entry, {shown(name)}")
        if method not in {_STORED, _DEFLATED}:
            raise ArchiveError(f"has an entry {shown(name)} packed by method {method}, which Java cannot read")
        if name in names:
            raise ArchiveError(f"has two entries {shown(name)}")
        names.add(name)
        if _MARK_32 in {packed, unpacked_bytes, offset}:
            extra = listing[name_at + name_bytes : name_at + name_bytes + extra_bytes]
            unpacked_bytes, packed, offset = _sizes(extra, (unpacked_bytes, packed, offset))
        if method == _STORED and packed != unpacked_bytes:
            raise ArchiveError(f"has an entry {shown(name)} of two sizes")
        found.append(Entry(name, method, packed, unpacked_bytes, offset, _LOCAL_BYTES + name_bytes + packed))
    if at != end:
        raise ArchiveError("has a central directory with more in it than its end record says")
    return found


def _name(raw: bytes) -> str:
    """Read an entry's name, which must be a plain relative path."""
    if len(raw) <= MAX_NAME_BYTES and _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    if not raw or len(raw) > MAX_NAME_BYTES:
        raise ArchiveError(f"has an entry whose name has {len(raw)} bytes; 1 to {MAX_NAME_BYTES} are allowed")
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise ArchiveError(f"has an entry whose name is not UTF-8, {shown(raw.decode('latin-1'))}") from None
    if any(ord(character) < _FIRST_PRINTABLE or ord(character) == _DELETE for character in name) or "\\" in name:
        raise ArchiveError(f"has an entry whose name holds control characters or backslashes, {shown(name)}")
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or parts[0].endswith(":"):
        raise ArchiveError(f"has an entry with an absolute name, {shown(name)}")
    if any(part in {"", ".", ".."} for part in parts):
        raise ArchiveError(f"has an entry whose name leaves its folder, {shown(name)}")
    return name


def _sizes(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Replace what does not fit into 32 bits: unpacked size, packed size and offset, in this order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack("<HH", extra[at : at + 4])
        if kind == _EXTRA_64:
            wide = iter(struct.unpack(f"<{length // 8}Q", extra[at + 4 : at + 4 + length // 8 * 8].ljust(length // 8 * 8)))
            first, second, third = (next(wide, value) if value == _MARK_32 else value for value in values)
            return first, second, third
        at += 4 + length
    return values


def _refuse_overlaps(entries: list[Entry], directory: _Directory) -> None:
    """No two entries share bytes, and nothing comes before the first: a bomb counts the same bytes many times."""
    end = 0
    for entry in sorted(entries, key=attrgetter("offset")):
        if entry.offset < end:
            raise ArchiveError(f"has entries that share bytes, {shown(entry.name)} among them")
        if end == 0 and entry.offset != 0:
            raise ArchiveError("has bytes before its first entry")
        end = entry.offset + entry.least_bytes
    if end > directory.offset:
        raise ArchiveError("has an entry that lies outside of the file")


def _refuse_bombs(entries: list[Entry]) -> None:
    for entry in entries:
        if entry.unpacked_bytes > RATIO_FLOOR_BYTES and entry.unpacked_bytes > entry.packed_bytes * MAX_RATIO:
            raise ArchiveError(f"has an entry {shown(entry.name)} packed to less than a {MAX_RATIO}th of its size")
    total = sum(entry.unpacked_bytes for entry in entries)
    if total > MAX_UNPACKED_BYTES:
        raise ArchiveError(f"would unpack to {total} bytes; {MAX_UNPACKED_BYTES} are the most")
