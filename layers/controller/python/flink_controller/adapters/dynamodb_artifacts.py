"""What admission decided about object versions.

A key has one head item and one item per version. Every verdict writes both in one transaction, on condition that the head
did not change since it was read, so that two verdicts at once cannot lose one another.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import is_busy, translated
from flink_controller.adapters.dynamodb_batches import batch
from flink_controller.adapters.dynamodb_items import Item, document, number, parsed, text
from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict
from flink_controller.domain.artifact_head import record
from flink_controller.domain.errors import StaleWriteError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""On the state table."""
FIND_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:BatchGetItem"})
"""On the state table: many heads at once."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem"})
"""On the state table."""
PRUNE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:DeleteItem"})
"""On the state table."""

_HEAD: Final = "HEAD"
_VERSION: Final = "VERSION#"


class DynamoArtifactRecords:
    """`ArtifactRecords` on DynamoDB. `record` makes at most two reads and one write, none when nothing changes."""

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str) -> None:
        self._source = client
        self._table = table_name

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def head(self, bucket: str, key: str) -> ArtifactHead | None:
        """Read the newest version's record and the newest admitted one, consistently."""
        item = self._get(bucket, key, _HEAD)
        return None if item is None else parsed(ArtifactHead, item)

    def heads(self, places: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], ArtifactHead]:
        """Read the heads of many keys; one call for a hundred."""
        wanted = {_partition(*place)["S"]: place for place in places}
        keys = [{"pk": text(partition), "sk": text(_HEAD)} for partition in wanted]
        found = batch(self._client, self._table, keys, doing="read the heads of artifacts")
        return {wanted[partition]: parsed(ArtifactHead, item) for partition, item in found.items()}

    def admitted_with_digest(self, bucket: str, key: str, sha256: str) -> ArtifactVersion | None:
        """Find the newest admitted version with a digest, consistently."""
        found = self._versions(
            bucket,
            key,
            {
                "FilterExpression": "sha256 = :sha256 AND verdict IN (:admitted, :held)",
                "values": {":sha256": text(sha256), ":admitted": text(Verdict.ADMITTED), ":held": text(Verdict.HELD)},
            },
        )
        return found[-1] if found else None

    def versions(self, bucket: str, key: str) -> list[ArtifactVersion]:
        """Read all recorded versions of a key, oldest first."""
        return self._versions(bucket, key, {})

    def record(self, version: ArtifactVersion, *, burst_window: timedelta) -> ArtifactHead:
        """Record a verdict and move the head along, in one transaction."""
        bucket, key = version.bucket, version.key
        # The head first: every verdict writes it, so a version that changes after this read makes the write below fail.
        head_item = self._get(bucket, key, _HEAD)
        head = None if head_item is None else parsed(ArtifactHead, head_item)
        known = self._known(version, head)
        result = record(version, head=head, known=known, burst_window=burst_window)
        if result.version != known or result.head != head:
            self._write(result.version, result.head, changes=0 if head_item is None else int(head_item["changes"]["N"]))
        return result.head

    def prune(self, version: ArtifactVersion) -> None:
        """Delete a version's record: one write. Harmless twice."""
        with translated(f"delete the record of s3://{version.bucket}/{version.key} version {version.version_id}"):
            self._client.delete_item(
                TableName=self._table,
                Key={"pk": _partition(version.bucket, version.key), "sk": text(_VERSION + version.version_id)},
            )

    def _known(self, version: ArtifactVersion, head: ArtifactHead | None) -> ArtifactVersion | None:
        if head is None:
            return None
        for found in (head.latest, head.admitted):
            if found is not None and found.version_id == version.version_id:
                return found
        item = self._get(version.bucket, version.key, _VERSION + version.version_id)
        return None if item is None else parsed(ArtifactVersion, item)

    def _write(self, version: ArtifactVersion, head: ArtifactHead, *, changes: int) -> None:
        pk = _partition(version.bucket, version.key)
        head_put: dict[str, Any] = {
            "TableName": self._table,
            "Item": {"pk": pk, "sk": text(_HEAD), "document": document(head), "changes": number(changes + 1)},
            "ConditionExpression": "attribute_not_exists(pk)",
        }
        if changes:
            head_put["ConditionExpression"] = "changes = :changes"
            head_put["ExpressionAttributeValues"] = {":changes": number(changes)}
        attributes = {"document": document(version), "verdict": text(version.verdict)}
        if version.sha256 is not None:
            attributes["sha256"] = text(version.sha256)
        version_put = {
            "TableName": self._table,
            "Item": {"pk": pk, "sk": text(_VERSION + version.version_id), **attributes},
        }
        where = f"s3://{version.bucket}/{version.key}"
        with translated(f"record the verdict on {where}"):
            try:
                self._client.transact_write_items(TransactItems=[{"Put": head_put}, {"Put": version_put}])  # type: ignore[typeddict-item]  # built as plain dicts
            except self._client.exceptions.TransactionCanceledException as error:
                reasons: list[Any] = list(error.response.get("CancellationReasons", ()))
                codes = [str(reason.get("Code", "None")) for reason in reasons]
                # Also after a lost answer of our own write: looking again then finds nothing left to do.
                if "ConditionalCheckFailed" in codes or "TransactionConflict" in codes:
                    raise StaleWriteError(f"another verdict on {where} was recorded meanwhile") from error
                if any(is_busy(code) for code in codes):
                    raise TransientError(f"recording the verdict on {where}: {', '.join(codes)}") from error
                raise

    def _get(self, bucket: str, key: str, sort_key: str) -> Item | None:
        with translated(f"read the record of s3://{bucket}/{key}"):
            return self._client.get_item(
                TableName=self._table, Key={"pk": _partition(bucket, key), "sk": text(sort_key)}, ConsistentRead=True
            ).get("Item")

    def _versions(self, bucket: str, key: str, condition: Mapping[str, Any]) -> list[ArtifactVersion]:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",
            "ExpressionAttributeValues": {
                ":pk": _partition(bucket, key),
                ":prefix": text(_VERSION),
                **condition.get("values", {}),
            },
            "ConsistentRead": True,
        }
        if "FilterExpression" in condition:
            arguments["FilterExpression"] = condition["FilterExpression"]
        found: list[ArtifactVersion] = []
        while True:
            with translated(f"list the versions of s3://{bucket}/{key}"):
                page = self._client.query(**arguments)
            found += [parsed(ArtifactVersion, item) for item in page["Items"]]
            last = page.get("LastEvaluatedKey")
            if not last:
                return sorted(found, key=lambda version: (version.uploaded_at, version.decided_at, version.version_id))
            arguments["ExclusiveStartKey"] = last


def _partition(bucket: str, key: str) -> dict[str, Any]:
    return text(f"ARTIFACT#{bucket}/{key}")
