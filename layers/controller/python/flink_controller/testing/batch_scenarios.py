"""Stories of batch jobs. S7 and S8 are checked in all of them; where a fault takes a run away, its record must say so."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.status import RunOutcome
from flink_controller.domain.trust import NamespacePolicy, Reaction, RegistryEvent
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.simulator import JOB, World, spec_item

Settled = Callable[[World], bool]
QUICK = JobBehaviour(is_batch=True, finishes_after=timedelta(seconds=4))
SLOW = JobBehaviour(is_batch=True, finishes_after=timedelta(seconds=100))
ENDLESS = JobBehaviour(is_batch=True)
FAILING = JobBehaviour(is_batch=True, fails_after=timedelta(seconds=1), restarts=0)


def batch_item(state: str = "running", **config: Any) -> dict[str, Any]:
    """Give a batch job's spec item."""
    return {
        **{name: value for name, value in spec_item().items() if name in {"job_id", "artifact_path"}},
        "job_type": "batch",
        "state": state,
        "deployment": {"on_failure": {"backoff_seconds": 5}},
        "batch_config": config,
    }


def outcomes(world: World) -> list[RunOutcome]:
    """Tell what became of each instant, oldest first."""
    return [run.outcome for run in world.statuses.runs(JOB)]


def has_ended(*lifecycles: Lifecycle) -> Settled:
    """Settled: no run is active or waits, nothing lives, and every instant has its record."""

    def settled(world: World) -> bool:
        status = world.status
        if status is None or world.lifecycle not in lifecycles or world.running_jars:
            return False
        return not status.runs.active and not status.runs.pending and RunOutcome.RUNNING not in outcomes(world)

    return settled


DONE = has_ended(Lifecycle.COMPLETED, Lifecycle.FAILED)
"""Where a JobManager was lost with the only run, the run is Lost and the job has failed."""


def run_once(world: World) -> Iterator[tuple[str, Settled]]:
    """A job without a schedule, then another revision of it."""
    world.upload("b1", QUICK)
    world.put(batch_item())
    yield "has run", lambda w: DONE(w) and len(outcomes(w)) >= 1
    world.put({**batch_item(), "args": ["--again"]})
    yield "has run again", lambda w: DONE(w) and len(outcomes(w)) >= 2


def revised_while_running(world: World) -> Iterator[tuple[str, Settled]]:
    """Two new revisions of a job without a schedule while its run goes on: the newest runs after it, once."""
    world.upload("b1", SLOW)
    world.put(batch_item())
    yield "runs", lambda w: len(w.running_jars) == 1 or DONE(w)
    world.put({**batch_item(), "args": ["--two"]})
    yield "the second is accepted", lambda w: w.status is not None and w.status.revision_counter == 2
    world.put({**batch_item(), "args": ["--three"]})
    yield "the newest has run", lambda w: DONE(w) and w.statuses.runs(JOB)[-1].revision == 3


def scheduled_runs(world: World) -> Iterator[tuple[str, Settled]]:
    """Every minute until there were three."""
    world.upload("b1", QUICK)
    world.put(batch_item(cron="* * * * *", max_runs=3))
    yield "all have run", lambda w: has_ended(Lifecycle.COMPLETED)(w) and _started(w) == 3


def overlapping_runs(world: World) -> Iterator[tuple[str, Settled]]:
    """Runs that take longer than the schedule allows, side by side."""
    world.upload("b1", SLOW)
    world.put(batch_item(cron="* * * * *", max_runs=2, overlap_policy="allow"))
    yield "all have run", lambda w: has_ended(Lifecycle.COMPLETED)(w) and _started(w) == 2


def replaced_runs(world: World) -> Iterator[tuple[str, Settled]]:
    """Each instant ends the run before."""
    world.upload("b1", SLOW)
    world.put(batch_item(cron="* * * * *", max_runs=2, overlap_policy="replace"))
    yield "the last has run", lambda w: has_ended(Lifecycle.COMPLETED)(w) and _started(w) == 2


def expiring_run(world: World) -> Iterator[tuple[str, Settled]]:
    """A run that would never end, under a time to live."""
    world.upload("b1", ENDLESS)
    world.put(batch_item(ttl_seconds=20))
    yield "expired", lambda w: DONE(w) and _started(w) == 1


