"""The roles of the outside world. Each method says what it raises, and whether doing it twice is harmless.

Every method may raise `TransientError` when the world does not answer; that is not repeated below.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import IO, Any, Final, Protocol

from flink_controller.domain.actions import Submit
from flink_controller.domain.announcements import ArtifactEvent, JobEvent, Letter
from flink_controller.domain.artifact import ArtifactHead, ArtifactType, ArtifactVersion, TrustedKey
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.observation import (
    Answer,
    ApplicationSeen,
    CheckpointProgress,
    Checkpoints,
    ClusterConfig,
    GraphVertex,
    JarSeen,
    JobSeen,
    Load,
    SavepointFound,
    StorageUnreadable,
    StoredState,
    TaskFailure,
    TaskManagerSeen,
    TriggerStatus,
    UploadedJar,
    Vertex,
)
from flink_controller.domain.status import (
    DueKind,
    Event,
    JobStatus,
    Pause,
    Revision,
    Run,
    SavepointRecord,
    StagedJar,
    StatusSummary,
)
from flink_controller.domain.trust import Denial, NamespacePolicy, Quotas, RegistryEvent, Trust

STATUS_LIMIT_BYTES: Final = 48 * 1024
"""Largest status item. With paths of usual length one has 2 to 6 KB; with every path and name as long as is allowed it fits
once its messages are shortened, so a larger one is a fault of this package.
"""

UNVERSIONED: Final = "null"
"""S3's version id of an object that was uploaded to a bucket without versions."""
MAX_FOLLOW_UP_DELAY: Final = timedelta(minutes=15)
"""Longest delay that the queue allows; a longer one is shortened, and the look then asks again."""


@dataclass(frozen=True)
class Held:
    """A status under a lease. `fence` and `version` are the conditions of every write made with it."""

    job_id: str
    status: JobStatus | None
    """None: nothing recorded yet."""
    fence: int
    version: int


@dataclass(frozen=True)
class Commit:
    """What is written in one transaction: the status, and the items that came with it."""

    status: JobStatus
    revisions: tuple[Revision, ...] = ()
    events: tuple[Event, ...] = ()
    jar: StagedJar | None = None
    """A staged jar that the intent relies on; recorded with the job among its users."""
    started_runs: tuple[Run, ...] = ()
    """Runs that must not be on record yet; each takes a place of the namespace's quota."""
    runs: tuple[Run, ...] = ()
    """Records of runs, new or not."""
    ended_runs: int = 0
    """Places of the quota that are given back."""
    quotas: Quotas | None = None
    """What the namespace may have; None: what is taken is counted, whether it fits or not."""
    forgotten: tuple[int, ...] = ()
    """Revisions to delete."""
    savepoints: tuple[SavepointRecord, ...] = ()
    """Records of savepoints, new or not."""
    disposed: tuple[int, ...] = ()
    """Savepoints whose records to delete."""

    def takes(self, before: JobStatus | None) -> dict[str, int]:
        """Give by how much the namespace's counts change, named as in `Quotas`; what stays is left out."""
        held, holds = None if before is None else before.reserved, self.status.reserved
        slots = (0 if holds is None else holds.slots) - (0 if held is None else held.slots)
        changes = {
            "active_runs": len(self.started_runs) - self.ended_runs,
            "jobs": (holds is not None) - (held is not None),
            "slots": slots,
        }
        return {name: change for name, change in changes.items() if change}


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> datetime:
        """Give the current time, in UTC."""

    def sleep(self, duration: timedelta) -> None:
        """Wait."""


