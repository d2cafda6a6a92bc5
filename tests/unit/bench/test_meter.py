"""The bench's meter against figures worked out by hand from DynamoDB's rules of on-demand capacity."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.bench.meter import Meter, size
from tests.contract.tables import create_spec_table, create_state_table

KB = 1024
JOB = {"pk": {"S": "JOB#a"}, "sk": {"S": "STATUS"}}
"""15 bytes: two names of two, `JOB#a`, `STATUS`."""
KEY_BYTES = 15
INDEXED = {"kind": {"S": "STATUS"}, "name": {"S": "a"}}


@dataclass
class Bench:
    client: Any
    meter: Meter

    def put(self, **attributes: Any) -> None:
        self.client.put_item(TableName="state", Item={**JOB, **attributes})

    def update(self, expression: str, **values: Any) -> None:
        given = {"ExpressionAttributeValues": {f":{name}": value for name, value in values.items()}} if values else {}
        self.client.update_item(TableName="state", Key=JOB, UpdateExpression=expression, **given)

    def written(self) -> int:
        """Write units since the last call."""
        units: int = self.meter.figures()["write_units"]
        self.meter.reset()
        return units

    def read(self) -> float:
        """Read units since the last call."""
        units: float = self.meter.figures()["read_units"]
        self.meter.reset()
        return units


@pytest.fixture
def bench() -> Iterator[Bench]:
    with mock_aws():
        watched = boto3.session.Session(region_name="us-east-1")
        onlooker = boto3.session.Session(region_name="us-east-1").client("dynamodb")
        create_state_table(onlooker, "state")
        create_spec_table(onlooker, "specs")
        meter = Meter(onlooker)
        meter.listen(watched.events)
        yield Bench(watched.client("dynamodb"), meter)


def filled(to_bytes: int) -> dict[str, Any]:
    """An attribute that fills the job's item up to a size."""
    return {"x": {"S": "-" * (to_bytes - KEY_BYTES - 1)}}


def test_sizes_are_names_and_values_in_utf_8() -> None:
    assert size(JOB) == KEY_BYTES
    assert size({"n": {"S": "é"}}) == 3
    assert size({"n": {"N": "12345"}}) == 1 + 4
    assert size({"n": {"BOOL": True}}) == 1 + 1
    assert size({"n": {"B": b"abc"}}) == 1 + 3
    assert size({"n": {"SS": ["ab", "c"]}}) == 1 + 3
    assert size({"n": {"L": [{"S": "ab"}]}}) == 1 + 3 + 1 + 2
    assert size({"n": {"M": {"k": {"S": "ab"}}}}) == 1 + 3 + 1 + 1 + 2


@pytest.mark.parametrize(("item_bytes", "units"), [(KB - 1, 1), (KB, 1), (KB + 1, 2), (5 * KB, 5)])
def test_a_write_is_charged_by_the_kilobyte(bench: Bench, item_bytes: int, units: int) -> None:
    bench.put(**filled(item_bytes))

    assert bench.written() == units


def test_an_update_is_charged_the_whole_item_however_little_it_changes(bench: Bench) -> None:
    bench.put(**filled(5 * KB - 100))
    bench.written()

    bench.update("SET lease = :lease", lease={"S": "me"})

    assert bench.written() == 5


def test_what_shrinks_is_charged_what_it_was(bench: Bench) -> None:
    bench.put(**filled(3 * KB))
    bench.written()

    bench.update("REMOVE x")

    assert bench.written() == 3


def test_a_deletion_is_charged_what_was_there(bench: Bench) -> None:
    bench.put(**filled(2 * KB))
    bench.written()

    bench.client.delete_item(TableName="state", Key=JOB)

    assert bench.written() == 2


def test_a_transaction_costs_twice_and_each_of_its_items_counts(bench: Bench) -> None:
    other = {"pk": {"S": "JOB#b"}, "sk": {"S": "STATUS"}}
    items = [{"Put": {"TableName": "state", "Item": item}} for item in ({**JOB, **filled(2 * KB)}, other)]

    bench.client.transact_write_items(TransactItems=items)

    assert bench.written() == 2 * 2 + 2 * 1


def test_an_index_is_written_when_what_it_projects_changes(bench: Bench) -> None:
    bench.put(**INDEXED, summary={"S": "one"})
    assert bench.written() == 1 + 1

    bench.update("SET note = :note", note={"S": "not projected"})
    assert bench.written() == 1

    bench.update("SET summary = :summary", summary={"S": "two"})
    assert bench.written() == 1 + 1


def test_an_index_is_written_twice_when_its_keys_change_and_once_when_an_entry_goes(bench: Bench) -> None:
    bench.put(due_kind={"S": "look"}, due_at={"N": "1"})
    bench.written()

    bench.update("SET due_at = :at", at={"N": "2"})
    assert bench.written() == 1 + 2

    bench.update("REMOVE due_kind, due_at")
    assert bench.written() == 1 + 1


def test_reads_are_charged_by_four_kilobytes_and_half_when_they_may_be_stale(bench: Bench) -> None:
    bench.put(**filled(5 * KB))
    bench.written()

    bench.client.get_item(TableName="state", Key=JOB, ConsistentRead=True)
    assert bench.read() == 2

    bench.client.get_item(TableName="state", Key=JOB)
    assert bench.read() == 1


def test_a_query_is_charged_its_sum_and_a_batch_each_item_found_or_not(bench: Bench) -> None:
    for name in ("a", "b", "c"):
        bench.client.put_item(TableName="specs", Item={"job_id": {"S": name}})
    bench.written()

    bench.client.scan(TableName="specs", ConsistentRead=True)
    assert bench.read() == 1

    keys = [{"job_id": {"S": name}} for name in ("a", "b", "missing")]
    bench.client.batch_get_item(RequestItems={"specs": {"Keys": keys, "ConsistentRead": True}})
    assert bench.read() == 3


def test_calls_are_counted_by_operation_and_writes_are_the_requests_that_write(bench: Bench) -> None:
    bench.put()
    bench.update("SET note = :note", note={"S": "x"})
    bench.client.get_item(TableName="state", Key=JOB)

    figures = bench.meter.figures()

    assert figures["aws_calls"] == {"dynamodb.GetItem": 1, "dynamodb.PutItem": 1, "dynamodb.UpdateItem": 1}
    assert figures["writes"] == 2
