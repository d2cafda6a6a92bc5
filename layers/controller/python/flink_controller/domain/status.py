"""What the controller knows and has promised about a job: the recorded half of every decision."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from flink_controller.domain.alerts import Switch
from flink_controller.domain.artifact import Artifact, Sha256, Value

SCHEMA_VERSION = 1


class DesiredState(StrEnum):
    """What a team may ask for."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    ABANDONED = "abandoned"
    DELETED = "deleted"
    """Asked for by removing the spec item."""


class JobType(StrEnum):
    """Whether a job runs on, or to its end."""

    STREAM = "stream"
    BATCH = "batch"


class DueKind(StrEnum):
    """Why a job is found by the index of due times."""

    LAUNCH = "LAUNCH"
    """A scheduled instant has come."""
    EXPIRE = "EXPIRE"
    """An active run is past its time to live."""


class RevisionRef(Value):
    """What the status keeps of a revision; the whole spec is in the revision's own item."""

    number: int
    cluster: str
    spec_hash: str
    """Over what makes a revision; wishes such as the desired state left out."""
    fingerprints: Mapping[str, str]
    """Hash of the fields of each change class; comparing two revisions needs no spec."""
    artifact: Artifact
    is_recorded: bool = True
    """False: known only by what an attempt says of itself (`domain.stamp`), because the record was older; its spec is lost."""


class Revision(Value):
    """An accepted spec with its resolved artifact. Never changes but for outcome and reason."""

    job_id: str
    number: int
    created_at: datetime
    spec_hash: str
    spec: Mapping[str, Any]
    """The spec as it was accepted."""
    artifact: Artifact
    outcome: str = "Pending"
    reason: str = ""


class AttemptPhase(StrEnum):
    """How much is known of an attempt's life on Flink."""

    SUBMITTING = "submitting"
    """The intent is recorded; whether Flink has the job is not known."""
    LIVE = "live"
    """Seen on Flink, not in a terminal state."""
    BURNING = "burning"
    """Not wanted any more, and not known to be dead: its id is being used up."""
    DEAD = "dead"
    """Known to run nowhere, and never to run again."""


class EndState(StrEnum):
    """How a dead attempt ended."""

    FINISHED = "FINISHED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    """Left the list of the incarnation that ran it, unseen."""
    BURNED = "BURNED"
    """Its id was used up; it never ran."""
    LOST = "LOST"
    """Its JobManager was lost, and the quarantine is over."""


class Attempt(Value):
    """One Flink job id and what became of it."""

    number: int
    flink_job_id: str
    revision: int
    cluster: str
    restore_from: str | None
    """State that it starts from; None: from nothing."""
    leaves_state: bool = False
    """Whether it leaves the state at hand aside, because its spec says `stateless`."""
    checkpoint_root: str
    retains_state: bool = True
    """False once Flink has said that cancelling deletes the checkpoints."""
    jar_id: str
    application_id: str | None = None
    """Under which `main()` runs by itself; None: it runs while the submit is answered."""
    incarnation: str
    """JobManager life that it was submitted to, or last seen in."""
    phase: AttemptPhase = AttemptPhase.SUBMITTING
    created_at: datetime
    """When its first submit was decided on."""
    submitted_at: datetime
    """When the last POST under its id was decided on."""
    is_unsent: bool = False
    """Whether that POST provably did not leave."""
    refusal: str | None = None
    """What Flink said against it."""
    duplicate_at: datetime | None = None
    """When Flink first said that it has known the id, while not listing it."""
    refusal_is_final: bool = False
    """Whether the same submit would be refused again."""
    live_at: datetime | None = None
    flink_state: str = "UNKNOWN"
    modified_ms: int | None = None
    settled_at: datetime | None = None
    """Since when every task runs without a change."""
    is_checkpointed: bool | None = None
    """Whether periodic checkpoints are on; None before it was read."""
    has_completed_checkpoint: bool = False
    keeps_checkpoints_at_root: bool = False
    """Whether a checkpoint was seen below `checkpoint_root`: when there are none any more, that tells something."""
    checkpoint_asked_at: datetime | None = None
    """When one was asked for, because none came by half of the deadline."""
    is_proven: bool = False
    """Whether it was healthy once."""
    rescale_asked_at: datetime | None = None
    """When another parallelism was last asked for in place."""
    savepoint_directories: tuple[str, ...] = ()
    """Directories of its operations: first the last one that ended well, then later ones."""
    end: EndState | None = None
    dead_at: datetime | None = None
    root_cause: str | None = None

    @property
    def is_dead(self) -> bool:
        """Whether the next attempt of the lane may start."""
        return self.phase is AttemptPhase.DEAD


class OperationKind(StrEnum):
    """What an operation does to a live attempt."""

    STOP = "stop"
    SAVEPOINT = "savepoint"
    CANCEL = "cancel"
    RESCALE = "rescale"


class Operation(Value):
    """A recorded intent about a live attempt."""

    kind: OperationKind
    sequence: int
    flink_job_id: str
    trigger_id: str = ""
    target_directory: str = ""
    purpose: str
    """Why: upgrade, suspend, delete, rollback, move, restart, savepoint, rescale."""
    started_at: datetime
    """When the first try of this purpose was decided on; deadlines count from here."""
    requested_at: datetime
    """When this request was last decided on."""
    failures: int = 0
    last_failure: str | None = None
    revision: RevisionRef | None = None
    """What a rescale leads to."""
    parallelism: tuple[int, int] | None = None
    """From and to, of a rescale."""


class LaneRole(StrEnum):
    """Why a job has a second lane."""

    GREEN = "green"
    """The candidate that is to take over."""
    RETIRED = "retired"
    """The one that was replaced; its state is ignored from then on."""


class SecondLane(Value):
    """The other attempt of a blue-green upgrade; while it is not known to be dead, no further attempt starts."""

    role: LaneRole
    attempt: Attempt
    revision: RevisionRef
    cancel_requested_at: datetime | None = None
    """When it was last asked to end."""


class RunOutcome(StrEnum):
    """What became of a scheduled instant."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    EXPIRED = "Expired"
    """Past its time to live."""
    CANCELLED = "Cancelled"
    SKIPPED = "Skipped"
    """Not started on purpose: by policy, by a limit, or because the job was suspended."""
    MISSED = "Missed"
    """Not started, because it could not be in time."""
    LOST = "Lost"
    """Nobody saw its end. It is not run again: it may have done its work."""

    @property
    def has_started(self) -> bool:
        """Whether something ran, or may have run."""
        return self not in {RunOutcome.SKIPPED, RunOutcome.MISSED}


