"""The functions: one table from which compute, triggers, permissions, alarms and docs are derived.

A new function is one row here and one folder of its name under `functions/` and `events/`; nothing else lists functions.
This module knows nothing of the CDK, so that docs and tests can read the table at once.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Access(Enum):
    """What a function may touch; `access.py` says on which resource and by which actions."""

    READ_SPECS = "read a spec by its name"
    FIND_SPECS = "tell which of many specs there are, in one call"
    SCAN_SPECS = "page through all specs"
    READ_JOB_RECORDS = "read the controller's records of jobs, one by one"
    QUERY_JOB_RECORDS = "read all records of one job"
    LIST_JOBS = "list the jobs with their summaries"
    WRITE_JOB_RECORDS = "write the controller's records of jobs"
    READ_ARTIFACT_HEADS = "read what is the newest of an artifact's versions"
    FIND_ARTIFACT_HEADS = "read what is the newest of many artifacts' versions, in one call"
    QUERY_ARTIFACT_RECORDS = "read the records of all versions of an artifact"
    WRITE_ARTIFACT_RECORDS = "write the records of artifact versions, and nothing else"
    PRUNE_ARTIFACT_RECORDS = "delete records of artifact versions"
    READ_REGISTRY = "read what operators registered, one by one: clusters, keys, policies, pauses"
    LIST_REGISTRY = "find what operators registered, by kind"
    READ_TRUST = "read keys and the deny-list, in one call"
    READ_BARRIERS = "read a cluster's circuit and the pauses that concern a job, in one call"
    WRITE_CIRCUITS = "open and close the circuits of clusters"
    FIND_JOBS_BY_ARTIFACT = "find the jobs that name an artifact"
    FIND_DUE_JOBS = "find the jobs whose next look, run or expiry has come"
    READ_ARTIFACTS = "read uploaded objects"
    READ_ARTIFACT_VERSIONS = "read uploaded objects, by version"
    READ_SAVED_STATE = "find and read savepoints and checkpoints"
    COUNT_FOLLOW_UPS = "count the wake-ups that wait"
    CALL_FLINK = "call the clusters, with credentials from their secrets"
    ADMIT_SCRAPERS = "read the token of scrapers that cannot sign, where there is one"
    ROTATE_SECRETS = "propose versions of clusters' secrets and put them in force"
    PUBLISH_EVENTS = "publish events on the bus and messages on the alert topic"
    SEND_FOLLOW_UPS = "wake a job later"


@dataclass(frozen=True)
class ObjectCreated:
    """Every object that is created in the artifact buckets; delivered asynchronously, at least once."""


@dataclass(frozen=True)
class ObjectRemoved:
    """Every object or version that somebody deletes from the artifact buckets; what an event does not tell, the clock finds."""


@dataclass(frozen=True, kw_only=True)
class SpecStream:
    """Every write to the spec table, by key only; ordered per job."""

    batch_size: int
    parallelization: int
    """Workers per shard. Records of one job stay in order."""
    retries: int
    max_age_minutes: int


@dataclass(frozen=True, kw_only=True)
class EventStream:
    """New events of jobs and refusals of artifacts, as recorded in the state table; filtered before any invocation."""

    batch_size: int
    retries: int
    max_age_minutes: int


@dataclass(frozen=True, kw_only=True)
class FollowUps:
    """The delayed wake-ups of the follow-up queue."""

    batch_size: int


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A clock. A tick that fails is not repeated: the next one does the same work on fresher facts."""

    rate_minutes: int


@dataclass(frozen=True)
class SecretRotation:
    """Secrets Manager, by the four steps of a rotation; it repeats what fails."""


@dataclass(frozen=True)
class SignedURL:
    """An HTTPS address that answers callers with IAM permission and no others."""


Trigger = ObjectCreated | ObjectRemoved | SpecStream | EventStream | FollowUps | Schedule | SecretRotation | SignedURL


@dataclass(frozen=True, kw_only=True)
class FunctionSpec:
    """One function. Its handler is `functions.<name>.handler.lambda_handler`."""

    name: str
    summary: str
    """What it is for, in the imperative; shown in the console."""
    timeout_s: int
    memory_mb: int
    """Also buys processor share: 1,769 MB is one core."""
    triggers: tuple[Trigger, ...]
    access: tuple[Access, ...]
    reserved_concurrency: int
    """Taken from the account's pool where the deployment reserves at all: a guarantee and a ceiling."""

    @property
    def wakes_itself(self) -> bool:
        """Whether it sends to the queue that it is invoked from, on purpose."""
        return Access.SEND_FOLLOW_UPS in self.access and any(isinstance(t, FollowUps) for t in self.triggers)

    @property
    def schedule(self) -> Schedule | None:
        """Its clock, if it has one."""
        return next((trigger for trigger in self.triggers if isinstance(trigger, Schedule)), None)


RECONCILER: Final = "reconcile_job"
"""The only function that changes anything on Flink; its timeout bounds how long a lost effect can be on its way."""

