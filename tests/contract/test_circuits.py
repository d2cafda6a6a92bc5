"""What `Circuits` promises."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import StaleWriteError, TransientError
from flink_controller.domain.status import Pause
from flink_controller.ports import Barriers
from tests.contract.worlds import NOW, AwsWorld, World

CLOSED = Circuit()
FAILED = CLOSED.after_failure(NOW, "connection refused", by="a")
SCOPES = ("all", "cluster/default", "namespace/data", "job/data/etl")


def test_the_circuit_of_a_cluster_that_always_answered_is_closed_and_nowhere_recorded(world: World) -> None:
    assert world.circuits.read("default", SCOPES) == Barriers(CLOSED, None)


def test_a_circuit_is_read_back_with_the_first_pause(world: World) -> None:
    for scope in SCOPES[1:]:
        world.registry.put_pause(Pause(scope=scope, reason="maintenance"))

    world.circuits.replace("default", FAILED, expected=CLOSED)

    expected = Barriers(FAILED, Pause(scope="cluster/default", reason="maintenance"))
    assert world.circuits.read("default", SCOPES) == expected
    assert world.circuits.read("default") == Barriers(FAILED, None)
    assert world.circuits.read("other") == Barriers(CLOSED, None)


def test_a_circuit_that_changed_meanwhile_is_not_replaced(world: World) -> None:
    world.circuits.replace("default", FAILED, expected=CLOSED)
    open_ = FAILED.after_failure(NOW, "b", by="b").after_failure(NOW, "c", by="b")
    world.circuits.replace("default", open_, expected=FAILED)

    for expected in (CLOSED, FAILED):
        with pytest.raises(StaleWriteError):
            world.circuits.replace("default", expected.after_failure(NOW, "late", by="c"), expected=expected)
    assert world.circuits.read("default").circuit == open_


def test_a_write_that_is_repeated_after_a_lost_answer_counts_as_done(world: World) -> None:
    world.circuits.replace("default", FAILED, expected=CLOSED)

    world.circuits.replace("default", FAILED, expected=CLOSED)

    assert world.circuits.read("default").circuit == FAILED


@pytest.mark.parametrize("name", ["x" * 3000, "", "#"])
def test_any_text_can_be_asked_for(world: World, name: str) -> None:
    assert world.circuits.read(name, SCOPES).circuit == CLOSED


def test_one_read_is_one_consistent_call(aws_world: AwsWorld) -> None:
    calls: list[tuple[str, Any]] = []
    _ = aws_world.circuits.read("default")
    events = aws_world.circuits._client.meta.events
    events.register("provide-client-params.dynamodb.*", lambda params, model, **_: calls.append((model.name, params)))

    aws_world.circuits.read("default", SCOPES)

    assert [name for name, _ in calls] == ["BatchGetItem"]
    request = calls[0][1]["RequestItems"][aws_world.state_table]
    assert (request["ConsistentRead"], len(request["Keys"])) == (True, 5)


@pytest.mark.aws
def test_of_many_who_want_to_probe_one_may(emulated_world: AwsWorld) -> None:
    circuits = emulated_world.circuits
    circuits.replace("default", FAILED, expected=CLOSED)

    def claim(number: int) -> bool:
        try:
            circuits.replace("default", FAILED.probed_by(f"look {number}", NOW), expected=FAILED)
        except TransientError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(claim, range(16))) == 1
