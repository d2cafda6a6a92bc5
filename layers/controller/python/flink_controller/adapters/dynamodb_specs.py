"""The table that teams write.

Functions read it with `DynamoSpecStore`; the CLI, which acts with its user's own rights, also writes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_batches import batch
from flink_controller.adapters.dynamodb_items import Item, text, to_attribute, to_item
from flink_controller.domain.errors import RejectedError, StaleWriteError
from flink_controller.domain.names import shown

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem"})
"""What reading one spec needs, on the spec table."""
SCAN_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:Scan"})
"""What paging through all specs needs, on the spec table."""
FIND_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""What telling which specs there are needs, on the spec table."""
EDIT_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"})
"""What the CLI needs beside; no function has it."""

_MAX_CONDITIONS: Final = 200
"""DynamoDB ends a condition at 4 KB and 300 operators; a spec has about 20 fields."""


class DynamoSpecStore:
    """`SpecStore` on DynamoDB. A read is one call, a segment one call per megabyte, `present` one per hundred names."""

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str) -> None:
        self._source = client
        self._table = table_name

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def read(self, job_id: str) -> Mapping[str, Any] | None:
        """Read a spec item consistently, numbers as int or float; None when there is none."""
        item = self._raw(job_id)
        return None if item is None else to_item(item)

    def present(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Tell which of some jobs have a spec item, consistently."""
        keys = [{"job_id": text(job_id)} for job_id in job_ids]
        # Read units are those of whole items; what comes over the wire is their names.
        return frozenset(batch(self._client, self._table, keys, doing="find deleted specs", by="job_id", only=("job_id",)))

    def segment(self, index: int, total: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read one of `total` parts of all spec items, as (job id, item)."""
        arguments: dict[str, Any] = {"TableName": self._table, "Segment": index, "TotalSegments": total}
        while True:
            with translated("scan the spec table"):
                page = self._client.scan(**arguments)
            for item in page["Items"]:
                yield item["job_id"]["S"], to_item(item)
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            arguments["ExclusiveStartKey"] = last

    def _raw(self, job_id: str) -> Item | None:
        with translated(f"read the spec of {shown(job_id)}"):
            return self._client.get_item(TableName=self._table, Key={"job_id": text(job_id)}, ConsistentRead=True).get(
                "Item"
            )


class EditableDynamoSpecStore(DynamoSpecStore):
    """`EditableSpecStore` on DynamoDB.

    Args:
        client: a DynamoDB client, or what makes it.
        table_name: the spec table.
        known_fields: the spec's top-level fields; one that appears meanwhile counts as a change.
    """

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str, *, known_fields: Sequence[str]) -> None:
        super().__init__(client, table_name)
        self._known_fields = tuple(known_fields)

    def items(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read all spec items, as (job id, item)."""
        return self.segment(0, 1)

    def replace(self, job_id: str, item: Mapping[str, Any] | None, *, expected: Mapping[str, Any] | None) -> None:
        """Write an item (None: delete it) on condition that the stored one still equals `expected`."""
        # The condition is made of the stored attributes themselves: a number of 38 digits, a set or a binary that a team put
        # raw would not survive the way through Python, and the condition on it could never hold.
        stored = self._raw(job_id)
        if (None if stored is None else to_item(stored)) != (None if expected is None else {**expected, "job_id": job_id}):
            raise _changed(job_id)
        wanted = None if item is None else {**{k: to_attribute(v) for k, v in item.items()}, "job_id": text(job_id)}
        if stored is None and wanted is None:
            return
        arguments = {
            "TableName": self._table,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **self._unchanged(job_id, stored),
        }
        with translated(f"write the spec of {shown(job_id)}"):
            try:
                if wanted is None:
                    self._client.delete_item(Key={"job_id": text(job_id)}, **arguments)
                else:
                    self._client.put_item(Item=wanted, **arguments)
            except self._client.exceptions.ConditionalCheckFailedException as error:
                # botocore repeats a call whose answer was lost; the repetition then meets our own write.
                found = error.response.get("Item")
                if (to_item(found) if isinstance(found, Mapping) else None) != (wanted and to_item(wanted)):
                    raise _changed(job_id) from error

    def _unchanged(self, job_id: str, stored: Item | None) -> dict[str, Any]:
        if stored is None:
            return {"ConditionExpression": "attribute_not_exists(job_id)"}
        present = sorted(set(stored) - {"job_id"})
        absent = sorted(set(self._known_fields) - set(stored))
        names = {f"#f{index}": name for index, name in enumerate([*present, *absent])}
        if len(names) > _MAX_CONDITIONS:
            raise RejectedError(
                f"the item of {shown(job_id)} has {len(stored)} attributes, too many to compare: put it whole"
            )
        placeholders = dict(zip(names.values(), names, strict=True))
        values = {placeholders[name].replace("#", ":"): stored[name] for name in present}
        equal = [f"{placeholders[name]} = {placeholders[name].replace('#', ':')}" for name in present]
        missing = [f"attribute_not_exists({placeholders[name]})" for name in absent]
        condition: dict[str, Any] = {
            "ConditionExpression": " AND ".join(["attribute_exists(job_id)", *equal, *missing]),
        }
        if names:
            condition["ExpressionAttributeNames"] = names
        if values:
            condition["ExpressionAttributeValues"] = values
        return condition


def _changed(job_id: str) -> StaleWriteError:
    return StaleWriteError(f"the spec of {shown(job_id)} changed since it was read; read it again")
