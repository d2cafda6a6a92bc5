"""Jobs, read only: `get`, `wait`, `events`, `history`."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

import typer

from flink_controller.cli.changes import unsigned
from flink_controller.cli.context import Remote, remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.fleet import Filter, FleetFormat, NamespaceOption, show_fleet
from flink_controller.cli.output import (
    Format,
    FormatOption,
    as_yaml,
    emit,
    moment,
    print_pairs,
    print_table,
    printable,
    say,
    short,
    short_arn,
)
from flink_controller.cli.waiting import wait_for
from flink_controller.domain.goal import Goal
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.report import JobReport, history, report, report_unseen
from flink_controller.domain.status import Event

JobArgument: TypeAlias = Annotated[str, typer.Argument(metavar="JOB", help="Job id: name or namespace/name.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: flinkctl get etl -o json")(get)
    app.command(epilog="Example: flinkctl wait etl --for stable --timeout 300")(wait)
    app.command(epilog="Example: flinkctl events etl")(events)
    app.command(name="history", epilog="Example: flinkctl history etl")(show_history)


def get(
    context: typer.Context,
    job: Annotated[str | None, typer.Argument(metavar="JOB", help="Job id; all jobs without it.")] = None,
    spec: Annotated[bool, typer.Option("--spec", help="Print the stored spec, as `apply` takes it.")] = False,  # noqa: FBT002  # a flag
    namespace: NamespaceOption = None,
    all_namespaces: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("-A", "--all-namespaces", help="Jobs of all namespaces, as without -n.")
    ] = False,
    states: Annotated[
        list[Lifecycle] | None, typer.Option("--state", case_sensitive=False, help="Jobs in this state only; repeatable.")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option("-l", "--label", metavar="NAME=VALUE", help="Jobs with this label only; repeatable.")
    ] = None,
    output: Annotated[
        FleetFormat, typer.Option("-o", "--output", help="How to print; wide has more columns, name the job ids alone.")
    ] = FleetFormat.TABLE,
) -> None:
    """Show one job, or list all.

    SINCE is for how long the job has been ready, or not; MESSAGE names open alerts and what it waits for.
    """
    if all_namespaces and namespace is not None:
        raise typer.BadParameter("-A and -n exclude each other")
    wanted = Filter(namespace, tuple(state.value for state in states or ()), tuple(map(_label, labels or ())))
    session = session_of(context)
    if spec:
        _get_spec(session.remote, job, output.of_one)
    elif job is None:
        show_fleet(session, wanted, output)
    elif wanted != Filter():
        raise typer.BadParameter("-n, --state and --label are for lists; name no JOB with them")
    else:
        found = find(session.remote, job)
        if output is FleetFormat.NAME:
            say(found.job_id)
            return
        emit(found.model_dump(mode="json"), output.of_one, table=lambda: tell_report(found))


def wait(
    context: typer.Context,
    job: JobArgument,
    goal: Annotated[Goal, typer.Option("--for", help="What to wait for.")],
    timeout: Annotated[int, typer.Option(min=1, metavar="SECONDS", help="How long, in seconds.")] = 600,
) -> None:
    """Wait until a job is stable, deleted, ….

    Prints a line for every change on the way.

    Counts only what the controller did after it saw the stored spec and the newest upload. Ends with 1 as soon as the goal
    is out of reach, and with 3 when the time is up.
    """
    say(wait_for(session_of(context), job, goal, timedelta(seconds=timeout)))


def events(
    context: typer.Context,
    job: JobArgument,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 100,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show what happened to a job, oldest first.

    One line a transition; repetitions are counted.
    """
    remote = remote_of(context)
    found = remote.statuses.events(job, limit=limit)
    if not found:
        find(remote, job)
    emit({"items": [event_document(event) for event in found]}, output, table=lambda: _tell_events(found))


