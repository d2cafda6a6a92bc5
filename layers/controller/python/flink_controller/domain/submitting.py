"""Start an attempt, and find out what became of a submit: seen, sent again, or its id burned."""

from datetime import datetime, timedelta

from flink_controller.domain import handover, intents, learning, reserving, restoring
from flink_controller.domain.actions import (
    Action,
    Burn,
    Cancel,
    CancelApplication,
    DeleteStaleJars,
    PlanProgram,
    Preparation,
    ReadOffer,
    ReleaseJar,
    StageJar,
    Submit,
)
from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.configuration import flink_configuration
from flink_controller.domain.errors import UNREACHABLE
from flink_controller.domain.fitness import asks_flink, unfit
from flink_controller.domain.names import application_id, flink_job_id
from flink_controller.domain.observation import (
    Answer,
    NoAnswer,
    NotSent,
    OfferUnread,
    RefusalKind,
    Refused,
)
from flink_controller.domain.plan import Draft, attempts_of, bounded, living, target_of, wants_running
from flink_controller.domain.program import cluster_fault, is_planned_first, program_of, runs_by_itself
from flink_controller.domain.spec import JobSpec, OnFailure, Rollback, UpgradeMode, ValidSpec
from flink_controller.domain.stamp import stamp_of
from flink_controller.domain.status import (
    Attempt,
    AttemptPhase,
    DesiredState,
    EndState,
    Failures,
    JobType,
    RevisionRef,
    StagedJar,
)

MAX_BACKOFF = timedelta(hours=1)
BURN_PATIENCE = timedelta(seconds=1)
"""Before a main() whose id was used up is cancelled: most have ended by then."""
MAX_STAGED = 4
"""Jars that a job may claim before it was ever healthy; uploads that never work must not fill its status."""


def submitting(draft: Draft, *, revision: RevisionRef, is_wanted: bool) -> Action | None:
    """Find out what became of a submit of a revision; send it again, or burn its id when it is not wanted or was refused."""
    answer = _verdict(draft, revision)
    if isinstance(answer, Refused) and answer.kind is not RefusalKind.DUPLICATE:
        draft.set_attempt(
            refusal=bounded(answer.cause),
            refusal_is_final=answer.kind is RefusalKind.PROGRAM,
        )
        if answer.kind is RefusalKind.JAR_GONE:
            draft.set(void_jar_id=intents.current_attempt(draft).jar_id)
    attempt = intents.current_attempt(draft)
    if isinstance(answer, Refused) and answer.kind is RefusalKind.DUPLICATE:
        _note_duplicate(draft, attempt)
    if _is_over(draft, attempt):
        return None
    if not is_wanted or attempt.refusal is not None:
        return _burn(draft, attempt)
    if _is_in_main(draft):
        draft.wait("SubmitPending", f"{attempt.flink_job_id}: main() has run since {attempt.submitted_at:%H:%M:%S} UTC")
        draft.look(draft.now + intents.poll_interval(draft.now - attempt.submitted_at))
        return None
    if attempt.is_unsent and not isinstance(answer, NotSent):
        return _resend(draft, revision)
    again_at = attempt.submitted_at + draft.facts.policy.submit_timeout
    if draft.now >= again_at:
        return _resend(draft, revision)
    cause = answer.cause if isinstance(answer, NoAnswer | NotSent) else "not listed yet"
    draft.wait("SubmitPending", f"{attempt.flink_job_id}: {cause}", again_at)
    draft.look(
        draft.now + (intents.RESEND if attempt.is_unsent else intents.poll_interval(draft.now - attempt.submitted_at))
    )
    return None


def _verdict(draft: Draft, revision: RevisionRef) -> Answer | None:
    """Give what is known against a submit: the answer to it or, where main() runs by itself, how that ended."""
    answer, application = draft.answer, draft.application
    if application is None:
        return answer
    if not application.is_alive:
        return application.refused or answer
    spec = draft.spec_of(revision)
    rollback = Rollback() if spec is None else spec.deployment.rollback
    if application.duration >= timedelta(seconds=rollback.deadline_seconds):
        cause = f"main() has run for {rollback.deadline_seconds} s and submitted no job"
        return Refused(RefusalKind.PROGRAM, cause)
    # That the application is known already says nothing about its job.
    return None if isinstance(answer, Refused) else answer


def _is_in_main(draft: Draft) -> bool:
    return draft.application is not None and draft.application.is_alive


