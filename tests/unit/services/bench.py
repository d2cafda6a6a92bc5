"""The services on top of twins, in virtual time."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.adapters.signing import sign
from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, KeyAlgorithm, TrustedKey, signed_text
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.plan import Policy
from flink_controller.domain.status import JobStatus
from flink_controller.ports import BurnJar, Commit, Ports
from flink_controller.services.admit_artifact import Admission, admit_artifact
from flink_controller.services.reconcile import Outcome, reconcile_job
from flink_controller.testing.clock import VirtualClock
from flink_controller.testing.flink_behaviour import BURN, JobBehaviour
from flink_controller.testing.flink_twin import FlinkTwin, TwinOptions
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects, MemoryArtifactRecords
from flink_controller.testing.memory_circuits import MemoryCircuits
from flink_controller.testing.memory_follow_ups import MemoryFollowUps
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_specs import MemorySpecs
from flink_controller.testing.memory_statuses import MemoryStatuses
from flink_controller.testing.storage_twin import StorageTwin

BUCKET = "artifacts-bucket"
JOB = "etl"
KEY = "artifacts/etl.jar"
SECOND = timedelta(seconds=1)
POLICY = Policy(controller_id="tests", artifact_bucket=BUCKET)
BURN_BYTES = b"burn"


def private_key(seed: bytes) -> bytes:
    """Make an Ed25519 key, the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed).digest()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def trusted(key_id: str, seed: bytes, **changes: Any) -> TrustedKey:
    """Register-able public half of a key."""
    public = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed).digest()).public_key()
    known: dict[str, Any] = {
        "key_id": key_id,
        "algorithm": KeyAlgorithm.ED25519,
        "public_key": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "namespaces": ("default",),
    }
    return TrustedKey(**{**known, **changes})


def signature_of(content: bytes, seed: bytes = b"team") -> bytes:
    """Make the content of a `.sig` file."""
    return base64.b64encode(sign(private_key(seed), signed_text(hashlib.sha256(content).hexdigest())))


class Bench:
    """An installation of twins with one cluster and one trusted key."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.told: list[Commit] = []
        """Everything that looks have recorded."""
        self.verdicts: list[ArtifactVersion] = []
        """Every verdict on an upload."""
        self.storage = StorageTwin()
        self.flink = FlinkTwin(self.clock, self.storage, TwinOptions(checkpoint_root="s3://state/checkpoints"))
        self.flink.behaviours[hashlib.sha256(BURN_BYTES).hexdigest()] = BURN
        self.specs, self.statuses = MemorySpecs(), MemoryStatuses()
        self.registry, self.records = MemoryRegistry(), MemoryArtifactRecords()
        self.circuits = MemoryCircuits(self.registry)
        self.objects = MemoryArtifactObjects(self.clock.now)
        self.follow_ups = MemoryFollowUps(self.clock.now)
        self.cluster = Cluster(
            name="default",
            url="http://flink:8081",
            savepoint_root="s3://state/savepoints",
            checkpoint_root="s3://state/checkpoints",
        )
        self.registry.put_cluster(self.cluster)
        self.registry.put_key(trusted("team", b"team"))
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
            burn_jar=BurnJar(BURN_BYTES, hashlib.sha256(BURN_BYTES).hexdigest(), "FlinkctlBurn"),
        )

    def connect(self, cluster: Cluster) -> FlinkTwin:
        """Give the twin of the one cluster."""
        assert cluster.name == "default"
        return self.flink

    def admit(self, key: str = KEY) -> Admission:
        """Deliver the event of an upload."""
        return admit_artifact(self.ports, POLICY, BUCKET, key, told=self.verdicts.append)

    def upload(self, content: bytes | None = None, *, behaviour: JobBehaviour | None = None) -> str:
        """Upload a jar with its signature, and let both be judged."""
        content = jar_bytes() if content is None else content
        digest = hashlib.sha256(content).hexdigest()
        if behaviour is not None:
            self.flink.behaviours[digest] = behaviour
        self.objects.upload(BUCKET, KEY, content)
        self.objects.upload(BUCKET, f"{KEY}.sig", signature_of(content))
        self.admit()
        return digest

    def put(self, job_id: str = JOB, **changes: Any) -> None:
        """Write a spec item; nobody is woken."""
        item: dict[str, Any] = {
            "job_type": "stream",
            "artifact_path": KEY,
            "deployment": {"checkpoint_interval": 2000, "rollback": {"stabilization_seconds": 5}},
        }
        self.specs.put(job_id, {**item, **changes})

    def look(self, job_id: str = JOB, owner: str = "me") -> Outcome:
        """Wake a job."""
        return reconcile_job(self.ports, POLICY, job_id, owner=owner, told=self.told.append)

    def stabilise(self) -> None:
        """Deploy the job and let it be proven."""
        self.upload()
        self.put()
        self.look()
        self.run(60 * SECOND)
        assert self.status.attempt is not None
        assert self.status.attempt.is_proven

    def run(self, duration: timedelta) -> None:
        """Let time pass, and deliver what the queue holds when it is due."""
        end = self.clock.now() + duration
        while (pending := self.follow_ups.pending) and pending[0].due_at <= end:
            self.clock.advance(max(pending[0].due_at - self.clock.now(), timedelta(0)))
            for follow_up in self.follow_ups.take_due(self.clock.now()):
                self.look(follow_up.job_id)
        self.clock.advance(max(end - self.clock.now(), timedelta(0)))

    @property
    def head(self) -> ArtifactHead:
        """What is recorded of the artifact."""
        found = self.records.head(BUCKET, KEY)
        assert found is not None
        return found

    @property
    def status(self) -> JobStatus:
        """What is recorded of the job."""
        found = self.statuses.read(JOB)
        assert found is not None
        return found
