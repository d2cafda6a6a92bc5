"""What the roles of teams may do: nothing outside of their namespace, said by IAM before the controller sees a spec.

`teams` in `cdk.json` names roles, namespaces and grants; an app of its own calls the three functions.
"""

from collections.abc import Sequence
from typing import Any, Final

from aws_cdk import aws_iam as iam
from constructs import Construct

from flink_controller.adapters import dynamodb_registry, dynamodb_specs, dynamodb_statuses, s3_artifacts, s3_uploads
from flink_controller.domain.names import DEFAULT_NAMESPACE, artifact_prefix
from infra.access import Grant
from infra.config import Team, TeamGrant
from infra.storage import Storage

LEADING_KEYS: Final = "dynamodb:LeadingKeys"
_NAMES_ITS_KEYS: Final = {"Null": {LEADING_KEYS: "false"}}
"""`ForAllValues` also holds for a request without keys, as a scan is; this does not."""


class Teams(Construct):
    """A managed policy for each team of the configuration, attached to its role."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: Storage, teams: Sequence[Team]) -> None:
        super().__init__(scope, construct_id)
        grants = {TeamGrant.READ: grant_read, TeamGrant.DEPLOY: grant_deploy, TeamGrant.OPERATE: grant_operate}
        self.policies = {}
        for number, team in enumerate(teams):
            role = iam.Role.from_role_arn(self, f"Role{number}", team.role_arn)
            self.policies[team] = grants[team.grant](role, team.namespace, storage=storage, scope=self)


def grant_read(role: iam.IRole, namespace: str, *, storage: Storage, scope: Construct) -> iam.ManagedPolicy:
    """Let a role see a namespace's specs, statuses, histories and records of artifacts.

    Clusters and pauses are seen whole: they say why a job waits. The list of all jobs is not granted: an index has no
    leading key that names a namespace.
    """
    return _policy(role, namespace, TeamGrant.READ, _reads(namespace, storage), scope)


def grant_deploy(role: iam.IRole, namespace: str, *, storage: Storage, scope: Construct) -> iam.ManagedPolicy:
    """Let a role read a namespace, write its specs, and upload under its prefix."""
    bucket = storage.of_namespaces.get(namespace, storage.artifacts).bucket_arn
    prefix = artifact_prefix(namespace)
    on_objects = (s3_artifacts.READ_ACTIONS | s3_uploads.WRITE_ACTIONS) - {"s3:ListBucket"}
    granted = [
        *_reads(namespace, storage),
        *_owned(dynamodb_specs.EDIT_ACTIONS, storage.specs.table_arn, "", namespace),
        Grant(actions=on_objects, resources=[f"{bucket}/{prefix}*"]),
        Grant(actions={"s3:ListBucket"}, resources=[bucket], conditions={"StringLike": {"s3:prefix": [f"{prefix}*"]}}),
    ]
    return _policy(role, namespace, TeamGrant.DEPLOY, granted, scope)


def grant_operate(role: iam.IRole, namespace: str, *, storage: Storage, scope: Construct) -> iam.ManagedPolicy:
    """Let a role read a namespace, and pause and unpause it and its jobs; it can start nothing."""
    state, actions = storage.state.table_arn, dynamodb_registry.WRITE_ACTIONS
    granted = [
        *_reads(namespace, storage),
        Grant(actions=actions, resources=[state], conditions=_keys(f"PAUSE#namespace/{namespace}")),
        *_owned(actions, state, "PAUSE#job/", namespace),
    ]
    return _policy(role, namespace, TeamGrant.OPERATE, granted, scope)


def _reads(namespace: str, storage: Storage) -> list[Grant]:
    specs, state = storage.specs.table_arn, storage.state.table_arn
    bucket = storage.of_namespaces.get(namespace, storage.artifacts).bucket_name
    seen = (
        f"ARTIFACT#{bucket}/{artifact_prefix(namespace)}*",
        f"POLICY#{namespace}",
        "CLUSTER#*",
        "PAUSE#*",
    )
    return [
        *_owned(dynamodb_specs.READ_ACTIONS, specs, "", namespace),
        *_owned(dynamodb_statuses.READ_ACTIONS, state, "JOB#", namespace),
        Grant(
            actions=dynamodb_statuses.READ_ACTIONS | dynamodb_registry.PAUSE_ACTIONS,
            resources=[state],
            conditions=_keys(*seen),
        ),
    ]


def _owned(actions: frozenset[str], table: str, prefix: str, namespace: str) -> list[Grant]:
    """Bind actions to keys that end with a namespace's job ids.

    A job id without a slash is namespace `default`'s, which no pattern can say alone; that there is no slash, a second
    condition can.
    """
    named = Grant(actions=actions, resources=[table], conditions=_keys(f"{prefix}{namespace}/*"))
    if namespace != DEFAULT_NAMESPACE:
        return [named]
    bare = {
        "ForAllValues:StringLike": {LEADING_KEYS: [f"{prefix}*"]},
        "ForAllValues:StringNotLike": {LEADING_KEYS: [f"{prefix}*/*"]},
        **_NAMES_ITS_KEYS,
    }
    return [named, Grant(actions=actions, resources=[table], conditions=bare)]


def _keys(*patterns: str) -> dict[str, Any]:
    return {"ForAllValues:StringLike": {LEADING_KEYS: list(patterns)}, **_NAMES_ITS_KEYS}


def _policy(
    role: iam.IRole, namespace: str, grant: TeamGrant, granted: Sequence[Grant], scope: Construct
) -> iam.ManagedPolicy:
    policy = iam.ManagedPolicy(
        scope,
        f"{grant.value}-{namespace}-{role.node.id}",
        description=f"{grant.value} in namespace {namespace} of the Flink job controller.",
        statements=[one.statement() for one in granted],
    )
    policy.attach_to_role(role)
    return policy
