"""Batch jobs on a real Flink, woken by the deployed clocks: all written at once, because each waits for a tick or two."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Team
from tests.jobs.build import build

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]

FOREVER = ("--records", "1000000", "--sleep-ms-per-record", "100")


class Batches:
    """A team with batch jobs."""

    def __init__(self, team: Team) -> None:
        self.team = team

    def write(self, job: str, *args: str, state: str = "running", **config: Any) -> None:
        """Write a batch job."""
        self.team.put(
            {
                "job_id": job,
                "job_type": "batch",
                "state": state,
                "artifact_path": "artifacts/batch.jar",
                "args": ["--out", str(self.directory(job)), *args],
                "deployment": {
                    "on_failure": {"backoff_seconds": 1},
                    "restart_strategy": "fixed-delay",
                    "max_restart_attempts": 0,
                },
                "batch_config": config,
            }
        )

    def directory(self, job: str) -> Path:
        """Name where a job's runs leave their files."""
        return self.team.scratch / f"runs-{job}"

    def written(self, job: str) -> list[list[str]]:
        """Read what runs left behind: scheduled time, version, records."""
        return [file.read_text().strip().split(",") for file in sorted(self.directory(job).glob("*.csv"))]

    def runs(self, job: str) -> list[dict[str, Any]]:
        """List a job's runs, oldest first."""
        done = self.team.flinkctl("runs", job, "-o", "json")
        found: list[dict[str, Any]] = json.loads(done.stdout)["items"] if done.returncode == 0 else []
        return found

    def wait(
        self, job: str, reached: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 150
    ) -> list[dict[str, Any]]:
        """Wait until the runs are as asked."""
        end, runs = time.monotonic() + timeout_s, []
        while time.monotonic() < end:
            runs = self.runs(job)
            if reached(runs):
                return runs
            time.sleep(0.5)
        events = self.team.flinkctl("events", job).stdout
        raise AssertionError(f"{job}: {json.dumps(runs, indent=1)}\n{json.dumps(self.team.status(job), indent=1)}\n{events}")


@pytest.fixture(scope="module")
def batches(team: Team) -> Batches:
    """Write every job of this module."""
    made = Batches(team)
    team.upload("artifacts/batch.jar", build("BatchJob", team.stack.settings.flink_version, label="v1").read_bytes())
    assert team.flinkctl("pause", "--job", "batch-paused", "--reason", "a test").returncode == 0
    made.write("batch-minutely", cron="* * * * *", max_runs=1)
    made.write("batch-once")
    made.write("batch-failing", "--fail", backoff_limit=1)
    made.write("batch-expiring", *FOREVER, ttl_seconds=3)
    made.write("batch-overlapping", *FOREVER, cron="* * * * *", run_now={"nonce": "1"})
    made.write("batch-paused")
    return made


def has_ended(runs: list[dict[str, Any]]) -> bool:
    return bool(runs) and runs[-1]["outcome"] != "Running"


def test_a_paused_job_starts_nothing(batches: Batches) -> None:
    batches.wait("batch-once", has_ended)

    batches.team.wait("batch-paused", lambda known: known["reason"] == "Paused")

    assert batches.runs("batch-paused") == []
    assert batches.team.flinkctl("unpause", "--job", "batch-paused").returncode == 0


def test_a_job_without_a_schedule_runs_once_and_is_completed(batches: Batches) -> None:
    (run,) = batches.wait("batch-once", has_ended)
    status = batches.team.wait("batch-once", lambda known: known["lifecycle"] == "COMPLETED")

    assert (run["outcome"], run["attempt"]) == ("Succeeded", 1)
    assert {line[0] for line in batches.written("batch-once")} == {run["scheduled_at"]}
    assert sum(int(line[2]) for line in batches.written("batch-once")) == 100
    assert status["runs"] == {"started": 1, "active": [], "next_at": None}


def test_a_failed_run_is_tried_again_and_then_tells_its_cause(batches: Batches) -> None:
    (run,) = batches.wait("batch-failing", has_ended)

    assert (run["outcome"], run["reason"], run["attempt"]) == ("Failed", "JobFailed", 2)
    assert "BatchJob was told to fail" in run["message"]
    assert batches.team.status("batch-failing")["lifecycle"] == "FAILED"
    assert batches.written("batch-failing") == []


def test_a_run_past_its_time_to_live_is_stopped(batches: Batches) -> None:
    (run,) = batches.wait("batch-expiring", has_ended)

    assert (run["outcome"], run["reason"]) == ("Expired", "TimeToLive")
    assert 3 <= run["duration_seconds"] < 75
    assert batches.team.live_ids("batch-expiring") == []


def test_each_instant_is_one_run_that_knows_it_and_starts_in_time(batches: Batches) -> None:
    runs = batches.wait("batch-minutely", has_ended)

    assert [run["outcome"] for run in runs] == ["Succeeded"]
    assert {line[0] for line in batches.written("batch-minutely")} == {run["scheduled_at"] for run in runs}
    late = [(_time(run["started_at"]) - _time(run["scheduled_at"])).total_seconds() for run in runs]
    assert max(late) < 75, late
    assert batches.team.wait("batch-minutely", lambda known: known["lifecycle"] == "COMPLETED")


def test_an_instant_that_meets_a_run_is_skipped_on_record(batches: Batches) -> None:
    runs = batches.wait("batch-overlapping", lambda found: any(run["outcome"] == "Skipped" for run in found))

    assert runs[0]["outcome"] == "Running"
    assert {run["reason"] for run in runs[1:]} == {"Overlap"}
    assert len(batches.team.live_ids("batch-overlapping")) == 1

    batches.team.remove("batch-overlapping")
    batches.team.wait("batch-overlapping", lambda known: known["lifecycle"] == "DELETED")
    assert batches.team.live_ids("batch-overlapping") == []
    assert batches.runs("batch-overlapping")[0]["outcome"] == "Cancelled"


def test_a_paused_job_runs_once_it_is_resumed(batches: Batches) -> None:
    (run,) = batches.wait("batch-paused", has_ended)

    assert run["outcome"] == "Succeeded"


def test_run_now_runs_once_more_with_its_own_arguments(batches: Batches) -> None:
    done = batches.team.flinkctl("run", "batch-once", "--now", "--args", "--version", "--args", "by-hand")
    assert done.returncode == 0, done.stderr

    runs = batches.wait("batch-once", lambda found: len(found) == 2 and has_ended(found))

    assert (runs[1]["outcome"], runs[1]["manual"], runs[1]["attempt"]) == ("Succeeded", True, 2)
    assert {line[1] for line in batches.written("batch-once")} == {"v1", "by-hand"}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
