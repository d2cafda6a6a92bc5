"""Signatures: what verifies, what never does, and which keys are not worth trusting."""

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.adapters.signatures import SignatureVerifier, parse_public_key
from flink_controller.adapters.signing import new_key_pair, public_key_of, sign
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey, signed_text
from flink_controller.domain.errors import RejectedError

MESSAGE = signed_text("ab" * 32)
FIELD = 2**255 - 19
CURVE_D = -121665 * pow(121666, -1, FIELD) % FIELD
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
Point = tuple[int, int]


def private_pem(key: object) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined,no-any-return]  # any private key


def public_pem(key: object) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[attr-defined,no-any-return]  # any private key


ED25519 = private_pem(Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
P256 = private_pem(ec.derive_private_key(12345, ec.SECP256R1()))
P384 = private_pem(ec.derive_private_key(12345, ec.SECP384R1()))
RSA = private_pem(rsa.generate_private_key(65537, 2048))
PRIVATE_KEYS = {
    KeyAlgorithm.ED25519: ED25519,
    KeyAlgorithm.ECDSA_P256: P256,
    KeyAlgorithm.ECDSA_P384: P384,
    KeyAlgorithm.RSA_PSS: RSA,
}
SIGNATURES = {algorithm: sign(pem, MESSAGE) for algorithm, pem in PRIVATE_KEYS.items()}


def trusted(algorithm: KeyAlgorithm, pem: str | None = None) -> TrustedKey:
    return TrustedKey(
        key_id="team", algorithm=algorithm, public_key=pem or public_key_of(PRIVATE_KEYS[algorithm]), namespaces=("default",)
    )


def ed25519_pem(encoded: int) -> str:
    """Wrap 32 bytes as an Ed25519 public key, whatever they are."""
    der = bytes.fromhex("302a300506032b6570032100") + encoded.to_bytes(32, "little")
    return f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(der).decode()}\n-----END PUBLIC KEY-----\n"


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    product = CURVE_D * x1 * x2 * y1 * y2 % FIELD
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, FIELD) % FIELD
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, FIELD) % FIELD
    return x, y


def times(factor: int, point: Point) -> Point:
    result = (0, 1)
    while factor:
        if factor & 1:
            result = add(result, point)
        point, factor = add(point, point), factor >> 1
    return result


def point_at(y: int) -> Point | None:
    squared = (y * y - 1) * pow(CURVE_D * y * y + 1, -1, FIELD) % FIELD
    x = pow(squared, (FIELD + 3) // 8, FIELD)
    if (x * x - squared) % FIELD:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    return None if (x * x - squared) % FIELD else (x, y)


def small_order_points() -> set[Point]:
    """Work out the eight points of small order: the group's order takes the rest of any point away."""
    points: set[Point] = set()
    y = 2
    while len(points) < 8:
        found = point_at(y)
        if found is not None:
            x, y_ = times(GROUP_ORDER, found)
            points |= {(x, y_), (-x % FIELD, y_)}
        y += 1
    return points


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_signature_by_the_key_verifies(algorithm: KeyAlgorithm) -> None:
    assert SignatureVerifier().verifies(trusted(algorithm), SIGNATURES[algorithm], MESSAGE)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_no_signature_with_a_flipped_bit_verifies(algorithm: KeyAlgorithm) -> None:
    signature, key = SIGNATURES[algorithm], trusted(algorithm)

    for bit in range(len(signature) * 8):
        flipped = bytearray(signature)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not SignatureVerifier().verifies(key, bytes(flipped), MESSAGE), f"bit {bit}"


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_no_message_with_a_flipped_bit_verifies(algorithm: KeyAlgorithm) -> None:
    key = trusted(algorithm)

    for bit in range(len(MESSAGE) * 8):
        flipped = bytearray(MESSAGE)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not SignatureVerifier().verifies(key, SIGNATURES[algorithm], bytes(flipped)), f"bit {bit}"


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_signature_that_was_cut_or_lengthened_does_not_verify(algorithm: KeyAlgorithm) -> None:
    signature, key = SIGNATURES[algorithm], trusted(algorithm)

    for changed in (*(signature[:length] for length in range(len(signature))), signature + b"\0", signature * 2):
        assert not SignatureVerifier().verifies(key, changed, MESSAGE)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@settings(max_examples=200, deadline=None)
@given(signature=st.binary(max_size=200), message=st.binary(max_size=200))
def test_garbage_never_verifies_and_never_raises(algorithm: KeyAlgorithm, signature: bytes, message: bytes) -> None:
    assert not SignatureVerifier().verifies(trusted(algorithm), signature, message)


@pytest.mark.parametrize(
    ("algorithm", "other"),
    [
        (KeyAlgorithm.ED25519, Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)),
        (KeyAlgorithm.ECDSA_P256, ec.derive_private_key(54321, ec.SECP256R1())),
    ],
)
def test_a_signature_by_another_key_does_not_verify(algorithm: KeyAlgorithm, other: object) -> None:
    assert not SignatureVerifier().verifies(trusted(algorithm, public_pem(other)), SIGNATURES[algorithm], MESSAGE)


