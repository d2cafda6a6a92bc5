"""Counts what a process asks of AWS and of Flink: calls, and what DynamoDB charges for them.

Units follow DynamoDB's own rules of on-demand capacity: a read unit is 4 KB read consistently (half of one otherwise), a
write unit is 1 KB written, a transaction takes twice as many, and an index is written when what it projects has changed.
Sizes come from the items themselves, so that the figures do not depend on what an emulator says about them.
"""

import time
from collections import Counter
from collections.abc import Mapping
from math import ceil
from typing import Any, Final

READ_UNIT_BYTES: Final = 4096
WRITE_UNIT_BYTES: Final = 1024
INDEXES: Final = {
    "by_kind": ("kind", "name", "summary"),
    "by_artifact": ("artifact",),
    "by_due": ("due_kind", "due_at"),
}
"""Indexes of the state table: the attributes that they hold beside the table's keys. The first one makes an item part of it."""
_STARTED: Final = "bench_started"
_PARAMETERS: Final = "bench_parameters"


class Meter:
    """Listens to a boto3 session. Reads written items with a client of its own, which it does not count."""

    def __init__(self, onlooker: Any = None) -> None:
        self.calls: Counter[str] = Counter()
        """By service and operation, such as `dynamodb.GetItem`."""
        self.units: Counter[str] = Counter()
        """`read` and `write`, in units of DynamoDB; reads may be halves."""
        self.waited_s = 0.0
        """For answers of AWS."""
        self._onlooker = onlooker
        self._known: dict[str, Mapping[str, Any]] = {}

    def listen(self, events: Any) -> None:
        """Count what the clients of a session do; their makers copy its listeners."""
        events.register("before-parameter-build", self._before)
        events.register("after-call", self._after)

    def reset(self) -> None:
        """Begin anew."""
        self.calls.clear()
        self.units.clear()
        self.waited_s = 0.0

    def figures(self) -> dict[str, Any]:
        """Give what was counted."""
        writes = sum(count for name, count in self.calls.items() if name in WRITES)
        return {
            "aws_calls": dict(sorted(self.calls.items())),
            "writes": writes,
            "read_units": self.units["read"] / 2,
            "write_units": self.units["write"],
            "waited_for_aws_s": round(self.waited_s, 3),
        }

    def _before(self, params: Any, context: dict[str, Any], **_: Any) -> None:
        context[_PARAMETERS], context[_STARTED] = params, time.perf_counter()

    def _after(self, model: Any, parsed: Any, context: dict[str, Any], **_: Any) -> None:
        self.waited_s += time.perf_counter() - context[_STARTED]
        service = model.service_model.service_name
        self.calls[f"{service}.{model.name}"] += 1
        if service == "dynamodb":
            self._charge(model.name, context[_PARAMETERS], parsed)

    def _charge(self, operation: str, asked: Any, answer: Any) -> None:
        match operation:
            case "GetItem":
                self._read(size(answer.get("Item", {})), is_consistent=asked.get("ConsistentRead", False))
            case "Query" | "Scan":
                read = sum(size(item) for item in answer.get("Items", ()))
                self._read(read, is_consistent=asked.get("ConsistentRead", False))
            case "BatchGetItem":
                for table, wanted in asked["RequestItems"].items():
                    found = answer.get("Responses", {}).get(table, ())
                    missing = len(wanted["Keys"]) - len(found)
                    for item in [*found, *[{}] * missing]:
                        self._read(size(item), is_consistent=wanted.get("ConsistentRead", False))
            case "PutItem" | "UpdateItem" | "DeleteItem":
                self._write(operation, asked, factor=1)
            case "TransactWriteItems":
                for part in asked["TransactItems"]:
                    ((kind, inner),) = part.items()
                    self._write(f"{kind}Item", inner, factor=2)

    def _read(self, size_bytes: int, *, is_consistent: bool) -> None:
        self.units["read"] += max(ceil(size_bytes / READ_UNIT_BYTES), 1) * (2 if is_consistent else 1)

    def _write(self, operation: str, asked: Any, *, factor: int) -> None:
        table = asked["TableName"]
        key = asked["Key"] if operation != "PutItem" else {name: asked["Item"][name] for name in _keys(asked["Item"])}
        at = f"{table} {sorted((name, str(value)) for name, value in key.items())}"
        before = self._known.get(at, {})
        after = asked["Item"] if operation == "PutItem" else self._stored(table, key)
        self._known[at] = after
        self.units["write"] += factor * max(ceil(max(size(before), size(after)) / WRITE_UNIT_BYTES), 1)
        for names in INDEXES.values():
            self.units["write"] += _index_units(key, before, after, names)

    def _stored(self, table: str, key: Any) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self._onlooker.get_item(TableName=table, Key=key, ConsistentRead=True).get("Item", {})
        return found


WRITES: Final = frozenset(f"dynamodb.{name}" for name in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"))


def size(item: Mapping[str, Any]) -> int:
    """Give the size of an item in bytes as DynamoDB counts it."""
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return len(content) // 2 + 2
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "M":
            return 3 + sum(1 + len(name.encode()) + _value_size(inner) for name, inner in content.items())
        case "L":
            return 3 + sum(1 + _value_size(inner) for inner in content)
        case "SS":
            return sum(len(text.encode()) for text in content)
        case _:
            return 1


def _keys(item: Mapping[str, Any]) -> tuple[str, ...]:
    return ("pk", "sk") if "pk" in item else ("job_id",)


def _index_units(key: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, ...]) -> int:
    was, now = _projected(key, before, names), _projected(key, after, names)
    if was == now:
        return 0
    # A change of an index's own keys takes the old entry out and puts a new one in.
    is_moved = bool(was and now) and any(was.get(name) != now.get(name) for name in names[:2])
    return max(ceil(max(size(was), size(now)) / WRITE_UNIT_BYTES), 1) * (2 if is_moved else 1)


def _projected(key: Mapping[str, Any], item: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    if names[0] not in item:
        return {}
    return {**key, **{name: item[name] for name in names if name in item}}
