"""What a command works with, and where that comes from: the one seam between the command line and the world.

A command asks the Typer context for its `Session`; the session connects when a command first needs the installation, so
that what works offline needs no settings. Tests hand in a session of twins.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Protocol

import typer

from flink_controller.domain.announcements import ArtifactEvent, JobEvent
from flink_controller.domain.backup import Part
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.cluster_check import ClusterOverview
from flink_controller.domain.dead_letter import DeadLetter, Span
from flink_controller.domain.observation import ClusterConfig, JobSeen, TaskManagerSeen
from flink_controller.domain.plan import Policy
from flink_controller.domain.status import JobStatus
from flink_controller.ports import (
    AlertTopic,
    ArtifactObjects,
    ArtifactRecords,
    Clock,
    EditableRegistry,
    EditableSpecStore,
    EventBus,
    FollowUps,
    ObjectVersion,
    SavepointStorage,
    SignatureVerifier,
    StatusStore,
)
from flink_controller.settings import Settings, SettingsError

if TYPE_CHECKING:
    from flink_controller.adapters.aws_clients import AWSClients

SIGNING_KEY = "FLINKCTL_SIGNING_KEY"
"""Environment variable that names the private key's file for `artifact push` and `artifact sign`."""


class FlinkProbe(Protocol):
    """What can be asked of a cluster without touching a job. All raise `FlinkUnreachableError`."""

    def config(self) -> ClusterConfig:
        """Read the JobManager's configuration."""

    def overview(self) -> ClusterOverview:
        """Read version and slots."""

    def task_managers(self) -> tuple[TaskManagerSeen, ...]:
        """List the TaskManagers, with their slots and memory."""

    def jobs(self) -> list[JobSeen]:
        """List every job."""

    def parameters(self, flink_job_id: str) -> Mapping[str, str] | None:
        """Read what a job was given as global parameters; None: it is not known."""


class Backups(Protocol):
    """Both tables whole, items as they are stored, and where backups lie."""

    def items(self) -> Iterator[tuple[Part, Mapping[str, Any]]]:
        """Read every item that a backup keeps."""

    def jobs(self) -> int:
        """Count specs and statuses."""

    def put(self, part: Part, item: Mapping[str, Any]) -> None:
        """Write an item. Harmless twice."""

    def status_in(self, item: Mapping[str, Any]) -> JobStatus | None:
        """Read the status in an item, None when it is another item."""

    def with_status(self, item: Mapping[str, Any], status: JobStatus) -> Mapping[str, Any]:
        """Put another status into an item."""

    def clusters_in(self, items: Iterable[Mapping[str, Any]]) -> list[Cluster]:
        """Read the clusters among items."""

    def pause_item(self, reason: str) -> Mapping[str, Any]:
        """Spell the pause of everything."""

    def write_object(self, uri: str, content: bytes) -> None:
        """Put a new object."""

    def read_object(self, uri: str) -> bytes:
        """Read an object."""


class DeadLetters(Protocol):
    """One queue of what was given up."""

    def count(self) -> int:
        """Count the messages, about."""

    def batches(self) -> Iterator[Sequence[DeadLetter]]:
        """Read until nothing new comes; what is not deleted comes back."""

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """Delete messages of one batch. Harmless twice."""


class RecordedEvents(Protocol):
    """What is on record of what leaves the controller."""

    def pages(self, spans: Sequence[Span]) -> Iterator[Sequence[JobEvent | ArtifactEvent]]:
        """Read all that was recorded in some spans, unordered, page by page."""


@dataclass(frozen=True)
class Outlets:
    """What leaves the controller: where it is on record, and where it goes."""

    recorded: RecordedEvents
    bus: EventBus
    topic: AlertTopic


DELETED_AT_ONCE = 1000
"""Versions that S3 deletes in one request."""


