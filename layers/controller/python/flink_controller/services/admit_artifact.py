"""Decide whether an uploaded object may run: hash its bytes, look at its shape, check its signature.

Level-triggered: whatever event arrived, the newest version of the object and the newest signature are judged, and judged
again if a newer version appeared meanwhile. Jar and signature may come in either order, twice, or late.
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flink_controller.domain.artifact import SIGNATURE_SUFFIX, ArtifactVersion, TrustedKey, Verdict, signed_text
from flink_controller.domain.errors import NotFoundError, StaleWriteError
from flink_controller.domain.names import artifact_prefix, namespace_of_key, shown
from flink_controller.domain.plan import Policy
from flink_controller.ports import ObjectVersion, Ports, SignatureVerifier

SIGNATURE_SUFFIXES = (SIGNATURE_SUFFIX, ".dsse.json", ".sigstore.json")
MAX_SIGNATURE_BYTES = 64 * 1024
MAX_ROUNDS = 5
"""Versions that may overtake one another during one admission; the event of the last one comes anyway."""
_CHUNK_BYTES = 1024 * 1024
_ZIP_START = b"PK\x03\x04"
_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_TAIL_BYTES = _ZIP_END_BYTES + 0xFFFF
_ZIP64 = 0xFFFFFFFF


class Admission(StrEnum):
    """What became of an upload event."""

    ADMITTED = "admitted"
    WAITING = "waiting"
    REFUSED = "refused"
    IGNORED = "ignored"
    """Not an artifact, or deleted meanwhile."""


@dataclass(frozen=True)
class _Contents:
    sha256: str
    fault: str | None
    """Why the bytes are no jar."""


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
    contents = _read(ports, version)
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

    if contents.fault is not None:
        return verdict(Verdict.REFUSED, "NotAJar", f"{version.key}: {contents.fault}")
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


def _read(ports: Ports, version: ObjectVersion) -> _Contents:
    """Hash a version in one pass of bounded memory, and look at both ends of it."""
    digest, tail, head, size = hashlib.sha256(), b"", b"", 0
    with ports.objects.open(version.bucket, version.key, version.version_id) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            head = (head + chunk)[:4] if len(head) < len(_ZIP_START) else head
            tail = (tail + chunk)[-_ZIP_TAIL_BYTES:]
    return _Contents(digest.hexdigest(), jar_fault(head, tail, size))


def jar_fault(head: bytes, tail: bytes, size_bytes: int) -> str | None:
    """Say why bytes with this start and end are no whole zip archive, or None.

    Nothing is unpacked. The end record must close the file and point at a directory inside it; a truncated upload has
    none.
    """
    if size_bytes == 0:
        return "is empty"
    if head != _ZIP_START:
        return f"is not a jar (it begins with {shown(head.decode('latin-1'), 20)})"
    at = tail.rfind(_ZIP_END)
    if at < 0 or len(tail) - at < _ZIP_END_BYTES:
        return "is a truncated jar: its central directory is missing"
    entries, directory_bytes, offset, comment_bytes = struct.unpack("<10xHIIH", tail[at : at + _ZIP_END_BYTES])
    if at + _ZIP_END_BYTES + comment_bytes != len(tail):
        return "is not a whole jar: its end record does not close the file"
    end_at = size_bytes - (len(tail) - at)
    if _ZIP64 not in {directory_bytes, offset} and offset + directory_bytes > end_at:
        return "is a truncated jar: its central directory lies outside of the file"
    if entries == 0:
        return "is a jar without entries"
    return None
