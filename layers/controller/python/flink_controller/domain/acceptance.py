"""From a spec item and an artifact to a revision: the first half of every plan."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from flink_controller.domain import restoring
from flink_controller.domain.alerts import Switch
from flink_controller.domain.artifact import Artifact, ArtifactHead, ArtifactVersion, Verdict
from flink_controller.domain.names import correlation_id, correlation_id_of_upload
from flink_controller.domain.plan import Draft, bounded, is_ahead, living
from flink_controller.domain.spec import AbandonedSpec, InvalidSpec, JobSpec, NoSpec, ValidSpec
from flink_controller.domain.status import DesiredState, Failures, RevisionRef

SIGNATURE_DEADLINE = timedelta(minutes=10)
"""How long an upload may wait for its signature before that is told as a fault. One that comes later still counts."""
MISSING_LOOK = timedelta(minutes=1)
MISSING_LOOK_LAST = timedelta(hours=1)
BURST_LIMIT_IN_DEBOUNCES = 12
"""After this many debounce intervals (a minute by default) a burst that does not end gives its first upgrade."""


def accept(draft: Draft) -> None:
    """Take the spec item into the status: what is desired, which revision, and what is wrong with it."""
    before, told = draft.status.observed_spec_hash, draft.status.event_counter
    with draft.asked(_writer(draft)):
        _take(draft)
        if draft.asked_by and draft.status.event_counter == told:
            draft.event("SpecWritten", ", ".join(_wishes(draft)) or "nothing that makes a revision")
    if draft.status.observed_spec_hash != before:
        # The same item written twice is two changes: the number of events tells them apart.
        known = draft.before.event_counter
        draft.set(correlation_id=correlation_id("spec", draft.facts.job_id, draft.status.observed_spec_hash, known))


def _writer(draft: Draft) -> str:
    """Say who wrote the item, in the look that sees it first."""
    match draft.facts.spec:
        case ValidSpec(spec_hash=spec_hash, spec=spec) if spec_hash != draft.status.observed_spec_hash:
            return spec.written_by or ""
        case InvalidSpec(spec_hash=spec_hash, written_by=written_by) if spec_hash != draft.status.observed_spec_hash:
            return written_by
        case _:
            return ""


def _wishes(draft: Draft) -> Iterator[str]:
    """Name what the item asks for once."""
    view, status = draft.facts.spec, draft.before
    if isinstance(view, ValidSpec):
        deployment, run_now = view.spec.deployment, view.spec.batch_config.run_now
        for name, asked, served in (
            ("restart", deployment.restart_nonce, status.restart_nonce),
            ("savepoint", deployment.savepoint_nonce, status.savepoint_nonce),
            ("restore", deployment.restore.nonce, status.restore_nonce),
            ("run now", run_now.nonce, status.runs.nonce),
        ):
            if asked is not None and asked != served:
                yield f"{name} ({asked})"


def _take(draft: Draft) -> None:
    match draft.facts.spec:
        case NoSpec():
            _want(draft, DesiredState.DELETED)
            draft.set(observed_spec_hash=None, rejected_spec_hash=None)
        case AbandonedSpec(spec_hash=spec_hash):
            _want(draft, DesiredState.ABANDONED)
            draft.set(observed_spec_hash=spec_hash, rejected_spec_hash=None)
        case InvalidSpec() as invalid:
            _reject(draft, invalid)
        case ValidSpec() as valid:
            fault = _fault_with_history(draft, valid.spec)
            if fault is None:
                _accept(draft, valid)
            else:
                _reject(draft, InvalidSpec(valid.spec_hash, (fault,)))


def mute(draft: Draft) -> None:
    """Take in of which incidents nobody wants to be told; a spec that cannot be read changes nothing."""
    view = draft.facts.spec
    if isinstance(view, ValidSpec):
        monitoring = view.spec.monitoring
        draft.set(muted=tuple(switch.value for switch in Switch if not getattr(monitoring, switch.value)))


def faults_of(draft: Draft) -> tuple[str, ...]:
    """Give everything that is wrong with the spec item."""
    view = draft.facts.spec
    if isinstance(view, InvalidSpec):
        return view.faults
    if isinstance(view, ValidSpec):
        fault = _fault_with_history(draft, view.spec)
        return () if fault is None else (fault,)
    return ()


def settled(head: ArtifactHead, now: datetime, debounce: timedelta, served: datetime | None = None) -> datetime | None:
    """Say when an upload's burst counts as over, or None when it is over already.

    Uploads within `debounce` of each other become one upgrade. A burst that goes on gives one more, early, so that
    somebody who never stops uploading is not left on the oldest version.

    Args:
        head: the key's newest versions.
        now: the time of the look.
        debounce: the window.
        served: start of the burst that already had its early upgrade.
    """
    if head.admitted is None:
        return None
    quiet_at = head.admitted.decided_at + debounce
    if now >= quiet_at:
        return None
    started = head.burst_started_at or head.admitted.decided_at
    long_at = started + debounce * BURST_LIMIT_IN_DEBOUNCES
    return None if now >= long_at and served != started else quiet_at


def _want(draft: Draft, state: DesiredState) -> None:
    if draft.status.desired_state is state:
        return
    before = draft.status.desired_state
    draft.set(desired_state=state)
    match state:
        case DesiredState.DELETED:
            draft.event("DeleteRequested", "the spec item was removed")
        case DesiredState.ABANDONED:
            draft.event("AbandonRequested", "the job is to be forgotten without waiting for its end", warning=True)
        case DesiredState.SUSPENDED:
            draft.event("SuspendRequested", "state: suspended")
        case DesiredState.RUNNING:
            if before is DesiredState.SUSPENDED:
                draft.event("ResumeRequested", "state: running")
    if state is not DesiredState.DELETED and before in {DesiredState.DELETED, DesiredState.ABANDONED}:
        # Written again: a new wish, whatever became of the last one. State and counters go on.
        draft.set(is_completed=False, halted=None, halt_reason="", refused=None, failures=Failures())


def _reject(draft: Draft, invalid: InvalidSpec) -> None:
    """An invalid spec never disturbs what runs: the last good revision stays desired."""
    if draft.status.rejected_spec_hash != invalid.spec_hash:
        draft.set(rejected_spec_hash=invalid.spec_hash)
        draft.event("SpecRejected", "; ".join(invalid.faults), warning=True)
    draft.set(observed_spec_hash=invalid.spec_hash)
    is_gone = draft.status.desired_state in {DesiredState.DELETED, DesiredState.ABANDONED}
    if is_gone and draft.status.desired is None:
        draft.set(desired_state=DesiredState.RUNNING)
    elif is_gone and living(draft.status) is None:
        # Written again, and wrong: that is told, and what was deleted stays so.
        draft.set(desired_state=DesiredState.RUNNING, halted=bounded("; ".join(invalid.faults)), halt_reason="SpecRejected")


def _fault_with_history(draft: Draft, spec: JobSpec) -> str | None:
    status = draft.status
    if status.desired is not None and status.attempt_counter > 0 and spec.job_type is not status.job_type:
        return f"job_type: stays {status.job_type} once the job has run; write the other kind of job under another job_id"
    if status.attempt_counter == 0 or spec.deployment.initial_savepoint_path == status.initial_savepoint_path:
        return None
    if spec.deployment.initial_savepoint_path is None:
        return None
    return (
        "deployment.initial_savepoint_path: applies to the very first start only; to start from another place use"
        f" flinkctl restore {spec.job_id} --from PATH"
    )


def _accept(draft: Draft, valid: ValidSpec) -> None:
    spec = valid.spec
    _want(draft, spec.state)
    draft.set(
        observed_spec_hash=valid.spec_hash,
        rejected_spec_hash=None,
        job_type=spec.job_type,
        cluster=spec.cluster,
        artifact_location=f"{draft.facts.policy.bucket_of(spec.artifact_path)}/{spec.artifact_path}",
    )
    if draft.status.attempt_counter == 0:
        draft.set(initial_savepoint_path=spec.deployment.initial_savepoint_path)
    if draft.status.halt_reason == "SpecRejected":
        draft.set(halted=None, halt_reason="", is_completed=False, refused=None, failures=Failures())
    is_over = bool(draft.status.halted or draft.status.is_completed)
    if is_over and restoring.is_asked(draft):
        draft.set(halted=None, halt_reason="", is_completed=False, failures=Failures())
    nonce = spec.deployment.restart_nonce
    if nonce is not None and nonce != draft.status.restart_nonce and is_over:
        draft.set(halted=None, halt_reason="", is_completed=False, failures=Failures(), restart_nonce=nonce)
    found = _resolve(draft, spec)
    if found is None:
        return
    artifact = found.model_copy(update={"type": spec.type})
    desired, adopted = draft.status.desired, draft.status.running if is_ahead(draft.status) else None
    if adopted is None and desired is not None and (desired.spec_hash, desired.artifact) == (valid.revision_hash, artifact):
        return
    ref = RevisionRef(
        number=draft.status.revision_counter + 1,
        cluster=spec.cluster,
        spec_hash=valid.revision_hash,
        fingerprints=valid.fingerprints,
        artifact=artifact,
    )
    draft.set(
        # A write of the spec in the same look overrides this: see `accept`.
        correlation_id=correlation_id_of_upload(artifact.bucket, artifact.key, artifact.version_id),
        revision_counter=ref.number,
        desired=ref,
        refused=None,
        halted=None,
        halt_reason="",
        is_completed=False,
        failures=Failures(),
    )
    draft.record_revision(valid, ref)
    if adopted is not None:
        told = f"revision {adopted.number}, made after the backup, runs; the spec on record becomes revision {ref.number}"
        draft.event("RevisionAdopted", told, warning=True)
    draft.event("SpecAccepted", f"{artifact.key} sha256:{artifact.sha256[:12]}", of=ref)


def _resolve(draft: Draft, spec: JobSpec) -> Artifact | None:
    """Find the bytes to run, or say what is missing. An upgrade waits for the end of a burst of uploads."""
    head = draft.facts.observation.artifact
    if spec.pinned_digest is not None:
        if draft.facts.observation.pinned is None:
            _say_missing(
                draft, head, f"no admitted version of {spec.artifact_path} has the pinned sha256:{spec.pinned_digest[:12]}…"
            )
        return draft.facts.observation.pinned
    found = head.admitted.artifact if head is not None and head.admitted is not None else None
    if head is None or found is None:
        _say_missing(draft, head, f"{spec.artifact_path} was not uploaded yet")
        return None
    if is_ahead(draft.status):
        return _not_older(draft, head, found)
    desired = draft.status.desired
    if desired is None or desired.artifact.key != found.key or desired.artifact.sha256 == found.sha256:
        return found
    if living(draft.status) is None:
        # Nothing runs that a quick second upload would disturb.
        return found
    over_at = settled(head, draft.now, draft.facts.policy.debounce, draft.status.burst_served)
    if over_at is None:
        draft.set(burst_served=head.burst_started_at)
        return found
    draft.look(over_at)
    # A change of the spec alone need not wait for the upload.
    return desired.artifact


def _not_older(draft: Draft, head: ArtifactHead, found: Artifact) -> Artifact | None:
    """Hold what is on record against what runs ahead of it: bytes from before the running ones replace them by a pin only.

    Uploads of the time between are judged again by the sweep of artifacts, so that the record soon is as new as the bucket.
    """
    running, attempt = draft.status.running, draft.status.attempt
    assert running is not None
    if running.artifact.key != found.key or running.artifact.sha256 == found.sha256:
        return found
    if attempt is None or head.latest.decided_at > attempt.created_at:
        return found
    message = (
        f"revision {running.number} runs sha256:{running.artifact.sha256[:12]}… of {found.key}, and the newest version on record"
        " is older: uploads after the backup are judged again within half an hour. To go back to that version pin"
        f" artifact_signature: sha256:{found.sha256}"
    )
    draft.wait("ArtifactBehind", message, draft.now + MISSING_LOOK)
    return None


def _say_missing(draft: Draft, head: ArtifactHead | None, otherwise: str) -> None:
    known = draft.status.condition("ArtifactVerified")
    waited = draft.now - known.last_transition_time if known is not None and known.status != "True" else timedelta(0)
    # An upload wakes the job; these rare looks only make up for a wake-up that was lost.
    again_at = draft.now + min(max(MISSING_LOOK, waited / 2), MISSING_LOOK_LAST)
    if head is None or head.latest.verdict is Verdict.ADMITTED:
        draft.wait("ArtifactMissing", otherwise, again_at)
    else:
        reason = "SignatureOverdue" if is_overdue(head.latest, draft.now) else head.latest.reason
        draft.wait(reason, head.latest.message, again_at)


def is_overdue(version: ArtifactVersion, now: datetime) -> bool:
    """Whether an upload has waited for its signature for so long that it is a fault."""
    return version.reason == "SignatureMissing" and now >= version.uploaded_at + SIGNATURE_DEADLINE
