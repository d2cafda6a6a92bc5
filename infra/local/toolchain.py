"""Everything that is downloaded, once, into one cache folder: the emulator, Flink, the CDK command, the S3 plugin.

Each part is installed under a lock, so that two stacks may start at once, and marked complete at its end, so that an
interrupted download is done again instead of used.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.errors import LocalStackError
from infra.local.progress import Progress

MINISTACK_VERSION: Final = "1.5.33"
MINISTACK_COMPANIONS: Final = ("boto3==1.43.106", "cryptography>=50,<51")
"""What the emulator leaves out: boto3 in the release that fits its pinned botocore, because Lambda's own runtime has one
and the CDK's custom resources count on it; cryptography, without which its KMS cannot sign."""
CDK_VERSION: Final = "2.1148.1"
"""What aws-cdk-lib in pyproject.toml needs; the registry's `latest` is older in substance and fails."""
MAVEN_COPY_GOAL: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
S3_PLUGIN: Final = "flink-s3-fs-hadoop"
"""Of the two plugins this one is a third of the size and serves savepoints and checkpoints alike."""
JAVA_MINIMUM: Final = 17
NODE_MINIMUM: Final = 20
INSTALL_TIMEOUT_SECONDS: Final = 1800
PLUGIN_TIMEOUT_SECONDS: Final = 300
GATEWAY_PACKAGES: Final = (
    *(
        "nginx-light",
        "apache2-bin",
        "libapache2-mod-auth-gssapi",
        "krb5-kdc",
        "krb5-admin-server",
        "krb5-user",
        "libkrb5-dev",
    ),
)
"""What stands before Flink in tests: token and password by nginx, SPNEGO by Apache, and a KDC. 7 MB from Debian."""
GSSAPI: Final = "requests-gssapi==1.4.0"
"""What the optional Kerberos layer brings; layers/kerberos/build.sh builds it for Lambda."""


@dataclass(frozen=True)
class FlinkHome:
    """An installed Flink: libraries only, no scripts."""

    version: str
    root: Path

    @property
    def lib(self) -> Path:
        """The jars of the class path."""
        return self.root / "lib"

    @property
    def opt(self) -> Path:
        """Jars that Flink adds on demand (Python)."""
        return self.root / "opt"

    @property
    def plugins(self) -> Path:
        """One folder per plugin."""
        return self.root / "plugins"

    @property
    def class_path(self) -> str:
        """What `java -cp` and `javac -cp` take."""
        return f"{self.lib}/*"


