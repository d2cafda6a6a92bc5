"""Hundreds of real jobs for an hour, changed at random and hurt now and then: does everything end as it was asked for?

The whole stack from the outside: the template deployed in the emulator, whose own clocks and streams wake the functions, and
a real Flink with two TaskManagers of which one is killed in turn. `python -m tests.bench.soak` prints a line every half
minute, keeps the counts as JSON under docs/performance/, and ends with 1 if something is not as it should be.
"""

import os
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import JobStatus
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.stack import LocalStack
from tests.bench.ground import keep
from tests.e2e.conftest import Team, free_port

ARTIFACTS: Final = ("v1", "v2")
TASKMANAGERS: Final = 2
SPARE_SLOTS: Final = 24
"""For green copies, and for jobs whose old copy is not gone yet."""
REPORT_S: Final = 30.0
SETTLE_S: Final = 900.0
"""Longest time after the last change until all is as asked for: what a tick, a backoff and a deadline of five minutes need."""
BLUE_GREEN_OF: Final = 5
"""Every fifth job is upgraded blue-green; of all others two copies are never seen."""
ROOM_MIB: Final = 24
"""By how much a function's process may grow between the second quarter and the last: what one more large answer leaves."""
WATCHED: Final = ("reconcile_job", "reconcile_fleet", "admit_artifact")
ENDS: Final = {"running": Lifecycle.STABLE, "suspended": Lifecycle.SUSPENDED}


@dataclass
class Counts:
    """What was done to the fleet, and what was seen."""

    changes: Counter[str] = field(default_factory=Counter)
    taskmanagers_killed: int = 0
    looks_at_flink: int = 0
    copies: list[str] = field(default_factory=list)
    """Moments at which a job had more live copies than it may."""
    memory_mib: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in WATCHED})
    """The largest process of a function, every half minute."""


class Fleet:
    """The jobs, what is wanted of each, and what they are."""

    def __init__(self, team: Team, jobs: int, draw: random.Random) -> None:
        self.team, self.draw, self.counts = team, draw, Counts()
        self.names = [f"soak-{number:04}" for number in range(jobs)]
        self.wanted: dict[str, dict[str, Any] | None] = {}
        self._turn = 0
        dynamodb = team.stack.aws.client("dynamodb")
        self._statuses = DynamoStatusStore(dynamodb, team.environ["FLINKCTL_CONTROLLER_STATE_TABLE_NAME"])

    def spec(self, name: str, **changes: Any) -> dict[str, Any]:
        """Give another spec of a job."""
        self._turn += 1
        is_blue_green = self.names.index(name) % BLUE_GREEN_OF == 0
        return {
            "job_id": name,
            "job_type": "stream",
            "artifact_path": f"artifacts/soak-{self.draw.choice(ARTIFACTS)}.jar",
            "args": ["--rate", "2", "--turn", str(self._turn)],
            "deployment": {
                "checkpoint_interval": 30_000,
                "upgrade_mode": "blue-green" if is_blue_green else self.draw.choice(("savepoint", "last-state")),
                "rollback": {"stabilization_seconds": 1, "deadline_seconds": 600},
            },
            **changes,
        }

    def put(self, name: str, item: dict[str, Any] | None) -> None:
        """Write or remove a spec."""
        if item is None:
            self.team.remove(name)
        else:
            self.team.put(item)
        self.wanted[name] = item

    def change(self) -> None:
        """Change one job in some way."""
        name = self.draw.choice(self.names)
        item = self.wanted[name]
        after: dict[str, Any] | None
        if item is None:
            kind, after = "write again", self.spec(name)
        elif item.get("state") == "suspended":
            kind, after = "resume", {**item, "state": "running"}
        else:
            kind = self.draw.choice(("upgrade", "upgrade", "upgrade", "restart", "suspend", "delete"))
            self._turn += 1
            restarted = {**item, "deployment": {**item["deployment"], "restart_nonce": str(self._turn)}}
            kinds: Mapping[str, dict[str, Any] | None] = {
                "upgrade": self.spec(name),
                "restart": restarted,
                "suspend": {**item, "state": "suspended"},
                "delete": None,
            }
            after = kinds[kind]
        self.put(name, after)
        self.counts.changes[kind] += 1

    def live(self) -> dict[str, list[str]]:
        """List the live Flink jobs of each job, and note who has too many."""
        found: dict[str, list[str]] = {}
        for job in self.team.flink_jobs():
            found.setdefault(job["name"], []).append(job["jid"])
        self.counts.looks_at_flink += 1
        for name, copies in found.items():
            allowed = 2 if name in self.names and self.names.index(name) % BLUE_GREEN_OF == 0 else 1
            if len(copies) > allowed:
                self.counts.copies.append(f"{name}: {', '.join(sorted(copies))}")
        return found

    def astray(self) -> dict[str, str]:
        """Say of each job that is not as wanted what it is instead."""
        live, statuses = self.live(), self._statuses.read_many(self.names)
        told = {name: _difference(self.wanted[name], statuses.get(name), live.get(name, [])) for name in self.names}
        return {name: text for name, text in told.items() if text is not None}

    def lifecycles(self) -> Counter[str]:
        """Count jobs by their state."""
        return Counter(lifecycle(status).value for status in self._statuses.read_many(self.names).values())

    def measure(self) -> None:
        """Note the memory of the functions' processes."""
        for function, values in self.counts.memory_mib.items():
            sizes = [_resident_mib(pid) for pid in self.team.stack.aws.worker_pids(function)]
            if sizes:
                values.append(round(max(sizes), 1))


