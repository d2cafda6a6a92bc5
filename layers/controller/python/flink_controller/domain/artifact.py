"""Artifacts: an object version in S3, what verified it, and the verdict on it."""

import base64
import hashlib
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

SIGNATURE_SUFFIX = ".sig"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

RUNNERS_SHA256: Final = "e1878e2af29ae1270be1a0ea752f6b120eec03006958cc9262a95b3b49e904dc"
"""Digest of what the controller adds to scripts and modules (`adapters/runners`); a test says when it must change."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Value(BaseModel):
    """A frozen value that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ArtifactType(StrEnum):
    """What an artifact is."""

    JAR = "jar"
    PYFLINK = "pyflink"
    SQL = "sql"


class Artifact(Value):
    """One verified object version: exactly these bytes, signed by that key."""

    bucket: str
    key: str
    version_id: str
    sha256: Sha256
    key_id: str
    co_signers: tuple[str, ...] = ()
    """Further keys that signed it, where a policy asks for more than one."""
    size_bytes: int
    type: ArtifactType = ArtifactType.JAR
    """How a spec uses the bytes."""

    @property
    def staged_digest(self) -> str:
        """Digest under which a cluster has what runs the artifact: its own for a jar.

        Anything else travels in a jar that is made of the artifact and the controller's runner, so both name it.
        """
        if self.type is ArtifactType.JAR:
            return self.sha256
        return hashlib.sha256(f"{self.type}\0{RUNNERS_SHA256}\0{self.sha256}".encode()).hexdigest()

    @property
    def signers(self) -> tuple[str, ...]:
        """Every key whose trust it rests on."""
        return (self.key_id, *self.co_signers)


class Verdict(StrEnum):
    """What admission decided about an object version."""

    ADMITTED = "admitted"
    WAITING = "waiting"
    """Its signature is not there yet."""
    HELD = "held"
    """Good, but an older release than one that was admitted: it runs only where a spec pins its digest."""
    REFUSED = "refused"


class ArtifactVersion(Value):
    """What is recorded of one object version."""

    bucket: str
    key: str
    version_id: str
    uploaded_at: datetime
    """When S3 received it, by S3's clock, in whole seconds."""
    size_bytes: int
    sha256: Sha256 | None = None
    """None while the object is too large or too broken to be hashed."""
    verdict: Verdict
    reason: str
    """One word for programs: Admitted, SignatureMissing, SignatureInvalid, …"""
    message: str
    key_id: str | None = None
    co_signers: tuple[str, ...] = ()
    release: int | None = None
    """As its statement says; None under a bare digest."""
    uploader: str | None = None
    """Who uploaded it, as S3's notification named them: for people, never for a decision."""
    trust_mark: str | None = None
    """What keys and policy said when signatures were judged (`domain.trust.trust_mark`); None: no signature was looked at."""
    entry_classes: tuple[str, ...] = ()
    """Of a jar: the classes that its manifest offers to start."""
    decided_at: datetime

    def judged(self, verdict: Verdict, reason: str, message: str) -> "ArtifactVersion":
        """Give the same version with another verdict."""
        return self.model_copy(update={"verdict": verdict, "reason": reason, "message": message})

    @property
    def artifact(self) -> Artifact | None:
        """What may be deployed of this version: nothing unless its signature was good."""
        if self.verdict not in {Verdict.ADMITTED, Verdict.HELD} or self.sha256 is None or self.key_id is None:
            return None
        return Artifact(
            bucket=self.bucket,
            key=self.key,
            version_id=self.version_id,
            sha256=self.sha256,
            key_id=self.key_id,
            co_signers=self.co_signers,
            size_bytes=self.size_bytes,
        )


class ArtifactHead(Value):
    """The newest version of a key, and the newest that was admitted; both may be the same."""

    latest: ArtifactVersion
    admitted: ArtifactVersion | None = None
    burst_started_at: datetime | None = None
    """When the first of the recent quick uploads was admitted; see `settled`."""
    release: int | None = None
    """Highest release that was admitted under this key; it never goes backwards."""
    release_sha256: Sha256 | None = None
    """What that release is."""


