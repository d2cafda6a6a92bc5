"""`artifact sign`, `push`, `verify`, `list`."""

import base64
import hashlib
import io
import sys
import threading
from pathlib import Path

import pytest

from flink_controller.cli import artifact
from tests.unit.cli.bench import ARTIFACT, BUCKET, SPEC, Bench, truncated


def test_a_signature_is_base64_on_one_line_beside_the_file(bench: Bench) -> None:
    bench.key_pair("mine")
    jar = bench.jar()

    result = bench.run("artifact", "sign", str(jar), "--key", str(bench.directory / "mine.pem"))

    assert result.status == 0
    written = Path(f"{jar}.sig").read_bytes()
    assert len(base64.b64decode(written.strip(), validate=True)) == 64
    assert hashlib.sha256(jar.read_bytes()).hexdigest() in result.out


def test_a_signature_can_be_verified_offline_and_by_registered_keys(bench: Bench) -> None:
    private = bench.trusted_key("team")
    jar, signature = str(bench.jar()), str(bench.directory / "x.sig")
    bench.run("artifact", "sign", jar, "--key", str(private), "--out", signature)

    offline = bench.run("artifact", "verify", jar, "--signature", signature, "--key", str(bench.directory / "team.pub.pem"))
    registered = bench.run("artifact", "verify", jar, "--signature", signature, "--to", ARTIFACT)

    assert (offline.status, registered.status) == (0, 0)
    assert "is signed by team" in registered.out


def test_a_key_may_not_sign_for_another_namespace(bench: Bench) -> None:
    private = bench.trusted_key("team")
    jar = str(bench.jar())
    bench.run("artifact", "sign", jar, "--key", str(private))

    result = bench.run("artifact", "verify", jar, "--to", "payments/etl.jar")

    assert result.status == 1
    assert "may not sign for namespace payments" in result.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"!!!", "not base64"),
        (base64.b64encode(b"x" * 64), "no signature of"),
        (b"A" * 70_000, "more than"),
    ],
)
def test_what_is_no_signature_is_refused(bench: Bench, content: bytes, told: str) -> None:
    bench.trusted_key("team")
    signature = bench.directory / "x.sig"
    signature.write_bytes(content)

    result = bench.run("artifact", "verify", str(bench.jar()), "--signature", str(signature))

    assert result.status == 1
    assert told in result.err


def test_an_altered_file_is_not_verified(bench: Bench) -> None:
    private = bench.trusted_key("team")
    jar = bench.jar()
    bench.run("artifact", "sign", str(jar), "--key", str(private))
    altered = bench.jar("v2")

    assert bench.run("artifact", "verify", str(altered), "--signature", f"{jar}.sig").status == 1


def test_a_truncated_jar_is_neither_verified_nor_uploaded(bench: Bench) -> None:
    private = bench.trusted_key("team")
    broken = truncated(bench.jar())
    signed = bench.run("artifact", "sign", str(broken), "--key", str(private))

    pushed = bench.run("artifact", "push", str(broken), "--to", ARTIFACT, "--sign-with", str(private))
    verified = bench.run("artifact", "verify", str(broken))

    assert (signed.status, pushed.status, verified.status) == (0, 1, 1)
    assert "would refuse it" in signed.err
    assert "nothing was uploaded" in pushed.err
    assert bench.uploads.uploaded == []


def test_push_uploads_the_jar_and_then_its_signature(bench: Bench) -> None:
    private = bench.trusted_key("team")
    jar = bench.jar()

    result = bench.run("artifact", "push", str(jar), "--to", ARTIFACT, "--sign-with", str(private), "-o", "json")

    assert bench.uploads.uploaded == [ARTIFACT, f"{ARTIFACT}.sig"]
    assert (result.status, result.err) == (0, "")
    assert result.json == {
        "bucket": BUCKET,
        "key": ARTIFACT,
        "version_id": "version-000001",
        "sha256": hashlib.sha256(jar.read_bytes()).hexdigest(),
        "size_bytes": jar.stat().st_size,
        "signature_version_id": "version-000002",
    }
    bench.work()
    assert "admitted" in bench.run("artifact", "list", ARTIFACT).out


def test_push_signs_with_the_key_of_the_environment(bench: Bench) -> None:
    bench.environ["FLINKCTL_SIGNING_KEY"] = str(bench.trusted_key("team"))

    result = bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT)

    assert "signed with" in result.out
    assert len(bench.uploads.uploaded) == 2


