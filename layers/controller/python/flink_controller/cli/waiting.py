"""Waiting for a job, with a line for every change on the way."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from flink_controller.cli.context import Remote, Session
from flink_controller.cli.fault import FailureError, TimedOutError
from flink_controller.cli.output import printable, tell
from flink_controller.domain.artifact import SIGNATURE_SUFFIX, Verdict
from flink_controller.domain.errors import TransientError
from flink_controller.domain.goal import Absent, Goal, Missed, NotYet, Progress, Reached, judge
from flink_controller.domain.names import shown
from flink_controller.domain.spec import ValidSpec, read_spec
from flink_controller.domain.status import JobStatus

POLL: Final = timedelta(seconds=1)
"""Two consistent reads of small items; half a read unit each."""


def wait_for(session: Session, job_id: str, goal: Goal, timeout: timedelta, *, or_else: Goal | None = None) -> str:
    """Wait until a job has reached a goal, and give the sentence that says so.

    Args:
        session: where to look, and by whose clock.
        job_id: whom to wait for.
        goal: what to wait for.
        timeout: how long.
        or_else: another goal that will do as well.

    Raises:
        FailureError: it is not there, or will not reach the goal.
        TimedOutError: it did not in time.
        TransientError: nothing could be read even once.
    """
    remote, clock = session.remote, session.clock
    deadline, last = clock.now() + timeout, ""
    while True:
        try:
            progress = _look(remote, job_id, goal, or_else)
        except TransientError as error:
            if not last:
                raise
            # Somebody who waits wants to go on waiting when one read of many fails.
            progress = NotYet(f"{error}")
        match progress:
            case Reached(message=message):
                return f"{printable(job_id)}: {message}"
            case Missed(message=message):
                raise FailureError(f"{printable(job_id)}: {message}")
            case Absent():
                if goal is Goal.DELETED:
                    return f"{printable(job_id)}: there is no such job"
                raise FailureError(f"{printable(job_id)}: there is no such job; flinkctl apply -f FILE creates one")
            case NotYet(message=message):
                if message != last:
                    _progress(clock.now(), job_id, message)
                    last = message
        if clock.now() + POLL > deadline:
            raise TimedOutError(f"{printable(job_id)}: not {goal} within {timeout.total_seconds():g} s; {last}")
        clock.sleep(POLL)


def _look(remote: Remote, job_id: str, goal: Goal, or_else: Goal | None) -> Progress:
    item = remote.specs.read(job_id)
    status = remote.statuses.read(job_id)
    progress = judge(goal, item, status)
    if or_else is not None and isinstance(instead := judge(or_else, item, status), Reached):
        progress = instead
    if (
        goal in {Goal.STABLE, Goal.RUNNING}
        and isinstance(progress, Reached | Missed)
        and item is not None
        and status is not None
    ):
        pending = pending_upload(remote, item, status)
        return progress if pending is None else NotYet(pending)
    return progress


def pending_upload(remote: Remote, item: Mapping[str, Any], status: JobStatus) -> str | None:
    """Say which upload the job has not taken over yet and still will; None: there is none.

    `artifact push` followed by `wait` must not be satisfied by the version before.
    """
    view = read_spec(str(item.get("job_id", "")), item)
    if not isinstance(view, ValidSpec) or view.spec.pinned_digest is not None:
        return None
    key = view.spec.artifact_path
    bucket = remote.policy.bucket_of(key)
    latest = remote.objects.latest(bucket, key)
    desired = None if status.desired is None else status.desired.artifact
    if latest is None or (desired is not None and desired.version_id == latest.version_id):
        return None
    head = remote.records.head(bucket, key)
    if head is None or head.latest.version_id != latest.version_id:
        return f"waiting for {key} version {shown(latest.version_id)} to be verified"
    match head.latest.verdict:
        case Verdict.ADMITTED:
            is_known = desired is not None and desired.sha256 == head.latest.sha256
            return (
                None
                if is_known
                else f"waiting for the controller to take over {key} sha256:{(head.latest.sha256 or '')[:12]}"
            )
        case Verdict.WAITING:
            signature = remote.objects.latest(bucket, key + SIGNATURE_SUFFIX)
            is_coming = signature is not None and signature.uploaded_at >= latest.uploaded_at
            return f"waiting for {key} to be verified with its signature" if is_coming else None
        case Verdict.REFUSED | Verdict.HELD:
            return None


def _progress(now: datetime, job_id: str, message: str) -> None:
    tell(f"{now:%H:%M:%S} {job_id} {message}")
