"""The heart: from a spec, a status and an observation to what to record and at most one thing to do.

`plan` is pure and total. It first takes in what is wanted (`acceptance`) and what was seen (`learning`), then takes the
one step that leads on. Every effect is preceded by its intent: the status that `plan` returns beside an effect must be
recorded before the effect is carried out. A crash anywhere is followed by looking again, and the same rules find out
what happened from the recorded intent and the cluster's list.
"""

from datetime import datetime, timedelta

from flink_controller.domain import acceptance, conditions, handover, health, learning
from flink_controller.domain.actions import (
    Action,
    Burn,
    Cancel,
    DeleteStaleJars,
    LoadRevision,
    Preparation,
    ReleaseJar,
    StageJar,
    StopWithSavepoint,
    Submit,
    TriggerSavepoint,
)
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.configuration import flink_configuration
from flink_controller.domain.names import JobName, attempt_number, flink_job_id, tag, trigger_id
from flink_controller.domain.observation import (
    FlinkUnreachable,
    JobSeen,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    TriggerCompleted,
    TriggerFailed,
    TriggerUnknown,
)
from flink_controller.domain.plan import Draft, Facts, Plan, bounded, living, target_of, wants_running
from flink_controller.domain.spec import JobSpec, UpgradeMode, ValidSpec
from flink_controller.domain.status import (
    Attempt,
    AttemptPhase,
    DesiredState,
    JobStatus,
    Operation,
    OperationKind,
    Quarantine,
    RevisionRef,
    Savepoint,
)

POLL_FIRST = timedelta(milliseconds=40)
"""First wait for something that Flink usually does at once; half of what a stop of tiny state takes."""
POLL_LAST = timedelta(seconds=15)
"""Longest wait between two looks at something under way."""
UNREACHABLE_LOOK = timedelta(seconds=30)
"""Between two looks at a cluster that does not answer; the tick of the fleet finds it as well."""
RESEND = timedelta(seconds=5)
"""Before a request without visible effect is repeated under the same identity."""
RETRY_STOP = timedelta(seconds=10)
"""Between two tries of a savepoint that failed."""
BLOCKED_LOOK = timedelta(seconds=60)
"""Between two looks at what only a person, or an outage's end, can change."""
MAX_BACKOFF = timedelta(hours=1)
KEPT_DIRECTORIES = 5
"""Directories of operations that are searched for a lost savepoint: the last good one and four later tries."""


def plan(facts: Facts, status: JobStatus | None) -> Plan:
    """Decide what to do about a job.

    Returns:
        The status to record, the events and revisions that belong to it, at most one action, and when to look again.
        An effect among the actions must not be carried out before the status is recorded.
    """
    before = status or JobStatus(job_id=facts.job_id, created_at=facts.now, updated_at=facts.now)
    draft = Draft(facts, before.model_copy(update={"waiting": None}))
    conditions.assess_inputs(draft)
    acceptance.accept(draft)
    learning.learn(draft)
    action = _step(draft)
    conditions.assess_outcome(draft)
    return draft.finish(action)


def _step(draft: Draft) -> Action | None:
    observation = draft.facts.observation
    if observation.is_paused:
        draft.wait("Paused", "the controller is paused for this job; it is only watched", draft.now + BLOCKED_LOOK)
        return None
    if observation.cluster is None:
        return _without_cluster(draft)
    if draft.seen is None:
        cause = observation.flink.cause if isinstance(observation.flink, FlinkUnreachable) else "it was not asked"
        if draft.status.desired_state is DesiredState.ABANDONED:
            return _abandon(draft)
        draft.wait("ClusterUnreachable", f"cluster {observation.cluster.name}: {cause}", draft.now + UNREACHABLE_LOOK)
        return None
    strays = _strays(draft)
    if any(number > draft.status.attempt_counter for number, _ in strays):
        _ahead(draft, max(number for number, _ in strays))
        return None
    for _, job in strays:
        if not job.state.is_terminal:
            return _cancel_leftover(draft, job)
    draft.set(leftover=None)
    attempt = living(draft.status)
    return _at_rest(draft) if attempt is None else _with_attempt(draft, attempt, observation.cluster)


