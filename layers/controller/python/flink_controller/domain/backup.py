"""What a backup of an installation says, line by line, and what a restored status must say beside it.

A backup is JSON lines: a header, one line an item, and a last line with their number and digest, so that one that broke
off half way, or that somebody changed, is recognised before anything is written.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.names import application_id, attempt_number, shown, tag
from flink_controller.domain.observation import FlinkState, JobSeen
from flink_controller.domain.program import runs_by_itself
from flink_controller.domain.stamp import Stamp, read_stamp
from flink_controller.domain.status import Attempt, AttemptPhase, Failures, JobStatus, JobType

FORMAT: Final = "flink-job-controller-backup"
VERSION: Final = 1
"""Of the backup's form. A reader takes this one and refuses what is newer."""


class Part(StrEnum):
    """Which table an item belongs to."""

    SPECS = "specs"
    STATE = "state"


@dataclass(frozen=True)
class Backup:
    """A backup as read: complete, and as it was written."""

    controller_id: str
    created_at: str
    sha256: str
    """Of its item lines: its name."""
    items: tuple[tuple[Part, Mapping[str, Any]], ...]
    """Items as DynamoDB spells them."""


def written(controller_id: str, now: datetime, items: Iterable[tuple[Part, Mapping[str, Any]]]) -> Iterator[str]:
    """Write a backup, line by line."""
    header = {"format": FORMAT, "version": VERSION, "controller_id": controller_id, "created_at": now.isoformat()}
    yield _line(header)
    digest, count = hashlib.sha256(), 0
    for part, item in items:
        line = _line({"table": part.value, "item": item})
        digest.update(line.encode())
        count += 1
        yield line
    yield _line({"items": count, "sha256": digest.hexdigest()})


def read(text: str) -> Backup:
    """Read a backup.

    Raises:
        RejectedError: it is none, is newer than this program, or is not whole.
    """
    lines = text.splitlines(keepends=True)
    try:
        documents = [json.loads(line) for line in lines]
        header, *found, end = documents
        if header.get("format") != FORMAT:
            raise RejectedError(f"is no backup: its first line does not say {FORMAT}")
        if header.get("version") != VERSION:
            raise RejectedError(
                f"has form {shown(str(header.get('version')))}; this flinkctl reads {VERSION}: use a newer one"
            )
        digest = hashlib.sha256("".join(lines[1:-1]).encode()).hexdigest()
        if end != {"items": len(found), "sha256": digest}:
            raise RejectedError("is not whole: its last line does not fit the others; take another backup")
        items = tuple((Part(entry["table"]), entry["item"]) for entry in found)
        return Backup(header["controller_id"], header["created_at"], digest, items)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RejectedError("is no backup, or is not whole: some line is not what it should be") from error


@dataclass(frozen=True)
class Numbered:
    """An attempt of a job as a cluster lists it, whether or not the backup knows it."""

    number: int
    cluster: Cluster
    job: JobSeen
    parameters: Mapping[str, str] | None = None
    """As Flink shows them; None: nobody asked, or it is gone again."""


@dataclass(frozen=True)
class Reconciled:
    """A status as it is to be restored, and what differs from the backup."""

    status: JobStatus
    note: str = ""


def attempts_listed(job_id: str, listed: Iterable[tuple[Cluster, JobSeen]], controller_id: str) -> tuple[Numbered, ...]:
    """Find a job's attempts among what clusters list, the newest first."""
    job_tag = tag(controller_id, job_id)
    found = [
        Numbered(number, cluster, job)
        for cluster, job in listed
        if (number := attempt_number(job_tag, job.flink_job_id)) is not None
    ]
    return tuple(sorted(found, key=lambda one: one.number, reverse=True))


