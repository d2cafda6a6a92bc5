"""Another parallelism for a running job, in place: nothing is stopped, and no id changes.

Flink restarts the job's tasks from its newest checkpoint by itself. It answers 200 to what it cannot do, and does it late
(after a cooldown, with the next checkpoint, once there are slots), so that only what is read back counts. The request
carries no identity: that a late one never undoes a newer one is seen to by the time between two.
"""

from datetime import timedelta
from typing import Final

from flink_controller.domain import intents, reserving, stopping, submitting
from flink_controller.domain.actions import Action, CountFreeSlots, Rescale
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.observation import Refused
from flink_controller.domain.plan import Draft, bounded
from flink_controller.domain.spec import UpgradeMode
from flink_controller.domain.status import Attempt, Operation, OperationKind, RevisionRef

PURPOSE: Final = "rescale"
DEADLINE: Final = timedelta(seconds=120)
"""After it the change is made by an upgrade. Flink's own cooldown after a start or a rescale is 30 s by default
(`jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling`)."""


def applies(draft: Draft, attempt: Attempt, target: RevisionRef) -> bool:
    """Whether a revision differs by parallelism alone, and the cluster can change that of the running job."""
    running, cluster, spec = draft.status.running, draft.facts.observation.cluster, draft.spec_of(target)
    if running is None or cluster is None or spec is None or not (cluster.adaptive_scheduler and running.is_recorded):
        return False
    # Who chose blue-green wants no gap, and a rescale has one.
    is_in_place = spec.deployment.upgrade_mode is not UpgradeMode.BLUE_GREEN
    return is_in_place and classify(running, target) is SpecChange.RESCALE and attempt.settled_at is not None


def begin(draft: Draft, attempt: Attempt, target: RevisionRef) -> Action | None:
    """Ask for the parallelism of a revision, once there are slots for it and no earlier request can be under way."""
    running, spec, cluster = draft.status.running, draft.spec_of(target), draft.facts.observation.cluster
    assert running is not None
    assert spec is not None
    assert cluster is not None
    current = draft.spec_of(running)
    if current is None:
        return intents.load_revision(draft, running)
    before, after = current.deployment.parallelism, spec.deployment.parallelism
    if before == 1:
        # Which vertices have this one by choice, and which by the job's code, cannot be told apart.
        return stopping.stop(draft, attempt, "upgrade")
    growth, free = after - before, draft.facts.findings.free_slots
    if growth > 0 and free is None:
        return CountFreeSlots()
    if free is not None and free < growth:
        message = f"parallelism {before} → {after} needs {growth} more slots on {cluster.name}, and {free} are free"
        draft.wait("NoFreeSlots", message, draft.now + intents.BLOCKED_LOOK)
        return None
    policy = draft.facts.policy
    if attempt.rescale_asked_at is not None:
        clear_at = attempt.rescale_asked_at + policy.function_timeout + policy.quarantine_margin
        if draft.now < clear_at:
            draft.wait("RescaleSettling", "an earlier request may still be under way", clear_at)
            return None
    if not reserving.reserve(draft, target, spec):
        return None
    operation = intents.new_operation(draft, OperationKind.RESCALE, attempt.flink_job_id, PURPOSE)
    draft.event("UpgradeStarted", f"revision {running.number} → {target.number}, in place", of=target)
    return _ask(draft, operation.model_copy(update={"revision": target, "parallelism": (before, after)}))


def is_over(draft: Draft, operation: Operation) -> bool:
    """Take over the revision once its parallelism is read back from a job whose tasks all run; say whether it was."""
    assert draft.seen is not None
    assert operation.parallelism is not None
    assert operation.revision is not None
    before, after = operation.parallelism
    vertices, running = draft.seen.vertices, draft.status.running
    is_there = bool(vertices) and all(vertex.wanted == vertex.actual != before for vertex in vertices or ())
    if not is_there or intents.current_attempt(draft).settled_at is None or running is None:
        return False
    draft.set(operation=None)
    draft.event("Rescaled", f"parallelism {before} → {after} in place", of=operation.revision)
    # The same code on the same state: it is no less proven than before.
    submitting.relabel(draft, running, operation.revision)
    return True


def go_on(draft: Draft, attempt: Attempt, operation: Operation) -> Action | None:
    """Wait for the parallelism that was asked for; ask again if the request was lost, upgrade if it leads nowhere."""
    assert draft.seen is not None
    assert operation.parallelism is not None
    before, after = operation.parallelism
    draft.wait("Rescaling", f"parallelism {before} → {after} since {operation.started_at:%H:%M:%S} UTC")
    answer, deadline = draft.facts.findings.answer, operation.started_at + DEADLINE
    if operation.last_failure is None:
        cause = None
        if isinstance(answer, Refused):
            cause = answer.cause
        elif draft.now >= deadline:
            cause = f"not at {after} after {DEADLINE.total_seconds():.0f} s; see that there are slots for it"
        if cause is not None:
            operation = operation.model_copy(update={"last_failure": bounded(cause)})
            draft.set(operation=operation)
            draft.event("RescaleFailed", f"{cause}; it is made by an upgrade", warning=True)
    if operation.last_failure is not None:
        return stopping.stop(draft, attempt, "upgrade")
    was_lost = any(vertex.wanted == before for vertex in draft.seen.vertices or ())
    if was_lost and draft.now >= operation.requested_at + intents.RESEND:
        return _ask(draft, operation)
    draft.look(min(draft.now + intents.poll_interval(draft.now - operation.requested_at), deadline))
    return None


def _ask(draft: Draft, operation: Operation) -> Rescale:
    assert operation.parallelism is not None
    draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
    draft.set_attempt(rescale_asked_at=draft.now)
    return Rescale(operation.flink_job_id, *operation.parallelism)