def test_the_algorithm_is_the_key_items_and_not_the_signatures() -> None:
    mislabelled = trusted(KeyAlgorithm.ECDSA_P256, public_key_of(ED25519))

    assert not SignatureVerifier().verifies(mislabelled, SIGNATURES[KeyAlgorithm.ED25519], MESSAGE)


@pytest.mark.parametrize(
    ("algorithm", "hashed"),
    [
        (KeyAlgorithm.ECDSA_P256, hashes.SHA256()),
        (KeyAlgorithm.ECDSA_P384, hashes.SHA384()),
        (KeyAlgorithm.RSA_PSS, hashes.SHA256()),
    ],
)
def test_a_signature_verifies_by_the_digest_alone(algorithm: KeyAlgorithm, hashed: hashes.HashAlgorithm) -> None:
    made = hashes.Hash(hashed)
    made.update(MESSAGE)
    digest = made.finalize()

    assert SignatureVerifier().verifies_digest(trusted(algorithm), SIGNATURES[algorithm], digest)
    for bit in range(len(digest) * 8):
        flipped = bytearray(digest)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not SignatureVerifier().verifies_digest(trusted(algorithm), SIGNATURES[algorithm], bytes(flipped))
    assert not SignatureVerifier().verifies_digest(trusted(algorithm), SIGNATURES[algorithm], b"short")


def test_ed25519_verifies_no_digest() -> None:
    assert not SignatureVerifier().verifies_digest(trusted(KeyAlgorithm.ED25519), SIGNATURES[KeyAlgorithm.ED25519], MESSAGE)


@pytest.mark.parametrize("salt", [0, 20, 64])
def test_an_rsa_signature_with_another_salt_or_padding_does_not_verify(salt: int) -> None:
    key = serialization.load_pem_private_key(RSA, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    made = (
        key.sign(MESSAGE, padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256()),
        key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256()),
    )

    assert not any(SignatureVerifier().verifies(trusted(KeyAlgorithm.RSA_PSS), signature, MESSAGE) for signature in made)


def test_an_rsa_key_whose_modulus_has_a_small_factor_is_refused() -> None:
    modulus = 3 * (2**2047 + 1)
    weak = rsa.RSAPublicNumbers(65537, modulus | 1).public_key()
    pem = weak.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    with pytest.raises(RejectedError, match="small factor"):
        parse_public_key(pem)


def test_an_ecdsa_signature_over_another_hash_does_not_verify() -> None:
    key = ec.derive_private_key(12345, ec.SECP256R1())
    signature = key.sign(MESSAGE, ec.ECDSA(hashes.SHA512()))

    assert not SignatureVerifier().verifies(trusted(KeyAlgorithm.ECDSA_P256), signature, MESSAGE)


