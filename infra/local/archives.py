"""Jars whose bytes depend on their sources alone, so that a digest says what is inside.

`jar` of the Java kit stamps the time of day into every entry, so it is not used.
"""

import io
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from flink_controller.services.pack_jar import write_jar
from infra.local.errors import LocalStackError

JAVA_RELEASE: Final = "11"
"""Oldest Java that any supported Flink runs on."""


def compile_jar(
    sources: Sequence[Path],
    *,
    entry_class: str,
    class_path: str,
    javac: Path,
    resources: Mapping[str, bytes] | None = None,
) -> bytes:
    """Compile Java sources and return the bytes of an executable jar.

    Equal input gives equal bytes with any `javac` that generates the same code for plain Java 11.

    Raises:
        LocalStackError: the sources do not compile; the message holds the compiler's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        # Without debug information: it is where compilers differ.
        options = ("--release", JAVA_RELEASE, "-g:none", "-proc:none", "-nowarn", "-encoding", "UTF-8")
        command = [str(javac), *options, "-cp", class_path, "-d", folder, *map(str, sorted(sources))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # no shell
        if result.returncode != 0:
            raise LocalStackError(f"{', '.join(source.name for source in sources)} does not compile: {result.stderr}")
        classes = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*.class")}
    return jar_bytes({**classes, **(resources or {})}, entry_class=entry_class)


def jar_bytes(entries: Mapping[str, bytes], *, entry_class: str) -> bytes:
    """Return a jar with these files and a manifest that names the entry class."""
    buffer = io.BytesIO()
    write_jar(buffer, sorted(entries.items()), entry_class=entry_class)
    return buffer.getvalue()
