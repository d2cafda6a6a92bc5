"""The twin does what a real Flink was measured to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.flink_probes", "tests.contract.flink_worlds")

from tests.contract.flink_probes import FAILOVER_PROBES, PROBES  # noqa: E402 - asserts are rewritten first
from tests.contract.flink_worlds import Probe, TwinWorld  # noqa: E402


@pytest.mark.parametrize("version", ["1.20", "2.3"])
@pytest.mark.parametrize(("number", "function"), PROBES, ids=[f"{number}-{found.__name__}" for number, found in PROBES])
def test_the_twin(number: str, function: Callable[[Probe], None], version: str) -> None:
    del number
    probe = Probe(TwinWorld(version), 0, Path("/beats"))

    function(probe)

    probe.clean_up()


@pytest.mark.parametrize("version", ["1.20", "2.3"])
@pytest.mark.parametrize(
    ("number", "function"), FAILOVER_PROBES, ids=[f"{number}-{found.__name__}" for number, found in FAILOVER_PROBES]
)
def test_the_twin_with_high_availability(number: str, function: Callable[[Probe], None], version: str) -> None:
    del number
    probe = Probe(TwinWorld(version, high_availability=True), 0, Path("/beats"))

    function(probe)

    probe.clean_up()
