"""Latency and downtime on a real Flink, beside raw REST calls and Flink's own command line, in one run.

Machines differ and are noisy: what counts are the ratios. `python -m tests.bench.latency` prints the tables and keeps the raw
numbers as docs/performance/latency.json.

Jobs go through their lives in batches: what is measured happens to one job at a time, and what is only waited for (proofs of
stability, the first checkpoints) to all of a batch at once. Every job has an artifact of its own, as otherwise the second
one would find its jar on Flink already.
"""

import io
import os
import re
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import boto3
import typer

from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.flink_rest import FlinkRest, FlinkRestConnections
from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import Accepted, TriggerCompleted
from infra.local.flink import ADD_OPENS, FlinkCluster
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.stack import LocalStack
from tests.bench.ground import keep
from tests.bench.series import summary
from tests.bench.wire import Wire
from tests.e2e.conftest import Beat, Team, free_port
from tests.jobs.build import build, entry_class

POLL_S: Final = 0.005
LIMIT_S: Final = 90.0
BATCH: Final = 10
SLOTS: Final = 40
STABILIZATION_S: Final = 1
APART_S: Final = 1.5
"""Between uploads: longer than an upgrade takes, so that no two happen at once while each waits for its burst to end."""
MODES: Final = ("savepoint", "last-state", "blue-green")
BEFORE, AFTER = 2, 3
"""Parallelism of what is rescaled."""
JOBSTORE: Final = {"jobstore.max-capacity": "40"}
"""Ended jobs that a list still shows: lists are polled for what is timed, and hundreds of ended jobs would be most of it."""
ADAPTIVE: Final = {
    "jobmanager.scheduler": "adaptive",
    "jobmanager.adaptive-scheduler.scaling-interval.min": "1s",
    "jobmanager.adaptive-scheduler.executing.cooldown-after-rescaling": "1s",
    "jobmanager.adaptive-scheduler.resource-stabilization-timeout": "1s",
    "jobmanager.adaptive-scheduler.executing.resource-stabilization-timeout": "1s",
    "jobmanager.adaptive-scheduler.submission.resource-stabilization-timeout": "1s",
}
"""Flink's own waits, 30 s by default, are no one's latency."""

LATENCIES: Final[Mapping[str, tuple[str, str | None]]] = {
    "spec write to first write on Flink": ("of it: spec write to the upload of the jar", None),
    "deploy": ("spec write to all tasks running", "raw deploy"),
    "spec write to STABLE": (f"spec write to STABLE, {STABILIZATION_S} s of it the spec's own wait", None),
    "upload": ("upload to all tasks of the new version running, 5 s of it the end of the burst", "raw upgrade"),
    "suspend": ("`state: suspended` to ended, with a savepoint", "raw stop"),
    "resume": ("`state: running` to all tasks running, from it", "raw run"),
    "rollback": ("revision 1's spec again to all its tasks running", "raw upgrade"),
    "upgrade savepoint": ("other arguments to all tasks running, `savepoint`", "raw upgrade"),
    "upgrade last-state": ("likewise, `last-state`", "raw upgrade"),
    "upgrade blue-green": ("likewise, `blue-green`", "raw upgrade"),
    "rescale": ("other parallelism to all tasks running, in place", "raw rescale"),
}
"""What is timed of the controller: how the page calls it, and its yardstick."""
YARDSTICKS: Final[Mapping[str, str]] = {
    "raw deploy": "raw REST calls: upload, run, poll until all tasks run",
    "raw stop": "raw REST calls: stop with savepoint, poll until it has ended",
    "raw run": "raw REST calls: run from a savepoint, the jar being there",
    "raw upgrade": "raw REST calls: upload, stop with savepoint, run from it",
    "raw rescale": "raw REST call: other resource requirements, poll until all tasks run",
    "flink run -d": "`flink run -d`, to submitted only",
    "flink stop": "`flink stop`",
}
GAPS: Final[Mapping[str, tuple[str, str | None]]] = {
    "gap raw": ("raw stop and run", None),
    "gap savepoint": ("controller, `savepoint`", "gap raw"),
    "gap last-state": ("controller, `last-state`", "gap raw"),
    "gap blue-green": ("controller, `blue-green`", "gap raw"),
    "gap raw rescale": ("raw rescale", None),
    "gap rescale": ("controller, in place", "gap raw rescale"),
}


