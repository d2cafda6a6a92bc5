"""The largest status that can be: with every path and name as long as is allowed, it fits its item once messages are cut."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flink_controller.domain import batch
from flink_controller.domain.alerts import Alert, Switch
from flink_controller.domain.artifact import Artifact
from flink_controller.domain.cluster_check import MAX_ROOT_BYTES
from flink_controller.domain.conditions import FAULTS_LIMIT
from flink_controller.domain.intents import KEPT_DIRECTORIES
from flink_controller.domain.lifecycle import summarise
from flink_controller.domain.plan import MESSAGE_LIMIT, dumped, fitted
from flink_controller.domain.spec import ValidSpec, read_spec
from flink_controller.domain.status import (
    ActiveRun,
    Attempt,
    AttemptPhase,
    CheckpointFigures,
    Condition,
    DesiredState,
    Disposal,
    DueKind,
    EndState,
    Event,
    Failures,
    Handover,
    Incident,
    JobStatus,
    JobType,
    LaneRole,
    Operation,
    OperationKind,
    PendingRun,
    PeriodicSavepoints,
    Quarantine,
    RefusedRevision,
    Reservation,
    Restored,
    Retention,
    RevisionRef,
    Run,
    RunOutcome,
    Runs,
    Savepoint,
    SecondLane,
    Symptom,
    SymptomKind,
)
from flink_controller.domain.submitting import MAX_STAGED
from flink_controller.ports import STATUS_LIMIT_BYTES
from flink_controller.services.reconcile import STATUS_ROOM_BYTES
from tests.unit.domain.builders import Job

NOW = datetime(2030, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)
MANY = 10**9
JOB_ID = "0" * 32
HASH = "f" * 64
NAMESPACE, NAME, CLUSTER, BUCKET = "n" * 63, "m" * 63, "c" * 63, "b" * 63
ROOT = "s3://" + "r" * (MAX_ROOT_BYTES - 5)
JAR = f"{'j' * 36}_flinkctl-{'a' * 12}-{'b' * 12}-{HASH}.jar"
LIFE = f"flink-web-{'i' * 36}"
WORST = ["x", '"', "ß", "\N{GRINNING FACE}"]
"""What paths and messages are made of: as many bytes as characters, escaped in JSON, two bytes, and four."""
CONDITIONS = (
    "SpecValid",
    "ArtifactVerified",
    "ClusterReachable",
    "JobRunning",
    "CheckpointHealthy",
    "Backpressured",
    "RevisionHealthy",
    "Stalled",
    "Ready",
)
MESSAGES = {"message", "halted", "refusal", "root_cause", "last_failure"}


class Largest:
    """Makes every part as large as it can be.

    Args:
        path: the character that paths are made of.
        message: the character that messages and nonces are made of.
    """

    def __init__(self, path: str, message: str) -> None:
        self._path = path
        self._message = message * MESSAGE_LIMIT
        self._nonce = message * 128
        self._faults = message * (FAULTS_LIMIT + 60)
        self.directory = self.bytes_of(200)
        self.initial = self.bytes_of(512)
        self.key = f"{NAMESPACE}/{self.bytes_of(256 - len(NAMESPACE) - 5)}.jar"

    def bytes_of(self, limit: int) -> str:
        return self._path * (limit // len(self._path.encode()))

    def operation_directory(self, number: int) -> str:
        return f"{ROOT}/{NAMESPACE}/{self.directory}/{JOB_ID}-{MANY + number}"

    def savepoint(self, number: int) -> str:
        return f"{self.operation_directory(number)}/savepoint-012345-0123456789ab"

    def revision(self) -> RevisionRef:
        return RevisionRef(
            number=MANY,
            cluster=CLUSTER,
            spec_hash=HASH,
            fingerprints=dict.fromkeys(("IGNORE", "RESCALE", "UPGRADE", "REDEPLOY"), HASH[:16]),
            artifact=Artifact(
                bucket=BUCKET, key=self.key, version_id="v" * 32, sha256=HASH, key_id="k" * 128, size_bytes=MANY
            ),
        )

    def attempt(self) -> Attempt:
        return Attempt(
            number=MANY,
            flink_job_id=JOB_ID,
            revision=MANY,
            cluster=CLUSTER,
            restore_from=f"{ROOT}/{NAMESPACE}/{self.initial}",
            checkpoint_root=ROOT,
            retains_state=False,
            jar_id=JAR,
            incarnation=LIFE,
            phase=AttemptPhase.SUBMITTING,
            created_at=NOW,
            submitted_at=NOW,
            is_unsent=True,
            refusal=self._message,
            duplicate_at=NOW,
            refusal_is_final=True,
            live_at=NOW,
            flink_state="RECONCILING",
            modified_ms=10**12,
            settled_at=NOW,
            is_checkpointed=False,
            has_completed_checkpoint=True,
            checkpoint_asked_at=NOW,
            is_proven=True,
            savepoint_directories=tuple(self.operation_directory(number) for number in range(KEPT_DIRECTORIES)),
            end=EndState.FINISHED,
            dead_at=NOW,
            root_cause=self._message,
        )

    def operation(self, kind: OperationKind) -> Operation:
        return Operation(
            kind=kind,
            sequence=MANY,
            flink_job_id=JOB_ID,
            trigger_id=JOB_ID,
            target_directory=self.operation_directory(0),
            purpose="blue-green",
            started_at=NOW,
            requested_at=NOW,
            failures=MANY,
            last_failure=self._message,
        )

    def condition(self, type_: str) -> Condition:
        message = self._faults if type_ == "SpecValid" else self._message
        return Condition(type=type_, status="Unknown", reason="SubmissionRefused", message=message, last_transition_time=NOW)

    def run(self, number: int) -> ActiveRun:
        attempt = self.attempt().model_copy(update={"restore_from": None, "savepoint_directories": ()})
        return ActiveRun(
            scheduled_at=NOW + timedelta(seconds=number),
            previous_at=NOW,
            revision=self.revision(),
            attempt=attempt,
            started_at=NOW,
            expires_at=NOW,
            nonce=self._nonce if number == 0 else None,
            retries_left=100,
            failures=100,
            backoff_seconds=10**6,
            submission_deadline_seconds=10**6,
            retry_at=NOW,
            ending=RunOutcome.CANCELLED,
            ending_reason="SubmissionDeadline",
            cancel_requested_at=NOW,
        )

    def batch_status(self) -> JobStatus:
        """What a batch job has: many runs, and nothing that only a stream needs."""
        streams_alone = (
            *("attempt", "second", "operation", "handover", "savepoint", "running", "stable"),
            *("checkpointing", "failures_told_until"),
            *("initial_savepoint_path", "stable_state", "green_state", "green_retry_at", "refused", "savepoint_nonce"),
        )
        last = Run(
            scheduled_at=NOW,
            until=NOW,
            outcome=RunOutcome.CANCELLED,
            reason="SubmissionDeadline",
            message=self._message,
            revision=MANY,
            attempt=MANY,
            flink_job_id=JOB_ID,
            started_at=NOW,
            ended_at=NOW,
            is_manual=True,
        )
        runs = Runs(
            started=MANY,
            schedule=HASH[:16],
            decided_until=NOW,
            previous_at=NOW,
            pending=tuple(
                PendingRun(
                    scheduled_at=NOW + timedelta(seconds=number), nonce=self._nonce if number == 0 else None, is_held=True
                )
                for number in range(batch.BACKLOG + 1)
            ),
            active=tuple(self.run(number) for number in range(batch.MAX_ACTIVE)),
            closed="TooManyFailures",
            nonce=self._nonce,
            served=self.revision(),
            failed_in_a_row=MANY,
            last=last,
            next_at=NOW,
        )
        conditions = (*self.status().conditions, self.condition("Scheduled"), self.condition("LastRunSucceeded"))
        return self.status().model_copy(
            update={
                **dict.fromkeys(streams_alone),
                "symptoms": (),
                "job_type": JobType.BATCH,
                "runs": runs,
                "conditions": conditions,
            }
        )

    def status(self) -> JobStatus:
        return JobStatus(
            job_id=f"{NAMESPACE}/{NAME}",
            cluster=CLUSTER,
            desired_state=DesiredState.SUSPENDED,
            created_at=NOW,
            updated_at=NOW,
            attempt_counter=MANY,
            operation_counter=MANY,
            revision_counter=MANY,
            event_counter=MANY,
            observed_spec_hash=HASH,
            correlation_id=HASH[:16],
            rejected_spec_hash=HASH,
            initial_savepoint_path=self.initial,
            burst_served=NOW,
            artifact_location=f"{BUCKET}/{self.key}",
            desired=self.revision(),
            running=self.revision(),
            stable=self.revision(),
            stable_state=self.savepoint(1),
            refused=RefusedRevision(
                number=MANY,
                spec_hash=HASH,
                artifact_version="v" * 32,
                reason="SubmissionRefused",
                message=self._message,
            ),
            halted=self._message,
            halt_reason="SubmissionRefused",
            attempt=self.attempt(),
            second=SecondLane(
                role=LaneRole.RETIRED, attempt=self.attempt(), revision=self.revision(), cancel_requested_at=NOW
            ),
            green_state=self.savepoint(2),
            green_retry_at=NOW,
            void_jar_id=JAR,
            operation=self.operation(OperationKind.SAVEPOINT),
            leftover=self.operation(OperationKind.CANCEL).model_copy(update={"target_directory": "", "last_failure": None}),
            handover=Handover(path=self.savepoint(3), of_attempt=MANY, is_end=True),
            quarantine=Quarantine(incarnation=LIFE, since=NOW),
            savepoint=Savepoint(path=self.savepoint(4), completed_at=NOW),
            retention=Retention(count=MANY, days=MANY, takes_manual=True, check_at=NOW),
            disposal=Disposal(number=MANY, path=self.savepoint(6), requested_at=NOW, failures=MANY, retry_at=NOW),
            disposal_nonce=self._nonce,
            claims=(self.initial, self.savepoint(7), self.savepoint(8)),
            periodic=PeriodicSavepoints(interval_ms=MANY, since=NOW, failures=MANY, retry_at=NOW),
            failures=Failures(count=MANY, last_at=NOW),
            is_completed=True,
            checkpointing=CheckpointFigures(
                of_attempt=MANY,
                interval_s=604_799.999,
                timeout_s=604_799.999,
                window_s=10**7,
                completed_at=NOW,
                duration_s=604_799.999,
                size_bytes=2**63,
                failed_in_a_row=10**4,
            ),
            symptoms=tuple(
                Symptom(kind=kind, since=NOW, told_at=NOW, good_since=NOW, message=self._message) for kind in SymptomKind
            ),
            failures_told_until=NOW,
            staged_digests=(HASH,) * (MAX_STAGED + 1),
            restart_nonce=self._nonce,
            savepoint_nonce=self._nonce,
            restore_nonce=self._nonce,
            restored=Restored(path=self.initial, kept=self.savepoint(5), of_attempt=MANY),
            due=(DueKind.LAUNCH, NOW),
            waiting=("ClusterUnreachable", self._message),
            conditions=tuple(self.condition(type_) for type_ in CONDITIONS),
            last_event=Event(
                sequence=MANY,
                time=NOW,
                type="Warning",
                reason="SubmissionRefused",
                message=self._message,
                revision=MANY,
                attempt=MANY,
                count=MANY,
            ),
            incidents=tuple(Incident(alert=alert, is_told=False) for alert in Alert),
            muted=tuple(switch.value for switch in Switch),
            is_disallowed=True,
            reserved=Reservation(slots=2**31, proven=2**31, asked=2**31, revision=2**31),
            next_look=NOW,
        )


def without_messages(value: Any) -> Any:
    """Give a document with its messages taken out."""
    if isinstance(value, dict):
        return {
            name: [inner[0], ""] if name == "waiting" else "" if name in MESSAGES else without_messages(inner)
            for name, inner in value.items()
        }
    return [without_messages(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("path", WORST)
@pytest.mark.parametrize("message", [*WORST, "\x01"])
def test_the_largest_status_fits_and_only_its_messages_are_shorter(path: str, message: str) -> None:
    largest = Largest(path, message).status()

    found = fitted(largest, STATUS_ROOM_BYTES)

    assert len(dumped(found)) <= STATUS_ROOM_BYTES == STATUS_LIMIT_BYTES - 1024
    assert without_messages(json.loads(dumped(found))) == without_messages(json.loads(dumped(largest)))


@pytest.mark.parametrize("path", WORST)
@pytest.mark.parametrize("message", [*WORST, "\x01"])
def test_the_largest_status_of_a_batch_job_fits_too(path: str, message: str) -> None:
    largest = Largest(path, message).batch_status()

    found = fitted(largest, STATUS_ROOM_BYTES)

    assert len(dumped(found)) + len(summarise(found).model_dump_json()) <= STATUS_LIMIT_BYTES
    assert without_messages(json.loads(dumped(found))) == without_messages(json.loads(dumped(largest)))


@pytest.mark.parametrize("path", WORST)
def test_the_largest_status_sets_every_field_and_its_spec_is_one_that_is_accepted(path: str) -> None:
    largest = Largest(path, "x")
    document = largest.status().model_dump(exclude_defaults=True)

    view = read_spec(
        f"{NAMESPACE}/{NAME}",
        {
            "job_id": f"{NAMESPACE}/{NAME}",
            "job_type": "stream",
            "cluster": CLUSTER,
            "artifact_path": largest.key,
            "deployment": {"savepoint_path": largest.directory, "initial_savepoint_path": largest.initial},
        },
    )

    assert set(JobStatus.model_fields) - set(document) == {"schema_version", "job_type", "runs"}
    assert set(Runs.model_fields) == set(largest.batch_status().runs.model_dump(exclude_defaults=True))
    assert isinstance(view, ValidSpec), view


def test_a_fitting_status_is_left_as_it_is() -> None:
    status = Job().prove().known

    assert fitted(status, STATUS_ROOM_BYTES) is status


def test_the_conditions_are_those_that_a_job_has() -> None:
    assert {condition.type for condition in Job().prove().known.conditions} == set(CONDITIONS)


@pytest.mark.parametrize(
    ("field", "limit"), [("artifact_path", 256), ("savepoint_path", 200), ("initial_savepoint_path", 512)]
)
def test_a_path_is_bounded_by_its_bytes_and_not_by_its_characters(field: str, limit: int) -> None:
    for path, is_allowed in (
        ("artifacts/" + "ä" * (limit // 2 - 8) + ".jar", True),
        ("artifacts/" + "ä" * (limit // 2), False),
    ):
        item: dict[str, Any] = {"job_id": "etl", "job_type": "stream", "artifact_path": "artifacts/etl.jar"}
        item |= {field: path} if field == "artifact_path" else {"deployment": {field: path}}

        view = read_spec("etl", item)

        assert isinstance(view, ValidSpec) is is_allowed, view
