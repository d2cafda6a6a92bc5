"""Signing in every format, and what operators decide: keys, policies, denied digests."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from flink_controller.adapters.signing import public_key_of, sign
from flink_controller.domain.artifact import KeyStatus
from flink_controller.domain.trust import Denial, NamespacePolicy, Reaction, RegistryEvent, StatementRule, Threshold
from flink_controller.testing.clock import START
from tests.unit.cli.bench import ARTIFACT, BUCKET, Bench

CONTROLLER = "FLINKCTL_CONTROLLER_ID"


def signed(bench: Bench, *more: str) -> Path:
    private, jar = bench.trusted_key("team"), bench.jar()
    bench.environ[CONTROLLER] = bench.settings.controller_id
    assert bench.run("artifact", "sign", str(jar), "--key", str(private), *more).status == 0
    return jar


@pytest.mark.parametrize(("format_", "suffix"), [("sig", ".sig"), ("dsse", ".dsse.json"), ("sigstore", ".sigstore.json")])
def test_every_format_signs_verifies_and_is_admitted(bench: Bench, format_: str, suffix: str) -> None:
    jar = signed(bench, "--format", format_, "--to", ARTIFACT, "--release", "17")

    verified = bench.run("artifact", "verify", str(jar), "--to", ARTIFACT)
    pushed = bench.run("artifact", "push", str(jar), "--to", ARTIFACT, "--signature", f"{jar}{suffix}")

    assert (verified.status, pushed.status, pushed.err) == (0, 0, "")
    assert bench.uploads.uploaded == [ARTIFACT, f"{ARTIFACT}{suffix}"]
    bench.work()
    version = bench.records.versions(BUCKET, ARTIFACT)[-1]
    assert (version.verdict.value, version.release) == ("admitted", None if format_ == "sig" else 17)


def test_a_statement_names_the_file_and_the_time_by_default(bench: Bench) -> None:
    jar = signed(bench, "--format", "dsse")

    assert bench.run("artifact", "verify", str(jar), "--to", f"artifacts/{jar.name}").status == 0
    refused = bench.run("artifact", "verify", str(jar), "--to", "artifacts/other.jar")
    assert refused.status == 1
    assert "is for 'artifacts/v1.jar'" in refused.err


def test_a_statement_needs_an_installation(bench: Bench) -> None:
    private = bench.trusted_key("team")

    result = bench.run("artifact", "sign", str(bench.jar()), "--key", str(private), "--format", "dsse")

    assert result.status == 1
    assert CONTROLLER in result.err


def test_a_key_in_kms_signs(bench: Bench) -> None:
    private = bench.trusted_key("team").read_bytes()

    class Kms:
        def sign(self, message: bytes) -> bytes:
            return sign(private, message)

        def public_key_pem(self) -> str:
            return public_key_of(private)

    bench.kms = lambda _: Kms()

    result = bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", "awskms:///alias/release")
    bench.work()

    assert (result.status, result.err) == (0, "")
    assert "signed with awskms:///alias/release" in result.out
    assert bench.records.versions(BUCKET, ARTIFACT)[-1].key_id == "team"


def test_push_states_a_release_where_the_policy_asks_for_it(bench: Bench) -> None:
    bench.run("policy", "set", "default", "--statement", "required")

    bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(bench.trusted_key("team")))

    assert bench.uploads.uploaded[-1] == f"{ARTIFACT}.dsse.json"
    bench.work()
    assert bench.records.versions(BUCKET, ARTIFACT)[-1].release == int(START.timestamp())


def test_an_older_release_is_held_and_can_be_pinned(bench: Bench) -> None:
    private = str(bench.trusted_key("team"))
    for label, release in (("v2", "2"), ("v1", "1")):
        arguments = ["artifact", "push", str(bench.jar(label)), "--to", ARTIFACT, "--sign-with", private]
        bench.run(*arguments, "--format", "dsse", "--release", release)
        bench.work()
        bench.clock.advance(bench.policy.debounce * 2)

    held = bench.records.versions(BUCKET, ARTIFACT)[-1]
    head = bench.records.head(BUCKET, ARTIFACT)

    assert (held.verdict.value, held.reason) == ("held", "ReleaseOutOfOrder")
    assert head is not None
    assert head.admitted is not None
    assert (head.admitted.release, head.release) == (2, 2)
    digest = hashlib.sha256(bench.jar("v1").read_bytes()).hexdigest()
    assert bench.records.admitted_with_digest(BUCKET, ARTIFACT, digest) == held


def test_an_immutable_release_is_uploaded_once(bench: Bench) -> None:
    arguments = ["artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--immutable"]

    assert bench.run(*arguments).status == 0
    again = bench.run(*arguments)

    assert again.status == 1
    assert "immutable" in again.err


def test_a_signature_and_a_key_are_not_said_together(bench: Bench) -> None:
    jar = signed(bench)

    result = bench.run("artifact", "push", str(jar), "--to", ARTIFACT, "--signature", f"{jar}.sig", "--sign-with", "x.pem")

    assert result.status == 2


def test_the_revisions_that_use_a_version_are_listed(deployed: Bench) -> None:
    (item,) = deployed.run("artifact", "list", ARTIFACT, "-o", "json").json["items"]

    assert item["revisions"] == ["etl@1"]
    assert "etl@1" in deployed.run("artifact", "list", ARTIFACT).out


def test_denied_bytes_are_refused_and_allowed_again(bench: Bench) -> None:
    jar = signed(bench)
    digest = hashlib.sha256(jar.read_bytes()).hexdigest()

    denied = bench.run("artifact", "revoke", f"sha256:{digest}", "--reason", "loses messages")
    unchanged = bench.run("artifact", "revoke", digest)
    refused = bench.run("artifact", "verify", str(jar))
    lifted = bench.run("artifact", "revoke", digest, "--lift")

    assert [denied.status, unchanged.status, refused.status, lifted.status] == [0, 0, 1, 0]
    assert "unchanged" in unchanged.out
    assert "was denied" in refused.err
    assert bench.run("artifact", "verify", str(jar)).status == 0
    assert [event.action for event in bench.registry.changes(f"DENY#{digest}")] == ["Denied", "Lifted"]
    assert bench.run("artifact", "revoke", "sha256:short").status == 2


def test_a_key_retires_and_is_revoked_for_good(bench: Bench) -> None:
    bench.trusted_key("team")

    bench.run("keys", "retire", "team")
    bench.run("keys", "revoke", "team", "--reason", "laptop lost")
    again = bench.run("keys", "retire", "team")
    added = bench.run("keys", "add", "team", "--public-key", str(bench.directory / "team.pub.pem"))

    key = bench.registry.key("team")
    assert key is not None
    assert key.status is KeyStatus.REVOKED
    assert "unchanged: revoked" in again.out
    assert (added.status, "stays so" in added.err) == (1, True)
    history = bench.run("keys", "history", "team", "-o", "json").json["items"]
    assert [(event["action"], event["message"]) for event in history] == [("Retired", ""), ("Revoked", "laptop lost")]
    assert bench.run("keys", "revoke", "nobody").status == 1
    assert bench.run("keys", "history", "nobody").status == 1


def test_a_key_may_be_valid_for_a_time(bench: Bench) -> None:
    bench.key_pair("team")
    arguments = ["keys", "add", "team", "--public-key", str(bench.directory / "team.pub.pem")]

    assert bench.run(*arguments, "--not-before", "2030-01-01T00:00:00Z", "--not-after", "2031-01-01T00:00:00Z").status == 0
    assert bench.run(*arguments, "--not-after", "2031-01-01").status == 2
    assert bench.run(*arguments, "--not-before", "2032-01-01T00:00:00Z").status == 2
    key = bench.registry.key("team")
    assert key is not None
    assert key.not_after is not None
    assert key.not_after.year == 2031


def test_a_policy_is_written_whole_and_listed(bench: Bench) -> None:
    assert "no policies" in bench.run("policy", "list").out

    result = bench.run(
        *("policy", "set", "payments", "--statement", "required", "--threshold", "payments/core/=2"),
        *("--on-distrust", "suspend", "--state-root", "s3://shared/first", "--cluster", "default", "--cluster", "gone"),
    )

    assert (result.status, result.err) == (
        0,
        "warning: no cluster default is registered\nwarning: no cluster gone is registered\n",
    )
    assert bench.registry.policy("payments") == NamespacePolicy(
        namespace="payments",
        statement=StatementRule.REQUIRED,
        thresholds=(Threshold(prefix="payments/core/", keys=2),),
        on_distrust=Reaction.SUSPEND,
        state_roots=("s3://shared/first/",),
        allowed_clusters=("default", "gone"),
    )
    assert "payments/core/=2" in bench.run("policy", "list").out
    assert [event.action for event in bench.registry.changes("POLICY#payments")] == ["Changed"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["artifacts"],
        ["No"],
        ["payments", "--threshold", "payments/"],
        ["payments", "--threshold", "payments/=x"],
        ["payments", "--threshold", "payments/=3"],
        ["payments", "--threshold", "nowhere=2"],
        ["payments", "--state-root", "https://x/"],
        ["payments", "--cluster", "https://x/"],
        ["payments", "--statement", "sometimes"],
    ],
)
def test_a_policy_that_means_nothing_is_wrong_usage(bench: Bench, arguments: list[str]) -> None:
    assert bench.run("policy", "set", *arguments).status == 2
    assert bench.registry.policies() == []


def test_a_denial_counts_at_admission(bench: Bench) -> None:
    jar = signed(bench)
    told: Any = RegistryEvent(time=START, action="Denied", subject="DENY#x", message="")
    bench.registry.put_denial(Denial(sha256=hashlib.sha256(jar.read_bytes()).hexdigest()), told)

    bench.run("artifact", "push", str(jar), "--to", ARTIFACT, "--signature", f"{jar}.sig")
    bench.work()

    assert bench.records.versions(BUCKET, ARTIFACT)[-1].reason == "DigestDenied"
