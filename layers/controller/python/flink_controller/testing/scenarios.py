"""What teams and clusters do, as short stories that must end well whatever crashes on the way.

Each scenario changes the world and says where it must settle. `run` tells it under one fault; with faults over, the world
must reach the end of the story, and keep every promise on the way.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from flink_controller.domain.circuit import FAILURES_TO_OPEN, Circuit
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import Pause
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import TwinOptions
from flink_controller.testing.simulator import JOB, Fault, ViolationError, World, spec_item

PATIENCE = timedelta(minutes=20)
"""Virtual time in which a step of a story must settle; the longest waits are leases, the quarantine and backoffs."""

Settled = Callable[[World], bool]
Scenario = Callable[[World], Iterator[tuple[str, Settled]]]


@dataclass(frozen=True)
class Told:
    """How a story went."""

    calls: int
    trace: tuple[str, ...]


def run(scenario: Scenario, fault: Fault | None = None, *, enforces_leases: bool = True) -> Told:
    """Tell a story under one fault.

    Raises:
        ViolationError: a promise was broken, or the world did not settle.
    """
    world = World(fault, enforces_leases=enforces_leases, options=OPTIONS.get(scenario.__name__))
    for name, settled in scenario(world):
        if not world.run_until(settled, PATIENCE):
            status = world.status
            waiting = None if status is None else status.waiting
            raise ViolationError(
                f"L1: {scenario.__name__} does not reach '{name}': {world.lifecycle}, waiting for {waiting}"
            )
        world.check()
    return Told(world.calls.count, tuple(world.calls.trace))


def stable_on(*digests: str) -> Settled:
    """Settled: STABLE, and exactly these bytes run."""
    return lambda world: world.lifecycle is Lifecycle.STABLE and world.running_jars == list(digests)


def is_in(lifecycle: Lifecycle, *digests: str) -> Settled:
    """Settled: a lifecycle, and exactly these bytes run."""
    return lambda world: world.lifecycle is lifecycle and world.running_jars == list(digests)


def first_deploy(world: World) -> Iterator[tuple[str, Settled]]:
    """Jar, signature, spec."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)


def spec_before_artifact(world: World) -> Iterator[tuple[str, Settled]]:
    """The spec waits for its artifact."""
    world.put(spec_item())
    yield "waiting", is_in(Lifecycle.WAITING)
    digest = world.upload("v1")
    yield "stable", stable_on(digest)


def signature_before_artifact(world: World) -> Iterator[tuple[str, Settled]]:
    """An unsigned jar waits; nothing of it reaches Flink."""
    world.put(spec_item())
    world.upload("v1", signed=False)
    yield "waiting", is_in(Lifecycle.WAITING)
    digest = world.upload("v1")
    yield "stable", stable_on(digest)


def upgrade_by_artifact(world: World) -> Iterator[tuple[str, Settled]]:
    """A new version under the same key."""
    yield from first_deploy(world)
    digest = world.upload("v2")
    yield "upgraded", stable_on(digest)


def upgrade_by_spec(world: World) -> Iterator[tuple[str, Settled]]:
    """Other arguments."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(args=["--fast"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def change_without_restart(world: World) -> Iterator[tuple[str, Settled]]:
    """A label changes; the job runs on."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(labels={"team": "data"}))
    yield "relabelled", lambda w: stable_on(digest)(w) and _is_up_to_date(w) and len(w.flink.history) == 1


def suspend_and_resume(world: World) -> Iterator[tuple[str, Settled]]:
    """Stopped with its state, and back."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    world.put(spec_item())
    yield "resumed", stable_on(digest)


def suspend_during_deploy(world: World) -> Iterator[tuple[str, Settled]]:
    """Suspended while a slow main() still runs: the id is burned, or the job is stopped."""
    digest = world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    world.put(spec_item(state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    world.put(spec_item())
    yield "resumed", stable_on(digest)


def delete_and_rewrite(world: World) -> Iterator[tuple[str, Settled]]:
    """Deleted with a final savepoint; written again, it goes on from there."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.delete()
    yield "deleted", is_in(Lifecycle.DELETED)
    world.put(spec_item())
    yield "back", stable_on(digest)


