"""What applying a spec would do, in the situations that a running job can be in."""

from typing import Any

import pytest

from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.plan import Policy
from flink_controller.domain.preview import Outputs, Preview, State, Step, changed_fields, notes_on, preview
from flink_controller.domain.status import (
    DesiredState,
    EndState,
    Handover,
    JobStatus,
    JobType,
    OperationKind,
    RefusedRevision,
    Runs,
    Savepoint,
)
from flink_controller.domain.trust import NamespacePolicy
from tests.unit.domain.reported_samples import ARTIFACT, ITEM, NOW, dead, operation, ref, status, view

CLUSTER = Cluster(
    name="default", url="http://flink:8081", savepoint_root="s3://state/savepoints", checkpoint_root="s3://state/checkpoints"
)


def head(verdict: Verdict = Verdict.ADMITTED, **fields: Any) -> ArtifactHead:
    """Give the record of the sample artifact."""
    version = ArtifactVersion(
        bucket="b",
        key=ARTIFACT.key,
        version_id="v1",
        uploaded_at=NOW,
        size_bytes=1,
        sha256=ARTIFACT.sha256,
        verdict=verdict,
        reason="SignatureMissing",
        message="artifacts/etl.jar is not signed",
        key_id="team",
        decided_at=NOW,
    ).model_copy(update=fields)
    return ArtifactHead(latest=version, admitted=version if verdict is Verdict.ADMITTED else None)


def told(
    before: JobStatus | None,
    *,
    artifact: ArtifactHead | None = None,
    cluster: Cluster | None = CLUSTER,
    allowed: tuple[str, ...] = ("*",),
    **fields: Any,
) -> Preview:
    """Ask what a change of some fields would do."""
    return preview(
        view(**fields),
        before,
        stored=ITEM,
        item={**ITEM, **fields},
        artifact=artifact or head(),
        pinned=None,
        cluster=cluster,
        running_spec=None,
        policy=Policy(controller_id="c", artifact_bucket="b"),
        asked_of_namespace=NamespacePolicy(namespace="default", allowed_clusters=allowed),
        now=NOW,
    )


def test_a_new_job_starts_empty() -> None:
    found = told(None)

    assert (found.step, found.state, found.revision) == (Step.DEPLOY, State.NONE, 1)
    assert found.outputs_because == "it is the first start"


def test_an_initial_savepoint_is_shown_as_written_where_it_cannot_be_resolved() -> None:
    assert told(None, deployment={"initial_savepoint_path": "s3://x/y"}).starts_from == "s3://x/y"
    assert told(None, cluster=None, deployment={"initial_savepoint_path": "x"}).starts_from == "x"


def test_a_job_that_is_to_be_suspended_before_it_ever_ran_does_nothing() -> None:
    assert told(None, state="suspended").step is Step.NOTHING


def test_a_finished_job_stays_finished() -> None:
    done = status(is_completed=True, attempt=dead(), handover=Handover(path=None, of_attempt=1, is_end=True))

    assert told(done).step is Step.NOTHING
    assert told(done, args=["--again"]).step is Step.DEPLOY


def test_a_failed_job_stays_failed_until_something_changes() -> None:
    failed = status(halted="no such table", halt_reason="JobFailed", attempt=dead(EndState.FAILED))

    assert "no such table" in told(failed).summary
    again = told(failed, deployment={"restart_nonce": "1"})
    assert (again.step, again.starts_from) == (Step.DEPLOY, "the newest state that the last attempt left behind")


def test_what_a_job_left_behind_decides_whether_outputs_are_repeated() -> None:
    saved = Savepoint(path="s3://sp", completed_at=NOW)
    suspended = status(desired_state=DesiredState.SUSPENDED, attempt=dead(), savepoint=saved)

    from_savepoint = told(suspended.model_copy(update={"handover": Handover(path="s3://sp", of_attempt=1)}))
    from_checkpoint = told(suspended.model_copy(update={"handover": Handover(path="s3://chk-1", of_attempt=1)}))
    from_nothing = told(suspended.model_copy(update={"handover": Handover(path=None, of_attempt=1)}))
    stateless = told(suspended, deployment={"upgrade_mode": "stateless"})

    assert (from_savepoint.starts_from, from_savepoint.outputs) == ("s3://sp", Outputs.NOT_REPEATED)
    assert (from_checkpoint.starts_from, from_checkpoint.outputs) == ("s3://chk-1", Outputs.REPEATED)
    assert (from_nothing.state, from_nothing.outputs) == (State.NONE, Outputs.REPEATED)
    assert (stateless.state, stateless.outputs) == (State.DROPPED, Outputs.REPEATED)


def test_an_upgrade_whose_artifact_is_missing_waits_and_the_job_runs_on() -> None:
    unsigned = told(status(), artifact=head(Verdict.WAITING), args=["--new"])

    assert (unsigned.step, unsigned.restart, unsigned.waits_for) == (Step.WAIT, False, "artifacts/etl.jar is not signed")


def test_an_upgrade_onto_a_cluster_that_nobody_registered_waits() -> None:
    found = told(status(), cluster=None, args=["--new"])

    assert (found.step, found.restart) == (Step.WAIT, True)
    assert "nobody registered" in (found.waits_for or "")


