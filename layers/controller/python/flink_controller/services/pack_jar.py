"""Make the jar in which an artifact that is no jar travels to Flink: its verified bytes, and what runs them."""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import IO, Final

from flink_controller.domain.artifact import Artifact, ArtifactType
from flink_controller.domain.names import shown
from flink_controller.domain.program import MAIN_MODULE, is_text, text_fault
from flink_controller.domain.sql_script import byte_ranges

EARLIEST: Final = (1980, 1, 1, 0, 0, 0)
"""The date of every entry: the first one that the format can hold."""
SCRIPT_ENTRY: Final = "flinkctl/script.sql"
STATEMENTS_ENTRY: Final = "flinkctl/statements"
"""Where the runner finds the script, and the first byte and the end of each of its statements."""


def pack_jar(artifact: Artifact, content: IO[bytes], runner: Mapping[str, bytes], to: IO[bytes]) -> None:
    """Write the jar of an artifact. Equal artifacts and runners give equal bytes.

    Args:
        artifact: what the bytes are.
        content: its verified bytes.
        runner: the entries that run it.
        to: where the jar is written; can be sought.

    Raises:
        ValueError: the bytes are not what the artifact's type asks for.
    """
    write_jar(to, chain(sorted(runner.items()), _entries(artifact, content)))


def write_jar(to: IO[bytes], entries: Iterable[tuple[str, bytes]], *, entry_class: str | None = None) -> None:
    """Write a jar whose bytes depend on these entries and their order alone.

    They are dated alike and not compressed: compressors differ between machines.
    """
    main = "" if entry_class is None else f"Main-Class: {entry_class}\r\n"
    manifest = f"Manifest-Version: 1.0\r\n{main}\r\n".encode()
    with zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as jar:
        # The manifest comes first by custom; some readers look at the first entry only.
        for name, content in chain([("META-INF/MANIFEST.MF", manifest)], entries):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            jar.writestr(entry, content)


def _entries(artifact: Artifact, content: IO[bytes]) -> Iterable[tuple[str, bytes]]:
    match artifact.type:
        case ArtifactType.SQL:
            script = content.read()
            fault = text_fault(artifact.key, script)
            if fault is not None:
                raise ValueError(fault)
            ranges = byte_ranges(script.decode())
            yield SCRIPT_ENTRY, script
            yield STATEMENTS_ENTRY, "\n".join(f"{start} {end}" for start, end in ranges).encode()
        case ArtifactType.PYFLINK if is_text(artifact.key):
            yield f"{MAIN_MODULE}.py", content.read()
        case ArtifactType.PYFLINK:
            with zipfile.ZipFile(content) as archive:
                for entry in sorted(archive.namelist()):
                    if not entry.endswith("/"):
                        yield entry, _unpacked(archive, entry)
        case ArtifactType.JAR:
            raise ValueError("is a jar already")


def _unpacked(archive: zipfile.ZipFile, entry: str) -> bytes:
    try:
        return archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{shown(entry)} cannot be unpacked: {error}") from error
