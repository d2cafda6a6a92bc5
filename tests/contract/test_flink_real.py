"""A real Flink does what the protocol counts on, and what the twin does. `FLINK_VERSION` chooses which."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.contract.flink_probes", "tests.contract.flink_worlds")

from infra.local.flink import FlinkCluster, FlinkConfig  # noqa: E402 - asserts are rewritten first
from infra.local.processes import free_port  # noqa: E402
from infra.local.progress import SILENT  # noqa: E402
from infra.local.settings import LocalSettings  # noqa: E402
from infra.local.toolchain import Toolchain  # noqa: E402
from tests.contract.flink_probes import FAILOVER_PROBES, PROBES  # noqa: E402
from tests.contract.flink_worlds import HEARTBEAT_TIMEOUT, SLOTS, STATISTICS_AGE, STORE_DURATION, Probe, RealWorld  # noqa: E402

pytestmark = pytest.mark.flink


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flink")


@contextmanager
def started(root: Path, **changes: Any) -> Iterator[RealWorld]:
    environ = os.environ
    settings = LocalSettings.from_env(environ)
    toolchain = Toolchain(settings.cache_directory, environ, SILENT)
    options = {
        "rest.async.store-duration": f"{int(STORE_DURATION.total_seconds())}s",
        # The loss of a TaskManager is noticed by two beats that do not arrive.
        "heartbeat.interval": "1000",
        "web.refresh-interval": str(int(STATISTICS_AGE.total_seconds() * 1000)),
        "job-result-store.delete-on-commit": "false",
    }
    cluster = FlinkCluster(
        FlinkConfig(
            home=toolchain.flink(settings.flink_version),
            java=toolchain.java(),
            directory=root / "cluster",
            rest_port=free_port(),
            rpc_port=free_port(),
            slots=SLOTS,
            heartbeat_timeout_seconds=int(HEARTBEAT_TIMEOUT.total_seconds()),
            savepoint_root=f"file://{root}/savepoints",
            checkpoint_root=f"file://{root}/checkpoints",
            jobmanager_heap_mb=512,
            taskmanager_heap_mb=512,
            options=options,
            **changes,
        )
    )
    (root / "beats").mkdir(parents=True)
    cluster.start()
    try:
        yield RealWorld(cluster, root)
    finally:
        cluster.stop()


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
