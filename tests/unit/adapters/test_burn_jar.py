"""The burn jar that is shipped is the one that its source makes."""

import io
import os
import zipfile

from flink_controller.adapters.burn_jar import BURN_ENTRY_CLASS, burn_jar
from infra.local import burn_jar as building
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain


def test_the_shipped_bytes_come_from_the_source_beside_them() -> None:
    settings = LocalSettings.from_env(os.environ)

    built = building.build(Toolchain(settings.cache_directory, os.environ, SILENT))

    assert built == burn_jar(), "run `make burn-jar` after changing the source"


def test_the_jar_holds_the_entry_class_and_nothing_else_that_runs() -> None:
    with zipfile.ZipFile(io.BytesIO(burn_jar())) as jar:
        assert jar.namelist() == ["META-INF/MANIFEST.MF", f"{BURN_ENTRY_CLASS}.class"]
        assert f"Main-Class: {BURN_ENTRY_CLASS}" in jar.read("META-INF/MANIFEST.MF").decode()
