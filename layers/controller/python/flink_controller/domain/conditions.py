"""The claims that a status makes about its job, recomputed on every pass."""

from flink_controller.domain import acceptance, batch, distrusting, health, vitals
from flink_controller.domain.artifact import Verdict
from flink_controller.domain.errors import REFUSED_CREDENTIALS
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import FlinkUnreachable
from flink_controller.domain.plan import Draft, bounded, is_watched, living, living_of
from flink_controller.domain.run_arguments import iso
from flink_controller.domain.spec import Rollback, ValidSpec
from flink_controller.domain.status import (
    Attempt,
    AttemptPhase,
    CheckpointFigures,
    Condition,
    JobType,
    RunOutcome,
    SymptomKind,
)

FAULTS_LIMIT = 2000
"""Characters of the list of faults in SpecValid; the rest is told by `flinkctl validate`."""


def assess_inputs(draft: Draft) -> None:
    """Recompute what is said of the spec, its artifact and the cluster, and tell the transitions that have events."""
    _spec_valid(draft)
    _artifact_verified(draft)
    _cluster_reachable(draft)
    _cluster_allowed(draft)


def assess_outcome(draft: Draft) -> None:
    """Recompute what is said of the job, once it is known what is done about it."""
    if draft.status.job_type is JobType.BATCH:
        _set(draft, "Scheduled", *batch.scheduled_condition(draft))
        _last_run(draft)
    _job_running(draft)
    _checkpoint_healthy(draft)
    _backpressured(draft)
    _revision_healthy(draft)
    _stalled(draft)
    _ready(draft)


def _set(draft: Draft, type_: str, status: str, reason: str, message: str) -> None:
    known = draft.status.condition(type_)
    since = known.last_transition_time if known is not None and known.status == status else draft.now
    made = Condition(type=type_, status=status, reason=reason, message=message, last_transition_time=since)
    others = tuple(other for other in draft.status.conditions if other.type != type_)
    if known is None:
        draft.set(conditions=(*others, made))
    elif known != made:
        draft.set(conditions=tuple(made if other.type == type_ else other for other in draft.status.conditions))


def _spec_valid(draft: Draft) -> None:
    faults = acceptance.faults_of(draft)
    if faults:
        text = "; ".join(faults)
        if len(text) > FAULTS_LIMIT:
            text = f"{text[:FAULTS_LIMIT]}… (flinkctl validate lists all {len(faults)})"
        _set(draft, "SpecValid", "False", "SpecRejected", text)
        return
    view = draft.facts.spec
    if not isinstance(view, ValidSpec):
        return
    warnings = f"without effect on a job of this type: {', '.join(view.warnings)}" if view.warnings else ""
    _set(draft, "SpecValid", "True", "SpecAccepted", warnings[:FAULTS_LIMIT])


def _artifact_verified(draft: Draft) -> None:
    view, head, known = draft.facts.spec, draft.facts.observation.artifact, draft.status.condition("ArtifactVerified")
    found = distrusting.running_distrust(draft)
    if found is not None:
        _set(draft, "ArtifactVerified", "False", found.reason, bounded(found.message))
        if known is None or known.message != bounded(found.message):
            draft.event("ArtifactDistrusted", found.message, warning=True)
        return
    if not isinstance(view, ValidSpec):
        return
    if head is None:
        _set(draft, "ArtifactVerified", "Unknown", "ArtifactMissing", f"{view.spec.artifact_path} was not uploaded yet")
        return
    latest, text = head.latest, f"sha256:{head.latest.sha256} signed by key {head.latest.key_id}"
    if latest.verdict is Verdict.ADMITTED:
        _set(draft, "ArtifactVerified", "True", "ArtifactAdmitted", text)
        if known is None or known.message != text:
            draft.event("ArtifactAdmitted", text)
        return
    is_overdue = acceptance.is_overdue(latest, draft.now)
    reason = "SignatureOverdue" if is_overdue else latest.reason
    status = "Unknown" if latest.verdict is Verdict.WAITING and not is_overdue else "False"
    message = bounded(f"version {latest.version_id}: {latest.message}")
    _set(draft, "ArtifactVerified", status, reason, message)
    if status == "False" and (known is None or known.message != message):
        draft.event("ArtifactRefused", message, warning=True)


