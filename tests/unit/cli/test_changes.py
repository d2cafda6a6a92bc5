"""Who did what: what each command says of whoever runs it."""

from dataclasses import replace

import pytest

from flink_controller.cli.context import Remote
from tests.unit.cli.bench import SPEC, Bench

ANN = "arn:aws:sts::123456789012:assumed-role/deploy/ann"


@pytest.fixture
def ann(deployed: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The bench of `etl`, with Ann at its keyboard."""
    made = deployed.remote

    def remote() -> Remote:
        return replace(made(), whoami=lambda: ANN)

    monkeypatch.setattr(deployed, "remote", remote)
    return deployed


@pytest.mark.parametrize(
    ("changes", "history", "told"),
    [
        (
            [["pause", "--job", "etl", "--reason", "why"], ["unpause", "--job", "etl"]],
            ["pause", "--history", "--job", "etl"],
            ["Paused", "Unpaused"],
        ),
        ([["policy", "set", "data", "--max-active-runs", "3"]], ["policy", "history", "data"], ["Changed"]),
        (
            [
                [
                    "cluster",
                    "add",
                    name,
                    "--url",
                    "http://flink:8081",
                    "--savepoint-root",
                    root,
                    "--checkpoint-root",
                    "s3://state/c",
                ]
                for name, root in (("east", "s3://state/s"), ("east", "s3://state/s"), ("east", "s3://state/t"))
            ],
            ["cluster", "history", "east"],
            ["Added", "Changed"],
        ),
    ],
)
def test_what_operators_change_is_told_with_their_name(
    ann: Bench, changes: list[list[str]], history: list[str], told: list[str]
) -> None:
    for arguments in changes:
        assert ann.run(*arguments).status == 0

    items = ann.run(*history, "-o", "json").json["items"]

    assert [(one["action"], one["by"]) for one in items] == [(action, ANN) for action in told]
    assert ANN in ann.run(*history).out


def test_nothing_is_made_up_where_nothing_changed(bench: Bench) -> None:
    result = bench.run("pause", "--history", "--all")

    assert (result.status, "nothing is recorded of pauses of all" in result.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["suspend", "etl"], "SuspendRequested"),
        (["restart", "etl"], "SpecWritten"),
        (["savepoint", "etl"], "SpecWritten"),
    ],
)
def test_a_wish_carries_its_writer_into_the_job_s_events(ann: Bench, arguments: list[str], reason: str) -> None:
    assert ann.run(*arguments).status == 0
    ann.work()

    (event,) = [one for one in ann.run("events", "etl", "-o", "json").json["items"] if one["by"]]
    assert (event["reason"], event["by"]) == (reason, ANN)
    assert "assumed-role/deploy/ann" not in event["message"]
    assert "assumed-role/deploy/ann" in ann.run("events", "etl").out


def test_a_revision_names_who_wrote_its_spec(ann: Bench) -> None:
    ann.run("apply", "-f", ann.file({**SPEC, "args": ["--two"]}), "--wait")

    assert [one["by"] for one in ann.run("history", "etl", "-o", "json").json["items"]] == ["", ANN]


def test_who_wrote_a_spec_is_no_part_of_what_it_asks_for(ann: Bench) -> None:
    document = {**SPEC, "args": ["--two"]}
    ann.run("apply", "-f", ann.file(document), "--wait")

    assert ann.run("get", "etl", "--spec", "-o", "json").json == document
    assert ann.run("apply", "-f", ann.file(document)).out == "etl unchanged\n"
    (preview,) = ann.run("plan", "-f", ann.file(document), "-o", "json").json["items"]
    assert (preview["step"], preview["changed_fields"]) == ("nothing", [])


def test_a_name_that_nobody_can_say_takes_the_last_one_s_place(ann: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ann.run("suspend", "etl")
    monkeypatch.undo()

    ann.run("resume", "etl")

    assert "written_by" not in (ann.specs.read("etl") or {})
