"""A job on which nothing moves: told once, and once when it goes on."""

from datetime import timedelta

from flink_controller.domain.alerts import Alert
from flink_controller.domain.census import MOVING, STUCK_AFTER
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.plan import Draft
from flink_controller.domain.spec import ValidSpec

_SHOULD_END = MOVING | {Lifecycle.CREATED.value, Lifecycle.WAITING.value, Lifecycle.DEPLOYED.value}
"""Lifecycles that lead to another one, by themselves or once somebody gives what is waited for."""


def tell(draft: Draft) -> None:
    """Tell of a job that should get somewhere and has had no event for longer than its deadlines, or that it did."""
    status = draft.status
    state, is_open = lifecycle(status), Alert.STUCK in {incident.alert for incident in status.incidents}
    if draft.facts.observation.pause is not None:
        # Nothing is meant to move.
        return
    if state.value not in _SHOULD_END:
        if is_open:
            draft.event("Recovered", f"the job is {state.value}")
        return
    if is_open:
        return
    moved_at = status.created_at if status.last_event is None else status.last_event.time
    due_at = moved_at + _patience(draft)
    if draft.now < due_at:
        draft.look(due_at)
        return
    ready = status.condition("Ready")
    because = "" if ready is None else f"{ready.reason}: {ready.message}".strip(": ")
    draft.event("Stuck", f"{state.value} since {moved_at:%Y-%m-%d %H:%M:%S} UTC; {because}", warning=True)


def _patience(draft: Draft) -> timedelta:
    view = draft.facts.spec
    if not isinstance(view, ValidSpec):
        return STUCK_AFTER
    deployment = view.spec.deployment
    return max(STUCK_AFTER, timedelta(seconds=deployment.savepoint_timeout_seconds + deployment.rollback.deadline_seconds))
