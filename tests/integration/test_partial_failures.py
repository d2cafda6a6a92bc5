"""When DynamoDB does not answer, exactly the records concerned come again; an upload or a tick fails whole."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from flink_controller.bootstrap import controller
from flink_controller.domain.cluster import Auth
from flink_controller.domain.errors import TransientError
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.testing.jars import jar_bytes
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import JAR, STATE_TABLE, Installation, deliver, follow_ups, invoke, sample, spec_item

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")
THROTTLED = {
    "Error": {"Code": "ThrottlingException", "Message": "told to fail"},
    "ResponseMetadata": {"HTTPStatusCode": 400},
}


@contextmanager
def failing(concerns: Callable[[str, dict[str, Any]], bool]) -> Iterator[None]:
    """Have DynamoDB refuse the calls that a condition names, by operation and parameters, as if it were throttled.

    The condition is asked where botocore hands out a call's parameters, so nothing of ours is replaced.
    """
    client = controller().ports.statuses._client  # type: ignore[attr-defined]  # the adapter's own client

    def refuse(params: dict[str, Any], model: Any, **_: object) -> None:
        if concerns(model.name, params):
            raise ClientError(THROTTLED, model.name)  # type: ignore[arg-type]  # as much of a response as is read

    client.meta.events.register_first("before-parameter-build.dynamodb", refuse)
    try:
        yield
    finally:
        client.meta.events.unregister("before-parameter-build.dynamodb", refuse)


def lease_of(job_id: str) -> Callable[[str, dict[str, Any]], bool]:
    """Name the call that takes a job's lease."""
    return lambda operation, params: (
        operation == "UpdateItem"
        and params["Key"]["pk"]["S"] == f"JOB#{job_id}"
        and "ADD fence" in params["UpdateExpression"]
    )


def test_a_failed_look_keeps_no_other_job_waiting(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec(spec_item())
    installed.put_spec(spec_item("team-a/orders"))

    with failing(lease_of("etl")):
        answer = invoke("reconcile_job", follow_ups("etl", "team-a/orders"))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "etl"}]}
    assert installed.status("etl") is None
    assert installed.lifecycle("team-a/orders") is Lifecycle.WAITING
    assert flink.twin.history == []


def test_only_the_messages_of_a_failed_look_are_reported(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec(spec_item())
    event = sample("reconcile_job/garbage.json")
    event["Records"] += sample("reconcile_job/repeated_follow_ups.json")["Records"]

    with failing(lease_of("etl")):
        answer = invoke("reconcile_job", event)

    failed = [record["messageId"] for record in event["Records"] if record["body"] == '{"job_id": "etl"}']
    assert answer == {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}
    assert flink.requests == []


def test_a_look_whose_record_fails_is_reported_and_leads_to_the_end_when_it_comes_again(
    installed: Installation, flink: FlinkServer
) -> None:
    installed.upload_signed()
    deliver("admit_artifact/signed.json")
    installed.put_spec(spec_item())

    with failing(lambda operation, _: operation == "TransactWriteItems"):
        answer = deliver("reconcile_job/insert.json")

    assert answer == {"batchItemFailures": [{"itemIdentifier": "100000000000000000001"}]}
    assert flink.twin.history == []
    assert deliver("reconcile_job/insert.json") == {"batchItemFailures": []}
    assert len(flink.twin.history) == 1


def test_an_upload_that_cannot_be_recorded_is_delivered_again(installed: Installation) -> None:
    installed.upload(JAR, jar_bytes("v1"))

    with failing(lambda *_: False):
        pass
    records = controller().ports.records._client  # type: ignore[attr-defined]  # the adapter's own client

    def refuse(model: Any, **_: object) -> None:
        raise ClientError(THROTTLED, model.name)  # type: ignore[arg-type]  # as much of a response as is read

    records.meta.events.register_first("before-parameter-build.dynamodb", refuse)
    with pytest.raises(TransientError, match="told to fail"):
        deliver("admit_artifact/unsigned.json")


@pytest.mark.parametrize("function", ["reconcile_fleet", "launch_batches", "expire_jobs"])
def test_a_tick_that_cannot_read_fails_so_that_the_error_alarm_sees_it(installed: Installation, function: str) -> None:
    with failing(lambda operation, _: operation == "Query"), pytest.raises(TransientError, match="told to fail"):
        deliver(f"{function}/tick.json")

    assert installed.woken() == []


def test_a_controller_without_its_tables_says_that_it_is_not_ready(installed: Installation) -> None:
    with failing(lambda operation, _: operation == "GetItem"):
        answer = deliver("health/ready.json")

    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["status"] == "unavailable"
    assert installed.woken() == []


def test_a_status_that_cannot_be_read_fails_its_own_message_only(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec(spec_item())
    installed.put_spec(spec_item("team-a/orders"))
    item = {"pk": {"S": "JOB#etl"}, "sk": {"S": "STATUS"}, "document": {"S": '{"schema_version": 99}'}}
    installed.dynamodb.put_item(TableName=STATE_TABLE, Item=item)

    answer = invoke("reconcile_job", follow_ups("etl", "team-a/orders"))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "etl"}]}
    assert installed.lifecycle("team-a/orders") is Lifecycle.WAITING
    assert flink.twin.history == []


@pytest.mark.parametrize("changes", [{"auth": Auth.BEARER}, {"ca": "no certificate"}])
def test_a_cluster_that_cannot_be_spoken_to_is_a_reason_and_no_error(
    installed: Installation, flink: FlinkServer, changes: dict[str, Any]
) -> None:
    known = installed.registry.cluster("default")
    assert known is not None
    installed.registry.put_cluster(known.model_copy(update=changes | {"url": "https://127.0.0.1:9"}))
    installed.put_spec(spec_item())

    assert deliver("reconcile_job/insert.json") == {"batchItemFailures": []}
    assert installed.lifecycle() is Lifecycle.WAITING
    assert flink.requests == []
