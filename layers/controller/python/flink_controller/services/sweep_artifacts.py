"""Look after the artifacts that specs name: notifications that were lost, and versions that jobs need and nobody has any more.

S3 tells of an upload at least once, and sometimes never. What nobody references is left alone: it costs its record and no
more, and is found here once a spec names it. What was uploaded within a day is looked at in each sweep, and a fifteenth of
everything else. Once a day a namespace's records are pruned, of the keys that were uploaded to within a day.

Cost: one scan of the specs and one list call per 1,000 objects of a bucket; per artifact that is looked at one read of its
record and one HEAD, three more while it is not admitted; per job of the fifteenth one read of its status and one GET,
without its bytes, of each version that it may start again. What pruning costs, `prune_artifacts` says.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zlib import crc32

from flink_controller.domain.artifact import (
    Artifact,
    ArtifactHead,
    ArtifactVersion,
    TrustedKey,
    Verdict,
    parse_digest,
)
from flink_controller.domain.errors import NotFoundError, RejectedError
from flink_controller.domain.names import artifact_prefix, namespace_of_key
from flink_controller.domain.plan import Policy
from flink_controller.domain.signature_file import SIGNATURE_SUFFIXES, artifact_key
from flink_controller.domain.status import JobStatus
from flink_controller.domain.trust import trust_mark
from flink_controller.ports import ObjectVersion, Ports
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.services.prune_artifacts import by_namespace, prune_artifacts

PERIOD: Final = timedelta(minutes=2)
"""Between two sweeps, as the table of functions says."""
TURNS: Final = 15
"""Sweeps until everything was looked at: half an hour."""
FRESH: Final = timedelta(days=1)
"""How long an upload is looked at in each sweep: longer than any outage of S3's notifications so far."""
TURNS_OF_PRUNING: Final = FRESH // PERIOD
"""Sweeps until the records of every namespace were looked at: as long as an upload is fresh, so that none is passed over."""


@dataclass(frozen=True)
class ArtifactSweep:
    """What a sweep found."""

    artifacts: int
    judged: tuple[str, ...]
    """Keys whose newest upload had not been judged."""
    lost: tuple[str, ...]
    """Versions that a job may have to start again and that are gone, as `job key version`."""
    pruned: tuple[ArtifactVersion, ...] = ()
    """Versions whose records were deleted."""