def rewrite_during_delete(world: World) -> Iterator[tuple[str, Settled]]:
    """Written again before the delete is over."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.delete()
    world.put(spec_item(args=["--again"]))
    yield "back", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def delete_during_deploy(world: World) -> Iterator[tuple[str, Settled]]:
    """Deleted while a slow main() still runs."""
    world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    world.delete()
    # Where the first look died, the job was gone before anybody knew of it.
    yield "deleted", lambda w: w.running_jars == [] and w.lifecycle in {Lifecycle.DELETED, Lifecycle.CREATED}


def slow_main(world: World) -> Iterator[tuple[str, Settled]]:
    """The answer to the submit never comes; the job does."""
    digest = world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    yield "stable", stable_on(digest)


def newer_spec_during_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """The newest spec wins, from the savepoint in hand."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(args=["--two"]))
    world.put(spec_item(args=["--three"]))
    yield "newest", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def revert_during_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """The change is taken back while the stop is under way."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(args=["--two"]))
    world.put(spec_item())
    yield "as before", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def first_submit_refused(world: World) -> Iterator[tuple[str, Settled]]:
    """main() throws; a corrected artifact heals it."""
    world.upload("v1", JobBehaviour(main_throws="no such topic"))
    world.put(spec_item())
    yield "failed", is_in(Lifecycle.FAILED)
    digest = world.upload("v2")
    yield "stable", stable_on(digest)


def upgrade_refused(world: World) -> Iterator[tuple[str, Settled]]:
    """The new version's main() throws: the old one comes back from the savepoint."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(main_throws="no such topic"), bad=True)
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)
    digest = world.upload("v3")
    yield "upgraded", stable_on(digest)


def upgrade_incompatible(world: World) -> Iterator[tuple[str, Settled]]:
    """State does not map: the job exists as FAILED, and the old one comes back."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(state_incompatible=True), bad=True)
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)


def upgrade_never_healthy(world: World) -> Iterator[tuple[str, Settled]]:
    """Tasks never run: rolled back at the deadline."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(never_schedules=True), bad=True)
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)


def upgrade_crash_loops(world: World) -> Iterator[tuple[str, Settled]]:
    """RUNNING every few seconds, healthy never."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(fails_after=timedelta(seconds=4)), bad=True)
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)


def savepoint_fails(world: World) -> Iterator[tuple[str, Settled]]:
    """No savepoint can be taken: the newest checkpoint serves."""
    digest = world.upload("v1", JobBehaviour(stop_fails="a task refuses"))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def cancelled_by_hand(world: World) -> Iterator[tuple[str, Settled]]:
    """Somebody cancels in Flink's UI; the job comes back from its last checkpoint."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.clock.advance(timedelta(seconds=25))
    _cancel_all(world)
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def cluster_away(world: World) -> Iterator[tuple[str, Settled]]:
    """TaskManagers and JobManager go away and come back; nothing is touched meanwhile."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.flink.kill_jobmanager()
    yield "seen", lambda w: _condition(w, "ClusterReachable") == "False"
    world.flink.start_jobmanager()
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def jobmanager_restarts(world: World) -> Iterator[tuple[str, Settled]]:
    """Jobs are forgotten, orphans live on for a while: quarantine, then the last state."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.clock.advance(timedelta(seconds=25))
    world.flink.restart_jobmanager()
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def jobmanager_restarts_during_stop(world: World) -> Iterator[tuple[str, Settled]]:
    """Lost between a stop's request and its answer."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(args=["--two"]))
    world.clock.advance(timedelta(seconds=5))
    world.flink.restart_jobmanager()
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def jobmanager_restarts_during_submit(world: World) -> Iterator[tuple[str, Settled]]:
    """Lost while main() runs."""
    digest = world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    world.flink.restart_jobmanager()
    yield "stable", stable_on(digest)


def jobmanager_restarts_with_kept_jars(world: World) -> Iterator[tuple[str, Settled]]:
    """As before, on a cluster whose jars survive the JobManager."""
    yield from jobmanager_restarts_during_submit(world)
    before = _attempt(world)
    world.flink.restart_jobmanager()
    yield "back", lambda w: w.lifecycle is Lifecycle.STABLE and _attempt(w) > before


def job_fails(world: World) -> Iterator[tuple[str, Settled]]:
    """Flink gives up; the policy brings the job back until its limit."""
    world.upload("v1", JobBehaviour(fails_after=timedelta(seconds=40), restarts=0))
    world.put(spec_item(deployment__rollback__stabilization_seconds=60))
    yield "given up", is_in(Lifecycle.FAILED)
    digest = world.upload("v2")
    yield "stable", stable_on(digest)


def bounded_job(world: World) -> Iterator[tuple[str, Settled]]:
    """A stream that ends by itself stays ended."""
    world.upload("v1", JobBehaviour(finishes_after=timedelta(seconds=40)))
    world.put(spec_item())
    yield "completed", is_in(Lifecycle.COMPLETED)


def restart_once(world: World) -> Iterator[tuple[str, Settled]]:
    """A nonce asks for one restart, also when wake-ups repeat."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__restart_nonce="a"))
    world.wake("etl")
    yield "restarted", lambda w: stable_on(digest)(w) and _attempt(w) >= 2
    world.wake("etl")
    yield "once", stable_on(digest)


