"""What a streaming job takes of its namespace's quotas: one job, and the slots of its copies.

It is taken with the first intent of a start or a stop, in the same transaction, and so before anything that runs is touched;
the larger amount is held until the new revision is proven, so that the way back always has its place. What runs when a quota
begins is counted whether it fits or not. The count itself is the store's: the difference that a status makes.
"""

from flink_controller.domain import intents
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.plan import Draft, living, living_of, wants_running
from flink_controller.domain.spec import JobSpec, UpgradeMode
from flink_controller.domain.status import JobStatus, JobType, Reservation, RevisionRef
from flink_controller.domain.trust import NamespacePolicy

_PROVEN = frozenset({Lifecycle.STABLE, Lifecycle.ROLLED_BACK})


def reserve(draft: Draft, target: RevisionRef, spec: JobSpec) -> bool:
    """Have the next intent take what a start of a revision needs beyond what the job holds; False: the draft waits for room."""
    policy = draft.facts.observation.policy
    if spec.job_type is JobType.BATCH or policy is None or not policy.quotas.counts_streams:
        return True
    held, parallelism = draft.status.reserved, spec.deployment.parallelism
    is_beside = spec.deployment.upgrade_mode is UpgradeMode.BLUE_GREEN and living(draft.status) is not None
    before = held or Reservation(slots=0)
    needed = max(before.slots, parallelism + (before.proven if is_beside else 0))
    if (held is None or needed > held.slots) and draft.facts.findings.no_place:
        draft.wait("QuotaExceeded", draft.facts.findings.no_place, draft.now + intents.BLOCKED_LOOK)
        return False
    draft.set(reserved=before.model_copy(update={"slots": needed, "asked": parallelism, "revision": target.number}))
    return True


def kept(
    status: JobStatus, recorded: JobStatus | None, policy: NamespacePolicy | None, parallelism: int
) -> Reservation | None:
    """Give what a job holds after a look that ends without an intent: never more than before, but for what runs uncounted.

    Args:
        status: as the look leaves it.
        recorded: as it was recorded last.
        policy: the namespace's; None: it cannot be read, and everything stays as it is.
        parallelism: of what runs, should it have to be counted now.
    """
    held = None if recorded is None else recorded.reserved
    if policy is None:
        return held
    is_alive = bool(living_of(status))
    is_at_rest = not is_alive and not wants_running(status)
    if status.job_type is JobType.BATCH or not policy.quotas.counts_streams or is_at_rest:
        return None
    if held is None:
        return Reservation(slots=parallelism, proven=parallelism, asked=parallelism) if is_alive else None
    if status.reserved is not None and status.reserved.slots <= held.slots:
        held = status.reserved
    running = living(status)
    if running is None or status.second is not None or lifecycle(status) not in _PROVEN:
        return held
    # A revision that was refused before it took over leaves the one that runs as it was.
    slots = held.asked if running.revision == held.revision else held.proven
    return held.model_copy(update={"slots": slots, "proven": slots})
