"""What a team writes: the spec item, strict, with every fault named by its path.

Beside each field stand its change class (how severe a change is) and its treatment (what the controller makes of it), so
that documentation, classification and warnings come from one place.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from flink_controller.domain import program
from flink_controller.domain.artifact import ArtifactType, parse_digest
from flink_controller.domain.change import SpecChange
from flink_controller.domain.names import NAME, JobName, namespace_of_key, shown
from flink_controller.domain.schedule import parse_expression, parse_zone
from flink_controller.domain.status import DesiredState, JobType, Revision

MAX_SPEC_BYTES = 64 * 1024
MAX_FAULTS = 30
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Treatment(StrEnum):
    """What becomes of a field."""

    APPLIED = "applied"
    """It reaches Flink, or the controller acts on it."""
    REQUIRED = "required"
    """Held against what the cluster offers before every start, which waits while it is not met."""


def spec_field(
    default: Any = ..., *, change: SpecChange, treatment: Treatment = Treatment.APPLIED, doc: str, **constraints: Any
) -> Any:
    """Declare a field with its change class, its treatment and its line in the reference."""
    extra: dict[str, Any] = {"change": change.name, "treatment": treatment.value}
    if isinstance(default, type) and issubclass(default, BaseModel):
        return Field(default_factory=default, description=doc, json_schema_extra=extra, **constraints)
    return Field(default, description=doc, json_schema_extra=extra, **constraints)


IGNORE, RESCALE, UPGRADE, REDEPLOY, NONE = (
    SpecChange.IGNORE,
    SpecChange.RESCALE,
    SpecChange.UPGRADE,
    SpecChange.REDEPLOY,
    SpecChange.NONE,
)
REQUIRED = Treatment.REQUIRED


class _Part(BaseModel):
    """Strict: no coercion of types, no unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def _plain(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


def _path(text: str) -> str:
    _plain(text)
    if "%" in text or "\\" in text:
        raise ValueError("'%' and '\\' are not allowed in a path")
    if any(part in {"..", "."} for part in text.split("/")):
        raise ValueError("'.' and '..' are not allowed as parts of a path")
    return text


def _at_most(limit_bytes: int) -> Callable[[str], str]:
    """Bound what a text takes in a status, where a character can have four bytes."""

    def check(text: str) -> str:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > limit_bytes:
            raise ValueError(f"has {size} bytes; at most {limit_bytes} are allowed")
        return text

    return check


def _ordered(value: object) -> object:
    if not isinstance(value, list | tuple):
        raise ValueError("should be a list of texts; a set has no order")  # noqa: TRY004  # pydantic collects ValueError
    return value


_DURATION_MS_MAX = 7 * 24 * 3600 * 1000
Milliseconds: TypeAlias = Annotated[int, Field(ge=1, le=_DURATION_MS_MAX)]
Seconds: TypeAlias = Annotated[int, Field(ge=1, le=30 * 24 * 3600)]
Nonce: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ShortText: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=256)]
StatePath: TypeAlias = Annotated[str, StringConstraints(min_length=1), AfterValidator(_at_most(512))]
"""A savepoint somewhere."""
DirectoryPath: TypeAlias = Annotated[str, StringConstraints(min_length=1), AfterValidator(_at_most(200))]
"""A directory below the namespace's own; bounded, because several of its savepoints stand in one status."""
ObjectKey: TypeAlias = Annotated[str, StringConstraints(min_length=1), AfterValidator(_at_most(256))]
"""A key in the artifact bucket; bounded, because a status holds it several times."""
Arguments: TypeAlias = Annotated[
    tuple[Annotated[str, StringConstraints(max_length=4096)], ...],
    Field(strict=False, max_length=256),
    BeforeValidator(_ordered),
]
Memory: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}(k|m|g|t|kb|mb|gb|tb)$")]