def _with_attempt(draft: Draft, attempt: Attempt, cluster: Cluster) -> Action | None:
    """Go on with the attempt that is not known to be dead."""
    assert draft.seen is not None
    if attempt.cluster != cluster.name:
        draft.look(draft.now)
        return None
    if draft.job(attempt.flink_job_id) is None and draft.seen.incarnation is None:
        # The JobManager changed while it was read: nothing may be concluded from this look.
        draft.wait("ClusterRestarting", "the JobManager restarted during this look", draft.now + timedelta(seconds=1))
        return None
    if _is_in_question(draft, attempt):
        return _quarantine(draft, attempt)
    match attempt.phase:
        case AttemptPhase.SUBMITTING:
            return _submitting(draft, attempt)
        case AttemptPhase.BURNING:
            return _burning(draft, attempt)
        case _:
            return _live(draft, attempt)


# The cluster


def _without_cluster(draft: Draft) -> Action | None:
    attempt, fault = living(draft.status), draft.facts.observation.cluster_fault
    if fault is not None:
        draft.wait("ClusterMalformed", fault, draft.now + BLOCKED_LOOK)
        return None
    if draft.status.desired_state in {DesiredState.DELETED, DesiredState.ABANDONED}:
        return _abandon(draft)
    name = draft.status.cluster if attempt is None else attempt.cluster
    if name or draft.status.desired is not None:
        draft.wait(
            "ClusterUnknown",
            f"no cluster {name} is registered; an operator adds it with flinkctl cluster add {name}",
            draft.now + BLOCKED_LOOK,
        )
    return None


def _abandon(draft: Draft) -> Action | None:
    """End a delete that cannot end. The attempt stays what it is: forgetting an id does not make it dead."""
    attempt = living(draft.status)
    if attempt is not None and draft.status.halt_reason != "Abandoned":
        draft.set(halted=f"abandoned while {attempt.flink_job_id} was not known to be dead", halt_reason="Abandoned")
        draft.event("Abandoned", f"{attempt.flink_job_id} may still run on {attempt.cluster}", warning=True)
    return None


def _strays(draft: Draft) -> list[tuple[int, JobSeen]]:
    """Our jobs on the cluster that are not the current attempt, by number."""
    assert draft.seen is not None
    job_tag = tag(draft.facts.policy.controller_id, draft.facts.job_id)
    current = draft.status.attempt.flink_job_id if draft.status.attempt is not None else None
    found = []
    for job in draft.seen.jobs.values():
        number = attempt_number(job_tag, job.flink_job_id)
        if number is not None and job.flink_job_id != current:
            found.append((number, job))
    return found


def _ahead(draft: Draft, number: int) -> None:
    draft.wait(
        "AttemptAhead",
        f"Flink lists attempt {number} of this job, and the record counts only {draft.status.attempt_counter}: the state table"
        " is older than the cluster (restored from a backup?); nothing is touched until the counter is raised",
        draft.now + BLOCKED_LOOK,
    )


def _cancel_leftover(draft: Draft, job: JobSeen) -> Action | None:
    """A job of ours that nothing names any more must not run beside the current one."""
    draft.wait("LeftoverRunning", f"cancelling {job.flink_job_id}, left over from an earlier attempt", draft.now + RESEND)
    known = draft.status.leftover
    if known is not None and known.flink_job_id == job.flink_job_id:
        if draft.now < known.requested_at + RESEND:
            draft.look(draft.now + _poll(draft.now - known.started_at))
            return None
        draft.set(leftover=known.model_copy(update={"requested_at": draft.now}))
        return Cancel(job.flink_job_id)
    draft.set(leftover=_operation(draft, OperationKind.CANCEL, job.flink_job_id, "leftover"))
    draft.event("LeftoverFound", f"{job.flink_job_id} belongs to no current attempt; it is cancelled", warning=True)
    return Cancel(job.flink_job_id)


