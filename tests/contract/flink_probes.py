"""What a Flink session cluster does, asked through the ports: the same questions to the twin and to the real one.

The protocol stands on these answers, and the simulator is worth as much as the twin that gives them. Numbers F and M
are those of the measurements that came first; N are later ones.
"""

import json
import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Final

import pytest

from flink_controller.domain.errors import FlinkUnreachableError
from flink_controller.domain.names import application_id
from flink_controller.domain.observation import (
    Accepted,
    ApplicationSeen,
    Checkpoint,
    CheckpointProgress,
    Checkpoints,
    FlinkState,
    JobSeen,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    StoredState,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
    TriggerUnknown,
)
from tests.contract.flink_worlds import HEARTBEAT_TIMEOUT, MAIN, RETAINING, SLOTS, STATISTICS_AGE, STORE_DURATION, Probe

MISSING: Final = "file:///nowhere/savepoint-000000-000000000000"
UNKNOWN_JAR: Final = "00000000-0000-0000-0000-000000000000"
SOON: Final = timedelta(milliseconds=700)
PROBES: Final[list[tuple[str, Callable[[Probe], None]]]] = []
"""Every probe with its number. Those that end processes come last, because they end other probes' jobs too."""
FAILOVER_PROBES: Final[list[tuple[str, Callable[[Probe], None]]]] = []
"""What is asked of a cluster with high availability, one with `job-result-store.delete-on-commit: false`."""


def probe(
    *numbers: str, of: list[tuple[str, Callable[[Probe], None]]] = PROBES
) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
    """Register a probe under the numbers of what it finds out."""

    def register(function: Callable[[Probe], None]) -> Callable[[Probe], None]:
        of.append(("+".join(numbers), function))
        return function

    return register


@probe("F01")
def an_upload_is_not_idempotent(probe: Probe) -> None:
    first, second = probe.world.upload("counter"), probe.world.upload("counter")

    listed = {jar.jar_id: jar.name for jar in probe.flink.jars()}
    assert first != second
    assert listed[first] == listed[second] == "probe-counter.jar"


@probe("F02")
def the_id_of_a_running_job_is_refused(probe: Probe) -> None:
    job = probe.start()

    answer = probe.submit("counter", job)

    _is_duplicate(answer)
    assert probe.is_processing(job)
    assert probe.world.copies(job) == 1


@probe("F03")
def of_eight_submits_at_once_one_wins(probe: Probe) -> None:
    job = probe.new_id()
    request = probe.request("counter", job)

    answers = probe.world.together([lambda: probe.flink.submit(request)] * 8)

    assert sum(1 for answer in answers if answer == Accepted()) == 1
    assert sum(1 for answer in answers if isinstance(answer, Refused) and answer.kind is RefusalKind.DUPLICATE) == 7
    probe.wait(lambda: probe.is_processing(job))
    probe.world.pass_time(SOON)
    assert probe.world.copies(job) == 1


@probe("F04")
def a_submit_that_nobody_waits_for_lands_all_the_same(probe: Probe) -> None:
    job = probe.new_id()

    answer = probe.world.impatient(probe.request("slow-main", job))

    assert isinstance(answer, NoAnswer)
    assert probe.seen(job) is None
    probe.wait(lambda: probe.is_processing(job))


@probe("F05", "F06")
def the_id_of_a_job_that_ended_is_refused(probe: Probe) -> None:
    finished, canceled = probe.new_id(), probe.start()
    probe.submit("bounded", finished)
    probe.flink.cancel(canceled)
    probe.wait_for_state(finished, FlinkState.FINISHED)
    probe.wait_for_state(canceled, FlinkState.CANCELED)

    for job in (finished, canceled):
        _is_duplicate(probe.submit("counter", job))


@probe("F07", "F08")
def a_missing_savepoint_uses_the_id_up(probe: Probe) -> None:
    job = probe.new_id()

    answer = probe.submit("counter", job, restore_from=MISSING)

    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.PROGRAM
    assert answer.cause == (
        f"java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory '{MISSING}' on file system 'file'."
    )
    assert probe.state(job) is FlinkState.FAILED
    assert probe.flink.root_cause(job) == answer.cause
    _is_duplicate(probe.submit("counter", job))


@probe("F09", "F12", "F19")
def a_savepoint_asked_for_twice_is_taken_once(probe: Probe) -> None:
    job, trigger, directory = probe.start(), probe.new_trigger(), probe.world.directory()

    answers = [probe.flink.savepoint(job, trigger_id=trigger, target_directory=directory) for _ in range(2)]

    assert answers == [Accepted(), Accepted()]
    probe.wait(lambda: not isinstance(probe.flink.trigger(job, trigger), TriggerInProgress))
    first, second = probe.flink.trigger(job, trigger), probe.flink.trigger(job, trigger)
    assert isinstance(first, TriggerCompleted)
    assert first == second
    assert probe.world.savepoints_under(directory) == 1
    parent, _, name = first.path.rpartition("/")
    assert parent == directory
    start, tag, rest = name.split("-")
    assert (start, tag, len(rest)) == ("savepoint", job[:6], 12)
    assert probe.is_processing(job)


@probe("F22")
def a_savepoint_is_disposed_of_once_and_asked_for_twice_without_harm(probe: Probe) -> None:
    job, trigger, directory = probe.start(), probe.new_trigger(), probe.world.directory()
    probe.flink.savepoint(job, trigger_id=trigger, target_directory=directory)
    probe.wait(lambda: isinstance(probe.flink.trigger(job, trigger), TriggerCompleted))
    status = probe.flink.trigger(job, trigger)
    assert isinstance(status, TriggerCompleted)
    assert probe.world.storage.holds(status.path) is True

    answers = [probe.flink.dispose(status.path)]
    probe.wait(lambda: probe.world.storage.holds(status.path) is False)
    answers.append(probe.flink.dispose(status.path))
    answers.append(probe.flink.dispose(MISSING))

    assert answers == [Accepted()] * 3
    assert probe.world.savepoints_under(directory) == 0
    assert probe.is_processing(job)


