"""Checking signatures, and what makes a public key worth trusting.

The algorithm comes from the key item and must be the key's own: a message or a signature chooses nothing. With `signing`,
which only the CLI loads, this is the only module that imports cryptography.
"""

from functools import lru_cache
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey
from flink_controller.domain.errors import RejectedError

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

_LONGEST_PEM: Final = 4096
_LONGEST_SIGNATURE: Final = 512
"""An Ed25519 signature has 64 bytes, a P-384 one in DER at most 104, one of RSA as many as its modulus."""
_LEAST_RSA_BITS: Final = 2048
_MOST_RSA_BITS: Final = 4096
"""NIST SP 800-131A asks for 2048; AWS KMS offers up to 4096, and more would only cost time."""
_RSA_EXPONENT: Final = 65537
"""What every tool makes. Small exponents have a history of forged signatures."""
_SMALL_PRIMES: Final = tuple(
    number for number in range(3, 1000, 2) if all(number % divisor for divisor in range(3, int(number**0.5) + 1, 2))
)
_ADVICE: Final = "use a public key for Ed25519 (openssl genpkey -algorithm ed25519), ECDSA P-256 or P-384, or RSA, as PEM"
PSS_SHA256: Final = PSS(MGF1(hashes.SHA256()), PSS.DIGEST_LENGTH)
_FIELD: Final = 2**255 - 19
_CURVE_D: Final = -121665 * pow(121666, -1, _FIELD) % _FIELD
_ORDER_8_Y: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
"""One y of the points of order 8; the other is its negative."""
_SMALL_ORDER_Y: Final = frozenset({0, 1, _FIELD - 1, _ORDER_8_Y, _FIELD - _ORDER_8_Y})
"""The y of all points of order 1, 2, 4 and 8. Under such a "key" a signature can be made that fits many messages."""


def parse_public_key(pem: str) -> KeyAlgorithm:
    """Check a public key before it is trusted, and tell its algorithm.

    Args:
        pem: SubjectPublicKeyInfo as PEM.

    Raises:
        RejectedError: it is no key, one of another kind, or one that proves nothing; the message says what to do.
    """
    return _algorithm(_load(pem))


class SignatureVerifier:
    """`SignatureVerifier` for Ed25519, ECDSA on P-256 and P-384 with DER signatures, and RSA-PSS."""

    def verifies(self, key: TrustedKey, signature: bytes, message: bytes) -> bool:
        """Tell whether a raw signature over a message was made by a key. Never raises on bad input."""
        try:
            public_key = _usable(key, signature)
            if isinstance(public_key, Ed25519PublicKey):
                public_key.verify(signature, message)
            elif isinstance(public_key, RSAPublicKey):
                public_key.verify(signature, message, PSS_SHA256, hashes.SHA256())
            else:
                public_key.verify(signature, message, ECDSA(hash_of(public_key)))
        except (InvalidSignature, RejectedError, ValueError):
            return False
        return True

    def verifies_digest(self, key: TrustedKey, signature: bytes, digest: bytes) -> bool:
        """Tell the same of a message known by its digest alone. Never raises on bad input."""
        try:
            public_key = _usable(key, signature)
            if isinstance(public_key, Ed25519PublicKey):
                return False
            if isinstance(public_key, RSAPublicKey):
                public_key.verify(signature, digest, PSS_SHA256, Prehashed(hashes.SHA256()))
            else:
                public_key.verify(signature, digest, ECDSA(Prehashed(hash_of(public_key))))
        except (InvalidSignature, RejectedError, ValueError):
            return False
        return True


def hash_of(key: EllipticCurvePublicKey) -> hashes.SHA256 | hashes.SHA384:
    """Give the hash function that goes with a curve, as FIPS 186 and AWS KMS pair them."""
    return hashes.SHA384() if isinstance(key.curve, SECP384R1) else hashes.SHA256()


def _usable(key: TrustedKey, signature: bytes) -> PublicKey:
    if len(signature) > _LONGEST_SIGNATURE:
        raise RejectedError("too long for a signature")
    public_key = _load(key.public_key)
    if _algorithm(public_key) is not key.algorithm:
        raise RejectedError("the key is of another algorithm than its item says")
    return public_key


@lru_cache(maxsize=64)
def _load(pem: str) -> PublicKey:
    if "PRIVATE KEY" in pem:
        raise RejectedError("this is a private key: keep it secret, and register what openssl pkey -pubout makes of it")
    if "BEGIN CERTIFICATE" in pem:
        raise RejectedError("this is a certificate: register what openssl x509 -pubkey -noout makes of it")
    if len(pem) > _LONGEST_PEM:
        raise RejectedError(f"a key of {len(pem)} characters is none that can be used: {_ADVICE}")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RejectedError(f"this is no public key: {_ADVICE}") from error
    if isinstance(key, Ed25519PublicKey):
        _refuse_weak_point(key)
        return key
    if isinstance(key, EllipticCurvePublicKey):
        # Loading has checked that the point is on the curve; these curves have no points of small order.
        if isinstance(key.curve, SECP256R1 | SECP384R1):
            return key
        raise RejectedError(f"curve {key.curve.name} is not supported: {_ADVICE}")
    if isinstance(key, RSAPublicKey):
        _refuse_weak_rsa(key)
        return key
    raise RejectedError(f"a key of kind {type(key).__name__.removesuffix('PublicKey')} is not supported: {_ADVICE}")


def _algorithm(key: PublicKey) -> KeyAlgorithm:
    if isinstance(key, Ed25519PublicKey):
        return KeyAlgorithm.ED25519
    if isinstance(key, RSAPublicKey):
        return KeyAlgorithm.RSA_PSS
    return KeyAlgorithm.ECDSA_P384 if isinstance(key.curve, SECP384R1) else KeyAlgorithm.ECDSA_P256


def _refuse_weak_rsa(key: RSAPublicKey) -> None:
    numbers = key.public_numbers()
    if not _LEAST_RSA_BITS <= key.key_size <= _MOST_RSA_BITS:
        raise RejectedError(
            f"an RSA key of {key.key_size} bits is not supported, {_LEAST_RSA_BITS} to {_MOST_RSA_BITS} are: {_ADVICE}"
        )
    if numbers.e != _RSA_EXPONENT:
        raise RejectedError(f"an RSA key with the exponent {numbers.e} is not supported, only {_RSA_EXPONENT}: {_ADVICE}")
    if not numbers.n % 2 or any(not numbers.n % prime for prime in _SMALL_PRIMES):
        raise RejectedError(f"this RSA key proves nothing (its modulus has a small factor): make a new one; {_ADVICE}")


def _refuse_weak_point(key: Ed25519PublicKey) -> None:
    """Refuse what the library loads as it comes: it checks neither the curve nor the order of the point."""
    encoded = int.from_bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw), "little")
    y = encoded & ((1 << 255) - 1)
    if y >= _FIELD or y in _SMALL_ORDER_Y or not _is_on_curve(y):
        raise RejectedError(f"this Ed25519 key proves nothing (its point is weak or invalid): make a new one; {_ADVICE}")


def _is_on_curve(y: int) -> bool:
    """Tell whether -x² + y² = 1 + d x² y² has an x, by Euler's criterion."""
    x_squared = (y * y - 1) * pow(_CURVE_D * y * y + 1, -1, _FIELD) % _FIELD
    return pow(x_squared, (_FIELD - 1) // 2, _FIELD) in {0, 1}