def _is_in_question(draft: Draft, attempt: Attempt) -> bool:
    """Whether an absence may mean a restart of the JobManager rather than an end."""
    seen, cluster = draft.seen, draft.facts.observation.cluster
    assert seen is not None
    assert cluster is not None
    if draft.job(attempt.flink_job_id) is not None:
        return False
    return seen.incarnation != attempt.incarnation or (cluster.high_availability and attempt.phase is AttemptPhase.LIVE)


def _quarantine(draft: Draft, attempt: Attempt) -> Action | None:
    """Wait until neither an orphan nor a late submit of the attempt can live: first void its jars, then count."""
    seen, cluster, findings = draft.seen, draft.facts.observation.cluster, draft.facts.findings
    assert seen is not None
    assert seen.incarnation is not None
    assert cluster is not None
    quarantine, wait = draft.status.quarantine, draft.facts.policy.quarantine(cluster.heartbeat_timeout_s)
    if quarantine is None or quarantine.incarnation != seen.incarnation:
        if findings.cleared != seen.incarnation:
            return DeleteStaleJars(seen.incarnation)
        quarantine = Quarantine(incarnation=seen.incarnation, since=draft.now)
        draft.set(quarantine=quarantine)
        draft.event(
            "JobManagerLost",
            f"{attempt.flink_job_id} is not listed by the new JobManager; its orphans may live for {wait.total_seconds():.0f} s",
            warning=True,
        )
    over_at = quarantine.since + wait
    draft.wait("Quarantine", f"the JobManager was lost; the job is brought back at {over_at:%H:%M:%S} UTC", over_at)
    return None


# A submit whose outcome is open


def _submitting(draft: Draft, attempt: Attempt) -> Action | None:
    answer = draft.facts.findings.answer
    if isinstance(answer, Refused) and answer.kind is not RefusalKind.DUPLICATE:
        draft.set_attempt(
            refusal=bounded(answer.cause),
            refusal_is_final=answer.kind is RefusalKind.PROGRAM,
            is_jar_void=answer.kind is RefusalKind.JAR_GONE,
        )
    attempt = _current(draft)
    target = target_of(draft.status)
    is_wanted = wants_running(draft.status) and target is not None and _same_revision(draft, attempt, target)
    if not is_wanted or attempt.refusal is not None:
        return _burn(draft, attempt)
    if attempt.is_unsent and not isinstance(answer, NotSent):
        return _resend(draft)
    again_at = attempt.submitted_at + draft.facts.policy.submit_timeout
    if draft.now >= again_at:
        return _resend(draft)
    cause = answer.cause if isinstance(answer, NoAnswer | NotSent) else "not listed yet"
    draft.wait("SubmitPending", f"{attempt.flink_job_id}: {cause}", again_at)
    draft.look(draft.now + (RESEND if attempt.is_unsent else _poll(draft.now - attempt.submitted_at)))
    return None


def _resend(draft: Draft) -> Action | None:
    """Post the same id again: Flink refuses it if the first has arrived."""
    running, cluster = draft.status.running, draft.facts.observation.cluster
    assert running is not None
    assert cluster is not None
    ready = _ready_to_submit(draft, running)
    if not isinstance(ready, bool):
        return ready
    spec, staged = draft.spec_of(running), draft.facts.findings.staged
    if not ready or spec is None or staged is None:
        return None
    draft.set_attempt(submitted_at=draft.now, is_unsent=False, jar_id=staged.jar_id)
    draft.jar = staged
    return _submit_of(_current(draft), spec, cluster)


