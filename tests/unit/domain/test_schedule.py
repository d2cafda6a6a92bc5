import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flink_controller.domain.schedule import NAMED, TZDATA_VERSION, Schedule, parse

MINUTE = timedelta(minutes=1)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
CLOCKS = [
    # Zone, and a day around which its clock was moved in a way of its own.
    ("Europe/Berlin", datetime(2026, 3, 29, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, tzinfo=UTC)),
    ("America/New_York", datetime(2027, 3, 14, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),  # by half an hour
    ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
    ("America/Sao_Paulo", datetime(2018, 11, 4, tzinfo=UTC)),  # skips midnight
    ("America/Sao_Paulo", datetime(2018, 2, 18, tzinfo=UTC)),  # repeats the hour before midnight
    ("Africa/Cairo", datetime(2026, 4, 24, tzinfo=UTC)),  # skips midnight
    ("America/Santiago", datetime(2026, 9, 6, tzinfo=UTC)),
    ("Pacific/Chatham", datetime(2026, 9, 26, tzinfo=UTC)),  # at 2:45
    ("Antarctica/Troll", datetime(2026, 3, 29, tzinfo=UTC)),  # by two hours
    ("Antarctica/Casey", datetime(2020, 10, 3, tzinfo=UTC)),  # by three hours
    ("Africa/Casablanca", datetime(2026, 2, 15, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, tzinfo=UTC)),  # skips a day
    ("Asia/Kathmandu", datetime(2026, 6, 1, tzinfo=UTC)),
    ("UTC", datetime(2028, 2, 29, tzinfo=UTC)),
]


@cache
def wall_clock(zone: str, begin: datetime, minutes: int) -> list[datetime]:
    known = parse("* * * * *", zone).zone
    return [(begin + step * MINUTE).astimezone(known).replace(tzinfo=None) for step in range(minutes)]


def member(field: str, value: int, lowest: int, highest: int, names: list[str]) -> bool:
    """A second reading of cron's manual page, one value at a time."""
    for term in field.split(","):
        body, _, step = term.partition("/")
        for number, name in enumerate(names):
            body = re.sub(name, str(number + (1 if highest == 12 else 0)), body, flags=re.IGNORECASE)
        begin, _, end = body.partition("-")
        first = lowest if body == "*" else int(begin)
        last = highest if body == "*" or (step and not end) else int(end or begin)
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


class Matcher:
    def __init__(self, expression: str) -> None:
        minute, hour, day, month, weekday = expression.split()
        self.minutes = {value for value in range(60) if member(minute, value, 0, 59, [])}
        self.hours = {value for value in range(24) if member(hour, value, 0, 23, [])}
        self.days = {value for value in range(1, 32) if member(day, value, 1, 31, [])}
        self.months = {value for value in range(1, 13) if member(month, value, 1, 12, MONTHS)}
        self.weekdays = {value % 7 for value in range(8) if member(weekday, value, 0, 7, DAYS)}
        self.needs_both = day.startswith("*") or weekday.startswith("*")

    def __call__(self, wall: datetime) -> bool:
        if wall.minute not in self.minutes or wall.hour not in self.hours or wall.month not in self.months:
            return False
        is_day, is_weekday = wall.day in self.days, wall.isoweekday() % 7 in self.weekdays
        return (is_day and is_weekday) if self.needs_both else (is_day or is_weekday)


def by_brute_force(expression: str, zone: str, begin: datetime, minutes: int) -> Iterator[datetime]:
    """Watch the clock minute by minute, as cron itself does: skipped times at once, repeated ones not again."""
    walls, matches = wall_clock(zone, begin, minutes), Matcher(expression)
    is_fixed = not expression.split(maxsplit=1)[0].startswith("*") and not expression.split()[1].startswith("*")
    reached = walls[0]
    for step, wall in enumerate(walls[1:], start=1):
        if is_fixed:
            passed = (reached + skipped * MINUTE for skipped in range(1, (wall - reached) // MINUTE + 1))
            is_due, reached = any(matches(time) for time in passed), max(reached, wall)
        else:
            is_due = matches(wall)
        if is_due:
            yield begin + step * MINUTE


def numbers(lowest: int, highest: int) -> st.SearchStrategy[str]:
    one = st.integers(lowest, highest)
    pair = st.tuples(one, one).map(sorted).map(lambda ends: f"{ends[0]}-{ends[1]}")
    step = st.integers(1, highest + 3)
    stepped = st.tuples(pair | st.just("*"), step).map(lambda parts: f"{parts[0]}/{parts[1]}")
    return st.one_of(
        st.just("*"),
        one.map(str),
        pair,
        stepped,
        st.lists(one, min_size=2, max_size=4).map(lambda found: ",".join(map(str, found))),
    )


def expressions() -> st.SearchStrategy[str]:
    minute = numbers(0, 59) | st.sampled_from(["0", "30", "15,45", "*/15", "59"])
    hour = numbers(0, 23) | st.sampled_from(["0", "1", "2", "2,3", "0-3", "*/2", "23"])
    day = st.just("*") | numbers(1, 28)
    month = st.just("*") | st.sampled_from(["MAR,oct", "1-12/2", "*/3"])
    weekday = st.just("*") | numbers(0, 7) | st.sampled_from(["SUN", "mon-fri", "7"])
    return st.tuples(minute, hour, day, month, weekday).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(expressions(), st.sampled_from(CLOCKS))
@example("5-5/2 * * * *", CLOCKS[0])
@example("45 * * * *", CLOCKS[4])
@example("*/30 0 * * *", CLOCKS[6])
@example("0 9 * * *", CLOCKS[14])
@example("15 1,2 * * *", CLOCKS[3])
@example("*/7 1 * * *", CLOCKS[3])
def test_every_instant_around_a_change_of_the_clock_is_the_one_that_a_watcher_sees(
    expression: str, clock: tuple[str, datetime]
) -> None:
    zone, day = clock
    begin, minutes = day - timedelta(days=2), 4 * 24 * 60

    expected = list(by_brute_force(expression, zone, begin, minutes))

    assert list(parse(expression, zone).fires(begin, begin + (minutes - 1) * MINUTE)) == expected


@pytest.mark.parametrize("zone", ["Australia/Lord_Howe", "Africa/Casablanca"])
@pytest.mark.parametrize("expression", ["0,30 */6 1-7 * MON", "15 0,2 13 * 5"])
def test_years_of_instants_are_the_ones_that_a_watcher_sees(expression: str, zone: str) -> None:
    begin, minutes = datetime(2027, 1, 1, tzinfo=UTC), 425 * 24 * 60

    expected = list(by_brute_force(expression, zone, begin, minutes))

    assert list(parse(expression, zone).fires(begin, begin + (minutes - 1) * MINUTE)) == expected


@settings(max_examples=60, deadline=None)
@given(expressions(), st.sampled_from(CLOCKS), st.integers(0, 3 * 24 * 60), st.integers(1, 12))
def test_the_latest_instants_are_the_end_of_all(expression: str, clock: tuple[str, datetime], late: int, limit: int) -> None:
    schedule, begin = parse(expression, clock[0]), clock[1] - timedelta(days=1)
    until = begin + late * MINUTE

    expected = tuple(schedule.fires(begin, until))[-limit:]

    assert schedule.latest(begin, until, limit) == expected


@given(expressions(), st.sampled_from(CLOCKS))
@settings(max_examples=30, deadline=None)
def test_the_next_instant_after_the_previous_one_is_the_instant_itself(expression: str, clock: tuple[str, datetime]) -> None:
    schedule = parse(expression, clock[0])
    found = schedule.next_fire(clock[1])
    assert found is not None

    before = schedule.previous_fire(found)

    assert before is not None
    assert schedule.next_fire(before) == found


def fires(cron: str, zone: str, after: datetime, count: int) -> list[str]:
    schedule, found = parse(cron, zone), []
    for _ in range(count):
        instant = schedule.next_fire(after)
        assert instant is not None
        found.append(f"{instant:%d %H:%M}")
        after = instant
    return found


def test_a_time_that_the_clock_skips_is_due_right_after_the_gap() -> None:
    assert fires("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["29 01:00", "30 00:30"]


def test_a_time_that_the_clock_repeats_is_due_once() -> None:
    assert fires("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["25 00:30", "26 01:30"]


def test_a_wildcard_follows_the_clock_through_the_repeated_hour() -> None:
    found = fires("*/30 * * * *", "Europe/Berlin", datetime(2026, 10, 24, 23, 59, tzinfo=UTC), 4)

    assert found == ["25 00:00", "25 00:30", "25 01:00", "25 01:30"]


def test_the_quarter_past_that_a_shift_by_half_an_hour_leaves_is_not_missed() -> None:
    # At 2:00 the clock of Lord Howe goes on at 2:30: 2:45 is there, 2:15 is not.
    found = fires("15,45 * * * *", "Australia/Lord_Howe", datetime(2026, 10, 3, 15, 0, tzinfo=UTC), 3)

    assert found == ["03 15:15", "03 15:45", "03 16:15"]


def test_a_day_of_the_month_or_a_day_of_the_week() -> None:
    # Friday the 4th, then the 13th (a Sunday).
    assert fires("0 0 13 * FRI", "UTC", datetime(2026, 9, 3, tzinfo=UTC), 3) == ["04 00:00", "11 00:00", "13 00:00"]


def test_names_stand_for_expressions() -> None:
    assert {name: parse(name).expression for name in NAMED} == dict(NAMED)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 0 2 * * *", "has 6 fields; write five"),
        ("0 0 2 * * * 2027", "has 7 fields; write five"),
        ("0 2 * *", "has 4 fields"),
        ("", "has 0 fields"),
        ("0 24 * * *", "hour: '24' is not understood; it takes 0-23"),
        ("61 * * * *", "minute: '61'"),
        ("0 0 * * FRI-MON", "day-of-week: 'FRI-MON'"),
        ("0 0 ? * *", "day-of-month: '?'"),
        ("0 0 * FOO *", "month: 'FOO'"),
        ("*/0 * * * *", "minute: '*/0'"),
        ("0 0 30 2 *", "never matches"),
        ("0 0 31 4,6,9,11 *", "never matches"),
        ("@reboot", "is no name of a schedule"),
        ("\x00 * * * *", "is not understood"),
    ],
)
def test_what_is_no_schedule_is_refused_with_its_reason(cron: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(cron)


@pytest.mark.parametrize("zone", ["Europe/Berln", "CEST", "+02:00", "../zones", "/etc/passwd", "", "europe/berlin"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match=f"is no time zone of tzdata {TZDATA_VERSION}"):
        parse("@daily", zone)


def test_a_zone_with_a_slip_is_guessed() -> None:
    with pytest.raises(ValueError, match=r"did you mean Europe/Berlin\?"):
        parse("@daily", "Europe/Berln")


@given(st.text(alphabet="0123456789*/,-#LW?@ abcSUNJAN\t", max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_schedule_or_refused(cron: str) -> None:
    try:
        found = parse(cron)
    except ValueError:
        return
    assert isinstance(found, Schedule)
    assert found.next_fire(datetime(2026, 1, 1, tzinfo=UTC)) is not None