def _resend(draft: Draft, revision: RevisionRef) -> Action | None:
    """Post the same id again: Flink refuses it if the first has arrived."""
    cluster = draft.facts.observation.cluster
    assert cluster is not None
    ready = ready_to_submit(draft, revision)
    if not isinstance(ready, bool):
        return ready
    spec, staged = draft.spec_of(revision), draft.facts.findings.staged
    if not ready or spec is None or staged is None:
        return None
    draft.set_attempt(submitted_at=draft.now, is_unsent=False, jar_id=staged.jar_id)
    draft.jar = staged
    return submit_of(draft, intents.current_attempt(draft), revision, spec, cluster, staged)


def _burn(draft: Draft, attempt: Attempt) -> Action | None:
    if attempt.refusal is None:
        draft.wait("Burning", f"{attempt.flink_job_id} is not wanted any more; its id is being used up")
    draft.set_attempt(phase=AttemptPhase.BURNING, submitted_at=draft.now)
    return Burn(attempt.flink_job_id, attempt.incarnation)


def burning(draft: Draft, attempt: Attempt) -> Action | None:
    """Burn until the id is seen dead."""
    draft.wait("Burning", f"{attempt.flink_job_id} may still start; its id is being used up")
    answer = draft.answer
    if isinstance(answer, Refused) and answer.kind is RefusalKind.DUPLICATE:
        _note_duplicate(draft, attempt)
    if _is_over(draft, attempt):
        return None
    listed = draft.job(attempt.flink_job_id)
    # To cancel an application whose own job has failed before it started can end the JobManager (measured, 2.3.0).
    is_own = listed is not None and not learning.is_burn(attempt, listed)
    if _is_in_main(draft) and not is_own and draft.now >= attempt.submitted_at + BURN_PATIENCE:
        assert attempt.application_id is not None
        # Its job can never run any more; main() itself is still to be ended.
        draft.set_attempt(submitted_at=draft.now)
        return CancelApplication(attempt.application_id)
    if listed is not None and not listed.state.is_terminal and draft.now >= attempt.submitted_at + intents.RESEND:
        # A burn that lives is ended like any other job.
        draft.set_attempt(submitted_at=draft.now)
        return Cancel(attempt.flink_job_id)
    if draft.now >= attempt.submitted_at + intents.RESEND:
        return _burn(draft, attempt)
    draft.look(draft.now + intents.poll_interval(draft.now - attempt.submitted_at))
    return None


def _note_duplicate(draft: Draft, attempt: Attempt) -> None:
    """Flink has known the id, and does not list it: it has come and gone."""
    if attempt.duplicate_at is None:
        draft.set_attempt(duplicate_at=draft.now)


def _is_over(draft: Draft, attempt: Attempt) -> bool:
    """Record that a known id which stays unlisted is dead. Two looks, so that a job on its way into the list is not missed."""
    current = intents.current_attempt(draft)
    since = current.duplicate_at
    if since is None or draft.job(attempt.flink_job_id) is not None or _is_in_main(draft):
        return False
    if draft.now < since + intents.RESEND:
        draft.look(since + intents.RESEND)
        return False
    learning.die(draft, EndState.UNKNOWN, cause=current.refusal)
    draft.look(draft.now)
    return True


def is_wanted(draft: Draft, attempt: Attempt) -> bool:
    """Whether an attempt of the main lane is what the spec asks for; takes over a change that needs no restart."""
    target = target_of(draft.status)
    if target is None or not wants_running(draft.status):
        return False
    if attempt.revision == target.number:
        return True
    running = draft.status.running
    if running is None or classify(running, target) > SpecChange.IGNORE:
        return False
    relabel(draft, running, target)
    return True


def relabel(draft: Draft, running: RevisionRef, target: RevisionRef) -> None:
    """The running job already is what the target asks for: only its name changes."""
    if draft.status.stable is not None and draft.status.stable.number == running.number:
        draft.set(stable=target)
    draft.set(running=target)
    draft.set_attempt(revision=target.number)


def release_jars(draft: Draft, *keep: RevisionRef | None) -> ReleaseJar | None:
    """Give up the jars that this job needs no more, one at a time."""
    kept = {revision.artifact.staged_digest for revision in keep if revision is not None}
    gone = draft.facts.findings.released
    left = tuple(digest for digest in draft.status.staged_digests if digest not in gone)
    if left != draft.status.staged_digests:
        draft.set(staged_digests=left)
    attempt = draft.status.attempt
    if attempt is None:
        return None
    return next((ReleaseJar(attempt.cluster, digest) for digest in left if digest not in kept), None)


