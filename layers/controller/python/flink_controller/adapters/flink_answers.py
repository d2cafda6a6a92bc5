"""What Flink's REST interface says, turned into observations.

Only what is read is declared, everything else is ignored, so that the answers of all supported versions fit. What is
read is read strictly: a list of jobs that is wrong in one entry proves nothing about the others, because an absence is
the strongest thing that a list can say.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import from_json
from typing_extensions import TypedDict

from flink_controller.domain.cluster_check import ClusterOverview
from flink_controller.domain.observation import (
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
    RefusalKind,
    Refused,
    TaskFailure,
    TaskManagerSeen,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
    TriggerStatus,
    UploadedJar,
    Vertex,
)
from flink_controller.domain.redaction import redacted

INCARNATION_KEY: Final = "web.tmpdir"
"""A directory with a random name that every JobManager makes for itself."""
CAUSE_LIMIT: Final = 500
"""Characters of a cause; the class and the first words say what happened."""
FRAMES: Final = 2
"""First lines of a stack that are told: where it was thrown, and from where that was called."""
FRAME_LIMIT: Final = 160
NAME_LIMIT: Final = 80
"""Characters of a vertex's or a task's name, which lists every operator of a chain."""
NO_CHECKPOINTS: Final = 2**63 - 1
"""The interval that Flink shows for a streaming job without periodic checkpoints."""
JAR_ID: Final = re.compile(r"[A-Za-z0-9._-]+")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CAUSED_BY: Final = "Caused by: "
_FRAME: Final = re.compile(r"\s+(at |\.\.\. \d+ more)|\s*(Suppressed: |\[CIRCULAR REFERENCE)")
_SERVER_SIDE: Final = re.compile(r"<Exception on server side:|End of exception on server side>")
_SUPPRESSED_RECOVERY: Final = "Recovery is suppressed by"
_DUPLICATE: Final = re.compile(r"Duplicate(Job|Application)SubmissionException")
_JAR_GONE: Final = re.compile(r"Jar file \S+ does not exist")
_PROGRAM: Final = re.compile(
    r"ProgramInvocationException|JobInitializationException|FileNotFoundException|ClassNotFoundException"
    r"|NoClassDefFoundError|ProgramParametrizationException|InvalidProgramException|IllegalConfigurationException"
    r"|Could not parse value|NumberFormatException|StateMigrationException|Failed to rollback to checkpoint/savepoint"
)
_UNDECIDED: Final = re.compile(
    r"AskTimeoutException|Invocation of \[\w*RpcInvocation\([^]]*\)\] at recipient .{0,200}timed out"
)
"""The dispatcher did not answer Flink's own REST endpoint in time: it may still start the job."""
_UNKNOWN_JOB: Final = re.compile(
    r"NotFoundException: Job [0-9a-f]{32} not found|FlinkJobNotFoundException|Job could not be found"
)
_NO_CHECKPOINTING: Final = re.compile(r"Checkpointing (has not been|is not) enabled")
_UNKNOWN_TRIGGER: Final = "There is no savepoint operation with triggerId="


class NotFlinksAnswerError(ValueError):
    """The bytes are not what Flink says at this place. Never leaves the adapter."""


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


_FlinkId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
_Count = Annotated[int, Field(ge=0)]


# Every look checks every row of the list and keeps a few: as plain dictionaries, and with objects for the few, 1,000 rows take
# 2.1 ms, where as models they took 5.6 ms.
class _Tasks(TypedDict, total=False):
    running: _Count
    finished: _Count
    total: _Count


_Job = TypedDict(
    "_Job",
    {
        "jid": _FlinkId,
        "name": NotRequired[str],
        "state": FlinkState,
        "last-modification": NotRequired[int],
        "tasks": NotRequired[_Tasks],
    },
)


class _Overview(TypedDict):
    jobs: list[_Job]


class _Jar(_Answer):
    id: str
    name: str
    uploaded: int = 0


