"""What was seen in one look. Facts only: no judgement, nothing that a later answer can take back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from flink_controller.domain.artifact import Artifact, ArtifactHead
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import UNREACHABLE
from flink_controller.domain.status import Pause
from flink_controller.domain.trust import NamespacePolicy, RunningDistrust


class FlinkState(StrEnum):
    """Flink's job states."""

    INITIALIZING = "INITIALIZING"
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    FAILING = "FAILING"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELED = "CANCELED"
    FINISHED = "FINISHED"
    RESTARTING = "RESTARTING"
    SUSPENDED = "SUSPENDED"
    RECONCILING = "RECONCILING"

    @property
    def is_terminal(self) -> bool:
        """Whether a job in this state never runs again under the same id in this incarnation."""
        return self in {FlinkState.FAILED, FlinkState.CANCELED, FlinkState.FINISHED}


@dataclass(frozen=True)
class JobSeen:
    """One entry of `/jobs/overview`."""

    flink_job_id: str
    name: str
    state: FlinkState
    modified_ms: int
    """Flink's clock at the last change of the job or one of its tasks; only compared with itself."""
    tasks_running: int
    tasks_total: int
    """Tasks that are running or finished, and all tasks."""

    @property
    def is_processing(self) -> bool:
        """Whether every task runs: RUNNING alone is said of jobs without a single slot."""
        return self.state is FlinkState.RUNNING and 0 < self.tasks_total == self.tasks_running


@dataclass(frozen=True)
class Checkpoint:
    """A completed checkpoint or savepoint."""

    id: int
    path: str
    is_savepoint: bool
    is_stop: bool = False
    """Whether it is the savepoint of a stop (SYNC_SAVEPOINT)."""
    completed_at: datetime | None = None


@dataclass(frozen=True)
class CheckpointProgress:
    """How far a job's periodic checkpoints have come; savepoints say nothing about that."""

    completed_at: datetime | None = None
    """Of the newest one that was completed; None: none was."""
    duration: timedelta | None = None
    """Of that one, from its trigger to its last acknowledgement."""
    size_bytes: int | None = None
    """State that it holds, whole or as an increment."""
    failed_in_a_row: int = 0
    """Since then, as far as Flink remembers (ten by default, `web.checkpoints.history`)."""
    failure: str = ""
    """Why the last of these failed, in one bounded line."""


@dataclass(frozen=True)
class Checkpoints:
    """What Flink tells about a job's checkpoints."""

    is_enabled: bool
    """Whether periodic checkpoints are on."""
    completed: Checkpoint | None = None
    """The newest checkpoint that is no savepoint and was not discarded."""
    savepoint: Checkpoint | None = None
    restored_from: str | None = None
    completed_count: int = 0
    failed_count: int = 0
    deletes_on_cancellation: bool = False
    interval: timedelta | None = None
    """Between two periodic checkpoints; None: there are none."""
    timeout: timedelta | None = None
    """After which one fails; None: not told."""
    progress: CheckpointProgress = CheckpointProgress()

    @property
    def newest(self) -> Checkpoint | None:
        """The state to go on from: the highest id wins."""
        return max(filter(None, (self.completed, self.savepoint)), key=lambda found: found.id, default=None)


@dataclass(frozen=True)
class TaskFailure:
    """A failure that made Flink restart a job, or give it up: the root exception."""

    at: datetime
    """By Flink's clock; no two failures of a job share it."""
    cause: str
    """Deepest cause with its message, in one bounded line."""
    task: str = ""
    """Where it was thrown; empty when it was outside of the tasks."""
    frames: tuple[str, ...] = ()
    """The first lines of its stack, a few."""


@dataclass(frozen=True)
class GraphVertex:
    """One vertex of a job's graph: operators that run as one chain."""

    id: str
    name: str
    inputs: tuple[str, ...] = ()
    """Vertices that it reads from; none: it is a source."""


@dataclass(frozen=True)
class Load:
    """How the subtasks of a vertex spend their time, by Flink's metrics: shares of a second, 0 to 1."""

    backpressured: float
    """Of the worst subtask: it had something to emit, and nobody took it."""
    subtask: int = 0
    """Number of the worst subtask, from zero."""
    busy: float = 0.0
    """Of the busiest subtask."""