def _difference(wanted: dict[str, Any] | None, status: JobStatus | None, live: list[str]) -> str | None:
    if status is None:
        return "has no status"
    end = Lifecycle.DELETED if wanted is None else ENDS[wanted.get("state", "running")]
    expected = {status.attempt.flink_job_id} if end is Lifecycle.STABLE and status.attempt is not None else set()
    if lifecycle(status) is not end:
        return f"is {lifecycle(status).value}, not {end.value}: {status.waiting}"
    if wanted is not None and status.observed_spec_hash != hash_item(wanted):
        return "has not seen its newest spec"
    if set(live) != expected or len(live) != len(expected):
        return f"runs as {live}, and its status says {sorted(expected)}"
    return None


def _resident_mib(pid: int) -> float:
    try:
        pages = int((Path("/proc") / str(pid) / "statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth_mib(values: list[float]) -> float:
    """Give by how much the median of the last quarter exceeds that of the second one: the first one warms up."""
    quarter = len(values) // 4
    if quarter == 0:
        return 0.0
    return round(statistics.median(values[-quarter:]) - statistics.median(values[quarter : 2 * quarter]), 1)


@contextmanager
def running_team(jobs: int) -> Iterator[Team]:
    """Start a stack of its own, large enough."""
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        environ = {
            **os.environ,
            "LOCAL_DIR": f"{name}/stack",
            "AWS_PORT": str(free_port()),
            "FLINK_REST_PORT": str(free_port()),
            # Either TaskManager can take all jobs.
            "FLINK_SLOTS": str(jobs + SPARE_SLOTS),
            "FLINK_HEAP_MB": str(768 + 3 * jobs),
            "FLINK_STATE": "file",
        }
        stack = LocalStack(LocalSettings.from_env(environ), environ, Progress())
        try:
            stack.up()
            flink = stack.start_flink()
            for number in range(1, TASKMANAGERS):
                flink.start_taskmanager(number)
            yield Team(stack, flink, Path(name))
        finally:
            stack.down()


def soak(fleet: Fleet, *, seconds: float, change_every: float, kill_every: float) -> None:
    """Change and hurt the fleet for so long."""
    began = time.monotonic()
    next_change, next_report, next_kill = began, began, began + kill_every
    victims = cycle(range(TASKMANAGERS))
    while (now := time.monotonic()) < began + seconds:
        if now >= next_change:
            fleet.change()
            # As often as asked for on the average, and not in step with anything.
            next_change = now + fleet.draw.expovariate(1 / change_every)
        if now >= next_kill:
            victim = next(victims)
            fleet.team.flink.kill_taskmanager(victim)
            fleet.team.flink.start_taskmanager(victim)
            fleet.counts.taskmanagers_killed += 1
            next_kill = time.monotonic() + kill_every
        if now >= next_report:
            fleet.live()
            fleet.measure()
            report(fleet, f"{now - began:.0f} of {seconds:.0f} s")
            next_report = now + REPORT_S
        time.sleep(0.1)


def settle(fleet: Fleet, limit_s: float) -> dict[str, str]:
    """Wait until every job is as wanted; give those that are not when the time is over."""
    end = time.monotonic() + limit_s
    next_report = 0.0
    while astray := fleet.astray():
        if time.monotonic() > end:
            return astray
        if time.monotonic() >= next_report:
            report(fleet, f"settling, {len(astray)} not there yet")
            next_report = time.monotonic() + REPORT_S
        time.sleep(2)
    return {}


def report(fleet: Fleet, what: str) -> None:
    """Print a line of progress."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(fleet.lifecycles().items()))
    memory = ", ".join(f"{name} {values[-1]:.0f}" for name, values in fleet.counts.memory_mib.items() if values)
    typer.echo(f"soak: {what}; {fleet.counts.changes.total()} changes; {states}; MiB: {memory or 'none yet'}")


def waiting_messages(team: Team) -> dict[str, int]:
    """Count what lies in the queues of what failed."""
    sqs = team.stack.aws.client("sqs")
    found = {}
    for name in ("FOLLOW_UP_FAILURES", "STREAM_FAILURES", "INVOCATION_FAILURES"):
        url = team.environ[f"FLINKCTL_{name}_QUEUE_URL"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
        found[name.lower()] = int(attributes["ApproximateNumberOfMessages"])
    return found


def tables(found: Mapping[str, Any]) -> str:
    """Write what a soak came to as a table."""
    growth = ", ".join(f"`{name}` {mib:+.1f}" for name, mib in found["growth_mib"].items())
    changes = ", ".join(f"{count} {kind}" for kind, count in sorted(found["changes"].items()))
    rows = {
        "jobs, written at once and all stable after": f"{found['jobs']}, {found['deployed_s']} s",
        "changed for": f"{found['seconds']:.0f} s, one change every {found['change_every_s']:.0f} s",
        "changes": f"{sum(found['changes'].values())}: {changes}",
        "TaskManagers killed": found["taskmanagers_killed"],
        "after the last change, all as asked for after": f"{found['settled_s']} s",
        "looks at Flink that saw too many copies of a job": f"{len(found['copies'])} of {found['looks_at_flink']}",
        "growth of the functions' memory, second quarter to last, MiB": growth,
        "faults": len(found["faults"]),
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def main(
    jobs: Annotated[int, typer.Option(help="Jobs on the one cluster.")] = 300,
    seconds: Annotated[float, typer.Option(help="How long they are changed.")] = 3600,
    change_every: Annotated[float, typer.Option(help="Mean time between two changes, s.")] = 4,
    kill_every: Annotated[float, typer.Option(help="Time between two kills of a TaskManager, s.")] = 600,
    seed: Annotated[int, typer.Option(help="Of what is changed.")] = 1,
) -> None:
    """Run the soak, print the counts, keep the numbers."""
    with running_team(jobs) as team:
        fleet = Fleet(team, jobs, random.Random(seed))  # noqa: S311  # no secret
        for label in ARTIFACTS:
            team.upload_counter(f"artifacts/soak-{label}.jar", label)
        began = time.monotonic()
        for name in fleet.names:
            fleet.put(name, fleet.spec(name))
        late = settle(fleet, SETTLE_S + 2 * jobs)
        deployed_s = round(time.monotonic() - began)
        typer.echo(
            f"soak: {jobs} jobs written at once were all stable after {deployed_s} s" if not late else "soak: deploying"
        )
        if not late:
            soak(fleet, seconds=seconds, change_every=change_every, kill_every=kill_every)
            began = time.monotonic()
            late = settle(fleet, SETTLE_S)
        settled_s = round(time.monotonic() - began)
        failures = waiting_messages(team)
    growth = {name: growth_mib(values) for name, values in fleet.counts.memory_mib.items()}
    faults = [f"{name} {text}" for name, text in sorted(late.items())]
    faults += [f"two copies: {text}" for text in fleet.counts.copies]
    faults += [f"{count} messages in {queue}" for queue, count in failures.items() if count]
    faults += [f"{name} grew by {mib} MiB" for name, mib in growth.items() if mib > ROOM_MIB]
    measured = {
        "jobs": jobs,
        "seconds": seconds,
        "change_every_s": change_every,
        "kill_every_s": kill_every,
        "seed": seed,
        "deployed_s": deployed_s,
        "settled_s": settled_s,
        "growth_mib": growth,
        "faults": faults,
        **vars(fleet.counts),
    }
    keep("soak", measured)
    for fault in faults:
        typer.echo(f"  {fault}")
    typer.echo(
        f"soak: {fleet.counts.changes.total()} changes of {jobs} jobs ({dict(fleet.counts.changes)}),"
        f" {fleet.counts.taskmanagers_killed} TaskManagers killed, settled after {settled_s} s,"
        f" growth in MiB {growth}, {len(faults)} faults"
    )
    raise typer.Exit(1 if faults else 0)


if __name__ == "__main__":
    typer.run(main)
