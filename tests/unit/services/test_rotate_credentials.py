"""Credentials are replaced while they are used, and nobody who has one from before is turned away."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.credentials import parse_credentials
from flink_controller.domain.errors import ControllerError, FlinkUnreachableError, RejectedError
from flink_controller.ports import FlinkGateway, Secrets
from flink_controller.services.rotate_credentials import Rotation, Step, rotate
from flink_controller.testing.memory_registry import MemoryRegistry
from flink_controller.testing.memory_secrets import CURRENT, PENDING, MemorySecrets

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:flink-default-AbCdEf"
CLUSTER = Cluster(
    name="default",
    url="https://flink.internal",
    savepoint_root="s3://b/s",
    checkpoint_root="s3://b/c",
    auth=Auth.BEARER,
    secret=ARN,
)


class Gateway:
    """Stands before Flink and accepts what it read from the secret when it last did."""

    def __init__(self, secrets: MemorySecrets) -> None:
        self._secrets = secrets
        self.accepted: set[str] = set()
        self.sync()

    def sync(self) -> None:
        """Read what is proposed, in force, and was before: all that docs/security.md asks of a gateway."""
        texts = [self._secrets.current(ARN)]
        for token, stages in self._secrets.stages(ARN).items():
            if PENDING in stages and (proposed := self._secrets.pending(ARN, token)) is not None:
                texts.append(proposed)
        self.accepted = {one["token"] for text in texts for one in parse_credentials(Auth.BEARER, text).all}

    def connections(self, given: Secrets) -> "Gateway.Connections":
        return Gateway.Connections(self, given)

    class Connections:
        def __init__(self, gateway: "Gateway", given: Secrets) -> None:
            self._gateway, self._given = gateway, given

        def connect(self, cluster: Cluster) -> FlinkGateway:
            assert cluster.secret is not None
            (shown,) = parse_credentials(cluster.auth, self._given.read(cluster.secret)).all
            return _Asked(lambda: shown["token"] in self._gateway.accepted)  # type: ignore[return-value]  # one call of it


class _Asked:
    def __init__(self, is_accepted: Callable[[], bool]) -> None:
        self._is_accepted = is_accepted

    def config(self) -> None:
        if not self._is_accepted():
            raise FlinkUnreachableError("it answered 401")


class World:
    def __init__(self, text: str | None = None, cluster: Cluster = CLUSTER) -> None:
        self.secrets = MemorySecrets({ARN: text or json.dumps({"token": "by-hand-0"})})
        self.gateway = Gateway(self.secrets)
        registry = MemoryRegistry()
        registry.put_cluster(cluster)
        numbers = iter(range(10_000))
        self.rotation = Rotation(self.secrets, registry, self.gateway.connections, lambda: f"fresh-{next(numbers)}")

    def step(self, token: str, step: Step) -> str:
        return rotate(self.rotation, ARN, token, step)

    @property
    def shown(self) -> str:
        return parse_credentials(Auth.BEARER, self.secrets.current(ARN)).current["token"]


def test_four_steps_put_a_new_credential_in_force_with_the_old_one_behind_it() -> None:
    world = World()
    world.secrets.begin(ARN, "one")

    world.step("one", Step.CREATE)
    world.step("one", Step.SET)
    world.gateway.sync()
    world.step("one", Step.TEST)
    world.step("one", Step.FINISH)

    assert json.loads(world.secrets.current(ARN)) == {
        "current": {"token": "fresh-0"},
        "previous": {"token": "by-hand-0"},
    }


def test_nothing_is_put_in_force_that_a_cluster_does_not_accept_yet() -> None:
    world = World()
    world.secrets.begin(ARN, "one")
    world.step("one", Step.CREATE)

    with pytest.raises(FlinkUnreachableError):
        world.step("one", Step.TEST)


def test_a_rotation_that_came_in_between_does_not_let_an_unknown_credential_into_force() -> None:
    world = World()
    world.secrets.begin(ARN, "one")
    world.step("one", Step.CREATE)
    world.gateway.sync()
    world.step("one", Step.TEST)
    world.secrets.begin(ARN, "two")
    world.gateway.sync()
    world.secrets.begin(ARN, "one")

    with pytest.raises(FlinkUnreachableError):
        world.step("one", Step.FINISH)

    assert world.shown == "by-hand-0"


def test_every_step_may_come_twice() -> None:
    world = World()
    world.secrets.begin(ARN, "one")

    for step in Step:
        world.step("one", step)
        world.gateway.sync()
        world.step("one", step)

    assert world.shown == "fresh-0"
    assert {world.step("one", step) for step in Step} == {"in force already"}


def test_a_rotation_that_another_has_overtaken_changes_nothing() -> None:
    world = World()
    world.secrets.begin(ARN, "one")
    world.step("one", Step.CREATE)
    world.secrets.begin(ARN, "two")

    for step in Step:
        with pytest.raises(RejectedError):
            world.step("one", step)


def test_a_secret_that_was_replaced_by_hand_meanwhile_is_not_overwritten() -> None:
    world = World()
    world.secrets.begin(ARN, "one")
    world.step("one", Step.CREATE)
    world.secrets.replace(ARN, json.dumps({"token": "by-hand-1"}))

    with pytest.raises(RejectedError, match="rotate again"):
        world.step("one", Step.FINISH)

    assert world.shown == "by-hand-1"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"certificate": "-----BEGIN CERTIFICATE-----", "private_key": "-----BEGIN PRIVATE KEY-----"}),
        json.dumps({"keytab": "AAAA"}),
    ],
)
def test_what_somebody_else_issues_is_not_made_up(text: str) -> None:
    secrets = MemorySecrets({ARN: text})
    secrets.begin(ARN, "one")
    rotation = Rotation(secrets, MemoryRegistry(), lambda _: Gateway.Connections, lambda: "fresh")  # type: ignore[arg-type,return-value]  # not asked

    with pytest.raises(RejectedError, match="whoever issues"):
        rotate(rotation, ARN, "one", Step.CREATE)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_request_fails_whatever_comes_twice_late_or_at_once(data: st.DataObject) -> None:
    world, caches = World(), ["by-hand-0"]
    tokens = ["one", "two", "three"]

    for _ in range(data.draw(st.integers(5, 40))):
        token = data.draw(st.sampled_from(tokens))
        match data.draw(st.sampled_from(["begin", "sync", "read", *Step])):
            case "begin" if token not in world.secrets.stages(ARN):
                world.secrets.begin(ARN, token)
            case "sync":
                world.gateway.sync()
            case "read":
                caches.append(world.shown)
            case Step() as step:
                try:
                    # Hours lie between two rotations and minutes between two reads of a cache: what a function shows is at
                    # most one rotation old.
                    if step is Step.FINISH and CURRENT not in world.secrets.stages(ARN).get(token, frozenset()):
                        caches = [world.shown]
                    world.step(token, step)
                except ControllerError:
                    pass
        assert set(caches) <= world.gateway.accepted
        assert world.shown in world.gateway.accepted
