"""A real Flink session cluster as processes of its own, straight from Flink's libraries.

JobManager and TaskManager are separate processes because tests kill them separately. Everything listens on loopback
and everything written stays in the cluster's folder. `web.upload.dir` is left unset on purpose: a jar id that one
JobManager gave out means nothing to the next one, which the controller relies on.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.local.errors import LocalStackError
from infra.local.loopback import get_json
from infra.local.processes import LOOPBACK, BackgroundProcess, check_port, wait_until
from infra.local.progress import SILENT, Progress
from infra.local.toolchain import FlinkHome

JOBMANAGER_CLASS: Final = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
TASKMANAGER_CLASS: Final = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
ZOOKEEPER_CLASS: Final = "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer"
JOBMANAGER: Final = "jobmanager"
TASKMANAGER: Final = "taskmanager"
ZOOKEEPER: Final = "zookeeper"
SCRATCH: Final = "tmp"
START_TIMEOUT_SECONDS: Final = 90.0
RPC_OFFSET: Final = 6123 - 8081
"""Distance of Flink's own default ports, kept so that stacks with different REST ports do not meet."""
LOWEST_PORT: Final = 1024
ADD_OPENS: Final = (
    "java.base/java.lang",
    "java.base/java.net",
    "java.base/java.io",
    "java.base/java.nio",
    "java.base/sun.nio.ch",
    "java.base/java.lang.reflect",
    "java.base/java.text",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
)
"""Modules that Flink's serializers look into on Java 17."""


@dataclass(frozen=True, kw_only=True)
class S3Endpoint:
    """Where Flink's S3 filesystem finds its buckets."""

    url: str
    access_key: str
    secret_key: str
    region: str


@dataclass(frozen=True, kw_only=True)
class FlinkConfig:
    """One cluster."""

    home: FlinkHome
    java: Path
    directory: Path
    """Configuration, logs, process records and scratch of this cluster."""
    rest_port: int
    rpc_port: int | None = None
    """Between JobManager and TaskManager. Unset: as far from `rest_port` as Flink's own defaults are."""
    slots: int = 8
    """Of each TaskManager."""
    heartbeat_timeout_seconds: int | None = None
    savepoint_root: str
    checkpoint_root: str
    s3: S3Endpoint | None = None
    zookeeper_port: int | None = None
    """Set: high availability with a ZooKeeper of its own on this port; its second port is the next one."""
    jobmanager_heap_mb: int = 768
    taskmanager_heap_mb: int = 768
    options: Mapping[str, str] = field(default_factory=dict)
    """Flink options that win over everything said here."""

    @property
    def effective_rpc_port(self) -> int:
        """`rpc_port`, or the one derived from `rest_port`."""
        return self.rpc_port or derived_rpc_port(self.rest_port)

    @property
    def network_mb(self) -> int:
        """Buffers: a fixed part and some per slot, so that many small jobs fit."""
        return 64 + 2 * self.slots


