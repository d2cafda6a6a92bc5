"""From a spec and uploads to revisions."""

from datetime import timedelta

import pytest

from flink_controller.domain.acceptance import faults_of, settled
from flink_controller.domain.actions import Submit
from flink_controller.domain.artifact import ArtifactHead, Verdict
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.observation import Checkpoints, FlinkState, TriggerCompleted
from flink_controller.domain.spec import AbandonedSpec, NoSpec
from flink_controller.domain.status import DesiredState
from flink_controller.testing.clock import START
from tests.unit.domain.builders import Job, artifact, head, invalid_spec, version

SECOND = timedelta(seconds=1)
DEBOUNCE = 5 * SECOND


def burst(number: int, *, decided: float, started: float | None = 0.0) -> ArtifactHead:
    admitted = version(number, at=START + decided * SECOND)
    return ArtifactHead(
        latest=admitted, admitted=admitted, burst_started_at=None if started is None else START + started * SECOND
    )


@pytest.mark.parametrize(
    ("decided", "now", "expected"),
    [
        (0, 0, 5),
        (0, 4.9, 5),
        (0, 5, None),
        (3, 5, 8),
        (3, 8, None),
        (58, 59, 63),
        (58, 60, None),
        (58, 62, None),
        (66, 66, None),
        (66, 71, None),
    ],
)
def test_a_burst_is_over_after_quiet_or_once_when_it_is_long(decided: float, now: float, expected: float | None) -> None:
    found = settled(burst(2, decided=decided), START + now * SECOND, DEBOUNCE)

    assert found == (None if expected is None else START + expected * SECOND)


def test_a_burst_of_unknown_start_began_with_its_last_admission() -> None:
    assert settled(burst(2, decided=3, started=None), START + 4 * SECOND, DEBOUNCE) == START + 8 * SECOND


def test_without_an_admitted_version_there_is_nothing_to_wait_for() -> None:
    waiting = ArtifactHead(latest=version(verdict=Verdict.WAITING))

    assert settled(waiting, START, DEBOUNCE) is None


def test_two_uploads_within_the_debounce_become_one_upgrade() -> None:
    job = Job().prove()
    for number, after in ((2, 0), (3, 3)):
        at = job.now + timedelta(seconds=after)
        job.head = ArtifactHead(latest=version(number, at=at), admitted=version(number, at=at), burst_started_at=job.now)
        job.wait(after).look()
    early = len(job.revisions)

    made = job.wait(5).look()

    assert early == 1
    assert len(job.revisions) == 2
    assert job.known.desired is not None
    assert job.known.desired.artifact.sha256 == artifact(3).sha256
    assert made.action is not None


def test_a_burst_that_does_not_end_gives_one_upgrade_early_and_one_at_its_end() -> None:
    job = Job().prove()
    started, number = job.now, 1
    for _ in range(40):
        number += 1
        at = job.now
        job.head = ArtifactHead(latest=version(number, at=at), admitted=version(number, at=at), burst_started_at=started)
        job.look()
        job.wait(2)
    during = len(job.revisions)

    job.wait(5).look()

    assert during == 2
    assert len(job.revisions) == 3
    assert job.revisions[3] is not None
    assert job.revisions[3].artifact == artifact(number)


def test_the_end_of_a_burst_is_looked_for() -> None:
    job = Job().prove()
    at = job.now
    job.head = ArtifactHead(latest=version(2, at=at), admitted=version(2, at=at), burst_started_at=at)

    made = job.look()

    assert made.next_look == at + DEBOUNCE


def test_a_change_of_the_spec_alone_does_not_wait_for_a_burst() -> None:
    job = Job().prove()
    job.head = ArtifactHead(latest=version(2, at=job.now), admitted=version(2, at=job.now), burst_started_at=job.now)
    job.put(args=["--new"])

    job.look()

    assert job.known.desired is not None
    assert job.known.desired.number == 2
    assert job.known.desired.artifact.sha256 == artifact(1).sha256


def test_the_same_bytes_again_are_no_burst() -> None:
    job = Job().prove()
    again = version(2, at=job.now, sha256=artifact(1).sha256)
    job.head = ArtifactHead(latest=again, admitted=again, burst_started_at=job.now)

    made = job.look()

    assert made.action is None
    assert job.attempt.number == 1
    assert job.lifecycle is Lifecycle.STABLE


def test_another_key_is_taken_at_once() -> None:
    job = Job().prove()
    other = version(2, at=job.now, key="artifacts/other.jar")
    job.head = ArtifactHead(latest=other, admitted=other, burst_started_at=job.now)
    job.put(artifact_path="artifacts/other.jar")

    job.look()

    assert job.known.desired is not None
    assert job.known.desired.artifact.key == "artifacts/other.jar"