def is_up(jobs: Sequence[Mapping[str, Any]], name: str, but: frozenset[str] = frozenset(), tasks: int = 0) -> bool:
    """Whether a job of a name, none of some ids, runs all its tasks, and at least so many."""
    return any(
        job["name"] == name
        and job["jid"] not in but
        and job["state"] == "RUNNING"
        and job["tasks"]["running"] == job["tasks"]["total"] >= tasks
        for job in jobs
    )


def is_gone(jobs: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether no job of a name is alive."""
    return not any(job["name"] == name and job["state"] not in {"FINISHED", "CANCELED", "FAILED"} for job in jobs)


class Site:
    """One Flink cluster, as the raw calls and an onlooker use it."""

    def __init__(self, team: Team, url: str) -> None:
        self.team, self.url = team, url
        roots = team.stack.roots()
        self.savepoints = roots.savepoints
        cluster = Cluster(name="raw", url=url, savepoint_root=roots.savepoints, checkpoint_root=roots.checkpoints)
        self.gateway: FlinkRest = FlinkRestConnections(is_local=True).connect(cluster)

    def jobs(self) -> list[dict[str, Any]]:
        """List jobs."""
        found: list[dict[str, Any]] = self.team.http.get(f"{self.url}/jobs/overview", timeout=10).json()["jobs"]
        return found

    def ids(self, name: str) -> frozenset[str]:
        """Give the ids of all jobs of a name, ended ones too."""
        return frozenset(job["jid"] for job in self.jobs() if job["name"] == name)

    def until(self, reached: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Poll the list.

        Raises:
            TimeoutError: it was not reached within the limit.
        """
        end = time.monotonic() + LIMIT_S
        while not reached(self.jobs()):
            if time.monotonic() > end:
                raise TimeoutError(f"did not happen within {LIMIT_S:.0f} s")
            time.sleep(POLL_S)

    def upload(self, content: bytes) -> str:
        """Upload a jar; give its id."""
        return self.gateway.upload_jar("bench.jar", io.BytesIO(content), len(content)).jar_id

    def run(self, jar_id: str, name: str, job_id: str, restore_from: str | None = None, parallelism: int = 1) -> None:
        """Start a counter, and wait for all its tasks."""
        answer = self.gateway.submit(
            Submit(
                flink_job_id=job_id,
                jar_id=jar_id,
                entry_class=None,
                args=("--rate", "50", "--beats", str(self.team.beats_directory(name))),
                parallelism=parallelism,
                restore_from=restore_from,
                allow_non_restored_state=False,
                configuration={"pipeline.name": name, "execution.checkpointing.interval": "1 s"},
            )
        )
        assert isinstance(answer, Accepted), answer
        self.until(lambda jobs: any(job["jid"] == job_id for job in jobs) and is_up(jobs, name))

    def stop(self, name: str, job_id: str, trigger_id: str) -> str:
        """Stop with savepoint and wait for the end; give where it lies."""
        self.gateway.stop(job_id, trigger_id=trigger_id, target_directory=f"{self.savepoints}/bench")
        found = self.gateway.trigger(job_id, trigger_id)
        while not isinstance(found, TriggerCompleted):
            time.sleep(POLL_S)
            found = self.gateway.trigger(job_id, trigger_id)
        self.until(lambda jobs: is_gone(jobs, name))
        return found.path


class Bench:
    """The measurements, each beside its yardstick."""

    def __init__(self, team: Team, site: Site, adaptive: Site, wire: Wire) -> None:
        self.team, self.site, self.adaptive, self.wire = team, site, adaptive, wire
        self.seconds: dict[str, list[float]] = {}
        environ = team.environ
        client = boto3.session.Session(
            aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
            region_name=environ["AWS_DEFAULT_REGION"],
        ).client("dynamodb", endpoint_url=team.endpoint)
        self.statuses = DynamoStatusStore(client, environ["FLINKCTL_CONTROLLER_STATE_TABLE_NAME"])
        self.jars = [
            build("CounterJob", team.stack.settings.flink_version, label=label).read_bytes() for label in ("v1", "v2")
        ]

    def add(self, name: str, seconds: float) -> None:
        """Keep a measurement."""
        self.seconds.setdefault(name, []).append(round(seconds, 4))

    def jar(self, name: str, version: int = 1) -> bytes:
        """Give a version of the counter whose bytes are one job's own."""
        content = io.BytesIO(self.jars[version - 1])
        with zipfile.ZipFile(content, "a") as archive:
            archive.writestr("bench.txt", name)
        return content.getvalue()

    def item(self, job: str, **changes: Any) -> dict[str, Any]:
        """Give a job's spec."""
        state = changes.pop("state", "running")
        pin = changes.pop("pin", None)
        cluster = changes.pop("cluster", "default")
        rollback = {"stabilization_seconds": STABILIZATION_S, "deadline_seconds": 90}
        item = {**self.team.spec(job, rollback=rollback, **changes), "state": state, "cluster": cluster}
        return item if pin is None else {**item, "artifact_signature": pin}

    def timed(
        self,
        name: str,
        jobs: Sequence[str],
        act: Callable[[str], object],
        reached: Callable[[list[dict[str, Any]], str, frozenset[str]], bool],
        *,
        site: Site | None = None,
        apart_s: float | None = None,
    ) -> dict[str, float]:
        """Do something to one job after the other; time each until the list of jobs shows it. Give when each began.

        The next one begins when the last one is through, or `apart_s` after it began.

        Raises:
            TimeoutError: one did not happen within the limit.
        """
        site = site or self.site
        waiting, began, wall, before = list(jobs), dict[str, float](), dict[str, float](), dict[str, frozenset[str]]()
        while waiting or began:
            now = time.monotonic()
            latest = max(began.values(), default=0.0)
            if waiting and (not began or (apart_s is not None and now >= latest + apart_s)):
                job = waiting.pop(0)
                before[job] = site.ids(job)
                began[job], wall[job] = time.monotonic(), time.time()
                act(job)
            found, now = site.jobs(), time.monotonic()
            for job in [job for job in began if reached(found, job, before[job])]:
                self.add(name, now - began.pop(job))
            late = [job for job, at in began.items() if now > at + LIMIT_S]
            if late:
                raise TimeoutError(f"{name}: {', '.join(late)} did not get there within {LIMIT_S:.0f} s")
            time.sleep(POLL_S)
        return wall

    def settle(self, jobs: Sequence[str], wanted: Lifecycle = Lifecycle.STABLE) -> None:
        """Wait until all are at rest, on the revision that is wanted.

        Raises:
            TimeoutError: one is not within the limit.
        """
        end = time.monotonic() + LIMIT_S
        while True:
            found = self.statuses.read_many(jobs)
            late = [
                job
                for job in jobs
                if (status := found.get(job)) is None
                or lifecycle(status) is not wanted
                or (status.running and status.running.number) != (status.desired and status.desired.number)
            ]
            if not late:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"{', '.join(late)} not {wanted} within {LIMIT_S:.0f} s")
            time.sleep(0.2)

    def admit(self, jobs: Sequence[str], version: int = 1) -> None:
        """Upload an artifact for each, and leave admission the time to see it."""
        for job in jobs:
            self.team.upload(f"artifacts/{job}.jar", self.jar(job, version))
        time.sleep(2)

    def lives(self, jobs: Sequence[str]) -> None:
        """Deploy, upload another version, suspend, resume, and go back to the first revision."""
        self.admit(jobs)
        self.wire.requests.clear()
        began = self.timed("deploy", jobs, lambda job: self.team.put(self.item(job)), _new)
        uploads = [at for at, line in list(self.wire.requests) if line.startswith("POST /jars/upload")]
        self.settle(jobs)
        for job, at in zip(jobs, began.values(), strict=True):
            self.add("spec write to first write on Flink", min(upload for upload in uploads if upload >= at) - at)
            stable = next(event for event in self.statuses.events(job) if event.reason == "Stable")
            self.add("spec write to STABLE", (stable.time - datetime.fromtimestamp(at, UTC)).total_seconds())
        self.timed(
            "upload",
            jobs,
            lambda job: self.team.upload(f"artifacts/{job}.jar", self.jar(job, 2)),
            _new,
            apart_s=APART_S,
        )
        self.settle(jobs)
        self.timed(
            "suspend",
            jobs,
            lambda job: self.team.put(self.item(job, state="suspended")),
            lambda found, job, _: is_gone(found, job),
        )
        self.settle(jobs, Lifecycle.SUSPENDED)
        self.timed("resume", jobs, lambda job: self.team.put(self.item(job)), _new)
        self.settle(jobs)
        pins = {job: f"sha256:{self.statuses.revisions(job)[0].artifact.sha256}" for job in jobs}
        self.timed("rollback", jobs, lambda job: self.team.put(self.item(job, pin=pins[job])), _new)
        self.settle(jobs)
        self.remove(jobs)

    def raw(self, jobs: Sequence[str]) -> None:
        """The same by hand, with the fewest calls."""
        latest, jars, paths = dict[str, str](), dict[str, str](), dict[str, str]()
        for job in jobs:
            content, latest[job] = self.jar(job), uuid4().hex
            began = time.monotonic()
            jars[job] = self.site.upload(content)
            self.site.run(jars[job], job, latest[job])
            self.add("raw deploy", time.monotonic() - began)
        time.sleep(2)
        for job in jobs:
            began = time.monotonic()
            paths[job] = self.site.stop(job, latest[job], uuid4().hex)
            self.add("raw stop", time.monotonic() - began)
        for job in jobs:
            latest[job] = uuid4().hex
            began = time.monotonic()
            self.site.run(jars[job], job, latest[job], paths[job])
            self.add("raw run", time.monotonic() - began)
        time.sleep(2)
        for job in jobs:
            content, old = self.jar(job, 2), latest[job]
            latest[job] = uuid4().hex
            began = time.monotonic()
            newer = self.site.upload(content)
            path = self.site.stop(job, old, uuid4().hex)
            self.site.run(newer, job, latest[job], path)
            self.add("raw upgrade", time.monotonic() - began)
            self.site.gateway.delete_jar(jars[job])
            jars[job] = newer
        time.sleep(1)
        for job in jobs:
            self.add("gap raw", gap(self.team.beats(job)))
            self.site.gateway.cancel(latest[job])
            self.site.gateway.delete_jar(jars[job])

    def upgrades(self, mode: str, jobs: Sequence[str], turns: int) -> None:
        """Change the arguments of running jobs, and see the gaps in their beats."""
        self.admit(jobs)
        for job in jobs:
            self.team.put(self.item(job, upgrade_mode=mode))
        self.settle(jobs)
        for turn in range(turns):
            self.timed(
                f"upgrade {mode}",
                jobs,
                lambda job, turn=turn: self.team.put(self.item(job, upgrade_mode=mode, args=("--turn", str(turn)))),  # type: ignore[misc]
                _new,
            )
            self.settle(jobs)
            time.sleep(1)
            for job in jobs:
                self.add(f"gap {mode}", gap(self.team.beats(job)))
        self.remove(jobs)

    def rescales(self, jobs: Sequence[str]) -> None:
        """Change the parallelism of running jobs in place, by the controller and by hand, and see the gaps in their beats."""
        by_hand = {f"{job}-raw": uuid4().hex for job in jobs}
        tasks = AFTER + 1
        self.admit(jobs)
        for job in jobs:
            self.team.put(self.item(job, cluster="adaptive", parallelism=BEFORE))
        self.settle(jobs)
        time.sleep(2)
        began = self.timed(
            "rescale",
            jobs,
            lambda job: self.team.put(self.item(job, cluster="adaptive", parallelism=AFTER)),
            lambda found, job, _: is_up(found, job, tasks=tasks),
            site=self.adaptive,
        )
        self.settle(jobs)
        time.sleep(1)
        for job, at in began.items():
            self.add("gap rescale", longest_silence(self.team.beats(job), at))
        self.remove(jobs, self.adaptive)
        jar_id = self.adaptive.upload(self.jars[0])
        for job, job_id in by_hand.items():
            self.adaptive.run(jar_id, job, job_id, parallelism=BEFORE)
        time.sleep(3)
        began = self.timed(
            "raw rescale",
            list(by_hand),
            lambda job: self.adaptive.gateway.rescale(by_hand[job], before=BEFORE, after=AFTER),
            lambda found, job, _: is_up(found, job, tasks=tasks),
            site=self.adaptive,
        )
        time.sleep(1)
        for job, at in began.items():
            self.add("gap raw rescale", longest_silence(self.team.beats(job), at))
            self.adaptive.gateway.cancel(by_hand[job])
        self.adaptive.gateway.delete_jar(jar_id)

    def remove(self, jobs: Sequence[str], site: Site | None = None) -> None:
        """Delete jobs and wait for their end, so that the next ones find their slots."""
        for job in jobs:
            self.team.remove(job)
        (site or self.site).until(lambda found: all(is_gone(found, job) for job in jobs))

    def command_line(self, rounds: int) -> None:
        """Time `flink run -d`, which ends at submitted, not at running, and `flink stop`."""
        with tempfile.TemporaryDirectory() as directory:
            host, port = self.site.url.removeprefix("http://").split(":")
            (Path(directory) / "config.yaml").write_text(f"rest.address: {host}\nrest.port: {port}\n")
            jar = Path(directory) / "counter.jar"
            jar.write_bytes(self.jars[0])
            for _ in range(rounds):
                said = self._flink(directory, "run", "-d", "-c", entry_class("CounterJob"), str(jar))
                found = re.search(r"JobID ([0-9a-f]{32})", said)
                assert found is not None, said
                job_id = found[1]
                self.site.until(
                    lambda jobs, job_id=job_id: any(job["jid"] == job_id and job["state"] == "RUNNING" for job in jobs)  # type: ignore[misc]
                )
                time.sleep(0.5)
                self._flink(directory, "stop", "-p", f"{self.site.savepoints}/bench", job_id)

    def _flink(self, configuration: str, verb: str, *arguments: str) -> str:
        home = self.team.stack.toolchain.flink(self.team.stack.settings.flink_version)
        opens = [f"--add-opens={package}=ALL-UNNAMED" for package in ADD_OPENS]
        java = str(self.team.stack.toolchain.java())
        main_class = "org.apache.flink.client.cli.CliFrontend"
        began = time.monotonic()
        done = subprocess.run(
            [java, *opens, "-cp", f"{home.lib}/*", main_class, verb, *arguments],
            env={**os.environ, "FLINK_CONF_DIR": configuration},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"bench: flink {verb} failed: {(done.stderr or done.stdout)[-300:]}")
        self.add(f"flink {verb}{' -d' if verb == 'run' else ''}", time.monotonic() - began)
        return done.stdout


