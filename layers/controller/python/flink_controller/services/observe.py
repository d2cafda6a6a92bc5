"""One look at the world. Never acts, never judges."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from flink_controller.domain import health, vitals
from flink_controller.domain.artifact import Artifact, ArtifactHead
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError
from flink_controller.domain.names import JobName, tag
from flink_controller.domain.observation import (
    ApplicationSeen,
    Checkpoints,
    FlinkSeen,
    FlinkState,
    FlinkUnreachable,
    FlinkView,
    JobSeen,
    Observation,
    TriggerCompleted,
    TriggerStatus,
    Vertex,
)
from flink_controller.domain.plan import Policy, living_of, running_artifacts, target_of
from flink_controller.domain.spec import Rollback, SpecView, ValidSpec
from flink_controller.domain.status import Attempt, AttemptPhase, JobStatus, LaneRole, Operation, OperationKind
from flink_controller.domain.trust import NamespacePolicy, Reaction, RunningDistrust, distrust
from flink_controller.domain.vitals import Reading
from flink_controller.ports import FlinkGateway, Ports, Registry
from flink_controller.services.gate import Gate
from flink_controller.services.pressure import read_pressure

ALWAYS = "ha"
"""Incarnation of a cluster with high availability: its `web.tmpdir` says nothing about its jobs."""


@dataclass(frozen=True)
class Artifacts:
    """What is recorded of the artifact that a spec names."""

    head: ArtifactHead | None = None
    pinned: Artifact | None = None
    distrusts: tuple[RunningDistrust, ...] = ()
    policy: NamespacePolicy | None = None
    policy_fault: str | None = None
    """What is wrong with the namespace's policy, when it cannot be read."""


def observe_artifacts(ports: Ports, policy: Policy, spec: SpecView, status: JobStatus | None = None) -> Artifacts:
    """Read what admission has recorded of a spec's artifact, its namespace's policy, and whether what runs is still trusted.

    Two consistent reads, three with a pin, and one more for each artifact that living attempts run.
    """
    found = _with_policy(ports, _recorded(ports, policy, spec), spec, status)
    running = () if status is None else running_artifacts(status)
    distrusts = (_distrust(ports, found.policy, artifact) for artifact in dict.fromkeys(running))
    return replace(found, distrusts=tuple(distrust for distrust in distrusts if distrust is not None))


def _with_policy(ports: Ports, found: Artifacts, spec: SpecView, status: JobStatus | None) -> Artifacts:
    job_id = spec.spec.job_id if isinstance(spec, ValidSpec) else "" if status is None else status.job_id
    try:
        return replace(found, policy=ports.registry.policy(JobName.parse(job_id).namespace))
    except ValueError:
        # What is no name of a job was never started, and never is.
        return found
    except RejectedError as error:
        return replace(found, policy_fault=str(error))


def _distrust(ports: Ports, policy: NamespacePolicy | None, artifact: Artifact) -> RunningDistrust | None:
    found = distrust(artifact, ports.registry.trust(artifact.signers, artifact.sha256))
    # Where nobody can say what the policy is: told and alarmed, and nothing is stopped on a guess.
    reaction = Reaction.FLAG if policy is None else policy.on_distrust
    return None if found is None else RunningDistrust(artifact.sha256, found.reason, found.message, reaction)


def _recorded(ports: Ports, policy: Policy, spec: SpecView) -> Artifacts:
    if not isinstance(spec, ValidSpec):
        return Artifacts()
    key, pin = spec.spec.artifact_path, spec.spec.pinned_digest
    bucket = policy.bucket_of(key)
    head = ports.records.head(bucket, key)
    if pin is None:
        return Artifacts(head)
    version = ports.records.admitted_with_digest(bucket, key, pin)
    return Artifacts(head, None if version is None else version.artifact)


