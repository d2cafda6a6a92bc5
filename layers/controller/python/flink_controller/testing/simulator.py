"""The controller in a world of twins, in virtual time, with faults wherever the outside is touched.

The services run unmodified. Every call of a port and every delivery of a wake-up is a point at which something can go
wrong: the invocation dies before or after it, its answer is lost, its effect lands late, a whole other invocation
overtakes it, the JobManager restarts under it, the wake-up is lost, doubled or late. A run is a pure function of its
story and its faults, so a violation is replayed by naming the two. After every point the promises are checked against
what the twins know and Flink does not show.
"""

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.adapters.signing import sign
from flink_controller.domain.actions import Submit
from flink_controller.domain.artifact import KeyAlgorithm, KeyStatus, TrustedKey, signed_text
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import (
    ControllerError,
    Delivery,
    FlinkUnreachableError,
    QuotaExceededError,
    TransientError,
)
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import Accepted, NoAnswer, NotSent, RefusalKind, Refused, StorageUnreadable
from flink_controller.domain.plan import Policy
from flink_controller.domain.status import DueKind, JobStatus
from flink_controller.ports import BurnJar, Commit, Held, Ports
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.services.wake_due import wake_due
from flink_controller.testing.clock import VirtualClock
from flink_controller.testing.faults import (
    EFFECTS,
    INDEX_LAG,
    JOBMANAGER_AWAY,
    LATE,
    OUTAGE,
    SKEW,
    TASKMANAGERS_AWAY,
    Fault,
    FaultKind,
    Point,
    applies,
)
from flink_controller.testing.flink_behaviour import BURN, JobBehaviour
from flink_controller.testing.flink_twin import FlinkTwin, TwinOptions
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects, MemoryArtifactRecords
from flink_controller.testing.memory_circuits import MemoryCircuits
from flink_controller.testing.memory_follow_ups import MemoryFollowUps
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_specs import MemorySpecs
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.promises import Promises, ViolationError
from flink_controller.testing.storage_twin import StorageTwin
from flink_controller.testing.turns import Turns

BUCKET = "artifacts-of-the-simulation"
CONTROLLER = "simulation"
JOB = "etl"
KEY = "artifacts/etl.jar"
TICK = timedelta(minutes=1)
REDELIVERY = timedelta(seconds=90)
"""Until the queue or the stream delivers a wake-up again whose invocation died."""
OVERTAKEN = timedelta(seconds=70)
"""How long an overtaken invocation is paused before others look."""
MANY_POINTS = 8_000
"""No story takes as many; a loop without end does."""


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


