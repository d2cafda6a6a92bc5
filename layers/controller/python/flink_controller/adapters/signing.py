"""Making keys and signatures. For the CLI: no function signs anything."""

from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from flink_controller.adapters.signatures import PSS_SHA256, hash_of, parse_public_key
from flink_controller.domain.errors import RejectedError


@dataclass(frozen=True)
class KeyPair:
    """A new key, both halves as PEM."""

    private_key_pem: bytes
    public_key_pem: str

    def __repr__(self) -> str:
        """Show the public half only."""
        return f"KeyPair(public_key_pem={self.public_key_pem!r})"


def new_key_pair() -> KeyPair:
    """Make an Ed25519 key."""
    private_key = Ed25519PrivateKey.generate()
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(pem, public_key_of(pem))


def sign(private_key_pem: bytes, message: bytes) -> bytes:
    """Sign a message by the algorithm that goes with the key; of ECDSA the signature is DER.

    Raises:
        RejectedError: the key cannot be used; the message says why.
    """
    key = _load(private_key_pem)
    if isinstance(key, Ed25519PrivateKey):
        return key.sign(message)
    if isinstance(key, RSAPrivateKey):
        return key.sign(message, PSS_SHA256, hashes.SHA256())
    return key.sign(message, ECDSA(hash_of(key.public_key())))


def public_key_of(private_key_pem: bytes) -> str:
    """Give the public half of a private key, as PEM.

    Raises:
        RejectedError: the key cannot be used; the message says why.
    """
    public_key = _load(private_key_pem).public_key()
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _load(private_key_pem: bytes) -> Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey:
    try:
        key = load_pem_private_key(private_key_pem, password=None)
    except TypeError as error:
        raise RejectedError("the private key is encrypted: decrypt it with openssl pkey first") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RejectedError("the file holds no private key as PEM") from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    if isinstance(key, RSAPrivateKey):
        # What would be refused at registration is not worth signing with.
        parse_public_key(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
        return key
    raise RejectedError(
        "only Ed25519, ECDSA P-256 and P-384, and RSA keys can sign artifacts: openssl genpkey -algorithm ed25519"
    )
