"""Archives: what is refused by the central directory alone, and what a jar's manifest offers."""

import hashlib
import io
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain import archive
from flink_controller.domain.archive import ArchiveError, Contents, read_archive
from flink_controller.domain.inspection import inspect
from flink_controller.domain.jar import entry_class_fault, entry_classes
from flink_controller.services.read_contents import CHUNK_BYTES, read_contents
from flink_controller.testing.jars import ENTRY_CLASS, jar_bytes

JAR = jar_bytes()
MANIFEST = "META-INF/MANIFEST.MF"


def contents(content: bytes) -> Contents:
    return read_contents(io.BytesIO(content))


def jar_with(*entries: tuple[str, bytes], manifest: str = "Manifest-Version: 1.0\n", compress: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, content in ((MANIFEST, manifest.encode()), *entries):
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.compress_type = name, method
            made.writestr(info, content)
    return buffer.getvalue()


def patched(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


def in_directory(offset: int, value: bytes, content: bytes = JAR) -> bytes:
    """Change bytes of the directory's first line."""
    return patched(content, content.index(b"PK\x01\x02") + offset, value)


def in_end(offset: int, value: bytes, content: bytes = JAR) -> bytes:
    """Change bytes of the end record."""
    return patched(content, content.rindex(b"PK\x05\x06") + offset, value)


def with_large_end(content: bytes = JAR) -> bytes:
    """Give the same archive with its numbers in a 64-bit end record."""
    at = content.rindex(b"PK\x05\x06")
    entries, size, offset = struct.unpack("<HII", content[at + 10 : at + 20])
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, at, 1)
    small = b"PK\x05\x06" + struct.pack("<4HIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return content[:at] + record + locator + small


def test_the_entries_of_a_jar_are_told_by_its_directory() -> None:
    assert list(read_archive(contents(JAR))) == [MANIFEST, "com/example/Job.class", "label.txt"]


def test_a_jar_with_a_large_end_record_reads_the_same() -> None:
    assert read_archive(contents(with_large_end())) == read_archive(contents(JAR))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../evil.class", "leaves its folder"),
        ("a/../../evil.class", "leaves its folder"),
        ("./a.class", "leaves its folder"),
        ("a//b.class", "leaves its folder"),
        ("/etc/passwd", "absolute name"),
        ("C:/evil.class", "absolute name"),
        ("a\\b.class", "control characters or backslashes"),
        ("a\x00b.class", "control characters or backslashes"),
        ("a\nb.class", "control characters or backslashes"),
        ("n" * 1025, "1 to 1024 are allowed"),
        (MANIFEST, "two entries"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_such_a_name_is_refused(name: str, fault: str) -> None:
    with pytest.raises(ArchiveError, match=fault):
        read_archive(contents(jar_with((name, b"content"))))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (in_directory(8, b"\x01"), "encrypted"),
        (in_directory(9, b"\x20"), "encrypted"),
        (in_directory(10, b"\x0c"), "packed by method 12"),
        (in_directory(46, b"\xff"), "not UTF-8"),
        (in_directory(28, b"\x00\x00"), "1 to 1024 are allowed"),
        (in_directory(0, b"QQ"), "damaged central directory"),
        (in_directory(30, b"\xff\xff"), "damaged central directory"),
        (in_directory(34, b"\x05"), "damaged central directory"),
        (in_directory(20, b"\xff"), "of two sizes"),
        (in_directory(42, b"\x01"), "bytes before its first entry"),
        (in_end(4, b"\x01"), "one part of an archive in several"),
        (in_end(8, b"\x02"), "one part of an archive in several"),
        (in_end(8, b"\x02\x00\x02"), "more in it than its end record says"),
        (in_end(8, b"\x04\x00\x04"), "damaged central directory"),
        (in_end(8, b"\xff\xff\xff\xff"), "large directory is missing"),
        (in_end(16, b"\x00"), "bytes that belong to no entry"),
    ],
)
def test_a_directory_that_could_be_read_in_two_ways_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(ArchiveError, match=fault):
        read_archive(contents(content))


def test_two_end_records_that_disagree_are_refused() -> None:
    with pytest.raises(ArchiveError, match="contradict"):
        read_archive(contents(in_end(8, b"\x02\x00\x02\x00", with_large_end())))


@pytest.mark.parametrize(
    ("offset", "value", "fault"),
    [
        (0, b"QQ", "large directory is missing"),
        (4, b"\x2d", "in several"),
        (16, b"\x01", "in several"),
        (24, b"\x02", "in several"),
        (56 + 16, b"\x02", "large directory is missing"),
        (56 + 8, b"\x00", "large directory is missing"),
    ],
)
def test_a_large_end_record_that_is_damaged_is_refused(offset: int, value: bytes, fault: str) -> None:
    content = with_large_end()

    with pytest.raises(ArchiveError, match=fault):
        read_archive(contents(patched(content, content.index(b"PK\x06\x06") + offset, value)))


def test_entries_that_share_bytes_are_refused() -> None:
    content = jar_with(("a.txt", b"x"), ("b.txt", b"x"))
    second = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    third = content.index(b"PK\x01\x02", second + 1)

    with pytest.raises(ArchiveError, match="share bytes"):
        read_archive(contents(patched(content, third + 42, content[second + 42 : second + 46])))


def test_an_entry_that_unpacks_to_too_much_is_refused() -> None:
    bomb = jar_with(("zeros.bin", bytes(2 * archive.RATIO_FLOOR_BYTES)), compress=True)

    with pytest.raises(ArchiveError, match="packed to less than a 200th"):
        read_archive(contents(bomb))


def test_small_and_ordinary_compression_is_no_bomb() -> None:
    text = b"".join(b"line %d of a log that repeats itself\n" % number for number in range(100_000))

    assert "log.txt" in read_archive(contents(jar_with(("zeros.bin", bytes(1000)), ("log.txt", text), compress=True)))


def test_an_archive_that_unpacks_to_more_than_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 1000)

    with pytest.raises(ArchiveError, match="would unpack to"):
        read_archive(contents(jar_with(("a.bin", bytes(1001)))))