@pytest.mark.parametrize(
    ("latest", "reason", "lifecycle"),
    [
        (None, "ArtifactMissing", Lifecycle.WAITING),
        (version(verdict=Verdict.WAITING), "SignatureMissing", Lifecycle.WAITING),
        (version(verdict=Verdict.REFUSED, reason="SignatureInvalid"), "SignatureInvalid", Lifecycle.FAILED),
        (version(verdict=Verdict.REFUSED, reason="NotAJar"), "NotAJar", Lifecycle.FAILED),
    ],
)
def test_without_verified_bytes_the_job_says_what_is_missing(latest: object, reason: str, lifecycle: Lifecycle) -> None:
    job = Job()
    job.head = None if latest is None else ArtifactHead.model_validate({"latest": latest})

    made = job.look()

    assert made.action is None
    assert job.reason == reason
    assert job.lifecycle is lifecycle
    assert made.next_look == job.now + timedelta(minutes=1)


def test_looks_for_what_is_missing_grow_rare() -> None:
    job = Job()
    job.head = None
    job.look()

    day = job.wait(timedelta(days=1)).look()

    assert day.next_look == job.now + timedelta(hours=1)


def test_a_refused_upload_leaves_the_running_job_alone() -> None:
    job = Job().prove()
    refused = version(2, at=job.now, verdict=Verdict.REFUSED, reason="SignatureInvalid", message="no")
    job.head = ArtifactHead(latest=refused, admitted=version(1))

    made = job.look()
    job.look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.STABLE
    assert job.says("ArtifactVerified") == ("False", "SignatureInvalid")
    assert job.told.count("ArtifactRefused") == 1


@pytest.mark.parametrize("has_head", [True, False])
def test_a_pin_that_no_version_fits_waits(has_head: bool) -> None:  # noqa: FBT001  # a case's outcome
    job = Job(artifact_signature="sha256:" + "a" * 64)
    job.head = head() if has_head else None

    job.look()

    assert job.reason == "ArtifactMissing"
    assert job.known.desired is None


def test_a_pinned_version_is_taken_from_among_the_older_ones() -> None:
    job = Job(artifact_signature="sha256:" + f"{1:064x}")
    job.head, job.pinned = head(2), artifact(1)

    made = job.look()

    assert isinstance(made.action, Submit)
    assert job.known.desired is not None
    assert job.known.desired.artifact == artifact(1)


def test_an_initial_path_may_change_until_the_first_attempt() -> None:
    job = Job(deployment__initial_savepoint_path="a")
    job.head = None
    job.look()
    job.put(deployment__initial_savepoint_path="b")

    job.look()

    assert job.known.initial_savepoint_path == "b"
    assert job.known.rejected_spec_hash is None


def test_a_later_change_of_the_initial_path_is_refused_and_names_the_way() -> None:
    job = Job(deployment__initial_savepoint_path="a").prove()
    job.put(deployment__initial_savepoint_path="b", args=["--new"])

    made = job.look()
    again = job.look()

    assert (made.action, again.action) == (None, None)
    assert job.known.desired is not None
    assert job.known.desired.number == 1
    assert job.says("SpecValid") == ("False", "SpecRejected")
    assert job.told.count("SpecRejected") == 1
    assert "flinkctl restore etl --from PATH" in job.events[max(job.events)].message


@pytest.mark.parametrize("path", ["a", None])
def test_the_initial_path_may_stay_or_go(path: str | None) -> None:
    job = Job(deployment__initial_savepoint_path="a").prove()
    job.put(deployment__initial_savepoint_path=path, labels={"a": "b"})

    job.look()

    assert job.known.rejected_spec_hash is None


def test_an_invalid_spec_keeps_the_last_good_revision_and_tells_every_fault_once() -> None:
    job = Job().prove()
    job.spec = invalid_spec(deployment__parallelism=0, nonsense=True)

    job.look()
    job.look()

    condition = job.known.condition("SpecValid")
    assert condition is not None
    assert "deployment.parallelism" in condition.message
    assert "nonsense" in condition.message
    assert job.told.count("SpecRejected") == 1
    assert job.lifecycle is Lifecycle.STABLE


def test_the_running_job_is_healed_with_the_last_good_spec() -> None:
    job = Job(args=["--good"]).prove()
    job.spec = invalid_spec(nonsense=True)

    made = job.end(FlinkState.CANCELED)

    assert isinstance(made.action, Submit)
    assert made.action.args == ("--good",)


def test_a_corrected_spec_is_accepted_again() -> None:
    job = Job()
    job.spec = invalid_spec(nonsense=True)
    job.look()
    job.put()

    job.look()

    assert job.known.rejected_spec_hash is None
    assert job.says("SpecValid") == ("True", "SpecAccepted")


