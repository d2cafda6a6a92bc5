"""What a restored status says beside what Flink lists: numbers only grow, and what cannot be told apart is left alone."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain.backup import Numbered, attempts_listed, reconciled
from flink_controller.domain.names import flink_job_id
from flink_controller.domain.observation import FlinkState, JobSeen
from flink_controller.domain.stamp import ATTEMPT_PARAMETER, JOB_PARAMETER, STAMP_PARAMETER, read_stamp, stamp_of
from flink_controller.domain.status import JobStatus, JobType
from tests.unit.domain.builders import CLUSTER, JOB, OTHER, POLICY, Job


def known() -> JobStatus:
    """Give the status of a job that runs as attempt 1 of revision 1."""
    return Job().run().known


def listed(
    number: int,
    state: FlinkState = FlinkState.RUNNING,
    *,
    revision: int | None = None,
    parameters: dict[str, str] | None = None,
    cluster: Any = CLUSTER,
) -> Numbered:
    """Give an attempt as a cluster lists it, with the stamp of a revision."""
    if revision is not None:
        status = known()
        assert status.attempt is not None
        assert status.running is not None
        attempt = status.attempt.model_copy(update={"number": number, "restore_from": f"s3://state/of-{number - 1}"})
        stamp = stamp_of(attempt, status.running.model_copy(update={"number": revision}))
        parameters = {JOB_PARAMETER: JOB, ATTEMPT_PARAMETER: str(number), STAMP_PARAMETER: stamp}
    job = JobSeen(flink_job_id(POLICY.controller_id, JOB, number), JOB, state, 0, 2, 2)
    return Numbered(number, cluster, job, parameters)


def test_what_the_backup_knows_stays_as_it_is() -> None:
    status = known()

    assert reconciled(status, (listed(1),)).status is status


def test_only_a_jobs_own_attempts_are_found_the_newest_first() -> None:
    jobs = [(CLUSTER, listed(number).job) for number in (1, 3, 2)]
    foreign = (CLUSTER, JobSeen("ab" * 16, "x", FlinkState.RUNNING, 0, 1, 1))

    found = attempts_listed(JOB, [*jobs, foreign], POLICY.controller_id)

    assert [one.number for one in found] == [3, 2, 1]


def test_an_attempt_is_adopted_where_it_runs_with_what_it_started_from() -> None:
    found = reconciled(known(), (listed(2, revision=3, cluster=OTHER), listed(1, FlinkState.FINISHED))).status

    assert found.attempt is not None
    assert found.running is not None
    assert (found.attempt.cluster, found.attempt.restore_from) == ("other", "s3://state/of-1")
    assert (found.running.number, found.running.is_recorded) == (3, False)
    assert (found.attempt_counter, found.revision_counter) == (2, 3)
    assert found.stable is None


def test_a_revision_that_the_backup_has_is_on_record() -> None:
    found = reconciled(known(), (listed(2, revision=1),)).status

    assert found.running == known().running
    assert found.stable == known().stable


def test_attempts_that_never_ran_and_burns_are_passed_over() -> None:
    attempts = (listed(4, FlinkState.FAILED, parameters={}), listed(3, FlinkState.CANCELED, revision=2), listed(2))

    found = reconciled(known(), attempts).status

    assert found.attempt is not None
    assert (found.attempt.number, found.attempt_counter, found.revision_counter) == (3, 4, 2)


@pytest.mark.parametrize("others", [(listed(1),), (listed(2, revision=2),)], ids=["the backup's own", "a newer one"])
def test_two_live_copies_are_left_alone_and_no_number_is_given_again(others: tuple[Numbered, ...]) -> None:
    status = known()

    found = reconciled(status, (listed(3, revision=3), *others))

    assert found.status.attempt == status.attempt
    assert (found.status.attempt_counter, found.status.revision_counter) == (1, 3)
    assert "AttemptAhead" in found.note


def test_a_run_of_a_batch_job_is_left_alone_while_it_lives_and_counted_when_it_has_ended() -> None:
    status = known().model_copy(update={"job_type": JobType.BATCH, "attempt": None})

    alive = reconciled(status, (listed(2, revision=2),)).status
    ended = reconciled(status, (listed(2, FlinkState.FINISHED, revision=2),)).status

    assert (alive.attempt_counter, alive.revision_counter) == (1, 2)
    assert (ended.attempt_counter, ended.revision_counter) == (2, 2)
    assert alive.attempt is ended.attempt is None


def test_a_first_attempt_after_the_backup_is_adopted_only_if_it_says_what_it_is() -> None:
    status = JobStatus(job_id=JOB, created_at=known().created_at, updated_at=known().updated_at)

    stamped = reconciled(status, (listed(1, revision=1),)).status
    silent = reconciled(status, (listed(1, parameters={"its": "own"}),))

    assert stamped.attempt is not None
    assert (stamped.attempt.number, stamped.revision_counter) == (1, 1)
    assert (silent.status, "AttemptAhead" in silent.note) == (status, True)


@settings(derandomize=True, deadline=None)
@given(
    st.one_of(st.text(), st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode())),
    st.sampled_from(["etl", "other"]),
)
def test_rubbish_is_no_stamp(text: str, job_id: str) -> None:
    assert read_stamp({JOB_PARAMETER: job_id, ATTEMPT_PARAMETER: "2", STAMP_PARAMETER: text}, JOB, 2) is None


@pytest.mark.parametrize(
    "change",
    [{"revision": {"number": -1}}, {"created_at": "2026-01-01T00:00:00"}, {"more": 1}, {"revision": None}],
    ids=["a number below one", "a time without a zone", "an unknown field", "no revision"],
)
def test_a_stamp_that_was_tampered_with_is_none(change: dict[str, Any]) -> None:
    parameters = dict(listed(2, revision=2).parameters or {})
    text = parameters[STAMP_PARAMETER]
    document = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for name, value in change.items():
        document[name] = {**document[name], **value} if isinstance(value, dict) else value
    parameters[STAMP_PARAMETER] = base64.urlsafe_b64encode(json.dumps(document).encode()).decode()

    assert read_stamp(parameters, JOB, 2) is None
    assert read_stamp(listed(2, revision=2).parameters or {}, JOB, 3) is None
    assert read_stamp(listed(2, revision=2).parameters or {}, JOB, 2) is not None