class Clusters:
    """The registered clusters, each read once a look."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, Cluster | None] = {}

    def get(self, name: str) -> Cluster | None:
        """Give a cluster, or None when nobody registered it.

        Raises:
            RejectedError: its item is malformed.
        """
        if name not in self._known:
            self._known[name] = self._registry.cluster(name)
        return self._known[name]


def observe(
    ports: Ports,
    policy: Policy,
    clusters: Clusters,
    gate: Gate,
    *,
    job_id: str,
    spec: SpecView,
    artifacts: Artifacts,
    status: JobStatus | None,
) -> Observation:
    """Look at the cluster that matters for a job now.

    Calls on Flink: the list; with nothing alive the configuration before it; when the current attempt is not listed the
    list again between two reads of the configuration; details only where they decide something.
    """
    name = _cluster_name(spec, status)
    elsewhere = spec.spec.cluster if isinstance(spec, ValidSpec) else name
    seen = Observation(
        cluster=None,
        flink=None,
        artifact=artifacts.head,
        pinned=artifacts.pinned,
        pause=gate.pause(name, elsewhere),
        distrusts=artifacts.distrusts,
        policy=artifacts.policy,
        policy_fault=artifacts.policy_fault,
    )
    try:
        cluster = clusters.get(name) if name else None
        destination = clusters.get(elsewhere) if elsewhere != name else None
    except RejectedError as error:
        return replace(seen, cluster_fault=str(error))
    try:
        flink = None if cluster is None else _observe_flink(ports, policy, cluster, gate, job_id, spec, status)
    except RejectedError as error:
        # The way to the cluster is registered wrongly; nothing was asked.
        return replace(seen, cluster_fault=str(error))
    return replace(seen, cluster=cluster, flink=flink, destination=destination)


def _cluster_name(spec: SpecView, status: JobStatus | None) -> str:
    """Name the cluster of the attempt until what it left behind is settled; then the target's."""
    if status is not None and status.runs.active:
        return status.runs.active[0].attempt.cluster
    if status is not None and status.second is not None and not status.second.attempt.is_dead:
        return status.second.attempt.cluster
    if status is not None and status.attempt is not None:
        handover = status.handover
        if not status.attempt.is_dead or handover is None or handover.of_attempt != status.attempt.number:
            return status.attempt.cluster
    if isinstance(spec, ValidSpec):
        desired = None if status is None or status.refused is None else status.desired
        if desired is None or desired.spec_hash != spec.revision_hash:
            return spec.spec.cluster
    if status is None:
        return ""
    target = target_of(status)
    return status.cluster if target is None else target.cluster


def _observe_flink(
    ports: Ports, policy: Policy, cluster: Cluster, gate: Gate, job_id: str, spec: SpecView, status: JobStatus | None
) -> FlinkView:
    gateway = ports.flink.connect(cluster)
    refusal = gate.refusal(ports.clock.now())
    if refusal is not None:
        return refusal
    try:
        seen = _ask(ports, policy, gateway, cluster, job_id, spec, status)
    except FlinkUnreachableError as error:
        gate.unanswered(ports.clock.now(), error)
        return FlinkUnreachable(str(error), reason=error.reason)
    gate.answered()
    return seen


def _ask(
    ports: Ports,
    policy: Policy,
    gateway: FlinkGateway,
    cluster: Cluster,
    job_id: str,
    spec: SpecView,
    status: JobStatus | None,
) -> FlinkSeen:
    jobs, incarnation = _list(gateway, cluster, tag(policy.controller_id, job_id), status)
    seen = FlinkSeen(jobs=jobs, incarnation=incarnation)
    if status is None:
        return seen
    second = None if status.second is None else status.second.attempt
    seen = replace(
        seen,
        application=_application(gateway, jobs, status.attempt),
        second_application=_application(gateway, jobs, second),
        run_applications={run.attempt.flink_job_id: _application(gateway, jobs, run.attempt) for run in status.runs.active},
    )
    seen = _with_details(gateway, seen, status, spec, ports.clock.now())
    seen = _with_vitals(gateway, seen, status, spec, policy)
    seen = _with_runs(gateway, seen, status)
    return _with_second(gateway, seen, status, spec, ports.clock.now())


def _list(
    gateway: FlinkGateway, cluster: Cluster, job_tag: str, status: JobStatus | None
) -> tuple[dict[str, JobSeen], str | None]:
    alive = [] if status is None else _living_ids(status)
    if alive:
        jobs = _ours(gateway, job_tag)
        if all(flink_job_id in jobs for flink_job_id in alive):
            return jobs, None
    before = gateway.config().incarnation
    jobs = _ours(gateway, job_tag)
    # Only an absence needs the second read: it counts only if the JobManager was the same before and after the list.
    same = not alive or gateway.config().incarnation == before
    if not same:
        return jobs, None
    return jobs, ALWAYS if cluster.high_availability else before


def _application(gateway: FlinkGateway, jobs: Mapping[str, JobSeen], attempt: Attempt | None) -> ApplicationSeen | None:
    """Look at an attempt's main() where it decides something: before its job is listed, and while its id is used up."""
    if attempt is None or attempt.application_id is None:
        return None
    is_awaited = attempt.phase is AttemptPhase.SUBMITTING and attempt.flink_job_id not in jobs
    return gateway.application(attempt.application_id) if is_awaited or attempt.phase is AttemptPhase.BURNING else None


