"""Carry out what a plan asks for: the only place where effects happen."""

import contextlib
from typing import assert_never

from flink_controller.domain.actions import (
    Burn,
    Cancel,
    CancelApplication,
    CountFreeSlots,
    DeleteStaleJars,
    DisposeSavepoint,
    Effect,
    FindState,
    LoadHolders,
    LoadRevision,
    LoadRun,
    LoadSavepoints,
    PlanProgram,
    Preparation,
    PruneRuns,
    ReadCheckpoints,
    ReadOffer,
    ReleaseJar,
    Rescale,
    SearchState,
    StageJar,
    StopWithSavepoint,
    Submit,
    TriggerCheckpoint,
    TriggerSavepoint,
)
from flink_controller.domain.artifact import is_stale_jar
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError
from flink_controller.domain.observation import Answer, NotSent, Offer, OfferUnread
from flink_controller.domain.plan import Facts, Policy, StagingRefused, with_findings
from flink_controller.ports import FlinkGateway, Ports
from flink_controller.services.stage_jar import burn_submit, stage_jar


def prepare(ports: Ports, policy: Policy, facts: Facts, action: Preparation) -> Facts:
    """Carry out what needs no intent, and give the facts with what it brought to light.

    Raises:
        FlinkUnreachableError: the cluster did not answer.
    """
    cluster, findings = facts.observation.cluster, facts.findings
    match action:
        case LoadRevision() | LoadRun() | PruneRuns() | LoadSavepoints() | LoadHolders():
            return _on_record(ports, facts, action)
        case TriggerCheckpoint() | ReadCheckpoints() | CountFreeSlots() | PlanProgram():
            assert cluster is not None
            return _ask(ports.flink.connect(cluster), facts, action)
        case ReadOffer():
            return with_findings(facts, offer=_offer(ports, facts))
        case SearchState():
            stored = ports.storage.search(
                action.flink_job_id,
                checkpoint_root=action.checkpoint_root,
                savepoint_directories=action.savepoint_directories,
            )
            return with_findings(facts, stored={**findings.stored, action.flink_job_id: stored})
        case FindState(path=path):
            return with_findings(facts, found_states={**findings.found_states, path: ports.storage.holds(path)})
        case StageJar():
            assert cluster is not None
            staged = stage_jar(ports, policy, cluster, action)
            if isinstance(staged, StagingRefused):
                return with_findings(facts, staging_refused=staged)
            return with_findings(facts, staged=staged)
        case DeleteStaleJars(incarnation=incarnation):
            assert cluster is not None
            gateway = ports.flink.connect(cluster)
            for jar in gateway.jars():
                if is_stale_jar(jar.name, incarnation=incarnation, controller_id=policy.controller_id):
                    gateway.delete_jar(jar.jar_id)
            return with_findings(facts, cleared=incarnation)
        case ReleaseJar(cluster=name, sha256=sha256):
            _release_jar(ports, facts, name, sha256)
            return with_findings(facts, released=findings.released | {sha256})
        case _:
            assert_never(action)


def _offer(ports: Ports, facts: Facts) -> Offer | OfferUnread:
    """Read what a cluster offers: two calls."""
    here, destination = facts.observation.cluster, facts.observation.destination
    cluster = destination or here
    assert cluster is not None
    gateway = ports.flink.connect(cluster)
    try:
        return Offer(gateway.config().settings, gateway.task_managers())
    except FlinkUnreachableError as error:
        if destination is None:
            raise
        # It says nothing of the cluster that the job is on.
        return OfferUnread(str(error))


def _ask(
    gateway: FlinkGateway, facts: Facts, action: TriggerCheckpoint | ReadCheckpoints | CountFreeSlots | PlanProgram
) -> Facts:
    """Ask Flink what a decision waits for."""
    findings = facts.findings
    match action:
        case TriggerCheckpoint(flink_job_id=job):
            gateway.checkpoint(job)
            return with_findings(facts, checkpointed=findings.checkpointed | {job})
        case ReadCheckpoints(flink_job_id=job):
            return with_findings(facts, checkpoints={**findings.checkpoints, job: gateway.checkpoints(job)})
        case CountFreeSlots():
            return with_findings(facts, free_slots=gateway.free_slots())
        case PlanProgram(submit=submit):
            # Whatever keeps Flink from planning it is no verdict: the submit itself will tell.
            return with_findings(facts, planned={**findings.planned, submit.jar_id: gateway.plan(submit)})
        case _:
            assert_never(action)


def _on_record(
    ports: Ports, facts: Facts, action: LoadRevision | LoadRun | PruneRuns | LoadSavepoints | LoadHolders
) -> Facts:
    """Carry out what concerns the job's own records alone."""
    findings, statuses = facts.findings, ports.statuses
    match action:
        case LoadRevision(number=number):
            return with_findings(facts, revisions={**findings.revisions, number: statuses.revision(facts.job_id, number)})
        case LoadRun(scheduled_at=at):
            return with_findings(facts, runs={**findings.runs, at: statuses.run(facts.job_id, at)})
        case LoadSavepoints():
            return with_findings(facts, savepoints=tuple(statuses.savepoints(facts.job_id)))
        case LoadHolders(path=path):
            return with_findings(facts, holders={**findings.holders, path: tuple(statuses.holders(path))})
        case PruneRuns(succeeded=succeeded, other=other):
            statuses.prune_runs(facts.job_id, succeeded=succeeded, other=other)
            return with_findings(facts, has_pruned_runs=True)
        case _:
            assert_never(action)


def carry_out(ports: Ports, policy: Policy, cluster: Cluster, effect: Effect) -> Answer:
    """Carry out an effect whose intent is recorded. Never raises on Flink's account: the answer is a hint."""
    gateway = ports.flink.connect(cluster)
    match effect:
        case Submit():
            return gateway.submit(effect)
        case Burn():
            try:
                submit = burn_submit(ports, policy, cluster, effect)
            except FlinkUnreachableError as error:
                return NotSent(str(error))
            return gateway.submit(submit)
        case StopWithSavepoint():
            return gateway.stop(effect.flink_job_id, trigger_id=effect.trigger_id, target_directory=effect.target_directory)
        case TriggerSavepoint():
            return gateway.savepoint(
                effect.flink_job_id, trigger_id=effect.trigger_id, target_directory=effect.target_directory
            )
        case Cancel(flink_job_id=job):
            return gateway.cancel(job)
        case DisposeSavepoint(path=path):
            return gateway.dispose(path)
        case CancelApplication(application_id=application):
            return gateway.cancel_application(application)
        case Rescale(flink_job_id=job, before=before, after=after):
            return gateway.rescale(job, before=before, after=after)
        case _:
            assert_never(effect)


def _release_jar(ports: Ports, facts: Facts, cluster_name: str, sha256: str) -> None:
    jar = ports.statuses.release_jar(cluster_name, sha256, facts.job_id)
    if jar is None:
        return
    # The record is gone, and a jar that nobody can delete now does no harm: it dies with its JobManager.
    with contextlib.suppress(FlinkUnreachableError, RejectedError):
        cluster = ports.registry.cluster(cluster_name)
        if cluster is not None:
            ports.flink.connect(cluster).delete_jar(jar.jar_id)
