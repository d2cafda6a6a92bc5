"""Functions in a VPC with a key of the customer's own: who reaches what, and what encrypts what."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from pydantic import TypeAdapter

from infra.app import build
from infra.config import ConfigError, DeploymentConfig, NetworkConfig
from infra.functions import FUNCTIONS, Access
from infra.network import Network
from tests.infra.conftest import Synthesized

KEY = "arn:aws:kms:eu-west-1:123456789012:key/4f1c2f7e-7d0b-4c53-9d0f-2a9f4b7c5e11"
LAYER = "arn:aws:lambda:eu-west-1:123456789012:layer:flink-kerberos:1"
LISTS = {"s3_prefix_list_id": "pl-6da54004", "dynamodb_prefix_list_id": "pl-6fa54006"}
GIVEN = {
    **LISTS,
    "vpc_id": "vpc-0123456789abcdef0",
    "availability_zones": ["eu-west-1a", "eu-west-1b"],
    "subnet_ids": ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
    "route_table_ids": ["rtb-0123456789abcdef0", "rtb-0123456789abcdef1"],
    "flink_security_group_id": "sg-0123456789abcdef0",
}


def placed(context: Mapping[str, Any], folder: Path, network: Mapping[str, Any]) -> Synthesized:
    chosen = {
        **context,
        "environment": "prod",
        "aws:cdk:bundling-stacks": [],
        "aws:cdk:enable-path-metadata": True,
        "network": network,
        "kms_key_arn": KEY,
        "kerberos_layer_arn": LAYER,
        "flink_secrets": ["example-flink"],
        "rotated_secrets": ["example-flink"],
    }
    app = cdk.App(context=chosen, outdir=str(folder))
    stack = build(app)
    # Raises when cdk-nag finds what nobody acknowledged.
    template = app.synth().get_stack_artifact(stack.artifact_id).template
    return Synthesized(config=DeploymentConfig.from_context(chosen), folder=folder, template=template)


@pytest.fixture(scope="module")
def in_given(context: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return placed(context, tmp_path_factory.mktemp("given"), GIVEN)


@pytest.fixture(scope="module")
def in_made(context: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Synthesized:
    return placed(context, tmp_path_factory.mktemp("made"), LISTS)


def group_ids(placed: Synthesized, name: str) -> set[str]:
    groups = placed.functions()[name]["Properties"]["VpcConfig"]["SecurityGroupIds"]
    return {placed.path(placed.template["Resources"][group["Fn::GetAtt"][0]]).removesuffix("/Resource") for group in groups}


def test_only_who_calls_flink_can_reach_it(in_given: Synthesized) -> None:
    for row in FUNCTIONS:
        expected = {"Network/Functions"} | ({"Network/FlinkCallers"} if Access.CALL_FLINK in row.access else set())
        assert group_ids(in_given, row.name) == expected
    assert "Network/FlinkCallers" not in group_ids(in_given, "admit_artifact")


def test_nothing_leads_out_but_to_endpoints_and_flink(in_given: Synthesized, in_made: Synthesized) -> None:
    for found in (in_given, in_made):
        text = json.dumps(found.template)
        assert "AWS::EC2::NatGateway" not in text
        assert "AWS::EC2::InternetGateway" not in text
        rules = [rule["Properties"] for rule in found.of_type("AWS::EC2::SecurityGroupEgress").values()]
        for group in found.of_type("AWS::EC2::SecurityGroup").values():
            inline = group["Properties"].get("SecurityGroupEgress", ())
            # Where a group leads nowhere the CDK says so by an address that nobody has.
            rules += [rule for rule in inline if rule.get("CidrIp") != "255.255.255.255/32"]
        assert rules
        assert all("CidrIp" not in rule and "CidrIpv6" not in rule for rule in rules)
        assert {rule["FromPort"] for rule in rules} == {443, 8081}


def test_descriptions_of_security_groups_hold_only_what_ec2_takes(in_made: Synthesized) -> None:
    kinds = ("AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress")
    texts = re.findall(r'"(?:Group)?Description": "([^"]*)"', json.dumps([in_made.of_type(kind) for kind in kinds]))

    assert len(texts) > 5
    assert all(re.fullmatch(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}", text) for text in texts), texts


def test_there_is_an_endpoint_for_each_service_that_is_called(in_given: Synthesized) -> None:
    endpoints = [json.dumps(e["Properties"]["ServiceName"]) for e in in_given.of_type("AWS::EC2::VPCEndpoint").values()]

    for service in ("s3", "dynamodb", "sqs", "secretsmanager"):
        assert any(f".{service}" in name for name in endpoints), service


def test_endpoints_that_are_there_are_not_made_again() -> None:
    stack = cdk.Stack(cdk.App(), "one")
    given = {**GIVEN, "route_table_ids": (), "has_endpoints": True}
    network = TypeAdapter(NetworkConfig).validate_json(json.dumps(given))

    Network(stack, "Network", network=network, actions={"s3:GetObject", "sqs:SendMessage"})

    Template.from_stack(stack).resource_count_is("AWS::EC2::VPCEndpoint", 0)


def test_only_who_calls_flink_carries_the_kerberos_layer(in_given: Synthesized) -> None:
    for row in FUNCTIONS:
        layers = in_given.functions()[row.name]["Properties"]["Layers"]
        assert (LAYER in layers) is (Access.CALL_FLINK in row.access)


def test_flink_is_opened_to_its_callers_alone_where_its_group_is_made(in_made: Synthesized) -> None:
    (rule,) = [
        rule["Properties"]
        for rule in in_made.of_type("AWS::EC2::SecurityGroupIngress").values()
        if rule["Properties"]["FromPort"] == 8081
    ]

    assert "FlinkCallers" in json.dumps(rule["SourceSecurityGroupId"])


def test_a_function_s_code_cannot_do_what_attaches_it(in_given: Synthesized) -> None:
    for row in FUNCTIONS:
        policy = in_given.only("AWS::IAM::Policy", f"{row.name}/Role/DefaultPolicy")
        denied = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert [set(statement["Condition"]) for statement in denied] == [{"ArnEquals"}]


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("AWS::DynamoDB::Table", "SSESpecification.KMSMasterKeyId"),
        ("AWS::SQS::Queue", "KmsMasterKeyId"),
        ("AWS::SNS::Topic", "KmsMasterKeyId"),
        ("AWS::Logs::LogGroup", "KmsKeyId"),
        ("AWS::Lambda::Function", "KmsKeyArn"),
    ],
)
def test_everything_at_rest_is_encrypted_by_the_customer_s_key(in_made: Synthesized, kind: str, path: str) -> None:
    resources = in_made.of_type(kind)

    assert resources
    for resource in resources.values():
        value: Any = resource["Properties"]
        for part in path.split("."):
            value = value[part]
        assert value == KEY
        assert "SqsManagedSseEnabled" not in resource["Properties"]


def test_buckets_are_encrypted_by_it_but_the_one_that_aws_logs_to(in_given: Synthesized) -> None:
    for bucket in in_given.of_type("AWS::S3::Bucket").values():
        (rule,) = bucket["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        given = rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
        assert given == (None if "ArtifactAccessLog" in in_given.path(bucket) else KEY)


def test_functions_use_the_key_by_way_of_services_alone(in_given: Synthesized) -> None:
    for row in FUNCTIONS:
        policy = in_given.only("AWS::IAM::Policy", f"{row.name}/Role/DefaultPolicy")
        (statement,) = [s for s in policy["Properties"]["PolicyDocument"]["Statement"] if s["Resource"] == KEY]
        assert statement["Action"] == ["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
        assert "kms:ViaService" in statement["Condition"]["StringEquals"]


def test_secrets_are_rotated_by_the_function_and_read_by_who_calls_flink(in_given: Synthesized) -> None:
    (schedule,) = in_given.of_type("AWS::SecretsManager::RotationSchedule").values()
    readers = {
        row.name
        for row in FUNCTIONS
        if "secretsmanager:GetSecretValue" in json.dumps(in_given.only("AWS::IAM::Policy", f"{row.name}/Role/DefaultPolicy"))
    }

    assert schedule["Properties"]["SecretId"] == "example-flink"
    assert readers == {row.name for row in FUNCTIONS if Access.CALL_FLINK in row.access}


@pytest.mark.parametrize(
    ("network", "fault"),
    [
        ({}, "s3_prefix_list_id"),
        ({**LISTS, "vpc_id": "vpc-0123456789abcdef0"}, "subnet_ids"),
        ({**GIVEN, "route_table_ids": []}, "route_table_ids"),
        ({**LISTS, "has_endpoints": True}, "vpc_id"),
        ({**LISTS, "vpc_id": "mine"}, "vpc_id"),
    ],
)
def test_half_a_network_is_refused(context: Mapping[str, Any], network: Mapping[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        DeploymentConfig.from_context({**context, "environment": "prod", "network": network})
