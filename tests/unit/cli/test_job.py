"""`get`, `describe`, `wait`, `events`, `history`."""

import json
from datetime import timedelta

import pytest
import yaml

from flink_controller.domain.errors import TransientError
from flink_controller.domain.status import EndState, Event, JobStatus, OperationKind
from flink_controller.ports import Commit
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.testing.flink_behaviour import JobBehaviour
from tests.unit.cli.bench import ARTIFACT, BUCKET, CLUSTER, SPEC, Bench
from tests.unit.domain.reported_samples import NOW, dead, operation, status

STATUS_FIELDS = {
    "job_id",
    "job_type",
    "cluster",
    "desired_state",
    "lifecycle",
    "ready",
    "reason",
    "message",
    "flink",
    "revision",
    "observed_spec_hash",
    "rejected_spec_hash",
    "artifact",
    "savepoint",
    "conditions",
    "runs",
    "updated_at",
}


def test_the_status_of_a_job_has_every_field_of_the_contract(deployed: Bench) -> None:
    found = deployed.run("get", "etl", "-o", "json").json

    assert set(found) >= STATUS_FIELDS
    assert (found["lifecycle"], found["ready"], found["desired_state"]) == ("STABLE", True, "running")
    assert set(found["flink"]) == {"job_id", "state"}
    assert (len(found["flink"]["job_id"]), found["flink"]["state"]) == (32, "RUNNING")
    assert found["revision"] == {"desired": 1, "running": 1, "stable": 1}
    assert set(found["artifact"]) == {"bucket", "key", "version_id", "sha256", "key_id"}
    assert found["savepoint"] is None
    assert found["runs"] is None
    assert set(found["conditions"][0]) == {"type", "status", "reason", "message", "last_transition_time"}


def test_yaml_and_json_say_the_same(deployed: Bench) -> None:
    assert yaml.safe_load(deployed.run("get", "etl", "-o", "yaml").out) == deployed.run("get", "etl", "-o", "json").json


def test_the_table_says_what_matters(deployed: Bench) -> None:
    out = deployed.run("get", "etl").out

    for text in ("STABLE", ARTIFACT, "default", "running 1, desired 1, stable 1"):
        assert text in out


def test_a_job_that_is_not_there_ends_with_one(bench: Bench) -> None:
    for command in (["get", "x"], ["describe", "x"], ["events", "x"], ["history", "x"], ["get", "x", "--spec"]):
        result = bench.run(*command)

        assert (result.status, result.out) == (1, "")
        assert "there is no" in result.err


def test_a_job_that_nobody_looked_at_yet_is_created(bench: Bench) -> None:
    bench.specs.put("etl", SPEC)

    found = bench.run("get", "etl", "-o", "json").json

    assert set(found) >= STATUS_FIELDS
    assert (found["lifecycle"], found["ready"], found["job_type"], found["updated_at"]) == ("CREATED", False, "stream", None)
    assert found["flink"] == {"job_id": None, "state": None}
    assert "no events yet" in bench.run("events", "etl").out
    assert bench.run("history", "etl", "-o", "json").json == {"items": []}
    assert "CREATED" in bench.run("describe", "etl").out


def test_rubbish_in_the_table_can_be_looked_at(bench: Bench) -> None:
    bench.specs.put("B\x1b[31mAD", {"job_type": 7, "cluster": {"a": 1}, "blob": b"\x00", "set": {1}})

    for command in (["get"], ["get", "B\x1b[31mAD"], ["get", "-o", "json"], ["get", "B\x1b[31mAD", "--spec"]):
        result = bench.run(*command)

        assert result.status == 0
        assert "\x1b" not in result.out


def test_all_jobs_are_listed_seen_or_not(deployed: Bench) -> None:
    deployed.specs.put("new", {**SPEC, "job_id": "new"})

    listed = deployed.run("get", "-o", "json").json["items"]
    table = deployed.run("get").out

    assert [(one["job_id"], one["lifecycle"]) for one in listed] == [("etl", "STABLE"), ("new", "CREATED")]
    assert all(set(one) >= STATUS_FIELDS for one in listed)
    assert "STABLE" in table
    assert "CREATED" in table


def test_an_empty_installation_says_how_to_begin(bench: Bench) -> None:
    assert "flinkctl apply -f FILE" in bench.run("get").out
    assert bench.run("get", "-o", "json").json == {"items": []}


@pytest.mark.parametrize("output", ["yaml", "json", "table"])
def test_applying_the_spec_that_get_prints_changes_nothing(deployed: Bench, output: str) -> None:
    item = {**SPEC, "resources": {"cpu_cores": 0.5}, "labels": {"on": "yes", "n": "1e3", "u": "ü\u202e", "t": "12:30"}}
    deployed.specs.put("etl", item)

    printed = deployed.run("get", "etl", "--spec", "-o", output).out

    assert deployed.run("apply", "-f", "-", stdin=printed).out == "etl unchanged\n"
    assert printed.isascii()


def test_spec_without_a_job_is_wrong_usage(bench: Bench) -> None:
    assert bench.run("get", "--spec").status == 2


