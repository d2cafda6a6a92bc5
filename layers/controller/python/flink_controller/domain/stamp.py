"""What an attempt carries in its own parameters on Flink: enough to know it by, should the record be older than it.

A table that comes back from a backup does not know the attempts that were submitted since. Their ids give their numbers;
the stamp says what they run and what they started from. It is a hint by a program that runs in the cluster's trust domain:
it decides which number is given next and what a change is measured by, and admits no artifact.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from flink_controller.domain.artifact import Value
from flink_controller.domain.status import Attempt, RevisionRef

JOB_PARAMETER: Final = "flinkctl.job-id"
ATTEMPT_PARAMETER: Final = "flinkctl.attempt"
STAMP_PARAMETER: Final = "flinkctl.stamp"


class Stamp(Value):
    """What an attempt says of itself."""

    revision: RevisionRef
    """That it was submitted under. A change that needs no restart may have given it a later number since."""
    restore_from: str | None = None
    """State that it started from; None: from nothing."""
    created_at: datetime
    """When its first submit was decided on."""


def stamp_of(attempt: Attempt, revision: RevisionRef) -> str:
    """Write the stamp of an attempt: JSON in the letters of base64 that mean nothing in Flink's maps."""
    stamp = Stamp(revision=revision, restore_from=attempt.restore_from, created_at=attempt.created_at)
    return base64.urlsafe_b64encode(stamp.model_dump_json(exclude_defaults=True).encode()).decode().rstrip("=")


def read_stamp(parameters: Mapping[str, str], job_id: str, number: int) -> Stamp | None:
    """Read the stamp of an attempt.

    Returns:
        None where there is none that fits: earlier versions stamped nothing, a program may set parameters of its own in
        place of those that it was given, and what it was given it may have changed.
    """
    if (parameters.get(JOB_PARAMETER), parameters.get(ATTEMPT_PARAMETER)) != (job_id, str(number)):
        return None
    try:
        text = parameters.get(STAMP_PARAMETER, "")
        stamp = Stamp.model_validate_json(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None
    is_sound = stamp.revision.number > 0 and stamp.created_at.tzinfo is not None
    return stamp if is_sound else None
