"""What only the twin can: virtual time, late effects, and the truth that Flink hides."""

import io
from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.actions import Submit
from flink_controller.domain.errors import Delivery, FlinkUnreachableError
from flink_controller.domain.observation import (
    Accepted,
    FlinkState,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    TriggerCompleted,
)
from flink_controller.testing.clock import START, VirtualClock
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import FlinkTwin, TwinOptions
from flink_controller.testing.storage_twin import StorageTwin

TAG = "00000000000000aa"
SECOND = timedelta(seconds=1)
CONFIGURATION = {
    "execution.checkpointing.interval": "10s",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
}


class Cluster:
    """A twin with its clock and storage."""

    def __init__(self, behaviour: JobBehaviour | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.storage = StorageTwin()
        self.twin = FlinkTwin(self.clock, self.storage, TwinOptions(**options))
        self.twin.default_behaviour = behaviour or JobBehaviour()
        self.jar = self.upload()

    def upload(self, content: bytes = b"jar") -> str:
        return self.twin.upload_jar("a.jar", io.BytesIO(content), len(content)).jar_id

    def request(self, attempt: int, restore_from: str | None = None, **changes: Any) -> Submit:
        jar = changes.get("jar", self.jar)
        parallelism = changes.get("parallelism", 1)
        return Submit(
            job_id(attempt),
            jar,
            entry_class=None,
            args=(),
            parallelism=parallelism,
            restore_from=restore_from,
            allow_non_restored_state=False,
            configuration=CONFIGURATION,
        )

    def run(self, attempt: int, restore_from: str | None = None) -> str:
        assert self.twin.submit(self.request(attempt, restore_from)) == Accepted()
        self.clock.advance(SECOND)
        return job_id(attempt)

    def state(self, attempt: int) -> FlinkState | None:
        return next((job.state for job in self.twin.jobs() if job.flink_job_id == job_id(attempt)), None)


def job_id(attempt: int) -> str:
    return f"{TAG}{attempt:016x}"


def test_time_only_moves_forward_and_only_when_told() -> None:
    clock = VirtualClock()

    clock.sleep(SECOND)

    assert clock.now() == START + SECOND
    with pytest.raises(ValueError, match="go back"):
        clock.advance(-SECOND)


def test_progress_grows_with_time_and_is_handed_over_by_a_stop() -> None:
    cluster = Cluster(JobBehaviour(rate=10, schedule=timedelta(0)))
    first = cluster.run(1)
    cluster.twin.stop(first, trigger_id="a" * 32, target_directory="file:///s/1/")
    cluster.clock.advance(SECOND)
    status = cluster.twin.trigger(first, "a" * 32)
    assert isinstance(status, TriggerCompleted)

    cluster.run(2, status.path)

    start = cluster.twin.history[-1]
    assert (start.restored_from, start.progress, start.is_restart) == (status.path, 11, False)
    assert cluster.twin.progress(job_id(2)) == 21
    assert status.path.startswith("file:///s/1/savepoint-000000-")


def test_storage_tells_where_state_came_from_and_outlives_the_jobmanager() -> None:
    cluster = Cluster()
    cluster.run(1)
    cluster.clock.advance(25 * SECOND)
    cluster.twin.restart_jobmanager()
    first = cluster.storage.search(job_id(1), checkpoint_root="file:///state/checkpoints", savepoint_directories=[]).newest  # type: ignore[union-attr]  # readable
    assert first is not None
    cluster.jar = cluster.upload()

    cluster.run(2, first.path)
    cluster.clock.advance(15 * SECOND)

    heir = cluster.storage.search(job_id(2), checkpoint_root="file:///state/checkpoints", savepoint_directories=[]).newest  # type: ignore[union-attr]  # readable
    assert heir is not None
    assert heir.id > first.id
    assert cluster.storage.snapshots[heir.path].origin == first.path
    assert cluster.storage.snapshots[heir.path].progress > cluster.storage.snapshots[first.path].progress


def test_an_orphan_is_a_live_copy_until_its_heartbeat_times_out() -> None:
    cluster = Cluster(heartbeat_timeout=50 * SECOND)
    cluster.run(1)

    cluster.twin.kill_jobmanager()
    cluster.clock.advance(10 * SECOND)
    cluster.twin.start_jobmanager()

    assert cluster.twin.jobs() == []
    assert cluster.twin.live_copies(TAG) == [job_id(1)]
    cluster.jar = cluster.upload()
    cluster.run(2)
    assert [(overlap.flink_job_id, overlap.others) for overlap in cluster.twin.overlaps] == [(job_id(2), (job_id(1),))]
    cluster.clock.advance(40 * SECOND)
    assert cluster.twin.live_copies(TAG) == [job_id(2)]


def test_a_dead_jobmanager_is_provably_not_reached() -> None:
    cluster = Cluster()
    cluster.twin.kill_jobmanager()

    assert isinstance(cluster.twin.submit(cluster.request(1)), NotSent)
    assert isinstance(cluster.twin.stop(job_id(1), trigger_id="a" * 32, target_directory="file:///s"), NotSent)
    with pytest.raises(FlinkUnreachableError) as caught:
        cluster.twin.jobs()
    assert caught.value.delivery is Delivery.NOT_SENT


@pytest.mark.parametrize(("options", "copies"), [({"keeps_jars": True}, [job_id(1)]), ({}, [])])
def test_a_delayed_submit_lands_after_a_restart_only_where_its_jar_is_still_there(
    options: dict[str, Any], copies: list[str]
) -> None:
    cluster = Cluster(**options)
    cluster.twin.deliver_later(cluster.request(1), START + 10 * SECOND)
    cluster.clock.advance(SECOND)
    cluster.twin.restart_jobmanager()

    cluster.clock.advance(20 * SECOND)

    assert cluster.twin.live_copies(TAG) == copies


def test_a_delayed_submit_finds_no_jar_once_it_was_deleted() -> None:
    cluster = Cluster(keeps_jars=True)
    cluster.twin.deliver_later(cluster.request(1), START + 10 * SECOND)

    cluster.twin.delete_jar(cluster.jar)
    cluster.clock.advance(20 * SECOND)

    assert cluster.twin.history == []


def test_a_delayed_submit_finds_its_id_burned() -> None:
    cluster = Cluster()
    cluster.twin.deliver_later(cluster.request(1), START + 10 * SECOND)

    burned = cluster.twin.submit(cluster.request(1, "file:///nowhere"))
    cluster.clock.advance(20 * SECOND)

    assert isinstance(burned, Refused)
    assert cluster.state(1) is FlinkState.FAILED
    assert cluster.twin.history == []


def test_main_takes_the_callers_time_and_beyond_its_patience_there_is_no_answer() -> None:
    cluster = Cluster(JobBehaviour(main=60 * SECOND), client_timeout=25 * SECOND)

    answer = cluster.twin.submit(cluster.request(1))

    assert isinstance(answer, NoAnswer)
    assert cluster.clock.now() == START + 25 * SECOND
    assert (cluster.twin.in_flight(), cluster.twin.live_copies()) == ([job_id(1)], [])
    cluster.clock.advance(35 * SECOND)
    assert (cluster.twin.in_flight(), cluster.twin.live_copies()) == ([], [job_id(1)])


def test_main_dies_with_its_jobmanager() -> None:
    cluster = Cluster(JobBehaviour(main=60 * SECOND), keeps_jars=True)
    cluster.twin.submit(cluster.request(1))

    cluster.twin.restart_jobmanager()
    cluster.clock.advance(120 * SECOND)

    assert cluster.twin.history == []


def test_any_call_can_be_late() -> None:
    cluster = Cluster()
    cluster.run(1)

    cluster.twin.later(START + 5 * SECOND, lambda: cluster.twin.cancel(job_id(1)))
    cluster.clock.advance(2 * SECOND)
    before = cluster.state(1)
    cluster.clock.advance(10 * SECOND)

    assert (before, cluster.state(1)) == (FlinkState.RUNNING, FlinkState.CANCELED)


def test_a_crash_between_a_stops_savepoint_and_its_end_leaves_the_savepoint() -> None:
    cluster = Cluster()
    cluster.run(1)
    cluster.twin.stop(job_id(1), trigger_id="a" * 32, target_directory="file:///s/1")

    cluster.clock.advance(timedelta(milliseconds=110))
    cluster.twin.restart_jobmanager()

    (snapshot,) = (found for found in cluster.storage.snapshots.values() if found.is_savepoint)
    assert snapshot.is_stop
    assert cluster.twin.live_copies() == [job_id(1)]
    assert cluster.twin.processing_copies() == []


def test_ended_jobs_can_leave_the_list_and_stay_refused() -> None:
    cluster = Cluster()
    cluster.run(1)
    cluster.twin.cancel(job_id(1))
    cluster.clock.advance(SECOND)

    cluster.twin.forget_terminal()

    assert cluster.state(1) is None
    answer = cluster.twin.submit(cluster.request(1))
    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.DUPLICATE


def test_a_job_waits_for_slots_that_another_one_holds() -> None:
    cluster = Cluster(slots=2)
    cluster.run(1)
    cluster.twin.submit(cluster.request(2, parallelism=2))
    cluster.clock.advance(SECOND)
    assert cluster.twin.processing_copies() == [job_id(1)]

    cluster.twin.cancel(job_id(1))
    cluster.clock.advance(SECOND)

    assert cluster.twin.processing_copies() == [job_id(2)]


def test_a_job_that_hangs_in_its_cancel_stays_alive() -> None:
    cluster = Cluster(JobBehaviour(hangs_on_cancel=True))
    cluster.run(1)

    cluster.twin.cancel(job_id(1))
    cluster.clock.advance(timedelta(days=1))

    assert cluster.state(1) is FlinkState.CANCELLING
    assert cluster.twin.live_copies() == [job_id(1)]


def test_a_month_passes_in_no_time_and_keeps_one_checkpoint() -> None:
    cluster = Cluster(JobBehaviour(rate=1, schedule=timedelta(0)), statistics_age=timedelta(0))
    cluster.run(1)

    cluster.clock.advance(timedelta(days=30))

    checkpoints = cluster.twin.checkpoints(job_id(1))
    assert checkpoints is not None
    assert checkpoints.completed_count == 30 * 24 * 360 + 1
    assert len(cluster.storage.snapshots) == 1
    (snapshot,) = cluster.storage.snapshots.values()
    assert snapshot.progress >= 30 * 24 * 3600 - 10


def test_two_twins_told_the_same_do_the_same() -> None:
    def life() -> tuple[object, ...]:
        cluster = Cluster(JobBehaviour(fails_after=30 * SECOND, restarts=2))
        cluster.run(1)
        cluster.twin.savepoint(job_id(1), trigger_id="b" * 32, target_directory="file:///s/2")
        cluster.clock.advance(95 * SECOND)
        return cluster.twin.history, cluster.twin.jobs(), cluster.twin.jars(), cluster.storage.snapshots, cluster.twin.calls

    assert life() == life()
