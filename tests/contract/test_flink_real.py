"""A real Flink does what the protocol counts on, and what the twin does. `FLINK_VERSION` chooses which."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.flink_probes", "tests.contract.flink_worlds")

from infra.local.processes import free_port  # noqa: E402 - asserts are rewritten first
from tests.contract.flink_probes import FAILOVER_PROBES, PROBES  # noqa: E402
from tests.contract.flink_worlds import Probe, RealWorld, started  # noqa: E402

pytestmark = pytest.mark.flink


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flink")


@pytest.fixture(scope="module")
def world(root: Path) -> Iterator[RealWorld]:
    with started(root / "alone") as world:
        yield world


@pytest.fixture(scope="module")
def failover_world(root: Path) -> Iterator[RealWorld]:
    with started(root / "with-zookeeper", zookeeper_port=free_port()) as world:
        yield world


@pytest.mark.parametrize(("number", "function"), PROBES, ids=[f"{number}-{found.__name__}" for number, found in PROBES])
def test_a_real_flink(number: str, function: Callable[[Probe], None], world: RealWorld) -> None:
    # The place in the list goes into the ids, so that probes on one cluster do not meet.
    _ask(function, world, PROBES.index((number, function)))


@pytest.mark.failover
@pytest.mark.parametrize(
    ("number", "function"), FAILOVER_PROBES, ids=[f"{number}-{found.__name__}" for number, found in FAILOVER_PROBES]
)
def test_a_real_flink_with_high_availability(
    number: str, function: Callable[[Probe], None], failover_world: RealWorld
) -> None:
    _ask(function, failover_world, len(PROBES) + FAILOVER_PROBES.index((number, function)))


def _ask(function: Callable[[Probe], None], world: RealWorld, number: int) -> None:
    probe = Probe(world, number, world.beats)

    function(probe)

    world.settle()
    probe.clean_up()