def failing_run(world: World) -> Iterator[tuple[str, Settled]]:
    """A run that fails, and fails again when it is retried."""
    world.upload("b1", FAILING)
    world.put(batch_item(backoff_limit=1))
    yield "failed", lambda w: has_ended(Lifecycle.FAILED)(w) and _started(w) == 1


def outage_of_the_clocks(world: World) -> Iterator[tuple[str, Settled]]:
    """Nobody looks for an hour; what was missed is made up for, one after another."""
    world.upload("b1", QUICK)
    world.put(batch_item(cron="*/10 * * * *", missed_run_policy="run_all", max_runs=4))
    yield "scheduled", lambda w: w.status is not None and w.status.due is not None
    world.clock.advance(timedelta(minutes=35))
    yield "made up for", lambda w: has_ended(Lifecycle.COMPLETED)(w) and _started(w) == 4


def suspended_batch(world: World) -> Iterator[tuple[str, Settled]]:
    """Suspended while a run is active, resumed, run by hand, deleted."""
    world.upload("b1", QUICK)
    world.put(batch_item(cron="0 0 1 1 *", run_now={"nonce": "1"}))
    world.put(batch_item(state="suspended", cron="0 0 1 1 *", run_now={"nonce": "1"}))
    yield "suspended", has_ended(Lifecycle.SUSPENDED)
    world.put(batch_item(cron="0 0 1 1 *", run_now={"nonce": "2"}))
    yield "ran by hand", lambda w: has_ended(Lifecycle.STABLE)(w) and _started(w) >= 1
    world.delete()
    yield "deleted", has_ended(Lifecycle.DELETED)


def deleted_while_running(world: World) -> Iterator[tuple[str, Settled]]:
    """Deleted with runs active; nothing of them lives on."""
    world.upload("b1", ENDLESS)
    world.put(batch_item(cron="* * * * *", overlap_policy="allow"))
    world.run_for(timedelta(seconds=90))
    world.delete()
    # Where every look died, the job was gone before anybody knew of it.
    yield "deleted", lambda w: w.status is None or has_ended(Lifecycle.DELETED)(w)


def lost_run(world: World) -> Iterator[tuple[str, Settled]]:
    """The JobManager is lost with a run; it is not repeated."""
    world.upload("b1", ENDLESS)
    world.put(batch_item(backoff_limit=3))
    yield "runs", lambda w: len(w.running_jars) == 1 or DONE(w)
    world.flink.restart_jobmanager()
    yield "lost", lambda w: DONE(w) and _started(w) == 1


def run_failed_over(world: World) -> Iterator[tuple[str, Settled]]:
    """With high availability, on a Flink that forgets what has ended: a run that it takes over is the same run."""
    world.upload("b1", QUICK)
    world.put(batch_item(cron="* * * * *", max_runs=2, backoff_limit=2))
    yield "runs", lambda w: _started(w) >= 1
    world.flink.restart_jobmanager()
    yield "all have run", lambda w: has_ended(Lifecycle.COMPLETED)(w) and _started(w) == 2


def key_revoked_during_a_run(world: World) -> Iterator[tuple[str, Settled]]:
    """The policy has runs on a revoked key cancelled; trusted again, the next instant runs."""
    policy = NamespacePolicy(namespace="default", on_distrust=Reaction.SUSPEND)
    told = RegistryEvent(time=world.clock.now(), action="Changed", subject="POLICY#default", message="")
    world.registry.put_policy(policy, told)
    world.upload("b1", ENDLESS)
    world.put(batch_item(cron="*/5 * * * *", overlap_policy="allow"))
    yield "runs", lambda w: _started(w) >= 1
    world.trust_key(is_trusted=False)
    yield "nothing lives", lambda w: not w.running_jars and w.status is not None and not w.status.runs.active
    world.trust_key(is_trusted=True)
    started = _started(world)
    yield "runs again", lambda w: len(w.running_jars) >= 1 and _started(w) > started
    world.delete()
    yield "deleted", has_ended(Lifecycle.DELETED)


def _started(world: World) -> int:
    return 0 if world.status is None else world.status.runs.started


STORIES = (
    run_once,
    revised_while_running,
    scheduled_runs,
    overlapping_runs,
    replaced_runs,
    expiring_run,
    failing_run,
    outage_of_the_clocks,
    suspended_batch,
    deleted_while_running,
    lost_run,
    run_failed_over,
    key_revoked_during_a_run,
)
