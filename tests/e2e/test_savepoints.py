"""Savepoints of a real job: by the clock, no more than are kept, and the way back to an older one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Team, assert_one_copy_at_a_time

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]

JOB = "saved"


def listed(team: Team) -> list[dict[str, Any]]:
    found = team.flinkctl("savepoint", "list", JOB, "-o", "json")
    items: list[dict[str, Any]] = json.loads(found.stdout)["items"]
    return [one for one in items if one["state"] == "there"]


def is_there(team: Team, path: str) -> bool:
    """Look into the storage itself, past everything that the controller says."""
    scheme, _, rest = path.partition(":")
    if scheme == "file":
        return (Path("/" + rest.lstrip("/")) / "_metadata").exists()
    bucket, _, key = rest.removeprefix("//").partition("/")
    return bool(team.s3.list_objects_v2(Bucket=bucket, Prefix=f"{key}/_metadata").get("KeyCount"))


def test_savepoints_come_and_go_by_the_clock_and_an_older_one_brings_its_counter_back(team: Team) -> None:
    team.upload_counter(f"artifacts/{JOB}.jar", "v1")
    config = {"savepoint_trigger_interval": 4000, "savepoint_retention": {"count": 2}}
    team.put({**team.spec(JOB), "stream_config": config})
    team.wait_stable(JOB)
    first = team.wait(JOB, lambda status: status["savepoint"] is not None)["savepoint"]["path"]
    was_there = is_there(team, first)
    team.wait(JOB, lambda _: not is_there(team, first))

    team.put(team.spec(JOB))
    team.wait_stable(JOB)
    older = listed(team)[0]["path"]
    before = max(beat.count for beat in team.beats(JOB))
    assert team.flinkctl("restore", JOB, "--from", older).returncode == 0
    team.wait(JOB, lambda status: status["lifecycle"] == "STABLE" and int(status["flink"]["job_id"][16:], 16) == 2)
    restored = team.get(f"/jobs/{team.status(JOB)['flink']['job_id']}/checkpoints")["latest"]["restored"]
    kinds = {one["kind"] for one in listed(team)}
    team.remove(JOB)
    team.wait(JOB, lambda status: status["lifecycle"] == "DELETED")

    assert was_there
    assert restored["external_path"] == older
    assert kinds == {"periodic", "restore"}
    again = [beat.count for beat in team.beats(JOB) if int(beat.flink_job_id[16:], 16) == 2]
    assert min(again) <= before
    assert_one_copy_at_a_time(team.beats(JOB))
