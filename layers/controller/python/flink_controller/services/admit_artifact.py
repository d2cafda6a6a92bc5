"""Decide whether an uploaded object may run: hash its bytes, look at its shape, check its signature.

Level-triggered: whatever event arrived, the newest version of the object and the newest signature are judged, and judged
again if a newer version appeared meanwhile. Jar and signature may come in either order, twice, or late.
"""

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from flink_controller.domain.artifact import SIGNATURE_SUFFIX, ArtifactVersion, TrustedKey, Verdict, signed_text
from flink_controller.domain.errors import NotFoundError, StaleWriteError
from flink_controller.domain.inspection import inspect
from flink_controller.domain.names import artifact_prefix, namespace_of_key
from flink_controller.domain.plan import Policy
from flink_controller.ports import ObjectVersion, Ports, SignatureVerifier
from flink_controller.services.read_contents import read_contents

SIGNATURE_SUFFIXES = (SIGNATURE_SUFFIX, ".dsse.json", ".sigstore.json")
MAX_SIGNATURE_BYTES = 64 * 1024
MAX_ROUNDS = 5
"""Versions that may overtake one another during one admission; the event of the last one comes anyway."""


class Admission(StrEnum):
    """What became of an upload event."""

    ADMITTED = "admitted"
    WAITING = "waiting"
    REFUSED = "refused"
    IGNORED = "ignored"
    """Not an artifact, or deleted meanwhile."""


def admit_artifact(ports: Ports, policy: Policy, bucket: str, key: str) -> Admission:
    """Judge the newest version of an object (or of the object that a signature belongs to) and wake the jobs that name it.

    Raises:
        TransientError: S3, DynamoDB or the queue does not answer; the event should be delivered again.
    """
    key = artifact_key(key)
    namespace = namespace_of_key(key)
    if namespace is None or key.endswith("/"):
        return Admission.IGNORED
    verdict: ArtifactVersion | None = None
    for _ in range(MAX_ROUNDS):
        latest = ports.objects.latest(bucket, key)
        if latest is None or (verdict is not None and verdict.version_id == latest.version_id):
            break
        try:
            verdict = judge(ports, latest, namespace)
            ports.records.record(verdict, burst_window=policy.debounce)
        except (NotFoundError, StaleWriteError):
            # Deleted, or judged by somebody else, while we looked: look again.
            verdict = None
    if verdict is None:
        return Admission.IGNORED
    jobs = list(ports.statuses.jobs_naming(bucket, key))
    if jobs:
        ports.follow_ups.send_now(jobs)
    return Admission(verdict.verdict.value)


def artifact_key(key: str) -> str:
    """Give the key of the artifact that a signature's key belongs to; any other key is its own."""
    for suffix in SIGNATURE_SUFFIXES:
        if key.endswith(suffix) and key != suffix:
            return key.removesuffix(suffix)
    return key


def judge(ports: Ports, version: ObjectVersion, namespace: str) -> ArtifactVersion:
    """Reach a verdict on one object version. Records nothing.

    Raises:
        NotFoundError: the version is gone.
    """
    with ports.objects.open(version.bucket, version.key, version.version_id) as stream:
        contents = read_contents(stream)
    inspection = inspect(version.key, contents)
    now = ports.clock.now()

    def verdict(kind: Verdict, reason: str, message: str, key_id: str | None = None) -> ArtifactVersion:
        return ArtifactVersion(
            bucket=version.bucket,
            key=version.key,
            version_id=version.version_id,
            uploaded_at=version.uploaded_at,
            size_bytes=version.size_bytes,
            sha256=contents.sha256,
            verdict=kind,
            reason=reason,
            message=message,
            key_id=key_id,
            decided_at=now,
        )

    if inspection.reason:
        return verdict(Verdict.REFUSED, inspection.reason, f"{version.key} {inspection.message}")
    found = ports.objects.read(version.bucket, version.key + SIGNATURE_SUFFIX, limit_bytes=MAX_SIGNATURE_BYTES)
    if found is None:
        return verdict(
            Verdict.WAITING,
            "SignatureMissing",
            f"{version.key} is not signed: upload {version.key}{SIGNATURE_SUFFIX} (flinkctl artifact sign)",
        )
    try:
        signature = decode_signature(found)
    except ValueError as error:
        return verdict(Verdict.REFUSED, "SignatureInvalid", f"{version.key}{SIGNATURE_SUFFIX}: {error}")
    keys = sorted(ports.registry.keys(), key=lambda key: key_fault(key, version.key, namespace, now) is not None)
    signer = find_signer(ports.verifier, keys, signature, signed_text(contents.sha256))
    if signer is None:
        return verdict(
            Verdict.REFUSED,
            "SignatureInvalid",
            f"{version.key}{SIGNATURE_SUFFIX} is no signature of these bytes (sha256:{contents.sha256}) by a registered key",
        )
    fault = key_fault(signer, version.key, namespace, now)
    if fault is not None:
        return verdict(Verdict.REFUSED, "KeyNotAllowed", f"{version.key}: {fault}")
    return verdict(Verdict.ADMITTED, "Admitted", f"signed by key {signer.key_id}", signer.key_id)


def decode_signature(content: bytes) -> bytes:
    """Decode a `.sig` file: base64, with white space at its end at most.

    Raises:
        ValueError: it is empty, too large or not base64.
    """
    if len(content) > MAX_SIGNATURE_BYTES:
        raise ValueError(f"has more than {MAX_SIGNATURE_BYTES} bytes")
    text = content.rstrip(b"\r\n\t ")
    if not text:
        raise ValueError("is empty")
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if base64.b64encode(decoded) != text:
        raise ValueError("is not canonical base64")
    return decoded


def find_signer(
    verifier: SignatureVerifier, keys: Iterable[TrustedKey], signature: bytes, message: bytes
) -> TrustedKey | None:
    """Find the first of the registered keys that made a signature, whatever it may be used for."""
    return next((key for key in keys if verifier.verifies(key, signature, message)), None)


def key_fault(key: TrustedKey, object_key: str, namespace: str, now: datetime) -> str | None:
    """Say why a key that made a signature must not admit this object, or None when it may."""
    if not key.covers(object_key, namespace):
        return f"key {key.key_id} may not sign for namespace {namespace} (keys under {artifact_prefix(namespace)})"
    return key.distrusted(now)
