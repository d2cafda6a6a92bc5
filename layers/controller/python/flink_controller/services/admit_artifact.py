"""Decide whether an uploaded object may run: hash its bytes, look at its shape, check its signature.

Level-triggered: whatever event arrived, the newest version of the object and the newest signature are judged, and judged
again if a newer version appeared meanwhile. Jar and signature may come in either order, twice, or late.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from flink_controller.domain.archive import Contents
from flink_controller.domain.artifact import ArtifactVersion, Verdict
from flink_controller.domain.errors import NotFoundError, RejectedError, StaleWriteError
from flink_controller.domain.inspection import inspect
from flink_controller.domain.names import namespace_of_key
from flink_controller.domain.plan import Policy
from flink_controller.domain.signature_file import (
    MAX_SIGNATURE_BYTES,
    SIGNATURE_SUFFIXES,
    SIGSTORE_SUFFIX,
    artifact_key,
)
from flink_controller.domain.trust import trust_mark
from flink_controller.ports import UNVERSIONED, ObjectVersion, Ports
from flink_controller.services.read_contents import read_contents
from flink_controller.services.verify_signatures import Judgement, Upload, verify_signatures

MAX_ROUNDS = 5
"""Versions that may overtake one another during one admission; the event of the last one comes anyway."""


class Admission(StrEnum):
    """What became of an upload event."""

    ADMITTED = "admitted"
    WAITING = "waiting"
    REFUSED = "refused"
    IGNORED = "ignored"
    """Not an artifact, not in its namespace's bucket, or deleted meanwhile."""


def _nobody(_verdict: ArtifactVersion) -> None:
    """Tell nobody."""


def admit_artifact(
    ports: Ports,
    policy: Policy,
    bucket: str,
    key: str,
    *,
    version_id: str | None = None,
    uploader: str | None = None,
    told: Callable[[ArtifactVersion], None] = _nobody,
) -> Admission:
    """Judge an object's newest version (or that of the object that a signature belongs to), wake the jobs that name it.

    Args:
        ports: the world.
        policy: the installation's numbers.
        bucket: where the event happened.
        key: of the object that was written.
        version_id: of that object, if the event tells it.
        uploader: who wrote it, as the event says; recorded for people with that very version, decides nothing.
        told: is given each verdict, once it is written.

    Raises:
        TransientError: S3, DynamoDB or the queue does not answer; the event should be delivered again.
    """
    key = artifact_key(key)
    namespace = namespace_of_key(key)
    if namespace is None or key.endswith("/") or bucket != policy.bucket_of(key):
        return Admission.IGNORED
    verdict: ArtifactVersion | None = None
    for _ in range(MAX_ROUNDS):
        latest = ports.objects.latest(bucket, key)
        if latest is None or (verdict is not None and verdict.version_id == latest.version_id):
            break
        try:
            known = uploader if version_id == latest.version_id else None
            verdict = judge(ports, policy.controller_id, latest, namespace, uploader=known)
            ports.records.record(verdict, burst_window=policy.debounce)
            told(verdict)
        except (NotFoundError, StaleWriteError):
            # Deleted, or judged by somebody else, while we looked: look again.
            verdict = None
    if verdict is None:
        return Admission.IGNORED
    jobs = list(ports.statuses.jobs_naming(bucket, key))
    if jobs:
        ports.follow_ups.send_now(jobs)
    return Admission(verdict.verdict.value)


def judge(
    ports: Ports, controller_id: str, version: ObjectVersion, namespace: str, *, uploader: str | None = None
) -> ArtifactVersion:
    """Reach a verdict on one object version. Records nothing.

    Raises:
        NotFoundError: the version is gone.
    """
    # The signatures first: one of them may ask for another hash of the bytes. A newer one tells by its own event.
    files = _signature_files(ports, version)
    with ports.objects.open(version.bucket, version.key, version.version_id) as stream:
        contents = read_contents(stream, with_sha384=_needs_sha384(files))
    now = ports.clock.now()
    inspection = inspect(version.key, contents)
    judgement = (
        Judgement(Verdict.REFUSED, inspection.reason, f"{version.key} {inspection.message}")
        if inspection.reason
        else _judgement(ports, controller_id, version, namespace, files, contents)
    )
    if judgement.verdict is Verdict.ADMITTED and inspection.is_without_entry:
        note = "; its manifest names no class to start, so a spec must set entry_class"
        judgement = replace(judgement, message=judgement.message + note)
    return ArtifactVersion(
        bucket=version.bucket,
        key=version.key,
        version_id=version.version_id,
        uploaded_at=version.uploaded_at,
        size_bytes=version.size_bytes,
        sha256=contents.sha256,
        verdict=judgement.verdict,
        reason=judgement.reason,
        message=judgement.message,
        key_id=judgement.key_ids[0] if judgement.key_ids else None,
        co_signers=judgement.key_ids[1:],
        release=judgement.release,
        trust_mark=judgement.trust_mark,
        uploader=uploader,
        entry_classes=inspection.entry_classes,
        decided_at=now,
    )


def _judgement(
    ports: Ports,
    controller_id: str,
    version: ObjectVersion,
    namespace: str,
    files: Mapping[str, bytes],
    contents: Contents,
) -> Judgement:
    if version.version_id == UNVERSIONED:
        # The next upload would overwrite it, and nothing could be started again from it.
        message = f"{version.key} was uploaded while its bucket kept no versions: turn them on, and upload it again"
        return Judgement(Verdict.REFUSED, "BucketNotVersioned", message)
    try:
        policy = ports.registry.policy(namespace)
    except RejectedError as error:
        # Nobody can say what it asks for: nothing is admitted until it is mended.
        return Judgement(Verdict.WAITING, "PolicyMalformed", str(error))
    if ports.registry.trust((), contents.sha256).denial is not None:
        return Judgement(Verdict.REFUSED, "DigestDenied", f"sha256:{contents.sha256} was denied by an operator")
    upload, keys, now = Upload(contents, version.key, namespace, controller_id), ports.registry.keys(), ports.clock.now()
    judgement = verify_signatures(ports.verifier, keys, policy, files, upload, now)
    return replace(judgement, trust_mark=trust_mark(keys, policy, now))


def _signature_files(ports: Ports, version: ObjectVersion) -> dict[str, bytes]:
    found = {
        suffix: ports.objects.read(version.bucket, version.key + suffix, limit_bytes=MAX_SIGNATURE_BYTES)
        for suffix in SIGNATURE_SUFFIXES
    }
    return {suffix: content for suffix, content in found.items() if content is not None}


def _needs_sha384(files: Mapping[str, bytes]) -> bool:
    """Whether a file may cover a SHA-384 of the bytes; a needless one costs time and nothing else."""
    return b"SHA2_384" in files.get(SIGSTORE_SUFFIX, b"")
