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


def test_equal_artifacts_give_equal_jars() -> None:
    assert packed(SCRIPT) == packed(SCRIPT)


def test_a_script_that_must_not_run_is_not_packed() -> None:
    with pytest.raises(ValueError, match="line 1, column 1: SELECT gives rows"):
        packed(b"SELECT 1; INSERT INTO a SELECT 1;")


def test_a_jar_of_its_own_and_one_that_was_made_differ_in_their_digest() -> None:
    own, made = artifact(ArtifactType.JAR, "artifacts/etl.zip"), artifact()

    assert own.staged_digest == own.sha256
    assert made.staged_digest != made.sha256
