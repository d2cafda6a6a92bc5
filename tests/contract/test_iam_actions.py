"""Each adapter calls what its IAM constants say, and nothing else.

The roles of the functions are made of these constants, so a call that is missing from them fails on AWS only, where no
emulator would have refused it; and one too many is a right that nobody needs.
"""

import contextlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from flink_controller.adapters import (
    dynamodb_artifacts,
    dynamodb_circuits,
    dynamodb_registry,
    dynamodb_specs,
    dynamodb_statuses,
    event_bus,
    s3_artifacts,
    s3_state,
    s3_uploads,
    sns_alerts,
    sqs_follow_ups,
)
from flink_controller.adapters.aws_clients import AWSClients
from flink_controller.domain.announcements import Letter
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import NotFoundError
from flink_controller.domain.status import DueKind, Pause, StagedJar
from flink_controller.domain.trust import Denial, NamespacePolicy, RegistryEvent
from flink_controller.ports import Commit
from infra import announcements
from tests.contract.samples import CLUSTER, DIGEST, event, held, recorded, revision, status, version
from tests.contract.worlds import AwsWorld, after

ACTION_OF_CALL = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "s3:DeleteObjects": "s3:DeleteObjectVersion",
    "sqs:SendMessageBatch": "sqs:SendMessage",
}
"""Calls whose permission has another name."""


class Recorder:
    """Notes the IAM actions that clients need."""

    def __init__(self) -> None:
        self.actions: set[str] = set()

    def watch(self, client: Any) -> None:
        service = client.meta.service_model.service_name
        client.meta.events.register(f"provide-client-params.{service}.*", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: object) -> None:
        service, operation = model.service_model.service_name, model.name
        if operation == "TransactWriteItems":
            # IAM knows no right to a transaction, only to what it does.
            parts = [kind for item in params["TransactItems"] for kind in item]
            self.actions |= {f"dynamodb:{part}" if part == "ConditionCheck" else f"dynamodb:{part}Item" for part in parts}
        elif operation == "GetObject" and "VersionId" in params:
            self.actions.add("s3:GetObjectVersion")
        else:
            call = f"{service}:{operation}"
            self.actions.add(ACTION_OF_CALL.get(call, call))


def specs_read(world: AwsWorld) -> None:
    world.specs.read("job")


def specs_scan(world: AwsWorld) -> None:
    list(world.specs.segment(0, 1))


def specs_find(world: AwsWorld) -> None:
    world.specs.present(["job"])


def specs_edit(world: AwsWorld) -> None:
    world.specs.replace("job", {"labels": {}}, expected=None)
    world.specs.replace("job", None, expected=world.specs.read("job"))


def statuses_read(world: AwsWorld) -> None:
    world.statuses.read("job")
    world.statuses.revision("job", 1)
    world.statuses.revisions("job")
    world.statuses.events("job")
    list(world.statuses.summaries())
    list(world.statuses.jobs_naming("artifacts", "a"))
    list(world.statuses.due(DueKind.LAUNCH, after(0)))
    world.statuses.staged_jar("default", DIGEST)


def statuses_write(world: AwsWorld) -> None:
    jar = StagedJar(cluster="default", sha256=DIGEST, jar_id="1", incarnation="1")
    recorded(world.statuses, Commit(status()))
    recorded(world.statuses, Commit(status(), revisions=(revision(1),), events=(event(1),), jar=jar))
    world.statuses.release(held(world.statuses))
    world.statuses.release_jar("default", DIGEST, "job")


def registry_read(world: AwsWorld) -> None:
    world.registry.cluster("default")
    world.registry.clusters()
    world.registry.key("team")
    world.registry.keys()
    world.registry.pauses()
    world.registry.policy("default")
    world.registry.policies()
    world.registry.denials()
    world.registry.changes("KEY#team")


def registry_trust(world: AwsWorld) -> None:
    world.registry.trust(["team"], DIGEST)


def registry_pause(world: AwsWorld) -> None:
    world.registry.pause_of(["all", "job/etl"])


def circuits_read(world: AwsWorld) -> None:
    world.circuits.read("default", ["all"])


def circuits_write(world: AwsWorld) -> None:
    world.circuits.replace("default", Circuit(version=1), expected=Circuit())


def registry_write(world: AwsWorld) -> None:
    world.registry.put_cluster(CLUSTER)
    key = TrustedKey(key_id="team", algorithm=KeyAlgorithm.ED25519, public_key="pem")
    told = RegistryEvent(time=after(0), action="Added", subject="KEY#team", message="")
    world.registry.put_key(key)
    world.registry.replace_key(key, expected=key, event=told)
    world.registry.put_policy(NamespacePolicy(namespace="default"), told)
    world.registry.put_denial(Denial(sha256=DIGEST), told)
    world.registry.delete_denial(DIGEST, told)
    world.registry.put_pause(Pause(scope="all"))
    world.registry.delete_pause("all")
    world.registry.delete_cluster("default")


