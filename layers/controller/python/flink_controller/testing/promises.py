"""What the controller promises, checked against what really runs and what is really stored.

Nothing here trusts the controller's own view. Which copies live, whose state each one started from and what was ever
written comes from the twins; what was recorded, from the conditional writes that succeeded. Only the meaning of a start
(which revision an attempt belongs to, and whether that one had been proven) is taken from the record, because nowhere
else is it said.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flink_controller.domain.actions import Submit
from flink_controller.domain.learning import BURN_JOB_NAME
from flink_controller.domain.names import JobName, tag
from flink_controller.domain.spec import UpgradeMode
from flink_controller.domain.status import AttemptPhase, EndState, Handover, JobStatus, LaneRole, RunOutcome
from flink_controller.ports import Held
from flink_controller.testing.flink_twin import FlinkTwin, Start
from flink_controller.testing.memory_artifacts import MemoryArtifactRecords
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.storage_twin import Snapshot, StorageTwin

COUNTERS = ("attempt_counter", "operation_counter", "revision_counter", "event_counter")
SAME_EVENTS = 60
"""How often one and the same thing may be told; backoffs and deadlines keep every loop far below."""


class ViolationError(AssertionError):
    """A promise was broken; the message begins with its name."""


@dataclass
class _Job:
    """What is known of a job beside its status."""

    job_id: str
    bucket: str
    key: str
    tag: str
    revisions: dict[str, list[int]] = field(default_factory=dict)
    """By Flink job id: the revisions that an attempt was recorded under, the last one last."""
    contents: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By a revision's number: its spec's hash and its artifact's version."""
    proven: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    completed: set[str] = field(default_factory=set)
    """Flink job ids whose end was recorded as the job's own."""
    intents: set[str] = field(default_factory=set)
    triggers: dict[str, tuple[str, int]] = field(default_factory=dict)
    lanes: list[frozenset[str]] = field(default_factory=list)
    """Pairs of Flink job ids that one recorded intent names together: the two lanes of a blue-green upgrade."""
    candidates: set[str] = field(default_factory=set)
    """Flink job ids of green attempts that have not taken over."""
    needed: frozenset[str] = frozenset()
    """Savepoints and checkpoints that the record still points at."""
    instants: dict[str, datetime] = field(default_factory=dict)
    """By Flink job id: the scheduled instant of the run that an attempt was recorded for."""
    restored: Counter[str | None] = field(default_factory=Counter)
    """How often the job went back to a place that was asked for."""
    failed: set[str] = field(default_factory=set)
    """Flink job ids of runs whose attempt is on record as failed or refused, which allows another."""


