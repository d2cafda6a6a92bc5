"""docs/signing.md, run as it stands: the three recipes, and what each command for AWS KMS makes."""

import base64
import hashlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flink_controller.adapters.kms_signing import KMSSigner, key_of
from flink_controller.adapters.signatures import SignatureVerifier, parse_public_key
from flink_controller.domain.artifact import KeyAlgorithm, TrustedKey, signed_text
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.signature_file import SIGNATURE_SUFFIXES
from flink_controller.testing.jars import jar_bytes
from infra.local.aws import LocalAws
from tests.contract.conftest import emulated_client
from tests.contract.worlds import AwsWorld
from tests.unit.services.signatures_at_hand import judged

PAGE = (Path(__file__).resolve().parents[2] / "docs/signing.md").read_text(encoding="utf-8")
JAR = jar_bytes()
KMS_KEYS = {
    "ECC_NIST_P256": KeyAlgorithm.ECDSA_P256,
    "ECC_NIST_P384": KeyAlgorithm.ECDSA_P384,
    "RSA_2048": KeyAlgorithm.RSA_PSS,
    "ECC_NIST_EDWARDS25519": KeyAlgorithm.ED25519,
}


def recipe(name: str) -> str:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return next(str(block) for block in blocks if block.startswith(f"# recipe: {name}\n"))


