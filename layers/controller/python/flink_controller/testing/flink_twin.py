"""A Flink session cluster in memory: its jobs, its state, its forgetfulness, and its surprises.

It exists so that the protocol can be tried against crashes, restarts and late effects in virtual time, thousands of
times a second. What it does was measured on a real Flink first, and the probes of `tests/contract` hold it to that.
Beside what Flink shows it keeps what Flink hides: every copy that really runs, orphans of a lost JobManager included,
and whose state each one started from.

Nothing happens in the background: a call first lets everything happen that is due, in order of time.
"""

import hashlib
import heapq
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import IO, Final, TypeVar

from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import Delivery, FlinkUnreachableError
from flink_controller.domain.names import TAG_DIGITS
from flink_controller.domain.observation import (
    Accepted,
    Answer,
    ApplicationSeen,
    Checkpoint,
    CheckpointProgress,
    Checkpoints,
    ClusterConfig,
    FlinkState,
    GraphVertex,
    JarSeen,
    JobSeen,
    Load,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    TaskFailure,
    TaskManagerSeen,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
    TriggerStatus,
    TriggerUnknown,
    UploadedJar,
    Vertex,
)
from flink_controller.ports import Clock
from flink_controller.testing import flink_behaviour
from flink_controller.testing.flink_behaviour import JobBehaviour, Retention
from flink_controller.testing.storage_twin import Snapshot, StorageTwin

SNAPSHOT: Final = timedelta(milliseconds=10)
"""How long a checkpoint is said to take."""
FIRST_CHECKPOINT: Final = timedelta(milliseconds=20)
_T = TypeVar("_T")
RECOVERY: Final = timedelta(milliseconds=500)
"""From a JobManager's recovery of a job to its new start, with high availability."""
HELD: Final = timedelta(milliseconds=20)
"""Between two looks of a job whether it is still held."""
APPLICATION_LAG: Final = timedelta(seconds=1)
"""From the end of a job to that of the main() that submitted it."""
MAX_PARALLELISM: Final = 128
"""Flink's own default of `pipeline.max-parallelism` for small jobs."""
END_OF_STOP: Final = timedelta(milliseconds=20)
"""From a stop's savepoint being complete to its trigger saying so, and again to the job being FINISHED; a crash, or a
look, can fall in between."""
SOURCE, SINK = (GraphVertex(id="50" * 16, name="Source: numbers"), GraphVertex("51" * 16, "sink", inputs=("50" * 16,)))
"""The graph of every job."""
FAILURES_KEPT: Final = 16
_SUSPENDING: Final = "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint Coordinator is suspending."


USUAL_TASK_MANAGER: Final = TaskManagerSeen(
    slots=0,
    slots_free=0,
    cpu_cores=2.0,
    memory_bytes=2 * 2**30,
    heap_bytes=2**30,
    network_bytes=2**27,
    shared_bytes=2**30,
    free_bytes=2**30,
)


@dataclass(frozen=True, kw_only=True)
class TwinOptions:
    """How the cluster is set up."""

    version: str = "2.3"
    """`1.20` or `2.3`; they differ in what they say about a duplicate."""
    checkpoint_root: str = "file:///state/checkpoints"
    checkpoint_interval: timedelta | None = None
    """The cluster's default; None: jobs without an interval of their own take no checkpoints."""
    heartbeat_timeout: timedelta = timedelta(seconds=50)
    """How long tasks run on after their JobManager was killed."""
    store_duration: timedelta = timedelta(minutes=5)
    """How long the result of a trigger is remembered."""
    statistics_age: timedelta = timedelta(seconds=3)
    """How old checkpoint statistics and root causes may be: Flink answers from caches (`web.refresh-interval`)."""
    keeps_jars: bool = False
    """Whether uploaded jars survive a JobManager (`web.upload.dir` is set)."""
    high_availability: bool = False
    """Whether jobs that have not ended come back with the next JobManager."""
    forgets_ended: bool = False
    """Whether, with high availability, the next JobManager takes the ids of ended jobs again (Flink's own default of
    `job-result-store.delete-on-commit`)."""
    slots: int = 1000
    task_manager: TaskManagerSeen = USUAL_TASK_MANAGER
    """What its one TaskManager has, the slots aside."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What its JobManager is configured with beside what the other options say."""
    runs_applications: bool = False
    """Whether it is registered as one whose submits go by `run-application`, which 2.3 has."""
    is_adaptive: bool = False
    """Whether the adaptive scheduler runs the jobs: on fewer slots than asked for, and rescaled in place."""
    client_timeout: timedelta = timedelta(seconds=25)
    """How long a submit is waited for."""


@dataclass(frozen=True)
class Start:
    """A copy of a job that began to run. Ground truth, not visible through Flink."""

    at: datetime
    flink_job_id: str
    jar_sha256: str
    restored_from: str | None
    progress: int
    """What it started with."""
    is_restart: bool
    """Whether Flink restarted it by itself, under the same id."""
    incarnation: str
    args: tuple[str, ...] = ()
    configuration: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Overlap:
    """A copy that began while others with the same tag were alive. Ground truth."""

    at: datetime
    flink_job_id: str
    others: tuple[str, ...]


@dataclass
class _Trigger:
    job_id: str
    is_stop: bool
    target: str
    status: TriggerStatus = field(default_factory=TriggerInProgress)
    expires_at: datetime | None = None


@dataclass(frozen=True)
class _Jar:
    jar_id: str
    name: str
    sha256: str
    uploaded_at: datetime