def _cluster_reachable(draft: Draft) -> None:
    flink, cluster = draft.facts.observation.flink, draft.facts.observation.cluster
    known, fault = draft.status.condition("ClusterReachable"), draft.facts.observation.cluster_fault
    if fault is not None:
        _set(draft, "ClusterReachable", "Unknown", "ClusterMalformed", bounded(fault))
    elif cluster is None:
        name = draft.facts.spec.spec.cluster if isinstance(draft.facts.spec, ValidSpec) else draft.status.cluster
        if name:
            _set(draft, "ClusterReachable", "Unknown", "ClusterUnknown", f"no cluster {name} is registered")
    elif isinstance(flink, FlinkUnreachable):
        is_refused = flink.reason == REFUSED_CREDENTIALS
        reason = "ClusterRefusesCredentials" if is_refused else "ClusterUnreachable"
        _set(draft, "ClusterReachable", "False", reason, bounded(f"{cluster.name}: {flink.cause}"))
        if known is None or (known.status, known.reason) != ("False", reason):
            does = "refuses the controller's credentials" if is_refused else "does not answer"
            draft.event(reason, f"cluster {cluster.name} {does}", warning=True)
    elif flink is not None:
        _set(draft, "ClusterReachable", "True", "ClusterReachable", f"cluster {cluster.name} answers")
        if known is not None and known.status == "False":
            draft.event("ClusterReachable", f"cluster {cluster.name} answers again")


def _cluster_allowed(draft: Draft) -> None:
    """Tell once that a job runs where its namespace may start nothing any more; it is left running."""
    policy = draft.facts.observation.policy
    if policy is None:
        return
    faults = (policy.fault_of(attempt.cluster) for attempt in living_of(draft.status))
    fault = next((fault for fault in faults if fault is not None), None)
    if fault is not None and not draft.status.is_disallowed:
        draft.event("ClusterDisallowed", f"it runs on, and is not started there again: {fault}", warning=True)
    draft.set(is_disallowed=fault is not None)


def _last_run(draft: Draft) -> None:
    last = draft.status.runs.last
    if last is None:
        _set(draft, "LastRunSucceeded", "Unknown", "NoRun", "no run has ended yet")
        return
    status = "True" if last.outcome is RunOutcome.SUCCEEDED else "False"
    _set(
        draft,
        "LastRunSucceeded",
        status,
        last.reason,
        bounded(f"{iso(last.scheduled_at)} {last.outcome} {last.message}".strip()),
    )


def _job_running(draft: Draft) -> None:
    # Of a batch job: its newest run.
    attempt = next(iter(reversed(living_of(draft.status))), None)
    flink = draft.facts.observation.flink
    if isinstance(flink, FlinkUnreachable):
        _set(draft, "JobRunning", "Unknown", flink.reason, "Flink does not answer")
    elif attempt is None:
        _set(draft, "JobRunning", "False", "NotRunning", "no attempt is live")
    elif attempt.phase is not AttemptPhase.LIVE:
        _set(draft, "JobRunning", "Unknown", "SubmitPending", f"{attempt.flink_job_id} is not listed")
    elif draft.status.quarantine is not None:
        _set(draft, "JobRunning", "Unknown", "Quarantine", f"{attempt.flink_job_id} is not listed by the new JobManager")
    elif attempt.settled_at is None:
        known = draft.status.symptom(SymptomKind.TASKS)
        message = f"Flink says {attempt.flink_state}; not all tasks run" if known is None else known.message
        _set(draft, "JobRunning", "False", "TasksPending", message)
    elif (looping := draft.status.symptom(SymptomKind.RESTARTS)) is not None:
        _set(draft, "JobRunning", "True", "RestartLooping", looping.message)
    else:
        _set(draft, "JobRunning", "True", "Running", f"{attempt.flink_job_id} runs all tasks")


def _checkpoint_healthy(draft: Draft) -> None:
    attempt = living(draft.status)
    if attempt is None or attempt.is_checkpointed is None:
        _set(draft, "CheckpointHealthy", "Unknown", "NotKnown", "checkpoints were not read")
    elif not attempt.is_checkpointed:
        _set(draft, "CheckpointHealthy", "Unknown", "CheckpointsOff", "the job takes no periodic checkpoints")
    elif (stalled := draft.status.symptom(SymptomKind.CHECKPOINTS)) is not None:
        _set(draft, "CheckpointHealthy", "False", "CheckpointStalled", stalled.message)
    elif attempt.has_completed_checkpoint and (figures := _figures(draft, attempt)) is not None:
        _set(draft, "CheckpointHealthy", "True", "CheckpointCompleted", vitals.told(figures))
    elif attempt.has_completed_checkpoint:
        _set(draft, "CheckpointHealthy", "True", "CheckpointCompleted", "a checkpoint was completed since the start")
    else:
        _set(draft, "CheckpointHealthy", "False", "NoCheckpoint", "no checkpoint was completed since the start")


def _figures(draft: Draft, attempt: Attempt) -> CheckpointFigures | None:
    known = draft.status.checkpointing
    return known if known is not None and known.of_attempt == attempt.number and known.completed_at is not None else None