class ArtifactUploads(Protocol):
    """The artifact bucket, for writing."""

    def upload(
        self, bucket: str, key: str, content: IO[bytes], *, size_bytes: int, sha256: str, is_new: bool = False
    ) -> str:
        """Put an object whole and give its version id.

        Raises:
            RejectedError: `is_new`, and there is one already.
        """

    def superseded(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        """List versions below a prefix that are not the newest of their object; delete markers are none."""

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        """Delete some versions (1 to `DELETED_AT_ONCE`, of one bucket) for good. Harmless twice.

        Raises:
            RejectedError: the bucket refuses one of them; the others may be gone.
        """


class Signer(Protocol):
    """A private key, wherever it is."""

    def sign(self, message: bytes) -> bytes:
        """Sign a message.

        Raises:
            RejectedError: the key cannot be used.
        """

    def public_key_pem(self) -> str:
        """Give the public half."""


@dataclass(frozen=True)
class Remote:
    """An installation of the controller, as far as its users' rights reach."""

    settings: Settings
    policy: Policy
    specs: EditableSpecStore
    statuses: StatusStore
    registry: EditableRegistry
    records: ArtifactRecords
    objects: ArtifactObjects
    uploads: ArtifactUploads
    probe: Callable[[Cluster], FlinkProbe]
    """Gives the way to a cluster; makes no call."""
    follow_ups: FollowUps | None = None
    """The queue of wake-ups. None, as the next: not in this session."""
    dead_letters: Callable[[str], DeadLetters] | None = None
    """Gives a queue of failures by its address; makes no call."""
    outlets: Callable[[], Outlets] | None = None
    """Gives the ways out; makes no call."""
    savepoints: Callable[[], SavepointStorage] | None = None
    """Gives the place where savepoints lie; makes no call."""
    backups: Callable[[], Backups] | None = None
    """Gives both tables whole; makes no call. None where nothing is stored in tables."""
    whoami: Callable[[], str] = lambda: ""
    """Names whose credentials these are; empty when nobody can say. For the record of changes."""

    @property
    def is_local(self) -> bool:
        """Whether this is an installation on a laptop."""
        return self.settings.environment == "local"


@dataclass
class Session:
    """One run of the program."""

    connect: Callable[[], Remote]
    clock: Clock
    verifier: SignatureVerifier
    environ: Mapping[str, str] = field(default_factory=dict)
    kms: Callable[[str], Signer] | None = None
    """Gives the signer of an `awskms://` address; makes no call."""

    @cached_property
    def remote(self) -> Remote:
        """The installation, connected on first use."""
        return self.connect()

    @property
    def signing_key(self) -> str | None:
        """File of the default private key."""
        return self.environ.get(SIGNING_KEY) or None


def session_of(context: typer.Context) -> Session:
    """Give the session that `run`, or a test, put into the context."""
    session = context.find_root().obj
    assert isinstance(session, Session)
    return session


def remote_of(context: typer.Context) -> Remote:
    """Give the installation.

    Raises:
        SettingsError: the environment does not say where it is.
    """
    return session_of(context).remote


def real_session() -> Session:
    """Give the session of this process: settings and credentials from the environment."""
    from flink_controller.adapters.signatures import SignatureVerifier  # noqa: PLC0415  # 0.1 s that `--help` need not wait
    from flink_controller.adapters.system_clock import SystemClock  # noqa: PLC0415

    environ = dict(os.environ)  # noqa: TID251  # the program is where the environment comes in
    return Session(lambda: connect(environ), SystemClock(), SignatureVerifier(), environ, kms_signer)


def kms_signer(uri: str) -> Signer:
    """Give the signer of an `awskms://` address.

    Raises:
        RejectedError: it names no key.
    """
    from flink_controller.adapters.aws_clients import AWSClients  # noqa: PLC0415
    from flink_controller.adapters.kms_signing import KMSSigner, key_of  # noqa: PLC0415

    endpoint, key_id = key_of(uri)
    return KMSSigner(lambda: AWSClients().kms(endpoint), key_id)


def _whoami(aws: "AWSClients") -> str:
    """Name the caller for the record of a change; an account that hides this from its people is no reason to fail."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        return str(aws.sts.get_caller_identity()["Arn"])
    except (BotoCoreError, ClientError):
        return ""


def connect(environ: Mapping[str, str]) -> Remote:
    """Wire the real adapters. Makes no call.

    Raises:
        SettingsError: a variable is missing or malformed; the message says what to do.
    """
    # Imported late: these load boto3 and requests, which take longer than everything else that a command does.
    from flink_controller.adapters.aws_clients import AWSClients  # noqa: PLC0415
    from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords  # noqa: PLC0415
    from flink_controller.adapters.dynamodb_backup import DynamoBackup  # noqa: PLC0415
    from flink_controller.adapters.dynamodb_events import DynamoEvents  # noqa: PLC0415
    from flink_controller.adapters.dynamodb_registry import EditableDynamoRegistry  # noqa: PLC0415
    from flink_controller.adapters.dynamodb_specs import EditableDynamoSpecStore  # noqa: PLC0415
    from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore  # noqa: PLC0415
    from flink_controller.adapters.event_bus import EventBridgeBus  # noqa: PLC0415
    from flink_controller.adapters.file_state import FileStateStorage  # noqa: PLC0415
    from flink_controller.adapters.flink_rest import FlinkRestConnections  # noqa: PLC0415
    from flink_controller.adapters.s3_artifacts import S3ArtifactObjects  # noqa: PLC0415
    from flink_controller.adapters.s3_state import SCHEMES, S3StateStorage  # noqa: PLC0415
    from flink_controller.adapters.s3_uploads import S3Uploads  # noqa: PLC0415
    from flink_controller.adapters.secrets import SecretsManager  # noqa: PLC0415
    from flink_controller.adapters.sns_alerts import SnsAlerts  # noqa: PLC0415
    from flink_controller.adapters.sqs_dead_letters import SqsDeadLetters  # noqa: PLC0415
    from flink_controller.adapters.sqs_follow_ups import SqsFollowUps  # noqa: PLC0415
    from flink_controller.adapters.state_storage import StateStorageByScheme  # noqa: PLC0415
    from flink_controller.bootstrap import policy_of  # noqa: PLC0415
    from flink_controller.domain.spec import JobSpec  # noqa: PLC0415

    try:
        settings = Settings.from_env(environ)
    except SettingsError as error:
        raise SettingsError(
            f"{error}: run `source .local/env` for a local stack, or export these from the stack's outputs (docs/cli.md)"
        ) from None
    aws = AWSClients()
    on_s3 = dict.fromkeys(SCHEMES, S3StateStorage(lambda: aws.s3, buckets=settings.buckets_of_state))
    return Remote(
        settings=settings,
        policy=policy_of(settings),
        specs=EditableDynamoSpecStore(
            lambda: aws.dynamodb, settings.job_spec_table_name, known_fields=tuple(JobSpec.model_fields)
        ),
        statuses=DynamoStatusStore(lambda: aws.dynamodb, settings.controller_state_table_name),
        registry=EditableDynamoRegistry(lambda: aws.dynamodb, settings.controller_state_table_name),
        records=DynamoArtifactRecords(lambda: aws.dynamodb, settings.controller_state_table_name),
        objects=S3ArtifactObjects(lambda: aws.s3),
        uploads=S3Uploads(lambda: aws.s3),
        probe=FlinkRestConnections(
            secrets=SecretsManager(lambda: aws.secrets), is_local=settings.environment == "local"
        ).connect,
        follow_ups=SqsFollowUps(lambda: aws.sqs, settings.follow_up_queue_url),
        dead_letters=lambda queue_url: SqsDeadLetters(lambda: aws.sqs, queue_url),
        outlets=lambda: Outlets(
            DynamoEvents(lambda: aws.dynamodb, settings.controller_state_table_name, controller_id=settings.controller_id),
            EventBridgeBus(lambda: aws.events, settings.event_bus_name),
            SnsAlerts(lambda: aws.sns, settings.alert_topic_arn),
        ),
        savepoints=lambda: StateStorageByScheme(
            {**on_s3, "file": FileStateStorage()} if settings.environment == "local" else on_s3
        ),
        backups=lambda: DynamoBackup(
            lambda: aws.dynamodb,
            lambda: aws.s3,
            spec_table=settings.job_spec_table_name,
            state_table=settings.controller_state_table_name,
        ),
        whoami=lambda: _whoami(aws),
    )
