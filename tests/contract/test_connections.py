"""Every way of proving oneself to a cluster, against the real thing: nginx, Flink's own TLS, a KDC with a gateway."""

import base64
import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_controller.adapters.flink_rest import FlinkRest, FlinkRestConnections
from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.credentials import parse_credentials
from flink_controller.domain.errors import REFUSED_CREDENTIALS, FlinkUnreachableError
from flink_controller.services.rotate_credentials import Rotation, Step, rotate
from flink_controller.testing.flink_twin import TwinOptions
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_secrets import MemorySecrets
from infra.local.errors import LocalStackError
from infra.local.flink import FlinkCluster, FlinkConfig
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain
from tests.contract.gateways import CLIENT, Authority, Kdc, Nginx, free_port
from tests.integration.flink_server import FlinkServer, serving

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:flink-default-AbCdEf"


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return Toolchain(LocalSettings.from_env(os.environ).cache_directory, os.environ, SILENT)


@pytest.fixture(scope="module")
def programs(toolchain: Toolchain) -> Path:
    try:
        return toolchain.gateways()
    except LocalStackError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def flink() -> Iterator[FlinkServer]:
    with serving(TwinOptions()) as server:
        yield server


@pytest.fixture
def nginx(programs: Path, tmp_path: Path, authority: Authority, flink: FlinkServer) -> Nginx:
    return Nginx(programs, tmp_path, authority, flink.url)


def registered(url: str, auth: Auth, authority: Authority, **changed: str) -> Cluster:
    return Cluster(
        name="default",
        url=url,
        savepoint_root="s3://b/s",
        checkpoint_root="s3://b/c",
        auth=auth,
        secret=ARN,
        ca=authority.pem,
        **changed,
    )


def gateway(cluster: Cluster, secret: object) -> FlinkRest:
    return FlinkRestConnections(secrets=MemorySecrets({ARN: json.dumps(secret)}), is_local=True).connect(cluster)


def refused(flink: FlinkRest) -> bool:
    with pytest.raises(FlinkUnreachableError) as caught:
        flink.jobs()
    return caught.value.reason == REFUSED_CREDENTIALS


@pytest.mark.parametrize(
    ("auth", "header", "value", "right", "wrong"),
    [
        (Auth.BEARER, "Authorization", "Bearer t0ken", {"token": "t0ken"}, {"token": "other"}),
        (Auth.API_KEY, "X-API-Key", "k3y", {"header": "X-API-Key", "key": "k3y"}, {"header": "X-API-Key", "key": "other"}),
    ],
)
def test_a_header_opens_nginx(
    nginx: Nginx, authority: Authority, auth: Auth, header: str, value: str, right: object, wrong: object
) -> None:
    cluster = registered(nginx.url, auth, authority)

    with nginx.serving({header: [value]}):
        assert gateway(cluster, right).jobs() == []
        assert gateway(cluster, right).upload_jar("a.jar", io.BytesIO(b"PK"), 2).jar_id
        assert refused(gateway(cluster, wrong))


def test_a_password_opens_nginx(nginx: Nginx, authority: Authority) -> None:
    cluster = registered(nginx.url, Auth.BASIC, authority)

    with nginx.serving({}, basic={"controller": "pässword"}):
        assert gateway(cluster, {"username": "controller", "password": "pässword"}).jobs() == []
        assert refused(gateway(cluster, {"username": "controller", "password": "other"}))


def test_no_request_fails_while_nginx_changes_what_it_accepts(nginx: Nginx, authority: Authority) -> None:
    secrets = MemorySecrets({ARN: json.dumps({"token": "t-0"})})
    registry = MemoryRegistry()
    cluster = registered(nginx.url, Auth.BEARER, authority)
    registry.put_cluster(cluster)
    numbers = iter(range(1, 10))
    rotation = Rotation(
        secrets,
        registry,
        lambda given: FlinkRestConnections(secrets=given, is_local=True),
        lambda: f"t-{next(numbers)}",
    )
    answered, failures, stop = [0], [], threading.Event()

    def accepted() -> dict[str, list[str]]:
        texts = [secrets.current(ARN)]
        texts += [text for token in list(secrets.stages(ARN)) if (text := secrets.pending(ARN, token)) is not None]
        return {
            "Authorization": [
                f"Bearer {t}" for t in {c["token"] for x in texts for c in parse_credentials(Auth.BEARER, x).all}
            ]
        }

    def load() -> None:
        connected = FlinkRestConnections(secrets=secrets, is_local=True).connect(cluster)
        while not stop.is_set():
            try:
                connected.jobs()
                answered[0] += 1
            except FlinkUnreachableError as error:
                failures.append(str(error))

    with nginx.serving(accepted()):
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        for token in ("one", "two", "three"):
            secrets.begin(ARN, token)
            for step in Step:
                for _ in range(100):
                    try:
                        rotate(rotation, ARN, token, step)
                        break
                    except FlinkUnreachableError:
                        # nginx has not taken over yet: Secrets Manager tries again.
                        continue
                nginx.accept(accepted())
        # Whoever has one from before the last rotation is let in; what was before that is not.
        stop.set()
        for thread in threads:
            thread.join()
        assert _is_refused_at_last(gateway(cluster, {"token": "t-0"}))

    assert failures == []
    assert answered[0] > 20


