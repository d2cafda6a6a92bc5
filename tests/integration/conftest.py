"""A fresh installation for each test; the handlers' cached controller never outlives it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from moto import mock_aws

from flink_controller.bootstrap import controller
from flink_controller.testing.flink_twin import TwinOptions
from tests.integration.flink_server import FlinkServer, serving
from tests.integration.installation import Installation

WHOLE_SUITE = pytest.StashKey[bool]()


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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what judges the whole suite behind it."""
    here = Path(__file__).parent
    last = [item for item in items if item.path == here / "test_rights.py"]
    if last:
        items[:] = [item for item in items if item not in last] + last
    chosen = {item.path for item in items if item.path.parent == here}
    # `make test` leaves marks out ("not …") that no test of this folder carries.
    by_mark = not config.option.markexpr.startswith("not ") and bool(config.option.markexpr)
    is_narrowed = by_mark or bool(config.option.keyword) or any("::" in arg for arg in config.args)
    config.stash[WHOLE_SUITE] = chosen == set(here.glob("test_*.py")) and not is_narrowed


@pytest.fixture
def is_whole_suite(request: pytest.FixtureRequest) -> bool:
    """Tell whether every test of this folder runs, and ran before this one."""
    return request.config.stash[WHOLE_SUITE]