def savepoint_once(world: World) -> Iterator[tuple[str, Settled]]:
    """A nonce asks for one savepoint; the job runs on."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__savepoint_nonce="a"))
    yield "saved", lambda w: stable_on(digest)(w) and w.status is not None and w.status.savepoint is not None


def invalid_spec_while_running(world: World) -> Iterator[tuple[str, Settled]]:
    """A broken spec disturbs nothing, and what runs is healed with the last good one."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put({**spec_item(), "deployment": {"parallelism": 2.5}, "nonsense": True})
    yield "refused", lambda w: stable_on(digest)(w) and _condition(w, "SpecValid") == "False"
    world.clock.advance(timedelta(seconds=25))
    _cancel_all(world)
    yield "healed", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def blue_green_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """Green starts beside blue and takes over; blue ends."""
    old = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(old)
    world.state_may_be_older = True
    digest = world.upload("v2")
    yield "upgraded", stable_on(digest)


def blue_green_refused(world: World) -> Iterator[tuple[str, Settled]]:
    """Green's main() throws: blue is untouched."""
    old = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(old)
    world.state_may_be_older = True
    world.upload("v2", JobBehaviour(main_throws="no such topic"), bad=True)
    yield "refused", lambda w: is_in(Lifecycle.ROLLED_BACK, old)(w) and _flink_starts(w) == 1


def blue_green_never_healthy(world: World) -> Iterator[tuple[str, Settled]]:
    """Green never proves itself: it is removed, and blue is untouched."""
    old = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(old)
    world.state_may_be_older = True
    world.upload("v2", JobBehaviour(fails_after=timedelta(seconds=4)), bad=True)
    yield "refused", is_in(Lifecycle.ROLLED_BACK, old)


def blue_green_reverted(world: World) -> Iterator[tuple[str, Settled]]:
    """The change is taken back while green proves itself."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
    world.state_may_be_older = True
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "as before", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def blue_green_suspended(world: World) -> Iterator[tuple[str, Settled]]:
    """Suspended while both run: both end."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
    world.state_may_be_older = True
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"], state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    yield "resumed", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def blue_green_jobmanager_lost(world: World) -> Iterator[tuple[str, Settled]]:
    """The JobManager is lost while both run: blue's state serves."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
    world.state_may_be_older = True
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.clock.advance(timedelta(seconds=5))
    world.flink.restart_jobmanager()
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def blue_green_deleted(world: World) -> Iterator[tuple[str, Settled]]:
    """Deleted while both run: nothing is left."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
    world.state_may_be_older = True
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.delete()
    yield "deleted", is_in(Lifecycle.DELETED)


