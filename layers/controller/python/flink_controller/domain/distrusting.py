"""A job runs on bytes that are not trusted any more: what is said of it, and whether it is stopped."""

from flink_controller.domain.plan import Draft, living, target_of
from flink_controller.domain.trust import Reaction, RunningDistrust


def running_distrust(draft: Draft) -> RunningDistrust | None:
    """Give what was found against the bytes that the live attempt runs; None while nothing is known against them."""
    found, running = draft.facts.observation.distrust, draft.status.running
    if found is None or running is None or living(draft.status) is None:
        return None
    return found if found.sha256 == running.artifact.sha256 else None


def must_stop(draft: Draft) -> bool:
    """Whether the policy has the live attempt stopped now; an upgrade to other bytes ends it anyway.

    What it leaves behind is kept. The next attempt waits at its staging, which refuses these bytes, until another artifact
    is admitted or the denial is lifted.
    """
    found, target = running_distrust(draft), target_of(draft.status)
    if found is None or found.reaction is not Reaction.SUSPEND:
        return False
    return target is None or target.artifact.sha256 == found.sha256