def test_an_archive_with_too_many_entries_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 2)

    with pytest.raises(ArchiveError, match="3 entries; 2 are the most"):
        read_archive(contents(JAR))


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("Manifest-Version: 1.0\r\n", ()),
        ("Main-Class: com.example.Job\r\n", ("com.example.Job",)),
        ("main-class: com.example.Job\n", ("com.example.Job",)),
        ("Main-Class: com.exam\r\n ple.Job\r\n", ("com.example.Job",)),
        ("Main-Class: com.example.Job\nprogram-class: com.example.Other\n", ("com.example.Other", "com.example.Job")),
        ("Manifest-Version: 1.0\n\nName: x\nMain-Class: com.example.Job\n", ()),
    ],
)
def test_the_classes_to_start_are_those_of_the_manifests_main_section(manifest: str, expected: tuple[str, ...]) -> None:
    content = jar_with(("com/example/Job.class", b"x"), ("com/example/Other.class", b"x"), manifest=manifest)

    assert entry_classes(contents(content)) == expected


@pytest.mark.parametrize("compress", [False, True])
def test_a_manifest_that_names_a_class_which_is_not_there_is_refused(compress: bool) -> None:  # noqa: FBT001  # a case
    content = jar_with(manifest="Main-Class: com.example.Absent\n", compress=compress)

    found = inspect("artifacts/etl.jar", contents(content))

    assert (found.reason, found.message) == ("NotAJar", "has no class 'com.example.Absent', which its manifest names")


@pytest.mark.parametrize("place", ["https://example.com/x.jar", "file:/lib/x.jar", "/opt/x.jar"])
def test_a_manifest_that_loads_code_from_elsewhere_is_refused(place: str) -> None:
    with pytest.raises(ArchiveError, match="pack it into the jar"):
        entry_classes(contents(jar_with(manifest=f"Class-Path: lib/a.jar {place}\n")))


def test_a_manifest_may_name_neighbours_that_are_not_there() -> None:
    assert entry_classes(contents(jar_with(manifest="Class-Path: lib/a.jar lib/b.jar\n"))) == ()


def test_a_manifest_that_is_not_what_its_directory_says_is_refused() -> None:
    text = b"Manifest-Version: 1.0\n" * 10
    content = jar_with(manifest=text.decode(), compress=True)
    size = content.index(b"PK\x01\x02") + 24

    with pytest.raises(ArchiveError, match="not as large"):
        entry_classes(contents(patched(content, size, struct.pack("<I", len(text) - 1))))
    with pytest.raises(ArchiveError, match="damaged entry"):
        entry_classes(contents(patched(content, 30 + len(MANIFEST), b"\xff\xff\xff\xff")))
    with pytest.raises(ArchiveError, match="where its directory says"):
        entry_classes(contents(without_header()))


