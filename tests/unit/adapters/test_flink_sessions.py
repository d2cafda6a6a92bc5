"""How the controller proves itself to a cluster, what a refusal leads to, and whom it never calls."""

import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.adapters import flink_sessions
from flink_controller.adapters.flink_rest import FlinkRest, FlinkRestConnections
from flink_controller.adapters.flink_sessions import address_fault
from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.errors import REFUSED_CREDENTIALS, Delivery, FlinkUnreachableError, RejectedError
from flink_controller.domain.observation import NotSent
from flink_controller.testing.memory_secrets import MemorySecrets
from tests.unit.adapters.test_flink_rest import QUICK, Server, request, serving

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:flink-AbCdEf"
SECRETS = {
    Auth.BEARER: {"token": "t0ken"},
    Auth.API_KEY: {"header": "X-API-Key", "key": "k3y"},
    Auth.BASIC: {"username": "controller", "password": "pässword"},
}
SHOWN = {
    Auth.BEARER: ("Authorization", "Bearer t0ken"),
    Auth.API_KEY: ("X-API-Key", "k3y"),
    Auth.BASIC: ("Authorization", "Basic Y29udHJvbGxlcjpww6Rzc3dvcmQ="),
}
JOBS = (200, b'{"jobs":[]}')


class Gateway(Server):
    """Lets those through who show an accepted header."""

    accepted: frozenset[str] = frozenset()

    def refuses(self, headers: dict[str, str]) -> bool:
        return not self.accepted & set(headers.values())


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with serving(Gateway(default=JOBS)) as server:
        assert isinstance(server, Gateway)
        yield server


def cluster(port: int, auth: Auth = Auth.BEARER, **changed: object) -> Cluster:
    return Cluster(
        name="default",
        url=f"http://127.0.0.1:{port}",
        savepoint_root="s3://b/s",
        checkpoint_root="s3://b/c",
        auth=auth,
        secret=ARN,
    ).model_copy(update=changed)


def connected(port: int, secrets: MemorySecrets, auth: Auth = Auth.BEARER) -> FlinkRest:
    return FlinkRestConnections(QUICK, secrets=secrets, is_local=True).connect(cluster(port, auth))


@pytest.mark.parametrize("auth", SHOWN)
def test_each_kind_shows_its_credential(gateway: Gateway, auth: Auth) -> None:
    name, value = SHOWN[auth]
    gateway.accepted = frozenset({value})

    connected(gateway.port, MemorySecrets({ARN: json.dumps(SECRETS[auth])}), auth).jobs()

    (headers,) = gateway.headers
    assert headers[name] == value


def test_a_refusal_has_the_secret_read_again_and_the_request_sent_again(gateway: Gateway) -> None:
    secrets = MemorySecrets({ARN: json.dumps({"token": "old"})})
    flink = connected(gateway.port, secrets)
    gateway.accepted = frozenset({"Bearer old"})
    flink.jobs()
    gateway.accepted = frozenset({"Bearer new"})
    secrets.replace(ARN, json.dumps({"token": "new"}))

    flink.jobs()
    flink.jobs()

    assert [headers["Authorization"] for headers in gateway.headers] == [
        "Bearer old",
        "Bearer old",
        "Bearer new",
        "Bearer new",
    ]


def test_where_the_new_credential_is_not_known_yet_the_one_before_is_shown(gateway: Gateway) -> None:
    gateway.accepted = frozenset({"Bearer old"})
    secrets = MemorySecrets({ARN: json.dumps({"current": {"token": "new"}, "previous": {"token": "old"}})})

    assert connected(gateway.port, secrets).jobs() == []


def test_refused_credentials_are_told_apart_from_a_cluster_that_is_away_and_tried_once(gateway: Gateway) -> None:
    flink = connected(gateway.port, MemorySecrets({ARN: json.dumps({"token": "s3cret"})}))

    with pytest.raises(FlinkUnreachableError) as caught:
        flink.jobs()
    answer = flink.submit(request())

    assert (caught.value.reason, caught.value.delivery) == (REFUSED_CREDENTIALS, Delivery.NOT_SENT)
    assert isinstance(answer, NotSent)
    assert "s3cret" not in f"{caught.value} {answer}"
    assert len(gateway.requests) == 2


