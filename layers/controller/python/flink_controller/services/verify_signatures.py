"""Do the signatures beside an artifact admit it? The one place that says so: for uploads, and for `flinkctl artifact verify`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flink_controller.domain.archive import Contents
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey, Verdict
from flink_controller.domain.names import artifact_prefix
from flink_controller.domain.signature_file import (
    BlobSignature,
    EnvelopeSignature,
    SignatureFile,
    read_signature,
    signed_bytes,
)
from flink_controller.domain.statement import Release, parse_statement, statement_fault
from flink_controller.domain.trust import NamespacePolicy, StatementRule
from flink_controller.ports import SignatureVerifier

BLOB_DIGESTS = {KeyAlgorithm.ECDSA_P256: "SHA2_256", KeyAlgorithm.ECDSA_P384: "SHA2_384", KeyAlgorithm.RSA_PSS: "SHA2_256"}
"""Which digest a signature over the bytes themselves covers. Ed25519 needs the whole artifact in memory, so it has none."""


@dataclass(frozen=True)
class Upload:
    """What is to be admitted."""

    contents: Contents
    key: str | None
    """In the artifact bucket; None: not asked, which only a check on a laptop may do."""
    namespace: str
    audience: str | None
    """This installation's controller id; None as with `key`."""


@dataclass(frozen=True)
class Judgement:
    """What the signatures are worth."""

    verdict: Verdict
    reason: str
    message: str
    key_ids: tuple[str, ...] = ()
    release: int | None = None
    trust_mark: str | None = None


@dataclass(frozen=True)
class _Good:
    key: TrustedKey
    release: Release | None


class _FaultError(Exception):
    """One file admits nothing."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def verify_signatures(
    verifier: SignatureVerifier,
    keys: Sequence[TrustedKey],
    policy: NamespacePolicy,
    files: Mapping[str, bytes],
    upload: Upload,
    now: datetime,
) -> Judgement:
    """Judge an artifact's signature files. Never raises on their content.

    Args:
        verifier: does the arithmetic.
        keys: every registered key.
        policy: of the artifact's namespace.
        files: content by suffix, of those that are there.
        upload: what they are to admit.
        now: the time of the judgement.
    """
    name = upload.key or "the artifact"
    if not files:
        return Judgement(
            Verdict.WAITING,
            "SignatureMissing",
            f"{name} is not signed: upload {name}.sig, .dsse.json or .sigstore.json (flinkctl artifact sign)",
        )
    good: dict[str, _Good] = {}
    faults: list[_FaultError] = []
    for suffix, content in files.items():
        try:
            found = _signer(verifier, keys, policy, suffix, content, upload, now)
        except _FaultError as fault:
            faults.append(fault)
        else:
            # One key under two ids, or in two files, is one signer.
            good.setdefault(found.key.fingerprint, found)
    needed = policy.keys_for(upload.key or "")
    ids = tuple(found.key.key_id for found in good.values())
    if len(good) >= needed:
        releases = [found.release.release for found in good.values() if found.release is not None]
        text = f"signed by key {', '.join(ids)}" + (f" as release {max(releases)}" if releases else "")
        return Judgement(Verdict.ADMITTED, "Admitted", text, ids, max(releases, default=None))
    if faults:
        return Judgement(Verdict.REFUSED, faults[0].reason, str(faults[0]))
    return Judgement(
        Verdict.WAITING,
        "SignatureMissing",
        f"{name} is signed by {', '.join(ids)}; {needed} different keys must sign it, each in a file of its own",
    )


def _signer(
    verifier: SignatureVerifier,
    keys: Sequence[TrustedKey],
    policy: NamespacePolicy,
    suffix: str,
    content: bytes,
    upload: Upload,
    now: datetime,
) -> _Good:
    name = f"{upload.key or 'FILE'}{suffix}"
    try:
        file = read_signature(suffix, content)
    except ValueError as error:
        raise _FaultError("SignatureInvalid", f"{name}: {error}") from None
    makers = [key for key in keys if key.is_meant_by(file.hint) and _is_signed(verifier, key, file, upload.contents)]
    if not makers:
        raise _FaultError("SignatureInvalid", f"{name} {_unsigned(file, upload.contents)}")
    # The first that may sign here counts; if none may, the first says why.
    allowed = [key for key in makers if _key_fault(key, upload, now) is None]
    if not allowed:
        raise _FaultError("KeyNotAllowed", f"{name}: {_key_fault(makers[0], upload, now)}")
    if isinstance(file, EnvelopeSignature):
        return _Good(allowed[0], _release(file, name, upload, now))
    if policy.statement is StatementRule.REQUIRED:
        raise _FaultError(
            "StatementRequired",
            f"{name} covers the bytes alone; namespace {upload.namespace} asks for a statement"
            " (flinkctl artifact sign --format dsse)",
        )
    return _Good(allowed[0], None)


def _release(file: EnvelopeSignature, name: str, upload: Upload, now: datetime) -> Release:
    try:
        statement = parse_statement(file.payload)
    except ValueError as error:
        raise _FaultError("StatementInvalid", f"{name}: its payload {error}") from None
    fault = statement_fault(
        statement,
        sha256=upload.contents.sha256,
        size_bytes=upload.contents.size_bytes,
        audience=upload.audience,
        name=upload.key,
        namespace=upload.namespace,
        now=now,
    )
    if fault is not None:
        raise _FaultError("StatementInvalid", f"{name}: its statement {fault}")
    return statement.release


def _is_signed(verifier: SignatureVerifier, key: TrustedKey, file: SignatureFile, contents: Contents) -> bool:
    if not isinstance(file, BlobSignature):
        return verifier.verifies(key, file.signature, signed_bytes(file, contents.sha256))
    if file.algorithm != BLOB_DIGESTS.get(key.algorithm):
        return False
    digest = contents.sha256 if file.algorithm == "SHA2_256" else contents.sha384
    if digest is None or bytes.fromhex(digest) != file.digest:
        return False
    return verifier.verifies_digest(key, file.signature, file.digest)


def _unsigned(file: SignatureFile, contents: Contents) -> str:
    text = f"is no signature of these bytes (sha256:{contents.sha256}) by a registered key"
    if isinstance(file, BlobSignature):
        return f"{text}; a signature over the bytes themselves needs a key for ECDSA or RSA-PSS, not Ed25519"
    return f"{text}; it names {ascii(file.hint)[:100]} as its key" if file.hint else text


def _key_fault(key: TrustedKey, upload: Upload, now: datetime) -> str | None:
    if upload.key is not None and not key.covers(upload.key, upload.namespace):
        prefix = artifact_prefix(upload.namespace)
        return f"key {key.key_id} may not sign for namespace {upload.namespace} (keys under {prefix})"
    return key.distrusted(now)
