"""Stories of savepoints: by the clock, their removal, and the way back to an older one."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.status import SavepointKind, SavepointRecord
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.simulator import JOB, World, spec_item

Settled = Callable[[World], bool]
EVERY_MINUTES_MS = 200_000


def records(world: World, kind: SavepointKind) -> list[SavepointRecord]:
    """Give the records of savepoints of a kind, oldest first."""
    return [found for found in world.statuses.savepoints(JOB) if found.kind is kind]


def is_stable_on(digest: str) -> Settled:
    """Settled: STABLE, and these bytes alone run."""
    return lambda world: world.lifecycle is Lifecycle.STABLE and world.running_jars == [digest]


def periodic_savepoints(world: World) -> Iterator[tuple[str, Settled]]:
    """Some by the clock, until they are not wanted any more."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=8)))
    world.put(spec_item(stream_config__savepoint_trigger_interval=EVERY_MINUTES_MS))
    yield (
        "saved twice",
        lambda w: is_stable_on(digest)(w) and len([r for r in records(w, SavepointKind.PERIODIC) if _is_there(w, r)]) >= 2,
    )
    world.put(spec_item())
    yield "saved no more", lambda w: is_stable_on(digest)(w) and w.status is not None and w.status.periodic is None


def older_ones_are_removed(world: World) -> Iterator[tuple[str, Settled]]:
    """Of those by the clock the newest alone is kept; what the job is told to go back to stays as long as it is needed."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=2)))
    config = {"savepoint_trigger_interval": EVERY_MINUTES_MS, "savepoint_retention": {"count": 1}}
    world.put(spec_item(stream_config=config))

    def is_down_to_one(world: World) -> bool:
        found, status = records(world, SavepointKind.PERIODIC), world.status
        is_idle = status is not None and status.disposal is None and status.operation is None
        removed = [path for path, snapshot in world.storage.deleted.items() if snapshot.is_savepoint]
        origin = None if status is None or status.attempt is None else status.attempt.restore_from
        # What a job that was lost came back from is needed until it has gone on from something else.
        is_one = len([one for one in found if one.path != origin]) <= 1
        return is_idle and is_one and len(removed) >= 2 and all(_is_there(world, one) for one in found)

    yield "down to one", lambda w: is_stable_on(digest)(w) and is_down_to_one(w)
    world.put(spec_item(stream_config={"savepoint_retention": {"count": 1}}))
    yield "at rest", lambda w: is_stable_on(digest)(w) and w.status is not None and w.status.disposal is None


def restore_from_an_older_one(world: World) -> Iterator[tuple[str, Settled]]:
    """Back to a savepoint of before, once; what there was meanwhile is kept."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=8)))
    world.put(spec_item(stream_config__savepoint_trigger_interval=EVERY_MINUTES_MS))
    yield "saved", lambda w: is_stable_on(digest)(w) and bool(records(w, SavepointKind.PERIODIC))
    path = records(world, SavepointKind.PERIODIC)[0].path
    world.put(spec_item(deployment__restore={"from": path, "nonce": "1"}))
    yield "restored", lambda w: is_stable_on(digest)(w) and _has_honoured(w, "1")


def restore_that_does_not_start(world: World) -> Iterator[tuple[str, Settled]]:
    """There is nothing at the place, which nobody could see beforehand: back to what there was."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", is_stable_on(digest)
    world.storage.unreadable = "AccessDenied"
    world.put(spec_item(deployment__restore={"from": "gone/savepoint-1", "nonce": "1"}))
    world.run_for(timedelta(seconds=20))
    world.storage.unreadable = None
    yield (
        "back",
        lambda w: is_stable_on(digest)(w) and (_has_honoured(w, "1") or _waits_for(w, "StateMissing")),
    )


def restore_of_what_is_suspended(world: World) -> Iterator[tuple[str, Settled]]:
    """Asked for while the job is suspended; it starts from there when it is resumed."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__savepoint_nonce="a"))
    yield "stable", is_stable_on(digest)
    world.put(spec_item(state="suspended"))
    yield "suspended", lambda w: w.lifecycle is Lifecycle.SUSPENDED and _handed_on(w) is not None
    path = _handed_on(world)
    world.put(spec_item())
    yield "resumed", is_stable_on(digest)
    restore = {"from": path, "nonce": "1"}
    world.put(spec_item(state="suspended", deployment__restore=restore))
    yield "suspended again", lambda w: w.lifecycle is Lifecycle.SUSPENDED
    world.put(spec_item(deployment__restore=restore))
    yield "restored", lambda w: is_stable_on(digest)(w) and _has_honoured(w, "1")


def _has_honoured(world: World, nonce: str) -> bool:
    return world.status is not None and world.status.restore_nonce == nonce and world.status.restored is None


def _handed_on(world: World) -> str | None:
    status = world.status
    return None if status is None or status.handover is None else status.handover.path


def _waits_for(world: World, reason: str) -> bool:
    return world.status is not None and world.status.waiting is not None and world.status.waiting[0] == reason


def _is_there(world: World, record: SavepointRecord) -> bool:
    return record.path in world.storage.snapshots


STORIES = (
    periodic_savepoints,
    older_ones_are_removed,
    restore_from_an_older_one,
    restore_that_does_not_start,
    restore_of_what_is_suspended,
)