def _is_refused_at_last(flink: FlinkRest) -> bool:
    """Whether new workers turn it away; the last ones of before may still be there for a moment."""
    for _ in range(200):
        try:
            flink.jobs()
        except FlinkUnreachableError as error:
            return error.reason == REFUSED_CREDENTIALS
        time.sleep(0.02)
    return False


@pytest.mark.flink
def test_flink_asks_for_a_client_certificate(toolchain: Toolchain, tmp_path: Path, authority: Authority) -> None:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        load_pem_private_key,
        pkcs12,
    )
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    certificate, key = authority.issue("flink", "127.0.0.1")
    mine, rogue = authority.issue("controller"), Authority().issue("rogue")
    trusted = load_pem_x509_certificate(authority.pem.encode())
    store = tmp_path / "server.p12"
    store.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"server",
            load_pem_private_key(key.encode(), None),  # type: ignore[arg-type]  # an RSA one
            load_pem_x509_certificate(certificate.encode()),
            [trusted],
            BestAvailableEncryption(b"changeit"),
        )
    )
    trust = tmp_path / "trust.p12"
    trust.write_bytes(
        pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(trusted, b"ca")], BestAvailableEncryption(b"changeit"))
    )
    rest = "security.ssl.rest"
    options = {f"{rest}.enabled": "true", f"{rest}.authentication-enabled": "true", f"{rest}.key-password": "changeit"}
    for name, file in (("keystore", store), ("truststore", trust)):
        options |= {
            f"{rest}.{name}": str(file),
            f"{rest}.{name}-type": "PKCS12",
            f"{rest}.{name}-password": "changeit",
        }
    settings = LocalSettings.from_env(os.environ)
    port = free_port()
    cluster = FlinkCluster(
        FlinkConfig(
            home=toolchain.flink(settings.flink_version),
            java=toolchain.java(),
            directory=tmp_path / "flink",
            rest_port=port,
            rpc_port=free_port(),
            savepoint_root=f"file://{tmp_path}/s",
            checkpoint_root=f"file://{tmp_path}/c",
            options=options,
        )
    )
    registered_ = registered(f"https://127.0.0.1:{port}", Auth.MTLS, authority)
    flink = gateway(registered_, {"certificate": mine[0], "private_key": mine[1]})
    try:
        cluster.begin_jobmanager()
        _until_it_answers(flink)

        assert flink.jobs() == []
        assert flink.upload_jar("a.jar", io.BytesIO(b"PK"), 2).jar_id
        assert refused(gateway(registered_, {"certificate": rogue[0], "private_key": rogue[1]}))
        assert refused(gateway(registered_, {"certificate": mine[0], "private_key": "-----BEGIN PRIVATE KEY-----"}))
    finally:
        cluster.stop()


def _until_it_answers(flink: FlinkRest) -> None:
    for _ in range(240):
        try:
            flink.jobs()
        except FlinkUnreachableError:
            time.sleep(0.25)
        else:
            return


@pytest.mark.kerberos
def test_a_ticket_of_a_kdc_opens_a_spnego_gateway(
    toolchain: Toolchain,
    programs: Path,
    tmp_path: Path,
    authority: Authority,
    flink: FlinkServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    try:
        monkeypatch.syspath_prepend(toolchain.gssapi())
    except LocalStackError as error:
        pytest.skip(str(error))
    # Taken back at the end: the adapter sets it for the process.
    monkeypatch.setenv("KRB5_CONFIG", "/nowhere")
    kdc = Kdc(programs, tmp_path)

    with kdc.serving(), kdc.gateway(authority, flink.url) as url:
        secret = {"keytab": base64.b64encode(kdc.keytab).decode(), "krb5_conf": kdc.config.read_text()}
        cluster = registered(url, Auth.KERBEROS, authority, kerberos_principal=CLIENT)

        ticket = gateway(cluster, secret)
        assert [ticket.jobs() for _ in range(3)] == [[], [], []]
        assert ticket.upload_jar("a.jar", io.BytesIO(b"PK"), 2).jar_id
        stranger = cluster.model_copy(update={"kerberos_principal": "nobody@EXAMPLE.TEST", "name": "stranger"})
        assert refused(gateway(stranger, secret))
    assert "requests_gssapi" in sys.modules
