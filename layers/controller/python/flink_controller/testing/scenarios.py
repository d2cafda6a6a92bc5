"""What teams and clusters do, as short stories that must end well whatever crashes on the way.

Each scenario changes the world and says where it must settle. `run` tells it under one fault; with faults over, the world
must reach the end of the story, and keep every promise on the way.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from flink_controller.domain.actions import Submit
from flink_controller.domain.backup import attempts_listed, reconciled
from flink_controller.domain.circuit import FAILURES_TO_OPEN, Circuit
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.plan import Policy
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import Pause, SymptomKind
from flink_controller.domain.trust import NamespacePolicy, Quotas, Reaction, RegistryEvent
from flink_controller.testing import batch_scenarios, savepoint_scenarios
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import TwinOptions
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.simulator import (
    BUCKET,
    CONTROLLER,
    JOB,
    Fault,
    FaultKind,
    Point,
    ViolationError,
    World,
    spec_item,
)

PATIENCE = timedelta(minutes=30)
"""Virtual time in which a step of a story must settle; the longest waits are leases, the quarantine and backoffs."""
QUIET = timedelta(minutes=2)
"""Virtual time for which the end of a story must stay as it is, without a word."""

Settled = Callable[[World], bool]
Scenario = Callable[[World], Iterator[tuple[str, Settled]]]


@dataclass(frozen=True)
class Told:
    """How a story went."""

    calls: int
    points: tuple[Point, ...]
    struck: tuple[tuple[int, FaultKind, str], ...] = ()
    """Faults that made a difference, with their points."""

    @property
    def trace(self) -> tuple[str, ...]:
        """The names of the points, in order."""
        return tuple(point.name for point in self.points)


def run(scenario: Scenario, *faults: Fault | None, enforces_leases: bool = True) -> Told:
    """Tell a story under some faults.

    Raises:
        ViolationError: a promise was broken, or the world did not settle.
    """
    planned = [fault for fault in faults if fault is not None]
    policy = Policy(controller_id=CONTROLLER, artifact_bucket=BUCKET) if scenario in VITAL_SIGNS else None
    world = World(planned, enforces_leases=enforces_leases, options=OPTIONS.get(scenario.__name__), policy=policy)
    name, settled = "", _at_once()
    for name, settled in scenario(world):
        _settle(world, scenario, name, settled)
    calls = world.calls
    told = Told(calls.count, tuple(calls.trace), tuple(calls.struck))
    # Late effects and repairs first; then it must be as it should be, and stay so.
    if not world.run_until(lambda w: w.is_drained, PATIENCE):
        raise ViolationError(f"L1: {scenario.__name__} never comes to rest")
    world.run_for(QUIET)
    _settle(world, scenario, name, settled)
    spoken = _spoken(world)
    world.run_for(QUIET)
    if not settled(world):
        raise ViolationError(f"L1: {scenario.__name__} does not stay '{name}': {world.lifecycle}")
    if _spoken(world) != spoken:
        raise ViolationError(f"L5: {scenario.__name__} is at rest and goes on telling")
    for job_id in world.promises.watched:
        world.promises.check_rest(job_id)
    return told


def _settle(world: World, scenario: Scenario, name: str, settled: Settled) -> None:
    if not world.run_until(settled, PATIENCE):
        status = world.status
        waiting = None if status is None else status.waiting
        raise ViolationError(f"L1: {scenario.__name__} does not reach '{name}': {world.lifecycle}, waiting for {waiting}")


def _at_once() -> Settled:
    return lambda _: True


def _spoken(world: World) -> dict[str, int]:
    statuses = {job_id: world.status_of(job_id) for job_id in world.promises.watched}
    return {job_id: 0 if status is None else status.event_counter for job_id, status in statuses.items()}


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


def rescale_in_place(world: World) -> Iterator[tuple[str, Settled]]:
    """More parallelism, then less again, of the same running job."""
    yield from first_deploy(world)
    yield from _rescaled(world, 4)
    yield from _rescaled(world, 2)


def rescale_taken_back(world: World) -> Iterator[tuple[str, Settled]]:
    """Another parallelism is asked for and taken back before Flink has acted."""
    yield from first_deploy(world)
    world.put(spec_item(deployment__parallelism=4))
    world.run_for(timedelta(milliseconds=200))
    yield from _rescaled(world, 2)


def rescale_and_new_bytes(world: World) -> Iterator[tuple[str, Settled]]:
    """A new version arrives while the parallelism changes."""
    yield from first_deploy(world)
    world.put(spec_item(deployment__parallelism=3))
    world.run_for(timedelta(milliseconds=200))
    digest = world.upload("v2")
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w) and _has_parallelism(w, 3)


def suspended_while_rescaled(world: World) -> Iterator[tuple[str, Settled]]:
    """A suspend does not wait for another parallelism."""
    yield from first_deploy(world)
    world.put(spec_item(deployment__parallelism=4))
    world.run_for(timedelta(milliseconds=200))
    world.put(spec_item(deployment__parallelism=4, state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    yield from _rescaled(world, 4)


def jobmanager_lost_while_rescaled(world: World) -> Iterator[tuple[str, Settled]]:
    """The JobManager dies while the parallelism changes."""
    yield from first_deploy(world)
    world.put(spec_item(deployment__parallelism=4))
    world.run_for(timedelta(milliseconds=200))
    world.flink.restart_jobmanager()
    yield from _rescaled(world, 4)


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
    yield "relabelled", lambda w: stable_on(digest)(w) and _is_up_to_date(w) and _has_run_on(w)


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
    world.upload("v2", JobBehaviour(main_throws="no such topic"))
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)
    digest = world.upload("v3")
    yield "upgraded", stable_on(digest)


def upgrade_incompatible(world: World) -> Iterator[tuple[str, Settled]]:
    """State does not map: the job exists as FAILED, and the old one comes back."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(state_incompatible=True))
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)