class FlinkCluster:
    """Start, stop and break one Flink cluster. All methods are idempotent."""

    def __init__(self, config: FlinkConfig, progress: Progress = SILENT) -> None:
        """Take charge of the cluster in `config.directory`, whether it runs already or not."""
        self.config = config
        self._progress = progress
        self._conf = config.directory / "conf"
        self._scratch = config.directory / SCRATCH
        self._logs = config.directory / "log"

    @property
    def rest_url(self) -> str:
        """Where REST API and UI answer."""
        return f"http://{LOOPBACK}:{self.config.rest_port}"

    def start(self) -> None:
        """Bring up one JobManager and one TaskManager, and return when all its slots are offered.

        Raises:
            LocalStackError: a port is taken or a process ended; what this call started is stopped again.
        """
        was_running = [process.is_running() for process in _processes(self.config.directory)]
        try:
            with self._progress.step(f"start Flink {self.config.home.version} on {self.rest_url}"):
                self.start_jobmanager()
                self.start_taskmanager()
        except BaseException:
            if not any(was_running):
                self.stop()
            raise

    def stop(self) -> None:
        """End every process of the cluster; the state that jobs wrote stays."""
        stop_cluster(self.config.directory)

    def is_running(self) -> bool:
        """Say whether JobManager and first TaskManager run (not whether they answer)."""
        return cluster_is_running(self.config.directory)

    def start_jobmanager(self) -> None:
        """Start the JobManager (and the ZooKeeper, if one is wanted); return when REST answers.

        Raises:
            LocalStackError: a port is taken, or the process ended or did not answer in time.
        """
        self.begin_jobmanager()
        self._await(self._jobmanager(), lambda: self.overview() is not None, "answer REST calls")

    def begin_jobmanager(self) -> None:
        """Do the same and return at once: for a REST interface that answers only whom it trusts."""
        self._write_configuration()
        if self.config.zookeeper_port is not None:
            self._start_zookeeper(self.config.zookeeper_port)
        process = self._jobmanager()
        if not process.is_running():
            check_port(self.config.rest_port, "Flink's REST API", "FLINK_REST_PORT")
            check_port(self.config.effective_rpc_port, "Flink's JobManager", "FLINK_REST_PORT")
            heap = (f"-Xmx{self.config.jobmanager_heap_mb}m", "-XX:MaxMetaspaceSize=512m")
            self._launch(process, heap, JOBMANAGER_CLASS, ())

    def kill_jobmanager(self) -> None:
        """End the JobManager as a crash would; TaskManagers and ZooKeeper live on."""
        self._jobmanager().kill()

    def start_taskmanager(self, number: int = 0) -> None:
        """Start one more TaskManager; return when the JobManager counts its slots.

        The JobManager must answer already: a TaskManager started earlier registers some ten seconds late.

        Raises:
            LocalStackError: the process ended or did not register in time.
        """
        process = self._taskmanager(number)
        if process.is_running():
            return
        # After a kill the old entry stays listed until its heartbeat times out, so a count would not do.
        before = self._taskmanagers_with_slots()
        heap = (
            f"-Xmx{self.config.taskmanager_heap_mb}m",
            f"-XX:MaxDirectMemorySize={self.config.network_mb + 128}m",
            "-XX:MaxMetaspaceSize=512m",
        )
        self._launch(process, heap, TASKMANAGER_CLASS, self._memory())
        self._await(process, lambda: self._taskmanagers_with_slots() > before, "register its slots")

    def kill_taskmanager(self, number: int = 0) -> None:
        """End a TaskManager as a crash would."""
        self._taskmanager(number).kill()

    def stop_taskmanager(self, number: int = 0) -> None:
        """End a TaskManager in order; it tells the JobManager."""
        self._taskmanager(number).stop()

    def overview(self) -> dict[str, Any] | None:
        """Return `/overview`, or nothing while REST does not answer."""
        answer: dict[str, Any] | None = get_json(self.config.rest_port, "/overview")
        return answer

    def wait_for_slots(self, count: int = 1, *, timeout_seconds: float = START_TIMEOUT_SECONDS) -> bool:
        """Wait until so many slots are offered, as after a JobManager's restart; say whether they are."""
        return wait_until(lambda: (self.overview() or {}).get("slots-total", 0) >= count, timeout_seconds)

    def _taskmanagers_with_slots(self) -> set[str]:
        """Return the ids of those that have reported; one that has only registered lists no slots yet."""
        answer = get_json(self.config.rest_port, "/taskmanagers") or {"taskmanagers": []}
        return {entry["id"] for entry in answer["taskmanagers"] if entry["slotsNumber"] > 0}

    def _jobmanager(self) -> BackgroundProcess:
        return BackgroundProcess(JOBMANAGER, self.config.directory)

    def _taskmanager(self, number: int) -> BackgroundProcess:
        return BackgroundProcess(f"{TASKMANAGER}-{number}", self.config.directory)

    def _zookeeper(self) -> BackgroundProcess:
        return BackgroundProcess(ZOOKEEPER, self.config.directory)

    def _launch(self, process: BackgroundProcess, heap: tuple[str, ...], main: str, arguments: tuple[str, ...]) -> None:
        for folder in (self._scratch, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        opens = [option for module in ADD_OPENS for option in ("--add-opens", f"{module}=ALL-UNNAMED")]
        command = [
            str(self.config.java),
            *heap,
            # Quick to start and light on a laptop's few cores.
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            *opens,
            f"-Djava.io.tmpdir={self._scratch}",
            f"-Dlog.file={self._logs / process.name}.log",
            f"-Dlog4j.configurationFile=file:{self._conf / 'log4j.properties'}",
            "-cp",
            self.config.home.class_path,
            main,
            "--configDir",
            str(self._conf),
            *arguments,
        ]
        process.start(command, self._environment())

    def _environment(self) -> dict[str, str]:
        """Return all that the processes see; proxies, credentials and certificates of the host are not theirs."""
        home = self.config.home
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self._scratch),
            "LANG": "C.UTF-8",
            "FLINK_CONF_DIR": str(self._conf),
            "FLINK_LIB_DIR": str(home.lib),
            "FLINK_OPT_DIR": str(home.opt),
            "FLINK_PLUGINS_DIR": str(home.plugins),
        }

    def _await(self, process: BackgroundProcess, is_ready: Callable[[], bool], what: str) -> None:
        wait_until(lambda: is_ready() or not process.is_running(), START_TIMEOUT_SECONDS)
        if process.is_running() and is_ready():
            return
        happened = "did not" if process.is_running() else "ended before it could"
        log = self._logs / f"{process.name}.log"
        process.kill()
        raise LocalStackError(f"Flink's {process.name} {happened} {what}: read {log} and {process.output}.")

    def _start_zookeeper(self, port: int) -> None:
        process = self._zookeeper()
        if process.is_running():
            return
        check_port(port, "ZooKeeper", "zookeeper_port")
        settings = {
            "dataDir": str(self.config.directory / "zookeeper"),
            "clientPort": str(port),
            "clientPortAddress": LOOPBACK,
            "admin.enableServer": "false",
            "tickTime": "2000",
        }
        file = self._conf / "zoo.cfg"
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        heap = ("-Xmx128m",)
        opens = (
            f"-Dlog4j.configurationFile=file:{self._conf / 'log4j.properties'}",
            f"-Dlog.file={self._logs}/zookeeper.log",
        )
        self._logs.mkdir(parents=True, exist_ok=True)
        command = [str(self.config.java), *heap, *opens, "-cp", self.config.home.class_path, ZOOKEEPER_CLASS]
        process.start([*command, "--zkConfigFile", str(file), "--peerId", "1"], self._environment())

    def _memory(self) -> tuple[str, ...]:
        """Return every part of the TaskManager's memory; without Flink's scripts nothing computes them."""
        task_heap = self.config.taskmanager_heap_mb - 128
        parts = {
            "cpu.cores": "2",
            "memory.framework.heap.size": "128m",
            "memory.task.heap.size": f"{task_heap}m",
            "memory.framework.off-heap.size": "128m",
            "memory.task.off-heap.size": "0b",
            "memory.managed.size": "128m",
            "memory.network.min": f"{self.config.network_mb}m",
            "memory.network.max": f"{self.config.network_mb}m",
            "memory.jvm-metaspace.size": "512m",
            "memory.jvm-overhead.min": "64m",
            "memory.jvm-overhead.max": "64m",
        }
        return tuple(word for key, value in parts.items() for word in ("-D", f"taskmanager.{key}={value}"))

    def _write_configuration(self) -> None:
        self._conf.mkdir(parents=True, exist_ok=True)
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in sorted(self._options().items())]
        (self._conf / "config.yaml").write_text("".join(lines))
        (self._conf / "log4j.properties").write_text(LOG4J)

    def _options(self) -> dict[str, str]:
        config = self.config
        options = {
            "jobmanager.rpc.address": LOOPBACK,
            "jobmanager.rpc.port": str(config.effective_rpc_port),
            "jobmanager.bind-host": LOOPBACK,
            "taskmanager.host": LOOPBACK,
            "taskmanager.bind-host": LOOPBACK,
            "taskmanager.numberOfTaskSlots": str(config.slots),
            "rest.address": LOOPBACK,
            "rest.bind-address": LOOPBACK,
            "rest.port": str(config.rest_port),
            "rest.bind-port": str(config.rest_port),
            "io.tmp.dirs": str(self._scratch),
            "execution.checkpointing.dir": config.checkpoint_root,
            "execution.checkpointing.savepoint-dir": config.savepoint_root,
            "metrics.fetcher.update-interval": "1000",
        }
        if config.heartbeat_timeout_seconds is not None:
            timeout_ms = config.heartbeat_timeout_seconds * 1000
            options["heartbeat.timeout"] = str(timeout_ms)
            options["heartbeat.interval"] = str(min(10_000, timeout_ms // 5))
        if config.s3 is not None:
            options |= {
                "s3.endpoint": config.s3.url,
                "s3.endpoint.region": config.s3.region,
                "s3.path.style.access": "true",
                "s3.access-key": config.s3.access_key,
                "s3.secret-key": config.s3.secret_key,
            }
        if config.zookeeper_port is not None:
            options |= {
                "high-availability.type": "zookeeper",
                "high-availability.zookeeper.quorum": f"{LOOPBACK}:{config.zookeeper_port}",
                "high-availability.storageDir": f"file://{config.directory / 'ha'}",
                # A killed JobManager's successor leads when its session ends; 60 s is Flink's default.
                "high-availability.zookeeper.client.session-timeout": "5000",
                "high-availability.cluster-id": f"/local-{config.rest_port}",
            }
        return {**options, **config.options}


def derived_rpc_port(rest_port: int) -> int:
    """Return the port between JobManager and TaskManager that goes with a REST port."""
    derived = rest_port + RPC_OFFSET
    return derived if derived >= LOWEST_PORT else rest_port + 10_000


def stop_cluster(directory: Path) -> None:
    """End every process of the cluster in this folder, whatever its configuration; its jobs' state stays."""
    for process in _processes(directory):
        process.stop()
    shutil.rmtree(directory / SCRATCH, ignore_errors=True)


def cluster_is_running(directory: Path) -> bool:
    """Say whether the JobManager and the first TaskManager of this folder run."""
    return all(BackgroundProcess(name, directory).is_running() for name in (JOBMANAGER, f"{TASKMANAGER}-0"))


def _processes(directory: Path) -> list[BackgroundProcess]:
    """Return TaskManagers first: they end faster while their JobManager still listens."""
    names = [*sorted(record.stem for record in directory.glob(f"{TASKMANAGER}-*.pid")), JOBMANAGER, ZOOKEEPER]
    return [BackgroundProcess(name, directory) for name in names]


LOG4J: Final = """\
monitorInterval = 0
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = MainAppender
appender.main.name = MainAppender
appender.main.type = RollingFile
appender.main.append = true
appender.main.fileName = ${sys:log.file}
appender.main.filePattern = ${sys:log.file}.%i
appender.main.layout.type = PatternLayout
appender.main.layout.pattern = %d{yyyy-MM-dd HH:mm:ss,SSS} %-5p %-60c %x - %m%n
appender.main.policies.type = Policies
appender.main.policies.size.type = SizeBasedTriggeringPolicy
appender.main.policies.size.size = 50MB
appender.main.strategy.type = DefaultRolloverStrategy
appender.main.strategy.max = 2
"""
