"""The services on a real Flink, in this process: real REST and real state, everything else in memory.

Quicker to bring up than the deployed stack, and it can do what no deployment can: not look for a while, lose an answer,
and kill the JobManager at the very call that a story is about.
"""

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import requests

from flink_controller.adapters.burn_jar import BURN_ENTRY_CLASS, burn_jar
from flink_controller.adapters.file_state import FileStateStorage
from flink_controller.adapters.flink_rest import FlinkRestConnections
from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.adapters.signing import sign
from flink_controller.adapters.system_clock import SystemClock
from flink_controller.domain.artifact import signed_text
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.names import flink_job_id
from flink_controller.domain.observation import Accepted, NoAnswer
from flink_controller.domain.plan import Policy
from flink_controller.domain.status import JobStatus
from flink_controller.ports import BurnJar, Ports
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects, MemoryArtifactRecords
from flink_controller.testing.memory_circuits import MemoryCircuits
from flink_controller.testing.memory_follow_ups import MemoryFollowUps
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_specs import MemorySpecs
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.simulator import DEMO_KEY
from infra.local.flink import FlinkCluster
from tests.jobs.build import build, entry_class

CONTROLLER: Final = "site"
BUCKET: Final = "artifacts-of-the-site"
TICK_S: Final = 1.0
POLICY: Final = Policy(
    controller_id=CONTROLLER,
    artifact_bucket=BUCKET,
    debounce=timedelta(0),
    submit_timeout=timedelta(seconds=3),
    function_timeout=timedelta(seconds=3),
    quarantine_margin=timedelta(seconds=1),
)


@dataclass(frozen=True)
class Copy:
    """One copy of a job that wrote lines: an attempt, or one life of it."""

    flink_job_id: str
    first_ms: int
    last_ms: int
    first: Mapping[int, int]
    """First count of each key."""
    last: Mapping[int, int]

    @property
    def number(self) -> int:
        """Number of its attempt."""
        return int(self.flink_job_id[16:], 16)


