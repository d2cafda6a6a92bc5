"""Runs every contract test on the twin, on moto in this process, and on the AWS emulator that the local stack uses."""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from flink_controller.adapters.aws_clients import client_config
from infra.local.aws import LocalAws, LocalAwsConfig
from infra.local.progress import SILENT
from infra.local.settings import LocalSettings
from infra.local.toolchain import Toolchain
from tests.contract.worlds import AwsWorld, TwinWorld, World

SESSION = boto3.session.Session("test", "test", region_name="us-east-1")
"""One for all: a session reads the definitions of each service once."""


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    """Run the AWS emulator on a free port."""
    python = Toolchain(
        LocalSettings.from_env(os.environ).cache_directory, os.environ, SILENT
    ).ministack()  # where the cache is
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    aws = LocalAws(LocalAwsConfig(python=python, directory=tmp_path_factory.mktemp("aws"), port=port))
    aws.start()
    yield aws
    aws.stop()


def emulated_client(url: str) -> Callable[[str], Any]:
    """Make clients of the emulator, with the configuration that functions use."""
    config = client_config().merge(Config(proxies={}))
    return lambda service: SESSION.client(service, endpoint_url=url, config=config)


@pytest.fixture
def moto_world() -> Iterator[AwsWorld]:
    """Give the adapters on moto."""
    with mock_aws():
        yield AwsWorld(lambda service: SESSION.client(service, config=client_config()))


@pytest.fixture
def emulated_world(emulator: LocalAws) -> AwsWorld:
    """Give the adapters on the emulator."""
    return AwsWorld(emulated_client(emulator.url))


@pytest.fixture(params=["twin", "moto", pytest.param("emulator", marks=pytest.mark.aws)])
def world(request: pytest.FixtureRequest) -> World:
    """Give one world after the other."""
    if request.param == "twin":
        return TwinWorld()
    found: AwsWorld = request.getfixturevalue("moto_world" if request.param == "moto" else "emulated_world")
    return found


@pytest.fixture(params=["moto", pytest.param("emulator", marks=pytest.mark.aws)])
def aws_world(request: pytest.FixtureRequest) -> AwsWorld:
    """Give the worlds that have items to look into."""
    found: AwsWorld = request.getfixturevalue("moto_world" if request.param == "moto" else "emulated_world")
    return found
