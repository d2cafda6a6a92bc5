"""What happens to a job next: what the controller does by itself and when, and what a person can do.

Derived from the status on read, like the lifecycle, and as old as it is: the controller decides again with each look.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from flink_controller.domain import health, saving
from flink_controller.domain.artifact import Value
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.pauses import EVERYTHING, scope_told
from flink_controller.domain.plan import living
from flink_controller.domain.spec import JobSpec, Rollback
from flink_controller.domain.status import Attempt, AttemptPhase, JobStatus, JobType, LaneRole, RunOutcome

_NO_LOOK: Final = "looks again when the spec, the artifact or Flink changes; each minute's tick compares them"
_UPLOAD: Final = ("upload the artifact with its signature", "flinkctl artifact push FILE --to {key} --sign-with KEY_FILE")
_VERSIONS: Final = ("see why its versions were refused", "flinkctl artifact list {key}")
_CHECK: Final = ("see what is wrong with the cluster", "flinkctl cluster check {cluster}")
_ALLOW: Final = ("let an operator see what the namespace may do", "flinkctl policy list")
_RESTORE: Final = ("name the state to start from", "flinkctl restore {job} --from PATH")
_APPLY: Final = ("write a mended spec", "flinkctl apply -f FILE --wait")
_RUN_NOW: Final = ("run it outside of its schedule", "flinkctl run {job} --now")
_RESTART: Final = ("try again as it is, once the cause is gone", "flinkctl restart {job}")
REMEDIES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "ArtifactAltered": (_VERSIONS, _UPLOAD),
    "ArtifactMissing": (_UPLOAD,),
    "BucketNotVersioned": (_VERSIONS, _UPLOAD),
    "ClusterDisallowed": (_ALLOW, _APPLY),
    "ClusterMalformed": (("register the cluster again", "flinkctl cluster add {cluster} --url URL …"),),
    "ClusterRefusesCredentials": (_CHECK,),
    "ClusterUnfit": (_CHECK, _APPLY),
    "ClusterUnknown": (("register the cluster", "flinkctl cluster add {cluster} --url URL …"), _APPLY),
    "ClusterUnreachable": (_CHECK,),
    "DigestDenied": (_VERSIONS, _UPLOAD),
    "EntryClassMissing": (_APPLY, _UPLOAD),
    "KeyNotAllowed": (_VERSIONS, _UPLOAD),
    "KeyRevoked": (_VERSIONS, _UPLOAD),
    "KeyUnknown": (_VERSIONS, _UPLOAD),
    "NoFreeSlots": (_CHECK, _APPLY),
    "NotAJar": (_UPLOAD,),
    "NotModules": (_UPLOAD,),
    "PolicyMalformed": (_ALLOW,),
    "PythonMissing": (_CHECK,),
    "QuotaExceeded": (_ALLOW,),
    "RecoveryGivenUp": (_RESTART, _APPLY),
    "ReleaseOutOfOrder": (_VERSIONS, _UPLOAD),
    "RevisionMissing": (_APPLY,),
    "ScriptRefused": (_UPLOAD,),
    "SignatureInvalid": (_VERSIONS, _UPLOAD),
    "SignatureMissing": (_UPLOAD,),
    "SignatureOverdue": (_UPLOAD,),
    "SpecRejected": (("see every fault of a spec file", "flinkctl validate -f FILE"), _APPLY),
    "StateForbidden": (_APPLY, _RESTORE),
    "StateMissing": (("see what state there is", "flinkctl savepoint list {job}"), _RESTORE),
    "StateUnknown": (("see what state there is", "flinkctl savepoint list {job}"), _RESTORE),
    "StatementInvalid": (_VERSIONS, _UPLOAD),
    "StatementRequired": (_UPLOAD,),
    "SubmissionRefused": (_UPLOAD, _APPLY, _RESTART),
}
"""What a person can do about a wait, by its reason; of those that are not here the controller sees to itself."""


class Upcoming(Value):
    """Something that the controller will do by itself."""

    what: str
    at: datetime | None = None
    """When, at the latest; None: once what it says has happened."""


class Remedy(Value):
    """Something that a person can do."""

    why: str
    command: str
    """In capitals, what the person must fill in."""


def upcoming(status: JobStatus, spec: JobSpec | None, *, is_unseen: bool) -> tuple[Upcoming, ...]:
    """Say what the controller does next, in the order in which it comes.

    Args:
        status: as recorded.
        spec: as stored now; None: it is gone, or cannot be read.
        is_unseen: whether the stored spec is another one than the controller looked at last.
    """
    found = [Upcoming(what="looks at the spec that was written since, within a minute")] if is_unseen else []
    found += _coming(status, spec)
    if status.next_look is not None:
        found.append(Upcoming(what="looks again", at=status.next_look))
    else:
        found.append(Upcoming(what=_NO_LOOK))
    return tuple(found)


def remedies(status: JobStatus) -> tuple[Remedy, ...]:
    """Say what a person can do, the most telling first; nothing where all is as it was asked for."""
    known = {
        "job": status.job_id,
        "cluster": status.cluster or "NAME",
        "key": _key(status),
    }
    chosen = dict.fromkeys(_chosen(status))
    return tuple(Remedy(why=why, command=command.format(**known)) for why, command in chosen)


def _coming(status: JobStatus, spec: JobSpec | None) -> Iterator[Upcoming]:
    waiting = status.waiting
    if waiting is not None and waiting[0] == "Paused":
        yield Upcoming(what=f"nothing but watching while it is {waiting[1]}")
        return
    yield from _over(status)
    operation, second = status.operation, status.second
    if operation is not None:
        yield Upcoming(what=f"sees the {operation.kind} through that it asked Flink for, for {operation.purpose}")
    if second is not None and second.role is LaneRole.GREEN:
        yield Upcoming(
            what=f"hands over to revision {second.revision.number}, on trial beside the running one, once healthy"
        )
    elif second is not None:
        yield Upcoming(what=f"makes sure that attempt {second.attempt.number}, which was replaced, has ended")
    if status.disposal is not None:
        yield Upcoming(what=f"removes savepoint {status.disposal.number}", at=status.disposal.retry_at)
    if waiting is not None:
        yield Upcoming(what=f"goes on once this is over: {waiting[0]}: {waiting[1]}")
    attempt = living(status)
    if status.job_type is JobType.BATCH:
        yield from _runs(status)
    elif attempt is not None and attempt.phase is AttemptPhase.LIVE and operation is None:
        yield from _of_attempt(status, attempt, spec)


def _over(status: JobStatus) -> Iterator[Upcoming]:
    """Say why nothing more is due, where that is so."""
    state = lifecycle(status)
    if status.halted is not None:
        yield Upcoming(what="tries nothing more until the spec or its artifact changes, or a restart is asked for")
    elif state is Lifecycle.COMPLETED:
        yield Upcoming(what="nothing more: the job has done its work")
    elif state is Lifecycle.SUSPENDED:
        yield Upcoming(what="starts nothing until the job is resumed")
    elif state is Lifecycle.DELETED:
        yield Upcoming(what="nothing more; a job that is written under this name goes on from the state that was kept")


def _of_attempt(status: JobStatus, attempt: Attempt, spec: JobSpec | None) -> Iterator[Upcoming]:
    rollback = spec.deployment.rollback if spec is not None else Rollback()
    if not attempt.is_proven:
        stable, desired = status.stable, status.desired
        is_new = stable is not None and desired is not None and attempt.revision == desired.number != stable.number
        otherwise = (
            f"goes back to revision {stable.number}"
            if stable is not None and is_new and rollback.enabled
            else "says that it is not, and leaves it to Flink"
        )
        deadline = health.proof_deadline(status, attempt, rollback)
        yield Upcoming(
            what=f"judges whether revision {attempt.revision} is healthy; if not in time, {otherwise}", at=deadline
        )
    elif status.periodic is not None:
        yield Upcoming(what="takes a periodic savepoint", at=saving.next_at(status.job_id, status.periodic, attempt))


def _runs(status: JobStatus) -> Iterator[Upcoming]:
    for run in status.runs.active:
        if run.expires_at is not None:
            yield Upcoming(what=f"ends the run of {run.scheduled_at:%Y-%m-%d %H:%M}Z if it still runs", at=run.expires_at)
        if run.retry_at is not None:
            yield Upcoming(what=f"tries the run of {run.scheduled_at:%Y-%m-%d %H:%M}Z again", at=run.retry_at)
    if status.runs.next_at is not None:
        yield Upcoming(what="starts the next run", at=status.runs.next_at)
    elif status.runs.closed:
        yield Upcoming(what=f"starts no further run: {status.runs.closed}")


def _chosen(status: JobStatus) -> Iterator[tuple[str, str]]:
    waiting = status.waiting
    if waiting is not None and waiting[0] == "Paused":
        yield "end the pause, once its cause is gone", _unpause(scope_told(waiting[1]))
        return
    reachable = status.condition("ClusterReachable")
    is_away = reachable is not None and reachable.status == "False"
    yield from _against_waits(status)
    if is_away:
        yield _CHECK
    match lifecycle(status):
        case Lifecycle.FAILED if status.halted is not None and status.halt_reason != "SpecRejected":
            yield from _after_the_end(status)
        case Lifecycle.ROLLED_BACK | Lifecycle.ROLLING_BACK:
            yield "see why the revision was refused; it is not tried again as it is", "flinkctl history {job}"
            yield _APPLY
        case Lifecycle.SUSPENDED | Lifecycle.SUSPENDING:
            yield "let it run again, from the state that was kept", "flinkctl resume {job}"
        case Lifecycle.DELETING if is_away:
            yield "give up a cluster that does not come back; the job may still run there", "flinkctl delete {job} --abandon"
        case Lifecycle.DELETED:
            yield "bring it back, from the state that was kept", "flinkctl apply -f FILE --wait"
        case Lifecycle.STABLE if status.job_type is JobType.BATCH:
            yield from _between_runs(status)
        case _:
            pass


def _against_waits(status: JobStatus) -> Iterator[tuple[str, str]]:
    if lifecycle(status) is Lifecycle.DELETED:
        return
    for type_ in ("SpecValid", "ArtifactVerified"):
        condition = status.condition(type_)
        if condition is not None and condition.status != "True":
            yield from REMEDIES.get(condition.reason, ())
    if status.waiting is not None:
        yield from REMEDIES.get(status.waiting[0], ())


def _after_the_end(status: JobStatus) -> Iterator[tuple[str, str]]:
    yield "read how it came to this", "flinkctl events {job}"
    if status.stable is not None and status.desired is not None and status.stable.number != status.desired.number:
        yield "go back to what was healthy", f"flinkctl rollback {{job}} --to {status.stable.number}"
    yield _APPLY
    yield _RUN_NOW if status.job_type is JobType.BATCH else _RESTART


def _between_runs(status: JobStatus) -> Iterator[tuple[str, str]]:
    last = status.runs.last
    if last is not None and last.outcome is not RunOutcome.SUCCEEDED:
        yield "see how its runs ended", "flinkctl runs {job}"
    if not status.runs.active:
        yield _RUN_NOW


def _unpause(scope: str | None) -> str:
    if scope is None:
        return "flinkctl pause --list"
    kind, _, name = scope.partition("/")
    return "flinkctl unpause --all" if scope == EVERYTHING else f"flinkctl unpause --{kind} {name}"


def _key(status: JobStatus) -> str:
    location = status.artifact_location
    return location.partition("/")[2] if location else "KEY"
