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


def _is_there(world: World, record: SavepointRecord) -> bool:
    return record.path in world.storage.snapshots


STORIES = (periodic_savepoints,)
