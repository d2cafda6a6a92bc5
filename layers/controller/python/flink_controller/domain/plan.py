"""What goes into a decision and what comes out of it, and the draft in which it is made."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from flink_controller.domain.actions import Action
from flink_controller.domain.alerts import GUIDES, Alert, meaning
from flink_controller.domain.artifact import Artifact
from flink_controller.domain.artifact_retention import VersionRetention
from flink_controller.domain.names import namespace_of_key
from flink_controller.domain.observation import (
    Answer,
    ApplicationSeen,
    Checkpoints,
    FlinkSeen,
    JobSeen,
    Observation,
    Offer,
    OfferUnread,
    StorageUnreadable,
    StoredState,
)
from flink_controller.domain.run_arguments import rendered
from flink_controller.domain.spec import JobSpec, SpecView, ValidSpec, recorded_spec
from flink_controller.domain.status import (
    ActiveRun,
    Attempt,
    AttemptPhase,
    DesiredState,
    Event,
    Incident,
    JobStatus,
    JobType,
    Revision,
    RevisionRef,
    Run,
    SavepointRecord,
    StagedJar,
)

MESSAGE_LIMIT = 400
"""Characters of a message kept in a status: each look writes it anew, and pays by its size."""


@dataclass(frozen=True)
class Policy:
    """Numbers that are the installation's, not the job's."""

    controller_id: str
    artifact_bucket: str = ""
    namespace_buckets: Mapping[str, str] = field(default_factory=dict)
    """Buckets of namespaces that have one of their own, by namespace."""
    debounce: timedelta = timedelta(seconds=5)
    submit_timeout: timedelta = timedelta(seconds=120)
    function_timeout: timedelta = timedelta(seconds=60)
    quarantine_margin: timedelta = timedelta(seconds=10)
    sample_calls: int = 20
    """Detail calls on a cluster in one tick of the fleet; 0: vital signs are not read at all."""
    revision_history_limit: int = 50
    """Revisions of a job that are kept beside those that are still in use."""
    version_retention: VersionRetention = field(default_factory=VersionRetention)
    """Records of an artifact's versions that are kept beside those that are still in use."""

    def bucket_of(self, key: str) -> str:
        """Give the one bucket that an artifact's key is looked up in: its namespace's own, or the installation's."""
        return self.namespace_buckets.get(namespace_of_key(key) or "", self.artifact_bucket)

    def quarantine(self, heartbeat_timeout_s: float) -> timedelta:
        """How long an orphan may live, or a late submit be under way, after a JobManager was lost."""
        return max(timedelta(seconds=heartbeat_timeout_s), self.function_timeout) + self.quarantine_margin


@dataclass(frozen=True)
class StagingRefused:
    """The bytes cannot be brought to the cluster; says why."""

    reason: str
    message: str


@dataclass(frozen=True)
class Findings:
    """What preparations and answers have brought to light during this invocation; never recorded as such."""

    staged: StagedJar | None = None
    staging_refused: StagingRefused | None = None
    revisions: dict[int, Revision | None] = field(default_factory=dict)
    stored: dict[str, StoredState | StorageUnreadable] = field(default_factory=dict)
    planned: dict[str, Answer] = field(default_factory=dict)
    """What Flink said to the plan of a jar's program, by jar id."""
    found_states: dict[str, bool | StorageUnreadable] = field(default_factory=dict)
    """Whether a savepoint or checkpoint lies at a place."""
    savepoints: tuple[SavepointRecord, ...] | None = None
    """Records of all savepoints; None: not read."""
    holders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Jobs whose specs name a place."""
    cleared: str | None = None
    """Incarnation in which our stale jars are known to be gone."""
    released: frozenset[str] = frozenset()
    checkpoints: dict[str, Checkpoints | None] = field(default_factory=dict)
    """Of jobs whose newest checkpoint is to serve, if it is young enough."""
    free_slots: int | None = None
    offer: Offer | OfferUnread | None = None
    """What the cluster that the job is to start on has for it."""
    checkpointed: frozenset[str] = frozenset()
    """Jobs that were asked for a checkpoint."""
    answer: Answer | None = None
    """To the last effect."""
    answer_to: str | None = None
    """Flink job id that the last effect was about."""
    runs: dict[datetime, Run | None] = field(default_factory=dict)
    """Records of runs that were read."""
    runs_taken: frozenset[datetime] = frozenset()
    """Instants that have a record already, found when a run was to be recorded as new."""
    no_place: str = ""
    """Why the namespace may start nothing further now; empty while nothing is known against it."""
    has_pruned_runs: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything that a decision rests on."""

    job_id: str
    spec: SpecView
    observation: Observation
    now: datetime
    policy: Policy
    findings: Findings = Findings()