@dataclass
class _Job:
    submit: Submit
    behaviour: JobBehaviour
    jar: _Jar
    interval: timedelta | None
    retention: Retention
    name: str
    checkpoint_directory: str
    changed_at: datetime
    state: FlinkState = FlinkState.RUNNING
    generation: int = 0
    """Raised by every turn of a job's life; what was planned before it is void."""
    base: int = 0
    """Progress when processing last began or ended."""
    processing_since: datetime | None = None
    is_draining: bool = False
    """Whether its stop's savepoint is complete and only the end is left."""
    holds_slots: bool = False
    next_checkpoint_id: int = 1
    initial: Snapshot | None = None
    restored_from: str | None = None
    completed: Snapshot | None = None
    savepoint: Snapshot | None = None
    completed_count: int = 0
    failed_count: int = 0
    failed_in_a_row: int = 0
    checkpoint_timeout: timedelta = timedelta(minutes=10)
    submitted_at: datetime | None = None
    failures: list[TaskFailure] = field(default_factory=list)
    """Newest first."""
    wanted_parallelism: int = 1
    parallelism: int = 1
    restart_limit: int | None = None
    restarts: int = 0
    has_started: bool = False
    """False for a job that Flink registered and could not initialise."""
    failure: str | None = None

    @property
    def id(self) -> str:
        return self.submit.flink_job_id

    @property
    def has_tasks(self) -> bool:
        return self.processing_since is not None or self.is_draining

    def progress(self, now: datetime) -> int:
        if self.processing_since is None:
            return self.base
        return self.base + int(self.behaviour.rate * (now - self.processing_since).total_seconds())


@dataclass
class _Call:
    """A submit on its way through main()."""

    submit: Submit
    jar: _Jar
    incarnation: str
    received_at: datetime
    answer: Answer | None = None
    is_cancelled: bool = False


@dataclass
class _Caches:
    """What Flink answers from for a while: by job, since when and what."""

    statistics: dict[str, tuple[datetime, Checkpoints]] = field(default_factory=dict)
    causes: dict[str, tuple[datetime, str | None]] = field(default_factory=dict)
    parallelisms: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    loads: dict[str, tuple[datetime, dict[str, Load]]] = field(default_factory=dict)