class _Jars(_Answer):
    files: list[_Jar]


class _Uploaded(_Answer):
    filename: str
    status: str


class _Run(_Answer):
    jobid: _FlinkId


class _Cluster(_Answer):
    version: str = Field(alias="flink-version")
    taskmanagers: _Count
    slots_total: _Count = Field(alias="slots-total")
    slots_free: _Count = Field(alias="slots-available")


class _Hardware(_Answer):
    cores: float | None = Field(None, alias="cpuCores")


class _Memory(_Answer):
    process: int | None = Field(None, alias="totalProcessMemory")
    framework_heap: int | None = Field(None, alias="frameworkHeap")
    task_heap: int | None = Field(None, alias="taskHeap")
    network: int | None = Field(None, alias="networkMemory")


class _SlotMemory(_Answer):
    """What slots share, in MiB: the one place where Flink does not write bytes."""

    task_heap: _Count = Field(0, alias="taskHeapMemory")
    off_heap: _Count = Field(0, alias="taskOffHeapMemory")
    managed: _Count = Field(0, alias="managedMemory")
    network: _Count = Field(0, alias="networkMemory")

    @property
    def size_bytes(self) -> int:
        return (self.task_heap + self.off_heap + self.managed + self.network) * 2**20


class _TaskManager(_Answer):
    slots: _Count = Field(alias="slotsNumber")
    slots_free: _Count = Field(alias="freeSlots")
    hardware: _Hardware = _Hardware()
    memory: _Memory = Field(_Memory(), alias="memoryConfiguration")
    total: _SlotMemory | None = Field(None, alias="totalResource")
    free: _SlotMemory | None = Field(None, alias="freeResource")


class _TaskManagers(_Answer):
    taskmanagers: tuple[_TaskManager, ...] = Field(strict=False)


class _Setting(_Answer):
    key: str
    value: str | None = None


class _Failure(_Answer):
    class_name: str = Field(default="", alias="class")
    stack_trace: str = Field(default="", alias="stack-trace")


class _Operation(_Answer):
    location: str | None = None
    failure: _Failure | None = Field(default=None, alias="failure-cause")


class _OperationState(_Answer):
    id: str


class _OperationStatus(_Answer):
    status: _OperationState
    operation: _Operation | None = None


class _CheckpointEntry(_Answer):
    id: int
    status: str = "COMPLETED"
    is_savepoint: bool = False
    external_path: str | None = None
    checkpoint_type: str | None = None
    discarded: bool = False
    latest_ack_timestamp: int | None = None
    end_to_end_duration: int | None = None
    state_size: int | None = None
    failure_message: str | None = None


class _Restored(_Answer):
    external_path: str | None = None


class _Latest(_Answer):
    completed: _CheckpointEntry | None = None
    savepoint: _CheckpointEntry | None = None
    restored: _Restored | None = None


class _CheckpointCounts(_Answer):
    completed: _Count = 0
    failed: _Count = 0


class _CheckpointStatistics(_Answer):
    counts: _CheckpointCounts
    latest: _Latest = _Latest()
    history: list[_CheckpointEntry] = []


class _Externalization(_Answer):
    enabled: bool = False
    delete_on_cancellation: bool = True


class _CheckpointConfig(_Answer):
    interval: int
    timeout: _Count = 0
    externalization: _Externalization = _Externalization()


class _ExceptionEntry(_Answer):
    name: str | None = Field(default=None, alias="exceptionName")
    stacktrace: str | None = None


class _RootExceptionEntry(_ExceptionEntry):
    timestamp: int = 0
    task: str | None = Field(default=None, alias="taskName")
    concurrent: list[_ExceptionEntry] | None = Field(default=None, alias="concurrentExceptions")


class _ExceptionHistory(_Answer):
    entries: list[_RootExceptionEntry] = []


