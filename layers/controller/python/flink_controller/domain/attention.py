"""Which jobs a person should look at first."""

from enum import IntEnum
from typing import Final

from flink_controller.domain.alerts import GUIDES, Alert, Severity
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.status import StatusSummary


class Attention(IntEnum):
    """How soon, the most urgent first."""

    NOW = 0
    """It does not run, and nothing more is done about it."""
    SOON = 1
    """An incident is open; the job runs, or is being brought back."""
    WATCH = 2
    """On its way to where it should be, or waiting for something."""
    NONE = 3
    """Where it should be."""


AT_REST: Final = frozenset(state.value for state in (Lifecycle.SUSPENDED, Lifecycle.COMPLETED, Lifecycle.DELETED))
"""Lifecycles in which nothing should run."""
_CRITICAL: Final = frozenset(alert.value for alert in Alert if GUIDES[alert].severity is Severity.CRITICAL)


def attention(known: StatusSummary) -> Attention:
    """Tell how soon a person should look at a job."""
    if known.lifecycle == Lifecycle.FAILED.value or _CRITICAL & set(known.alerts):
        return Attention.NOW
    if known.alerts:
        return Attention.SOON
    if known.unready_since is not None and known.lifecycle not in AT_REST:
        return Attention.WATCH
    return Attention.NONE
