"""What goes wrong with running jobs, on a real Flink: detected within two ticks, told once, treated by policy, resolved once.

A fault lasts as long as a file is in place. Whoever waits for it to show asks Flink alone; then two ticks must do.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import JobSeen
from flink_controller.domain.status import SymptomKind
from flink_controller.domain.vitals import RESTARTS
from flink_controller.ports import FlinkGateway
from flink_controller.services import reconcile
from flink_controller.services.pressure import read_pressure
from flink_controller.services.sweep import reconcile_fleet
from infra.local.flink import FlinkCluster, FlinkConfig
from infra.local.processes import free_port, wait_until
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain
from tests.e2e.site import POLICY, Site

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.timeout(300)]

WINDOW_S: Final = 3
RESTART_WINDOW_S: Final = 12
MONITORING: Final = {
    "checkpoint_window_seconds": WINDOW_S,
    "restart_window_seconds": RESTART_WINDOW_S,
    "backpressure_window_seconds": WINDOW_S,
}
RESTARTING: Final = {"restart_strategy": "fixed-delay", "max_restart_attempts": 1000, "restart_delay": 300}
JOBS: Final = ("failing", "stalling", "throttled", "slow-sink")


class Ward:
    """A site with a job for each fault, and the files that the faults wait for."""

    def __init__(self, flink: FlinkCluster, root: Path) -> None:
        self.site = Site(flink, root)
        self._root = root
        self.detected: set[tuple[str, SymptomKind]] = set()
        """What two ticks have found, after it had shown in Flink."""
        self.of_outbreak: dict[str, Counter[str]] = {}
        """What each job had told when it was well again, before the TaskManager was lost."""
        self.messages: dict[str, str] = {}
        """What was told of a job while its fault lasted."""
        cluster = self.site.ports.registry.cluster("default")
        assert cluster is not None
        self.gateway: FlinkGateway = self.site.ports.flink.connect(cluster)

    def file(self, fault: str) -> Path:
        """Name the file of a fault."""
        return self._root / f"fault-{fault}"

    def fall_ill(self, *faults: str) -> None:
        """Put files in place."""
        for fault in faults:
            self.file(fault).touch()

    def get_well(self, *faults: str) -> None:
        """Take them away."""
        for fault in faults:
            self.file(fault).unlink()

    def id_of(self, job: str) -> str:
        """Name a job's current attempt as Flink knows it."""
        attempt = self.site.status(job).attempt
        assert attempt is not None
        return attempt.flink_job_id

    def seen(self, job: str) -> JobSeen:
        """Find a job in Flink's list."""
        return next(found for found in self.gateway.jobs() if found.flink_job_id == self.id_of(job))

    def two_ticks(self) -> None:
        """Let the clock of the fleet tick twice, and deliver what it wakes."""
        for _ in range(2):
            reconcile_fleet(self.site.ports, POLICY)
            for due in self.site.follow_ups.take_due(self.site.ports.clock.now()):
                self.site.look(due.job_id)

    def is_pressed(self, job: str) -> bool:
        """Tell whether a source of a job waits."""
        found = read_pressure(self.gateway, self.id_of(job))
        return found is not None and bool(found.pressed)

    def note(self) -> None:
        """Take down which symptoms are recorded, suspected or told."""
        self.detected |= {(job, found.kind) for job in JOBS for found in self.site.status(job).symptoms}

    def counts(self, job: str) -> Counter[str]:
        """Count what a job has told."""
        found: Counter[str] = Counter()
        for event in self.site.statuses.events(job):
            found[event.reason] += event.count
        return found

    def told(self, job: str, reason: str) -> Callable[[], bool]:
        """Ask whether a job told something."""
        return lambda: reason in self.site.events(job)


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    root = tmp_path_factory.mktemp("ward")
    settings = LocalSettings.from_env(os.environ)
    toolchain = Toolchain(settings.cache_directory, os.environ, SILENT)
    cluster = FlinkCluster(
        FlinkConfig(
            home=toolchain.flink(settings.flink_version),
            java=toolchain.java(),
            directory=root / "cluster",
            rest_port=free_port(),
            rpc_port=free_port(),
            slots=8,
            heartbeat_timeout_seconds=3,
            savepoint_root=f"file://{root}/savepoints",
            checkpoint_root=f"file://{root}/checkpoints",
            # Small buffers, so that a slow vertex is felt before it within seconds.
            options={"web.refresh-interval": "1000", "taskmanager.memory.segment-size": "4kb"},
        )
    )
    with pytest.MonkeyPatch.context() as patch:
        # The queue is played by one loop: a look that waits for one job keeps the others waiting.
        patch.setattr(reconcile, "PATIENCE", timedelta(milliseconds=200))
        cluster.start()
        try:
            (root / "beats").mkdir()
            made = Ward(cluster, root)
            _admit(made)
            _outbreak(made)
            _loss(made)
            yield made
        finally:
            cluster.stop()


