"""Small builders: a spec, an artifact, and a job that is looked at by the planner alone."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from flink_controller.domain.actions import (
    CountFreeSlots,
    DeleteStaleJars,
    FindState,
    LoadHolders,
    LoadRevision,
    LoadRun,
    LoadSavepoints,
    PlanProgram,
    Preparation,
    PruneRuns,
    ReadCheckpoints,
    ReadOffer,
    ReleaseJar,
    SearchState,
    StageJar,
    TriggerCheckpoint,
)
from flink_controller.domain.artifact import Artifact, ArtifactHead, ArtifactVersion, Verdict
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import UNREACHABLE
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.names import flink_job_id, tag
from flink_controller.domain.observation import (
    Accepted,
    Answer,
    ApplicationSeen,
    Checkpoint,
    Checkpoints,
    FlinkSeen,
    FlinkState,
    FlinkUnreachable,
    FlinkView,
    JobSeen,
    Observation,
    Offer,
    OfferUnread,
    Pressure,
    StorageUnreadable,
    StoredState,
    TaskFailure,
    TriggerStatus,
    Vertex,
)
from flink_controller.domain.plan import Draft, Facts, Findings, Plan, Policy, StagingRefused
from flink_controller.domain.planning import plan
from flink_controller.domain.spec import InvalidSpec, SpecView, ValidSpec, read_spec
from flink_controller.domain.status import (
    Attempt,
    Event,
    JobStatus,
    Operation,
    Pause,
    Revision,
    SavepointRecord,
    SecondLane,
    StagedJar,
)
from flink_controller.testing.clock import START

JOB = "etl"
KEY = "artifacts/etl.jar"
BUCKET = "artifacts-bucket"
LIFE = "flink-web-1"
NEW_LIFE = "flink-web-2"
SECOND = timedelta(seconds=1)
POLICY = Policy(controller_id="tests", artifact_bucket=BUCKET)
QUARANTINE = timedelta(seconds=70)
"""The function's timeout and a margin: longer than the heartbeat's."""
CLUSTER = Cluster(
    name="default", url="http://flink:8081", savepoint_root="s3://state/savepoints", checkpoint_root="s3://state/checkpoints"
)
OTHER = CLUSTER.model_copy(update={"name": "other", "url": "http://other:8081"})
CHECKPOINTED = Checkpoints(is_enabled=True, completed=Checkpoint(7, "s3://state/checkpoints/x/chk-7", is_savepoint=False))


def spec_item(**changes: Any) -> dict[str, Any]:
    """Give a spec item; `deployment__parallelism=4` changes a nested field."""
    item: dict[str, Any] = {"job_id": JOB, "job_type": "stream", "artifact_path": KEY}
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = item
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return item


def valid_spec(**changes: Any) -> ValidSpec:
    """Read a spec that must be valid."""
    item = spec_item(**changes)
    view = read_spec(item["job_id"], item)
    assert isinstance(view, ValidSpec), view
    return view


def invalid_spec(**changes: Any) -> InvalidSpec:
    """Read a spec that must be invalid."""
    item = spec_item(**changes)
    view = read_spec(JOB, item)
    assert isinstance(view, InvalidSpec)
    return view


def version(
    number: int = 1, *, at: datetime = START, verdict: Verdict = Verdict.ADMITTED, **changes: Any
) -> ArtifactVersion:
    """Give the record of the n-th uploaded version of the artifact."""
    known: dict[str, Any] = {
        "bucket": BUCKET,
        "key": KEY,
        "version_id": f"version-{number}",
        "uploaded_at": at,
        "size_bytes": 100 + number,
        "sha256": f"{number:064x}",
        "verdict": verdict,
        "reason": "Admitted" if verdict is Verdict.ADMITTED else "SignatureMissing",
        "message": "",
        "key_id": "team" if verdict is Verdict.ADMITTED else None,
        "decided_at": at,
    }
    return ArtifactVersion(**{**known, **changes})


def head(number: int = 1, *, at: datetime = START - timedelta(hours=1)) -> ArtifactHead:
    """Give a head whose newest version is admitted and long settled."""
    admitted = version(number, at=at)
    return ArtifactHead(latest=admitted, admitted=admitted, burst_started_at=at)


def artifact(number: int = 1) -> Artifact:
    """Give the admitted n-th version."""
    found = version(number).artifact
    assert found is not None
    return found


def savepoint(number: int = 9, path: str = "s3://state/savepoints/sp", *, is_stop: bool = False) -> Checkpoint:
    """Give a completed savepoint."""
    return Checkpoint(number, path, is_savepoint=True, is_stop=is_stop)


def retained(number: int = 5, path: str = "s3://state/checkpoints/chk") -> Checkpoint:
    """Give a completed checkpoint that was kept."""
    return Checkpoint(number, path, is_savepoint=False)


class Job:
    """A job whose world a test arranges by hand, and which only the planner looks at.

    `look` plays what the services do around the planner: it carries out preparations, and records.
    """

    def __init__(self, **changes: Any) -> None:
        self.now = START
        self.spec: SpecView = valid_spec(**changes)
        self.head: ArtifactHead | None = head()
        self.pinned: Artifact | None = None
        self.cluster: Cluster | None = CLUSTER
        self.destination: Cluster | None = None
        self.cluster_fault: str | None = None
        self.unreachable: str | None = None
        self.unreachable_because = UNREACHABLE
        self.is_unasked = False
        self.is_paused = False
        self.status: JobStatus | None = None
        self.jobs: dict[str, JobSeen] = {}
        self.life: str | None = LIFE
        self.trigger: TriggerStatus | None = None
        self.checkpoints: Checkpoints | None = None
        self.second_checkpoints: Checkpoints | None = None
        self.application: ApplicationSeen | None = None
        self.second_application: ApplicationSeen | None = None
        self.vertices: tuple[Vertex, ...] | None = None
        self.root_cause: str | None = None
        self.failures: tuple[TaskFailure, ...] | None = None
        self.pressure: Pressure | None = None
        self.second_root_cause: str | None = None
        self.stored: StoredState | StorageUnreadable = StoredState(())
        self.staging_refused: StagingRefused | None = None
        self.found_states: dict[str, bool | StorageUnreadable] = {}
        """Whether state lies at a place; it does where nothing else is said."""
        self.savepoints: dict[int, SavepointRecord] = {}
        self.holders: dict[str, tuple[str, ...]] = {}
        """Other jobs that claim a place."""
        self.free_slots = 100
        self.offer: Offer | OfferUnread = Offer({}, ())
        self.revisions: dict[int, Revision | None] = {}
        self.events: dict[int, Event] = {}
        self.prepared: list[Preparation] = []
        """What the last look had to prepare."""

    # What the world does

    def show(
        self,
        state: FlinkState = FlinkState.RUNNING,
        *,
        number: int | None = None,
        name: str = JOB,
        tasks: int = 2,
        modified_ms: int = 1,
    ) -> None:
        """Let Flink list an attempt, by default the current one."""
        attempt_id = self.attempt.flink_job_id if number is None else flink_job_id("tests", JOB, number)
        self.jobs[attempt_id] = JobSeen(attempt_id, name, state, modified_ms, tasks, 2)

    def put(self, **changes: Any) -> None:
        """Write another spec."""
        self.spec = valid_spec(**changes)

    def wait(self, duration: timedelta | float) -> "Job":
        """Let time pass."""
        self.now += duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        return self

    # Looking

    def facts(self, findings: Findings | None = None) -> Facts:
        """Give what a look would see now."""
        flink: FlinkView | None
        if self.cluster is None or self.is_unasked:
            flink = None
        elif self.unreachable is not None:
            flink = FlinkUnreachable(self.unreachable, reason=self.unreachable_because)
        else:
            flink = FlinkSeen(
                dict(self.jobs),
                self.life,
                self.checkpoints,
                self.trigger,
                self.root_cause,
                second_checkpoints=self.second_checkpoints,
                second_root_cause=self.second_root_cause,
                application=self.application,
                second_application=self.second_application,
                vertices=self.vertices,
                failures=self.failures,
                pressure=self.pressure,
            )
        observation = Observation(
            cluster=self.cluster,
            flink=flink,
            cluster_fault=self.cluster_fault,
            destination=self.destination,
            artifact=self.head,
            pinned=self.pinned,
            pause=Pause(scope="all", reason="by a test") if self.is_paused else None,
        )
        return Facts(JOB, self.spec, observation, self.now, POLICY, findings or Findings())

    def draft(self) -> Draft:
        """Give the draft that a look would begin with."""
        before = self.status or JobStatus(job_id=JOB, created_at=self.now, updated_at=self.now)
        return Draft(self.facts(), before)

    def look(self, answer: Answer | None = None) -> Plan:
        """Look once: prepare what the plan asks for, and record what it says."""
        facts = self.facts(Findings(answer=answer))
        self.prepared = []
        while True:
            made = plan(facts, self.status)
            if not isinstance(made.action, Preparation):
                break
            self.prepared.append(made.action)
            assert len(self.prepared) < 20, "ever more preparations"
            facts = replace(facts, findings=replace(facts.findings, **self._prepare(facts.findings, made.action)))
        self.status = made.status
        self.events.update({event.sequence: event for event in made.events})
        self.savepoints.update({record.number: record for record in made.savepoints})
        for number in made.disposed:
            del self.savepoints[number]
        self.revisions.update({revision.number: revision for revision in made.revisions})
        return made

    def _prepare(self, known: Findings, action: Preparation) -> Mapping[str, Any]:  # noqa: C901, PLR0912  # one case an action
        match action:
            case StageJar():
                if self.staging_refused is not None:
                    return {"staging_refused": self.staging_refused}
                assert self.cluster is not None
                jar_id = f"jar-{action.artifact.sha256[-2:]}-{action.incarnation}"
                if action.void_jar_id == jar_id:
                    jar_id += "-again"
                staged = StagedJar(
                    cluster=self.cluster.name,
                    sha256=action.artifact.sha256,
                    jar_id=jar_id,
                    incarnation=action.incarnation,
                )
                return {"staged": staged}
            case LoadRevision(number=number):
                return {"revisions": {**known.revisions, number: self.revisions.get(number)}}
            case LoadRun(scheduled_at=at):
                return {"runs": {**known.runs, at: None}}
            case PruneRuns():
                return {"has_pruned_runs": True}
            case SearchState(flink_job_id=job):
                return {"stored": {**known.stored, job: self.stored}}
            case LoadSavepoints():
                return {"savepoints": tuple(self.savepoints.values())}
            case LoadHolders(path=path):
                return {"holders": {**known.holders, path: self.holders.get(path, ())}}
            case FindState(path=path):
                return {"found_states": {**known.found_states, path: self.found_states.get(path, True)}}
            case DeleteStaleJars(incarnation=incarnation):
                return {"cleared": incarnation}
            case ReleaseJar(sha256=sha256):
                return {"released": known.released | {sha256}}
            case TriggerCheckpoint(flink_job_id=job):
                return {"checkpointed": known.checkpointed | {job}}
            case ReadCheckpoints(flink_job_id=job):
                return {"checkpoints": {**known.checkpoints, job: self.checkpoints}}
            case CountFreeSlots():
                return {"free_slots": self.free_slots}
            case ReadOffer():
                return {"offer": self.offer}
            case PlanProgram(submit=submit):
                return {"planned": {**known.planned, submit.jar_id: Accepted()}}
            case _:
                assert_never(action)

    # What is known afterwards

    @property
    def known(self) -> JobStatus:
        """The recorded status."""
        assert self.status is not None
        return self.status

    @property
    def attempt(self) -> Attempt:
        """The current attempt."""
        assert self.known.attempt is not None
        return self.known.attempt

    @property
    def second(self) -> SecondLane:
        """The second lane."""
        assert self.known.second is not None
        return self.known.second

    @property
    def operation(self) -> Operation:
        """The open operation."""
        assert self.known.operation is not None
        return self.known.operation

    @property
    def lifecycle(self) -> Lifecycle:
        """Where the job is in its life."""
        return lifecycle(self.known)

    @property
    def reason(self) -> str | None:
        """What the job waits for."""
        return None if self.known.waiting is None else self.known.waiting[0]

    @property
    def told(self) -> list[str]:
        """The reasons of all events, oldest first."""
        return [self.events[sequence].reason for sequence in sorted(self.events)]

    def says(self, condition: str) -> tuple[str, str]:
        """Give status and reason of a condition."""
        found = self.known.condition(condition)
        assert found is not None, condition
        return found.status, found.reason

    # Stages of a life

    def submit(self) -> "Job":
        """Get to where an attempt's submit was just sent."""
        self.look()
        return self

    def run(self) -> "Job":
        """Get to where the attempt is live with all tasks."""
        if self.status is None or self.known.attempt is None or self.known.attempt.is_dead:
            self.submit()
        self.show()
        self.look()
        return self

    def prove(self) -> "Job":
        """Get to where the attempt is proven."""
        self.run().wait(30)
        self.checkpoints = CHECKPOINTED
        self.look()
        self.checkpoints = None
        assert self.attempt.is_proven
        return self

    def end(self, state: FlinkState, *, settle: bool = True, cause: str | None = None) -> Plan:
        """Let the attempt end, and look until what it left behind is settled."""
        self.show(state)
        self.root_cause = cause
        made = self.look()
        if settle and self.reason == "StateSettling":
            made = self.wait(5).look()
        return made


def job_tag() -> str:
    """Give the tag of the job's ids."""
    return tag("tests", JOB)