class UpgradeMode(StrEnum):
    """How state gets from one revision to the next."""

    SAVEPOINT = "savepoint"
    LAST_STATE = "last-state"
    STATELESS = "stateless"
    BLUE_GREEN = "blue-green"


class Restore(_Part):
    """A wish to start from another place, once per nonce."""

    from_: StatePath | None = Field(
        None,
        alias="from",
        description="Savepoint or checkpoint to start from.",
        json_schema_extra={"change": "NONE", "treatment": "applied"},
    )
    nonce: Nonce | None = spec_field(None, change=NONE, doc="A change to a new value asks for one restore.")

    @field_validator("from_")
    @classmethod
    def _is_a_path(cls, text: str | None) -> str | None:
        return text if text is None else _path(text)


class SavepointDisposal(_Part):
    """A wish to remove one savepoint, once per nonce."""

    id: Annotated[int, Field(ge=1)] | None = spec_field(
        None, change=NONE, doc="Its number, as `flinkctl savepoint list` shows it."
    )
    nonce: Nonce | None = spec_field(None, change=NONE, doc="A change to a new value asks for one removal.")


class Rollback(_Part):
    """What happens to a revision that does not become healthy."""

    enabled: bool = spec_field(True, change=IGNORE, doc="Whether to go back to the last stable revision.")
    deadline_seconds: Seconds = spec_field(300, change=IGNORE, doc="A revision that is not healthy by then is rolled back.")
    stabilization_seconds: int = spec_field(
        30, change=IGNORE, ge=0, le=86_400, doc="How long all tasks must run without a change to count as healthy."
    )


class OnFailure(_Part):
    """What to do when Flink has given up on a running job, or when one is unhealthy."""

    action: Literal["restart", "rollback", "none"] = spec_field(
        "restart",
        change=IGNORE,
        doc="restart from the newest state; rollback to the stable revision, which itself is restarted; or none.",
    )
    when: Literal["failed", "unhealthy"] = spec_field(
        "failed",
        change=IGNORE,
        doc=(
            "failed: once Flink has given up. unhealthy: also while tasks are missing, or no checkpoint is completed for its"
            " window; the job is then cancelled and restarted from its newest checkpoint."
        ),
    )
    limit: int = spec_field(
        5,
        change=IGNORE,
        ge=0,
        le=1000,
        doc=(
            "Restarts in a row; then it is FAILED, or if only unhealthy left to Flink. One that has run for"
            " monitoring.restart_window_seconds begins a new row."
        ),
    )
    backoff_seconds: Seconds = spec_field(
        30, change=IGNORE, doc="Wait before the first restart; doubled each time, an hour at most."
    )