def test_a_cluster_that_asks_for_credentials_while_none_are_registered_says_so(gateway: Gateway) -> None:
    flink = FlinkRestConnections(QUICK, is_local=True).connect(cluster(gateway.port, Auth.NONE))

    with pytest.raises(FlinkUnreachableError, match="no credentials are registered") as caught:
        flink.jobs()

    assert caught.value.reason == REFUSED_CREDENTIALS


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"token": 1}', '{"token": "a b"}', '{"token": "a", "x": "s3cret"}', "s3cret"]
)
def test_a_secret_that_is_none_is_told_without_its_words(gateway: Gateway, text: str) -> None:
    with pytest.raises(FlinkUnreachableError, match=ARN) as caught:
        connected(gateway.port, MemorySecrets({ARN: text})).jobs()

    assert caught.value.reason == REFUSED_CREDENTIALS
    assert "s3cret" not in str(caught.value)
    assert gateway.requests == []


def test_a_missing_secret_is_told(gateway: Gateway) -> None:
    with pytest.raises(FlinkUnreachableError, match="no secret"):
        connected(gateway.port, MemorySecrets({})).jobs()


@pytest.mark.parametrize("auth", [kind for kind in Auth if kind is not Auth.NONE])
def test_no_credential_travels_in_clear(auth: Auth) -> None:
    given = cluster(8081, auth, url="http://flink.internal:8081", kerberos_principal="flink@REALM")

    with pytest.raises(RejectedError, match="https://"):
        FlinkRestConnections(secrets=MemorySecrets({})).connect(given)


def test_kerberos_without_its_layer_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flink_sessions, "_has_kerberos", lambda: False)
    given = cluster(8081, Auth.KERBEROS, url="https://flink.internal", kerberos_principal="flink@REALM")

    with pytest.raises(RejectedError, match="requests-gssapi"):
        FlinkRestConnections(secrets=MemorySecrets({})).connect(given)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "169.254.170.2",
     "fe80::1%eth0", "fd00:ec2::254", "fd00:ec2::23", "0.1.2.3", "::", "224.0.0.1", "ff02::1"],
)  # fmt: skip
def test_an_address_that_is_no_clusters_is_refused(address: str) -> None:
    assert address_fault(address, is_local=False) is not None


@pytest.mark.parametrize("address", ["10.0.0.1", "172.31.0.9", "192.168.1.1", "fd12::1", "8.8.8.8"])
def test_an_address_of_a_network_is_called(address: str) -> None:
    assert address_fault(address, is_local=False) is None


def test_a_laptop_may_call_itself_and_nobody_its_metadata() -> None:
    assert address_fault("127.0.0.1", is_local=True) is None
    assert address_fault("169.254.169.254", is_local=True) is not None


def test_a_name_that_leads_to_the_function_itself_is_found_out_when_it_is_called(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest: real("127.0.0.1" if host == "flink.internal" else host, *rest)
    )
    given = cluster(gateway.port, Auth.NONE, url=f"http://flink.internal:{gateway.port}")
    flink = FlinkRestConnections(QUICK).connect(given)

    with pytest.raises(FlinkUnreachableError, match="is not called") as caught:
        flink.jobs()

    assert caught.value.delivery is Delivery.NOT_SENT
    assert gateway.requests == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8081", "http://169.254.169.254", "http://user:pw@flink:8081", "file:///etc"]
)
def test_an_item_that_was_written_by_hand_is_checked_as_well(url: str) -> None:
    with pytest.raises(RejectedError, match="cluster default"):
        FlinkRestConnections().connect(cluster(1, Auth.NONE, url=url))


@settings(max_examples=20, deadline=None)  # it knocks at a closed port
@given(st.text(min_size=1))
def test_no_secret_is_in_what_is_said_of_it(token: str) -> None:
    secrets = MemorySecrets({ARN: json.dumps({"token": f"xyzzy{token}"})})

    with pytest.raises(FlinkUnreachableError) as caught:
        FlinkRestConnections(QUICK, secrets=secrets, is_local=True).connect(cluster(1)).jobs()

    assert "xyzzy" not in str(caught.value)
