"""What the state table has on record of what leaves the controller: for a person's command, no function has this right."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.announcement_records import ARTIFACT_KEYS, JOB_KEYS, recorded
from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_items import text
from flink_controller.domain.announcements import ArtifactEvent, JobEvent
from flink_controller.domain.dead_letter import Span

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:Scan"})
"""On the state table."""


class DynamoEvents:
    """Events of jobs and refusals of artifacts, by when they were recorded."""

    def __init__(self, client: "ClientSource[DynamoDBClient]", table_name: str, *, controller_id: str) -> None:
        self._source = client
        self._table = table_name
        self._controller_id = controller_id

    @cached_property
    def _client(self) -> "DynamoDBClient":
        return opened(self._source)

    def pages(self, spans: Sequence[Span]) -> Iterator[Sequence[JobEvent | ArtifactEvent]]:
        """Read the whole state table for what was recorded in some spans, unordered: one call and one page per megabyte.

        Raises:
            ControllerError: an item has a form that this version does not know.
        """
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "FilterExpression": "begins_with(pk, :job) AND begins_with(sk, :event)"
            " OR begins_with(pk, :artifact) AND begins_with(sk, :version)",
            "ExpressionAttributeValues": {
                name: text(prefix)
                for name, prefix in zip(
                    (":job", ":event", ":artifact", ":version"), (*JOB_KEYS, *ARTIFACT_KEYS), strict=True
                )
            },
        }
        while True:
            with translated("scan the state table"):
                page = self._client.scan(**arguments)
            found = (recorded(self._controller_id, item, spans) for item in page["Items"])
            yield [one for one in found if one is not None]
            if not page.get("LastEvaluatedKey"):
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
