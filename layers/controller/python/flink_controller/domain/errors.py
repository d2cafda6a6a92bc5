"""What can go wrong, split by the one question a caller has: does a retry help?

ControllerError
├── RunTakenError             the instant has a run on record already; plan without it
├── QuotaExceededError        the namespace may start nothing further now
├── TransientError            a retry may help
│   ├── LeaseTakenError       somebody else is looking at the job; come back later
│   ├── StaleWriteError       the status moved on since it was read; look again
│   └── FlinkUnreachableError no usable answer from a cluster
└── RejectedError             a retry does not help; the input must change
    └── NotFoundError         the named thing does not exist
"""

from datetime import datetime
from enum import StrEnum
from typing import Final


class ControllerError(Exception):
    """Base of every error that this package raises on purpose."""


class TransientError(ControllerError):
    """Something outside did not work this time; a retry may help."""


class LeaseTakenError(TransientError):
    """Another invocation holds the job's lease until `until`."""

    def __init__(self, job_id: str, until: datetime) -> None:
        super().__init__(f"{job_id} is being looked at by another invocation until {until.isoformat()}")
        self.until = until


class StaleWriteError(TransientError):
    """The status changed, or the lease was lost, since it was read; nothing was written."""


class RunTakenError(ControllerError):
    """A run was to be recorded as new, and its instant has a record; nothing was written."""

    def __init__(self, job_id: str, scheduled_at: datetime) -> None:
        super().__init__(f"{job_id} has a run of {scheduled_at.isoformat()} on record")
        self.scheduled_at = scheduled_at


class QuotaExceededError(ControllerError):
    """The namespace has as much as it may have, of active runs, jobs or slots; nothing was written."""


UNREACHABLE: Final = "ClusterUnreachable"
"""The cluster does not answer as Flink does."""
REFUSED_CREDENTIALS: Final = "ClusterRefusesCredentials"
"""It answers, and does not take what the controller shows; or the controller has nothing that it could show."""


class Delivery(StrEnum):
    """Whether a request that failed can have reached the other side."""

    NOT_SENT = "not sent"
    UNKNOWN = "unknown"


class FlinkUnreachableError(TransientError):
    """A cluster gave no usable answer.

    `delivery` says whether the request can have taken effect: only `NOT_SENT` proves that it did not. `reason` is what a
    status says of it.
    """

    def __init__(self, message: str, delivery: Delivery = Delivery.UNKNOWN, *, reason: str = UNREACHABLE) -> None:
        super().__init__(message)
        self.delivery = delivery
        self.reason = reason


class RejectedError(ControllerError):
    """The input is wrong; the message says what, where, and what to do. A retry does not help."""


class NotFoundError(RejectedError):
    """The named thing does not exist."""
