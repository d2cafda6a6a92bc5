"""The ground for replays: the emulator with the two tables and a bucket, and a real Flink. No function is deployed."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from flink_controller.adapters.aws_clients import AWSClients
from flink_controller.adapters.dynamodb_registry import EditableDynamoRegistry
from flink_controller.adapters.signatures import parse_public_key
from flink_controller.domain.artifact import TrustedKey
from flink_controller.domain.cluster import Cluster
from flink_controller.settings import Settings
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.stack import LocalStack
from tests.chaos.replay import ARTIFACTS, Ground
from tests.contract.tables import create_spec_table, create_state_table
from tests.jobs.build import build

HEARTBEAT_TIMEOUT_S: Final = 5


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def ground() -> Iterator[Ground]:
    """Start everything, register the cluster and the key, and take it down at the end."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        directory = Path(name)
        environ = {
            **os.environ,
            "LOCAL_DIR": str(directory / "stack"),
            "AWS_PORT": str(_free_port()),
            "FLINK_REST_PORT": str(_free_port()),
            "FLINK_SLOTS": "16",
            "FLINK_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT_S),
        }
        stack = LocalStack(LocalSettings.from_env(environ), environ, Progress())
        try:
            stack.start_aws()
            flink = stack.start_flink()
            yield _prepare(stack, flink.rest_url, directory)
        finally:
            stack.down()


def _prepare(stack: LocalStack, flink_url: str, directory: Path) -> Ground:
    environ = stack.aws.environ()
    os.environ.update(environ)
    s3: Any = stack.aws.client("s3")
    s3.create_bucket(Bucket="chaos-artifacts")
    s3.put_bucket_versioning(Bucket="chaos-artifacts", VersioningConfiguration={"Status": "Enabled"})
    dynamodb: Any = stack.aws.client("dynamodb")
    create_spec_table(dynamodb, "chaos-specs")
    create_state_table(dynamodb, "chaos-state")
    queue: str = stack.aws.client("sqs").create_queue(QueueName="chaos-follow-ups")["QueueUrl"]
    settings = Settings(
        job_spec_table_name="chaos-specs",
        controller_state_table_name="chaos-state",
        artifact_bucket_name="chaos-artifacts",
        follow_up_queue_url=queue,
        controller_id="chaos",
        environment="local",
        state_buckets="flinkctl-state-local",
    )
    aws, key = AWSClients(), stack.demo_key
    registry = EditableDynamoRegistry(lambda: aws.dynamodb, settings.controller_state_table_name)
    roots = stack.roots()
    registry.put_cluster(
        Cluster(
            name="default",
            url=flink_url,
            savepoint_root=roots.savepoints,
            checkpoint_root=roots.checkpoints,
            heartbeat_timeout_s=HEARTBEAT_TIMEOUT_S,
        )
    )
    public_pem = key.public.read_text()
    registry.put_key(
        TrustedKey(key_id="demo", algorithm=parse_public_key(public_pem), public_key=public_pem, namespaces=("default",))
    )
    version = stack.settings.flink_version
    return Ground(
        settings=settings,
        environ=environ,
        flink_url=flink_url,
        beats=directory / "beats",
        jars={label: build("CounterJob", version, label=label) for label in ARTIFACTS},
        private_key=key.private,
    )