class _Exceptions(_Answer):
    history: _ExceptionHistory | None = Field(default=None, alias="exceptionHistory")
    root: str | None = Field(default=None, alias="root-exception")


class _Bounds(_Answer):
    lower: _Count = Field(alias="lowerBound")
    upper: _Count = Field(alias="upperBound")


class _Requirement(_Answer):
    parallelism: _Bounds


class _Requirements(RootModel[dict[str, _Requirement]]):
    pass


class _VertexDetails(_Answer):
    id: str
    name: str = ""
    parallelism: _Count


class _Input(_Answer):
    id: str


class _Node(_Answer):
    id: str
    inputs: list[_Input] | None = None


class _Plan(_Answer):
    nodes: list[_Node] = []


class _Details(_Answer):
    vertices: list[_VertexDetails]
    plan: _Plan = _Plan()


class _Subtask(_Answer):
    subtask: int = 0
    ratio: float = 0.0
    # The text "NaN" while nothing was measured.
    busy: float | str = Field(default=0.0, alias="busyRatio")


class _BackPressure(_Answer):
    status: str
    subtasks: list[_Subtask] | None = None


class _ExecutionConfig(_Answer):
    user_config: dict[str, str] = Field(alias="user-config")


class _JobConfig(_Answer):
    execution_config: _ExecutionConfig | None = Field(default=None, alias="execution-config")


class ApplicationState(StrEnum):
    """Flink's states of an application."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    FAILING = "FAILING"
    FAILED = "FAILED"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    FINISHED = "FINISHED"


class _Application(_Answer):
    # JSON knows no enumerations.
    status: ApplicationState = Field(strict=False)
    duration: int = 0


class _ResultFailure(_Answer):
    stack_trace: str = Field(default="", alias="stack-trace")


class _JobResult(_Answer):
    failure: _ResultFailure | None = Field(default=None, alias="failure-cause")


class _ExecutionResult(_Answer):
    result: _JobResult | None = Field(default=None, alias="job-execution-result")


class _Errors(_Answer):
    errors: list[str]


_Read = TypeVar("_Read", bound=BaseModel)
_SETTINGS: Final = TypeAdapter(list[_Setting])
_OVERVIEW: Final = TypeAdapter(_Overview)


def jobs(body: bytes, prefix: str = "") -> list[JobSeen]:
    """Read `/jobs/overview`: the jobs whose ids begin so. One malformed row refuses the whole list, whoever's it is."""
    try:
        listed = _OVERVIEW.validate_json(body, strict=True)
    except ValidationError as error:
        raise _unlike_flink(error) from None
    return [_job(row) for row in listed["jobs"] if row["jid"].startswith(prefix)]


def _job(row: _Job) -> JobSeen:
    tasks = row.get("tasks", {})
    return JobSeen(
        flink_job_id=row["jid"],
        name=row.get("name", ""),
        state=row["state"],
        modified_ms=row.get("last-modification", 0),
        tasks_running=tasks.get("running", 0) + tasks.get("finished", 0),
        tasks_total=tasks.get("total", 0),
    )


def parameters(body: bytes) -> dict[str, str]:
    """Read a job's global parameters out of `/jobs/:id/config`; a job that never came so far may show no configuration."""
    config = _read(_JobConfig, body).execution_config
    return {} if config is None else config.user_config


def jars(body: bytes) -> list[JarSeen]:
    """Read `/jars`."""
    return [JarSeen(jar_id=jar.id, name=jar.name, uploaded_ms=jar.uploaded) for jar in _read(_Jars, body).files]


def uploaded_jar(body: bytes) -> UploadedJar:
    """Read id and place out of the answer to an upload."""
    answer = _read(_Uploaded, body)
    jar_id = re.split(r"[/\\]", answer.filename)[-1]
    if answer.status != "success" or not JAR_ID.fullmatch(jar_id):
        raise NotFlinksAnswerError("the upload's answer names no jar")
    return UploadedJar(jar_id, answer.filename)


