"""Faults seeded into the protocol, each of which some story must show.

A mutant replaces one rule by what somebody in a hurry might have written. It is installed with pytest's monkeypatch for as
long as stories are told; the simulation is worth something only if every mutant breaks a promise somewhere.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from flink_controller.domain import (
    backup,
    batch,
    blue_green,
    handover,
    intents,
    learning,
    planning,
    quarantine,
    reserving,
    restoring,
    retention,
    submitting,
)
from flink_controller.domain.actions import Action, Burn, Effect, StageJar
from flink_controller.domain.artifact import jar_name
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.names import tag, trigger_id
from flink_controller.domain.observation import (
    Accepted,
    Answer,
    Checkpoint,
    NoAnswer,
    RefusalKind,
    Refused,
    StorageUnreadable,
    StoredState,
)
from flink_controller.domain.plan import Draft, Facts, Plan, Policy, living, with_findings
from flink_controller.domain.spec import BatchConfig, JobSpec, ValidSpec
from flink_controller.domain.status import (
    ActiveRun,
    Attempt,
    AttemptPhase,
    DesiredState,
    EndState,
    Handover,
    JobStatus,
    OperationKind,
    PendingRun,
    RevisionRef,
    RunOutcome,
    SavepointRecord,
    StagedJar,
)
from flink_controller.ports import Commit, FlinkGateway, Held, Ports
from flink_controller.services import apply, observe, reconcile, stage_jar
from flink_controller.testing import random_worlds
from flink_controller.testing.faults import FaultKind, applies
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.random_worlds import draw
from flink_controller.testing.scenarios import SCENARIOS, run
from flink_controller.testing.simulator import Fault, ViolationError
from tests.simulation.enumerate import BY_NAME

Install = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Hint:
    """Where to look first."""

    story: str
    kind: FaultKind | None = None
    second: FaultKind | None = None
    """A fault at one of the points after it."""


@dataclass(frozen=True)
class Worlds:
    """Random worlds to look at first."""

    seeds: range


@dataclass(frozen=True)
class Mutant:
    """A seeded fault."""

    name: str
    install: Install
    hints: tuple[Hint | Worlds, ...]


@dataclass(frozen=True)
class Caught:
    """What showed a mutant."""

    story: str
    faults: tuple[Fault, ...]
    violation: str
    runs: int

    @property
    def promise(self) -> str:
        """The promise that was broken."""
        return self.violation.partition(":")[0]

    @property
    def told(self) -> str:
        """The story and its faults, in one line."""
        faults = " and ".join(f"'{fault.kind}' at {fault.at}" for fault in self.faults)
        return f"{self.story}{', ' if faults else ''}{faults}"


MUTANTS: list[Mutant] = []


def _mutant(name: str, *hints: Hint | Worlds) -> Callable[[Install], Install]:
    def register(install: Install) -> Install:
        MUTANTS.append(Mutant(name, install, hints))
        return install

    return register


def catch(mutant: Mutant, limit: int = 1500) -> Caught | None:
    """Tell stories until one of them shows a mutant that is installed; None: none did within so many runs."""
    others = tuple(Hint(scenario.__name__, kind) for kind in FaultKind for scenario in SCENARIOS)
    for runs, (story, faults, violation) in enumerate(_tellings((*mutant.hints, *others)), start=1):
        if violation is not None:
            return Caught(story, faults, violation, runs)
        if runs >= limit:
            return None
    return None


def _tellings(hints: Iterable[Hint | Worlds]) -> Iterator[tuple[str, tuple[Fault, ...], str | None]]:
    for hint in hints:
        if isinstance(hint, Worlds):
            for seed in hint.seeds:
                yield f"random world {seed}", (), random_worlds.violation(draw(seed))
        else:
            for faults in _faults(hint):
                yield hint.story, faults, _violation(hint.story, faults)


def _violation(story: str, faults: Sequence[Fault]) -> str | None:
    try:
        run(BY_NAME[story], *faults)
    except ViolationError as error:
        return str(error)
    return None


def _faults(hint: Hint) -> list[tuple[Fault, ...]]:
    """Give what to try for a hint. The points are those of the mutant's own telling."""
    if hint.kind is None:
        return [()]
    try:
        points = run(BY_NAME[hint.story]).points
    except ViolationError:
        return [()]
    found: list[tuple[Fault, ...]] = []
    for at, point in enumerate(points, start=1):
        if not applies(hint.kind, point):
            continue
        first = Fault(at, hint.kind)
        if hint.second is None:
            found.append((first,))
        else:
            found += [(first, Fault(later, hint.second)) for later in range(at + 1, at + 20)]
    return found


