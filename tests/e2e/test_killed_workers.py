"""The deployed `reconcile_job` is killed while it works, and nothing is doubled, lost or stuck."""

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Team, assert_one_copy_at_a_time, assert_state_was_kept

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws, pytest.mark.timeout(3600)]

ROUNDS = int(os.environ.get("KILL_ROUNDS", "1"))  # seven make more than twenty moments
MOMENTS_S = (0.1, 0.3, 0.6, 1.0)
"""After a worker was there to be killed; what lies between is staging, stopping, submitting and recording."""
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
        for index, moment in enumerate(MOMENTS_S):
            pids = team.wait_for_workers("reconcile_job")
            # Another part of the first seconds each round.
            time.sleep(moment + turn * 0.04 * (index + 1))
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
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