def test_an_unsigned_push_says_what_is_missing(bench: Bench) -> None:
    result = bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT)

    assert result.status == 0
    assert bench.uploads.uploaded == [ARTIFACT]
    assert f"waits for {ARTIFACT}.sig" in result.err


def test_a_key_that_nobody_registered_is_warned_of(bench: Bench) -> None:
    bench.key_pair("stranger")

    result = bench.run(
        "artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(bench.directory / "stranger.pem")
    )

    assert result.status == 0
    assert "is not registered" in result.err


def test_a_key_of_another_namespace_is_warned_of(bench: Bench) -> None:
    private = bench.trusted_key("team")

    result = bench.run("artifact", "push", str(bench.jar()), "--to", "payments/etl.jar", "--sign-with", str(private))

    assert "may not sign for namespace payments" in result.err


def test_nothing_is_uploaded_with_a_key_that_cannot_sign(bench: Bench) -> None:
    (bench.directory / "bad.pem").write_text("nonsense")

    result = bench.run(
        "artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(bench.directory / "bad.pem")
    )

    assert result.status == 1
    assert "no private key" in result.err
    assert bench.uploads.uploaded == []


@pytest.mark.parametrize(
    "key",
    [
        "etl.jar",
        "/etl.jar",
        "artifacts/../x.jar",
        "artifacts//x.jar",
        "default/x.jar",
        "artifacts/x.jar.sig",
        "artifacts/a\nb.jar",
        "",
    ],
)
def test_a_key_that_no_spec_can_name_is_wrong_usage(bench: Bench, key: str) -> None:
    assert bench.run("artifact", "push", str(bench.jar()), "--to", key).status == 2
    assert bench.uploads.uploaded == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["artifact", "sign", "nope.jar", "--key", "k"],
        ["artifact", "push", "nope.jar", "--to", ARTIFACT],
        ["artifact", "verify", "nope.jar"],
        ["artifact", "push", "nope.jar"],
    ],
)
def test_a_file_that_is_not_there_is_wrong_usage(bench: Bench, arguments: list[str]) -> None:
    assert bench.run(*arguments).status == 2


def test_signing_needs_a_key(bench: Bench) -> None:
    result = bench.run("artifact", "sign", str(bench.jar()))

    assert result.status == 2
    assert "FLINKCTL_SIGNING_KEY" in result.err


def test_keys_of_aws_kms_are_refused_in_words(bench: Bench) -> None:
    result = bench.run("artifact", "sign", str(bench.jar()), "--key", "awskms://alias/release")

    assert result.status == 1
    assert "KMS" in result.err


def test_a_public_key_cannot_be_a_private_one(bench: Bench) -> None:
    private = bench.trusted_key("team")
    jar = str(bench.jar())
    bench.run("artifact", "sign", jar, "--key", str(private))

    result = bench.run("artifact", "verify", jar, "--key", str(private))

    assert result.status == 1
    assert "private key" in result.err


def test_a_missing_signature_is_wrong_usage(bench: Bench) -> None:
    assert bench.run("artifact", "verify", str(bench.jar())).status == 2


def test_the_newest_version_of_every_artifact_that_specs_name_is_listed(deployed: Bench) -> None:
    deployed.specs.put("other", {**SPEC, "artifact_path": "artifacts/other.jar"})

    items = deployed.run("artifact", "list", "-o", "json").json["items"]

    assert [(one["key"], one["verdict"], one["key_id"]) for one in items] == [(ARTIFACT, "admitted", "team")]


def test_an_artifact_that_was_never_uploaded_is_not_there(bench: Bench) -> None:
    assert bench.run("artifact", "list", "artifacts/nope.jar").status == 1
    assert bench.run("artifact", "list", "-o", "json").json == {"items": []}


class Terminal(io.StringIO):
    """A place that a person watches."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), "0.5/1.0 kB"), (io.StringIO(), "50 % of 1000 bytes")])
def test_a_slow_upload_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, shown: str) -> None:
    monkeypatch.setattr(artifact, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(artifact, "BAR_SECONDS", 0.01)
    monkeypatch.setattr(sys, "stderr", stream)
    half, said = io.BytesIO(b"x" * 1000), threading.Event()
    half.seek(500)

    with artifact.progress(half, "uploading", 1000):
        for _ in range(1000):
            if shown in stream.getvalue() or said.wait(0.01):
                break

    assert shown in stream.getvalue()
