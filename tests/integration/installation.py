"""One installation on moto: tables, bucket and queue, the environment that points at them, and what teams do to it."""

import base64
import hashlib
import importlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.dynamodb.types import TypeSerializer

from flink_controller import settings
from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords
from flink_controller.adapters.dynamodb_registry import EditableDynamoRegistry
from flink_controller.adapters.dynamodb_specs import DynamoSpecStore
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.signing import sign
from flink_controller.domain.artifact import ArtifactHead, signed_text
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.status import JobStatus
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.simulator import DEMO_KEY
from tests.contract.tables import create_spec_table, create_state_table
from tests.integration.rights import Rights

EVENTS: Final = Path(__file__).resolve().parents[2] / "events"
REGION: Final = "eu-west-1"
BUCKET: Final = "flink-job-controller-dev-artifacts"
"""The bucket that the sample events name."""
STATE_BUCKET: Final = "example-flink-state"
SPEC_TABLE: Final = "flink-job-controller-dev-job-specs"
STATE_TABLE: Final = "flink-job-controller-dev-state"
BUS = "flink-job-controller-dev-events"
CONTROLLER: Final = "integration"
JAR: Final = "artifacts/etl.jar"
SESSION: Final = boto3.session.Session("test", "test", region_name=REGION)
"""One for all: a session reads the definitions of each service once."""
RIGHTS: Final = Rights(
    {
        SPEC_TABLE: "Storage/JobSpecs",
        STATE_TABLE: "Storage/ControllerState",
        BUCKET: "Storage/Artifacts",
        STATE_BUCKET: "arn:<AWS::Partition>:s3:::example-flink-state",
    }
)
"""What the functions may do; `invoke` acts under it."""
HANDLERS: Final = boto3.session.Session()
"""The session of the handlers' clients, which they make from boto3's default one."""
RIGHTS.watch(HANDLERS.events)


class Context(LambdaContext):
    """What Lambda hands to a handler beside the event."""

    def __init__(
        self, remaining: timedelta = timedelta(seconds=60), function: str = "reconcile_job", alias: str = ""
    ) -> None:
        self._function_name = function
        self._function_version = "$LATEST"
        self._invoked_function_arn = f"arn:aws:lambda:{REGION}:123456789012:function:flink-job-controller-dev-{function}"
        self._invoked_function_arn += f":{alias}" if alias else ""
        self._memory_limit_in_mb = 1024
        self._aws_request_id = "8f0c5b1e-6a53-4f1e-9d25-2f2f5a0f9c11"
        self._log_group_name = f"/aws/lambda/flink-job-controller-dev-{function}"
        self._log_stream_name = "2026/03/01/[$LATEST]0"
        self._remaining = remaining

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # Powertools declares it static, which it is not
        return int(self._remaining.total_seconds() * 1000)


def sample(path: str) -> Any:
    """Read a file of `events/`."""
    return json.loads((EVENTS / path).read_text(encoding="utf-8"))


def invoke(function: str, event: Any, *, remaining: timedelta = timedelta(seconds=60), alias: str = "") -> Any:
    """Call a function's handler as Lambda does: with what survives JSON, and its answer likewise."""
    handler = importlib.import_module(f"functions.{function}.handler").lambda_handler
    with RIGHTS.of(function):
        return json.loads(json.dumps(handler(json.loads(json.dumps(event)), Context(remaining, function, alias))))


def follow_ups(*names: str) -> dict[str, Any]:
    """Give an event of messages from the follow-up queue, whose ids are the names of their jobs."""
    return {"Records": [{"messageId": name, "body": json.dumps({"job_id": name})} for name in names]}


def deliver(path: str) -> Any:
    """Call the handler that a file of `events/` belongs to with its content."""
    return invoke(path.partition("/")[0], sample(path))


def follow_up_of(job_id: str) -> Any:
    """Deliver a follow-up for a job."""
    event = sample("reconcile_job/follow_up.json")
    event["Records"][0]["body"] = json.dumps({"job_id": job_id})
    return invoke("reconcile_job", event)


def uploaded(key: str) -> Any:
    """Deliver an upload's event for a key, which needs no encoding."""
    event = sample("admit_artifact/unsigned.json")
    event["Records"][0]["s3"]["object"]["key"] = key
    return invoke("admit_artifact", event)


def spec_item(job_id: str = "etl", **changes: Any) -> dict[str, Any]:
    """Give a spec whose job is proven as soon as it runs and has a checkpoint."""
    namespace = job_id.partition("/")[0] if "/" in job_id else "artifacts"
    return {
        "job_id": job_id,
        "job_type": "stream",
        "artifact_path": f"{namespace}/etl.jar",
        "deployment": {"checkpoint_interval": 50, "rollback": {"stabilization_seconds": 0}},
        **changes,
    }