def _burn(draft: Draft, attempt: Attempt) -> Action | None:
    if attempt.refusal is None:
        draft.wait("Burning", f"{attempt.flink_job_id} is not wanted any more; its id is being used up")
    draft.set_attempt(phase=AttemptPhase.BURNING, submitted_at=draft.now)
    return Burn(attempt.flink_job_id, attempt.incarnation)


def _burning(draft: Draft, attempt: Attempt) -> Action | None:
    draft.wait("Burning", f"{attempt.flink_job_id} may still start; its id is being used up")
    if draft.now >= attempt.submitted_at + RESEND:
        return _burn(draft, attempt)
    draft.look(draft.now + _poll(draft.now - attempt.submitted_at))
    return None


# A live attempt


def _live(draft: Draft, attempt: Attempt) -> Action | None:
    operation = draft.status.operation
    if operation is not None and operation.flink_job_id != attempt.flink_job_id:
        draft.set(operation=None)
        operation = None
    if operation is not None and operation.kind is not OperationKind.SAVEPOINT:
        return _continue_stop(draft, attempt, operation)
    if operation is not None:
        action = _continue_savepoint(draft, operation)
        if action is not None:
            return action
    match draft.status.desired_state:
        case DesiredState.DELETED | DesiredState.ABANDONED:
            return _stop(draft, attempt, "delete")
        case DesiredState.SUSPENDED:
            return _stop(draft, attempt, "suspend")
        case DesiredState.RUNNING:
            pass
    target = target_of(draft.status)
    if target is None or target.number == attempt.revision:
        return _steady(draft, attempt)
    running = draft.status.running
    if running is not None and classify(running, target) <= SpecChange.IGNORE:
        _relabel(draft, running, target)
        return _steady(draft, _current(draft))
    is_back = draft.status.refused is not None
    return _stop(draft, attempt, "rollback" if is_back else "upgrade")


def _relabel(draft: Draft, running: RevisionRef, target: RevisionRef) -> None:
    """The running job already is what the target asks for: only its name changes."""
    if draft.status.stable is not None and draft.status.stable.number == running.number:
        draft.set(stable=target)
    draft.set(running=target)
    draft.set_attempt(revision=target.number)


def _steady(draft: Draft, attempt: Attempt) -> Action | None:
    """The right revision is live: prove it, serve the nonces, clean up."""
    view = draft.facts.spec
    spec = view.spec if isinstance(view, ValidSpec) else None
    nonce = spec.deployment.restart_nonce if spec is not None else None
    if spec is not None and nonce is not None and nonce != draft.status.restart_nonce:
        action = _stop(draft, attempt, "restart")
        if isinstance(action, StopWithSavepoint | Cancel):
            draft.set(restart_nonce=nonce)
        return action
    health.judge(draft, attempt, spec)
    refused = draft.status.refused
    if refused is not None and refused.number == attempt.revision:
        return _stop(draft, attempt, "rollback")
    attempt = _current(draft)
    nonce = spec.deployment.savepoint_nonce if spec is not None else None
    if spec is not None and nonce is not None and nonce != draft.status.savepoint_nonce and draft.status.operation is None:
        draft.set(savepoint_nonce=nonce)
        return _savepoint(draft, attempt, spec)
    if attempt.is_proven:
        return _release_jars(draft, keep=target_of(draft.status))
    return None


def _release_jars(draft: Draft, *, keep: RevisionRef | None) -> Action | None:
    kept = {keep.artifact.sha256} if keep is not None else set()
    gone = draft.facts.findings.released
    left = tuple(digest for digest in draft.status.staged_digests if digest not in gone)
    if left != draft.status.staged_digests:
        draft.set(staged_digests=left)
    attempt = draft.status.attempt
    if attempt is None:
        return None
    return next((ReleaseJar(attempt.cluster, digest) for digest in left if digest not in kept), None)


# Stopping