@probe("F10")
def a_stop_under_a_savepoints_trigger_does_nothing(probe: Probe) -> None:
    job, trigger, directory = probe.start(), probe.new_trigger(), probe.world.directory()
    probe.flink.savepoint(job, trigger_id=trigger, target_directory=directory)
    probe.wait(lambda: isinstance(probe.flink.trigger(job, trigger), TriggerCompleted))

    answer = probe.flink.stop(job, trigger_id=trigger, target_directory=directory)

    assert answer == Accepted()
    probe.world.pass_time(SOON)
    assert probe.is_processing(job)
    assert probe.world.savepoints_under(directory) == 1


@probe("F11", "F16")
def a_stop_asked_for_twice_stops_once_and_leaves_its_savepoint(probe: Probe) -> None:
    job, trigger, directory = probe.start(), probe.new_trigger(), probe.world.directory()

    answers = [probe.flink.stop(job, trigger_id=trigger, target_directory=directory) for _ in range(2)]

    assert answers == [Accepted(), Accepted()]
    probe.wait_for_state(job, FlinkState.FINISHED)
    status = probe.flink.trigger(job, trigger)
    assert isinstance(status, TriggerCompleted)
    assert probe.world.savepoints_under(directory) == 1
    probe.world.pass_time(STATISTICS_AGE)
    checkpoints = _checkpoints(probe, job)
    assert checkpoints.savepoint is not None
    assert (checkpoints.savepoint.path, checkpoints.savepoint.is_stop) == (status.path, True)
    assert checkpoints.newest == checkpoints.savepoint


@probe("F13", "F14")
def a_trigger_that_was_forgotten_takes_another_savepoint(probe: Probe) -> None:
    job, trigger, directory = probe.start(), probe.new_trigger(), probe.world.directory()
    probe.flink.savepoint(job, trigger_id=trigger, target_directory=directory)
    probe.wait(lambda: isinstance(probe.flink.trigger(job, trigger), TriggerCompleted))

    probe.world.pass_time(STORE_DURATION)
    probe.wait(lambda: probe.flink.trigger(job, trigger) == TriggerUnknown(), seconds=3 * STORE_DURATION.total_seconds())
    probe.flink.savepoint(job, trigger_id=trigger, target_directory=directory)

    probe.wait(lambda: isinstance(probe.flink.trigger(job, trigger), TriggerCompleted))
    assert probe.world.savepoints_under(directory) == 2


@probe("F15")
def a_stop_of_a_stopped_job_is_accepted_and_fails(probe: Probe) -> None:
    job, trigger = probe.start(), probe.new_trigger()
    probe.stop(job)

    answer = probe.flink.stop(job, trigger_id=trigger, target_directory=probe.world.directory())

    assert answer == Accepted()
    probe.wait(lambda: not isinstance(probe.flink.trigger(job, trigger), TriggerInProgress))
    assert probe.flink.trigger(job, trigger) == TriggerFailed(
        f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({job})"
    )


@probe("F17")
def a_cancel_is_accepted_until_a_job_has_ended_otherwise(probe: Probe) -> None:
    canceled, finished = probe.start(), probe.new_id()
    probe.submit("bounded", finished)
    probe.wait_for_state(finished, FlinkState.FINISHED)
    first = probe.flink.cancel(canceled)
    probe.wait_for_state(canceled, FlinkState.CANCELED)

    again, late = probe.flink.cancel(canceled), probe.flink.cancel(finished)

    assert (first, again) == (Accepted(), Accepted())
    assert isinstance(late, Refused)
    assert late.cause.endswith("the job has already reached another terminal state (FINISHED).")


@probe("F18")
def what_flink_does_not_know_it_says_so(probe: Probe) -> None:
    known, unknown, trigger = probe.start(), probe.new_id(), probe.new_trigger()

    cancel = probe.flink.cancel(unknown)

    assert probe.flink.checkpoints(unknown) is None
    assert probe.flink.root_cause(unknown) is None
    assert probe.flink.trigger(unknown, trigger) == TriggerUnknown()
    assert probe.flink.trigger(known, trigger) == TriggerUnknown()
    assert cancel == Refused(
        RefusalKind.OTHER,
        f"org.apache.flink.runtime.messages.FlinkJobNotFoundException: Could not find Flink job ({unknown})",
    )


@probe("F23")
def a_job_without_slots_is_running_by_name_only(probe: Probe) -> None:
    job, trigger = probe.new_id(), probe.new_trigger()

    answer = probe.submit("counter", job, parallelism=SLOTS + 1)

    assert answer == Accepted()
    probe.wait_for_state(job, FlinkState.RUNNING)
    probe.world.pass_time(SOON)
    seen = probe.seen(job)
    assert seen is not None
    assert (seen.state, seen.tasks_running) == (FlinkState.RUNNING, 0)
    assert seen.tasks_total > 0
    assert not seen.is_processing
    assert probe.flink.stop(job, trigger_id=trigger, target_directory=probe.world.directory()) == Accepted()
    probe.wait(lambda: not isinstance(probe.flink.trigger(job, trigger), TriggerInProgress))
    status = probe.flink.trigger(job, trigger)
    assert isinstance(status, TriggerFailed)
    assert "Not all required tasks are currently running" in status.cause
    assert probe.state(job) is FlinkState.RUNNING


@probe("M3")
def an_id_is_burned_while_the_submit_that_wants_it_is_under_way(probe: Probe) -> None:
    job = probe.new_id()
    probe.world.in_background(probe.request("slow-main", job))

    burned = probe.submit("burn", job, restore_from=MISSING)

    assert isinstance(burned, Refused)
    assert burned.kind is RefusalKind.PROGRAM
    probe.world.pass_time(MAIN + SOON)
    assert probe.state(job) is FlinkState.FAILED
    assert probe.world.copies(job) == 0


@probe("M4")
def submits_beside_a_slow_one_run_main_in_vain(probe: Probe) -> None:
    job = probe.new_id()
    request = probe.request("slow-main", job)
    for _ in range(2):
        probe.world.in_background(request)

    assert probe.seen(job) is None
    last = probe.flink.submit(request)

    _is_duplicate(last)
    probe.wait(lambda: probe.is_processing(job))
    probe.world.pass_time(SOON)
    assert probe.world.copies(job) == 1


