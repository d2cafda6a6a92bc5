"""A job runs on bytes that are not trusted any more: what is said of it, and whether it is stopped."""

from flink_controller.domain.plan import Draft, running_artifacts, target_of
from flink_controller.domain.status import ActiveRun
from flink_controller.domain.trust import Reaction, RunningDistrust


def running_distrust(draft: Draft) -> RunningDistrust | None:
    """Give what was found against bytes that a living attempt runs; None while nothing is known against them."""
    running = {artifact.sha256 for artifact in running_artifacts(draft.status)}
    return next((found for found in draft.facts.observation.distrusts if found.sha256 in running), None)


def ends_run(draft: Draft, run: ActiveRun) -> RunningDistrust | None:
    """Give why the policy has a batch job's run end now; None when it may run on."""
    against = (found for found in draft.facts.observation.distrusts if found.sha256 == run.revision.artifact.sha256)
    return next((found for found in against if found.reaction is Reaction.SUSPEND), None)


def must_stop(draft: Draft) -> bool:
    """Whether the policy has the live attempt stopped now; an upgrade to other bytes ends it anyway.

    What it leaves behind is kept. The next attempt waits at its staging, which refuses these bytes, until another artifact
    is admitted or the denial is lifted.
    """
    found, target = running_distrust(draft), target_of(draft.status)
    if found is None or found.reaction is not Reaction.SUSPEND:
        return False
    return target is None or target.artifact.sha256 == found.sha256
