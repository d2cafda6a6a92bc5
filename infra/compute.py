"""One Lambda function, built from its row of the table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import DeploymentConfig, FunctionOverride
from infra.encryption import key_statement
from infra.functions import RECONCILER, Access, FunctionSpec
from infra.layers import ROOT, Target
from infra.messaging import Messaging
from infra.network import Network, interface_statements
from infra.storage import Storage

_RETENTION: Final[Mapping[int, logs.RetentionDays]] = {
    1: logs.RetentionDays.ONE_DAY,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
    3653: logs.RetentionDays.TEN_YEARS,
}


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """A row's sizes after the deployment's overrides."""

    timeout_s: int
    memory_mb: int
    reserved_concurrency: int | None
    """None: the function draws on the account's pool."""

    @classmethod
    def of(cls, row: FunctionSpec, config: DeploymentConfig) -> "Sizing":
        """Apply what the deployment says about this function."""
        override = config.function_overrides.get(row.name, FunctionOverride())
        reserved = override.reserved_concurrency or (row.reserved_concurrency if config.reserve_concurrency else None)
        return cls(
            timeout_s=override.timeout_seconds or row.timeout_s,
            memory_mb=override.memory_mb or row.memory_mb,
            reserved_concurrency=reserved,
        )


class ControllerFunction(Construct):
    """A function with its own role and its own log group, and no permission yet beyond writing to that."""

    def __init__(
        self,
        scope: Construct,
        row: FunctionSpec,
        *,
        config: DeploymentConfig,
        target: Target,
        layers: Sequence[lambda_.ILayerVersion],
        environment: Mapping[str, str],
        network: Network | None = None,
    ) -> None:
        super().__init__(scope, row.name)
        self.row = row
        self.sizing = Sizing.of(row, config)
        stack = cdk.Stack.of(self)
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            retention=_RETENTION[config.log_retention_days],
            removal_policy=cdk.RemovalPolicy.RETAIN if config.retain_data else cdk.RemovalPolicy.DESTROY,
        )
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What {row.name} of {stack.stack_name} may do.",
        )
        # Not AWSLambdaBasicExecutionRole, which may write to every log group of the account.
        self.log_group.grant_write(self.role)
        placement = None if network is None else network.placement(row)
        if placement is not None:
            for statement in interface_statements(f"{stack.stack_name}-{row.name}"):
                self.role.add_to_policy(statement)
        if config.kms_key_arn is not None:
            self.role.add_to_policy(key_statement(config.kms_key_arn))
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=f"{stack.stack_name}-{row.name}",
            description=row.summary,
            runtime=target.runtime,
            architecture=target.architecture,
            code=function_code(row.name),
            handler=f"functions.{row.name}.handler.lambda_handler",
            timeout=cdk.Duration.seconds(self.sizing.timeout_s),
            memory_size=self.sizing.memory_mb,
            reserved_concurrent_executions=self.sizing.reserved_concurrency,
            role=self.role,
            log_group=self.log_group,
            layers=[*layers, *_kerberos(self, row, config)],
            environment=dict(environment),
            vpc=None if placement is None else placement.vpc,
            vpc_subnets=None if placement is None else placement.subnets,
            security_groups=None if placement is None else placement.security_groups,
            tracing=lambda_.Tracing.ACTIVE if config.tracing else lambda_.Tracing.DISABLED,
            # Lambda takes a job that looks again and again for a runaway loop and stops it after about 16 rounds. A stream
            # job is looked at for as long as it lives; chains are bounded by the recorded next look instead.
            recursive_loop=lambda_.RecursiveLoop.ALLOW if row.wakes_itself else None,
        )


def _kerberos(scope: Construct, row: FunctionSpec, config: DeploymentConfig) -> list[lambda_.ILayerVersion]:
    """Give the optional layer to those who call Flink."""
    if config.kerberos_layer_arn is None or Access.CALL_FLINK not in row.access:
        return []
    return [lambda_.LayerVersion.from_layer_version_arn(scope, "Kerberos", config.kerberos_layer_arn)]


def function_code(name: str) -> lambda_.Code:
    """Package one function's folder under the path by which everything imports it.

    The prefix `functions/` stays, so the dotted path is the same in Lambda, tests and stack traces; other functions stay
    out, so changing one redeploys one.
    """
    return lambda_.Code.from_asset(
        str(ROOT),
        ignore_mode=cdk.IgnoreMode.GIT,
        exclude=[
            *("*", "!functions", "functions/*", "!functions/__init__.py"),
            *(f"!functions/{name}", f"!functions/{name}/**", "__pycache__"),
        ],
    )


def settings_values(
    *, config: DeploymentConfig, storage: Storage, messaging: Messaging, reconciler: FunctionSpec
) -> dict[str, str | int | bool]:
    """Gather what every function is told about its deployment, by the names of `Settings`' fields."""
    timeout_s = Sizing.of(reconciler, config).timeout_s
    return {
        "job_spec_table_name": storage.specs.table_name,
        "controller_state_table_name": storage.state.table_name,
        "artifact_bucket_name": storage.artifacts.bucket_name,
        "namespace_buckets": ",".join(f"{name}={bucket}" for name, bucket in sorted(config.namespace_buckets.items())),
        "follow_up_queue_url": messaging.follow_ups.queue_url,
        "alert_topic_arn": messaging.alerts.topic_arn,
        "event_bus_name": messaging.events.event_bus_name,
        "controller_id": config.controller_id,
        "environment": config.environment.value,
        "state_buckets": ",".join(config.state_buckets),
        "debounce_seconds": config.debounce_seconds,
        "revision_history_limit": config.revision_history_limit,
        "artifact_history_limit": config.artifact_history_limit,
        "artifact_history_days": config.artifact_history_days,
        "function_timeout_seconds": timeout_s,
        # A submit may be on its way for as long as the invocation that sent it lives; twice that leaves no doubt.
        "submit_timeout_seconds": max(_LEAST_SUBMIT_TIMEOUT_S, 2 * timeout_s),
        "scrape_secret": config.scrape_secret or "",
        "per_job_metrics": config.per_job_metrics,
        "log_level": config.log_level,
        "tracing": config.tracing,
    }


_LEAST_SUBMIT_TIMEOUT_S: Final = 120


def reconciler(rows: Sequence[FunctionSpec]) -> FunctionSpec:
    """Find the row of the function that acts on Flink."""
    return next(row for row in rows if row.name == RECONCILER)
