"""The composition root: real adapters, made once per process and handed to the services."""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, cached_property

from flink_controller.adapters.aws_clients import AWSClients
from flink_controller.adapters.burn_jar import BURN_ENTRY_CLASS, burn_jar
from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords
from flink_controller.adapters.dynamodb_circuits import DynamoCircuits
from flink_controller.adapters.dynamodb_registry import DynamoRegistry
from flink_controller.adapters.dynamodb_specs import DynamoSpecStore
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.event_bus import EventBridgeBus
from flink_controller.adapters.file_state import FileStateStorage
from flink_controller.adapters.runners import runners
from flink_controller.adapters.s3_artifacts import S3ArtifactObjects
from flink_controller.adapters.s3_state import S3StateStorage
from flink_controller.adapters.secrets import SecretsManager
from flink_controller.adapters.sns_alerts import SnsAlerts
from flink_controller.adapters.sqs_follow_ups import SqsFollowUps
from flink_controller.adapters.state_storage import StateStorageByScheme
from flink_controller.adapters.system_clock import SystemClock
from flink_controller.domain.artifact import TrustedKey
from flink_controller.domain.artifact_retention import VersionRetention
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.plan import Policy
from flink_controller.ports import (
    AlertTopic,
    BurnJar,
    EventBus,
    FlinkConnections,
    FlinkGateway,
    Ports,
    Secrets,
    SignatureVerifier,
)
from flink_controller.services.rotate_credentials import Rotation
from flink_controller.settings import Settings

LOCAL = "local"
"""The environment in which state may lie in files and addresses may be loopback."""


@dataclass(frozen=True)
class Controller:
    """A wired controller."""

    settings: Settings
    policy: Policy
    ports: Ports
    bus: EventBus
    topic: AlertTopic
    secrets: Secrets = field(default_factory=lambda: SecretsManager(lambda: AWSClients().secrets))


class _Connections(FlinkConnections):
    """The ways to clusters; requests, 0.15 s of a cold start, is imported by the first one."""

    def __init__(self, secrets: Secrets, *, is_local: bool) -> None:
        self._secrets, self._is_local = secrets, is_local

    def connect(self, cluster: Cluster) -> FlinkGateway:
        """Give the gateway of a cluster. Makes no call."""
        return self._made.connect(cluster)

    @cached_property
    def _made(self) -> FlinkConnections:
        from flink_controller.adapters.flink_rest import FlinkRestConnections  # noqa: PLC0415

        return FlinkRestConnections(secrets=self._secrets, is_local=self._is_local)


class _Verifier(SignatureVerifier):
    """The verifier of signatures; cryptography, 0.05 s of a cold start, is imported by the first one."""

    def verifies(self, key: TrustedKey, signature: bytes, message: bytes) -> bool:
        """Tell whether a key made a signature over a message."""
        return self._made.verifies(key, signature, message)

    def verifies_digest(self, key: TrustedKey, signature: bytes, digest: bytes) -> bool:
        """Tell the same of a message that is known by its digest."""
        return self._made.verifies_digest(key, signature, digest)

    @cached_property
    def _made(self) -> SignatureVerifier:
        from flink_controller.adapters import signatures  # noqa: PLC0415

        return signatures.SignatureVerifier()


def build_controller(settings: Settings) -> Controller:
    """Wire the real adapters. Makes no call: clients are made when first used."""
    aws = AWSClients()
    state_table, spec_table = settings.controller_state_table_name, settings.job_spec_table_name
    content = burn_jar()
    storages = {"s3": S3StateStorage(lambda: aws.s3, buckets=settings.buckets_of_state)}
    ports = Ports(
        clock=SystemClock(),
        specs=DynamoSpecStore(lambda: aws.dynamodb, spec_table),
        statuses=DynamoStatusStore(lambda: aws.dynamodb, state_table),
        registry=DynamoRegistry(lambda: aws.dynamodb, state_table),
        circuits=DynamoCircuits(lambda: aws.dynamodb, state_table),
        records=DynamoArtifactRecords(lambda: aws.dynamodb, state_table),
        objects=S3ArtifactObjects(lambda: aws.s3),
        storage=StateStorageByScheme(
            {**storages, "file": FileStateStorage()} if settings.environment == LOCAL else storages
        ),
        flink=_Connections(SecretsManager(lambda: aws.secrets), is_local=settings.environment == LOCAL),
        follow_ups=SqsFollowUps(lambda: aws.sqs, settings.follow_up_queue_url),
        verifier=_Verifier(),
        burn_jar=BurnJar(content, hashlib.sha256(content).hexdigest(), BURN_ENTRY_CLASS),
        runners=runners(),
    )
    return Controller(
        settings,
        policy_of(settings),
        ports,
        bus=EventBridgeBus(lambda: aws.events, settings.event_bus_name),
        topic=SnsAlerts(lambda: aws.sns, settings.alert_topic_arn),
    )


def policy_of(settings: Settings) -> Policy:
    """Give the numbers that decisions depend on."""
    return Policy(
        controller_id=settings.controller_id,
        artifact_bucket=settings.artifact_bucket_name,
        namespace_buckets=settings.buckets_of_namespaces,
        debounce=timedelta(seconds=settings.debounce_seconds),
        submit_timeout=timedelta(seconds=settings.submit_timeout_seconds),
        function_timeout=timedelta(seconds=settings.function_timeout_seconds),
        revision_history_limit=settings.revision_history_limit,
        version_retention=VersionRetention(
            count=settings.artifact_history_limit, age=timedelta(days=settings.artifact_history_days)
        ),
    )


def rotation() -> Rotation:
    """Wire what the rotation of credentials works with. Makes no call.

    Raises:
        SettingsError: a variable is missing or malformed.
    """
    settings, aws = Settings.from_env(os.environ), AWSClients()
    return Rotation(
        secrets=SecretsManager(lambda: aws.secrets),
        registry=DynamoRegistry(lambda: aws.dynamodb, settings.controller_state_table_name),
        connections=lambda given: _Connections(given, is_local=settings.environment == LOCAL),
        # 256 bits, in characters that every header takes.
        fresh=lambda: secrets.token_urlsafe(32),
    )


@cache
def controller() -> Controller:
    """Give this process's controller, wired from the environment on first use.

    Raises:
        SettingsError: a variable is missing or malformed.
    """
    return build_controller(Settings.from_env(os.environ))