def at_rest(draft: Draft) -> Action | None:
    """Nothing lives: settle what the last attempt left behind, then start the next if one is wanted."""
    attempt = draft.status.attempt
    if attempt is not None and not handover.is_resolved(draft):
        lookup = handover.resolve(draft, attempt)
        if lookup is not None:
            return lookup
        if not handover.is_resolved(draft):
            lookup = restoring.override(draft, attempt)
            if lookup is not None:
                return lookup
        if not handover.is_resolved(draft):
            # Too early, or blocked; whatever is waited for was said.
            draft.look(draft.now + intents.BLOCKED_LOOK)
            return None
    match draft.status.desired_state:
        case DesiredState.DELETED | DesiredState.ABANDONED:
            return release_jars(draft)
        case DesiredState.SUSPENDED:
            return None
        case DesiredState.RUNNING:
            if not wants_running(draft.status):
                return None
            named = _named_origin(draft)
            return named or None if named is not True else _start(draft)


def _named_origin(draft: Draft) -> Preparation | bool:
    """Honour a wish to start from another place; True when the next attempt may start."""
    if not restoring.is_asked(draft):
        return True
    wanted = restoring.ready(draft)
    if wanted is True:
        restoring.begin(draft)
    elif wanted is False and draft.status.handover is not None and draft.status.handover.is_for_restore:
        restoring.give_up(draft)
        return True
    # Where nothing was stopped for it, nothing starts: what is asked for is that state, and no other.
    return wanted


def _start(draft: Draft) -> Action | None:
    """Start the next attempt of the target revision from the state at hand."""
    target = target_of(draft.status)
    if target is None:
        return None
    if len(draft.status.staged_digests) > MAX_STAGED:
        crowding = release_jars(draft, target, draft.status.stable)
        if crowding is not None:
            return crowding
    failures, view, last = draft.status.failures, draft.facts.spec, draft.status.attempt
    due = due_at(failures, view.spec.deployment.on_failure if isinstance(view, ValidSpec) else OnFailure())
    # Only the restart of what failed is held back; what was stopped on purpose since then goes on at once.
    has_failed = last is None or last.dead_at is None or (failures.last_at or last.dead_at) >= last.dead_at
    if due is not None and has_failed and draft.now < due:
        cause = None if last is None else last.root_cause
        draft.wait("BackingOff", f"restart {failures.count} at {due:%H:%M:%S} UTC after: {cause}", due)
        return None
    ready = ready_to_submit(draft, target)
    if not isinstance(ready, bool):
        return ready
    if not ready:
        return None
    spec, cluster, staged = draft.spec_of(target), draft.facts.observation.cluster, draft.facts.findings.staged
    assert spec is not None
    assert cluster is not None
    if staged is None:
        return None
    is_named = restoring.origin(draft) is not None
    attempt = open_attempt(draft, target, cluster, staged, restore_from=handover.start_state(draft, spec))
    leaves_state = spec.deployment.upgrade_mode is UpgradeMode.STATELESS and not is_named
    attempt = attempt.model_copy(update={"leaves_state": leaves_state})
    if draft.status.handover is not None and draft.status.handover.is_end:
        # What has come to its end is nothing to go back to: it would begin anew.
        draft.set(stable=None, stable_state=None)
    draft.set(
        attempt=attempt,
        running=target,
        # The wish stands in the item; the revision that is started may be an older one.
        restart_nonce=view.spec.deployment.restart_nonce if isinstance(view, ValidSpec) else draft.status.restart_nonce,
        quarantine=None,
    )
    if attempt.number == 1:
        draft.set(savepoint_nonce=spec.deployment.savepoint_nonce)
    draft.event("Submitted", f"{attempt.flink_job_id} from {attempt.restore_from or 'no state'}")
    return submit_of(draft, attempt, target, spec, cluster, staged)


def due_at(failures: Failures, policy: OnFailure) -> datetime | None:
    """Say when the next restart of a row may be; None: at once."""
    if failures.count == 0 or failures.last_at is None:
        return None
    wait: timedelta = timedelta(seconds=policy.backoff_seconds) * 2 ** min(failures.count - 1, 12)
    return failures.last_at + min(wait, MAX_BACKOFF)


