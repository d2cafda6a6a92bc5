"""The jar in which an artifact travels that is no jar."""

import io
import zipfile

import pytest

from flink_controller.domain.artifact import Artifact, ArtifactType
from flink_controller.services.pack_jar import SCRIPT_ENTRY, STATEMENTS_ENTRY, pack_jar

SCRIPT = b"-- one\nUSE a;\nINSERT INTO b SELECT 1;\n"
RUNNER = {"Runner.class": b"class", "A.class": b"another"}


def artifact(type_: ArtifactType = ArtifactType.SQL, key: str = "artifacts/etl.sql") -> Artifact:
    return Artifact(bucket="b", key=key, version_id="1", sha256="0" * 64, key_id="team", size_bytes=1, type=type_)


MODULES = artifact(ArtifactType.PYFLINK, "artifacts/etl.zip")


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.mkdir("etl")
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def packed(content: bytes, packed_: Artifact | None = None) -> bytes:
    jar = io.BytesIO()
    pack_jar(packed_ or artifact(), io.BytesIO(content), RUNNER, jar)
    return jar.getvalue()


def test_a_script_travels_whole_with_its_runner_and_the_places_of_its_statements() -> None:
    with zipfile.ZipFile(io.BytesIO(packed(SCRIPT))) as jar:
        entries = {name: jar.read(name) for name in jar.namelist()}

    assert list(entries) == ["META-INF/MANIFEST.MF", "A.class", "Runner.class", SCRIPT_ENTRY, STATEMENTS_ENTRY]
    assert entries["Runner.class"] == b"class"
    assert entries[SCRIPT_ENTRY] == SCRIPT
    assert entries[STATEMENTS_ENTRY] == b"7 12\n14 36"


def test_one_module_is_packed_as_the_main_module() -> None:
    module = artifact(ArtifactType.PYFLINK, "artifacts/my-etl.py")

    with zipfile.ZipFile(io.BytesIO(packed(b"print()", module))) as jar:
        assert jar.namelist() == ["META-INF/MANIFEST.MF", "A.class", "Runner.class", "main.py"]
        assert jar.read("main.py") == b"print()"


def test_modules_are_packed_where_python_finds_them_and_jars_where_flink_does() -> None:
    entries = {"main.py": b"1", "etl/__init__.py": b"2", "lib/connector.jar": b"3", "requirements.txt": b"4"}

    with zipfile.ZipFile(io.BytesIO(packed(zipped(entries), MODULES))) as jar:
        found = {name: jar.read(name) for name in jar.namelist()}

    assert {name: found[name] for name in entries} == entries
    assert "etl/" not in found


def test_the_order_and_compression_of_modules_do_not_show() -> None:
    entries = {"main.py": b"1" * 1000, "etl/__init__.py": b"2"}
    other = zipped(dict(reversed(entries.items())), zipfile.ZIP_DEFLATED)

    assert packed(zipped(entries), MODULES) == packed(other, MODULES)


def test_modules_that_are_damaged_are_not_packed() -> None:
    damaged = zipped({"main.py": b"print(1)"}).replace(b"print(1)", b"print(2)")

    with pytest.raises(ValueError, match=r"'main.py' cannot be unpacked: Bad CRC-32"):
        packed(damaged, MODULES)


def test_equal_artifacts_give_equal_jars() -> None:
    assert packed(SCRIPT) == packed(SCRIPT)


def test_a_script_that_must_not_run_is_not_packed() -> None:
    with pytest.raises(ValueError, match="line 1, column 1: SELECT gives rows"):
        packed(b"SELECT 1; INSERT INTO a SELECT 1;")


def test_a_jar_of_its_own_and_one_that_was_made_differ_in_their_digest() -> None:
    own, made = artifact(ArtifactType.JAR, "artifacts/etl.zip"), artifact()

    assert own.staged_digest == own.sha256
    assert made.staged_digest != made.sha256
