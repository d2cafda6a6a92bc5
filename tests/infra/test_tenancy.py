"""Teams' policies, judged as IAM would: what each grant allows in its namespace, and that it ends there."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import aws_cdk as cdk
import pytest

from infra.app import build
from infra.config import ConfigError, DeploymentConfig
from tests.infra.conftest import Synthesized
from tests.permissions import LEADING_KEYS, PREFIX, Permission, Request, permissions

SPECS, STATE, BUCKET = "Storage/JobSpecs", "Storage/ControllerState", "Storage/Artifacts"
TEAMS = [
    {"role_arn": f"arn:aws:iam::123456789012:role/{namespace}-{grant}", "namespace": namespace, "grant": grant}
    for namespace in ("payments", "default")
    for grant in ("read", "deploy", "operate")
]


def on(action: str, table: str, *keys: str) -> Request:
    return Request(action=f"dynamodb:{action}", resource=table, values={LEADING_KEYS: keys} if keys else {})


def s3(action: str, key: str) -> Request:
    return Request(action=f"s3:{action}", resource=f"{BUCKET}/{key}")


def listing(prefix: str | None) -> Request:
    values = {} if prefix is None else {PREFIX: (prefix,)}
    return Request(action="s3:ListBucket", resource=BUCKET, values=values)


READS = {
    "default": [
        on("GetItem", SPECS, "etl"),
        on("GetItem", SPECS, "default/etl"),
        on("GetItem", STATE, "JOB#etl"),
        on("Query", STATE, "JOB#default/etl"),
        on("GetItem", STATE, f"ARTIFACT#{BUCKET}/artifacts/etl.jar"),
    ],
    "payments": [
        on("GetItem", SPECS, "payments/etl"),
        on("GetItem", STATE, "JOB#payments/etl"),
        on("Query", STATE, "JOB#payments/etl"),
        on("GetItem", STATE, f"ARTIFACT#{BUCKET}/payments/etl.jar"),
    ],
}
DEPLOYS = {
    "default": [
        on("PutItem", SPECS, "etl"),
        on("DeleteItem", SPECS, "default/etl"),
        s3("PutObject", "artifacts/etl.jar"),
        s3("GetObjectVersion", "artifacts/etl.jar.sig"),
        listing("artifacts/x"),
    ],
    "payments": [
        on("PutItem", SPECS, "payments/etl"),
        on("DeleteItem", SPECS, "payments/etl"),
        s3("PutObject", "payments/etl.jar"),
        s3("GetObject", "payments/etl.jar"),
        listing("payments/"),
    ],
}
OPERATES = {
    "default": [
        on("PutItem", STATE, "PAUSE#namespace/default"),
        on("PutItem", STATE, "PAUSE#job/etl"),
        on("DeleteItem", STATE, "PAUSE#job/default/etl"),
    ],
    "payments": [on("PutItem", STATE, "PAUSE#namespace/payments"), on("DeleteItem", STATE, "PAUSE#job/payments/etl")],
}
NOBODY = [
    on("Scan", SPECS),
    on("Scan", STATE),
    on("PutItem", SPECS),
    on("UpdateItem", SPECS, "payments/etl"),
    on("PutItem", SPECS, "payments/etl", "etl"),
    on("PutItem", SPECS, "payments-2/etl"),
    on("GetItem", STATE, "JOB#payments-2/etl"),
    on("PutItem", STATE, "JOB#payments/etl"),
    on("PutItem", STATE, "JOB#etl"),
    on("PutItem", STATE, "KEY#mine"),
    on("PutItem", STATE, "CLUSTER#mine"),
    on("PutItem", STATE, "POLICY#payments"),
    on("DeleteItem", STATE, "DENY#ab"),
    on("PutItem", STATE, "PAUSE#all"),
    on("DeleteItem", STATE, "PAUSE#cluster/default"),
    on("DeleteItem", STATE, "PAUSE#namespace/other"),
    on("Query", f"{STATE}/index/by_kind", "STATUS"),
    s3("PutObject", "payments-2/etl.jar"),
    s3("DeleteObject", "payments/etl.jar"),
    s3("DeleteObjectVersion", "artifacts/etl.jar"),
    listing(None),
    listing(""),
]
"""What none of these roles may do."""


@cache
def granted(context: str) -> Mapping[tuple[str, str], list[Permission]]:
    """Synthesize a deployment with all teams; give the rights of each."""
    chosen = {**json.loads(context), "environment": "dev", "teams": TEAMS, "aws:cdk:bundling-stacks": []}
    app = cdk.App(context={**chosen, "aws:cdk:enable-path-metadata": True})
    stack = build(app)
    # Raises when cdk-nag finds what nobody acknowledged.
    artifact = app.synth().get_stack_artifact(stack.artifact_id)
    found = Synthesized(config=DeploymentConfig.from_context(chosen), folder=None, template=artifact.template)  # type: ignore[arg-type]  # no file is read here
    rights = {}
    for resource in found.of_type("AWS::IAM::ManagedPolicy").values():
        properties: Mapping[str, Any] = resource["Properties"]
        if "Roles" in properties:
            namespace, grant = properties["Roles"][0].split("-")
            rights[namespace, grant] = permissions(properties["PolicyDocument"]["Statement"], found.label)
    return rights


@pytest.mark.parametrize("namespace", ["payments", "default"])
@pytest.mark.parametrize("grant", ["read", "deploy", "operate"])
def test_a_team_may_do_what_it_was_granted_in_its_namespace_and_nothing_else(
    context: Mapping[str, Any], namespace: str, grant: str
) -> None:
    rights = granted(json.dumps(dict(context), sort_keys=True))[namespace, grant]
    more = {"read": {}, "deploy": DEPLOYS, "operate": OPERATES}[grant]
    wanted = [*READS[namespace], *more.get(namespace, [])]
    everything = [one for table in (READS, DEPLOYS, OPERATES) for requests in table.values() for one in requests]
    refused = [*NOBODY, *(request for request in everything if request not in wanted)]

    assert [request for request in wanted if not any(right.allows(request) for right in rights)] == []
    assert [request for request in refused if any(right.allows(request) for right in rights)] == []


@pytest.mark.parametrize(
    "change", [{"namespace": "artifacts"}, {"role_arn": "payments"}, {"grant": "own"}, {"namespace": "A"}]
)
def test_a_team_that_makes_no_sense_is_refused_before_anything_is_synthesized(
    context: Mapping[str, Any], change: Mapping[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"teams\.0"):
        DeploymentConfig.from_context({**context, "environment": "dev", "teams": [{**TEAMS[0], **change}]})
