"""Damaged envelopes, keys and archives, and what must hold of each. The same seed gives the same inputs.

An input is something sound with a few bytes changed, cut out, doubled or spliced with another sound one. What is judged may
be refused in any words; it must not raise, and must not be accepted unless it still means what was signed.
"""

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Final

from flink_controller.adapters.signatures import parse_public_key
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey, Verdict, fingerprint
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.inspection import inspect
from flink_controller.domain.signature_file import read_signature
from flink_controller.services.read_contents import read_contents
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.signatures_at_hand import (
    JAR,
    blob_signature,
    bundle,
    envelope,
    hint_of,
    judged,
    sig_file,
    statement,
    trusted,
    written,
)

KEYS: Final = [trusted(algorithm) for algorithm in KeyAlgorithm]
SIGNATURES: Final = {algorithm: sig_file(algorithm) for algorithm in KeyAlgorithm}
SOUND_FILES: Final = [
    (suffix, content)
    for algorithm in KeyAlgorithm
    for suffix, content in (
        (".sig", sig_file(algorithm)),
        (".dsse.json", written(envelope(algorithm, statement(), keyid=trusted(algorithm).fingerprint))),
        (".sigstore.json", written(bundle({"dsseEnvelope": envelope(algorithm, statement())}, hint_of(algorithm)))),
        (".sigstore.json", written(bundle(blob_signature(algorithm), hint_of(algorithm)))),
    )
]
MEANT: Final = [read_signature(suffix, content) for suffix, content in SOUND_FILES]
SOUND_ARCHIVES: Final = [jar_bytes(), jar_bytes("x" * 500), jar_bytes(entry_class=None)]
INTERESTING: Final = (
    b"\x00",
    b"\xff",
    b'"',
    b"{",
    b"}",
    b"[",
    b"\\",
    b"\\u0000",
    b"PK\x05\x06",
    b"PK\x01\x02",
    b"1e999",
    b"=",
)


class FuzzError(AssertionError):
    """An input was accepted that must not be, or something raised."""


def damaged(random: Random, content: bytes, others: list[bytes]) -> bytes:
    """Change a few things in bytes."""
    made = bytearray(content)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(made) + 1)
        match random.randrange(7):
            case 0 if at < len(made):
                made[at] ^= 1 << random.randrange(8)
            case 1 if at < len(made):
                made[at] = random.randrange(256)
            case 2:
                del made[at : at + random.randint(1, 40)]
            case 3:
                made[at:at] = random.choice(INTERESTING)
            case 4:
                made[at:at] = made[at : at + random.randint(1, 60)]
            case 5:
                other = random.choice(others)
                start = random.randrange(len(other))
                made[at : at + 40] = other[start : start + random.randint(1, 80)]
            case _ if len(made) > 8:
                # Lengths and offsets of archives, and numbers of JSON.
                place = random.randrange(len(made) - 4)
                made[place : place + 4] = random.choice((0, 1, 2**31, 2**32 - 1, len(made))).to_bytes(4, "little")
    return bytes(made)


def run(seed: int, count: int, report: Callable[[int], None] = lambda _: None) -> Counter[str]:
    """Try inputs in turn of each kind, and count what became of them.

    Raises:
        FuzzError: with the seed and the number of the input.
    """
    found: Counter[str] = Counter()
    random = Random(seed)  # noqa: S311  # reproducible, not secret
    for number, (kind, attempt) in zip(range(count), _turns(random), strict=False):
        try:
            found[f"{kind}: {attempt()}"] += 1
        # Whatever escapes is what is looked for: no input may end in an exception, of any kind.
        except Exception as error:
            raise FuzzError(f"seed {seed}, input {number}, {kind}: {type(error).__name__}: {error}") from error
        report(number)
    return found


def _turns(random: Random) -> Iterator[tuple[str, Callable[[], str]]]:
    while True:
        yield "envelope", lambda: _envelope(random)
        yield "archive", lambda: _archive(random)
        yield "key", lambda: _key(random)
        yield "artifact", lambda: _artifact(random)


def _envelope(random: Random) -> str:
    suffix, sound = random.choice(SOUND_FILES)
    content = damaged(random, sound, [other for _, other in SOUND_FILES])
    if judged({suffix: content}, *KEYS).verdict is not Verdict.ADMITTED:
        return "refused"
    claimed = read_signature(suffix, content)
    # What admits must be a signature that was made, over the payload it was made over; its note may be gone altogether.
    if claimed not in MEANT and claimed not in [replace(one, hint="") for one in MEANT]:
        raise FuzzError(f"accepted {content!r}")
    return "accepted, unchanged in meaning"


def _archive(random: Random) -> str:
    content = damaged(random, random.choice(SOUND_ARCHIVES), SOUND_ARCHIVES)
    found = inspect("artifacts/etl.jar", read_contents(io.BytesIO(content)))
    if not found.message.isprintable():
        raise FuzzError(f"unprintable {found.message!r}")
    return "refused" if found.reason else "inspected"


def _artifact(random: Random) -> str:
    suffix, sound = random.choice(SOUND_FILES)
    content = damaged(random, JAR, SOUND_ARCHIVES)
    if content != JAR and judged({suffix: sound}, *KEYS, content=content).verdict is Verdict.ADMITTED:
        raise FuzzError(f"accepted other bytes under {sound!r}")
    return "refused"


def _key(random: Random) -> str:
    sound = random.choice(KEYS)
    pem = damaged(random, sound.public_key.encode(), [key.public_key.encode() for key in KEYS]).decode("utf-8", "replace")
    key = TrustedKey(key_id="fuzzed", algorithm=sound.algorithm, public_key=pem, namespaces=("default",))
    accepted = judged({".sig": SIGNATURES[sound.algorithm]}, key).verdict is Verdict.ADMITTED
    try:
        parse_public_key(pem)
    except RejectedError:
        if accepted:
            raise FuzzError(f"verified with a key that is refused: {pem!r}") from None
        return "refused"
    if accepted and not _is_same_key(pem):
        raise FuzzError(f"another key verifies: {pem!r}")
    return "loaded"


def _is_same_key(pem: str) -> bool:
    """Whether a key that verifies is one of ours, however it is written."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  # for this rare comparison alone
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )

    plain = load_pem_public_key(pem.encode()).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return fingerprint(plain) in {key.fingerprint for key in KEYS}


def told(found: Counter[str]) -> str:
    """Write the counts, for the end of a run."""
    return json.dumps(dict(sorted(found.items())), indent=2)
