"""What fails outside, one at a time: what goes on, what waits, what the status says. The table in docs/operations.md."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from flink_controller.adapters.aws_clients import AWSClients
from flink_controller.adapters.flink_rest import FlinkRestConnections
from flink_controller.bootstrap import controller
from flink_controller.domain.cluster import Auth
from flink_controller.domain.errors import TransientError
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import StorageUnreadable, StoredState
from flink_controller.services.reconcile import reconcile_job
from flink_controller.testing.scenarios import stable_on
from flink_controller.testing.simulator import World
from flink_controller.testing.simulator import spec_item as simulated_item
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import Installation, deliver, spec_item
from tests.test_docs import section

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")
LOST = {"batchItemFailures": [{"itemIdentifier": "100000000000000000001"}]}
DONE: dict[str, list[Any]] = {"batchItemFailures": []}
WHILE = timedelta(minutes=20)


@contextmanager
def away(adapter: Any, *operations: str) -> Iterator[None]:
    """Have a service not answer an adapter's calls; with operations named, these only."""
    events = adapter._client.meta.events

    def refuse(model: Any, **_: object) -> None:
        if not operations or model.name in operations:
            raise ConnectTimeoutError(endpoint_url="https://away.amazonaws.com")

    events.register_first("before-parameter-build", refuse)
    try:
        yield
    finally:
        events.unregister("before-parameter-build", refuse)


def ready(installed: Installation) -> None:
    """Have everything there that a first deploy needs."""
    installed.upload_signed()
    deliver("admit_artifact/signed.json")
    installed.put_spec(spec_item())
    installed.woken()


