"""What the machine lacks is said in one sentence, before anything is downloaded."""

import stat
from pathlib import Path

import pytest

from infra.local.errors import LocalStackError
from infra.local.progress import SILENT
from infra.local.toolchain import FlinkHome, Toolchain


def program(folder: Path, name: str, says: str, *, status: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def toolchain(tmp_path: Path, **environ: str) -> Toolchain:
    return Toolchain(tmp_path / "cache", {"PATH": str(tmp_path / "bin"), **environ}, SILENT)


def test_a_missing_java_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalStackError, match=r"^Flink needs java, which is not on PATH: install a Java 17 .*JAVA_HOME"):
        toolchain(tmp_path).java()


def test_an_old_java_is_refused(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", 'openjdk version "11.0.2" 2019-01-15')

    with pytest.raises(LocalStackError, match=r"Flink needs Java 17, but .*11\.0\.2"):
        toolchain(tmp_path).java()


def test_java_home_wins_over_the_path(tmp_path: Path) -> None:
    program(tmp_path / "bin", "java", 'openjdk version "11.0.2"')
    program(tmp_path / "jdk" / "bin", "java", 'openjdk version "21" 2023-09-19')

    assert toolchain(tmp_path, JAVA_HOME=str(tmp_path / "jdk")).java() == tmp_path / "jdk" / "bin" / "java"


def test_a_missing_npm_is_named(tmp_path: Path) -> None:
    program(tmp_path / "bin", "node", "v20.1.0")

    with pytest.raises(LocalStackError, match="needs npm, which is not on PATH: install Node 20"):
        toolchain(tmp_path).cdk()


def test_an_old_node_is_refused(tmp_path: Path) -> None:
    program(tmp_path / "bin", "node", "v18.19.0")
    program(tmp_path / "bin", "npm", "10")

    with pytest.raises(LocalStackError, match=r"needs Node 20, but .*v18\.19\.0"):
        toolchain(tmp_path).cdk()


def test_an_interrupted_installation_is_done_again(tmp_path: Path) -> None:
    program(tmp_path / "bin", "node", "v20.1.0")
    program(tmp_path / "bin", "npm", "no network", status=1)
    half = tmp_path / "cache" / "aws-cdk-2.1148.1" / "node_modules" / "aws-cdk"
    half.mkdir(parents=True)

    with pytest.raises(LocalStackError, match=r"cannot be installed into .*says: no network"):
        toolchain(tmp_path).cdk()
    assert not half.exists()

    program(tmp_path / "bin", "npm", "added 1 package")
    assert toolchain(tmp_path).cdk() == toolchain(tmp_path).cdk()


def test_no_s3_filesystem_without_maven_is_a_reason_and_no_error(tmp_path: Path) -> None:
    home = FlinkHome("2.3.0", tmp_path)
    home.plugins.mkdir()

    assert toolchain(tmp_path).s3_plugin(home) == "mvn is not installed"


def test_an_unreachable_maven_central_is_a_reason_and_no_error(tmp_path: Path) -> None:
    program(tmp_path / "bin", "mvn", "Unknown host", status=1)
    home = FlinkHome("2.3.0", tmp_path)
    home.plugins.mkdir()

    assert toolchain(tmp_path).s3_plugin(home) == "Maven Central cannot be reached"


def test_an_earlier_patch_of_the_filesystem_serves_where_the_newest_is_missing(tmp_path: Path) -> None:
    maven = tmp_path / "bin" / "mvn"
    program(tmp_path / "bin", "mvn", "Could not find artifact", status=1)
    home = FlinkHome("1.20.2", tmp_path)
    home.plugins.mkdir()
    before = toolchain(tmp_path).s3_plugin(home)

    maven.write_text(maven.read_text().replace("echo", 'case "$*" in *hadoop:1.20.1*) exit 0;; esac\necho'))

    assert before == "Maven Central has no flink-s3-fs-hadoop 1.20"
    assert toolchain(tmp_path).s3_plugin(home) is None
