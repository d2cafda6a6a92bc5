"""How long revisions are kept: as many as the limit says, and whatever a job may still go back to."""

from dataclasses import replace

import pytest

from flink_controller.domain.observation import FlinkState, TriggerCompleted
from flink_controller.domain.status import Revision
from tests.unit.domain import builders
from tests.unit.domain.builders import Job


@pytest.fixture(autouse=True)
def short_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "POLICY", replace(builders.POLICY, revision_history_limit=3))


def accept(job: Job, count: int) -> set[int]:
    """Write so many other specs, and give what was forgotten."""
    gone: set[int] = set()
    for _ in range(count):
        number = job.known.revision_counter + 1
        job.put(args=["--revision", str(number)])
        gone.update(job.look().forgotten)
    return gone


def test_old_revisions_go_and_the_stable_one_stays() -> None:
    job = Job().prove()
    job.is_paused = True

    gone = accept(job, 6)

    assert job.known.revision_counter == 7
    assert gone == {2, 3, 4}, "of seven the last three, and the first, which runs and is stable"


def test_what_was_in_use_goes_when_it_is_used_no_more() -> None:
    job = Job().prove()
    job.is_paused = True
    accept(job, 6)
    job.is_paused = False

    job.look()
    job.trigger = TriggerCompleted("s3://state/savepoints/sp")
    job.end(FlinkState.FINISHED)
    job.trigger = None
    job.jobs.clear()
    assert job.attempt.revision == 7
    job.show()
    job.look()
    job.wait(30)
    job.checkpoints = builders.CHECKPOINTED
    made = job.look()

    assert job.attempt.is_proven
    assert made.forgotten == (1,)


def test_within_the_limit_nothing_goes() -> None:
    job = Job().prove()
    job.is_paused = True

    assert accept(job, 2) == set()
    assert all(isinstance(found, Revision) for found in job.revisions.values())
