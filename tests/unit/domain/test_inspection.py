"""Each type of artifact is judged in its own way, told by its name."""

import hashlib

import pytest

from flink_controller.domain.archive import Contents
from flink_controller.domain.inspection import inspect
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
