"""What people and programs are told of a job."""

from datetime import timedelta

import pytest

from flink_controller.domain.report import history, report, report_unseen
from flink_controller.domain.status import (
    AttemptPhase,
    DesiredState,
    EndState,
    Handover,
    JobType,
    RefusedRevision,
    Runs,
    Savepoint,
)
from tests.unit.domain.reported_samples import ITEM, NOW, attempt, condition, dead, ref, revision, status


def test_the_one_reason_and_readiness_come_from_the_condition_ready() -> None:
    found = report(status(conditions=(condition("Ready", "True", "Stable", "all well"),)))

    assert (found.ready, found.reason, found.message) == (True, "Stable", "all well")
    assert (report(status()).ready, report(status()).reason) == (False, "")


def test_a_job_on_an_unreachable_cluster_is_unknown_until_it_is_known_to_be_dead() -> None:
    away = (condition("ClusterReachable", "False"),)

    assert report(status(conditions=away)).flink.state == "UNKNOWN"
    assert report(status(conditions=away, attempt=dead())).flink.state == "FINISHED"


def test_nothing_on_flink_is_nothing() -> None:
    found = report(status(attempt=None, running=None))

    assert (found.flink.job_id, found.flink.state, found.revision.running) == (None, None, None)


def test_the_artifact_is_that_of_what_runs_else_of_what_is_wanted() -> None:
    newer = ref(2, artifact=ref(1).artifact.model_copy(update={"version_id": "v2"}))

    running, waiting, new = (
        report(status(desired=newer)).artifact,
        report(status(desired=newer, attempt=dead())).artifact,
        report(status(desired=None, running=None, stable=None, attempt=None)).artifact,
    )

    assert running is not None
    assert waiting is not None
    assert (running.version_id, waiting.version_id, new) == ("v1", "v2", None)


def test_a_dead_attempt_is_no_running_revision() -> None:
    found = report(status(attempt=dead()))

    assert (found.revision.running, found.revision.desired, found.revision.stable) == (None, 1, 1)


def test_the_cluster_is_told_even_where_only_the_attempt_knows_it() -> None:
    assert report(status(cluster="")).cluster == "default"


@pytest.mark.parametrize("known", [None, Savepoint(path="s3://old", completed_at=NOW)])
def test_a_deleted_job_tells_what_it_left_behind(known: Savepoint | None) -> None:
    kept = Handover(path="s3://final", of_attempt=1)
    deleted = {"desired_state": DesiredState.DELETED, "handover": kept, "savepoint": known}

    found = report(status(attempt=dead(), **deleted))
    alive = report(status(attempt=attempt(), **deleted))

    assert found.savepoint == Savepoint(path="s3://final", completed_at=NOW + timedelta(minutes=1))
    assert alive.savepoint == known


def test_a_savepoint_keeps_the_time_of_its_completion() -> None:
    saved = Savepoint(path="s3://final", completed_at=NOW)
    gone = status(
        attempt=dead(),
        desired_state=DesiredState.DELETED,
        handover=Handover(path="s3://final", of_attempt=1),
        savepoint=saved,
    )

    assert report(gone).savepoint == saved


def test_a_job_that_was_deleted_before_it_ever_ran_left_nothing() -> None:
    assert report(status(attempt=None, desired_state=DesiredState.DELETED)).savepoint is None


def test_runs_are_for_batch_jobs() -> None:
    batch = report(status(job_type=JobType.BATCH, runs=Runs(next_at=NOW)))

    assert report(status()).runs is None
    assert batch.runs is not None
    assert batch.runs.next_at == NOW
    later = report(status(job_type=JobType.BATCH)).runs
    assert later is not None
    assert later.next_at is None


def test_an_item_that_nobody_looked_at_yet_is_created_valid_or_not() -> None:
    good, bad = (
        report_unseen("etl", {**ITEM, "state": "suspended"}),
        report_unseen("etl", {"job_type": "batch", "cluster": 7}),
    )

    assert (good.lifecycle, good.desired_state, good.cluster, good.runs) == ("CREATED", "suspended", "default", None)
    assert (bad.lifecycle, bad.desired_state, bad.cluster, bad.job_type) == ("CREATED", "running", "7", "batch")
    assert bad.runs is not None


def test_each_revision_has_one_outcome() -> None:
    refused = RefusedRevision(
        number=4, spec_hash="f" * 64, artifact_version="v", reason="NotHealthy", message="no checkpoint"
    )
    found = history(
        status(desired=ref(5), running=ref(3), stable=ref(2), refused=refused, attempt=attempt(revision=3)),
        [revision(number) for number in (1, 2, 3, 4, 5)],
    )

    assert [entry.outcome for entry in found] == ["Superseded", "Stable", "Running", "Refused", "Pending"]
    assert found[3].reason == "NotHealthy: no checkpoint"


def test_an_outcome_that_was_recorded_is_kept() -> None:
    found = history(status(), [revision(1, "Refused", "because")])

    assert (found[0].outcome, found[0].reason) == ("Refused", "because")
    assert history(None, [revision(1)])[0].outcome == "Pending"


def test_an_attempt_that_is_dead_runs_no_revision() -> None:
    assert (
        history(status(desired=ref(2), stable=None, attempt=dead(EndState.LOST)), [revision(1)])[0].outcome == "Superseded"
    )
    assert attempt().phase is AttemptPhase.LIVE
