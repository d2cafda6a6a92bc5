"""A fresh installation for each test; the handlers' cached controller never outlives it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from moto import mock_aws

from flink_controller.bootstrap import controller
from flink_controller.testing.flink_twin import TwinOptions
from tests.integration.flink_server import FlinkServer, serving
from tests.integration.installation import Installation


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """Give an installation with a key and no cluster."""
    controller.cache_clear()
    with mock_aws():
        yield Installation(monkeypatch)
    controller.cache_clear()


@pytest.fixture
def flink(installed: Installation) -> Iterator[FlinkServer]:
    """Give a Flink that is registered as cluster `default`."""
    with serving(TwinOptions(statistics_age=timedelta(milliseconds=50))) as server:
        installed.add_cluster(server.url)
        yield server