def _admit(ward: Ward) -> None:
    site = ward.site
    site.upload("artifacts/counter.jar")

    def put(job: str, *args: str, **deployment: Any) -> None:
        site.put(job, *args, deployment={**RESTARTING, **deployment}, monitoring=MONITORING)

    put("failing", "--fail-after", "25", "--fail-while", str(ward.file("failing")))
    put("stalling", on_failure={"when": "unhealthy", "backoff_seconds": 1, "limit": 3})
    slow = ("--rate", "1000", "--slow-sink-ms", "10")
    put("throttled", *slow, "--slow-while", str(ward.file("throttled")))
    put("slow-sink", *slow, "--slow-while", str(ward.file("slow-sink")), "--slow-with-sink")
    site.run_until(lambda: all(site.is_in(job, Lifecycle.STABLE) for job in JOBS))
    ward.two_ticks()
    assert [site.status(job).symptoms for job in JOBS] == [()] * len(JOBS)


def _outbreak(ward: Ward) -> None:
    """Let four jobs fall ill at once, tick twice when all of it shows in Flink, and let them get well once it is told."""
    site = ward.site
    ward.fall_ill("failing", "throttled", "slow-sink")
    site.hold("snapshots", "stalling")
    held_at = time.monotonic()
    assert wait_until(lambda: len(ward.gateway.failures(ward.id_of("failing")) or ()) >= RESTARTS, 60)
    assert wait_until(lambda: ward.is_pressed("throttled") and ward.is_pressed("slow-sink"), 60)
    assert wait_until(lambda: time.monotonic() > held_at + WINDOW_S + 1, 60)
    ward.two_ticks()
    ward.note()
    site.run_until(lambda: site.status("stalling").attempt_counter == 2)
    site.let_go()
    site.run_until(lambda: all(ward.told(job, "BackpressureStarted")() for job in ("throttled", "slow-sink")))
    kinds = {"failing": SymptomKind.RESTARTS}
    told = {job: site.status(job).symptom(kinds.get(job, SymptomKind.BACKPRESSURE)) for job in JOBS}
    ward.messages = {job: found.message for job, found in told.items() if found is not None}
    ward.get_well("failing", "throttled", "slow-sink")
    site.run_until(lambda: all(site.is_in(job, Lifecycle.STABLE) and not site.status(job).symptoms for job in JOBS))
    ward.of_outbreak = {job: ward.counts(job) for job in JOBS}


def _loss(ward: Ward) -> None:
    """Lose the TaskManager; another one comes once that is told."""
    site = ward.site
    site.flink.kill_taskmanager()
    assert wait_until(lambda: not ward.seen("throttled").is_processing, 60)
    ward.two_ticks()
    ward.note()
    site.run_until(ward.told("throttled", "TasksMissing"))
    site.flink.start_taskmanager(1)
    site.run_until(lambda: all(site.is_in(job, Lifecycle.STABLE) and not site.status(job).symptoms for job in JOBS), 120)


def test_a_job_that_fails_every_so_many_records_is_told_to_loop_until_it_stops(ward: Ward) -> None:
    assert ("failing", SymptomKind.RESTARTS) in ward.detected
    assert "CounterJob was told to fail after 25 records" in ward.messages["failing"]
    assert (ward.of_outbreak["failing"]["RestartLooping"], ward.of_outbreak["failing"]["RestartsSettled"]) == (1, 1)
    assert ward.of_outbreak["failing"]["JobRestarted"] >= RESTARTS
    assert ward.site.status("failing").attempt_counter == 1, "Flink restarts it by itself"


def test_a_job_that_stops_checkpointing_is_restarted_from_its_newest_checkpoint_as_its_policy_says(ward: Ward) -> None:
    assert ("stalling", SymptomKind.CHECKPOINTS) in ward.detected
    assert (ward.of_outbreak["stalling"]["CheckpointStalled"], ward.of_outbreak["stalling"]["CheckpointRecovered"]) == (1, 1)
    assert ward.of_outbreak["stalling"]["RecoveryStarted"] >= 1
    submitted = [event.message for event in ward.site.statuses.events("stalling") if event.reason == "Submitted"]
    assert f"{ward.site.id_of('stalling', 1)}/chk-" in submitted[1]


@pytest.mark.parametrize(("job", "slow"), [("throttled", "slow"), ("slow-sink", "slow -> discard v1: Writer")])
def test_backpressure_is_told_with_who_is_waited_for(ward: Ward, job: str, slow: str) -> None:
    assert (job, SymptomKind.BACKPRESSURE) in ward.detected
    assert f"it waits for {slow}, busy" in ward.messages[job]
    assert (ward.of_outbreak[job]["BackpressureStarted"], ward.of_outbreak[job]["BackpressureEnded"]) == (1, 1)
    assert ward.site.status(job).attempt_counter == 1


def test_the_loss_of_a_taskmanager_is_told_until_every_task_runs_again(ward: Ward) -> None:
    assert ("throttled", SymptomKind.TASKS) in ward.detected
    assert (ward.counts("throttled")["TasksMissing"], ward.counts("throttled")["TasksBack"]) == (1, 1)
    assert ward.counts("throttled")["JobRestarted"] >= 1


@pytest.mark.parametrize("job", JOBS)
def test_every_job_ends_with_its_state_and_without_a_symptom(ward: Ward, job: str) -> None:
    ward.site.assert_one_copy_at_a_time_with_its_state(job)
    assert ward.site.status(job).symptoms == ()
