"""Which events are for a person: when an incident begins, what ends it, and where to look first.

An incident is told when it begins and when it is over, however often its event is repeated meanwhile. Which incidents of
a job are open stands in its status and changes in the transaction that records the event, so that a crash tells none twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Alert(StrEnum):
    """Kinds of incidents."""

    ARTIFACT_REFUSED = "artifact-refused"
    BACKPRESSURE = "backpressure"
    CHECKPOINT_STALLED = "checkpoint-stalled"
    GIVEN_UP = "given-up"
    JOB_FAILED = "job-failed"
    RESTART_LOOPING = "restart-looping"
    ROLLED_BACK = "rolled-back"
    RUN_FAILED = "run-failed"
    RUN_MISSED = "run-missed"
    SAVEPOINT_FAILED = "savepoint-failed"
    STUCK = "stuck"
    TASKS_MISSING = "tasks-missing"


class Severity(StrEnum):
    """How soon a person should look."""

    CRITICAL = "critical"
    """The job does not run, and nothing more is done about it."""
    WARNING = "warning"
    """The job runs, or is being brought back."""


class Switch(StrEnum):
    """Field below `monitoring` that decides whether a person is told; the event itself is always published."""

    FAILURE = "alert_on_failure"
    BACKPRESSURE = "alert_on_backpressure"


@dataclass(frozen=True, kw_only=True)
class Guide:
    """What a person is told of a kind of incident."""

    says: str
    first_look: str
    """One sentence; `docs/operations.md` has the rest."""
    severity: Severity = Severity.WARNING
    switch: Switch = Switch.FAILURE


GUIDES: Final[Mapping[Alert, Guide]] = {
    Alert.ARTIFACT_REFUSED: Guide(
        says="a newer version of the artifact may not run; what runs goes on",
        first_look="flinkctl artifact list: the reason beside the version.",
    ),
    Alert.BACKPRESSURE: Guide(
        says="an operator cannot keep up, and those before it wait for it",
        first_look="The vertex in the message: it is where the pressure starts; is it busy, skewed, or waiting for a sink?",
        switch=Switch.BACKPRESSURE,
    ),
    Alert.CHECKPOINT_STALLED: Guide(
        says="no checkpoint has been completed for too long; a failure now would repeat much work",
        first_look="The last failed checkpoint in Flink's UI: did it time out, or could the storage not be written?",
    ),
    Alert.GIVEN_UP: Guide(
        says="the job does not run, and nothing is tried any more until its spec or artifact changes",
        first_look="flinkctl describe: the root cause; then a new artifact or spec, or flinkctl restart.",
        severity=Severity.CRITICAL,
    ),
    Alert.JOB_FAILED: Guide(
        says="Flink gave up on the job; it is brought back as its policy on_failure says",
        first_look="The root cause in the message; flinkctl events tells whether it is the same each time.",
    ),
    Alert.RESTART_LOOPING: Guide(
        says="the job fails and restarts again and again",
        first_look="The exception in the message: a poisoned record, or a service that the job needs?",
    ),
    Alert.ROLLED_BACK: Guide(
        says="a new revision did not work out, and the last stable one is brought back",
        first_look="flinkctl history: the reason beside the refused revision; it is not tried again until it changes.",
    ),
    Alert.RUN_FAILED: Guide(
        says="a run of a batch job failed for good, expired, or was lost",
        first_look="flinkctl runs: the reason beside the run; flinkctl run --now makes up for it.",
    ),
    Alert.RUN_MISSED: Guide(
        says="a scheduled run could not start in time",
        first_look="flinkctl runs: was the cluster away, the job paused, or the quota used up?",
    ),
    Alert.SAVEPOINT_FAILED: Guide(
        says="a savepoint could not be taken",
        first_look="Flink's cause in the message: the storage, the timeout, or a task that does not answer.",
    ),
    Alert.STUCK: Guide(
        says="nothing has moved for far longer than it should take",
        first_look="flinkctl describe: the reason says what is waited for, and who can end it.",
        severity=Severity.CRITICAL,
    ),
    Alert.TASKS_MISSING: Guide(
        says="not all tasks of a job run, and Flink does not get them to",
        first_look="TaskManagers and free slots of the cluster; the exception in the message.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What an event says about incidents."""

    opens: Alert | None = None
    """As a warning."""
    closes: frozenset[Alert] = frozenset()
    """Unless it opens one."""


_NOTHING: Final = Meaning()
_RUNS_WELL: Final = frozenset({Alert.JOB_FAILED, Alert.GIVEN_UP, Alert.SAVEPOINT_FAILED})
"""What vital signs tell is over when they say so themselves: a proof alone does not end a loop."""
_NOT_WANTED: Final = Meaning(closes=frozenset(Alert))
"""Nobody needs to look after a job that is not to run."""
_SUSPENDED: Final = Meaning(closes=frozenset(Alert) - {Alert.ARTIFACT_REFUSED})
"""A job that is to run again later still has no artifact that may run."""