def started_job(body: bytes) -> str:
    """Read the job id out of the answer to a submit."""
    return _read(_Run, body).jobid


def cluster_config(body: bytes) -> ClusterConfig:
    """Read `/jobmanager/config`."""
    try:
        entries = _SETTINGS.validate_json(body)
    except ValidationError as error:
        raise _unlike_flink(error) from None
    settings = {entry.key: entry.value for entry in entries if entry.value is not None}
    incarnation = settings.get(INCARNATION_KEY, "")
    if not incarnation:
        raise NotFlinksAnswerError(f"its configuration lacks {INCARNATION_KEY}")
    return ClusterConfig(incarnation=incarnation, settings=settings)


def cluster_overview(body: bytes) -> ClusterOverview:
    """Read `/overview`."""
    answer = _read(_Cluster, body)
    return ClusterOverview(
        version=one_line(answer.version)[:40],
        taskmanagers=answer.taskmanagers,
        slots_total=answer.slots_total,
        slots_free=answer.slots_free,
    )


def task_managers(body: bytes) -> tuple[TaskManagerSeen, ...]:
    """Read `/taskmanagers`."""

    def seen(found: _TaskManager) -> TaskManagerSeen:
        heaps = (found.memory.framework_heap, found.memory.task_heap)
        return TaskManagerSeen(
            slots=found.slots,
            slots_free=found.slots_free,
            cpu_cores=found.hardware.cores,
            memory_bytes=found.memory.process,
            heap_bytes=None if None in heaps else sum(heap or 0 for heap in heaps),
            network_bytes=found.memory.network,
            shared_bytes=None if found.total is None else found.total.size_bytes,
            free_bytes=None if found.free is None else found.free.size_bytes,
        )

    return tuple(seen(found) for found in _read(_TaskManagers, body).taskmanagers)


def trigger_status(body: bytes, *, is_cut: bool = False) -> TriggerStatus:
    """Read the status of a stop or savepoint, of which the end may be missing."""
    answer = _read(_OperationStatus, body, is_cut=is_cut)
    if answer.status.id == "IN_PROGRESS":
        return TriggerInProgress()
    operation = answer.operation
    if answer.status.id == "COMPLETED" and operation is not None:
        if operation.failure is not None:
            return TriggerFailed(deepest_cause(operation.failure.stack_trace) or one_line(operation.failure.class_name))
        if operation.location:
            return TriggerCompleted(uri(operation.location))
    raise NotFlinksAnswerError("a trigger is neither in progress, nor completed, nor failed")


def checkpoints(statistics: bytes, config: bytes) -> Checkpoints:
    """Read `/jobs/:id/checkpoints` and `/jobs/:id/checkpoints/config` together."""
    seen = _read(_CheckpointStatistics, statistics)
    settings = _read(_CheckpointConfig, config)
    known = tuple(filter(None, (seen.latest.completed, seen.latest.savepoint, *seen.history)))
    restored = seen.latest.restored
    is_enabled = 0 < settings.interval < NO_CHECKPOINTS
    return Checkpoints(
        is_enabled=is_enabled,
        completed=_newest([entry for entry in known if not entry.is_savepoint]),
        savepoint=_newest([entry for entry in known if entry.is_savepoint]),
        restored_from=uri(restored.external_path) if restored is not None and restored.external_path else None,
        completed_count=seen.counts.completed,
        failed_count=seen.counts.failed,
        deletes_on_cancellation=not settings.externalization.enabled or settings.externalization.delete_on_cancellation,
        interval=_span(settings.interval) if is_enabled else None,
        timeout=_span(settings.timeout) if is_enabled else None,
        progress=_progress(seen),
    )


def checkpoint_progress(statistics: bytes) -> CheckpointProgress:
    """Read `/jobs/:id/checkpoints` alone."""
    return _progress(_read(_CheckpointStatistics, statistics))


