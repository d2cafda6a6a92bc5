"""`savepoint create`, `savepoint list`."""

from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from flink_controller.domain.names import flink_job_id
from flink_controller.domain.status import SavepointKind, SavepointRecord
from flink_controller.ports import Commit
from flink_controller.testing.flink_behaviour import JobBehaviour
from tests.unit.cli.bench import CLUSTER, SPEC, Bench
from tests.unit.domain.reported_samples import status


def test_a_savepoint_is_waited_for_and_its_path_printed(deployed: Bench) -> None:
    result = deployed.run("savepoint", "create", "etl", "--wait")

    assert result.status == 0
    path = result.out.splitlines()[-1]
    assert path in deployed.storage.snapshots
    (entry,) = deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]
    assert (entry["path"], entry["kind"], entry["revision"], entry["restorable_by"]) == (path, "manual", 1, [1])
    assert entry["duration_seconds"] >= 0


def test_the_short_form_takes_a_savepoint(deployed: Bench) -> None:
    assert deployed.run("savepoint", "etl").status == 0
    deployed.pass_time(3)

    assert "manual" in deployed.run("savepoint", "list", "etl").out


def test_a_savepoint_that_fails_is_told_with_its_cause(deployed: Bench) -> None:
    for digest in list(deployed.flink.behaviours):
        deployed.flink.behaviours[digest] = JobBehaviour(stop_fails="a task refuses")
    for job in deployed.flink._jobs.values():
        job.behaviour = JobBehaviour(stop_fails="a task refuses")

    result = deployed.run("savepoint", "create", "etl", "--wait")

    assert result.status == 1
    assert "a task refuses" in result.err


def test_a_savepoint_that_does_not_come_is_not_waited_for_for_ever(deployed: Bench) -> None:
    deployed.is_working = False

    assert deployed.run("savepoint", "create", "etl", "--wait", "--timeout", "5").status == 3


def test_a_job_without_savepoints_has_an_empty_list_and_an_unknown_one_is_a_failure(deployed: Bench) -> None:
    assert deployed.run("savepoint", "list", "etl").out == "no savepoints yet\n"
    assert deployed.run("savepoint", "list", "etl", "-o", "json").json == {"items": []}
    assert deployed.run("savepoint", "list", "nobody").status == 1


def test_a_revision_with_other_bytes_is_not_said_to_read_a_savepoint(deployed: Bench) -> None:
    deployed.run("savepoint", "create", "etl", "--wait")
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", SPEC["artifact_path"])
    assert deployed.run("wait", "etl", "--for", "stable", "--timeout", "120").status == 0

    entries = deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]

    assert [(entry["kind"], entry["restorable_by"]) for entry in entries] == [("manual", [1]), ("upgrade", [1])]


@pytest.mark.parametrize("arguments", [(), ("create",), ("list",)])
def test_a_job_must_be_named(deployed: Bench, arguments: tuple[str, ...]) -> None:
    assert deployed.run("savepoint", *arguments).status == 2


def test_periodic_savepoints_are_listed(deployed: Bench) -> None:
    spec = {**SPEC, "stream_config": {"savepoint_trigger_interval": 10_000}}
    assert deployed.run("apply", "-f", deployed.file(spec), "--wait").status == 0

    deployed.pass_time(31)

    entries = deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]
    assert {entry["kind"] for entry in entries} == {"periodic"}
    times = [datetime.fromisoformat(entry["completed_at"]) for entry in entries]
    assert len(times) >= 3
    assert all(timedelta(seconds=8) < later - earlier < timedelta(seconds=12) for earlier, later in pairwise(times))


def test_a_job_is_restored_from_a_savepoint_by_its_id(deployed: Bench) -> None:
    path = deployed.run("savepoint", "create", "etl", "--wait").out.splitlines()[-1]
    (entry,) = deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]
    deployed.pass_time(30)

    assert deployed.run("restore", "etl", "--from", str(entry["id"])).status == 0

    assert deployed.run("wait", "etl", "--for", "stable", "--timeout", "120").status == 0
    assert deployed.flink.history[-1].restored_from == path
    kinds = [one["kind"] for one in deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]]
    assert kinds == ["manual", "restore"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("etl", "--from", "99"), "no savepoint 99"),
        (("etl", "--from", "../x"), "not allowed"),
        (("nobody", "--from", "x"), "no such job"),
    ],
)
def test_what_cannot_be_restored_is_not_written(deployed: Bench, arguments: tuple[str, ...], message: str) -> None:
    result = deployed.run("restore", *arguments)

    assert result.status == 1
    assert message in result.err
    assert deployed.specs.read("etl") == SPEC


def test_a_place_with_nothing_in_it_is_told_and_the_job_runs_on(deployed: Bench) -> None:
    starts = len(deployed.flink.history)
    assert deployed.run("restore", "etl", "--from", "nothing/here").status == 0
    deployed.pass_time(5)

    assert "StateMissing" in deployed.run("get", "etl").out
    assert len(deployed.flink.history) == starts


