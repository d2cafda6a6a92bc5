"""Which savepoints are kept, and the removal of the others.

Only what the clock took is removed by itself, and what somebody asked for where the spec says so; never what a stop, an
upgrade or a delete left behind. And never what is needed: by the job's record, or by another job's spec that names it. A
removal is recorded before Flink is asked for it; Flink, not the controller, deletes. Asked twice, it finds nothing the
second time, which is what was wanted; and storage, not the answer, tells when it is done.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from flink_controller.domain import intents, restoring
from flink_controller.domain.actions import Action, DisposeSavepoint, FindState, LoadHolders, LoadSavepoints
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.observation import StorageUnreadable
from flink_controller.domain.plan import Draft
from flink_controller.domain.spec import JobSpec, StreamConfig, ValidSpec
from flink_controller.domain.status import (
    AttemptPhase,
    DesiredState,
    Disposal,
    JobStatus,
    Retention,
    SavepointKind,
    SavepointRecord,
    SavepointState,
)

RETRY_FIRST: Final = timedelta(minutes=1)
"""Before a removal that failed is tried again; doubled each time."""
RETRY_LAST: Final = timedelta(hours=1)
HELD_LOOK: Final = timedelta(hours=1)
"""Before what is surplus and still needed is looked at again."""
TOLD_AFTER: Final = 3
"""Tries after which a removal is told to fail; a lost request or a JobManager's restart is made up for by then."""


def step(draft: Draft) -> Action | None:
    """Take the next step of a removal, or begin one; the job's own lane needs nothing now."""
    if draft.seen is None:
        return None
    if draft.status.disposal is not None:
        return _go_on(draft, draft.status.disposal)
    attempt, view = draft.status.attempt, draft.facts.spec
    is_settled = attempt is not None and attempt.phase is AttemptPhase.LIVE and attempt.is_proven
    is_busy = draft.status.operation is not None or draft.status.second is not None
    if attempt is None or not is_settled or is_busy or draft.status.desired_state is not DesiredState.RUNNING:
        return None
    if not isinstance(view, ValidSpec) or draft.status.savepoint is None:
        return None
    wish = view.spec.deployment.savepoint_disposal
    if wish.nonce is not None and wish.nonce != draft.status.disposal_nonce:
        return _wished(draft, wish.id)
    _note_rule(draft, view.spec.stream_config)
    return _sweep(draft)


def surplus(records: Sequence[SavepointRecord], rule: Retention, now: datetime) -> tuple[SavepointRecord, ...]:
    """Give the savepoints that are kept no longer, oldest first: beyond the newest `count`, or older than `days`."""
    subject = [record for record in records if _is_subject(record, rule)]
    kept = subject[-rule.count :]
    return tuple(
        record for record in subject if record not in kept or record.completed_at + timedelta(days=rule.days) <= now
    )


def needed(status: JobStatus) -> frozenset[str]:
    """Give every place that a job's record points at: what it started from, goes on from, or may go back to."""
    attempt, second, restored = status.attempt, status.second, status.restored
    found = (
        None if attempt is None else attempt.restore_from,
        None if second is None else second.attempt.restore_from,
        None if status.handover is None else status.handover.path,
        None if status.savepoint is None else status.savepoint.path,
        *((restored.path, restored.kept) if restored is not None else ()),
        status.stable_state,
        status.green_state,
    )
    return frozenset(canonical(path) for path in found if path is not None)


def is_needed(status: JobStatus, path: str) -> bool:
    """Whether a job's own record forbids to remove a savepoint, be it as a place where a lost state is searched."""
    searched = () if status.attempt is None else status.attempt.savepoint_directories
    return canonical(path) in needed(status) | set(status.claims) or any(path.startswith(f"{place}/") for place in searched)


def claim(draft: Draft) -> None:
    """Keep on record which places the job's spec names as an origin, and those that it started from, for as long as needed.

    They may be savepoints of other jobs: whoever would remove one finds the claim.
    """
    view, cluster = draft.facts.spec, draft.facts.observation.destination or draft.facts.observation.cluster
    claims, points_at = set(draft.status.claims), needed(draft.status)
    awaited = claims if draft.status.attempt_counter == 0 else set[str]()
    if isinstance(view, ValidSpec) and cluster is not None:
        deployment = view.spec.deployment
        first = _places(view.spec, cluster, deployment.initial_savepoint_path)
        other = _places(view.spec, cluster, deployment.restore.from_)
        claims |= first | other
        awaited = (first if draft.status.attempt_counter == 0 else set()) | (other if restoring.is_asked(draft) else set())
    held = tuple(sorted(awaited | {path for path in claims if path in points_at}))
    if held != draft.status.claims:
        draft.set(claims=held)


def _places(spec: JobSpec, cluster: Cluster, path: str | None) -> set[str]:
    found = restoring.place(spec, cluster, path)
    return set() if found is None else {canonical(found)}


