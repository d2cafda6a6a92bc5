"""What happens in between: an answer is lost, or somebody else writes in the last moment.

botocore repeats a call whose answer was lost, and then meets our own write.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords
from flink_controller.adapters.dynamodb_specs import EditableDynamoSpecStore
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.domain.errors import StaleWriteError
from flink_controller.domain.status import StagedJar
from flink_controller.ports import Commit
from tests.contract.samples import DIGEST, event, held, recorded, status, version
from tests.contract.worlds import KNOWN_FIELDS, AwsWorld, after

JAR = StagedJar(cluster="default", sha256=DIGEST, jar_id="1_a.jar", incarnation="life-1")


def losing(world: AwsWorld, operation: str, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """Make a client that loses the first answer of an operation, and lets something happen before it asks again."""
    client = world.client("dynamodb")
    lost: list[str] = []

    def lose(**_: object) -> float | None:
        if lost:
            return None
        lost.append(operation)
        meanwhile()
        return 0

    client.meta.events.register_first(f"needs-retry.dynamodb.{operation}", lose)
    return client


def interrupted(world: AwsWorld, operation: str, meanwhile: Callable[[], object]) -> Any:
    """Make a client that lets something happen just before its first call of an operation is sent."""
    client = world.client("dynamodb")
    seen: list[str] = []

    def interrupt(**_: object) -> None:
        if not seen:
            seen.append(operation)
            meanwhile()

    client.meta.events.register_first(f"provide-client-params.dynamodb.{operation}", interrupt)
    return client


@pytest.mark.parametrize(
    ("operation", "commit"),
    [
        ("UpdateItem", Commit(status())),
        ("TransactWriteItems", Commit(status(), events=(event(1),), jar=JAR)),
    ],
)
def test_a_commit_whose_answer_was_lost_succeeds_once(aws_world: AwsWorld, operation: str, commit: Commit) -> None:
    lease = held(aws_world.statuses)
    statuses = DynamoStatusStore(losing(aws_world, operation), aws_world.state_table)

    result = statuses.commit(lease, commit, release=False)

    assert result.version == 1
    again = held(aws_world.statuses, at=1)
    assert (again.status, again.version) == (status(), 1)


def test_a_commit_that_released_its_lease_and_lost_its_answer_succeeds(aws_world: AwsWorld) -> None:
    lease = held(aws_world.statuses)
    statuses = DynamoStatusStore(losing(aws_world, "UpdateItem"), aws_world.state_table)

    assert statuses.commit(lease, Commit(status()), release=True).version == 1
    assert held(aws_world.statuses, owner="other").fence == 2


def test_a_commit_is_stale_when_its_answer_was_lost_and_somebody_took_the_lease(aws_world: AwsWorld) -> None:
    lease = held(aws_world.statuses)
    client = losing(aws_world, "UpdateItem", lambda: held(aws_world.statuses, owner="other", at=60))

    with pytest.raises(StaleWriteError):
        DynamoStatusStore(client, aws_world.state_table).commit(lease, Commit(status()), release=False)

    assert aws_world.statuses.read("job") == status()


def test_a_commit_is_stale_when_its_answer_was_lost_and_somebody_went_on(aws_world: AwsWorld) -> None:
    lease = held(aws_world.statuses)

    def go_on() -> None:
        aws_world.statuses.commit(
            held(aws_world.statuses, owner="other", at=60), Commit(status(cluster="new")), release=False
        )

    client = losing(aws_world, "UpdateItem", go_on)

    with pytest.raises(StaleWriteError):
        DynamoStatusStore(client, aws_world.state_table).commit(lease, Commit(status()), release=False)

    assert aws_world.statuses.read("job") == status(cluster="new")


def test_a_lease_whose_answer_was_lost_is_held_by_its_owner(aws_world: AwsWorld) -> None:
    statuses = DynamoStatusStore(losing(aws_world, "UpdateItem"), aws_world.state_table)

    lease = held(statuses)

    assert statuses.commit(lease, Commit(status()), release=False).version == 1


def test_a_jar_whose_deletion_lost_its_answer_is_still_given_back(aws_world: AwsWorld) -> None:
    recorded(aws_world.statuses, Commit(status("a"), jar=JAR))
    statuses = DynamoStatusStore(losing(aws_world, "DeleteItem"), aws_world.state_table)

    assert statuses.release_jar("default", DIGEST, "a") == JAR


@pytest.mark.parametrize("claimed", [JAR, JAR.model_copy(update={"jar_id": "2_a.jar"})], ids=["same", "newer"])
def test_a_jar_that_is_claimed_while_it_is_released_stays(aws_world: AwsWorld, claimed: StagedJar) -> None:
    recorded(aws_world.statuses, Commit(status("a"), jar=JAR))
    claim = Commit(status("b"), jar=claimed)
    client = interrupted(aws_world, "DeleteItem", lambda: recorded(aws_world.statuses, claim))

    assert DynamoStatusStore(client, aws_world.state_table).release_jar("default", DIGEST, "a") is None
    assert aws_world.statuses.staged_jar("default", DIGEST) == claimed


def test_a_jar_that_another_job_took_over_and_let_go_meanwhile_is_not_deleted_as_the_old_one(aws_world: AwsWorld) -> None:
    recorded(aws_world.statuses, Commit(status("a"), jar=JAR))
    newer = JAR.model_copy(update={"jar_id": "2_a.jar"})

    def claim_and_leave() -> None:
        recorded(aws_world.statuses, Commit(status("b"), jar=newer))
        aws_world.dynamodb.update_item(
            TableName=aws_world.state_table,
            Key={"pk": {"S": "JAR#default"}, "sk": {"S": DIGEST}},
            UpdateExpression="REMOVE #users",
            ExpressionAttributeNames={"#users": "users"},
        )

    client = interrupted(aws_world, "DeleteItem", claim_and_leave)

    assert DynamoStatusStore(client, aws_world.state_table).release_jar("default", DIGEST, "a") is None
    assert aws_world.statuses.staged_jar("default", DIGEST) == newer


@pytest.mark.parametrize("before", [[], ["v1"]], ids=["first", "later"])
def test_a_verdict_is_stale_when_another_was_recorded_meanwhile(aws_world: AwsWorld, before: list[str]) -> None:
    window = timedelta(seconds=5)
    for name in before:
        aws_world.records.record(version(name), burst_window=window)
    other = version("v9", uploaded_at=after(9))
    client = interrupted(aws_world, "TransactWriteItems", lambda: aws_world.records.record(other, burst_window=window))

    with pytest.raises(StaleWriteError):
        DynamoArtifactRecords(client, aws_world.state_table).record(version("v2", uploaded_at=after(2)), burst_window=window)

    head = aws_world.records.head("artifacts", "artifacts/a.jar")
    assert head is not None
    assert head.admitted == other


@pytest.mark.parametrize("item", [{"labels": {"a": "b"}}, None], ids=["write", "delete"])
@pytest.mark.parametrize(
    "change", [{"job_type": "batch"}, {"job_type": "stream", "labels": {}}, {}], ids=["changed", "added", "removed"]
)
def test_a_spec_that_changes_in_the_last_moment_is_not_overwritten(
    aws_world: AwsWorld, item: dict[str, object] | None, change: dict[str, object]
) -> None:
    aws_world.put_spec("job", {"job_type": "stream"})
    operation = "DeleteItem" if item is None else "PutItem"
    client = interrupted(aws_world, operation, lambda: aws_world.put_spec("job", change))
    specs = EditableDynamoSpecStore(client, aws_world.spec_table, known_fields=KNOWN_FIELDS)

    with pytest.raises(StaleWriteError):
        specs.replace("job", item, expected=specs.read("job"))

    assert aws_world.specs.read("job") == {**change, "job_id": "job"}


@pytest.mark.parametrize(("item", "operation"), [({"labels": {"a": "b"}}, "PutItem"), (None, "DeleteItem")])
def test_a_spec_whose_write_lost_its_answer_is_written(
    aws_world: AwsWorld, item: dict[str, object] | None, operation: str
) -> None:
    aws_world.put_spec("job", {"job_type": "stream"})
    specs = EditableDynamoSpecStore(losing(aws_world, operation), aws_world.spec_table, known_fields=KNOWN_FIELDS)

    specs.replace("job", item, expected=specs.read("job"))

    assert specs.read("job") == (None if item is None else {**item, "job_id": "job"})


def test_a_verdict_whose_answer_was_lost_is_recorded_when_it_is_tried_again(aws_world: AwsWorld) -> None:
    records = DynamoArtifactRecords(losing(aws_world, "TransactWriteItems"), aws_world.state_table)
    window = timedelta(seconds=5)

    try:
        records.record(version("v1"), burst_window=window)
    except StaleWriteError:
        records.record(version("v1", decided_at=after(1)), burst_window=window)

    head = records.head("artifacts", "artifacts/a.jar")
    assert head is not None
    assert head.admitted == version("v1")