@dataclass(frozen=True)
class Plan:
    """A decision: what to record, at most one thing to do, and when to look again."""

    status: JobStatus
    events: tuple[Event, ...] = ()
    revisions: tuple[Revision, ...] = ()
    jar: StagedJar | None = None
    started_runs: tuple[Run, ...] = ()
    """Runs that are new: each takes a place of the namespace's quota, and must not be on record."""
    runs: tuple[Run, ...] = ()
    """Other records of runs."""
    ended_runs: int = 0
    """Places of the quota that are given back."""
    forgotten: tuple[int, ...] = ()
    """Revisions that are kept no longer."""
    savepoints: tuple[SavepointRecord, ...] = ()
    """Records of savepoints, new or changed."""
    disposed: tuple[int, ...] = ()
    """Savepoints that are gone, with their records."""
    action: Action | None = None
    next_look: datetime | None = None


class Draft:
    """A plan in the making. The only mutable thing in the domain; it never leaves `plan`."""

    def __init__(self, facts: Facts, status: JobStatus) -> None:
        self.facts = facts
        self.before = status
        self.status = status
        self.events: list[Event] = []
        self.revisions: list[Revision] = []
        self.jar: StagedJar | None = None
        self.started_runs: list[Run] = []
        self.runs: dict[datetime, Run] = {}
        self.ended_runs = 0
        self.savepoints: dict[int, SavepointRecord] = {}
        self.disposed: list[int] = []
        self.look_at: datetime | None = None
        self.is_on_second_lane = False
        """Which lane `attempt`, `set_attempt` and `checkpoints` speak of."""
        self.run_at: datetime | None = None
        self.asked_by = ""
        """Scheduled instant of the run whose lane they speak of."""

    @property
    def now(self) -> datetime:
        """The time of this look."""
        return self.facts.now

    @property
    def seen(self) -> FlinkSeen | None:
        """The cluster's view, if it answered."""
        flink = self.facts.observation.flink
        return flink if isinstance(flink, FlinkSeen) else None

    def job(self, flink_job_id: str) -> JobSeen | None:
        """Find one of our jobs in the list."""
        return None if self.seen is None else self.seen.jobs.get(flink_job_id)

    def set(self, **changes: Any) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    @property
    def attempt(self) -> Attempt | None:
        """The attempt of the lane at hand."""
        if self.run_at is not None:
            return None if self.run is None else self.run.attempt
        if self.is_on_second_lane:
            return None if self.status.second is None else self.status.second.attempt
        return self.status.attempt

    @property
    def run(self) -> ActiveRun | None:
        """The run whose lane is at hand."""
        return next((run for run in self.status.runs.active if run.scheduled_at == self.run_at), None)

    @property
    def answer(self) -> Answer | None:
        """What Flink answered to the last effect, if that was about the lane at hand."""
        findings = self.facts.findings
        is_ours = findings.answer_to is None or (
            self.attempt is not None and self.attempt.flink_job_id == findings.answer_to
        )
        return findings.answer if is_ours else None

    @property
    def checkpoints(self) -> Checkpoints | None:
        """What was read of the checkpoints of the lane's attempt."""
        if self.seen is None or self.run_at is not None:
            return None
        return self.seen.second_checkpoints if self.is_on_second_lane else self.seen.checkpoints

    @property
    def application(self) -> ApplicationSeen | None:
        """What was seen of the main() of the lane's attempt, where it runs by itself."""
        if self.seen is None:
            return None
        if self.run is not None:
            return self.seen.run_applications.get(self.run.attempt.flink_job_id)
        return self.seen.second_application if self.is_on_second_lane else self.seen.application

    @property
    def root_cause(self) -> str | None:
        """Why the lane's attempt failed, if that was read."""
        if self.seen is None:
            return None
        if self.run is not None:
            return self.seen.run_causes.get(self.run.attempt.flink_job_id)
        return self.seen.second_root_cause if self.is_on_second_lane else self.seen.root_cause

    def set_attempt(self, **changes: Any) -> None:
        """Change fields of the attempt of the lane at hand."""
        assert self.attempt is not None
        changed = self.attempt.model_copy(update=changes)
        if self.run_at is not None:
            self.set_run(attempt=changed)
        elif self.is_on_second_lane:
            assert self.status.second is not None
            self.set(second=self.status.second.model_copy(update={"attempt": changed}))
        else:
            self.set(attempt=changed)

    def set_runs(self, **changes: Any) -> None:
        """Change what is kept of the runs."""
        self.set(runs=self.status.runs.model_copy(update=changes))

    def set_run(self, **changes: Any) -> None:
        """Change fields of the run whose lane is at hand."""
        assert self.run is not None
        changed = self.run.model_copy(update=changes)
        self.set_runs(active=tuple(changed if run.scheduled_at == self.run_at else run for run in self.status.runs.active))

    @contextmanager
    def lane_of(self, run: ActiveRun) -> Iterator[None]:
        """Speak of a run's lane for a while."""
        self.run_at = run.scheduled_at
        try:
            yield
        finally:
            self.run_at = None

    @contextmanager
    def asked(self, by: str) -> Iterator[None]:
        """Tell for a while what somebody has asked for."""
        self.asked_by = by
        try:
            yield
        finally:
            self.asked_by = ""

    @contextmanager
    def second_lane(self) -> Iterator[None]:
        """Speak of the second lane for a while."""
        self.is_on_second_lane = True
        try:
            yield
        finally:
            self.is_on_second_lane = False

    def wait(self, reason: str, message: str, until: datetime | None = None) -> None:
        """Say what the job waits for; the first reason found is the one to tell."""
        if self.status.waiting is None:
            self.set(waiting=(reason, bounded(message)))
        if until is not None:
            self.look(until)

    def look(self, at: datetime) -> None:
        """Look again at a time, or earlier."""
        self.look_at = at if self.look_at is None else min(self.look_at, at)

    def event(self, reason: str, message: str = "", *, warning: bool = False, of: RevisionRef | None = None) -> None:
        """Tell a transition of the current attempt, or of a revision. The same one again raises its count."""
        attempt = self.attempt
        number = None if self.status.desired is None else self.status.desired.number
        event = Event(
            sequence=self.status.event_counter + 1,
            time=self.now,
            type="Warning" if warning else "Normal",
            reason=reason,
            message=bounded(message),
            revision=of.number if of is not None else attempt.revision if attempt is not None else number,
            attempt=None if attempt is None or of is not None else attempt.number,
            by=self.asked_by,
        )
        last = self.status.last_event
        if last is not None and _same(last, event):
            event = last.model_copy(update={"time": event.time, "count": last.count + 1})
            self.events = [other for other in self.events if other.sequence != last.sequence]
        else:
            event = self._with_incidents(event)
        self.events.append(event)
        # With what it begins and ends: its record is written again with each repetition, and may be published once more.
        self.set(event_counter=event.sequence, last_event=event)

    def _with_incidents(self, event: Event) -> Event:
        """Open the incident that an event begins, unless it is open already, or close those that it ends."""
        says, known = meaning(event.reason, warning=event.type == "Warning"), self.status.incidents
        opened = None
        # A run that is tried again has not failed yet.
        is_retry = self.status.job_type is JobType.BATCH and says.opens is Alert.JOB_FAILED
        if says.opens is not None and not is_retry and says.opens not in {incident.alert for incident in known}:
            opened = Incident(alert=says.opens, is_told=GUIDES[says.opens].switch not in self.status.muted)
        closed = tuple(incident for incident in known if incident.alert in says.closes)
        left = tuple(incident for incident in known if incident not in closed)
        self.set(incidents=left if opened is None else (*left, opened))
        return event.model_copy(update={"opens": opened, "closes": closed})

    def record_revision(self, spec: ValidSpec, ref: RevisionRef) -> None:
        """Record an accepted spec with its artifact."""
        self.revisions.append(
            Revision(
                job_id=self.facts.job_id,
                number=ref.number,
                created_at=self.now,
                spec_hash=spec.spec_hash,
                spec=spec.spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
                artifact=ref.artifact,
            )
        )

    def spec_of(self, revision: RevisionRef) -> JobSpec | None:
        """Give a revision's spec: the item's own when it is the one accepted last, or as loaded; None: load it."""
        spec = self._spec_of(self.standing_for(revision))
        if spec is None or self.run is None:
            return spec
        return rendered(spec, self.run, self.run_args)

    def standing_for(self, revision: RevisionRef) -> RevisionRef:
        """Give the revision whose spec is on record: where its own is lost, what runs is saved and ended by the newest."""
        return revision if revision.is_recorded else self.status.desired or revision

    @property
    def run_args(self) -> tuple[str, ...]:
        """Arguments of the run at hand alone: of the wish if it stands in the item still, else as recorded."""
        run, view = self.run, self.facts.spec
        if run is None or run.nonce is None:
            return ()
        wish = view.spec.batch_config.run_now if isinstance(view, ValidSpec) else None
        if wish is not None and wish.nonce == run.nonce:
            return wish.args
        known = self.facts.findings.runs.get(run.scheduled_at)
        return () if known is None else known.args

    def _spec_of(self, revision: RevisionRef) -> JobSpec | None:
        view = self.facts.spec
        if isinstance(view, ValidSpec) and view.revision_hash == revision.spec_hash:
            return view.spec
        for made in self.revisions:
            if made.number == revision.number:
                return recorded_spec(made)
        loaded = self.facts.findings.revisions.get(revision.number)
        return None if loaded is None else recorded_spec(loaded)

    def _forgotten(self) -> tuple[int, ...]:
        """Give the revisions that fell out of the history with this plan: by age, or by their last use."""
        last = self.status.revision_counter - self.facts.policy.revision_history_limit
        by_age = set(range(self.before.revision_counter + 1, self.status.revision_counter + 1))
        old = {number - self.facts.policy.revision_history_limit for number in by_age}
        unused = {number for number in revisions_in_use(self.before) if number <= last}
        return tuple(sorted(number for number in (old | unused) - revisions_in_use(self.status) if number > 0))

    def finish(self, action: Action | None = None) -> Plan:
        """Close the draft."""
        return Plan(
            status=self.status,
            events=tuple(self.events),
            revisions=tuple(self.revisions),
            jar=self.jar,
            started_runs=tuple(self.started_runs),
            runs=tuple(self.runs.values()),
            ended_runs=self.ended_runs,
            forgotten=self._forgotten(),
            savepoints=tuple(self.savepoints.values()),
            disposed=tuple(self.disposed),
            action=action,
            next_look=self.look_at,
        )


