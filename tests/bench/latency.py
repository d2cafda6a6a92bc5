"""Latency and downtime on a real Flink, beside raw REST calls and Flink's own command line, in one run.

Machines differ and are noisy: what counts are the ratios. `python -m tests.bench.latency` prints the table and keeps the raw
numbers as JSON under docs/performance/.
"""

import io
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flink_controller.adapters.flink_rest import FlinkRest, FlinkRestConnections
from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.observation import Accepted, TriggerCompleted
from infra.local.progress import Progress
from infra.local.settings import CHECKOUT, LocalSettings
from infra.local.stack import LocalStack
from tests.e2e.conftest import Beat, Team, free_port
from tests.jobs.build import build, entry_class

RESULTS: Final = CHECKOUT / "docs" / "performance"
POLL_S: Final = 0.005
LIMIT_S: Final = 60.0


class Stopwatch:
    """Collects seconds under names."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """Add a measurement."""
        self.seconds.setdefault(name, []).append(value)

    def summary(self, name: str) -> dict[str, float]:
        """Give n, median and 95th percentile, in seconds."""
        values = sorted(self.seconds[name])
        p95 = values[min(len(values) - 1, round(0.95 * (len(values) - 1)))]
        return {"n": len(values), "p50": statistics.median(values), "p95": p95}


def until(reached: Callable[[], bool]) -> None:
    """Poll until something holds.

    Raises:
        TimeoutError: it does not within a minute.
    """
    end = time.monotonic() + LIMIT_S
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError("did not happen within a minute")
        time.sleep(POLL_S)


class Bench:
    """The measurements, each beside its yardstick."""

    def __init__(self, team: Team, watch: Stopwatch) -> None:
        self.team, self.watch = team, watch
        roots = team.stack.roots()
        cluster = Cluster(
            name="default", url=team.flink.rest_url, savepoint_root=roots.savepoints, checkpoint_root=roots.checkpoints
        )
        self.savepoints = roots.savepoints
        self.gateway: FlinkRest = FlinkRestConnections(is_local=True).connect(cluster)

    def is_running(self, name: str) -> bool:
        """Whether a job of a name runs all its tasks."""
        return any(
            job["name"] == name and job["state"] == "RUNNING" and job["tasks"]["running"] == job["tasks"]["total"]
            for job in self.team.get("/jobs/overview")["jobs"]
        )

    def raw_deploy(self, jar: Path, name: str, job_id: str) -> None:
        """Upload, run, and wait for all tasks: the fewest REST calls that deploy a job."""
        content = jar.read_bytes()
        began = time.monotonic()
        jar_id = self.gateway.upload_jar(jar.name, io.BytesIO(content), len(content)).jar_id
        self._run(jar_id, name, job_id, None)
        until(lambda: self.is_running(name))
        self.watch.add("deploy, raw REST calls", time.monotonic() - began)
        self.gateway.cancel(job_id)
        self.gateway.delete_jar(jar_id)

    def _run(self, jar_id: str, name: str, job_id: str, restore_from: str | None) -> None:
        beats = str(self.team.beats_directory(name))
        answer = self.gateway.submit(
            Submit(
                flink_job_id=job_id,
                jar_id=jar_id,
                entry_class=None,
                args=("--rate", "50", "--beats", beats),
                parallelism=1,
                restore_from=restore_from,
                allow_non_restored_state=False,
                configuration={"pipeline.name": name, "execution.checkpointing.interval": "1 s"},
            )
        )
        assert isinstance(answer, Accepted), answer

    def deploy(self, job: str, label: str) -> None:
        """Write a spec and wait for all tasks; the artifact is uploaded and admitted before."""
        self.team.upload_counter(f"artifacts/{job}.jar", label)
        time.sleep(1.5)
        item = self.team.spec(job)
        began = time.monotonic()
        self.team.put(item)
        until(lambda: self.is_running(job))
        self.watch.add("deploy, spec write to all tasks running", time.monotonic() - began)
        self.team.wait_stable(job)

    def raw_upgrade(self, jar: Path, name: str, ids: tuple[str, str]) -> None:
        """Stop with savepoint and run from it, by hand, with the jar staged before."""
        content = jar.read_bytes()
        jar_id = self.gateway.upload_jar(jar.name, io.BytesIO(content), len(content)).jar_id
        self._run(jar_id, name, ids[0], None)
        until(lambda: self.is_running(name))
        time.sleep(2)
        trigger = ids[1]
        self.gateway.stop(ids[0], trigger_id=trigger, target_directory=f"{self.savepoints}/bench")
        found = self.gateway.trigger(ids[0], trigger)
        while not isinstance(found, TriggerCompleted):
            time.sleep(POLL_S)
            found = self.gateway.trigger(ids[0], trigger)
        until(lambda: not self.is_running(name))
        self._run(jar_id, name, ids[1], found.path)
        until(lambda: self.is_running(name))
        time.sleep(1)
        self.watch.add("upgrade gap, raw stop and run", gap(self.team.beats(name)))
        self.gateway.cancel(ids[1])
        self.gateway.delete_jar(jar_id)

    def upgrade(self, job: str, turn: int, mode: str) -> None:
        """Change the arguments of a running job, and see the gap in its beats."""
        before = len({beat.flink_job_id for beat in self.team.beats(job)})
        item = self.team.spec(job, args=("--turn", str(turn)), upgrade_mode=mode)
        began = time.monotonic()
        self.team.put(item)
        until(lambda: len({beat.flink_job_id for beat in self.team.beats(job)}) > before)
        self.watch.add(f"upgrade, {mode}: spec write to first record", time.monotonic() - began)
        self.team.wait(
            job,
            lambda status: (
                status["lifecycle"] == "STABLE" and status["revision"]["running"] == status["revision"]["desired"]
            ),
        )
        time.sleep(1)
        latest = sorted({beat.flink_job_id for beat in self.team.beats(job)})[-2:]
        self.watch.add(f"upgrade gap, {mode}", gap([beat for beat in self.team.beats(job) if beat.flink_job_id in latest]))

    def command_line(self, jar: Path) -> None:
        """Time `flink run -d`, as Flink's own client does it; it ends at submitted, not at running."""
        home = self.team.stack.toolchain.flink(self.team.stack.settings.flink_version)
        java = self.team.stack.toolchain.java()
        with tempfile.TemporaryDirectory() as directory:
            address = self.team.flink.rest_url.removeprefix("http://")
            host, port = address.split(":")
            (Path(directory) / "config.yaml").write_text(f"rest.address: {host}\nrest.port: {port}\n")
            opens = ["java.base/java.util", "java.base/java.lang", "java.base/java.time"]
            command = [
                str(java),
                *(f"--add-opens={package}=ALL-UNNAMED" for package in opens),
                "-cp",
                f"{home.lib}/*",
                "org.apache.flink.client.cli.CliFrontend",
                "run",
                "-d",
                "-c",
                entry_class("CounterJob"),
                str(jar),
            ]
            began = time.monotonic()
            done = subprocess.run(
                command, env={**os.environ, "FLINK_CONF_DIR": directory}, capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                self.watch.add("flink run -d, to submitted", time.monotonic() - began)
            else:
                typer.echo(f"flink run -d failed: {done.stderr[-300:]}")
        for job in self.team.flink_jobs():
            if not job["name"].startswith("bench"):
                self.gateway.cancel(job["jid"])


def gap(beats: list[Beat]) -> float:
    """Give the longest time without a record around the change of copies, in seconds; 0 where the copies overlap."""
    spans: dict[str, list[int]] = {}
    for beat in beats:
        spans.setdefault(beat.flink_job_id, []).append(beat.at_ms)
    one, other = sorted(spans)[-2:]
    return max(min(spans[other]) - max(spans[one]), 0) / 1000


@contextmanager
def running_team() -> Iterator[Team]:
    """Start a stack of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        environ = {
            **os.environ,
            "LOCAL_DIR": f"{name}/stack",
            "AWS_PORT": str(free_port()),
            "FLINK_REST_PORT": str(free_port()),
            "FLINK_SLOTS": "32",
        }
        stack = LocalStack(LocalSettings.from_env(environ), environ, Progress())
        try:
            stack.up()
            yield Team(stack, stack.start_flink(), Path(name))
        finally:
            stack.down()


def main(rounds: Annotated[int, typer.Option(help="Measurements of each kind.")] = 30) -> None:
    """Measure, print the table, keep the numbers."""
    watch = Stopwatch()
    with running_team() as team:
        bench = Bench(team, watch)
        labels = ("v1", "v2")
        jar = build("CounterJob", team.stack.settings.flink_version, label="v1")
        bench.deploy("bench-warm", "v1")
        watch.seconds.clear()
        for turn in range(rounds):
            bench.raw_deploy(jar, f"bench-raw-{turn}", f"{turn + 1:032x}")
            job = f"bench-{turn}"
            bench.deploy(job, labels[turn % 2])
            team.remove(job)
            if turn < 5:
                bench.command_line(jar)
            bench.raw_upgrade(jar, f"bench-by-hand-{turn}", (f"a{turn:031x}", f"b{turn:031x}"))
        for mode in ("savepoint", "last-state", "blue-green"):
            job = f"bench-{mode}"
            team.upload_counter(f"artifacts/{job}.jar", "v1")
            team.put(team.spec(job, upgrade_mode=mode))
            team.wait_stable(job)
            for turn in range(rounds):
                bench.upgrade(job, turn + 1, mode)
            team.remove(job)
        _report(watch, team.stack.settings.flink_version)


def _report(watch: Stopwatch, flink_version: str) -> None:
    summaries = {name: watch.summary(name) for name in sorted(watch.seconds)}
    for name, found in summaries.items():
        typer.echo(f"{name:50} n {found['n']:3.0f}  p50 {found['p50'] * 1000:7.0f} ms  p95 {found['p95'] * 1000:7.0f} ms")
    raw, ours = summaries["deploy, raw REST calls"], summaries["deploy, spec write to all tasks running"]
    by_hand, upgraded = summaries["upgrade gap, raw stop and run"], summaries["upgrade gap, savepoint"]
    typer.echo(
        f"deploy: {ours['p50'] / raw['p50']:.2f} x raw, and {ours['p50'] - 1.5 * raw['p50']:+.3f} s against 1.5 x raw"
    )
    typer.echo(f"upgrade gap: {upgraded['p50'] - by_hand['p50']:+.3f} s against raw")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True, check=False
    ).stdout.strip()
    document: dict[str, Any] = {
        "commit": commit,
        "flink": flink_version,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "seconds": watch.seconds,
        "summary": summaries,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "latency.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