# The store


@_mutant("commit without the fence condition", Worlds(range(200)))
def _no_fence(patch: pytest.MonkeyPatch) -> None:
    commit = MemoryStatuses.commit

    def mutated(self: MemoryStatuses, held: Held, made: Commit, *, release: bool) -> Held:
        record = self._tables.records.get(held.job_id)
        return commit(self, held if record is None else replace(held, fence=record.fence), made, release=release)

    patch.setattr(MemoryStatuses, "commit", mutated)


@_mutant("commit without any condition: the last writer wins", Hint("upgrade_by_spec", FaultKind.OVERTAKE))
def _no_condition(patch: pytest.MonkeyPatch) -> None:
    commit = MemoryStatuses.commit

    def mutated(self: MemoryStatuses, held: Held, made: Commit, *, release: bool) -> Held:
        record = self._tables.records.get(held.job_id)
        if record is not None:
            held = replace(held, fence=record.fence, version=record.version)
        return commit(self, held, made, release=release)

    patch.setattr(MemoryStatuses, "commit", mutated)


@_mutant("a lease without a new fence", Hint("first_deploy"))
def _same_fence(patch: pytest.MonkeyPatch) -> None:
    acquire = MemoryStatuses.acquire

    def mutated(self: MemoryStatuses, job_id: str, **kwargs: Any) -> Held:
        held = acquire(self, job_id, **kwargs)
        record = self._tables.records[job_id]
        self._tables.records[job_id] = replace(record, fence=max(1, record.fence - 1))
        return replace(held, fence=max(1, held.fence - 1))

    patch.setattr(MemoryStatuses, "acquire", mutated)


@_mutant("decide from an index, which is a write behind", Hint("first_deploy"), Hint("upgrade_by_spec"))
def _from_index(patch: pytest.MonkeyPatch) -> None:
    acquire, commit = MemoryStatuses.acquire, MemoryStatuses.commit
    behind: dict[tuple[int, str], JobStatus | None] = {}

    def write(self: MemoryStatuses, held: Held, made: Commit, *, release: bool) -> Held:
        behind[id(self), held.job_id] = held.status
        return commit(self, held, made, release=release)

    def read(self: MemoryStatuses, job_id: str, **kwargs: Any) -> Held:
        return replace(acquire(self, job_id, **kwargs), status=behind.get((id(self), job_id)))

    patch.setattr(MemoryStatuses, "commit", write)
    patch.setattr(MemoryStatuses, "acquire", read)


@_mutant("what is under way is forgotten between looks", Hint("upgrade_by_spec"))
def _operation_forgotten(patch: pytest.MonkeyPatch) -> None:
    _planned(patch, before=lambda _, status: None if status is None else status.model_copy(update={"operation": None}))


# Intent and effect


@_mutant("act before the intent is recorded", Hint("first_deploy"))
def _act_first(patch: pytest.MonkeyPatch) -> None:
    record, carry_out = reconcile._record, apply.carry_out
    pending: list[tuple[Any, ...]] = []

    def later(*args: Any) -> Held:
        pending.append(args)
        held: Held = args[1]
        return replace(held, status=args[2])

    def act(ports: Ports, policy: Policy, cluster: Cluster, effect: Effect) -> Answer:
        answer = carry_out(ports, policy, cluster, effect)
        record(*pending.pop())
        return answer

    patch.setattr(reconcile, "_record", later)
    patch.setattr(reconcile, "carry_out", act)


@_mutant("a random Flink job id instead of the counter", Hint("first_deploy"), Hint("upgrade_by_spec"))
def _random_id(patch: pytest.MonkeyPatch) -> None:
    drawn = itertools.count()

    def mutated(controller_id: str, job_id: str, _: int) -> str:
        return tag(controller_id, job_id) + hashlib.sha256(str(next(drawn)).encode()).hexdigest()[:16]

    patch.setattr(submitting, "flink_job_id", mutated)


