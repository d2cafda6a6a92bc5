"""How severe a change of a spec is. Each field of the model declares its class; the most severe one wins."""

from collections.abc import Mapping
from enum import IntEnum

from flink_controller.domain.status import RevisionRef


class SpecChange(IntEnum):
    """What a change of a field asks for, ordered by severity."""

    NONE = 0
    """The field asks for an action of its own (a nonce, a desired state) and belongs to no revision."""
    IGNORE = 1
    """Taken over without touching the running job."""
    RESCALE = 2
    """Another parallelism; in place where the cluster can."""
    UPGRADE = 3
    """A new attempt that starts from the old one's state."""
    REDEPLOY = 4
    """A new attempt elsewhere, or from other state."""


def classify(old: RevisionRef, new: RevisionRef) -> SpecChange:
    """Tell how a revision differs from another. A new artifact is an upgrade whatever the spec says."""
    worst = max(
        (change for change in SpecChange if _differs(change, old.fingerprints, new.fingerprints)), default=SpecChange.NONE
    )
    if _bytes(old) != _bytes(new):
        return max(worst, SpecChange.UPGRADE)
    return worst


def _differs(change: SpecChange, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    return old.get(change.name) != new.get(change.name)


def _bytes(revision: RevisionRef) -> tuple[str, str]:
    return revision.artifact.key, revision.artifact.sha256
