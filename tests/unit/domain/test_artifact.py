"""Digests, keys, and the names of jars."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from flink_controller.domain.artifact import (
    Artifact,
    KeyAlgorithm,
    KeyStatus,
    TrustedKey,
    Verdict,
    is_stale_jar,
    jar_name,
    jar_prefix,
    parse_digest,
    signed_text,
)
from flink_controller.testing.clock import START
from tests.unit.domain.builders import BUCKET, KEY, artifact, version

HOUR = timedelta(hours=1)
TEAM = TrustedKey(
    key_id="team", algorithm=KeyAlgorithm.ED25519, public_key="PEM", namespaces=("team",), prefixes=("shared/x",)
)


def test_only_an_admitted_version_may_be_deployed() -> None:
    admitted = version().artifact

    assert isinstance(admitted, Artifact)
    assert admitted.sha256 == version().sha256
    assert version(verdict=Verdict.WAITING).artifact is None
    assert version(verdict=Verdict.REFUSED).artifact is None


@pytest.mark.parametrize("missing", ["sha256", "key_id"])
def test_a_version_without_a_digest_or_a_signer_may_not_be_deployed(missing: str) -> None:
    assert version().model_copy(update={missing: None}).artifact is None


def test_an_artifact_names_bucket_and_key() -> None:
    assert (artifact().bucket, artifact().key, artifact().key_id) == (BUCKET, KEY, "team")


@pytest.mark.parametrize("digest", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "sha256:" + "a" * 64])
def test_a_recorded_digest_is_64_hex_digits(digest: str) -> None:
    with pytest.raises(ValidationError):
        Artifact.model_validate({**artifact().model_dump(), "sha256": digest})


def test_what_is_signed_is_the_digest_in_ascii() -> None:
    assert signed_text("ab" * 32) == b"sha256:" + b"ab" * 32
    assert parse_digest("sha256:" + "ab" * 32) == "ab" * 32


@pytest.mark.parametrize(
    "text", ["", "ab" * 32, "sha256:", "sha256:" + "AB" * 32, "sha256:" + "ab" * 33, " sha256:" + "ab" * 32]
)
def test_a_digest_has_one_form(text: str) -> None:
    with pytest.raises(ValueError, match="write sha256:"):
        parse_digest(text)


@pytest.mark.parametrize(
    ("key", "namespace", "expected"),
    [
        ("team/a.jar", "team", True),
        ("shared/x/a.jar", "shared", True),
        ("shared/y/a.jar", "shared", False),
        ("artifacts/a.jar", "default", False),
    ],
)
def test_a_key_signs_for_its_namespaces_and_prefixes(key: str, namespace: str, *, expected: bool) -> None:
    assert TEAM.covers(key, namespace) is expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"not_before": START}, None),
        ({"not_after": START}, None),
        ({"not_before": START + HOUR}, "valid from"),
        ({"not_after": START - HOUR}, "valid until"),
        ({"status": KeyStatus.RETIRING}, "is retiring"),
        ({"status": KeyStatus.REVOKED}, "is revoked"),
    ],
)
def test_a_key_admits_while_it_is_active_and_valid(changes: dict[str, object], message: str | None) -> None:
    found = TEAM.model_copy(update=changes).distrusted(START)

    assert (found is None) is (message is None)
    assert found is None or message is None or message in found


def test_the_name_of_a_jar_tells_controller_incarnation_and_bytes() -> None:
    name = jar_name("life-1", "ab" * 32, "one")

    assert name.startswith(jar_prefix("one"))
    assert name.endswith("ab" * 32 + ".jar")
    assert len({name, jar_name("life-2", "ab" * 32, "one"), jar_name("life-1", "ab" * 32, "two")}) == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (jar_name("life-1", "ab" * 32, "one"), True),
        (jar_name("life-2", "ab" * 32, "one"), False),
        (jar_name("life-1", "ab" * 32, "two"), False),
        ("somebody-elses.jar", False),
    ],
)
def test_only_our_own_jars_of_an_earlier_life_are_stale(name: str, *, expected: bool) -> None:
    assert is_stale_jar(name, incarnation="life-2", controller_id="one") is expected