def revisions_in_use(status: JobStatus) -> frozenset[int]:
    """Give the numbers of the revisions that a job may still run or go back to, however old they are."""
    second, operation = status.second, status.operation
    refs = (
        status.desired,
        status.running,
        status.stable,
        None if second is None else second.revision,
        None if operation is None else operation.revision,
        *(run.revision for run in status.runs.active),
        status.runs.served,
    )
    return frozenset(ref.number for ref in refs if ref is not None)


def is_ahead(status: JobStatus) -> bool:
    """Whether a revision runs that is newer than all on record: the record came back from a backup."""
    running, desired = status.running, status.desired
    return running is not None and not running.is_recorded and (desired is None or desired.number < running.number)


def target_of(status: JobStatus) -> RevisionRef | None:
    """Tell which revision should run: the desired one, or the stable one once the desired one was refused.

    What runs ahead of the record stays until a newer revision was made of the spec: nothing goes back to an older one.
    """
    if is_ahead(status):
        return status.running
    if status.desired is not None and status.refused is not None and status.refused.number == status.desired.number:
        return status.stable
    return status.desired


def wants_running(status: JobStatus) -> bool:
    """Whether a job should be on Flink at all."""
    return status.desired_state is DesiredState.RUNNING and not status.is_completed and status.halted is None