class Deployment(_Part):
    """How a job runs and how it changes."""

    parallelism: int = spec_field(1, change=RESCALE, ge=1, le=32_768, doc="Parallelism of the job.")
    checkpoint_interval: Milliseconds | None = spec_field(
        60_000,
        change=UPGRADE,
        doc="Time between checkpoints, ms; null leaves it to the cluster. Code that sets its own wins.",
    )
    savepoint_path: DirectoryPath = spec_field(
        "savepoints", change=IGNORE, doc="Directory of this job's savepoints, below the cluster's root and the namespace."
    )
    restart_strategy: Literal["fixed-delay", "exponential-delay", "failure-rate"] | None = spec_field(
        None, change=UPGRADE, doc="Flink's own restarts; null leaves it to the cluster."
    )
    max_restart_attempts: int = spec_field(3, change=UPGRADE, ge=0, le=1_000_000, doc="Attempts of the restart strategy.")
    restart_delay: Milliseconds = spec_field(10_000, change=UPGRADE, doc="Delay of the restart strategy, ms.")
    upgrade_mode: UpgradeMode = spec_field(
        UpgradeMode.SAVEPOINT, change=IGNORE, doc="savepoint, last-state, stateless or blue-green.", strict=False
    )
    allow_non_restored_state: bool = spec_field(
        False, change=IGNORE, doc="Whether state of removed operators may be dropped."
    )
    initial_savepoint_path: StatePath | None = spec_field(
        None, change=NONE, doc="Where the very first attempt starts from; later changes are refused."
    )
    restore: Restore = spec_field(Restore, change=NONE, doc="Start from another place, once per nonce.")
    savepoint_disposal: SavepointDisposal = spec_field(
        SavepointDisposal, change=NONE, doc="Remove one savepoint, once per nonce."
    )
    savepoint_timeout_seconds: Seconds = spec_field(600, change=IGNORE, doc="How long a stop with savepoint may take.")
    savepoint_fallback: Literal["last-state", "wait"] = spec_field(
        "last-state", change=IGNORE, doc="What follows a savepoint that cannot be taken; never stateless."
    )
    max_checkpoint_age_seconds: Seconds | None = spec_field(
        None, change=IGNORE, doc="Last-state: an older newest checkpoint asks for a savepoint instead."
    )
    rollback: Rollback = spec_field(Rollback, change=IGNORE, doc="What happens to a revision that does not become healthy.")
    on_failure: OnFailure = spec_field(OnFailure, change=IGNORE, doc="What to do when Flink has given up.")
    restart_nonce: Nonce | None = spec_field(None, change=NONE, doc="A change to a new value asks for one restart.")
    savepoint_nonce: Nonce | None = spec_field(None, change=NONE, doc="A change to a new value asks for one savepoint.")

    @field_validator("savepoint_path", "initial_savepoint_path")
    @classmethod
    def _is_a_path(cls, text: str | None) -> str | None:
        return text if text is None else _path(text)


class Resources(_Part):
    """What the job needs of the cluster; a session cluster cannot be resized per job."""

    memory: Memory | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="Memory that each TaskManager's process must have."
    )
    cpu_cores: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0)] | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="Cores that each TaskManager must see."
    )
    network_memory: Memory | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="Network memory that each TaskManager must have."
    )


class Security(_Part):
    """What the job needs of the cluster's connection, and of its artifact."""

    kerberos_principal: ShortText | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="Principal that the cluster must be registered with."
    )
    ssl_enabled: bool | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="True: the cluster's REST must be TLS; false and null ask nothing."
    )
    artifact_verification: bool = spec_field(True, change=IGNORE, doc="Must be true: unsigned artifacts are never deployed.")

    @field_validator("artifact_verification")
    @classmethod
    def _stays_on(cls, value: bool) -> bool:  # noqa: FBT001  # pydantic's signature
        if not value:
            raise ValueError("verification cannot be switched off by a spec; sign the artifact (flinkctl artifact sign)")
        return value


class Monitoring(_Part):
    """What is watched, and who is told."""

    metrics_port: int | None = spec_field(
        None,
        change=IGNORE,
        treatment=REQUIRED,
        ge=1,
        le=65_535,
        doc="Port that a metrics reporter of the cluster must have.",
    )
    log_level: Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR"] | None = spec_field(
        None, change=UPGRADE, doc="Handed to the program as global job parameter log_level; sets no logger."
    )
    checkpoint_window_seconds: Seconds | None = spec_field(
        None,
        change=IGNORE,
        doc=(
            "Without a completed checkpoint for so long, the job is unhealthy; null: checkpoint interval and timeout"
            " together, at least three intervals."
        ),
    )
    restart_window_seconds: Seconds = spec_field(
        600, change=IGNORE, doc="Three restarts by Flink within it are a loop; none within it ends that."
    )
    backpressure_window_seconds: Seconds = spec_field(
        300, change=IGNORE, doc="How long backpressure lasts before it is told, and how long it is gone before that is told."
    )
    alert_on_failure: bool = spec_field(
        True, change=IGNORE, doc="Whether a person is told of incidents; the event bus gets every event."
    )
    alert_on_backpressure: bool = spec_field(False, change=IGNORE, doc="Whether a person is told of backpressure.")