def _new(found: Sequence[Mapping[str, Any]], job: str, before: frozenset[str]) -> bool:
    return is_up(found, job, before)


def gap(beats: Sequence[Beat]) -> float:
    """Give the time without a record between the last two copies, in seconds; 0 where they overlap."""
    spans: dict[str, list[int]] = {}
    for beat in beats:
        spans.setdefault(beat.flink_job_id, []).append(beat.at_ms)
    one, other = sorted(spans.values(), key=min)[-2:]
    return max(min(other) - max(one), 0) / 1000


def longest_silence(beats: Sequence[Beat], since_s: float) -> float:
    """Give the longest time without a record since a moment, in seconds."""
    times = [beat.at_ms for beat in beats if beat.at_ms >= since_s * 1000]
    return max(later - earlier for earlier, later in pairwise(times)) / 1000


@contextmanager
def running_bench() -> Iterator[Bench]:
    """Start a stack of its own, with a wire before its Flink, and a second Flink with the adaptive scheduler."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        environ = {
            **os.environ,
            "LOCAL_DIR": f"{name}/stack",
            "AWS_PORT": str(free_port()),
            "FLINK_REST_PORT": str(free_port()),
            "FLINK_SLOTS": str(SLOTS),
        }
        stack = LocalStack(LocalSettings.from_env(environ), environ, Progress())
        adaptive: FlinkCluster | None = None
        try:
            stack.up()
            plain = stack.start_flink()
            plain.stop()
            flink = FlinkCluster(replace(plain.config, options=JOBSTORE), Progress())
            flink.start()
            team = Team(stack, flink, Path(name))
            directory, options = Path(name) / "adaptive", {**JOBSTORE, **ADAPTIVE}
            adaptive = FlinkCluster(
                replace(plain.config, directory=directory, rest_port=free_port(), rpc_port=free_port(), options=options),
                Progress(),
            )
            adaptive.start()
            with Wire(stack.settings.flink_rest_port) as wire:
                roots = stack.roots()
                for cluster, url in (("default", wire.url), ("adaptive", adaptive.rest_url)):
                    done = team.flinkctl(
                        *("cluster", "add", cluster, "--url", url),
                        *("--savepoint-root", roots.savepoints, "--checkpoint-root", roots.checkpoints),
                    )
                    if done.returncode:
                        raise SystemExit(f"bench: cluster {cluster}: {done.stderr}")
                yield Bench(team, Site(team, wire.url), Site(team, adaptive.rest_url), wire)
        finally:
            if adaptive is not None:
                adaptive.stop()
            stack.down()


def latency_table(kept: Mapping[str, Any]) -> str:
    """Write what was timed as the page shows it."""
    found = kept["summary"]
    lines = ["| controller | n | p50 | p95 | against |", "| --- | --- | --- | --- | --- |"]
    for name, (title, yardstick) in LATENCIES.items():
        if name in found:
            beside = f"{found[name]['p50'] / found[yardstick]['p50']:.2f} times {yardstick}" if yardstick else ""
            lines.append(f"| {title} | {_cells(found[name])} | {beside} |")
    lines += ["", "| beside it | n | p50 | p95 |", "| --- | --- | --- | --- |"]
    lines += [f"| {_titled(name, title)} | {_cells(found[name])} |" for name, title in YARDSTICKS.items() if name in found]
    return "\n".join(lines)


def gap_table(kept: Mapping[str, Any]) -> str:
    """Write the gaps as the page shows them."""
    found = kept["summary"]
    lines = ["| no record for | n | p50 | p95 | against raw |", "| --- | --- | --- | --- | --- |"]
    for name, (title, yardstick) in GAPS.items():
        if name in found:
            beside = f"{(found[name]['p50'] - found[yardstick]['p50']) * 1000:+,.0f} ms" if yardstick else ""
            lines.append(f"| {title} | {_cells(found[name])} | {beside} |")
    return "\n".join(lines)


def tables(kept: Mapping[str, Any]) -> str:
    """Write both."""
    return f"{latency_table(kept)}\n\n{gap_table(kept)}"


def _titled(name: str, title: str) -> str:
    return (
        f"{name}: {title.removeprefix('raw REST calls: ').removeprefix('raw REST call: ')}"
        if name.startswith("raw")
        else title
    )


def _cells(figures: Mapping[str, float]) -> str:
    return f"{figures['n']:.0f} | {figures['p50'] * 1000:,.0f} ms | {figures['p95'] * 1000:,.0f} ms"


def main(rounds: Annotated[int, typer.Option(help="Measurements of each kind.")] = 30) -> None:
    """Measure, print the tables, keep the numbers."""
    began = time.monotonic()

    def told(what: str) -> None:
        typer.echo(f"latency: {what} after {time.monotonic() - began:.0f} s")

    batches = [range(first, min(first + BATCH, rounds)) for first in range(0, rounds, BATCH)]
    with running_bench() as bench:
        told("the stack is up")
        bench.lives(["warm-0"])
        bench.raw(["warm-raw"])
        bench.seconds.clear()
        for at, batch in enumerate(batches, 1):
            bench.raw([f"raw-{number}" for number in batch])
            bench.lives([f"life-{number}" for number in batch])
            bench.rescales([f"scale-{number}" for number in batch])
            told(f"batch {at} of {len(batches)} is through")
        few = min(BATCH, rounds)
        for mode in MODES:
            bench.upgrades(mode, [f"{mode}-{number}" for number in range(few)], -(-rounds // few))
            told(f"upgrades by {mode} are through")
        bench.command_line(rounds)
        told("Flink's command line is through")
        summaries = {name: summary(values) for name, values in sorted(bench.seconds.items())}
        kept = {
            "flink": bench.team.stack.settings.flink_version,
            "summary": summaries,
            "seconds": bench.seconds,
        }
    keep("latency", kept)
    typer.echo(tables(kept))


if __name__ == "__main__":
    typer.run(main)
