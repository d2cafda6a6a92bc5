"""A JobManager is lost at the worst of moments for each of many jobs at once, with high availability and without.

One night is told per kind of cluster: every job is brought to its moment, the JobManager is killed, another one starts,
and the controller brings everything where its spec says. The tests then ask what became of each.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.status import EndState
from flink_controller.services import reconcile
from flink_controller.services.sweep import reconcile_fleet
from infra.local.flink import FlinkCluster, FlinkConfig
from infra.local.processes import free_port, wait_until
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain
from tests.e2e.site import POLICY, Site

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.timeout(600)]

HEARTBEAT_TIMEOUT_S: Final = 5
BOUND: Final = 150
"""Records of a job that ends by itself, after three seconds."""
STORE_DURATION_S: Final = 2
STEADY: Final = ("running", "suspending", "stopping", "saved", "late")
FOREIGN: Final = "f0f0f0f0" * 4
RARELY_SAVED: Final = {"deployment": {"checkpoint_interval": 3_600_000, "rollback": {"deadline_seconds": 10}}}


@dataclass
class Night:
    """What was seen on the way."""

    site: Site
    has_failover: bool
    saved: str = ""
    """Savepoint of the stop that did not end."""
    foreign: tuple[str, ...] = ()
    """What a tick of the fleet reported in the end."""


@pytest.fixture(scope="module", params=["without high availability", "with ZooKeeper"])
def night(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    root, has_failover = tmp_path_factory.mktemp("night"), request.param == "with ZooKeeper"
    cluster = _cluster(root, has_failover=has_failover)
    with pytest.MonkeyPatch.context() as patch:
        # The queue is played by one loop: a look that waits for one job keeps the others waiting.
        patch.setattr(reconcile, "PATIENCE", timedelta(milliseconds=200))
        cluster.start()
        try:
            told = Night(Site(cluster, root), has_failover)
            (root / "beats").mkdir()
            _before(told)
            _loss(told)
            _after(told)
            yield told
        finally:
            cluster.stop()


def _cluster(root: Path, *, has_failover: bool) -> FlinkCluster:
    settings = LocalSettings.from_env(os.environ)
    toolchain = Toolchain(settings.cache_directory, os.environ, SILENT)
    return FlinkCluster(
        FlinkConfig(
            home=toolchain.flink(settings.flink_version),
            java=toolchain.java(),
            directory=root / "cluster",
            rest_port=free_port(),
            rpc_port=free_port(),
            slots=16,
            heartbeat_timeout_seconds=HEARTBEAT_TIMEOUT_S,
            savepoint_root=f"file://{root}/savepoints",
            checkpoint_root=f"file://{root}/checkpoints",
            zookeeper_port=free_port() if has_failover else None,
            options={
                "web.refresh-interval": "1000",
                "rest.async.store-duration": f"{STORE_DURATION_S}s",
                "job-result-store.delete-on-commit": "false",
            },
        )
    )


def _before(night: Night) -> None:
    """Bring every job to its moment."""
    site = night.site
    site.upload("artifacts/counter.jar")
    for job in ("running", "suspending", "stopping", "late"):
        site.put(job)
    # One checkpoint for the proof, and none that could be held in place of the stop's savepoint.
    site.put("saved", **RARELY_SAVED)
    site.put("seen-to-end", "--bounded", str(BOUND))
    site.run_until(lambda: all(site.is_in(job, Lifecycle.STABLE) for job in STEADY))
    site.run_until(lambda: site.is_in("seen-to-end", Lifecycle.COMPLETED))
    site.submit_by_hand(FOREIGN, "foreign")
    site.put("ending-unseen", "--bounded", str(3 * BOUND))
    site.run_until(lambda: site.is_in("ending-unseen", Lifecycle.STABLE))
    # Nobody looks any more: one comes to its end, and the stop of another is long forgotten when its answer is asked for.
    site.after["stop", "late"] = lambda: None
    site.put("late", "--turn", "2")
    site.look("late")
    asked_at, ending = time.monotonic(), site.id_of("ending-unseen", 1)
    _wait(lambda: site.state_in_flink(ending) == "FINISHED")
    time.sleep(max(0.0, asked_at + 2 * STORE_DURATION_S - time.monotonic()))
    assert site.after == {}, "a stop was asked for"
    site.run_until(lambda: site.is_in("late", Lifecycle.STABLE, attempt=2), only="late")


def _loss(night: Night) -> None:
    """Begin stops and a submit, and lose the JobManager with the answer to the last of them."""
    site = night.site
    site.hold("snapshots", "stopping")
    site.hold("snapshots", "suspending")
    site.hold("ends", "saved")
    site.put("stopping", "--turn", "2")
    site.put("saved", "--turn", "2", **RARELY_SAVED)
    site.put("suspending", state="suspended")
    for job in ("stopping", "suspending", "saved"):
        site.look(job)
    directory = Path(_operation_directory(site, "saved").removeprefix("file://"))
    _wait(lambda: any(directory.glob("savepoint-*/_metadata")))
    night.saved = next(f"file://{found.parent}" for found in directory.glob("savepoint-*/_metadata"))
    site.after["submit", "submitting"] = site.flink.kill_jobmanager
    site.put("submitting")
    site.look("submitting")
    assert site.after == {}, "the JobManager was killed at that call"
    site.let_go()


def _after(night: Night) -> None:
    """Start another JobManager, and let the controller find out."""
    site = night.site
    site.run_until(lambda: "ClusterUnreachable" in site.events("running"))
    site.flink.start_jobmanager()
    if not night.has_failover:
        assert site.flink.wait_for_slots(16, timeout_seconds=60)
        site.submit_by_hand(FOREIGN, "foreign")
    kept = 1 if night.has_failover else 2
    goals = [
        ("running", Lifecycle.STABLE, kept),
        ("submitting", Lifecycle.STABLE, kept),
        ("stopping", Lifecycle.STABLE, 2),
        ("saved", Lifecycle.STABLE, 2),
        ("late", Lifecycle.STABLE, kept + 1),
        ("suspending", Lifecycle.SUSPENDED, 1),
        ("ending-unseen", Lifecycle.COMPLETED, 1),
        ("seen-to-end", Lifecycle.COMPLETED, 1),
    ]
    site.run_until(lambda: all(site.is_in(job, state, attempt=number) for job, state, number in goals), 120)
    night.foreign = reconcile_fleet(site.ports, POLICY).foreign
    # Somebody posts an attempt of ours that nothing names any more.
    site.submit_by_hand(site.id_of("running", 0), "running")
    site.run_until(lambda: site.state_in_flink(site.id_of("running", 0)) == "CANCELED")


def _operation_directory(site: Site, job_id: str) -> str:
    operation = site.status(job_id).operation
    assert operation is not None
    return operation.target_directory


def _wait(is_true: Callable[[], bool]) -> None:
    assert wait_until(is_true, 60)


def test_a_running_job_comes_back_with_its_state(night: Night) -> None:
    status = night.site.status("running")

    assert status.attempt_counter == (1 if night.has_failover else 2)
    assert len(night.site.copies("running")) == 2
    night.site.assert_one_copy_at_a_time_with_its_state("running")


def test_a_stop_that_was_under_way_is_completed(night: Night) -> None:
    for job in ("stopping", "suspending"):
        night.site.assert_one_copy_at_a_time_with_its_state(job)
    suspended = night.site.status("suspending")
    assert suspended.handover is not None
    assert suspended.handover.path is not None
    assert night.site.state_in_flink(night.site.id_of("suspending", 1)) in {None, "FINISHED"}


def test_a_savepoint_whose_stop_did_not_end_is_found_or_made_anew(night: Night) -> None:
    attempt = night.site.status("saved").attempt

    assert attempt is not None
    assert attempt.restore_from is not None
    night.site.assert_one_copy_at_a_time_with_its_state("saved")
    first, *recovered, last = night.site.copies("saved")
    assert last.flink_job_id == attempt.flink_job_id
    # With high availability Flink takes the job back to an older checkpoint, from where it goes on until it is stopped again.
    assert attempt.restore_from == night.saved or night.has_failover
    before = first if attempt.restore_from == night.saved else recovered[-1]
    assert all(last.first[key] == count + 1 for key, count in before.last.items()), "no record lost, none twice"


def test_a_stop_whose_answer_was_lost_and_whose_trigger_is_forgotten_is_found_by_its_savepoint(night: Night) -> None:
    attempt = night.site.status("late").attempt

    first, second, *_ = night.site.copies("late")
    night.site.assert_one_copy_at_a_time_with_its_state("late")
    assert attempt is not None
    assert [copy.number for copy in (first, second)] == [1, 2]
    assert second.first == {key: count + 1 for key, count in first.last.items()}, "no record twice"


def test_a_submit_whose_answer_was_lost_with_the_jobmanager_is_found_or_repeated_after_the_quarantine(night: Night) -> None:
    assert night.site.status("submitting").attempt_counter == (1 if night.has_failover else 2)
    night.site.assert_one_copy_at_a_time_with_its_state("submitting")


def test_jobs_that_had_ended_stay_so_whether_their_end_was_seen_or_not(night: Night) -> None:
    seen, unseen = night.site.status("seen-to-end"), night.site.status("ending-unseen")

    assert (seen.attempt_counter, unseen.attempt_counter) == (1, 1)
    assert len(night.site.copies("seen-to-end")) == len(night.site.copies("ending-unseen")) == 1
    assert seen.attempt is not None
    assert unseen.attempt is not None
    assert (seen.attempt.end, unseen.attempt.end) == (EndState.FINISHED, EndState.LOST)


def test_a_foreign_job_is_left_alone_and_reported(night: Night) -> None:
    assert night.site.state_in_flink(FOREIGN) == "RUNNING"
    assert night.foreign == (f"default/{FOREIGN}",)


def test_a_leftover_of_ours_is_stopped_and_the_current_attempt_is_not(night: Night) -> None:
    current = night.site.status("running").attempt

    assert current is not None
    assert night.site.state_in_flink(current.flink_job_id) == "RUNNING"
    assert "LeftoverFound" in night.site.events("running")


def test_the_loss_is_told_where_something_was_lost(night: Night) -> None:
    told = "JobManagerLost" in night.site.events("running")

    assert told is not night.has_failover