def show_history(context: typer.Context, job: JobArgument, output: FormatOption = Format.TABLE) -> None:
    """Show a job's revisions and their outcomes."""
    remote = remote_of(context)
    revisions, status = remote.statuses.revisions(job), remote.statuses.read(job)
    if not revisions:
        find(remote, job)
    entries = history(status, revisions)

    def table() -> None:
        print_table(
            ("REVISION", "CREATED", "OUTCOME", "ARTIFACT", "SHA256", "SPEC", "SPEC BY", "REASON"),
            [
                (
                    e.revision,
                    e.created_at,
                    e.outcome,
                    e.artifact.key,
                    short(e.artifact.sha256),
                    short(e.spec_hash),
                    short_arn(e.by),
                    e.reason,
                )
                for e in entries
            ],
        )

    emit({"items": [entry.model_dump(mode="json") for entry in entries]}, output, table=table)


def find(remote: Remote, job_id: str) -> JobReport:
    """Give the report of a job.

    Raises:
        FailureError: there is no such job.
    """
    status = remote.statuses.read(job_id)
    if status is not None:
        return report(status)
    item = remote.specs.read(job_id)
    if item is None:
        raise FailureError(f"there is no job {printable(job_id)}; flinkctl get lists all")
    return report_unseen(job_id, item)


def _get_spec(remote: Remote, job_id: str | None, output: Format) -> None:
    if job_id is None:
        raise typer.BadParameter("--spec needs a JOB")
    item = remote.specs.read(job_id)
    if item is None:
        raise FailureError(f"there is no spec of {printable(job_id)}; flinkctl get lists all jobs")
    document = _in_order(item)
    emit(document, output, table=lambda: typer.echo(as_yaml(document), nl=False))


def _in_order(item: Mapping[str, Any]) -> dict[str, Any]:
    """Put the name first; DynamoDB keeps no order. Who wrote it is no part of what is asked for."""
    return {"job_id": item["job_id"], **{name: value for name, value in sorted(unsigned(item).items()) if name != "job_id"}}


def _label(text: str) -> tuple[str, str]:
    name, is_given, value = text.partition("=")
    if not is_given or not name:
        raise typer.BadParameter(f"{printable(text)} is no NAME=VALUE")
    return name, value


def tell_report(one: JobReport) -> None:
    """Print what is known of a job, one line a fact."""
    print_pairs(report_pairs(one))


def report_pairs(one: JobReport) -> list[tuple[str, object]]:
    """Give the facts of a job with their names."""
    artifact, savepoint, numbers = one.artifact, one.savepoint, one.revision
    return [
        ("job", one.job_id),
        ("lifecycle", one.lifecycle),
        ("ready", "yes" if one.ready else "no"),
        ("reason", f"{one.reason}: {one.message}" if one.message else one.reason),
        ("asked for", one.desired_state),
        ("cluster", one.cluster),
        ("flink job", f"{one.flink.job_id} {one.flink.state}" if one.flink.job_id else ""),
        (
            "revision",
            f"running {_number(numbers.running)}, desired {_number(numbers.desired)}, stable {_number(numbers.stable)}",
        ),
        (
            "artifact",
            f"{artifact.key} sha256:{short(artifact.sha256)} version {artifact.version_id}" if artifact else "",
        ),
        ("signed by", artifact.key_id if artifact else ""),
        ("savepoint", f"{savepoint.path} ({moment(savepoint.completed_at)})" if savepoint else ""),
        ("updated", one.updated_at),
    ]


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def event_document(event: Event) -> dict[str, Any]:
    """Give an event as programs are told of it."""
    return event.model_dump(mode="json", include={"time", "type", "reason", "message", "revision", "attempt", "count", "by"})


def _tell_events(found: list[Event]) -> None:
    if not found:
        say("no events yet")
        return
    print_table(
        ("TIME", "TYPE", "REASON", "REVISION", "ATTEMPT", "COUNT", "BY", "MESSAGE"),
        [(e.time, e.type, e.reason, e.revision, e.attempt, e.count, short_arn(e.by), e.message) for e in found],
    )
