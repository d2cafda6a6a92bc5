"""Runs of batch jobs: `runs`, `run --now`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flink_controller.cli.context import remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.job import JobArgument, find
from flink_controller.cli.output import Format, FormatOption, emit, moment, print_table, printable, say
from flink_controller.cli.wish import edit, item_of, nonce_of
from flink_controller.domain.report import RunEntry, run_entries
from flink_controller.domain.status import DesiredState, JobType


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: flinkctl runs nightly --limit 20")(runs)
    app.command(epilog="Example: flinkctl run nightly --now --args=--day --args=2027-01-31")(run)


def runs(
    context: typer.Context,
    job: JobArgument,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 100,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show the runs of a batch job, oldest first.

    One line for each scheduled instant: its run, or why it has none.
    """
    remote = remote_of(context)
    found = run_entries(remote.statuses.runs(job, limit=limit))
    if not found:
        find(remote, job)
    emit({"items": [entry.model_dump(mode="json") for entry in found]}, output, table=lambda: _tell(found))


def run(
    context: typer.Context,
    job: JobArgument,
    now: Annotated[bool, typer.Option("--now", help="Required: there is no other time to run at.")] = False,  # noqa: FBT002  # a flag
    args: Annotated[
        list[str] | None, typer.Option("--args", metavar="ARG", help="Argument of this run, after the spec's; repeatable.")
    ] = None,
) -> None:
    """Run a batch job once, now.

    The same limits and the same overlap policy hold. Sets batch_config.run_now.
    """
    if not now:
        raise FailureError(f"{printable(job)}: say --now to run it now; batch_config.cron runs it at other times")
    remote = remote_of(context)
    item = item_of(remote, job)
    if item.get("job_type") != JobType.BATCH.value:
        raise FailureError(f"{printable(job)}: is no batch job; flinkctl restart restarts a streaming one")
    if item.get("state", DesiredState.RUNNING.value) != DesiredState.RUNNING.value:
        raise FailureError(f"{printable(job)}: is not running; flinkctl resume {printable(job)} lets it run again")
    nonce = nonce_of(session_of(context))

    def change(wanted: dict[str, Any]) -> None:
        config = wanted.get("batch_config", {})
        if not isinstance(config, Mapping):
            raise FailureError(f"{printable(job)}: batch_config is no map of fields; mend it with flinkctl apply -f FILE")
        wanted["batch_config"] = {**config, "run_now": {"nonce": nonce, "args": list(args or ())}}

    edit(remote, job, item, change)
    say(f"{printable(job)}: is run once; flinkctl runs {printable(job)} shows it (batch_config.run_now.nonce: {nonce})")


def _tell(found: tuple[RunEntry, ...]) -> None:
    print_table(
        ("INSTANT", "OUTCOME", "STARTED", "ENDED", "SECONDS", "ATTEMPT", "FLINK JOB", "REASON"),
        [
            (
                moment(entry.scheduled_at) if entry.until is None else f"{moment(entry.scheduled_at)}…{moment(entry.until)}",
                entry.outcome,
                entry.started_at,
                entry.ended_at if entry.started_at is not None else None,
                None if entry.duration_seconds is None else round(entry.duration_seconds),
                entry.attempt,
                entry.flink_job_id,
                f"{entry.reason}: {entry.message}" if entry.message else entry.reason,
            )
            for entry in found
        ],
    )