FUNCTIONS: Final[tuple[FunctionSpec, ...]] = (
    FunctionSpec(
        name="admit_artifact",
        summary="Verify an uploaded artifact, record its version, wake the jobs that name it.",
        # Hashing and verifying a jar of several GB at about 60 MB/s.
        timeout_s=300,
        memory_mb=1024,
        triggers=(ObjectCreated(),),
        access=(
            Access.READ_ARTIFACTS,
            Access.READ_ARTIFACT_VERSIONS,
            Access.READ_REGISTRY,
            Access.LIST_REGISTRY,
            Access.READ_TRUST,
            Access.READ_ARTIFACT_HEADS,
            Access.WRITE_ARTIFACT_RECORDS,
            Access.FIND_JOBS_BY_ARTIFACT,
            Access.SEND_FOLLOW_UPS,
        ),
        reserved_concurrency=10,
    ),
    FunctionSpec(
        name=RECONCILER,
        summary="Bring one Flink job one step closer to its spec. The only function that changes anything on Flink.",
        timeout_s=60,
        memory_mb=1024,
        triggers=(
            # Retries and age are bounded because a lost record heals by itself: each tick of reconcile_fleet compares a
            # fifteenth of all specs, so a record older than 15 minutes has been superseded by a look.
            # A batch of more than one job is handed on to the queue, so a large one takes no longer than a small one.
            SpecStream(batch_size=100, parallelization=2, retries=3, max_age_minutes=15),
            FollowUps(batch_size=5),
        ),
        access=(
            Access.READ_SPECS,
            Access.READ_JOB_RECORDS,
            Access.QUERY_JOB_RECORDS,
            Access.WRITE_JOB_RECORDS,
            Access.READ_REGISTRY,
            Access.READ_TRUST,
            Access.READ_BARRIERS,
            Access.WRITE_CIRCUITS,
            Access.READ_ARTIFACT_HEADS,
            Access.QUERY_ARTIFACT_RECORDS,
            Access.READ_ARTIFACT_VERSIONS,
            Access.READ_SAVED_STATE,
            Access.CALL_FLINK,
            Access.SEND_FOLLOW_UPS,
        ),
        reserved_concurrency=60,
    ),
    FunctionSpec(
        name="reconcile_fleet",
        summary="Look once at every cluster and wake only the jobs that need attention.",
        timeout_s=60,
        memory_mb=512,
        triggers=(Schedule(rate_minutes=1),),
        access=(
            Access.FIND_SPECS,
            Access.SCAN_SPECS,
            Access.LIST_JOBS,
            Access.FIND_ARTIFACT_HEADS,
            Access.READ_REGISTRY,
            Access.LIST_REGISTRY,
            Access.READ_BARRIERS,
            Access.WRITE_CIRCUITS,
            Access.CALL_FLINK,
            Access.SEND_FOLLOW_UPS,
        ),
        reserved_concurrency=2,
    ),
    FunctionSpec(
        name="sweep_artifacts",
        summary="Judge uploads that nobody told of, miss the versions that jobs need, prune records that nothing needs.",
        # Judging one large jar takes as long as in admit_artifact; what is left over comes with the next sweep.
        timeout_s=300,
        memory_mb=1024,
        # Twice within the five minutes after which a missing heartbeat is an alarm.
        triggers=(Schedule(rate_minutes=2), ObjectRemoved()),
        access=(
            Access.SCAN_SPECS,
            Access.READ_JOB_RECORDS,
            Access.QUERY_JOB_RECORDS,
            Access.LIST_JOBS,
            Access.READ_ARTIFACTS,
            Access.READ_ARTIFACT_VERSIONS,
            Access.READ_REGISTRY,
            Access.LIST_REGISTRY,
            Access.READ_TRUST,
            Access.READ_ARTIFACT_HEADS,
            Access.QUERY_ARTIFACT_RECORDS,
            Access.WRITE_ARTIFACT_RECORDS,
            Access.PRUNE_ARTIFACT_RECORDS,
            Access.FIND_JOBS_BY_ARTIFACT,
            Access.SEND_FOLLOW_UPS,
        ),
        reserved_concurrency=2,
    ),
    FunctionSpec(
        name="launch_batches",
        summary="Wake the batch jobs whose next run is due.",
        timeout_s=60,
        memory_mb=512,
        triggers=(Schedule(rate_minutes=1),),
        access=(Access.FIND_DUE_JOBS, Access.SEND_FOLLOW_UPS),
        reserved_concurrency=2,
    ),
    FunctionSpec(
        name="expire_jobs",
        summary="Wake the jobs with a run that is past its time to live.",
        timeout_s=60,
        memory_mb=512,
        triggers=(Schedule(rate_minutes=1),),
        access=(Access.FIND_DUE_JOBS, Access.SEND_FOLLOW_UPS),
        reserved_concurrency=2,
    ),
    FunctionSpec(
        name="rotate_credentials",
        summary="Replace the credential of a cluster, step by step, while both the old and the new one are accepted.",
        timeout_s=30,
        memory_mb=512,
        triggers=(SecretRotation(),),
        access=(Access.READ_REGISTRY, Access.LIST_REGISTRY, Access.CALL_FLINK, Access.ROTATE_SECRETS),
        reserved_concurrency=1,
    ),
    FunctionSpec(
        name="publish_events",
        summary="Publish what was recorded: every event on the bus, what needs a person on the alert topic.",
        timeout_s=60,
        memory_mb=512,
        # An outage of EventBridge or SNS is waited out: nothing else tells an event again.
        triggers=(EventStream(batch_size=25, retries=10_000, max_age_minutes=12 * 60),),
        access=(Access.PUBLISH_EVENTS,),
        reserved_concurrency=2,
    ),
    FunctionSpec(
        name="health",
        summary="Say whether the controller itself can work, and its figures for scrapers.",
        timeout_s=10,
        memory_mb=512,
        triggers=(SignedURL(),),
        access=(
            Access.READ_SPECS,
            Access.LIST_JOBS,
            Access.READ_REGISTRY,
            Access.LIST_REGISTRY,
            Access.READ_BARRIERS,
            Access.COUNT_FOLLOW_UPS,
            Access.ADMIT_SCRAPERS,
        ),
        reserved_concurrency=2,
    ),
)
