"""Keys, statements and signature files for tests: made as flinkctl, cosign and AWS KMS make them."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from flink_controller.adapters.signatures import PSS_SHA256, SignatureVerifier, hash_of
from flink_controller.adapters.signing import public_key_of, sign
from flink_controller.domain.archive import Contents
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey, fingerprint, signed_text
from flink_controller.domain.signature_file import BUNDLE_TYPES, pae
from flink_controller.domain.statement import PAYLOAD_TYPE, Release, Statement, write_statement
from flink_controller.domain.trust import NamespacePolicy
from flink_controller.services.read_contents import read_contents
from flink_controller.services.verify_signatures import Judgement, Upload, verify_signatures
from flink_controller.testing.clock import START
from flink_controller.testing.jars import jar_bytes

KEY: Final = "artifacts/etl.jar"
JAR: Final = jar_bytes()
CONTROLLER: Final = "prod"


def _pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


PRIVATE: Final = {
    KeyAlgorithm.ED25519: _pem(Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)),
    KeyAlgorithm.ECDSA_P256: _pem(ec.derive_private_key(7, ec.SECP256R1())),
    KeyAlgorithm.ECDSA_P384: _pem(ec.derive_private_key(7, ec.SECP384R1())),
    KeyAlgorithm.RSA_PSS: _pem(rsa.generate_private_key(65537, 2048)),
}


def trusted(algorithm: KeyAlgorithm, **changes: Any) -> TrustedKey:
    """Register the public half of a key."""
    known: dict[str, Any] = {
        "key_id": algorithm.value,
        "algorithm": algorithm,
        "public_key": public_key_of(PRIVATE[algorithm]),
        "namespaces": ("default",),
    }
    return TrustedKey(**{**known, **changes})


def statement(content: bytes = JAR, **changes: Any) -> bytes:
    """State a release of the jar."""
    release: dict[str, Any] = {
        "audience": CONTROLLER,
        "namespace": "default",
        "name": KEY,
        "release": 7,
        "size_bytes": len(content),
        "not_before": START - timedelta(days=1),
        "not_after": START + timedelta(days=1),
    }
    return write_statement(
        Statement(sha256=hashlib.sha256(content).hexdigest(), release=Release.model_validate({**release, **changes}))
    )


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def sig_file(algorithm: KeyAlgorithm, content: bytes = JAR) -> bytes:
    """Make a `.sig`."""
    return sig_over(algorithm, hashlib.sha256(content).hexdigest())


def sig_over(algorithm: KeyAlgorithm, sha256: str) -> bytes:
    """Make a `.sig` over a digest."""
    return b64(sign(PRIVATE[algorithm], signed_text(sha256))).encode() + b"\n"


def envelope(algorithm: KeyAlgorithm, payload: bytes, payload_type: str = PAYLOAD_TYPE, keyid: str = "") -> dict[str, Any]:
    """Sign a payload in a DSSE envelope."""
    made = b64(sign(PRIVATE[algorithm], pae(payload_type, payload)))
    return {"payload": b64(payload), "payloadType": payload_type, "signatures": [{"keyid": keyid, "sig": made}]}


def bundle(content: Mapping[str, Any], hint: str = "") -> dict[str, Any]:
    """Wrap an envelope or a message signature into a Sigstore bundle."""
    return {
        "mediaType": BUNDLE_TYPES[0],
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": [{"logIndex": "42"}]},
        **content,
    }


def blob_signature(algorithm: KeyAlgorithm, content: bytes = JAR) -> dict[str, Any]:
    """Sign the bytes themselves, as `cosign sign-blob --key` does."""
    key = load_pem_private_key(PRIVATE[algorithm], None)
    name, digest = "SHA2_256", hashlib.sha256(content).digest()
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(content, PSS_SHA256, hashes.SHA256())
    elif isinstance(key, Ed25519PrivateKey):
        made = key.sign(content)
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        made = key.sign(content, ec.ECDSA(hash_of(key.public_key())))
        if algorithm is KeyAlgorithm.ECDSA_P384:
            name, digest = "SHA2_384", hashlib.sha384(content).digest()
    return {"messageSignature": {"messageDigest": {"algorithm": name, "digest": b64(digest)}, "signature": b64(made)}}


def written(document: Any) -> bytes:
    return json.dumps(document).encode()


def hint_of(algorithm: KeyAlgorithm) -> str:
    """Name a key as cosign does in a bundle."""
    return b64(bytes.fromhex(fingerprint(public_key_of(PRIVATE[algorithm]))))


def judged(
    files: Mapping[str, bytes],
    *keys: TrustedKey,
    content: bytes = JAR,
    policy: NamespacePolicy | None = None,
    key: str = KEY,
    namespace: str = "default",
    now: datetime = START,
) -> Judgement:
    """Judge signature files as admission does."""
    contents = read_contents(io.BytesIO(content), with_sha384=True)
    return upload_of(contents, files, *keys, policy=policy, key=key, namespace=namespace, now=now)


def upload_of(
    contents: Contents,
    files: Mapping[str, bytes],
    *keys: TrustedKey,
    policy: NamespacePolicy | None = None,
    key: str = KEY,
    namespace: str = "default",
    now: datetime = START,
) -> Judgement:
    """Judge what was read already."""
    upload = Upload(contents, key, namespace, CONTROLLER)
    return verify_signatures(SignatureVerifier(), keys, policy or NamespacePolicy(namespace=namespace), files, upload, now)
