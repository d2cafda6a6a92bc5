"""The controller's own record of every job, in memory, with the conditions that DynamoDB would check."""

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from flink_controller.domain.errors import (
    ControllerError,
    LeaseTakenError,
    RunTakenError,
    StaleWriteError,
)
from flink_controller.domain.lifecycle import summarise
from flink_controller.domain.names import JobName
from flink_controller.domain.report import surplus
from flink_controller.domain.status import (
    DueKind,
    Event,
    JobStatus,
    Revision,
    Run,
    SavepointRecord,
    StagedJar,
    StatusSummary,
)
from flink_controller.domain.trust import asked_to_fit, no_room
from flink_controller.ports import STATUS_LIMIT_BYTES, Commit, Held
from flink_controller.testing.parsed import parsed

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class _Record:
    document: str | None = None
    summary: str | None = None
    artifact: str | None = None
    version: int = 0
    fence: int = 0
    lease_owner: str | None = None
    lease_until_ms: int = 0


@dataclass
class _Tables:
    """Everything stored. Models lie here as JSON, so that nobody can change them through an alias."""

    records: dict[str, _Record] = field(default_factory=dict)
    revisions: dict[str, dict[int, str]] = field(default_factory=dict)
    events: dict[str, dict[int, str]] = field(default_factory=dict)
    runs: dict[str, dict[datetime, str]] = field(default_factory=dict)
    savepoints: dict[str, dict[int, str]] = field(default_factory=dict)
    holders: dict[str, set[str]] = field(default_factory=dict)
    taken: dict[str, Counter[str]] = field(default_factory=dict)
    """Of each namespace's quotas, by their names."""
    jars: dict[tuple[str, str], str] = field(default_factory=dict)
    jar_users: dict[tuple[str, str], set[str]] = field(default_factory=dict)