def _progress(seen: _CheckpointStatistics) -> CheckpointProgress:
    known = [entry for entry in (seen.latest.completed, *seen.history) if entry is not None and not entry.is_savepoint]
    newest = max((entry for entry in known if entry.status == "COMPLETED"), key=lambda entry: entry.id, default=None)
    failed = [entry for entry in known if entry.status == "FAILED" and (newest is None or entry.id > newest.id)]
    last = max(failed, key=lambda entry: entry.id, default=None)
    return CheckpointProgress(
        completed_at=None if newest is None else _instant(newest.latest_ack_timestamp),
        duration=None if newest is None or newest.end_to_end_duration is None else _span(newest.end_to_end_duration),
        size_bytes=None if newest is None else newest.state_size,
        failed_in_a_row=len(failed),
        failure=one_line((last.failure_message if last is not None else None) or ""),
    )


def vertices(requirements: bytes, details: bytes) -> tuple[Vertex, ...]:
    """Read `/jobs/:id/resource-requirements` and `/jobs/:id` together."""
    wanted = _read(_Requirements, requirements).root
    # While it restarts a job has no vertices for a moment.
    actual = {vertex.id: vertex.parallelism for vertex in _read(_Details, details).vertices}
    return tuple(Vertex(bounds.parallelism.upper, actual.get(vertex, 0)) for vertex, bounds in sorted(wanted.items()))


def graph(details: bytes) -> tuple[GraphVertex, ...]:
    """Read the vertices out of `/jobs/:id`, sources first."""
    seen = _read(_Details, details)
    names = {vertex.id: vertex.name for vertex in seen.vertices}
    # The plan lists sinks first.
    return tuple(
        GraphVertex(node.id, short(names.get(node.id, "")), tuple(given.id for given in node.inputs or ()))
        for node in sorted(seen.plan.nodes, key=lambda node: bool(node.inputs))
    )


def load(body: bytes) -> Load | None:
    """Read `/jobs/:id/vertices/:id/backpressure`; None when there are no readings."""
    subtasks = _read(_BackPressure, body).subtasks
    if not subtasks:
        return None
    worst = max(subtasks, key=lambda found: found.ratio)
    busy = max((found.busy for found in subtasks if isinstance(found.busy, float)), default=0.0)
    return Load(worst.ratio, worst.subtask, busy)


def says_no_readings(texts: Sequence[str]) -> bool:
    """Tell whether an error says that a vertex was not measured yet, which Flink 2.3 says by failing."""
    return any("JobVertexBackPressureHandler" in text and "NoSuchElementException" in text for text in texts)


def failures(body: bytes, *, is_cut: bool = False) -> tuple[TaskFailure, ...]:
    """Read `/jobs/:id/exceptions`, newest first, of which the end may be missing."""
    history = _read(_Exceptions, body, is_cut=is_cut).history
    return tuple(_failure(entry) for entry in (history.entries if history is not None else []))


def _failure(entry: _RootExceptionEntry) -> TaskFailure:
    trace = _telling(entry)
    return TaskFailure(
        at=_instant(entry.timestamp) or _EPOCH,
        cause=deepest_cause(trace) or one_line(entry.name or "") or "Flink tells no cause",
        task=short(entry.task or ""),
        frames=_first_frames(trace),
    )


def _telling(entry: _RootExceptionEntry) -> str:
    """Give the trace that says why: Flink gives up with an exception of its own, and what made it happened "concurrently"."""
    own = entry.stacktrace or ""
    if _SUPPRESSED_RECOVERY not in own or _CAUSED_BY in own:
        return own
    return next((other.stacktrace for other in entry.concurrent or () if other.stacktrace), own)


def _first_frames(trace: str) -> tuple[str, ...]:
    """Give the first frames of the deepest cause."""
    frames = [line.strip() for line in trace.rpartition(_CAUSED_BY)[2].splitlines() if line.lstrip().startswith("at ")]
    return tuple(one_line(frame)[:FRAME_LIMIT] for frame in frames[:FRAMES])


