"""Savepoints of a job: `savepoint create`, `savepoint list`. `savepoint JOB` is short for `savepoint create JOB`."""

from datetime import timedelta
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flink_controller.cli.context import Session, remote_of, session_of
from flink_controller.cli.fault import FailureError, TimedOutError
from flink_controller.cli.job import JobArgument, find
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say, tell
from flink_controller.cli.waiting import POLL
from flink_controller.cli.wish import ask_once
from flink_controller.domain.report import SavepointEntry, savepoint_entries
from flink_controller.domain.saving import MANUAL
from flink_controller.domain.status import SavepointKind


class Verbs(TyperGroup):
    """The verbs of savepoints; a job's name in the place of one means `create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the verb that was left out."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Verbs,
    help="Take and list savepoints. flinkctl savepoint JOB is short for flinkctl savepoint create JOB.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(epilog="Example: flinkctl savepoint create etl --wait")
def create(
    context: typer.Context,
    job: JobArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is complete, and print its path.")] = False,  # noqa: FBT002  # a flag
    timeout: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long to wait, in seconds.")] = 600,
) -> None:
    """Take a savepoint; the job runs on.

    Sets deployment.savepoint_nonce.
    """
    session = session_of(context)
    if not wait:
        ask_once(context, job, "savepoint_nonce", f"gets a savepoint; flinkctl savepoint list {printable(job)} shows it")
        return
    known = max((found.number for found in session.remote.statuses.savepoints(job)), default=0)
    nonce = ask_once(context, job, "savepoint_nonce", "gets a savepoint")
    say(_completed(session, job, nonce, known, timedelta(seconds=timeout)))


@app.command(name="list", epilog="Example: flinkctl savepoint list etl -o json")
def list_(context: typer.Context, job: JobArgument, output: FormatOption = Format.TABLE) -> None:
    """Show a job's savepoints, oldest first.

    With what they were taken for, and which of the revisions on record run the very program that wrote them.
    """
    remote = remote_of(context)
    found = savepoint_entries(remote.statuses.savepoints(job), remote.statuses.revisions(job))
    if not found:
        find(remote, job)
    emit({"items": [entry.model_dump(mode="json") for entry in found]}, output, table=lambda: _tell(found))


def _completed(session: Session, job: str, nonce: str, known: int, timeout: timedelta) -> str:
    """Wait for the savepoint of a nonce, and give its path."""
    statuses, clock = session.remote.statuses, session.clock
    deadline, is_told = clock.now() + timeout, False
    while True:
        status = statuses.read(job)
        is_taken_up = status is not None and status.savepoint_nonce == nonce
        operation = None if status is None else status.operation
        if is_taken_up and (operation is None or operation.purpose != MANUAL):
            made = [one for one in statuses.savepoints(job) if one.number > known and one.kind is SavepointKind.MANUAL]
            if made:
                return made[-1].path
            failed = [event for event in statuses.events(job, limit=20) if event.reason == "SavepointFailed"]
            cause = failed[-1].message if failed else "the job ended before"
            raise FailureError(f"{printable(job)}: no savepoint was taken: {cause}")
        if is_taken_up and not is_told:
            tell(f"{clock.now():%H:%M:%S} {job} its savepoint is under way")
            is_told = True
        if clock.now() + POLL > deadline:
            raise TimedOutError(f"{printable(job)}: no savepoint within {timeout.total_seconds():g} s; it may still come")
        clock.sleep(POLL)


def _tell(found: tuple[SavepointEntry, ...]) -> None:
    if not found:
        say("no savepoints yet")
        return
    print_table(
        ("ID", "KIND", "COMPLETED", "SECONDS", "REVISION", "ATTEMPT", "RESTORABLE BY", "PATH"),
        [
            (
                entry.id,
                entry.kind,
                entry.completed_at,
                entry.duration_seconds,
                entry.revision,
                entry.attempt,
                ", ".join(map(str, entry.restorable_by)),
                entry.path,
            )
            for entry in found
        ],
    )