class RunNow(_Part):
    """A wish for one run outside the schedule."""

    nonce: Nonce | None = spec_field(None, change=NONE, doc="A change to a new value asks for one run.")
    args: Arguments = spec_field((), change=NONE, doc="Arguments of that run, after the spec's.")


def _instant(text: str) -> str:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("write an instant with its offset, such as 2027-01-01T00:00:00Z")
    return text


Instant: TypeAlias = Annotated[ShortText, AfterValidator(_instant)]


class BatchConfig(_Part):
    """When a batch job runs and for how long."""

    cron: ShortText | None = spec_field(
        None, change=IGNORE, doc="Five fields, or @daily and its like; without it the job runs once per revision."
    )
    timezone: ShortText = spec_field("UTC", change=IGNORE, doc="IANA time zone of the schedule.")
    start_at: Instant | None = spec_field(None, change=IGNORE, doc="No instant before this one, ISO 8601 with offset.")
    end_at: Instant | None = spec_field(None, change=IGNORE, doc="No instant after this one, ISO 8601 with offset.")
    jitter_seconds: int = spec_field(
        0, change=IGNORE, ge=0, le=3600, doc="Runs start up to this much later, each job by an amount of its own."
    )
    max_runs: Annotated[int, Field(ge=1)] | None = spec_field(None, change=IGNORE, doc="Runs in all; null: no limit.")
    ttl_seconds: Seconds | None = spec_field(None, change=IGNORE, doc="A run that takes longer is stopped.")
    cleanup_on_completion: bool = spec_field(
        False, change=IGNORE, doc="Give up the uploaded jar whenever no run is left, rather than keep it for the next."
    )
    overlap_policy: Literal["forbid", "allow", "replace", "queue_one"] = spec_field(
        "forbid", change=IGNORE, doc="What a due run does while another is active."
    )
    starting_deadline_seconds: Seconds | None = spec_field(
        None, change=IGNORE, doc="A run that cannot start by then is missed."
    )
    missed_run_policy: Literal["skip", "run_latest", "run_all"] = spec_field(
        "run_latest", change=IGNORE, doc="What follows an outage; run_all makes up for the newest ten."
    )
    backoff_limit: int = spec_field(
        0,
        change=IGNORE,
        ge=0,
        le=100,
        doc="Retries of a failed run, deployment.on_failure.backoff_seconds apart and doubled.",
    )
    submission_deadline_seconds: Seconds = spec_field(
        600, change=IGNORE, doc="An attempt that is not seen on Flink by then is given up."
    )
    suspend_after_failures: Annotated[int, Field(ge=1)] | None = spec_field(
        None, change=IGNORE, doc="Runs in a row that may fail before no more is started; null: no limit."
    )
    succeeded_runs_kept: int = spec_field(50, change=IGNORE, ge=1, le=1000, doc="Records kept of runs that succeeded.")
    other_runs_kept: int = spec_field(50, change=IGNORE, ge=1, le=1000, doc="Records kept of all other instants.")
    run_now: RunNow = spec_field(RunNow, change=NONE, doc="What `flinkctl run --now` writes.")

    @field_validator("cron")
    @classmethod
    def _is_an_expression(cls, text: str | None) -> str | None:
        if text is not None:
            parse_expression(text)
        return text

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, text: str) -> str:
        parse_zone(text)
        return text

    @property
    def start(self) -> datetime | None:
        """`start_at` as a time."""
        return None if self.start_at is None else datetime.fromisoformat(self.start_at)

    @property
    def end(self) -> datetime | None:
        """`end_at` as a time."""
        return None if self.end_at is None else datetime.fromisoformat(self.end_at)


class SavepointRetention(_Part):
    """Which savepoints are kept."""

    count: int = spec_field(10, change=IGNORE, ge=1, le=10_000, doc="No more than the newest so many are kept.")
    days: int = spec_field(7, change=IGNORE, ge=1, le=3650, doc="Older ones are not kept.")