def short(name: str) -> str:
    """Cut a name, printable, to what a message can hold."""
    line = one_line(name)
    return line if len(line) <= NAME_LIMIT else f"{line[: NAME_LIMIT - 1]}…"


def rescaled(requirements: bytes, *, before: int, after: int) -> dict[str, Any]:
    """Write resource requirements anew with another parallelism for the vertices that have the old one."""
    body = {}
    for vertex, bounds in _read(_Requirements, requirements).root.items():
        lower, upper = bounds.parallelism.lower, bounds.parallelism.upper
        upper = after if upper == before else upper
        body[vertex] = {"parallelism": {"lowerBound": min(lower, upper), "upperBound": upper}}
    return body


def job_failure(body: bytes, *, is_cut: bool = False) -> str | None:
    """Read the newest failure out of `/jobs/:id/exceptions`, of which the end may be missing."""
    answer = _read(_Exceptions, body, is_cut=is_cut)
    entries = answer.history.entries if answer.history is not None else []
    if not entries:
        return deepest_cause(answer.root or "") or None
    newest = entries[0]
    return deepest_cause(_telling(newest)) or one_line(newest.name or "") or None


def job_result_failure(body: bytes, *, is_cut: bool = False) -> str | None:
    """Read the failure out of `/jobs/:id/execution-result`."""
    result = _read(_ExecutionResult, body, is_cut=is_cut).result
    if result is None or result.failure is None:
        return None
    return deepest_cause(result.failure.stack_trace) or None


def application(body: bytes) -> ApplicationSeen | None:
    """Read `/applications/:id`; None for one that has failed, whose exceptions tell more."""
    seen = _read(_Application, body)
    duration = timedelta(milliseconds=max(seen.duration, 0))
    match seen.status:
        case ApplicationState.FAILED:
            return None
        case ApplicationState.CANCELED:
            cancelled = Refused(RefusalKind.OTHER, "its application was cancelled")
            return ApplicationSeen(is_alive=False, duration=duration, refused=cancelled)
        case status:
            return ApplicationSeen(is_alive=status is not ApplicationState.FINISHED, duration=duration)


def failed_application(exceptions: bytes, *, is_cut: bool = False) -> ApplicationSeen:
    """Read `/applications/:id/exceptions` of an application that has failed."""
    history = _read(_Exceptions, exceptions, is_cut=is_cut).history
    texts = [entry.stacktrace or entry.name or "" for entry in (history.entries if history else [])[:1]]
    return ApplicationSeen(is_alive=False, refused=Refused(*refusal(texts)))


def errors(body: bytes, *, is_cut: bool) -> list[str]:
    """Read the texts of an error answer, of which the end may be missing.

    Raises:
        NotFlinksAnswerError: the answer is not Flink's.
    """
    return _read(_Errors, body, is_cut=is_cut).errors


def check_object(body: bytes) -> None:
    """Make sure that an answer whose content does not matter is a JSON object.

    Raises:
        NotFlinksAnswerError: it is not.
    """
    _read(_Answer, body)


def refusal(texts: Sequence[str]) -> tuple[RefusalKind, str]:
    """Classify why a submit was refused, and name the cause."""
    whole = "\n".join(texts)
    cause = error_cause(texts)
    if _DUPLICATE.search(whole):
        return RefusalKind.DUPLICATE, cause
    if _JAR_GONE.search(whole):
        return RefusalKind.JAR_GONE, cause
    return (RefusalKind.PROGRAM if _PROGRAM.search(whole) else RefusalKind.OTHER), cause


def is_undecided(texts: Sequence[str]) -> bool:
    """Tell whether an error says that Flink itself does not know the outcome."""
    return _UNDECIDED.search("\n".join(texts)) is not None


def says_unknown_job(texts: Sequence[str]) -> bool:
    """Tell whether an error says that there is no such job."""
    return any(_UNKNOWN_JOB.search(text) for text in texts)


