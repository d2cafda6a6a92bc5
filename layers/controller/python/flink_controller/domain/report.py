"""What people and programs are told of a job: the one shape of `flinkctl get -o json`, derived from the status on read.

Fields may be added; a name that stands here is a promise to programs outside.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flink_controller.domain.artifact import Value
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.plan import living
from flink_controller.domain.run_arguments import iso
from flink_controller.domain.spec import ValidSpec, read_spec
from flink_controller.domain.status import (
    Condition,
    DesiredState,
    JobStatus,
    JobType,
    Revision,
    Run,
    RunOutcome,
    Savepoint,
    SavepointRecord,
)

UNKNOWN = "UNKNOWN"
"""State of a Flink job on a cluster that does not answer."""


class FlinkReport(Value):
    """The current attempt on Flink, or the last one."""

    job_id: str | None = None
    state: str | None = None
    """In Flink's words; UNKNOWN while the cluster does not answer."""


class RevisionReport(Value):
    """Which revision is asked for, which one is on Flink, and which one was proven healthy last."""

    desired: int | None = None
    running: int | None = None
    stable: int | None = None


class ArtifactReport(Value):
    """The bytes of the revision on Flink; with none there, of the desired one."""

    bucket: str
    key: str
    version_id: str
    sha256: str
    key_id: str


class RunsReport(Value):
    """Runs of a batch job."""

    started: int = 0
    active: tuple[str, ...] = ()
    next_at: datetime | None = None


class JobReport(Value):
    """A job as `flinkctl get JOB -o json` shows it."""

    job_id: str
    job_type: str
    cluster: str
    desired_state: str
    lifecycle: str
    ready: bool = False
    reason: str = ""
    message: str = ""
    flink: FlinkReport = FlinkReport()
    revision: RevisionReport = RevisionReport()
    observed_spec_hash: str | None = None
    rejected_spec_hash: str | None = None
    artifact: ArtifactReport | None = None
    savepoint: Savepoint | None = None
    """The newest one; of a deleted job, what it left behind. None before the first."""
    conditions: tuple[Condition, ...] = ()
    runs: RunsReport | None = None
    """None on streams."""
    updated_at: datetime | None = None
    """None while nothing is recorded."""


class RunEntry(Value):
    """A scheduled instant as `flinkctl runs` shows it."""

    scheduled_at: datetime
    until: datetime | None = None
    """Last of the instants that this entry stands for, when many in a row were not started for one reason."""
    outcome: str
    """Running, Succeeded, Failed, Expired, Cancelled, Skipped, Missed or Lost."""
    reason: str = ""
    message: str = ""
    revision: int | None = None
    attempt: int | None = None
    flink_job_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    manual: bool = False


class SavepointEntry(Value):
    """A savepoint as `flinkctl savepoint list` shows it."""

    id: int
    kind: str
    state: str
    """`there`, or `disposing`: it is being removed."""
    path: str
    completed_at: datetime
    duration_seconds: float | None = None
    """None where somebody else took it."""
    revision: int | None = None
    """That wrote it."""
    attempt: int | None = None
    restorable_by: tuple[int, ...] = ()
    """Revisions on record that run the very bytes which wrote it."""


class HistoryEntry(Value):
    """A revision as `flinkctl history` shows it."""

    revision: int
    created_at: datetime
    outcome: str
    """Stable, Running, Refused, Superseded or Pending."""
    reason: str
    spec_hash: str
    artifact: ArtifactReport
    by: str = ""
    """Who wrote its spec, as the item said."""


def report(status: JobStatus) -> JobReport:
    """Tell what is recorded of a job."""
    ready, alive = status.condition("Ready"), living(status)
    state = lifecycle(status)
    return JobReport(
        job_id=status.job_id,
        job_type=status.job_type.value,
        cluster=alive.cluster if alive is not None and not status.cluster else status.cluster,
        desired_state=status.desired_state.value,
        lifecycle=state.value,
        ready=ready is not None and ready.status == "True",
        reason="" if ready is None else ready.reason,
        message="" if ready is None else ready.message,
        flink=_flink(status),
        revision=RevisionReport(
            desired=None if status.desired is None else status.desired.number,
            running=None if alive is None else alive.revision,
            stable=None if status.stable is None else status.stable.number,
        ),
        observed_spec_hash=status.observed_spec_hash,
        rejected_spec_hash=status.rejected_spec_hash,
        artifact=_artifact(status),
        savepoint=_savepoint(status, state),
        conditions=status.conditions,
        runs=None if status.job_type is JobType.STREAM else _runs(status),
        updated_at=status.updated_at,
    )