@probe("M8")
def a_streaming_job_without_checkpoints_says_so(probe: Probe) -> None:
    job = probe.start(configuration={})

    assert _checkpoints(probe, job) == Checkpoints(is_enabled=False, deletes_on_cancellation=True)
    assert probe.flink.checkpoint_progress(job) in {None, CheckpointProgress()}


@probe("M10")
def a_batch_job_ignores_a_savepoint_that_does_not_exist(probe: Probe) -> None:
    job = probe.new_id()

    answer = probe.submit("batch", job, restore_from=MISSING)

    assert answer == Accepted()
    probe.wait_for_state(job, FlinkState.FINISHED)
    assert _checkpoints(probe, job) == Checkpoints(is_enabled=False)


@probe("N20")
def a_batch_job_is_accepted_for_a_stop_and_goes_on(probe: Probe) -> None:
    job, directory = probe.start("long-batch"), probe.world.directory()

    for ask in (probe.flink.stop, probe.flink.savepoint):
        trigger = probe.new_trigger()
        assert ask(job, trigger_id=trigger, target_directory=directory) == Accepted()
        probe.wait(lambda trigger=trigger: probe.flink.trigger(job, trigger) != TriggerInProgress())  # type: ignore[misc]  # bound per turn
        status = probe.flink.trigger(job, trigger)
        assert isinstance(status, TriggerFailed)
        assert status.cause == f"java.lang.IllegalStateException: Job {job} is not a streaming job."

    assert probe.is_processing(job)
    assert probe.flink.cancel(job) == Accepted()
    probe.wait_for_state(job, FlinkState.CANCELED)


@probe("M11")
def an_id_outlives_a_main_that_throws_and_a_class_that_is_missing(probe: Probe) -> None:
    job = probe.new_id()

    thrown, missing = probe.submit("failing-main", job), probe.submit("missing-class", job)

    assert thrown == Refused(RefusalKind.PROGRAM, "java.lang.IllegalArgumentException: CounterJob was told to fail in main")
    assert missing == Refused(RefusalKind.PROGRAM, "java.lang.ClassNotFoundException: com.example.Missing")
    assert probe.seen(job) is None
    assert probe.submit("counter", job) == Accepted()
    probe.wait(lambda: probe.is_processing(job))


@probe("P01")
def a_plan_runs_main_and_starts_nothing(probe: Probe) -> None:
    job = probe.new_id()

    planned = probe.flink.plan(probe.request("counter", job))
    thrown = probe.flink.plan(probe.request("failing-main", job))
    missing = probe.flink.plan(probe.request("missing-class", job))
    gone = probe.flink.plan(replace(probe.request("counter", job), jar_id=f"{UNKNOWN_JAR}_probe.jar"))

    assert planned == Accepted()
    assert thrown == Refused(RefusalKind.PROGRAM, "java.lang.IllegalArgumentException: CounterJob was told to fail in main")
    assert missing == Refused(RefusalKind.PROGRAM, "java.lang.ClassNotFoundException: com.example.Missing")
    assert isinstance(gone, Refused)
    assert gone.kind is RefusalKind.JAR_GONE
    assert probe.seen(job) is None
    assert probe.submit("counter", job) == Accepted()
    probe.wait(lambda: probe.is_processing(job))


@probe("M12")
def our_own_jar_burns_an_id_that_was_never_seen(probe: Probe) -> None:
    job = probe.new_id()

    answer = probe.submit("burn", job, restore_from=MISSING, configuration={})

    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.PROGRAM
    seen = probe.seen(job)
    assert seen is not None
    assert (seen.state, seen.tasks_total) == (FlinkState.FAILED, 0)
    _is_duplicate(probe.submit("counter", job))
    _is_duplicate(probe.submit("burn", job, restore_from=MISSING, configuration={}))