@_mutant("a fresh attempt for every resend", Hint("slow_main"), Hint("slow_main", FaultKind.CRASH_AFTER))
def _new_id_at_once(patch: pytest.MonkeyPatch) -> None:
    def also(draft: Draft) -> None:
        attempt = draft.status.attempt
        is_open = attempt is not None and attempt.phase is AttemptPhase.SUBMITTING
        if is_open and isinstance(draft.facts.findings.answer, NoAnswer):
            learning.die(draft, EndState.LOST)

    _learning_more(patch, also)


@_mutant("a trigger id that is used again", Hint("savepoint_twice"))
def _same_trigger(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intents, "trigger_id", lambda job, kind, _: trigger_id(job, kind, 0))


@_mutant("a savepoint's directory is not remembered", Hint("upgrade_by_spec", FaultKind.RESTART_JOBMANAGER))
def _no_directory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(intents, "remember_directory", lambda *_: None)


# The advance rule


@_mutant("trust the 202 of a cancel", Hint("last_state_upgrade"))
def _trust_202(patch: pytest.MonkeyPatch) -> None:
    def also(draft: Draft) -> None:
        operation = draft.status.operation
        is_cancel = operation is not None and operation.kind is OperationKind.CANCEL
        if is_cancel and isinstance(draft.facts.findings.answer, Accepted) and living(draft.status) is not None:
            learning.die(draft, EndState.CANCELED)

    _learning_more(patch, also)


@_mutant("no quarantine", Hint("jobmanager_restarts"))
def _no_quarantine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Policy, "quarantine", lambda *_: timedelta(0))


@_mutant(
    "a quarantine that counts from the last look at the old JobManager", Hint("cluster_away"), Hint("jobmanager_restarts")
)
def _early_quarantine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Policy, "quarantine", lambda *_: timedelta(seconds=20))


@_mutant(
    "a quarantine that leaves jars where they are",
    Hint("jobmanager_restarts_with_kept_jars", FaultKind.LAND_LONG_AFTER_RESTART),
)
def _jars_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply, "is_stale_jar", lambda *_, **__: False)


@_mutant("a refusal proves that nothing runs", Hint("first_deploy", FaultKind.DENY))
def _trust_400(patch: pytest.MonkeyPatch) -> None:
    def also(draft: Draft) -> None:
        attempt, answer = draft.status.attempt, draft.facts.findings.answer
        is_refusal = isinstance(answer, Refused) and answer.kind is not RefusalKind.DUPLICATE
        if is_refusal and attempt is not None and attempt.phase is not AttemptPhase.DEAD:
            learning.die(draft, EndState.BURNED)

    _learning_more(patch, also)


@_mutant(
    "an absence counts without a second look at the incarnation",
    Hint("jobmanager_restarts_with_kept_jars", FaultKind.RESTART_JOBMANAGER),
)
def _one_look(patch: pytest.MonkeyPatch) -> None:
    def mutated(gateway: FlinkGateway, _: Cluster, job_tag: str, *__: object) -> Any:
        before = gateway.config().incarnation
        return observe._ours(gateway, job_tag), before

    patch.setattr(observe, "_list", mutated)


@_mutant("an absence is a death, whatever the incarnation", Hint("jobmanager_restarts"))
def _absence_is_death(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(quarantine, "is_in_question", lambda *_: False)

    def mutated(draft: Draft, attempt: Attempt, _: str) -> None:
        if attempt.phase is AttemptPhase.LIVE:
            learning.die(draft, EndState.UNKNOWN)

    patch.setattr(learning, "_absent", mutated)


@_mutant("an unwanted submit is not burned", Hint("suspend_during_deploy"), Hint("delete_during_deploy"))
def _no_burn(patch: pytest.MonkeyPatch) -> None:
    def after(made: Plan) -> Plan:
        if not isinstance(made.action, Burn) or made.status.attempt is None:
            return made
        dead = made.status.attempt.model_copy(update={"phase": AttemptPhase.DEAD, "end": EndState.BURNED})
        return replace(made, status=made.status.model_copy(update={"attempt": dead}), action=None)

    _planned(patch, after=after)


@_mutant("leftovers are ignored", Hint("suspended_with_a_leftover"))
def _no_leftovers(patch: pytest.MonkeyPatch) -> None:
    strays = planning._strays
    patch.setattr(planning, "_strays", lambda draft: [one for one in strays(draft) if one[0] > draft.status.attempt_counter])


@_mutant("a higher number on Flink is not minded", Hint("record_older_than_the_cluster"))
def _ahead_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(planning, "_strays", lambda _: [])


@_mutant("a restore does not read what attempts say of themselves", Hint("restored_from_before_an_upgrade"))
def _unread_stamps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backup, "read_stamp", lambda *_: None)


