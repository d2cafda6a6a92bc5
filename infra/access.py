"""What each kind of access means in IAM: which actions on which resource, and nothing beyond.

Nothing here calls the CDK's `grant_*` shortcuts, which give whole families of actions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from aws_cdk import Aws
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.functions import Access
from infra.messaging import Messaging
from infra.storage import BY_ARTIFACT, BY_DUE, BY_KIND, Storage

OPERATORS_KEYS: Final = ("CLUSTER#*", "KEY#*", "POLICY#*", "PAUSE#*")
"""Partition keys of what operators write and the controller only reads."""
ARTIFACT_KEYS: Final = ("ARTIFACT#*",)
"""Partition keys of the records of artifact versions."""

_SPEC_READ: Final = frozenset({"dynamodb:GetItem"})
_SPEC_SCAN: Final = frozenset({"dynamodb:Scan"})
_STATE_READ: Final = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
_STATE_WRITE: Final = frozenset(
    {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"}
)
_REGISTRY_READ: Final = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
_ARTIFACT_RECORD_WRITE: Final = frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem"})
_ARTIFACT_READ: Final = frozenset({"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"})
_SAVED_STATE_READ: Final = frozenset({"s3:GetObject", "s3:ListBucket"})
_FOLLOW_UP_SEND: Final = frozenset({"sqs:SendMessage"})
_ALERT_PUBLISH: Final = frozenset({"sns:Publish"})
_QUEUE_DEPTH: Final = frozenset({"sqs:GetQueueAttributes"})
_INDEX_READ: Final = frozenset({"dynamodb:Query"})

_STREAM_READ: Final = frozenset(
    {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}
)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What access is to."""

    storage: Storage
    messaging: Messaging
    state_buckets: Sequence[str]


def statements(access: Access, resources: Resources) -> list[iam.PolicyStatement]:
    """Spell one kind of access out."""
    storage, messaging = resources.storage, resources.messaging
    state = storage.state.table_arn
    match access:
        case Access.READ_SPECS:
            return [_allow(_SPEC_READ, storage.specs.table_arn)]
        case Access.SCAN_SPECS:
            return [_allow(_SPEC_SCAN, storage.specs.table_arn)]
        case Access.READ_STATE:
            return [_allow(_STATE_READ, state)]
        case Access.WRITE_JOB_RECORDS:
            return [_allow(_STATE_WRITE, state, conditions=_keys("StringNotLike", *OPERATORS_KEYS, *ARTIFACT_KEYS))]
        case Access.WRITE_ARTIFACT_RECORDS:
            return [_allow(_ARTIFACT_RECORD_WRITE, state, conditions=_keys("StringLike", *ARTIFACT_KEYS))]
        case Access.READ_REGISTRY:
            return [
                _allow(_REGISTRY_READ, state, conditions=_keys("StringLike", *OPERATORS_KEYS)),
                _allow(_INDEX_READ, _index(storage.state, BY_KIND)),
            ]
        case Access.FIND_JOBS_BY_ARTIFACT:
            return [_allow(_INDEX_READ, _index(storage.state, BY_ARTIFACT))]
        case Access.FIND_DUE_JOBS:
            return [_allow(_INDEX_READ, _index(storage.state, BY_DUE))]
        case Access.READ_ARTIFACTS:
            return _bucket(_ARTIFACT_READ, storage.artifacts.bucket_arn)
        case Access.READ_SAVED_STATE:
            arns = [f"arn:{Aws.PARTITION}:s3:::{bucket}" for bucket in resources.state_buckets]
            return _bucket(_SAVED_STATE_READ, *arns) if arns else []
        case Access.SEND_FOLLOW_UPS:
            return [_allow(_FOLLOW_UP_SEND, messaging.follow_ups.queue_arn)]
        case Access.PUBLISH_ALERTS:
            return [_allow(_ALERT_PUBLISH, messaging.alerts.topic_arn)]
        case Access.READ_QUEUE_DEPTH:
            return [_allow(_QUEUE_DEPTH, messaging.follow_ups.queue_arn)]
    assert_never(access)


def stream_statement(table: dynamodb.Table) -> iam.PolicyStatement:
    """Say what Lambda's poller needs on a table's stream; the CDK's own grant would list every stream of the account."""
    arn = table.table_stream_arn
    if arn is None:
        raise ValueError(f"{table.node.path} has no stream")
    return _allow(_STREAM_READ, arn)


class OperatorsPolicy(Construct):
    """A managed policy for the people who run the controller: to attach to their role, attached to nothing by itself.

    It writes what the controller obeys but never writes: clusters, trusted keys, policies, pauses.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, storage: Storage, health_url: lambda_.IFunctionUrl
    ) -> None:
        super().__init__(scope, construct_id)
        self.policy = iam.ManagedPolicy(
            self,
            "Policy",
            description="Register clusters, keys, policies and pauses; read the controller's state and its health.",
            statements=[
                _allow(_STATE_READ, storage.state.table_arn, _index(storage.state, BY_KIND)),
                _allow(_STATE_WRITE, storage.state.table_arn, conditions=_keys("StringLike", *OPERATORS_KEYS)),
                _allow(_SPEC_READ | _SPEC_SCAN, storage.specs.table_arn),
            ],
        )
        health_url.grant_invoke_url(self.policy)


def _allow(
    actions: Iterable[str], *resources: str, conditions: Mapping[str, Any] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=sorted(actions), resources=list(resources), conditions=conditions)


def _bucket(actions: frozenset[str], *bucket_arns: str) -> list[iam.PolicyStatement]:
    """Split actions between buckets and their objects: IAM ignores an action on the wrong kind of resource."""
    on_bucket = {action for action in actions if action.startswith("s3:List")}
    return [
        _allow(actions - on_bucket, *(f"{arn}/*" for arn in bucket_arns)),
        _allow(on_bucket, *bucket_arns),
    ]


def _keys(operator: str, *patterns: str) -> dict[str, dict[str, list[str]]]:
    """Bind a statement to partition keys; `ForAllValues`, because a transaction names several.

    `ForAllValues` also holds where a request names no key at all, as `Scan` does, so it bounds item operations and
    queries only. None of the bounded statements allows a scan.
    """
    return {f"ForAllValues:{operator}": {"dynamodb:LeadingKeys": list(patterns)}}


def _index(table: dynamodb.Table, name: str) -> str:
    return f"{table.table_arn}/index/{name}"
