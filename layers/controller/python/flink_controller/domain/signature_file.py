"""The files that lie beside an artifact and sign it: what each claims, read strictly, nothing verified.

Formats: `.sig`, base64 of a signature over the digest's text; `.dsse.json`, a DSSE envelope (protocol v1); `.sigstore.json`,
a Sigstore bundle v0.3 signed with a key. What they say of keys is a hint that must be right, and never chooses an algorithm.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flink_controller.domain.artifact import SIGNATURE_SUFFIX, signed_text
from flink_controller.domain.statement import PAYLOAD_TYPE
from flink_controller.domain.strict_json import strict_json

DSSE_SUFFIX: Final = ".dsse.json"
SIGSTORE_SUFFIX: Final = ".sigstore.json"
SIGNATURE_SUFFIXES: Final = (SIGNATURE_SUFFIX, DSSE_SUFFIX, SIGSTORE_SUFFIX)
MAX_SIGNATURE_BYTES: Final = 64 * 1024
BUNDLE_TYPES: Final = (
    "application/vnd.dev.sigstore.bundle.v0.3+json",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
)
"""Two spellings of one version; the first is the one to write."""
M = TypeVar("M", bound=BaseModel)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class DigestSignature:
    """A signature over the digest's text."""

    signature: bytes
    hint: str = ""


@dataclass(frozen=True)
class BlobSignature:
    """A signature over the artifact's own bytes, as `cosign sign-blob` makes it."""

    signature: bytes
    algorithm: str
    """Of the digest: SHA2_256 or SHA2_384."""
    digest: bytes
    hint: str = ""


@dataclass(frozen=True)
class EnvelopeSignature:
    """A signature over a statement."""

    signature: bytes
    payload: bytes
    hint: str = ""


SignatureFile: TypeAlias = DigestSignature | BlobSignature | EnvelopeSignature


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Signature(_Strict):
    sig: str
    keyid: str = ""


class _Envelope(_Strict):
    payload: str
    payload_type: Annotated[str, Field(alias="payloadType")]
    signatures: tuple[_Signature, ...]


class _MessageDigest(_Strict):
    algorithm: Literal["SHA2_256", "SHA2_384"]
    digest: str


class _MessageSignature(_Strict):
    message_digest: Annotated[_MessageDigest, Field(alias="messageDigest")]
    signature: str


class _PublicKey(_Strict):
    hint: str = ""


class _Material(_Strict):
    public_key: Annotated[_PublicKey, Field(alias="publicKey")]
    # What a transparency log or a clock says is kept beside, and not looked at: verification is offline.
    log_entries: Annotated[list[Any], Field(alias="tlogEntries")] = []
    timestamps: Annotated[dict[str, Any] | None, Field(alias="timestampVerificationData")] = None


class _Bundle(_Strict):
    media_type: Annotated[str, Field(alias="mediaType")]
    material: Annotated[_Material, Field(alias="verificationMaterial")]
    message_signature: Annotated[_MessageSignature | None, Field(alias="messageSignature")] = None
    envelope: Annotated[_Envelope | None, Field(alias="dsseEnvelope")] = None


def pae(payload_type: str, payload: bytes) -> bytes:
    """Give the bytes that a DSSE signature covers: DSSE v1's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signed_bytes(file: DigestSignature | EnvelopeSignature, sha256: str) -> bytes:
    """Give the bytes that a signature file's signature covers."""
    return signed_text(sha256) if isinstance(file, DigestSignature) else pae(PAYLOAD_TYPE, file.payload)


def artifact_key(key: str) -> str:
    """Give the key of the artifact that a signature's key belongs to; any other key is its own."""
    for suffix in SIGNATURE_SUFFIXES:
        if key.endswith(suffix) and key != suffix:
            return key.removesuffix(suffix)
    return key


def read_signature(suffix: str, content: bytes) -> SignatureFile:
    """Read the file with a suffix of `SIGNATURE_SUFFIXES`.

    Raises:
        ValueError: it is too large, ambiguous, or of another form; the message continues a sentence.
    """
    if len(content) > MAX_SIGNATURE_BYTES:
        raise ValueError(f"has more than {MAX_SIGNATURE_BYTES} bytes")
    if not content.strip():
        raise ValueError("is empty")
    if suffix == SIGNATURE_SUFFIX:
        return DigestSignature(_base64(content.rstrip(b"\r\n\t "), "the file"))
    document = strict_json(content)
    if not isinstance(document, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004  # of the content, not of an argument
    if suffix == DSSE_SUFFIX:
        return _envelope(_validated(_Envelope, content), "")
    return _bundle(document, content)


def _bundle(document: dict[str, Any], content: bytes) -> SignatureFile:
    material = document.get("verificationMaterial")
    if document.get("mediaType") not in BUNDLE_TYPES:
        raise ValueError(f"is no Sigstore bundle of version 0.3: its mediaType is {ascii(document.get('mediaType'))[:100]}")
    if isinstance(material, dict) and {"certificate", "x509CertificateChain"} & material.keys():
        raise ValueError("is signed with a certificate; sign with a key that is registered (cosign sign-blob --key)")
    bundle = _validated(_Bundle, content)
    if (bundle.message_signature is None) == (bundle.envelope is None):
        raise ValueError("must hold either a messageSignature or a dsseEnvelope")
    hint = bundle.material.public_key.hint
    if bundle.envelope is not None:
        return _envelope(bundle.envelope, hint)
    assert bundle.message_signature is not None
    made = bundle.message_signature
    return BlobSignature(
        _base64(made.signature.encode(), "signature"),
        made.message_digest.algorithm,
        _base64(made.message_digest.digest.encode(), "messageDigest"),
        hint,
    )


def _envelope(envelope: _Envelope, hint: str) -> EnvelopeSignature:
    if envelope.payload_type != PAYLOAD_TYPE:
        raise ValueError(f"holds a payload of type {ascii(envelope.payload_type)[:100]}, not {PAYLOAD_TYPE}")
    if len(envelope.signatures) != 1:
        raise ValueError(f"holds {len(envelope.signatures)} signatures; one file holds one")
    made = envelope.signatures[0]
    if hint and made.keyid and hint != made.keyid:
        raise ValueError("names two keys for one signature")
    return EnvelopeSignature(
        _base64(made.sig.encode(), "sig"), _base64(envelope.payload.encode(), "payload"), hint or made.keyid
    )


def _validated(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}") from None


def _base64(text: bytes, what: str) -> bytes:
    """Decode base64 of either alphabet, written in the one way that is canonical."""
    if not text:
        raise ValueError(f"has no {what}" if what != "the file" else "is empty")
    standard = text.translate(_URL_SAFE) if b"-" in text or b"_" in text else text
    mixed = standard is not text and (b"+" in text or b"/" in text)
    try:
        decoded = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{'' if what == 'the file' else what + ' '}is not base64") from None
    if mixed or base64.b64encode(decoded) != standard:
        raise ValueError(f"{'' if what == 'the file' else what + ' '}is not canonical base64")
    return decoded