def open_attempt(
    draft: Draft, revision: RevisionRef, cluster: Cluster, staged: StagedJar, *, restore_from: str | None
) -> Attempt:
    """Make the next attempt, of either lane, and claim its jar. The caller records it in its lane."""
    attempt = _next_attempt(draft, revision, cluster, staged, restore_from=restore_from)
    digests = dict.fromkeys((*draft.status.staged_digests, revision.artifact.staged_digest))
    draft.set(attempt_counter=attempt.number, staged_digests=tuple(digests), void_jar_id=None)
    draft.jar = staged
    return attempt


def _next_attempt(
    draft: Draft, revision: RevisionRef, cluster: Cluster, staged: StagedJar, *, restore_from: str | None
) -> Attempt:
    number = draft.status.attempt_counter + 1
    job = flink_job_id(draft.facts.policy.controller_id, draft.facts.job_id, number)
    return Attempt(
        number=number,
        flink_job_id=job,
        revision=revision.number,
        cluster=cluster.name,
        restore_from=restore_from,
        checkpoint_root=cluster.checkpoint_root,
        jar_id=staged.jar_id,
        application_id=application_id(job) if cluster.runs_applications and runs_by_itself(revision.artifact.type) else None,
        incarnation=staged.incarnation,
        created_at=draft.now,
        submitted_at=draft.now,
    )


def ready_to_submit(draft: Draft, target: RevisionRef) -> Preparation | bool:
    """Do everything that can fail cheaply before a submit: spec at hand, state allowed, old jars void, bytes staged.

    Returns what to do first; True when all is ready; False when the draft says what is waited for.
    """
    spec, cluster, seen, findings = draft.spec_of(target), draft.facts.observation.cluster, draft.seen, draft.facts.findings
    assert cluster is not None
    assert seen is not None
    if spec is None:
        return intents.load_revision(draft, target) or False
    attempt = draft.status.attempt
    if _is_end_presumed(draft) and spec.deployment.upgrade_mode is not UpgradeMode.STATELESS:
        message = (
            "the last attempt finished while nobody saw it; if it was stopped with a savepoint elsewhere, its state is there:"
            " nothing starts without it. To begin anew write deployment.upgrade_mode: stateless"
        )
        draft.wait("StateUnknown", message, draft.now + intents.BLOCKED_LOOK)
        return False
    if not _is_allowed(draft, target, spec, cluster):
        return False
    lacking = cluster_fault(spec.type, draft.facts.observation.destination or cluster)
    if lacking is not None:
        draft.wait("PythonMissing", lacking, draft.now + intents.BLOCKED_LOOK)
        return False
    is_fit = _is_fit(draft, spec, draft.facts.observation.destination or cluster)
    if is_fit is not True:
        return is_fit
    if cluster.name != spec.cluster:
        # A move: its bytes are staged on the new cluster, once the job on the old one is dead.
        if living(draft.status) is None:
            draft.look(draft.now)
            return False
        return reserving.reserve(draft, target, spec)
    listed = (known.incarnation for known in attempts_of(draft.status) if draft.job(known.flink_job_id) is not None)
    life = seen.incarnation or next(listed, None)
    if life is None:
        draft.wait("ClusterRestarting", "the JobManager restarted during this look", draft.now + timedelta(seconds=1))
        return False
    is_here = attempt is not None and attempt.cluster == cluster.name
    if attempt is not None and is_here and life not in {attempt.incarnation, findings.cleared}:
        return DeleteStaleJars(life)
    if findings.staging_refused is not None:
        draft.wait(findings.staging_refused.reason, findings.staging_refused.message, draft.now + intents.BLOCKED_LOOK)
        return False
    staged = findings.staged
    is_void = staged is not None and staged.jar_id == draft.status.void_jar_id
    if (
        staged is None
        or is_void
        or (staged.cluster, staged.sha256, staged.incarnation) != (cluster.name, target.artifact.staged_digest, life)
    ):
        return StageJar(target.artifact, life, void_jar_id=draft.status.void_jar_id, entry_class=spec.entry_class)
    return reserving.reserve(draft, target, spec)


def _is_fit(draft: Draft, spec: JobSpec, cluster: Cluster) -> ReadOffer | bool:
    """Hold what a spec requires against the cluster that it names, which is read only if only Flink can tell."""
    offer = draft.facts.findings.offer
    if offer is None and asks_flink(spec):
        return ReadOffer()
    if isinstance(offer, OfferUnread):
        draft.wait(UNREACHABLE, f"cluster {cluster.name}: {offer.cause}", draft.now + intents.BLOCKED_LOOK)
        return False
    required = unfit(spec, cluster, offer)
    if required is not None:
        draft.wait("ClusterUnfit", required, draft.now + intents.BLOCKED_LOOK)
    return required is None


