"""Gives each test an installation of its own."""

from pathlib import Path

import pytest

from tests.unit.cli.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give an installation with nothing in it."""
    return Bench(tmp_path)


@pytest.fixture
def deployed(bench: Bench) -> Bench:
    """Give an installation where job `etl` is stable."""
    bench.deploy()
    return bench
