"""Secrets: the twin and Secrets Manager (as moto has it) answer alike."""

import json
from collections.abc import Iterator

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from flink_controller.adapters import secrets as adapter
from flink_controller.adapters.secrets import READ_ACTIONS, ROTATE_ACTIONS, SecretsManager
from flink_controller.domain.errors import ControllerError, NotFoundError
from flink_controller.testing.memory_secrets import MemorySecrets
from tests.contract.test_iam_actions import Recorder

OLD, NEW = json.dumps({"token": "old"}), json.dumps({"token": "new"})
TOKEN = "4f1c2f7e-7d0b-4c53-9d0f-2a9f4b7c5e11"  # noqa: S105  # names a version
World = tuple[MemorySecrets | SecretsManager, str]


@pytest.fixture(params=["twin", "moto"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "twin":
        yield MemorySecrets({"arn": OLD}), "arn"
        return
    with mock_aws():
        client = boto3.client("secretsmanager", region_name="us-east-1")
        yield SecretsManager(client), client.create_secret(Name="flink", SecretString=OLD)["ARN"]


def test_a_secret_is_read_as_it_was_until_it_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "REREAD_S", 0.0)
    secrets, arn = world
    assert secrets.read(arn) == OLD

    secrets.propose(arn, TOKEN, NEW)
    (first,) = [token for token, stages in secrets.stages(arn).items() if "AWSCURRENT" in stages]
    secrets.put_in_force(arn, TOKEN, instead_of=first)

    assert secrets.current(arn) == NEW
    assert secrets.read(arn, is_refused=True) == NEW


def test_what_is_proposed_is_not_in_force(world: World) -> None:
    secrets, arn = world
    secrets.propose(arn, TOKEN, NEW)

    assert (secrets.pending(arn, TOKEN), secrets.current(arn)) == (NEW, OLD)
    assert secrets.stages(arn)[TOKEN] == frozenset({"AWSPENDING"})
    assert secrets.pending(arn, "another-token-another-token-another") is None


def test_the_first_proposal_of_a_token_counts() -> None:
    # moto would let the second one win; AWS refuses it.
    client = boto3.client("secretsmanager", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")  # noqa: S106  # none
    with Stubber(client) as stubber:
        stubber.add_client_error("put_secret_value", "ResourceExistsException", http_status_code=400)

        SecretsManager(client).propose("arn:aws:secretsmanager:us-east-1:123456789012:secret:x-AbCdEf", TOKEN, NEW)

        stubber.assert_no_pending_responses()


def test_nothing_takes_the_place_of_a_version_that_is_not_in_force(world: World) -> None:
    secrets, arn = world
    secrets.propose(arn, TOKEN, NEW)

    with pytest.raises(ControllerError):
        secrets.put_in_force(arn, TOKEN, instead_of="another-token-another-token-another")

    assert secrets.current(arn) == OLD


def test_a_secret_that_is_not_there_is_told(world: World) -> None:
    with pytest.raises(NotFoundError):
        world[0].read("arn:aws:secretsmanager:us-east-1:123456789012:secret:none-AbCdEf")


@mock_aws
def test_the_cache_is_bounded_and_the_calls_are_those_that_roles_allow() -> None:
    client, recorder = boto3.client("secretsmanager", region_name="us-east-1"), Recorder()
    arns = [
        client.create_secret(Name=f"flink-{number}", SecretString=OLD)["ARN"] for number in range(adapter.MAX_SECRETS + 9)
    ]
    recorder.watch(client)
    secrets = SecretsManager(client)

    for arn in arns:
        secrets.read(arn)
        secrets.read(arn)

    assert len(secrets._cache) == adapter.MAX_SECRETS
    assert recorder.actions == READ_ACTIONS
    secrets.propose(arns[0], TOKEN, NEW)
    secrets.put_in_force(arns[0], TOKEN, instead_of=next(iter(secrets.stages(arns[0]))))
    assert recorder.actions == ROTATE_ACTIONS