@_mutant("a restore minds only what still runs", Hint("restored_after_an_end"))
def _only_live(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(backup, "_has_run", lambda one: not one.job.state.is_terminal)


@_mutant(
    "an id is sent again to another JobManager", Hint("first_deploy", FaultKind.CRASH_AFTER, FaultKind.RESTART_JOBMANAGER)
)
def _any_incarnation(patch: pytest.MonkeyPatch) -> None:
    is_in_question = quarantine.is_in_question

    def mutated(draft: Draft, attempt: Attempt) -> bool:
        return attempt.phase is not AttemptPhase.SUBMITTING and is_in_question(draft, attempt)

    patch.setattr(quarantine, "is_in_question", mutated)


# State


@_mutant("completed, says a statistic from before the stop", Hint("upgrade_by_spec", FaultKind.EXPIRE_TRIGGERS))
def _stale_statistics(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(handover, "STATISTICS_AGE", timedelta(0))


@_mutant("unreadable storage is empty storage", Hint("state_storage_away"))
def _unreadable_is_empty(patch: pytest.MonkeyPatch) -> None:
    prepare = apply.prepare

    def mutated(*args: Any) -> Facts:
        facts = prepare(*args)
        stored = {
            job: StoredState(()) if isinstance(found, StorageUnreadable) else found
            for job, found in facts.findings.stored.items()
        }
        return with_findings(facts, stored=stored)

    patch.setattr(reconcile, "prepare", mutated)


@_mutant("a rollback starts from what the failed revision wrote", Hint("upgrade_crash_loops"))
def _rollback_from_failed(patch: pytest.MonkeyPatch) -> None:
    start_state = handover.start_state

    def mutated(draft: Draft, spec: JobSpec) -> str | None:
        known = draft.status.handover
        return start_state(draft, spec) if known is None or draft.status.refused is None else known.path

    patch.setattr(handover, "start_state", mutated)


@_mutant("the oldest state instead of the newest", Hint("savepoint_twice"))
def _oldest(patch: pytest.MonkeyPatch) -> None:
    choose: Callable[..., Handover | StorageUnreadable] = handover._choose

    def mutated(*args: Any) -> Handover | StorageUnreadable:
        *others, stored = args
        found: list[Checkpoint] = sorted(stored.checkpoints, key=lambda one: one.id)[:1]
        return choose(*others, StoredState(tuple(found)))

    patch.setattr(handover, "_choose", mutated)


@_mutant("a deleted job's state is forgotten", Hint("delete_and_rewrite"))
def _forget_deleted(patch: pytest.MonkeyPatch) -> None:
    def before(facts: Facts, status: JobStatus | None) -> JobStatus | None:
        is_gone = status is not None and status.desired_state is DesiredState.DELETED and living(status) is None
        if status is None or not is_gone or not isinstance(facts.spec, ValidSpec):
            return status
        return status.model_copy(update={"attempt": None, "handover": None})

    _planned(patch, before=before)


@_mutant("the attempt counter begins again after a delete", Hint("delete_and_rewrite"))
def _reset_counter(patch: pytest.MonkeyPatch) -> None:
    def after(made: Plan) -> Plan:
        if made.status.desired_state is not DesiredState.DELETED or living(made.status) is not None:
            return made
        return replace(made, status=made.status.model_copy(update={"attempt_counter": 0}))

    _planned(patch, after=after)


@_mutant("blue is still wanted after green took over", Hint("blue_green_upgrade", FaultKind.FAIL))
def _both_wanted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(blue_green, "_is_wanted", lambda *_: True)


@_mutant("green starts from nothing", Hint("blue_green_upgrade"))
def _green_is_empty(patch: pytest.MonkeyPatch) -> None:
    open_attempt = submitting.open_attempt

    def mutated(draft: Draft, *args: Any, restore_from: str | None) -> Attempt:
        is_green = living(draft.status) is not None
        return open_attempt(draft, *args, restore_from=None if is_green else restore_from)

    patch.setattr(submitting, "open_attempt", mutated)


# Bytes and keys


@_mutant("the newest object's bytes instead of the pinned version's", Hint("object_overwritten_while_away"))
def _latest_bytes(patch: pytest.MonkeyPatch) -> None:
    def mutated(ports: Ports, policy: Policy, cluster: Cluster, action: StageJar) -> StagedJar:
        latest = ports.objects.latest(action.artifact.bucket, action.artifact.key)
        assert latest is not None
        gateway = ports.flink.connect(cluster)
        name = jar_name(action.incarnation, action.artifact.sha256, policy.controller_id)
        with ports.objects.open(latest.bucket, latest.key, latest.version_id) as stream:
            jar_id = gateway.upload_jar(name, stream, latest.size_bytes)
        return StagedJar(cluster=cluster.name, sha256=action.artifact.sha256, jar_id=jar_id, incarnation=action.incarnation)

    patch.setattr(apply, "stage_jar", mutated)


@_mutant("the key is not asked for again at a submit", Hint("key_revoked"))
def _no_distrust(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(stage_jar, "distrust", lambda *_: None)


# Words and wishes


@_mutant("a savepoint nonce is not remembered", Hint("savepoint_once"))
def _savepoint_again(patch: pytest.MonkeyPatch) -> None:
    _planned(patch, after=lambda made: replace(made, status=made.status.model_copy(update={"savepoint_nonce": None})))


@_mutant("a restart nonce is not remembered", Hint("restart_once"))
def _restart_again(patch: pytest.MonkeyPatch) -> None:
    _planned(patch, after=lambda made: replace(made, status=made.status.model_copy(update={"restart_nonce": None})))


@_mutant("every look at a cluster that is away tells of it", Hint("cluster_away_and_told_once"))
def _flood(patch: pytest.MonkeyPatch) -> None:
    def before(_: Facts, status: JobStatus | None) -> JobStatus | None:
        if status is None:
            return None
        others = tuple(found for found in status.conditions if found.type != "ClusterReachable")
        return status.model_copy(update={"conditions": others})

    _planned(patch, before=before)


def _planned(
    patch: pytest.MonkeyPatch,
    *,
    before: Callable[[Facts, JobStatus | None], JobStatus | None] = lambda _, status: status,
    after: Callable[[Plan], Plan] = lambda made: made,
) -> None:
    plan = planning.plan
    patch.setattr(reconcile, "plan", lambda facts, status: after(plan(facts, before(facts, status))))


def _learning_more(patch: pytest.MonkeyPatch, also: Callable[[Draft], None]) -> None:
    learn = learning.learn

    def mutated(draft: Draft) -> None:
        learn(draft)
        also(draft)

    patch.setattr(learning, "learn", mutated)


# Batch jobs


@_mutant("a run whose end nobody saw is tried again", Hint("lost_run"))
def _lost_is_failed(patch: pytest.MonkeyPatch) -> None:
    end = batch._end

    def mutated(draft: Draft, run: ActiveRun, outcome: RunOutcome, reason: str, message: str = "") -> None:
        if outcome is RunOutcome.LOST and run.retries_left:
            batch._failed(draft, run, reason, message)
        else:
            end(draft, run, outcome, reason, message)

    patch.setattr(batch, "_end", mutated)


@_mutant("an instant that was decided on is decided on again", Hint("scheduled_runs"))
def _decided_again(patch: pytest.MonkeyPatch) -> None:
    due = batch._due

    def mutated(draft: Draft, config: BatchConfig, why: str) -> tuple[datetime, ...]:
        decided = draft.status.runs.decided_until
        found = due(draft, config, why)
        draft.set_runs(decided_until=decided)
        return found

    patch.setattr(batch, "_due", mutated)
    patch.setattr(MemoryStatuses, "_demand_room", lambda *_: None)


@_mutant("runs are not counted", Hint("scheduled_runs"), Hint("overlapping_runs"))
def _uncounted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(batch, "_is_used_up", lambda *_: False)


@_mutant("a run starts beside another, whatever the policy", Hint("replaced_runs"))
def _no_overlap_policy(patch: pytest.MonkeyPatch) -> None:
    def beside(draft: Draft, config: BatchConfig, pending: tuple[PendingRun, ...]) -> tuple[PendingRun, ...]:
        return policed(draft, config.model_copy(update={"overlap_policy": "allow"}), pending)

    def start(draft: Draft, spec: JobSpec, revision: RevisionRef) -> Action | None:
        config = spec.batch_config.model_copy(update={"overlap_policy": "allow"})
        return begin(draft, spec.model_copy(update={"batch_config": config}), revision)

    policed, begin = batch._policed, batch._start
    patch.setattr(batch, "_policed", beside)
    patch.setattr(batch, "_start", start)


@_mutant("the end of a run gives no place back", Hint("scheduled_runs"))
def _place_kept(patch: pytest.MonkeyPatch) -> None:
    _planned(patch, after=lambda made: replace(made, ended_runs=0))


@_mutant("one run's time to live stops the others", Hint("expiring_run"), Hint("overlapping_runs"))
def _all_expire(patch: pytest.MonkeyPatch) -> None:
    limit = batch._limit

    def mutated(draft: Draft, run: ActiveRun) -> None:
        limit(draft, run)
        batch._ask_to_end(draft, draft.run or run, RunOutcome.EXPIRED, batch.TIMES_OUT)

    patch.setattr(batch, "_limit", mutated)


@_mutant("a job starts where its namespace may not", Hint("cluster_disallowed"))
def _anywhere(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submitting, "_is_allowed", lambda *_: True)


@_mutant("a quota holds nobody back", Hint("quota_of_slots"))
def _no_quota(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reserving, "reserve", lambda *_: True)


@_mutant("a job at rest keeps its place", Hint("quota_of_slots"))
def _hoard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "kept", lambda status, *_: status.reserved)


@_mutant("a restore is forgotten once it has begun", Hint("restore_from_an_older_one"))
def _restore_again_and_again(patch: pytest.MonkeyPatch) -> None:
    honour = restoring.begin

    def begin(draft: Draft) -> None:
        known = draft.status.restore_nonce
        honour(draft)
        draft.set(restore_nonce=known)

    patch.setattr(restoring, "begin", begin)


@_mutant("a restore that does not start begins anew", Hint("restore_that_does_not_start"))
def _restore_or_nothing(patch: pytest.MonkeyPatch) -> None:
    honour = restoring.begin

    def begin(draft: Draft) -> None:
        honour(draft)
        assert draft.status.restored is not None
        draft.set(restored=draft.status.restored.model_copy(update={"path": "s3://state/nowhere", "kept": None}))

    def halt(draft: Draft, *_: str) -> None:
        assert draft.attempt is not None
        draft.set(handover=Handover(path=None, of_attempt=draft.attempt.number))

    patch.setattr(restoring, "begin", begin)
    patch.setattr(handover, "halt", halt)


@_mutant("a savepoint that is still needed is removed", Hint("older_ones_are_removed"))
def _needed_or_not(patch: pytest.MonkeyPatch) -> None:
    def everything(records: Sequence[SavepointRecord], *_: object) -> tuple[SavepointRecord, ...]:
        return tuple(reversed(records))

    patch.setattr(retention, "surplus", everything)
    patch.setattr(retention, "is_needed", lambda *_: False)


@_mutant("a removal is asked for before it is on record", Hint("older_ones_are_removed"))
def _removed_unrecorded(patch: pytest.MonkeyPatch) -> None:
    begin = retention._begin

    def mutated(draft: Draft, record: SavepointRecord) -> object:
        action = begin(draft, record)
        draft.set(disposal=None)
        return action

    patch.setattr(retention, "_begin", mutated)