def test_an_invalid_item_after_a_delete_that_left_nothing_is_a_first_spec() -> None:
    job = Job()
    job.head = None
    job.look()
    job.spec = NoSpec()
    job.look()
    job.spec = invalid_spec(nonsense=True)

    job.look()

    assert job.known.desired_state is DesiredState.RUNNING
    assert job.lifecycle is Lifecycle.FAILED


def test_an_invalid_item_after_a_delete_is_told_and_starts_nothing() -> None:
    job = Job().prove()
    job.spec = NoSpec()
    job.look()
    job.trigger = TriggerCompleted("s3://state/savepoints/sp")
    job.show(FlinkState.FINISHED)
    job.look()
    job.spec = invalid_spec(nonsense=True)

    made = job.look()

    assert made.action is None
    assert job.lifecycle is Lifecycle.FAILED
    assert job.says("Ready") == ("False", "SpecRejected")
    assert job.known.attempt_counter == 1


def test_a_corrected_item_after_a_delete_goes_on_from_the_kept_state() -> None:
    job = Job().prove()
    job.spec = NoSpec()
    job.look()
    job.trigger = TriggerCompleted("s3://state/savepoints/sp")
    job.show(FlinkState.FINISHED)
    job.look()
    job.trigger = None
    job.spec = invalid_spec(nonsense=True)
    job.look()
    job.put()

    made = job.look()

    assert isinstance(made.action, Submit)
    assert made.action.restore_from == "s3://state/savepoints/sp"
    assert job.known.halted is None


def test_wishes_are_told_once() -> None:
    job = Job().prove()
    for state in ("suspended", "suspended", "running"):
        job.put(state=state)
        job.look()
    job.spec = NoSpec()
    job.look()
    job.spec = AbandonedSpec("0" * 64)
    job.look()

    wishes = [reason for reason in job.told if reason.endswith("Requested")]

    assert wishes == ["SuspendRequested", "ResumeRequested", "DeleteRequested", "AbandonRequested"]


@pytest.mark.parametrize("is_completed", [True, False])
def test_a_restart_begins_again_what_had_ended(is_completed: bool) -> None:  # noqa: FBT001  # a case's outcome
    job = Job(deployment__on_failure__action="none").prove()
    job.checkpoints = Checkpoints(is_enabled=True)
    job.end(FlinkState.FINISHED if is_completed else FlinkState.FAILED)
    ended = job.lifecycle
    job.put(deployment__on_failure__action="none", deployment__restart_nonce="a")

    made = job.look()

    assert ended is (Lifecycle.COMPLETED if is_completed else Lifecycle.FAILED)
    assert isinstance(made.action, Submit)
    assert job.known.restart_nonce == "a"


def test_a_new_spec_begins_again_what_had_been_given_up() -> None:
    job = Job(deployment__on_failure__action="none").prove()
    job.end(FlinkState.FAILED)
    job.put(deployment__on_failure__action="none", args=["--fixed"])

    made = job.look()

    assert isinstance(made.action, Submit)
    assert job.known.halted is None


def test_a_gone_item_has_no_faults() -> None:
    job = Job()
    job.spec = NoSpec()

    assert faults_of(job.draft()) == ()


ANN = "arn:aws:sts::123456789012:assumed-role/deploy/ann"


def named(job: Job) -> list[tuple[str, str]]:
    """The events that somebody asked for, with the name."""
    return [(event.reason, event.by) for _, event in sorted(job.events.items()) if event.by]


def test_the_events_of_the_look_that_sees_a_spec_first_name_its_writer() -> None:
    job = Job(written_by=ANN).prove()

    job.put(written_by="ben", state="suspended", args=["--two"])
    for _ in range(3):
        job.look()

    assert named(job) == [("SpecAccepted", ANN), ("SuspendRequested", "ben"), ("SpecAccepted", "ben")]


def test_a_wish_that_no_other_event_tells_of_is_told_once() -> None:
    job = Job().prove()

    job.put(written_by=ANN, deployment__savepoint_nonce="n1")
    for _ in range(3):
        job.look()

    assert named(job) == [("SpecWritten", ANN)]
    assert [event.message for event in job.events.values() if event.by] == ["savepoint (n1)"]


def test_a_refused_item_names_its_writer_as_far_as_that_is_text() -> None:
    job = Job().prove()

    job.spec = invalid_spec(written_by="x\ny", job_type="neither")
    job.look()

    ((reason, by),) = named(job)
    assert reason == "SpecRejected"
    assert "\n" not in by


def test_an_upload_is_not_laid_at_the_writer_s_door() -> None:
    job = Job(written_by=ANN).prove()

    job.head = head(2)
    job.wait(60).look()

    assert named(job) == [("SpecAccepted", ANN)]
    assert job.told.count("SpecAccepted") == 2
