"""The fleet at a glance: the list of `get` without a job, and `top`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from flink_controller.cli.context import Remote, Session, session_of
from flink_controller.cli.output import Format, age, emit, fitted, print_lines, printable, say, terminal
from flink_controller.domain.attention import AT_REST, attention
from flink_controller.domain.errors import TransientError
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.names import namespace_of
from flink_controller.domain.report import JobReport, report, report_unseen
from flink_controller.domain.status import JobType, StatusSummary

_COLUMNS: Final = ("JOB", "TYPE", "STATE", "READY", "REVISION", "CLUSTER", "SINCE", "MESSAGE")
_WIDE: Final = ("JOB", "TYPE", "STATE", "READY", "REVISION", "CLUSTER", "SINCE", "ALERTS", "FLINK JOB", "MESSAGE")
_TOP: Final = ("JOB", "STATE", "READY", "SINCE", "REVISION", "CLUSTER", "MESSAGE")
_OPTIONAL: Final = ("TYPE", "CLUSTER", "REVISION", "READY")
_FRAME: Final = 6
"""Lines of `top` beside its jobs: two of figures, an empty one, the headings, what is not shown, and how to leave."""

_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

NamespaceOption: TypeAlias = Annotated[
    str | None, typer.Option("-n", "--namespace", metavar="NAME", help="Jobs of one namespace only.")
]


class FleetFormat(Enum):
    """How a list of jobs is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def of_one(self) -> Format:
        """How one job is printed, whose table has all there is."""
        return Format(self.value) if self in {FleetFormat.JSON, FleetFormat.YAML} else Format.TABLE


@dataclass(frozen=True)
class Filter:
    """Which jobs are meant."""

    namespace: str | None = None
    states: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    def keeps(self, job_id: str, state: str, item: Mapping[str, Any] | None = None) -> bool:
        """Tell whether a job is meant, by its name, its state, and the labels in its spec."""
        labels = None if item is None else item.get("labels")
        known = labels if isinstance(labels, Mapping) else {}
        return (
            (self.namespace is None or namespace_of(job_id) == self.namespace)
            and (not self.states or state in self.states)
            and all(known.get(name) == value for name, value in self.labels)
        )


@dataclass(frozen=True)
class Line:
    """A job in a list."""

    job_id: str
    job_type: str
    state: str
    is_ready: bool
    revision: str
    cluster: str
    since: datetime | None
    message: str
    alerts: tuple[str, ...] = ()
    flink_job_id: str | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: flinkctl top -n data")(top)


def show_fleet(session: Session, wanted: Filter, output: FleetFormat) -> None:
    """Print the jobs that are meant: one read for each page of the index and of the specs, however many jobs there are."""
    remote = session.remote
    items = dict(remote.specs.items())
    seen = {one.job_id: one for one in remote.statuses.summaries()}
    unseen = {job_id: report_unseen(job_id, item) for job_id, item in items.items() if job_id not in seen}
    states = {name: one.lifecycle for name, one in seen.items()} | {name: one.lifecycle for name, one in unseen.items()}
    names = [name for name in sorted(states, key=_by_namespace) if wanted.keeps(name, states[name], items.get(name))]
    match output:
        case FleetFormat.NAME:
            for name in names:
                say(name)
        case FleetFormat.TABLE | FleetFormat.WIDE:
            if not names:
                is_all = wanted == Filter()
                say("no jobs; flinkctl apply -f FILE creates one" if is_all else "no such jobs; flinkctl get lists all")
                return
            lines = [_line(seen[name]) if name in seen else _new_line(unseen[name]) for name in names]
            columns = _WIDE if output is FleetFormat.WIDE else _COLUMNS
            print_lines(columns, _rows(lines, columns, session.clock.now()), optional=_OPTIONAL)
        case FleetFormat.JSON | FleetFormat.YAML:
            statuses = remote.statuses.read_many([name for name in names if name in seen])
            found = unseen | {name: report(status) for name, status in statuses.items()}
            # One whose record went between the two reads is not there any more.
            reports = [found[name].model_dump(mode="json") for name in names if name in found]
            emit({"items": reports}, output.of_one, table=lambda: None)


def top(
    context: typer.Context,
    namespace: NamespaceOption = None,
    interval: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Between two looks, in seconds.")] = 5,
) -> None:
    """Watch the fleet, what needs attention first.

    Each look reads the index of the controller's record, and asks no cluster. Ctrl-C ends it. Where no terminal shows it, it
    prints once.
    """
    session, screen = session_of(context), terminal()
    if screen is not None:
        watch(session, screen, timedelta(seconds=interval), namespace)
        return
    known, now = _by_attention(session.remote, namespace), session.clock.now()
    for text in _figures(known, now):
        say(text)
    if known:
        say("")
        print_lines(_TOP, _rows([_line(one) for one in known], _TOP, now))