class StreamConfig(_Part):
    """How a streaming job checkpoints."""

    savepoint_trigger_interval: Annotated[int, Field(ge=1000, le=_DURATION_MS_MAX)] | None = spec_field(
        None, change=IGNORE, doc="Time between periodic savepoints, ms; null takes none."
    )
    checkpoint_timeout: Milliseconds | None = spec_field(
        None, change=UPGRADE, doc="A checkpoint that takes longer fails, ms."
    )
    min_pause_between_checkpoints: Annotated[int, Field(ge=0, le=_DURATION_MS_MAX)] | None = spec_field(
        None, change=UPGRADE, doc="Least time between two checkpoints, ms."
    )
    max_concurrent_checkpoints: int | None = spec_field(
        None, change=UPGRADE, ge=1, le=1000, doc="Checkpoints under way at once."
    )
    savepoint_retention: SavepointRetention = spec_field(SavepointRetention, change=IGNORE, doc="Which savepoints are kept.")


class Advanced(_Part):
    """Settings for experts."""

    classloader_resolve_order: Literal["parent-first", "child-first"] | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="The cluster's `classloader.resolve-order` must be this."
    )
    classloader_cache_mode: ShortText | None = spec_field(
        None, change=IGNORE, doc="per-job, or nothing: a session cluster loads the classes of each job by themselves."
    )
    network_buffer_timeout: Annotated[int, Field(ge=-1, le=_DURATION_MS_MAX)] | None = spec_field(
        None, change=UPGRADE, doc="Longest wait before a network buffer is flushed, ms."
    )
    taskmanager_heap_size: Memory | None = spec_field(
        None, change=IGNORE, treatment=REQUIRED, doc="Heap that each TaskManager must have."
    )

    @field_validator("classloader_cache_mode")
    @classmethod
    def _is_per_job(cls, mode: str | None) -> str | None:
        if mode not in {None, "per-job"}:
            raise ValueError("write per-job, or leave it out: a session cluster loads the classes of each job by themselves")
        return mode


