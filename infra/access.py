"""What each kind of access means in IAM: which actions on which resource, and nothing beyond.

The actions are the adapters' own: each names what its calls need, so a new call and its permission change in one place.
Nothing here calls the CDK's `grant_*` shortcuts, which give whole families of actions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aws_cdk import Aws
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from flink_controller.adapters import (
    dynamodb_artifacts,
    dynamodb_backup,
    dynamodb_circuits,
    dynamodb_events,
    dynamodb_registry,
    dynamodb_specs,
    dynamodb_statuses,
    event_bus,
    s3_artifacts,
    s3_state,
    secrets,
    sns_alerts,
    sqs_dead_letters,
    sqs_follow_ups,
)
from flink_controller.adapters.dynamodb_items import BY_ARTIFACT, BY_DUE, BY_KIND
from flink_controller.domain.names import artifact_prefix
from infra.functions import Access
from infra.messaging import Messaging
from infra.storage import Storage

OPERATORS_KEYS: Final = ("CLUSTER#*", "DENY#*", "KEY#*", "POLICY#*", "PAUSE#*")
"""Partition keys of what operators write and the controller only reads."""
PAUSE_KEYS: Final = ("PAUSE#*",)
"""Partition keys of the pauses among them."""
TRUST_KEYS: Final = ("KEY#*", "DENY#*")
"""Partition keys of what is looked up before an artifact is started."""
CIRCUIT_KEYS: Final = ("CIRCUIT#*",)
"""Partition keys of what is recorded of clusters that do not answer."""
ARTIFACT_KEYS: Final = ("ARTIFACT#*",)
"""Partition keys of the records of artifact versions."""
JOB_KEYS: Final = ("JOB#*", "JAR#*", "QUOTA#*")
"""Partition keys of the controller's records of jobs: status and history, staged jars, places of the quota."""

