"""`describe`: the story of a job and what comes next, in every state that people ask about."""

import re
import shlex
from datetime import timedelta
from typing import Any

import pytest
import typer

from flink_controller.cli.main import app
from flink_controller.domain.next_steps import REMEDIES
from flink_controller.domain.pauses import pause_told, scope_told
from flink_controller.domain.status import (
    EndState,
    Event,
    Incident,
    JobType,
    OperationKind,
    Pause,
    RefusedRevision,
    Run,
    RunOutcome,
    Runs,
)
from flink_controller.ports import Commit
from flink_controller.testing.flink_behaviour import JobBehaviour
from tests.reasons import status_reasons
from tests.unit.cli.bench import ARTIFACT, CLUSTER, SPEC, Bench
from tests.unit.domain.reported_samples import NOW, attempt, condition, dead, operation, ref, status

STABLE = """\
AGE  TYPE    REASON            REVISION  ATTEMPT  COUNT  MESSAGE
5s   Normal  ArtifactAdmitted  -         -        1      DIGEST signed by key team
5s   Normal  SpecAccepted      1         -        1      artifacts/etl.jar DIGEST
5s   Normal  Submitted         1         1        1      FLINK-JOB from no state
5s   Normal  Running           1         1        1      FLINK-JOB is RUNNING on default
0s   Normal  Stable            1         1        1      revision 1 is healthy

THE CONTROLLER                                                                              AT
looks again when the spec, the artifact or Flink changes; each minute's tick compares them  -
"""


def test_a_stable_job_needs_nobody(deployed: Bench) -> None:
    out = deployed.run("describe", "etl").out

    told = re.sub("[0-9a-f]{32}", "FLINK-JOB", re.sub("sha256:[0-9a-f]+", "DIGEST", out))
    assert told.endswith(STABLE)
    assert "\ncheckpoint    completed 1s ago, 40 bytes in 0.01 s\n" in out
    assert "\ndeployment.rollback.stabilization_seconds  5\n" in out
    assert "YOU CAN" not in out


def test_programs_are_told_the_same(deployed: Bench) -> None:
    found = deployed.run("describe", "etl", "-o", "json").json

    assert found["spec"] == {**SPEC}
    assert found["checkpoint"]["size_bytes"] == 40
    assert found["incidents"] == []
    assert found["next"]["you"] == []
    assert [one["at"] for one in found["next"]["controller"]] == [None]


def test_a_job_that_nobody_looked_at_yet(bench: Bench) -> None:
    bench.specs.put("etl", SPEC)

    out = bench.run("describe", "etl").out

    assert "looks at the job for the first time, within a minute" in out
    assert "no events yet" in out
    assert "YOU CAN" not in out


def test_a_job_without_an_artifact_says_how_to_upload_it(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    bench.run("apply", "-f", bench.file(SPEC))
    bench.work()

    assert commands(bench) == [f"flinkctl artifact push FILE --to {ARTIFACT} --sign-with KEY_FILE"]
    assert "goes on once this is over: ArtifactMissing: " in bench.run("describe", "etl").out


def test_a_job_whose_program_fails_names_the_ways_on(bench: Bench) -> None:
    bench.flink.default_behaviour = JobBehaviour(main_throws="no such table")
    bench.registry.put_cluster(CLUSTER)
    bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(bench.trusted_key()))
    bench.run("apply", "-f", bench.file(SPEC), "--wait")

    out = bench.run("describe", "etl").out

    assert "no such table" in out
    assert "tries nothing more until the spec or its artifact changes, or a restart is asked for" in out
    assert commands(bench) == [
        "flinkctl events etl",
        "flinkctl apply -f FILE --wait",
        "flinkctl restart etl",
    ]


def test_an_open_incident_says_since_when_and_where_to_look_first(bench: Bench) -> None:
    incident = Incident(alert="given-up")
    failed = status(
        attempt=dead(EndState.FAILED), halted="it failed", halt_reason="JobFailed", incidents=(incident,), stable=None
    )
    event = Event(sequence=1, time=NOW, type="Warning", reason="GivenUp", message="it failed", opens=incident)
    put(bench, failed, event)
    bench.clock.advance(timedelta(minutes=5))

    out = bench.run("describe", "etl").out

    assert re.search(r"given-up +critical +5m +the job does not run.* +flinkctl describe: the root cause", out)
    assert bench.run("describe", "etl", "-o", "json").json["incidents"][0]["since"] == "2030-01-01T00:00:00Z"


def test_a_suspended_job_says_how_it_goes_on(deployed: Bench) -> None:
    deployed.run("suspend", "etl")
    deployed.pass_time(2)

    assert "starts nothing until the job is resumed" in deployed.run("describe", "etl").out
    assert commands(deployed) == ["flinkctl resume etl"]
    assert re.search(r"savepoint +s3://.* \(\ds ago\)", deployed.run("describe", "etl").out)


def test_a_deleted_job_says_that_its_state_was_kept(deployed: Bench) -> None:
    deployed.run("delete", "etl")
    deployed.run("wait", "etl", "--for", "deleted")

    assert commands(deployed) == ["flinkctl apply -f FILE --wait"]
    assert deployed.run("describe", "etl", "-o", "json").json["spec"] is None


