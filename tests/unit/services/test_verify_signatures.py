"""Formats, keys and policies, row by row of docs/signing.md; and every flipped bit."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.domain.artifact import KeyAlgorithm, KeyStatus, TrustedKey, Verdict
from flink_controller.domain.signature_file import MAX_SIGNATURE_BYTES, pae, read_signature
from flink_controller.domain.trust import NamespacePolicy, StatementRule, Threshold
from flink_controller.services.verify_signatures import BLOB_DIGESTS, Judgement
from flink_controller.testing.clock import START
from tests.unit.services.signatures_at_hand import (
    JAR,
    KEY,
    b64,
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

ED25519, P256, P384, RSA = KeyAlgorithm
PAGE = Path(__file__).resolve().parents[3] / "docs/signing.md"
DAY = timedelta(days=1)
MAKERS: dict[str, Callable[[KeyAlgorithm], tuple[str, bytes]]] = {
    ".sig": lambda algorithm: (".sig", sig_file(algorithm)),
    ".dsse.json": lambda algorithm: (".dsse.json", written(envelope(algorithm, statement()))),
    ".sigstore.json, envelope": lambda algorithm: (
        ".sigstore.json",
        written(bundle({"dsseEnvelope": envelope(algorithm, statement())}, hint_of(algorithm))),
    ),
    ".sigstore.json, message": lambda algorithm: (
        ".sigstore.json",
        written(bundle(blob_signature(algorithm), hint_of(algorithm))),
    ),
}


def table(heading: str) -> list[list[str]]:
    """Give the rows of the table below a heading of docs/signing.md, without quotes."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip().replace("`", "") for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    return rows[2:]


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
@pytest.mark.parametrize("format_", MAKERS)
def test_the_table_of_formats_says_which_key_makes_which(format_: str, algorithm: KeyAlgorithm) -> None:
    suffix, content = MAKERS[format_](algorithm)
    columns = ["ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha256"]
    rows = {row[0]: dict(zip(columns, row[2:6], strict=True)) for row in table("Formats")}

    found = judged({suffix: content}, trusted(algorithm))

    assert set(rows) == set(MAKERS)
    assert (found.verdict is Verdict.ADMITTED) is (rows[format_][algorithm.value] == "yes"), found
    assert found.release == (7 if "envelope" in format_ or "dsse" in format_ else None) or found.verdict is Verdict.REFUSED


P256_KEY = trusted(P256)
DSSE = {".dsse.json": written(envelope(P256, statement()))}
SIG = {".sig": sig_file(P256)}
KEY_CASES: dict[str, tuple[TrustedKey, str]] = {
    "active": (P256_KEY, "Admitted"),
    "retiring": (trusted(P256, status=KeyStatus.RETIRING), "KeyNotAllowed"),
    "revoked": (trusted(P256, status=KeyStatus.REVOKED), "KeyNotAllowed"),
    "before not_before": (trusted(P256, not_before=START + DAY), "KeyNotAllowed"),
    "after not_after": (trusted(P256, not_after=START - DAY), "KeyNotAllowed"),
    "of another namespace": (trusted(P256, namespaces=("payments",)), "KeyNotAllowed"),
    "of another prefix": (trusted(P256, namespaces=(), prefixes=("artifacts/other/",)), "KeyNotAllowed"),
    "of this prefix alone": (trusted(P256, namespaces=(), prefixes=("artifacts/etl",)), "Admitted"),
    "labelled with another algorithm": (P256_KEY.model_copy(update={"algorithm": ED25519}), "SignatureInvalid"),
    "not registered": (trusted(P384), "SignatureInvalid"),
}


@pytest.mark.parametrize("state", KEY_CASES)
def test_the_table_of_keys_says_what_becomes_of_an_upload(state: str) -> None:
    key, expected = KEY_CASES[state]
    rows = {row[0]: row[1] for row in table("Keys")}

    assert set(rows) == set(KEY_CASES)
    assert rows[state] == expected
    assert [judged(files, key).reason for files in (SIG, DSSE)] == [expected, expected]


REQUIRED = NamespacePolicy(namespace="default", statement=StatementRule.REQUIRED)
TWO = NamespacePolicy(namespace="default", thresholds=(Threshold(prefix="artifacts/", keys=2),))
BOTH = NamespacePolicy(
    namespace="default", statement=StatementRule.REQUIRED, thresholds=(Threshold(prefix="artifacts/", keys=2),)
)
TWIN = trusted(P256, key_id="the same key again")
OTHER = trusted(ED25519)
OTHERS_SIG = {".sig": sig_file(ED25519)}
BUNDLE = {".sigstore.json": written(bundle({"dsseEnvelope": envelope(ED25519, statement())}))}
POLICY_CASES: dict[str, tuple[NamespacePolicy, Mapping[str, bytes], str]] = {
    "none, no signature": (NamespacePolicy(namespace="default"), {}, "SignatureMissing"),
    "none, a bare digest": (NamespacePolicy(namespace="default"), SIG, "Admitted"),
    "none, a statement": (NamespacePolicy(namespace="default"), DSSE, "Admitted"),
    "none, a good and a bad file": (NamespacePolicy(namespace="default"), {**DSSE, ".sig": b"AAAA"}, "Admitted"),
    "statement required, a bare digest": (REQUIRED, SIG, "StatementRequired"),
    "statement required, a message signature": (
        REQUIRED,
        {".sigstore.json": written(bundle(blob_signature(P256)))},
        "StatementRequired",
    ),
    "statement required, a statement": (REQUIRED, DSSE, "Admitted"),
    "two keys, one signature": (TWO, SIG, "SignatureMissing"),
    "two keys, one key twice": (TWO, {**SIG, **DSSE}, "SignatureMissing"),
    "two keys, two signatures": (TWO, {**OTHERS_SIG, **DSSE}, "Admitted"),
    "two keys, one good and one bad": (TWO, {**DSSE, ".sig": b"AAAA"}, "SignatureInvalid"),
    "two keys and statements, two envelopes": (BOTH, {**DSSE, **BUNDLE}, "Admitted"),
    "two keys and statements, one bare digest": (BOTH, {**OTHERS_SIG, **DSSE}, "StatementRequired"),
}


@pytest.mark.parametrize("case", POLICY_CASES)
def test_the_table_of_policies_says_what_is_asked_for(case: str) -> None:
    policy, files, expected = POLICY_CASES[case]
    rows = {f"{row[0]}, {row[1]}": row[2] for row in table("Policies")}

    found = judged(files, P256_KEY, TWIN, OTHER, policy=policy)

    assert set(rows) == set(POLICY_CASES)
    assert rows[case] == expected == found.reason


def test_of_two_signers_both_are_recorded() -> None:
    found = judged({**OTHERS_SIG, **DSSE}, P256_KEY, OTHER, policy=TWO)

    assert set(found.key_ids) == {P256_KEY.key_id, OTHER.key_id}


@pytest.mark.parametrize("prefix", ["artifacts/core/", "artifacts/x"])
def test_a_threshold_counts_under_its_prefix_alone(prefix: str) -> None:
    policy = NamespacePolicy(namespace="default", thresholds=(Threshold(prefix=prefix, keys=2),))

    assert judged(SIG, P256_KEY, policy=policy).verdict is Verdict.ADMITTED


def test_the_longest_prefix_decides_how_many_keys() -> None:
    rules = (Threshold(prefix="artifacts/", keys=2), Threshold(prefix="artifacts/etl", keys=1))

    assert judged(SIG, P256_KEY, policy=NamespacePolicy(namespace="default", thresholds=rules)).reason == "Admitted"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"audience": "staging"}, "for the installation 'staging', not 'prod'"),
        ({"name": "artifacts/other.jar"}, "is for 'artifacts/other.jar', not 'artifacts/etl.jar'"),
        ({"namespace": "payments"}, "is for namespace 'payments', not 'default'"),
        ({"size_bytes": 1}, "is about 1 bytes"),
        ({"not_before": START + DAY}, "is valid from"),
        ({"not_after": START - DAY / 2}, "was valid until"),
    ],
)
def test_a_statement_about_something_else_admits_nothing(changes: dict[str, Any], fault: str) -> None:
    found = judged({".dsse.json": written(envelope(P256, statement(**changes)))}, P256_KEY)

    assert (found.verdict, found.reason) == (Verdict.REFUSED, "StatementInvalid")
    assert fault in found.message


def test_a_statement_about_other_bytes_admits_nothing() -> None:
    found = judged({".dsse.json": written(envelope(P256, statement(JAR + b"x", size_bytes=len(JAR))))}, P256_KEY)

    assert "is about other bytes" in found.message


def test_a_clock_that_is_a_little_ahead_does_no_harm() -> None:
    made = statement(not_before=START + timedelta(minutes=4))

    assert judged({".dsse.json": written(envelope(P256, made))}, P256_KEY).verdict is Verdict.ADMITTED


def changed(document: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(document), **changes}).encode()


STATED = json.loads(statement())


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"{", "is no JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "should be an object"),
        (statement()[:-1], "is no JSON"),
        (statement() + b"{}", "Extra data"),
        (statement().replace(b'"release":7', b'"release":7,"release":8'), "has the key 'release' twice"),
        (statement().replace(b'"release":7', b'"release":7.0'), "valid integer"),
        (statement().replace(b'"release":7', b'"release":"7"'), "valid integer"),
        (statement().replace(b'"release":7', b'"release":-1'), "greater than or equal to 0"),
        (statement().replace(b'"release":7', b'"release":NaN'), "holds NaN"),
        (statement().replace(b'"release":7', b'"release":7,"more":1'), "Extra inputs"),
        (changed(statement(), _type="https://example.com"), "_type"),
        (changed(statement(), predicateType="https://example.com"), "predicateType"),
        (changed(statement(), subject=[]), "must name one subject"),
        (changed(statement(), subject=STATED["subject"] * 2), "must name one subject"),
        (changed(statement(), subject=[{"name": "x", "digest": {"sha256": "A" * 64}}]), "sha256"),
        (changed(statement(), subject=[{"name": "x", "digest": {"sha512": "a" * 128}}]), "sha256"),
        (changed(statement(), predicate={**STATED["predicate"], "not_after": "2030-01-02T00:00:00"}), "timezone"),
        (b"[" * 30_000, "nested too deeply"),
    ],
)
def test_a_payload_that_states_nothing_admits_nothing(payload: bytes, fault: str) -> None:
    found = judged({".dsse.json": written(envelope(P256, payload))}, P256_KEY)

    assert (found.verdict, found.reason) == (Verdict.REFUSED, "StatementInvalid")
    assert fault in found.message


def test_an_older_kind_of_statement_is_read_as_well() -> None:
    payload = changed(statement(), _type="https://in-toto.io/Statement/v0.1")

    assert judged({".dsse.json": written(envelope(P256, payload))}, P256_KEY).release == 7


SOUND = envelope(P256, statement())
SOUND_BUNDLE = bundle({"dsseEnvelope": SOUND})


@pytest.mark.parametrize(
    ("suffix", "content", "fault"),
    [
        (".dsse.json", b"", "is empty"),
        (".dsse.json", b"null", "is no JSON object"),
        (".dsse.json", b"\xff\xfe", "is not UTF-8"),
        (".dsse.json", written(SOUND) + b"x", "Extra data"),
        (".dsse.json", b"\xef\xbb\xbf" + written(SOUND), "BOM"),
        (".dsse.json", written(SOUND).replace(b'"payloadType"', b'"payload":"","payloadType"'), "'payload' twice"),
        (".dsse.json", written({**SOUND, "more": 1}), "Extra inputs"),
        (".dsse.json", written({**SOUND, "signatures": []}), "holds 0 signatures"),
        (".dsse.json", written({**SOUND, "signatures": SOUND["signatures"] * 2}), "holds 2 signatures"),
        (".dsse.json", written({**SOUND, "payloadType": "text/plain"}), "of type 'text/plain'"),
        (".dsse.json", written({**SOUND, "payload": "A"}), "payload is not base64"),
        (".dsse.json", written({**SOUND, "payload": ""}), "has no payload"),
        (".dsse.json", written({**SOUND, "payload": "QR=="}), "payload is not canonical base64"),
        (".dsse.json", written({**SOUND, "payload": "-+AA"}), "payload is not canonical base64"),
        (".dsse.json", written({**SOUND, "payload": 7}), "valid string"),
        (".dsse.json", b" " * MAX_SIGNATURE_BYTES + written(SOUND), "more than 65536 bytes"),
        (".sigstore.json", written({**SOUND_BUNDLE, "mediaType": "application/json"}), "no Sigstore bundle of version 0.3"),
        (
            ".sigstore.json",
            written({**SOUND_BUNDLE, "mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.2"}),
            "no Sigstore bundle of version 0.3",
        ),
        (".sigstore.json", written({**SOUND_BUNDLE, **blob_signature(P256)}), "either a messageSignature or"),
        (".sigstore.json", written(bundle({})), "either a messageSignature or"),
        (
            ".sigstore.json",
            written({**SOUND_BUNDLE, "verificationMaterial": {"certificate": {"rawBytes": ""}}}),
            "signed with a certificate",
        ),
        (".sigstore.json", written({**SOUND_BUNDLE, "verificationMaterial": {}}), "publicKey"),
        (
            ".sigstore.json",
            written(
                bundle(
                    {"messageSignature": {"messageDigest": {"algorithm": "SHA2_512", "digest": "AA=="}, "signature": "AA=="}}
                )
            ),
            "algorithm",
        ),
        (
            ".sigstore.json",
            written(bundle({"dsseEnvelope": {**SOUND, "signatures": [{"sig": "AA==", "keyid": "a"}]}}, "b")),
            "two",
        ),
        (".sigstore.json", written(SOUND), "no Sigstore bundle"),
        (".dsse.json", written(SOUND_BUNDLE), "Field required"),
    ],
)
def test_a_file_that_could_mean_two_things_or_none_is_refused(suffix: str, content: bytes, fault: str) -> None:
    found = judged({suffix: content}, P256_KEY)

    assert (found.verdict, found.reason) == (Verdict.REFUSED, "SignatureInvalid")
    assert fault in found.message, found.message
    assert found.message.isprintable()


@pytest.mark.parametrize(
    "hint", ["", P256_KEY.key_id, P256_KEY.fingerprint, f"sha256:{P256_KEY.fingerprint}", hint_of(P256)]
)
def test_a_note_that_names_the_key_is_fine(hint: str) -> None:
    assert judged({".dsse.json": written(envelope(P256, statement(), keyid=hint))}, P256_KEY).verdict is Verdict.ADMITTED


def test_a_note_that_names_another_key_is_refused() -> None:
    found = judged({".dsse.json": written(envelope(P256, statement(), keyid=OTHER.key_id))}, P256_KEY, OTHER)

    assert found.reason == "SignatureInvalid"
    assert "names 'ed25519' as its key" in found.message


def test_both_alphabets_of_base64_are_read() -> None:
    payload = statement(audience="prod", name=KEY)
    made = envelope(P256, payload)
    swapped = {
        **made,
        "payload": base64.urlsafe_b64encode(payload).decode(),
        "signatures": [
            {"sig": base64.urlsafe_b64encode(base64.b64decode(made["signatures"][0]["sig"])).decode(), "keyid": ""}
        ],
    }

    assert judged({".dsse.json": written(swapped)}, P256_KEY).verdict is Verdict.ADMITTED


def test_a_signature_over_one_payload_type_does_not_serve_another() -> None:
    made = envelope(P256, statement(), "application/json")

    assert (
        judged({".dsse.json": written({**made, "payloadType": SOUND["payloadType"]})}, P256_KEY).reason == "SignatureInvalid"
    )


def test_the_encoding_that_is_signed_is_that_of_the_dsse_protocol() -> None:
    # The example of protocol.md, version 1.
    assert pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_published_bundle_verifies_and_names_its_key_as_expected() -> None:
    # `intoto-canonical-log-entry` of the Sigstore conformance suite: an envelope signed with a P-256 key.
    folder = Path(__file__).parent / "vectors"
    content = (folder / "conformance.sigstore.json").read_bytes()
    pem = (folder / "conformance.pub.pem").read_text()
    key = TrustedKey(key_id="conformance", algorithm=P256, public_key=pem, namespaces=("default",))

    file = read_signature(".sigstore.json", content)
    found = judged({".sigstore.json": content}, key)

    assert key.is_meant_by(file.hint)
    assert file.hint
    assert SignatureVerifier().verifies(key, file.signature, pae("application/vnd.in-toto+json", file.payload))  # type: ignore[union-attr]  # an envelope
    # Its statement is of another kind, so it admits nothing here.
    assert found.reason == "StatementInvalid"


def test_a_message_signature_of_cosign_is_read() -> None:
    # `managed-key-and-trusted-root` of the Sigstore conformance suite.
    content = (Path(__file__).parent / "vectors" / "conformance-message.sigstore.json").read_bytes()

    file = read_signature(".sigstore.json", content)

    assert (file.hint, len(file.signature)) == ("TLMsSDfG3ajPsWge+z/vX5T/zluXnmvbkTkwLIV68Tk=", 72)


def flips(content: bytes) -> list[bytes]:
    found = []
    for bit in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        found.append(bytes(flipped))
    return found


@pytest.mark.parametrize("format_", MAKERS)
def test_every_flipped_bit_of_a_small_jar_is_refused(format_: str) -> None:
    suffix, content = MAKERS[format_](P256)

    accepted = [jar for jar in flips(JAR) if judged({suffix: content}, P256_KEY, content=jar).verdict is Verdict.ADMITTED]

    assert accepted == []


@pytest.mark.parametrize("algorithm", [ED25519, P256])
@pytest.mark.parametrize("format_", MAKERS)
def test_every_flip_of_a_signature_file_that_changes_what_it_means_is_refused(format_: str, algorithm: KeyAlgorithm) -> None:
    if algorithm not in BLOB_DIGESTS and "message" in format_:
        assert judged(dict([MAKERS[format_](algorithm)]), trusted(algorithm)).verdict is Verdict.REFUSED
        return
    suffix, content = MAKERS[format_](algorithm)
    meant = read_signature(suffix, content)
    key, other = trusted(algorithm), 0

    for flipped in flips(content):
        found: Judgement = judged({suffix: flipped}, key)
        if found.verdict is not Verdict.ADMITTED:
            continue
        # What still admits must mean the very same: white space, case of an escape, what a log says.
        assert read_signature(suffix, flipped) == meant, flipped
        other += 1

    assert other < len(content) * 8 / 3


def test_the_algorithms_of_the_page_are_those_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")

    for algorithm in KeyAlgorithm:
        assert re.search(rf"`{algorithm.value}`", text), algorithm
    assert b64(b"") == ""