class KeyAlgorithm(StrEnum):
    """Signature algorithms; the key item says which, never the message."""

    ED25519 = "ed25519"
    ECDSA_P256 = "ecdsa-p256-sha256"
    ECDSA_P384 = "ecdsa-p384-sha384"
    RSA_PSS = "rsa-pss-sha256"
    """MGF1 with SHA-256 and a salt of 32 bytes, as AWS KMS makes it."""


class KeyStatus(StrEnum):
    """How far a key is trusted."""

    ACTIVE = "active"
    RETIRING = "retiring"
    """What it signed keeps running; new releases are refused."""
    REVOKED = "revoked"


class TrustedKey(Value):
    """A public key that operators trust to sign artifacts."""

    key_id: str
    algorithm: KeyAlgorithm
    public_key: str
    """PEM, SubjectPublicKeyInfo."""
    namespaces: tuple[str, ...] = ()
    """Namespaces whose artifacts it may sign."""
    prefixes: tuple[str, ...] = ()
    """Key prefixes that it may sign, beside `namespaces`."""
    status: KeyStatus = KeyStatus.ACTIVE
    not_before: datetime | None = None
    not_after: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the public key (SubjectPublicKeyInfo), 64 hex digits; two ids of one key share it."""
        return fingerprint(self.public_key)

    def is_meant_by(self, hint: str) -> bool:
        """Tell whether a signature's note on its key, if it has one, names this key: by id or by fingerprint."""
        digest = bytes.fromhex(self.fingerprint)
        return hint in {"", self.key_id, digest.hex(), f"sha256:{digest.hex()}", base64.b64encode(digest).decode()}

    def covers(self, key: str, namespace: str) -> bool:
        """Tell whether the key may sign an object key of a namespace."""
        return namespace in self.namespaces or any(key.startswith(prefix) for prefix in self.prefixes)

    def distrusted(self, now: datetime) -> str | None:
        """Say why the key must not be used for a new admission, or None when it may."""
        if self.status is not KeyStatus.ACTIVE:
            return f"key {self.key_id} is {self.status}"
        if self.not_before is not None and now < self.not_before:
            return f"key {self.key_id} is valid from {self.not_before.isoformat()}"
        if self.not_after is not None and now > self.not_after:
            return f"key {self.key_id} was valid until {self.not_after.isoformat()}"
        return None


def fingerprint(public_key_pem: str) -> str:
    """Give the SHA-256 of a public key's SubjectPublicKeyInfo, 64 hex digits."""
    lines = [line for line in public_key_pem.splitlines() if line and not line.startswith("-----")]
    try:
        return hashlib.sha256(base64.b64decode("".join(lines), validate=True)).hexdigest()
    except ValueError:
        return hashlib.sha256(public_key_pem.encode()).hexdigest()


def signed_text(sha256: str) -> bytes:
    """Give the bytes that a `.sig` signature covers."""
    return f"sha256:{sha256}".encode("ascii")


def parse_digest(text: str) -> str:
    """Read `sha256:<64 hex digits>` and give the digits.

    Raises:
        ValueError: the text has another form.
    """
    if not _DIGEST.fullmatch(text):
        raise ValueError("write sha256: and 64 lower-case hex digits")
    return text.removeprefix("sha256:")


def jar_name(incarnation: str, sha256: str, controller_id: str) -> str:
    """Give the file name under which an artifact is uploaded to Flink.

    It says whose it is, for which JobManager incarnation it was uploaded, and what is in it: jars of an earlier
    incarnation, and leftovers of a crash, are told by name alone.
    """
    return f"{jar_prefix(controller_id)}{_short(incarnation)}-{sha256}.jar"


def jar_prefix(controller_id: str) -> str:
    """Give the start of the name of every jar that a controller uploads."""
    return f"flinkctl-{_short(controller_id)}-"


def is_stale_jar(name: str, *, incarnation: str, controller_id: str) -> bool:
    """Tell whether a jar is ours and was uploaded to an earlier incarnation."""
    prefix = jar_prefix(controller_id)
    return name.startswith(prefix) and not name.startswith(f"{prefix}{_short(incarnation)}-")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
