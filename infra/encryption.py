"""A customer's own key for everything at rest, where one is configured.

Set on the finished template rather than in each construct: whatever is added later is encrypted alike, and the CDK's own
grants on keys, which are patterns, are not drawn in.
"""

from collections.abc import Iterable
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from constructs import Construct

KEY_ACTIONS: Final = frozenset({"kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"})
"""What callers of encrypted services need on the key."""
_SERVICES: Final = ("dynamodb", "events", "s3", "secretsmanager", "sns", "sqs")


def encrypt(scope: Construct, key_arn: str, *, except_for: Iterable[Construct]) -> None:
    """Encrypt tables, buckets, queues, topics, log groups and environments by a key.

    Args:
        scope: whose resources.
        key_arn: the key; its policy must let CloudWatch Logs and CloudWatch's alarms use it (docs/network.md).
        except_for: what AWS itself writes to in a way that knows no such key: buckets of access logs.
    """
    excepted = {f"{construct.node.path}/Resource" for construct in except_for}
    for child in scope.node.find_all():
        if isinstance(child, cdk.CfnResource) and child.node.path not in excepted:
            for path, value in _properties(child.cfn_resource_type, key_arn):
                child.add_property_override(path, value)
            if child.cfn_resource_type == "AWS::SQS::Queue":
                child.add_property_deletion_override("SqsManagedSseEnabled")


def key_statement(key_arn: str) -> iam.PolicyStatement:
    """Let a function use the key by way of the services that it calls, and not by itself."""
    via = [f"{service}.{Aws.REGION}.amazonaws.com" for service in _SERVICES]
    return iam.PolicyStatement(
        actions=sorted(KEY_ACTIONS), resources=[key_arn], conditions={"StringEquals": {"kms:ViaService": via}}
    )


def _properties(kind: str, key_arn: str) -> list[tuple[str, Any]]:
    match kind:
        case "AWS::DynamoDB::Table":
            return [("SSESpecification", {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key_arn})]
        case "AWS::S3::Bucket":
            rule = {
                "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn},
                # One call to the key for many objects.
                "BucketKeyEnabled": True,
            }
            return [("BucketEncryption", {"ServerSideEncryptionConfiguration": [rule]})]
        case "AWS::SQS::Queue" | "AWS::SNS::Topic":
            return [("KmsMasterKeyId", key_arn)]
        case "AWS::Logs::LogGroup":
            return [("KmsKeyId", key_arn)]
        case "AWS::Lambda::Function":
            return [("KmsKeyArn", key_arn)]
        case _:
            return []