def report_unseen(job_id: str, item: Mapping[str, Any]) -> JobReport:
    """Tell what is known of a spec item that the controller has not looked at yet."""
    view = read_spec(job_id, item)
    if isinstance(view, ValidSpec):
        spec = view.spec
        job_type, cluster, state = spec.job_type.value, spec.cluster, spec.state.value
    else:
        job_type, cluster = str(item.get("job_type", "")), str(item.get("cluster", ""))
        state = str(item.get("state", DesiredState.RUNNING.value))
    return JobReport(
        job_id=job_id,
        job_type=job_type,
        cluster=cluster,
        desired_state=state,
        lifecycle=Lifecycle.CREATED.value,
        reason="Created",
        message="the controller has not looked at this item yet",
        runs=RunsReport() if job_type == JobType.BATCH.value else None,
    )


def history(status: JobStatus | None, revisions: Sequence[Revision]) -> tuple[HistoryEntry, ...]:
    """Tell what became of each revision, oldest first."""
    return tuple(
        HistoryEntry(
            revision=revision.number,
            created_at=revision.created_at,
            outcome=_outcome(status, revision),
            reason=_reason(status, revision),
            spec_hash=revision.spec_hash,
            artifact=ArtifactReport(**revision.artifact.model_dump(include=set(ArtifactReport.model_fields))),
            by=str(revision.spec.get("written_by") or ""),
        )
        for revision in revisions
    )


def run_entries(runs: Sequence[Run]) -> tuple[RunEntry, ...]:
    """Tell what became of each scheduled instant, oldest first."""
    return tuple(
        RunEntry(
            **run.model_dump(exclude={"args", "is_manual"}),
            manual=run.is_manual,
            duration_seconds=None
            if run.started_at is None or run.ended_at is None
            else (run.ended_at - run.started_at).total_seconds(),
        )
        for run in runs
    )


def savepoint_entries(records: Sequence[SavepointRecord], revisions: Sequence[Revision]) -> tuple[SavepointEntry, ...]:
    """Tell of each savepoint, oldest first. Revisions with other bytes may read it as well, if their state maps."""
    bytes_of = {revision.number: revision.artifact.sha256 for revision in revisions}
    return tuple(
        SavepointEntry(
            **record.model_dump(include={"path", "completed_at", "revision", "attempt"}),
            id=record.number,
            kind=record.kind.value,
            state=record.state.value,
            duration_seconds=None
            if record.started_at is None
            else (record.completed_at - record.started_at).total_seconds(),
            restorable_by=tuple(
                number
                for number, sha256 in bytes_of.items()
                if record.revision is not None and sha256 == bytes_of.get(record.revision)
            ),
        )
        for record in records
    )


def surplus(runs: Sequence[Run], *, succeeded: int, other: int) -> list[Run]:
    """Find the records of ended runs beyond what is kept, given all of them from old to new."""
    ended = [run for run in runs if run.outcome is not RunOutcome.RUNNING]
    good = [run for run in ended if run.outcome is RunOutcome.SUCCEEDED]
    bad = [run for run in ended if run.outcome is not RunOutcome.SUCCEEDED]
    return [*good[: max(len(good) - succeeded, 0)], *bad[: max(len(bad) - other, 0)]]


def _runs(status: JobStatus) -> RunsReport:
    runs = status.runs
    return RunsReport(started=runs.started, active=tuple(iso(run.scheduled_at) for run in runs.active), next_at=runs.next_at)


def _flink(status: JobStatus) -> FlinkReport:
    attempt, reachable = status.attempt, status.condition("ClusterReachable")
    if status.runs.active:
        attempt = status.runs.active[-1].attempt
    elif status.runs.last is not None:
        return FlinkReport(job_id=status.runs.last.flink_job_id)
    if attempt is None:
        return FlinkReport()
    is_away = not attempt.is_dead and reachable is not None and reachable.status == "False"
    return FlinkReport(job_id=attempt.flink_job_id, state=UNKNOWN if is_away else attempt.flink_state)


def _artifact(status: JobStatus) -> ArtifactReport | None:
    revision = status.running if living(status) is not None and status.running is not None else status.desired
    if revision is None:
        return None
    return ArtifactReport(**revision.artifact.model_dump(include=set(ArtifactReport.model_fields)))


def _savepoint(status: JobStatus, state: Lifecycle) -> Savepoint | None:
    known, kept = status.savepoint, None if status.handover is None else status.handover.path
    if state is not Lifecycle.DELETED or kept is None or (known is not None and known.path == kept):
        return known
    ended_at = status.attempt.dead_at if status.attempt is not None else None
    return Savepoint(path=kept, completed_at=ended_at or status.updated_at)


def _outcome(status: JobStatus | None, revision: Revision) -> str:
    if revision.outcome != "Pending" or status is None:
        return revision.outcome
    if status.refused is not None and status.refused.number == revision.number:
        return "Refused"
    if status.stable is not None and status.stable.number == revision.number:
        return "Stable"
    alive = living(status)
    if alive is not None and alive.revision == revision.number:
        return "Running"
    is_wanted = status.desired is not None and status.desired.number == revision.number
    return "Pending" if is_wanted else "Superseded"


def _reason(status: JobStatus | None, revision: Revision) -> str:
    if revision.reason or status is None or status.refused is None or status.refused.number != revision.number:
        return revision.reason
    return f"{status.refused.reason}: {status.refused.message}"