@probe("A01")
def an_application_is_accepted_before_its_main_has_run(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    job = probe.new_id()

    assert probe.submit("slow-main", job, application_id=application_id(job)) == Accepted()

    assert probe.seen(job) is None
    assert _application(probe, job).is_alive
    _is_duplicate(probe.submit("slow-main", job, application_id=application_id(job)))
    probe.wait(lambda: probe.is_processing(job))
    assert probe.world.producing(job) == 1, "the second submit ran no second main()"
    assert _application(probe, job).is_alive
    assert MAIN <= _application(probe, job).duration < timedelta(minutes=1)


@probe("A02")
def an_application_whose_main_throws_says_so_and_leaves_the_job_id_free(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    job = probe.new_id()

    assert probe.submit("failing-main", job, application_id=application_id(job)) == Accepted()

    probe.wait(lambda: not _application(probe, job).is_alive)
    refused = _application(probe, job).refused
    assert refused is not None
    assert refused.kind is RefusalKind.PROGRAM
    assert "was told to fail in main" in refused.cause
    assert probe.seen(job) is None
    _is_duplicate(probe.submit("counter", job, application_id=application_id(job)))
    assert probe.submit("counter", job) == Accepted()


@probe("A03")
def a_burn_beats_an_application_that_is_in_its_main(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    job = probe.new_id()
    probe.submit("slow-main", job, application_id=application_id(job))

    probe.submit("burn", job, restore_from=MISSING, configuration={})

    probe.wait_for_state(job, FlinkState.FAILED)
    assert _application(probe, job).is_alive
    probe.wait(lambda: not _application(probe, job).is_alive)
    refused = _application(probe, job).refused
    assert refused is not None
    assert refused.kind is RefusalKind.DUPLICATE
    assert probe.world.copies(job) == 0


@probe("A04")
def a_main_is_cancelled_and_never_submits(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    job = probe.new_id()
    probe.submit("slow-main", job, application_id=application_id(job))

    assert probe.flink.cancel_application(application_id(job)) == Accepted()

    probe.wait(lambda: not _application(probe, job).is_alive)
    probe.world.pass_time(MAIN + SOON)
    assert probe.seen(job) is None
    assert probe.world.copies(job) == 0
    assert isinstance(probe.flink.cancel_application(application_id(probe.new_id())), Refused)


@probe("A05")
def an_application_refused_for_its_state_tells_the_cause_by_its_job(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    job = probe.new_id()

    assert probe.submit("counter", job, application_id=application_id(job), restore_from=MISSING) == Accepted()

    probe.wait_for_state(job, FlinkState.FAILED)
    cause = probe.flink.root_cause(job)
    assert cause is not None
    assert "FileNotFoundException" in cause


@probe("A06")
def what_is_wrong_with_a_request_for_an_application_is_said_at_once(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    job = probe.new_id()

    missing = probe.submit("missing-class", job, application_id=application_id(job))
    gone = probe.flink.submit(
        replace(probe.request("counter", job), jar_id=f"{UNKNOWN_JAR}_probe.jar", application_id=application_id(job))
    )

    assert isinstance(missing, Refused)
    assert isinstance(gone, Refused)
    assert (missing.kind, gone.kind) == (RefusalKind.PROGRAM, RefusalKind.JAR_GONE)
    assert probe.flink.application(application_id(job)) is None


@probe("A07")
def an_application_ends_with_its_job(probe: Probe) -> None:
    if not _runs_applications(probe):
        return
    bounded, cancelled = probe.new_id(), probe.new_id()
    probe.submit("bounded", bounded, application_id=application_id(bounded))
    probe.submit("counter", cancelled, application_id=application_id(cancelled))
    probe.wait(lambda: probe.is_processing(cancelled))

    probe.flink.cancel(cancelled)

    probe.wait_for_state(bounded, FlinkState.FINISHED)
    probe.wait_for_state(cancelled, FlinkState.CANCELED)
    for job in (bounded, cancelled):
        probe.wait(partial(_has_ended, probe, job))


@probe("N01")
def statistics_of_a_job_that_just_ended_may_be_from_before(probe: Probe) -> None:
    job = probe.start()
    probe.wait(lambda: _checkpoints(probe, job).completed is not None)
    probe.world.pass_time(STATISTICS_AGE)
    read_at = time.monotonic()
    before = _checkpoints(probe, job)

    path = probe.stop(job)

    stale = _checkpoints(probe, job)
    # On a machine so slow that the stop took longer than statistics live, these are fresh ones.
    if time.monotonic() - read_at < STATISTICS_AGE.total_seconds() / 2:
        assert stale.savepoint is None, "the savepoint of the stop is not in it yet"
        assert stale.completed_count == before.completed_count
    probe.world.pass_time(STATISTICS_AGE)
    fresh = _checkpoints(probe, job)
    assert fresh.savepoint is not None
    assert fresh.savepoint.path == path


@probe("N02")
def state_is_handed_over_by_a_stop(probe: Probe) -> None:
    first = probe.start()
    probe.wait(lambda: _checkpoints(probe, first).completed is not None)
    path = probe.stop(first)
    reached = probe.world.progress(first)

    second = probe.start(restore_from=path)

    assert reached > 0
    restored = _checkpoint_taken(probe, second)
    assert restored.restored_from == path
    probe.world.pass_time(STATISTICS_AGE)
    stopped = _checkpoints(probe, first).savepoint
    assert stopped is not None
    assert restored.completed is not None
    assert restored.completed.id > stopped.id, "numbers of checkpoints go on"
    probe.wait(lambda: probe.world.progress(second) > reached)


@probe("N03")
def a_stop_discards_checkpoints_and_keeps_its_savepoint(probe: Probe) -> None:
    job = probe.start()
    probe.wait(lambda: _checkpoints(probe, job).completed is not None)

    probe.stop(job)

    probe.world.pass_time(STATISTICS_AGE)
    assert _checkpoints(probe, job).completed is None
    assert probe.stored(job).checkpoints == ()


@probe("N04")
def a_cancelled_job_keeps_its_newest_checkpoint_if_told_to(probe: Probe) -> None:
    job = probe.start()
    probe.wait(lambda: _checkpoints(probe, job).completed_count >= 2)

    probe.flink.cancel(job)

    probe.wait_for_state(job, FlinkState.CANCELED)
    probe.world.pass_time(STATISTICS_AGE)
    seen = _checkpoints(probe, job)
    (stored,) = probe.stored(job).checkpoints
    assert seen.completed is not None
    assert not seen.deletes_on_cancellation
    assert (stored.id, stored.path) == (seen.completed.id, seen.completed.path)
    assert stored.path == f"{probe.world.checkpoint_root}/{job}/chk-{stored.id}"
    heir = probe.start(restore_from=stored.path)
    assert _checkpoints(probe, heir).restored_from == stored.path


@probe("N05")
def a_cancelled_job_keeps_nothing_if_not_told_to(probe: Probe) -> None:
    job = probe.start(configuration={"execution.checkpointing.interval": "300ms"})
    probe.wait(lambda: _checkpoints(probe, job).completed_count >= 2)

    probe.flink.cancel(job)

    probe.wait_for_state(job, FlinkState.CANCELED)
    probe.world.pass_time(STATISTICS_AGE)
    assert _checkpoints(probe, job).deletes_on_cancellation
    assert _checkpoints(probe, job).completed is None
    assert probe.stored(job).checkpoints == ()


@probe("N06")
def state_that_does_not_map_uses_the_id_up_unless_allowed(probe: Probe) -> None:
    path = probe.stop(probe.start())
    refused, allowed = probe.new_id(), probe.new_id()

    answer = probe.submit("changed", refused, restore_from=path)

    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.PROGRAM
    assert "because the operator is not available in the new program" in answer.cause
    assert probe.state(refused) is FlinkState.FAILED
    _is_duplicate(probe.submit("counter", refused))
    assert probe.submit("changed", allowed, restore_from=path, allow_non_restored_state=True) == Accepted()
    probe.wait(lambda: probe.is_processing(allowed))


@probe("N07")
def two_stops_at_once_spoil_each_other(probe: Probe) -> None:
    job, triggers, directory = probe.start(), [probe.new_trigger(), probe.new_trigger()], probe.world.directory()

    for trigger in triggers:
        assert probe.flink.stop(job, trigger_id=trigger, target_directory=directory) == Accepted()

    # Mostly both fail and take the job with them; whether one of them wins is a matter of milliseconds.
    probe.wait(lambda: probe.state(job) in {FlinkState.FINISHED, FlinkState.FAILED})
    probe.wait(lambda: not any(isinstance(probe.flink.trigger(job, trigger), TriggerInProgress) for trigger in triggers))
    ends = [probe.flink.trigger(job, trigger) for trigger in triggers]
    completed = sum(1 for end in ends if isinstance(end, TriggerCompleted))
    assert completed == (1 if probe.state(job) is FlinkState.FINISHED else 0)
    assert sum(1 for end in ends if isinstance(end, TriggerFailed)) == 2 - completed


@probe("N08")
def a_stop_whose_snapshot_fails_leaves_the_job_restarting(probe: Probe) -> None:
    settings = {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "100",
        "restart-strategy.fixed-delay.delay": "500ms",
        "execution.checkpointing.interval": "1h",
    }
    job, trigger = probe.start("failing-snapshots", configuration=settings), probe.new_trigger()

    probe.flink.stop(job, trigger_id=trigger, target_directory=probe.world.directory())

    probe.wait(lambda: not isinstance(probe.flink.trigger(job, trigger), TriggerInProgress))
    assert isinstance(probe.flink.trigger(job, trigger), TriggerFailed)
    probe.wait(lambda: probe.is_processing(job))
    assert probe.flink.trigger(job, trigger) != TriggerUnknown()


@probe("N09")
def a_configuration_that_cannot_be_read_leaves_the_id_unused(probe: Probe) -> None:
    job = probe.new_id()

    answer = probe.submit("counter", job, configuration={"execution.checkpointing.interval": "banana"})

    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.PROGRAM
    assert answer.cause.startswith("java.lang.NumberFormatException: text does not start with a number")
    assert probe.seen(job) is None
    assert probe.submit("counter", job) == Accepted()


@probe("N10")
def a_job_that_gave_up_says_why_and_keeps_its_checkpoint(probe: Probe) -> None:
    job = probe.start("failing")

    probe.wait_for_state(job, FlinkState.FAILED)

    probe.world.pass_time(STATISTICS_AGE)
    cause = "java.lang.IllegalStateException: CounterJob was told to fail after 50 records"
    assert probe.flink.root_cause(job) == cause
    assert len(probe.stored(job).checkpoints) == 1
    _is_duplicate(probe.submit("counter", job))


@probe("N11")
def flink_restarts_a_job_from_its_own_checkpoint(probe: Probe) -> None:
    settings = RETAINING | {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "1",
        "restart-strategy.fixed-delay.delay": "500ms",
    }
    job = probe.start("failing", configuration=settings)

    probe.wait(lambda: probe.world.copies(job) == 2)

    probe.world.pass_time(STATISTICS_AGE)
    restored = _checkpoints(probe, job).restored_from
    assert restored is not None
    assert restored.startswith(f"{probe.world.checkpoint_root}/{job}/chk-")
    probe.wait_for_state(job, FlinkState.FAILED)
    assert probe.world.copies(job) == 2


@probe("N19")
def flink_does_not_restart_a_job_from_a_savepoint_of_its_own(probe: Probe) -> None:
    settings = RETAINING | {
        "execution.checkpointing.interval": "1h",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "1",
        "restart-strategy.fixed-delay.delay": "500ms",
    }
    origin, trigger = probe.stop(probe.start()), probe.new_trigger()
    job = probe.start("failing", configuration=settings, restore_from=origin)
    probe.flink.savepoint(job, trigger_id=trigger, target_directory=probe.world.directory())
    probe.wait(lambda: isinstance(probe.flink.trigger(job, trigger), TriggerCompleted))

    probe.wait(lambda: probe.world.copies(job) == 2)

    probe.world.pass_time(STATISTICS_AGE)
    restored = _checkpoints(probe, job).restored_from
    assert restored is not None
    assert "savepoint-" not in restored or restored == origin


@probe("N12")
def a_job_that_is_done_leaves_no_savepoint(probe: Probe) -> None:
    job = probe.new_id()
    probe.submit("bounded", job)

    probe.wait_for_state(job, FlinkState.FINISHED)

    probe.world.pass_time(STATISTICS_AGE)
    seen = probe.seen(job)
    assert seen is not None
    assert seen.tasks_running == seen.tasks_total > 0
    assert _checkpoints(probe, job).newest is None
    assert probe.stored(job).checkpoints == ()


@probe("N13")
def a_deleted_jar_starts_nothing(probe: Probe) -> None:
    job, jar = probe.new_id(), probe.jar("counter")
    for _ in range(2):
        probe.flink.delete_jar(jar)

    answer = probe.submit("counter", job)

    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.JAR_GONE
    assert probe.seen(job) is None
    assert jar not in {found.jar_id for found in probe.flink.jars()}


@probe("N14")
def an_interval_in_code_wins(probe: Probe) -> None:
    job = probe.start("own-interval", configuration=RETAINING | {"execution.checkpointing.interval": "1h"})

    probe.wait(lambda: _checkpoints(probe, job).completed_count >= 2)


@probe("N15")
def a_savepoint_counts_as_a_completed_checkpoint(probe: Probe) -> None:
    job, trigger = probe.start(configuration=RETAINING | {"execution.checkpointing.interval": "1h"}), probe.new_trigger()
    if not probe.world.version.startswith("1."):
        # The first checkpoint does not wait for the interval (N18) and could end after the savepoint.
        probe.wait(lambda: _checkpoints(probe, job).completed is not None)

    probe.flink.savepoint(job, trigger_id=trigger, target_directory=probe.world.directory())

    probe.wait(lambda: isinstance(probe.flink.trigger(job, trigger), TriggerCompleted))
    probe.wait(lambda: _checkpoints(probe, job).savepoint is not None)
    seen = _checkpoints(probe, job)
    assert seen.is_enabled
    assert seen.savepoint is not None
    assert seen.completed_count >= (1 if seen.completed is None else 2)
    assert not seen.savepoint.is_stop
    assert seen.newest == seen.savepoint


@probe("N16")
def a_cancel_ends_a_stop_or_comes_too_late(probe: Probe) -> None:
    job, trigger = probe.start(), probe.new_trigger()
    probe.flink.stop(job, trigger_id=trigger, target_directory=probe.world.directory())

    def is_over() -> bool:
        if probe.state(job) in {FlinkState.CANCELED, FlinkState.FINISHED}:
            return True
        # A cancel that Flink has taken may come to nothing while a stop is under way: it is asked for until it is seen.
        probe.flink.cancel(job)
        return False

    probe.wait(is_over)
    probe.wait(lambda: not isinstance(probe.flink.trigger(job, trigger), TriggerInProgress))
    stopped = isinstance(probe.flink.trigger(job, trigger), TriggerCompleted)
    assert stopped == (probe.state(job) is FlinkState.FINISHED)


@probe("N18")
def from_2_on_the_first_checkpoint_does_not_wait_for_the_interval(probe: Probe) -> None:
    job = probe.start(configuration=RETAINING | {"execution.checkpointing.interval": "1h"})

    if probe.world.version.startswith("1."):
        # Somewhere within the hour: nothing to see.
        return
    probe.wait(lambda: _checkpoints(probe, job).completed is not None)


@probe("shapes")
def a_life_from_submit_to_restore_is_told_in_the_same_shapes(probe: Probe) -> None:
    first, second, trigger = probe.new_id(), probe.new_id(), probe.new_trigger()
    told: list[tuple[str, object]] = []

    told.append(("submit", probe.submit("counter", first)))
    probe.wait(lambda: probe.is_processing(first))
    told.append(("running", probe.seen(first)))
    told.append(("checkpoints", _checkpoint_taken(probe, first)))
    told.append(("stop", probe.flink.stop(first, trigger_id=trigger, target_directory=probe.world.directory())))
    probe.wait_for_state(first, FlinkState.FINISHED)
    status = probe.flink.trigger(first, trigger)
    assert isinstance(status, TriggerCompleted)
    told.append(("trigger", status))
    probe.world.pass_time(STATISTICS_AGE)
    told.append(("stopped", probe.flink.checkpoints(first)))
    told.append(("restore", probe.submit("counter", second, restore_from=status.path)))
    told.append(("restored", _checkpoint_taken(probe, second)))
    probe.flink.cancel(second)
    probe.wait_for_state(second, FlinkState.CANCELED)
    told.append(("cancelled", probe.seen(second)))
    told.append(("stored", probe.stored(second)))
    told.append(("jar", probe.flink.jars()[0]))

    seen = ("JobSeen", "id", "str", "FlinkState", "int", "int", "int")
    checkpoint = ("Checkpoint", "int", "uri", "bool", "bool", "datetime")
    figures = ("timedelta", "timedelta", ("CheckpointProgress", "datetime", "timedelta", "int", "int", "str"))
    assert [(what, _shape(value)) for what, value in told] == [
        ("submit", ("Accepted",)),
        ("running", seen),
        ("checkpoints", ("Checkpoints", "bool", checkpoint, "None", "None", "int", "int", "bool", *figures)),
        ("stop", ("Accepted",)),
        ("trigger", ("TriggerCompleted", "uri")),
        ("stopped", ("Checkpoints", "bool", "None", checkpoint, "None", "int", "int", "bool", *figures)),
        ("restore", ("Accepted",)),
        ("restored", ("Checkpoints", "bool", checkpoint, "None", "uri", "int", "int", "bool", *figures)),
        ("cancelled", seen),
        ("stored", ("StoredState", (checkpoint,))),
        ("jar", ("JarSeen", "str", "str", "int")),
    ]
    tasks = [(job.state, job.tasks_running, job.tasks_total) for _, job in told if isinstance(job, JobSeen)]
    assert tasks == [(FlinkState.RUNNING, 2, 2), (FlinkState.CANCELED, 0, 2)]


RESTARTING: Final = RETAINING | {
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": "100",
    "restart-strategy.fixed-delay.delay": "100ms",
}


@probe("N20")
def what_made_a_job_restart_is_told_newest_first_each_at_its_own_time(probe: Probe) -> None:
    job = probe.new_id()

    probe.submit("failing", job, configuration=RESTARTING)

    probe.wait(lambda: len(probe.flink.failures(job) or ()) >= 2)
    found = probe.flink.failures(job)
    assert found is not None
    times = [failure.at for failure in found]
    assert times == sorted(set(times), reverse=True)
    assert all(failure.cause.endswith("CounterJob was told to fail after 50 records") for failure in found)
    assert probe.flink.failures(probe.new_id()) is None


@probe("N21")
def checkpoints_that_fail_are_counted_until_one_is_completed(probe: Probe) -> None:
    well, ill = probe.start(), probe.new_id()
    probe.submit("failing-snapshots", ill, configuration=RESTARTING)

    def failed() -> int:
        progress = probe.flink.checkpoint_progress(ill)
        return 0 if progress is None else progress.failed_in_a_row

    probe.wait(lambda: failed() >= 3)
    progress = probe.flink.checkpoint_progress(ill)
    assert progress is not None
    assert progress.completed_at is None
    assert progress.failure != ""
    probe.wait(lambda: (probe.flink.checkpoint_progress(well) or CheckpointProgress()).completed_at is not None)
    progress = probe.flink.checkpoint_progress(well)
    assert progress is not None
    assert (progress.failed_in_a_row, progress.failure) == (0, "")
    assert probe.flink.checkpoint_progress(probe.new_id()) is None


@probe("N22")
def a_job_that_keeps_up_is_measured_and_its_sources_do_not_wait(probe: Probe) -> None:
    job = probe.start()
    graph = probe.flink.graph(job)
    assert graph is not None

    source, *others = graph

    assert source.inputs == ()
    assert all(set(vertex.inputs) <= {known.id for known in graph} for vertex in others)
    probe.wait(lambda: probe.flink.load(job, source.id) is not None)
    load = probe.flink.load(job, source.id)
    assert load is not None
    assert load.backpressured < 0.5
    assert 0.0 <= load.busy <= 1.0
    assert probe.flink.graph(probe.new_id()) is None
    assert probe.flink.load(probe.new_id(), source.id) is None


@probe("N17")
def without_taskmanagers_a_job_is_running_by_name_and_comes_back_from_its_checkpoint(probe: Probe) -> None:
    settings = RETAINING | {
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "100",
        "restart-strategy.fixed-delay.delay": "500ms",
    }
    job = probe.start(configuration=settings)
    probe.wait(lambda: _checkpoints(probe, job).completed is not None)

    probe.world.kill_taskmanagers()

    probe.wait(lambda: not probe.is_processing(job))
    probe.wait_for_state(job, FlinkState.RUNNING)
    probe.world.pass_time(SOON)
    assert not probe.is_processing(job)
    assert probe.world.producing(job) == 0
    probe.world.start_taskmanager()
    probe.wait(lambda: probe.is_processing(job), seconds=30)
    probe.world.pass_time(STATISTICS_AGE)
    restored = _checkpoints(probe, job).restored_from
    assert restored is not None
    assert restored.startswith(f"{probe.world.checkpoint_root}/{job}/chk-")


@probe("N23")
def what_a_job_was_given_is_read_back_and_outlives_it(probe: Probe) -> None:
    given = {"plain": "1.5", "URL": "s3://bucket:80/x", "odd": 'it\'s, so: "quoted" {é}\n', "flinkctl.stamp": "eyJhIjoxfQ"}
    configuration = {**RETAINING, "pipeline.global-job-parameters": json.dumps(given)}
    refused, simple = (
        probe.new_id(),
        probe.start(configuration={**RETAINING, "pipeline.global-job-parameters": "a:b,c:'d e'"}),
    )

    running = probe.start(configuration=configuration)
    probe.submit("counter", refused, configuration=configuration, restore_from=MISSING)

    assert probe.flink.parameters(running) == given
    assert probe.flink.parameters(simple) == {"a": "b", "c": "d e"}
    probe.flink.cancel(running)
    probe.wait_for_state(running, FlinkState.CANCELED)
    assert probe.flink.parameters(running) == given
    # It never came so far, and shows none of its own: nothing tells it from a burn.
    assert probe.flink.parameters(refused) == {}
    assert probe.flink.parameters(probe.new_id()) is None


@probe("TaskManagers")
def task_managers_tell_their_slots_and_what_they_have(probe: Probe) -> None:
    before = probe.flink.task_managers()

    job = probe.start()
    probe.wait(lambda: probe.is_processing(job))
    during = probe.flink.task_managers()

    assert sum(seen.slots for seen in before) == SLOTS
    assert sum(seen.slots_free for seen in before) - sum(seen.slots_free for seen in during) == 1
    for seen in before:
        assert seen.cpu_cores is not None
        assert seen.cpu_cores > 0
        assert None not in {seen.heap_bytes, seen.network_bytes, seen.shared_bytes, seen.free_bytes}
        assert seen.memory_bytes is not None
        assert seen.memory_bytes > (seen.heap_bytes or 0) + (seen.network_bytes or 0)
    assert sum(seen.free_bytes or 0 for seen in during) < sum(seen.shared_bytes or 0 for seen in during)


@probe("F20", "F21", "F22", "F24", "M2")
def a_new_jobmanager_knows_nothing_and_orphans_run_on(probe: Probe) -> None:
    running, finished = probe.start(), probe.new_id()
    probe.submit("bounded", finished)
    probe.wait_for_state(finished, FlinkState.FINISHED)
    probe.wait(lambda: _checkpoints(probe, running).completed is not None)
    trigger, jar, before = probe.new_trigger(), probe.jar("counter"), probe.flink.config().incarnation
    assert probe.flink.config().incarnation == before
    probe.flink.savepoint(running, trigger_id=trigger, target_directory=probe.world.directory())

    killed_at = time.monotonic()
    probe.world.kill_jobmanager()

    with pytest.raises(FlinkUnreachableError):
        probe.flink.jobs()
    assert isinstance(probe.submit("counter", probe.new_id()), NotSent)
    assert isinstance(probe.flink.cancel(running), NotSent)
    probe.world.start_jobmanager()
    assert probe.world.producing(running) == 1, "an orphan"
    after = probe.flink.config().incarnation
    assert after != before
    assert probe.flink.jobs() == []
    assert probe.flink.trigger(running, trigger) == TriggerUnknown()
    assert jar not in {found.jar_id for found in probe.flink.jars()}
    late = probe.submit("counter", running)
    assert isinstance(late, Refused)
    assert late.kind is RefusalKind.JAR_GONE
    probe.forget_jars()
    state = probe.stored(running).newest
    assert state is not None
    for job in (finished, running):
        assert probe.submit("counter", job, restore_from=state.path) == Accepted(), "the fence is gone"
    probe.world.start_taskmanager()
    probe.wait(lambda: probe.is_processing(running))
    copies, elapsed_s = probe.world.producing(running), time.monotonic() - killed_at
    # A slow machine may have the new copy up only when the orphan's time is over; that is no fault of Flink.
    assert copies == 2 or elapsed_s > HEARTBEAT_TIMEOUT.total_seconds() - 2, "two live copies of one id"
    probe.wait(lambda: probe.world.producing(running) == 1, seconds=HEARTBEAT_TIMEOUT.total_seconds() + 2)
    assert probe.is_processing(running)


@probe("H01", "M5", of=FAILOVER_PROBES)
def with_high_availability_running_jobs_come_back_and_ended_ones_keep_their_ids(probe: Probe) -> None:
    running, finished, canceled, burned = probe.start(), probe.new_id(), probe.start(), probe.new_id()
    probe.submit("bounded", finished)
    probe.wait_for_state(finished, FlinkState.FINISHED)
    probe.flink.cancel(canceled)
    probe.wait_for_state(canceled, FlinkState.CANCELED)
    probe.submit("burn", burned, configuration={})
    probe.wait_for_state(burned, FlinkState.FINISHED)
    probe.wait(lambda: _checkpoints(probe, running).completed is not None)
    trigger, jar = probe.new_trigger(), probe.jar("counter")
    probe.flink.savepoint(running, trigger_id=trigger, target_directory=probe.world.directory())
    probe.wait(lambda: isinstance(probe.flink.trigger(running, trigger), TriggerCompleted))
    probe.world.pass_time(SOON)

    probe.world.kill_jobmanager()
    with pytest.raises(FlinkUnreachableError):
        probe.flink.jobs()
    probe.world.start_jobmanager()

    listed = _first_list(probe)
    assert {job.flink_job_id for job in listed} == {running}, "never an empty list; ended jobs are gone from it"
    probe.wait(lambda: probe.is_processing(running), seconds=30)
    assert probe.flink.trigger(running, trigger) == TriggerUnknown()
    probe.world.pass_time(STATISTICS_AGE)
    restored = _checkpoints(probe, running).restored_from
    assert restored is not None
    assert restored.startswith(f"{probe.world.checkpoint_root}/{running}/chk-"), "a checkpoint, not the newer savepoint"
    assert jar not in {found.jar_id for found in probe.flink.jars()}
    probe.forget_jars()
    for job in (running, finished, canceled, burned):
        _is_duplicate(probe.submit("counter", job))
    assert probe.world.producing(running) == 1, "no orphan beside it"


@probe("H02", of=FAILOVER_PROBES)
def with_high_availability_a_stop_that_was_under_way_is_forgotten(probe: Probe) -> None:
    job, trigger, directory = probe.start(), probe.new_trigger(), probe.world.directory()
    probe.wait(lambda: _checkpoints(probe, job).completed is not None)
    probe.world.hold_snapshots()
    probe.flink.stop(job, trigger_id=trigger, target_directory=directory)
    probe.world.pass_time(SOON)

    probe.world.kill_jobmanager()
    probe.world.let_go()
    probe.world.start_jobmanager()

    _first_list(probe)
    probe.wait(lambda: probe.is_processing(job), seconds=30)
    assert probe.flink.trigger(job, trigger) == TriggerUnknown()
    assert probe.world.savepoints_under(directory) == 0
    probe.flink.stop(job, trigger_id=trigger, target_directory=directory)
    probe.wait_for_state(job, FlinkState.FINISHED)
    assert probe.world.savepoints_under(directory) == 1


@probe("H03", of=FAILOVER_PROBES)
def with_high_availability_a_job_goes_on_past_the_savepoint_of_a_stop_that_did_not_end(probe: Probe) -> None:
    job = probe.start(configuration=RETAINING | {"execution.checkpointing.interval": "1h"})
    trigger, directory = probe.new_trigger(), probe.world.directory()
    probe.flink.checkpoint(job)
    probe.wait(lambda: _checkpoints(probe, job).completed is not None)
    probe.world.hold_ends()
    probe.flink.stop(job, trigger_id=trigger, target_directory=directory)
    probe.wait(lambda: probe.world.savepoints_under(directory) == 1)
    reached = probe.world.progress(job)

    probe.world.kill_jobmanager()
    probe.world.let_go()
    probe.world.start_jobmanager()

    _first_list(probe)
    probe.wait(lambda: probe.is_processing(job), seconds=30)
    probe.world.pass_time(STATISTICS_AGE)
    restored = _checkpoints(probe, job).restored_from
    assert restored is not None
    assert restored.startswith(f"{probe.world.checkpoint_root}/{job}/chk-")
    probe.wait(lambda: probe.world.progress(job) > reached)
    probe.flink.stop(job, trigger_id=trigger, target_directory=directory)
    probe.wait_for_state(job, FlinkState.FINISHED)
    assert probe.world.savepoints_under(directory) == 2
    newest = _stored_savepoint(probe, job, directory)
    assert newest.path == probe.flink.trigger(job, trigger).path  # type: ignore[union-attr]  # fails the probe if there is none


def _first_list(probe: Probe) -> list[JobSeen]:
    """Give the first list that a JobManager which is coming up answers with."""
    listed: list[list[JobSeen]] = []

    def is_answered() -> bool:
        try:
            listed.append(probe.flink.jobs())
        except FlinkUnreachableError:
            return False
        return True

    probe.wait(is_answered, seconds=30)
    return listed[0]


def _stored_savepoint(probe: Probe, flink_job_id: str, directory: str) -> Checkpoint:
    found = probe.world.storage.search(
        flink_job_id, checkpoint_root=probe.world.checkpoint_root, savepoint_directories=(directory,)
    )
    assert isinstance(found, StoredState)
    assert found.newest is not None
    return found.newest


def _is_duplicate(answer: object) -> None:
    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.DUPLICATE
    assert answer.cause.endswith(" has already been submitted.")


def _checkpoints(probe: Probe, flink_job_id: str) -> Checkpoints:
    found = probe.flink.checkpoints(flink_job_id)
    assert found is not None
    return found


def _runs_applications(probe: Probe) -> bool:
    return not probe.world.version.startswith("1.")


def _application(probe: Probe, flink_job_id: str) -> ApplicationSeen:
    found = probe.flink.application(application_id(flink_job_id))
    assert found is not None
    return found


def _has_ended(probe: Probe, flink_job_id: str) -> bool:
    return not _application(probe, flink_job_id).is_alive


def _checkpoint_taken(probe: Probe, flink_job_id: str) -> Checkpoints:
    """Wait for a checkpoint, and give the statistics that showed it.

    The next reading may show none: a checkpoint that the newest one replaces is discarded before
    the newest one is counted, and for that moment all that the statistics know is discarded.
    """
    seen: list[Checkpoints] = []

    def is_taken() -> bool:
        seen.append(_checkpoints(probe, flink_job_id))
        return seen[-1].completed is not None

    probe.wait(is_taken)
    return seen[-1]


def _shape(value: object) -> object:
    """Reduce a value to the types in it, telling ids and addresses from other text."""
    if is_dataclass(value):
        return (type(value).__name__, *(_shape(getattr(value, found.name)) for found in fields(value)))
    if isinstance(value, tuple):
        return tuple(map(_shape, value))
    if isinstance(value, FlinkState) or not isinstance(value, str):
        return "None" if value is None else type(value).__name__
    if value.startswith("file:///"):
        return "uri"
    return "id" if len(value) == len(bytes(16).hex()) else "str"
