"""Savepoints of a job: `savepoint create`, `list`, `delete`. `savepoint JOB` is short for `savepoint create JOB`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from flink_controller.cli.context import Remote, Session, remote_of, session_of
from flink_controller.cli.fault import FailureError, TimedOutError
from flink_controller.cli.job import JobArgument, find
from flink_controller.cli.output import Format, FormatOption, age, emit, print_table, printable, say, size, tell
from flink_controller.cli.waiting import POLL
from flink_controller.cli.wish import ask_once, edit, item_of, nonce_of
from flink_controller.domain.intents import savepoint_base
from flink_controller.domain.names import JobName, tag
from flink_controller.domain.observation import SavepointFound, StorageUnreadable
from flink_controller.domain.report import SavepointEntry, savepoint_entries
from flink_controller.domain.retention import canonical, is_needed
from flink_controller.domain.run_arguments import iso
from flink_controller.domain.saving import MANUAL
from flink_controller.domain.spec import ValidSpec, read_spec
from flink_controller.domain.status import SavepointKind, SavepointRecord

T = TypeVar("T")


class Verbs(TyperGroup):
    """The verbs of savepoints; a job's name in the place of one means `create`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put in the verb that was left out."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["create", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=Verbs,
    help="Take, list and remove savepoints. flinkctl savepoint JOB is short for flinkctl savepoint create JOB.",
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
def list_(
    context: typer.Context,
    job: JobArgument,
    storage: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--storage", help="Show those that lie on storage and are not on record instead.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show a job's savepoints, oldest first.

    With what they were taken for, and which of the revisions on record run the very program that wrote them. --storage lists
    the job's directories with your own rights, and deletes nothing.
    """
    remote = remote_of(context)
    if storage:
        _list_unrecorded(session_of(context), job, output)
        return
    found = savepoint_entries(remote.statuses.savepoints(job), remote.statuses.revisions(job))
    if not found:
        find(remote, job)
    emit({"items": [entry.model_dump(mode="json") for entry in found]}, output, table=lambda: _tell(found))


@app.command(epilog="Example: flinkctl savepoint delete etl 12")
def delete(
    context: typer.Context,
    job: JobArgument,
    named: Annotated[
        str, typer.Argument(metavar="ID|PATH", help="Its id in flinkctl savepoint list, or its path as shown there.")
    ],
) -> None:
    """Remove one savepoint, of whatever kind.

    Refused while the job needs it, or another job's spec names it; the controller checks that again. Sets
    deployment.savepoint_disposal.
    """
    remote, name = remote_of(context), printable(job)
    item = item_of(remote, job)
    status, records = remote.statuses.read(job), remote.statuses.savepoints(job)
    found = next((one for one in records if named in {str(one.number), one.path}), None)
    if found is None or status is None:
        raise FailureError(f"{name}: there is no savepoint {printable(named)} on record; flinkctl savepoint list {name}")
    if is_needed(status, found.path):
        raise FailureError(f"{name}: savepoint {found.number} is what the job goes on from, or may go back to; it stays")
    holders = remote.statuses.holders(canonical(found.path))
    if holders:
        raise FailureError(
            f"{name}: savepoint {found.number} is where {printable(', '.join(holders))} starts from; it stays"
        )
    nonce = nonce_of(session_of(context))

    def change(wanted: dict[str, Any]) -> None:
        deployment = wanted.get("deployment", {})
        if not isinstance(deployment, Mapping):
            raise FailureError(f"{name}: deployment is no map of fields; mend the spec with flinkctl apply -f FILE")
        wanted["deployment"] = {**deployment, "savepoint_disposal": {"id": found.number, "nonce": nonce}}

    edit(remote, job, item, change)
    say(f"{name}: savepoint {found.number} is removed while the job runs (deployment.savepoint_disposal.nonce: {nonce})")


def _list_unrecorded(session: Session, job: str, output: Format) -> None:
    """Print the savepoints on storage that the record does not know, with size and age."""
    remote, now = session.remote, session.clock.now()
    find(remote, job)
    assert remote.savepoints is not None
    places, recorded = remote.savepoints(), remote.statuses.savepoints(job)
    known = {canonical(one.path) for one in recorded}
    found: list[SavepointFound] = []
    for base in _bases(remote, job, recorded):
        mark = tag(remote.settings.controller_id, job)
        for name in _listed(places.directories(base)):
            if name.startswith(mark):
                found += [one for one in _listed(places.savepoints(f"{base}/{name}")) if canonical(one.path) not in known]
    found.sort(key=lambda one: one.written_at)

    def table() -> None:
        if not found:
            say(f"{printable(job)}: every savepoint in its directories is on record")
            return
        columns = ("WRITTEN", "AGE", "SIZE", "COMPLETE", "PATH")
        print_table(
            columns,
            [
                (
                    one.written_at,
                    age(now - one.written_at),
                    size(one.size_bytes),
                    "yes" if one.is_complete else "no",
                    one.path,
                )
                for one in found
            ],
        )

    items = [{**asdict(one), "written_at": iso(one.written_at)} for one in found]
    emit({"items": items}, output, table=table)


def _bases(remote: Remote, job: str, recorded: Sequence[SavepointRecord]) -> list[str]:
    """Name the directories of a job's savepoints: where its spec has them now, and where those on record lie."""
    bases = [one.path.rstrip("/").rsplit("/", 2)[0] for one in recorded if one.kind is not SavepointKind.OUTSIDE]
    item = remote.specs.read(job)
    view = None if item is None else read_spec(job, item)
    if isinstance(view, ValidSpec):
        cluster = remote.registry.cluster(view.spec.cluster)
        if cluster is not None:
            path = view.spec.deployment.savepoint_path
            bases.append(savepoint_base(cluster.savepoint_root, JobName.parse(job), path))
    return list(dict.fromkeys(bases))


def _listed(answer: tuple[T, ...] | StorageUnreadable) -> tuple[T, ...]:
    if isinstance(answer, StorageUnreadable):
        raise FailureError(
            f"{answer.cause}; the bucket must be in FLINKCTL_STATE_BUCKETS, and you need s3:ListBucket there"
            " (file:// can be listed on a local stack alone)"
        )
    return answer


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
        ("ID", "KIND", "STATE", "COMPLETED", "SECONDS", "REVISION", "ATTEMPT", "RESTORABLE BY", "PATH"),
        [
            (
                entry.id,
                entry.kind,
                entry.state,
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
