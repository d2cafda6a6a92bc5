"""An attempt that is not listed, in a life of the JobManager that did not begin it: wait until nothing of it can live."""

from flink_controller.domain.actions import Action, DeleteStaleJars
from flink_controller.domain.plan import Draft
from flink_controller.domain.status import Attempt, AttemptPhase, Quarantine


def is_in_question(draft: Draft, attempt: Attempt) -> bool:
    """Whether an absence may mean a restart of the JobManager rather than an end."""
    seen, cluster = draft.seen, draft.facts.observation.cluster
    assert seen is not None
    assert cluster is not None
    if draft.job(attempt.flink_job_id) is not None:
        return False
    return seen.incarnation != attempt.incarnation or (cluster.high_availability and attempt.phase is AttemptPhase.LIVE)


def wait_out(draft: Draft, attempt: Attempt) -> Action | None:
    """Wait until neither an orphan nor a late submit of the attempt can live: first void its jars, then count."""
    seen, cluster, findings = draft.seen, draft.facts.observation.cluster, draft.facts.findings
    assert seen is not None
    assert seen.incarnation is not None
    assert cluster is not None
    recorded, wait = draft.status.quarantine, draft.facts.policy.quarantine(cluster.heartbeat_timeout_s)
    if recorded is None or recorded.incarnation != seen.incarnation:
        if findings.cleared != seen.incarnation:
            return DeleteStaleJars(seen.incarnation)
        recorded = Quarantine(incarnation=seen.incarnation, since=draft.now)
        draft.set(quarantine=recorded)
        draft.event(
            "JobManagerLost",
            f"{attempt.flink_job_id} is not listed by the new JobManager; its orphans may live for {wait.total_seconds():.0f} s",
            warning=True,
        )
    over_at = recorded.since + wait
    draft.wait("Quarantine", f"the JobManager was lost; the job is brought back at {over_at:%H:%M:%S} UTC", over_at)
    return None