class Promises:
    """Checks S1 to S10 and S12 while a run goes on, and L3 and L5 where it rests.

    Args:
        controller_id: part of every identity.
        twins: the clusters, by name; may grow.
        storage: where state lies.
        statuses: the controller's record.
        records: what was admitted.
        burn_digest: of the jar that only uses up ids.
    """

    def __init__(
        self,
        controller_id: str,
        twins: Mapping[str, FlinkTwin],
        storage: StorageTwin,
        statuses: MemoryStatuses,
        records: MemoryArtifactRecords,
        burn_digest: str,
    ) -> None:
        self._controller_id, self._burn_digest = controller_id, burn_digest
        self._twins, self._storage, self._statuses, self._records = twins, storage, statuses, records
        self._jobs: dict[str, _Job] = {}
        self._starts: list[Start] = []
        self._seen_starts: Counter[str] = Counter()
        self._seen_overlaps: Counter[str] = Counter()
        self._seen_deleted = 0
        self.bounded: set[str] = set()
        """Digests of jars that end by themselves."""
        self.by_hand: set[str] = set()
        """Flink job ids that somebody posted past the controller."""
        self.asked_origins: dict[str, dict[str, str]] = defaultdict(dict)
        """By job: places that the world asked to be restored from, by nonce."""
        self.is_key_distrusted_since: datetime | None = None

    def watch(self, job_id: str, bucket: str, key: str) -> None:
        """Hold a job to the promises."""
        self._jobs.setdefault(job_id, _Job(job_id, bucket, key, tag(self._controller_id, job_id)))

    @property
    def watched(self) -> list[str]:
        """The jobs that are held to the promises."""
        return list(self._jobs)

    def tag_of(self, job_id: str) -> str:
        """Give the mark of a job's copies on Flink."""
        return self._jobs[job_id].tag

    def forget_record(self, job_id: str) -> None:
        """Stop expecting counters to grow from where they were: an operator restored an older table."""
        found = self._jobs[job_id]
        found.triggers.clear()

    # What is recorded

    def before_commit(self, job_id: str) -> tuple[int, int] | None:
        """Remember fence and version of the stored item."""
        record = self._statuses._tables.records.get(job_id)  # noqa: SLF001  # ground truth of the twin
        return None if record is None else (record.fence, record.version)

    def committed(self, held: Held, before: tuple[int, int] | None, known: JobStatus | None, status: JobStatus) -> None:
        """Check a write that succeeded against what it replaced: S5 and S6."""
        if before != (held.fence, held.version):
            raise ViolationError(
                f"S6: {held.job_id} was written under fence and version {held.fence, held.version}; stored were {before}"
            )
        for counter in COUNTERS:
            old, new = 0 if known is None else getattr(known, counter), getattr(status, counter)
            if new < old:
                raise ViolationError(f"S5: {counter} goes back from {old} to {new}")
        job = self._jobs.get(held.job_id)
        if job is not None:
            self._learn(job, status)

    def acquired(self, held: Held, before: tuple[int, int] | None) -> None:
        """Check a lease that was taken: its fence is new."""
        if before is not None and held.fence <= before[0]:
            raise ViolationError(f"S5: the fence does not grow: {held.fence} after {before[0]}")

    def _learn(self, job: _Job, status: JobStatus) -> None:
        job.intents.update(_intents_of(status))
        for operation in (status.operation, status.leftover):
            if operation is None or not operation.trigger_id:
                continue
            identity = (str(operation.kind), operation.sequence)
            if job.triggers.setdefault(operation.trigger_id, identity) != identity:
                raise ViolationError(
                    f"S5: trigger {operation.trigger_id} is used again: {job.triggers[operation.trigger_id]}, then {identity}"
                )
        attempt, second, handover = status.attempt, status.second, status.handover
        runs = (run.attempt for run in status.runs.active)
        for found in (attempt, None if second is None else second.attempt, *runs):
            if found is not None:
                numbers = job.revisions.setdefault(found.flink_job_id, [])
                if found.revision not in numbers:
                    numbers.append(found.revision)
        if handover is not None and handover.is_end:
            ended = f"{job.tag}{handover.of_attempt:016x}"
            self._check_end(ended, handover)
            job.completed.add(ended)
        if attempt is not None and second is not None:
            job.lanes.append(frozenset({attempt.flink_job_id, second.attempt.flink_job_id}))
            if second.role is LaneRole.GREEN:
                job.candidates.add(second.attempt.flink_job_id)
            else:
                job.candidates.discard(attempt.flink_job_id)
        self._learn_runs(job, status)
        if status.stable is not None:
            job.proven.add(status.stable.number)
        if status.refused is not None:
            job.refused.add(status.refused.number)
        job.needed = frozenset(_needed_by(status))
        _learn_contents(job, status)

    def _learn_runs(self, job: _Job, status: JobStatus) -> None:
        """Learn which instant an attempt is for. S8: only a run whose own time is over expires."""
        for run in status.runs.active:
            job.instants[run.attempt.flink_job_id] = run.scheduled_at
            if run.attempt.end in {EndState.FAILED, EndState.BURNED}:
                job.failed.add(run.attempt.flink_job_id)
            is_early = run.expires_at is None or status.updated_at < run.expires_at
            if run.ending is RunOutcome.EXPIRED and is_early:
                raise ViolationError(f"S8: the run of {run.scheduled_at} is stopped before its time to live is over")

    def _check_end(self, flink_job_id: str, handover: Handover) -> None:
        """A job whose artifact never ends by itself did not complete; where that is presumed, nothing starts anew."""
        if handover.is_presumed:
            return
        ran = [start for start in self._real_starts() if start.flink_job_id == flink_job_id]
        if ran and ran[-1].jar_sha256 not in self.bounded:
            raise ViolationError(f"S3: {flink_job_id} was taken for completed, and its state for not needed any more")

    # What is asked of Flink

    def before_effect(self, method: str, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """S9: an effect carries an identity that was recorded before. S4: it claims no state for itself."""
        submit = args[0] if args and isinstance(args[0], Submit) else None
        if submit is None:
            identity = f"{method}:{kwargs.get('trigger_id') or args[0]}"
        elif submit.configuration.get("pipeline.name") == BURN_JOB_NAME:
            identity = f"burn:{submit.flink_job_id}"
        else:
            identity = f"submit:{submit.flink_job_id}:{submit.restore_from}"
        if not any(identity in job.intents for job in self._jobs.values()):
            raise ViolationError(f"S9: {identity} was not recorded before it was asked for")
        if submit is not None and any(
            "claim" in key and value != "NO_CLAIM" for key, value in submit.configuration.items() if "restore" in key
        ):
            raise ViolationError("S4: a submit claims the state it starts from")

    def check_trust(self, submit: Submit, looked_since: datetime) -> None:
        """S2: nothing is submitted by a look that began after its key was revoked."""
        is_burn = submit.configuration.get("pipeline.name") == BURN_JOB_NAME
        since = self.is_key_distrusted_since
        if since is not None and since < looked_since and not is_burn:
            raise ViolationError(f"S2: {submit.flink_job_id} was submitted after the key was revoked")

    # What really runs

    def check(self) -> None:
        """Check S1, S2, S3, S4 and S10 against ground truth."""
        for job in self._jobs.values():
            alive = self.alive(job.job_id)
            if len(alive) > 1 and not _are_apart(job, alive):
                raise ViolationError(f"S1: {len(alive)} live copies: {alive}")
        for name, twin in self._twins.items():
            for overlap in twin.overlaps[self._seen_overlaps[name] :]:
                copies = [overlap.flink_job_id, *overlap.others]
                if not any(_are_apart(job, copies) for job in self._jobs.values()):
                    raise ViolationError(f"S1: {overlap}")
                self._check_runs_side_by_side(copies)
            self._seen_overlaps[name] = len(twin.overlaps)
            history = twin.history
            for start in history[self._seen_starts[name] :]:
                self._started(start)
            self._seen_starts[name] = len(history)
        self._check_deleted()

    def alive(self, job_id: str) -> list[str]:
        """List the copies of a job that really run or will run."""
        return [copy for twin in self._twins.values() for copy in twin.live_copies(self._jobs[job_id].tag)]

    def _check_deleted(self) -> None:
        """S4: what the record still points at is there."""
        deleted = self._storage.deleted
        if len(deleted) == self._seen_deleted:
            return
        for path in list(deleted)[self._seen_deleted :]:
            for job in self._jobs.values():
                if path in job.needed and path not in self._storage.snapshots:
                    raise ViolationError(f"S4: {path} was deleted; {job.job_id} still needs it")
        self._seen_deleted = len(deleted)

    def _started(self, start: Start) -> None:
        job = next((found for found in self._jobs.values() if start.flink_job_id.startswith(found.tag)), None)
        if job is None or start.jar_sha256 == self._burn_digest:
            return
        earlier = [found for found in self._starts if found.flink_job_id.startswith(job.tag)]
        self._starts.append(start)
        if start.is_restart or start.flink_job_id in self.by_hand:
            return
        versions = self._records.versions(job.bucket, job.key)
        if start.jar_sha256 not in {version.sha256 for version in versions if version.artifact is not None}:
            raise ViolationError(f"S2: {start.jar_sha256[:12]} was started and never admitted")
        if start.flink_job_id in job.instants:
            self._check_run(job, start, earlier)
            return
        origin = self._snapshot(start.restored_from)
        if origin is not None and not origin.flink_job_id.startswith(job.tag):
            raise ViolationError(f"S10: {start.flink_job_id} started from {start.restored_from}, another job's state")
        if origin is not None and origin.flink_job_id in job.candidates:
            raise ViolationError(
                f"S3: {start.flink_job_id} started from what {origin.flink_job_id} wrote, which never took over"
            )
        main = [found for found in earlier if found.flink_job_id not in job.candidates]
        if not main or self._is_stateless(job, start) or main[-1].flink_job_id in job.completed:
            return
        if self._is_asked(job, start, main[-1]):
            return
        if start.flink_job_id in job.candidates:
            # Blue goes on meanwhile; green starts from a savepoint that blue wrote.
            if origin is None or not origin.is_savepoint or origin.flink_job_id != main[-1].flink_job_id:
                raise ViolationError(
                    f"S3: green {start.flink_job_id} started from {start.restored_from}, no savepoint of blue"
                )
            return
        self._check_state(job, start, main[-1], main)

    def _is_asked(self, job: _Job, start: Start, before: Start) -> bool:
        """Whether a start goes back to where somebody has asked it to, once for each time that was asked."""
        asked = [path for path in self.asked_origins[job.job_id].values() if path == start.restored_from]
        newest = self._newest(before, start)
        if not asked or newest is None or newest.progress <= start.progress:
            return False
        job.restored[start.restored_from] += 1
        if job.restored[start.restored_from] > len(asked):
            raise ViolationError(f"S3: {start.flink_job_id} went back to {start.restored_from} once more than was asked for")
        return True

    def _check_run(self, job: _Job, start: Start, earlier: list[Start]) -> None:
        """S7: an instant is run once, and again only after a failure on record; never more instants than `max_runs`."""
        instant = job.instants[start.flink_job_id]
        tries = [found for found in earlier if not found.is_restart and job.instants.get(found.flink_job_id) == instant]
        unfailed = [found.flink_job_id for found in tries if found.flink_job_id not in job.failed]
        if unfailed:
            raise ViolationError(f"S7: {start.flink_job_id} runs {instant} again, and {unfailed} did not fail")
        if tries:
            return
        config = self._batch_config(job, start.flink_job_id)
        instants = {job.instants[found.flink_job_id] for found in (*earlier, start) if found.flink_job_id in job.instants}
        if len(instants) > config.get("max_runs", len(instants)):
            raise ViolationError(f"S7: {len(instants)} runs of {config['max_runs']}")

    def _check_runs_side_by_side(self, copies: list[str]) -> None:
        """S7: runs of a job are side by side only where the spec of one of them allows it."""
        for job in self._jobs.values():
            runs = [copy for copy in copies if copy in job.instants]
            policies = {self._batch_config(job, copy).get("overlap_policy") for copy in runs}
            if len(runs) > 1 and "allow" not in policies:
                raise ViolationError(f"S7: {runs} are side by side, and the spec does not allow it")

    def _batch_config(self, job: _Job, flink_job_id: str) -> Mapping[str, Any]:
        revision = self._statuses.revision(job.job_id, job.revisions.get(flink_job_id, [0])[-1])
        return {} if revision is None else revision.spec.get("batch_config") or {}

    def _check_state(self, job: _Job, start: Start, before: Start, earlier: list[Start]) -> None:
        """S3: a start goes on from its predecessor's newest state; a way back, from the newest that was proven good."""
        number = self._revision(job, start)
        good = [found for found in earlier if {number, *job.proven} & set(job.revisions.get(found.flink_job_id, []))]
        newest, newest_good = self._newest(before, start), self._newest(good[-1], start) if good else None
        is_back = number < self._revision(job, before)
        is_failed = not self._is_good(job, before, number) and self._revision(job, before) in job.refused
        if is_back:
            _require(start, newest_good)
            writer = self._snapshot(start.restored_from)
            numbers = set() if writer is None else set(job.revisions.get(writer.flink_job_id, []))
            if numbers and not numbers & {number, *job.proven}:
                raise ViolationError(f"S3: {start.flink_job_id} went back, and started from what revision {numbers} wrote")
        elif is_failed:
            # Where a newer spec takes over from a revision that was refused, either line of state is a predecessor's.
            _require(start, min((newest, newest_good), key=lambda found: -1 if found is None else found.progress))
        else:
            _require(start, newest)

    def _is_good(self, job: _Job, found: Start, number: int) -> bool:
        return bool({number, *job.proven} & set(job.revisions.get(found.flink_job_id, [])))

    def _revision(self, job: _Job, start: Start) -> int:
        numbers = job.revisions.get(start.flink_job_id, [0])
        return numbers[-1]

    def _newest(self, of: Start, before: Start) -> Snapshot | None:
        """Give the newest state that a copy has written, or else what it had begun with.

        Flink deletes the checkpoints of a job that ends by itself: where nobody saw that end, nothing tells it from a loss.
        """
        written = [
            found
            for found in (*self._storage.snapshots.values(), *self._storage.deleted.values())
            if found.flink_job_id == of.flink_job_id
            and found.completed_at <= before.at
            and (of.jar_sha256 not in self.bounded or found.path in self._storage.snapshots)
        ]
        # By number: a job that Flink took back to an older checkpoint goes on from there, and has less progress for a while.
        own = max(written, key=lambda found: (found.checkpoint_id, found.progress), default=None)
        return own if own is not None else self._snapshot(of.restored_from)

    def _snapshot(self, path: str | None) -> Snapshot | None:
        return None if path is None else self._storage.snapshots.get(path) or self._storage.deleted.get(path)

    def _is_stateless(self, job: _Job, start: Start) -> bool:
        revision = self._statuses.revision(job.job_id, self._revision(job, start))
        deployment = {} if revision is None else revision.spec.get("deployment") or {}
        return deployment.get("upgrade_mode") == UpgradeMode.STATELESS

    def _real_starts(self) -> Iterator[Start]:
        for twin in self._twins.values():
            yield from (start for start in twin.history if start.jar_sha256 != self._burn_digest)

    # Where a run rests

    def check_rest(self, job_id: str) -> None:
        """L3: no outcome is open any more. L5: nothing was told over and over."""
        status = self._statuses.read(job_id)
        if status is None:
            return
        attempt = status.attempt
        if attempt is not None and attempt.phase in {AttemptPhase.SUBMITTING, AttemptPhase.BURNING}:
            raise ViolationError(f"L3: {attempt.flink_job_id} is still {attempt.phase}")
        for run in status.runs.active:
            if run.attempt.phase in {AttemptPhase.SUBMITTING, AttemptPhase.BURNING}:
                raise ViolationError(f"L3: {run.attempt.flink_job_id} is still {run.attempt.phase}")
        on_record = [run for run in self._statuses.runs(job_id, 10_000) if run.outcome is RunOutcome.RUNNING]
        if len(on_record) != len(status.runs.active):
            raise ViolationError(f"L3: {len(on_record)} runs are Running on record, {len(status.runs.active)} in the status")
        self._check_quota(JobName.parse(job_id).namespace)
        if status.second is not None:
            raise ViolationError(f"L3: {status.second.attempt.flink_job_id} is still beside the main lane")
        if status.disposal is not None:
            raise ViolationError(f"L3: the removal of {status.disposal.path} is still open")
        if status.operation is not None:
            raise ViolationError(f"L3: {status.operation.kind} for {status.operation.purpose} is still open")
        for (reason, message), count in self.told(job_id).items():
            if count > SAME_EVENTS:
                raise ViolationError(f"L5: '{reason}: {message}' was told {count} times")

    def _check_quota(self, namespace: str) -> None:
        """L3: the counts that a namespace's quotas look at are those of its active runs, and of what its jobs hold."""
        found = [self._statuses.read(other) for other in self._jobs if JobName.parse(other).namespace == namespace]
        held = [status.reserved for status in found if status is not None and status.reserved is not None]
        active = sum(len(status.runs.active) for status in found if status is not None)
        wanted = {"active_runs": active, "jobs": len(held), "slots": sum(reserved.slots for reserved in held)}
        taken = self._statuses._tables.taken.get(namespace, Counter())  # noqa: SLF001  # ground truth of the twin
        if any(taken[name] != count for name, count in wanted.items()):
            raise ViolationError(f"L3: {namespace} has {wanted}, and {dict(taken)} is counted")

    def told(self, job_id: str, where: Callable[[str], bool] = bool) -> Counter[tuple[str, str]]:
        """Count what was told of a job, by reason and message, for reasons that pass a test."""
        found: Counter[tuple[str, str]] = Counter()
        for event in self._statuses.events(job_id, limit=10_000):
            if where(event.reason):
                found[event.reason, event.message] += event.count
        return found


def _are_lanes(job: _Job, copies: list[str]) -> bool:
    """Whether copies are the two lanes of one job, named together by a recorded intent."""
    return len(copies) == len(set(copies)) and any(set(copies) <= lanes for lanes in job.lanes)


def _learn_contents(job: _Job, status: JobStatus) -> None:
    """S5: a revision's number stands for one content, whatever was restored."""
    for ref in filter(None, (status.desired, status.running)):
        content = (ref.spec_hash, ref.artifact.version_id)
        if job.contents.setdefault(ref.number, content) != content:
            raise ViolationError(f"S5: number {ref.number} is given to another revision: {content}")


def _are_apart(job: _Job, copies: list[str]) -> bool:
    """Whether copies are in lanes of their own: the two of a blue-green upgrade, or runs of different instants."""
    instants = [job.instants.get(copy) for copy in copies]
    return _are_lanes(job, copies) or (None not in instants and len(set(instants)) == len(copies))


def _require(start: Start, state: Snapshot | None) -> None:
    if state is None:
        return
    if start.restored_from is None or start.progress < state.progress:
        raise ViolationError(
            f"S3: {start.flink_job_id} started at {start.progress} from {start.restored_from}; {state.path} holds"
            f" {state.progress}"
        )


def _intents_of(status: JobStatus) -> Iterator[str]:
    second = status.second
    for attempt in (status.attempt, None if second is None else second.attempt):
        if attempt is not None:
            yield f"submit:{attempt.flink_job_id}:{attempt.restore_from}"
            if attempt.phase is AttemptPhase.BURNING:
                yield f"burn:{attempt.flink_job_id}"
                # A burn that lives is ended.
                yield f"cancel:{attempt.flink_job_id}"
                yield f"cancel_application:{attempt.application_id}"
    for run in status.runs.active:
        yield f"submit:{run.attempt.flink_job_id}:{run.attempt.restore_from}"
        if run.attempt.phase is AttemptPhase.BURNING:
            yield f"burn:{run.attempt.flink_job_id}"
            yield f"cancel_application:{run.attempt.application_id}"
            yield f"cancel:{run.attempt.flink_job_id}"
        if run.ending is not None and run.cancel_requested_at is not None:
            yield f"cancel:{run.attempt.flink_job_id}"
    if second is not None and second.cancel_requested_at is not None:
        yield f"cancel:{second.attempt.flink_job_id}"
    if status.disposal is not None:
        yield f"dispose:{status.disposal.path}"
    for operation in (status.operation, status.leftover):
        if operation is not None:
            yield f"{operation.kind}:{operation.trigger_id}"
            yield f"{operation.kind}:{operation.flink_job_id}"


def _needed_by(status: JobStatus) -> Iterator[str]:
    attempt, handover = status.attempt, status.handover
    if handover is not None and handover.path is not None and attempt is not None and handover.of_attempt == attempt.number:
        yield handover.path
    if attempt is not None and not attempt.is_dead and attempt.restore_from is not None:
        yield attempt.restore_from
    yield from filter(None, (status.stable_state, status.green_state))
    if status.savepoint is not None:
        yield status.savepoint.path
    if status.restored is not None:
        yield from filter(None, (status.restored.path, status.restored.kept))
    yield from status.claims