class FlinkTwin:
    """`FlinkGateway` in memory, deterministic, in virtual time."""

    def __init__(
        self,
        clock: Clock,
        storage: StorageTwin,
        options: TwinOptions | None = None,
        *,
        behaviours: Mapping[str, JobBehaviour] | None = None,
        seed: int = 0,
    ) -> None:
        """Start a cluster.

        Args:
            clock: whose time it lives in; a submit with a slow main() sleeps on it.
            storage: where it keeps state; may be shared, and outlives it.
            options: how it is set up.
            behaviours: what artifacts do, by sha256 of the jar's bytes or by a part of its name.
            seed: makes ids differ from those of other twins.
        """
        self.options = options or TwinOptions()
        self.storage = storage
        self.behaviours: dict[str, JobBehaviour] = dict(behaviours or {})
        """May be changed at any time; a submit looks it up when its request arrives."""
        self.default_behaviour = JobBehaviour()
        self._history: list[Start] = []
        self._overlaps: list[Overlap] = []
        self.calls: Counter[str] = Counter()
        """Calls through the port, by method."""
        self.holds_snapshots = False
        """Whether snapshots, once begun, do not complete."""
        self.holds_ends = False
        """Whether stops, once their savepoint is complete, do not end."""
        self._clock = clock
        self._seed = seed
        self._drawn = 0
        self._time = clock.now()
        self._is_busy = False
        self._events: list[tuple[datetime, int, Callable[[], None]]] = []
        self._event_number = 0
        self._is_up = True
        self._has_taskmanagers = True
        self._incarnation = ""
        self._jobs: dict[str, _Job] = {}
        self._known: set[str] = set()
        """Ids that this JobManager refuses, listed or not."""
        self._orphans: list[_Job] = []
        self._recoverable: list[_Job] = []
        """What the next JobManager brings back."""
        self._is_spoiled = False
        """Whether no further JobManager comes up: with high availability Flink 2.x dies of the record of a job that failed
        before it started."""
        self._jars: dict[str, _Jar] = {}
        self._triggers: dict[tuple[str, str], _Trigger] = {}
        self._caches = _Caches()
        self._calls: list[_Call] = []
        self._applications: dict[str, _Call] = {}
        """Submits whose main() runs by itself, by the application's id."""
        self._begin_incarnation()
        storage.attach(self._catch_up)

    def config(self) -> ClusterConfig:
        """Read the JobManager's configuration and incarnation."""
        self._arrive("config")
        heartbeat_ms = int(self.options.heartbeat_timeout.total_seconds() * 1000)
        return ClusterConfig(
            incarnation=self._incarnation,
            settings={
                "web.tmpdir": self._incarnation,
                "heartbeat.timeout": str(heartbeat_ms),
                "execution.checkpointing.dir": self.options.checkpoint_root,
                "high-availability.type": "zookeeper" if self.options.high_availability else "NONE",
                "job-result-store.delete-on-commit": str(self.options.forgets_ended).lower(),
                "jobmanager.scheduler": "adaptive" if self.options.is_adaptive else "default",
                **self.options.settings,
            },
        )

    def jobs(self, prefix: str = "") -> list[JobSeen]:
        """List every job the cluster knows whose id begins so."""
        self._arrive("jobs")
        return [self._seen(job) for flink_job_id, job in self._jobs.items() if flink_job_id.startswith(prefix)]

    def free_slots(self) -> int:
        """Count the slots that nothing uses."""
        self._arrive("free_slots")
        if not self._has_taskmanagers:
            return 0
        return self.options.slots - sum(job.parallelism for job in self._jobs.values() if job.holds_slots)

    def task_managers(self) -> tuple[TaskManagerSeen, ...]:
        """List the TaskManagers: one, or none."""
        self._arrive("task_managers")
        if not self._has_taskmanagers:
            return ()
        taken = sum(job.parallelism for job in self._jobs.values() if job.holds_slots)
        slots, usual = self.options.slots, self.options.task_manager
        shared = usual.shared_bytes
        free = None if shared is None else shared * (slots - taken) // slots
        return (replace(usual, slots=slots, slots_free=slots - taken, free_bytes=free),)

    def jars(self) -> list[JarSeen]:
        """List uploaded jars."""
        self._arrive("jars")
        return [JarSeen(jar.jar_id, jar.name, _milliseconds(jar.uploaded_at)) for jar in self._jars.values()]

    def upload_jar(self, name: str, content: IO[bytes], size_bytes: int) -> UploadedJar:
        """Upload a jar. Every call makes another jar."""
        self._arrive("upload_jar")
        body = content.read(size_bytes)
        if len(body) != size_bytes:
            raise FlinkUnreachableError("the content ended early")
        jar = _Jar(f"{self._uuid()}_{name}", name, hashlib.sha256(body).hexdigest(), self._time)
        self._jars[jar.jar_id] = jar
        return UploadedJar(jar.jar_id, f"/uploads/{jar.jar_id}")

    def delete_jar(self, jar_id: str) -> None:
        """Delete an uploaded jar. Harmless twice."""
        self._arrive("delete_jar")
        self._jars.pop(jar_id, None)

    def submit(self, submit: Submit) -> Answer:
        """Run a jar under a chosen job id; takes as long as its main()."""
        try:
            self._arrive("submit")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        call = self._receive(submit)
        if isinstance(call, Refused):
            return call
        if submit.application_id is not None:
            return Accepted()
        if call.answer is None and not self._is_busy:
            self._clock.sleep(min(self._behaviour(call.jar).main, self.options.client_timeout))
            self._catch_up()
        return call.answer or NoAnswer("no answer to the submit in time")

    def plan(self, submit: Submit) -> Answer:
        """Run main() for its plan."""
        try:
            self._arrive("plan")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        jar = self._found(submit)
        if isinstance(jar, Refused):
            return jar
        behaviour = self._behaviour(jar)
        if not self._is_busy:
            self._clock.sleep(min(behaviour.main, self.options.client_timeout))
            self._catch_up()
        if behaviour.main >= self.options.client_timeout:
            return NoAnswer("no answer to the plan in time")
        return Accepted() if behaviour.main_throws is None else Refused(RefusalKind.PROGRAM, behaviour.main_throws)

    def application(self, application_id: str) -> ApplicationSeen | None:
        """Look at a main() that runs by itself."""
        self._arrive("application")
        call = self._applications.get(application_id)
        if call is None:
            return None
        duration, job = self._time - call.received_at, self._jobs.get(call.submit.flink_job_id)
        if call.is_cancelled:
            cancelled = Refused(RefusalKind.OTHER, "its application was cancelled")
            return ApplicationSeen(is_alive=False, duration=duration, refused=cancelled)
        # A job of the same id may be another submit's: a burn's.
        if job is not None and job.submit is call.submit:
            is_alive = not job.state.is_terminal or self._time < job.changed_at + APPLICATION_LAG
        else:
            is_alive = call.answer is None
        refused = call.answer if isinstance(call.answer, Refused) and not is_alive else None
        return ApplicationSeen(is_alive=is_alive, duration=duration, refused=refused)

    def cancel_application(self, application_id: str) -> Answer:
        """Ask for the end of a main() and of its job."""
        try:
            self._arrive("cancel_application")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        call = self._applications.get(application_id)
        if call is None:
            return Refused(RefusalKind.OTHER, f"Could not find Flink application ({application_id})")
        if call.answer is None:
            call.is_cancelled = True
            self._calls = [other for other in self._calls if other is not call]
        job = self._jobs.get(call.submit.flink_job_id)
        if job is not None and job.submit is call.submit and not job.state.is_terminal:
            self._cancel(job)
        return Accepted()

    def stop(self, flink_job_id: str, *, trigger_id: str, target_directory: str) -> Answer:
        """Trigger a stop with savepoint."""
        return self._trigger("stop", flink_job_id, trigger_id, _Trigger(flink_job_id, is_stop=True, target=target_directory))

    def savepoint(self, flink_job_id: str, *, trigger_id: str, target_directory: str) -> Answer:
        """Trigger a savepoint."""
        trigger = _Trigger(flink_job_id, is_stop=False, target=target_directory)
        return self._trigger("savepoint", flink_job_id, trigger_id, trigger)

    def dispose(self, path: str) -> Answer:
        """Delete a savepoint, if it is there."""
        try:
            self._arrive("dispose")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        snapshot = self.storage.snapshots.get(path)
        if snapshot is not None and snapshot.is_savepoint:
            self.storage.delete(path)
        return Accepted()

    def trigger(self, flink_job_id: str, trigger_id: str) -> TriggerStatus:
        """Look up a stop or savepoint."""
        self._arrive("trigger")
        found = self._remembered(flink_job_id, trigger_id)
        return TriggerUnknown() if found is None else found.status

    def checkpoint(self, flink_job_id: str) -> Answer:
        """Take a checkpoint now, if the job takes any and they do not fail."""
        try:
            self._arrive("checkpoint")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        job = self._jobs.get(flink_job_id)
        if job is None:
            return Refused(RefusalKind.OTHER, _not_found(flink_job_id))
        if job.processing_since is not None and job.interval is not None and not job.behaviour.checkpoints_fail:
            self._complete_checkpoint(job)
        return Accepted()

    def cancel(self, flink_job_id: str) -> Answer:
        """Ask for a cancel."""
        try:
            self._arrive("cancel")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        job = self._jobs.get(flink_job_id)
        if job is None:
            return Refused(RefusalKind.OTHER, _not_found(flink_job_id))
        if job.state in {FlinkState.FINISHED, FlinkState.FAILED}:
            cause = (
                "org.apache.flink.runtime.rest.handler.RestHandlerException: Job cancellation failed because the job has"
                f" already reached another terminal state ({job.state})."
            )
            return Refused(RefusalKind.OTHER, cause)
        self._cancel(job)
        return Accepted()

    def vertices(self, flink_job_id: str) -> tuple[Vertex, ...] | None:
        """Read which parallelism a running job asks for and has."""
        self._arrive("vertices")
        job = self._jobs.get(flink_job_id)
        if job is None or job.state.is_terminal:
            return None
        return (
            Vertex(job.wanted_parallelism, self._cached(self._caches.parallelisms, job, lambda found: found.parallelism)),
        )

    def rescale(self, flink_job_id: str, *, before: int, after: int) -> Answer:
        """Ask for another parallelism; the tasks restart a little later."""
        try:
            self._arrive("rescale")
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        job = self._jobs.get(flink_job_id)
        if job is None or job.state.is_terminal or not self.options.is_adaptive:
            return Refused(RefusalKind.OTHER, _not_found(flink_job_id))
        if after > MAX_PARALLELISM:
            return Refused(
                RefusalKind.OTHER, f"The newly requested parallelism {after} exceeds its maximum parallelism 128."
            )
        if job.wanted_parallelism == before:
            job.wanted_parallelism = after
            self._at(job, job.behaviour.rescale, lambda: self._rescale(job))
        return Accepted()

    def parameters(self, flink_job_id: str) -> Mapping[str, str] | None:
        """Read a job's global parameters."""
        self._arrive("parameters")
        job = self._jobs.get(flink_job_id)
        if job is None:
            return None
        return flink_behaviour.parameters(job.submit.configuration) if job.has_started else {}

    def checkpoints(self, flink_job_id: str) -> Checkpoints | None:
        """Read checkpoint statistics and configuration; they may be as old as `statistics_age`."""
        self._arrive("checkpoints")
        job = self._jobs.get(flink_job_id)
        if job is None:
            return None
        if job.behaviour.is_batch:
            return Checkpoints(is_enabled=False)
        return _without_discarded(self._cached(self._caches.statistics, job, _statistics), self.storage)

    def checkpoint_progress(self, flink_job_id: str) -> CheckpointProgress | None:
        """Read how far periodic checkpoints have come; it may be as old as `statistics_age`."""
        self._arrive("checkpoint_progress")
        job = self._jobs.get(flink_job_id)
        if job is None or job.behaviour.is_batch:
            return None
        return self._cached(self._caches.statistics, job, _statistics).progress

    def failures(self, flink_job_id: str) -> tuple[TaskFailure, ...] | None:
        """Read what made Flink restart a job."""
        self._arrive("failures")
        job = self._jobs.get(flink_job_id)
        return None if job is None else tuple(job.failures)

    def graph(self, flink_job_id: str) -> tuple[GraphVertex, ...] | None:
        """Read a job's vertices."""
        self._arrive("graph")
        return (SOURCE, SINK) if flink_job_id in self._jobs else None

    def load(self, flink_job_id: str, vertex_id: str) -> Load | None:
        """Read how a vertex spends its time, as it was when somebody last asked; metrics are fetched afterwards."""
        self._arrive("load")
        job = self._jobs.get(flink_job_id)
        if job is None:
            return None
        known = self._caches.loads.get(job.id)
        if known is None or self._time >= known[0] + self.options.statistics_age:
            self._caches.loads[job.id] = (self._time, _loads(job, self._time))
        return None if known is None else known[1].get(vertex_id)

    def root_cause(self, flink_job_id: str) -> str | None:
        """Read why a job failed."""
        self._arrive("root_cause")
        job = self._jobs.get(flink_job_id)
        return None if job is None else self._cached(self._caches.causes, job, lambda found: found.failure)

    @property
    def is_up(self) -> bool:
        """Whether the JobManager answers."""
        return self._is_up

    @property
    def incarnation(self) -> str:
        """Of the JobManager that runs, or ran last."""
        return self._incarnation

    def kill_jobmanager(self) -> None:
        """End the JobManager as a crash would: what it knew is gone, running tasks go on as orphans.

        With high availability the next one knows which jobs have not ended, and the ids of those that have.
        """
        self._catch_up()
        if not self._is_up:
            return
        self._is_up = False
        for call in self._calls:
            # main() runs inside the JobManager and dies with it.
            call.answer = call.answer or NoAnswer("the connection was lost")
        self._calls.clear()
        for job in self._jobs.values():
            job.generation += 1
            if job.has_tasks:
                self._orphans.append(job)
                self._at(job, self.options.heartbeat_timeout, partial(self._forget_orphan, job))
        ended = {job.id for job in self._jobs.values() if job.state.is_terminal}
        if self.options.high_availability:
            self._recoverable = [job for job in self._jobs.values() if job.id not in ended]
        keeps_ended = self.options.high_availability and not self.options.forgets_ended
        self._known = self._known - {job.id for job in self._recoverable} if keeps_ended else set()
        self._jobs = {}
        self._triggers = {}
        self._caches = _Caches()
        self._applications = {}
        if not self.options.keeps_jars:
            self._jars = {}

    def repair(self) -> None:
        """Have an operator remove the record that no JobManager survives."""
        self._is_spoiled = False

    def start_jobmanager(self) -> None:
        """Bring up a JobManager that knows nothing; with high availability, one that goes on with what had not ended."""
        self._catch_up()
        if self._is_up or self._is_spoiled:
            return
        self._begin_incarnation()
        self._is_up = True
        for job in self._recoverable:
            self._recover(job)
        self._recoverable = []

    def restart_jobmanager(self) -> None:
        """Kill the JobManager and start another one at once."""
        self.kill_jobmanager()
        self.start_jobmanager()

    def kill_taskmanagers(self) -> None:
        """End all TaskManagers: orphans die, jobs restart and find no slots."""
        self._catch_up()
        self._has_taskmanagers = False
        for orphan in list(self._orphans):
            self._forget_orphan(orphan)
        for job in list(self._jobs.values()):
            if job.has_tasks:
                self._fail(job, "org.apache.flink.runtime.jobmaster.JobMasterException: TaskManager is no longer reachable.")
            elif job.holds_slots:
                job.generation += 1
                job.holds_slots = False

    def start_taskmanagers(self) -> None:
        """Bring TaskManagers back; what waits for slots is scheduled."""
        self._catch_up()
        self._has_taskmanagers = True
        self._schedule_waiting()

    def forget_terminal(self) -> None:
        """Let ended jobs leave the list, as Flink's job store does after a while; their ids stay refused."""
        self._catch_up()
        self._jobs = {job_id: job for job_id, job in self._jobs.items() if not job.state.is_terminal}

    def expire_triggers(self) -> None:
        """Let the results of ended operations be forgotten, as Flink's cache does after a while."""
        self._catch_up()
        self._triggers = {key: found for key, found in self._triggers.items() if isinstance(found.status, TriggerInProgress)}

    def has_ended_jobs(self) -> bool:
        """Tell whether the list holds a job that has ended."""
        self._catch_up()
        return any(job.state.is_terminal for job in self._jobs.values())

    def has_known_triggers(self) -> bool:
        """Tell whether the result of an ended operation is remembered."""
        self._catch_up()
        return any(not isinstance(found.status, TriggerInProgress) for found in self._triggers.values())

    def deliver_later(self, submit: Submit, at: datetime) -> None:
        """Let a submit arrive later, as a delayed request does; nobody waits for its answer."""
        self.later(at, lambda: self._receive(submit) if self._is_up else None)

    def later(self, at: datetime, effect: Callable[[], object]) -> None:
        """Let anything happen at a time, in order with everything else; calls to this twin included."""

        def happen() -> None:
            effect()

        self._push(at, happen)

    def next_event_at(self) -> datetime | None:
        """Give when something happens next by itself; None: never."""
        self._catch_up()
        return self._events[0][0] if self._events else None

    @property
    def history(self) -> list[Start]:
        """Every copy that began to run, oldest first."""
        self._catch_up()
        return list(self._history)

    @property
    def overlaps(self) -> list[Overlap]:
        """Every copy that began while another with its tag was alive, oldest first."""
        self._catch_up()
        return list(self._overlaps)

    def live_copies(self, prefix: str = "") -> list[str]:
        """List the ids of all copies that run or will run, orphans included, one entry per copy."""
        self._catch_up()
        return [job.id for job in self._live() if job.id.startswith(prefix)]

    def processing_copies(self, prefix: str = "") -> list[str]:
        """List the ids of all copies that produce output at this moment, orphans included."""
        self._catch_up()
        return [job.id for job in self._live() if job.id.startswith(prefix) and job.processing_since is not None]

    def progress(self, flink_job_id: str) -> int | None:
        """Tell how far a listed job has come; None: it is not listed."""
        self._catch_up()
        job = self._jobs.get(flink_job_id)
        return None if job is None else job.progress(self._time)

    def in_flight(self) -> list[str]:
        """List the ids of submits whose main() still runs."""
        self._catch_up()
        return [call.submit.flink_job_id for call in self._calls]

    def _recover(self, job: _Job) -> None:
        """Take over a job: its orphan is told to end, its statistics begin anew, it starts from its newest checkpoint."""
        self._forget_orphan(job)
        self._freeze(job)
        job.is_draining = job.holds_slots = job.has_started = False
        job.savepoint = None
        job.completed_count = job.failed_count = job.failed_in_a_row = 0
        job.failures = []
        self._known.add(job.id)
        self._jobs[job.id] = job
        self._enter(job, FlinkState.INITIALIZING)
        self._at(job, RECOVERY, lambda: self._resume(job))

    def _begin_incarnation(self) -> None:
        self._incarnation = f"/flink/flink-web-{self._uuid()}"

    def _arrive(self, method: str) -> None:
        self._catch_up()
        self.calls[method] += 1
        if not self._is_up:
            raise FlinkUnreachableError("connection refused", Delivery.NOT_SENT)

    def _catch_up(self) -> None:
        """Let everything happen that is due."""
        if self._is_busy:
            return
        self._is_busy = True
        try:
            until = self._clock.now()
            while self._events and self._events[0][0] <= until:
                at, _, effect = heapq.heappop(self._events)
                self._time = max(self._time, at)
                effect()
            self._time = max(self._time, until)
        finally:
            self._is_busy = False

    def _cached(self, cache: dict[str, tuple[datetime, _T]], job: _Job, read: Callable[[_Job], _T]) -> _T:
        known = cache.get(job.id)
        if known is None or self._time >= known[0] + self.options.statistics_age:
            known = cache[job.id] = (self._time, read(job))
        return known[1]

    def _push(self, at: datetime, effect: Callable[[], None]) -> None:
        self._event_number += 1
        heapq.heappush(self._events, (at, self._event_number, effect))

    def _at(self, job: _Job, delay: timedelta, effect: Callable[[], None]) -> None:
        """Plan a turn of a job, void if another one comes first."""
        generation = job.generation

        def happen() -> None:
            if job.generation == generation:
                effect()

        self._push(self._time + delay, happen)

    def _uuid(self) -> uuid.UUID:
        self._drawn += 1
        return uuid.UUID(bytes=hashlib.sha256(f"{self._seed}/{self._drawn}".encode()).digest()[:16], version=4)

    def _behaviour(self, jar: _Jar) -> JobBehaviour:
        exact = self.behaviours.get(jar.sha256)
        if exact is not None:
            return exact
        named = (behaviour for key, behaviour in self.behaviours.items() if key in jar.name)
        return next(named, self.default_behaviour)

    def _live(self) -> list[_Job]:
        return [*self._orphans, *(job for job in self._jobs.values() if not job.state.is_terminal)]

    def _found(self, submit: Submit) -> _Jar | Refused:
        """Find the jar and the class that a request names."""
        jar = self._jars.get(submit.jar_id)
        if jar is None:
            cause = (
                "org.apache.flink.runtime.rest.handler.RestHandlerException: Jar file"
                f" {self._incarnation}/flink-web-upload/{submit.jar_id} does not exist"
            )
            return Refused(RefusalKind.JAR_GONE, cause)
        if self._behaviour(jar).class_is_missing:
            return Refused(RefusalKind.PROGRAM, f"java.lang.ClassNotFoundException: {submit.entry_class}")
        return jar

    def _receive(self, submit: Submit) -> _Call | Refused:
        jar = self._found(submit)
        if isinstance(jar, Refused):
            return jar
        behaviour = self._behaviour(jar)
        call = _Call(submit, jar, self._incarnation, self._time)
        if submit.application_id is not None:
            if submit.application_id in self._applications:
                return Refused(RefusalKind.DUPLICATE, self._duplicate())
            self._applications[submit.application_id] = call
        if behaviour.main:
            self._calls.append(call)
            self._push(self._time + behaviour.main, lambda: self._land(call, behaviour))
        else:
            self._land(call, behaviour)
        return call

    def _land(self, call: _Call, behaviour: JobBehaviour) -> None:
        """Let main() end, and the dispatcher decide."""
        if call.incarnation != self._incarnation or not self._is_up or call.is_cancelled:
            return
        self._calls = [other for other in self._calls if other is not call]
        call.answer = self._dispatch(call.submit, call.jar, behaviour)

    def _dispatch(self, submit: Submit, jar: _Jar, behaviour: JobBehaviour) -> Answer:
        if behaviour.main_throws is not None:
            return Refused(RefusalKind.PROGRAM, behaviour.main_throws)
        settings = submit.configuration
        try:
            interval = flink_behaviour.interval(behaviour, settings, self.options.checkpoint_interval)
            retention = flink_behaviour.retention(behaviour, settings)
            restart_limit = flink_behaviour.restart_limit(behaviour, settings, is_checkpointed=interval is not None)
            timeout = flink_behaviour.timeout(behaviour, settings)
        except ValueError as error:
            return Refused(RefusalKind.PROGRAM, f"java.lang.NumberFormatException: {error}")
        if submit.flink_job_id in self._known:
            # The id is looked at after main(): a second submit runs it again, for nothing.
            return Refused(RefusalKind.DUPLICATE, self._duplicate())
        job = _Job(
            submit=submit,
            behaviour=behaviour,
            jar=jar,
            interval=interval,
            retention=retention,
            restart_limit=restart_limit,
            checkpoint_timeout=timeout,
            submitted_at=self._time,
            name=settings.get(flink_behaviour.NAME, "Flink Batch Job" if behaviour.is_batch else "Flink Streaming Job"),
            checkpoint_directory=settings.get(flink_behaviour.DIRECTORY, self.options.checkpoint_root).rstrip("/"),
            changed_at=self._time,
            wanted_parallelism=submit.parallelism,
            parallelism=submit.parallelism,
        )
        others = tuple(copy.id for copy in self._live() if copy.id[:TAG_DIGITS] == job.id[:TAG_DIGITS])
        self._known.add(job.id)
        self._jobs[job.id] = job
        refusal = None if behaviour.is_batch else self._restore(job)
        if refusal is not None:
            job.failure = refusal
            self._is_spoiled |= self.options.high_availability and not self._is_version_1
            self._enter(job, FlinkState.FAILED)
            return Refused(RefusalKind.PROGRAM, refusal)
        if others:
            self._overlaps.append(Overlap(self._time, job.id, others))
        self._record_start(job, is_restart=False)
        self._schedule(job)
        return Accepted()

    def _restore(self, job: _Job) -> str | None:
        """Give a new job its state, or say why it cannot have it."""
        path = job.submit.restore_from
        if path is None:
            return None
        snapshot = self.storage.snapshots.get(path.removesuffix("/_metadata"))
        if snapshot is None:
            return (
                f"java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory '{path}' on file system"
                f" '{path.partition(':')[0]}'."
            )
        if job.behaviour.state_incompatible and not job.submit.allow_non_restored_state:
            return (
                f"java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint {path}. Cannot map"
                " checkpoint/savepoint state to the new program, because the operator is not available in the new program."
            )
        job.initial = snapshot
        job.restored_from = snapshot.path
        job.base = snapshot.progress
        job.next_checkpoint_id = snapshot.checkpoint_id + 1
        return None

    @property
    def _is_version_1(self) -> bool:
        return self.options.version.startswith("1.")

    def _duplicate(self) -> str:
        kind = "Job" if self._is_version_1 else "Application"
        return f"org.apache.flink.runtime.client.Duplicate{kind}SubmissionException: {kind} has already been submitted."

    def _record_start(self, job: _Job, *, is_restart: bool) -> None:
        job.has_started = True
        start = Start(
            self._time,
            job.id,
            job.jar.sha256,
            job.restored_from,
            job.base,
            is_restart,
            self._incarnation,
            job.submit.args,
            job.submit.configuration,
        )
        self._history.append(start)

    def _schedule(self, job: _Job) -> None:
        """Deploy a job's tasks when there are slots for all (the adaptive scheduler: for some); until then it has none."""
        taken = sum(other.parallelism for other in self._jobs.values() if other.holds_slots and other is not job)
        left = self.options.slots - taken
        job.parallelism = job.wanted_parallelism
        if self.options.is_adaptive and left > 0:
            job.parallelism = min(job.wanted_parallelism, left)
        if job.behaviour.never_schedules or not self._has_taskmanagers or job.parallelism > left:
            return
        job.holds_slots = True
        self._at(job, job.behaviour.schedule, lambda: self._process(job))

    def _schedule_waiting(self) -> None:
        for job in self._jobs.values():
            if job.state is FlinkState.RUNNING and not job.holds_slots:
                self._schedule(job)

    def _process(self, job: _Job) -> None:
        behaviour = job.behaviour
        job.processing_since = job.changed_at = self._time
        if job.interval is not None:
            # From 2.x on the first checkpoint is taken at once; before, after a random part of the interval.
            delay = job.interval if self._is_version_1 else min(job.interval, FIRST_CHECKPOINT)
            self._at(job, delay, partial(self._checkpoint, job, job.interval))
        if behaviour.finishes_after is not None:
            left = behaviour.finishes_after - timedelta(seconds=job.base / behaviour.rate)
            self._at(job, max(left, timedelta(0)), lambda: self._end(job, FlinkState.FINISHED))
        if behaviour.fails_after is not None:
            self._at(job, behaviour.fails_after, lambda: self._fail(job, behaviour.failure))

    def _checkpoint(self, job: _Job, interval: timedelta) -> None:
        if job.processing_since is None:
            return
        if self.holds_snapshots:
            self._at(job, HELD, partial(self._checkpoint, job, interval))
            return
        # Where nothing else happens for a while, checkpoints are all alike: only the last one of them is made.
        horizon = min([self._clock.now(), *(at for at, _, _ in self._events[:1])])
        skipped = max(0, (horizon - self._time) // interval - 1)
        self._time += skipped * interval
        if job.behaviour.checkpoints_fail:
            job.next_checkpoint_id += skipped + 1
            job.failed_count += skipped + 1
            job.failed_in_a_row += skipped + 1
        else:
            job.next_checkpoint_id += skipped
            job.completed_count += skipped
            self._complete_checkpoint(job)
        self._at(job, interval, partial(self._checkpoint, job, interval))

    def _complete_checkpoint(self, job: _Job) -> None:
        previous = job.completed
        directory = f"{job.checkpoint_directory}/{job.id}"
        job.completed = self._snapshot(job, f"{directory}/chk-{job.next_checkpoint_id}", is_savepoint=False)
        if previous is not None:
            self.storage.delete(previous.path)

    def _snapshot(self, job: _Job, path: str, *, is_savepoint: bool, is_stop: bool = False) -> Snapshot:
        snapshot = Snapshot(
            path=path,
            flink_job_id=job.id,
            checkpoint_id=job.next_checkpoint_id,
            progress=job.progress(self._time),
            is_savepoint=is_savepoint,
            completed_at=self._time,
            is_stop=is_stop,
            origin=job.initial.path if job.initial is not None else None,
        )
        self.storage.write(snapshot)
        if not is_savepoint:
            job.failed_in_a_row = 0
        job.next_checkpoint_id += 1
        job.completed_count += 1
        return snapshot

    def _trigger(self, method: str, flink_job_id: str, trigger_id: str, trigger: _Trigger) -> Answer:
        try:
            self._arrive(method)
        except FlinkUnreachableError as error:
            return NotSent(str(error))
        if self._remembered(flink_job_id, trigger_id) is not None:
            # Whatever was asked under this id first is the only thing that happens, a savepoint in place of a stop too.
            return Accepted()
        self._triggers[flink_job_id, trigger_id] = trigger
        job = self._jobs.get(flink_job_id)
        if job is None or job.state.is_terminal:
            self._settle(trigger, TriggerFailed(_not_found(flink_job_id)))
        elif job.behaviour.is_batch:
            self._settle(
                trigger, TriggerFailed(f"java.lang.IllegalStateException: Job {flink_job_id} is not a streaming job.")
            )
        elif job.processing_since is None or job.state is not FlinkState.RUNNING:
            cause = (
                "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint triggering task of job"
                f" {flink_job_id} is not being executed at the moment. Aborting checkpoint. Failure reason: Not all required"
                " tasks are currently running."
            )
            self._settle(trigger, TriggerFailed(cause))
        else:
            self._at(job, job.behaviour.savepoint, lambda: self._take_savepoint(job, trigger))
        return Accepted()

    def _remembered(self, flink_job_id: str, trigger_id: str) -> _Trigger | None:
        found = self._triggers.get((flink_job_id, trigger_id))
        if found is not None and found.expires_at is not None and found.expires_at <= self._time:
            del self._triggers[flink_job_id, trigger_id]
            return None
        return found

    def _settle(self, trigger: _Trigger, status: TriggerStatus) -> None:
        if isinstance(trigger.status, TriggerInProgress):
            trigger.status = status
            trigger.expires_at = self._time + self.options.store_duration

    def _take_savepoint(self, job: _Job, trigger: _Trigger) -> None:
        if not isinstance(trigger.status, TriggerInProgress) or job.processing_since is None:
            return
        if self.holds_snapshots:
            self._at(job, HELD, lambda: self._take_savepoint(job, trigger))
            return
        if trigger.is_stop and any(other is not trigger for other in self._stops_under_way(job)):
            self._fail_triggers(job, _SUSPENDING)
            self._fail(
                job, "java.lang.IllegalStateException: at most one stop-with-savepoint checkpoint at a time is allowed"
            )
            return
        if job.behaviour.stop_fails is not None:
            self._settle(trigger, TriggerFailed(job.behaviour.stop_fails))
            self._restart(job)
            return
        name = f"savepoint-{job.id[:6]}-{self._uuid().hex[-12:]}"
        path = f"{trigger.target.rstrip('/')}/{name}"
        job.savepoint = self._snapshot(job, path, is_savepoint=True, is_stop=trigger.is_stop)
        if not trigger.is_stop:
            self._settle(trigger, TriggerCompleted(path))
            return
        self._freeze(job)
        job.is_draining = True
        # From here the job only ends: its timers must not fire, and a savepoint begun beside this one never completes.
        job.generation += 1
        for other in self._triggers.values():
            if other is not trigger and other.job_id == job.id:
                self._settle(other, TriggerFailed(_SUSPENDING))
        self._at(job, END_OF_STOP, lambda: self._end_of_stop(job, trigger, path))

    def _stops_under_way(self, job: _Job) -> list[_Trigger]:
        return [
            trigger
            for trigger in self._triggers.values()
            if trigger.job_id == job.id and trigger.is_stop and isinstance(trigger.status, TriggerInProgress)
        ]

    def _end_of_stop(self, job: _Job, trigger: _Trigger, path: str) -> None:
        if self.holds_ends:
            self._at(job, HELD, lambda: self._end_of_stop(job, trigger, path))
            return
        self._settle(trigger, TriggerCompleted(path))
        self._at(job, END_OF_STOP, lambda: self._end(job, FlinkState.FINISHED))

    def _freeze(self, job: _Job) -> None:
        job.base = job.progress(self._time)
        job.processing_since = None

    def _enter(self, job: _Job, state: FlinkState) -> None:
        """Let a job turn to another state; whatever was planned for it is void."""
        job.generation += 1
        job.state = state
        job.changed_at = self._time

    def _end(self, job: _Job, state: FlinkState) -> None:
        self._freeze(job)
        job.is_draining = job.holds_slots = False
        self._enter(job, state)
        self._fail_triggers(job, _SUSPENDING)
        is_discarded = {
            FlinkState.FINISHED: True,
            FlinkState.CANCELED: job.retention is not Retention.RETAIN,
            FlinkState.FAILED: job.retention is Retention.NONE,
        }[state]
        if is_discarded and job.completed is not None:
            self.storage.delete(job.completed.path)
        self._schedule_waiting()

    def _fail_triggers(self, job: _Job, cause: str) -> None:
        for trigger in self._triggers.values():
            if trigger.job_id == job.id:
                self._settle(trigger, TriggerFailed(cause))

    def _cancel(self, job: _Job) -> None:
        if job.state not in {FlinkState.CANCELED, FlinkState.CANCELLING}:
            self._enter(job, FlinkState.CANCELLING)
            self._fail_triggers(job, _SUSPENDING)
            if not job.behaviour.hangs_on_cancel:
                self._at(job, job.behaviour.cancel, lambda: self._end(job, FlinkState.CANCELED))

    def _fail(self, job: _Job, cause: str) -> None:
        job.failure = cause
        job.failures = [TaskFailure(self._time, cause), *job.failures][:FAILURES_KEPT]
        if job.state is FlinkState.CANCELLING:
            self._end(job, FlinkState.CANCELED)
        elif job.restart_limit is not None and job.restarts >= job.restart_limit:
            self._end(job, FlinkState.FAILED)
        else:
            job.restarts += 1
            self._restart(job)

    def _restart(self, job: _Job, *, after: timedelta | None = None) -> None:
        self._freeze(job)
        job.is_draining = job.holds_slots = False
        self._enter(job, FlinkState.RESTARTING)
        self._fail_triggers(job, "org.apache.flink.runtime.checkpoint.CheckpointException: FailoverRegion is restarting.")
        self._at(job, job.behaviour.restart_delay if after is None else after, lambda: self._resume(job))

    def _rescale(self, job: _Job) -> None:
        """Restart a job's tasks at once, for a parallelism that the free slots allow."""
        taken = sum(other.parallelism for other in self._jobs.values() if other.holds_slots and other is not job)
        if job.processing_since is not None and min(job.wanted_parallelism, self.options.slots - taken) != job.parallelism:
            self._restart(job, after=timedelta(0))

    def _resume(self, job: _Job) -> None:
        """Start a job again, from its newest checkpoint, never from a savepoint of its own, or from what it began with."""
        state = job.completed or job.initial
        job.base = 0 if state is None else state.progress
        job.restored_from = None if state is None else state.path
        self._enter(job, FlinkState.RUNNING)
        self._record_start(job, is_restart=True)
        self._schedule(job)

    def _forget_orphan(self, orphan: _Job) -> None:
        self._orphans = [other for other in self._orphans if other is not orphan]

    def _seen(self, job: _Job) -> JobSeen:
        total = job.behaviour.tasks if job.has_started else 0
        running = total if job.has_tasks or job.state is FlinkState.FINISHED else 0
        return JobSeen(job.id, job.name, job.state, _milliseconds(job.changed_at), running, total)


class TwinConnections:
    """`FlinkConnections` to twins, by the name of the cluster."""

    def __init__(self, twins: Mapping[str, FlinkTwin]) -> None:
        self.twins = dict(twins)

    def connect(self, cluster: Cluster) -> FlinkTwin:
        """Give the twin of a cluster. Makes no call.

        Raises:
            KeyError: the test has no such cluster.
        """
        return self.twins[cluster.name]


def _statistics(job: _Job) -> Checkpoints:
    return Checkpoints(
        is_enabled=job.interval is not None,
        completed=_checkpoint(job.completed),
        savepoint=_checkpoint(job.savepoint),
        restored_from=job.restored_from,
        completed_count=job.completed_count,
        failed_count=job.failed_count,
        deletes_on_cancellation=job.retention is not Retention.RETAIN,
        interval=job.interval,
        timeout=None if job.interval is None else job.checkpoint_timeout,
        progress=CheckpointProgress(
            completed_at=None if job.completed is None else job.completed.completed_at,
            duration=None if job.completed is None else SNAPSHOT,
            size_bytes=None if job.completed is None else job.completed.progress,
            failed_in_a_row=job.failed_in_a_row,
            failure="java.lang.IllegalStateException: told to fail its snapshots" if job.failed_in_a_row else "",
        ),
    )


def _loads(job: _Job, now: datetime) -> dict[str, Load]:
    slow_for, since = job.behaviour.slow_for, job.submitted_at
    if job.processing_since is None:
        return {SOURCE.id: Load(0.0), SINK.id: Load(0.0)}
    is_slow = slow_for is not None and since is not None and now < since + slow_for
    return {
        SOURCE.id: Load(0.9 if is_slow else 0.0, busy=0.1),
        SINK.id: Load(0.0, busy=1.0 if is_slow else 0.1),
    }


def _checkpoint(snapshot: Snapshot | None) -> Checkpoint | None:
    if snapshot is None:
        return None
    return Checkpoint(snapshot.checkpoint_id, snapshot.path, snapshot.is_savepoint, snapshot.is_stop, snapshot.completed_at)


def _without_discarded(statistics: Checkpoints, storage: StorageTwin) -> Checkpoints:
    """Leave out a checkpoint that is gone: the one thing that is current in statistics from the cache."""
    completed = statistics.completed
    if completed is None or completed.path in storage.snapshots:
        return statistics
    return replace(statistics, completed=None)


def _not_found(flink_job_id: str) -> str:
    return f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({flink_job_id})"


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)
