"""Small valid values for the contract tests."""

from datetime import datetime

from flink_controller.domain.artifact import Artifact, ArtifactVersion, Verdict
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.status import Event, JobStatus, Revision
from flink_controller.ports import Commit, Held, StatusStore
from tests.contract.worlds import NOW, after

DIGEST = "ab" * 32
ARTIFACT = Artifact(bucket="artifacts", key="artifacts/a.jar", version_id="v1", sha256=DIGEST, key_id="team", size_bytes=10)
CLUSTER = Cluster(
    name="default", url="http://flink:8081", savepoint_root="s3://state/savepoints", checkpoint_root="s3://state/checkpoints"
)


def status(job_id: str = "job", *, cluster: str = "default", artifact_location: str | None = None) -> JobStatus:
    return JobStatus(job_id=job_id, cluster=cluster, created_at=NOW, updated_at=NOW, artifact_location=artifact_location)


def revision(number: int, job_id: str = "job", outcome: str = "Pending") -> Revision:
    return Revision(
        job_id=job_id,
        number=number,
        created_at=NOW,
        spec_hash="f" * 64,
        spec={"job_type": "stream", "deployment": {"parallelism": 2}},
        artifact=ARTIFACT,
        outcome=outcome,
    )


def event(sequence: int, *, count: int = 1) -> Event:
    return Event(sequence=sequence, time=after(sequence), type="Normal", reason="Stable", message="all well", count=count)


def version(
    version_id: str,
    *,
    uploaded_at: datetime = NOW,
    verdict: Verdict = Verdict.ADMITTED,
    decided_at: datetime = NOW,
    sha256: str = DIGEST,
    bucket: str = "artifacts",
    key: str = "artifacts/a.jar",
) -> ArtifactVersion:
    return ArtifactVersion(
        bucket=bucket,
        key=key,
        version_id=version_id,
        uploaded_at=uploaded_at,
        size_bytes=10,
        sha256=sha256,
        verdict=verdict,
        reason=verdict.value,
        message="",
        key_id="team" if verdict is Verdict.ADMITTED else None,
        decided_at=decided_at,
    )


def held(statuses: StatusStore, job_id: str = "job", *, owner: str = "me", at: float = 0) -> Held:
    """Take a lease of one minute."""
    return statuses.acquire(job_id, owner=owner, now=after(at), until=after(at + 60))


def recorded(statuses: StatusStore, commit: Commit) -> Held:
    """Record under a lease of its own, and give the lease up."""
    return statuses.commit(held(statuses, commit.status.job_id), commit, release=True)