MEANINGS: Final[Mapping[str, Meaning]] = {
    "AbandonRequested": _NOT_WANTED,
    "Abandoned": _NOTHING,
    "ArtifactAdmitted": Meaning(closes=frozenset({Alert.ARTIFACT_REFUSED})),
    # Tells of a decision that operators have just taken; an alarm of the fleet counts such jobs.
    "ArtifactDistrusted": _NOTHING,
    "ArtifactRefused": Meaning(opens=Alert.ARTIFACT_REFUSED),
    "BackpressureEnded": Meaning(closes=frozenset({Alert.BACKPRESSURE})),
    "BackpressureStarted": Meaning(opens=Alert.BACKPRESSURE),
    "Cancelled": Meaning(closes=frozenset({Alert.SAVEPOINT_FAILED})),
    "CheckpointRecovered": Meaning(closes=frozenset({Alert.CHECKPOINT_STALLED})),
    "CheckpointStalled": Meaning(opens=Alert.CHECKPOINT_STALLED),
    # One incident of a cluster is no incident of each of its jobs: an alarm of the fleet tells of the cluster.
    # An operator has just decided so, and what runs goes on.
    "ClusterDisallowed": _NOTHING,
    "ClusterReachable": _NOTHING,
    "ClusterRefusesCredentials": _NOTHING,
    "ClusterUnreachable": _NOTHING,
    "Completed": Meaning(closes=frozenset(Alert)),
    "DeleteRequested": _NOT_WANTED,
    "GivenUp": Meaning(opens=Alert.GIVEN_UP),
    "JobFailed": Meaning(opens=Alert.JOB_FAILED),
    "JobLost": _NOTHING,
    "JobManagerLost": _NOTHING,
    "JobRestarted": _NOTHING,
    "LeftoverFound": _NOTHING,
    "NoNewerStateKept": _NOTHING,
    "Promoted": _NOTHING,
    "Recovered": Meaning(closes=frozenset({Alert.STUCK})),
    "RecoveryGivenUp": _NOTHING,
    # What they could not end was told, and stays open.
    "RecoveryStarted": _NOTHING,
    "RescaleFailed": _NOTHING,
    "Rescaled": _NOTHING,
    "RestartLooping": Meaning(opens=Alert.RESTART_LOOPING),
    "RestartsSettled": Meaning(closes=frozenset({Alert.RESTART_LOOPING})),
    # A person at a keyboard asked for it; what follows is told like any other end.
    "RestoreFailed": _NOTHING,
    "RestoreStarted": _NOTHING,
    "Restored": _NOTHING,
    "ResumeRequested": _NOTHING,
    "RollbackStarted": Meaning(opens=Alert.ROLLED_BACK),
    "RolledBack": Meaning(closes=_RUNS_WELL),
    "RunEnded": Meaning(opens=Alert.RUN_FAILED, closes=frozenset({Alert.RUN_FAILED, Alert.GIVEN_UP})),
    "RunEnding": _NOTHING,
    "RunNotStarted": Meaning(opens=Alert.RUN_MISSED),
    "RunRetried": _NOTHING,
    "RunStarted": Meaning(closes=frozenset({Alert.RUN_MISSED})),
    "Running": _NOTHING,
    "SavepointCompleted": Meaning(closes=frozenset({Alert.SAVEPOINT_FAILED})),
    # A savepoint that stays costs storage, and its removal is tried again.
    "SavepointDisposalFailed": _NOTHING,
    "SavepointDisposed": _NOTHING,
    "SavepointFailed": Meaning(opens=Alert.SAVEPOINT_FAILED),
    "SavepointKept": _NOTHING,
    "SecondLaneEnded": _NOTHING,
    "RevisionAdopted": _NOTHING,
    "SpecAccepted": _NOTHING,
    # Whoever wrote the spec is at the keyboard, and what runs goes on.
    "SpecRejected": _NOTHING,
    "SpecWritten": _NOTHING,
    "Stable": Meaning(closes=_RUNS_WELL | {Alert.ROLLED_BACK}),
    "Stopped": Meaning(closes=frozenset({Alert.SAVEPOINT_FAILED})),
    "Stuck": Meaning(opens=Alert.STUCK),
    # What follows it is told: a retry, a rollback, or that it was given up.
    "SubmissionRefused": _NOTHING,
    "Submitted": _NOTHING,
    "SuspendRequested": _SUSPENDED,
    "TasksBack": Meaning(closes=frozenset({Alert.TASKS_MISSING})),
    "TasksMissing": Meaning(opens=Alert.TASKS_MISSING),
    "UpgradeStarted": _NOTHING,
}
"""Every reason that an event can have."""


def meaning(reason: str, *, warning: bool) -> Meaning:
    """Tell which incident an event opens, or else which it closes."""
    known = MEANINGS.get(reason, _NOTHING)
    if known.opens is not None and warning:
        return Meaning(opens=known.opens)
    return Meaning(closes=known.closes)
