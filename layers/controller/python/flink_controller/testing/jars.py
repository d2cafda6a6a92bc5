"""Small jars that pass inspection; nothing in them runs."""

import io
import zipfile

ENTRY_CLASS = "com.example.Job"


def jar_bytes(label: str = "v1", *, entry_class: str | None = ENTRY_CLASS) -> bytes:
    """Make a jar whose bytes depend on its label and the class that its manifest names alone."""
    named = "" if entry_class is None else f"Main-Class: {entry_class}\r\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("META-INF/MANIFEST.MF"), f"Manifest-Version: 1.0\r\n{named}\r\n")
        archive.writestr(zipfile.ZipInfo(f"{ENTRY_CLASS.replace('.', '/')}.class"), b"\xca\xfe\xba\xbe")
        archive.writestr(zipfile.ZipInfo("label.txt"), label)
    return buffer.getvalue()
