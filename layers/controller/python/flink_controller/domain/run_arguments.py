"""What a run's program is told of its run."""

from datetime import UTC, datetime
from typing import Final

from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.spec import JobSpec
from flink_controller.domain.status import ActiveRun

SCHEDULED: Final = "{{scheduled_time}}"
"""Stands in `args` for the run's instant, ISO 8601 in UTC."""
PREVIOUS: Final = "{{previous_scheduled_time}}"
"""Stands in `args` for the instant of the run before; the run's own where there was none."""


def iso(instant: datetime) -> str:
    """Write an instant as programs are told it: `2026-11-24T02:00:00Z`."""
    return instant.astimezone(UTC).isoformat(timespec="auto").replace("+00:00", "Z")


def rendered(spec: JobSpec, run: ActiveRun, args: tuple[str, ...]) -> JobSpec:
    """Give the spec that one run is submitted with.

    The instants take the place of the placeholders; a spec without any gets `--scheduled-time` and, from the second run
    on, `--previous-scheduled-time` after its own arguments; a SQL script, whose arguments are variables, gets nothing else. Both instants are global job parameters as well. A run keeps no state
    for another, so checkpoints are taken only where the spec asks for them.

    Args:
        spec: of the run's revision.
        run: which one.
        args: arguments of this run alone, after the others.
    """
    scheduled, previous = iso(run.scheduled_at), iso(run.previous_at or run.scheduled_at)
    given = (*spec.args, *args)
    told = tuple(arg.replace(SCHEDULED, scheduled).replace(PREVIOUS, previous) for arg in given)
    if told == given and spec.type is not ArtifactType.SQL:
        before = ("--previous-scheduled-time", previous) if run.previous_at is not None else ()
        told = (*spec.args, "--scheduled-time", scheduled, *before, *args)
    deployment = spec.deployment
    if "checkpoint_interval" not in deployment.model_fields_set:
        deployment = deployment.model_copy(update={"checkpoint_interval": None})
    # There is no proof of health; what a slow main() is given is the submission's own deadline.
    rollback = deployment.rollback.model_copy(update={"deadline_seconds": run.submission_deadline_seconds})
    deployment = deployment.model_copy(update={"rollback": rollback})
    parameters = {**spec.env_vars, "flinkctl.scheduled-time": scheduled}
    if run.previous_at is not None:
        parameters["flinkctl.previous-scheduled-time"] = previous
    return spec.model_copy(update={"args": told, "env_vars": parameters, "deployment": deployment})
