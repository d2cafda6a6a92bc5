"""The two worlds that the Flink probes run in: the twin in virtual time, and a real Flink in real time.

A world hides how time passes, where bytes lie and how a process is killed. Everything else goes through the ports, so
that what a probe finds out is what the controller will find out.
"""

import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from flink_controller.adapters.burn_jar import BURN_ENTRY_CLASS, burn_jar
from flink_controller.adapters.file_state import FileStateStorage
from flink_controller.adapters.flink_rest import FlinkRestConnections, Timeouts
from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.observation import Answer, FlinkState, JobSeen, StorageUnreadable, StoredState
from flink_controller.ports import FlinkGateway, StateStorage
from flink_controller.testing.clock import VirtualClock
from flink_controller.testing.flink_behaviour import BURN, JobBehaviour
from flink_controller.testing.flink_twin import FlinkTwin, TwinOptions
from flink_controller.testing.storage_twin import StorageTwin
from infra.local.flink import FlinkCluster, FlinkConfig
from infra.local.processes import free_port
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain
from tests.jobs.build import build, entry_class

STORE_DURATION: Final = timedelta(seconds=3)
STATISTICS_AGE: Final = timedelta(seconds=1)
HEARTBEAT_TIMEOUT: Final = timedelta(seconds=20)
SLOTS: Final = 8
RATE: Final = 50
"""Records per second of a counter."""
MAIN: Final = timedelta(seconds=1.2)
"""How long a slow main() sleeps."""
SNAPSHOT_HOLD: Final = "hold-snapshots"
END_HOLD: Final = "hold-ends"
RETAINING: Final = {
    "execution.checkpointing.interval": "300ms",
    "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
    "restart-strategy.type": "none",
}
"""The configuration of a probe's job, unless it says otherwise."""


@dataclass(frozen=True)
class Variant:
    """One job, as a real jar with arguments and as the twin's behaviour."""

    behaviour: JobBehaviour
    jar: str = "CounterJob"
    args: tuple[str, ...] = ()
    entry: str | None = None


