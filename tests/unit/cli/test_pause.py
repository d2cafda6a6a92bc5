"""`pause`, `unpause`."""

import pytest

from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.status import Pause
from tests.unit.cli.bench import SPEC, Bench


@pytest.mark.parametrize(
    ("arguments", "scope"),
    [
        (["--all"], "all"),
        (["--cluster", "default"], "cluster/default"),
        (["--namespace", "data"], "namespace/data"),
        (["--job", "data/etl"], "job/data/etl"),
    ],
)
def test_each_scope_can_be_paused_and_unpaused(bench: Bench, arguments: list[str], scope: str) -> None:
    assert bench.run("pause", *arguments, "--reason", "maintenance").status == 0
    assert bench.registry.pauses() == [Pause(scope=scope, reason="maintenance")]

    result = bench.run("unpause", *arguments)

    assert (result.status, result.err) == (0, "")
    assert bench.registry.pauses() == []


@pytest.mark.parametrize("verb", [["pause", "--reason", "x"], ["unpause"]])
@pytest.mark.parametrize(
    "arguments",
    [[], ["--all", "--cluster", "default"], ["--cluster", "A"], ["--job", "a/b/c"], ["--namespace", ""]],
)
def test_one_well_formed_scope_must_be_named(bench: Bench, verb: list[str], arguments: list[str]) -> None:
    assert bench.run(*verb, *arguments).status == 2
    assert bench.registry.pauses() == []


@pytest.mark.parametrize("reason", [[], ["--reason", " "]])
def test_a_pause_needs_a_reason(bench: Bench, reason: list[str]) -> None:
    result = bench.run("pause", "--all", *reason)

    assert result.status == 2
    assert "say why" in result.err


def test_pausing_twice_changes_the_reason_at_most(bench: Bench) -> None:
    bench.run("pause", "--all", "--reason", "one")
    writes = bench.registry.writes

    assert "unchanged" in bench.run("pause", "--all", "--reason", "one").out
    assert bench.registry.writes == writes
    assert "another reason" in bench.run("pause", "--all", "--reason", "two").out
    assert bench.registry.pauses() == [Pause(scope="all", reason="two")]


def test_what_is_not_paused_need_not_be_unpaused(bench: Bench) -> None:
    result = bench.run("unpause", "--all")

    assert (result.status, "unchanged" in result.out) == (0, True)


def test_a_name_that_nobody_has_is_warned_of(bench: Bench) -> None:
    assert "no cluster defualt is registered" in bench.run("pause", "--cluster", "defualt", "--reason", "x").err
    assert "no job etl yet" in bench.run("pause", "--job", "etl", "--reason", "x").err


def test_unpausing_tells_of_a_wider_pause(deployed: Bench) -> None:
    for scope in (["--job", "etl"], ["--cluster", "default"]):
        deployed.run("pause", *scope, "--reason", "x")

    result = deployed.run("unpause", "--job", "etl")

    assert "cluster/default is paused as well; flinkctl unpause --cluster default ends that" in result.err


def test_pauses_are_listed(bench: Bench) -> None:
    assert "nothing is paused" in bench.run("pause", "--list").out
    bench.run("pause", "--all", "--reason", "maintenance")

    assert bench.run("pause", "--list", "-o", "json").json == {"items": [{"scope": "all", "reason": "maintenance"}]}
    assert "maintenance" in bench.run("pause", "--list").out
    assert bench.run("pause", "--list", "--all").status == 2


def test_a_paused_job_says_who_and_why_and_goes_on_afterwards(deployed: Bench) -> None:
    deployed.run("pause", "--cluster", "default", "--reason", "kernel update")
    deployed.run("apply", "-f", deployed.file({**SPEC, "args": ["--two"]}))
    deployed.pass_time(5)

    told = deployed.run("get", "etl", "-o", "json").json
    assert (told["reason"], told["revision"]) == ("Paused", {"desired": 2, "running": 1, "stable": 1})
    assert told["message"] == "paused by cluster/default: kernel update; the job is only watched"

    deployed.run("unpause", "--cluster", "default")
    assert deployed.run("wait", "etl", "--for", "stable").status == 0
    status = deployed.statuses.read("etl")
    assert status is not None
    assert lifecycle(status) is Lifecycle.STABLE
    assert status.running is not None
    assert status.running.number == 2
