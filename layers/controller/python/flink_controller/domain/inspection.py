"""May an artifact of its type run, judged by its bytes alone? One entry for all types; each type has a module of its own."""

from dataclasses import dataclass

from flink_controller.domain.archive import ArchiveError, Contents, read_archive
from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.jar import entry_classes
from flink_controller.domain.program import inferred_type, is_text, modules_fault, text_fault


@dataclass(frozen=True)
class Inspection:
    """What was found."""

    reason: str = ""
    """Why it may not run, in one word for programs; empty when it may."""
    message: str = ""
    """The same for people, to be continued after the artifact's name."""
    entry_classes: tuple[str, ...] = ()
    """Of a jar: what its manifest offers to start."""
    is_without_entry: bool = False
    """Whether it is a jar that offers nothing."""


def inspect(key: str, contents: Contents) -> Inspection:
    """Look at an artifact. Never raises on its bytes."""
    if is_text(key):
        fault = text_fault(key, contents.head)
        return Inspection() if fault is None else Inspection("ScriptRefused", fault)
    try:
        if inferred_type(key) is ArtifactType.PYFLINK:
            fault = modules_fault(read_archive(contents))
            return Inspection() if fault is None else Inspection("NotModules", fault)
        offered = entry_classes(contents)
    except ArchiveError as fault:
        return Inspection("NotAJar", str(fault))
    return Inspection(entry_classes=offered, is_without_entry=not offered)
