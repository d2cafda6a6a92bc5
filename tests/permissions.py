"""What IAM would say: calls as the requests that IAM judges, and the statements that this project writes.

No emulator refuses a call for want of a right, so tests ask this instead. It knows the exact subset that the template
uses, and fails on anything else rather than guess: statements that allow, resources with `*` at most, and the operators
and keys of `_HOLDS` and `Request.values`.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

LEADING_KEYS: Final = "dynamodb:LeadingKeys"
PREFIX: Final = "s3:prefix"

_S3_ACTIONS: Final = {"HeadObject": "GetObject", "ListObjectsV2": "ListBucket", "UploadPart": "PutObject"}
"""Calls whose right has another name; likewise for what a multipart upload consists of."""
_MULTIPART: Final = frozenset({"CreateMultipartUpload", "CompleteMultipartUpload"})
_OWNER: Final = re.compile(r"^arn:aws:secretsmanager:[a-z0-9-]+:\d{12}:")
_LABELLED: Final = "arn:<AWS::Partition>:secretsmanager:<AWS::Region>:<AWS::AccountId>:"
"""How the template begins the ARN of a secret of its own account."""
_PLACEHOLDER: Final = re.compile(r"(\S+) = (:\w+)")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call, or one part of a transaction, as IAM sees it."""

    action: str
    resource: str
    """As the template's reader would write it: a construct's path, for an object with its key behind."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Condition keys that the request has."""


Conditions = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Operator to condition key to values."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Permission:
    """One allowed action on one resource, under conditions that all have to hold."""

    action: str
    resource: str
    conditions: Conditions = field(default_factory=dict)

    def allows(self, request: Request) -> bool:
        """Judge a request as IAM does."""
        return (
            self.action == request.action
            and _like(request.resource, self.resource)
            and all(
                _HOLDS[operator](request.values.get(key), wanted)
                for operator, keys in self.conditions.items()
                for key, wanted in keys.items()
            )
        )


def permissions(statements: Iterable[Mapping[str, Any]], label: Callable[[Any], str]) -> list[Permission]:
    """Spell statements of a policy out, one action and one resource each.

    Args:
        statements: as in the template.
        label: writes a resource, which may be a reference.
    """
    found = []
    for statement in statements:
        assert statement["Effect"] == "Allow", statement
        assert not {"NotAction", "NotResource", "Principal"} & set(statement), statement
        conditions = {
            operator: {
                key: tuple(str(value) if isinstance(value, bool) else label(value) for value in listed(values))
                for key, values in keys.items()
            }
            for operator, keys in statement.get("Condition", {}).items()
        }
        found += [
            Permission(action=action, resource=label(resource), conditions=conditions)
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        ]
    return found


def requests_of(service: str, operation: str, params: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[Request]:
    """Give what a call of boto3 asks of IAM.

    Args:
        service: boto3's name of the service.
        operation: the API's name of the call.
        params: its arguments.
        labels: what tables, buckets and queue addresses are called in the template.
    """
    match service, operation:
        case "dynamodb", "TransactWriteItems":
            parts = [(kind, part) for item in params["TransactItems"] for kind, part in item.items()]
            for kind, part in parts:
                # IAM knows no right to a transaction, only to what it does.
                action = "dynamodb:ConditionCheckItem" if kind == "ConditionCheck" else f"dynamodb:{kind}Item"
                yield Request(action=action, resource=labels[part["TableName"]], values={LEADING_KEYS: tuple(_keys([part]))})
        case "dynamodb", "BatchGetItem":
            for table, wanted in params["RequestItems"].items():
                keys = tuple(_keys([{"Key": key} for key in wanted["Keys"]]))
                yield Request(action="dynamodb:BatchGetItem", resource=labels[table], values={LEADING_KEYS: keys})
        case "dynamodb", _:
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            yield Request(
                action=f"dynamodb:{operation}",
                resource=labels[params["TableName"]] + index,
                values=_dynamodb_values(operation, params),
            )
        case "s3", "ListObjectsV2" | "ListObjectVersions":
            yield Request(
                action="s3:ListBucket" if operation == "ListObjectsV2" else "s3:ListBucketVersions",
                resource=labels[params["Bucket"]],
                values={PREFIX: (params["Prefix"],)} if "Prefix" in params else {},
            )
        case "s3", _:
            name = "PutObject" if operation in _MULTIPART else _S3_ACTIONS.get(operation, operation)
            versioned = "Version" if name == "GetObject" and "VersionId" in params else ""
            yield Request(action=f"s3:{name}{versioned}", resource=f"{labels[params['Bucket']]}/{params['Key']}")
        case "sqs", _:
            name = "SendMessage" if operation == "SendMessageBatch" else operation
            yield Request(action=f"sqs:{name}", resource=labels[params["QueueUrl"]])
        case "events", "PutEvents":
            (bus,) = {entry["EventBusName"] for entry in params["Entries"]}
            yield Request(action="events:PutEvents", resource=labels[bus])
        case "secretsmanager" | "sns", _:
            named = params["SecretId"] if service == "secretsmanager" else params["TopicArn"]
            yield Request(action=f"{service}:{operation}", resource=labels.get(named) or _OWNER.sub(_LABELLED, named))
        case _:
            raise AssertionError(f"no rule for {service}:{operation}: say here on which resource it acts")


def listed(value: Any) -> list[Any]:
    """Give a policy's value as a list, which it may or may not be."""
    return value if isinstance(value, list) else [value]


def _dynamodb_values(operation: str, params: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    if operation == "Scan":
        return {}
    if operation == "Query":
        (key,) = [
            params["ExpressionAttributeValues"][placeholder]["S"]
            for _, placeholder in _PLACEHOLDER.findall(params["KeyConditionExpression"])
        ]
        return {LEADING_KEYS: (key,)}
    return {LEADING_KEYS: tuple(_keys([params]))}


def _keys(parts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        item = part.get("Key") or part["Item"]
        yield (item.get("pk") or item["job_id"])["S"]


def _like(value: str, pattern: str) -> bool:
    # IAM's patterns know `*` and `?`; fnmatch would read more into brackets.
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _each_like(values: tuple[str, ...] | None, patterns: tuple[str, ...]) -> bool:
    # IAM's `ForAllValues` holds where there is no value, too.
    return all(any(_like(value, pattern) for pattern in patterns) for value in values or ())


def _none_like(values: tuple[str, ...] | None, patterns: tuple[str, ...]) -> bool:
    return not any(_like(value, pattern) for value in values or () for pattern in patterns)


def _is_absent(values: tuple[str, ...] | None, wanted: tuple[str, ...]) -> bool:
    return [str(values is None).lower()] == [text.lower() for text in wanted]


def _one_like(values: tuple[str, ...] | None, patterns: tuple[str, ...]) -> bool:
    return values is not None and _each_like(values, patterns)


def _one_equals(values: tuple[str, ...] | None, wanted: tuple[str, ...]) -> bool:
    return values is not None and set(values) <= set(wanted)


_HOLDS: Final[Mapping[str, Callable[[tuple[str, ...] | None, tuple[str, ...]], bool]]] = {
    "ForAllValues:StringLike": _each_like,
    "ForAllValues:StringNotLike": _none_like,
    "ForAllValues:StringEquals": lambda values, wanted: set(values or ()) <= set(wanted),
    "StringLike": _one_like,
    "StringEquals": _one_equals,
    "StringEqualsIfExists": lambda values, wanted: values is None or set(values) <= set(wanted),
    "Null": _is_absent,
    "Bool": _one_equals,
}
"""Whether a condition holds, by operator, of the request's values (None: it has no such key) and the policy's."""
