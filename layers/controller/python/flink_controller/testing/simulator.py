"""The controller in a world of twins, in virtual time, with crashes wherever the outside is touched.

The services run unmodified. Every call of a port is a point at which the invocation can die before it, die after it, lose
its answer, or be overtaken by a whole other invocation while it is paused. A run is a pure function of its scenario and
its fault, so a violation is replayed by naming the two. After every call the promises are checked against what the twins
know and Flink does not show: how many copies really run, and whose state each one started from.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.adapters.signing import sign
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey, signed_text
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import FlinkUnreachableError, TransientError
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.names import tag
from flink_controller.domain.observation import Accepted, NoAnswer, Refused
from flink_controller.domain.plan import Policy
from flink_controller.domain.status import JobStatus
from flink_controller.ports import BurnJar, Commit, Held, Ports
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.clock import VirtualClock
from flink_controller.testing.flink_behaviour import BURN, JobBehaviour
from flink_controller.testing.flink_twin import FlinkTwin, Start, TwinOptions
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects, MemoryArtifactRecords
from flink_controller.testing.memory_circuits import MemoryCircuits
from flink_controller.testing.memory_follow_ups import MemoryFollowUps
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_specs import MemorySpecs
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.storage_twin import StorageTwin

BUCKET = "artifacts-of-the-simulation"
CONTROLLER = "simulation"
JOB = "etl"
KEY = "artifacts/etl.jar"
TICK = timedelta(minutes=1)
REDELIVERY = timedelta(seconds=90)
"""Until the queue or the stream delivers a wake-up again whose invocation died."""


class FaultKind(StrEnum):
    """What happens at a port call."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOSE_ANSWER = "lose the answer"
    """The call took effect, and the caller sees an error."""
    OVERTAKE = "overtake"
    """The invocation is paused until its lease is over and others have looked; then it goes on."""


@dataclass(frozen=True)
class Fault:
    """One fault at the n-th port call of a run, counted from 1."""

    at: int
    kind: FaultKind


class ViolationError(AssertionError):
    """A promise was broken; the message says which."""


class Crash(BaseException):
    """The invocation's process died. No handler of the controller may catch it."""


@dataclass
class SigningKey:
    """A key pair for signing in simulations."""

    private_pem: bytes
    key: TrustedKey


def demo_key() -> SigningKey:
    """Make an Ed25519 key, the same in every run."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"simulation").digest())
    private_pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key = TrustedKey(key_id="demo", algorithm=KeyAlgorithm.ED25519, public_key=public_pem.decode(), namespaces=("default",))
    return SigningKey(private_pem, key)


DEMO_KEY = demo_key()


def jar_bytes(label: str) -> bytes:
    """Make a small jar whose bytes depend on its label alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("label.txt"), label)
    return buffer.getvalue()


def spec_item(**changes: Any) -> dict[str, Any]:
    """Give a spec item with quick proofs; `deployment__parallelism=4` changes a nested field."""
    item: dict[str, Any] = {
        "job_id": JOB,
        "job_type": "stream",
        "artifact_path": KEY,
        "deployment": {
            "parallelism": 2,
            "checkpoint_interval": 10_000,
            "rollback": {"stabilization_seconds": 15, "deadline_seconds": 120},
            "on_failure": {"backoff_seconds": 10, "limit": 3},
            "savepoint_timeout_seconds": 120,
        },
    }
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = item
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return item


@dataclass
class Calls:
    """Counts port calls and lets the planned fault happen."""

    fault: Fault | None = None
    count: int = 0
    trace: list[str] = field(default_factory=list)
    overtake: Callable[[], None] = lambda: None


