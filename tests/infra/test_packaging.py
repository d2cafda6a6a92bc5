"""What a function finds when it starts: its own code, the layers, and nothing else."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.functions import FUNCTIONS, RECONCILER, FunctionSpec
from infra.layers import LOCK, Target, install_dependencies
from tests.infra.conftest import ROOT, Resource, Synthesized


def test_rows_folders_and_sample_events_name_the_same_functions() -> None:
    rows = {row.name for row in FUNCTIONS}

    assert _folders(ROOT / "functions") == rows
    # What leaves by the bus is an example for programs outside.
    assert _folders(ROOT / "events") - {"published"} == rows


def test_a_function_s_asset_holds_only_its_own_files(local: Synthesized) -> None:
    for name, function in local.functions().items():
        files = _files(_asset(local, function))

        assert {"functions/__init__.py", f"functions/{name}/__init__.py", f"functions/{name}/handler.py"} <= files
        assert not {file for file in files if not file.startswith(f"functions/{name}/")} - {"functions/__init__.py"}
        assert not {file for file in files if file.endswith(".pyc")}


def test_the_controller_layer_holds_what_functions_import_and_no_more(local: Synthesized) -> None:
    files = _files(_asset(local, local.only("AWS::Lambda::LayerVersion", "Layers/Controller")))

    assert {"python/flink_controller/__init__.py", "python/flink_controller/settings.py"} <= files
    assert all(file.startswith("python/flink_controller/") for file in files)
    excluded = ("python/flink_controller/cli/", "python/flink_controller/testing/")
    assert not {file for file in files if file.startswith(excluded) or file.endswith(".pyc")}


def test_layers_fit_the_functions_that_use_them(deployment: Synthesized) -> None:
    (runtime,) = {function["Properties"]["Runtime"] for function in deployment.functions().values()}
    (machine,) = {function["Properties"]["Architectures"][0] for function in deployment.functions().values()}

    for layer in deployment.of_type("AWS::Lambda::LayerVersion").values():
        assert layer["Properties"]["CompatibleRuntimes"] == [runtime]
        assert layer["Properties"]["CompatibleArchitectures"] == [machine]


def test_every_locked_package_has_hashes_and_comes_from_anywhere() -> None:
    lines = LOCK.read_text().splitlines()

    packages = [index for index, line in enumerate(lines) if line and not line.startswith((" ", "#"))]
    assert packages
    for index in packages:
        assert lines[index + 1].startswith("    --hash=sha256:")
    assert not [line for line in lines if line.startswith(("--index-url", "--extra-index-url", "--find-links"))]


@pytest.mark.parametrize("machine", ["arm64", "x86_64"])
def test_wheels_are_taken_for_the_functions_processor_and_not_for_this_one(machine: Any) -> None:
    options = Target(python_version="3.14", machine=machine, is_host=False).pip_options()

    assert ("aarch64" if machine == "arm64" else "x86_64") in " ".join(options)
    assert options[-2:] == ["--python-version", "3.14"]


@pytest.fixture(scope="module")
def dependencies(local: Synthesized, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dependency layer, built as a deployment builds it."""
    folder = tmp_path_factory.mktemp("dependencies")
    install_dependencies(Target.of(local.config), folder)
    return folder


def test_the_layer_is_compiled_and_small_enough(dependencies: Path) -> None:
    sources = list((dependencies / "python").rglob("*.py"))
    compiled = [Path(importlib.util.cache_from_source(str(source))) for source in sources]
    uncompiled = [source for source, code in zip(sources, compiled, strict=True) if not code.exists()]
    headers = {code.read_bytes()[:8] for code in compiled if code.exists()}
    # PEP 552: this interpreter's magic number, and the flags of a hash that nobody checks.
    assert headers == {importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")}
    # What is written for another version of Python does not compile in this one.
    assert len(uncompiled) <= 3, uncompiled
    assert not (dependencies / "python" / "bin").exists()
    size = sum(file.stat().st_size for file in dependencies.rglob("*") if file.is_file())
    # Lambda's limit is 250 MB, unzipped, for a function with all its layers.
    assert size < 150_000_000


def test_every_handler_can_be_imported_from_its_asset_and_the_layers_alone(dependencies: Path, local: Synthesized) -> None:
    controller = _asset(local, local.only("AWS::Lambda::LayerVersion", "Layers/Controller"))
    for name, function in local.functions().items():
        path = [str(_asset(local, function)), str(dependencies / "python"), str(controller / "python")]
        handler = function["Properties"]["Handler"]

        answer = _import_alone(handler, path, function["Properties"]["Environment"]["Variables"])

        assert answer.returncode == 0, f"{name}: {answer.stderr}"


NOT_AT_THE_START = {
    "aws_xray_sdk",
    "boto3",
    "prometheus_client",
    "cryptography",
    "requests",
    "requests_toolbelt",
    "tenacity",
}
"""Imported by the first invocation that needs them. `reconcile_job` needs those for Flink each time, and has them at once."""
FOR_FLINK = {"requests", "requests_toolbelt", "tenacity"}


@pytest.mark.parametrize("row", FUNCTIONS, ids=lambda row: row.name)
def test_a_handler_imports_only_what_each_invocation_needs(row: FunctionSpec) -> None:
    program = f"import sys, functions.{row.name}.handler; print(*(name.partition('.')[0] for name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    found = set(done.stdout.split())

    assert found & NOT_AT_THE_START == (FOR_FLINK if row.name == RECONCILER else set())


def _import_alone(handler: str, path: list[str], variables: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Import a handler in an interpreter that sees the standard library and the given folders."""
    module, _, function = handler.rpartition(".")
    program = f"import sys; sys.path += {path!r}; import {module} as m; assert callable(m.{function})"
    environment = {
        "AWS_DEFAULT_REGION": "eu-central-1",
        **{name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()},
    }
    return subprocess.run(  # our own interpreter
        [sys.executable, "-I", "-S", "-B", "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _asset(deployment: Synthesized, resource: Resource) -> Path:
    path: str = resource["Metadata"]["aws:asset:path"]
    return deployment.folder / path


def _files(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def _folders(parent: Path) -> set[str]:
    return {child.name for child in parent.iterdir() if child.is_dir() and child.name != "__pycache__"}