class JobSpec(_Part):
    """A job as its team wants it."""

    job_id: Annotated[str, StringConstraints(max_length=127)] = spec_field(change=NONE, doc="name or namespace/name.")
    labels: Mapping[
        Annotated[str, StringConstraints(min_length=1, max_length=63)], Annotated[str, StringConstraints(max_length=256)]
    ] = spec_field({}, change=IGNORE, max_length=64, doc="Free text for people and tools.")
    job_type: JobType = spec_field(change=REDEPLOY, strict=False, doc="stream or batch.")
    cluster: Annotated[str, StringConstraints(max_length=63)] = spec_field(
        "default", change=REDEPLOY, doc="Name of a registered cluster."
    )
    state: DesiredState = spec_field(DesiredState.RUNNING, change=NONE, strict=False, doc="running or suspended.")
    artifact_path: ObjectKey = spec_field(change=UPGRADE, doc="Key in the artifact bucket.")
    artifact_type: ArtifactType | None = spec_field(
        None, change=UPGRADE, strict=False, doc="jar, pyflink or sql; inferred from the suffix."
    )
    artifact_signature: str | None = spec_field(
        None, change=IGNORE, doc="Pin: sha256: and the digest of exactly the bytes to run."
    )
    entry_class: (
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z_$][\w$]*(\.[A-Za-z_$][\w$]*)*$", max_length=512)] | None
    ) = spec_field(None, change=UPGRADE, doc="Main class; the jar's manifest names it otherwise.")
    deployment: Deployment = spec_field(Deployment, change=IGNORE, doc="How the job runs and changes.")
    resources: Resources = spec_field(Resources, change=IGNORE, doc="What it needs of the cluster.")
    security: Security = spec_field(Security, change=IGNORE, doc="What it needs of the connection.")
    monitoring: Monitoring = spec_field(Monitoring, change=IGNORE, doc="What is watched.")
    args: Arguments = spec_field((), change=UPGRADE, doc="Arguments of the program.")
    env_vars: Mapping[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$")],
        Annotated[str, StringConstraints(max_length=4096)],
    ] = spec_field({}, change=UPGRADE, max_length=128, doc="Global job parameters; no process environment.")
    batch_config: BatchConfig = spec_field(BatchConfig, change=IGNORE, doc="When a batch job runs.")
    stream_config: StreamConfig = spec_field(StreamConfig, change=IGNORE, doc="How a streaming job checkpoints.")
    advanced: Advanced = spec_field(Advanced, change=IGNORE, doc="Settings for experts.")

    written_by: Annotated[ShortText, AfterValidator(_plain)] | None = spec_field(
        None,
        change=NONE,
        doc="Who wrote the item, as flinkctl found out; told with the events, never a reason for anything.",
    )

    @field_validator("job_id")
    @classmethod
    def _is_a_name(cls, text: str) -> str:
        JobName.parse(text)
        return text

    @field_validator("cluster")
    @classmethod
    def _names_a_cluster(cls, text: str) -> str:
        if not NAME.fullmatch(text):
            raise ValueError(
                "a cluster is named by lower-case letters, digits and inner hyphens; a spec can carry no address"
            )
        return text

    @field_validator("artifact_path")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        _path(text)
        if text.startswith("/") or text.endswith("/") or "//" in text or "://" in text:
            raise ValueError("write the object's key, such as artifacts/etl.jar, without bucket, scheme or empty parts")
        return text

    @field_validator("artifact_signature")
    @classmethod
    def _is_a_digest(cls, text: str | None) -> str | None:
        if text is not None:
            parse_digest(text)
        return text

    @field_validator("args", mode="after")
    @classmethod
    def _are_plain(cls, args: tuple[str, ...]) -> tuple[str, ...]:
        if any("\x00" in arg for arg in args):
            raise ValueError("NUL characters are not allowed")
        return args

    @field_validator("env_vars")
    @classmethod
    def _are_not_ours(cls, found: Mapping[str, str]) -> Mapping[str, str]:
        taken = sorted(name for name in found if name.startswith("flinkctl."))
        if taken:
            raise ValueError(f"{', '.join(taken)}: names that begin with flinkctl. are the controller's own")
        return found

    @field_validator("state")
    @classmethod
    def _can_be_asked(cls, state: DesiredState) -> DesiredState:
        if state is DesiredState.DELETED:
            raise ValueError("remove the item to delete the job (flinkctl delete)")
        return state

    @property
    def name(self) -> JobName:
        """Namespace and name."""
        return JobName.parse(self.job_id)

    @property
    def pinned_digest(self) -> str | None:
        """Hex digits of the pinned SHA-256, if any."""
        return None if self.artifact_signature is None else parse_digest(self.artifact_signature)

    @property
    def type(self) -> ArtifactType:
        """What the artifact is, said or inferred."""
        # A spec whose type cannot be told is invalid.
        return self.artifact_type or program.inferred_type(self.artifact_path) or ArtifactType.JAR


@dataclass(frozen=True)
class ValidSpec:
    """A spec item that can be acted on."""

    spec: JobSpec
    spec_hash: str
    """Over the item as written."""
    revision_hash: str
    """Over what makes a revision: wishes of their own (state, nonces) left out."""
    fingerprints: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class InvalidSpec:
    """A spec item that cannot; `faults` names everything that is wrong with it."""

    spec_hash: str
    faults: tuple[str, ...]
    written_by: str = ""


@dataclass(frozen=True)
class NoSpec:
    """The item is not there: the job is to be deleted."""


@dataclass(frozen=True)
class AbandonedSpec:
    """`{job_id, state: abandoned}`: a delete that cannot end is to be ended all the same."""

    spec_hash: str


SpecView: TypeAlias = ValidSpec | InvalidSpec | NoSpec | AbandonedSpec


