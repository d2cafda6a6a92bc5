"""The fleet at a glance: `get` without a job, and `top`."""

import io
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.cli.context import Session
from flink_controller.cli.fleet import watch
from flink_controller.cli.output import age, fitted
from flink_controller.domain.errors import TransientError
from flink_controller.domain.status import DesiredState, EndState, Incident, JobType
from tests.unit.cli.bench import SPEC, Bench
from tests.unit.domain.reported_samples import condition, dead, ref, status


def put(bench: Bench, job_id: str, *, since_s: int = 60, is_ready: bool = True, **fields: Any) -> None:
    """Record a job that has been ready, or not, for a while."""
    ready = condition("Ready", "True" if is_ready else "False", fields.pop("reason", "Stable"), fields.pop("message", ""))
    at = bench.clock.now() - timedelta(seconds=since_s)
    given = {"conditions": (ready.model_copy(update={"last_transition_time": at}),), **fields}
    bench.put_status(status(job_id=job_id, **given))


@pytest.fixture
def fleet(bench: Bench) -> Bench:
    """Give a fleet with a job in every kind of trouble."""
    put(bench, "web", since_s=90_000)
    put(bench, "data/etl", since_s=3_700, incidents=(Incident(alert="backpressure"), Incident(alert="savepoint-failed")))
    put(
        bench,
        "data/broken",
        since_s=30,
        is_ready=False,
        reason="JobFailed",
        message="no such table",
        halted="no such table",
        halt_reason="JobFailed",
        attempt=dead(EndState.FAILED),
    )
    put(bench, "data/new", since_s=5, is_ready=False, reason="NoFreeSlots", message="2 wanted", desired=ref(2))
    put(bench, "data/nightly", job_type=JobType.BATCH, attempt=None, running=None, stable=None)
    put(bench, "data/off", is_ready=False, reason="Suspended", desired_state=DesiredState.SUSPENDED, attempt=dead())
    return bench


LISTED = """\
JOB           TYPE    STATE      READY  REVISION   CLUSTER  SINCE  MESSAGE
data/broken   stream  FAILED     no     none -> 1  default  30s    JobFailed: no such table
data/etl      stream  STABLE     yes    1          default  1h1m   backpressure, savepoint-failed
data/new      stream  UPGRADING  no     1 -> 2     default  5s     NoFreeSlots: 2 wanted
data/nightly  batch   STABLE     yes    1          default  1m     -
data/off      stream  SUSPENDED  no     1          default  1m     -
web           stream  STABLE     yes    1          default  1d1h   -
"""


def names(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines()[1:]]


def test_the_list_is_one_line_a_job_by_namespace_with_what_is_wrong(fleet: Bench) -> None:
    assert fleet.run("get").out == LISTED
    assert fleet.run("get", "-A").out == LISTED


def test_a_job_that_nobody_looked_at_yet_is_listed_too(fleet: Bench) -> None:
    fleet.specs.put("data/a", {**SPEC, "job_id": "data/a"})

    assert fleet.run("get").out.splitlines()[1].split() == (
        [
            "data/a",
            "stream",
            "CREATED",
            "no",
            "-",
            "-",
            "-",
            "the",
            "controller",
            "has",
            "not",
            "looked",
            "at",
            "this",
            "item",
            "yet",
        ]
    )


def test_the_wide_list_has_alerts_and_flinks_name_of_the_job(fleet: Bench) -> None:
    heading, *lines = fleet.run("get", "-o", "wide", "-n", "data").out.splitlines()

    assert heading.split()[-1] == "MESSAGE"
    assert ("ALERTS" in heading, "FLINK JOB" in heading) == (True, True)
    assert f"{1:032x}" in lines[1]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["-n", "default"], ["web"]),
        (["-n", "data", "--state", "failed", "--state", "UPGRADING"], ["data/broken", "data/new"]),
        (["-l", "team=payments"], ["data/etl"]),
        (["-l", "team=payments", "-l", "tier=1"], []),
        (["-n", "nobody"], []),
    ],
)
def test_the_list_can_be_narrowed(fleet: Bench, asked: list[str], found: list[str]) -> None:
    fleet.specs.put("data/etl", {**SPEC, "job_id": "data/etl", "labels": {"team": "payments"}})
    fleet.specs.put("web", {**SPEC, "job_id": "web", "labels": "rubbish"})

    table = fleet.run("get", *asked)

    assert table.status == 0
    assert names(table.out) == found if found else table.out == "no such jobs; flinkctl get lists all\n"
    assert fleet.run("get", *asked, "-o", "name").out.split() == found
    assert [one["job_id"] for one in fleet.run("get", *asked, "-o", "json").json["items"]] == found


@pytest.mark.parametrize(
    "wrong", [["-A", "-n", "x"], ["web", "-n", "x"], ["-l", "team"], ["--state", "GOOD"], ["web", "--state", "failed"]]
)
def test_a_list_that_makes_no_sense_is_wrong_usage(fleet: Bench, wrong: list[str]) -> None:
    assert fleet.run("get", *wrong).status == 2


def test_one_job_can_be_asked_for_in_each_format(fleet: Bench) -> None:
    assert fleet.run("get", "web", "-o", "name").out == "web\n"
    assert fleet.run("get", "web", "-o", "wide").out == fleet.run("get", "web").out


