"""When a batch job is due: a cron expression in a time zone, read as Debian's cron reads it.

cronsim parses the expression and walks through the local times that match it. Which instants these are is decided here,
because cronsim's own walk through a zone misses instants where a clock moves by half an hour or at midnight:

- A *fixed-time* expression (neither minute nor hour begins with `*`) names a local time. One that the clock skips is due
  when the clock goes on; one that the clock repeats is due the first time only.
- A *wildcard* expression follows the clock: a local time that is skipped is not due, one that is repeated is due twice.

The time zones are those of the pinned tzdata package, whatever the machine has.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from typing import Final, cast
from zoneinfo import ZoneInfo

import tzdata
from cronsim import CronSim, CronSimError
from cronsim.cronsim import Field

FIELDS: Final = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L for the last",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 or SUN-SAT",
}
"""The fields of an expression in order, with what they may hold beside `*`, lists, ranges and steps."""
NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
TZDATA_VERSION: Final[str] = tzdata.IANA_VERSION
_LONGEST_SHIFT: Final = timedelta(hours=26)
"""More than any clock was ever moved by, the date line included."""
_LOOK_BACK: Final = (timedelta(hours=1), timedelta(days=1), timedelta(days=32), timedelta(days=366), timedelta(days=366 * 9))
"""Steps of the search for earlier instants; nine years hold a 29th of February, whatever the century."""


@dataclass(frozen=True)
class Schedule:
    """A valid expression in a known zone. Made by `parse`."""

    expression: str
    """Five fields."""
    zone: ZoneInfo

    @property
    def is_fixed_time(self) -> bool:
        """Whether it names a local time, rather than following the clock."""
        minute, hour, *_ = self.expression.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def next_fire(self, after: datetime) -> datetime | None:
        """Give the first instant after another, in UTC; None when there is none for decades."""
        # Where the clock is about to go back, a later instant can have an earlier local time.
        wall = min(self._wall(after), self._wall(after + _LONGEST_SHIFT) - _LONGEST_SHIFT)
        best: datetime | None = None
        for candidate in CronSim(self.expression, wall):
            first = _instant(candidate, self.zone)
            if best is not None and first >= best:
                break
            found = next((instant for instant in self._instants(candidate, first) if instant > after), None)
            if found is not None:
                best = found if best is None else min(best, found)
            if found is not None and found <= first:
                # Only a repeated local time can have an earlier one behind it.
                break
        return best

    def fires(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Give every instant after one and not after another, in order."""
        found = self.next_fire(after)
        while found is not None and found <= until:
            yield found
            found = self.next_fire(found)

    def latest(self, after: datetime, until: datetime, limit: int) -> tuple[datetime, ...]:
        """Give the last instants, at most `limit`, after one and not after another. Its cost does not grow with the time between."""
        found: tuple[datetime, ...] = ()
        for back in _LOOK_BACK:
            begin = max(after, until - back)
            found = tuple(self.fires(begin, until))[-limit:]
            if len(found) == limit or begin == after:
                break
        return found

    def previous_fire(self, before: datetime) -> datetime | None:
        """Give the last instant before another; None when there was none for years."""
        epoch, until = datetime.min.replace(tzinfo=UTC) + 2 * _LONGEST_SHIFT, before - timedelta(microseconds=1)
        return next(iter(self.latest(epoch, until, 1)), None)

    def _wall(self, instant: datetime) -> datetime:
        return instant.astimezone(self.zone).replace(tzinfo=None)

    def _instants(self, wall: datetime, first: datetime) -> tuple[datetime, ...]:
        """Say at which instants a local time that matches is due, in order; `first` is its first reading."""
        second = _instant(wall, self.zone, fold=1)
        if self._wall(first) != wall:
            return (_end_of_gap(self.zone, second, first),) if self.is_fixed_time else ()
        return (first,) if self.is_fixed_time or second == first else (first, second)


def parse(cron: str, timezone: str = "UTC") -> Schedule:
    """Read an expression and a zone's name.

    Raises:
        ValueError: one of them is wrong; the message says what to write.
    """
    return Schedule(parse_expression(cron), parse_zone(timezone))


@lru_cache(maxsize=1024)
def parse_expression(cron: str) -> str:
    """Give the five fields of an expression in use.

    Raises:
        ValueError: it is none, or never matches.
    """
    text = cron.strip()
    if text.startswith("@"):
        if text.lower() not in NAMED:
            raise ValueError(f"{cron!r} is no name of a schedule; write one of {', '.join(NAMED)}")
        return NAMED[text.lower()]
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"{cron!r} has {len(fields)} fields; write five: {' '.join(FIELDS)} (no seconds, no years)")
    expression = " ".join(fields)
    beginning = datetime(2000, 1, 1)  # noqa: DTZ001  # local time of no zone
    try:
        expression = " ".join(_plain(kind, text) for kind, text in zip(list(Field)[1:], fields, strict=True))
        if next(CronSim(expression, beginning), None) is None:
            raise ValueError(f"{cron!r} never matches: no such day comes in 50 years")
    except CronSimError as error:
        raise ValueError(_because(expression, str(error).removeprefix("Bad "))) from error
    return expression


@lru_cache(maxsize=1024)
def parse_zone(name: str) -> ZoneInfo:
    """Load a time zone from the tzdata package.

    Raises:
        ValueError: there is none of this name.
    """
    package = resources.files(tzdata)
    names = package.joinpath("zones").read_text().split()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{name!a} is no time zone of tzdata {TZDATA_VERSION}, such as Europe/Berlin or UTC{hint}")
    with package.joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _plain(field: Field, text: str) -> str:
    """Take the step off a range of one value, such as `5-5/2`: cronsim goes on stepping behind its end."""
    terms = []
    for term in text.upper().split(","):
        ends, slash, step = term.partition("/")
        is_one = "-" in ends and bool(slash) and step.isdecimal() and int(step) > 0 and len(field.parse(ends)) == 1
        terms.append(ends if is_one else term)
    return ",".join(terms)


def _because(expression: str, field: str) -> str:
    """Say which field is wrong, and what it may hold."""
    parts = dict(zip(FIELDS, expression.split(), strict=True))
    part = parts[field]
    try:
        CronSim(" ".join(part if name == field else "*" for name in FIELDS), datetime(2000, 1, 1))  # noqa: DTZ001
    except CronSimError:
        return f"{field}: {part!r} is not understood; it takes {FIELDS[field]}, *, lists, ranges and steps"
    return f"{expression!r} never matches: no such month has a day {part}"


def _instant(wall: datetime, zone: ZoneInfo, *, fold: int = 0) -> datetime:
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _end_of_gap(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Find the instant at which the clock goes on after a gap, between one before it and one after it."""
    offset = cast("timedelta", after.astimezone(zone).utcoffset())
    low, high = before, after
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
