"""Effects: what a plan can ask to be done. Each is idempotent by the identity that it carries."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from flink_controller.domain.artifact import Artifact


@dataclass(frozen=True)
class StageJar:
    """Have the artifact's verified bytes on the cluster. Needs no intent: a jar alone runs nothing."""

    artifact: Artifact
    incarnation: str
    void_jar_id: str | None = None
    """A jar id that Flink has said is gone; it is not used again."""
    entry_class: str | None = None
    """Class that a jar must have; None: the one that its manifest names."""


@dataclass(frozen=True)
class TriggerCheckpoint:
    """Ask a running job for a checkpoint. Changes nothing else; harmless twice."""

    flink_job_id: str


@dataclass(frozen=True)
class ReadCheckpoints:
    """Read what Flink tells of a job's checkpoints."""

    flink_job_id: str


@dataclass(frozen=True)
class CountFreeSlots:
    """Ask how many slots of the cluster are free."""


@dataclass(frozen=True)
class ReadOffer:
    """Read what the cluster that a job is to start on has for it."""


@dataclass(frozen=True)
class LoadRevision:
    """Read a revision's whole spec."""

    number: int


@dataclass(frozen=True)
class LoadRun:
    """Read a run's record."""

    scheduled_at: datetime


@dataclass(frozen=True)
class PruneRuns:
    """Delete the records of runs beyond what is kept. Harmless twice."""

    succeeded: int
    """Records kept of runs that succeeded."""
    other: int
    """Records kept of all other instants."""


@dataclass(frozen=True)
class SearchState:
    """List what storage holds of a dead attempt. Changes nothing."""

    flink_job_id: str
    checkpoint_root: str
    savepoint_directories: tuple[str, ...]


@dataclass(frozen=True)
class LoadSavepoints:
    """Read the records of all savepoints."""


@dataclass(frozen=True)
class LoadHolders:
    """Read which jobs' specs name a place as their origin."""

    path: str


@dataclass(frozen=True)
class FindState:
    """Ask storage whether a complete savepoint or checkpoint lies at a place. Changes nothing."""

    path: str


@dataclass(frozen=True)
class DeleteStaleJars:
    """Delete our jars of earlier incarnations, so that a late submit finds none."""

    incarnation: str


@dataclass(frozen=True)
class Submit:
    """Start an attempt: one POST, never repeated inside."""

    flink_job_id: str
    jar_id: str
    entry_class: str | None
    args: tuple[str, ...]
    parallelism: int
    restore_from: str | None
    allow_non_restored_state: bool
    configuration: Mapping[str, str]
    application_id: str | None = None
    """Run `main()` as an application of this id, and do not wait for it."""


@dataclass(frozen=True)
class PlanProgram:
    """Have Flink plan what a submit would start, without starting it: `main()` is run for its plan."""

    submit: Submit


@dataclass(frozen=True)
class Burn:
    """End an id whose submit may still arrive: occupy it with a job that fails at once."""

    flink_job_id: str
    incarnation: str


@dataclass(frozen=True)
class StopWithSavepoint:
    """Stop a job with its state in a savepoint."""

    flink_job_id: str
    trigger_id: str
    target_directory: str


@dataclass(frozen=True)
class TriggerSavepoint:
    """Take a savepoint; the job runs on."""

    flink_job_id: str
    trigger_id: str
    target_directory: str


@dataclass(frozen=True)
class Cancel:
    """Cancel a job; its newest checkpoint is retained."""

    flink_job_id: str


@dataclass(frozen=True)
class CancelApplication:
    """Cancel a `main()` that runs by itself, whose job is not wanted any more."""

    application_id: str


@dataclass(frozen=True)
class Rescale:
    """Change the parallelism of a running job in place: of those vertices that have the old one, and no others."""

    flink_job_id: str
    before: int
    after: int


@dataclass(frozen=True)
class DisposeSavepoint:
    """Have Flink delete a savepoint. Harmless twice: the second time there is nothing."""

    path: str


@dataclass(frozen=True)
class ReleaseJar:
    """Give up this job's claim on a staged jar; the last one to do so deletes it."""

    cluster: str
    sha256: str


Preparation: TypeAlias = (
    StageJar
    | TriggerCheckpoint
    | CountFreeSlots
    | ReadOffer
    | ReadCheckpoints
    | LoadRevision
    | LoadRun
    | PruneRuns
    | SearchState
    | FindState
    | LoadSavepoints
    | LoadHolders
    | DeleteStaleJars
    | PlanProgram
    | ReleaseJar
)
"""Effects that need no intent: they change no job."""
Effect: TypeAlias = (
    Submit | Burn | StopWithSavepoint | TriggerSavepoint | Cancel | CancelApplication | Rescale | DisposeSavepoint
)
"""Effects that need a recorded intent."""
Action: TypeAlias = Preparation | Effect
