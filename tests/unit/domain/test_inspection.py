"""Each type of artifact is judged in its own way, told by its name."""

import hashlib
import io
import zipfile

import pytest

from flink_controller.domain.archive import Contents, Entry
from flink_controller.domain.inspection import inspect
from flink_controller.domain.program import MAX_MODULES_BYTES, modules_fault
from flink_controller.domain.sql_script import MAX_SCRIPT_BYTES

SCRIPT = b"INSERT INTO a SELECT 1;"


def contents(content: bytes) -> Contents:
    return Contents(hashlib.sha256(content).hexdigest(), len(content), content, content)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"PK\x03\x04\xff", "is no UTF-8 text: byte 4 is none"),
        (b"INSERT\x00", "is no text: it holds a NUL character"),
        (b" " * (MAX_SCRIPT_BYTES + 1), "has more than the 262144 bytes that a text may have"),
        (b"SHOW TABLES;" + SCRIPT, "line 1, column 1: SHOW shows something"),
    ],
)
def test_what_is_no_script_that_can_run_is_refused(content: bytes, fault: str) -> None:
    found = inspect("artifacts/etl.SQL", contents(content))

    assert found.reason == "ScriptRefused"
    assert found.message.startswith(fault)


def test_a_script_is_no_jar_and_needs_not_be() -> None:
    assert inspect("artifacts/etl.sql", contents(SCRIPT)).reason == ""
    assert inspect("artifacts/etl.jar", contents(SCRIPT)).reason == "NotAJar"


def modules(*names: str) -> Contents:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return contents(buffer.getvalue())


@pytest.mark.parametrize(
    ("archive", "fault"),
    [
        (modules("etl.txt"), "has no Python module"),
        (modules("main.py", "META-INF/MANIFEST.MF"), "has an entry 'META-INF/MANIFEST.MF': names that begin with META-INF/"),
        (modules("main.py", "flinkctl_pyflink.py"), "has an entry 'flinkctl_pyflink.py': names that begin with"),
    ],
)
def test_an_archive_that_cannot_be_packed_as_modules_is_refused(archive: Contents, fault: str) -> None:
    found = inspect("artifacts/etl.zip", archive)

    assert found.reason == "NotModules"
    assert found.message.startswith(fault)


def test_an_archive_of_modules_may_be_too_large_to_pack() -> None:
    entries = {
        "main.py": Entry("main.py", method=8, packed_bytes=1, unpacked_bytes=MAX_MODULES_BYTES + 1, offset=0, least_bytes=0)
    }

    assert modules_fault(entries) == f"has {MAX_MODULES_BYTES + 1} bytes unpacked; {MAX_MODULES_BYTES} are the most"


def test_modules_need_no_manifest_and_what_is_no_archive_is_none() -> None:
    assert inspect("artifacts/etl.zip", modules("main.py", "lib/connector.jar")).reason == ""
    assert inspect("artifacts/etl.zip", contents(b"print()")).reason == "NotAJar"
    assert inspect("artifacts/etl.py", contents(b"print()")).reason == ""
