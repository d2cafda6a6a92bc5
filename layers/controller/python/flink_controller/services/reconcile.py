"""Bring one job one step, or several quick ones, towards what its spec says.

A step: lease → read → observe → plan → record the intent → effect → observe → record. The lease saves work; what makes
this safe is that every write is conditional on fence and version, that every effect's intent is recorded before it, and
that every effect is idempotent by the identity in its intent. Wherever this process dies, the next look finds out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from flink_controller.domain.actions import CancelApplication, DisposeSavepoint, Effect
from flink_controller.domain.errors import (
    FlinkUnreachableError,
    LeaseTakenError,
    QuotaExceededError,
    RejectedError,
    RunTakenError,
    StaleWriteError,
)
from flink_controller.domain.names import JobName
from flink_controller.domain.observation import FlinkUnreachable
from flink_controller.domain.plan import Facts, Findings, Plan, Policy, fitted, revisions_in_use
from flink_controller.domain.planning import plan
from flink_controller.domain.reserving import kept
from flink_controller.domain.spec import NoSpec, ValidSpec, read_spec
from flink_controller.domain.status import Event, JobStatus, Revision, Run, SavepointRecord, StagedJar
from flink_controller.domain.trust import Quotas
from flink_controller.ports import MAX_FOLLOW_UP_DELAY, STATUS_LIMIT_BYTES, Commit, Held, Ports
from flink_controller.services.apply import carry_out, prepare
from flink_controller.services.gate import Gate
from flink_controller.services.observe import Clusters, observe, observe_artifacts

PATIENCE = timedelta(seconds=4)
"""How long a look waits in the function for what Flink does quickly; longer waits go to the queue."""
MAX_STEPS = 200
"""Steps of one look; far above what any path needs, so that a fault of ours cannot spin."""
LEASE = timedelta(seconds=30)
"""How long others leave a job alone: longer than any usual look, short enough that a look that died is soon made up for.
A look that takes longer (a large jar) may be overtaken, which costs work and is safe.
"""
STATUS_ROOM_BYTES = STATUS_LIMIT_BYTES - 1024
"""What the document may take of a status item; the rest is for its summary, its lease and its indexes."""
BUSY_DELAY = timedelta(seconds=3)
"""Before a wake-up that found the lease taken is tried again."""


class Outcome(StrEnum):
    """What became of a wake-up."""

    RECORDED = "recorded"
    UNCHANGED = "unchanged"
    BUSY = "busy"
    """Somebody else is looking; the wake-up was sent again."""
    OVERTAKEN = "overtaken"
    """Somebody else has written; the wake-up was sent again."""
    UNKNOWN_JOB = "unknown job"


@dataclass
class _Unrecorded:
    """What earlier steps of a look have learned and not yet recorded."""

    events: dict[int, Event] = field(default_factory=dict)
    revisions: dict[int, Revision] = field(default_factory=dict)
    jar: StagedJar | None = None
    started_runs: tuple[Run, ...] = ()
    runs: dict[datetime, Run] = field(default_factory=dict)
    ended_runs: int = 0
    forgotten: set[int] = field(default_factory=set)
    savepoints: dict[int, SavepointRecord] = field(default_factory=dict)
    disposed: set[int] = field(default_factory=set)

    def take(self, made: Plan) -> None:
        self.events.update({event.sequence: event for event in made.events})
        self.revisions.update({revision.number: revision for revision in made.revisions})
        self.jar = made.jar or self.jar
        self.started_runs += made.started_runs
        self.runs.update({run.scheduled_at: run for run in made.runs})
        self.ended_runs += made.ended_runs
        self.forgotten.update(made.forgotten)
        self.savepoints.update({savepoint.number: savepoint for savepoint in made.savepoints})
        self.disposed.update(made.disposed)

    def commit(self, status: JobStatus) -> Commit:
        done = Commit(
            status,
            tuple(self.revisions.values()),
            tuple(self.events.values()),
            self.jar,
            self.started_runs,
            tuple(self.runs.values()),
            self.ended_runs,
            forgotten=tuple(sorted(self.forgotten - revisions_in_use(status))),
            savepoints=tuple(found for found in self.savepoints.values() if found.number not in self.disposed),
            disposed=tuple(sorted(self.disposed)),
        )
        self.events, self.revisions, self.jar = {}, {}, None
        self.started_runs, self.runs, self.ended_runs, self.forgotten = (), {}, 0, set()
        self.savepoints, self.disposed = {}, set()
        return done


def reconcile_jobs(ports: Ports, policy: Policy, job_ids: Iterable[str], *, owner: str, until: datetime) -> list[str]:
    """Look at several jobs within a time budget; hand what does not fit to the queue.

    Args:
        ports: the world.
        policy: the installation's numbers.
        job_ids: whom to look at; each once.
        owner: names this invocation in leases.
        until: no look is begun after this.

    Returns:
        The jobs that were handed on.
    """
    late = []
    for job_id in dict.fromkeys(job_ids):
        if ports.clock.now() >= until:
            late.append(job_id)
            continue
        reconcile_job(ports, policy, job_id, owner=owner)
    if late:
        ports.follow_ups.send_now(late)
    return late


def _nobody(_commit: Commit) -> None:
    """Tell nobody."""


def reconcile_job(
    ports: Ports, policy: Policy, job_id: str, *, owner: str, told: Callable[[Commit], None] = _nobody
) -> Outcome:
    """Look at one job and do what its plan says.

    Args:
        ports: the world.
        policy: the installation's numbers.
        job_id: whom to look at.
        owner: names this invocation in leases.
        told: is given everything that this look records, once it is written.

    Raises:
        TransientError: a store or the queue does not answer; the wake-up should be delivered again.
    """
    now = ports.clock.now()
    try:
        held = ports.statuses.acquire(job_id, owner=owner, now=now, until=now + LEASE)
    except LeaseTakenError as taken:
        left = max(taken.until - now, timedelta(0))
        # A holder that lives is soon done; one that died is waited for in growing steps.
        ports.follow_ups.send(job_id, min(max(LEASE - left, BUSY_DELAY), max(left, BUSY_DELAY)))
        return Outcome.BUSY
    try:
        return _look(ports, policy, held, owner=owner, told=told)
    except StaleWriteError:
        ports.follow_ups.send(job_id, BUSY_DELAY)
        return Outcome.OVERTAKEN


def _look(ports: Ports, policy: Policy, held: Held, *, owner: str, told: Callable[[Commit], None]) -> Outcome:
    job_id, recorded = held.job_id, held.status
    spec = read_spec(job_id, ports.specs.read(job_id))
    if recorded is None and isinstance(spec, NoSpec):
        ports.statuses.release(held)
        return Outcome.UNKNOWN_JOB
    artifacts, clusters = observe_artifacts(ports, policy, spec, recorded), Clusters(ports.registry)
    gate, has_acted = Gate(ports.circuits, job_id, owner), False
    planned_look = None if recorded is None else recorded.next_look
    began = ports.clock.now()
    status, unrecorded, findings = recorded, _Unrecorded(), Findings()
    for _ in range(MAX_STEPS):
        observation = observe(ports, policy, clusters, gate, job_id=job_id, spec=spec, artifacts=artifacts, status=status)
        facts = Facts(job_id, spec, observation, ports.clock.now(), policy, findings)
        made, facts = _prepared_plan(ports, policy, gate, facts, status)
        if isinstance(made.action, Effect) and has_acted and gate.pause_now() is not None:
            # Paused since the last effect of this look. What was planned is dropped; planned anew, it is left undone.
            continue
        status, findings = (
            made.status,
            replace(facts.findings, answer=None, answer_to=None, found_states={}, savepoints=None, holders={}),
        )
        unrecorded.take(made)
        if isinstance(made.action, Effect):
            assert facts.observation.cluster is not None
            try:
                held = _record(ports, held, status, unrecorded, told)
            except (RunTakenError, QuotaExceededError) as refusal:
                # Nothing was written: planned anew, from what is recorded and with what was found out.
                status, findings = recorded, _without_run(findings, refusal)
                continue
            recorded = held.status
            answer = carry_out(ports, policy, facts.observation.cluster, made.action)
            findings, has_acted = replace(findings, answer=answer, answer_to=_subject(made.action)), True
            continue
        wait = None if made.next_look is None else made.next_look - ports.clock.now()
        if wait is None or ports.clock.now() + wait > began + PATIENCE:
            break
        ports.clock.sleep(max(wait, timedelta(0)))
    assert status is not None
    parallelism = spec.spec.deployment.parallelism if isinstance(spec, ValidSpec) else 1
    reserved = kept(status, recorded, facts.observation.policy, parallelism)
    return _finish(
        ports,
        held,
        status.model_copy(update={"next_look": made.next_look, "reserved": reserved}),
        recorded,
        unrecorded,
        planned_look,
        told,
    )


def _subject(effect: Effect) -> str:
    """Say which Flink job an answer is about; a main() that is cancelled has none that matters."""
    if isinstance(effect, DisposeSavepoint):
        return effect.path
    return effect.application_id if isinstance(effect, CancelApplication) else effect.flink_job_id


def _without_run(findings: Findings, refusal: RunTakenError | QuotaExceededError) -> Findings:
    """Take it in that a run could not be recorded as new."""
    if isinstance(refusal, QuotaExceededError):
        return replace(findings, no_place=str(refusal))
    return replace(findings, runs_taken=findings.runs_taken | {refusal.scheduled_at})


def _prepared_plan(ports: Ports, policy: Policy, gate: Gate, facts: Facts, status: JobStatus | None) -> tuple[Plan, Facts]:
    """Plan, carrying out preparations until the plan asks for an effect or for nothing."""
    for _ in range(MAX_STEPS):
        made = plan(facts, status)
        if made.action is None or isinstance(made.action, Effect):
            return made, facts
        try:
            facts = prepare(ports, policy, facts, made.action)
        except FlinkUnreachableError as error:
            gate.unanswered(ports.clock.now(), error)
            facts = replace(
                facts, observation=replace(facts.observation, flink=FlinkUnreachable(str(error), reason=error.reason))
            )
    raise AssertionError(f"the plan for {facts.job_id} asks for ever more preparations")


def _record(ports: Ports, held: Held, status: JobStatus, unrecorded: _Unrecorded, told: Callable[[Commit], None]) -> Held:
    """Record an intent. Its effect comes after, never before."""
    stamped = fitted(status.model_copy(update={"updated_at": ports.clock.now()}), STATUS_ROOM_BYTES)
    # While the effect is under way the recorded look is now: should this process die, the next tick wakes the job.
    commit = unrecorded.commit(stamped.model_copy(update={"next_look": stamped.updated_at}))
    if any(change > 0 for change in commit.takes(held.status).values()):
        commit = replace(commit, quotas=_quotas(ports, held.job_id))
    held = ports.statuses.commit(held, commit, release=False)
    told(commit)
    return held


def _quotas(ports: Ports, job_id: str) -> Quotas:
    """Read what the job's namespace may have; while nobody can say, nothing is started."""
    try:
        return ports.registry.policy(JobName.parse(job_id).namespace).quotas
    except RejectedError as error:
        raise QuotaExceededError(f"the quota is not known: {error}") from error


def _finish(
    ports: Ports,
    held: Held,
    status: JobStatus,
    recorded: JobStatus | None,
    unrecorded: _Unrecorded,
    planned: datetime | None,
    told: Callable[[Commit], None],
) -> Outcome:
    now, status = ports.clock.now(), fitted(status, STATUS_ROOM_BYTES)
    is_unchanged = recorded is not None and status.model_copy(update={"updated_at": recorded.updated_at}) == recorded
    if is_unchanged:
        ports.statuses.release(held)
    else:
        # No run starts here: the start of one is an effect's intent.
        commit = unrecorded.commit(status.model_copy(update={"updated_at": now}))
        ports.statuses.commit(held, commit, release=True)
        told(commit)
    # One chain of wake-ups a job: a look adds one only if none is under way that comes early enough. What is farther off than
    # the queue can wait is left to the tick of the fleet, rather than looked at in between for nothing.
    is_first = planned is None or planned <= now or (status.next_look is not None and status.next_look < planned)
    if status.next_look is not None and is_first and status.next_look - now <= MAX_FOLLOW_UP_DELAY:
        ports.follow_ups.send(held.job_id, max(status.next_look - now, timedelta(0)))
    return Outcome.UNCHANGED if is_unchanged else Outcome.RECORDED
