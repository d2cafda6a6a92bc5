"""Savepoints of a job that runs on: by the clock, or because somebody asks for one; and the record of every savepoint.

Periodic ones are due at instants that are the job's own: multiples of the interval, shifted by a part of it that follows
from the job's name. So a fleet with one interval is spread over it, and nothing needs to be kept to find the next instant.
An instant that passed while the job could not be saved is made up for once.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from flink_controller.domain import intents
from flink_controller.domain.actions import Action, TriggerSavepoint
from flink_controller.domain.observation import Refused, TriggerCompleted, TriggerFailed, TriggerUnknown
from flink_controller.domain.plan import Draft
from flink_controller.domain.spec import JobSpec
from flink_controller.domain.status import (
    Attempt,
    Operation,
    OperationKind,
    PeriodicSavepoints,
    Savepoint,
    SavepointKind,
    SavepointRecord,
)

MANUAL: Final = "savepoint"
"""Purpose of a savepoint that somebody asked for."""
PERIODIC: Final = "periodic"
BLUE_GREEN: Final = "blue-green"
"""Of the savepoint that a green attempt starts from."""
RETRY_FIRST: Final = timedelta(minutes=1)
"""Before a periodic savepoint that failed is tried again; doubled each time."""
RETRY_LAST: Final = timedelta(hours=1)
"""Longest such wait, where the interval is not longer."""
_KINDS: Final = {MANUAL: SavepointKind.MANUAL, "delete": SavepointKind.FINAL}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def take(draft: Draft, attempt: Attempt, spec: JobSpec, purpose: str) -> Action:
    """Ask for a savepoint; the job runs on."""
    operation = intents.new_operation(draft, OperationKind.SAVEPOINT, attempt.flink_job_id, purpose, spec=spec)
    draft.set(operation=operation)
    intents.remember_directory(draft, attempt, operation.target_directory)
    return TriggerSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)


def periodically(draft: Draft, attempt: Attempt, spec: JobSpec | None) -> Action | None:
    """Take a savepoint if one is due by the clock, or say when the next one is.

    Args:
        draft: of a job whose right revision is live and proven.
        attempt: what is live.
        spec: as asked for; None while the item cannot be read, and then what was accepted last goes on.
    """
    if spec is not None:
        _want(draft, spec)
    wanted = draft.status.periodic
    if wanted is None or draft.status.operation is not None or draft.status.second is not None:
        return None
    due_at = next_at(draft.facts.job_id, wanted, attempt)
    if draft.now < due_at:
        draft.look(due_at)
        return None
    if attempt.settled_at is None:
        # A savepoint of a job that Flink is just bringing back would fail.
        draft.look(draft.now + intents.BLOCKED_LOOK)
        return None
    running = draft.status.running
    assert running is not None
    known = spec or draft.spec_of(running)
    if known is None:
        return intents.load_revision(draft, running)
    draft.set(periodic=wanted.model_copy(update={"since": draft.now}))
    return take(draft, attempt, known, PERIODIC)


def _want(draft: Draft, spec: JobSpec) -> None:
    interval_ms, known = spec.stream_config.savepoint_trigger_interval, draft.status.periodic
    if interval_ms is None:
        draft.set(periodic=None)
    elif known is None:
        draft.set(periodic=PeriodicSavepoints(interval_ms=interval_ms, since=draft.now))
    elif known.interval_ms != interval_ms:
        draft.set(periodic=known.model_copy(update={"interval_ms": interval_ms}))


def next_at(job_id: str, periodic: PeriodicSavepoints, attempt: Attempt) -> datetime:
    """Say when the next periodic savepoint of an attempt is due; a time that has passed means now."""
    if periodic.retry_at is not None:
        return periodic.retry_at
    # Before it was there, an attempt had nothing to save: what it starts from is a savepoint or checkpoint itself.
    since = max(periodic.since, attempt.live_at or attempt.created_at)
    interval = timedelta(milliseconds=periodic.interval_ms)
    phase = int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8]) % periodic.interval_ms
    first = _EPOCH + timedelta(milliseconds=phase)
    return first + ((since - first) // interval + 1) * interval


def go_on(draft: Draft, attempt: Attempt, operation: Operation) -> Action | None:
    """See what became of a savepoint; ask again under the same id where Flink does not know of it."""
    assert draft.seen is not None
    trigger, answer = draft.seen.trigger, draft.answer
    match trigger:
        case TriggerCompleted(path=path):
            draft.set(operation=None)
            draft.set_attempt(savepoint_directories=(operation.target_directory,))
            record(draft, attempt, operation, path)
            if operation.purpose == BLUE_GREEN:
                draft.set(green_state=path, green_retry_at=None)
            return None
        case TriggerFailed(cause=cause):
            _failed(draft, operation, cause)
            return None
        case _:
            pass
    if isinstance(answer, Refused):
        _failed(draft, operation, answer.cause)
        return None
    if isinstance(trigger, TriggerUnknown) and draft.now >= operation.requested_at + intents.RESEND:
        draft.set(operation=operation.model_copy(update={"requested_at": draft.now}))
        return TriggerSavepoint(operation.flink_job_id, operation.trigger_id, operation.target_directory)
    draft.look(draft.now + intents.poll_interval(draft.now - operation.started_at))
    return None


def record(draft: Draft, attempt: Attempt, operation: Operation | None, path: str) -> None:
    """Take a complete savepoint into the status and the history.

    Args:
        draft: of its job.
        attempt: that wrote it.
        operation: that took it; None: somebody else's.
        path: where it lies.
    """
    if operation is None:
        draft.set(operation_counter=draft.status.operation_counter + 1)
    made = SavepointRecord(
        number=draft.status.operation_counter if operation is None else operation.sequence,
        path=path,
        kind=SavepointKind.OUTSIDE if operation is None else kind_of(operation.purpose),
        completed_at=draft.now,
        started_at=None if operation is None else operation.requested_at,
        revision=attempt.revision,
        attempt=attempt.number,
    )
    draft.savepoints[made.number] = made
    if draft.status.retention is not None:
        draft.set(retention=draft.status.retention.model_copy(update={"check_at": draft.now}))
    draft.set(savepoint=Savepoint(path=path, completed_at=draft.now))
    draft.event("SavepointCompleted", path)
    periodic = draft.status.periodic
    if made.kind is SavepointKind.PERIODIC and periodic is not None:
        draft.set(periodic=periodic.model_copy(update={"failures": 0, "retry_at": None}))


def kind_of(purpose: str) -> SavepointKind:
    """Name the kind of savepoint that an operation takes."""
    return _KINDS.get(purpose) or SavepointKind(purpose)


def _failed(draft: Draft, operation: Operation, cause: str) -> None:
    draft.set(operation=None)
    periodic = draft.status.periodic
    if operation.purpose != PERIODIC or periodic is None:
        draft.event("SavepointFailed", cause, warning=True)
        return
    failures = periodic.failures + 1
    longest = max(RETRY_LAST, timedelta(milliseconds=periodic.interval_ms))
    retry_at = draft.now + min(RETRY_FIRST * 2 ** min(failures - 1, 20), longest)
    draft.set(periodic=periodic.model_copy(update={"failures": failures, "retry_at": retry_at}))
    if failures == 1:
        # One incident, told once; the next one that completes ends it.
        draft.event("SavepointFailed", cause, warning=True)
