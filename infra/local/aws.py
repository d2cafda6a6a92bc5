"""The AWS emulator on loopback, as a process of its own, and what tests need to know about it.

It keeps everything in memory and starts empty each time. Its own persistence stays off: after a restart it would keep
the position in a table's stream and lose the records, so that writes never reached a function.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.errors import LocalStackError
from infra.local.loopback import get_json
from infra.local.processes import LOOPBACK, BackgroundProcess, check_port, descendants, wait_until
from infra.local.progress import SILENT, Progress

ACCESS_KEY: Final = "test"
SECRET_KEY: Final = "test"  # noqa: S105  # the emulator takes anything
REGION: Final = "us-east-1"
ACCOUNT: Final = "000000000000"
START_TIMEOUT_SECONDS: Final = 30.0
HEALTH_PATH: Final = "/_ministack/health"


@dataclass(frozen=True, kw_only=True)
class LocalAwsConfig:
    """One emulator."""

    python: Path
    """Interpreter of the environment that the emulator is installed in; functions run on it too."""
    directory: Path
    """Log, process record and scratch: every function worker unpacks its layers there."""
    port: int = 4566


class LocalAws:
    """Start, stop and look into one emulator. All methods are idempotent."""

    def __init__(self, config: LocalAwsConfig, progress: Progress = SILENT) -> None:
        """Take charge of the emulator in `config.directory`, whether it runs already or not."""
        self.config = config
        self._progress = progress
        self._process = BackgroundProcess("ministack", config.directory)
        self._scratch = config.directory / "tmp"

    @property
    def url(self) -> str:
        """Where every service answers."""
        return f"http://{LOOPBACK}:{self.config.port}"

    def environ(self) -> dict[str, str]:
        """Return the variables that point AWS clients at the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def start(self) -> None:
        """Start the emulator, empty; return when it answers.

        Raises:
            LocalStackError: the port is taken, or the process ended or did not answer in time; nothing is left running.
        """
        if self._process.is_running():
            return
        check_port(self.config.port, "the AWS emulator", "AWS_PORT")
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True)
        with self._progress.step(f"start the AWS emulator on {self.url}"):
            self._process.start([str(self.config.python), "-m", "ministack"], self._environment())
            wait_until(lambda: self.answers() or not self._process.is_running(), START_TIMEOUT_SECONDS)
        if not self.answers():
            self._process.kill()
            raise LocalStackError(f"The AWS emulator did not start on {self.url}: read {self._process.output}.")

    def stop(self) -> None:
        """End the emulator and its function workers; all its data is gone."""
        self._process.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def is_running(self) -> bool:
        """Say whether the process runs (not whether it answers)."""
        return self._process.is_running()

    def answers(self) -> bool:
        """Say whether the emulator serves requests."""
        return get_json(self.config.port, HEALTH_PATH) is not None

    def worker_pids(self, function_name: str) -> list[int]:
        """Return the process ids of a function's workers, oldest first; the name may lack the stack's prefix.

        One worker serves one invocation at a time and stays for the next; there are as many as invocations that
        overlapped. See "Local emulator, measured" in docs/development.md for what happens when one is killed.
        """
        emulator = self._process.identity()
        if emulator is None:
            return []
        # A worker's script lies in a folder named after its function and eight random characters.
        script = re.compile(rf"/ministack-lambda-(?:[a-z0-9-]+-)?{re.escape(function_name)}-[a-z0-9_]{{8}}/_worker\.py")
        workers = [child for child, command in descendants(emulator.pid) if script.search(command)]
        return [worker.pid for worker in sorted(workers, key=lambda worker: (len(worker.started), worker.started))]

    def create_bucket(self, name: str) -> None:
        """Make a bucket unless it is there already."""
        try:
            self.client("s3").create_bucket(Bucket=name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                raise

    def client(self, service: str) -> Any:  # the service is known at run time only
        """Return a boto3 client of the emulator, whatever the host's environment says about AWS."""
        session = boto3.session.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION)
        return session.client(service, endpoint_url=self.url, config=Config(proxies={}))

    def _environment(self) -> dict[str, str]:
        """Return all that the emulator sees, and with it every function.

        Nothing of the host's: functions inherit it, and certificates, proxies or profiles of the host would reach
        code that must behave as on AWS.
        """
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self._scratch),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self._scratch),
            "STATE_DIR": str(self._scratch / "state"),
            "S3_DATA_DIR": str(self._scratch / "s3"),
            "BIND_HOST": LOOPBACK,
            "GATEWAY_PORT": str(self.config.port),
            "MINISTACK_REGION": REGION,
            # A listener on a port of its own that nobody asked for.
            "IOT_MTLS_ENABLED": "0",
            **self.environ(),
        }