def paused_before_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """Paused, then changed: nothing happens before the pause is over."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.registry.put_pause(Pause(scope="cluster/default", reason="maintenance"))
    world.put(spec_item(args=["--two"]))
    yield "paused", lambda w: _waits_for(w, "Paused") and w.running_jars == [digest] and _attempt(w) == 1
    world.registry.delete_pause("cluster/default")
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def paused_then_deleted(world: World) -> Iterator[tuple[str, Settled]]:
    """Deleted while it is paused: it runs on until the pause is over."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.registry.put_pause(Pause(scope=f"job/{JOB}", reason="maintenance"))
    world.delete()
    yield "paused", lambda w: _waits_for(w, "Paused") and is_in(Lifecycle.DELETING, digest)(w)
    world.registry.delete_pause(f"job/{JOB}")
    yield "deleted", is_in(Lifecycle.DELETED)


def cluster_away_for_long(world: World) -> Iterator[tuple[str, Settled]]:
    """The cluster's circuit opens, and closes again when it is back."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.flink.kill_jobmanager()
    yield "open", lambda w: not _circuit(w).is_closed and _condition(w, "ClusterReachable") == "False"
    world.put(spec_item(args=["--two"]))
    yield "still open", lambda w: _circuit(w).failures > FAILURES_TO_OPEN + 1
    world.flink.start_jobmanager()
    yield "back", lambda w: _circuit(w).is_closed and stable_on(digest)(w) and _is_up_to_date(w)


SCENARIOS: tuple[Scenario, ...] = (
    first_deploy,
    spec_before_artifact,
    signature_before_artifact,
    upgrade_by_artifact,
    upgrade_by_spec,
    change_without_restart,
    suspend_and_resume,
    suspend_during_deploy,
    delete_and_rewrite,
    rewrite_during_delete,
    delete_during_deploy,
    slow_main,
    newer_spec_during_upgrade,
    revert_during_upgrade,
    first_submit_refused,
    upgrade_refused,
    upgrade_incompatible,
    upgrade_never_healthy,
    upgrade_crash_loops,
    savepoint_fails,
    cancelled_by_hand,
    cluster_away,
    jobmanager_restarts,
    jobmanager_restarts_during_stop,
    jobmanager_restarts_during_submit,
    jobmanager_restarts_with_kept_jars,
    job_fails,
    bounded_job,
    restart_once,
    savepoint_once,
    invalid_spec_while_running,
    blue_green_upgrade,
    blue_green_refused,
    blue_green_never_healthy,
    blue_green_reverted,
    blue_green_suspended,
    blue_green_jobmanager_lost,
    blue_green_deleted,
    paused_before_upgrade,
    paused_then_deleted,
    cluster_away_for_long,
)
"""Every story; each is told with a fault at every port call."""

OPTIONS: Mapping[str, TwinOptions] = {jobmanager_restarts_with_kept_jars.__name__: TwinOptions(keeps_jars=True)}


def _attempt(world: World) -> int:
    return 0 if world.status is None else world.status.attempt_counter


def _is_up_to_date(world: World) -> bool:
    """Whether the spec as it is now was read, and its revision is the one that runs."""
    status, item = world.status, world.specs.read(JOB)
    if status is None or status.attempt is None or status.desired is None or item is None:
        return False
    return status.observed_spec_hash == hash_item(item) and status.attempt.revision == status.desired.number


def _flink_starts(world: World) -> int:
    return len([start for start in world.flink.history if start.jar_sha256 != world.burn_digest])


def _condition(world: World, type_: str) -> str | None:
    found = None if world.status is None else world.status.condition(type_)
    return None if found is None else found.status


def _waits_for(world: World, reason: str) -> bool:
    status = world.status
    return status is not None and status.waiting is not None and status.waiting[0] == reason


def _circuit(world: World) -> Circuit:
    return world.circuits.read("default").circuit


def _cancel_all(world: World) -> None:
    for job in world.flink.jobs():
        if not job.state.is_terminal:
            world.flink.cancel(job.flink_job_id)