@pytest.mark.parametrize(
    ("scope", "command"),
    [
        ("all", "flinkctl unpause --all"),
        ("cluster/default", "flinkctl unpause --cluster default"),
        ("namespace/data", "flinkctl unpause --namespace data"),
        ("job/data/etl", "flinkctl unpause --job data/etl"),
    ],
)
def test_a_paused_job_names_the_pause_that_ends_it(bench: Bench, scope: str, command: str) -> None:
    told = pause_told(Pause(scope=scope, reason="upgrade: of the cluster; till noon"))
    bench.put_status(status(waiting=("Paused", told)))

    assert commands(bench) == [command]
    assert f"nothing but watching while it is {told}" in bench.run("describe", "etl").out


def test_what_a_pause_does_not_say_names_no_scope() -> None:
    assert scope_told("the cluster is away") is None
    assert scope_told("paused by nobody") is None


def test_a_job_whose_cluster_is_away(bench: Bench) -> None:
    away = condition("ClusterReachable", "False", "ClusterUnreachable")
    bench.put_status(status(conditions=(away,), waiting=("ClusterUnreachable", "default: refused"), next_look=NOW))

    assert commands(bench) == ["flinkctl cluster check default"]
    assert re.search(r"looks again +2030-01-01 00:00:00Z \(due\)", bench.run("describe", "etl").out)


def test_a_revision_on_trial_has_its_deadline(bench: Bench) -> None:
    trial = attempt(2, 2, is_proven=False, live_at=NOW)
    bench.put_status(status(attempt=trial, desired=ref(2), running=ref(2)))
    bench.specs.put("etl", SPEC)

    out = bench.run("describe", "etl").out

    assert re.search(
        r"judges whether revision 2 is healthy; if not in time, goes back to revision 1 +2030-01-01 00:05:00Z \(in 5m\)", out
    )


def test_a_first_revision_on_trial_has_nothing_to_go_back_to(bench: Bench) -> None:
    bench.put_status(status(attempt=attempt(is_proven=False, live_at=NOW), stable=None))

    assert "if not in time, says that it is not, and leaves it to Flink" in bench.run("describe", "etl").out


def test_a_revision_that_was_rolled_back_says_why_and_how(bench: Bench) -> None:
    refused = RefusedRevision(number=2, spec_hash="f" * 64, artifact_version="v2", reason="NotHealthy", message="slow")
    bench.put_status(status(desired=ref(2), refused=refused))

    assert commands(bench) == ["flinkctl history etl", "flinkctl apply -f FILE --wait"]


def test_a_batch_job_between_runs_says_when_the_next_one_starts(bench: Bench) -> None:
    ended = Run(scheduled_at=NOW, outcome=RunOutcome.FAILED, reason="Failed")
    runs = Runs(started=1, last=ended, next_at=NOW + timedelta(hours=2))
    bench.put_status(status(job_type=JobType.BATCH, attempt=None, running=None, runs=runs))

    assert re.search(r"starts the next run +2030-01-01 02:00:00Z \(in 2h\)", bench.run("describe", "etl").out)
    assert commands(bench) == ["flinkctl runs etl", "flinkctl run etl --now"]


def test_an_operation_under_way_is_seen_through(bench: Bench) -> None:
    bench.put_status(status(operation=operation(OperationKind.STOP)))

    assert "sees the stop through that it asked Flink for, for upgrade" in bench.run("describe", "etl").out


def test_a_spec_that_was_written_since_is_looked_at_first(deployed: Bench) -> None:
    deployed.is_working = False
    deployed.specs.put("etl", {**SPEC, "args": ["--two"]})

    assert "looks at the spec that was written since, within a minute" in deployed.run("describe", "etl").out


def test_every_remedy_is_for_a_reason_that_there_is() -> None:
    from_elsewhere = {"ClusterRefusesCredentials", "ClusterUnreachable"}

    assert set(REMEDIES) - from_elsewhere <= status_reasons()


@pytest.mark.parametrize("template", sorted({command for found in REMEDIES.values() for _, command in found}))
def test_every_command_that_is_named_exists_with_its_options(template: str) -> None:
    words = shlex.split(template.format(job="etl", cluster="default", key=ARTIFACT))
    command: Any = typer.main.get_command(app)
    for word in words[1:]:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
    options = {name for parameter in command.params for name in parameter.opts}

    assert not hasattr(command, "commands")
    assert {word for word in words if word.startswith("-")} <= options


def commands(bench: Bench) -> list[str]:
    """Name what a person is told to do."""
    return [one["command"] for one in bench.run("describe", "etl", "-o", "json").json["next"]["you"]]


def put(bench: Bench, known: Any, event: Event) -> None:
    """Record a status with an event."""
    now = bench.clock.now()
    held = bench.statuses.acquire("etl", owner="t", now=now, until=now + timedelta(seconds=1))
    bench.statuses.commit(held, Commit(known, events=(event,)), release=True)
