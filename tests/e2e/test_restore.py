"""The tables are lost while Flink runs on: a backup brings them back, and no job is restarted by it."""

import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Team, assert_exactly_once, assert_one_copy_at_a_time

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]

PAUSE = "PAUSE#all"


def test_jobs_run_on_through_the_loss_of_the_tables_and_a_restore(lone_team: Team, tmp_path: Path) -> None:
    team = lone_team
    backup = str(tmp_path / "all.jsonl")
    for job in ("kept", "newer"):
        team.upload_counter(f"artifacts/{job}.jar", "v1")
        team.put(team.spec(job))
    for job in ("kept", "newer"):
        team.wait_stable(job, 1)
    assert team.flinkctl("backup", "create", "--to", backup).returncode == 0
    newer = team.spec("newer", args=("--label", "newer"))
    team.put(newer)
    team.wait_stable("newer", 2)
    before = lives(team)

    lose_tables(team)
    restored = team.flinkctl("backup", "restore", "--from", backup)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    adopted = {job: team.status(job) for job in ("kept", "newer")}
    # The team applies what it has written since the backup, before anything may be done.
    team.put(newer)
    team.wait("newer", lambda status: status["revision"]["desired"] > 3 and status["reason"] == "Paused")
    assert team.flinkctl("unpause", "--all").returncode == 0
    for job in ("kept", "newer"):
        team.wake(job)
    kept = team.wait("kept", lambda status: status["ready"] and status["revision"]["running"] == 1)
    back = team.wait("newer", lambda status: status["ready"] and status["revision"]["stable"] == 4)
    after = lives(team)
    for job in ("kept", "newer"):
        team.remove(job)
    for job in ("kept", "newer"):
        team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    assert "newer: attempt 2 runs on Flink and is adopted as revision 2" in restored.stderr
    assert adopted["newer"]["revision"]["running"] == 2
    assert after == before
    assert set(before) >= {kept["flink"]["job_id"], back["flink"]["job_id"]}
    assert [int(status["flink"]["job_id"][16:], 16) for status in (kept, back)] == [1, 2]
    for job in ("kept", "newer"):
        assert_one_copy_at_a_time(team.beats(job))
        assert_exactly_once(team.beats(job))


def lives(team: Team) -> dict[str, Any]:
    """Give the start time of every live Flink job, by its id."""
    return {job["jid"]: job["start-time"] for job in team.flink_jobs()}


def lose_tables(team: Team) -> None:
    """Empty both tables but for a pause, so that what the deletions wake does as little as a controller without tables."""
    client = team.specs.meta.client
    state = team.environ["FLINKCTL_CONTROLLER_STATE_TABLE_NAME"]
    assert team.flinkctl("pause", "--all", "--reason", "the tables are lost").returncode == 0
    for job in ("kept", "newer"):
        team.remove(job)
    for job in ("kept", "newer"):  # a deletion that the stream brings later would write a status into the empty table
        team.wait(job, lambda status: status["reason"] == "Paused")
    quiet_since, end = time.monotonic(), time.monotonic() + 30
    while time.monotonic() < quiet_since + 2:
        assert time.monotonic() < end, "the controller goes on writing"
        for item in client.scan(TableName=state, ProjectionExpression="pk, sk", ConsistentRead=True)["Items"]:
            if item["pk"] != PAUSE:
                client.delete_item(TableName=state, Key=item)
                quiet_since = time.monotonic()
        time.sleep(0.1)