def test_an_unreachable_cluster_is_unknown_and_never_failed(deployed: Bench) -> None:
    deployed.flink.kill_jobmanager()
    deployed.pass_time(2)

    found = deployed.run("get", "etl", "-o", "json").json

    assert found["flink"]["state"] == "UNKNOWN"
    assert found["lifecycle"] == "STABLE"
    assert {"type": "ClusterReachable", "status": "False"}.items() <= next(
        one for one in found["conditions"] if one["type"] == "ClusterReachable"
    ).items()


def test_a_deleted_job_shows_its_final_savepoint(deployed: Bench) -> None:
    deployed.run("delete", "etl")
    deployed.run("wait", "etl", "--for", "deleted")

    found = deployed.run("get", "etl", "-o", "json").json

    assert (found["lifecycle"], found["flink"]["state"]) == ("DELETED", "FINISHED")
    assert found["savepoint"]["path"].startswith("s3://state/savepoints/default/")


def test_describe_shows_conditions_attempt_and_events(deployed: Bench) -> None:
    out = deployed.run("describe", "etl").out
    document = deployed.run("describe", "etl", "-o", "json").json

    for text in ("started from", "no state", "RevisionHealthy", "SpecAccepted"):
        assert text in out
    assert set(document) >= STATUS_FIELDS | {"attempt", "operation", "events"}
    assert document["attempt"]["number"] == 1


def test_events_are_one_line_a_transition(deployed: Bench) -> None:
    items = deployed.run("events", "etl", "-o", "json").json["items"]

    assert all(set(one) == {"time", "type", "reason", "message", "revision", "attempt", "count", "by"} for one in items)
    assert [one["reason"] for one in items][-1] == "Stable"
    assert len(deployed.run("events", "etl", "--limit", "1", "-o", "json").json["items"]) == 1


def test_an_event_cannot_write_control_characters_or_markup(bench: Bench) -> None:
    now = bench.clock.now()
    held = bench.statuses.acquire("etl", owner="t", now=now, until=now + timedelta(seconds=1))
    event = Event(sequence=1, time=now, type="Warning", reason="JobFailed", message="[red]x[/red]\x1b[2J\nnext")
    bench.statuses.commit(
        held, Commit(JobStatus(job_id="etl", created_at=now, updated_at=now), events=(event,)), release=True
    )

    out = bench.run("events", "etl").out

    assert "[red]x[/red]" in out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_history_tells_what_became_of_each_revision(deployed: Bench) -> None:
    deployed.run("apply", "-f", deployed.file({**SPEC, "args": ["--two"]}), "--wait")
    deployed.flink.default_behaviour = JobBehaviour(main_throws="no such table")
    deployed.run("apply", "-f", deployed.file({**SPEC, "args": ["--three"]}), "--wait")

    items = deployed.run("history", "etl", "-o", "json").json["items"]

    assert all(set(one) == {"revision", "created_at", "outcome", "reason", "spec_hash", "artifact", "by"} for one in items)
    assert [(one["revision"], one["outcome"]) for one in items] == [(1, "Superseded"), (2, "Stable"), (3, "Refused")]
    assert "no such table" in items[2]["reason"]
    assert "Superseded" in deployed.run("history", "etl").out


# wait


def test_wait_ends_at_once_when_the_goal_is_reached(deployed: Bench) -> None:
    for goal in ("stable", "running"):
        result = deployed.run("wait", "etl", "--for", goal, "--timeout", "1")

        assert (result.status, result.err) == (0, "")


def test_wait_for_stable_is_not_satisfied_by_the_revision_before(deployed: Bench) -> None:
    deployed.is_working = False
    deployed.run("apply", "-f", deployed.file({**SPEC, "args": ["--two"]}))

    result = deployed.run("wait", "etl", "--for", "stable", "--timeout", "3")

    assert result.status == 3
    assert "waiting for the controller to look at the spec" in result.err


def test_wait_for_stable_is_not_satisfied_by_the_upload_before(deployed: Bench) -> None:
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT)

    result = deployed.run("wait", "etl", "--for", "stable")

    assert result.status == 0
    assert "to be verified" in result.err
    assert "revision 2 is stable" in result.out


def test_an_upload_that_was_refused_keeps_nobody_waiting(deployed: Bench) -> None:
    deployed.key_pair("stranger")
    deployed.run(
        "artifact",
        "push",
        str(deployed.jar("v2")),
        "--to",
        ARTIFACT,
        "--sign-with",
        str(deployed.directory / "stranger.pem"),
    )
    deployed.work()

    assert deployed.run("wait", "etl", "--for", "stable").out == "etl: revision 1 is stable\n"


def test_an_unsigned_upload_keeps_nobody_waiting(deployed: Bench) -> None:
    deployed.environ.clear()
    deployed.clock.advance(timedelta(seconds=2))
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT)
    deployed.work()

    assert deployed.run("wait", "etl", "--for", "stable").out == "etl: revision 1 is stable\n"