class Run(Value):
    """One scheduled instant of a batch job: the history that people and programs read."""

    scheduled_at: datetime
    """The instant, in UTC; with the job it is the run's identity."""
    until: datetime | None = None
    """Last of the instants that this entry stands for, when many in a row were not started for one reason."""
    outcome: RunOutcome
    reason: str = ""
    message: str = ""
    revision: int | None = None
    attempt: int | None = None
    """Number of its last attempt."""
    flink_job_id: str | None = None
    """Of its last attempt."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    is_manual: bool = False
    """Whether somebody asked for it outside of the schedule."""
    args: tuple[str, ...] = ()
    """Arguments of this run alone."""


class PendingRun(Value):
    """An instant that is to be run and has not started."""

    scheduled_at: datetime
    nonce: str | None = None
    """Of the wish that asked for it, when it is none of the schedule's."""
    is_held: bool = False
    """Whether it waits for its turn; only an instant that does not is late."""


class ActiveRun(Value):
    """A run's lane: it keeps the revision and the limits that it started with."""

    scheduled_at: datetime
    previous_at: datetime | None = None
    revision: RevisionRef
    attempt: Attempt
    started_at: datetime
    expires_at: datetime | None = None
    nonce: str | None = None
    retries_left: int = 0
    failures: int = 0
    backoff_seconds: int = 30
    submission_deadline_seconds: int = 600
    retry_at: datetime | None = None
    """When the next attempt starts, once the last one is dead."""
    ending: RunOutcome | None = None
    """As what it is to end, once it was asked to."""
    ending_reason: str = ""
    cancel_requested_at: datetime | None = None


class Runs(Value):
    """What a batch job's status keeps of its runs: what is active or undecided; the rest is in the runs' own items."""

    started: int = 0
    schedule: str = ""
    """The schedule that `decided_until` speaks of."""
    decided_until: datetime | None = None
    """Every instant up to here has its run, or its record of why it has none."""
    previous_at: datetime | None = None
    """Instant of the run that started last."""
    pending: tuple[PendingRun, ...] = ()
    active: tuple[ActiveRun, ...] = ()
    closed: str = ""
    """Why no run is started, as last recorded."""
    nonce: str | None = None
    """Of the last wish for a run that was honoured."""
    served: RevisionRef | None = None
    """Revision that ran, of a job without a schedule."""
    failed_in_a_row: int = 0
    last: Run | None = None
    """The run that ended last."""
    next_at: datetime | None = None