def bounded(message: str) -> str:
    """Cut a message to what a status can hold."""
    return cut(message, MESSAGE_LIMIT)


def cut(text: str, length: int) -> str:
    """Cut a text to some characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def fitted(status: JobStatus, limit_bytes: int) -> JobStatus:
    """Shorten a status's messages until it fits; identities, paths and counters are never touched.

    A status is far below the limit unless long paths and long messages meet. The full texts are in the events.
    """
    for length in (None, 160, 80, 40, 20):
        if length is not None:
            status = _shortened(status, length)
        if len(dumped(status)) <= limit_bytes:
            break
    return status


def dumped(status: JobStatus) -> bytes:
    """Write a status as it is stored: what has its default is left out."""
    return status.model_dump_json(exclude_defaults=True).encode()


def _shortened(status: JobStatus, length: int) -> JobStatus:
    def shortened(text: str | None) -> str | None:
        return None if text is None else cut(text, length)

    def with_cuts(value: Any, *names: str) -> Any:
        return None if value is None else value.model_copy(update={name: shortened(getattr(value, name)) for name in names})

    second = status.second
    return status.model_copy(
        update={
            "conditions": tuple(with_cuts(condition, "message") for condition in status.conditions),
            "symptoms": tuple(with_cuts(symptom, "message") for symptom in status.symptoms),
            "waiting": None if status.waiting is None else (status.waiting[0], cut(status.waiting[1], length)),
            "halted": shortened(status.halted),
            "refused": with_cuts(status.refused, "message"),
            "attempt": with_cuts(status.attempt, "refusal", "root_cause"),
            "second": None
            if second is None
            else second.model_copy(update={"attempt": with_cuts(second.attempt, "refusal", "root_cause")}),
            "operation": with_cuts(status.operation, "last_failure"),
            "last_event": with_cuts(status.last_event, "message"),
            "runs": status.runs.model_copy(
                update={
                    "last": with_cuts(status.runs.last, "message"),
                    "active": tuple(
                        run.model_copy(update={"attempt": with_cuts(run.attempt, "refusal", "root_cause")})
                        for run in status.runs.active
                    ),
                }
            ),
        }
    )


def living(status: JobStatus) -> Attempt | None:
    """Give the attempt that is not known to be dead."""
    return status.attempt if status.attempt is not None and not status.attempt.is_dead else None


def is_watched(status: JobStatus) -> bool:
    """Whether the vital signs of a job count: it is to run, and its attempt is of a revision that was healthy once."""
    attempt = living(status)
    if attempt is None or attempt.phase is not AttemptPhase.LIVE or not wants_running(status):
        return False
    return attempt.is_proven or (status.stable is not None and status.stable.number == attempt.revision)


def attempts_of(status: JobStatus) -> tuple[Attempt, ...]:
    """Give the attempt of every lane."""
    second = None if status.second is None else status.second.attempt
    main = tuple(attempt for attempt in (status.attempt, second) if attempt is not None)
    return (*main, *(run.attempt for run in status.runs.active))


def living_of(status: JobStatus) -> tuple[Attempt, ...]:
    """Give the attempts, of whatever lane, that are not known to be dead."""
    return tuple(attempt for attempt in attempts_of(status) if not attempt.is_dead)


def running_artifacts(status: JobStatus) -> tuple[Artifact, ...]:
    """Give the bytes that living attempts run, those of a candidate that has not taken over left out."""
    main = () if living(status) is None or status.running is None else (status.running.artifact,)
    return (*main, *(run.revision.artifact for run in status.runs.active if not run.attempt.is_dead))


def with_findings(facts: Facts, **changes: Any) -> Facts:
    """Give the same facts with more findings."""
    return replace(facts, findings=replace(facts.findings, **changes))


def _same(one: Event, other: Event) -> bool:
    return (one.type, one.reason, one.message, one.revision, one.attempt, one.by) == (
        other.type,
        other.reason,
        other.message,
        other.revision,
        other.attempt,
        other.by,
    )