class MemoryStatuses:
    """Twin of `StatusStore`.

    Args:
        enforces_leases: False makes every lease free for the taking. Fence and version still hold, and safety must hang
            on these alone.
    """

    def __init__(self, *, enforces_leases: bool = True) -> None:
        self._enforces_leases = enforces_leases
        self._tables = _Tables()
        self._indexed: dict[str, _Record] | None = None
        self.reads = 0
        self.writes = 0

    def acquire(self, job_id: str, *, owner: str, now: datetime, until: datetime) -> Held:
        """Take the lease and raise the fence."""
        record = self._tables.records.get(job_id, _Record())
        is_free = record.lease_owner in {None, owner} or record.lease_until_ms <= _ms(now)
        if self._enforces_leases and not is_free:
            raise LeaseTakenError(job_id, _EPOCH + record.lease_until_ms * _MILLISECOND)
        self.writes += 1
        record = replace(record, fence=record.fence + 1, lease_owner=owner, lease_until_ms=_ms(until))
        self._tables.records[job_id] = record
        return Held(job_id, _status(record), record.fence, record.version)

    def commit(self, held: Held, commit: Commit, *, release: bool) -> Held:
        """Record a status with its items on condition of fence and version."""
        document = commit.status.model_dump_json(exclude_defaults=True)
        summary = summarise(commit.status).model_dump_json()
        size_bytes = len(document.encode()) + len(summary.encode())
        if size_bytes > STATUS_LIMIT_BYTES:
            raise ControllerError(f"the status of {held.job_id} has {size_bytes} bytes, more than {STATUS_LIMIT_BYTES}")
        record = self._tables.records.get(held.job_id, _Record())
        if (record.fence, record.version) != (held.fence, held.version):
            raise StaleWriteError(f"the status of {held.job_id} moved on since it was read")
        self._demand_room(held, commit)
        self.writes += 1
        record = replace(
            record,
            document=document,
            summary=summary,
            artifact=_artifact_of(commit.status),
            version=record.version + 1,
        )
        self._tables.records[held.job_id] = _freed(record) if release else record
        self._store_items(held, commit)
        claimed = () if held.status is None else held.status.claims
        for path in {*claimed} - {*commit.status.claims}:
            self._tables.holders[path].discard(held.job_id)
        for path in commit.status.claims:
            self._tables.holders.setdefault(path, set()).add(held.job_id)
        return Held(held.job_id, _status(record), record.fence, record.version)

    def release(self, held: Held) -> None:
        """Give up the lease, unless somebody else took it meanwhile."""
        self.writes += 1
        record = self._tables.records.get(held.job_id)
        if record is not None and record.fence == held.fence:
            self._tables.records[held.job_id] = _freed(record)

    def read(self, job_id: str) -> JobStatus | None:
        """Read a status."""
        self.reads += 1
        return _status(self._tables.records.get(job_id, _Record()))

    def read_many(self, job_ids: Sequence[str]) -> dict[str, JobStatus]:
        """Read some statuses."""
        self.reads += 1
        found = ((job_id, _status(self._tables.records.get(job_id, _Record()))) for job_id in job_ids)
        return {job_id: status for job_id, status in found if status is not None}

    def revision(self, job_id: str, number: int) -> Revision | None:
        """Read a revision."""
        self.reads += 1
        document = self._tables.revisions.get(job_id, {}).get(number)
        return None if document is None else parsed(Revision, document)

    def revisions(self, job_id: str) -> list[Revision]:
        """Read all revisions, oldest first."""
        self.reads += 1
        documents = self._tables.revisions.get(job_id, {})
        return [parsed(Revision, documents[number]) for number in sorted(documents)]

    def events(self, job_id: str, limit: int = 100) -> list[Event]:
        """Read the newest events, oldest first."""
        self.reads += 1
        documents = self._tables.events.get(job_id, {})
        newest = sorted(documents)[-limit:] if limit > 0 else []
        return [parsed(Event, documents[sequence]) for sequence in newest]

    def run(self, job_id: str, scheduled_at: datetime) -> Run | None:
        """Read a run's record."""
        self.reads += 1
        document = self._tables.runs.get(job_id, {}).get(scheduled_at)
        return None if document is None else parsed(Run, document)

    def runs(self, job_id: str, limit: int = 100) -> list[Run]:
        """Read the newest records of runs, oldest first."""
        self.reads += 1
        documents = self._tables.runs.get(job_id, {})
        newest = sorted(documents)[-limit:] if limit > 0 else []
        return [parsed(Run, documents[at]) for at in newest]

    def prune_runs(self, job_id: str, *, succeeded: int, other: int) -> int:
        """Delete the oldest records beyond what is kept."""
        gone = surplus(self.runs(job_id, 100_000), succeeded=succeeded, other=other)
        for run in gone:
            del self._tables.runs[job_id][run.scheduled_at]
        return len(gone)

    def holders(self, path: str) -> list[str]:
        """Name the jobs that claim a place."""
        self.reads += 1
        return sorted(self._tables.holders.get(path, ()))

    def savepoints(self, job_id: str) -> list[SavepointRecord]:
        """Read the records of all savepoints, oldest first."""
        self.reads += 1
        documents = self._tables.savepoints.get(job_id, {})
        return [parsed(SavepointRecord, documents[number]) for number in sorted(documents)]

    def summaries(self) -> Iterator[StatusSummary]:
        """Read the index, as old as `hold_indexes` made it."""
        self.reads += 1
        records = self._index()
        found = [records[name].summary for name in sorted(records)]
        return iter([parsed(StatusSummary, summary) for summary in found if summary is not None])

    def jobs_naming(self, bucket: str, key: str) -> Iterator[str]:
        """Find jobs by artifact in the index, as old as `hold_indexes` made it."""
        self.reads += 1
        records = self._index()
        return iter([name for name in sorted(records) if records[name].artifact == f"{bucket}/{key}"])

    def due(self, kind: DueKind, now: datetime) -> Iterator[str]:
        """Find due jobs in the index, as old as `hold_indexes` made it."""
        self.reads += 1
        found = []
        for name, record in self._index().items():
            status = _status(record)
            if status is not None and status.due is not None and status.due[0] is kind and status.due[1] <= now:
                found.append((status.due[1], name))
        return iter([name for _, name in sorted(found)])

    def staged_jar(self, cluster: str, sha256: str) -> StagedJar | None:
        """Read the record of a jar."""
        self.reads += 1
        document = self._tables.jars.get((cluster, sha256))
        return None if document is None else parsed(StagedJar, document)

    def release_jar(self, cluster: str, sha256: str, job_id: str) -> StagedJar | None:
        """Take a job off a jar's users; give the record back, now deleted, if that was the last."""
        place = (cluster, sha256)
        if place not in self._tables.jars:
            return None
        self.writes += 1
        users = self._tables.jar_users[place]
        users.discard(job_id)
        if users:
            return None
        del self._tables.jar_users[place]
        return parsed(StagedJar, self._tables.jars.pop(place))

    def hold_indexes(self) -> None:
        """Let indexes lag: `summaries` and `jobs_naming` answer as of now until `catch_up_indexes`."""
        self._indexed = dict(self._tables.records)

    def catch_up_indexes(self) -> None:
        """Let indexes show the present again."""
        self._indexed = None

    def backup(self) -> object:
        """Copy everything, for a later `restore`."""
        return copy.deepcopy(self._tables)

    def restore(self, backup: object, *statuses: JobStatus) -> None:
        """Go back to a copy, as a restored table does; with statuses in place of the copy's, which then hold no lease."""
        if not isinstance(backup, _Tables):
            raise TypeError("not a backup of this twin")
        self._tables = copy.deepcopy(backup)
        for status in statuses:
            record = _freed(self._tables.records[status.job_id])
            self._tables.records[status.job_id] = replace(
                record,
                document=status.model_dump_json(exclude_defaults=True),
                summary=summarise(status).model_dump_json(),
                version=record.version + 1,
            )

    def _demand_room(self, held: Held, commit: Commit) -> None:
        known = self._tables.runs.get(held.job_id, {})
        for run in commit.started_runs:
            if run.scheduled_at in known:
                raise RunTakenError(held.job_id, run.scheduled_at)
        changes = commit.takes(held.status)
        if not changes:
            return
        taken = self._taken(held.job_id)
        if any(taken[name] + more > limit for name, more, limit in asked_to_fit(commit.quotas, changes)):
            raise no_room(commit.quotas, changes, taken)

    def _taken(self, job_id: str) -> Counter[str]:
        return self._tables.taken.setdefault(JobName.parse(job_id).namespace, Counter())

    def _store_items(self, held: Held, commit: Commit) -> None:
        job_id = held.job_id
        for run in (*commit.started_runs, *commit.runs):
            self._tables.runs.setdefault(job_id, {})[run.scheduled_at] = run.model_dump_json()
        changes = commit.takes(held.status)
        if changes:
            self._taken(job_id).update(changes)
        for revision in commit.revisions:
            self._tables.revisions.setdefault(job_id, {})[revision.number] = revision.model_dump_json()
        for number in commit.forgotten:
            self._tables.revisions.get(job_id, {}).pop(number, None)
        for number in commit.disposed:
            self._tables.savepoints.get(job_id, {}).pop(number, None)
        for savepoint in commit.savepoints:
            self._tables.savepoints.setdefault(job_id, {})[savepoint.number] = savepoint.model_dump_json()
        for event in commit.events:
            self._tables.events.setdefault(job_id, {})[event.sequence] = event.model_dump_json()
        if commit.jar is not None:
            place = (commit.jar.cluster, commit.jar.sha256)
            self._tables.jars[place] = commit.jar.model_dump_json()
            self._tables.jar_users.setdefault(place, set()).add(job_id)

    def _index(self) -> dict[str, _Record]:
        return self._tables.records if self._indexed is None else self._indexed


def _status(record: _Record) -> JobStatus | None:
    return None if record.document is None else parsed(JobStatus, record.document)


def _freed(record: _Record) -> _Record:
    return replace(record, lease_owner=None, lease_until_ms=0)


def _artifact_of(status: JobStatus) -> str | None:
    if status.artifact_location is not None:
        return status.artifact_location
    return None if status.desired is None else f"{status.desired.artifact.bucket}/{status.desired.artifact.key}"


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
