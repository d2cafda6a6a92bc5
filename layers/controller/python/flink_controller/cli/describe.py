"""The story of one job: `describe`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import typer

from flink_controller.cli.context import session_of
from flink_controller.cli.job import JobArgument, event_document, find, report_pairs
from flink_controller.cli.output import Format, FormatOption, age, emit, moment, print_pairs, print_table, say, size
from flink_controller.domain.alerts import GUIDES, Alert
from flink_controller.domain.next_steps import Remedy, Upcoming, remedies, upcoming
from flink_controller.domain.report import JobReport
from flink_controller.domain.spec import NoSpec, ValidSpec, read_spec
from flink_controller.domain.status import CheckpointFigures, Event, Incident, JobStatus

_SHOWN: Final = 10
"""Events that are shown; `events` shows all."""
_READ: Final = 100
"""Newest events in which the beginning of an incident is looked for."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: flinkctl describe etl")(describe)


def describe(context: typer.Context, job: JobArgument, output: FormatOption = Format.TABLE) -> None:
    """Tell the story of one job, and what comes next.

    Its spec, attempt, operation under way, last checkpoint and savepoint, conditions, open incidents with where to look first,
    newest events, what the controller does next and when, and what a person can do. SINCE and AGE say for how long.
    """
    session = session_of(context)
    remote, now = session.remote, session.clock.now()
    found, status, item = find(remote, job), remote.statuses.read(job), remote.specs.read(job)
    events = remote.statuses.events(job, limit=_READ)
    coming, possible = _next(job, status, item)
    incidents = [] if status is None else [_incident(one, events) for one in status.incidents]
    checkpoint = None if status is None else _checkpoint(status)
    document = {
        **found.model_dump(mode="json"),
        "spec": item,
        "attempt": None if status is None or status.attempt is None else status.attempt.model_dump(mode="json"),
        "operation": None if status is None or status.operation is None else status.operation.model_dump(mode="json"),
        "next_look": None if status is None else status.model_dump(mode="json")["next_look"],
        "checkpoint": None
        if checkpoint is None
        else checkpoint.model_dump(mode="json", include={"completed_at", "duration_s", "size_bytes", "failed_in_a_row"}),
        "incidents": [
            {**one, "since": None if one["since"] is None else one["since"].isoformat().replace("+00:00", "Z")}
            for one in incidents
        ],
        "events": [event_document(event) for event in events[-_SHOWN:]],
        "next": {
            "controller": [one.model_dump(mode="json") for one in coming],
            "you": [one.model_dump(mode="json") for one in possible],
        },
    }

    def table() -> None:
        print_pairs([*_with_ages(found, now), *_of_attempt(status, checkpoint, now)])
        _tell_spec(item)
        _tell_conditions(found, now)
        _tell_incidents(incidents, now)
        _tell_events(events[-_SHOWN:], now)
        _tell_next(coming, possible, now)

    emit(document, output, table=table)


def _next(job: str, status: JobStatus | None, item: Mapping[str, Any] | None) -> tuple[Sequence[Upcoming], Sequence[Remedy]]:
    view = None if item is None else read_spec(job, item)
    if status is None:
        is_valid = isinstance(view, ValidSpec)
        validate = Remedy(why="see every fault of a spec file", command="flinkctl validate -f FILE")
        return [Upcoming(what="looks at the job for the first time, within a minute")], [] if is_valid else [validate]
    spec = view.spec if isinstance(view, ValidSpec) else None
    is_unseen = view is not None and not isinstance(view, NoSpec) and view.spec_hash != status.observed_spec_hash
    return upcoming(status, spec, is_unseen=is_unseen), remedies(status)


def _incident(one: Incident, events: Sequence[Event]) -> dict[str, Any]:
    """Say what an open incident means; since when is known while its event is among the newest."""
    opened = next((e.time for e in reversed(events) if e.opens is not None and e.opens.alert == one.alert), None)
    guide = GUIDES[Alert(one.alert)] if one.alert in set(Alert) else None
    return {
        "alert": one.alert,
        "severity": "" if guide is None else guide.severity.value,
        "since": opened,
        "says": "" if guide is None else guide.says,
        "first_look": "" if guide is None else guide.first_look,
        "is_told": one.is_told,
    }


