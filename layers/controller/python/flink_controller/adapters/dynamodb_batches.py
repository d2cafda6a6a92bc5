"""Many items by their keys in few calls."""

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
_BATCH: Final = 100
"""Keys that one call takes."""


def batch(
    client: "DynamoDBClient",
    table_name: str,
    keys: Sequence[Mapping[str, Any]],
    *,
    doing: str,
    by: str = "pk",
    only: Sequence[str] = (),
) -> dict[str, Item]:
    """Read items consistently; what is not there is left out. One call for a hundred keys.

    Args:
        client: a DynamoDB client.
        table_name: the table.
        keys: whole keys, `MAX_BATCH` at most; one that stands twice is read once.
        doing: what is tried, for messages.
        by: the attribute by which the items are told apart, a part of the key.
        only: the attributes to read, `by` among them; none named: all.

    Returns:
        The items, by their `by`.

    Raises:
        TransientError: some stay unread.
    """
    left: list[Mapping[str, Any]] = list({key[by]["S"]: key for key in keys}.values())
    projection = {
        "ProjectionExpression": ", ".join(f"#{at}" for at, _ in enumerate(only)),
        "ExpressionAttributeNames": {f"#{at}": name for at, name in enumerate(only)},
    }
    found: dict[str, Item] = {}
    vain = 0
    while left and vain < _TRIES:
        wanted: Any = {"Keys": left[:_BATCH], "ConsistentRead": True, **(projection if only else {})}
        with translated(doing):
            page = client.batch_get_item(RequestItems={table_name: wanted})
        found |= {item[by]["S"]: item for item in page["Responses"].get(table_name, [])}
        unread = page["UnprocessedKeys"].get(table_name, {"Keys": []})["Keys"]
        # Only a call that reads nothing is in vain: what a busy table leaves of a hundred keys is little by little read.
        vain = vain + 1 if len(unread) == len(wanted["Keys"]) else 0
        left = [*unread, *left[_BATCH:]]
    if left:
        raise TransientError(f"{doing}: DynamoDB left {len(left)} items unread")
    return found