def upgrade_never_healthy(world: World) -> Iterator[tuple[str, Settled]]:
    """Tasks never run: rolled back at the deadline."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(never_schedules=True))
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, old)


def upgrade_crash_loops(world: World) -> Iterator[tuple[str, Settled]]:
    """RUNNING every few seconds, healthy never."""
    yield from first_deploy(world)
    old = world.running_jars[0]
    world.upload("v2", JobBehaviour(fails_after=timedelta(seconds=4)))
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
    yield "seen", lambda w: _condition(w, "ClusterReachable") == "False" or w.is_disturbed
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
    yield "saved", lambda w: stable_on(digest)(w) and _has_saved(1, w)


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
    digest = world.upload("v2")
    yield "upgraded", stable_on(digest)


def blue_green_refused(world: World) -> Iterator[tuple[str, Settled]]:
    """Green's main() throws: blue is untouched."""
    old = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(old)
    world.upload("v2", JobBehaviour(main_throws="no such topic"))
    yield "refused", lambda w: is_in(Lifecycle.ROLLED_BACK, old)(w) and _has_run_on(w)


def blue_green_never_healthy(world: World) -> Iterator[tuple[str, Settled]]:
    """Green never proves itself: it is removed, and blue is untouched."""
    old = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(old)
    world.upload("v2", JobBehaviour(fails_after=timedelta(seconds=4)))
    yield "refused", is_in(Lifecycle.ROLLED_BACK, old)


def blue_green_reverted(world: World) -> Iterator[tuple[str, Settled]]:
    """The change is taken back while green proves itself."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "as before", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def blue_green_suspended(world: World) -> Iterator[tuple[str, Settled]]:
    """Suspended while both run: both end."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
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
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.clock.advance(timedelta(seconds=5))
    world.flink.restart_jobmanager()
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def blue_green_deleted(world: World) -> Iterator[tuple[str, Settled]]:
    """Deleted while both run: nothing is left."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
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
    # What a lost JobManager took with it stays away for as long as the pause is in force.
    yield (
        "paused",
        lambda w: _waits_for(w, "Paused") and (w.is_disturbed or (w.running_jars == [digest] and _attempt(w) == 1)),
    )
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
    yield "open", lambda w: _is_shut_out(w) or w.is_disturbed
    world.put(spec_item(args=["--two"]))
    yield "still open", lambda w: _circuit(w).failures > FAILURES_TO_OPEN + 1 or w.is_disturbed
    world.flink.start_jobmanager()
    yield "back", lambda w: _circuit(w).is_closed and stable_on(digest)(w) and _is_up_to_date(w)


def savepoint_twice(world: World) -> Iterator[tuple[str, Settled]]:
    """Each nonce asks for a savepoint of its own; a job that is lost later comes back from what is newest."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    for number, nonce in enumerate("ab", start=1):
        world.put(spec_item(deployment__savepoint_nonce=nonce))
        yield f"saved {nonce}", partial(_has_saved, number)
    world.clock.advance(timedelta(seconds=25))
    _cancel_all(world)
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


NEIGHBOUR = "neighbour"
NEIGHBOUR_KEY = "artifacts/neighbour.jar"


def two_jobs_one_in_trouble(world: World) -> Iterator[tuple[str, Settled]]:
    """One job fails at everything; the other is deployed and upgraded as if it were alone."""
    world.upload("v1", JobBehaviour(fails_after=timedelta(seconds=4), main=timedelta(seconds=10)))
    world.put(spec_item())
    first = world.upload("n1", key=NEIGHBOUR_KEY)
    world.put(spec_item(job_id=NEIGHBOUR, artifact_path=NEIGHBOUR_KEY))
    yield "both", _neighbour_within(world, timedelta(minutes=5), first)
    world.put({**spec_item(), "nonsense": True})
    world.trust_key(is_trusted=False)
    world.trust_key(is_trusted=True)
    second = world.upload("n2", key=NEIGHBOUR_KEY)
    yield "upgraded", _neighbour_within(world, timedelta(minutes=10), second)