class Handover(Value):
    """State that the next attempt starts from, resolved once its writer is dead."""

    path: str | None
    """None: there is none, and that is known."""
    of_attempt: int
    is_end: bool = False
    """Whether the writer finished by itself: the job is complete."""
    is_for_restore: bool = False
    """Whether the writer was stopped so that another state can take its place."""
    is_presumed: bool = False
    """Whether nobody saw that end: it may have been a stop whose savepoint lies where nobody looks."""


class Savepoint(Value):
    """A completed savepoint."""

    path: str
    completed_at: datetime


class SavepointKind(StrEnum):
    """Why a savepoint was taken."""

    PERIODIC = "periodic"
    MANUAL = "manual"
    UPGRADE = "upgrade"
    RESTART = "restart"
    ROLLBACK = "rollback"
    SUSPEND = "suspend"
    DISTRUST = "distrust"
    RESTORE = "restore"
    """Of what was left aside for an older state."""
    BLUE_GREEN = "blue-green"
    """What a green attempt started from."""
    FINAL = "final"
    """By the delete of its job."""
    OUTSIDE = "outside"
    """By a stop that was not the controller's."""


class SavepointState(StrEnum):
    """Whether a savepoint can be started from."""

    THERE = "there"
    DISPOSING = "disposing"
    """Its removal is on record; nothing may count on it."""


class SavepointRecord(Value):
    """A savepoint of a job: the history that people and retention read."""

    number: int
    """Of the operation that took it; with the job it is the savepoint's identity."""
    path: str
    kind: SavepointKind
    state: SavepointState = SavepointState.THERE
    completed_at: datetime
    """When its completion was seen."""
    started_at: datetime | None = None
    """When it was asked for; None: by somebody else."""
    revision: int | None = None
    """That wrote it."""
    attempt: int | None = None
    """That wrote it."""


class Retention(Value):
    """The rule by which a job's savepoints are kept, and when it is applied next."""

    count: int
    days: int
    takes_manual: bool = False
    """Whether it is for savepoints that somebody asked for, too."""
    check_at: datetime | None = None
    """None: not before there is another savepoint."""


class Disposal(Value):
    """The removal of a savepoint, on record before Flink is asked for it."""

    number: int
    path: str
    requested_at: datetime
    failures: int = 0
    retry_at: datetime | None = None


class PeriodicSavepoints(Value):
    """What a status keeps of the savepoints that are taken by the clock."""

    interval_ms: int
    since: datetime
    """When the last one was asked for, or since when they are wanted; the next instant after this is due."""
    failures: int = 0
    """In a row."""
    retry_at: datetime | None = None
    """When the next one is tried while they fail."""


class Restored(Value):
    """A wish to start from another place, honoured and not yet proven."""

    path: str
    kept: str | None = None
    """State that was left aside for it, to go back to; None: there was none, or it could not be found."""
    of_attempt: int
    """Number of the last attempt before it."""


class Quarantine(Value):
    """The wait after a JobManager was lost."""

    incarnation: str
    """The new life, in which the wait counts."""
    since: datetime
    """When our stale jars were gone."""


class RefusedRevision(Value):
    """A revision that did not work out; it is not tried again until the spec or its artifact changes."""

    number: int
    spec_hash: str
    artifact_version: str
    reason: str
    message: str


class Failures(Value):
    """A row of ends that nobody asked for, and of restarts of what was unhealthy; an attempt that lasts ends it."""

    count: int = 0
    last_at: datetime | None = None


class CheckpointFigures(Value):
    """How checkpointing went when it was last written down: in looks that found something, and otherwise now and then."""

    of_attempt: int
    interval_s: float
    timeout_s: float
    window_s: int
    """Without a completed checkpoint for so long, it has stalled."""
    completed_at: datetime | None = None
    duration_s: float = 0.0
    size_bytes: int = 0
    failed_in_a_row: int = 0


class SymptomKind(StrEnum):
    """What can be wrong with a job that was healthy once."""

    CHECKPOINTS = "checkpoints"
    """None is completed."""
    RESTARTS = "restarts"
    """Flink restarts it again and again."""
    TASKS = "tasks"
    """Not all of its tasks run."""
    BACKPRESSURE = "backpressure"
    """Its sources wait for what is behind them."""


