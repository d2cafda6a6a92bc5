"""A whole installation in memory, and the program run against it.

The controller is played by its own services: whenever the program waits, time passes and they do what is due.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from typer.testing import CliRunner

from flink_controller.adapters.file_state import FileStateStorage
from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.adapters.signing import KeyPair, new_key_pair
from flink_controller.adapters.state_storage import StateStorageByScheme
from flink_controller.cli.context import Remote, Session, Signer
from flink_controller.cli.main import app
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.cluster_check import ClusterOverview
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError
from flink_controller.domain.observation import ClusterConfig, JobSeen, TaskManagerSeen
from flink_controller.domain.plan import Policy
from flink_controller.domain.status import JobStatus
from flink_controller.ports import BurnJar, Commit, ObjectVersion, Ports
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.services.reconcile import reconcile_job
from flink_controller.settings import Settings
from flink_controller.testing.clock import VirtualClock
from flink_controller.testing.flink_behaviour import BURN
from flink_controller.testing.flink_twin import FlinkTwin
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects, MemoryArtifactRecords
from flink_controller.testing.memory_circuits import MemoryCircuits
from flink_controller.testing.memory_follow_ups import MemoryFollowUps
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_specs import MemorySpecs
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.storage_twin import StorageTwin

BUCKET = "artifacts-bucket"
ARTIFACT = "artifacts/etl.jar"
CLUSTER = Cluster(
    name="default", url="http://flink:8081", savepoint_root="s3://state/savepoints", checkpoint_root="s3://state/checkpoints"
)
SPEC: dict[str, Any] = {
    "job_id": "etl",
    "job_type": "stream",
    "artifact_path": ARTIFACT,
    "deployment": {"checkpoint_interval": 2000, "rollback": {"stabilization_seconds": 5}},
}


@dataclass
class ProbeTwin:
    """`FlinkProbe` whose answers a test chooses."""

    settings: dict[str, str]
    overview_: ClusterOverview
    task_managers_: tuple[TaskManagerSeen, ...] = (TaskManagerSeen(8, 8),)
    unreachable: bool = False
    calls: int = 0

    def _arrive(self) -> None:
        self.calls += 1
        if self.unreachable:
            raise FlinkUnreachableError("http://flink:8081 gives no answer: connection refused")

    def config(self) -> ClusterConfig:
        self._arrive()
        return ClusterConfig(incarnation="flink-web-1", settings={"web.tmpdir": "flink-web-1", **self.settings})

    def overview(self) -> ClusterOverview:
        self._arrive()
        return self.overview_

    def task_managers(self) -> tuple[TaskManagerSeen, ...]:
        self._arrive()
        return self.task_managers_

    def jobs(self) -> list[JobSeen]:
        return []

    def parameters(self, flink_job_id: str) -> None:
        del flink_job_id


@dataclass
class UploadTwin:
    """`ArtifactUploads` into the twin of the bucket."""

    objects: MemoryArtifactObjects
    uploaded: list[str]

    def upload(
        self, bucket: str, key: str, content: IO[bytes], *, size_bytes: int, sha256: str, is_new: bool = False
    ) -> str:
        if is_new and self.objects.latest(bucket, key) is not None:
            raise RejectedError(f"there is an s3://{bucket}/{key} already, and a release is immutable")
        body = content.read()
        assert len(body) == size_bytes
        assert hashlib.sha256(body).hexdigest() == sha256
        self.uploaded.append(key)
        return self.objects.upload(bucket, key, body).version_id

    def superseded(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        return self.objects.superseded(bucket, prefix)

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        for version in versions:
            self.objects.purge(version.bucket, version.key, version.version_id)


@dataclass(frozen=True)
class Result:
    """What a run of the program left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class _Waiting:
    """`Clock` of the program: while it waits, the controller works."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench

    def now(self) -> Any:
        return self._bench.clock.now()

    def sleep(self, duration: timedelta) -> None:
        self._bench.clock.advance(duration)
        self._bench.work()


class Bench:
    """An installation, and a terminal in front of it."""

    def __init__(self, directory: Path, *, environment: str = "prod") -> None:
        self.directory = directory
        self.clock = VirtualClock()
        self.settings = Settings(
            job_spec_table_name="specs",
            controller_state_table_name="state",
            artifact_bucket_name=BUCKET,
            follow_up_queue_url="https://queue",
            controller_id="test",
            environment=environment,
            state_buckets="state",
        )
        self.kms: Callable[[str], Signer] | None = None
        self.policy = Policy(controller_id="test", artifact_bucket=BUCKET, debounce=timedelta(0))
        self.specs = MemorySpecs()
        self.statuses = MemoryStatuses()
        self.registry = MemoryRegistry()
        self.circuits = MemoryCircuits(self.registry)
        self.records = MemoryArtifactRecords()
        self.objects = MemoryArtifactObjects(self.clock.now)
        self.uploads = UploadTwin(self.objects, [])
        self.follow_ups = MemoryFollowUps(self.clock.now)
        self.storage = StorageTwin()
        self.flink = FlinkTwin(self.clock, self.storage)
        self.probe = ProbeTwin({}, ClusterOverview(version="2.3.0", taskmanagers=1, slots_total=8, slots_free=8))
        self.probes: dict[str, ProbeTwin] = {}
        """Of clusters that answer otherwise than `probe`."""
        burn = b"burn"
        digest = hashlib.sha256(burn).hexdigest()
        self.flink.behaviours[digest] = BURN
        self.ports = Ports(
            clock=self.clock,
            specs=self.specs,
            statuses=self.statuses,
            registry=self.registry,
            circuits=self.circuits,
            records=self.records,
            objects=self.objects,
            storage=self.storage,
            flink=self,
            follow_ups=self.follow_ups,
            verifier=SignatureVerifier(),
            burn_jar=BurnJar(burn, digest, "Burn"),
        )
        self.environ: dict[str, str] = {}
        self.is_working = True
        """Whether there is a controller at all."""

    def connect(self, cluster: Cluster) -> FlinkTwin:
        del cluster
        return self.flink

    def run(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        """Run the program."""
        session = Session(self.remote, _Waiting(self), SignatureVerifier(), self.environ, self.kms)
        result = CliRunner().invoke(app, list(arguments), input=stdin, obj=session, prog_name="flinkctl")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    def remote(self) -> Remote:
        return Remote(
            settings=self.settings,
            policy=self.policy,
            specs=self.specs,
            statuses=self.statuses,
            registry=self.registry,
            records=self.records,
            objects=self.objects,
            uploads=self.uploads,
            probe=lambda cluster: self.probes.get(cluster.name, self.probe),
            savepoints=lambda: StateStorageByScheme({"file": FileStateStorage()}),
        )

    def work(self) -> None:
        """Let the controller do what is due: admit what was uploaded, look at every job."""
        if not self.is_working:
            return
        for key in dict.fromkeys(self.uploads.uploaded):
            admit_artifact(self.ports, self.policy, BUCKET, key)
        self.uploads.uploaded.clear()
        jobs = {name for name, _ in self.specs.items()} | {one.job_id for one in self.statuses.summaries()}
        for job_id in sorted(jobs):
            reconcile_job(self.ports, self.policy, job_id, owner="bench")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with the controller at work."""
        for _ in range(int(seconds)):
            self.clock.advance(timedelta(seconds=1))
            self.work()

    def put_status(self, status: JobStatus) -> None:
        """Record a status as the controller would."""
        now = self.clock.now()
        held = self.statuses.acquire(status.job_id, owner="test", now=now, until=now + timedelta(seconds=1))
        self.statuses.commit(held, Commit(status), release=True)

    def trusted_key(self, name: str = "team") -> Path:
        """Register a key and give the file of its private half."""
        pair = self.key_pair(name)
        algorithm = KeyAlgorithm.ED25519
        key = TrustedKey(key_id=name, algorithm=algorithm, public_key=pair.public_key_pem, namespaces=("default",))
        self.registry.put_key(key)
        return self.directory / f"{name}.pem"

    def key_pair(self, name: str) -> KeyPair:
        """Make a key in files NAME.pem and NAME.pub.pem."""
        pair = new_key_pair()
        (self.directory / f"{name}.pem").write_bytes(pair.private_key_pem)
        (self.directory / f"{name}.pub.pem").write_text(pair.public_key_pem)
        return pair

    def jar(self, content: str = "v1") -> Path:
        """Make a jar."""
        path = self.directory / f"{content}.jar"
        path.write_bytes(jar_bytes(content))
        return path

    def file(self, document: Any, name: str = "job.yaml") -> str:
        """Write a document, or text, to a file."""
        path = self.directory / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    def deploy(self) -> None:
        """Have `etl` running, stable, from version v1."""
        self.registry.put_cluster(CLUSTER)
        key = self.trusted_key()
        self.environ["FLINKCTL_SIGNING_KEY"] = str(key)
        assert self.run("artifact", "push", str(self.jar()), "--to", ARTIFACT).status == 0
        assert self.run("apply", "-f", self.file(SPEC), "--wait").status == 0


def truncated(jar: Path) -> Path:
    """Cut a jar's end off."""
    path = jar.with_name("truncated.jar")
    path.write_bytes(jar.read_bytes()[:-30])
    return path
