"""Flink, or what stands before it, answers with rubbish: nothing is concluded from it, and the status says what came."""

import threading
from collections.abc import Callable, Iterator

import pytest

from flink_controller.adapters.flink_rest import ANSWER_LIMIT_BYTES, Timeouts
from flink_controller.bootstrap import controller
from flink_controller.domain.lifecycle import Lifecycle
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import Installation, deliver, spec_item

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")
DONE: dict[str, list[str]] = {"batchItemFailures": []}
RUBBISH = {
    "HTML": (200, b"<html><body>Welcome</body></html>"),
    "half of the truth": (200, b'{"jobs":[{"jid":"feed00000000'),
    "nonsense": (200, b'{"jobs":"many"}'),
    "nothing": (200, b""),
    "a gateway's page": (502, b"<html>Bad Gateway</html>"),
    "megabytes": (200, b'{"jobs":[' + b" " * ANSWER_LIMIT_BYTES),
    "megabytes of stack trace": (500, b'{"errors":["' + b"java.lang.Error: x\\n\\tat a.B(C.java:1)" * 100_000 + b'"]}'),
}


@pytest.fixture(autouse=True)
def quick_timeouts(installed: Installation) -> None:
    """Nobody waits five seconds for a server that hangs."""
    del installed
    connections = controller().ports.flink
    connections._timeouts = Timeouts(connect_s=1, read_s=0.5, submit_s=0.5, upload_s=2)  # type: ignore[attr-defined]


@pytest.fixture
def hanging(flink: FlinkServer) -> Iterator[Callable[[str, str], None]]:
    """Let every answer wait until the test is over."""
    over = threading.Event()

    def wait(_method: str, _path: str) -> None:
        over.wait(10)

    yield wait
    del flink
    over.set()


def of(*parts: str, said: tuple[int, bytes]) -> Callable[[str, str], tuple[int, bytes] | None]:
    """Answer with rubbish where method or path holds all of some parts."""
    return lambda method, path: said if all(part in f"{method} {path}" for part in parts) else None


def deployed(installed: Installation, flink: FlinkServer) -> None:
    """Have one job run."""
    installed.upload_signed()
    deliver("admit_artifact/signed.json")
    installed.put_spec(spec_item())
    deliver("reconcile_job/insert.json")
    assert len(flink.twin.live_copies()) == 1


@pytest.mark.parametrize("said", RUBBISH.values(), ids=RUBBISH.keys())
def test_a_list_of_jobs_that_is_rubbish_is_an_unreachable_cluster_with_a_reason(
    installed: Installation, flink: FlinkServer, said: tuple[int, bytes]
) -> None:
    deployed(installed, flink)
    flink.rubbish = of("/jobs/overview", said=said)

    assert deliver("reconcile_job/modify.json") == DONE

    status = installed.status()
    assert status is not None
    assert status.waiting is not None
    assert status.waiting[0] == "ClusterUnreachable"
    assert flink.url in status.waiting[1]
    assert len(status.waiting[1]) <= 400
    reachable = status.condition("ClusterReachable")
    assert reachable is not None
    assert reachable.status == "False"
    assert status.attempt is not None
    assert not status.attempt.is_dead
    flink.rubbish = of("never", said=said)
    deliver("reconcile_fleet/tick.json")
    deliver("reconcile_job/modify.json")
    assert installed.lifecycle() is Lifecycle.STABLE
    assert len(flink.twin.history) == 1


@pytest.mark.parametrize("said", RUBBISH.values(), ids=RUBBISH.keys())
def test_a_submit_answered_with_rubbish_is_looked_for_and_never_sent_twice(
    installed: Installation, flink: FlinkServer, said: tuple[int, bytes]
) -> None:
    flink.rubbish = of("POST", "/run", said=said)

    deployed(installed, flink)

    assert deliver("reconcile_job/insert.json") == DONE
    assert sum(1 for request in flink.requests if request.endswith("/run")) == 1
    status = installed.status()
    assert status is not None
    assert status.attempt is not None
    assert status.attempt.flink_state == "RUNNING"


@pytest.mark.parametrize("said", RUBBISH.values(), ids=RUBBISH.keys())
def test_a_stop_whose_every_answer_is_rubbish_ends_with_its_savepoint_once_that_can_be_read(
    installed: Installation, flink: FlinkServer, said: tuple[int, bytes]
) -> None:
    deployed(installed, flink)
    flink.rubbish = lambda method, path: of("/stop", said=said)(method, path) or of("/savepoints/", said=said)(method, path)
    installed.put_spec({**spec_item(), "state": "suspended"})

    assert deliver("reconcile_job/modify.json") == DONE
    assert deliver("reconcile_job/modify.json") == DONE
    flink.rubbish = of("never", said=said)
    deliver("reconcile_fleet/tick.json")
    for _ in range(3):
        deliver("reconcile_job/modify.json")

    status = installed.status()
    assert installed.lifecycle() is Lifecycle.SUSPENDED
    assert status is not None
    assert status.handover is not None
    assert status.handover.path is not None
    assert "/savepoint-" in status.handover.path
    assert flink.twin.live_copies() == []


def test_connections_that_hang_are_given_up_with_a_reason(
    installed: Installation, flink: FlinkServer, hanging: Callable[[str, str], None]
) -> None:
    deployed(installed, flink)
    flink.rubbish = hanging

    assert deliver("reconcile_job/modify.json") == DONE

    status = installed.status()
    assert status is not None
    assert status.waiting is not None
    assert status.waiting[0] == "ClusterUnreachable"
    assert "timed out" in status.waiting[1].lower()
    assert status.attempt is not None
    assert not status.attempt.is_dead
