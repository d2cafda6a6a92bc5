"""What the minute's tick costs for 100, 1,000 and 5,000 jobs: `make bench` prints it and keeps docs/performance/fleet.json.

Each tick is the real handler in a process of its own, on the AWS emulator and on Flink twins behind HTTP. One job is really
deployed; the others are copies of its records. Counts are exact whatever the machine does meanwhile; of the times, the
handler's own processor time is the one to compare, because the emulator is no DynamoDB.
"""

import io
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

import boto3
import typer
from boto3.dynamodb.types import TypeSerializer

from flink_controller.adapters.flink_rest import FlinkRest, FlinkRestConnections
from flink_controller.bootstrap import controller
from flink_controller.domain.actions import Submit
from flink_controller.domain.names import flink_job_id
from flink_controller.domain.observation import Accepted
from flink_controller.domain.spec import hash_item
from flink_controller.testing.jars import jar_bytes
from tests.bench.calls import FlinkCalls, invoke, wake
from tests.bench.ground import CHECKPOINT_INTERVAL_MS, CONTROLLER, SPECS, STATE, Ground, ground, keep, spec_item
from tests.bench.meter import Meter
from tests.bench.twins import served

SIZES: Final = (100, 1_000, 5_000)
JAR_BYTES: Final = jar_bytes()
TEMPLATE: Final = "job-00000"
WARM_TICKS: Final = 2
SETTLE_LIMIT_S: Final = 60.0
BUDGETS_S: Final = {1_000: 5.0, 5_000: 20.0}
"""Of a quiet tick, with one overview a cluster."""


@dataclass(frozen=True)
class Scenario:
    """One fleet, and what is the matter with it."""

    name: str
    jobs: int
    clusters: int = 1
    lost: int = 0
    """Jobs that somebody cancelled on Flink, behind the controller's back."""
    silent: int = 0
    """Clusters that take connections and do not answer."""


def scenarios(sizes: tuple[int, ...]) -> list[Scenario]:
    """Give all, the quiet ones first."""
    middle = sizes[min(1, len(sizes) - 1)]
    return [
        *(Scenario("quiet", jobs) for jobs in sizes),
        Scenario("1 % lost", middle, lost=middle // 100),
        Scenario("all lost", middle, lost=middle),
        Scenario("20 clusters, quiet", middle, clusters=20),
        Scenario("20 clusters, 1 silent", middle, clusters=20, silent=1),
        Scenario("20 clusters, 5 silent", middle, clusters=20, silent=5),
    ]


class Fleet:
    """Jobs that run, all alike, and what is recorded of them."""

    def __init__(self, ground: Ground, urls: list[str]) -> None:
        self.ground, self.urls = ground, urls
        self.names = [f"c{number:02d}" for number in range(len(urls))]
        self.gateways: list[FlinkRest] = []
        for name, url in zip(self.names, urls, strict=True):
            ground.add_cluster(name, url)
            found = ground.registry.cluster(name)
            assert found is not None
            self.gateways.append(FlinkRestConnections(is_local=True).connect(found))

    def deploy(self, jobs: int) -> None:
        """Bring one job to its end of looks by the handlers, and multiply it."""
        for event in self.ground.upload():
            invoke("admit_artifact", event)
        self.ground.put_spec(spec_item(TEMPLATE, cluster=self.names[0]))
        end = time.monotonic() + SETTLE_LIMIT_S
        while (status := self.ground.statuses.read(TEMPLATE)) is None or status.next_look is not None:
            if time.monotonic() > end:
                raise SystemExit(f"bench: the first job did not settle: {status}")
            wake(TEMPLATE)
            time.sleep(0.2)
        self._multiply(jobs)
        self.ground.drain()

    def _multiply(self, jobs: int) -> None:
        key = {"pk": {"S": f"JOB#{TEMPLATE}"}, "sk": {"S": "STATUS"}}
        template = self.ground.dynamodb.get_item(TableName=STATE, Key=key)["Item"]
        jars = [gateway.upload_jar("bench.jar", io.BytesIO(JAR_BYTES), len(JAR_BYTES)).jar_id for gateway in self.gateways]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: self._submit(number, jars), range(1, jobs)))
        time.sleep(1)
        # When a job last changed its state is recorded, so that a restart shows; the copies' own times must be in there.
        changed = {job.flink_job_id: job.modified_ms for gateway in self.gateways for job in gateway.jobs()}
        original = flink_job_id(CONTROLLER, TEMPLATE, 1)
        specs: list[Mapping[str, Any]] = []
        statuses: list[dict[str, Any]] = []
        for number in range(1, jobs):
            job_id, cluster = f"job-{number:05d}", self.names[number % len(self.names)]
            spec = spec_item(job_id, cluster=cluster)
            specs.append(TypeSerializer().serialize(spec)["M"])
            changes = {
                TEMPLATE: job_id,
                original: (copy := flink_job_id(CONTROLLER, job_id, 1)),
                f'"modified_ms":{changed[original]}': f'"modified_ms":{changed[copy]}',
                f'"cluster":"{self.names[0]}"': f'"cluster":"{cluster}"',
                hash_item(spec_item(TEMPLATE, cluster=self.names[0])): hash_item(spec),
            }
            statuses.append({name: _replaced(value, changes) for name, value in template.items()})
        self.ground.put_all(SPECS, specs)
        self.ground.put_all(STATE, statuses)

    def _submit(self, number: int, jars: list[str]) -> None:
        at = number % len(self.gateways)
        answer = self.gateways[at].submit(
            Submit(
                flink_job_id=flink_job_id(CONTROLLER, f"job-{number:05d}", 1),
                jar_id=jars[at],
                entry_class=None,
                args=(),
                parallelism=1,
                restore_from=None,
                allow_non_restored_state=False,
                configuration={"execution.checkpointing.interval": f"{CHECKPOINT_INTERVAL_MS} ms"},
            )
        )
        assert isinstance(answer, Accepted), answer

    def lose(self, count: int) -> None:
        """Cancel jobs on Flink, as somebody else would."""
        for number in range(1, count + 1):
            name = f"job-{number:05d}"
            self.gateways[number % len(self.gateways)].cancel(flink_job_id(CONTROLLER, name, 1))
        time.sleep(1)

    def silence(self, url: str, count: int) -> None:
        """Have clusters answer nothing any more: their address leads to something that takes connections only."""
        for name in self.names[:count]:
            self.ground.add_cluster(name, url)