def removed(bench: Bench) -> list[str]:
    """Give the savepoints that are gone."""
    return [path for path, found in bench.storage.deleted.items() if found.is_savepoint]


def test_a_savepoint_that_nobody_needs_is_removed(deployed: Bench) -> None:
    paths = [deployed.run("savepoint", "create", "etl", "--wait").out.splitlines()[-1] for _ in range(2)]

    assert deployed.run("savepoint", "delete", "etl", paths[0]).status == 0
    deployed.pass_time(10)

    assert [one["path"] for one in deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]] == paths[1:]
    assert removed(deployed) == paths[:1]


def test_the_newest_savepoint_and_one_that_is_not_known_are_not_removed(deployed: Bench) -> None:
    path = deployed.run("savepoint", "create", "etl", "--wait").out.splitlines()[-1]
    before = deployed.specs.read("etl")

    newest, unknown = deployed.run("savepoint", "delete", "etl", path), deployed.run("savepoint", "delete", "etl", "99")

    assert (newest.status, unknown.status) == (1, 1)
    assert "it stays" in newest.err
    assert "no savepoint" in unknown.err
    assert deployed.specs.read("etl") == before


def test_what_another_jobs_spec_names_is_not_removed(deployed: Bench) -> None:
    paths = [deployed.run("savepoint", "create", "etl", "--wait").out.splitlines()[-1] for _ in range(2)]
    other = {**SPEC, "job_id": "other", "state": "suspended", "deployment": {"initial_savepoint_path": paths[0]}}
    assert deployed.run("apply", "-f", deployed.file(other)).status == 0
    deployed.pass_time(2)

    result = deployed.run("savepoint", "delete", "etl", paths[0])

    assert result.status == 1
    assert "where other starts from" in result.err


def test_retention_leaves_as_many_as_it_says(deployed: Bench) -> None:
    config = {"savepoint_trigger_interval": 10_000, "savepoint_retention": {"count": 2}}
    assert deployed.run("apply", "-f", deployed.file({**SPEC, "stream_config": config}), "--wait").status == 0

    deployed.pass_time(80)

    found = deployed.run("savepoint", "list", "etl", "-o", "json").json["items"]
    assert 2 <= sum(one["state"] == "there" for one in found) <= 3
    assert len(removed(deployed)) >= 3
    assert all(one["path"] in deployed.storage.snapshots for one in found if one["state"] == "there")


def test_savepoints_on_storage_that_are_not_on_record_are_listed_with_their_size(bench: Bench) -> None:
    base = on_files(bench)
    ours, others = flink_job_id("test", "etl", 1), flink_job_id("test", "other", 1)
    write(bench, f"{ours}-1/savepoint-a/_metadata", 10)
    write(bench, f"{ours}-2/savepoint-b/_metadata", 1_000)
    write(bench, f"{ours}-2/savepoint-b/state", 1_048_576)
    write(bench, f"{ours}-3/savepoint-c/state", 5)
    write(bench, f"{others}-1/savepoint-d/_metadata", 10)
    record(bench, f"{base}/{ours}-1/savepoint-a")

    items = bench.run("savepoint", "list", "etl", "--storage", "-o", "json").json["items"]
    out = bench.run("savepoint", "list", "etl", "--storage").out

    assert [(one["path"], one["size_bytes"], one["is_complete"]) for one in sorted(items, key=lambda one: one["path"])] == [
        (f"{base}/{ours}-2/savepoint-b", 1_049_576, True),
        (f"{base}/{ours}-3/savepoint-c", 5, False),
    ]
    assert "1.0 MiB" in out
    assert "savepoint-a" not in out


def test_storage_with_nothing_unknown_says_so(bench: Bench) -> None:
    on_files(bench)

    assert bench.run("savepoint", "list", "etl", "--storage").out == "etl: every savepoint in its directories is on record\n"


def test_storage_that_cannot_be_listed_says_what_is_needed(deployed: Bench) -> None:
    result = deployed.run("savepoint", "list", "etl", "--storage")

    assert (result.status, result.out) == (1, "")
    assert "FLINKCTL_STATE_BUCKETS" in result.err


def on_files(bench: Bench) -> str:
    """Have a job whose savepoints lie in files, and give their directory."""
    root = f"file://{bench.directory}/sp"
    bench.registry.put_cluster(CLUSTER.model_copy(update={"savepoint_root": root}))
    bench.specs.put("etl", SPEC)
    bench.put_status(status())
    return f"{root}/default/savepoints"


def write(bench: Bench, path: str, size: int) -> None:
    """Write a file of a savepoint."""
    target = bench.directory / "sp/default/savepoints" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"x" * size)


def record(bench: Bench, path: str) -> None:
    """Have a savepoint on record."""
    now = bench.clock.now()
    held = bench.statuses.acquire("etl", owner="t", now=now, until=now + timedelta(seconds=1))
    known = SavepointRecord(number=1, path=path, kind=SavepointKind.MANUAL, completed_at=now)
    bench.statuses.commit(held, Commit(status(), savepoints=(known,)), release=True)