def says_unknown_application(texts: Sequence[str]) -> bool:
    """Tell whether an error says that there is no such application."""
    return any("FlinkApplicationNotFoundException" in text for text in texts)


def says_no_checkpointing(texts: Sequence[str]) -> bool:
    """Tell whether an error says that a job takes no checkpoints."""
    return any(_NO_CHECKPOINTING.search(text) for text in texts)


def says_unknown_trigger(texts: Sequence[str]) -> bool:
    """Tell whether an error says that there is no such stop or savepoint."""
    return any(_UNKNOWN_TRIGGER in text for text in texts)


def error_cause(texts: Sequence[str]) -> str:
    """Name the deepest cause in the texts of an error answer, in one bounded line."""
    for text in reversed(texts):
        cause = deepest_cause(text)
        if cause:
            return cause
    return "no reason was given"


def deepest_cause(trace: str) -> str:
    """Name the deepest cause of a Java stack trace with its message, in one bounded line."""
    last: list[str] = []
    for block in _headlines(_SERVER_SIDE.sub("", trace)):
        last = block
    return one_line(" ".join(last).removeprefix(_CAUSED_BY))


def one_line(text: str) -> str:
    """Make text printable on one line of at most `CAUSE_LIMIT` characters, without what looks like a secret."""
    # Cut first: what is thrown away anyway need not be looked at.
    printable = "".join(char if char.isprintable() else " " for char in text[: 8 * CAUSE_LIMIT])
    line = redacted(" ".join(printable.split()))
    return line if len(line) <= CAUSE_LIMIT else f"{line[: CAUSE_LIMIT - 1]}…"


def uri(path: str) -> str:
    """Write a path as the controller does: Java's `file:/x` is `file:///x`."""
    return re.sub(r"^file:/(?!/)", "file:///", path)


def _headlines(trace: str) -> Iterator[list[str]]:
    """Give each exception of a trace as the lines of its class and message; a message may have several."""
    block: list[str] = []
    is_open = True
    for line in trace.splitlines():
        if line.startswith(_CAUSED_BY):
            if block:
                yield block
            block, is_open = [line], True
        elif _FRAME.match(line):
            is_open = False
        elif is_open and line.strip():
            block.append(line)
    if block:
        yield block


def _newest(entries: Sequence[_CheckpointEntry]) -> Checkpoint | None:
    usable = [
        entry
        for entry in entries
        # Without a checkpoint directory Flink writes a phrase in angle brackets where a path belongs.
        if entry.status == "COMPLETED" and not entry.discarded and entry.external_path and ":" in entry.external_path
    ]
    if not usable:
        return None
    entry = max(usable, key=lambda found: found.id)
    return Checkpoint(
        id=entry.id,
        path=uri(entry.external_path or ""),
        is_savepoint=entry.is_savepoint,
        is_stop=entry.checkpoint_type == "SYNC_SAVEPOINT",
        completed_at=_instant(entry.latest_ack_timestamp),
    )


def _span(milliseconds: int) -> timedelta:
    try:
        return timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise NotFlinksAnswerError("a duration is out of range") from None


def _instant(milliseconds: int | None) -> datetime | None:
    try:
        return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        raise NotFlinksAnswerError("a time is out of range") from None


def _read(model: type[_Read], body: bytes, *, is_cut: bool = False) -> _Read:
    try:
        if not is_cut:
            return model.model_validate_json(body)
        return model.model_validate(from_json(body.decode(errors="ignore"), allow_partial="trailing-strings"))
    except ValidationError as error:
        raise _unlike_flink(error) from None
    except ValueError as error:
        raise NotFlinksAnswerError(one_line(str(error))) from None


def _unlike_flink(error: ValidationError) -> NotFlinksAnswerError:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return NotFlinksAnswerError(one_line(f"{where}: {first['msg']}" if where else first["msg"]))