def artifacts_read(world: AwsWorld) -> None:
    world.records.head("artifacts", "a")
    world.records.versions("artifacts", "a")
    world.records.admitted_with_digest("artifacts", "a", DIGEST)


def artifacts_find(world: AwsWorld) -> None:
    world.records.heads([("artifacts", "a")])


def artifacts_write(world: AwsWorld) -> None:
    for name in ("v1", "v2"):
        world.records.record(version(name), burst_window=timedelta(seconds=5))


def artifacts_prune(world: AwsWorld) -> None:
    world.records.prune(version("v1"))


def objects_prune(world: AwsWorld) -> None:
    world.upload("a", b"x")
    world.upload("a", b"y")
    uploads = s3_uploads.S3Uploads(world.client("s3"))
    uploads.delete(list(uploads.superseded(world.bucket, "a")))


def objects_read(world: AwsWorld) -> None:
    version_id = world.upload("a", b"x")
    world.objects.latest(world.bucket, "a")
    world.objects.read(world.bucket, "a", limit_bytes=10)
    world.objects.open(world.bucket, "a", version_id).close()
    with contextlib.suppress(NotFoundError):
        world.objects.open(world.bucket, "b", version_id)


def state_read(world: AwsWorld) -> None:
    _ = world.objects
    s3_state.S3StateStorage(lambda: world.client("s3"), buckets=[world.bucket]).search(
        "0" * 32, checkpoint_root=f"s3://{world.bucket}/x", savepoint_directories=[f"s3://{world.bucket}/y"]
    )


def follow_ups_send(world: AwsWorld) -> None:
    world.follow_ups.send("job", timedelta(0))
    world.follow_ups.send_now(["a", "b"])


def events_put(world: AwsWorld) -> None:
    event_bus.EventBridgeBus(world.client("events"), "default").put([announcements.examples()["transition"]])


def alerts_tell(world: AwsWorld) -> None:
    sns = world.client("sns")
    topic = boto3.client("sns", "us-east-1").create_topic(Name="alerts")["TopicArn"]
    sns_alerts.SnsAlerts(sns, topic).tell(Letter(subject="s", text="t", attributes={"alert": "stuck"}))


READS_BEFORE_WRITES = frozenset({"dynamodb:GetItem"})
"""Recording a verdict looks at the head first; whoever writes records may read them."""
IMPLIED = frozenset({"s3:ListBucket"})
"""Never called by `s3_artifacts`: it turns S3's 403 for a missing object into a 404."""


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (specs_read, dynamodb_specs.READ_ACTIONS),
        (specs_scan, dynamodb_specs.SCAN_ACTIONS),
        (specs_find, dynamodb_specs.FIND_ACTIONS),
        (specs_edit, dynamodb_specs.EDIT_ACTIONS),
        (statuses_read, dynamodb_statuses.READ_ACTIONS),
        (statuses_write, dynamodb_statuses.WRITE_ACTIONS),
        (registry_read, dynamodb_registry.READ_ACTIONS),
        (registry_pause, dynamodb_registry.PAUSE_ACTIONS),
        (registry_trust, dynamodb_registry.TRUST_ACTIONS),
        (circuits_read, dynamodb_circuits.READ_ACTIONS),
        (circuits_write, dynamodb_circuits.WRITE_ACTIONS),
        (registry_write, dynamodb_registry.WRITE_ACTIONS),
        (artifacts_read, dynamodb_artifacts.READ_ACTIONS),
        (artifacts_find, dynamodb_artifacts.FIND_ACTIONS),
        (artifacts_write, dynamodb_artifacts.WRITE_ACTIONS | READS_BEFORE_WRITES),
        (artifacts_prune, dynamodb_artifacts.PRUNE_ACTIONS),
        (objects_prune, s3_uploads.PRUNE_ACTIONS),
        (objects_read, s3_artifacts.READ_ACTIONS - IMPLIED),
        (state_read, s3_state.READ_ACTIONS),
        (events_put, event_bus.PUT_ACTIONS),
        (alerts_tell, sns_alerts.PUBLISH_ACTIONS),
        (follow_ups_send, sqs_follow_ups.SEND_ACTIONS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_adapter_calls_what_it_declares(use: Callable[[AwsWorld], None], expected: Iterable[str]) -> None:
    recorder = Recorder()
    with mock_aws():
        use(AwsWorld(_session_client, recorder.watch))

    assert recorder.actions == set(expected)


def test_clients_are_made_on_first_use_with_bounded_times(monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise botocore would ask the network for credentials.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    clients = AWSClients()
    config: Any = clients.dynamodb.meta.config

    assert clients.dynamodb is clients.dynamodb
    assert set(vars(clients)) == {"dynamodb"}
    assert (config.connect_timeout, config.read_timeout) == (2, 10)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


def _session_client(service: str) -> Any:
    return boto3.session.Session("test", "test", region_name="us-east-1").client(service)
