"""What runs an artifact: its type, the class that Flink is told to start, and the arguments that this class is given."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flink_controller.domain.archive import Entry
from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.names import shown
from flink_controller.domain.sql_script import MAX_SCRIPT_BYTES, VARIABLE_NAME, script_faults

SQL_ENTRY_CLASS: Final = "FlinkctlSql"
"""The runner of SQL scripts; its source is in `adapters/runners`."""
PYTHON_DRIVER: Final = "org.apache.flink.client.python.PythonDriver"
"""Flink's own class that starts Python; no other gets PyFlink's jar on its class path."""
PYTHON_RUNNER: Final = "flinkctl_pyflink"
"""The module that runs a program's; its source is in `adapters/runners`."""
PYTHON_SETTINGS: Final = ("python.client.executable", "python.executable")
"""Which Python runs main(), and which the functions."""
MAIN_MODULE: Final = "main"
"""What is started of an archive of modules that names nothing else, and how one module alone is packed."""
MAX_MODULES_BYTES: Final = 128 * 2**20
"""Of an archive of modules, unpacked: twice that must fit into the temporary space of a function (512 MB)."""
RESERVED: Final = ("META-INF/", "flinkctl")
"""Beginnings of entries that the jar around the modules has itself."""
_TYPES: Final = {"jar": ArtifactType.JAR, "py": ArtifactType.PYFLINK, "zip": ArtifactType.PYFLINK, "sql": ArtifactType.SQL}
_TEXTS: Final = ("sql", "py")
_VARIABLE: Final = re.compile(rf"({VARIABLE_NAME})=.*", re.DOTALL)


@dataclass(frozen=True)
class Program:
    """How a submit starts an artifact."""

    entry_class: str | None
    args: tuple[str, ...]
    configuration: Mapping[str, str] = field(default_factory=dict)
    """Beside what the spec says."""


def inferred_type(path: str) -> ArtifactType | None:
    """Tell an artifact's type by its name, or None when the name does not say."""
    return _TYPES.get(_suffix(path))


def is_text(path: str) -> bool:
    """Tell whether an artifact of this name is one text, and no archive."""
    return _suffix(path) in _TEXTS


def text_fault(path: str, content: bytes) -> str | None:
    """Say why a text must not be admitted, or None.

    Args:
        path: its name.
        content: all of it, or more of its beginning than a text may have.
    """
    if len(content) > MAX_SCRIPT_BYTES:
        return f"has more than the {MAX_SCRIPT_BYTES} bytes that a text may have"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is no UTF-8 text: byte {error.start} is none"
    if "\x00" in text:
        return "is no text: it holds a NUL character"
    if not text.strip():
        return "is empty"
    faults = script_faults(text) if _suffix(path) == "sql" else ()
    return "; ".join(faults) or None


def modules_fault(entries: Mapping[str, Entry]) -> str | None:
    """Say why an archive holds no program of modules, or None."""
    taken = sorted(name for name in entries if name.startswith(RESERVED))
    if taken:
        return f"has an entry {shown(taken[0], 60)}: names that begin with {' or '.join(RESERVED)} are taken"
    size_bytes = sum(entry.unpacked_bytes for entry in entries.values())
    if size_bytes > MAX_MODULES_BYTES:
        return f"has {size_bytes} bytes unpacked; {MAX_MODULES_BYTES} are the most"
    if not any(name.endswith(".py") for name in entries):
        return "has no Python module"
    return None


def disagreements(type_: ArtifactType, path: str, *, entry_class: object, args: object) -> Iterator[str]:
    """Name what fields of a spec say against its artifact's type."""
    said = inferred_type(path) or ArtifactType.JAR
    if type_ is not said:
        yield f"artifact_type: a name such as {shown(path.rpartition('/')[2], 40)} says {said}, not {type_}; rename it, or leave artifact_type out"
    if type_ is ArtifactType.PYFLINK and is_text(path) and entry_class is not None:
        yield "entry_class: one module is started as it is; leave it out"
    if type_ is ArtifactType.SQL:
        if entry_class is not None:
            yield "entry_class: a SQL script has none; leave it out"
        yield from _variable_faults(args)


def cluster_fault(type_: ArtifactType, cluster: Cluster) -> str | None:
    """Say what a cluster lacks to run an artifact of a type, or None."""
    if type_ is not ArtifactType.PYFLINK or cluster.python is not None:
        return None
    return (
        f"cluster {cluster.name} is not prepared for Python: each of its machines needs a Python with PyFlink"
        f"{f' {cluster.flink_version}' if cluster.flink_version else ''}, and the JobManager FLINK_OPT_DIR; an operator then says"
        f" so with flinkctl cluster add {cluster.name} … --python PATH"
    )


def runs_by_itself(type_: ArtifactType) -> bool:
    """Tell whether main() of an artifact of this type may run as an application.

    PyFlink's may not: the one way to tell why a program failed is an exception that an application takes for the end of a
    job, for which it then waits without end (measured on 2.3).
    """
    return type_ is not ArtifactType.PYFLINK


def is_planned_first(type_: ArtifactType) -> bool:
    """Tell whether Flink is asked for the plan of a new revision before the running job is stopped for it.

    The plan runs main(). A script's defines tables and nothing else, in 0.1 s; a jar's may do anything, and would do it
    twice; PyFlink's holds a function for the seconds that Python needs to start.
    """
    return type_ is ArtifactType.SQL


def program_of(
    type_: ArtifactType, *, entry_class: str | None, args: Sequence[str], jar_path: str, python: str | None, is_batch: bool
) -> Program:
    """Give how an artifact of a type is started.

    Args:
        type_: what it is.
        entry_class: what the spec says of the class, or module, to start.
        args: the spec's arguments.
        jar_path: where the JobManager keeps the staged jar.
        python: the cluster's Python.
        is_batch: whether it works its input through and ends. A jar's code says that itself.
    """
    mode = {"execution.runtime-mode": "BATCH"} if is_batch else {}
    match type_:
        case ArtifactType.JAR:
            return Program(entry_class, tuple(args))
        case ArtifactType.SQL:
            return Program(SQL_ENTRY_CLASS, tuple(args), mode)
        case ArtifactType.PYFLINK:
            settings = mode | ({} if python is None else dict.fromkeys(PYTHON_SETTINGS, python))
            # Python imports from archives, so the jar itself goes on its path. As an argument (-pyfs) it would not reach the
            # workers (measured).
            settings["python.files"] = jar_path
            return Program(PYTHON_DRIVER, ("-pym", PYTHON_RUNNER, entry_class or MAIN_MODULE, *args), settings)


def _variable_faults(args: object) -> Iterator[str]:
    names: set[str] = set()
    for index, arg in enumerate(args if isinstance(args, list | tuple) else ()):
        match = _VARIABLE.fullmatch(arg) if isinstance(arg, str) else None
        if match is None:
            yield f"args.{index}: an argument of a SQL script is a variable, written name=value, not {shown(str(arg), 40)}"
        elif match.group(1) in names:
            yield f"args.{index}: variable {match.group(1)} has a value already"
        else:
            names.add(match.group(1))


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower()