@dataclass(frozen=True)
class LoadedVertex:
    """A vertex and its load."""

    name: str
    load: Load


@dataclass(frozen=True)
class Pressure:
    """The way of backpressure through a job: which vertices cannot emit, and who makes them wait."""

    pressed: tuple[LoadedVertex, ...] = ()
    """From the sources on; none: no source waits, so that nothing slows the job down."""
    bottleneck: LoadedVertex | None = None
    """The first vertex behind them that is not pressed itself; None: it was not found."""


@dataclass(frozen=True)
class TriggerInProgress:
    """The operation runs."""


@dataclass(frozen=True)
class TriggerCompleted:
    """The operation ended well; `path` is where its savepoint lies."""

    path: str


@dataclass(frozen=True)
class TriggerFailed:
    """The operation ended badly. The job may run on, restart, or have stopped all the same: look at the job."""

    cause: str


@dataclass(frozen=True)
class TriggerUnknown:
    """Flink does not know the trigger: never received, expired, or forgotten in a restart."""


TriggerStatus: TypeAlias = TriggerInProgress | TriggerCompleted | TriggerFailed | TriggerUnknown


class RefusalKind(StrEnum):
    """Why Flink refused a submit, as far as that changes what is done next."""

    JAR_GONE = "jar gone"
    """The jar id is void; upload again."""
    DUPLICATE = "duplicate"
    """Flink has seen the id before."""
    PROGRAM = "program"
    """The job's own fault: main() threw, a class is missing, state does not map."""
    OTHER = "other"


@dataclass(frozen=True)
class Accepted:
    """Flink said yes; the list is still the truth."""


@dataclass(frozen=True)
class Refused:
    """Flink said no. A job may have started all the same."""

    kind: RefusalKind
    cause: str


@dataclass(frozen=True)
class NotSent:
    """The request provably did not leave."""

    cause: str


@dataclass(frozen=True)
class NoAnswer:
    """The request left, and no answer came: the outcome is unknown."""

    cause: str


Answer: TypeAlias = Accepted | Refused | NotSent | NoAnswer


@dataclass(frozen=True)
class Vertex:
    """The parallelism of one vertex of a running job."""

    wanted: int
    """Upper bound of what the job asks for; more slots than there are may be asked for."""
    actual: int


@dataclass(frozen=True)
class ApplicationSeen:
    """A `main()` that was submitted to run by itself."""

    is_alive: bool
    """Whether it runs, or its jobs do."""
    duration: timedelta = timedelta(0)
    """Since Flink has had it, by Flink's clock."""
    refused: Refused | None = None
    """Why it failed, or was cancelled."""


@dataclass(frozen=True)
class JarSeen:
    """One entry of `/jars`."""

    jar_id: str
    name: str
    uploaded_ms: int


@dataclass(frozen=True)
class UploadedJar:
    """What an upload gave."""

    jar_id: str
    path: str
    """Where the JobManager keeps it, on its own disk."""


@dataclass(frozen=True)
class ClusterConfig:
    """What `/jobmanager/config` tells."""

    incarnation: str
    """Value that differs between two lives of a JobManager without HA (`web.tmpdir`)."""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskManagerSeen:
    """A TaskManager as `/taskmanagers` tells of it; None: it does not say."""

    slots: int
    slots_free: int
    cpu_cores: float | None = None
    """Of its machine or container, as its JVM sees them."""
    memory_bytes: int | None = None
    """Of the whole process."""
    heap_bytes: int | None = None
    """Of tasks and framework."""
    network_bytes: int | None = None
    shared_bytes: int | None = None
    """What its slots share: heap, off-heap, managed and network memory of tasks."""
    free_bytes: int | None = None
    """Of that, what no slot in use has."""


@dataclass(frozen=True)
class Offer:
    """What a cluster has for the jobs that start on it."""

    settings: Mapping[str, str]
    """The JobManager's configuration."""
    task_managers: tuple[TaskManagerSeen, ...]