_QUERY: Final = frozenset({"dynamodb:Query"})
_STREAM_READ: Final = frozenset(
    {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"}
)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What access is to."""

    storage: Storage
    messaging: Messaging
    state_buckets: Sequence[str]
    flink_secrets: Sequence[str] = ()
    scrape_secret: str | None = None


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Actions on resources, possibly bound to partition keys."""

    actions: Iterable[str]
    resources: Sequence[str]
    conditions: Mapping[str, Any] | None = None

    def statement(self) -> iam.PolicyStatement:
        """Say it to IAM."""
        return iam.PolicyStatement(actions=sorted(self.actions), resources=list(self.resources), conditions=self.conditions)


def grants(resources: Resources) -> Mapping[Access, Sequence[Grant]]:
    """Spell every kind of access out."""
    storage, messaging = resources.storage, resources.messaging
    specs, state = storage.specs.table_arn, storage.state.table_arn
    state_buckets = [f"arn:{Aws.PARTITION}:s3:::{bucket}" for bucket in resources.state_buckets]
    by_kind = Grant(actions=_QUERY, resources=[_index(storage.state, BY_KIND)])
    return {
        Access.READ_SPECS: [Grant(actions=dynamodb_specs.READ_ACTIONS, resources=[specs])],
        Access.FIND_SPECS: [Grant(actions=dynamodb_specs.FIND_ACTIONS, resources=[specs])],
        Access.SCAN_SPECS: [Grant(actions=dynamodb_specs.SCAN_ACTIONS, resources=[specs])],
        Access.READ_JOB_RECORDS: [
            Grant(
                actions=dynamodb_statuses.READ_ACTIONS - _QUERY,
                resources=[state],
                conditions=_keys("StringLike", *JOB_KEYS),
            )
        ],
        Access.QUERY_JOB_RECORDS: [Grant(actions=_QUERY, resources=[state], conditions=_keys("StringLike", *JOB_KEYS))],
        Access.LIST_JOBS: [by_kind],
        Access.WRITE_JOB_RECORDS: [
            Grant(
                actions=dynamodb_statuses.WRITE_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *JOB_KEYS),
            )
        ],
        Access.READ_ARTIFACT_HEADS: [
            Grant(
                actions=dynamodb_artifacts.READ_ACTIONS - _QUERY,
                resources=[state],
                conditions=_keys("StringLike", *ARTIFACT_KEYS),
            )
        ],
        Access.FIND_ARTIFACT_HEADS: [
            Grant(
                actions=dynamodb_artifacts.FIND_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *ARTIFACT_KEYS),
            )
        ],
        Access.QUERY_ARTIFACT_RECORDS: [
            Grant(actions=_QUERY, resources=[state], conditions=_keys("StringLike", *ARTIFACT_KEYS))
        ],
        Access.WRITE_ARTIFACT_RECORDS: [
            Grant(
                actions=dynamodb_artifacts.WRITE_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *ARTIFACT_KEYS),
            )
        ],
        Access.PRUNE_ARTIFACT_RECORDS: [
            Grant(
                actions=dynamodb_artifacts.PRUNE_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *ARTIFACT_KEYS),
            )
        ],
        Access.READ_REGISTRY: [
            Grant(
                actions=dynamodb_registry.READ_ACTIONS - _QUERY,
                resources=[state],
                conditions=_keys("StringLike", *OPERATORS_KEYS),
            ),
        ],
        Access.LIST_REGISTRY: [by_kind],
        Access.READ_TRUST: [
            Grant(
                actions=dynamodb_registry.TRUST_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *TRUST_KEYS),
            )
        ],
        Access.READ_BARRIERS: [
            Grant(
                actions=dynamodb_circuits.READ_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *PAUSE_KEYS, *CIRCUIT_KEYS),
            )
        ],
        Access.WRITE_CIRCUITS: [
            Grant(
                actions=dynamodb_circuits.WRITE_ACTIONS,
                resources=[state],
                conditions=_keys("StringLike", *CIRCUIT_KEYS),
            )
        ],
        Access.FIND_JOBS_BY_ARTIFACT: [Grant(actions=_QUERY, resources=[_index(storage.state, BY_ARTIFACT)])],
        Access.FIND_DUE_JOBS: [Grant(actions=_QUERY, resources=[_index(storage.state, BY_DUE)])],
        Access.READ_ARTIFACTS: _on_artifacts(storage, s3_artifacts.READ_ACTIONS - s3_artifacts.VERSION_ACTIONS),
        Access.READ_ARTIFACT_VERSIONS: _on_artifacts(storage, s3_artifacts.VERSION_ACTIONS | {"s3:ListBucket"}),
        Access.READ_SAVED_STATE: _on_buckets(s3_state.READ_ACTIONS, *state_buckets),
        Access.COUNT_FOLLOW_UPS: [Grant(actions=sqs_follow_ups.COUNT_ACTIONS, resources=[messaging.follow_ups.queue_arn])],
        Access.CALL_FLINK: _on_secrets(secrets.READ_ACTIONS, resources.flink_secrets),
        Access.ADMIT_SCRAPERS: _on_secrets(
            secrets.READ_ACTIONS, [resources.scrape_secret] if resources.scrape_secret else []
        ),
        Access.ROTATE_SECRETS: _on_secrets(secrets.ROTATE_ACTIONS, resources.flink_secrets),
        Access.PUBLISH_EVENTS: [
            Grant(actions=event_bus.PUT_ACTIONS, resources=[messaging.events.event_bus_arn]),
            Grant(actions=sns_alerts.PUBLISH_ACTIONS, resources=[messaging.alerts.topic_arn]),
        ],
        Access.SEND_FOLLOW_UPS: [Grant(actions=sqs_follow_ups.SEND_ACTIONS, resources=[messaging.follow_ups.queue_arn])],
    }


def stream_grant(table: dynamodb.Table) -> Grant:
    """Say what Lambda's poller needs on a table's stream; the CDK's own grant would list every stream of the account."""
    arn = table.table_stream_arn
    if arn is None:
        raise ValueError(f"{table.node.path} has no stream")
    return Grant(actions=_STREAM_READ, resources=[arn])


