"""What operators wrote: clusters, keys, policies, denied digests, pauses.

Their items have plain attributes, so that they can be read and mended in the console; hence each is checked when read.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_batches import batch
from flink_controller.adapters.dynamodb_items import (
    BY_KIND,
    Item,
    document,
    faults,
    name_key,
    parsed,
    text,
    to_attribute,
    to_item,
)
from flink_controller.domain.artifact import TrustedKey
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import RejectedError, StaleWriteError
from flink_controller.domain.status import Pause
from flink_controller.domain.trust import Denial, NamespacePolicy, RegistryEvent, Trust

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""`GetItem` on the state table, `Query` on its index `by_kind`."""
PAUSE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""What `pause_of` needs, on the state table."""
TRUST_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""What `trust` needs, on the items `KEY#` and `DENY#` of the state table."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem", "dynamodb:DeleteItem"})
"""What operators' tools need beside, on the state table; no function has it."""

_CLUSTER: Final = "CLUSTER"
_KEY: Final = "KEY"
_PAUSE: Final = "PAUSE"
_DENY: Final = "DENY"
_POLICY: Final = "POLICY"
_EVENT: Final = "EVENT#"
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

    def trust(self, key_ids: Sequence[str], sha256: str) -> Trust:
        """Read some keys and whether a digest is denied, consistently: one call."""
        denial_key = _key(_DENY, sha256)
        wanted = {key_id: _key(_KEY, key_id) for key_id in key_ids}
        found = batch(self._client, self._table, [denial_key, *wanted.values()], doing="read keys and the deny-list")
        keys = {key_id: _trusted(found.get(key["pk"]["S"]), key_id) for key_id, key in wanted.items()}
        denied = found.get(denial_key["pk"]["S"])
        return Trust(keys, None if denied is None else _denial(denied, sha256))

    def denials(self) -> list[Denial]:
        """Read every denied digest; the list may lag behind."""
        found = ((sha256, self._item(_DENY, sha256)) for sha256 in self._names(_DENY))
        return [_denial(item, sha256) for sha256, item in found if item is not None]

    def policy(self, namespace: str) -> NamespacePolicy:
        """Read a namespace's policy consistently."""
        return self._read(NamespacePolicy, _POLICY, namespace, "namespace") or NamespacePolicy(namespace=namespace)

    def policies(self) -> list[NamespacePolicy]:
        """Read all well-formed policies, by namespace."""
        return self._well_formed(_POLICY, lambda name: self._read(NamespacePolicy, _POLICY, name, "namespace"))

    def changes(self, subject: str) -> list[RegistryEvent]:
        """Read the events of one item, oldest first."""
        kind, _, name = subject.partition("#")
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :event)",
            "ExpressionAttributeValues": {":pk": _key(kind, name)["pk"], ":event": text(_EVENT)},
        }
        found: list[RegistryEvent] = []
        while True:
            with translated(f"read the events of {subject}"):
                page = self._client.query(**arguments)
            found += [parsed(RegistryEvent, item) for item in page["Items"]]
            if not page.get("LastEvaluatedKey"):
                return found
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

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
        item = self._item(kind, name)
        return None if item is None else _parsed(model, item, name, identity)

    def _item(self, kind: str, name: str) -> Item | None:
        key = _key(kind, name)
        with translated(f"read {key['pk']['S']}"):
            return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")

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
    """`EditableRegistry` on DynamoDB. Each method is one write; what is told by an event is written together with it."""

    def put_cluster(self, cluster: Cluster, event: RegistryEvent | None = None) -> None:
        """Write a cluster, and its event. Harmless twice."""
        if event is None:
            self._put(_CLUSTER, cluster.name, cluster)
        else:
            self._transact([self._plain_put(_CLUSTER, cluster.name, cluster)], event)

    def delete_cluster(self, name: str) -> None:
        """Remove a cluster. Harmless twice."""
        self._delete(_CLUSTER, name)

    def put_key(self, key: TrustedKey) -> None:
        """Write a key. Harmless twice."""
        self._put(_KEY, key.key_id, key)

    def replace_key(self, key: TrustedKey, *, expected: TrustedKey | None, event: RegistryEvent) -> None:
        """Write a key and its event, on condition that the stored key is the expected one."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected is not None:
            before = _attributes(expected)
            # Every attribute of the model: what was not there must still not be there.
            clauses, names, values = [], {}, {}
            for number, field in enumerate(TrustedKey.model_fields):
                if field == "key_id":
                    continue
                names[f"#{number}"] = field
                if field in before:
                    values[f":{number}"] = before[field]
                    clauses.append(f"#{number} = :{number}")
                else:
                    clauses.append(f"attribute_not_exists(#{number})")
            condition = {
                "ConditionExpression": " AND ".join(clauses),
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": values,
            }
        self._transact([{"Put": {"TableName": self._table, "Item": _written(_KEY, key.key_id, key), **condition}}], event)

    def put_policy(self, policy: NamespacePolicy, event: RegistryEvent) -> None:
        """Write a policy and its event."""
        self._transact([self._plain_put(_POLICY, policy.namespace, policy)], event)

    def put_denial(self, denial: Denial, event: RegistryEvent) -> None:
        """Deny a digest and tell it."""
        self._transact([self._plain_put(_DENY, denial.sha256, denial)], event)

    def delete_denial(self, sha256: str, event: RegistryEvent) -> None:
        """Lift a denial and tell it."""
        self._transact([self._plain_delete(_DENY, sha256)], event)

    def _plain_put(self, kind: str, name: str, model: BaseModel) -> dict[str, Any]:
        return {"Put": {"TableName": self._table, "Item": _written(kind, name, model)}}

    def _plain_delete(self, kind: str, name: str) -> dict[str, Any]:
        return {"Delete": {"TableName": self._table, "Key": _key(kind, name)}}

    def _transact(self, writes: list[dict[str, Any]], event: RegistryEvent) -> None:
        kind, _, name = event.subject.partition("#")
        # Microseconds, so that events sort as they came; two in the same one are the same change delivered twice.
        sort_key = f"{_EVENT}{event.time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        told = {"pk": _key(kind, name)["pk"], "sk": text(sort_key), "document": document(event)}
        writes = [*writes, {"Put": {"TableName": self._table, "Item": told}}]
        with translated(f"write {event.subject}"):
            try:
                self._client.transact_write_items(TransactItems=writes)  # type: ignore[arg-type]  # built as plain dicts
            except self._client.exceptions.TransactionCanceledException as error:
                codes = {str(reason.get("Code")) for reason in error.response.get("CancellationReasons", ())}
                if codes & {"ConditionalCheckFailed", "TransactionConflict"}:
                    raise StaleWriteError(f"{event.subject} changed since it was read; look again") from error
                raise

    def put_pause(self, pause: Pause, event: RegistryEvent | None = None) -> None:
        """Write a pause, and its event. Harmless twice."""
        if event is None:
            self._put(_PAUSE, pause.scope, pause)
        else:
            self._transact([self._plain_put(_PAUSE, pause.scope, pause)], event)

    def delete_pause(self, scope: str, event: RegistryEvent | None = None) -> None:
        """Remove a pause, and tell it. Harmless twice."""
        if event is None:
            self._delete(_PAUSE, scope)
        else:
            self._transact([self._plain_delete(_PAUSE, scope)], event)

    def _put(self, kind: str, name: str, model: BaseModel) -> None:
        with translated(f"write {kind} {name}"):
            self._client.put_item(TableName=self._table, Item=_written(kind, name, model))

    def _delete(self, kind: str, name: str) -> None:
        with translated(f"delete {kind} {name}"):
            self._client.delete_item(TableName=self._table, Key=_key(kind, name))


def _attributes(model: BaseModel) -> dict[str, Any]:
    return {field: to_attribute(value) for field, value in model.model_dump(mode="json", exclude_none=True).items()}


def _written(kind: str, name: str, model: BaseModel) -> dict[str, Any]:
    return {**_attributes(model), **_key(kind, name), "kind": text(kind), "name": text(name)}


def _trusted(item: Item | None, key_id: str) -> TrustedKey | None:
    """Read a key; a malformed one is none, because nobody can say what was meant by it."""
    try:
        return None if item is None else _parsed(TrustedKey, item, key_id, "key_id")
    except RejectedError:
        return None


def _denial(item: Item, sha256: str) -> Denial:
    """Read a denial; a malformed one denies all the same."""
    try:
        return _parsed(Denial, item, sha256, "sha256")
    except RejectedError as error:
        return Denial.model_construct(sha256=sha256, reason=str(error), denied_at=None)


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


def is_cluster(item: Item) -> bool:
    """Tell whether an item of the state table is a cluster."""
    return str(item["pk"]["S"]).startswith(f"{_CLUSTER}#") and item["sk"] == text("ITEM")


def cluster_in(item: Item) -> Cluster:
    """Read the cluster that an item holds.

    Raises:
        RejectedError: it is malformed.
    """
    return _parsed(Cluster, item, item["pk"]["S"].removeprefix(f"{_CLUSTER}#"), "name")


def pause_item(pause: Pause) -> Mapping[str, Any]:
    """Spell a pause as an item."""
    return _written(_PAUSE, pause.scope, pause)


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
