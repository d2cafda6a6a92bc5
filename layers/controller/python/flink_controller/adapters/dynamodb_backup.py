"""Both tables whole, for backups: operators' tools only, no function has these rights."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import code_of, translated
from flink_controller.adapters.dynamodb_items import document, number, parsed
from flink_controller.adapters.dynamodb_registry import cluster_in, is_cluster, pause_item
from flink_controller.domain.backup import Part
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.lifecycle import summarise
from flink_controller.domain.status import JobStatus, Pause

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client

BACKUP_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:Scan"})
"""On both tables."""
RESTORE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:Scan", "dynamodb:PutItem"})
"""On both tables. No policy of this project grants the writes: whoever restores an installation may do anything to it."""

_PASSING: Final = ("CIRCUIT#",)
"""What is found out anew by itself."""
_EXISTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
_LEASE: Final = frozenset({"lease_owner", "lease_until"})


class DynamoBackup:
    """Read and write the items of an installation as DynamoDB spells them: nothing is lost on the way."""

    def __init__(
        self, client: "ClientSource[DynamoDBClient]", s3: Callable[[], "S3Client"], *, spec_table: str, state_table: str
    ) -> None:
        self._source = client
        self._s3 = s3
        self._tables = {Part.SPECS: spec_table, Part.STATE: state_table}

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def items(self) -> Iterator[tuple[Part, Mapping[str, Any]]]:
        """Read every item that a backup keeps: one call per megabyte.

        Specs come first: a job that begins meanwhile is then a status without its spec, and not the other way round.
        """
        for part in (Part.SPECS, Part.STATE):
            for item in self._scan(part):
                if part is Part.SPECS or not item["pk"]["S"].startswith(_PASSING):
                    yield part, {name: value for name, value in item.items() if name not in _LEASE}

    def jobs(self) -> int:
        """Count specs and statuses."""
        specs = sum(1 for _ in self._scan(Part.SPECS))
        return specs + sum(1 for item in self._scan(Part.STATE) if item["sk"]["S"] == "STATUS")

    def put(self, part: Part, item: Mapping[str, Any]) -> None:
        """Write an item. Harmless twice."""
        with translated(f"restore an item of the {part} table"):
            self._client.put_item(TableName=self._tables[part], Item=item)

    def status_in(self, item: Mapping[str, Any]) -> JobStatus | None:
        """Read the status that an item of the state table holds, None when it is another item.

        Raises:
            ControllerError: another version of this package wrote it in a form that this one does not know.
        """
        return parsed(JobStatus, item) if item["sk"]["S"] == "STATUS" and "document" in item else None

    def with_status(self, item: Mapping[str, Any], status: JobStatus) -> Mapping[str, Any]:
        """Put another status into an item."""
        version = number(int(item["version"]["N"]) + 1)
        return {**item, "document": document(status), "summary": document(summarise(status)), "version": version}

    def clusters_in(self, items: Iterable[Mapping[str, Any]]) -> list[Cluster]:
        """Read the clusters among items.

        Raises:
            RejectedError: one is malformed, so nobody can ask it what runs.
        """
        return [cluster_in(item) for item in items if is_cluster(item)]

    def pause_item(self, reason: str) -> Mapping[str, Any]:
        """Spell the pause of everything."""
        return pause_item(Pause(scope="all", reason=reason))

    def write_object(self, uri: str, content: bytes) -> None:
        """Put a new object; S3 checks its bytes and refuses to replace one.

        Raises:
            RejectedError: the address is none, or there is an object already.
        """
        bucket, key = _place(uri)
        with translated(f"write {uri}"):
            try:
                self._s3().put_object(Bucket=bucket, Key=key, Body=content, ChecksumAlgorithm="SHA256", IfNoneMatch="*")
            except ClientError as error:
                if code_of(error) in _EXISTS:
                    raise RejectedError(f"there is an object at {uri} already; name another") from error
                raise

    def read_object(self, uri: str) -> bytes:
        """Read an object whole."""
        bucket, key = _place(uri)
        with translated(f"read {uri}"):
            return self._s3().get_object(Bucket=bucket, Key=key)["Body"].read()

    def _scan(self, part: Part) -> Iterator[Mapping[str, Any]]:
        arguments: dict[str, Any] = {"TableName": self._tables[part], "ConsistentRead": True}
        while True:
            with translated(f"scan the {part} table"):
                page = self._client.scan(**arguments)
            yield from page["Items"]
            last = page.get("LastEvaluatedKey")
            if not last:
                return
            arguments["ExclusiveStartKey"] = last


def _place(uri: str) -> tuple[str, str]:
    bucket, slash, key = uri.removeprefix("s3://").partition("/")
    if not bucket or not slash or not key:
        raise RejectedError(f"{uri} is no address of an object: write s3://BUCKET/KEY")
    return bucket, key
