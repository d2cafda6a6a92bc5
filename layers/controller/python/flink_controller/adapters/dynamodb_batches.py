"""Several items by their keys in one call."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_items import Item
from flink_controller.domain.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MAX_BATCH: Final = 100
"""Keys that DynamoDB takes at once."""
_TRIES: Final = 3
"""DynamoDB leaves items of a batch unread when it is busy; botocore does not ask again."""


def batch(client: "DynamoDBClient", table_name: str, keys: Sequence[Mapping[str, Any]], *, doing: str) -> dict[str, Item]:
    """Read items consistently, by partition key; what is not there is left out.

    Args:
        client: a DynamoDB client.
        table_name: the table.
        keys: whole keys, `MAX_BATCH` at most; one that stands twice is read once.
        doing: what is tried, for messages.

    Raises:
        TransientError: some stay unread.
    """
    left: Sequence[Mapping[str, Any]] = list({key["pk"]["S"]: key for key in keys}.values())
    found: dict[str, Item] = {}
    for _ in range(_TRIES):
        if not left:
            break
        with translated(doing):
            page = client.batch_get_item(RequestItems={table_name: {"Keys": list(left), "ConsistentRead": True}})
        found |= {item["pk"]["S"]: item for item in page["Responses"].get(table_name, [])}
        unread = page["UnprocessedKeys"].get(table_name)
        left = [] if unread is None else unread["Keys"]
    if left:
        raise TransientError(f"{doing}: DynamoDB left {len(left)} items unread")
    return found
