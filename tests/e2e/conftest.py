"""The whole controller from the outside: its template deployed in the emulator, and a real Flink.

One stack serves all tests of a session, but for those that harm it. Tests use what a team has: boto3 for spec items and uploads, Flink's REST to see
what really runs, and `flinkctl` to read the status.
"""

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from flink_controller.adapters.signing import sign
from infra.local.flink import FlinkCluster
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.stack import LocalStack
from tests.jobs.build import build

HEARTBEAT_TIMEOUT_S = 10
"""Short, so that an orphan's life does not add to the quarantine, which the functions' timeout bounds below."""


@dataclass(frozen=True)
class Beat:
    """One line that a counter wrote: a record seen by a live copy."""

    at_ms: int
    flink_job_id: str
    version: str
    key: int
    count: int


class Team:
    """What a team and an onlooker can do with a running stack."""

    def __init__(self, stack: LocalStack, flink: FlinkCluster, scratch: Path) -> None:
        self.stack, self.flink, self.scratch = stack, flink, scratch
        self.environ = {**os.environ, **stack.environ()}
        session = boto3.session.Session(
            aws_access_key_id=self.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environ["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environ["AWS_DEFAULT_REGION"],
        )
        self.endpoint = self.environ["AWS_ENDPOINT_URL"]
        self.s3 = session.client("s3", endpoint_url=self.endpoint)
        specs = session.resource("dynamodb", endpoint_url=self.endpoint)
        self.specs = specs.Table(self.environ["FLINKCTL_JOB_SPEC_TABLE_NAME"])
        self.bucket = self.environ["FLINKCTL_ARTIFACT_BUCKET_NAME"]
        self.follow_ups = session.client("sqs", endpoint_url=self.endpoint)
        self.http = requests.Session()
        self.http.trust_env = False

    # A team's acts

    def upload(self, key: str, content: bytes, *, signature: bytes | None = None, signed: bool = True) -> str:
        """Upload an artifact and its signature as raw objects; returns the digest."""
        digest = hashlib.sha256(content).hexdigest()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        if signature is None and signed:
            signature = self.signature(content)
        if signature is not None:
            self.s3.put_object(Bucket=self.bucket, Key=f"{key}.sig", Body=signature)
        return digest

    def signature(self, content: bytes) -> bytes:
        """Sign as any tool could: base64 over the signature of `sha256:<digest>`."""
        private_pem = Path(self.environ["FLINKCTL_SIGNING_KEY"]).read_bytes()
        return base64.b64encode(sign(private_pem, f"sha256:{hashlib.sha256(content).hexdigest()}".encode()))

    def upload_counter(self, key: str, label: str) -> str:
        """Upload the counter job, signed."""
        return self.upload(key, build("CounterJob", self.stack.settings.flink_version, label=label).read_bytes())

    def spec(self, job_id: str, *, args: tuple[str, ...] = (), **deployment: Any) -> dict[str, Any]:
        """Give a counter's spec item, with quick proofs and beats."""
        return {
            "job_id": job_id,
            "job_type": "stream",
            "artifact_path": f"artifacts/{job_id}.jar",
            "args": ["--rate", "50", "--beats", str(self.beats_directory(job_id)), *args],
            "deployment": {
                "checkpoint_interval": 1000,
                "rollback": {"stabilization_seconds": 3, "deadline_seconds": 90},
                "on_failure": {"backoff_seconds": 2, "limit": 2},
                **deployment,
            },
        }

    def put(self, item: Mapping[str, Any]) -> None:
        """Write a raw spec item."""
        self.specs.put_item(Item=dict(item))

    def remove(self, job_id: str) -> None:
        """Remove a raw spec item."""
        self.specs.delete_item(Key={"job_id": job_id})

    def wake(self, job_id: str) -> None:
        """Have a job looked at now, and not by the next tick."""
        body = json.dumps({"job_id": job_id})
        self.follow_ups.send_message(QueueUrl=self.environ["FLINKCTL_FOLLOW_UP_QUEUE_URL"], MessageBody=body)

    def flinkctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run flinkctl."""
        program = str(Path(sys.executable).with_name("flinkctl"))
        return subprocess.run([program, *arguments], env=self.environ, capture_output=True, text=True, check=False)

    def wait_for_workers(self, function: str, timeout_s: float = 30) -> list[int]:
        """Wait until processes of a function run; give their ids, none if the time is over."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            pids = self.stack.aws.worker_pids(function)
            if pids:
                return pids
            time.sleep(0.02)
        return []

    # What can be seen

    def status(self, job_id: str) -> dict[str, Any]:
        """Read a job's status, {} before there is any."""
        done = self.flinkctl("get", job_id, "-o", "json")
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def wait(self, job_id: str, reached: Callable[[dict[str, Any]], bool], timeout_s: float = 90) -> dict[str, Any]:
        """Wait until a job's status is as asked."""
        end, status = time.monotonic() + timeout_s, {}
        while time.monotonic() < end:
            status = self.status(job_id)
            if status and reached(status):
                return status
            time.sleep(0.5)
        events = self.flinkctl("events", job_id).stdout
        raise AssertionError(f"{job_id} did not get there in {timeout_s} s: {json.dumps(status, indent=1)}\n{events}")

    def wait_stable(self, job_id: str, revision: int | None = None, timeout_s: float = 90) -> dict[str, Any]:
        """Wait until a job is STABLE, on a revision if one is named."""
        return self.wait(
            job_id,
            lambda status: status["lifecycle"] == "STABLE" and revision in {None, status["revision"]["running"]},
            timeout_s,
        )

    def get(self, path: str) -> Any:
        """Read Flink's REST interface."""
        return self.http.get(f"{self.flink.rest_url}{path}", timeout=10).json()

    def flink_jobs(self, *, live: bool = True) -> list[dict[str, Any]]:
        """List Flink's jobs, the live ones or all."""
        ended = {"FINISHED", "CANCELED", "FAILED"}
        return [job for job in self.get("/jobs/overview")["jobs"] if not live or job["state"] not in ended]

    def live_ids(self, job_id: str) -> list[str]:
        """List the live Flink jobs of a job."""
        return [job["jid"] for job in self.flink_jobs() if job["name"] == job_id]

    def beats_directory(self, job_id: str) -> Path:
        """Name the directory that a job's counter writes to."""
        directory = self.scratch / job_id.replace("/", "-")
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def beats(self, job_id: str) -> list[Beat]:
        """Read every whole line that a job's copies wrote, in order of time."""
        found = []
        for file in self.beats_directory(job_id).iterdir():
            for line in file.read_text().splitlines():
                parts = line.split(",")
                if len(parts) == 5 and all(parts):
                    found.append(Beat(int(parts[0]), parts[1], parts[2], int(parts[3]), int(parts[4])))
        return sorted(found, key=lambda beat: beat.at_ms)


def assert_one_copy_at_a_time(beats: list[Beat]) -> None:
    """No copy was seen alive while another was: their spans do not overlap."""
    spans: dict[str, list[int]] = {}
    for beat in beats:
        spans.setdefault(beat.flink_job_id, []).append(beat.at_ms)
    ordered = sorted((times[0], times[-1], job) for job, times in spans.items())
    for (_, end, one), (start, _, other) in pairwise(ordered):
        assert end <= start, f"{one} still wrote {end - start} ms after {other} had begun"


def assert_exactly_once(beats: list[Beat]) -> None:
    """Each key counts on by one, over all copies: nothing lost, nothing repeated."""
    last: dict[int, int] = {}
    for beat in sorted(beats, key=lambda beat: (beat.flink_job_id, beat.at_ms)):
        assert beat.count == last.get(beat.key, 0) + 1, f"{beat} after {last.get(beat.key, 0)}"
        last[beat.key] = beat.count


def assert_state_was_kept(beats: list[Beat]) -> None:
    """No copy but the first began to count from one."""
    firsts: dict[str, Beat] = {}
    for beat in beats:
        firsts.setdefault(beat.flink_job_id, beat)
    later = sorted(firsts.values(), key=lambda beat: beat.flink_job_id)[1:]
    assert all(beat.count > 1 for beat in later), later


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def deployed(factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Deploy a stack and start a Flink beside it; both are taken down at the end."""
    environ = {
        **os.environ,
        "LOCAL_DIR": str(factory.mktemp("stack")),
        "AWS_PORT": str(free_port()),
        "FLINK_REST_PORT": str(free_port()),
        "FLINK_SLOTS": "24",
        "FLINK_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT_S),
    }
    stack = LocalStack(LocalSettings.from_env(environ), environ, Progress())
    try:
        stack.up()
        yield Team(stack, stack.start_flink(), factory.mktemp("beats"))
    finally:
        stack.down()


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Deploy the stack once, and take it down at the end."""
    with deployed(tmp_path_factory) as team:
        yield team


@pytest.fixture
def lone_team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Deploy a stack for one test alone: one that harms what all others stand on."""
    with deployed(tmp_path_factory) as team:
        yield team