def _backpressured(draft: Draft) -> None:
    """Say whether something slows the job down; like Stalled, True is what wants attention."""
    if draft.status.job_type is JobType.BATCH:
        return
    found = draft.status.symptom(SymptomKind.BACKPRESSURE)
    if found is not None and found.told_at is not None:
        _set(draft, "Backpressured", "True", "BackpressureStarted", found.message)
    elif is_watched(draft.status):
        _set(draft, "Backpressured", "False", "NoBackpressure", "")
    else:
        _set(draft, "Backpressured", "Unknown", "NotKnown", "told of jobs that were healthy once")


def _revision_healthy(draft: Draft) -> None:
    refused, desired, attempt = draft.status.refused, draft.status.desired, living(draft.status)
    if desired is None:
        return
    if draft.status.halted is not None:
        _set(draft, "RevisionHealthy", "False", draft.status.halt_reason, draft.status.halted)
    elif refused is not None and refused.number == desired.number:
        _set(draft, "RevisionHealthy", "False", refused.reason, f"revision {refused.number}: {refused.message}")
    elif attempt is None or attempt.revision != desired.number:
        _set(draft, "RevisionHealthy", "Unknown", "NotRunning", f"revision {desired.number} is not running")
    elif attempt.is_proven:
        _set(draft, "RevisionHealthy", "True", "Stable", f"revision {desired.number} is healthy")
    else:
        status = "False" if _is_late(draft) else "Unknown"
        _set(draft, "RevisionHealthy", status, "NotProven", health.unhealthy_because(attempt))


def _is_late(draft: Draft) -> bool:
    """Whether the proof is overdue and there is nothing to go back to."""
    attempt, view = living(draft.status), draft.facts.spec
    if attempt is None or attempt.is_proven:
        return False
    rollback = view.spec.deployment.rollback if isinstance(view, ValidSpec) else Rollback()
    return draft.now >= health.proof_deadline(draft.status, attempt, rollback)


def _stalled(draft: Draft) -> None:
    waiting = draft.status.waiting
    if draft.status.halted is not None:
        _set(draft, "Stalled", "True", draft.status.halt_reason, draft.status.halted)
    elif waiting is not None and waiting[0] in {
        "StateUnknown",
        "StateForbidden",
        "AttemptAhead",
        "RevisionMissing",
        "ClusterUnknown",
        "ClusterMalformed",
        "ClockBehind",
        "RecoveryGivenUp",
    }:
        _set(draft, "Stalled", "True", waiting[0], waiting[1])
    elif _is_unjudged_since_given_up(draft):
        pass
    elif _is_late(draft):
        _set(
            draft,
            "Stalled",
            "True",
            "NotHealthy",
            "not healthy by its deadline, and there is no stable revision to go back to",
        )
    else:
        _set(draft, "Stalled", "False", "Progressing", "")


def _is_unjudged_since_given_up(draft: Draft) -> bool:
    """Whether restarts were given up, and this look, in a pause or without the cluster, could not tell that it is over.

    The condition is what remembers that it was told.
    """
    known = draft.status.condition("Stalled")
    is_blind = draft.facts.observation.pause is not None or draft.seen is None
    return is_blind and bool(draft.status.symptoms) and known is not None and known.reason == "RecoveryGivenUp"


def _ready(draft: Draft) -> None:
    state, status = lifecycle(draft.status), draft.status
    attempt = living(status)
    is_up = attempt is not None and attempt.settled_at is not None and status.operation is None
    is_ready = state in {Lifecycle.STABLE, Lifecycle.ROLLED_BACK} and (is_up or status.job_type is JobType.BATCH)
    reason, message = _explain(draft, state)
    unreachable = isinstance(draft.facts.observation.flink, FlinkUnreachable)
    _set(
        draft, "Ready", "Unknown" if unreachable and is_ready else "True" if is_ready else "False", reason, bounded(message)
    )


def _explain(draft: Draft, state: Lifecycle) -> tuple[str, str]:
    """Give the one reason that matters most."""
    status = draft.status
    if status.halted is not None:
        return status.halt_reason, status.halted
    if state is Lifecycle.FAILED and status.rejected_spec_hash is not None:
        invalid = status.condition("SpecValid")
        return "SpecRejected", "" if invalid is None else invalid.message
    if state is Lifecycle.DELETED:
        kept = status.handover.path if status.handover is not None else None
        return "Deleted", f"state kept at {kept}" if kept else "no state was kept"
    if status.waiting is not None:
        return status.waiting
    if status.refused is not None and state in {Lifecycle.ROLLING_BACK, Lifecycle.ROLLED_BACK}:
        return status.refused.reason, f"revision {status.refused.number} was refused: {status.refused.message}"
    attempt = living(status)
    if state is Lifecycle.DEPLOYED and attempt is not None:
        return "NotProven", health.unhealthy_because(attempt)
    return state.value.title().replace("_", ""), ""
