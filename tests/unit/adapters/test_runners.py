"""What is packed beside scripts is what its source makes."""

import os

from flink_controller.adapters import runners
from flink_controller.domain.artifact import RUNNERS_SHA256, ArtifactType
from flink_controller.domain.program import SQL_ENTRY_CLASS
from infra.local import runner_jar
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain


def test_the_shipped_classes_come_from_the_source_beside_them() -> None:
    settings = LocalSettings.from_env(os.environ)

    built = runner_jar.build(Toolchain(settings.cache_directory, os.environ, SILENT))

    assert built == runners.runners_jar(), "run `make runner-jar` after changing the source"


def test_the_domain_names_the_runners_that_are_shipped() -> None:
    assert runners.runners_digest() == RUNNERS_SHA256, "write the new digest into domain/artifact.py"


def test_a_script_is_packed_beside_the_class_that_runs_it() -> None:
    assert f"{SQL_ENTRY_CLASS}.class" in runners.runners()[ArtifactType.SQL]