def test_every_service_that_a_function_calls_has_its_row() -> None:
    table = section("docs/operations.md", "## When something outside fails")
    rows = {line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")} - {"fails", "---"}
    clients = {name for name, member in vars(AWSClients).items() if isinstance(member, cached_property)}

    # Whose credentials these are is asked by flinkctl alone.
    clients.remove("sts")
    assert clients == {"dynamodb", "events", "s3", "secrets", "sns", "sqs"}
    assert rows == {
        "DynamoDB",
        "S3, artifacts",
        "S3, savepoints and checkpoints",
        "EventBridge, SNS",
        "SQS",
        "Secrets Manager",
        "CloudWatch",
        "Flink",
    }


def test_without_dynamodb_a_look_touches_nothing_and_comes_again(installed: Installation, flink: FlinkServer) -> None:
    ready(installed)

    with away(controller().ports.statuses):
        assert deliver("reconcile_job/insert.json") == LOST

    assert flink.requests == []
    assert deliver("reconcile_job/insert.json") == DONE
    assert len(flink.twin.history) == 1


def test_a_status_that_cannot_be_recorded_lets_nothing_happen(installed: Installation, flink: FlinkServer) -> None:
    ready(installed)

    with away(controller().ports.statuses, "TransactWriteItems"):
        assert deliver("reconcile_job/insert.json") == LOST

    assert flink.twin.history == []


def test_pauses_that_cannot_be_read_let_nothing_happen(installed: Installation, flink: FlinkServer) -> None:
    ready(installed)

    with away(controller().ports.circuits, "BatchGetItem"):
        assert deliver("reconcile_job/insert.json") == LOST

    assert flink.requests == []


def test_without_s3_a_deploy_waits_and_says_so(installed: Installation, flink: FlinkServer) -> None:
    ready(installed)

    with away(controller().ports.objects):
        assert deliver("reconcile_job/insert.json") == DONE

    status = installed.status()
    assert status is not None
    assert status.waiting is not None
    assert status.waiting[0] == "ArtifactUnreadable"
    assert installed.lifecycle() is Lifecycle.WAITING
    assert status.next_look is not None
    assert flink.twin.history == []
    assert deliver("reconcile_job/insert.json") == DONE
    assert len(flink.twin.history) == 1


def test_without_s3_an_upgrade_leaves_what_runs_alone(installed: Installation, flink: FlinkServer) -> None:
    ready(installed)
    deliver("reconcile_job/insert.json")
    installed.upload_signed("v2")
    deliver("admit_artifact/signed.json")

    with away(controller().ports.objects):
        deliver("reconcile_job/insert.json")

    assert len(flink.twin.live_copies()) == 1
    assert len(flink.twin.history) == 1


def test_without_s3_an_upload_is_delivered_again(installed: Installation) -> None:
    installed.upload_signed()

    with away(controller().ports.objects), pytest.raises(TransientError):
        deliver("admit_artifact/signed.json")

    assert installed.head() is None


class Unreadable:
    """Storage whose answers can be withheld."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.is_away = False

    def search(self, *args: Any, **kwargs: Any) -> StoredState | StorageUnreadable:
        if self.is_away:
            return StorageUnreadable("no answer from AWS")
        found: StoredState | StorageUnreadable = self._storage.search(*args, **kwargs)
        return found

    def holds(self, path: str) -> bool | StorageUnreadable:
        found: bool | StorageUnreadable = StorageUnreadable("no answer") if self.is_away else self._storage.holds(path)
        return found


def test_without_the_storage_of_state_nothing_starts_without_its_state() -> None:
    world = World()
    storage = Unreadable(world.storage)
    world.ports = replace(world.ports, storage=storage)
    digest = world.upload("v1")
    world.put(simulated_item())
    assert world.run_until(stable_on(digest), WHILE)
    world.clock.advance(timedelta(seconds=25))
    storage.is_away = True
    world.flink.restart_jobmanager()

    assert world.run_until(lambda w: w.status is not None and (w.status.waiting or ("",))[0] == "StateUnknown", WHILE)
    for _ in range(5):
        world.step()
    assert world.running_jars == []

    storage.is_away = False
    assert world.run_until(stable_on(digest), WHILE)


def test_without_sqs_the_step_is_taken_and_recorded_and_the_wake_up_comes_again(
    installed: Installation, flink: FlinkServer
) -> None:
    ready(installed)
    # Not proven within the look, so that it needs another one.
    installed.put_spec(spec_item() | {"deployment": {"rollback": {"stabilization_seconds": 60}}})

    with away(controller().ports.follow_ups):
        assert deliver("reconcile_job/insert.json") == LOST

    status = installed.status()
    assert status is not None
    assert status.attempt is not None
    assert status.next_look is not None
    assert len(flink.twin.history) == 1
    assert deliver("reconcile_job/insert.json") == DONE
    assert len(flink.twin.history) == 1


def test_without_sqs_a_tick_fails_so_that_the_error_alarm_sees_it(installed: Installation, flink: FlinkServer) -> None:
    ready(installed)
    flink.twin.kill_jobmanager()
    deliver("reconcile_job/insert.json")
    flink.twin.start_jobmanager()
    installed.woken()

    with away(controller().ports.follow_ups), pytest.raises(TransientError):
        deliver("reconcile_fleet/tick.json")

    deliver("reconcile_fleet/tick.json")
    assert installed.woken() == ["etl"]


class SecretsAway:
    """Secrets Manager that does not answer."""

    def read(self, arn: str, *, is_refused: bool = False) -> str:
        """Give nothing."""
        raise TransientError(f"Secrets Manager does not answer: {arn}, {is_refused}")


def test_without_secrets_manager_a_cluster_that_asks_for_credentials_is_not_asked_and_its_jobs_wait(
    installed: Installation, flink: FlinkServer
) -> None:
    ready(installed)
    known = installed.registry.cluster("default")
    assert known is not None
    installed.registry.put_cluster(known.model_copy(update={"auth": Auth.BEARER, "secret": "arn:of-a-secret"}))
    wired, before = controller(), len(flink.requests)

    ports = replace(wired.ports, flink=FlinkRestConnections(secrets=SecretsAway(), is_local=True))
    reconcile_job(ports, wired.policy, "etl", owner="me")

    status = installed.status()
    assert status is not None
    reachable = status.condition("ClusterReachable")
    assert reachable is not None
    assert (installed.lifecycle(), reachable.status, reachable.reason) == (
        Lifecycle.WAITING,
        "False",
        "ClusterUnreachable",
    )
    assert len(flink.requests) == before


def test_metrics_and_logs_are_lines_on_stdout_and_no_calls(
    installed: Installation, flink: FlinkServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ready(installed)
    refused: list[str] = []

    def note(model: Any, **_: object) -> None:
        if model.service_model.service_name not in {"dynamodb", "sqs", "s3"}:
            refused.append(model.name)
            raise ClientError({"Error": {"Code": "AccessDenied"}}, model.name)

    adapters: tuple[Any, ...] = (controller().ports.statuses, controller().ports.follow_ups)
    for adapter in adapters:
        adapter._client.meta.events.register_first("before-parameter-build", note)
    deliver("reconcile_job/insert.json")

    assert refused == []
    assert '"looks"' in capsys.readouterr().out
    assert len(flink.twin.history) == 1


def test_without_flink_nothing_is_concluded_and_the_job_notices_its_return(
    installed: Installation, flink: FlinkServer
) -> None:
    ready(installed)
    deliver("reconcile_job/insert.json")
    flink.twin.kill_jobmanager()

    deliver("reconcile_job/insert.json")

    status = installed.status()
    assert status is not None
    reachable = status.condition("ClusterReachable")
    assert reachable is not None
    assert reachable.status == "False"
    assert status.attempt is not None
    assert not status.attempt.is_dead

    for _ in range(4):
        deliver("reconcile_job/insert.json")
    asked = len(flink.requests)
    deliver("reconcile_job/insert.json")
    status = installed.status()
    assert status is not None
    assert status.waiting is not None
    assert "not asked before" in status.waiting[1]
    assert len(flink.requests) == asked

    flink.twin.start_jobmanager()
    installed.woken()
    deliver("reconcile_fleet/tick.json")
    assert installed.woken() == ["etl"]
    deliver("reconcile_job/insert.json")
    status = installed.status()
    assert status is not None
    back = status.condition("ClusterReachable")
    assert back is not None
    assert back.status == "True"