class Symptom(Value):
    """Something that is wrong, or is suspected to be until it has lasted. It outlives attempts, so that it is told once."""

    kind: SymptomKind
    since: datetime
    """When it was first seen."""
    told_at: datetime | None = None
    """When it had lasted long enough to be told; None: it is only suspected."""
    good_since: datetime | None = None
    """Since when it is not seen any more, while that has not lasted long enough either."""
    message: str = ""
    """What is wrong, as last seen."""


class Condition(Value):
    """One claim about a job, recomputed on every pass."""

    type: str
    status: str
    """True, False or Unknown."""
    reason: str
    message: str
    last_transition_time: datetime


class Incident(Value):
    """Something that a person should know of, from its beginning to its end."""

    alert: str
    """Its kind, one of `domain.alerts.Alert`."""
    is_told: bool = True
    """Whether a person is told: decided when it begins, and kept to when it ends."""


class Event(Value):
    """One transition; a repetition raises `count` instead of making another."""

    sequence: int
    time: datetime
    type: str
    """Normal or Warning."""
    reason: str
    message: str
    revision: int | None = None
    attempt: int | None = None
    count: int = 1
    opens: Incident | None = None
    """What begins with it."""
    closes: tuple[Incident, ...] = ()
    """What is over with it."""
    by: str = ""
    """Who wrote the spec item that it answers to, as the item says; empty for what nobody asked for."""


class Reservation(Value):
    """What a streaming job holds of its namespace's quotas beside the one job that it is."""

    slots: int
    """Those that are counted."""
    proven: int = 0
    """Of them those of the revision that was proven last; beside it a green copy takes its own."""
    asked: int = 0
    """Those of the revision that was made ready to start last."""
    revision: int = 0
    """Its number."""


class JobStatus(Value):
    """The status item of a job; every text in it is bounded, so that it stays one small item with its lease."""

    schema_version: int = SCHEMA_VERSION
    job_id: str
    job_type: JobType = JobType.STREAM
    cluster: str = ""
    """Cluster of the spec that was last accepted."""
    desired_state: DesiredState = DesiredState.RUNNING
    created_at: datetime
    updated_at: datetime

    attempt_counter: int = 0
    operation_counter: int = 0
    revision_counter: int = 0
    event_counter: int = 0

    observed_spec_hash: str | None = None
    """Of the spec item as last read, accepted or not."""
    rejected_spec_hash: str | None = None
    correlation_id: str = ""
    """Names the last change that was taken in, a write of the spec or an upload; in the log and in Flink's job."""
    initial_savepoint_path: str | None = None
    """As accepted; applies only while `attempt_counter` is zero."""

    burst_served: datetime | None = None
    """Start of the burst of uploads that already had its early upgrade."""
    artifact_location: str | None = None
    """`<bucket>/<key>` that the accepted spec names; an upload there wakes the job. Set before there is any revision."""
    desired: RevisionRef | None = None
    running: RevisionRef | None = None
    """Of the current attempt."""
    stable: RevisionRef | None = None
    stable_state: str | None = None
    """Newest state that the stable revision left behind; what a rollback restores. Meaningless while it runs."""
    refused: RefusedRevision | None = None
    halted: str | None = None
    """Why nothing is tried any more until the spec or its artifact changes."""
    halt_reason: str = ""

    attempt: Attempt | None = None
    second: SecondLane | None = None
    green_state: str | None = None
    """Savepoint that the next green attempt starts from."""
    green_retry_at: datetime | None = None
    """Not before then is another savepoint taken for a green attempt."""
    void_jar_id: str | None = None
    """A jar that Flink has said is gone."""
    operation: Operation | None = None
    leftover: Operation | None = None
    """Cancelling of a job that carries our tag and is none of the current lane's."""
    handover: Handover | None = None
    quarantine: Quarantine | None = None
    savepoint: Savepoint | None = None
    periodic: PeriodicSavepoints | None = None
    """None: none are asked for."""
    retention: Retention | None = None
    disposal: Disposal | None = None
    """The removal that is under way."""
    disposal_nonce: str | None = None
    claims: tuple[str, ...] = ()
    """Places that the spec names as an origin, as long as they are needed; they may be other jobs' savepoints."""
    failures: Failures = Failures()
    is_completed: bool = False
    checkpointing: CheckpointFigures | None = None
    """Of a job that takes periodic checkpoints and was healthy once."""
    symptoms: tuple[Symptom, ...] = ()
    """At most one of each kind."""
    failures_told_until: datetime | None = None
    """By Flink's clock: the newest root exception that was told."""
    staged_digests: tuple[Sha256, ...] = ()
    """Artifacts that this job has claimed on its cluster."""
    restart_nonce: str | None = None
    """The last one that was honoured."""
    savepoint_nonce: str | None = None
    restore_nonce: str | None = None
    restored: Restored | None = None
    """None once an attempt from there is proven, or the job went back."""

    runs: Runs = Runs()
    """Of a batch job."""
    due: tuple[DueKind, datetime] | None = None
    """What a schedule must wake this job for, and when."""
    waiting: tuple[str, str] | None = None
    """Reason and message of what the job waits for."""
    conditions: tuple[Condition, ...] = ()
    last_event: Event | None = None
    incidents: tuple[Incident, ...] = ()
    """Those that are open, at most one of a kind."""
    muted: tuple[str, ...] = (Switch.BACKPRESSURE.value,)
    """Fields below `monitoring` by which the spec that was accepted last keeps people from being told."""
    reserved: Reservation | None = None
    """None while the namespace has no quota of streaming jobs or slots, and while nothing of the job is alive or to be."""
    is_disallowed: bool = False
    """Whether it was told that the job runs on a cluster where its namespace may start nothing any more."""
    next_look: datetime | None = None

    def condition(self, type_: str) -> Condition | None:
        """Find a condition by its type."""
        return next((found for found in self.conditions if found.type == type_), None)

    def symptom(self, kind: SymptomKind) -> Symptom | None:
        """Find a symptom by its kind."""
        return next((found for found in self.symptoms if found.kind is kind), None)