def recorded_spec(revision: Revision) -> JobSpec:
    """Read the spec of a revision, as far as this version knows it: a newer one may have accepted fields beyond."""
    return JobSpec.model_validate(dict(revision.spec), extra="ignore")


def read_spec(job_id: str, item: Mapping[str, Any] | None) -> SpecView:
    """Judge a spec item as it was read. Never raises, whatever the item holds."""
    if item is None:
        return NoSpec()
    try:
        return _judge(job_id, item)
    except (RecursionError, ValueError, TypeError) as error:
        # Deeper, or stranger, than any table or schema allows.
        return InvalidSpec(
            _digest(type(error).__name__), (f"item: is no document that a spec could be: {shown(str(error), 120)}",)
        )


def _judge(job_id: str, item: Mapping[str, Any]) -> SpecView:
    # Binary and sets are no JSON; the model refuses them below, with their path.
    canonical = canonical_json(item)
    spec_hash = hash_item(item)
    if dict(item) == {"job_id": job_id, "state": DesiredState.ABANDONED.value}:
        return AbandonedSpec(spec_hash)
    size = len(canonical.encode("utf-8", "surrogatepass"))
    if size > MAX_SPEC_BYTES:
        return InvalidSpec(spec_hash, (f"item: {size} bytes as canonical JSON; at most {MAX_SPEC_BYTES} are allowed",))
    try:
        spec = JobSpec.model_validate(item)
    except ValidationError as error:
        broken = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
        return InvalidSpec(spec_hash, _bounded((*_faults(error), *_disagreements(item, broken))), _writer(item))
    disagreements = tuple(_disagreements(item, set()))
    if disagreements:
        return InvalidSpec(spec_hash, disagreements, _writer(item))
    return ValidSpec(
        spec=spec,
        spec_hash=spec_hash,
        revision_hash=_digest(canonical_json(_part_of(spec, {change for change in SpecChange if change is not NONE}))),
        fingerprints={
            change.name: _digest(canonical_json(_part_of(spec, {change})))[:16]
            for change in SpecChange
            if change is not NONE
        },
        warnings=tuple(sorted(_foreign(item))),
    )


def _writer(item: Mapping[str, Any]) -> str:
    """Give what an item that is no spec says of its writer, bounded and printable."""
    found = item.get("written_by")
    return shown(found, 256) if isinstance(found, str) else ""


def _disagreements(item: Mapping[str, Any], broken: set[str]) -> Iterator[str]:
    """Name what is wrong between fields, leaving out fields that are wrong in themselves."""
    job_id, path, kind = item.get("job_id"), item.get("artifact_path"), item.get("artifact_type")
    if item.get("state") == DesiredState.ABANDONED:
        yield "state: abandoned stands alone with job_id, after a delete that cannot end"
    if item.get("job_type") == JobType.BATCH and _at(item, "deployment.initial_savepoint_path") is not None:
        yield "deployment.initial_savepoint_path: a run of a batch job starts from nothing"
    origin, nonce = _at(item, "deployment.restore.from"), _at(item, "deployment.restore.nonce")
    if item.get("job_type") == JobType.BATCH and nonce is not None:
        yield "deployment.restore: a run of a batch job starts from nothing"
    if nonce is not None and origin is None and "deployment" not in broken:
        yield "deployment.restore.from: is required with a nonce; flinkctl restore writes both"
    if not isinstance(path, str) or "artifact_path" in broken:
        return
    name = JobName.parse(str(job_id)) if "job_id" not in broken else None
    if name is not None and namespace_of_key(path) != name.namespace:
        yield f"artifact_path: namespace {name.namespace} owns only the keys under {name.artifact_prefix}"
    if "artifact_type" in broken:
        return
    found = program.inferred_type(path) if kind is None else ArtifactType(kind)
    if found is None:
        yield "artifact_type: cannot be inferred from the suffix; write artifact_type: jar"
        return
    yield from program.disagreements(
        found,
        path,
        entry_class=None if "entry_class" in broken else item.get("entry_class"),
        args=() if "args" in broken else item.get("args", ()),
    )


