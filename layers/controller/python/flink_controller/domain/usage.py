"""What clusters have and what jobs take of it, summed up for people; nothing is decided by it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flink_controller.domain.cluster_check import Check, CheckStatus
from flink_controller.domain.fitness import size_text
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.names import namespace_of
from flink_controller.domain.observation import TaskManagerSeen
from flink_controller.domain.spec import ValidSpec, read_spec
from flink_controller.domain.status import StatusSummary


@dataclass(frozen=True)
class Capacity:
    """What the TaskManagers of a cluster have together."""

    task_managers: int
    slots: int
    slots_free: int
    memory_bytes: int | None
    """What slots share: heap, off-heap, managed and network memory of tasks; None: not every TaskManager says."""
    memory_free_bytes: int | None
    """Of that, what no slot in use has."""


@dataclass(frozen=True)
class Load:
    """What some jobs take."""

    jobs: int = 0
    running: int = 0
    """Streaming jobs that are not known to be dead, and runs of batch jobs that Flink has."""
    active_runs: int = 0
    """What counts against the quota: those runs, and the ones that are being submitted or wait for another try."""
    slots: int = 0
    """Parallelism of what runs, by the specs."""
    unknown_slots: int = 0
    """How many of what runs are not in `slots`, because no spec that can be read says."""

    def __add__(self, other: "Load") -> "Load":
        """Sum up."""
        return Load(
            self.jobs + other.jobs,
            self.running + other.running,
            self.active_runs + other.active_runs,
            self.slots + other.slots,
            self.unknown_slots + other.unknown_slots,
        )


def capacity(task_managers: Sequence[TaskManagerSeen]) -> Capacity:
    """Sum up TaskManagers."""
    return Capacity(
        task_managers=len(task_managers),
        slots=sum(seen.slots for seen in task_managers),
        slots_free=sum(seen.slots_free for seen in task_managers),
        memory_bytes=_sum(seen.shared_bytes for seen in task_managers),
        memory_free_bytes=_sum(seen.free_bytes for seen in task_managers),
    )


def memory_text(found: Capacity) -> str | None:
    """Write how much memory is free of how much, or None where Flink does not say."""
    if found.memory_bytes is None or found.memory_free_bytes is None:
        return None
    return f"{size_text(found.memory_free_bytes)} of {size_text(found.memory_bytes)}"


def check_memory(found: Capacity) -> Check:
    """Tell the memory of a cluster. What is too little for a job, only its spec says."""
    told = memory_text(found)
    return Check("memory", CheckStatus.OK, "Flink does not say" if told is None else f"{told} that slots share is free")


def loads(
    items: Mapping[str, Mapping[str, Any]], summaries: Iterable[StatusSummary]
) -> tuple[dict[str, Load], dict[str, Load]]:
    """Give what jobs take of each cluster, and what those of each namespace take.

    Args:
        items: the spec items, by job.
        summaries: the index of statuses. A job without one is counted in its namespace, and takes nothing.
    """
    by_cluster: dict[str, Load] = {}
    by_namespace: dict[str, Load] = {}
    known = {one.job_id: one for one in summaries if one.lifecycle != Lifecycle.DELETED.value}
    for job_id in items.keys() | known.keys():
        one = known.get(job_id)
        load = Load(jobs=1) if one is None else _load(one, items.get(job_id))
        namespace = namespace_of(job_id)
        by_namespace[namespace] = by_namespace.get(namespace, Load()) + load
        if one is not None and load.running:
            by_cluster[one.cluster] = by_cluster.get(one.cluster, Load()) + load
    return by_cluster, by_namespace


def _load(one: StatusSummary, item: Mapping[str, Any] | None) -> Load:
    runs = len(one.run_ids)
    running = len(one.live_run_ids) + (one.running_revision is not None)
    spec = read_spec(one.job_id, item) if running else None
    if spec is None:
        return Load(jobs=1, active_runs=runs)
    if not isinstance(spec, ValidSpec):
        return Load(1, running, runs, 0, running)
    return Load(1, running, runs, running * spec.spec.deployment.parallelism)


def _sum(sizes: Iterable[int | None]) -> int | None:
    """Add up what is known of all; of none it is unknown too."""
    found = list(sizes)
    known = [size for size in found if size is not None]
    return sum(known) if known and len(known) == len(found) else None