def sweep_artifacts(ports: Ports, policy: Policy) -> ArtifactSweep:
    """Judge what was missed, and say what is lost. Harmless twice.

    Raises:
        TransientError: a store does not answer; the next sweep does the same again.
    """
    now, named, pinned, jobs = ports.clock.now(), set[str](), set[str](), []
    sweep = int(now.timestamp() // PERIOD.total_seconds())
    turn = sweep % TURNS
    for job_id, item in ports.specs.segment(0, 1):
        if _turn(job_id) == turn:
            jobs.append(job_id)
        key = item.get("artifact_path")
        if isinstance(key, str) and key:
            named.add(key)
        pinned |= _pinned(item.get("artifact_signature"))
    trust = _Trust(ports)
    fresh = set(_fresh(ports, policy, now - FRESH))
    looked_at = sorted((fresh & named) | {key for key in named if _turn(key) == turn})
    judged = [key for key in looked_at if _was_missed(ports, trust, policy.bucket_of(key), key)]
    for key in judged:
        admit_artifact(ports, policy, policy.bucket_of(key), key)
    lost, pruned = _lost(ports, jobs), list[ArtifactVersion]()
    for namespace, keys in by_namespace(fresh).items():
        if _turn(namespace, TURNS_OF_PRUNING) == sweep % TURNS_OF_PRUNING:
            pruned += prune_artifacts(ports, policy, namespace, keys, pinned)
    return ArtifactSweep(len(named), tuple(judged), lost, tuple(pruned))


def _turn(name: str, turns: int = TURNS) -> int:
    return crc32(name.encode()) % turns


def _pinned(signature: object) -> set[str]:
    try:
        return {parse_digest(signature)} if isinstance(signature, str) else set()
    except ValueError:
        return set()


def _fresh(ports: Ports, policy: Policy, since: datetime) -> Iterator[str]:
    places = [(policy.artifact_bucket, "")]
    places += [(bucket, artifact_prefix(namespace)) for namespace, bucket in policy.namespace_buckets.items()]
    for bucket, prefix in places:
        for key in ports.objects.uploaded_since(bucket, prefix, since):
            yield artifact_key(key)


def missed_by_jobs(ports: Ports, bucket: str, key: str) -> tuple[str, ...]:
    """After objects of a key were deleted: which versions of it a job may have to start again, and that are gone.

    Raises:
        TransientError: a store does not answer; the next sweep finds the same.
    """
    return _lost(ports, ports.statuses.jobs_naming(bucket, key))


def _lost(ports: Ports, jobs: Iterable[str]) -> tuple[str, ...]:
    seen: dict[Artifact, bool] = {}
    lost = []
    for job_id in jobs:
        status = ports.statuses.read(job_id)
        for artifact in [] if status is None else _needed(status):
            if artifact not in seen:
                seen[artifact] = _is_there(ports, artifact)
            if not seen[artifact]:
                lost.append(f"{job_id} {artifact.key} {artifact.version_id}")
    return tuple(lost)


class _Trust:
    """What keys and policies say now; read where an upload was not admitted, and once a sweep."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._keys: list[TrustedKey] | None = None
        self._marks: dict[str, str | None] = {}

    def has_changed(self, version: ArtifactVersion) -> bool:
        """Whether a verdict on signatures may be another one by now: a key was registered, or a denial lifted."""
        if version.reason == "DigestDenied" and version.sha256 is not None:
            return self._ports.registry.trust((), version.sha256).denial is None
        namespace = namespace_of_key(version.key)
        if namespace is None or (version.trust_mark is None and version.reason != "PolicyMalformed"):
            return False
        if namespace not in self._marks:
            self._marks[namespace] = self._mark(namespace)
        return self._marks[namespace] not in {None, version.trust_mark}

    def _mark(self, namespace: str) -> str | None:
        try:
            policy = self._ports.registry.policy(namespace)
        except RejectedError:
            return None
        if self._keys is None:
            self._keys = self._ports.registry.keys()
        return trust_mark(self._keys, policy, self._ports.clock.now())


def _was_missed(ports: Ports, trust: _Trust, bucket: str, key: str) -> bool:
    latest = ports.objects.latest(bucket, key)
    if latest is None:
        return False
    head = ports.records.head(bucket, key)
    if head is None or head.latest.version_id != latest.version_id:
        # A version that came before the recorded one was judged in its turn, or will be when it is the newest again.
        return head is None or latest.uploaded_at >= head.latest.uploaded_at
    if head.latest.verdict in {Verdict.ADMITTED, Verdict.HELD}:
        return False
    return trust.has_changed(head.latest) or _has_new_signature(ports, latest, head)


def _has_new_signature(ports: Ports, latest: ObjectVersion, head: ArtifactHead) -> bool:
    found = (ports.objects.latest(latest.bucket, latest.key + suffix) for suffix in SIGNATURE_SUFFIXES)
    # S3 tells whole seconds; judging once too often changes nothing.
    decided_at = head.latest.decided_at.replace(microsecond=0)
    return any(signature is not None and signature.uploaded_at >= decided_at for signature in found)


def _needed(status: JobStatus) -> set[Artifact]:
    # A run keeps its revision, and may start again from it.
    refs = (status.desired, status.running, status.stable, *(run.revision for run in status.runs.active))
    return {found.artifact for found in refs if found is not None}


def _is_there(ports: Ports, artifact: Artifact) -> bool:
    try:
        ports.objects.open(artifact.bucket, artifact.key, artifact.version_id).close()
    except NotFoundError:
        return False
    return True
