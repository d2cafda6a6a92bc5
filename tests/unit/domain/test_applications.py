"""A main() that runs by itself: waited for, judged when it fails, and ended with the id that it was to use."""

from datetime import timedelta

import pytest

from flink_controller.domain.actions import Burn, CancelApplication, StopWithSavepoint, Submit
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.names import application_id
from flink_controller.domain.observation import (
    Accepted,
    ApplicationSeen,
    FlinkState,
    NoAnswer,
    RefusalKind,
    Refused,
    TriggerCompleted,
)
from flink_controller.domain.status import AttemptPhase, EndState
from tests.unit.domain.builders import CLUSTER, POLICY, Job

APPLICATIONS = CLUSTER.model_copy(update={"runs_applications": True})
IN_MAIN = ApplicationSeen(is_alive=True)
DUPLICATE = Refused(RefusalKind.DUPLICATE, "Application has already been submitted.")


def submitted(job: Job | None = None) -> Job:
    """Get to where the submit was accepted and main() runs."""
    job = job or Job()
    job.cluster = APPLICATIONS
    job.submit()
    job.application = IN_MAIN
    job.look(Accepted())
    return job


def failed(kind: RefusalKind = RefusalKind.PROGRAM) -> ApplicationSeen:
    return ApplicationSeen(is_alive=False, refused=Refused(kind, "main says no"))


def test_the_id_is_recorded_and_differs_from_the_jobs() -> None:
    job = Job()
    job.cluster = APPLICATIONS

    action = job.look().action

    assert isinstance(action, Submit)
    assert action.application_id == job.attempt.application_id == application_id(action.flink_job_id)
    assert action.application_id != action.flink_job_id


def test_a_cluster_without_applications_gets_none() -> None:
    action = Job().look().action

    assert isinstance(action, Submit)
    assert action.application_id is None


def test_a_main_that_runs_is_waited_for_and_not_sent_again() -> None:
    job = submitted()

    plan = job.wait(POLICY.submit_timeout).look()

    assert plan.action is None
    assert job.reason == "SubmitPending"
    assert "main() has run since" in str(job.known.waiting)
    assert job.attempt.phase is AttemptPhase.SUBMITTING


def test_a_lost_request_is_sent_again_under_the_same_ids() -> None:
    job = Job()
    job.cluster = APPLICATIONS
    job.submit()
    first = job.attempt.application_id

    job.look(NoAnswer("cut"))
    action = job.wait(POLICY.submit_timeout).look().action

    assert isinstance(action, Submit)
    assert action.application_id == first


def test_that_the_application_is_known_says_nothing_about_its_job() -> None:
    job = submitted()

    for _ in range(3):
        job.wait(10).look(DUPLICATE)

    assert job.attempt.phase is AttemptPhase.SUBMITTING


def test_a_main_that_fails_is_a_refused_submission() -> None:
    job = submitted()
    job.application = failed()

    assert isinstance(job.look().action, Burn)
    job.show(FlinkState.FAILED, name="flinkctl-burn", tasks=0)
    job.look()

    assert job.attempt.end is EndState.BURNED
    assert job.lifecycle is Lifecycle.FAILED
    assert "SubmissionRefused" in job.told
    assert "main says no" in str(job.known.halted)


def test_an_upgrade_whose_main_fails_is_rolled_back() -> None:
    job = Job()
    job.cluster = APPLICATIONS
    job.prove()
    job.put(args=["--new"])
    assert isinstance(job.look().action, StopWithSavepoint)
    job.trigger = TriggerCompleted("s3://state/savepoints/sp")
    assert isinstance(job.end(FlinkState.FINISHED).action, Submit)
    job.trigger, job.application = None, failed()

    assert isinstance(job.look().action, Burn)
    job.show(FlinkState.FAILED, name="flinkctl-burn", tasks=0)
    plan = job.look()

    assert "RollbackStarted" in job.told
    assert isinstance(plan.action, Submit)
    assert job.attempt.revision == 1


def test_a_main_that_never_submits_is_given_up_at_the_deadline() -> None:
    job = submitted()

    job.application = ApplicationSeen(is_alive=True, duration=timedelta(seconds=299))
    assert job.look().action is None
    job.application = ApplicationSeen(is_alive=True, duration=timedelta(seconds=300))
    assert isinstance(job.look().action, Burn)
    assert "main() has run for 300 s and submitted no job" in str(job.attempt.refusal)


def test_a_main_whose_job_is_not_wanted_any_more_is_cancelled_after_its_id_was_used_up() -> None:
    job = submitted()
    job.put(state="suspended")

    assert isinstance(job.look().action, Burn)
    job.show(FlinkState.FAILED, name="flinkctl-burn", tasks=0)
    assert job.look().action is None, "most end by themselves at once"
    assert job.attempt.phase is AttemptPhase.BURNING
    action = job.wait(1).look().action

    assert action == CancelApplication(application_id(job.attempt.flink_job_id))
    assert job.wait(0.5).look().action is None
    assert job.attempt.phase is AttemptPhase.BURNING, "not dead while main() runs"
    job.application = ApplicationSeen(is_alive=False, refused=Refused(RefusalKind.OTHER, "its application was cancelled"))
    job.look()
    assert job.attempt.end is EndState.BURNED
    assert job.lifecycle is Lifecycle.SUSPENDED


def test_a_job_that_came_up_while_its_id_was_burned_is_ended_with_its_main() -> None:
    job = submitted()
    job.put(state="suspended")
    job.look()
    job.show()

    plan = job.wait(timedelta(seconds=6)).look(DUPLICATE)

    # Seen running it is stopped like any live job, with its state.
    assert isinstance(plan.action, StopWithSavepoint)


@pytest.mark.parametrize("kind", [RefusalKind.OTHER, RefusalKind.PROGRAM])
def test_a_cancelled_main_is_tried_again_and_a_failed_one_is_not(kind: RefusalKind) -> None:
    job = submitted()
    job.application = failed(kind)
    job.look()
    job.show(FlinkState.FAILED, name="flinkctl-burn", tasks=0)

    job.look()

    is_halted = job.known.halted is not None
    assert is_halted is (kind is RefusalKind.PROGRAM)


def test_an_end_that_left_the_list_is_found_by_sending_again() -> None:
    job = submitted()
    job.application = ApplicationSeen(is_alive=False)

    action = job.wait(POLICY.submit_timeout).look().action
    assert isinstance(action, Submit)
    job.look(DUPLICATE)
    job.wait(5).look()
    assert job.attempt.end is EndState.UNKNOWN
    job.look()

    assert "JobLost" in job.told
    assert job.attempt.number == 2
