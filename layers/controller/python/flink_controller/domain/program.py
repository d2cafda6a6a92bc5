"""What runs an artifact: its type, the class that Flink is told to start, and the arguments that this class is given."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.names import shown
from flink_controller.domain.sql_script import MAX_SCRIPT_BYTES, VARIABLE_NAME, script_faults

SQL_ENTRY_CLASS: Final = "FlinkctlSql"
"""The runner of SQL scripts; its source is in `adapters/runners`."""
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


def disagreements(type_: ArtifactType, path: str, *, entry_class: object, args: object) -> Iterator[str]:
    """Name what fields of a spec say against its artifact's type."""
    said = inferred_type(path) or ArtifactType.JAR
    if type_ is not said:
        yield f"artifact_type: a name such as {shown(path.rpartition('/')[2], 40)} says {said}, not {type_}; rename it, or leave artifact_type out"
    if type_ is ArtifactType.PYFLINK:
        yield "artifact_type: pyflink cannot be deployed by this version; jar and sql can"
    if type_ is ArtifactType.SQL:
        if entry_class is not None:
            yield "entry_class: a SQL script has none; leave it out"
        yield from _variable_faults(args)


def program_of(type_: ArtifactType, *, entry_class: str | None, args: Sequence[str]) -> Program:
    """Give how an artifact of a type is started."""
    if type_ is ArtifactType.SQL:
        return Program(SQL_ENTRY_CLASS, tuple(args))
    return Program(entry_class, tuple(args))


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
