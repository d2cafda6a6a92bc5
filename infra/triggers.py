"""What invokes each function, from its row, and where events go that no invocation survived."""

from typing import Any, assert_never

from aws_cdk import Aws, Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from flink_controller.adapters.announcement_records import ARTIFACT_KEYS, JOB_KEYS
from flink_controller.domain.artifact import Verdict
from flink_controller.domain.names import artifact_prefix
from flink_controller.settings import SCRAPE_ALIAS
from infra.access import stream_grant
from infra.compute import ControllerFunction
from infra.config import DeploymentConfig
from infra.functions import (
    EventStream,
    FollowUps,
    ObjectCreated,
    ObjectRemoved,
    Schedule,
    SecretRotation,
    SignedURL,
    SpecStream,
)
from infra.messaging import Messaging
from infra.storage import Storage

_UPLOAD_RETRIES = 2
_UPLOAD_MAX_AGE = Duration.hours(6)


class Triggers(Construct):
    """Connects functions to their sources."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: DeploymentConfig, storage: Storage, messaging: Messaging
    ) -> None:
        super().__init__(scope, construct_id)
        self._config = config
        self._storage = storage
        self._messaging = messaging
        self.urls: dict[str, lambda_.FunctionUrl] = {}
        """Addresses of the functions that have one, by function name."""

    def connect(self, target: ControllerFunction) -> None:
        """Add every trigger of the function's row."""
        for trigger in target.row.triggers:
            match trigger:
                case ObjectCreated():
                    self._on_upload(target)
                case ObjectRemoved():
                    self._on_objects(target, s3.EventType.OBJECT_REMOVED)
                case SpecStream():
                    self._on_spec(target, trigger)
                case EventStream():
                    self._on_event(target, trigger)
                case FollowUps():
                    self._on_follow_up(target, trigger)
                case Schedule():
                    self._on_tick(target, trigger)
                case SecretRotation():
                    self._on_rotation(target)
                case SignedURL():
                    self.urls[target.row.name] = target.function.add_function_url(
                        auth_type=lambda_.FunctionUrlAuthType.AWS_IAM
                    )
                case _:
                    assert_never(trigger)

    def scrape_url(self, target: ControllerFunction) -> lambda_.FunctionUrl:
        """Give an address that AWS lets everybody call: the function itself asks for a token, and answers nothing else.

        It belongs to an alias, so that the function can tell its requests from signed ones by nothing that callers write.
        """
        alias = lambda_.Alias(target, "Scrape", alias_name=SCRAPE_ALIAS, version=target.function.current_version)
        return alias.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)

    def _on_upload(self, target: ControllerFunction) -> None:
        # An upload is told once and nothing looks for a lost one, so the event is kept until it can be sent again.
        target.function.configure_async_invoke(
            retry_attempts=_UPLOAD_RETRIES,
            max_event_age=_UPLOAD_MAX_AGE,
            on_failure=destinations.SqsDestination(self._messaging.invocation_failures),
        )
        self._on_objects(target, s3.EventType.OBJECT_CREATED)

    def _on_objects(self, target: ControllerFunction, event: s3.EventType) -> None:
        destination = notifications.LambdaDestination(target.function)
        self._storage.artifacts.add_event_notification(event, destination)
        for namespace, bucket in self._storage.of_namespaces.items():
            bucket.add_event_notification(event, destination, s3.NotificationKeyFilter(prefix=artifact_prefix(namespace)))

    def _on_spec(self, target: ControllerFunction, trigger: SpecStream) -> None:
        target.function.add_to_role_policy(stream_grant(self._storage.specs).statement())
        mapping = target.function.add_event_source_mapping(
            "SpecStream",
            event_source_arn=self._storage.specs.table_stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=trigger.batch_size,
            parallelization_factor=trigger.parallelization,
            bisect_batch_on_error=True,
            retry_attempts=trigger.retries,
            max_record_age=Duration.minutes(trigger.max_age_minutes),
            report_batch_item_failures=True,
            on_failure=sources.SqsDlq(self._messaging.stream_failures),
        )
        _after_permissions(mapping, target.role)

    def _on_event(self, target: ControllerFunction, trigger: EventStream) -> None:
        target.function.add_to_role_policy(stream_grant(self._storage.state).statement())
        mapping = target.function.add_event_source_mapping(
            "EventStream",
            event_source_arn=self._storage.state.table_stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=trigger.batch_size,
            bisect_batch_on_error=True,
            retry_attempts=trigger.retries,
            max_record_age=Duration.minutes(trigger.max_age_minutes),
            report_batch_item_failures=True,
            filters=[
                lambda_.FilterCriteria.filter(
                    {"eventName": lambda_.FilterRule.is_equal("INSERT"), "dynamodb": {"Keys": _keys_like(*JOB_KEYS)}}
                ),
                lambda_.FilterCriteria.filter(
                    {
                        "dynamodb": {
                            "Keys": _keys_like(*ARTIFACT_KEYS),
                            "NewImage": {"verdict": {"S": lambda_.FilterRule.is_equal(Verdict.REFUSED.value)}},
                        }
                    }
                ),
            ],
            on_failure=sources.SqsDlq(self._messaging.event_failures),
        )
        _after_permissions(mapping, target.role)

    def _on_follow_up(self, target: ControllerFunction, trigger: FollowUps) -> None:
        self._messaging.follow_ups.grant_consume_messages(target.role)
        mapping = target.function.add_event_source_mapping(
            "FollowUps",
            event_source_arn=self._messaging.follow_ups.queue_arn,
            batch_size=trigger.batch_size,
            max_concurrency=self._config.follow_up_max_concurrency,
            report_batch_item_failures=True,
        )
        _after_permissions(mapping, target.role)

    def _on_rotation(self, target: ControllerFunction) -> None:
        permission = lambda_.CfnPermission(
            target,
            "Rotation",
            action="lambda:InvokeFunction",
            function_name=target.function.function_arn,
            principal="secretsmanager.amazonaws.com",
            source_account=Aws.ACCOUNT_ID,
        )
        # The emulator knows no schedules of rotations; locally the function is invoked with its events.
        for name in () if self._config.is_local else self._config.rotated_secrets:
            schedule = secretsmanager.CfnRotationSchedule(
                target,
                f"Rotation-{name}",
                secret_id=name,
                rotation_lambda_arn=target.function.function_arn,
                rotate_immediately_on_update=False,
                rotation_rules=secretsmanager.CfnRotationSchedule.RotationRulesProperty(
                    automatically_after_days=self._config.rotation_days
                ),
            )
            # Secrets Manager tries the function when the schedule is made.
            schedule.add_dependency(permission)

    def _on_tick(self, target: ControllerFunction, trigger: Schedule) -> None:
        period = Duration.minutes(trigger.rate_minutes)
        # Neither EventBridge nor Lambda repeats a tick: its successor comes within a minute and knows more. A tick that is
        # missing shows in the heartbeat alarm, one that failed in the error alarm; there is nothing to send again.
        target.function.configure_async_invoke(retry_attempts=0, max_event_age=period)
        events.Rule(
            target,
            "Tick",
            description=target.row.summary,
            schedule=events.Schedule.rate(period),
            enabled=self._config.schedules_enabled,
            targets=[targets.LambdaFunction(target.function, retry_attempts=0, max_event_age=period)],
        )


def _keys_like(partition: str, sort: str) -> dict[str, Any]:
    """Match the keys that begin so."""
    return {
        "pk": {"S": lambda_.FilterRule.begins_with(partition)},
        "sk": {"S": lambda_.FilterRule.begins_with(sort)},
    }


def _after_permissions(mapping: lambda_.EventSourceMapping, role: iam.Role) -> None:
    """Order a mapping after the role's policy: Lambda refuses a mapping whose role cannot read the source yet."""
    mapping.node.add_dependency(role)