def _replaced(value: dict[str, Any], changes: dict[str, str]) -> dict[str, Any]:
    if "S" not in value:
        return value
    text = value["S"]
    for before, after in changes.items():
        text = text.replace(before, after)
    return {"S": text}


@contextmanager
def silent_address() -> Iterator[str]:
    """Give an address that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def tick() -> None:
    """Run ticks in this process: print what each took, as JSON. The first one is that of a cold function."""
    boto3.setup_default_session()
    meter, flink = Meter(boto3.session.Session().client("dynamodb")), FlinkCalls()
    session = boto3.DEFAULT_SESSION
    assert session is not None
    meter.listen(session.events)
    flink.listen()
    ticks = []
    for _ in range(1 + WARM_TICKS):
        meter.reset()
        flink.counts.clear()
        began, busy = time.perf_counter(), time.process_time()
        answer = invoke("reconcile_fleet", {})
        ticks.append(
            {
                "wall_s": round(time.perf_counter() - began, 3),
                "cpu_s": round(time.process_time() - busy, 3),
                "woken": answer["woken"],
                "unreachable": len(answer["unreachable"]),
                **meter.figures(),
                "flink_calls": dict(sorted(flink.counts.items())),
            }
        )
    peak_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print("BENCH", json.dumps({"peak_mib": peak_mib, "cold": ticks[0], "warm": ticks[1:]}))  # noqa: T201


def measure(scenario: Scenario) -> dict[str, Any]:
    """Set a fleet up and give what its ticks took."""
    with ground() as at, served(scenario.clusters) as urls, silent_address() as silence:
        os.environ.update(at.environ())
        controller.cache_clear()
        fleet = Fleet(at, urls)
        fleet.deploy(scenario.jobs)
        fleet.lose(scenario.lost)
        fleet.silence(silence, scenario.silent)
        command = [sys.executable, "-m", "tests.bench.fleet", "--tick"]
        done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith("BENCH ")), None)
        if line is None:
            raise SystemExit(f"bench: the tick of {scenario} failed: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(line.removeprefix("BENCH "))
        return {"scenario": scenario.name, "jobs": scenario.jobs, "clusters": scenario.clusters, **found}


def shown(found: dict[str, Any]) -> str:
    """Write one line about a scenario."""
    best = min(found["warm"], key=lambda tick: tick["wall_s"])
    calls = sum(best["aws_calls"].values())
    flink = sum(best["flink_calls"].values())
    lists = best["flink_calls"].get("GET /jobs/overview", 0)
    return (
        f"{found['scenario']:24} jobs {found['jobs']:5} clusters {found['clusters']:2}: wall {best['wall_s']:6.2f} s"
        f"  cpu {best['cpu_s']:5.2f} s  lists {lists:2}  Flink calls {flink:3}  AWS calls {calls:4}"
        f"  read units {best['read_units']:6.1f}  writes {best['writes']}  woken {best['woken']:4}  peak {found['peak_mib']} MiB"
    )


def tables(found: Mapping[str, Any]) -> str:
    """Write a line for each fleet: the quickest of its warm ticks."""
    heads = [
        "fleet",
        "jobs",
        "clusters",
        "time",
        "processor",
        "lists",
        "Flink calls",
        "AWS calls",
        "read units",
        "writes",
        "woken",
        "memory",
    ]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for one in found["ticks"]:
        best = min(one["warm"], key=lambda tick: tick["wall_s"])
        cells = (
            one["scenario"],
            f"{one['jobs']:,}",
            one["clusters"],
            f"{best['wall_s']:.2f} s",
            f"{best['cpu_s']:.2f} s",
            best["flink_calls"].get("GET /jobs/overview", 0),
            sum(best["flink_calls"].values()),
            sum(best["aws_calls"].values()),
            f"{best['read_units']:g}",
            best["writes"],
            best["woken"],
            f"{one['peak_mib']} MiB",
        )
        lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


def main(
    sizes: Annotated[str, typer.Option(help="Fleets, by jobs, comma-separated.")] = "100,1000,5000",
    *,
    tick_only: Annotated[bool, typer.Option("--tick", help="Only run ticks, in the environment as it is.")] = False,
) -> None:
    """Measure every scenario, print the table, keep the numbers."""
    if tick_only:
        tick()
        return
    results = []
    for scenario in scenarios(tuple(int(size) for size in sizes.split(","))):
        results.append(measure(scenario))
        typer.echo(shown(results[-1]))
        keep("fleet", {"budgets_s": BUDGETS_S, "ticks": results})


if __name__ == "__main__":
    typer.run(main)
