"""Deploy the very CDK app that goes to AWS into the emulator, with the CDK's own command.

No second description of the stack exists: what runs on a laptop is the template that production gets.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from infra.local.aws import ACCOUNT, REGION, LocalAws
from infra.local.errors import LocalStackError
from infra.local.progress import SILENT, Progress
from infra.local.settings import CHECKOUT

STACK_NAME: Final = "flink-job-controller-local"
TIMEOUT_SECONDS: Final = 300
HOSTS_OWN_AWS: Final = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_ROLE_ARN")
"""What a laptop's environment may say about a real account; none of it may reach the deployment."""


class Deployment:
    """Bootstraps and deploys into one emulator."""

    def __init__(
        self,
        aws: LocalAws,
        *,
        cdk: Sequence[str],
        directory: Path,
        output_directory: Path,
        environ: Mapping[str, str],
        progress: Progress = SILENT,
    ) -> None:
        """Prepare, without starting anything.

        Args:
            aws: the emulator.
            cdk: the CDK's command.
            directory: for the outputs and the logs of this stack.
            output_directory: for synthesized files; shared by all stacks, because the wheels in it are a download.
            environ: the host's environment, for fetching those wheels.
            progress: told what happens.
        """
        self._aws = aws
        self._cdk = tuple(cdk)
        self._directory = directory
        self._output_directory = output_directory
        self._environ = environ
        self._progress = progress
        self._outputs = directory / "outputs.json"

    def deploy(self, context: Mapping[str, str] | None = None) -> dict[str, str]:
        """Deploy the app as it stands in the checkout, and return the stack's outputs; safe to repeat.

        Args:
            context: overrides of the `local` environment's fields in cdk.json.

        Raises:
            LocalStackError: the app does not synthesize or the emulator refuses it; the message names the log.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._progress.step("prepare the emulated account (cdk bootstrap)"):
            # Out of sight of cdk.json: where there is an app, the command synthesizes it first, for nothing.
            self._run("bootstrap", f"aws://{ACCOUNT}/{REGION}", cwd=self._directory)
        overrides = [word for key, value in (context or {}).items() for word in ("--context", f"{key}={value}")]
        with self._progress.step("deploy the application (cdk deploy)"):
            self._run(
                "deploy",
                *("--all", "--require-approval", "never", "--method", "direct"),
                *("--outputs-file", str(self._outputs)),
                *("--context", "environment=local", "--output", str(self._output_directory)),
                *overrides,
                cwd=CHECKOUT,
            )
        return self.outputs()

    def outputs(self) -> dict[str, str]:
        """Return the outputs of the last deployment.

        Raises:
            LocalStackError: nothing is deployed.
        """
        try:
            outputs: dict[str, str] = json.loads(self._outputs.read_text())[STACK_NAME]
        except (FileNotFoundError, KeyError) as error:
            raise LocalStackError(
                f"{STACK_NAME} is not deployed: {self._outputs} has no outputs; run `make local`."
            ) from error
        return outputs

    def _run(self, verb: str, *arguments: str, cwd: Path) -> None:
        log = self._directory / f"cdk-{verb}.log"
        command = (*self._cdk, verb, "--no-color", "--no-notices", "--ci", *arguments)
        with self._exclusive(), log.open("w") as file:
            try:
                code = subprocess.run(  # our own arguments, no shell
                    command,
                    cwd=cwd,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=TIMEOUT_SECONDS,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired as error:
                raise LocalStackError(f"cdk {verb} did not end within {TIMEOUT_SECONDS} s: read {log}.") from error
        if code != 0:
            raise LocalStackError(f"cdk {verb} failed: {_complaint(log.read_text(errors='replace'))}; read {log}.")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Wait for other stacks of this checkout: the CDK refuses a folder that another command works in."""
        self._output_directory.mkdir(parents=True, exist_ok=True)
        with self._output_directory.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in self._environ.items() if name not in HOSTS_OWN_AWS}
        nowhere = str(self._directory / "no-aws-configuration")
        return {
            **kept,
            **self._aws.environ(),
            "AWS_ENDPOINT_URL_S3": self._aws.url,
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true",
            # Fetching wheels may need the host's proxy; the emulator must never be asked through one.
            "NO_PROXY": _with_loopback(kept.get("NO_PROXY", "")),
            "no_proxy": _with_loopback(kept.get("no_proxy", "")),
            # `python` in cdk.json is the one that runs this.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
            "CDK_HOME": str(self._directory / "cdk-home"),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1",
        }


def _with_loopback(hosts: str) -> str:
    return ",".join(filter(None, [hosts, "127.0.0.1", "localhost"]))


def _complaint(log: str) -> str:
    """Pick the line that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "no output")[:500]
