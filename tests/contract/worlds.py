"""One world per side of a contract: the in-memory twins, and the adapters on something that speaks AWS.

A world gives the ports, and beside them what teams and operators do past the ports: raw writes and uploads.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

from boto3.dynamodb.types import TypeSerializer

from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords
from flink_controller.adapters.dynamodb_circuits import DynamoCircuits
from flink_controller.adapters.dynamodb_registry import EditableDynamoRegistry
from flink_controller.adapters.dynamodb_specs import EditableDynamoSpecStore
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.s3_artifacts import S3ArtifactObjects
from flink_controller.adapters.sqs_follow_ups import SqsFollowUps
from flink_controller.ports import (
    ArtifactObjects,
    ArtifactRecords,
    Circuits,
    EditableRegistry,
    EditableSpecStore,
    FollowUps,
    StatusStore,
)
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects, MemoryArtifactRecords
from flink_controller.testing.memory_circuits import MemoryCircuits
from flink_controller.testing.memory_follow_ups import MemoryFollowUps
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_specs import MemorySpecs
from flink_controller.testing.memory_statuses import MemoryStatuses
from tests.contract.tables import create_spec_table, create_state_table

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KNOWN_FIELDS = ("job_id", "job_type", "artifact_path", "deployment", "labels")


class World(Protocol):
    """The ports of one side, and what happens past them."""

    @property
    def specs(self) -> EditableSpecStore: ...
    @property
    def statuses(self) -> StatusStore: ...
    @property
    def registry(self) -> EditableRegistry: ...
    @property
    def circuits(self) -> Circuits: ...
    @property
    def records(self) -> ArtifactRecords: ...
    @property
    def objects(self) -> ArtifactObjects: ...
    @property
    def follow_ups(self) -> FollowUps: ...
    @property
    def bucket(self) -> str: ...

    def put_spec(self, job_id: str, item: Mapping[str, Any]) -> None:
        """Put an item as a team does."""

    def upload(self, key: str, content: bytes) -> str:
        """Put an object and give its version id."""

    def delete_object(self, key: str) -> str | None:
        """Delete an object; give the version id of the marker, where it has one."""

    def spoil_cluster(self, name: str) -> None:
        """Make a cluster's item malformed."""

    def received(self) -> list[str]:
        """Take what the queue delivers at once, as job ids in alphabetical order."""


@dataclass
class TwinWorld:
    """The in-memory side."""

    bucket: str = "artifacts"

    def __post_init__(self) -> None:
        self.specs = MemorySpecs()
        self.statuses = MemoryStatuses()
        self.registry = MemoryRegistry()
        self.circuits = MemoryCircuits(self.registry)
        self.records = MemoryArtifactRecords()
        self.objects = MemoryArtifactObjects(lambda: NOW)
        self.follow_ups = MemoryFollowUps(lambda: NOW)

    def put_spec(self, job_id: str, item: Mapping[str, Any]) -> None:
        self.specs.put(job_id, item)

    def upload(self, key: str, content: bytes) -> str:
        return self.objects.upload(self.bucket, key, content).version_id

    def delete_object(self, key: str) -> str | None:
        self.objects.delete(self.bucket, key)
        return None

    def spoil_cluster(self, name: str) -> None:
        self.registry.spoil(f"CLUSTER#{name}")

    def received(self) -> list[str]:
        return sorted(found.job_id for found in self.follow_ups.take_due(NOW))


class AwsWorld:
    """The adapters' side, in tables, a bucket and a queue of its own.

    Args:
        make_client: gives a boto3 client of a service.
        watch: sees every client that an adapter uses.
    """

    def __init__(self, make_client: Callable[[str], Any], watch: Callable[[Any], None] = lambda _: None) -> None:
        self._make_client = make_client
        self._watch = watch
        self._suffix = uuid.uuid4().hex[:12]
        self.bucket = f"artifacts-{self._suffix}"
        self.spec_table = f"specs-{self._suffix}"
        self.state_table = f"state-{self._suffix}"
        self.dynamodb = make_client("dynamodb")
        create_spec_table(self.dynamodb, self.spec_table)
        create_state_table(self.dynamodb, self.state_table)

    @cached_property
    def s3(self) -> Any:
        return self._make_client("s3")

    @cached_property
    def sqs(self) -> Any:
        return self._make_client("sqs")

    @cached_property
    def queue_url(self) -> str:
        url: str = self.sqs.create_queue(QueueName=f"follow-ups-{self._suffix}")["QueueUrl"]
        return url

    def client(self, service: str) -> Any:
        """Make a client for an adapter."""
        client = self._make_client(service)
        self._watch(client)
        return client

    @cached_property
    def specs(self) -> EditableDynamoSpecStore:
        return EditableDynamoSpecStore(lambda: self.client("dynamodb"), self.spec_table, known_fields=KNOWN_FIELDS)

    @cached_property
    def statuses(self) -> DynamoStatusStore:
        return DynamoStatusStore(lambda: self.client("dynamodb"), self.state_table)

    @cached_property
    def registry(self) -> EditableDynamoRegistry:
        return EditableDynamoRegistry(lambda: self.client("dynamodb"), self.state_table)

    @cached_property
    def circuits(self) -> DynamoCircuits:
        return DynamoCircuits(lambda: self.client("dynamodb"), self.state_table)

    @cached_property
    def records(self) -> DynamoArtifactRecords:
        return DynamoArtifactRecords(lambda: self.client("dynamodb"), self.state_table)

    @cached_property
    def objects(self) -> S3ArtifactObjects:
        self.s3.create_bucket(Bucket=self.bucket)
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"})
        return S3ArtifactObjects(lambda: self.client("s3"))

    @cached_property
    def follow_ups(self) -> SqsFollowUps:
        return SqsFollowUps(lambda: self.client("sqs"), self.queue_url)

    def put_spec(self, job_id: str, item: Mapping[str, Any]) -> None:
        self.dynamodb.put_item(TableName=self.spec_table, Item=TypeSerializer().serialize({**item, "job_id": job_id})["M"])

    def upload(self, key: str, content: bytes) -> str:
        _ = self.objects
        version_id: str = self.s3.put_object(Bucket=self.bucket, Key=key, Body=content)["VersionId"]
        return version_id

    def delete_object(self, key: str) -> str | None:
        marker: str = self.s3.delete_object(Bucket=self.bucket, Key=key)["VersionId"]
        return marker

    def spoil_cluster(self, name: str) -> None:
        self.dynamodb.update_item(
            TableName=self.state_table,
            Key={"pk": {"S": f"CLUSTER#{name}"}, "sk": {"S": "ITEM"}},
            UpdateExpression="SET colour = :colour, heartbeat_timeout_s = :timeout",
            ExpressionAttributeValues={":colour": {"S": "red"}, ":timeout": {"N": "-1"}},
        )

    def received(self) -> list[str]:
        found: list[str] = []
        while True:
            messages = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", [])
            if not messages:
                return sorted(found)
            found += [json.loads(message["Body"])["job_id"] for message in messages]
            for message in messages:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])

    def raw_items(self) -> list[dict[str, Any]]:
        """Read every item of the state table as DynamoDB spells it."""
        items: list[dict[str, Any]] = self.dynamodb.scan(TableName=self.state_table)["Items"]
        return items


def after(seconds: float) -> datetime:
    """Give a moment after `NOW`."""
    return NOW + timedelta(seconds=seconds)