def hash_item(item: Mapping[str, Any]) -> str:
    """Hash a spec item as it was read, valid or not: 64 hex digits."""
    return _digest(canonical_json(item))


def canonical_json(document: object) -> str:
    """Write JSON in the one form that is hashed: sorted keys, no white space; what JSON cannot hold as its `ascii`."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_canonical)


def _canonical(value: object) -> object:
    # The order of a set differs between processes, and a hash must not.
    return sorted(map(ascii, value)) if isinstance(value, set | frozenset) else ascii(value)


def field_paths(model: type[BaseModel] = JobSpec, prefix: str = "") -> Iterator[tuple[str, SpecChange, Treatment, str]]:
    """List every field of the contract with its change class, treatment and description, depth first."""
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from field_paths(inner, f"{path}.")
            continue
        extra = info.json_schema_extra
        assert isinstance(extra, dict)  # every field is declared by spec_field
        yield path, SpecChange[str(extra["change"])], Treatment(str(extra["treatment"])), info.description or ""


def _part_of(spec: JobSpec, changes: set[SpecChange]) -> dict[str, Any]:
    # Defaults are left out: a field that a later version adds changes no hash of specs that do not use it.
    document = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    found = {path: _at(document, path, _ABSENT) for path, change, _, _ in _FIELDS if change in changes}
    return {path: value for path, value in found.items() if value is not _ABSENT}


_STREAMS_ALONE = (
    "stream_config.",
    *(
        f"deployment.{name}"
        for name in (
            "savepoint_path",
            "upgrade_mode",
            "allow_non_restored_state",
            "savepoint_timeout_seconds",
            "savepoint_fallback",
            "rollback.",
            "on_failure.action",
            "on_failure.limit",
            "on_failure.when",
            "savepoint_nonce",
            "savepoint_disposal.",
        )
    ),
    *(f"monitoring.{name}_window_seconds" for name in ("checkpoint", "restart", "backpressure")),
)
"""What only a job with state, or without an end, can use."""


def _foreign(item: Mapping[str, Any]) -> Iterator[str]:
    """Name the fields that say nothing about a job of this type."""
    foreign = _STREAMS_ALONE if item.get("job_type") == JobType.BATCH else ("batch_config.",)
    for path, *_ in _FIELDS:
        if path.startswith(foreign) and _at(item, path) is not None:
            yield path


_ABSENT = object()


def _at(document: Any, path: str, otherwise: Any = None) -> Any:
    for part in path.split("."):
        if not isinstance(document, Mapping) or part not in document:
            return otherwise
        document = document[part]
    return document


def _faults(error: ValidationError) -> tuple[str, ...]:
    details = error.errors(include_url=False, include_context=False)
    return tuple(dict.fromkeys(_fault(detail) for detail in details))


def _bounded(found: tuple[str, ...]) -> tuple[str, ...]:
    faults = list(found)
    if len(faults) > MAX_FAULTS:
        faults[MAX_FAULTS:] = [f"and {len(faults) - MAX_FAULTS} more"]
    return tuple(faults)


def _fault(detail: Any) -> str:
    path = ".".join(_part(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{path}: is required"
    if detail["type"] == "extra_forbidden":
        return f"{path}: is no field of a spec"
    got = detail["input"]
    if not path:
        return _CONTROL.sub("?", message)[:300]
    if isinstance(got, str | int | float | bool) and detail["type"] != "value_error":
        message = f"{message}, not {shown(str(got), 60)}"
    return _CONTROL.sub("?", f"{path}: {message[:1].lower()}{message[1:]}")[:300]


def _part(part: object) -> str:
    text = str(part)
    return text if re.fullmatch(r"[\w.-]{1,64}", text) else shown(text, 40)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_FIELDS = tuple(field_paths())