def _stop(draft: Draft, attempt: Attempt, purpose: str) -> Action | None:
    """Begin to end a live attempt. What can fail cheaply is done before the running job is touched."""
    running = draft.status.running
    assert running is not None
    spec = draft.spec_of(running)
    if spec is None:
        return _load(draft, running)
    if purpose in {"upgrade", "rollback", "restart"}:
        ready = _ready_to_submit(draft, target_of(draft.status) or running)
        if not isinstance(ready, bool):
            return ready
        if not ready:
            health.judge(draft, attempt, spec)
            return None
    newer = target_of(draft.status)
    wish = draft.spec_of(newer) if newer is not None else None
    mode = (wish or spec).deployment.upgrade_mode
    is_cancel = purpose == "rollback" or (
        purpose in {"upgrade", "restart"}
        and (mode is UpgradeMode.STATELESS or (mode is UpgradeMode.LAST_STATE and _has_state(attempt)))
    )
    if purpose == "upgrade":
        draft.event("UpgradeStarted", f"revision {attempt.revision} → {newer.number if newer else '?'}", of=newer)
    if is_cancel:
        draft.set(operation=_operation(draft, OperationKind.CANCEL, attempt.flink_job_id, purpose))
        return Cancel(attempt.flink_job_id)
    return _request_stop(draft, attempt, spec, purpose, started_at=draft.now, failures=0)


def _has_state(attempt: Attempt) -> bool:
    """Whether a cancel leaves the newest checkpoint behind."""
    return attempt.retains_state and (attempt.has_completed_checkpoint or attempt.is_checkpointed is True)


def _request_stop(
    draft: Draft, attempt: Attempt, spec: JobSpec, purpose: str, *, started_at: datetime, failures: int
) -> Action:
    operation = _operation(draft, OperationKind.STOP, attempt.flink_job_id, purpose, spec=spec)
    operation = operation.model_copy(update={"started_at": started_at, "failures": failures})
    draft.set(operation=operation)
    _remember_directory(draft, attempt, operation.target_directory)
    return StopWithSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)


def _continue_stop(draft: Draft, attempt: Attempt, operation: Operation) -> Action | None:
    """A stop that has begun is completed, whatever the spec says meanwhile."""
    assert draft.seen is not None
    draft.wait("Stopping", f"{operation.kind} for {operation.purpose} since {operation.started_at:%H:%M:%S} UTC")
    if operation.kind is OperationKind.CANCEL:
        if draft.now >= operation.requested_at + RESEND:
            draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
            return Cancel(attempt.flink_job_id)
        draft.look(draft.now + _poll(draft.now - operation.requested_at))
        return None
    running = draft.status.running
    assert running is not None
    spec = draft.spec_of(running)
    if spec is None:
        return _load(draft, running)
    trigger, answer = draft.seen.trigger, draft.facts.findings.answer
    deadline = operation.started_at + timedelta(seconds=spec.deployment.savepoint_timeout_seconds)
    if operation.last_failure is None and isinstance(trigger, TriggerFailed):
        _failed_savepoint(draft, operation, trigger.cause)
    elif operation.last_failure is None and isinstance(answer, Refused):
        _failed_savepoint(draft, operation, answer.cause)
    operation = draft.status.operation or operation
    if operation.last_failure is not None:
        return _retry_stop(draft, attempt, operation, spec, deadline)
    is_due = draft.now >= operation.requested_at + RESEND
    if is_due and isinstance(trigger, TriggerUnknown | None):
        draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
        return StopWithSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)
    if draft.now >= deadline and _may_cancel(attempt, operation, spec):
        _failed_savepoint(draft, operation, f"not complete after {spec.deployment.savepoint_timeout_seconds} s")
        return _fall_back(draft, attempt, operation)
    draft.look(draft.now + _poll(draft.now - operation.requested_at))
    return None


def _failed_savepoint(draft: Draft, operation: Operation, cause: str) -> None:
    draft.set(operation=operation.model_copy(update={"failures": operation.failures + 1, "last_failure": bounded(cause)}))
    draft.event("SavepointFailed", cause, warning=True)


