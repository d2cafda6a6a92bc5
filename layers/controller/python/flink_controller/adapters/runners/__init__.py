"""What the controller packs beside an artifact that is no jar, so that Flink can run it.

Flink's REST interface takes jars and nothing else. A script therefore travels in a jar that is made of its verified bytes
and of these files (`services.pack_jar`), and is started by a class, or module, of theirs.

The classes are built from the Java sources beside them (`make runner-jar`); a test compares the bytes.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.program import PYTHON_RUNNER

RUNNERS_JAR_NAME: Final = "flinkctl-runners.jar"
"""File name in this package."""
SQL_SOURCE_NAME: Final = "FlinkctlSql.java"
"""File name of the source in this package."""


def runners_jar() -> bytes:
    """Return the shipped jar's bytes."""
    return files(__package__).joinpath(RUNNERS_JAR_NAME).read_bytes()


@cache
def runners() -> Mapping[ArtifactType, Mapping[str, bytes]]:
    """Return, for each type, the entries that its jars begin with: some kilobytes, read once per process."""
    with zipfile.ZipFile(io.BytesIO(runners_jar())) as jar:
        classes = {name: jar.read(name) for name in jar.namelist() if name.endswith(".class")}
    module = files(__package__).joinpath(f"{PYTHON_RUNNER}.py").read_bytes()
    return {ArtifactType.SQL: classes, ArtifactType.PYFLINK: {f"{PYTHON_RUNNER}.py": module}}


def runners_digest() -> str:
    """Hash what is packed beside artifacts; `domain.artifact.RUNNERS_SHA256` must say the same."""
    digest = hashlib.sha256()
    for type_, entries in sorted(runners().items()):
        for name, content in sorted(entries.items()):
            digest.update(f"{type_}\0{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()