class World:
    """Twins, the services on top of them, and everything that wakes these."""

    def __init__(
        self,
        fault: Fault | None = None,
        *,
        enforces_leases: bool = True,
        options: TwinOptions | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.clock = VirtualClock()
        self.storage = StorageTwin()
        self.calls = Calls(fault)
        self.calls.overtake = self._overtake
        self.options = options or TwinOptions()
        self.twins: dict[str, FlinkTwin] = {}
        self.specs, self.statuses = MemorySpecs(), MemoryStatuses(enforces_leases=enforces_leases)
        self.registry, self.records = MemoryRegistry(), MemoryArtifactRecords()
        self.circuits = MemoryCircuits(self.registry)
        self.objects = MemoryArtifactObjects(self.clock.now)
        self.follow_ups = MemoryFollowUps(self.clock.now)
        self.policy = policy or Policy(controller_id=CONTROLLER, artifact_bucket=BUCKET)
        self.bad_jars: set[str] = set()
        """Digests whose state must never be started from by another revision."""
        self.stateless = False
        self.state_may_be_older = False
        """Whether a start may be from an older state than the newest: blue-green repeats what lies between."""
        self._lanes: list[set[str]] = []
        self._intents: set[str] = set()
        self._checked: dict[str, int] = {}
        self._last: JobStatus | None = None
        self._invocations = 0
        self._next_tick = self.clock.now() + TICK
        self._retries: list[tuple[datetime, Callable[[], object]]] = []
        burn = b"burn"
        burn_digest = hashlib.sha256(burn).hexdigest()
        self.add_cluster("default")
        self.registry.put_key(DEMO_KEY.key)
        self._behaviours: dict[str, JobBehaviour] = {burn_digest: BURN}
        for twin in self.twins.values():
            twin.behaviours.update(self._behaviours)
        ports = Ports(
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
            burn_jar=BurnJar(burn, burn_digest, "FlinkctlBurn"),
        )
        self.ports = intercepted(ports, self._call)
        self.burn_digest = burn_digest

    # The world as scenarios change it

    def connect(self, cluster: Cluster) -> FlinkTwin:
        """Give the twin of a cluster."""
        return self.twins[cluster.name]

    def add_cluster(self, name: str) -> FlinkTwin:
        """Start and register a cluster."""
        options = replace(self.options, checkpoint_root="s3://state/checkpoints")
        twin = FlinkTwin(self.clock, self.storage, options, seed=len(self.twins))
        self.twins[name] = twin
        cluster = Cluster(
            name=name,
            url=f"http://{name}:8081",
            savepoint_root="s3://state/savepoints",
            checkpoint_root="s3://state/checkpoints",
            heartbeat_timeout_s=self.options.heartbeat_timeout.total_seconds(),
        )
        self.registry.put_cluster(cluster)
        return twin

    @property
    def flink(self) -> FlinkTwin:
        """The default cluster."""
        return self.twins["default"]

    def upload(self, label: str, behaviour: JobBehaviour | None = None, *, signed: bool = True, bad: bool = False) -> str:
        """Upload a jar and its signature, as a team does; returns the digest."""
        content = jar_bytes(label)
        digest = hashlib.sha256(content).hexdigest()
        if behaviour is not None:
            for twin in self.twins.values():
                twin.behaviours[digest] = behaviour
        if bad:
            self.bad_jars.add(digest)
        self.objects.upload(BUCKET, KEY, content)
        self.invoke(lambda: admit_artifact(self.ports, self.policy, BUCKET, KEY))
        if signed:
            signature = base64.b64encode(sign(DEMO_KEY.private_pem, signed_text(digest)))
            self.objects.upload(BUCKET, f"{KEY}.sig", signature)
            self.invoke(lambda: admit_artifact(self.ports, self.policy, BUCKET, f"{KEY}.sig"))
        return digest

    def put(self, item: Mapping[str, Any]) -> None:
        """Write the spec item; the stream wakes the job."""
        self.specs.put(JOB, item)
        self.wake(JOB)

    def delete(self) -> None:
        """Remove the spec item; the stream wakes the job."""
        self.specs.delete(JOB)
        self.wake(JOB)

    def wake(self, job_id: str) -> None:
        """Deliver a wake-up."""
        self.invoke(lambda: reconcile_job(self.ports, self.policy, job_id, owner=f"invocation-{self._invocations}"))

    # Time

    def invoke(self, body: Callable[[], object]) -> None:
        """Run an invocation; one that dies, or says that it should, is delivered again later."""
        self._invocations += 1
        try:
            body()
        except (Crash, TransientError):
            self._retries.append((self.clock.now() + REDELIVERY, body))

    def run_until(self, reached: Callable[["World"], bool], within: timedelta) -> bool:
        """Let time pass until a state is reached; False if it is not reached in time."""
        end = self.clock.now() + within
        while not reached(self):
            if self.clock.now() >= end:
                return False
            self.step()
        return True

    def step(self) -> None:
        """Go to the next moment at which something wakes the controller, and let it."""
        due = [self._next_tick, *(found.due_at for found in self.follow_ups.pending), *(at for at, _ in self._retries)]
        at = max(min(due), self.clock.now())
        self.clock.advance(at - self.clock.now())
        now = self.clock.now()
        if self._next_tick <= now:
            self._next_tick = now + TICK
            self.invoke(lambda: reconcile_fleet(self.ports, self.policy))
        bodies = [body for due_at, body in self._retries if due_at <= now]
        self._retries = [(due_at, body) for due_at, body in self._retries if due_at > now]
        for body in bodies:
            self.invoke(body)
        for follow_up in self.follow_ups.take_due(now):
            self.wake(follow_up.job_id)
        self.check()

    def _overtake(self) -> None:
        """Let an hour's worth of others happen while one invocation is paused."""
        self.clock.advance(timedelta(seconds=70))
        for _ in range(6):
            self.step()

    # Port calls

    def _call(self, made: PortCall) -> Any:
        """Make one port call, with whatever fault is planned for it, and check the promises after it."""
        calls = self.calls
        calls.count += 1
        calls.trace.append(made.name)
        fault = calls.fault if calls.fault is not None and calls.fault.at == calls.count else None
        if fault is not None and fault.kind is FaultKind.CRASH_BEFORE:
            raise Crash
        if fault is not None and fault.kind is FaultKind.OVERTAKE:
            calls.overtake()
        self._note_intent(made)
        self._check_intent(made)
        result = made.target()
        self.check()
        if fault is None or fault.kind is FaultKind.OVERTAKE:
            return result
        if fault.kind is FaultKind.CRASH_AFTER:
            raise Crash
        if isinstance(result, Accepted | Refused):
            return NoAnswer("the answer was lost")
        if made.name.startswith("flink"):
            raise FlinkUnreachableError("the answer was lost")
        raise TransientError("the answer was lost")

    def _note_intent(self, made: PortCall) -> None:
        if made.method != "commit":
            return
        commit = next(arg for arg in made.args if isinstance(arg, Commit))
        held = next(arg for arg in made.args if isinstance(arg, Held))
        self._check_growth(held, commit.status)

    def _check_growth(self, held: Held, status: JobStatus) -> None:
        """S5, and remember the intents that a successful commit would record."""
        known = self.statuses.read(held.job_id)
        if known is not None:
            for counter in ("attempt_counter", "operation_counter", "revision_counter"):
                if getattr(status, counter) < getattr(known, counter) and self._would_commit(held):
                    raise ViolationError(
                        f"S5: {counter} goes back from {getattr(known, counter)} to {getattr(status, counter)}"
                    )
        if self._would_commit(held):
            self._intents |= set(_intents_of(status))
            if status.second is not None and status.attempt is not None:
                self._lanes.append({status.attempt.flink_job_id, status.second.attempt.flink_job_id})

    def _would_commit(self, held: Held) -> bool:
        record = self.statuses._tables.records.get(held.job_id)  # noqa: SLF001  # ground truth of the twin
        return record is not None and (record.fence, record.version) == (held.fence, held.version)

    def _check_intent(self, made: PortCall) -> None:
        """S9: an effect carries an identity that was recorded before."""
        if not made.name.startswith("flink[") or made.method not in {"submit", "stop", "savepoint", "cancel"}:
            return
        subject = made.args[0].flink_job_id if made.method == "submit" else made.kwargs.get("trigger_id") or made.args[0]
        identity = f"{made.method}:{subject}"
        if identity not in self._intents:
            raise ViolationError(f"S9: {identity} was not recorded before {made.name}")

    # Promises

    def check(self) -> None:
        """Check S1, S2 and S3 against the twins' ground truth."""
        job_tag = tag(CONTROLLER, JOB)
        alive = [copy for twin in self.twins.values() for copy in twin.live_copies(job_tag)]
        if len(alive) > 1 and not self._are_named_together(alive):
            raise ViolationError(f"S1: {len(alive)} live copies: {alive}")
        for name, twin in self.twins.items():
            for overlap in twin.overlaps:
                if not self._are_named_together([overlap.flink_job_id, *overlap.others]):
                    raise ViolationError(f"S1: {overlap}")
            for start in twin.history[self._checked.get(name, 0) :]:
                self._check_start(start)
            self._checked[name] = len(twin.history)

    def _are_named_together(self, copies: list[str]) -> bool:
        """Whether live copies are the two lanes of a blue-green upgrade, opened by one recorded intent."""
        return len(copies) == len(set(copies)) and any(set(copies) <= lanes for lanes in self._lanes)

    def _check_start(self, start: Start) -> None:
        if start.jar_sha256 == self.burn_digest or start.is_restart:
            return
        versions = self.records.versions(BUCKET, KEY)
        if start.jar_sha256 not in {version.sha256 for version in versions if version.artifact is not None}:
            raise ViolationError(f"S2: {start.jar_sha256[:12]} was started and never admitted")
        if self.stateless:
            return
        everything = [*self.storage.snapshots.values(), *self.storage.deleted.values()]
        origin = self._writer(start.restored_from)
        if origin in self.bad_jars and start.jar_sha256 not in self.bad_jars:
            raise ViolationError("S3: started from the state of a refused revision")
        good = [
            found.progress
            for found in everything
            if found.completed_at < start.at
            and self._writer(found.path) not in self.bad_jars
            and found.flink_job_id != start.flink_job_id
        ]
        if self.state_may_be_older and start.restored_from is not None:
            # Blue goes on while green proves itself; green starts from the savepoint that was taken for it.
            return
        best = max(good, default=0)
        if start.progress < best and start.jar_sha256 not in self.bad_jars:
            raise ViolationError(
                f"S3: {start.flink_job_id} started at {start.progress} from {start.restored_from}; {best} was kept"
            )

    def _writer(self, path: str | None) -> str | None:
        """Tell whose jar wrote a snapshot."""
        if path is None:
            return None
        snapshot = self.storage.snapshots.get(path) or self.storage.deleted.get(path)
        if snapshot is None:
            return None
        starts = [
            start for twin in self.twins.values() for start in twin.history if start.flink_job_id == snapshot.flink_job_id
        ]
        return starts[0].jar_sha256 if starts else None

    # What scenarios ask for

    @property
    def status(self) -> JobStatus | None:
        """The job's recorded status."""
        return self.statuses.read(JOB)

    @property
    def lifecycle(self) -> Lifecycle:
        """The job's lifecycle."""
        status = self.status
        return Lifecycle.CREATED if status is None else lifecycle(status)

    @property
    def running_jars(self) -> list[str]:
        """Digests of the jars that really run."""
        found = []
        for twin in self.twins.values():
            for job_id in twin.live_copies(tag(CONTROLLER, JOB)):
                found += [start.jar_sha256 for start in twin.history if start.flink_job_id == job_id][-1:]
        return found


def _intents_of(status: JobStatus) -> Iterator[str]:
    if status.attempt is not None:
        yield f"submit:{status.attempt.flink_job_id}"
    if status.second is not None:
        yield f"submit:{status.second.attempt.flink_job_id}"
        if status.second.cancel_requested_at is not None:
            yield f"cancel:{status.second.attempt.flink_job_id}"
    for operation in (status.operation, status.leftover):
        if operation is not None:
            yield f"{operation.kind}:{operation.trigger_id}"
            yield f"{operation.kind}:{operation.flink_job_id}"


__all__ = [
    "BUCKET",
    "CONTROLLER",
    "JOB",
    "KEY",
    "Crash",
    "Fault",
    "FaultKind",
    "ViolationError",
    "World",
    "jar_bytes",
    "spec_item",
]