@dataclass(frozen=True)
class OfferUnread:
    """A cluster that a job is to move to did not answer."""

    cause: str


@dataclass(frozen=True)
class StoredState:
    """What storage holds of a dead attempt."""

    checkpoints: tuple[Checkpoint, ...]
    """Complete checkpoints and savepoints, in any order."""

    @property
    def newest(self) -> Checkpoint | None:
        """The highest checkpoint id wins, wherever it lies."""
        return max(self.checkpoints, key=lambda found: found.id, default=None)


@dataclass(frozen=True)
class SavepointFound:
    """A savepoint that lies on storage, whoever took it."""

    path: str
    size_bytes: int
    """Of all its own files; an incremental one in native format also needs files of others."""
    written_at: datetime
    """When its newest file was written."""
    is_complete: bool
    """Whether its metadata, which Flink writes last, is there."""


@dataclass(frozen=True)
class StorageUnreadable:
    """Storage could not be listed; nothing may be concluded."""

    cause: str


@dataclass(frozen=True)
class FlinkSeen:
    """A reachable cluster."""

    jobs: Mapping[str, JobSeen]
    """This job's attempts that the cluster lists, by Flink job id."""
    incarnation: str | None
    """None when it was not read, or changed while the list was read: an absence then proves nothing."""
    checkpoints: Checkpoints | None = None
    """Of the current attempt; None when not asked for or not known."""
    trigger: TriggerStatus | None = None
    """Of the open operation; None when there is none."""
    root_cause: str | None = None
    """Of the current attempt, when it failed."""
    second_checkpoints: Checkpoints | None = None
    """Of the second lane's attempt."""
    second_root_cause: str | None = None
    """Of the second lane's attempt, when it failed."""
    application: ApplicationSeen | None = None
    """Of the current attempt, while its job is not listed or its id is being used up; None when not known."""
    second_application: ApplicationSeen | None = None
    """Of the second lane's attempt."""
    run_causes: Mapping[str, str | None] = field(default_factory=dict)
    """Why attempts of runs failed, by Flink job id."""
    run_applications: Mapping[str, ApplicationSeen | None] = field(default_factory=dict)
    """Of attempts of runs, by Flink job id."""
    vertices: tuple[Vertex, ...] | None = None
    """Of the current attempt, while it is being rescaled; None when not asked for or not known."""
    failures: tuple[TaskFailure, ...] | None = None
    """Of the current attempt, newest first; None when not asked for or not known."""
    pressure: Pressure | None = None
    """Of the current attempt; None when not asked for, or while Flink has no readings."""


@dataclass(frozen=True)
class FlinkUnreachable:
    """No usable answer: says nothing about any job."""

    cause: str
    retry_at: datetime | None = None
    """Not before then is the cluster asked again; None: at any time."""
    reason: str = UNREACHABLE
    """What a status says of it."""


FlinkView: TypeAlias = FlinkSeen | FlinkUnreachable


@dataclass(frozen=True)
class Observation:
    """Everything that one look has seen; what was not looked at is None."""

    cluster: Cluster | None
    """The cluster that the attempt is on, or that the spec names; None when nobody registered it."""
    flink: FlinkView | None
    """None when there is no cluster to look at."""
    cluster_fault: str | None = None
    """What is wrong with the cluster's item, when it cannot be read."""
    destination: Cluster | None = None
    """The cluster that the spec names, where the attempt is still on another."""
    artifact: ArtifactHead | None = None
    """What is recorded of the object that the spec names; None when nothing was ever seen there."""
    pinned: Artifact | None = None
    """The admitted version with the pinned digest, where the spec pins one."""
    pause: Pause | None = None
    """What an operator has recorded against any effect on this job."""
    policy: NamespacePolicy | None = None
    """What operators say of the job's namespace; None where it could not be read, or was not needed."""
    policy_fault: str | None = None
    """What is wrong with the policy's item, when it cannot be read: nothing is started on a guess."""
    distrusts: tuple[RunningDistrust, ...] = ()
    """What is known against the bytes that it ran at the beginning of this look."""