def last_state_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """Cancelled, slowly, and brought back from the newest checkpoint."""
    digest = world.upload("v1", JobBehaviour(cancel=timedelta(seconds=20)))
    world.put(spec_item(deployment__upgrade_mode="last-state"))
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__upgrade_mode="last-state", args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def stateless_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """The spec says that state does not matter."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="stateless"))
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__upgrade_mode="stateless", args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def key_revoked(world: World) -> Iterator[tuple[str, Settled]]:
    """What runs under a revoked key runs on; once lost it does not come back before the key is trusted again."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.trust_key(is_trusted=False)
    world.clock.advance(timedelta(seconds=25))
    world.flink.restart_jobmanager()
    yield "waiting", lambda w: w.running_jars == [] and _waits_for(w, "KeyRevoked")
    world.trust_key(is_trusted=True)
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def key_revoked_and_suspended(world: World) -> Iterator[tuple[str, Settled]]:
    """The policy has a job on a revoked key stopped with its state; trusted again, it goes on from there."""
    policy = NamespacePolicy(namespace="default", on_distrust=Reaction.SUSPEND)
    told = RegistryEvent(time=world.clock.now(), action="Changed", subject="POLICY#default", message="")
    world.registry.put_policy(policy, told)
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.trust_key(is_trusted=False)
    yield "stopped", lambda w: w.running_jars == [] and _waits_for(w, "KeyRevoked")
    world.trust_key(is_trusted=True)
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def object_overwritten_while_away(world: World) -> Iterator[tuple[str, Settled]]:
    """Somebody puts unsigned bytes under the key before a lost job comes back: the pinned version is what runs."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.clock.advance(timedelta(seconds=25))
    world.overwrite()
    world.flink.restart_jobmanager()
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def suspended_with_a_leftover(world: World) -> Iterator[tuple[str, Settled]]:
    """An old attempt is posted again by hand while the job is suspended: it is ended, and what it wrote is not lost."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)
    world.put(spec_item(args=["--two"], state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    _post_by_hand(world, digest, attempt=1)
    # Where its JobManager was lost at once, nobody ever saw it.
    yield "ended", lambda w: is_in(Lifecycle.SUSPENDED)(w) and (_is_told(w, "LeftoverFound") or w.is_disturbed)


def record_older_than_the_cluster(world: World) -> Iterator[tuple[str, Settled]]:
    """The state table comes back from a backup: a job with a number that was never recorded is left alone."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    backup = world.statuses.backup()
    world.put(spec_item(args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)
    world.statuses.restore(backup)
    world.promises.forget_record(JOB)
    # Lost with its JobManager, the job that was never recorded can stop nothing; what came before it left no trace.
    yield (
        "blocked",
        lambda w: (
            (_waits_for(w, "AttemptAhead") and w.running_jars == [digest])
            or (w.is_disturbed and _waits_for(w, "StateUnknown") and not w.running_jars)
        ),
    )


def restored_from_before_an_upgrade(world: World) -> Iterator[tuple[str, Settled]]:
    """Tables come back from before an upgrade: what runs is adopted, and the spec of then follows with its state."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    backup = world.statuses.backup()
    world.put(spec_item(args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)
    _restore(world, backup)
    world.put(spec_item())
    yield "as it was", lambda w: _is_back(w, digest, revision=3)


def restored_and_applied_again(world: World) -> Iterator[tuple[str, Settled]]:
    """The newer spec is applied again to tables from before it: what runs is recognised, and not restarted."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    backup = world.statuses.backup()
    world.put(spec_item(args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)
    starts = len(world.flink.history)
    _restore(world, backup)
    world.put(spec_item(args=["--two"]))
    yield (
        "recognised",
        lambda w: _is_back(w, digest, revision=3) and (w.is_disturbed or len(w.flink.history) == starts),
    )


def restored_after_an_end(world: World) -> Iterator[tuple[str, Settled]]:
    """What was upgraded after the backup and has ended since is followed by its own state, by nothing older."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    backup = world.statuses.backup()
    world.put(spec_item(args=["--two"]))
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)
    world.put(spec_item(args=["--two"], state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    _restore(world, backup)
    world.put(spec_item())
    yield "as it was", lambda w: _is_back(w, digest, revision=3)


def _is_back(world: World, digest: str, *, revision: int) -> bool:
    """Whether a restored job runs as a revision that nothing had before.

    Lost with its JobManager, or forgotten by it, an attempt that was never recorded can be found by nobody, and its
    savepoint neither; what came before it left no trace. Nothing older takes its place.
    """
    if _waits_for(world, "StateUnknown") or world.lifecycle is Lifecycle.COMPLETED:
        return not world.running_jars and (world.is_disturbed or not world.flink.jobs())
    status = world.status
    is_newer = status is not None and status.running is not None and status.running.number >= revision
    return stable_on(digest)(world) and _is_up_to_date(world) and (is_newer or world.is_disturbed)


def _restore(world: World, backup: object) -> None:
    """Do at once what `flinkctl backup restore` does while everything is paused."""
    world.statuses.restore(backup)
    status = world.status
    assert status is not None
    listed = [(cluster, job) for cluster in world.registry.clusters() for job in world.twins[cluster.name].jobs()]
    attempts = [
        replace(one, parameters=world.twins[one.cluster.name].parameters(one.job.flink_job_id))
        for one in attempts_listed(JOB, listed, CONTROLLER)
    ]
    world.statuses.restore(backup, reconciled(status, attempts).status)
    world.promises.forget_record(JOB)


def moved_to_another_cluster(world: World) -> Iterator[tuple[str, Settled]]:
    """Stopped on one cluster, and started from its savepoint on the other."""
    world.add_cluster("other")
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(cluster="other"))
    yield "moved", lambda w: stable_on(digest)(w) and len(w.twins["other"].live_copies()) == 1


def _allow(world: World, *clusters: str) -> None:
    """Say on which clusters the jobs of namespace default may be started."""
    policy = NamespacePolicy(namespace="default", allowed_clusters=clusters)
    told = RegistryEvent(time=world.clock.now(), action="Changed", subject="POLICY#default", message="")
    world.registry.put_policy(policy, told)


def cluster_disallowed(world: World) -> Iterator[tuple[str, Settled]]:
    """What runs where it may not any more is told and runs on; once lost it comes back where it may, with its state."""
    world.add_cluster("other")
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    _allow(world, "other")
    yield "told", lambda w: stable_on(digest)(w) and _is_told(w, "ClusterDisallowed")
    world.clock.advance(timedelta(seconds=25))
    world.flink.restart_jobmanager()
    yield "waiting", lambda w: w.running_jars == [] and _waits_for(w, "ClusterDisallowed")
    world.put(spec_item(cluster="other"))
    yield "elsewhere", lambda w: stable_on(digest)(w) and len(w.twins["other"].live_copies()) == 1


def disallowed_while_it_moves(world: World) -> Iterator[tuple[str, Settled]]:
    """The cluster that a job moves to is closed while it is stopped for it: it waits with its state until one is open."""
    world.add_cluster("other")
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(cluster="other"))
    yield "stopping", lambda w: w.status is not None and (w.status.operation is not None or _is_up_to_date(w))
    _allow(world, "default")
    yield (
        "waiting",
        # Where it was over there already, it runs on.
        lambda w: _waits_for(w, "ClusterDisallowed") or _is_told(w, "ClusterDisallowed"),
    )
    world.put(spec_item())
    yield "back", lambda w: stable_on(digest)(w) and len(w.flink.live_copies()) == 1


def _limit(world: World, slots: int) -> None:
    """Say how many slots the jobs of namespace default may take together."""
    policy = NamespacePolicy(namespace="default", quotas=Quotas(slots=slots))
    told = RegistryEvent(time=world.clock.now(), action="Changed", subject="POLICY#default", message="")
    world.registry.put_policy(policy, told)


def quota_of_slots(world: World) -> Iterator[tuple[str, Settled]]:
    """A quota that begins counts what runs; others wait for room, a larger revision too, and stop nothing before."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    other = world.upload("n1", key=NEIGHBOUR_KEY)
    world.put(spec_item())
    yield "stable", stable_on(digest)
    _limit(world, 3)
    yield "counted", lambda w: stable_on(digest)(w) and _holds(w, JOB) == 2
    world.put(spec_item(job_id=NEIGHBOUR, artifact_path=NEIGHBOUR_KEY))
    yield "full", lambda w: _waits_for(w, "QuotaExceeded", NEIGHBOUR) and w.running_jars_of(NEIGHBOUR) == []
    world.put(spec_item(deployment__parallelism=4))
    # A job that was lost meanwhile waits as what the spec wants now.
    yield "too large", lambda w: _waits_for(w, "QuotaExceeded") and (w.running_jars == [digest] or w.is_disturbed)
    world.put(spec_item(state="suspended"))
    yield "room", lambda w: w.lifecycle_of(NEIGHBOUR) is Lifecycle.STABLE and w.running_jars_of(NEIGHBOUR) == [other]
    world.put(spec_item())
    yield "waiting", lambda w: _waits_for(w, "QuotaExceeded") and w.running_jars == []
    _limit(world, 4)
    yield "both", lambda w: stable_on(digest)(w) and (_holds(w, JOB), _holds(w, NEIGHBOUR)) == (2, 2)
    world.delete(NEIGHBOUR)
    yield "one", lambda w: stable_on(digest)(w) and w.running_jars_of(NEIGHBOUR) == [] and _holds(w, NEIGHBOUR) == 0


def _holds(world: World, job_id: str) -> int:
    status = world.status_of(job_id)
    return 0 if status is None or status.reserved is None else status.reserved.slots


def cluster_away_and_told_once(world: World) -> Iterator[tuple[str, Settled]]:
    """Many looks without an answer: said once."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.kill_jobmanager(timedelta(minutes=8))
    world.run_for(timedelta(minutes=6))
    if not world.calls.struck and _count(world, "ClusterUnreachable") != 1:
        raise ViolationError(f"L5: ClusterUnreachable was told {_count(world, 'ClusterUnreachable')} times")
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def delete_while_the_cluster_is_away(world: World) -> Iterator[tuple[str, Settled]]:
    """A delete takes as long as it takes, and then nothing is left."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.kill_jobmanager(timedelta(minutes=5))
    world.delete()
    yield "deleted", is_in(Lifecycle.DELETED)


def state_storage_away(world: World) -> Iterator[tuple[str, Settled]]:
    """A lost job's state cannot be listed for a while: it waits, and does not begin from nothing."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.clock.advance(timedelta(seconds=25))
    world.outage("storage", timedelta(minutes=8))
    world.flink.restart_jobmanager()
    yield "blocked", lambda w: _waits_for(w, "StateUnknown") or w.calls.struck != []
    yield "back", lambda w: stable_on(digest)(w) and _attempt(w) >= 2


def upgrade_of_what_never_ran(world: World) -> Iterator[tuple[str, Settled]]:
    """The first version never gets a task; its correction replaces it."""
    stuck = world.upload("v1", JobBehaviour(never_schedules=True))
    world.put(spec_item())
    yield "deployed", is_in(Lifecycle.DEPLOYED, stuck)
    digest = world.upload("v2")
    yield "upgraded", stable_on(digest)


def delete_of_what_never_ran(world: World) -> Iterator[tuple[str, Settled]]:
    """An upgrade cannot stop a job that never got a task; the delete that follows ends it all the same."""
    stuck = world.upload("v1", JobBehaviour(never_schedules=True))
    world.put(spec_item())
    yield "deployed", is_in(Lifecycle.DEPLOYED, stuck)
    world.put(spec_item(args=["--two"]))
    world.delete()
    yield "deleted", is_in(Lifecycle.DELETED)


def correction_during_a_refusal(world: World) -> Iterator[tuple[str, Settled]]:
    """A version cannot take over its state, and is corrected before anybody saw that: the correction is what counts."""
    world.upload("v1", JobBehaviour(state_incompatible=True))
    world.put(spec_item())
    yield "stable", lambda w: w.lifecycle is Lifecycle.STABLE
    world.strike("submit", FaultKind.CRASH_AFTER)
    world.put(spec_item(args=["--two"]))
    digest = world.upload("v2")
    yield "corrected", stable_on(digest)


def new_spec_as_the_job_ends(world: World) -> Iterator[tuple[str, Settled]]:
    """A bounded job ends by itself just as its spec changes: the new revision runs too."""
    world.upload("v1", JobBehaviour(finishes_after=timedelta(seconds=50)))
    world.put(spec_item())
    yield "ran", lambda w: w.lifecycle in {Lifecycle.STABLE, Lifecycle.COMPLETED}
    world.clock.advance(timedelta(seconds=40))
    world.put(spec_item(args=["--two"]))
    yield "both ran", lambda w: (w.lifecycle is Lifecycle.COMPLETED and _is_up_to_date(w)) or _is_end_presumed(w)


def bounded_job_forgotten(world: World) -> Iterator[tuple[str, Settled]]:
    """A bounded job ended, and Flink forgot it before anybody looked: it is not begun again from nothing."""
    yield from _ends_unseen(world, world.flink.forget_terminal)


def bounded_job_lost(world: World) -> Iterator[tuple[str, Settled]]:
    """A bounded job ended, and the JobManager was lost before anybody looked: the same."""
    yield from _ends_unseen(world, world.flink.restart_jobmanager)


def bounded_job_failed_over(world: World) -> Iterator[tuple[str, Settled]]:
    """The same with high availability, on a cluster that forgets which jobs have ended."""
    yield from _ends_unseen(world, world.flink.restart_jobmanager)


def _ends_unseen(world: World, forget: Callable[[], None]) -> Iterator[tuple[str, Settled]]:
    world.upload("v1", JobBehaviour(finishes_after=timedelta(seconds=50)))
    world.put(spec_item())
    yield "stable", lambda w: w.lifecycle in {Lifecycle.STABLE, Lifecycle.COMPLETED}
    world.clock.advance(timedelta(seconds=40))
    forget()
    yield "completed", is_in(Lifecycle.COMPLETED)
    if _attempt(world) > 1 and not world.is_disturbed:
        raise ViolationError("S3: a job that had ended was run again from nothing")


def failover(world: World) -> Iterator[tuple[str, Settled]]:
    """With high availability a job comes back by itself: it is watched, and nothing is started."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.clock.advance(timedelta(seconds=25))
    world.flink.kill_jobmanager()
    world.run_for(timedelta(minutes=2))
    world.flink.start_jobmanager()
    yield "back", lambda w: stable_on(digest)(w) and _has_run_on(w)


def failover_during_stop(world: World) -> Iterator[tuple[str, Settled]]:
    """The stop is forgotten, the job goes on: it is stopped again, and upgraded with what it has done since."""
    yield from jobmanager_restarts_during_stop(world)


def failover_after_the_savepoint_of_a_stop(world: World) -> Iterator[tuple[str, Settled]]:
    """The savepoint is complete, the job goes on from an older checkpoint past it: what it does since is not lost."""
    digest = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.flink.holds_ends = True
    world.put(spec_item(args=["--two"]))
    world.clock.advance(timedelta(seconds=2))
    world.flink.restart_jobmanager()
    world.flink.holds_ends = False
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def failover_during_submit(world: World) -> Iterator[tuple[str, Settled]]:
    """main() dies with the JobManager: the same id is submitted again."""
    digest = world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    world.flink.restart_jobmanager()
    yield "stable", stable_on(digest)


def failover_after_a_burn(world: World) -> Iterator[tuple[str, Settled]]:
    """An id that is not wanted any more is used up in a way that a JobManager survives."""
    digest = world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    world.put(spec_item(state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    world.flink.restart_jobmanager()
    world.put(spec_item())
    yield "stable", stable_on(digest)


def blue_green_failover(world: World) -> Iterator[tuple[str, Settled]]:
    """Both come back by themselves, and the upgrade goes on."""
    digest = world.upload("v1")
    world.put(spec_item(deployment__upgrade_mode="blue-green"))
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__upgrade_mode="blue-green", args=["--two"]))
    world.clock.advance(timedelta(seconds=5))
    world.flink.restart_jobmanager()
    yield "upgraded", lambda w: stable_on(digest)(w) and _is_up_to_date(w)


def rollback_to_what_has_ended(world: World) -> Iterator[tuple[str, Settled]]:
    """A completed job's next version fails: there is nothing to go back to, and the first is not run again."""
    first = world.upload("v1", JobBehaviour(finishes_after=timedelta(seconds=50)))
    world.put(spec_item())
    yield "completed", is_in(Lifecycle.COMPLETED)
    world.upload("v2", JobBehaviour(fails_after=timedelta(seconds=4)))
    yield "refused", lambda w: _condition(w, "RevisionHealthy") == "False" or _is_end_presumed(w)
    world.run_for(timedelta(minutes=5))
    if [start.jar_sha256 for start in world.flink.history].count(first) > 1 and not world.is_disturbed:
        raise ViolationError("S3: a job that had completed was run again from nothing")


def savepoint_lost(world: World) -> Iterator[tuple[str, Settled]]:
    """The JobManager is lost while a savepoint is taken: that is said, or it is taken again."""
    digest = world.upload("v1", JobBehaviour(savepoint=timedelta(seconds=20)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__savepoint_nonce="a"))
    world.flink.restart_jobmanager()
    yield "told", lambda w: stable_on(digest)(w) and _has_saved(1, w)


def good_revision_while_nobody_looks(world: World) -> Iterator[tuple[str, Settled]]:
    """An upgrade runs well, and the cluster's interface is away until its deadline is over: no reason to roll back."""
    yield from first_deploy(world)
    digest = world.upload("v2", JobBehaviour(schedule=timedelta(seconds=20)))
    world.run_until(lambda w: w.running_jars == [digest], PATIENCE)
    world.outage("flink[default]", timedelta(minutes=5))
    yield "upgraded", stable_on(digest)


def stateless_start_taken_back(world: World) -> Iterator[tuple[str, Settled]]:
    """A start without state is taken back before it ran: the state is still there for the next one."""
    digest = world.upload("v1", JobBehaviour(main=timedelta(seconds=40)))
    world.put(spec_item())
    yield "stable", stable_on(digest)
    world.put(spec_item(deployment__upgrade_mode="stateless", args=["--two"]))
    world.put(spec_item(state="suspended"))
    yield "suspended", is_in(Lifecycle.SUSPENDED)
    world.put(spec_item())
    yield "back", stable_on(digest)


def upload_that_no_index_names(world: World) -> Iterator[tuple[str, Settled]]:
    """An artifact is uploaded while the index does not show its job yet: found all the same, if late."""
    yield from first_deploy(world)
    world.statuses._indexed = {}  # noqa: SLF001  # an index that knows nobody yet
    digest = world.upload("v2")
    world.statuses.catch_up_indexes()
    yield "upgraded", stable_on(digest)


def _as_application(scenario: Scenario) -> Scenario:
    """Tell a story on a cluster where main() runs by itself."""

    def told(world: World) -> Iterator[tuple[str, Settled]]:
        yield from scenario(world)

    told.__name__ = f"{scenario.__name__}_as_application"
    told.__doc__ = scenario.__doc__
    return told


def main_fails(world: World) -> Iterator[tuple[str, Settled]]:
    """A new version whose main() throws after a while."""
    good = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(good)
    world.upload("v2", JobBehaviour(main=timedelta(seconds=5), main_throws="java.lang.IllegalStateException: no"))
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, good)


def main_never_ends(world: World) -> Iterator[tuple[str, Settled]]:
    """A new version whose main() hangs."""
    good = world.upload("v1")
    world.put(spec_item())
    yield "stable", stable_on(good)
    world.upload("v2", JobBehaviour(main=timedelta(days=365)))
    yield "rolled back", is_in(Lifecycle.ROLLED_BACK, good)


def suspended_in_main(world: World) -> Iterator[tuple[str, Settled]]:
    """A suspend while main() runs: neither job nor main() is left."""
    yield from first_deploy(world)
    world.upload("v2", JobBehaviour(main=timedelta(minutes=3)))
    world.run_for(timedelta(seconds=20))
    world.put(spec_item(state="suspended"))
    yield "suspended", lambda w: is_in(Lifecycle.SUSPENDED)(w) and not w.flink.in_flight()


APPLICATIONS: tuple[Scenario, ...] = tuple(
    _as_application(scenario)
    for scenario in (
        first_deploy,
        slow_main,
        main_fails,
        main_never_ends,
        suspended_in_main,
        suspend_during_deploy,
        delete_during_deploy,
        first_submit_refused,
        upgrade_incompatible,
        jobmanager_restarts_during_submit,
        blue_green_refused,
        upgrade_of_what_never_ran,
    )
)
"""Stories on a cluster that takes `run-application`."""

RESCALES: tuple[Scenario, ...] = (
    rescale_in_place,
    rescale_taken_back,
    rescale_and_new_bytes,
    suspended_while_rescaled,
    jobmanager_lost_while_rescaled,
)
"""Stories on a cluster with the adaptive scheduler."""


def _cared_for(**policy: object) -> dict[str, object]:
    """Give a spec with short windows and a policy for what is unhealthy."""
    return spec_item(
        deployment__on_failure={"backoff_seconds": 10, "limit": 3, **policy},
        monitoring__checkpoint_window_seconds=60,
        monitoring__restart_window_seconds=120,
        monitoring__backpressure_window_seconds=60,
    )


def _well(digest: str, *reasons: str) -> Settled:
    """Settled: stable without a symptom, and each of these told once."""

    def is_so(world: World) -> bool:
        told = [event.reason for event in world.statuses.events(JOB)]
        status = world.status
        is_cured = status is not None and status.symptoms == ()
        return stable_on(digest)(world) and is_cured and all(told.count(reason) == 1 for reason in reasons)

    return is_so


def checkpoints_stall_and_the_policy_restarts(world: World) -> Iterator[tuple[str, Settled]]:
    """No checkpoint completes any more; the job is restarted from its newest one, and does well there."""
    digest = world.upload("v1")
    world.put(_cared_for(when="unhealthy"))
    yield "stable", stable_on(digest)
    world.flink.holds_snapshots = True
    yield "restarted", lambda w: w.status is not None and w.status.attempt_counter >= 2 and w.running_jars == [digest]
    world.flink.holds_snapshots = False
    yield "well", _well(digest, "CheckpointStalled", "CheckpointRecovered")


def checkpoints_stall_and_the_policy_is_none(world: World) -> Iterator[tuple[str, Settled]]:
    """No checkpoint completes for a while; that is told, and nothing is done."""
    digest = world.upload("v1")
    world.put(_cared_for(action="none", when="unhealthy"))
    yield "stable", stable_on(digest)
    world.flink.holds_snapshots = True
    yield "told", lambda w: w.status is not None and w.status.symptoms != ()
    world.flink.holds_snapshots = False
    yield "well", lambda w: _well(digest, "CheckpointStalled", "CheckpointRecovered")(w) and _has_run_on(w)


def tasks_stay_away_and_the_policy_gives_up(world: World) -> Iterator[tuple[str, Settled]]:
    """Without TaskManagers no restart helps: three are tried, and then the job is left to Flink until they are back."""
    digest = world.upload("v1")
    world.put(_cared_for(when="unhealthy"))
    yield "stable", stable_on(digest)
    world.flink.kill_taskmanagers()
    # A fault that kills TaskManagers brings them back too.
    yield "given up", lambda w: w.is_disturbed or _waits_for(w, "RecoveryGivenUp")
    world.flink.start_taskmanagers()
    yield "well", _well(digest)


def restarts_loop_and_settle(world: World) -> Iterator[tuple[str, Settled]]:
    """Flink restarts the job again and again, until a new version mends that; both are told once."""
    world.upload("v1", JobBehaviour(fails_after=timedelta(seconds=45), restarts=1000))
    world.put(_cared_for())
    yield "looping", lambda w: w.status is not None and w.status.symptom(SymptomKind.RESTARTS) is not None
    digest = world.upload("v2")
    yield "well", _well(digest, "RestartLooping", "RestartsSettled")


VITAL_SIGNS: tuple[Scenario, ...] = (
    checkpoints_stall_and_the_policy_restarts,
    checkpoints_stall_and_the_policy_is_none,
    tasks_stay_away_and_the_policy_gives_up,
    restarts_loop_and_settle,
)
"""Stories in which ticks sample running jobs."""

SCENARIOS: tuple[Scenario, ...] = (
    *VITAL_SIGNS,
    *APPLICATIONS,
    *RESCALES,
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
    savepoint_twice,
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
    two_jobs_one_in_trouble,
    last_state_upgrade,
    stateless_upgrade,
    key_revoked,
    key_revoked_and_suspended,
    object_overwritten_while_away,
    suspended_with_a_leftover,
    record_older_than_the_cluster,
    restored_from_before_an_upgrade,
    restored_and_applied_again,
    restored_after_an_end,
    moved_to_another_cluster,
    cluster_disallowed,
    quota_of_slots,
    disallowed_while_it_moves,
    cluster_away_and_told_once,
    delete_while_the_cluster_is_away,
    state_storage_away,
    upgrade_of_what_never_ran,
    delete_of_what_never_ran,
    correction_during_a_refusal,
    new_spec_as_the_job_ends,
    bounded_job_forgotten,
    bounded_job_lost,
    bounded_job_failed_over,
    failover,
    failover_during_stop,
    failover_after_the_savepoint_of_a_stop,
    failover_during_submit,
    failover_after_a_burn,
    blue_green_failover,
    rollback_to_what_has_ended,
    savepoint_lost,
    good_revision_while_nobody_looks,
    stateless_start_taken_back,
    upload_that_no_index_names,
    *batch_scenarios.STORIES,
    *savepoint_scenarios.STORIES,
)
"""Every story; each is told with every fault at every point."""

OPTIONS: Mapping[str, TwinOptions] = {
    jobmanager_restarts_with_kept_jars.__name__: TwinOptions(keeps_jars=True),
    **{scenario.__name__: TwinOptions(is_adaptive=True) for scenario in RESCALES},
    batch_scenarios.run_failed_over.__name__: TwinOptions(high_availability=True, forgets_ended=True),
    bounded_job_failed_over.__name__: TwinOptions(high_availability=True, forgets_ended=True),
    **{
        scenario.__name__: TwinOptions(high_availability=True)
        for scenario in (
            failover,
            failover_during_stop,
            failover_after_the_savepoint_of_a_stop,
            failover_during_submit,
            failover_after_a_burn,
            blue_green_failover,
        )
    },
    **{scenario.__name__: TwinOptions(runs_applications=True) for scenario in APPLICATIONS},
}


def _attempt(world: World) -> int:
    return 0 if world.status is None else world.status.attempt_counter


def _has_run_on(world: World) -> bool:
    """Whether the first attempt was never replaced, unless its JobManager was."""
    return len({start.flink_job_id for start in world.flink.history}) == 1 or world.is_disturbed


def _is_up_to_date(world: World) -> bool:
    """Whether the spec as it is now was read, and its revision is the one that runs."""
    status, item = world.status, world.specs.read(JOB)
    if status is None or status.attempt is None or status.desired is None or item is None:
        return False
    return status.observed_spec_hash == hash_item(item) and status.attempt.revision == status.desired.number


def _rescaled(world: World, parallelism: int) -> Iterator[tuple[str, Settled]]:
    world.put(spec_item(deployment__parallelism=parallelism))
    (digest,) = {start.jar_sha256 for start in world.flink.history}
    yield f"at {parallelism}", lambda w: stable_on(digest)(w) and _is_up_to_date(w) and _has_parallelism(w, parallelism)


def _has_parallelism(world: World, parallelism: int) -> bool:
    """Whether the job on Flink asks for a parallelism and has it."""
    attempt = None if world.status is None else world.status.attempt
    if attempt is None or not world.flink.is_up:
        return False
    vertices = world.flink.vertices(attempt.flink_job_id)
    return vertices is not None and {(vertex.wanted, vertex.actual) for vertex in vertices} == {(parallelism, parallelism)}


def _is_end_presumed(world: World) -> bool:
    """Whether a fault has hidden a job's end, so that nothing begins anew before somebody says so."""
    handover = None if world.status is None else world.status.handover
    return handover is not None and handover.is_presumed and _waits_for(world, "StateUnknown")


def _has_saved(number: int, world: World) -> bool:
    told = world.promises.told(JOB, lambda told: told in {"SavepointCompleted", "SavepointFailed"}).total()
    return told >= number or world.is_disturbed


def _is_told(world: World, reason: str) -> bool:
    return any(told == reason for told, _ in world.promises.told(JOB))


def _count(world: World, reason: str) -> int:
    return world.promises.told(JOB, lambda told: told == reason).total()


def _waits_for(world: World, reason: str, job_id: str = JOB) -> bool:
    status = world.status_of(job_id)
    return status is not None and status.waiting is not None and status.waiting[0] == reason


def _neighbour_within(world: World, patience: timedelta, digest: str) -> Settled:
    """Settled: the neighbour is stable on these bytes, and was in good time."""
    until = world.clock.now() + patience

    def settled(now: World) -> bool:
        status = now.status_of(NEIGHBOUR)
        is_there = now.lifecycle_of(NEIGHBOUR) is Lifecycle.STABLE and now.running_jars_of(NEIGHBOUR) == [digest]
        if not is_there and not now.calls.struck and now.clock.now() > until:
            waiting = None if status is None else status.waiting
            raise ViolationError(
                f"L2: the neighbour is not stable in time: {now.lifecycle_of(NEIGHBOUR)}, waiting for {waiting}"
            )
        return is_there

    return settled


def _post_by_hand(world: World, digest: str, *, attempt: int) -> None:
    """Post an old attempt's id to a JobManager that does not know it any more, from the newest state."""
    assert world.status is not None
    assert world.status.handover is not None
    job_id = f"{world.promises.tag_of(JOB)}{attempt:016x}"
    world.flink.restart_jobmanager()
    world.promises.by_hand.add(job_id)
    content = jar_bytes("v1")
    assert hashlib.sha256(content).hexdigest() == digest
    jar_id = world.flink.upload_jar("by-hand.jar", io.BytesIO(content), len(content)).jar_id
    world.flink.submit(
        Submit(
            flink_job_id=job_id,
            jar_id=jar_id,
            entry_class=None,
            args=(),
            parallelism=1,
            restore_from=world.status.handover.path,
            allow_non_restored_state=False,
            configuration={"pipeline.name": JOB},
        )
    )


def _condition(world: World, type_: str) -> str | None:
    found = None if world.status is None else world.status.condition(type_)
    return None if found is None else found.status


def _circuit(world: World) -> Circuit:
    return world.circuits.read("default").circuit


def _is_shut_out(world: World) -> bool:
    return not _circuit(world).is_closed and _condition(world, "ClusterReachable") == "False"


def _cancel_all(world: World) -> None:
    for job in world.flink.jobs() if world.flink.is_up else ():
        if not job.state.is_terminal:
            world.flink.cancel(job.flink_job_id)