def test_an_upload_of_the_same_bytes_keeps_nobody_waiting(deployed: Bench) -> None:
    deployed.run("artifact", "push", str(deployed.jar()), "--to", ARTIFACT)

    assert deployed.run("wait", "etl", "--for", "stable").status == 0


def test_wait_fails_at_once_when_the_job_has_failed(bench: Bench) -> None:
    bench.flink.default_behaviour = JobBehaviour(main_throws="no such table")
    bench.registry.put_cluster(CLUSTER)
    key = bench.trusted_key()
    bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(key))
    bench.run("apply", "-f", bench.file(SPEC))

    result = bench.run("wait", "etl", "--for", "running")

    assert result.status == 1
    assert "FAILED" in result.err
    assert "no such table" in result.err


def test_wait_fails_at_once_when_the_spec_was_rejected(deployed: Bench) -> None:
    deployed.specs.put("etl", {**SPEC, "foo": 1})

    result = deployed.run("wait", "etl", "--for", "stable")

    assert result.status == 1
    assert "foo: is no field of a spec" in result.err


def test_wait_fails_when_the_job_is_being_deleted(deployed: Bench) -> None:
    deployed.run("delete", "etl")

    assert deployed.run("wait", "etl", "--for", "stable").status == 1


def test_waiting_for_a_job_that_is_not_there_fails(bench: Bench) -> None:
    assert bench.run("wait", "x", "--for", "stable").status == 1


def test_waiting_for_the_end_of_a_job_that_is_not_there_is_done(bench: Bench) -> None:
    assert bench.run("wait", "x", "--for", "deleted").status == 0


def test_wait_for_deleted_waits_for_the_item_to_be_removed(deployed: Bench) -> None:
    result = deployed.run("wait", "etl", "--for", "deleted", "--timeout", "2")

    assert result.status == 3
    assert "flinkctl delete" in result.err


def test_wait_times_out_with_what_the_job_waits_for(bench: Bench) -> None:
    bench.specs.put("etl", SPEC)

    result = bench.run("wait", "etl", "--for", "stable", "--timeout", "3")

    assert result.status == 3
    assert "ClusterUnknown" in result.err or "ArtifactMissing" in result.err


@pytest.mark.parametrize(
    "arguments", [["--for", "ready"], [], ["--for", "stable", "--timeout", "0"], ["--for", "stable", "--timeout", "x"]]
)
def test_wait_must_be_told_what_for_and_how_long(bench: Bench, arguments: list[str]) -> None:
    assert bench.run("wait", "etl", *arguments).status == 2


def test_wait_survives_a_read_that_fails_but_not_the_first(deployed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read, turns = deployed.statuses.read, iter([False, True, False])
    deployed.run("suspend", "etl")

    def flaky(job_id: str) -> JobStatus | None:
        if next(turns, False):
            raise TransientError("read the status: no answer from AWS")
        return read(job_id)

    monkeypatch.setattr(deployed.statuses, "read", flaky)

    assert deployed.run("wait", "etl", "--for", "suspended").status == 0

    turns = iter([True] * 10)

    assert deployed.run("wait", "etl", "--for", "suspended").status == 1


def test_documents_are_ascii_whatever_the_data(deployed: Bench) -> None:
    deployed.specs.put("etl", {**SPEC, "labels": {"a": "\u202e\u0085"}})

    out = deployed.run("get", "etl", "--spec", "-o", "json").out

    assert json.loads(out)["labels"] == {"a": "\u202e\u0085"}
    assert out.isascii()


def test_wait_counts_an_upload_that_was_verified_and_not_taken_over_yet(deployed: Bench) -> None:
    deployed.is_working = False
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT)
    admit_artifact(deployed.ports, deployed.policy, BUCKET, ARTIFACT)

    result = deployed.run("wait", "etl", "--for", "stable", "--timeout", "2")

    assert result.status == 3
    assert f"to take over {ARTIFACT}" in result.err


def test_wait_counts_a_signature_that_was_not_looked_at_yet(deployed: Bench) -> None:
    deployed.is_working = False
    deployed.objects.upload(BUCKET, ARTIFACT, deployed.jar("v2").read_bytes())
    deployed.clock.advance(timedelta(seconds=2))
    deployed.objects.delete(BUCKET, f"{ARTIFACT}.sig")
    admit_artifact(deployed.ports, deployed.policy, BUCKET, ARTIFACT)
    deployed.objects.upload(BUCKET, f"{ARTIFACT}.sig", b"later")

    result = deployed.run("wait", "etl", "--for", "stable", "--timeout", "2")

    assert result.status == 3
    assert "to be verified with its signature" in result.err


def test_describe_tells_what_is_under_way_and_what_went_wrong(bench: Bench) -> None:
    broken = dead(EndState.FAILED, root_cause="no such table")
    bench.put_status(status(attempt=broken, operation=operation(OperationKind.STOP), next_look=NOW))
    bench.put_status(status(job_id="new", attempt=None, running=None))

    out = bench.run("describe", "etl").out

    for text in ("no such table", "stop for upgrade since", "looks again"):
        assert text in out
    assert "attempt" not in bench.run("describe", "new").out