def reconciled(status: JobStatus, attempts: Sequence[Numbered]) -> Reconciled:
    """Bring a status of a backup up to what Flink has seen since.

    The counters are raised to the highest numbers that Flink shows, so that no id is used twice, and no revision's number
    for another content. Of a streaming job the newest attempt that ran takes the place of the recorded one, alive or not:
    its state is the newest. Its stamp says what it runs; without one it goes on as the backup's revision. What cannot be
    told apart is left unknown, and the controller blocks with AttemptAhead until it has ended: a live run of a batch job,
    because nobody can say which instant it serves, and two live copies, because nobody can say which one takes over.

    Args:
        status: as the backup has it.
        attempts: of this job, the newest first, those above the status's counter with their parameters.
    """
    ahead = [(one, _stamp(status.job_id, one)) for one in attempts if one.number > status.attempt_counter]
    if not ahead:
        return Reconciled(status)
    highest, before = ahead[0][0].number, status.attempt_counter
    revisions = max((stamp.revision.number for _, stamp in ahead if stamp is not None), default=0)
    live = [one for one in attempts if not one.job.state.is_terminal]
    raised = status.model_copy(
        update={"attempt_counter": highest, "revision_counter": max(status.revision_counter, revisions)}
    )
    newest = next(((one, stamp) for one, stamp in ahead if _has_run(one)), None)
    is_live_ahead = any(one.number > before for one in live)
    if is_live_ahead and (status.job_type is JobType.BATCH or status.second is not None or len(live) > 1):
        return Reconciled(
            status.model_copy(update={"revision_counter": raised.revision_counter}),
            f"attempt {live[0].number} runs on Flink and the backup does not know what it serves: blocked with AttemptAhead"
            " until it has ended, then restore again",
        )
    if status.job_type is JobType.STREAM and newest is not None and newest[1] is not None:
        return _adopted(status, raised, newest[0], newest[1])
    if is_live_ahead and status.attempt is None:
        return Reconciled(
            status,
            f"attempt {live[0].number} runs on Flink and does not say what it is: blocked with AttemptAhead until it has"
            " ended, then restore again",
        )
    if is_live_ahead:
        return _adopted_unstamped(raised, live[0], before)
    return Reconciled(raised, f"counter raised from {before} to {highest}: Flink lists ended attempts that the backup lacks")


def _has_run(one: Numbered) -> bool:
    """Whether an attempt came so far as to write state: one that Flink could not initialise, a burn too, shows no parameter."""
    return bool(one.parameters) or one.job.state is not FlinkState.FAILED


def _stamp(job_id: str, one: Numbered) -> Stamp | None:
    return None if one.parameters is None else read_stamp(one.parameters, job_id, one.number)


def _adopted(status: JobStatus, raised: JobStatus, one: Numbered, stamp: Stamp) -> Reconciled:
    """Go on with an attempt that says what it is."""
    is_recorded = stamp.revision.number <= status.revision_counter
    running = stamp.revision.model_copy(update={"cluster": one.cluster.name, "is_recorded": is_recorded})
    ended = one.job.state.is_terminal
    by_itself = one.cluster.runs_applications and runs_by_itself(running.artifact.type)
    attempt = Attempt(
        number=one.number,
        flink_job_id=one.job.flink_job_id,
        revision=running.number,
        cluster=one.cluster.name,
        restore_from=stamp.restore_from,
        checkpoint_root=one.cluster.checkpoint_root,
        jar_id="",
        application_id=application_id(one.job.flink_job_id) if by_itself else None,
        incarnation="",
        phase=AttemptPhase.LIVE,
        # Should Flink forget it before the first look: where nothing is found then, nothing older takes its place.
        keeps_checkpoints_at_root=True,
        created_at=stamp.created_at,
        submitted_at=stamp.created_at,
        # What has ended was seen to run: its parameters are there.
        live_at=stamp.created_at if ended else None,
    )
    update: dict[str, Any] = {
        "attempt": attempt,
        "running": running,
        "second": None,
        "green_state": None,
        "void_jar_id": None,
        "operation": None,
        "leftover": None,
        "handover": None,
        "quarantine": None,
        "restored": None,
        "failures": Failures(),
        "is_completed": False,
        "halted": None,
        "halt_reason": "",
    }
    if status.stable is not None and status.stable.number != running.number:
        # What the stable revision left behind was never recorded.
        update |= {"stable": None, "stable_state": None}
    knows = f"the backup knew attempt {status.attempt_counter}"
    what = f"attempt {one.number} {'ended' if ended else 'runs'} on Flink and is adopted as revision {running.number}"
    if not is_recorded:
        knows += (
            f" and revision {status.revision_counter}. The spec of revision {running.number} is not in it: the one on record"
            " becomes a newer revision; to keep what runs apply its spec again before you unpause"
        )
    return Reconciled(raised.model_copy(update=update), f"{what}; {knows}")


def _adopted_unstamped(raised: JobStatus, live: Numbered, before: int) -> Reconciled:
    """Go on with a job that does not say what it is, as what the backup knows: earlier versions stamped nothing."""
    assert raised.attempt is not None
    adopted = raised.attempt.model_copy(
        update={
            "number": live.number,
            "flink_job_id": live.job.flink_job_id,
            "cluster": live.cluster.name,
            "checkpoint_root": live.cluster.checkpoint_root,
            "phase": AttemptPhase.LIVE,
            "end": None,
            "dead_at": None,
            "refusal": None,
            "is_proven": False,
            "has_completed_checkpoint": False,
            "savepoint_directories": (),
        }
    )
    return Reconciled(
        raised.model_copy(update={"attempt": adopted, "operation": None, "handover": None}),
        f"attempt {live.number} runs on Flink, does not say which revision it is, and is adopted as {adopted.revision}; the"
        f" backup knew attempt {before}: if its spec was changed since, apply the newer one again",
    )


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"
