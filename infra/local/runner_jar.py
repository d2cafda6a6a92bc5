"""Build the runners from their sources: `python -m infra.local.runner_jar` writes the file that is shipped."""

import os
from importlib.resources import as_file, files
from pathlib import Path

from flink_controller.adapters import runners
from flink_controller.domain.program import SQL_ENTRY_CLASS
from infra.local.archives import compile_jar
from infra.local.burn_jar import BUILT_AGAINST
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain


def build(toolchain: Toolchain) -> bytes:
    """Compile the sources and return the jar's bytes."""
    with as_file(files(runners) / runners.SQL_SOURCE_NAME) as source:
        return compile_jar(
            [source],
            entry_class=SQL_ENTRY_CLASS,
            class_path=toolchain.flink(BUILT_AGAINST).class_path,
            javac=toolchain.javac(),
        )


def main() -> None:
    """Write the shipped jar anew, and say its digest."""
    progress = Progress()
    settings = LocalSettings.from_env(os.environ)
    jar = Path(runners.__file__).with_name(runners.RUNNERS_JAR_NAME)
    jar.write_bytes(build(Toolchain(settings.cache_directory, os.environ, progress)))
    progress.say(f"wrote {jar} ({jar.stat().st_size} bytes)")
    progress.say(f'now set RUNNERS_SHA256 in domain/artifact.py: "{runners.runners_digest()}"')


if __name__ == "__main__":
    main()