def run(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={"PATH": path, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def environment(world: AwsWorld, aws: LocalAws) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FLINKCTL_ARTIFACT_BUCKET_NAME": world.bucket,
        "FLINKCTL_JOB_SPEC_TABLE_NAME": world.spec_table,
        "FLINKCTL_CONTROLLER_STATE_TABLE_NAME": world.state_table,
        "FLINKCTL_FOLLOW_UP_QUEUE_URL": "https://queue.invalid/",
        "FLINKCTL_CONTROLLER_ID": "prod",
        "FLINKCTL_ENVIRONMENT": "local",
    }


def uploaded(world: AwsWorld) -> dict[str, bytes]:
    """Read the signatures beside the artifact that a recipe has pushed."""
    found = {
        suffix: world.objects.read(world.bucket, f"artifacts/etl.jar{suffix}", limit_bytes=65536)
        for suffix in SIGNATURE_SUFFIXES
    }
    return {suffix: content for suffix, content in found.items() if content is not None}


@pytest.mark.aws
def test_the_recipe_with_a_key_file(emulated_world: AwsWorld, emulator: LocalAws, tmp_path: Path) -> None:
    (tmp_path / "etl.jar").write_bytes(JAR)
    assert emulated_world.objects.latest(emulated_world.bucket, "artifacts/etl.jar") is None

    told = run(recipe("key file"), tmp_path, environment(emulated_world, emulator))

    signatures = uploaded(emulated_world)
    (key,) = emulated_world.registry.keys()
    assert "is signed by release-2026" in told
    found = judged(signatures, key, now=datetime.now(UTC))
    assert (found.reason, found.release) == ("Admitted", 17)
    assert [event.action for event in emulated_world.registry.changes("KEY#release-2026")] == ["Added"]


@pytest.mark.parametrize(
    ("kind", "make", "more"),
    [
        ("ed25519", "openssl genpkey -algorithm ed25519", ""),
        (
            "rsa-pss-sha256",
            "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048",
            "-digest sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32",
        ),
        ("ecdsa-p256-sha256", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-digest sha256"),
        ("ecdsa-p384-sha384", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-digest sha384"),
    ],
)
def test_the_recipe_with_openssl(kind: str, make: str, more: str, tmp_path: Path) -> None:
    (tmp_path / "etl.jar").write_bytes(JAR)
    run(f"{make} -out release.pem && openssl pkey -in release.pem -pubout -out release.pub.pem", tmp_path, {})
    assert not more or f"`{more}`" in PAGE

    run(recipe("openssl").replace("-rawin", f"-rawin {more}"), tmp_path, {})

    pem = (tmp_path / "release.pub.pem").read_text()
    key = TrustedKey(key_id="release", algorithm=parse_public_key(pem), public_key=pem, namespaces=("default",))
    assert key.algorithm.value == kind
    assert judged({".sig": (tmp_path / "etl.jar.sig").read_bytes()}, key).reason == "Admitted"


@pytest.mark.aws
def test_the_recipe_with_kms(emulated_world: AwsWorld, emulator: LocalAws, tmp_path: Path) -> None:
    kms = emulated_client(emulator.url)("kms")
    made = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/release", TargetKeyId=made)
    pem = KMSSigner(kms, "alias/release").public_key_pem()
    key = TrustedKey(key_id="kms", algorithm=parse_public_key(pem), public_key=pem, namespaces=("default",))
    emulated_world.registry.put_key(key)
    (tmp_path / "etl.jar").write_bytes(JAR)
    assert emulated_world.objects.latest(emulated_world.bucket, "artifacts/etl.jar") is None

    told = run(recipe("kms"), tmp_path, environment(emulated_world, emulator))

    assert "is signed by kms" in told
    found = judged(uploaded(emulated_world), key, now=datetime.now(UTC))
    assert (found.reason, found.release) == ("Admitted", 17)


def kms_rows() -> dict[str, str]:
    text = PAGE.partition("| key spec in KMS |")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    return {row[0]: row[1].strip("`") for row in rows}


@pytest.mark.aws
@pytest.mark.parametrize("spec", KMS_KEYS)
def test_what_each_command_of_the_aws_cli_signs_is_admitted(spec: str, emulator: LocalAws, tmp_path: Path) -> None:
    """The command's arguments, given to the same operation of the same service by boto3."""
    kms = emulated_client(emulator.url)("kms")
    key_id = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    rows = kms_rows()
    command = rows["RSA_2048 to RSA_4096"] if spec.startswith("RSA") else rows[spec]
    words = shlex.split(command)
    options: dict[str, Any] = dict(zip(words[3::2], words[4::2], strict=False))
    digest = tmp_path / "digest"
    digest.write_bytes(signed_text(hashlib.sha256(JAR).hexdigest()))

    answer = kms.sign(
        KeyId=key_id,
        Message=digest.read_bytes(),
        MessageType=options["--message-type"],
        SigningAlgorithm=options["--signing-algorithm"],
    )

    pem = KMSSigner(kms, key_id).public_key_pem()
    key = TrustedKey(key_id="kms", algorithm=parse_public_key(pem), public_key=pem, namespaces=("default",))
    assert words[:3] == ["aws", "kms", "sign"]
    assert (options["--message"], options["--query"], options["--output"]) == ("fileb://digest", "Signature", "text")
    assert key.algorithm is KMS_KEYS[spec]
    assert judged({".sig": base64.b64encode(answer["Signature"]) + b"\n"}, key).reason == "Admitted"


@pytest.mark.aws
@pytest.mark.parametrize("spec", KMS_KEYS)
def test_a_key_in_kms_signs_what_verifies(spec: str, emulator: LocalAws) -> None:
    kms = emulated_client(emulator.url)("kms")
    signer = KMSSigner(kms, kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"])
    pem = signer.public_key_pem()
    key = TrustedKey(key_id="kms", algorithm=parse_public_key(pem), public_key=pem)

    assert SignatureVerifier().verifies(key, signer.sign(b"message"), b"message")
    with pytest.raises(RejectedError, match="more than KMS signs"):
        signer.sign(bytes(5000))


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("awskms:///alias/release", (None, "alias/release")),
        ("awskms:///arn:aws:kms:eu-west-1:123456789012:key/1", (None, "arn:aws:kms:eu-west-1:123456789012:key/1")),
        ("awskms://kms.example.com/alias/release", ("https://kms.example.com", "alias/release")),
    ],
)
def test_an_address_of_kms_is_read_as_cosign_writes_it(uri: str, expected: tuple[str | None, str]) -> None:
    assert key_of(uri) == expected


@pytest.mark.parametrize("uri", ["awskms://", "awskms:///", "gcpkms:///x", "awskms:///x?y=z", "awskms://host"])
def test_an_address_that_names_no_key_is_refused(uri: str) -> None:
    with pytest.raises(RejectedError, match="names no key"):
        key_of(uri)