def _is_allowed(draft: Draft, target: RevisionRef, spec: JobSpec, cluster: Cluster) -> bool:
    """Whether the job may be started where its spec says, from the state at hand; else the draft says why not."""
    observation, again = draft.facts.observation, draft.now + intents.BLOCKED_LOOK
    if not target.is_recorded:
        lost = f"what ran was revision {target.number}, whose spec is not on record; write the spec again"
        draft.wait("RevisionMissing", lost, again)
    elif observation.policy_fault is not None:
        draft.wait("PolicyMalformed", observation.policy_fault, again)
    elif observation.policy is not None and (fault := observation.policy.fault_of(spec.cluster)) is not None:
        draft.wait("ClusterDisallowed", fault, again)
    elif (fault := _state_fault(draft, spec, cluster)) is not None:
        draft.wait("StateForbidden", fault, again)
    else:
        return True
    return False


def plan_first(draft: Draft, target: RevisionRef) -> PlanProgram | str | None:
    """Have a new revision planned by Flink while the old one still runs, where that is sound.

    Returns:
        What to do first; why Flink refuses the program; or None when nothing speaks against it.
    """
    spec, cluster, staged = draft.spec_of(target), draft.facts.observation.cluster, draft.facts.findings.staged
    if spec is None or cluster is None or staged is None or not is_planned_first(spec.type) or spec.cluster != cluster.name:
        return None
    answer = draft.facts.findings.planned.get(staged.jar_id)
    if answer is None:
        attempt = _next_attempt(draft, target, cluster, staged, restore_from=None)
        return PlanProgram(submit_of(draft, attempt, target, spec, cluster, staged))
    return answer.cause if isinstance(answer, Refused) and answer.kind is RefusalKind.PROGRAM else None


def _is_end_presumed(draft: Draft) -> bool:
    """Whether the next attempt would begin anew because of an end that nobody saw."""
    attempt, found = draft.status.attempt, draft.status.handover
    if restoring.origin(draft) is not None:
        return False
    is_its = attempt is not None and attempt.is_dead and found is not None and found.of_attempt == attempt.number
    return is_its and found is not None and found.is_presumed


def submit_of(
    draft: Draft, attempt: Attempt, revision: RevisionRef, spec: JobSpec, cluster: Cluster, staged: StagedJar
) -> Submit:
    """Give the POST of an attempt of a revision."""
    program = program_of(
        spec.type,
        entry_class=spec.entry_class,
        args=spec.args,
        jar_path=staged.path,
        python=cluster.python,
        is_batch=spec.job_type is JobType.BATCH,
    )
    return Submit(
        flink_job_id=attempt.flink_job_id,
        jar_id=attempt.jar_id,
        entry_class=program.entry_class,
        args=program.args,
        parallelism=spec.deployment.parallelism,
        restore_from=attempt.restore_from,
        allow_non_restored_state=spec.deployment.allow_non_restored_state,
        configuration={
            **flink_configuration(
                spec,
                cluster,
                revision=attempt.revision,
                attempt=attempt.number,
                stamp=stamp_of(attempt, revision),
                correlation_id=draft.status.correlation_id,
            ),
            **program.configuration,
        },
        application_id=attempt.application_id,
    )


def _state_fault(draft: Draft, spec: JobSpec, cluster: Cluster) -> str | None:
    """Say why the state to start from must not or cannot be read."""
    attempt = draft.status.attempt
    if attempt is None:
        path = handover.initial_state(draft, spec)
        if path is None or restoring.origin(draft) is not None:
            return None
        return restoring.place_fault(draft, spec, cluster, path, "deployment.initial_savepoint_path")
    destination = draft.facts.observation.destination or cluster
    if spec.cluster != destination.name:
        return f"no cluster {spec.cluster} is registered; an operator adds it with flinkctl cluster add {spec.cluster}"
    if destination.checkpoint_root == attempt.checkpoint_root or destination.name == attempt.cluster:
        return None
    if destination.checkpoint_root.startswith("s3://") and attempt.checkpoint_root.startswith("s3://"):
        return None
    return (
        f"cluster {destination.name} cannot read {attempt.checkpoint_root}, where the job's state lies; both must use s3://"
    )