class SpecStore(Protocol):
    """The table that teams write."""

    def read(self, job_id: str) -> Mapping[str, Any] | None:
        """Read a spec item consistently, numbers as int or float; None when there is none."""

    def present(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Tell which of some jobs have a spec item, consistently."""

    def segment(self, index: int, total: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read one of `total` parts of all spec items, as (job id, item)."""


class EditableSpecStore(SpecStore, Protocol):
    """What the CLI needs beside: conditional writes. Functions have no such right."""

    def replace(self, job_id: str, item: Mapping[str, Any] | None, *, expected: Mapping[str, Any] | None) -> None:
        """Write an item (None: delete it) on condition that the stored one still equals `expected` (None: is absent).

        Raises:
            StaleWriteError: it changed since it was read; nothing was written.
        """

    def items(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read all spec items, as (job id, item)."""


class StatusStore(Protocol):
    """The controller's own record of every job."""

    def acquire(self, job_id: str, *, owner: str, now: datetime, until: datetime) -> Held:
        """Take the job's lease, raise its fence, and read its status, in one write.

        Raises:
            LeaseTakenError: another owner holds it.
        """

    def commit(self, held: Held, commit: Commit, *, release: bool) -> Held:
        """Record a status and its items, all or nothing, on condition of fence and version.

        Args:
            held: what `acquire` or the last `commit` gave.
            commit: what to record.
            release: give up the lease in the same write.

        Raises:
            StaleWriteError: the lease or the version is somebody else's now; nothing was written, or (after a lost answer)
                it was written and a newer holder has gone on from it. Look again.
            RunTakenError: a started run is on record already; nothing was written.
            QuotaExceededError: the namespace's quota is used up; nothing was written.
            ControllerError: the status is larger than `STATUS_LIMIT_BYTES`; nothing was written.
        """

    def release(self, held: Held) -> None:
        """Give up the lease without recording anything. Harmless when it is somebody else's already."""

    def read(self, job_id: str) -> JobStatus | None:
        """Read a status consistently."""

    def read_many(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Read some statuses consistently, a hundred a call; those that there are."""

    def revision(self, job_id: str, number: int) -> Revision | None:
        """Read a revision consistently."""

    def revisions(self, job_id: str) -> list[Revision]:
        """Read all retained revisions, oldest first."""

    def events(self, job_id: str, limit: int = 100) -> list[Event]:
        """Read the newest events, oldest first."""

    def run(self, job_id: str, scheduled_at: datetime) -> Run | None:
        """Read a run's record consistently."""

    def runs(self, job_id: str, limit: int = 100) -> list[Run]:
        """Read the newest records of runs, oldest first."""

    def prune_runs(self, job_id: str, *, succeeded: int, other: int) -> int:
        """Delete the oldest records of runs that have ended beyond some of each kind, and say how many. Harmless twice."""

    def holders(self, path: str) -> list[str]:
        """Name the jobs whose status claims a place as an origin, consistently, in order."""

    def savepoints(self, job_id: str) -> list[SavepointRecord]:
        """Read the records of all savepoints, oldest first, consistently."""

    def summaries(self) -> Iterator[StatusSummary]:
        """Read the index of all statuses. May lag behind."""

    def jobs_naming(self, bucket: str, key: str) -> Iterator[str]:
        """Find the jobs whose accepted spec names an artifact. May lag behind."""

    def due(self, kind: DueKind, now: datetime) -> Iterator[str]:
        """Find the jobs with something of a kind due by now, most overdue first. May lag behind."""

    def staged_jar(self, cluster: str, sha256: str) -> StagedJar | None:
        """Read the record of an artifact's jar on a cluster, consistently."""

    def release_jar(self, cluster: str, sha256: str, job_id: str) -> StagedJar | None:
        """Take a job off a jar's users; give the record back, now deleted, if that was the last. Harmless twice."""


class Registry(Protocol):
    """What operators wrote: clusters, keys, pauses."""

    def cluster(self, name: str) -> Cluster | None:
        """Read a cluster consistently.

        Raises:
            RejectedError: the item is malformed; the message names the faults.
        """

    def clusters(self) -> list[Cluster]:
        """Read all well-formed clusters."""

    def key(self, key_id: str) -> TrustedKey | None:
        """Read a key consistently.

        Raises:
            RejectedError: the item is malformed.
        """

    def keys(self) -> list[TrustedKey]:
        """Read all well-formed keys."""

    def trust(self, key_ids: Sequence[str], sha256: str) -> Trust:
        """Read some keys and whether a digest is denied, consistently and at once."""

    def denials(self) -> list[Denial]:
        """Read every denied digest. May lag behind."""

    def policy(self, namespace: str) -> NamespacePolicy:
        """Read a namespace's policy consistently; the defaults where there is none.

        Raises:
            RejectedError: the item is malformed.
        """

    def policies(self) -> list[NamespacePolicy]:
        """Read all well-formed policies. May lag behind."""

    def pauses(self) -> list[Pause]:
        """Read every pause in force. May lag behind."""

    def pause_of(self, scopes: Sequence[str]) -> Pause | None:
        """Read a pause in one of some scopes, consistently and at once; the first of them that is paused.

        A malformed one counts: it stops too much rather than too little.
        """


@dataclass(frozen=True)
class Barriers:
    """What may hold a look back."""

    circuit: Circuit = field(default_factory=Circuit)
    """Of the cluster that is to be asked."""
    pause: Pause | None = None


class Circuits(Protocol):
    """Which clusters are asked at all."""

    def read(self, cluster: str, scopes: Sequence[str] = ()) -> Barriers:
        """Read a cluster's circuit and the first pause of some scopes, consistently and at once."""

    def replace(self, cluster: str, circuit: Circuit, *, expected: Circuit) -> None:
        """Record a circuit.

        Raises:
            StaleWriteError: it is not the expected one any more; nothing was written.
        """


class EditableRegistry(Registry, Protocol):
    """What operators' tools need beside. An event that tells a change is recorded together with it, or neither is."""

    def put_cluster(self, cluster: Cluster, event: RegistryEvent | None = None) -> None:
        """Write a cluster. Harmless twice."""

    def delete_cluster(self, name: str) -> None:
        """Remove a cluster. Harmless twice."""

    def put_key(self, key: TrustedKey) -> None:
        """Write a key, whatever stands there. Harmless twice."""

    def replace_key(self, key: TrustedKey, *, expected: TrustedKey | None, event: RegistryEvent) -> None:
        """Write a key together with the event that tells it.

        Raises:
            StaleWriteError: the stored key is not the expected one (None: is there) any more; nothing was written.
        """

    def put_policy(self, policy: NamespacePolicy, event: RegistryEvent) -> None:
        """Write a policy together with the event that tells it."""

    def put_denial(self, denial: Denial, event: RegistryEvent) -> None:
        """Deny a digest, together with the event that tells it. Harmless twice."""

    def delete_denial(self, sha256: str, event: RegistryEvent) -> None:
        """Lift a denial, together with the event that tells it. Harmless twice."""

    def changes(self, subject: str) -> list[RegistryEvent]:
        """Read the events of one item (`KEY#id`, `DENY#sha256`, `POLICY#namespace`, `CLUSTER#name`, `PAUSE#scope`), oldest first."""

    def put_pause(self, pause: Pause, event: RegistryEvent | None = None) -> None:
        """Write a pause. Harmless twice."""

    def delete_pause(self, scope: str, event: RegistryEvent | None = None) -> None:
        """Remove a pause. Harmless twice."""


class ArtifactRecords(Protocol):
    """What admission decided about object versions."""

    def head(self, bucket: str, key: str) -> ArtifactHead | None:
        """Read the newest version's record and the newest admitted one, consistently."""

    def heads(self, places: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], ArtifactHead]:
        """Read the same of many keys, each named by its bucket and itself; what was never seen is left out."""

    def admitted_with_digest(self, bucket: str, key: str, sha256: str) -> ArtifactVersion | None:
        """Find an admitted version with a digest, consistently."""

    def versions(self, bucket: str, key: str) -> list[ArtifactVersion]:
        """Read all recorded versions of a key, oldest first."""

    def record(self, version: ArtifactVersion, *, burst_window: timedelta) -> ArtifactHead:
        """Record a verdict and move the head along, in one transaction.

        An admitted version stays admitted; a head never goes back to an older upload. Harmless twice.

        Args:
            version: the verdict.
            burst_window: an admission this close to the previous one belongs to the same burst.

        Raises:
            StaleWriteError: another verdict on this key was recorded meanwhile; look again.
        """

    def prune(self, version: ArtifactVersion) -> None:
        """Delete the record of a version that its key's head does not name. Harmless twice."""


@dataclass(frozen=True)
class ObjectVersion:
    """An object in S3, as HEAD tells it."""

    bucket: str
    key: str
    version_id: str
    size_bytes: int
    uploaded_at: datetime


class ArtifactObjects(Protocol):
    """The artifact bucket."""

    def latest(self, bucket: str, key: str) -> ObjectVersion | None:
        """Look up the newest version, or None when there is no object (or it was deleted)."""

    def uploaded_since(self, bucket: str, prefix: str, since: datetime) -> Iterator[str]:
        """Name every object below a prefix whose newest version was uploaded at a time or later: one call per 1,000 objects."""

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        """Open a version for streaming; the caller closes it.

        Raises:
            NotFoundError: there is no such version.
        """

    def part(self, bucket: str, key: str, version_id: str, *, start: int, length: int) -> bytes:
        """Read some bytes of a version; fewer where it ends before.

        Raises:
            NotFoundError: there is no such version.
        """

    def read(self, bucket: str, key: str, *, limit_bytes: int) -> bytes | None:
        """Read a small object whole; None when there is none, at most `limit_bytes` + 1 bytes otherwise."""


class StateStorage(Protocol):
    """Where Flink keeps checkpoints and savepoints."""

    def search(
        self, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
    ) -> StoredState | StorageUnreadable:
        """List the complete checkpoints of a job id under a root, and the savepoints in given directories.

        Never raises: an unreadable place is an answer.
        """

    def holds(self, path: str) -> bool | StorageUnreadable:
        """Tell whether a complete savepoint or checkpoint lies at a place. Never raises."""


class SavepointStorage(Protocol):
    """What a person lists of a job's savepoints, with rights of the person's own. Nothing here raises or changes anything."""

    def directories(self, uri: str) -> tuple[str, ...] | StorageUnreadable:
        """List the directories directly under a URI; nothing when it does not exist."""

    def savepoints(self, directory: str) -> tuple[SavepointFound, ...] | StorageUnreadable:
        """List the savepoints directly in a directory, complete or not, with the bytes that each takes."""


class FlinkGateway(Protocol):
    """One cluster's REST interface.

    Every method raises `FlinkUnreachableError` when there is no usable answer: connection refused, time-out, 5xx of a
    gateway, an answer that is not Flink's.
    """

    def config(self) -> ClusterConfig:
        """Read the JobManager's configuration and incarnation."""

    def jobs(self, prefix: str = "") -> list[JobSeen]:
        """List every job the cluster knows whose id begins so."""

    def parameters(self, flink_job_id: str) -> Mapping[str, str] | None:
        """Read a job's global parameters: as they were given, unless its own code has set others.

        Those of a job that Flink could not initialise are empty; None: the job is not known.
        """

    def free_slots(self) -> int:
        """Count the task slots that nothing uses."""

    def task_managers(self) -> tuple[TaskManagerSeen, ...]:
        """List the TaskManagers that are registered, with their slots and memory.

        One that has died is listed until its heartbeat times out.
        """

    def jars(self) -> list[JarSeen]:
        """List uploaded jars."""

    def upload_jar(self, name: str, content: IO[bytes], size_bytes: int) -> UploadedJar:
        """Upload a jar. Every call makes another jar."""

    def delete_jar(self, jar_id: str) -> None:
        """Delete an uploaded jar. Harmless twice."""

    def submit(self, submit: Submit) -> Answer:
        """Run a jar under a chosen job id: one POST, no retry. Never raises: every outcome is an answer.

        With an application id it is accepted before main() runs; what main() comes to is told by `application`.
        """

    def plan(self, submit: Submit) -> Answer:
        """Have a submit planned, up to the job that would start; nothing starts, and the job id stays unused.

        Never raises; harmless twice as far as its main() is.
        """

    def application(self, application_id: str) -> ApplicationSeen | None:
        """Look at a main() that was submitted to run by itself, or None for one that Flink does not know."""

    def cancel_application(self, application_id: str) -> Answer:
        """Ask for the end of a main() and of its jobs. Never raises; harmless twice."""

    def stop(self, flink_job_id: str, *, trigger_id: str, target_directory: str) -> Answer:
        """Trigger a stop with savepoint. Never raises; harmless twice with one trigger id while Flink remembers it.

        Two stops under different ids at the same time fail each other, and the job with them.
        """

    def savepoint(self, flink_job_id: str, *, trigger_id: str, target_directory: str) -> Answer:
        """Trigger a savepoint. Never raises; harmless twice with one trigger id while Flink remembers it."""

    def dispose(self, path: str) -> Answer:
        """Ask for the deletion of a savepoint. Never raises; harmless twice. Accepted says nothing of how it ends."""

    def trigger(self, flink_job_id: str, trigger_id: str) -> TriggerStatus:
        """Look up a stop or savepoint."""

    def checkpoint(self, flink_job_id: str) -> Answer:
        """Ask for a checkpoint now. Never raises; harmless twice."""

    def cancel(self, flink_job_id: str) -> Answer:
        """Ask for a cancel. Never raises; harmless twice."""

    def vertices(self, flink_job_id: str) -> tuple[Vertex, ...] | None:
        """Read which parallelism a running job asks for and has, or None for an unknown job.

        What it has comes from a cache that is up to `web.refresh-interval` (3 s by default) old.
        """

    def rescale(self, flink_job_id: str, *, before: int, after: int) -> Answer:
        """Ask for another parallelism of those vertices that have the old one. Never raises; harmless twice.

        Accepted says nothing: Flink restarts the tasks later, or never while there are no slots. Read it back.
        """

    def checkpoints(self, flink_job_id: str) -> Checkpoints | None:
        """Read checkpoint statistics and configuration, or None for an unknown job.

        Flink answers from a cache that is up to `web.refresh-interval` (3 s by default) old: of a job that has just ended
        it may tell what was before the end, without the savepoint of its stop. Only what is read longer than that after
        the end is final.
        """

    def checkpoint_progress(self, flink_job_id: str) -> CheckpointProgress | None:
        """Read how far periodic checkpoints have come, or None for a job that is unknown or takes none.

        As `checkpoints`, from the same cache, with half of its calls.
        """

    def failures(self, flink_job_id: str) -> tuple[TaskFailure, ...] | None:
        """Read what made Flink restart a job, newest first, or None for an unknown job.

        Flink keeps the last 16 (`web.exception-history-size`); a few of them are read.
        """

    def graph(self, flink_job_id: str) -> tuple[GraphVertex, ...] | None:
        """Read a job's vertices and who reads from whom, or None for an unknown job. It stays the same for an attempt."""

    def load(self, flink_job_id: str, vertex_id: str) -> Load | None:
        """Read how a vertex spends its time, or None while there are no readings of it.

        Flink gathers its metrics when they are asked for, at most every 10 s (`metrics.fetcher.update-interval`): the
        first reading after a pause is the one from before it. Tasks measure themselves over 5 s.
        """

    def root_cause(self, flink_job_id: str) -> str | None:
        """Read why a job failed, in one bounded line; None when nothing is recorded, which may be old news as well."""


class Secrets(Protocol):
    """Where the credentials of clusters are kept."""

    def read(self, arn: str, *, is_refused: bool = False) -> str:
        """Read a secret, perhaps as it was some minutes ago; one that was refused, as it is now or was seconds ago.

        Raises:
            NotFoundError: there is none.
            RejectedError: it is no text.
            TransientError: no answer.
            ControllerError: it may not be read.
        """


class RotatedSecrets(Protocol):
    """Secrets whose versions are proposed and put in force. Never cached."""

    def stages(self, arn: str) -> Mapping[str, frozenset[str]]:
        """Give the stages of every version that has one, by the version's token."""

    def current(self, arn: str) -> str:
        """Read the version in force."""

    def pending(self, arn: str, token: str) -> str | None:
        """Read a proposed version, or None when it has no value yet or is not proposed any more."""

    def propose(self, arn: str, token: str, text: str) -> None:
        """Write a version that is not in force yet. A token that has a value keeps it."""

    def put_in_force(self, arn: str, token: str, *, instead_of: str | None) -> None:
        """Put a version in force. Harmless twice.

        Raises:
            ControllerError: another one than `instead_of` is in force.
        """


class FlinkConnections(Protocol):
    """The way to a cluster."""

    def connect(self, cluster: Cluster) -> FlinkGateway:
        """Give the gateway of a cluster. Makes no call."""


class FollowUps(Protocol):
    """The queue of delayed wake-ups."""

    def send(self, job_id: str, delay: timedelta) -> None:
        """Wake a job after a delay (bounded to what the queue allows). Harmless twice."""

    def send_now(self, job_ids: Sequence[str]) -> None:
        """Wake jobs as soon as possible. Harmless twice."""

    def waiting(self) -> int:
        """Count the wake-ups that wait, delayed ones included. Roughly: the queue is spread over many machines."""


class EventBus(Protocol):
    """What programs outside listen to."""

    def put(self, events: Sequence[JobEvent | ArtifactEvent]) -> None:
        """Publish events. After an error some may have been published; again they carry the same ids."""


class AlertTopic(Protocol):
    """What people listen to."""

    def tell(self, letter: Letter) -> None:
        """Send a message to everybody who subscribed. Twice sends it twice."""


class SignatureVerifier(Protocol):
    """Checks signatures; knows no policy."""

    def verifies(self, key: TrustedKey, signature: bytes, message: bytes) -> bool:
        """Tell whether a raw signature over a message was made by a key. Never raises on bad input."""

    def verifies_digest(self, key: TrustedKey, signature: bytes, digest: bytes) -> bool:
        """Tell the same of a message that is known by its digest, of the key's own hash function. Never for Ed25519."""


@dataclass(frozen=True)
class BurnJar:
    """The controller's own jar that uses up a Flink job id."""

    content: bytes
    sha256: str
    entry_class: str


@dataclass(frozen=True)
class Ports:
    """Everything that the services can reach, put together by `bootstrap`, or of twins by tests."""

    clock: Clock
    specs: SpecStore
    statuses: StatusStore
    registry: Registry
    circuits: Circuits
    records: ArtifactRecords
    objects: ArtifactObjects
    storage: StateStorage
    flink: FlinkConnections
    follow_ups: FollowUps
    verifier: SignatureVerifier
    burn_jar: BurnJar
    runners: Mapping[ArtifactType, Mapping[str, bytes]] = field(default_factory=dict)
    """What is packed beside artifacts that are no jars: content by entry."""