class Installation:
    """Must be made under `mock_aws`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # moto has just taken the default session away.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", HANDLERS)
        self.dynamodb = SESSION.client("dynamodb")
        self.s3 = SESSION.client("s3")
        self.sqs = SESSION.client("sqs")
        create_spec_table(self.dynamodb, SPEC_TABLE)
        create_state_table(self.dynamodb, STATE_TABLE)
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self.queue_url: str = self.sqs.create_queue(QueueName="flink-job-controller-dev-follow-ups")["QueueUrl"]
        SESSION.client("events").create_event_bus(Name=BUS)
        self.topic_arn: str = SESSION.client("sns").create_topic(Name="alerts")["TopicArn"]
        RIGHTS.know(self.queue_url, "Messaging/FollowUps")
        RIGHTS.know(BUS, "Messaging/Events")
        RIGHTS.know(self.topic_arn, "Messaging/Alerts")
        self.specs = DynamoSpecStore(self.dynamodb, SPEC_TABLE)
        self.statuses = DynamoStatusStore(self.dynamodb, STATE_TABLE)
        self.registry = EditableDynamoRegistry(self.dynamodb, STATE_TABLE)
        self.records = DynamoArtifactRecords(self.dynamodb, STATE_TABLE)
        self.registry.put_key(DEMO_KEY.key)
        for name, value in {
            **settings.environment(
                {
                    "job_spec_table_name": SPEC_TABLE,
                    "controller_state_table_name": STATE_TABLE,
                    "artifact_bucket_name": BUCKET,
                    "follow_up_queue_url": self.queue_url,
                    "alert_topic_arn": self.topic_arn,
                    "event_bus_name": BUS,
                    "controller_id": CONTROLLER,
                    "environment": "local",
                    "debounce_seconds": 0,
                    "state_buckets": STATE_BUCKET,
                }
            ),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }.items():
            monkeypatch.setenv(name, value)

    # What teams and operators do

    def put_spec(self, item: Mapping[str, Any]) -> None:
        """Write a raw item, as a team does without any tool."""
        self.dynamodb.put_item(TableName=SPEC_TABLE, Item=TypeSerializer().serialize(item)["M"])

    def delete_spec(self, job_id: str) -> None:
        """Delete an item."""
        self.dynamodb.delete_item(TableName=SPEC_TABLE, Key={"job_id": {"S": job_id}})

    def upload(self, key: str, content: bytes) -> str:
        """Put an object and give its version id."""
        version: str = self.s3.put_object(Bucket=BUCKET, Key=key, Body=content)["VersionId"]
        return version

    def upload_signed(self, label: str = "v1", key: str = JAR) -> str:
        """Put a jar and its signature; give the digest."""
        content = jar_bytes(label)
        digest = hashlib.sha256(content).hexdigest()
        self.upload(key, content)
        self.upload(f"{key}.sig", signature(digest))
        return digest

    def add_cluster(self, url: str, name: str = "default") -> None:
        """Register a cluster."""
        self.registry.put_cluster(
            Cluster(
                name=name, url=url, savepoint_root="file:///state/savepoints", checkpoint_root="file:///state/checkpoints"
            )
        )

    # What is there

    def status(self, job_id: str = "etl") -> JobStatus | None:
        """Read what is recorded of a job."""
        return self.statuses.read(job_id)

    def lifecycle(self, job_id: str = "etl") -> Lifecycle | None:
        """Derive a job's lifecycle; None when nothing is recorded."""
        status = self.status(job_id)
        return None if status is None else lifecycle(status)

    def events(self, job_id: str = "etl") -> list[str]:
        """Name the recorded events, oldest first."""
        return [event.reason for event in self.statuses.events(job_id)]

    def head(self, key: str = JAR) -> ArtifactHead | None:
        """Read what is recorded of an artifact."""
        return self.records.head(BUCKET, key)

    def woken(self) -> list[str]:
        """Take what the follow-up queue delivers by now, as job ids in alphabetical order."""
        found: list[str] = []
        while messages := self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                found.append(json.loads(message["Body"])["job_id"])
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
        return sorted(found)

    def state_items(self) -> list[str]:
        """Name every item of the state table."""
        items = self.dynamodb.scan(TableName=STATE_TABLE)["Items"]
        return sorted(f"{item['pk']['S']} {item['sk']['S']}" for item in items)

    def is_due(self, job_id: str = "etl") -> bool:
        """Tell whether the recorded next look has come."""
        status = self.status(job_id)
        return status is not None and status.next_look is not None and status.next_look <= datetime.now(UTC)


def signature(digest: str) -> bytes:
    """Sign a digest with the demo key, as a `.sig` file holds it."""
    return base64.b64encode(sign(DEMO_KEY.private_pem, signed_text(digest)))
