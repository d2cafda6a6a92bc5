"""How commands speak: documents for programs on stdout, tables and sentences for people, progress and faults on stderr.

Whatever comes from data is made printable first: a job's message must not be able to move a terminal's cursor.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias

import typer
import yaml
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_GAP: Final = 2
"""Blanks between columns."""
LEAST_MESSAGE: Final = 24
"""Cells of a message that still say something."""
UNLIMITED_WIDTH: Final = 100_000
"""Of a table that no terminal shows: whoever reads it line by line wants whole lines."""
_STYLES: Final = {
    "STABLE": "green",
    "COMPLETED": "green",
    "ok": "green",
    "FAILED": "red",
    "failed": "red",
    "ROLLING_BACK": "yellow",
    "ROLLED_BACK": "yellow",
    "warning": "yellow",
    "Warning": "yellow",
    "critical": "red",
}


PLAIN_TYPES: Final = tuple(
    (f"tag:yaml.org,2002:{name}", re.compile(f"(?:{pattern})\\Z"), starts)
    for name, pattern, starts in (
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9]+", list("-+0123456789")),
        ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    )
)
"""What YAML without quotes may mean besides text: tag, pattern, first characters. JSON's types, and no others."""


class _Dumper(yaml.SafeDumper):
    """Quotes what any reader of YAML, ours included, would take for something else than text."""


for _tag, _pattern, _starts in PLAIN_TYPES:
    _Dumper.add_implicit_resolver(_tag, _pattern, _starts)


class Format(Enum):
    """How a reading command prints."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


FormatOption: TypeAlias = Annotated[Format, typer.Option("-o", "--output", help="How to print; changes nothing else.")]


def printable(value: object) -> str:
    """Write text on one line that no terminal takes for a command."""
    text = "" if value is None else str(value)
    return "".join(char if char.isprintable() else " " for char in text)


def say(value: object) -> None:
    """Print one line of the result."""
    typer.echo(printable(value))


def tell(value: object) -> None:
    """Print one line beside the result, on stderr."""
    typer.echo(printable(value), err=True)


def emit(document: Any, output: Format, *, table: Callable[[], None]) -> None:
    """Print a document in the format that was asked for.

    Args:
        document: what JSON can hold.
        output: the format.
        table: prints it for people.
    """
    match output:
        case Format.JSON:
            typer.echo(as_json(document))
        case Format.YAML:
            typer.echo(as_yaml(document), nl=False)
        case Format.TABLE:
            table()


def as_json(document: Any) -> str:
    """Write JSON in ASCII, indented; what JSON cannot hold as its `ascii`."""
    return json.dumps(document, indent=2, default=ascii)


def as_yaml(document: Any) -> str:
    """Write YAML in ASCII, so that no character of it can do anything to a terminal."""
    plain = json.loads(as_json(document))
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=120)
    return text


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows below a heading, as wide as they are where nobody watches."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    _print(table)


def print_lines(columns: Sequence[str], rows: Sequence[Sequence[object]], *, optional: Sequence[str] = ()) -> None:
    """Print each row on one line below a heading; see `fitted`."""
    console = _console()
    _print(fitted(columns, rows, width=console.width, optional=optional), console)


def fitted(columns: Sequence[str], rows: Sequence[Sequence[object]], *, width: int, optional: Sequence[str] = ()) -> Table:
    """Lay rows out so that each is one line of a terminal.

    Where it is too narrow for all, first columns are left out and then the last one, a message, is cut.

    Args:
        columns: headings.
        rows: values, one for each heading.
        width: cells of the terminal.
        optional: headings of what can be left out, the least important first.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    shown = list(range(len(columns)))
    widths = [max([cell_len(name), *(row[at].cell_len for row in cells)]) for at, name in enumerate(columns)]
    for name in (None, *optional):
        shown = [at for at in shown if columns[at] != name]
        rest = width - sum(widths[at] + _GAP for at in shown[:-1])
        if rest >= min(LEAST_MESSAGE, widths[-1]):
            break
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    for at in shown:
        table.add_column(columns[at], no_wrap=True, overflow="ellipsis")
    for row in cells:
        row[-1].truncate(max(rest, 1), overflow="ellipsis")
        table.add_row(*(row[at] for at in shown))
    return table


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(name), _cell(value))
    _print(table)


def moment(value: datetime | None) -> str:
    """Write a time for people: UTC, to the second."""
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%SZ}"


def short(digest: str | None) -> str:
    """Write the beginning of a digest."""
    return "" if not digest else digest[:12]


def short_arn(arn: str) -> str:
    """Write the part of an ARN that names who it is: `assumed-role/deploy/ann`."""
    return arn.rpartition(":")[2]


def age(duration: timedelta) -> str:
    """Write for how long something has been so: its two largest units."""
    seconds = max(int(duration.total_seconds()), 0)
    for unit, size, next_unit, next_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // next_size
            return f"{seconds // size}{unit}{rest}{next_unit}" if rest else f"{seconds // size}{unit}"
    return f"{seconds}s"


def size(count: int | None) -> str:
    """Write bytes for people: three digits and a unit."""
    if count is None:
        return ""
    for exponent, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count >= 1024**exponent:
            return f"{count / 1024**exponent:.1f} {unit}"
    return f"{count} bytes"


def terminal() -> Console | None:
    """Give the terminal that a person watches; None where there is none, or one without a cursor to move."""
    console = _console()
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _console() -> Console:
    """Give where results go; where nobody watches, lines are as long as they are, without colours."""
    is_watched = sys.stdout.isatty()
    return Console(
        file=sys.stdout, highlight=False, markup=False, emoji=False, width=None if is_watched else UNLIMITED_WIDTH
    )


def _print(table: Table, console: Console | None = None) -> None:
    """Print a table; folding only where a person watches, and no line ends in blanks."""
    console = console or _console()
    with console.capture() as capture:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")))


def _cell(value: object) -> Text:
    text = moment(value) if isinstance(value, datetime) else printable(value)
    return Text(text or "-", style=_STYLES.get(text, ""))
