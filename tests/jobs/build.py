"""Build the jars of the test jobs: `python -m tests.jobs.build CounterJob --label v2 --to counter.jar`.

Two labels of one job give jars with different bytes and the same behaviour, which is what an upgrade needs.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from infra.local.archives import compile_jar
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain

PACKAGE: Final = "com.example"
JOBS: Final = ("BatchJob", "CounterJob")
SOURCES: Final = Path(__file__).parent / "src"
DEFAULT_FLINK: Final = LocalSettings.flink_version


def build(job: str, flink_version: str = DEFAULT_FLINK, *, label: str = "v1", cache_directory: Path | None = None) -> Path:
    """Return the jar of one job, compiled against one Flink; compiled only if its sources changed.

    Args:
        job: one of `JOBS`.
        flink_version: whose libraries to compile against.
        label: goes into the jar as `version.txt`; the job reports it.
        cache_directory: where jars and Flink's libraries are kept; default as for the local stack.

    Raises:
        ValueError: there is no such job.
        LocalStackError: no Java, or the sources do not compile.
    """
    if job not in JOBS:
        raise ValueError(f"no such job: {job}; there are {', '.join(JOBS)}")
    cache = cache_directory or LocalSettings.from_env(os.environ).cache_directory
    sources = sorted(SOURCES.rglob("*.java"))
    digest = hashlib.sha256(f"{job}\0{flink_version}\0{label}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    jar = cache / "jobs" / f"{job}-{label}-{digest.hexdigest()[:12]}.jar"
    if not jar.exists():
        toolchain = Toolchain(cache, os.environ, SILENT)
        content = compile_jar(
            sources,
            entry_class=entry_class(job),
            class_path=toolchain.flink(flink_version).class_path,
            javac=toolchain.javac(),
            resources={"version.txt": label.encode()},
        )
        _write_at_once(jar, content)
    return jar


def entry_class(job: str) -> str:
    """Return the full name of a job's class."""
    return f"{PACKAGE}.{job}"


def main(
    job: Annotated[str, typer.Argument(help=f"One of {', '.join(JOBS)}.")],
    label: Annotated[str, typer.Option(help="Version that the job reports.")] = "v1",
    flink: Annotated[str, typer.Option(help="Flink to compile against.")] = DEFAULT_FLINK,
    to: Annotated[Path | None, typer.Option(help="Also copy the jar to this file.")] = None,
) -> None:
    """Build one job and print the jar's path."""
    jar = build(job, flink, label=label)
    typer.echo(shutil.copyfile(jar, to) if to else jar)


def _write_at_once(jar: Path, content: bytes) -> None:
    """Never show a half-written jar to a test that runs at the same time."""
    jar.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=jar.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(jar)


if __name__ == "__main__":
    typer.run(main)