class OperatorsPolicy(Construct):
    """A managed policy for the people who run the controller: to attach to their role, attached to nothing by itself.

    It writes what the controller obeys but never writes: clusters, trusted keys, denied digests, policies, pauses. It
    redrives the queues of failures, and so may wake jobs and publish events.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        storage: Storage,
        messaging: Messaging,
        health_url: lambda_.IFunctionUrl,
    ) -> None:
        super().__init__(scope, construct_id)
        state = storage.state.table_arn
        granted = (
            Grant(
                # The scan is for backups, and for events that are published again.
                actions=dynamodb_statuses.READ_ACTIONS
                | dynamodb_registry.PAUSE_ACTIONS
                | dynamodb_backup.BACKUP_ACTIONS
                | dynamodb_events.READ_ACTIONS,
                resources=[state],
            ),
            Grant(actions=_QUERY, resources=[_index(storage.state, name) for name in (BY_KIND, BY_ARTIFACT)]),
            Grant(
                # Whoever mends an item by hand updates it.
                actions=dynamodb_registry.WRITE_ACTIONS | {"dynamodb:UpdateItem"},
                resources=[state],
                conditions=_keys("StringLike", *OPERATORS_KEYS),
            ),
            Grant(
                actions=dynamodb_specs.READ_ACTIONS | dynamodb_specs.SCAN_ACTIONS,
                resources=[storage.specs.table_arn],
            ),
            Grant(actions=sqs_dead_letters.REDRIVE_ACTIONS, resources=[queue.queue_arn for queue in messaging.failures]),
            Grant(actions=sqs_follow_ups.SEND_ACTIONS, resources=[messaging.follow_ups.queue_arn]),
            Grant(actions=event_bus.PUT_ACTIONS, resources=[messaging.events.event_bus_arn]),
            Grant(actions=sns_alerts.PUBLISH_ACTIONS, resources=[messaging.alerts.topic_arn]),
        )
        self.policy = iam.ManagedPolicy(
            self,
            "Policy",
            description="Register clusters, keys, policies and pauses; read the controller's state and its health.",
            statements=[grant.statement() for grant in granted],
        )
        health_url.grant_invoke_url(self.policy)


def _on_artifacts(storage: Storage, actions: frozenset[str]) -> list[Grant]:
    """Grant actions on the artifact bucket and on what namespaces own of theirs."""
    own = (
        grant
        for namespace, bucket in storage.of_namespaces.items()
        for grant in _on_buckets(actions, bucket.bucket_arn, prefix=artifact_prefix(namespace))
    )
    return [*_on_buckets(actions, storage.artifacts.bucket_arn), *own]


def _on_buckets(actions: frozenset[str], *bucket_arns: str, prefix: str = "") -> list[Grant]:
    """Split actions between buckets and their objects: IAM ignores an action on the wrong kind of resource."""
    if not bucket_arns:
        return []
    on_bucket = {action for action in actions if action.startswith("s3:List")}
    return [
        Grant(actions=actions - on_bucket, resources=[f"{arn}/{prefix}*" for arn in bucket_arns]),
        Grant(actions=on_bucket, resources=bucket_arns),
    ]


def _on_secrets(actions: frozenset[str], names: Sequence[str]) -> list[Grant]:
    """Name secrets by their names: Secrets Manager adds six characters of its own to an ARN."""
    if not names:
        return []
    prefix = f"arn:{Aws.PARTITION}:secretsmanager:{Aws.REGION}:{Aws.ACCOUNT_ID}:secret"
    return [Grant(actions=actions, resources=[f"{prefix}:{name}-??????" for name in names])]


def _keys(operator: str, *patterns: str) -> dict[str, dict[str, list[str]]]:
    """Bind a statement to partition keys; `ForAllValues`, because a transaction names several.

    `ForAllValues` also holds where a request names no key at all, as `Scan` does, so it bounds item operations and
    queries only. None of the bounded statements allows a scan.
    """
    return {f"ForAllValues:{operator}": {"dynamodb:LeadingKeys": list(patterns)}}


def _index(table: dynamodb.Table, name: str) -> str:
    return f"{table.table_arn}/index/{name}"