VARIANTS: Final[Mapping[str, Variant]] = {
    "counter": Variant(JobBehaviour(rate=RATE)),
    "changed": Variant(JobBehaviour(rate=RATE, state_incompatible=True), args=("--uid", "-other")),
    "slow-main": Variant(
        JobBehaviour(rate=RATE, main=MAIN), args=("--main-sleep-ms", str(int(MAIN.total_seconds() * 1000)))
    ),
    "failing-main": Variant(
        JobBehaviour(main_throws="java.lang.IllegalArgumentException: CounterJob was told to fail in main"),
        args=("--fail-main",),
    ),
    "missing-class": Variant(JobBehaviour(class_is_missing=True), entry="com.example.Missing"),
    "bounded": Variant(JobBehaviour(rate=RATE, finishes_after=timedelta(seconds=0.5)), args=("--bounded", str(RATE // 2))),
    "failing": Variant(
        JobBehaviour(
            rate=RATE,
            fails_after=timedelta(seconds=1),
            failure=f"java.lang.IllegalStateException: CounterJob was told to fail after {RATE} records",
        ),
        args=("--fail-after", str(RATE)),
    ),
    "failing-snapshots": Variant(
        JobBehaviour(rate=RATE, checkpoints_fail=True, stop_fails="CounterJob was told to fail its snapshots"),
        args=("--ckpt-fail",),
    ),
    "own-interval": Variant(
        JobBehaviour(rate=RATE, checkpoint_interval=timedelta(milliseconds=400)), args=("--enable-checkpointing", "400")
    ),
    "batch": Variant(JobBehaviour(is_batch=True, finishes_after=timedelta(seconds=0.3)), jar="BatchJob"),
    "long-batch": Variant(
        JobBehaviour(is_batch=True), jar="BatchJob", args=("--records", "1000000", "--sleep-ms-per-record", "100")
    ),
    "burn": Variant(BURN, jar="", entry=BURN_ENTRY_CLASS),
}


class FlinkWorld(Protocol):
    """What a probe may do beside calling the ports."""

    version: str
    checkpoint_root: str

    @property
    def gateway(self) -> FlinkGateway:
        """The cluster."""

    @property
    def storage(self) -> StateStorage:
        """Where the cluster keeps state."""

    def upload(self, variant: str) -> str:
        """Upload a variant's jar and give its id."""

    def pass_time(self, duration: timedelta) -> None:
        """Let time pass."""

    def together(self, calls: list[Callable[[], Answer]]) -> list[Answer]:
        """Make calls at the same time, as far as the world can."""

    def in_background(self, submit: Submit) -> None:
        """Send a submit and do not wait for its answer."""

    def impatient(self, submit: Submit) -> Answer:
        """Send a submit and wait for its answer for much less than main() takes."""

    def kill_jobmanager(self) -> None:
        """End the JobManager as a crash does."""

    def start_jobmanager(self) -> None:
        """Start a JobManager."""

    def kill_taskmanagers(self) -> None:
        """End all TaskManagers as a crash does."""

    def start_taskmanager(self) -> None:
        """Start a fresh TaskManager."""

    def hold_snapshots(self) -> None:
        """Let no snapshot complete from now on."""

    def hold_ends(self) -> None:
        """Let no stop end whose savepoint is complete."""

    def let_go(self) -> None:
        """Hold nothing any more."""

    def progress(self, flink_job_id: str) -> int:
        """Tell how many records the job's state holds."""

    def producing(self, flink_job_id: str) -> int:
        """Count the copies of a job that produce output now."""

    def copies(self, flink_job_id: str) -> int:
        """Count the copies of a job that ever produced output."""

    def savepoints_under(self, directory: str) -> int:
        """Count the complete savepoints in a directory."""

    def directory(self) -> str:
        """Give a savepoint directory that no other probe uses."""


class TwinWorld:
    """The twin, with a clock that probes move."""

    def __init__(self, version: str, **options: Any) -> None:
        self.version = version
        self.clock = VirtualClock()
        self.storage = StorageTwin()
        self.checkpoint_root = "file:///state/checkpoints"
        self.gateway = FlinkTwin(
            self.clock,
            self.storage,
            TwinOptions(
                version=version,
                checkpoint_root=self.checkpoint_root,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                store_duration=STORE_DURATION,
                statistics_age=STATISTICS_AGE,
                slots=SLOTS,
                **options,
            ),
            behaviours={f"probe-{name}.jar": variant.behaviour for name, variant in VARIANTS.items()},
        )
        self._directories = 0

    def upload(self, variant: str) -> str:
        """Upload a variant's jar and give its id."""
        content = variant.encode()
        return self.gateway.upload_jar(f"probe-{variant}.jar", io.BytesIO(content), len(content)).jar_id

    def pass_time(self, duration: timedelta) -> None:
        """Let virtual time pass."""
        self.clock.advance(duration)

    def together(self, calls: list[Callable[[], Answer]]) -> list[Answer]:
        """Make calls at one virtual instant."""
        return [call() for call in calls]

    def in_background(self, submit: Submit) -> None:
        """Let a submit arrive now."""
        self.gateway.deliver_later(submit, self.clock.now())

    def impatient(self, submit: Submit) -> Answer:
        """Send a submit with a short time-out."""
        usual = self.gateway.options
        self.gateway.options = replace(usual, client_timeout=MAIN / 5)
        answer = self.gateway.submit(submit)
        self.gateway.options = usual
        return answer

    def kill_jobmanager(self) -> None:
        """End the JobManager."""
        self.gateway.kill_jobmanager()

    def start_jobmanager(self) -> None:
        """Start a JobManager."""
        self.gateway.start_jobmanager()

    def kill_taskmanagers(self) -> None:
        """End all TaskManagers."""
        self.gateway.kill_taskmanagers()

    def start_taskmanager(self) -> None:
        """Start a fresh TaskManager."""
        self.gateway.start_taskmanagers()

    def hold_snapshots(self) -> None:
        """Hold snapshots."""
        self.gateway.holds_snapshots = True

    def hold_ends(self) -> None:
        """Hold ends."""
        self.gateway.holds_ends = True

    def let_go(self) -> None:
        """Hold nothing."""
        self.gateway.holds_snapshots = self.gateway.holds_ends = False

    def progress(self, flink_job_id: str) -> int:
        """Tell the job's progress."""
        return self.gateway.progress(flink_job_id) or 0

    def producing(self, flink_job_id: str) -> int:
        """Count the copies that produce now."""
        return len(self.gateway.processing_copies(flink_job_id))

    def copies(self, flink_job_id: str) -> int:
        """Count all starts."""
        return sum(1 for start in self.gateway.history if start.flink_job_id == flink_job_id)

    def savepoints_under(self, directory: str) -> int:
        """Count savepoints."""
        return sum(1 for path in self.storage.snapshots if path.startswith(f"{directory}/savepoint-"))

    def directory(self) -> str:
        """Give a fresh directory."""
        self._directories += 1
        return f"file:///state/savepoints/{self._directories}"


class RealWorld:
    """A real Flink, through the REST adapter."""

    def __init__(self, cluster: FlinkCluster, root: Path) -> None:
        self.version = cluster.config.home.version
        self._cluster = cluster
        self.beats = root / "beats"
        """Where counters write, and where files that hold them are."""
        self._taskmanagers = 1
        self._directories = 0
        self._background: list[threading.Thread] = []
        self._registered = Cluster(
            name="real",
            url=cluster.rest_url,
            savepoint_root=cluster.config.savepoint_root,
            checkpoint_root=cluster.config.checkpoint_root,
        )
        self.gateway = FlinkRestConnections(is_local=True).connect(self._registered)
        self._impatient = FlinkRestConnections(Timeouts(submit_s=MAIN.total_seconds() / 5), is_local=True).connect(
            self._registered
        )
        self.storage = FileStateStorage()
        self.checkpoint_root = cluster.config.checkpoint_root

    def upload(self, variant: str) -> str:
        """Upload a variant's jar and give its id."""
        jar = VARIANTS[variant].jar
        content = build(jar, self._cluster.config.home.version).read_bytes() if jar else burn_jar()
        return self.gateway.upload_jar(f"probe-{variant}.jar", io.BytesIO(content), len(content)).jar_id

    def pass_time(self, duration: timedelta) -> None:
        """Wait."""
        time.sleep(duration.total_seconds())

    def together(self, calls: list[Callable[[], Answer]]) -> list[Answer]:
        """Make calls in threads."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

    def in_background(self, submit: Submit) -> None:
        """Send a submit in a thread, and give it time to arrive."""
        gateway = FlinkRestConnections(is_local=True).connect(self._registered)
        thread = threading.Thread(target=gateway.submit, args=(submit,))
        thread.start()
        self._background.append(thread)
        time.sleep(0.3)

    def impatient(self, submit: Submit) -> Answer:
        """Send a submit with a short time-out."""
        return self._impatient.submit(submit)

    def kill_jobmanager(self) -> None:
        """End the JobManager."""
        self._cluster.kill_jobmanager()

    def start_jobmanager(self) -> None:
        """Start a JobManager."""
        self._cluster.start_jobmanager()

    def kill_taskmanagers(self) -> None:
        """End all TaskManagers."""
        for number in range(self._taskmanagers):
            self._cluster.kill_taskmanager(number)

    def start_taskmanager(self) -> None:
        """Start one more TaskManager."""
        self._cluster.start_taskmanager(self._taskmanagers)
        self._taskmanagers += 1

    def hold_snapshots(self) -> None:
        """Put the file in place that snapshots wait for to go."""
        (self.beats / SNAPSHOT_HOLD).touch()

    def hold_ends(self) -> None:
        """Put the file in place that ends wait for to go."""
        (self.beats / END_HOLD).touch()

    def let_go(self) -> None:
        """Take the files away."""
        for name in (SNAPSHOT_HOLD, END_HOLD):
            (self.beats / name).unlink(missing_ok=True)

    def progress(self, flink_job_id: str) -> int:
        """Add up what each key has counted to."""
        counts: dict[str, int] = {}
        for file in self._beats(flink_job_id):
            for line in file.read_text().splitlines():
                _, _, _, key, count = line.split(",")
                counts[key] = max(counts.get(key, 0), int(count))
        return sum(counts.values())

    def producing(self, flink_job_id: str) -> int:
        """Count the files that grow."""
        before = {file: file.stat().st_size for file in self._beats(flink_job_id)}
        time.sleep(0.4)
        return sum(1 for file in self._beats(flink_job_id) if file.stat().st_size > before.get(file, 0))

    def copies(self, flink_job_id: str) -> int:
        """Count the files; each copy makes its own."""
        return len(self._beats(flink_job_id))

    def savepoints_under(self, directory: str) -> int:
        """Count savepoints."""
        return len(list(Path(directory.removeprefix("file://")).glob("savepoint-*/_metadata")))

    def directory(self) -> str:
        """Give a fresh directory."""
        self._directories += 1
        return f"{self._registered.savepoint_root}/{self._directories}"

    def settle(self) -> None:
        """Wait for submits in the background."""
        for thread in self._background:
            thread.join()
        self._background.clear()

    def _beats(self, flink_job_id: str) -> list[Path]:
        return sorted(self.beats.glob(f"{flink_job_id}-*.csv"))


@contextmanager
def started(root: Path, *, options: Mapping[str, str] | None = None, **changes: Any) -> Iterator[RealWorld]:
    """Run a real cluster of the version that `FLINK_VERSION` names, with its state below a folder."""
    settings = LocalSettings.from_env(os.environ)
    toolchain = Toolchain(settings.cache_directory, os.environ, SILENT)
    cluster = FlinkCluster(
        FlinkConfig(
            home=toolchain.flink(settings.flink_version),
            java=toolchain.java(),
            directory=root / "cluster",
            rest_port=free_port(),
            rpc_port=free_port(),
            slots=SLOTS,
            heartbeat_timeout_seconds=int(HEARTBEAT_TIMEOUT.total_seconds()),
            savepoint_root=f"file://{root}/savepoints",
            checkpoint_root=f"file://{root}/checkpoints",
            jobmanager_heap_mb=512,
            taskmanager_heap_mb=512,
            options={
                "rest.async.store-duration": f"{int(STORE_DURATION.total_seconds())}s",
                # The loss of a TaskManager is noticed by two beats that do not arrive.
                "heartbeat.interval": "1000",
                "web.refresh-interval": str(int(STATISTICS_AGE.total_seconds() * 1000)),
                "job-result-store.delete-on-commit": "false",
                **(options or {}),
            },
            **changes,
        )
    )
    (root / "beats").mkdir(parents=True)
    cluster.start()
    try:
        yield RealWorld(cluster, root)
    finally:
        cluster.stop()


class Probe:
    """What probes are written with: a world, and the words for what they do again and again."""

    def __init__(self, world: FlinkWorld, number: int, beats: Path) -> None:
        self.world = world
        self.flink = world.gateway
        self._number = number
        self._beats = beats
        self._ids = 0
        self._jars: dict[str, str] = {}

    def new_id(self) -> str:
        """Give a Flink job id that no probe has used."""
        self._ids += 1
        return f"{0xF1:08x}{self._number:08x}{self._ids:016x}"

    def new_trigger(self) -> str:
        """Give a trigger id that no probe has used."""
        return self.new_id()

    def jar(self, variant: str) -> str:
        """Give the id of a variant's jar, uploaded once."""
        if variant not in self._jars:
            self._jars[variant] = self.world.upload(variant)
        return self._jars[variant]

    def forget_jars(self) -> None:
        """Upload again from here on: a new JobManager has none."""
        self._jars.clear()

    def request(
        self,
        variant: str,
        flink_job_id: str,
        *,
        restore_from: str | None = None,
        allow_non_restored_state: bool = False,
        configuration: Mapping[str, str] = RETAINING,
        parallelism: int = 1,
        application_id: str | None = None,
    ) -> Submit:
        """Describe a submit of a variant."""
        chosen = VARIANTS[variant]
        args = chosen.args
        if chosen.jar == "CounterJob":
            args += ("--rate", str(RATE), "--beats", str(self._beats))
            args += tuple(word for name in (SNAPSHOT_HOLD, END_HOLD) for word in (f"--{name}", str(self._beats / name)))
        entry = chosen.entry or (entry_class(chosen.jar) if chosen.jar else None)
        return Submit(
            flink_job_id,
            self.jar(variant),
            entry,
            args,
            parallelism,
            restore_from,
            allow_non_restored_state,
            configuration,
            application_id,
        )

    def submit(self, variant: str, flink_job_id: str, **changes: object) -> Answer:
        """Submit a variant."""
        return self.flink.submit(self.request(variant, flink_job_id, **changes))  # type: ignore[arg-type]  # passed on

    def start(self, variant: str = "counter", **changes: object) -> str:
        """Submit a variant under a fresh id and wait until it processes."""
        flink_job_id = self.new_id()
        self.submit(variant, flink_job_id, **changes)
        self.wait(lambda: self.is_processing(flink_job_id))
        return flink_job_id

    def stop(self, flink_job_id: str) -> str:
        """Stop a job and give its savepoint's path."""
        trigger = self.new_trigger()
        self.flink.stop(flink_job_id, trigger_id=trigger, target_directory=self.world.directory())
        self.wait_for_state(flink_job_id, FlinkState.FINISHED)
        return self.flink.trigger(flink_job_id, trigger).path  # type: ignore[union-attr]  # fails the probe if there is none

    def seen(self, flink_job_id: str) -> JobSeen | None:
        """Find a job in the list."""
        found = [job for job in self.flink.jobs() if job.flink_job_id == flink_job_id]
        assert len(found) <= 1, "one id, two entries"
        return found[0] if found else None

    def state(self, flink_job_id: str) -> FlinkState | None:
        """Give a job's state; None: it is not listed."""
        job = self.seen(flink_job_id)
        return None if job is None else job.state

    def is_processing(self, flink_job_id: str) -> bool:
        """Tell whether all tasks of a job run."""
        job = self.seen(flink_job_id)
        return job is not None and job.is_processing

    def stored(self, flink_job_id: str) -> StoredState:
        """List a job's checkpoints in storage."""
        state = self.world.storage.search(flink_job_id, checkpoint_root=self.world.checkpoint_root, savepoint_directories=())
        assert not isinstance(state, StorageUnreadable)
        return state

    def wait(self, is_true: Callable[[], bool], seconds: float = 20.0) -> None:
        """Let time pass until something is true."""
        step = timedelta(milliseconds=50)
        for _ in range(int(seconds / step.total_seconds())):
            if is_true():
                return
            self.world.pass_time(step)
        raise AssertionError("did not become true in time")

    def wait_for_state(self, flink_job_id: str, state: FlinkState) -> None:
        """Let time pass until a job is in a state."""
        self.wait(lambda: self.state(flink_job_id) is state)

    def clean_up(self) -> None:
        """Cancel what this probe has left running."""
        ours = f"{0xF1:08x}{self._number:08x}"
        for job in self.flink.jobs():
            if job.flink_job_id.startswith(ours) and not job.state.is_terminal:
                self.flink.cancel(job.flink_job_id)
        self.wait(lambda: all(job.state.is_terminal for job in self.flink.jobs() if job.flink_job_id.startswith(ours)))