def spec_item(**changes: Any) -> dict[str, Any]:
    """Give a spec item with quick proofs; `deployment__parallelism=4` changes a nested field."""
    item: dict[str, Any] = {
        "job_id": JOB,
        "job_type": "stream",
        "artifact_path": KEY,
        "deployment": {
            "parallelism": 2,
            "checkpoint_interval": 10_000,
            "rollback": {"stabilization_seconds": 30, "deadline_seconds": 180},
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


class InvocationClock:
    """`Clock` of the invocation that runs; its hands may be off."""

    def __init__(self, clock: VirtualClock, skew: Callable[[], timedelta]) -> None:
        self._clock, self._skew = clock, skew

    def now(self) -> datetime:
        """Tell the time as the invocation's machine does."""
        return self._clock.now() + self._skew()

    def sleep(self, duration: timedelta) -> None:
        """Let time pass for everybody."""
        self._clock.sleep(duration)


@dataclass(frozen=True)
class Invocation:
    """One run of a function."""

    began_at: datetime
    number: int = 0
    skew: timedelta = timedelta(0)
    is_admission: bool = False


@dataclass
class Calls:
    """Counts points and holds the faults that are planned for them."""

    faults: dict[int, list[FaultKind]] = field(default_factory=dict)
    awaited: dict[str, FaultKind] = field(default_factory=dict)
    """Faults of the story itself, by method: each strikes the next call of its method."""
    count: int = 0
    struck: list[tuple[int, FaultKind, str]] = field(default_factory=list)
    """Faults that made a difference, with the name of their point."""
    trace: list[Point] = field(default_factory=list)


class World:
    """Twins, the services on top of them, and everything that wakes these."""

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        enforces_leases: bool = True,
        options: TwinOptions | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.clock = VirtualClock()
        self.storage = StorageTwin()
        self.calls = Calls()
        for fault in faults:
            self.plan(fault)
        self.options = options or TwinOptions()
        self.twins: dict[str, FlinkTwin] = {}
        self.specs, self.statuses = MemorySpecs(), MemoryStatuses(enforces_leases=enforces_leases)
        self.registry, self.records = MemoryRegistry(), MemoryArtifactRecords()
        self.circuits = MemoryCircuits(self.registry)
        self.objects = MemoryArtifactObjects(self.clock.now)
        self.follow_ups = MemoryFollowUps(self.clock.now)
        # Samples are reads without end: only stories about vital signs pay for them.
        self.policy = policy or Policy(controller_id=CONTROLLER, artifact_bucket=BUCKET, sample_calls=0)
        burn = b"burn"
        burn_digest = hashlib.sha256(burn).hexdigest()
        self.promises = Promises(CONTROLLER, self.twins, self.storage, self.statuses, self.records, burn_digest)
        self.is_disturbed = False
        """Whether a fault has hit the cluster itself: a story may then take one attempt more."""
        self._behaviours: dict[str, JobBehaviour] = {burn_digest: BURN}
        self._invocations = 0
        self._invocation = Invocation(self.clock.now())
        self._turns: Turns | None = None
        self._next_tick = self.clock.now() + TICK
        self._retries: list[tuple[datetime, Callable[[], None]]] = []
        self._timers: list[tuple[datetime, Callable[[], None]]] = []
        self._outages: dict[str, datetime] = {}
        self._checked_at: datetime | None = None
        self._evil = 0
        self._has_batches = False
        """Whether the clocks of batch jobs are worth their points."""
        self.add_cluster("default")
        self.registry.put_key(DEMO_KEY.key)
        self.promises.watch(JOB, BUCKET, KEY)
        ports = Ports(
            clock=InvocationClock(self.clock, lambda: self._invocation.skew),
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

    # The world as stories change it

    def connect(self, cluster: Cluster) -> FlinkTwin:
        """Give the twin of a cluster."""
        return self.twins[cluster.name]

    def add_cluster(self, name: str) -> FlinkTwin:
        """Start and register a cluster."""
        options = replace(self.options, checkpoint_root="s3://state/checkpoints")
        twin = FlinkTwin(self.clock, self.storage, options, behaviours=self._behaviours, seed=len(self.twins))
        self.twins[name] = twin
        cluster = Cluster(
            name=name,
            url=f"http://{name}:8081",
            savepoint_root="s3://state/savepoints",
            checkpoint_root="s3://state/checkpoints",
            heartbeat_timeout_s=self.options.heartbeat_timeout.total_seconds(),
            adaptive_scheduler=self.options.is_adaptive,
            high_availability=self.options.high_availability,
            runs_applications=self.options.runs_applications,
        )
        self.registry.put_cluster(cluster)
        return twin

    @property
    def flink(self) -> FlinkTwin:
        """The default cluster."""
        return self.twins["default"]

    def upload(self, label: str, behaviour: JobBehaviour | None = None, *, signed: bool = True, key: str = KEY) -> str:
        """Upload a jar and its signature, as a team does; returns the digest."""
        content = jar_bytes(label)
        digest = hashlib.sha256(content).hexdigest()
        if behaviour is not None:
            self._behaviours[digest] = behaviour
            for twin in self.twins.values():
                twin.behaviours[digest] = behaviour
            if behaviour.finishes_after is not None:
                self.promises.bounded.add(digest)
        self.objects.upload(BUCKET, key, content)
        self._deliver("upload", partial(self._admit, key))
        if signed:
            self.sign(digest, key=key)
        return digest

    def sign(self, digest: str, *, key: str = KEY) -> None:
        """Upload the signature of an artifact."""
        signature = base64.b64encode(sign(DEMO_KEY.private_pem, signed_text(digest)))
        self.objects.upload(BUCKET, f"{key}.sig", signature)
        self._deliver("upload", partial(self._admit, f"{key}.sig"))

    def put(self, item: Mapping[str, Any]) -> None:
        """Write a spec item; the stream wakes the job."""
        job_id = str(item["job_id"])
        self.promises.watch(job_id, BUCKET, str(item.get("artifact_path", KEY)))
        restore = (item.get("deployment") or {}).get("restore") or {}
        if restore.get("nonce"):
            self.promises.asked_origins[job_id][str(restore["nonce"])] = str(restore["from"])
        self._has_batches |= item.get("job_type") == "batch"
        self.specs.put(job_id, item)
        self.wake(job_id)

    def delete(self, job_id: str = JOB) -> None:
        """Remove a spec item; the stream wakes the job."""
        self.specs.delete(job_id)
        self.wake(job_id)

    def wake(self, job_id: str = JOB) -> None:
        """Deliver a stream record."""
        self._deliver("stream", partial(self._look, job_id))

    def wake_together(self, seed: int, job_ids: Sequence[str]) -> None:
        """Look several times at once; a seed says who goes on at every point."""
        outer, self._turns = self._invocation, Turns(Random(seed))
        try:
            self._turns.run([partial(self._invoke, partial(self._look, job_id)) for job_id in job_ids])
        finally:
            self._turns, self._invocation = None, outer
        self.check()

    def trust_key(self, *, is_trusted: bool) -> None:
        """Revoke the signing key, or take that back."""
        status = KeyStatus.ACTIVE if is_trusted else KeyStatus.REVOKED
        self.registry.put_key(DEMO_KEY.key.model_copy(update={"status": status}))
        self.promises.is_key_distrusted_since = None if is_trusted else self.clock.now()

    def overwrite(self, key: str = KEY) -> None:
        """Put bytes under an artifact's key that nobody has signed."""
        self._evil += 1
        self.objects.upload(BUCKET, key, jar_bytes(f"evil {self._evil}"))
        # The event of this upload comes later than what is under way.
        self._retry(timedelta(seconds=1), partial(self._admit, key))

    def kill_jobmanager(self, away: timedelta = JOBMANAGER_AWAY) -> None:
        """End the JobManager; it comes back after a while."""
        self.is_disturbed = True
        self.flink.kill_jobmanager()
        self.flink.later(self.clock.now() + away, self.flink.start_jobmanager)
        self._timer(away, self.flink.start_jobmanager)

    def kill_taskmanagers(self, away: timedelta = TASKMANAGERS_AWAY) -> None:
        """End the TaskManagers; they come back after a while."""
        self.is_disturbed = True
        self.flink.kill_taskmanagers()
        self._timer(away, self.flink.start_taskmanagers)

    def hold_indexes(self, lag: timedelta = INDEX_LAG) -> None:
        """Let indexes show the past for a while."""
        self.statuses.hold_indexes()
        self._timer(lag, self.statuses.catch_up_indexes)

    def outage(self, port: str, lasts: timedelta = OUTAGE) -> None:
        """Let every call of a port fail for a while."""
        self._outages[port] = self.clock.now() + lasts

    def plan(self, fault: Fault) -> None:
        """Let a fault strike at its point, should the run get there."""
        self.calls.faults.setdefault(fault.at, []).append(fault.kind)

    def strike(self, method: str, kind: FaultKind) -> None:
        """Let a fault of the story itself strike the next call of a method."""
        self.calls.awaited[method] = kind

    def end_faults(self) -> None:
        """Repair everything; nothing goes wrong from here on."""
        self.calls.faults = {}
        self.calls.awaited = {}
        self._outages.clear()
        self.statuses.catch_up_indexes()
        self.storage.unreadable = None
        self.trust_key(is_trusted=True)
        for twin in self.twins.values():
            twin.repair()
            twin.start_jobmanager()
            twin.start_taskmanagers()

    # Time

    def run_until(self, reached: Callable[["World"], bool], within: timedelta) -> bool:
        """Let time pass until a state is reached; False if it is not reached in time."""
        end = self.clock.now() + within
        while not reached(self):
            if self.clock.now() >= end:
                return False
            self.step()
        return True

    def run_for(self, duration: timedelta) -> None:
        """Let time pass."""
        end = self.clock.now() + duration
        while self._next_moment() < end:
            self.step()
        self.clock.advance(max(end - self.clock.now(), timedelta(0)))
        self.check()

    def step(self) -> None:
        """Go to the next moment at which something happens or wakes the controller, and let it."""
        self.clock.advance(max(self._next_moment() - self.clock.now(), timedelta(0)))
        now = self.clock.now()
        self._fire_timers()
        if self._next_tick <= now:
            self._next_tick = now + TICK
            self._deliver("tick", self._sweep)
            for kind in DueKind if self._has_batches else ():
                self._deliver("tick", partial(self._wake_due, kind))
        bodies = [body for due_at, body in self._retries if due_at <= now]
        self._retries = [(due_at, body) for due_at, body in self._retries if due_at > now]
        for body in bodies:
            body()
        for follow_up in self.follow_ups.take_due(now):
            self._deliver("queue", partial(self._look, follow_up.job_id))
        self.check()

    @property
    def is_drained(self) -> bool:
        """Whether nothing is under way any more: no late effect, no wake-up to be delivered again, no outage."""
        is_out = any(until > self.clock.now() for until in self._outages.values())
        return not self._timers and not self._retries and not is_out

    def _next_moment(self) -> datetime:
        due = [self._next_tick, *(found.due_at for found in self.follow_ups.pending)]
        due += [at for at, _ in self._retries]
        due += [at for at, _ in self._timers]
        return max(min(due), self.clock.now())

    def _timer(self, delay: timedelta, body: Callable[[], None]) -> None:
        self._timers.append((self.clock.now() + delay, body))

    def _retry(self, delay: timedelta, body: Callable[[], object]) -> None:
        self._retries.append((self.clock.now() + delay, partial(self._invoke, body)))

    def _fire_timers(self) -> None:
        now = self.clock.now()
        if any(at <= now for at, _ in self._timers):
            due = [body for at, body in self._timers if at <= now]
            self._timers = [(at, body) for at, body in self._timers if at > now]
            for body in due:
                body()

    # Invocations

    def _look(self, job_id: str) -> None:
        reconcile_job(self.ports, self.policy, job_id, owner=f"invocation-{self._invocations}")

    def _sweep(self) -> None:
        reconcile_fleet(self.ports, self.policy)

    def _wake_due(self, kind: DueKind) -> None:
        wake_due(self.ports, kind)

    def _admit(self, key: str) -> None:
        admit_artifact(self.ports, self.policy, BUCKET, key)

    def _deliver(self, source: str, body: Callable[[], None]) -> None:
        """Deliver a wake-up, unless a fault has it lost, doubled or late."""
        kinds, skew = self._faults_at(Point(source)), timedelta(0)
        if FaultKind.DROP in kinds:
            return
        if FaultKind.CLOCK_FAST in kinds or FaultKind.CLOCK_SLOW in kinds:
            skew = SKEW if FaultKind.CLOCK_FAST in kinds else -SKEW
        if FaultKind.REORDER in kinds:
            self._retry(timedelta(seconds=45), body)
            return
        self._invoke(body, skew=skew, is_admission=source == "upload")
        if FaultKind.DUPLICATE in kinds:
            self._invoke(body, skew=skew, is_admission=source == "upload")

    def _invoke(self, body: Callable[[], object], *, skew: timedelta = timedelta(0), is_admission: bool = False) -> None:
        """Run an invocation; one that dies, or says that it should, is delivered again later."""
        self._invocations += 1
        outer = self._invocation
        self._invocation = Invocation(self.clock.now(), self._invocations, skew, is_admission)
        try:
            body()
        except (Crash, TransientError):
            self._retry(REDELIVERY, body)
        except ViolationError:
            raise
        except (ControllerError, AssertionError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise ViolationError(f"L1: an invocation ends with {type(error).__name__}: {error}") from error
        finally:
            self._invocation = outer

    # Points

    def _faults_at(self, point: Point) -> Sequence[FaultKind]:
        """Count a point, and give the faults that are planned for it and mean something there."""
        calls = self.calls
        calls.count += 1
        calls.trace.append(point)
        if calls.count > MANY_POINTS:
            raise ViolationError(f"L1: {calls.count} calls and no end")
        planned = calls.faults.get(calls.count, ())
        kinds = [kind for kind in planned if applies(kind, point)]
        calls.struck += [(calls.count, kind, point.name) for kind in kinds]
        awaited = calls.awaited.pop(point.method, None)
        return kinds if awaited is None else [*kinds, awaited]

    def _call(self, made: PortCall) -> Any:
        """Make one port call, with whatever faults are planned for it, and check the promises after it."""
        mine = self._invocation
        if self._turns is not None:
            self._turns.pass_on()
            self._invocation = mine
        self._fire_timers()
        point = self._point(made)
        kinds = self._faults_at(point)
        number = self.calls.count
        for kind in kinds:
            self._befall(kind, made)
            self._invocation = mine
        port = made.name.partition(".")[0]
        if FaultKind.FAIL in kinds or self._outages.get(port, self.clock.now()) > self.clock.now():
            return _failure(made)
        late = next((kind for kind in kinds if kind in LATE), None)
        if late is not None:
            self._land_late(made, Fault(number, late).delay)
            raise Crash
        result = self._make(made)
        if FaultKind.CRASH_AFTER in kinds:
            raise Crash
        if FaultKind.DENY in kinds:
            return Refused(RefusalKind.OTHER, "java.util.concurrent.TimeoutException: the answer is not what happened")
        return _lost(made, result) if FaultKind.LOSE_ANSWER in kinds else result

    def _point(self, made: PortCall) -> Point:
        invocation, now = self._invocation, self.clock.now()
        if not made.name.startswith("flink["):
            return Point(made.name, is_admission=invocation.is_admission, invocation=invocation.number, at=now)
        return Point(
            made.name,
            invocation=invocation.number,
            at=now,
            has_ended_jobs=self.flink.has_ended_jobs(),
            has_known_triggers=self.flink.has_known_triggers(),
        )

    def _befall(self, kind: FaultKind, made: PortCall) -> None:
        """Let something happen before a call."""
        happenings: dict[FaultKind, Callable[[], None]] = {
            FaultKind.OVERTAKE: self._overtake,
            FaultKind.RESTART_JOBMANAGER: self._restart_jobmanager,
            FaultKind.KILL_JOBMANAGER: self.kill_jobmanager,
            FaultKind.KILL_TASKMANAGERS: self.kill_taskmanagers,
            FaultKind.FORGET_TERMINAL: self.flink.forget_terminal,
            FaultKind.EXPIRE_TRIGGERS: self.flink.expire_triggers,
            FaultKind.STALE_INDEX: self.hold_indexes,
            FaultKind.OVERWRITE: self.overwrite,
            FaultKind.OUTAGE: partial(self.outage, made.name.partition(".")[0]),
            FaultKind.LAND_AFTER_RESTART: self._restart_jobmanager,
            FaultKind.LAND_LONG_AFTER_RESTART: self._restart_jobmanager,
        }
        if kind is FaultKind.CRASH_BEFORE:
            raise Crash
        if kind in happenings:
            happenings[kind]()

    def _overtake(self) -> None:
        """Let others look while one invocation is paused."""
        self.clock.advance(OVERTAKEN)
        for _ in range(6):
            self.step()

    def _restart_jobmanager(self) -> None:
        self.is_disturbed = True
        self.flink.restart_jobmanager()

    def _land_late(self, made: PortCall, delay: timedelta) -> None:
        """Let a request arrive after its sender's death; nobody is there any more to be told what became of it."""
        self._check_effect(made)
        if not made.name.startswith("flink["):
            self._timer(delay, lambda: _unheard(lambda: self._make(made)))
            return
        target = made.target
        twin = self.twins[made.name.partition("[")[2].partition("]")[0]]
        if made.method == "upload_jar":
            name, content, size_bytes = made.args
            body = content.read(size_bytes)
            target = lambda: twin.upload_jar(name, io.BytesIO(body), size_bytes)  # noqa: E731
        twin.later(self.clock.now() + delay, lambda: _unheard(target))
        self._timer(delay, lambda: None)

    def _make(self, made: PortCall) -> Any:
        """Make a call, and hold what it does to the promises."""
        self._check_effect(made)
        held = next((arg for arg in made.args if isinstance(arg, Held)), None)
        job_id = held.job_id if held is not None else str(made.args[0]) if made.method == "acquire" else ""
        before = self.promises.before_commit(job_id)
        known = self.statuses.read(job_id) if made.method == "commit" else None
        result = made.target()
        if made.method == "commit" and held is not None:
            commit = next(arg for arg in made.args if isinstance(arg, Commit))
            self.promises.committed(held, before, known, commit.status)
        elif made.method == "acquire":
            self.promises.acquired(result, before)
        if made.method in EFFECTS:
            self._checked_at = None
        self.check()
        return result

    def _check_effect(self, made: PortCall) -> None:
        if made.name.startswith("flink[") and made.method in EFFECTS:
            self.promises.before_effect(made.method, made.args, made.kwargs)
            if isinstance(made.args[0], Submit):
                self.promises.check_trust(made.args[0], self._invocation.began_at)

    def check(self) -> None:
        """Check the promises, if anything can have changed."""
        if self._checked_at != self.clock.now():
            self._checked_at = self.clock.now()
            self.promises.check()

    # What stories ask for

    @property
    def status(self) -> JobStatus | None:
        """The job's recorded status."""
        return self.status_of(JOB)

    def status_of(self, job_id: str) -> JobStatus | None:
        """Give the recorded status of a job."""
        return self.statuses.read(job_id)

    @property
    def lifecycle(self) -> Lifecycle:
        """The job's lifecycle."""
        return self.lifecycle_of(JOB)

    def lifecycle_of(self, job_id: str) -> Lifecycle:
        """Give the lifecycle of a job."""
        status = self.statuses.read(job_id)
        return Lifecycle.CREATED if status is None else lifecycle(status)

    @property
    def running_jars(self) -> list[str]:
        """Digests of the jars that really run."""
        return self.running_jars_of(JOB)

    def running_jars_of(self, job_id: str) -> list[str]:
        """Give the digests of the jars of a job that really run."""
        found = []
        for twin in self.twins.values():
            copies = twin.live_copies(self.promises.tag_of(job_id))
            for copy in copies:
                found += [start.jar_sha256 for start in twin.history if start.flink_job_id == copy][-1:]
        return found


def _unheard(target: Callable[[], object]) -> None:
    with suppress(TransientError, QuotaExceededError):
        target()


def _failure(made: PortCall) -> Any:
    """Fail a call without effect, as its port does."""
    if made.name.startswith("flink["):
        if made.method in EFFECTS:
            return NotSent("connection refused")
        raise FlinkUnreachableError("connection refused", Delivery.NOT_SENT)
    if made.name in {"storage.search", "storage.holds"}:
        return StorageUnreadable("SlowDown: please reduce your request rate")
    raise TransientError("throttled")


def _lost(made: PortCall, result: Any) -> Any:
    """Lose the answer of a call that took effect."""
    if isinstance(result, Accepted | Refused):
        return NoAnswer("the answer was lost")
    if made.name.startswith("flink["):
        raise FlinkUnreachableError("the answer was lost")
    raise TransientError("the answer was lost")


__all__ = [
    "BUCKET",
    "CONTROLLER",
    "JOB",
    "KEY",
    "Crash",
    "Fault",
    "FaultKind",
    "Point",
    "ViolationError",
    "World",
    "jar_bytes",
    "spec_item",
]
