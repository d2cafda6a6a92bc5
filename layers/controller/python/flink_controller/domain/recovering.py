"""Restarts by the controller: how many in a row, how far apart, and of whom beside those that Flink has given up.

A job that is only unhealthy is cancelled, so that its newest checkpoint stays behind, and goes on as every dead attempt does:
its state is found and recorded before anything starts from it. Each time is counted before the cancel is sent, in one row
with the restarts of failed attempts, so that nothing here goes on for ever, wherever the process dies.
"""

from flink_controller.domain import handover, intents, submitting
from flink_controller.domain.actions import Action, Cancel
from flink_controller.domain.plan import Draft, is_watched
from flink_controller.domain.spec import JobSpec
from flink_controller.domain.status import Attempt, Failures, OperationKind, Symptom, SymptomKind

PURPOSE = "recover"
UNHEALTHY = (SymptomKind.TASKS, SymptomKind.CHECKPOINTS)
"""Symptoms that a restart may end."""


def recover(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> Action | None:
    """Restart an attempt that is unhealthy, if its spec asks for that; otherwise say when, or why not."""
    found = _symptom(draft)
    if found is None or spec is None or not is_watched(draft.status) or draft.status.second is not None:
        return None
    policy = spec.deployment.on_failure
    if policy.when != "unhealthy" or policy.action == "none":
        return None
    if not attempt.retains_state or attempt.is_checkpointed is not True:
        # A cancel would leave nothing newer behind than what it started from, while Flink may still hold it all.
        return None
    failures = handover.row_of_failures(draft, attempt, spec)
    if failures.count >= policy.limit:
        _give_up(draft, found, failures.count)
        return None
    due = submitting.due_at(failures, policy)
    if due is not None and draft.now < due:
        draft.look(due)
        return None
    running = draft.status.running
    assert running is not None
    ready = submitting.ready_to_submit(draft, running)
    if not isinstance(ready, bool):
        return ready
    if not ready:
        return None
    draft.set(
        failures=Failures(count=failures.count + 1, last_at=draft.now),
        operation=intents.new_operation(draft, OperationKind.CANCEL, attempt.flink_job_id, PURPOSE),
    )
    draft.event("RecoveryStarted", f"restart {failures.count + 1} of {policy.limit}: {found.message}", warning=True)
    return Cancel(attempt.flink_job_id)


def _symptom(draft: Draft) -> Symptom | None:
    known = (draft.status.symptom(kind) for kind in UNHEALTHY)
    return next((found for found in known if found is not None and found.told_at is not None), None)


def _give_up(draft: Draft, found: Symptom, restarts: int) -> None:
    message = f"unhealthy after {restarts} restarts in a row; it is left to Flink: {found.message}"
    known = draft.status.condition("Stalled")
    if known is None or known.reason != "RecoveryGivenUp":
        draft.event("RecoveryGivenUp", message, warning=True)
    draft.wait("RecoveryGivenUp", message)