def _living_ids(status: JobStatus) -> list[str]:
    return [attempt.flink_job_id for attempt in living_of(status)]


def _ours(gateway: FlinkGateway, job_tag: str) -> dict[str, JobSeen]:
    return {job.flink_job_id: job for job in gateway.jobs(job_tag)}


def _with_details(gateway: FlinkGateway, seen: FlinkSeen, status: JobStatus, spec: SpecView, now: datetime) -> FlinkSeen:
    attempt, operation = status.attempt, status.operation
    job = None if attempt is None else seen.jobs.get(attempt.flink_job_id)
    if attempt is None or job is None:
        return seen
    is_unsettled = status.handover is None or status.handover.of_attempt != attempt.number
    trigger: TriggerStatus | None = None
    checkpoints: Checkpoints | None = None
    cause: str | None = None
    vertices: tuple[Vertex, ...] | None = None
    if operation is not None and operation.flink_job_id == job.flink_job_id:
        if operation.trigger_id:
            trigger = gateway.trigger(job.flink_job_id, operation.trigger_id)
        elif operation.kind is OperationKind.RESCALE and not job.state.is_terminal:
            vertices = gateway.vertices(job.flink_job_id)
    if job.state.is_terminal and is_unsettled:
        if not isinstance(trigger, TriggerCompleted):
            checkpoints = gateway.checkpoints(job.flink_job_id)
        if job.state is FlinkState.FAILED and attempt.root_cause is None:
            cause = gateway.root_cause(job.flink_job_id)
    elif health.needs_checkpoints(attempt, now, _stabilization(spec)) or _is_stuck(attempt, operation):
        checkpoints = gateway.checkpoints(job.flink_job_id)
    return replace(seen, checkpoints=checkpoints, trigger=trigger, vertices=vertices, root_cause=cause)


def _with_vitals(gateway: FlinkGateway, seen: FlinkSeen, status: JobStatus, spec: SpecView, policy: Policy) -> FlinkSeen:
    job = None if status.attempt is None else seen.jobs.get(status.attempt.flink_job_id)
    if job is None:
        return seen
    wanted = vitals.readings(status, spec, job, policy)
    try:
        return _with_readings(gateway, seen, job.flink_job_id, wanted)
    except FlinkUnreachableError:
        # The list was read: the cluster answers, and nothing that keeps the job on it depends on these.
        return seen


def _with_readings(gateway: FlinkGateway, seen: FlinkSeen, flink_job_id: str, wanted: AbstractSet[Reading]) -> FlinkSeen:
    if Reading.CHECKPOINTS in wanted and seen.checkpoints is None:
        seen = replace(seen, checkpoints=gateway.checkpoints(flink_job_id))
    if Reading.FAILURES in wanted:
        seen = replace(seen, failures=gateway.failures(flink_job_id))
    if Reading.PRESSURE in wanted:
        seen = replace(seen, pressure=read_pressure(gateway, flink_job_id))
    return seen


def _is_stuck(attempt: Attempt, operation: Operation | None) -> bool:
    """Whether a stop failed, and nobody has read yet whether a cancel would leave the job's state behind."""
    return operation is not None and operation.last_failure is not None and attempt.is_checkpointed is None


def _with_runs(gateway: FlinkGateway, seen: FlinkSeen, status: JobStatus) -> FlinkSeen:
    failed = [
        run.attempt.flink_job_id
        for run in status.runs.active
        if not run.attempt.is_dead
        and run.attempt.flink_job_id in seen.jobs
        and seen.jobs[run.attempt.flink_job_id].state is FlinkState.FAILED
    ]
    return replace(seen, run_causes={job: gateway.root_cause(job) for job in failed}) if failed else seen


def _with_second(gateway: FlinkGateway, seen: FlinkSeen, status: JobStatus, spec: SpecView, now: datetime) -> FlinkSeen:
    second = status.second
    job = None if second is None else seen.jobs.get(second.attempt.flink_job_id)
    if second is None or job is None or second.attempt.is_dead:
        return seen
    if job.state is FlinkState.FAILED:
        return replace(seen, second_root_cause=gateway.root_cause(job.flink_job_id))
    if second.role is LaneRole.GREEN and health.needs_checkpoints(second.attempt, now, _stabilization(spec)):
        return replace(seen, second_checkpoints=gateway.checkpoints(job.flink_job_id))
    return seen


def _stabilization(spec: SpecView) -> timedelta:
    rollback = spec.spec.deployment.rollback if isinstance(spec, ValidSpec) else Rollback()
    return timedelta(seconds=rollback.stabilization_seconds)
