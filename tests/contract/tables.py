"""The two tables as the contract tests create them: the layout that the template deploys, and nothing else of it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def create_spec_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table that teams write."""
    _create(client, name, {"job_id": "S"}, [("job_id", "HASH")], [])


def create_state_table(client: "DynamoDBClient", name: str) -> None:
    """Create the controller's table with its indexes."""
    indexes = [
        _index("by_kind", "kind", "name", {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["summary"]}),
        _index("by_artifact", "artifact", "pk", {"ProjectionType": "KEYS_ONLY"}),
        _index("by_due", "due_kind", "due_at", {"ProjectionType": "KEYS_ONLY"}),
    ]
    types = {"pk": "S", "sk": "S", "kind": "S", "name": "S", "artifact": "S", "due_kind": "S", "due_at": "N"}
    _create(client, name, types, [("pk", "HASH"), ("sk", "RANGE")], indexes)


def _create(
    client: "DynamoDBClient",
    name: str,
    types: dict[str, str],
    keys: list[tuple[str, str]],
    indexes: list[dict[str, Any]],
) -> None:
    arguments: dict[str, Any] = {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind} for key, kind in types.items()],
        "KeySchema": [{"AttributeName": key, "KeyType": kind} for key, kind in keys],
    }
    if indexes:
        arguments["GlobalSecondaryIndexes"] = indexes
    client.create_table(**arguments)


def _index(name: str, hash_key: str, range_key: str, projection: dict[str, Any]) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [
            {"AttributeName": hash_key, "KeyType": "HASH"},
            {"AttributeName": range_key, "KeyType": "RANGE"},
        ],
        "Projection": projection,
    }