class Site:
    """One controller, one cluster, and whoever wakes the one because of the other.

    Args:
        flink: the cluster, running.
        scratch: a directory for what jobs write beside their state.
    """

    def __init__(self, flink: FlinkCluster, scratch: Path) -> None:
        self.flink, self.scratch = flink, scratch
        clock, registry = SystemClock(), MemoryRegistry()
        registry.put_key(DEMO_KEY.key)
        config = flink.config
        registry.put_cluster(
            Cluster(
                name="default",
                url=flink.rest_url,
                savepoint_root=config.savepoint_root,
                checkpoint_root=config.checkpoint_root,
                heartbeat_timeout_s=config.heartbeat_timeout_seconds or 50,
                high_availability=config.zookeeper_port is not None,
            )
        )
        self.specs, self.statuses = MemorySpecs(), MemoryStatuses()
        self.objects, self.follow_ups = MemoryArtifactObjects(clock.now), MemoryFollowUps(clock.now)
        self.after: dict[tuple[str, str], Callable[[], None]] = {}
        """What happens once, in place of the answer, when an effect of a kind on a job was carried out."""
        burn = burn_jar()
        ports = Ports(
            clock=clock,
            specs=self.specs,
            statuses=self.statuses,
            registry=registry,
            circuits=MemoryCircuits(registry),
            records=MemoryArtifactRecords(),
            objects=self.objects,
            storage=FileStateStorage(),
            flink=FlinkRestConnections(is_local=True),
            follow_ups=self.follow_ups,
            verifier=SignatureVerifier(),
            burn_jar=BurnJar(burn, hashlib.sha256(burn).hexdigest(), BURN_ENTRY_CLASS),
        )
        self.ports = intercepted(ports, self._call)
        self._next_tick = 0.0
        self._http = requests.Session()
        self._http.trust_env = False

    # What a team does

    def upload(self, key: str, label: str = "v1") -> None:
        """Upload the counter, signed."""
        content = build("CounterJob", self.flink.config.home.version, label=label).read_bytes()
        signed = signed_text(hashlib.sha256(content).hexdigest())
        self.objects.upload(BUCKET, f"{key}.sig", base64.b64encode(sign(DEMO_KEY.private_pem, signed)))
        self.objects.upload(BUCKET, key, content)
        admit_artifact(self.ports, POLICY, BUCKET, key)

    def put(self, job_id: str, *args: str, **changes: Any) -> None:
        """Write a spec of the counter; nobody is woken yet."""
        self.beats(job_id).mkdir(parents=True, exist_ok=True)
        holds = [word for what in ("snapshots", "ends") for word in (f"--hold-{what}", str(self._hold(what, job_id)))]
        deployment = {
            "checkpoint_interval": 500,
            "on_failure": {"backoff_seconds": 1},
            **changes.pop("deployment", {}),
        }
        deployment["rollback"] = {"stabilization_seconds": 1, "deadline_seconds": 90, **deployment.get("rollback", {})}
        item = {
            "job_id": job_id,
            "job_type": "stream",
            "artifact_path": "artifacts/counter.jar",
            "args": ["--rate", "50", "--beats", str(self.beats(job_id)), *holds, *args],
            "deployment": deployment,
            **changes,
        }
        self.specs.put(job_id, item)
        self.follow_ups.send_now([job_id])

    def delete(self, job_id: str) -> None:
        """Remove a spec."""
        self.specs.delete(job_id)
        self.follow_ups.send_now([job_id])

    def hold(self, what: str, job_id: str) -> None:
        """Let a job's `snapshots`, or its `ends` after a stop's savepoint, wait."""
        self._hold(what, job_id).touch()

    def let_go(self) -> None:
        """Hold nothing any more."""
        for file in self.scratch.glob("hold-*"):
            file.unlink()

    # Time

    def run_until(self, is_true: Callable[[], bool], timeout_s: float = 90, *, only: str | None = None) -> None:
        """Let the controller be woken as it is when deployed, or look at one job only, until something is true."""
        end = time.monotonic() + timeout_s
        while not is_true():
            told = {job_id: self.told(job_id) for job_id, _ in self.specs.items()}
            assert time.monotonic() < end, f"did not become true within {timeout_s:g} s: {told}"
            if only is None:
                self._step()
            else:
                self.look(only)
            time.sleep(0.02)

    def look(self, job_id: str) -> None:
        """Look at one job."""
        reconcile_job(self.ports, POLICY, job_id, owner="site")

    def _step(self) -> None:
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + TICK_S
            reconcile_fleet(self.ports, POLICY)
        for job_id in dict.fromkeys(due.job_id for due in self.follow_ups.take_due(self.ports.clock.now())):
            self.look(job_id)

    # What can be seen

    def status(self, job_id: str) -> JobStatus:
        """Read a status."""
        found = self.statuses.read(job_id)
        assert found is not None, f"nothing is recorded of {job_id}"
        return found

    def is_in(self, job_id: str, state: Lifecycle, *, attempt: int | None = None) -> bool:
        """Tell whether a job is in a state, with an attempt if one is named."""
        status = self.statuses.read(job_id)
        if status is None or lifecycle(status) is not state:
            return False
        return attempt is None or (status.attempt is not None and status.attempt.number == attempt)

    def told(self, job_id: str) -> str:
        """Say where a job is, for a message."""
        status = self.statuses.read(job_id)
        return "unseen" if status is None else f"{lifecycle(status)} {status.attempt_counter} {status.waiting}"

    def events(self, job_id: str) -> list[str]:
        """Give the reasons of a job's events."""
        return [event.reason for event in self.statuses.events(job_id)]

    def id_of(self, job_id: str, number: int) -> str:
        """Name an attempt as Flink knows it."""
        return flink_job_id(CONTROLLER, job_id, number)

    def state_in_flink(self, flink_id: str) -> str | None:
        """Ask Flink for a job's state; None: it does not know the id."""
        listed = self._http.get(f"{self.flink.rest_url}/jobs/overview", timeout=10).json()["jobs"]
        return next((job["state"] for job in listed if job["jid"] == flink_id), None)

    def submit_by_hand(self, flink_id: str, name: str) -> None:
        """Start a counter past the controller, as somebody with Flink's own page would."""
        jar = build("CounterJob", self.flink.config.home.version)
        with jar.open("rb") as content:
            uploaded = self._http.post(f"{self.flink.rest_url}/jars/upload", files={"jarfile": ("by-hand.jar", content)})
        body = {
            "jobId": flink_id,
            "entryClass": entry_class("CounterJob"),
            "flinkConfiguration": {"pipeline.name": name},
        }
        jar_id = uploaded.json()["filename"].rpartition("/")[2]
        self._http.post(f"{self.flink.rest_url}/jars/{jar_id}/run", json=body, timeout=30).raise_for_status()

    def beats(self, job_id: str) -> Path:
        """Name the directory that a job's copies write to."""
        return self.scratch / "beats" / job_id

    def copies(self, job_id: str) -> list[Copy]:
        """Read what a job's copies wrote, in the order in which they began."""
        found = []
        for file in self.beats(job_id).glob("*.csv"):
            lines = [line.split(",") for line in file.read_text().splitlines()]
            if not lines:
                continue
            first: dict[int, int] = {}
            last: dict[int, int] = {}
            for _, _, _, key, count in lines:
                first.setdefault(int(key), int(count))
                last[int(key)] = int(count)
            found.append(Copy(lines[0][1], int(lines[0][0]), int(lines[-1][0]), first, last))
        return sorted(found, key=lambda copy: copy.first_ms)

    def assert_one_copy_at_a_time_with_its_state(self, job_id: str) -> None:
        """No copy lived beside another, and none but the first began from nothing or skipped a count."""
        copies = self.copies(job_id)
        reached: dict[int, int] = {}
        for index, copy in enumerate(copies):
            for other in copies[:index]:
                assert other.last_ms <= copy.first_ms, f"{other} lived beside {copy}"
            # What Flink brings back by itself goes on from a checkpoint of its own, which may be its very first.
            is_recovered = any(other.flink_job_id == copy.flink_job_id for other in copies[:index])
            for key, count in copy.first.items():
                assert is_recovered or (count > 1) is (key in reached), (
                    f"{copy} began at {count}; {reached} had been reached"
                )
                assert count <= reached.get(key, 0) + 1, f"{copy} skips from {reached}"
            reached.update({key: max(count, reached.get(key, 0)) for key, count in copy.last.items()})

    def _hold(self, what: str, job_id: str) -> Path:
        return self.scratch / f"hold-{what}-{job_id}"

    def _call(self, made: PortCall) -> Any:
        result = made.target()
        if not isinstance(result, Accepted):
            return result
        flink_id = made.args[0] if isinstance(made.args[0], str) else made.args[0].flink_job_id
        for (method, job_id), effect in list(self.after.items()):
            if method == made.method and flink_id[:16] == self.id_of(job_id, 0)[:16]:
                del self.after[method, job_id]
                effect()
                return NoAnswer("the answer was lost")
        return result
