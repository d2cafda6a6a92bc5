"""What may hold a look back: each cluster's circuit, read together with the pauses that concern a job."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_batches import batch
from flink_controller.adapters.dynamodb_items import document, name_key, number, parsed, text
from flink_controller.adapters.dynamodb_registry import first_pause, pause_key
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import StaleWriteError
from flink_controller.ports import Barriers

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""On the items `CIRCUIT#` and `PAUSE#` of the state table."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem"})
"""On the items `CIRCUIT#` of the state table."""


class DynamoCircuits:
    """`Circuits` on DynamoDB: each method is one call. A cluster that answers is never written."""

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str) -> None:
        self._source = client
        self._table = table_name

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def read(self, cluster: str, scopes: Sequence[str] = ()) -> Barriers:
        """Read a cluster's circuit and the first pause of some scopes, consistently and at once."""
        key = _key(cluster)
        keys = [key, *(pause_key(scope) for scope in scopes)]
        found = batch(self._client, self._table, keys, doing=f"read the circuit of cluster {cluster} and pauses")
        item = found.get(key["pk"]["S"])
        return Barriers(Circuit() if item is None else parsed(Circuit, item), first_pause(found, scopes))

    def replace(self, cluster: str, circuit: Circuit, *, expected: Circuit) -> None:
        """Record a circuit on condition that it is still the expected one."""
        attributes = {"document": document(circuit), "version": number(circuit.version)}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected.version:
            condition = {
                "ConditionExpression": "#version = :expected",
                "ExpressionAttributeNames": {"#version": "version"},
                "ExpressionAttributeValues": {":expected": number(expected.version)},
            }
        with translated(f"record the circuit of cluster {cluster}"):
            try:
                self._client.put_item(
                    TableName=self._table,
                    Item={**_key(cluster), **attributes},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **condition,
                )
            except self._client.exceptions.ConditionalCheckFailedException as error:
                # botocore repeats a call whose answer was lost; the repetition then meets our own write.
                stored: Any = error.response.get("Item") or {}
                if stored.get("document") != attributes["document"]:
                    raise StaleWriteError(f"the circuit of cluster {cluster} changed since it was read") from error


def _key(cluster: str) -> Mapping[str, Any]:
    return {"pk": text(f"CIRCUIT#{name_key(cluster)}"), "sk": text("ITEM")}