def test_a_long_fleet_is_read_in_few_reads_whatever_the_format(bench: Bench) -> None:
    for number in range(250):
        put(bench, f"n/job-{number:03}")

    for output in ("table", "wide", "name", "json"):
        before = bench.statuses.reads
        assert bench.run("get", "-o", output).status == 0
        assert bench.statuses.reads - before <= 2, output


# top


def test_top_prints_once_where_nobody_watches_what_is_urgent_first(fleet: Bench) -> None:
    figures, empty, *table = fleet.run("top").out.splitlines()

    assert figures.endswith(" UTC  6 jobs, 3 ready: 3 STABLE, 1 UPGRADING, 1 SUSPENDED, 1 FAILED")
    assert empty == ""
    assert names("\n".join(table)) == ["data/broken", "data/etl", "data/new", "data/nightly", "data/off", "web"]
    assert names("\n".join(fleet.run("top", "-n", "default").out.splitlines()[2:])) == ["web"]


def test_top_names_the_clusters_that_do_not_answer_and_leaves_out_what_was_deleted(bench: Bench) -> None:
    away = condition("ClusterReachable", "False", "ClusterUnreachable")
    put(bench, "etl", conditions=(condition("Ready", "Unknown"), away))
    put(bench, "gone", desired_state=DesiredState.DELETED, attempt=None, running=None)

    _, clusters, _, *table = bench.run("top").out.splitlines()

    assert clusters == "no answer from cluster default (1 jobs)"
    assert names("\n".join(table)) == ["etl"]


def test_top_of_nothing_says_how_to_begin(bench: Bench) -> None:
    assert bench.run("top").out.endswith("no jobs on record; flinkctl apply -f FILE creates one\n")


class Impatient:
    """A clock whose owner presses Ctrl-C after some looks; time passes at each."""

    def __init__(self, bench: Bench, looks: int) -> None:
        self._bench, self._left = bench, looks

    def now(self) -> datetime:
        return self._bench.clock.now()

    def sleep(self, duration: timedelta) -> None:
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        self._bench.clock.advance(duration)


def watched(bench: Bench, *, looks: int, width: int = 100, height: int = 20) -> str:
    """Watch for some looks, and give all that the terminal got."""
    screen = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, color_system=None)
    session = Session(bench.remote, Impatient(bench, looks), SignatureVerifier())
    watch(session, screen, timedelta(seconds=5))
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_top_looks_again_until_somebody_interrupts(fleet: Bench) -> None:
    seen = watched(fleet, looks=3)

    assert seen.count("6 jobs, 3 ready") == 3
    assert [line.split()[3] for line in seen.splitlines() if "data/broken" in line] == ["30s", "35s", "40s"]
    assert "Ctrl-C ends" in seen


def test_top_shows_what_fits_and_counts_the_rest(bench: Bench) -> None:
    for number in range(30):
        put(bench, f"job-{number:02}")
    put(bench, "sick", incidents=(Incident(alert="stuck"),))

    seen = watched(bench, looks=1, height=10)

    assert "sick" in seen
    assert "and 27 more, none of them more urgent" in seen


def test_top_goes_on_when_a_read_fails_but_not_the_first(fleet: Bench) -> None:
    summaries, turns = fleet.statuses.summaries, iter([False, True, False])

    def flaky() -> Any:
        if next(turns):
            raise TransientError("query the state table: no answer from AWS")
        return summaries()

    fleet.statuses.summaries = flaky  # type: ignore[method-assign]  # a read that fails now and then

    assert "as of the last look that was answered: query the state table" in watched(fleet, looks=3)

    turns = iter([True])
    with pytest.raises(TransientError):
        watched(fleet, looks=1)


# layout


def drawn(width: int, *rows: Mapping[str, str]) -> list[str]:
    columns = ("JOB", "TYPE", "CLUSTER", "MESSAGE")
    screen = Console(file=io.StringIO(), width=width, color_system=None)
    cells = [[row.get(column, "") for column in columns] for row in rows]
    screen.print(fitted(columns, cells, width=width, optional=("TYPE", "CLUSTER")))
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("width", "heading", "line"),
    [
        (100, "JOB  TYPE    CLUSTER  MESSAGE", "etl  stream  default  the table is not there, or may not be read"),
        (48, "JOB  TYPE    CLUSTER  MESSAGE", "etl  stream  default  the table is not there, o…"),
        (40, "JOB  CLUSTER  MESSAGE", "etl  default  the table is not there, o…"),
        (30, "JOB  MESSAGE", "etl  the table is not there, …"),
        (15, "JOB  MESSAGE", "etl  the table…"),
    ],
)
def test_a_narrow_terminal_gets_one_line_a_row(width: int, heading: str, line: str) -> None:
    row = {"JOB": "etl", "TYPE": "stream", "CLUSTER": "default", "MESSAGE": "the table is not there, or may not be read"}

    assert drawn(width, row) == [heading, line]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0s"), (59, "59s"), (60, "1m"), (3_599, "59m59s"), (3_600, "1h"), (90_000, "1d1h"), (86_400 * 40, "40d")],
)
def test_an_age_has_its_two_largest_units(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text
