"""The rules of the planner, one at a time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from flink_controller.domain.actions import (
    Burn,
    Cancel,
    DeleteStaleJars,
    LoadRevision,
    ReleaseJar,
    SearchState,
    StageJar,
    StopWithSavepoint,
    Submit,
    TriggerSavepoint,
)
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import (
    Accepted,
    Answer,
    Checkpoints,
    FlinkState,
    NoAnswer,
    NotSent,
    RefusalKind,
    Refused,
    StorageUnreadable,
    StoredState,
    TriggerCompleted,
    TriggerFailed,
    TriggerInProgress,
    TriggerStatus,
    TriggerUnknown,
)
from flink_controller.domain.plan import Findings, StagingRefused
from flink_controller.domain.planning import plan
from flink_controller.domain.running import SAVEPOINT_PATIENCE
from flink_controller.domain.spec import AbandonedSpec, NoSpec
from flink_controller.domain.status import (
    SCHEMA_VERSION,
    AttemptPhase,
    EndState,
    Operation,
    OperationKind,
    Pause,
    StagedJar,
)
from tests.unit.domain.builders import (
    CHECKPOINTED,
    CLUSTER,
    JOB,
    LIFE,
    NEW_LIFE,
    OTHER,
    QUARANTINE,
    SECOND,
    Job,
    artifact,
    head,
    invalid_spec,
    retained,
    savepoint,
)


def stopped(job: Job, path: str = "s3://state/savepoints/sp") -> Job:
    """Let the stop under way end well, and the job settle."""
    job.trigger = TriggerCompleted(path)
    job.show(FlinkState.FINISHED)
    return job


def test_a_job_without_anything_amiss_is_submitted_under_its_recorded_identity() -> None:
    job = Job()

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.flink_job_id == job.attempt.flink_job_id
    assert made.action.flink_job_id.endswith("0000000000000001")
    assert made.action.restore_from is None
    assert made.jar is not None
    assert made.action.jar_id == made.jar.jar_id == job.attempt.jar_id
    assert job.attempt.phase is AttemptPhase.SUBMITTING
    assert job.known.staged_digests == (artifact().sha256,)
    assert job.told == ["ArtifactAdmitted", "SpecAccepted", "Submitted"]


def test_a_pause_leaves_everything_as_it_is() -> None:
    job = Job()
    job.is_paused = True

    made = job.look()

    assert made.action is None
    assert job.reason == "Paused"
    assert made.next_look is not None


def test_a_pause_goes_on_watching() -> None:
    job = Job().run()
    job.is_paused = True
    job.put(args=["--new"])
    job.show(FlinkState.RESTARTING, tasks=0)

    made = job.look()

    assert made.action is None
    assert job.attempt.flink_state == "RESTARTING"


def test_an_unregistered_cluster_is_named() -> None:
    job = Job(cluster="other")
    job.cluster = None

    made = job.look()

    assert made.action is None
    assert job.reason == "ClusterUnknown"
    assert job.lifecycle is Lifecycle.WAITING
    assert job.says("Stalled") == ("True", "ClusterUnknown")


def test_an_invalid_first_spec_on_no_cluster_waits_for_nothing() -> None:
    job = Job()
    job.spec, job.cluster = invalid_spec(deployment__parallelism=0), None

    made = job.look()

    assert (made.action, made.next_look, job.reason) == (None, None, None)
    assert job.lifecycle is Lifecycle.FAILED


def test_a_malformed_cluster_item_is_told_and_nothing_is_touched() -> None:
    job = Job().run()
    job.cluster, job.cluster_fault = None, "item CLUSTER#default is malformed: url"

    made = job.look()

    assert made.action is None
    assert job.reason == "ClusterMalformed"
    assert job.says("ClusterReachable") == ("Unknown", "ClusterMalformed")
    assert job.says("Ready") == ("False", "ClusterMalformed")
    assert job.attempt.phase is AttemptPhase.LIVE


def test_an_unreachable_cluster_says_nothing_about_the_job() -> None:
    job = Job().prove()
    job.unreachable = "connection refused"

    made = job.look()

    assert made.action is None
    assert job.reason == "ClusterUnreachable"
    assert job.says("ClusterReachable") == ("False", "ClusterUnreachable")
    assert job.says("JobRunning") == ("Unknown", "ClusterUnreachable")
    assert job.says("Ready")[0] == "Unknown"
    assert job.lifecycle is Lifecycle.STABLE


def test_a_cluster_that_was_not_asked_is_no_answer_either() -> None:
    job = Job().run()
    job.is_unasked = True

    made = job.look()

    assert made.action is None
    assert job.known.waiting == ("ClusterUnreachable", "cluster default: it was not asked")


def test_a_number_above_the_counter_blocks_everything() -> None:
    job = Job()
    job.look()
    job.show(number=5)

    made = job.wait(200).look()

    assert made.action is None
    assert job.reason == "AttemptAhead"
    assert job.says("Stalled") == ("True", "AttemptAhead")


def test_a_leftover_is_cancelled_before_anything_else() -> None:
    job = Job().run()
    job.wait(1).end(FlinkState.CANCELED)
    job.wait(60).look()
    assert job.attempt.number == 2
    job.show(number=1)

    made = job.look()

    assert made.action == Cancel(job.known.leftover.flink_job_id if job.known.leftover else "")
    assert job.reason == "LeftoverRunning"
    assert "LeftoverFound" in job.told


def test_the_cancel_of_a_leftover_is_repeated_without_another_intent() -> None:
    job = Job().run()
    job.wait(1).end(FlinkState.CANCELED)
    job.wait(60).look()
    job.show(number=1)
    job.look()
    counter = job.known.operation_counter

    too_early = job.wait(1).look()
    again = job.wait(5).look()

    assert too_early.action is None
    assert isinstance(again.action, Cancel)
    assert job.known.operation_counter == counter


def test_a_leftover_that_has_ended_is_forgotten() -> None:
    job = Job().run()
    job.wait(1).end(FlinkState.CANCELED)
    job.wait(60).look()
    job.show(number=1)
    job.look()
    job.show(FlinkState.CANCELED, number=1)

    job.look()

    assert job.known.leftover is None


def test_a_look_at_another_cluster_than_the_attempts_is_repeated_at_once() -> None:
    job = Job().run()
    job.cluster = OTHER

    made = job.look()

    assert made.action is None
    assert made.next_look == job.now


def test_a_jobmanager_that_restarts_during_the_look_proves_nothing() -> None:
    job = Job().run()
    job.jobs, job.life = {}, None

    made = job.look()

    assert made.action is None
    assert job.reason == "ClusterRestarting"
    assert job.attempt.phase is AttemptPhase.LIVE


def test_a_first_submit_waits_for_a_jobmanager_that_stays() -> None:
    job = Job()
    job.life = None

    made = job.look()

    assert made.action is None
    assert job.reason == "ClusterRestarting"
    assert job.known.attempt_counter == 0


@pytest.mark.parametrize("reason", ["KeyRevoked", "KeyUnknown", "ArtifactMissing", "ArtifactAltered"])
def test_bytes_that_cannot_be_staged_are_waited_for(reason: str) -> None:
    job = Job()
    job.staging_refused = StagingRefused(reason, "no")

    made = job.look()

    assert made.action is None
    assert job.reason == reason
    assert job.known.attempt_counter == 0


def test_a_revision_that_is_no_more_on_record_is_told() -> None:
    job = Job().run()
    job.spec = invalid_spec(nonsense=True)
    job.revisions.clear()

    made = job.wait(1).end(FlinkState.CANCELED)

    assert made.action is None
    assert job.reason == "RevisionMissing"


def test_a_running_jobs_stop_needs_its_own_revision_on_record() -> None:
    job = Job().run()
    job.revisions.clear()
    job.spec = NoSpec()

    made = job.look()

    assert made.action is None
    assert job.prepared == [LoadRevision(1)]
    assert job.reason == "RevisionMissing"


def test_a_stop_under_way_needs_its_own_revision_on_record() -> None:
    job = Job().prove()
    job.put(args=["--new"])
    job.look()
    job.revisions.clear()

    made = job.look()

    assert made.action is None
    assert job.reason in {"Stopping", "RevisionMissing"}


@pytest.mark.parametrize(
    ("path", "is_allowed"),
    [
        ("old/sp-1", True),
        ("/old/sp-1/", True),
        ("s3://state/savepoints/default/old/sp-1", True),
        ("s3://state/savepoints/another/sp-1", False),
        ("s3://elsewhere/sp-1", False),
    ],
)
def test_an_initial_savepoint_lies_below_the_namespaces_own_directory(path: str, is_allowed: bool) -> None:  # noqa: FBT001  # a case's outcome
    job = Job(deployment__initial_savepoint_path=path)

    made = job.look()

    if is_allowed:
        assert isinstance(made.action, Submit)
        assert made.action.restore_from is not None
        assert made.action.restore_from.startswith("s3://state/savepoints/default/old/sp-1")
    else:
        assert made.action is None
        assert job.reason == "StateForbidden"
        assert job.says("Stalled") == ("True", "StateForbidden")


def test_a_submit_without_visible_effect_is_sent_again_after_its_timeout_and_not_before() -> None:
    job = Job().submit()

    early = job.wait(119).look(NoAnswer("timed out"))
    late = job.wait(1).look()

    assert early.action is None
    assert job.known.attempt_counter == 1
    assert isinstance(late.action, Submit)
    assert late.action.flink_job_id == job.attempt.flink_job_id
    assert job.attempt.submitted_at == job.now


def test_a_submit_that_provably_was_not_sent_is_sent_again_soon() -> None:
    job = Job().submit()

    at_once = job.look(NotSent("connection refused"))
    later = job.wait(5).look()

    assert at_once.action is None
    assert at_once.next_look == job.now
    assert isinstance(later.action, Submit)
    assert not job.attempt.is_unsent


def test_a_pending_submit_says_what_flink_said() -> None:
    job = Job().submit()

    job.wait(1).look(NoAnswer("timed out"))

    assert job.known.waiting is not None
    assert job.known.waiting[0] == "SubmitPending"
    assert "timed out" in job.known.waiting[1]


def test_a_submit_is_not_repeated_while_its_bytes_cannot_be_staged() -> None:
    job = Job().submit()
    job.staging_refused = StagingRefused("KeyRevoked", "revoked")

    made = job.wait(120).look()

    assert made.action is None
    assert job.reason == "KeyRevoked"


def test_a_submit_is_not_repeated_without_its_revision() -> None:
    job = Job().submit()
    job.spec = invalid_spec(nonsense=True)
    job.revisions.clear()

    made = job.wait(120).look()

    assert made.action is None
    assert job.reason == "RevisionMissing"


def test_a_duplicate_is_no_refusal() -> None:
    job = Job().submit()

    made = job.look(Refused(RefusalKind.DUPLICATE, "has already been submitted"))

    assert made.action is None
    assert job.attempt.phase is AttemptPhase.SUBMITTING
    assert job.attempt.refusal is None


@pytest.mark.parametrize(
    ("kind", "is_final"), [(RefusalKind.PROGRAM, True), (RefusalKind.JAR_GONE, False), (RefusalKind.OTHER, False)]
)
def test_a_refused_id_is_burned_and_the_refusal_remembered(kind: RefusalKind, is_final: bool) -> None:  # noqa: FBT001  # a case's outcome
    job = Job().submit()

    made = job.look(Refused(kind, "no"))

    assert made.action == Burn(job.attempt.flink_job_id, LIFE)
    assert job.attempt.phase is AttemptPhase.BURNING
    assert (job.attempt.refusal, job.attempt.refusal_is_final) == ("no", is_final)


@pytest.mark.parametrize("wish", ["suspend", "delete", "newer spec"])
def test_an_id_that_is_not_wanted_any_more_is_burned(wish: str) -> None:
    job = Job().submit()
    if wish == "suspend":
        job.put(state="suspended")
    elif wish == "delete":
        job.spec = NoSpec()
    else:
        job.put(args=["--new"])

    made = job.look()

    assert isinstance(made.action, Burn)
    assert job.reason == "Burning"


def test_a_change_that_needs_no_restart_burns_nothing() -> None:
    job = Job().submit()
    job.put(labels={"team": "data"})

    made = job.look()

    assert made.action is None
    assert job.attempt.revision == 2
    assert job.attempt.phase is AttemptPhase.SUBMITTING


def test_an_unseen_burn_is_repeated_until_it_is_seen() -> None:
    job = Job().submit()
    job.put(state="suspended")
    job.look()

    early = job.wait(1).look()
    again = job.wait(5).look()

    assert early.action is None
    assert isinstance(again.action, Burn)


def test_a_burned_id_is_dead_and_hands_on_what_it_was_to_start_from() -> None:
    job = Job(deployment__initial_savepoint_path="old/sp")
    job.submit()
    job.put(deployment__initial_savepoint_path="old/sp", args=["--new"])
    job.look()
    job.show(FlinkState.FAILED, name="flinkctl-burn")

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://state/savepoints/default/old/sp"
    assert job.attempt.number == 2
    assert SearchState not in [type(action) for action in job.prepared]


def test_an_id_under_burning_that_turns_out_alive_is_stopped_with_its_state() -> None:
    job = Job().submit()
    job.put(state="suspended")
    job.look()
    job.show()

    made = job.look()

    assert isinstance(made.action, StopWithSavepoint)
    assert job.operation.purpose == "suspend"


def test_a_burn_that_lives_is_ended_like_any_other_job() -> None:
    job = Job().submit()
    job.put(state="suspended")
    job.look()
    job.show(name="flinkctl-burn")

    early = job.wait(1).look()
    late = job.wait(5).look()

    assert early.action is None
    assert late.action == Cancel(job.attempt.flink_job_id)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_an_id_that_flink_has_known_and_does_not_list_is_dead_after_a_second_look(is_wanted: bool) -> None:  # noqa: FBT001  # a case's circumstance
    job = Job().submit()
    if not is_wanted:
        job.put(state="suspended")
        job.look()
    job.wait(130).look()

    job.look(Refused(RefusalKind.DUPLICATE, "has already been submitted"))
    known_once = job.attempt
    job.wait(5).look()
    known_twice = job.attempt
    made = job.look()

    assert (known_once.is_dead, known_twice.is_dead) == (False, True)
    if is_wanted:
        assert isinstance(made.action, Submit)
        assert job.attempt.number == 2
    else:
        assert made.action is None
        assert job.lifecycle is Lifecycle.SUSPENDED


def test_a_known_id_that_appears_in_time_is_no_dead_one() -> None:
    job = Job().submit()
    job.wait(120).look()
    job.look(Refused(RefusalKind.DUPLICATE, "has already been submitted"))
    job.show()

    job.wait(5).look()

    assert job.attempt.phase is AttemptPhase.LIVE


def test_a_void_jar_is_not_used_again_even_if_it_was_staged_earlier_in_the_look() -> None:
    job = Job().submit()
    job.look(Refused(RefusalKind.JAR_GONE, "Jar file does not exist"))
    void = StagedJar(cluster="default", sha256=artifact().sha256, jar_id=job.attempt.jar_id, incarnation=LIFE)
    job.show(FlinkState.FAILED, name="flinkctl-burn")
    job.look()
    job.wait(30)

    made = plan(job.facts(Findings(staged=void)), job.known)

    assert made.action == StageJar(artifact(), LIFE, void_jar_id=void.jar_id)


def test_a_void_jar_is_not_used_again() -> None:
    job = Job().submit()
    job.look(Refused(RefusalKind.JAR_GONE, "Jar file does not exist"))
    void = job.attempt.jar_id
    job.show(FlinkState.FAILED, name="flinkctl-burn")
    job.look()

    made = job.wait(31).look()

    assert isinstance(made.action, Submit)
    assert made.action.jar_id != void
    assert [action.void_jar_id for action in job.prepared if isinstance(action, StageJar)] == [void]


def test_a_lost_job_waits_the_quarantine_from_the_deletion_of_its_jars() -> None:
    job = Job().prove()
    job.jobs, job.life = {}, NEW_LIFE

    first = job.look()

    assert job.prepared == [DeleteStaleJars(NEW_LIFE)]
    assert first.action is None
    assert first.next_look == job.now + QUARANTINE
    assert job.known.quarantine is not None
    assert job.known.quarantine.since == job.now
    assert job.lifecycle is Lifecycle.WAITING
    assert job.says("JobRunning") == ("Unknown", "Quarantine")
    assert job.says("Ready") == ("False", "Quarantine")


def test_a_lost_job_is_brought_back_from_its_newest_state_after_the_quarantine() -> None:
    job = Job().prove()
    job.jobs, job.life = {}, NEW_LIFE
    job.look()
    job.stored = StoredState((retained(5, "s3://c/chk-5"), retained(6, "s3://c/chk-6")))

    early = job.wait(QUARANTINE - SECOND).look()
    late = job.wait(1).look()

    assert early.action is None
    assert isinstance(late.action, Submit)
    assert late.action.restore_from == "s3://c/chk-6"
    assert job.attempt.incarnation == NEW_LIFE
    assert job.known.quarantine is None


def test_another_restart_begins_the_quarantine_anew() -> None:
    job = Job().prove()
    job.jobs, job.life = {}, NEW_LIFE
    job.look()
    job.life = "flink-web-3"

    made = job.wait(QUARANTINE).look()

    assert made.action is None
    assert job.prepared == [DeleteStaleJars("flink-web-3")]
    assert job.attempt.phase is AttemptPhase.LIVE


def test_a_job_that_reappears_ends_the_quarantine() -> None:
    job = Job().prove()
    listed = dict(job.jobs)
    job.jobs, job.life = {}, NEW_LIFE
    job.look()
    job.jobs = listed

    job.look()

    assert job.known.quarantine is None
    assert job.attempt.phase is AttemptPhase.LIVE


def test_under_high_availability_an_absence_waits_the_quarantine_too() -> None:
    job = Job()
    job.cluster, job.life = CLUSTER.model_copy(update={"high_availability": True}), "ha"
    job.prove()
    job.jobs = {}

    made = job.look()

    assert made.action is None
    assert job.reason == "Quarantine"


def test_a_lost_submit_is_not_repeated_in_another_life() -> None:
    job = Job().submit()
    job.life = NEW_LIFE

    waiting = job.wait(120).look()
    after = job.wait(QUARANTINE).look()

    assert waiting.action is None
    assert job.known.attempt_counter == 2
    assert isinstance(after.action, Submit)
    assert after.action.flink_job_id.endswith("2")


def test_old_jars_are_void_before_a_submit_in_a_new_life() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    stopped(job).look()
    job.jobs, job.life, job.trigger = {}, NEW_LIFE, None
    job.put()

    made = job.look()

    assert isinstance(made.action, Submit)
    assert [type(action) for action in job.prepared] == [DeleteStaleJars, StageJar]


def test_an_upgrade_stops_with_a_savepoint_once_its_bytes_are_staged() -> None:
    job = Job().prove()
    job.put(args=["--new"])

    made = job.look()

    assert isinstance(made.action, StopWithSavepoint)
    assert [type(action) for action in job.prepared][-1] is StageJar
    assert made.action.target_directory == (
        f"s3://state/savepoints/default/savepoints/{job.attempt.flink_job_id}-{job.operation.sequence}"
    )
    assert job.attempt.savepoint_directories == (made.action.target_directory,)
    assert job.lifecycle is Lifecycle.UPGRADING
    assert job.told.count("UpgradeStarted") == 1


def test_an_upgrade_that_cannot_be_staged_leaves_the_running_job_alone() -> None:
    job = Job().prove()
    job.put(args=["--new"])
    job.staging_refused = StagingRefused("KeyRevoked", "revoked")

    made = job.look()

    assert made.action is None
    assert job.known.operation is None
    assert job.reason == "KeyRevoked"


def test_an_upgrade_starts_from_its_savepoint() -> None:
    job = Job().prove()
    job.put(args=["--new"])
    job.look()
    stopped(job)

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://state/savepoints/sp"
    assert made.action.args == ("--new",)
    assert job.known.savepoint is not None
    assert job.known.savepoint.path == "s3://state/savepoints/sp"


@pytest.mark.parametrize(
    ("mode", "checkpoints", "expected"),
    [
        ("savepoint", CHECKPOINTED, StopWithSavepoint),
        ("last-state", CHECKPOINTED, Cancel),
        ("last-state", Checkpoints(is_enabled=False), StopWithSavepoint),
        ("last-state", Checkpoints(is_enabled=True, deletes_on_cancellation=True), StopWithSavepoint),
        ("stateless", CHECKPOINTED, Cancel),
    ],
)
def test_the_upgrade_mode_decides_how_the_old_job_ends(mode: str, checkpoints: Checkpoints, expected: type) -> None:
    job = Job(deployment__upgrade_mode=mode).run()
    job.checkpoints = checkpoints
    job.look()
    job.put(deployment__upgrade_mode=mode, args=["--new"])

    made = job.look()

    assert type(made.action) is expected


@pytest.mark.parametrize(
    ("age", "expected"), [(60, Cancel), (61, StopWithSavepoint), (None, StopWithSavepoint)], ids=["young", "old", "none"]
)
def test_last_state_takes_a_savepoint_when_the_newest_checkpoint_is_too_old(age: int | None, expected: type) -> None:
    bounded = {"deployment__upgrade_mode": "last-state", "deployment__max_checkpoint_age_seconds": 60}
    job = Job(**bounded).prove()
    job.put(**bounded, args=["--new"])
    if age is not None:
        taken = replace(retained(), completed_at=job.now - timedelta(seconds=age))
        job.checkpoints = Checkpoints(is_enabled=True, completed=taken)

    made = job.look()

    assert type(made.action) is expected


def test_a_stateless_upgrade_starts_empty() -> None:
    job = Job(deployment__upgrade_mode="stateless").prove()
    job.put(deployment__upgrade_mode="stateless", args=["--new"])
    job.look()
    job.stored = StoredState((retained(),))

    made = job.end(FlinkState.CANCELED)

    assert isinstance(made.action, Submit)
    assert made.action.restore_from is None


@pytest.mark.parametrize(
    ("change", "purpose"), [({"state": "suspended"}, "suspend"), ({"deployment__restart_nonce": "a"}, "restart")]
)
def test_wishes_stop_with_a_savepoint(change: dict[str, str], purpose: str) -> None:
    job = Job().prove()
    job.put(**change)

    made = job.look()

    assert isinstance(made.action, StopWithSavepoint)
    assert job.operation.purpose == purpose


def test_a_stop_that_has_begun_is_completed_whatever_the_spec_says_meanwhile() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.put()

    meanwhile = job.look()
    stopped(job)
    after = job.look()

    assert meanwhile.action is None
    assert job.reason != "Stopping"
    assert isinstance(after.action, Submit)
    assert after.action.restore_from == "s3://state/savepoints/sp"


def test_a_stop_that_flink_does_not_know_is_sent_again_under_the_same_identity() -> None:
    job = Job().prove()
    job.put(state="suspended")
    first = job.look()
    job.trigger = TriggerUnknown()

    early = job.wait(1).look()
    again = job.wait(5).look()

    assert early.action is None
    assert again.action == first.action


def test_a_stop_under_way_is_waited_for() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.trigger = TriggerInProgress()

    made = job.wait(60).look(Accepted())

    assert made.action is None
    assert made.next_look == job.now + timedelta(seconds=15)


@pytest.mark.parametrize(
    ("trigger", "answer"),
    [(TriggerFailed("a task refuses"), None), (TriggerUnknown(), Refused(RefusalKind.OTHER, "a task refuses"))],
)
def test_a_failed_stop_is_tried_again_under_another_identity(trigger: TriggerStatus, answer: Answer | None) -> None:
    job = Job().prove()
    job.put(state="suspended")
    first = job.look()
    job.trigger = trigger

    failed = job.wait(1).look(answer)
    job.trigger = TriggerFailed("a task refuses")
    again = job.wait(10).look()

    assert failed.action is None
    assert job.operation.failures == 1
    assert isinstance(first.action, StopWithSavepoint)
    assert isinstance(again.action, StopWithSavepoint)
    assert again.action.trigger_id != first.action.trigger_id
    assert len(job.attempt.savepoint_directories) == 2
    assert "SavepointFailed" in job.told


def test_directories_of_many_failed_tries_stay_few_and_the_last_good_one_stays() -> None:
    job = Job(deployment__savepoint_fallback="wait").prove()
    job.put(deployment__savepoint_fallback="wait", state="suspended")
    job.look()
    first = job.attempt.savepoint_directories[0]

    for _ in range(12):
        job.trigger = TriggerFailed("a task refuses")
        job.wait(300).look()

    assert len(job.attempt.savepoint_directories) == 5
    assert job.attempt.savepoint_directories[0] == first
    assert isinstance(job.operation, Operation)


@pytest.mark.parametrize("tasks", [0, 2])
def test_a_stop_that_keeps_failing_falls_back_to_the_newest_checkpoint(tasks: int) -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.trigger = TriggerFailed("a task refuses")
    job.show(FlinkState.RUNNING if tasks else FlinkState.RESTARTING, tasks=tasks)
    job.wait(1).look()

    made = job.wait(10 if tasks == 0 else 600).look()

    assert job.operation.kind is OperationKind.CANCEL
    assert made.action in {None, Cancel(job.attempt.flink_job_id)}
    assert "NoNewerStateKept" not in job.told


def test_a_stop_that_failed_while_flink_brought_the_job_back_is_tried_again_rather_than_given_up() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.trigger = TriggerFailed("not all required tasks are currently running")
    job.show(FlinkState.RUNNING, tasks=0)
    job.wait(1).look()
    job.show(FlinkState.RUNNING)

    made = job.wait(10).look()

    assert isinstance(made.action, StopWithSavepoint)
    assert job.operation.sequence == 2


def test_a_stop_that_never_completes_falls_back_at_its_deadline() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.trigger = TriggerInProgress()

    made = job.wait(600).look()

    assert made.action == Cancel(job.attempt.flink_job_id)
    assert job.operation.kind is OperationKind.CANCEL
    assert job.operation.purpose == "suspend"


def test_the_wait_for_another_try_of_a_stop_does_not_outlast_its_deadline() -> None:
    job = Job(deployment__savepoint_timeout_seconds=5).prove()
    job.put(deployment__savepoint_timeout_seconds=5, state="suspended")
    job.look()
    job.trigger = TriggerFailed("a task refuses")

    made = job.wait(1).look()

    assert made.action is None
    assert made.next_look == job.operation.started_at + 5 * SECOND


def test_without_permission_to_fall_back_a_suspend_waits_for_its_savepoint() -> None:
    job = Job(deployment__savepoint_fallback="wait").prove()
    job.put(deployment__savepoint_fallback="wait", state="suspended")
    job.look()
    job.trigger = TriggerFailed("a task refuses")
    job.look()

    for _ in range(5):
        job.wait(1000).look()

    assert job.operation.kind is OperationKind.STOP
    assert job.attempt.phase is AttemptPhase.LIVE


def test_a_job_that_would_keep_nothing_is_not_cancelled_for_an_upgrade() -> None:
    job = Job().run()
    job.checkpoints = Checkpoints(is_enabled=True, deletes_on_cancellation=True)
    job.look()
    job.put(args=["--new"])
    job.look()
    job.trigger = TriggerFailed("a task refuses")
    job.look()

    made = job.wait(3600).look()

    assert isinstance(made.action, StopWithSavepoint)
    assert job.operation.kind is OperationKind.STOP


def test_a_delete_cancels_at_its_deadline_even_without_state_and_says_so() -> None:
    job = Job().run()
    job.checkpoints = Checkpoints(is_enabled=False)
    job.look()
    job.spec = NoSpec()
    job.look()
    job.trigger = TriggerFailed("a task refuses")
    job.look()

    made = job.wait(600).look()

    assert made.action == Cancel(job.attempt.flink_job_id)
    assert "NoNewerStateKept" in job.told


def test_a_deleted_job_whose_code_deletes_its_checkpoints_ends_all_the_same() -> None:
    job = Job().run()
    job.checkpoints = Checkpoints(is_enabled=True, deletes_on_cancellation=True)
    job.look()
    job.checkpoints = None
    job.spec = NoSpec()
    job.look()
    job.trigger = TriggerFailed("a task refuses")
    job.look()

    made = job.wait(600).look()
    job.trigger = None
    job.end(FlinkState.CANCELED)

    assert made.action == Cancel(job.attempt.flink_job_id)
    assert job.lifecycle is Lifecycle.DELETED


def test_a_cancel_without_effect_is_repeated() -> None:
    job = Job(deployment__upgrade_mode="stateless").prove()
    job.put(deployment__upgrade_mode="stateless", args=["--new"])
    job.look()

    early = job.wait(1).look()
    again = job.wait(5).look()

    assert early.action is None
    assert again.action == Cancel(job.attempt.flink_job_id)


def test_an_operation_on_an_earlier_attempt_is_forgotten() -> None:
    job = Job().prove()
    job.put(state="suspended")
    job.look()
    job.put()
    job.status = job.known.model_copy(update={"operation": job.operation.model_copy(update={"flink_job_id": "0" * 32})})

    job.look()

    assert job.known.operation is None


def test_a_savepoint_nonce_asks_for_one_savepoint() -> None:
    job = Job().prove()
    job.put(deployment__savepoint_nonce="a")

    made = job.look()
    job.trigger = TriggerCompleted("s3://sp/1")
    after = job.look()
    job.trigger = None
    later = job.look()

    assert isinstance(made.action, TriggerSavepoint)
    assert after.action is None
    assert later.action is None
    assert job.known.savepoint is not None
    assert job.known.savepoint.path == "s3://sp/1"
    assert job.attempt.savepoint_directories == (made.action.target_directory,)
    assert job.lifecycle is Lifecycle.STABLE
    assert job.known.operation_counter == 1


def test_a_job_with_a_savepoint_under_way_is_still_stable() -> None:
    job = Job().prove()
    job.put(deployment__savepoint_nonce="a")
    job.look()
    job.trigger = TriggerInProgress()

    made = job.wait(1).look()

    assert made.action is None
    assert made.next_look is not None
    assert job.lifecycle is Lifecycle.STABLE


@pytest.mark.parametrize(
    ("trigger", "answer"),
    [(TriggerFailed("a task refuses"), None), (TriggerUnknown(), Refused(RefusalKind.OTHER, "a task refuses"))],
)
def test_a_failed_savepoint_is_told_and_not_repeated(trigger: TriggerStatus, answer: Answer | None) -> None:
    job = Job().prove()
    job.put(deployment__savepoint_nonce="a")
    job.look()
    job.trigger = trigger

    made = job.look(answer)
    later = job.wait(60).look()

    assert (made.action, later.action) == (None, None)
    assert job.known.operation is None
    assert "SavepointFailed" in job.told


def test_a_savepoint_that_flink_does_not_know_is_asked_for_again() -> None:
    job = Job().prove()
    job.put(deployment__savepoint_nonce="a")
    first = job.look()
    job.trigger = TriggerUnknown()

    early = job.wait(1).look()
    again = job.wait(5).look()

    assert early.action is None
    assert again.action == first.action


def test_a_suspend_waits_for_a_savepoint_under_way_within_reason() -> None:
    job = Job().prove()
    job.put(deployment__savepoint_nonce="a")
    job.look()
    job.trigger = TriggerInProgress()
    job.put(deployment__savepoint_nonce="a", state="suspended")

    early = job.wait(1).look()
    late = job.wait(SAVEPOINT_PATIENCE).look()

    assert early.action is None
    assert isinstance(late.action, StopWithSavepoint)


def test_a_due_savepoint_comes_before_the_wish_of_the_spec() -> None:
    job = Job().prove()
    job.put(deployment__savepoint_nonce="a")
    job.look()
    job.trigger = TriggerUnknown()
    job.put(deployment__savepoint_nonce="a", state="suspended")

    made = job.wait(5).look()

    assert isinstance(made.action, TriggerSavepoint)


def test_nonces_that_stand_in_the_first_spec_ask_for_nothing() -> None:
    job = Job(deployment__restart_nonce="a", deployment__savepoint_nonce="b").prove()

    made = job.look()

    assert made.action is None
    assert job.known.operation_counter == 0


def test_a_restart_nonce_is_honoured_once() -> None:
    job = Job().prove()
    job.put(deployment__restart_nonce="a")
    job.look()
    stopped(job).look()
    job.trigger = None
    job.show()
    job.look()

    made = job.wait(30).look()

    assert job.attempt.number == 2
    assert made.action is None
    assert job.known.restart_nonce == "a"


def test_a_restart_of_a_job_that_was_rolled_back_happens_once() -> None:
    job = Job().prove()
    job.put(args=["--bad"])
    job.look()
    stopped(job).look()
    job.trigger = None
    job.look(Refused(RefusalKind.PROGRAM, "no such topic"))
    job.show(FlinkState.FAILED, name="flinkctl-burn")
    job.look()
    job.prove()
    job.put(args=["--bad"], deployment__restart_nonce="a")
    job.look()
    stopped(job).look()
    job.trigger = None

    job.prove()

    assert job.attempt.number == 4
    assert job.known.operation is None
    assert job.known.restart_nonce == "a"


def test_a_restart_that_is_not_ready_keeps_its_nonce() -> None:
    job = Job().prove()
    job.put(deployment__restart_nonce="a")
    job.staging_refused = StagingRefused("KeyRevoked", "revoked")

    made = job.look()

    assert made.action is None
    assert job.known.restart_nonce is None


@pytest.mark.parametrize("change", [{"labels": {"team": "data"}}, {"deployment__savepoint_path": "elsewhere"}])
def test_a_change_that_needs_no_restart_is_taken_over(change: dict[str, object]) -> None:
    job = Job().prove()
    job.put(**change)

    made = job.look()

    assert made.action is None
    assert job.attempt.revision == 2
    assert job.known.stable == job.known.desired == job.known.running
    assert job.lifecycle is Lifecycle.STABLE


def test_a_change_before_the_proof_proves_the_new_number() -> None:
    job = Job().run()
    job.put(labels={"team": "data"})
    job.look()

    assert job.attempt.revision == 2
    assert job.known.stable is None


def test_what_is_proven_gives_up_the_jars_that_it_does_not_need() -> None:
    job = Job().prove()
    job.head = head(2)
    job.look()
    stopped(job).look()
    job.trigger = None
    job.show()
    both = job.look().status.staged_digests
    job.wait(30)
    job.checkpoints = CHECKPOINTED

    made = job.look()

    assert made.action is None
    assert both == (artifact(1).sha256, artifact(2).sha256)
    assert job.prepared == [ReleaseJar("default", artifact(1).sha256)]
    assert job.known.staged_digests == (artifact(2).sha256,)


def test_a_refused_revision_is_cancelled_and_the_stable_one_comes_back_from_its_own_state() -> None:
    job = Job().prove()
    job.put(args=["--bad"])
    job.look()
    stopped(job, "s3://sp/good").look()
    job.trigger = None
    job.show(FlinkState.RESTARTING, tasks=0)
    job.look()

    refused = job.wait(300).look()
    job.stored = StoredState((retained(99, "s3://bad/chk-99"),))
    back = job.end(FlinkState.CANCELED)

    assert isinstance(refused.action, Cancel)
    assert isinstance(back.action, Submit)
    assert back.action.restore_from == "s3://sp/good"
    assert back.action.args == ()
    assert job.attempt.revision == 1
    assert job.lifecycle is Lifecycle.ROLLING_BACK
    assert job.known.refused is not None
    assert job.known.refused.reason == "NotHealthy"


def test_a_revision_that_rolled_back_is_rolled_back_once_it_is_proven_again() -> None:
    job = Job().prove()
    job.put(args=["--bad"])
    job.look()
    stopped(job).look()
    job.trigger = None
    job.look(Refused(RefusalKind.PROGRAM, "no such topic"))
    job.show(FlinkState.FAILED, name="flinkctl-burn")
    job.look()
    job.prove()

    assert job.lifecycle is Lifecycle.ROLLED_BACK
    assert job.told[-1] == "RolledBack"
    assert job.says("Ready") == ("True", "SubmissionRefused")
    assert job.says("RevisionHealthy") == ("False", "SubmissionRefused")


def barred_rollback() -> Job:
    """Give a job whose new revision is refused, and whose old one cannot be staged for the time being."""
    job = Job().prove()
    job.put(args=["--bad"])
    job.look()
    stopped(job).look()
    job.trigger = None
    job.show(FlinkState.RESTARTING, tasks=0)
    job.look()
    job.staging_refused = StagingRefused("KeyRevoked", "revoked")
    job.wait(300).look()
    return job


def test_a_rollback_that_has_to_wait_is_told_once() -> None:
    job = barred_rollback()

    for _ in range(3):
        job.wait(60).look()

    assert [event.count for event in job.events.values() if event.reason == "RollbackStarted"] == [1]


def test_a_revision_that_heals_while_the_way_back_is_barred_is_not_refused_any_more() -> None:
    job = barred_rollback()
    job.show()
    job.look()
    job.wait(30)
    job.checkpoints = CHECKPOINTED

    job.look()

    assert job.known.refused is None
    assert job.known.stable == job.known.desired
    assert job.lifecycle is Lifecycle.STABLE
    assert job.told[-1] == "Stable"


def test_a_late_rollback_tells_of_what_it_waits() -> None:
    job = Job().prove()
    job.put(args=["--bad"])
    job.look()
    stopped(job).look()
    job.trigger = None
    job.show(FlinkState.RESTARTING, tasks=0)
    job.look()
    job.staging_refused = StagingRefused("KeyRevoked", "revoked")

    made = job.wait(300).look()

    assert made.action is None
    assert job.reason == "KeyRevoked"
    assert job.known.refused is not None


def test_a_suspended_job_at_rest_asks_for_nothing() -> None:
    job = Job(state="suspended")

    made = job.look()

    assert (made.action, made.next_look) == (None, None)
    assert job.lifecycle is Lifecycle.SUSPENDED


def test_a_deleted_job_gives_up_its_jars() -> None:
    job = Job().prove()
    job.spec = NoSpec()
    job.look()
    stopped(job)

    made = job.look()

    assert made.action is None
    assert job.prepared[-1] == ReleaseJar("default", artifact().sha256)
    assert job.known.staged_digests == ()
    assert job.lifecycle is Lifecycle.DELETED
    assert job.known.handover is not None
    assert job.known.handover.path == "s3://state/savepoints/sp"


def test_a_job_that_never_ran_is_deleted_at_once() -> None:
    job = Job()
    job.head = None
    job.look()
    job.spec = NoSpec()

    made = job.look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.DELETED


def test_uploads_that_never_work_do_not_pile_up_jars() -> None:
    job = Job().submit()

    for number in range(2, 12):
        job.look(Refused(RefusalKind.PROGRAM, "no such topic"))
        job.show(FlinkState.FAILED, name="flinkctl-burn")
        job.look()
        job.head = head(number)
        job.look()

    assert job.attempt.number == 11
    assert len(job.known.staged_digests) <= 5
    assert job.known.staged_digests[-1] == artifact(11).sha256
    assert ReleaseJar in [type(action) for action in job.prepared]


def test_a_failed_job_is_restarted_after_a_growing_wait() -> None:
    job = Job().prove()
    job.end(FlinkState.FAILED, cause="out of memory")

    assert job.reason == "BackingOff"
    assert job.known.failures.count == 1
    early = job.wait(20).look()
    late = job.wait(10).look()

    assert early.action is None
    assert isinstance(late.action, Submit)


def test_the_backoff_goes_on_while_the_spec_is_invalid() -> None:
    job = Job().prove()
    job.spec = invalid_spec(nonsense=True)
    job.end(FlinkState.FAILED, cause="out of memory")

    made = job.wait(30).look()

    assert job.known.failures.count == 1
    assert isinstance(made.action, Submit)


def test_an_unreadable_place_blocks_and_never_starts_empty() -> None:
    job = Job().prove()
    job.stored = StorageUnreadable("access denied")

    made = job.end(FlinkState.CANCELED)
    again = job.wait(600).look()

    assert (made.action, again.action) == (None, None)
    assert job.reason == "StateUnknown"
    assert job.says("Stalled") == ("True", "StateUnknown")
    assert again.next_look is not None


def test_a_rewritten_job_goes_on_from_where_its_delete_left_off() -> None:
    job = Job().prove()
    job.spec = NoSpec()
    job.look()
    stopped(job).look()
    job.put(args=["--again"])

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://state/savepoints/sp"
    assert job.attempt.number == 2


def test_a_move_stops_on_the_old_cluster_and_starts_on_the_new_one() -> None:
    job = Job().prove()
    job.put(cluster="other")
    job.destination = OTHER

    stop = job.look()
    stopped(job)
    between = job.look()
    job.cluster, job.destination, job.jobs, job.trigger, job.life = OTHER, None, {}, None, "other-web-1"
    start = job.look()

    assert isinstance(stop.action, StopWithSavepoint)
    assert between.action is None
    assert between.next_look == job.now
    assert isinstance(start.action, Submit)
    assert start.action.restore_from == "s3://state/savepoints/sp"
    assert job.attempt.cluster == "other"


@pytest.mark.parametrize(
    ("destination", "reason"),
    [(None, "StateForbidden"), (OTHER.model_copy(update={"checkpoint_root": "file:///state"}), "StateForbidden")],
)
def test_a_move_to_where_the_state_cannot_be_read_leaves_the_running_job_alone(destination: object, reason: str) -> None:
    job = Job().prove()
    job.put(cluster="other")
    job.destination = destination  # type: ignore[assignment]  # parametrized

    made = job.look()

    assert made.action is None
    assert job.known.operation is None
    assert job.reason == reason


def test_a_move_between_clusters_on_s3_is_allowed_whatever_their_roots() -> None:
    job = Job().prove()
    job.put(cluster="other")
    job.destination = OTHER.model_copy(update={"checkpoint_root": "s3://another/checkpoints"})

    made = job.look()

    assert isinstance(made.action, StopWithSavepoint)


def test_a_delete_on_an_unreachable_cluster_takes_as_long_as_it_takes() -> None:
    job = Job().prove()
    job.spec, job.unreachable = NoSpec(), "connection refused"

    job.wait(86_400).look()

    assert job.lifecycle is Lifecycle.DELETING
    assert job.reason == "ClusterUnreachable"


@pytest.mark.parametrize("is_removed", [True, False])
def test_an_abandoned_job_ends_without_its_cluster_and_its_id_stays_alive(is_removed: bool) -> None:  # noqa: FBT001  # a case's outcome
    job = Job().prove()
    job.spec, job.unreachable = AbandonedSpec("0" * 64), "connection refused"
    if is_removed:
        job.cluster = None

    made = job.look()
    job.look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.DELETED
    assert not job.attempt.is_dead
    assert job.told.count("Abandoned") == 1


def test_an_abandoned_job_ends_though_its_state_cannot_be_found() -> None:
    job = Job().prove()
    job.stored = StorageUnreadable("access denied")
    job.spec = NoSpec()
    job.end(FlinkState.CANCELED)
    before = job.lifecycle
    job.spec = AbandonedSpec("0" * 64)

    job.wait(60).look()

    assert before is Lifecycle.DELETING
    assert job.lifecycle is Lifecycle.DELETED


def test_an_abandoned_job_stays_deleted_when_its_item_is_removed() -> None:
    job = Job().prove()
    job.spec, job.unreachable = AbandonedSpec("0" * 64), "connection refused"
    job.look()
    job.spec = NoSpec()

    job.look()

    assert job.lifecycle is Lifecycle.DELETED


def test_a_delete_without_its_cluster_ends_as_well() -> None:
    job = Job().prove()
    job.spec, job.cluster = NoSpec(), None

    job.look()

    assert job.lifecycle is Lifecycle.DELETED


def test_an_abandoned_job_is_stopped_once_its_cluster_is_back() -> None:
    job = Job().prove()
    job.spec, job.unreachable = AbandonedSpec("0" * 64), "connection refused"
    job.look()
    job.unreachable = None

    made = job.look()

    assert isinstance(made.action, StopWithSavepoint)


def test_a_rewrite_after_an_abandoned_delete_waits_until_the_old_id_is_dead() -> None:
    job = Job().prove()
    job.spec, job.unreachable = AbandonedSpec("0" * 64), "connection refused"
    job.look()
    job.put(args=["--again"])

    made = job.look()

    assert made.action is None
    assert job.known.attempt_counter == 1
    assert job.known.halted is None


def test_an_abandoned_job_that_never_ran_is_deleted() -> None:
    job = Job()
    job.head = None
    job.look()
    job.spec, job.cluster = AbandonedSpec("0" * 64), None

    job.look()

    assert job.lifecycle is Lifecycle.DELETED


@pytest.mark.parametrize("end", [EndState.LOST, EndState.UNKNOWN])
def test_a_job_that_was_lost_is_told_so(end: EndState) -> None:
    job = Job().prove()
    job.stored = StoredState((retained(),))
    if end is EndState.LOST:
        job.jobs, job.life = {}, NEW_LIFE
        job.look()
        job.wait(QUARANTINE)
    else:
        job.jobs = {}

    job.look()

    assert "JobLost" in job.told


def test_status_and_pause_say_what_they_are() -> None:
    assert Pause(scope=f"job/{JOB}").reason == ""
    assert SCHEMA_VERSION == 1
    assert savepoint().is_savepoint
