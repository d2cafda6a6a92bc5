"""Where the fleet is measured: the emulator with the tables, a bucket and a queue, and an admitted artifact.

The real handlers run in this process or in children of it, on the real adapters; no function is deployed, so that what is
counted is theirs alone.
"""

import base64
import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from boto3.dynamodb.types import TypeSerializer

from flink_controller import settings
from flink_controller.adapters.dynamodb_registry import EditableDynamoRegistry
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.signing import sign
from flink_controller.domain.artifact import signed_text
from flink_controller.domain.cluster import Cluster
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.simulator import DEMO_KEY
from infra.local.aws import LocalAws, LocalAwsConfig
from infra.local.progress import SILENT
from infra.local.settings import CHECKOUT, LocalSettings
from infra.local.toolchain import Toolchain
from tests.contract.tables import create_spec_table, create_state_table
from tests.e2e.conftest import free_port

RESULTS: Final = CHECKOUT / "docs" / "performance"
SPECS, STATE, BUCKET, CONTROLLER = "bench-specs", "bench-state", "bench-artifacts", "bench"
JAR: Final = "artifacts/bench.jar"
CHECKPOINT_INTERVAL_MS: Final = 60_000
LOGGED: Final = "ERROR"
"""What the handlers log; a line for each look would be most of what a bench prints."""


@dataclass(frozen=True)
class Ground:
    """One emulator, prepared."""

    aws: LocalAws

    @cached_property
    def dynamodb(self) -> Any:
        """A client that nobody counts."""
        return self.aws.client("dynamodb")

    @cached_property
    def sqs(self) -> Any:
        """Likewise."""
        return self.aws.client("sqs")

    @cached_property
    def s3(self) -> Any:
        """Likewise."""
        return self.aws.client("s3")

    @cached_property
    def queue_url(self) -> str:
        """The follow-up queue."""
        url: str = self.sqs.create_queue(QueueName="bench-follow-ups")["QueueUrl"]
        return url

    @cached_property
    def registry(self) -> EditableDynamoRegistry:
        """What operators write."""
        return EditableDynamoRegistry(self.dynamodb, STATE)

    @cached_property
    def statuses(self) -> DynamoStatusStore:
        """What the controller recorded."""
        return DynamoStatusStore(self.dynamodb, STATE)

    def environ(self) -> dict[str, str]:
        """Return what the functions find in their environment."""
        values: dict[str, str | int | bool] = {
            "job_spec_table_name": SPECS,
            "controller_state_table_name": STATE,
            "artifact_bucket_name": BUCKET,
            "follow_up_queue_url": self.queue_url,
            "controller_id": CONTROLLER,
            "environment": "local",
            "debounce_seconds": 0,
            "log_level": LOGGED,
        }
        return {**settings.environment(values), **self.aws.environ(), "POWERTOOLS_METRICS_DISABLED": "true"}

    def prepare(self) -> None:
        """Make tables, bucket, queue and key."""
        create_spec_table(self.dynamodb, SPECS)
        create_state_table(self.dynamodb, STATE)
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.registry.put_key(DEMO_KEY.key)

    def add_cluster(self, name: str, url: str, root: str = "file:///state") -> None:
        """Register a cluster."""
        self.registry.put_cluster(
            Cluster(name=name, url=url, savepoint_root=f"{root}/savepoints", checkpoint_root=f"{root}/checkpoints")
        )

    def upload(self, content: bytes | None = None, key: str = JAR) -> list[dict[str, Any]]:
        """Put a signed jar; give the events that admission gets."""
        content = jar_bytes() if content is None else content
        text = signed_text(hashlib.sha256(content).hexdigest())
        signature = base64.b64encode(sign(DEMO_KEY.private_pem, text))
        events = []
        for name, body in ((key, content), (f"{key}.sig", signature)):
            version = self.s3.put_object(Bucket=BUCKET, Key=name, Body=body)["VersionId"]
            record = {"s3": {"bucket": {"name": BUCKET}, "object": {"key": name, "versionId": version}}}
            events.append({"Records": [record]})
        return events

    def put_spec(self, item: Mapping[str, Any]) -> None:
        """Write a spec item, as a team does."""
        self.dynamodb.put_item(TableName=SPECS, Item=TypeSerializer().serialize(dict(item))["M"])

    def put_all(self, table: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Write many raw items."""
        for first in range(0, len(items), 25):
            puts = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
            self.dynamodb.batch_write_item(RequestItems={table: puts})

    def drain(self) -> int:
        """Empty the queue; give how many messages it held."""
        count = 0
        while messages := self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", []):
            count += len(messages)
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return count


@contextmanager
def ground() -> Iterator[Ground]:
    """Start an emulator and prepare it; end it at the end."""
    python = Toolchain(LocalSettings.from_env(os.environ).cache_directory, os.environ, SILENT).ministack()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        aws = LocalAws(LocalAwsConfig(python=python, directory=Path(name), port=free_port()))
        aws.start()
        try:
            made = Ground(aws)
            made.prepare()
            yield made
        finally:
            aws.stop()


def spec_item(job_id: str, **changes: Any) -> dict[str, Any]:
    """Give the spec of one of many like jobs."""
    return {
        "job_id": job_id,
        "job_type": "stream",
        "artifact_path": JAR,
        "deployment": {"checkpoint_interval": CHECKPOINT_INTERVAL_MS, "rollback": {"stabilization_seconds": 0}},
        # The twins' front tells a shorter interval than theirs.
        "monitoring": {"checkpoint_window_seconds": 3600},
        **changes,
    }


def keep(name: str, measured: Mapping[str, Any]) -> None:
    """Write measurements to docs/performance/, with what they were taken on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    ).stdout.strip()
    taken_on = {
        "commit": commit,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 1),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"taken_on": taken_on, **measured}, indent=1) + "\n")