def test_a_burst_of_uploads_is_foreseen_as_its_upgrade() -> None:
    found = told(status(), artifact=head(version_id="v2", sha256="b" * 64))

    assert (found.step, found.change, found.revision) == (Step.UPGRADE, "UPGRADE", 2)


def test_blue_green_is_told_to_repeat_outputs_and_to_need_slots() -> None:
    found = told(status(), args=["--new"], deployment={"upgrade_mode": "blue-green"})

    assert any("put out twice" in note and "free slots" in note for note in found.notes)
    assert found.warnings == ()


def test_without_fallback_and_rollback_nothing_is_said_of_them() -> None:
    deployment = {"savepoint_fallback": "wait", "rollback": {"enabled": False}}

    assert told(status(), args=["--new"], deployment=deployment).notes == ()


def test_a_spec_that_was_refused_before_is_not_tried_again() -> None:
    refused = RefusedRevision(number=2, spec_hash="x", artifact_version="v1", reason="NotHealthy", message="")
    back = status(desired=ref(2, view(args=["--new"])), revision_counter=2, refused=refused)

    assert told(back, args=["--new"]).step is Step.NOTHING
    assert told(back, args=["--newer"]).step is Step.UPGRADE


@pytest.mark.parametrize(
    ("kind", "mode", "state", "origin", "outputs"),
    [
        (OperationKind.STOP, "savepoint", State.KEPT, "its savepoint", Outputs.NOT_REPEATED),
        (OperationKind.CANCEL, "savepoint", State.KEPT, "the newest checkpoint", Outputs.REPEATED),
        (OperationKind.STOP, "stateless", State.DROPPED, None, Outputs.REPEATED),
    ],
)
def test_a_stop_that_is_under_way_is_completed_first(
    kind: OperationKind, mode: str, state: State, origin: str | None, outputs: Outputs
) -> None:
    found = told(
        status(desired_state=DesiredState.DELETED, operation=operation(kind, "delete")), deployment={"upgrade_mode": mode}
    )

    assert (found.step, found.restart, found.state, found.starts_from, found.outputs) == (
        Step.RESTART,
        True,
        state,
        origin,
        outputs,
    )
    assert "for delete that is under way" in found.summary


def test_a_savepoint_that_is_under_way_changes_nothing() -> None:
    assert told(status(operation=operation(OperationKind.SAVEPOINT))).step is Step.NOTHING


def test_changed_fields_are_named_by_their_paths() -> None:
    new = {**ITEM, "deployment": {"rollback": {"deadline_seconds": 60}}}

    assert changed_fields(ITEM, new) == ("deployment.rollback.deadline_seconds",)
    assert changed_fields(None, new) == ()
    assert changed_fields({**ITEM, "deployment": "odd"}, ITEM) == ()


def test_notes_are_for_fields_that_are_set() -> None:
    assert notes_on({"env_vars": {}}) == ()
    assert len(notes_on({"env_vars": {"A": "b"}, "monitoring": {"log_level": "INFO"}})) == 2


SERVED = ref(1, view(job_type="batch"))


@pytest.mark.parametrize(
    ("fields", "runs", "step", "said"),
    [
        ({"batch_config": {"cron": "0 2 * * *"}}, Runs(), Step.SCHEDULE, "the next run is that of 2030-01-01T02:00:00Z"),
        ({}, Runs(), Step.RUN, "runs once, now"),
        ({}, Runs(served=SERVED), Step.NOTHING, "this revision has run"),
        ({"args": ["--new"]}, Runs(served=SERVED), Step.RUN, "runs once, now"),
        ({"batch_config": {"run_now": {"nonce": "2"}}}, Runs(served=SERVED, nonce="1"), Step.RUN, "runs once, now"),
        ({"batch_config": {"cron": "@daily", "max_runs": 2}}, Runs(started=2), Step.NOTHING, "max_runs is 2"),
        ({"batch_config": {"cron": "@daily", "end_at": "2029-01-01T00:00:00Z"}}, Runs(), Step.NOTHING, "no further"),
        ({"state": "suspended", "batch_config": {"cron": "@daily"}}, Runs(), Step.SUSPEND, "active runs finish"),
    ],
)
def test_of_a_batch_job_the_next_run_is_told(fields: dict[str, Any], runs: Runs, step: Step, said: str) -> None:
    found = told(status(job_type=JobType.BATCH, runs=runs), job_type="batch", **fields)

    assert found.step is step
    assert said in found.summary


def test_a_restore_says_where_from_and_that_what_there_is_is_kept() -> None:
    found = told(status(), deployment={"restore": {"from": "older", "nonce": "1"}})

    assert (found.step, found.state, found.outputs) == (Step.RESTORE, State.REPLACED, Outputs.REPEATED)
    assert found.starts_from == "s3://state/savepoints/default/older"
    assert found.restart
    assert any("is kept in a new savepoint" in note for note in found.notes)


def test_a_restore_that_was_honoured_says_nothing() -> None:
    before = status(restore_nonce="1")

    assert told(before, deployment={"restore": {"from": "older", "nonce": "1"}}).step is not Step.RESTORE


def test_a_cluster_that_the_namespace_may_not_use_is_what_a_start_waits_for() -> None:
    found = told(None, allowed=("other",))

    assert found.step is Step.WAIT
    assert "namespace default may not use cluster default, only other" in found.summary
