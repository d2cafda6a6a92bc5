"""Findings of cdk-nag that stay, each on one construct and with its reason."""

from typing import assert_never

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IConstruct

from flink_controller.domain.names import artifact_prefix
from infra.compute import ControllerFunction
from infra.config import DeploymentConfig, TeamGrant
from infra.functions import (
    Access,
    EventStream,
    FollowUps,
    ObjectCreated,
    ObjectRemoved,
    Schedule,
    SecretRotation,
    SignedURL,
    SpecStream,
    Trigger,
)
from infra.messaging import Messaging
from infra.storage import Storage
from infra.tenancy import Teams


def acknowledge_findings(
    stack: Stack,
    *,
    config: DeploymentConfig,
    storage: Storage,
    messaging: Messaging,
    functions: list[ControllerFunction],
    teams: Teams,
) -> None:
    """Record why each remaining finding is right as it is."""
    for function in functions:
        _acknowledge_function(function, config=config, artifacts=storage.artifacts)
        _acknowledge_invocations(function, config=config)
    for queue in (messaging.stream_failures, messaging.event_failures, messaging.invocation_failures):
        _acknowledge_failure_queue(queue)
    for queue in messaging.failures:
        _acknowledge(
            queue,
            "Serverless-SQSRedrivePolicy",
            "It is where failures end, until a person has seen to them: no function reads it.",
        )
    _acknowledge_subscriptions(messaging.alerts)
    _acknowledge_teams(teams, config=config, artifacts=storage.artifacts)
    _acknowledge_notifications_handler(stack)


def _acknowledge_teams(teams: Teams, *, config: DeploymentConfig, artifacts: s3.Bucket) -> None:
    child = artifacts.node.default_child
    assert isinstance(child, s3.CfnBucket)  # an L2 bucket is always made of one
    common = f"<{Stack.of(artifacts).get_logical_id(child)}.Arn>"
    for team, policy in teams.policies.items():
        own = config.namespace_buckets.get(team.namespace)
        bucket = common if own is None else f"arn:<AWS::Partition>:s3:::{own}"
        if team.grant is TeamGrant.DEPLOY:
            _acknowledge(
                policy,
                f"AwsSolutions-IAM5[Resource::{bucket}/{artifact_prefix(team.namespace)}*]",
                "A team uploads under any key of its namespace's prefix, and under no other.",
            )


def _acknowledge_function(function: ControllerFunction, *, config: DeploymentConfig, artifacts: s3.Bucket) -> None:
    policy = function.role.node.find_child("DefaultPolicy")
    if config.network is not None or config.tracing:
        why = ["X-Ray's two write actions"] * config.tracing + ["what attaches a function to a VPC"] * (
            config.network is not None
        )
        _acknowledge(policy, "AwsSolutions-IAM5[Resource::*]", f"{' and '.join(why)} know no resource to name.")
    if {Access.READ_ARTIFACTS, Access.READ_ARTIFACT_VERSIONS} & set(function.row.access):
        for namespace, bucket in config.namespace_buckets.items():
            _acknowledge(
                policy,
                f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::{bucket}/{artifact_prefix(namespace)}*]",
                "Any key of the namespace may be an artifact; the bucket is named in cdk.json.",
            )
        child = artifacts.node.default_child
        assert isinstance(child, s3.CfnBucket)  # an L2 bucket is always made of one
        _acknowledge(
            policy,
            f"AwsSolutions-IAM5[Resource::<{Stack.of(artifacts).get_logical_id(child)}.Arn>/*]",
            "Any key may be an artifact; which job may use it is decided by namespace and signature.",
        )
    if Access.READ_SAVED_STATE in function.row.access:
        for bucket in config.state_buckets:
            _acknowledge(
                policy,
                f"AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:s3:::{bucket}/*]",
                "Flink chooses the keys of savepoints and checkpoints; the bucket is named in cdk.json.",
            )


def _acknowledge_invocations(function: ControllerFunction, *, config: DeploymentConfig) -> None:
    """Say where each event goes that a function did not survive, or why it need not go anywhere."""
    row = function.row
    _acknowledge(
        function.function, "Serverless-LambdaDLQ", " ".join(dict.fromkeys(_what_of_failures(one) for one in row.triggers))
    )
    if not config.tracing:
        _acknowledge(function.function, "Serverless-LambdaTracing", "The deployment has turned tracing off.")
    if row.schedule is not None:
        reason = _what_of_failures(row.schedule)
        _acknowledge(function.node.find_child("Tick"), "Serverless-EventBusDLQ", reason)
        _acknowledge(
            function.function.node.find_child("EventInvokeConfig"), "Serverless-LambdaAsyncFailureDestination", reason
        )
    for trigger in row.triggers:
        if isinstance(trigger, FollowUps):
            _acknowledge(
                function.function.node.find_child("FollowUps"),
                "Serverless-LambdaEventSourceMappingDestination",
                "Mappings of queues have none; what five workers failed on goes by the queue's own redrive policy.",
            )


def _what_of_failures(trigger: Trigger) -> str:
    match trigger:
        case ObjectCreated():
            return "An upload that was given up goes to the failure destination, whole and with its error."
        case ObjectRemoved():
            return "A removal that nobody was told of is found by the sweep, by what is missing."
        case SpecStream() | EventStream():
            return "What is given up of the stream goes to the failure queue of its mapping."
        case FollowUps():
            return "A wake-up that was given up goes to the dead-letter queue of its own queue."
        case Schedule():
            return "The next tick does the same work on fresher facts; missing and failed ones have alarms."
        case SecretRotation():
            return "Secrets Manager repeats a rotation whose step has failed, and knows which."
        case SignedURL():
            return "Whoever calls the address waits for the answer, and sees a failure."
        case _:
            assert_never(trigger)


def _acknowledge_subscriptions(topic: sns.Topic) -> None:
    for child in topic.node.children:
        if isinstance(child, sns.Subscription):
            _acknowledge(
                child,
                "Serverless-SNSRedrivePolicy",
                "SNS tries a mailbox for six hours; an alarm on what is left then would go to the same mailbox.",
            )


def _acknowledge_failure_queue(queue: sqs.Queue) -> None:
    _acknowledge(
        queue,
        "AwsSolutions-SQS3",
        "It is where failures end: Lambda's on-failure destination, which this rule does not recognize as one.",
    )


def _acknowledge_notifications_handler(stack: Stack) -> None:
    """The CDK configures bucket notifications by a function of its own, whose role this app does not shape."""
    for child in stack.node.children:
        if child.node.id.startswith("BucketNotificationsHandler"):
            _acknowledge(
                child.node.find_child("Role"),
                "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]",
                "The CDK's own handler runs at deploys only; the managed policy lets it write its log.",
            )


def _acknowledge(construct: Construct | IConstruct, finding: str, reason: str) -> None:
    pack = finding.partition("-")[0]
    Validations.of(construct).acknowledge(Acknowledgment(id=f"{pack}::{finding}", reason=reason))
