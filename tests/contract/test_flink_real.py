"""A real Flink does what the protocol counts on, and what the twin does. `FLINK_VERSION` chooses which."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.flink_probes", "tests.contract.flink_worlds")

from infra.local.flink import FlinkCluster, FlinkConfig  # noqa: E402 - asserts are rewritten first
from infra.local.processes import free_port  # noqa: E402
from infra.local.progress import SILENT  # noqa: E402
from infra.local.settings import LocalSettings  # noqa: E402
from infra.local.toolchain import Toolchain  # noqa: E402
from tests.contract.flink_probes import PROBES  # noqa: E402
from tests.contract.flink_worlds import HEARTBEAT_TIMEOUT, SLOTS, STATISTICS_AGE, STORE_DURATION, Probe, RealWorld  # noqa: E402

pytestmark = pytest.mark.flink


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flink")


@pytest.fixture(scope="module")
def world(root: Path) -> Iterator[RealWorld]:
    environ = os.environ
    settings = LocalSettings.from_env(environ)
    toolchain = Toolchain(settings.cache_directory, environ, SILENT)
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
            options={
                "rest.async.store-duration": f"{int(STORE_DURATION.total_seconds())}s",
                # The loss of a TaskManager is noticed by two beats that do not arrive.
                "heartbeat.interval": "1000",
                "web.refresh-interval": str(int(STATISTICS_AGE.total_seconds() * 1000)),
            },
        )
    )
    cluster.start()
    yield RealWorld(cluster, root)
    cluster.stop()


@pytest.mark.parametrize(("number", "function"), PROBES, ids=[f"{number}-{found.__name__}" for number, found in PROBES])
def test_a_real_flink(number: str, function: Callable[[Probe], None], world: RealWorld, root: Path) -> None:
    # The place in the list goes into the ids, so that probes on one cluster do not meet.
    probe = Probe(world, PROBES.index((number, function)), root / "beats")

    function(probe)

    world.settle()
    probe.clean_up()