class Toolchain:
    """Finds what is installed in the cache folder and installs what is missing."""

    def __init__(self, cache_directory: Path, environ: Mapping[str, str], progress: Progress) -> None:
        """Install into `cache_directory`, with the host's `environ` (proxies, certificates, PATH)."""
        self._cache = cache_directory
        self._environ = dict(environ)
        self._progress = progress

    def java(self) -> Path:
        """Return the `java` program.

        Raises:
            LocalStackError: there is none, or it is too old.
        """
        return self._java_program("java")

    def javac(self) -> Path:
        """Return the `javac` program.

        Raises:
            LocalStackError: there is none, or it is too old.
        """
        return self._java_program("javac")

    @property
    def ministack_python(self) -> Path:
        """Where the emulator's interpreter is, or will be."""
        name = f"ministack-{MINISTACK_VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
        return self._cache / name / "bin" / "python"

    def ministack(self) -> Path:
        """Return the Python interpreter that has the AWS emulator; it also runs the functions."""
        root = self.ministack_python.parents[1]
        with self._installing(root, f"install the AWS emulator (ministack {MINISTACK_VERSION})") as is_missing:
            if is_missing:
                self._python_environment(root, f"ministack=={MINISTACK_VERSION}", *MINISTACK_COMPANIONS)
        return self.ministack_python

    def flink(self, version: str) -> FlinkHome:
        """Return Flink's libraries in the given version."""
        root = self._cache / f"flink-{version}"
        with self._installing(root, f"install Flink {version} (about 330 MB)") as is_missing:
            if is_missing:
                # Without its dependencies: they are PyFlink's, and only the jars are wanted.
                self._python_environment(root, f"apache-flink-libraries=={version}", "--no-deps")
        (home,) = root.glob("lib/python3.*/site-packages/pyflink")
        return FlinkHome(version, home)

    def pyflink(self, version: str) -> Path:
        """Return a Python interpreter that has PyFlink in the given version (850 MB)."""
        root = self._cache / f"pyflink-{version}"
        with self._installing(root, f"install PyFlink {version} (about 850 MB)") as is_missing:
            if is_missing:
                self._python_environment(root, f"apache-flink=={version}")
        return root / "bin" / "python"

    def s3_plugin(self, home: FlinkHome) -> str | None:
        """Put Flink's S3 filesystem in place.

        It is published on Maven Central only. A patch release may be published there late; an earlier one of the same
        minor release fits, the filesystem interface being stable within it.

        Returns:
            Why there is none (no `mvn`, no connection), or nothing when it is in place.
        """
        folder = home.plugins / S3_PLUGIN
        maven = self._which("mvn")
        with self._locked(folder.with_name(f".{S3_PLUGIN}.lock")):
            if any(folder.glob("*.jar")):
                return None
            if maven is None:
                return "mvn is not installed"
            with self._progress.step(f"install Flink's S3 filesystem ({S3_PLUGIN})"):
                return self._copy_plugin(maven, home.version, folder)

    def node(self) -> tuple[str, str]:
        """Return the programs `node` and `npm`.

        Raises:
            LocalStackError: one is missing, or Node is too old.
        """
        node, npm = self._which("node"), self._which("npm")
        advice = f"install Node {NODE_MINIMUM} or newer"
        if node is None or npm is None:
            missing = "node" if node is None else "npm"
            raise LocalStackError(f"The CDK command needs {missing}, which is not on PATH: {advice}.")
        said = self._capture((node, "--version"), timeout_seconds=60).stdout.strip()
        version = re.match(r"v(\d+)", said)
        if version is None or int(version[1]) < NODE_MINIMUM:
            raise LocalStackError(f"The CDK command needs Node {NODE_MINIMUM}, but {node} says {said!r}: {advice}.")
        return node, npm

    def cdk(self) -> tuple[str, ...]:
        """Return the command that runs the CDK CLI.

        Raises:
            LocalStackError: Node is missing or too old, or the registry cannot be reached.
        """
        node, npm = self.node()
        root = self._cache / f"aws-cdk-{CDK_VERSION}"
        with self._installing(root, f"install the CDK command (aws-cdk {CDK_VERSION})") as is_missing:
            if is_missing:
                root.mkdir(parents=True)
                arguments = ("install", "--no-audit", "--no-fund", "--prefix", str(root), f"aws-cdk@{CDK_VERSION}")
                self._run((npm, *arguments), f"aws-cdk {CDK_VERSION} cannot be installed into {root}")
        return (node, str(root / "node_modules" / "aws-cdk" / "bin" / "cdk"))

    def gateways(self) -> Path:
        """Return the root of a file tree with the programs of `GATEWAY_PACKAGES`, unpacked and not installed.

        Raises:
            LocalStackError: this is no Debian, or its archive cannot be reached. No right to install is needed.
        """
        root = self._cache / "gateways"
        apt, unpack = self._which("apt-get"), self._which("dpkg-deb")
        if apt is None or unpack is None:
            raise LocalStackError("nginx, Apache and a KDC come as Debian packages; there is no apt-get here.")
        with self._installing(root, "download nginx, Apache and a KDC (7 MB)") as is_missing:
            if is_missing:
                state = root / "apt"
                for folder in ("lists/partial", "archives/partial"):
                    (state / folder).mkdir(parents=True)
                options = {
                    "Dir::State": state,
                    "Dir::State::status": "/var/lib/dpkg/status",
                    "Dir::Cache": state,
                    "Debug::NoLocking": "1",
                    "APT::Sandbox::User": "",
                }
                command = (apt, "-qq", *(f"-o{name}={value}" for name, value in options.items()))
                self._run((*command, "update"), "The list of Debian's packages cannot be read")
                wanted = ("install", "--yes", "--no-install-recommends", "--reinstall", "--download-only")
                self._run((*command, *wanted, *GATEWAY_PACKAGES), "Debian packages cannot be downloaded")
                for package in sorted((state / "archives").glob("*.deb")):
                    self._run((unpack, "--extract", str(package), str(root)), f"{package.name} cannot be unpacked")
                shutil.rmtree(state)
        return root

    def gssapi(self) -> Path:
        """Return a folder with the Python packages of Kerberos, built against the libraries of `gateways`.

        Raises:
            LocalStackError: they cannot be built: no Debian, or no compiler.
        """
        usr = self.gateways() / "usr"
        (library,) = (usr / "lib").glob("*-linux-gnu")
        root = self._cache / f"gssapi-py{sys.version_info.major}.{sys.version_info.minor}"
        with self._installing(root, "build the Kerberos packages (about a minute)") as is_missing:
            if is_missing:
                search = {
                    "PATH": f"{usr / 'bin'}:{self._environ.get('PATH', '')}",
                    "GSSAPI_COMPILER_ARGS": f"-DHAS_GSSAPI_EXT_H -O1 -w -I{usr / 'include/mit-krb5'} -I{usr / 'include'}",
                    "GSSAPI_LINKER_ARGS": f"-L{library / 'mit-krb5'} -L{library} -lgssapi_krb5",
                    "GSSAPI_MAIN_LIB": str(library / "libgssapi_krb5.so.2"),
                    "GSSAPI_MECHS": "krb5",
                }
                pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
                self._run((*pip, "--target", str(root), GSSAPI), "The Kerberos packages cannot be built", search)
        return root

    def _python_environment(self, root: Path, *arguments: str) -> None:
        # Its own interpreter must be the checkout's: functions and their dependency layer are built for it.
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        python = str(base if base.exists() else sys.executable)
        self._run((python, "-m", "venv", str(root)), f"A virtual environment cannot be made in {root}")
        install = (str(root / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        self._run((*install, *arguments), f"{arguments[0]} cannot be installed into {root}")

    def _copy_plugin(self, maven: str, version: str, folder: Path) -> str | None:
        minor, _, patch = version.rpartition(".")
        for candidate in range(int(patch), -1, -1):
            command = (
                maven,
                "--batch-mode",
                "--quiet",
                f"-Dmaven.repo.local={self._cache / 'maven'}",
                MAVEN_COPY_GOAL,
                f"-Dartifact=org.apache.flink:{S3_PLUGIN}:{minor}.{candidate}",
                f"-DoutputDirectory={folder}",
            )
            try:
                result = self._capture(command, PLUGIN_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                return "Maven Central did not answer in time"
            if result.returncode == 0:
                return None
            if "could not find artifact" not in result.stdout.lower():
                return "Maven Central cannot be reached"
        return f"Maven Central has no {S3_PLUGIN} {minor}"

    def _java_program(self, name: str) -> Path:
        home = self._environ.get("JAVA_HOME")
        found = str(Path(home) / "bin" / name) if home else self._which(name)
        advice = f"install a Java {JAVA_MINIMUM} development kit or point JAVA_HOME at one"
        if found is None or not os.access(found, os.X_OK):
            where = f"in JAVA_HOME ({home})" if home else "on PATH"
            raise LocalStackError(f"Flink needs {name}, which is not {where}: {advice}.")
        result = self._capture((found, "-version"), timeout_seconds=60)
        version = re.search(r"(\d+)[.\d_]*", result.stdout)
        if version is None or int(version[1]) < JAVA_MINIMUM:
            words = result.stdout.strip().splitlines() or ["no version"]
            raise LocalStackError(f"Flink needs Java {JAVA_MINIMUM}, but {found} says {words[0]!r}: {advice}.")
        return Path(found)

    def _which(self, program: str) -> str | None:
        return shutil.which(program, path=self._environ.get("PATH"))

    @contextmanager
    def _installing(self, root: Path, title: str) -> Iterator[bool]:
        """Hold the lock of one part; say whether it is missing; mark it complete if nothing was raised."""
        complete = root / ".complete"
        with self._locked(root.with_name(f".{root.name}.lock")):
            if complete.exists():
                yield False
                return
            shutil.rmtree(root, ignore_errors=True)
            try:
                with self._progress.step(title):
                    yield True
            except BaseException:
                shutil.rmtree(root, ignore_errors=True)
                raise
            complete.touch()

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _run(self, command: Sequence[str], complaint: str, environ: Mapping[str, str] | None = None) -> None:
        try:
            result = self._capture(command, INSTALL_TIMEOUT_SECONDS, environ)
        except subprocess.TimeoutExpired as error:
            raise LocalStackError(f"{complaint}: no end after {INSTALL_TIMEOUT_SECONDS} s; check the network.") from error
        if result.returncode != 0:
            raise LocalStackError(f"{complaint}; `{' '.join(command)}` says: {_last_words(result.stdout)}")

    def _capture(
        self, command: Sequence[str], timeout_seconds: float, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # fixed programs, no shell
            command,
            env={**self._environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )


def _last_words(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return " / ".join(lines[-3:]) or "nothing"
