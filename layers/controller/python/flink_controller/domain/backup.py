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

from flink_controller.domain.errors import RejectedError
from flink_controller.domain.names import attempt_number, shown, tag
from flink_controller.domain.observation import JobSeen
from flink_controller.domain.status import AttemptPhase, JobStatus, JobType

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
class Reconciled:
    """A status as it is to be restored, and what differs from the backup."""

    status: JobStatus
    note: str = ""


def reconciled(status: JobStatus, listed: Sequence[JobSeen], controller_id: str) -> Reconciled:
    """Bring a status of a backup up to what Flink has seen since.

    The counter is raised to the highest number that carries the job's tag, so that no id is used twice. The newest live
    copy of a streaming job takes the place of the recorded attempt: it is the one to go on with, and its own state the
    newest. A live run of a batch job that the backup does not know is left unknown; the controller then blocks with
    AttemptAhead until it has ended, because nobody can say which instant it serves.
    """
    job_tag = tag(controller_id, status.job_id)
    numbered = [(number, job) for job in listed if (number := attempt_number(job_tag, job.flink_job_id)) is not None]
    ahead = [(number, job) for number, job in numbered if number > status.attempt_counter]
    if not ahead:
        return Reconciled(status)
    live = max(((number, job) for number, job in ahead if not job.state.is_terminal), default=None, key=lambda one: one[0])
    highest = max(number for number, _ in ahead)
    if live is None:
        return Reconciled(
            status.model_copy(update={"attempt_counter": highest}),
            f"counter raised from {status.attempt_counter} to {highest}: Flink lists ended attempts that the backup lacks",
        )
    if status.job_type is JobType.BATCH or status.attempt is None or status.second is not None:
        return Reconciled(
            status,
            f"attempt {live[0]} runs on Flink and the backup does not know what it serves: blocked with AttemptAhead until it"
            " has ended, then restore again",
        )
    adopted = status.attempt.model_copy(
        update={
            "number": live[0],
            "flink_job_id": live[1].flink_job_id,
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
        status.model_copy(update={"attempt_counter": highest, "attempt": adopted, "operation": None, "handover": None}),
        f"attempt {live[0]} runs on Flink and is adopted as revision {adopted.revision}; the backup knew attempt"
        f" {status.attempt_counter}: if its spec was changed since, apply the newer one again",
    )


def _line(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"
