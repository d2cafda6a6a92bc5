"""What every step needs: identities of operations, the wait between looks, and a revision's spec."""

from datetime import timedelta

from flink_controller.domain.actions import (
    LoadRevision,
)
from flink_controller.domain.names import JobName, trigger_id
from flink_controller.domain.plan import Draft
from flink_controller.domain.spec import JobSpec
from flink_controller.domain.status import (
    Attempt,
    Operation,
    OperationKind,
    RevisionRef,
)

POLL_FIRST = timedelta(milliseconds=40)
"""First wait for something that Flink usually does at once; half of what a stop of tiny state takes."""
POLL_LAST = timedelta(seconds=15)
"""Longest wait between two looks at something under way."""
RESEND = timedelta(seconds=5)
"""Before a request without visible effect is repeated under the same identity."""
BLOCKED_LOOK = timedelta(seconds=60)
"""Between two looks at what only a person, or an outage's end, can change."""
KEPT_DIRECTORIES = 5
"""Directories of operations that are searched for a lost savepoint: the last good one and four later tries."""


_TRIGGERED = frozenset({OperationKind.STOP, OperationKind.SAVEPOINT})
"""Kinds that Flink carries out under an id of our choice, and can be asked about."""


def load_revision(draft: Draft, revision: RevisionRef) -> LoadRevision | None:
    """Ask for a revision's spec; None when it is gone, which the draft then says."""
    revision = draft.standing_for(revision)
    if revision.number in draft.facts.findings.revisions:
        draft.wait(
            "RevisionMissing",
            f"revision {revision.number} is not on record any more; write the spec again",
            draft.now + BLOCKED_LOOK,
        )
        return None
    return LoadRevision(revision.number)


def savepoint_base(root: str, name: JobName, path: str) -> str:
    """Name the directory in which each operation that takes a savepoint of a job has its own."""
    return f"{root}/{name.namespace}/{path.strip('/')}"


def new_operation(draft: Draft, kind: OperationKind, job: str, purpose: str, *, spec: JobSpec | None = None) -> Operation:
    """Make an operation with the next number; with a spec it gets a savepoint directory of its own."""
    sequence = draft.status.operation_counter + 1
    draft.set(operation_counter=sequence)
    directory = ""
    if spec is not None:
        cluster, name = draft.facts.observation.cluster, JobName.parse(draft.facts.job_id)
        assert cluster is not None
        directory = f"{savepoint_base(cluster.savepoint_root, name, spec.deployment.savepoint_path)}/{job}-{sequence}"
    return Operation(
        kind=kind,
        sequence=sequence,
        flink_job_id=job,
        trigger_id=trigger_id(job, kind, sequence) if kind in _TRIGGERED else "",
        target_directory=directory,
        purpose=purpose,
        started_at=draft.now,
        requested_at=draft.now,
    )


def remember_directory(draft: Draft, attempt: Attempt, directory: str) -> None:
    """Keep where an operation writes, so that a savepoint whose answer was lost is found."""
    known = (*attempt.savepoint_directories, directory)
    if len(known) > KEPT_DIRECTORIES:
        known = (known[0], *known[2:])
    draft.set_attempt(savepoint_directories=known)


def current_attempt(draft: Draft) -> Attempt:
    """Give the attempt of the lane at hand."""
    assert draft.attempt is not None
    return draft.attempt


def poll_interval(elapsed: timedelta) -> timedelta:
    """Half of what has passed already: quick at first, rare in the end."""
    return min(max(POLL_FIRST, elapsed / 2), POLL_LAST)
