"""The deployed `reconcile_job` is killed while it works, and nothing is doubled, lost or stuck."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Team, assert_one_copy_at_a_time, assert_state_was_kept

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]

ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))  # seven make more than twenty moments
MOMENTS_S = (0.15, 0.35, 0.8, 1.3)
"""After a change was written; what lies between is staging, stopping, submitting and recording."""
JOBS = ("killed-1", "killed-2", "killed-3")


def test_jobs_survive_the_killing_of_the_reconciler_during_deploys_and_upgrades(
    team: Team, record_property: Callable[[str, object], None]
) -> None:
    killed = 0
    for job in JOBS:
        team.upload_counter(f"artifacts/{job}.jar", "v1")
    time.sleep(2)
    for turn in range(ROUNDS):
        for job in JOBS:
            team.put(team.spec(job, args=("--turn", str(turn))))
        began = time.monotonic()
        for index, moment in enumerate(MOMENTS_S):
            # Another part of the first second each round.
            time.sleep(max(began + moment + turn * 0.04 * (index + 1) - time.monotonic(), 0))
            for pid in team.stack.aws.worker_pids("reconcile_job"):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        for job in JOBS:
            team.wait_stable(job, turn + 1, timeout_s=300)
    time.sleep(1)
    for job in JOBS:
        team.remove(job)
    for job in JOBS:
        team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    record_property("killed", killed)
    assert killed >= ROUNDS * 2
    for job in JOBS:
        assert_one_copy_at_a_time(team.beats(job))
        assert_state_was_kept(team.beats(job))
