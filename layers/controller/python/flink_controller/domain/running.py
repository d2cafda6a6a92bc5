"""A live attempt: is it the right one, is it proven, and what does its spec ask of it beside?"""

from datetime import timedelta

from flink_controller.domain import (
    blue_green,
    distrusting,
    health,
    intents,
    recovering,
    rescaling,
    restoring,
    saving,
    stopping,
    submitting,
    vitals,
)
from flink_controller.domain.actions import (
    Action,
    Cancel,
    FindState,
    StopWithSavepoint,
)
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.plan import Draft, target_of
from flink_controller.domain.spec import ValidSpec
from flink_controller.domain.status import (
    Attempt,
    DesiredState,
    OperationKind,
)

SAVEPOINT_PATIENCE = timedelta(minutes=2)
"""How long a change waits for a savepoint that is under way."""


def live(draft: Draft, attempt: Attempt) -> Action | None:
    """Take the step of a live attempt: finish what was begun, stop it, or keep it healthy."""
    operation = draft.status.operation
    if operation is not None and operation.flink_job_id != attempt.flink_job_id:
        draft.set(operation=None)
        operation = None
    if operation is not None and operation.kind is OperationKind.RESCALE:
        is_wanted = draft.status.desired_state is DesiredState.RUNNING
        # What ends the job ends the request with it; any other wish waits until the parallelism is known again.
        if is_wanted and not rescaling.is_over(draft, operation):
            return rescaling.go_on(draft, attempt, operation)
        return _towards_spec(draft, intents.current_attempt(draft))
    if operation is not None and operation.kind is not OperationKind.SAVEPOINT:
        return stopping.continue_stop(draft, attempt, operation)
    if operation is not None:
        action = saving.go_on(draft, attempt, operation)
        if action is not None:
            return action
    under_way = draft.status.operation
    if under_way is not None and draft.now < under_way.started_at + SAVEPOINT_PATIENCE:
        # Two savepoints at once can fail each other; what else is wanted waits for this one, within reason.
        return None
    return _towards_spec(draft, attempt)


def _towards_spec(draft: Draft, attempt: Attempt) -> Action | None:
    """Nothing is under way: begin what the spec asks for."""
    match draft.status.desired_state:
        case DesiredState.DELETED | DesiredState.ABANDONED:
            return stopping.stop(draft, attempt, "delete")
        case DesiredState.SUSPENDED:
            return stopping.stop(draft, attempt, "suspend")
        case DesiredState.RUNNING:
            if distrusting.must_stop(draft):
                return stopping.stop(draft, attempt, "distrust")
    wanted = restoring.ready(draft)
    if isinstance(wanted, FindState):
        return wanted
    if wanted:
        return stopping.stop(draft, attempt, restoring.PURPOSE)
    target = target_of(draft.status)
    if target is None or target.number == attempt.revision:
        return _steady(draft, attempt)
    running = draft.status.running
    if running is not None and classify(running, target) <= SpecChange.IGNORE:
        submitting.relabel(draft, running, target)
        return _steady(draft, intents.current_attempt(draft))
    is_back = draft.status.refused is not None
    if not is_back and draft.spec_of(target) is None:
        return intents.load_revision(draft, target)
    if not is_back and blue_green.applies(draft, attempt, target):
        # A savepoint under way is waited for, however long it takes: blue processes on meanwhile.
        return blue_green.begin(draft, attempt, target) if draft.status.operation is None else None
    if not is_back and rescaling.applies(draft, attempt, target):
        return rescaling.begin(draft, attempt, target)
    return stopping.stop(draft, attempt, "rollback" if is_back else "upgrade")


def _steady(draft: Draft, attempt: Attempt) -> Action | None:
    """The right revision is live: prove it, serve the nonces, clean up."""
    view = draft.facts.spec
    spec = view.spec if isinstance(view, ValidSpec) else None
    nonce = spec.deployment.restart_nonce if spec is not None else None
    if spec is not None and nonce is not None and nonce != draft.status.restart_nonce:
        action = stopping.stop(draft, attempt, "restart")
        if isinstance(action, StopWithSavepoint | Cancel):
            draft.set(restart_nonce=nonce)
        return action
    wanted = health.missing_checkpoint(draft, attempt, spec)
    if wanted is not None:
        return wanted
    health.judge(draft, intents.current_attempt(draft), spec)
    refused = draft.status.refused
    if refused is not None and refused.number == attempt.revision:
        return stopping.stop(draft, attempt, "rollback")
    attempt = intents.current_attempt(draft)
    restoring.settle(draft, attempt)
    if vitals.watch(draft, attempt, spec):
        action = recovering.recover(draft, attempt, spec)
        if action is not None:
            return action
    nonce = spec.deployment.savepoint_nonce if spec is not None else None
    if spec is not None and nonce is not None and nonce != draft.status.savepoint_nonce and draft.status.operation is None:
        draft.set(savepoint_nonce=nonce)
        return saving.take(draft, attempt, spec, saving.MANUAL)
    if attempt.is_proven:
        return submitting.release_jars(draft, target_of(draft.status)) or saving.periodically(draft, attempt, spec)
    return None
