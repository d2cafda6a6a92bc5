"""The program as a whole: its way in, its exit statuses, its reference."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.cli.context import Remote, Session, connect
from flink_controller.cli.main import app
from flink_controller.cli.reference import commands, reference
from flink_controller.domain.errors import ControllerError, RejectedError, StaleWriteError, TransientError
from flink_controller.settings import Settings, environment
from flink_controller.testing.clock import VirtualClock
from tests.unit.cli.bench import Bench

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
SETTINGS = environment(
    {
        "job_spec_table_name": "specs",
        "controller_state_table_name": "state",
        "artifact_bucket_name": "artifacts",
        "follow_up_queue_url": "https://queue",
        "controller_id": "test",
    }
)


def flinkctl(*arguments: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flink_controller.cli.main", *arguments],
        env={"PATH": "/usr/bin:/bin", "AWS_EC2_METADATA_DISABLED": "true", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_reference_is_what_the_program_says() -> None:
    assert PAGE.read_text() == reference(), "run: python -m flink_controller.cli.reference > docs/cli.md"


@pytest.mark.parametrize("command", commands())
def test_every_command_is_in_the_reference_with_an_example(command: str) -> None:
    _, _, section = PAGE.read_text().partition(f"## flinkctl {command}\n")

    assert f"Example: flinkctl {command.split(maxsplit=1)[0]}" in section.partition("\n## ")[0]


def test_every_line_of_help_is_short(bench: Bench) -> None:
    for words in ([], ["artifact"], ["keys"], ["policy"], ["cluster"]):
        assert "..." not in bench.run(*words, "--help").out.partition("Commands:")[2]


def test_a_command_that_does_not_exist_is_wrong_usage(bench: Bench) -> None:
    assert bench.run("frobnicate").status == 2
    assert bench.run("get", "--frobnicate").status == 2
    assert bench.run("get", "-o", "xml").status == 2


def test_missing_settings_are_told_in_one_sentence() -> None:
    def missing() -> Remote:
        return connect({})

    session = Session(missing, VirtualClock(), SignatureVerifier())

    result = CliRunner().invoke(app, ["get"], obj=session)

    assert result.exit_code == 1
    assert "FLINKCTL_JOB_SPEC_TABLE_NAME is not set" in result.stderr
    assert "source .local/env" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_connecting_makes_no_call() -> None:
    remote = connect(SETTINGS)

    assert remote.settings == Settings.from_env(SETTINGS)
    assert not remote.is_local


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (TransientError("read: no answer from AWS: refused"), "AWS_ENDPOINT_URL"),
        (ControllerError("read: Unable to locate credentials"), "log in to AWS"),
        (ControllerError("read: You must specify a region."), "AWS_DEFAULT_REGION"),
        (ControllerError("read: AWS answered ResourceNotFoundException: no table"), "same installation"),
        (ControllerError("read: AWS answered AccessDeniedException: not authorized"), "lacks this right"),
        (StaleWriteError("changed"), "run the command again"),
        (RejectedError("the input is wrong"), "the input is wrong"),
    ],
)
def test_what_aws_says_comes_with_advice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: ControllerError, advice: str
) -> None:
    def fail(_: str) -> None:
        raise error

    monkeypatch.setattr(bench.statuses, "read", fail)

    result = bench.run("get", "etl")

    assert (result.status, result.out) == (1, "")
    assert advice in result.err
    assert len(result.err.splitlines()) == 1


def test_an_endpoint_that_does_not_answer_is_told_without_a_stack_trace() -> None:
    environ = {**SETTINGS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

    result = flinkctl("get", "etl", environ={**environ, **keys})

    assert result.returncode == 1
    assert "Could not connect to the endpoint" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_terminal_of_ascii_gets_escapes_instead_of_a_stack_trace(tmp_path: Path) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("job_id: ü\n", encoding="utf-8")

    result = flinkctl("validate", "-f", str(spec), environ={"PYTHONIOENCODING": "ascii"})

    assert result.returncode == 1
    assert "job_id" in result.stdout
    assert "Traceback" not in result.stderr