def watch(session: Session, screen: Console, interval: timedelta, namespace: str | None = None) -> None:
    """Show the fleet on a terminal, again and again, until somebody interrupts.

    Raises:
        TransientError: nothing could be read even once.
    """
    known: list[StatusSummary] | None = None
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        try:
            while True:
                trouble = ""
                try:
                    known = _by_attention(session.remote, namespace)
                except TransientError as error:
                    if known is None:
                        raise
                    trouble = f"as of the last look that was answered: {error}"
                live.update(_view(known, session.clock.now(), screen, trouble), refresh=True)
                session.clock.sleep(interval)
        except KeyboardInterrupt:
            return


def _by_attention(remote: Remote, namespace: str | None) -> list[StatusSummary]:
    """Read the jobs, the most urgent first, and among these what has changed last."""
    wanted = Filter(namespace)
    found = [
        one
        for one in remote.statuses.summaries()
        if one.lifecycle != Lifecycle.DELETED.value and wanted.keeps(one.job_id, one.lifecycle)
    ]
    return sorted(found, key=lambda one: (attention(one), -(_since(one) or _NEVER).timestamp(), one.job_id))


def _figures(known: Sequence[StatusSummary], now: datetime) -> list[str]:
    """Sum up a fleet in two lines at most."""
    if not known:
        return [f"{now:%H:%M:%S} UTC  no jobs on record; flinkctl apply -f FILE creates one"]
    states = Counter(one.lifecycle for one in known)
    counted = ", ".join(f"{states[state.value]} {state.value}" for state in Lifecycle if states[state.value])
    ready = sum(one.unready_since is None for one in known)
    lines = [f"{now:%H:%M:%S} UTC  {len(known)} jobs, {ready} ready: {counted}"]
    away = Counter(one.cluster for one in known if one.is_flagged_unreachable)
    if away:
        lines.append("no answer from " + ", ".join(f"cluster {name} ({count} jobs)" for name, count in sorted(away.items())))
    return lines


def _view(known: Sequence[StatusSummary], now: datetime, screen: Console, trouble: str) -> Group:
    shown = known[: max(screen.height - _FRAME, 1)]
    left = len(known) - len(shown)
    parts: list[RenderableType] = [Text(printable(text), no_wrap=True, overflow="ellipsis") for text in _figures(known, now)]
    if shown:
        rows = _rows([_line(one) for one in shown], _TOP, now)
        parts += [Text(), fitted(_TOP, rows, width=screen.width, optional=_OPTIONAL)]
    if left:
        parts.append(Text(f"and {left} more, none of them more urgent", style="dim"))
    parts.append(Text(printable(trouble) or "Ctrl-C ends", style="yellow" if trouble else "dim", no_wrap=True))
    return Group(*parts)


def _rows(lines: Sequence[Line], columns: Sequence[str], now: datetime) -> list[tuple[object, ...]]:
    return [tuple(_value(line, column, now) for column in columns) for line in lines]


def _value(line: Line, column: str, now: datetime) -> object:
    match column:
        case "JOB":
            return line.job_id
        case "TYPE":
            return line.job_type
        case "STATE":
            return line.state
        case "READY":
            return "yes" if line.is_ready else "no"
        case "REVISION":
            return line.revision
        case "CLUSTER":
            return line.cluster
        case "SINCE":
            return None if line.since is None else age(now - line.since)
        case "ALERTS":
            return ", ".join(line.alerts)
        case "FLINK JOB":
            return line.flink_job_id
        case _:
            return line.message


def _line(one: StatusSummary) -> Line:
    return Line(
        job_id=one.job_id,
        job_type=one.job_type.value,
        state=one.lifecycle,
        is_ready=one.unready_since is None,
        revision=_revision(one),
        cluster=one.cluster,
        since=_since(one),
        message=_message(one),
        alerts=one.alerts,
        flink_job_id=one.flink_job_id,
    )


def _new_line(one: JobReport) -> Line:
    return Line(one.job_id, one.job_type, one.lifecycle, False, "", one.cluster, None, one.message)


def _since(one: StatusSummary) -> datetime | None:
    return one.ready_since or one.unready_since


def _message(one: StatusSummary) -> str:
    """Say what is wrong, or nothing: the reason of a job that is as it should be is its state."""
    is_named_by_state = one.reason.upper() == one.lifecycle.replace("_", "")
    said = "" if is_named_by_state else one.reason
    told = ", ".join(one.alerts)
    return ": ".join(text for text in (told, said, one.message) if text)


def _revision(one: StatusSummary) -> str:
    """Write the revision that runs, and where another one should, that one."""
    running, desired = one.running_revision, one.desired_revision
    is_none_due = running is None and (one.job_type is JobType.BATCH or one.lifecycle in AT_REST)
    if desired is None or running == desired or is_none_due:
        return str(desired or running or "")
    return f"{'none' if running is None else running} -> {desired}"


def _by_namespace(job_id: str) -> tuple[str, str]:
    return namespace_of(job_id), job_id