def _checkpoint(status: JobStatus) -> CheckpointFigures | None:
    """Give what was written down last of the newest attempt's checkpoints; some ten minutes old at most."""
    known, attempt = status.checkpointing, status.attempt
    return known if known is not None and attempt is not None and known.of_attempt == attempt.number else None


def _with_ages(found: JobReport, now: datetime) -> Iterator[tuple[str, object]]:
    for name, value in report_pairs(found):
        if name == "savepoint" and found.savepoint is not None:
            yield name, f"{found.savepoint.path} ({_ago(found.savepoint.completed_at, now)})"
        elif name == "updated" and found.updated_at is not None:
            yield name, f"{moment(found.updated_at)} ({_ago(found.updated_at, now)})"
        else:
            yield name, value


def _of_attempt(
    status: JobStatus | None, checkpoint: CheckpointFigures | None, now: datetime
) -> Iterator[tuple[str, object]]:
    if status is None or status.attempt is None:
        return
    attempt, operation = status.attempt, status.operation
    if checkpoint is not None and checkpoint.completed_at is not None:
        figures = f"{size(checkpoint.size_bytes)} in {checkpoint.duration_s:g} s"
        yield "checkpoint", f"completed {_ago(checkpoint.completed_at, now)}, {figures}"
    yield "attempt", f"{attempt.number} of revision {attempt.revision}, {attempt.phase}, since {moment(attempt.created_at)}"
    yield "started from", attempt.restore_from or "no state"
    yield "checkpoints", f"{attempt.checkpoint_root}/{attempt.flink_job_id}"
    if attempt.root_cause or attempt.refusal:
        yield "cause", attempt.root_cause or attempt.refusal
    if operation is not None:
        yield "under way", f"{operation.kind} for {operation.purpose} since {moment(operation.started_at)}"


def _tell_spec(item: Mapping[str, Any] | None) -> None:
    if item is None:
        return
    say("")
    print_table(("SPEC", "VALUE"), [(path, value) for path, value in _fields(item) if path != "job_id"])


def _fields(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Give the fields that are set, by their paths in a document."""
    for name in sorted(value, key=str):
        found = value[name]
        if isinstance(found, Mapping) and found:
            yield from _fields(found, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", found


def _tell_conditions(one: JobReport, now: datetime) -> None:
    if one.conditions:
        say("")
        print_table(
            ("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"),
            [(c.type, c.status, age(now - c.last_transition_time), c.reason, c.message) for c in one.conditions],
        )


def _tell_incidents(incidents: Sequence[Mapping[str, Any]], now: datetime) -> None:
    if incidents:
        say("")
        print_table(
            ("INCIDENT", "SEVERITY", "SINCE", "MEANS", "LOOK FIRST"),
            [
                (one["alert"], one["severity"], one["since"] and age(now - one["since"]), one["says"], one["first_look"])
                for one in incidents
            ],
        )


def _tell_events(events: Sequence[Event], now: datetime) -> None:
    say("")
    if not events:
        say("no events yet")
        return
    print_table(
        ("AGE", "TYPE", "REASON", "REVISION", "ATTEMPT", "COUNT", "MESSAGE"),
        [(age(now - e.time), e.type, e.reason, e.revision, e.attempt, e.count, e.message) for e in events],
    )


def _tell_next(coming: Sequence[Upcoming], possible: Sequence[Remedy], now: datetime) -> None:
    say("")
    print_table(("THE CONTROLLER", "AT"), [(one.what, _when(one.at, now)) for one in coming])
    if possible:
        say("")
        print_table(("YOU CAN", "WITH"), [(one.why, one.command) for one in possible])


def _when(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    return f"{moment(at)} (in {age(at - now)})" if at > now else f"{moment(at)} (due)"


def _ago(at: datetime, now: datetime) -> str:
    return f"{age(now - at)} ago"