def canonical(path: str) -> str:
    """Give the one spelling of a place by which claims are found: of the directory, with Flink's plainest name for S3."""
    scheme, separator, rest = path.rstrip("/").removesuffix("/_metadata").partition("://")
    return f"{'s3' if scheme in restoring.S3 else scheme}{separator}{rest}"


def _is_subject(record: SavepointRecord, rule: Retention) -> bool:
    kinds = {SavepointKind.PERIODIC, SavepointKind.MANUAL} if rule.takes_manual else {SavepointKind.PERIODIC}
    return record.kind in kinds


def _note_rule(draft: Draft, config: StreamConfig) -> None:
    """Take the spec's rule into the status; another rule is applied at once."""
    asked, known = config.savepoint_retention, draft.status.retention
    is_written = "savepoint_retention" in config.model_fields_set
    if not is_written and config.savepoint_trigger_interval is None:
        draft.set(retention=None)
        return
    rule = Retention(count=asked.count, days=asked.days, takes_manual=is_written, check_at=draft.now)
    if known is None or rule.model_copy(update={"check_at": known.check_at}) != known:
        draft.set(retention=rule)


def _sweep(draft: Draft) -> Action | None:
    rule = draft.status.retention
    if rule is None or rule.check_at is None:
        return None
    if draft.now < rule.check_at:
        draft.look(rule.check_at)
        return None
    records = draft.facts.findings.savepoints
    if records is None:
        return LoadSavepoints()
    is_held = False
    for record in surplus(records, rule, draft.now):
        held = _held(draft, record)
        if isinstance(held, LoadHolders):
            return held
        if not held:
            return _begin(draft, record)
        is_held = True
    ages = [found.completed_at + timedelta(days=rule.days) for found in records if _is_subject(found, rule)]
    coming = [at for at in ages if at > draft.now] + ([draft.now + HELD_LOOK] if is_held else [])
    check_at = min(coming, default=None)
    draft.set(retention=rule.model_copy(update={"check_at": check_at}))
    if check_at is not None:
        draft.look(check_at)
    return None


def _held(draft: Draft, record: SavepointRecord) -> LoadHolders | str:
    """Say who needs a savepoint; empty when nobody does."""
    if is_needed(draft.status, record.path):
        return "the job itself"
    holders, place = draft.facts.findings.holders, canonical(record.path)
    if place not in holders:
        return LoadHolders(place)
    return ", ".join(holders[place])


def _wished(draft: Draft, number: int | None) -> Action | None:
    """Somebody asks for the removal of one savepoint: done, unless it is needed."""
    view, records = draft.facts.spec, draft.facts.findings.savepoints
    assert isinstance(view, ValidSpec)
    if records is None:
        return LoadSavepoints()
    record = next((found for found in records if found.number == number), None)
    held = "nobody knows of it" if record is None else _held(draft, record)
    if isinstance(held, LoadHolders):
        return held
    draft.set(disposal_nonce=view.spec.deployment.savepoint_disposal.nonce)
    if record is None or held:
        because = held if record is None else f"still needed by {held}"
        draft.event("SavepointKept", f"savepoint {number} is not removed: {because}", warning=True)
        return None
    return _begin(draft, record)


def _begin(draft: Draft, record: SavepointRecord) -> Action:
    draft.savepoints[record.number] = record.model_copy(update={"state": SavepointState.DISPOSING})
    draft.set(disposal=Disposal(number=record.number, path=record.path, requested_at=draft.now))
    return DisposeSavepoint(record.path)


def _go_on(draft: Draft, disposal: Disposal) -> Action | None:
    """Look whether it is gone: Flink gives a removal an id of its own choice, and storage is what tells in any case."""
    if disposal.retry_at is not None and draft.now < disposal.retry_at:
        draft.look(disposal.retry_at)
        return None
    found = draft.facts.findings.found_states.get(disposal.path)
    if found is None:
        return FindState(disposal.path)
    if found is False:
        draft.disposed.append(disposal.number)
        draft.set(disposal=None)
        draft.event("SavepointDisposed", disposal.path)
        # There may be more.
        draft.look(draft.now)
        return None
    if disposal.retry_at is not None:
        draft.set(disposal=disposal.model_copy(update={"requested_at": draft.now, "retry_at": None}))
        return DisposeSavepoint(disposal.path)
    if draft.now < disposal.requested_at + intents.RESEND:
        draft.look(draft.now + intents.poll_interval(draft.now - disposal.requested_at))
        return None
    _retry(draft, disposal, found)
    return None


def _retry(draft: Draft, disposal: Disposal, found: bool | StorageUnreadable) -> None:  # noqa: FBT001  # what was found
    failures = disposal.failures + 1
    retry_at = draft.now + min(RETRY_FIRST * 2 ** min(failures - 1, 20), RETRY_LAST)
    draft.set(disposal=disposal.model_copy(update={"failures": failures, "retry_at": retry_at}))
    draft.look(retry_at)
    if failures == TOLD_AFTER:
        because = found.cause if isinstance(found, StorageUnreadable) else "it is still there after Flink was asked"
        draft.event("SavepointDisposalFailed", f"{disposal.path}: {because}", warning=True)
