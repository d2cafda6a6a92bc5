"""The code that functions share: the controller's package, and what it imports from others.

Two layers, because dependencies change monthly and are large, and our own code changes hourly and is small.
Neither needs Docker: the package's folder is its zip, and the dependencies are wheels that pip fetches for the target.
"""

import compileall
import hashlib
import platform
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import aws_cdk as cdk
import jsii
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.config import HOST, DeploymentConfig

ROOT: Final = Path(__file__).resolve().parents[1]
DEPENDENCIES: Final = ROOT / "layers" / "dependencies"
CONTROLLER: Final = ROOT / "layers" / "controller"
LOCK: Final = DEPENDENCIES / "requirements.txt"

NOT_FOR_FUNCTIONS: Final = ("python/flink_controller/cli", "python/flink_controller/testing")
"""Parts of the package that no function imports: the command line, and the twins that tests use."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the functions run on."""

    python_version: str
    """Like `3.14`."""
    machine: Literal["arm64", "x86_64"]
    is_host: bool
    """Whether that is the very machine and interpreter that synthesizes: any operating system, its own wheels."""

    @classmethod
    def of(cls, config: DeploymentConfig) -> "Target":
        """Resolve `host` to this interpreter and this processor."""
        if HOST in {config.python_version, config.architecture}:
            machine: Literal["arm64", "x86_64"] = "arm64" if platform.machine().lower() in {"arm64", "aarch64"} else "x86_64"
            return cls(python_version=_this_python(), machine=machine, is_host=True)
        return cls(
            python_version=config.python_version,
            machine=cast(Literal["arm64", "x86_64"], config.architecture),
            is_host=False,
        )

    @property
    def runtime(self) -> lambda_.Runtime:
        """Name the runtime as Lambda does."""
        return lambda_.Runtime(f"python{self.python_version}", lambda_.RuntimeFamily.PYTHON)

    @property
    def architecture(self) -> lambda_.Architecture:
        """Name the processor as Lambda does."""
        return lambda_.Architecture.ARM_64 if self.machine == "arm64" else lambda_.Architecture.X86_64

    def pip_options(self) -> list[str]:
        """Say to pip which wheels to take; nothing where its own are right."""
        if self.is_host:
            return []
        machine = "aarch64" if self.machine == "arm64" else "x86_64"
        # Amazon Linux 2023 has glibc 2.34; wheels that ask for less carry one of these tags.
        platforms = [f"manylinux_2_28_{machine}", f"manylinux_2_17_{machine}", f"manylinux2014_{machine}"]
        return [
            *(option for name in platforms for option in ("--platform", name)),
            *("--implementation", "cp"),
            *("--python-version", self.python_version),
        ]


def install_dependencies(target: Target, folder: Path) -> None:
    """Install the locked packages into a layer's folder.

    Byte code is added where this interpreter writes the target's: importing boto3 and pydantic from source costs a cold
    start about 0.8 s, and a layer cannot be written to later. It is checked against nothing, so it needs no time stamps.

    Raises:
        subprocess.CalledProcessError: pip failed; its own message went to stderr.
    """
    subprocess.run(  # our own interpreter and constant arguments
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
            *("--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile"),
            *target.pip_options(),
            *("--target", str(folder / "python")),
            *("--requirement", str(LOCK)),
        ],
        check=True,
        stdout=sys.stderr,
    )
    # Console scripts carry this machine's interpreter in their first line, and no function calls one.
    shutil.rmtree(folder / "python" / "bin", ignore_errors=True)
    if target.python_version == _this_python():
        compileall.compile_dir(
            str(folder / "python"),
            quiet=2,
            workers=0,
            stripdir=str(folder),
            prependdir="/opt",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


@jsii.implements(cdk.ILocalBundling)
class WheelsFromLock:
    """Builds the dependency layer on this machine, so that the CDK never asks for Docker."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def try_bundle(self, output_dir: str, *_options: Any, **_properties: Any) -> bool:
        """Install into the asset's folder. A failure raises: there is no Docker to fall back to."""
        install_dependencies(self._target, Path(output_dir))
        return True


class Layers(Construct):
    """The dependency layer and the controller layer, in the order in which functions list them."""

    def __init__(self, scope: Construct, construct_id: str, *, target: Target) -> None:
        super().__init__(scope, construct_id)
        self.dependencies = lambda_.LayerVersion(
            self,
            "Dependencies",
            description="What the controller imports from others, locked with hashes.",
            code=lambda_.Code.from_asset(
                str(DEPENDENCIES),
                # Named by what decides its content: the lock, the target and how it is built. Hashing 70 MB of wheels
                # instead would build them at every synth just to learn that nothing changed.
                asset_hash_type=cdk.AssetHashType.CUSTOM,
                asset_hash=_hash(LOCK.read_text(), repr(target), _this_python(), Path(__file__).read_text()),
                bundling=cdk.BundlingOptions(
                    image=cdk.DockerImage.from_registry("docker-is-never-used"),
                    local=cast(cdk.ILocalBundling, WheelsFromLock(target)),
                ),
            ),
            compatible_runtimes=[target.runtime],
            compatible_architectures=[target.architecture],
        )
        self.controller = lambda_.LayerVersion(
            self,
            "Controller",
            description="The package flink_controller.",
            code=lambda_.Code.from_asset(str(CONTROLLER), exclude=["**/__pycache__", "**/*.pyc", *NOT_FOR_FUNCTIONS]),
            compatible_runtimes=[target.runtime],
            compatible_architectures=[target.architecture],
        )

    @property
    def all(self) -> Sequence[lambda_.ILayerVersion]:
        """Both, dependencies first."""
        return (self.dependencies, self.controller)


def _this_python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
