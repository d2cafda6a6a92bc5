"""What operators wrote: clusters, keys, pauses.

Their items have plain attributes, so that they can be read and mended in the console; hence each is checked when read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_batches import batch
from flink_controller.adapters.dynamodb_items import BY_KIND, Item, faults, name_key, text, to_attribute, to_item
from flink_controller.domain.artifact import TrustedKey
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.status import Pause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""`GetItem` on the state table, `Query` on its index `by_kind`."""
PAUSE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""What `pause_of` needs, on the state table."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem", "dynamodb:DeleteItem"})
"""What operators' tools need beside, on the state table; no function has it."""

_CLUSTER: Final = "CLUSTER"
_KEY: Final = "KEY"
_PAUSE: Final = "PAUSE"
_BOOKKEEPING: Final = frozenset({"pk", "sk", "kind", "name", "summary", "expires_at"})
"""Attributes beside the model's own."""

M = TypeVar("M", bound=BaseModel)


class DynamoRegistry:
    """`Registry` on DynamoDB. One item is one call; a list is one call and one more per item.

    Lists find their items through an index, by the attributes `kind` and `name`: an item that was written by hand without
    them is found by its name only.
    """

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str) -> None:
        self._source = client
        self._table = table_name

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def cluster(self, name: str) -> Cluster | None:
        """Read a cluster consistently."""
        return self._read(Cluster, _CLUSTER, name, "name")

    def clusters(self) -> list[Cluster]:
        """Read all well-formed clusters, by name."""
        return self._well_formed(_CLUSTER, self.cluster)

    def key(self, key_id: str) -> TrustedKey | None:
        """Read a key consistently."""
        return self._read(TrustedKey, _KEY, key_id, "key_id")

    def keys(self) -> list[TrustedKey]:
        """Read all well-formed keys, by id."""
        return self._well_formed(_KEY, self.key)

    def pauses(self) -> list[Pause]:
        """Read every pause in force, by scope. A malformed one counts: it stops too much rather than too little."""
        return [pause for scope in self._names(_PAUSE) if (pause := self._pause(scope)) is not None]

    def pause_of(self, scopes: Sequence[str]) -> Pause | None:
        """Read the first pause of some scopes: one call for all of them, consistently."""
        return first_pause(
            batch(self._client, self._table, [pause_key(scope) for scope in scopes], doing="read pauses"), scopes
        )

    def _pause(self, scope: str) -> Pause | None:
        try:
            return self._read(Pause, _PAUSE, scope, "scope")
        except RejectedError as error:
            return Pause(scope=scope, reason=str(error))

    def _read(self, model: type[M], kind: str, name: str, identity: str) -> M | None:
        key = _key(kind, name)
        with translated(f"read {key['pk']['S']}"):
            item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return None if item is None else _parsed(model, item, name, identity)

    def _well_formed(self, kind: str, read: Callable[[str], M | None]) -> list[M]:
        found: list[M] = []
        for name in self._names(kind):
            try:
                item = read(name)
            except RejectedError:
                # Whoever asks for it by name is told; a list must not fail for one slip of a hand.
                continue
            if item is not None:
                found.append(item)
        return found

    def _names(self, kind: str) -> Iterator[str]:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": BY_KIND,
            "KeyConditionExpression": "kind = :kind",
            "ExpressionAttributeValues": {":kind": text(kind)},
        }
        while True:
            with translated(f"list items of kind {kind}"):
                page = self._client.query(**arguments)
            for item in page["Items"]:
                yield item["name"]["S"]
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            arguments["ExclusiveStartKey"] = last


class EditableDynamoRegistry(DynamoRegistry):
    """`EditableRegistry` on DynamoDB. Each method is one write."""

    def put_cluster(self, cluster: Cluster) -> None:
        """Write a cluster. Harmless twice."""
        self._put(_CLUSTER, cluster.name, cluster)

    def delete_cluster(self, name: str) -> None:
        """Remove a cluster. Harmless twice."""
        self._delete(_CLUSTER, name)

    def put_key(self, key: TrustedKey) -> None:
        """Write a key. Harmless twice."""
        self._put(_KEY, key.key_id, key)

    def put_pause(self, pause: Pause) -> None:
        """Write a pause. Harmless twice."""
        self._put(_PAUSE, pause.scope, pause)

    def delete_pause(self, scope: str) -> None:
        """Remove a pause. Harmless twice."""
        self._delete(_PAUSE, scope)

    def _put(self, kind: str, name: str, model: BaseModel) -> None:
        attributes = {
            field: to_attribute(value) for field, value in model.model_dump(mode="json", exclude_none=True).items()
        }
        item = {**attributes, **_key(kind, name), "kind": text(kind), "name": text(name)}
        with translated(f"write {kind} {name}"):
            self._client.put_item(TableName=self._table, Item=item)

    def _delete(self, kind: str, name: str) -> None:
        with translated(f"delete {kind} {name}"):
            self._client.delete_item(TableName=self._table, Key=_key(kind, name))


def _parsed(model: type[M], item: Item, name: str, identity: str) -> M:
    """Read a plain item; what it is called is told by its partition key, whatever its attributes say."""
    attributes = {field: _plain(value) for field, value in to_item(item).items() if field not in _BOOKKEEPING}
    attributes[identity] = name
    partition_key = item["pk"]["S"]
    try:
        found = model.model_validate(attributes)
    except ValidationError as error:
        raise RejectedError(f"item {partition_key} is malformed: {faults(error)}") from error
    naive = [field for field, value in found if isinstance(value, datetime) and value.tzinfo is None]
    if naive:
        raise RejectedError(
            f"item {partition_key} is malformed: {', '.join(naive)}: say the time zone, as in 2026-01-31T00:00:00Z"
        )
    return found


def pause_key(scope: str) -> Mapping[str, Any]:
    """Give the key of a scope's pause."""
    return _key(_PAUSE, scope)


def first_pause(items: Mapping[str, Item], scopes: Sequence[str]) -> Pause | None:
    """Find the first pause of some scopes among items by partition key. A malformed one counts."""
    for scope in scopes:
        item = items.get(pause_key(scope)["pk"]["S"])
        if item is not None:
            return _pause(item, scope)
    return None


def _pause(item: Item, scope: str) -> Pause:
    try:
        return _parsed(Pause, item, scope, "scope")
    except RejectedError as error:
        return Pause(scope=scope, reason=str(error))


def _plain(value: object) -> object:
    """Take a string set for a list: whoever edits an item by hand may choose either."""
    return sorted(value) if isinstance(value, set) and all(isinstance(member, str) for member in value) else value


def _key(kind: str, name: str) -> Mapping[str, Any]:
    return {"pk": text(f"{kind}#{name_key(name)}"), "sk": text("ITEM")}
