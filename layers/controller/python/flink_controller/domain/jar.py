"""Is an artifact a jar that Flink can start? Told from its directory and its manifest."""

from typing import Final

from flink_controller.domain.archive import ArchiveError, Contents, read_archive, unpacked
from flink_controller.domain.names import shown

MANIFEST: Final = "META-INF/MANIFEST.MF"
MAX_MANIFEST_BYTES: Final = 2**18
ENTRY_ATTRIBUTES: Final = ("program-class", "main-class")
"""Where Flink looks for the class to start when a spec names none, in its order."""


def entry_classes(contents: Contents) -> tuple[str, ...]:
    """Give the classes that a jar's manifest offers to start, the one that Flink takes first; none if it names none.

    Raises:
        ArchiveError: it is no jar that may run; the message continues a sentence that begins with its name.
    """
    entries = read_archive(contents)
    if MANIFEST not in entries:
        raise ArchiveError(f"is a zip archive, but no jar: it has no {MANIFEST}")
    text = unpacked(contents, entries[MANIFEST], MAX_MANIFEST_BYTES)
    if text is None:
        # It stands neither at the start nor at the end of a large jar, which no tool for jars does.
        raise ArchiveError(f"has its {MANIFEST} far from its start: build it with jar, Maven or Gradle")
    attributes = _main_attributes(text)
    _refuse_other_code(attributes.get("class-path", ""))
    named = dict.fromkeys(attributes[name] for name in ENTRY_ATTRIBUTES if attributes.get(name))
    missing = [name for name in named if class_file(name) not in entries]
    if missing:
        raise ArchiveError(f"has no class {shown(missing[0])}, which its manifest names")
    return tuple(named)


def class_file(name: str) -> str:
    """Give the name of a class's entry."""
    return f"{name.replace('.', '/')}.class"


def entry_class_fault(contents: Contents, name: str | None) -> str | None:
    """Say why a jar cannot be started at a class (None: at the one that its manifest names), or None when it can.

    Raises:
        ArchiveError: it is no jar.
    """
    offered = entry_classes(contents)
    if name is None:
        return None if offered else "names no class to start in its manifest: set entry_class"
    if class_file(name) in read_archive(contents):
        return None
    named = ", ".join(shown(other) for other in offered) or "none"
    return f"has no class {shown(name)}, which entry_class names; its manifest names: {named}"


def _main_attributes(text: bytes) -> dict[str, str]:
    """Read the manifest's main section: names in lower case; a line that begins with a space continues the last."""
    found: dict[str, str] = {}
    last = ""
    for line in text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if not line:
            break
        if line.startswith(b" ") and last:
            found[last] += line[1:].decode("utf-8", "replace")
            continue
        name, _, value = line.partition(b":")
        last = name.decode("utf-8", "replace").strip().lower()
        found[last] = value.decode("utf-8", "replace").removeprefix(" ")
    return {name: value.strip() for name, value in found.items()}


def _refuse_other_code(class_path: str) -> None:
    """A class loader follows addresses in `Class-Path`: code that nobody signed would run."""
    for place in class_path.split():
        if ":" in place or place.startswith("/"):
            raise ArchiveError(f"loads code from {shown(place)} by its manifest's Class-Path; pack it into the jar")
