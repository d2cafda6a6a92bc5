"""`keys add`, `keys list`."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flink_controller.domain.artifact import KeyAlgorithm, KeyStatus
from tests.unit.cli.bench import Bench


def add(bench: Bench, *more: str, name: str = "team") -> int:
    return bench.run("keys", "add", name, "--public-key", str(bench.directory / f"{name}.pub.pem"), *more).status


def test_a_key_signs_for_namespace_default_unless_told_otherwise(bench: Bench) -> None:
    bench.key_pair("team")

    assert add(bench) == 0

    key = bench.registry.key("team")
    assert key is not None
    assert (key.algorithm, key.namespaces, key.prefixes) == (KeyAlgorithm.ED25519, ("default",), ())


def test_namespaces_and_prefixes_may_be_repeated(bench: Bench) -> None:
    bench.key_pair("team")

    assert add(bench, "--namespace", "a", "--namespace", "b", "--prefix", "artifacts/x/", "--prefix", "c/") == 0

    key = bench.registry.key("team")
    assert key is not None
    assert (key.namespaces, key.prefixes) == (("a", "b"), ("artifacts/x/", "c/"))


def test_a_prefix_alone_opens_no_namespace(bench: Bench) -> None:
    bench.key_pair("team")
    add(bench, "--prefix", "artifacts/x/")

    key = bench.registry.key("team")
    assert key is not None
    assert key.namespaces == ()


def test_adding_a_key_twice_changes_nothing(bench: Bench) -> None:
    bench.key_pair("team")
    add(bench)
    writes = bench.registry.writes

    result = bench.run("keys", "add", "team", "--public-key", str(bench.directory / "team.pub.pem"))

    assert (result.status, "unchanged" in result.out, bench.registry.writes) == (0, True, writes)


def test_a_key_id_is_not_given_to_another_key(bench: Bench) -> None:
    bench.key_pair("team")
    add(bench)
    bench.key_pair("team")

    assert add(bench) == 1


def test_a_revoked_key_is_not_made_active_again(bench: Bench) -> None:
    bench.key_pair("team")
    add(bench)
    key = bench.registry.key("team")
    assert key is not None
    bench.registry.put_key(key.model_copy(update={"status": KeyStatus.REVOKED}))

    assert add(bench) == 1


def test_an_ecdsa_key_is_told_by_itself(bench: Bench) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (bench.directory / "team.pub.pem").write_bytes(pem)

    assert add(bench) == 0
    assert bench.run("keys", "list", "-o", "json").json["items"][0]["algorithm"] == "ecdsa-p256-sha256"


def test_weak_private_and_senseless_keys_are_refused(bench: Bench) -> None:
    bench.key_pair("mine")
    public = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505  # weak on purpose
    contents = {
        "rsa": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "private": (bench.directory / "mine.pem").read_bytes(),
        "senseless": b"\xff\x00",
        "empty": b"",
    }

    for name, content in contents.items():
        (bench.directory / f"{name}.pub.pem").write_bytes(content)
        assert add(bench, name=name) == 1
    assert bench.registry.keys() == []


@pytest.mark.parametrize(
    "more",
    [
        ["--namespace", "No"],
        ["--namespace", "artifacts"],
        ["--prefix", ""],
        ["--prefix", "/"],
        ["--prefix", "a/../b/"],
        ["--prefix", "x"],
    ],
)
def test_scopes_that_nobody_owns_are_wrong_usage(bench: Bench, more: list[str]) -> None:
    bench.key_pair("team")

    assert add(bench, *more) == 2


@pytest.mark.parametrize("key_id", ["", "a b", "../x", "-x", "a" * 200])
def test_a_key_id_is_a_plain_name(bench: Bench, key_id: str) -> None:
    bench.key_pair("team")

    assert bench.run("keys", "add", "--public-key", str(bench.directory / "team.pub.pem"), "--", key_id).status == 2


def test_a_file_that_is_not_there_is_wrong_usage(bench: Bench) -> None:
    assert add(bench) == 2


def test_keys_are_listed(bench: Bench) -> None:
    assert "flinkctl keys add" in bench.run("keys", "list").out
    bench.trusted_key("team")
    assert "ed25519" in bench.run("keys", "list").out