class StatusSummary(Value):
    """The part of a status that a sweep compares with what a cluster lists. Read from an index: it wakes, never decides."""

    job_id: str
    job_type: JobType
    cluster: str
    lifecycle: str
    flink_job_id: str | None = None
    run_ids: tuple[str, ...] = ()
    """Flink job ids of the active runs."""
    live_run_ids: tuple[str, ...] = ()
    """Those of them that should be listed."""
    is_expected_live: bool = False
    """Whether the attempt should be listed and processing."""
    is_watched: bool = False
    """Whether it was healthy once and its vital signs count."""
    has_symptom: bool = False
    """Whether something is wrong with it already; its own looks follow that."""
    live_at: datetime | None = None
    """Since when its attempt is on Flink."""
    modified_ms: int | None = None
    """Flink's stamp of the last change of its attempt, as last seen."""
    checkpoint_window_s: int | None = None
    """How long it may go without a completed checkpoint; 0: it takes none; None: not known."""
    is_flagged_unreachable: bool = False
    observed_spec_hash: str | None = None
    artifact_version: str | None = None
    """Version of the artifact that the accepted spec came with; None while another spec is refused."""
    artifact_sha256: str | None = None
    """Of the bytes that run."""
    run_digests: tuple[str, ...] = ()
    """Of the bytes that a batch job's active runs run; they may differ."""
    signers: tuple[str, ...] = ()
    """Keys that signed any of them."""
    is_flagged_distrusted: bool = False
    """Whether the status says that these bytes are not trusted any more."""
    is_flagged_disallowed: bool = False
    """Whether it was told that it runs on a cluster where its namespace may start nothing."""
    is_counted: bool = False
    """Whether it is counted against its namespace's quotas of streaming jobs and slots."""
    next_look: datetime | None = None
    desired_revision: int | None = None
    running_revision: int | None = None
    reason: str = ""
    message: str = ""
    """What the reason says further, bounded; empty while the job is ready."""
    unready_since: datetime | None = None
    """Since when the job has not been ready; None while it is."""
    ready_since: datetime | None = None
    """Since when it has been ready; None while it is not."""
    alerts: tuple[str, ...] = ()
    """Kinds of the incidents that are open."""
    updated_at: datetime | None = None


class StagedJar(Value):
    """An artifact's bytes on a cluster."""

    cluster: str
    sha256: Sha256
    jar_id: str
    incarnation: str
    path: str = ""
    """Where the JobManager keeps it; empty in records of earlier versions."""


class Pause(Value):
    """A recorded stop of all effects in a scope."""

    scope: str
    """`all`, `cluster/NAME`, `namespace/NAME` or `job/JOB_ID`."""
    reason: str = Field(default="")
