"""Build the burn jar from its source: `python -m infra.local.burn_jar` writes the file that is shipped.

It lives here and not beside the source because the package that goes to Lambda has no use for a compiler.
"""

import os
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from flink_controller.adapters import burn_jar
from infra.local.archives import compile_jar
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain

BUILT_AGAINST: Final = "2.3.0"
"""The Flink whose classes the compiler sees; the result runs on 1.20 as well."""


def build(toolchain: Toolchain) -> bytes:
    """Compile the source and return the jar's bytes."""
    with as_file(files(burn_jar) / burn_jar.BURN_SOURCE_NAME) as source:
        return compile_jar(
            [source],
            entry_class=burn_jar.BURN_ENTRY_CLASS,
            class_path=toolchain.flink(BUILT_AGAINST).class_path,
            javac=toolchain.javac(),
        )


def main() -> None:
    """Write the shipped jar anew."""
    progress = Progress()
    settings = LocalSettings.from_env(os.environ)
    jar = Path(burn_jar.__file__).with_name(burn_jar.BURN_JAR_NAME)
    jar.write_bytes(build(Toolchain(settings.cache_directory, os.environ, progress)))
    progress.say(f"wrote {jar} ({jar.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
