"""`deployment.restore`: start from another place, once per nonce.

The running job is stopped with a savepoint first, as far as it still can be: its state is kept, and is what the job goes
back to when it cannot start from where it was told to. The wish is honoured by one recorded write, at rest; until then
every look decides anew what is asked for.
"""

from flink_controller.domain import intents
from flink_controller.domain.actions import FindState
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.names import tag
from flink_controller.domain.plan import Draft
from flink_controller.domain.spec import JobSpec, ValidSpec
from flink_controller.domain.status import Attempt, AttemptPhase, EndState, Failures, Handover, Restored

PURPOSE = "restore"
S3 = frozenset({"s3", "s3a", "s3p"})
"""Flink's names for one and the same storage."""


def is_asked(draft: Draft) -> bool:
    """Whether the spec holds a wish that was not honoured yet."""
    return asked_nonce(draft) not in {None, draft.status.restore_nonce}


def asked_nonce(draft: Draft) -> str | None:
    """Give the nonce of the spec's wish; None: there is no wish, or no valid spec."""
    view = draft.facts.spec
    return view.spec.deployment.restore.nonce if isinstance(view, ValidSpec) else None


def ready(draft: Draft) -> FindState | bool:
    """Check what a restore needs before anything is touched.

    Returns what to look up first; True when it may begin; False when none is asked for, or the draft says what is wrong.
    """
    view, cluster = draft.facts.spec, draft.facts.observation.destination or draft.facts.observation.cluster
    if not is_asked(draft) or not isinstance(view, ValidSpec) or cluster is None:
        return False
    path = place(view.spec, cluster, view.spec.deployment.restore.from_)
    assert path is not None
    fault = place_fault(draft, view.spec, cluster, path, "deployment.restore.from")
    if fault is not None:
        draft.wait("StateForbidden", fault, draft.now + intents.BLOCKED_LOOK)
        return False
    found = draft.facts.findings.found_states
    if path not in found:
        return FindState(path)
    if found[path] is False:
        message = f"deployment.restore.from: there is no complete savepoint or checkpoint at {path}"
        draft.wait("StateMissing", message, draft.now + intents.BLOCKED_LOOK)
        return False
    # Where storage cannot be read, Flink decides: what there is by then is kept.
    return True


def begin(draft: Draft) -> None:
    """Honour the wish: record from where the next attempt starts, and what it leaves aside."""
    view, cluster = draft.facts.spec, draft.facts.observation.destination or draft.facts.observation.cluster
    assert isinstance(view, ValidSpec)
    assert cluster is not None
    path = place(view.spec, cluster, view.spec.deployment.restore.from_)
    assert path is not None
    attempt, known = draft.status.attempt, draft.status.handover
    kept = known.path if attempt is not None and known is not None and known.of_attempt == attempt.number else None
    of_attempt = 0 if attempt is None else attempt.number
    draft.set(
        restore_nonce=asked_nonce(draft),
        restored=Restored(path=path, kept=kept, of_attempt=of_attempt),
        failures=Failures(),
    )
    draft.event("RestoreStarted", f"from {path}; what there is now is kept at {kept}" if kept else f"from {path}")


def give_up(draft: Draft) -> None:
    """The place has gone since the job was stopped for it: the job goes on from what it had."""
    _, message = draft.status.waiting or ("", "")
    draft.set(restore_nonce=asked_nonce(draft), waiting=None)
    draft.event("RestoreFailed", message, warning=True)


def override(draft: Draft, attempt: Attempt) -> FindState | None:
    """Where the state of a dead attempt cannot be found, start from the place that is named all the same."""
    waiting = draft.status.waiting
    if waiting is None or waiting[0] != "StateUnknown":
        return None
    wanted = ready(draft)
    if isinstance(wanted, FindState):
        return wanted
    restore = draft.facts.spec
    if (
        wanted
        and isinstance(restore, ValidSpec)
        and any(found is True for found in draft.facts.findings.found_states.values())
    ):
        draft.set(handover=Handover(path=None, of_attempt=attempt.number), operation=None, waiting=None)
    return None


def origin(draft: Draft) -> str | None:
    """Give the place that the next attempt is to start from by an honoured wish; None: by none."""
    restored, attempt = draft.status.restored, draft.status.attempt
    is_next = restored is not None and restored.of_attempt == (0 if attempt is None else attempt.number)
    return restored.path if restored is not None and is_next else None


def has_failed(draft: Draft, attempt: Attempt) -> bool:
    """Whether a dead attempt shows that a restore does not work: it started from there, was never proven, and failed."""
    restored = draft.status.restored
    if (
        restored is None
        or attempt.is_proven
        or attempt.restore_from != restored.path
        or attempt.number <= restored.of_attempt
    ):
        return False
    return attempt.end is EndState.FAILED or (attempt.end is EndState.BURNED and attempt.refusal_is_final)


def settle(draft: Draft, attempt: Attempt) -> None:
    """Close a restore once its attempt is proven."""
    if draft.status.restored is not None and attempt.is_proven and attempt.phase is AttemptPhase.LIVE:
        draft.event("Restored", f"{attempt.flink_job_id} is healthy, from {draft.status.restored.path}")
        draft.set(restored=None)


def place(spec: JobSpec, cluster: Cluster, path: str | None) -> str | None:
    """Resolve a place that a spec names: below the namespace's own directory, unless it has a scheme."""
    if path is None or "://" in path:
        return path
    return f"{cluster.savepoint_root}/{spec.name.namespace}/{path.strip('/')}"


def place_fault(draft: Draft, spec: JobSpec, cluster: Cluster, path: str, field: str) -> str | None:
    """Say why a place must not be started from; None: it may.

    Below the namespace's own directory, below a root of its policy, or a checkpoint of the job itself; and on storage of
    the kind that the cluster reads.
    """
    own = f"{cluster.savepoint_root}/{spec.name.namespace}/"
    checkpoints = f"{cluster.checkpoint_root}/{tag(draft.facts.policy.controller_id, draft.facts.job_id)}"
    policy = draft.facts.observation.policy
    if not path.startswith((own, checkpoints, *(() if policy is None else policy.state_roots))):
        return (
            f"{field}: {path} is not below {own}, the namespace's own directory, nor below a root that its policy names"
            " (flinkctl policy set --state-root)"
        )
    if _storage_of(path) != _storage_of(cluster.savepoint_root):
        return f"{field}: {path} lies on other storage than cluster {cluster.name} reads, {cluster.savepoint_root}"
    return None


def _storage_of(uri: str) -> str:
    scheme = uri.partition(":")[0]
    return "s3" if scheme in S3 else scheme