def _retry_stop(draft: Draft, attempt: Attempt, operation: Operation, spec: JobSpec, deadline: datetime) -> Action | None:
    """A savepoint failed and the job is alive: try again, fall back to its newest checkpoint, or wait; never without state.

    A new stop is sent only after the last one has ended: two at once fail each other and take the job with them (measured).
    """
    job = draft.job(attempt.flink_job_id)
    assert operation.last_failure is not None
    is_hopeless = job is None or not job.is_processing or attempt.is_checkpointed is False
    is_over = (is_hopeless and _has_state(attempt)) or draft.now >= deadline
    if is_over and _may_cancel(attempt, operation, spec):
        return _fall_back(draft, attempt, operation)
    again_at = operation.requested_at + min(RETRY_STOP * 2 ** min(operation.failures - 1, 5), timedelta(minutes=5))
    draft.wait("SavepointFailed", operation.last_failure, again_at)
    if draft.now < again_at:
        return None
    return _request_stop(
        draft, attempt, spec, operation.purpose, started_at=operation.started_at, failures=operation.failures
    )


def _may_cancel(attempt: Attempt, operation: Operation, spec: JobSpec) -> bool:
    """Whether a stop that does not succeed may become a cancel: a delete always, the rest only if state stays behind."""
    if operation.purpose == "delete":
        return True
    return _has_state(attempt) and spec.deployment.savepoint_fallback == "last-state"


def _fall_back(draft: Draft, attempt: Attempt, operation: Operation) -> Action:
    cancel = _operation(draft, OperationKind.CANCEL, attempt.flink_job_id, operation.purpose)
    draft.set(operation=cancel.model_copy(update={"started_at": operation.started_at}))
    if not _has_state(attempt):
        draft.event("NoNewerStateKept", "cancelled at the deadline of its delete without a savepoint", warning=True)
    return Cancel(attempt.flink_job_id)


# Savepoints of a running job


def _savepoint(draft: Draft, attempt: Attempt, spec: JobSpec) -> Action:
    operation = _operation(draft, OperationKind.SAVEPOINT, attempt.flink_job_id, "savepoint", spec=spec)
    draft.set(operation=operation)
    _remember_directory(draft, attempt, operation.target_directory)
    return TriggerSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)


def _continue_savepoint(draft: Draft, operation: Operation) -> Action | None:
    assert draft.seen is not None
    trigger, answer = draft.seen.trigger, draft.facts.findings.answer
    match trigger:
        case TriggerCompleted(path=path):
            draft.set(savepoint=Savepoint(path=path, completed_at=draft.now), operation=None)
            draft.set_attempt(savepoint_directories=(operation.target_directory,))
            draft.event("SavepointCompleted", path)
            return None
        case TriggerFailed(cause=cause):
            draft.set(operation=None)
            draft.event("SavepointFailed", cause, warning=True)
            return None
        case _:
            pass
    if isinstance(answer, Refused):
        draft.set(operation=None)
        draft.event("SavepointFailed", answer.cause, warning=True)
        return None
    if isinstance(trigger, TriggerUnknown) and draft.now >= operation.requested_at + RESEND:
        draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
        return TriggerSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)
    draft.look(draft.now + _poll(draft.now - operation.started_at))
    return None


# Nothing lives


def _at_rest(draft: Draft) -> Action | None:
    attempt = draft.status.attempt
    if attempt is not None and not handover.is_resolved(draft):
        lookup = handover.resolve(draft, attempt)
        if lookup is not None:
            return lookup
        if not handover.is_resolved(draft):
            # Too early, or blocked; whatever is waited for was said.
            draft.look(draft.now + BLOCKED_LOOK)
            return None
    match draft.status.desired_state:
        case DesiredState.DELETED | DesiredState.ABANDONED:
            return _release_jars(draft, keep=None)
        case DesiredState.SUSPENDED:
            return None
        case DesiredState.RUNNING:
            return _start(draft) if wants_running(draft.status) else None