def without_header() -> bytes:
    """Give a jar whose second entry, the manifest, does not stand where its directory says."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("first.txt", b"0123456789")
        made.writestr(MANIFEST, "Manifest-Version: 1.0")
    whole = buffer.getvalue()
    return patched(whole, whole.index(b"PK\x03\x04", 4), b"XX")


def test_a_manifest_too_large_to_be_one_is_refused() -> None:
    with pytest.raises(ArchiveError, match="262144 are the most"):
        entry_classes(contents(jar_with(manifest="x" * 300_000)))


def test_a_manifest_far_from_both_ends_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr("a.bin", bytes(range(256)) * 16)
        made.writestr(MANIFEST, "Manifest-Version: 1.0\n")
        made.writestr("b.bin", bytes(range(256)) * 16)
    whole = contents(buffer.getvalue())
    partial = Contents(whole.sha256, whole.size_bytes, whole.head[:1024], whole.tail[-1024:])

    with pytest.raises(ArchiveError, match="far from its start"):
        entry_classes(partial)


@pytest.mark.parametrize(
    ("name", "offered", "fault"),
    [
        (ENTRY_CLASS, ENTRY_CLASS, None),
        (None, ENTRY_CLASS, None),
        (None, None, "names no class to start in its manifest: set entry_class"),
        ("com.example.Absent", ENTRY_CLASS, "its manifest names: 'com.example.Job'"),
        ("com.example.Absent", None, "its manifest names: none"),
    ],
)
def test_a_class_to_start_must_be_in_the_jar(name: str | None, offered: str | None, fault: str | None) -> None:
    found = entry_class_fault(contents(jar_bytes(entry_class=offered)), name)

    assert found is None if fault is None else found is not None and fault in found


def test_contents_keep_the_ends_of_a_large_stream_and_its_whole_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flink_controller.services.read_contents.TAIL_BYTES", 3 * CHUNK_BYTES // 2)
    content = b"".join(struct.pack("<I", number) for number in range(5 * CHUNK_BYTES // 4 + 7))

    found = read_contents(io.BytesIO(content), with_sha384=True)

    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.sha384 == hashlib.sha384(content).hexdigest()
    assert (found.size_bytes, found.head, found.tail) == (
        len(content),
        content[: archive.HEAD_BYTES],
        content[-3 * CHUNK_BYTES // 2 :],
    )
    assert found.at(len(content) - 5, 5) == content[-5:]
    assert found.at(0, 4) == content[:4]
    assert found.at(2 * CHUNK_BYTES, 4) is None
    assert found.at(len(content), 1) is None


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_inspection_never_raises_on_arbitrary_bytes(content: bytes) -> None:
    assert inspect("artifacts/etl.jar", contents(b"PK\x03\x04" + content)).reason == "NotAJar"


@pytest.mark.parametrize("flip", range(8))
def test_inspection_never_raises_on_a_damaged_jar(flip: int) -> None:
    for make in (JAR, with_large_end(), jar_with(("log.txt", b"line\n" * 1000), compress=True)):
        for at in range(len(make)):
            inspect("artifacts/etl.jar", contents(patched(make, at, bytes([make[at] ^ 1 << flip]))))


@pytest.mark.parametrize("cut", [lambda content: content[:-1], lambda content: content[:40], lambda content: content[1:]])
def test_a_truncated_jar_is_refused(cut: Callable[[bytes], bytes]) -> None:
    assert inspect("artifacts/etl.jar", contents(cut(JAR))).reason == "NotAJar"


def test_sizes_beyond_32_bits_are_read_from_the_extra_field() -> None:
    info = zipfile.ZipInfo("first.txt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        info.extra = struct.pack("<HHHHQQ", 0xCAFE, 0, 1, 16, 10, 10)
        made.writestr(info, b"0123456789")
    content = buffer.getvalue()

    found = read_archive(contents(in_directory(20, b"\xff" * 8, content)))

    assert (found["first.txt"].packed_bytes, found["first.txt"].unpacked_bytes) == (10, 10)