@pytest.mark.parametrize("pem", ["", "not a key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\0", "é"])
def test_a_key_item_with_garbage_for_a_key_verifies_nothing(pem: str) -> None:
    key = TrustedKey(key_id="team", algorithm=KeyAlgorithm.ED25519, public_key=pem)

    assert not SignatureVerifier().verifies(key, SIGNATURES[KeyAlgorithm.ED25519], MESSAGE)
    with pytest.raises(RejectedError, match="openssl genpkey"):
        parse_public_key(pem)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_good_key_tells_its_algorithm(algorithm: KeyAlgorithm) -> None:
    assert parse_public_key(public_key_of(PRIVATE_KEYS[algorithm])) is algorithm


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505  # weak on purpose
        lambda: rsa.generate_private_key(3, 2048),
        lambda: ec.derive_private_key(5, ec.SECP521R1()),
        lambda: ec.derive_private_key(5, ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate,
        x25519.X25519PrivateKey.generate,
        lambda: dsa.generate_private_key(2048),
    ],
    ids=["rsa-1024", "rsa-with-exponent-3", "p-521", "secp256k1", "ed448", "x25519", "dsa"],
)
def test_a_key_of_another_kind_is_refused_and_the_message_says_what_to_use(make: Callable[[], object]) -> None:
    with pytest.raises(RejectedError, match=r"not supported.*: use a public key for Ed25519"):
        parse_public_key(public_pem(make()))


def test_a_private_key_is_refused_without_being_shown() -> None:
    with pytest.raises(RejectedError, match="keep it secret") as caught:
        parse_public_key(ED25519.decode())

    assert "MC4C" not in str(caught.value)


def test_a_certificate_is_refused_with_the_command_that_helps() -> None:
    with pytest.raises(RejectedError, match="openssl x509 -pubkey"):
        parse_public_key("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_an_endless_key_is_refused() -> None:
    with pytest.raises(RejectedError, match="none that can be used"):
        parse_public_key("x" * 1_000_000)


def test_every_point_of_small_order_is_refused() -> None:
    points = small_order_points()
    encodings = {y | sign << 255 for _, y in points for sign in (0, 1)}

    assert len(points) == 8
    assert all(times(8, point) == (0, 1) for point in points)
    for encoded in encodings:
        with pytest.raises(RejectedError, match="proves nothing"):
            parse_public_key(ed25519_pem(encoded))


def test_a_key_of_small_order_verifies_no_forged_signature() -> None:
    # Under the neutral element as key, R = neutral and S = 0 fit every message.
    forged = (1).to_bytes(32, "little") + bytes(32)
    key = TrustedKey(key_id="team", algorithm=KeyAlgorithm.ED25519, public_key=ed25519_pem(1))

    assert not SignatureVerifier().verifies(key, forged, MESSAGE)


@pytest.mark.parametrize("encoded", [FIELD, FIELD + 1, 2**255 - 1, FIELD + 1 + 2**255], ids=hex)
def test_a_point_that_is_not_written_the_one_way_is_refused(encoded: int) -> None:
    with pytest.raises(RejectedError, match="proves nothing"):
        parse_public_key(ed25519_pem(encoded))


def test_a_point_off_the_curve_is_refused() -> None:
    off = next(y for y in range(2, 100) if point_at(y) is None)

    with pytest.raises(RejectedError, match="proves nothing"):
        parse_public_key(ed25519_pem(off))


def test_new_keys_sign_and_are_accepted() -> None:
    pair = new_key_pair()
    key = trusted(KeyAlgorithm.ED25519, pair.public_key_pem)

    assert parse_public_key(pair.public_key_pem) is KeyAlgorithm.ED25519
    assert SignatureVerifier().verifies(key, sign(pair.private_key_pem, MESSAGE), MESSAGE)


def test_a_key_pair_does_not_show_its_private_half() -> None:
    assert "PRIVATE" not in repr(new_key_pair())


@pytest.mark.parametrize(
    ("pem", "advice"),
    [
        (b"garbage", "no private key"),
        (public_key_of(ED25519).encode(), "no private key"),
        (private_pem(ec.derive_private_key(5, ec.SECP521R1())), "only Ed25519, ECDSA P-256 and P-384"),
        (private_pem(rsa.generate_private_key(65537, 1024)), "1024 bits is not supported"),  # noqa: S505  # weak on purpose
        (
            Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            ),
            "is encrypted",
        ),
    ],
    ids=["garbage", "public", "p-521", "rsa-1024", "encrypted"],
)
def test_a_key_that_cannot_sign_is_refused(pem: bytes, advice: str) -> None:
    with pytest.raises(RejectedError, match=advice):
        sign(pem, MESSAGE)