def _start(draft: Draft) -> Action | None:
    """Start the next attempt of the target revision from the state at hand."""
    target = target_of(draft.status)
    if target is None:
        return None
    failures, view = draft.status.failures, draft.facts.spec
    if failures.count and failures.last_at is not None:
        base = view.spec.deployment.on_failure.backoff_seconds if isinstance(view, ValidSpec) else 30
        due = failures.last_at + min(timedelta(seconds=base) * 2 ** min(failures.count - 1, 12), MAX_BACKOFF)
        if draft.now < due:
            cause = draft.status.attempt.root_cause if draft.status.attempt is not None else None
            draft.wait("BackingOff", f"restart {failures.count} at {due:%H:%M:%S} UTC after: {cause}", due)
            return None
    ready = _ready_to_submit(draft, target)
    if not isinstance(ready, bool):
        return ready
    if not ready:
        return None
    spec, cluster, staged = draft.spec_of(target), draft.facts.observation.cluster, draft.facts.findings.staged
    assert spec is not None
    assert cluster is not None
    if staged is None:
        return None
    number = draft.status.attempt_counter + 1
    attempt = Attempt(
        number=number,
        flink_job_id=flink_job_id(draft.facts.policy.controller_id, draft.facts.job_id, number),
        revision=target.number,
        cluster=cluster.name,
        restore_from=handover.start_state(draft, spec),
        checkpoint_root=cluster.checkpoint_root,
        jar_id=staged.jar_id,
        incarnation=staged.incarnation,
        created_at=draft.now,
        submitted_at=draft.now,
    )
    digests = dict.fromkeys((*draft.status.staged_digests, target.artifact.sha256))
    draft.set(
        attempt_counter=number,
        attempt=attempt,
        running=target,
        staged_digests=tuple(digests),
        # The wish stands in the item; the revision that is started may be an older one.
        restart_nonce=view.spec.deployment.restart_nonce if isinstance(view, ValidSpec) else draft.status.restart_nonce,
        quarantine=None,
    )
    if number == 1:
        draft.set(savepoint_nonce=spec.deployment.savepoint_nonce)
    draft.jar = staged
    draft.event("Submitted", f"{attempt.flink_job_id} from {attempt.restore_from or 'no state'}")
    return _submit_of(attempt, spec, cluster)


def _ready_to_submit(draft: Draft, target: RevisionRef) -> Preparation | bool:
    """Do everything that can fail cheaply before a submit: spec at hand, state allowed, old jars void, bytes staged.

    Returns what to do first; True when all is ready; False when the draft says what is waited for.
    """
    spec, cluster, seen, findings = draft.spec_of(target), draft.facts.observation.cluster, draft.seen, draft.facts.findings
    assert cluster is not None
    assert seen is not None
    if spec is None:
        return _load(draft, target) or False
    attempt = draft.status.attempt
    fault = _state_fault(draft, spec, cluster)
    if fault is not None:
        draft.wait("StateForbidden", fault, draft.now + BLOCKED_LOOK)
        return False
    if cluster.name != spec.cluster:
        # A move: its bytes are staged on the new cluster, once the job on the old one is dead.
        if living(draft.status) is None:
            draft.look(draft.now)
        return living(draft.status) is not None
    life = seen.incarnation or (attempt.incarnation if attempt is not None and draft.job(attempt.flink_job_id) else None)
    if life is None:
        draft.wait("ClusterRestarting", "the JobManager restarted during this look", draft.now + timedelta(seconds=1))
        return False
    is_here = attempt is not None and attempt.cluster == cluster.name
    if attempt is not None and is_here and life not in {attempt.incarnation, findings.cleared}:
        return DeleteStaleJars(life)
    if findings.staging_refused is not None:
        draft.wait(findings.staging_refused.reason, findings.staging_refused.message, draft.now + BLOCKED_LOOK)
        return False
    staged = findings.staged
    if staged is None or (staged.cluster, staged.sha256, staged.incarnation) != (cluster.name, target.artifact.sha256, life):
        void = attempt.jar_id if attempt is not None and attempt.is_jar_void else None
        return StageJar(target.artifact, life, void_jar_id=void)
    return True


