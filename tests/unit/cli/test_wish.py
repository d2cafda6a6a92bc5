"""`suspend`, `resume`, `restart`, `savepoint`, `delete`."""

import pytest

from flink_controller.domain.errors import StaleWriteError
from tests.unit.cli.bench import SPEC, Bench

VERBS = ("suspend", "resume", "restart", "savepoint", "delete")


@pytest.mark.parametrize("verb", VERBS)
def test_a_job_that_is_not_there_cannot_be_asked_anything(bench: Bench, verb: str) -> None:
    result = bench.run(verb, "x")

    assert result.status == 1
    assert "there is no such job" in result.err
    assert list(bench.specs.items()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_job_must_be_named(bench: Bench, verb: str) -> None:
    assert bench.run(verb).status == 2


@pytest.mark.parametrize("verb", ["suspend", "restart", "savepoint", "delete"])
def test_an_item_that_changed_meanwhile_is_not_written(deployed: Bench, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*_: object, **__: object) -> None:
        raise StaleWriteError("changed")

    monkeypatch.setattr(deployed.specs, "replace", overtaken)

    result = deployed.run(verb, "etl")

    assert result.status == 1
    assert "changed since it was read" in result.err


def test_suspend_and_resume_change_the_state_and_nothing_else(deployed: Bench) -> None:
    assert deployed.run("suspend", "etl").status == 0
    assert deployed.specs.read("etl") == {**SPEC, "state": "suspended"}
    assert "unchanged" in deployed.run("suspend", "etl").out
    assert "its state is kept at s3://" in deployed.run("wait", "etl", "--for", "suspended").out

    assert deployed.run("resume", "etl").status == 0
    assert deployed.specs.read("etl") == {**SPEC, "state": "running"}
    assert deployed.run("wait", "etl", "--for", "stable").status == 0


def test_a_job_that_runs_already_need_not_be_resumed(deployed: Bench) -> None:
    assert "unchanged" in deployed.run("resume", "etl").out
    assert deployed.specs.read("etl") == SPEC


def test_restart_asks_once_and_keeps_the_rest_of_the_item(deployed: Bench) -> None:
    assert deployed.run("restart", "etl").status == 0

    item = deployed.specs.read("etl")
    assert item is not None
    nonce = item["deployment"]["restart_nonce"]
    assert item == {**SPEC, "deployment": {**SPEC["deployment"], "restart_nonce": nonce}}
    assert deployed.run("wait", "etl", "--for", "stable").status == 0
    assert deployed.run("get", "etl", "-o", "json").json["flink"]["job_id"].endswith("2")

    deployed.run("restart", "etl")
    again = deployed.specs.read("etl")
    assert again is not None
    assert again["deployment"]["restart_nonce"] != nonce


def test_a_savepoint_is_taken_while_the_job_runs_on(deployed: Bench) -> None:
    assert deployed.run("savepoint", "etl").status == 0
    deployed.pass_time(5)

    found = deployed.run("get", "etl", "-o", "json").json
    assert found["savepoint"]["path"].startswith("s3://state/savepoints/default/savepoints/")
    assert found["flink"]["job_id"].endswith("1")


def test_a_spec_without_a_deployment_can_be_restarted_too(bench: Bench) -> None:
    bench.specs.put("etl", {"job_type": "stream", "artifact_path": "artifacts/a.jar"})

    assert bench.run("restart", "etl").status == 0
    item = bench.specs.read("etl")
    assert item is not None
    assert set(item["deployment"]) == {"restart_nonce"}


def test_a_malformed_deployment_is_not_overwritten(bench: Bench) -> None:
    bench.specs.put("etl", {"deployment": "fast"})

    result = bench.run("restart", "etl")

    assert result.status == 1
    assert "deployment is no map" in result.err
    assert bench.specs.read("etl") == {"job_id": "etl", "deployment": "fast"}


@pytest.mark.parametrize("verb", ["restart", "savepoint"])
def test_a_suspended_job_has_nothing_to_restart(deployed: Bench, verb: str) -> None:
    deployed.run("suspend", "etl")

    result = deployed.run(verb, "etl")

    assert result.status == 1
    assert "flinkctl resume etl" in result.err


def test_delete_removes_the_item_and_the_job_ends_with_a_savepoint(deployed: Bench) -> None:
    deployed.is_working = False
    assert deployed.run("delete", "etl").status == 0
    assert deployed.specs.read("etl") is None

    deployed.is_working = True
    deployed.work()
    result = deployed.run("wait", "etl", "--for", "deleted")
    assert result.status == 0
    assert "its state is kept at s3://" in result.out
    assert deployed.flink.live_copies() == []


def test_a_job_that_is_deleted_already_is_not_there(deployed: Bench) -> None:
    deployed.run("delete", "etl")
    deployed.run("wait", "etl", "--for", "deleted")

    for command in (["delete", "etl"], ["delete", "etl", "--abandon"]):
        result = deployed.run(*command)

        assert result.status == 1
        assert "deleted already" in result.err


def test_deleting_twice_is_no_fault_while_the_first_goes_on(deployed: Bench) -> None:
    deployed.flink.kill_jobmanager()
    deployed.run("delete", "etl")
    deployed.pass_time(2)

    result = deployed.run("delete", "etl")

    assert (result.status, "already" in result.out) == (0, True)


def test_a_delete_that_cannot_end_is_abandoned(deployed: Bench) -> None:
    deployed.flink.kill_jobmanager()
    deployed.run("delete", "etl")
    deployed.pass_time(2)

    assert deployed.run("delete", "etl", "--abandon").status == 0
    assert deployed.specs.read("etl") == {"job_id": "etl", "state": "abandoned"}
    assert "unchanged" in deployed.run("delete", "etl", "--abandon").out
    assert deployed.run("wait", "etl", "--for", "deleted").status == 0
    assert deployed.run("resume", "etl").status == 1


def test_a_job_with_a_name_that_no_job_can_have_can_still_be_removed(bench: Bench) -> None:
    bench.specs.put("Bad Name", {"a": 1})

    assert bench.run("delete", "Bad Name").status == 0
    assert bench.specs.read("Bad Name") is None