def _submit_of(attempt: Attempt, spec: JobSpec, cluster: Cluster) -> Submit:
    return Submit(
        flink_job_id=attempt.flink_job_id,
        jar_id=attempt.jar_id,
        entry_class=spec.entry_class,
        args=spec.args,
        parallelism=spec.deployment.parallelism,
        restore_from=attempt.restore_from,
        allow_non_restored_state=spec.deployment.allow_non_restored_state,
        configuration=flink_configuration(spec, cluster, revision=attempt.revision, attempt=attempt.number),
    )


def _state_fault(draft: Draft, spec: JobSpec, cluster: Cluster) -> str | None:
    """Say why the state to start from must not or cannot be read."""
    attempt = draft.status.attempt
    if attempt is None:
        path, own = handover.initial_state(draft, spec), f"{cluster.savepoint_root}/{spec.name.namespace}/"
        if path is None or path.startswith(own):
            return None
        return f"deployment.initial_savepoint_path: {path} is not below {own}, the namespace's own directory"
    destination = draft.facts.observation.destination or cluster
    if spec.cluster != destination.name:
        return f"no cluster {spec.cluster} is registered; an operator adds it with flinkctl cluster add {spec.cluster}"
    if destination.checkpoint_root == attempt.checkpoint_root or destination.name == attempt.cluster:
        return None
    if destination.checkpoint_root.startswith("s3://") and attempt.checkpoint_root.startswith("s3://"):
        return None
    return (
        f"cluster {destination.name} cannot read {attempt.checkpoint_root}, where the job's state lies; both must use s3://"
    )


# Small things


def _load(draft: Draft, revision: RevisionRef) -> LoadRevision | None:
    if revision.number in draft.facts.findings.revisions:
        draft.wait(
            "RevisionMissing",
            f"revision {revision.number} is not on record any more; write the spec again",
            draft.now + BLOCKED_LOOK,
        )
        return None
    return LoadRevision(revision.number)


def _operation(draft: Draft, kind: OperationKind, job: str, purpose: str, *, spec: JobSpec | None = None) -> Operation:
    sequence = draft.status.operation_counter + 1
    draft.set(operation_counter=sequence)
    directory = ""
    if spec is not None:
        cluster, name = draft.facts.observation.cluster, JobName.parse(draft.facts.job_id)
        assert cluster is not None
        path = spec.deployment.savepoint_path.strip("/")
        directory = f"{cluster.savepoint_root}/{name.namespace}/{path}/{job}-{sequence}"
    return Operation(
        kind=kind,
        sequence=sequence,
        flink_job_id=job,
        trigger_id=trigger_id(job, kind, sequence),
        target_directory=directory,
        purpose=purpose,
        started_at=draft.now,
        requested_at=draft.now,
    )


def _remember_directory(draft: Draft, attempt: Attempt, directory: str) -> None:
    known = (*attempt.savepoint_directories, directory)
    if len(known) > KEPT_DIRECTORIES:
        known = (known[0], *known[2:])
    draft.set_attempt(savepoint_directories=known)


def _same_revision(draft: Draft, attempt: Attempt, target: RevisionRef) -> bool:
    if attempt.revision == target.number:
        return True
    running = draft.status.running
    if running is None or classify(running, target) > SpecChange.IGNORE:
        return False
    _relabel(draft, running, target)
    return True


def _current(draft: Draft) -> Attempt:
    assert draft.status.attempt is not None
    return draft.status.attempt


def _poll(elapsed: timedelta) -> timedelta:
    """Half of what has passed already: quick at first, rare in the end."""
    return min(max(POLL_FIRST, elapsed / 2), POLL_LAST)
