"""Kill the reconciling process at the n-th port call, over and over, on the AWS emulator and a real Flink.

Each replay changes a job (deploy, upgrade, suspend and resume, restart, delete and rewrite), forks a process that looks
at it and dies by SIGKILL at its n-th port call, and lets later processes bring the job where its spec says. A job that
writes a line per record shows what really happened: whether two copies were ever alive, and whether any count was lost.

`python -m tests.chaos.replay --replays 200` prints the counts; the suite runs a few.
"""

import base64
import hashlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from flink_controller.adapters.signing import sign
from flink_controller.bootstrap import build_controller
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.plan import Policy
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import JobStatus
from flink_controller.ports import Ports
from flink_controller.services import reconcile
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.settings import Settings
from flink_controller.testing.interception import PortCall, intercepted

QUICK_LEASE = timedelta(seconds=1)
"""A dead holder is waited for; the lease is not what makes it safe, so a short one shows more."""
SETTLE_S = 120.0
"""Longest time for a job to get where its spec says after a crash."""
ARTIFACTS = ("v1", "v2")


@dataclass(frozen=True)
class Ground:
    """Where replays run: an emulator with tables, a Flink, two signed versions of the counter."""

    settings: Settings
    environ: Mapping[str, str]
    flink_url: str
    beats: Path
    jars: Mapping[str, Path]
    private_key: Path


@dataclass
class Replays:
    """What a series of replays came to."""

    by_change: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    """Port call at which the process died."""
    missed: int = 0
    """Replays whose look ended before its n-th call."""
    faults: list[str] = field(default_factory=list)

    def add(self, other: "Replays") -> None:
        """Add another series."""
        self.by_change.update(other.by_change)
        self.struck.update(other.struck)
        self.missed += other.missed
        self.faults += other.faults


class Driver:
    """Changes one job and has processes reconcile it, some of them dying."""

    def __init__(self, ground: Ground, job_id: str) -> None:
        self.ground, self.job_id = ground, job_id
        os.environ.update(ground.environ)
        wired = build_controller(ground.settings)
        self.ports = wired.ports
        self.policy = replace(
            wired.policy,
            debounce=timedelta(0),
            submit_timeout=timedelta(seconds=3),
            function_timeout=timedelta(seconds=3),
            quarantine_margin=timedelta(seconds=1),
        )
        self.specs = boto3.resource("dynamodb").Table(ground.settings.job_spec_table_name)
        self.s3 = boto3.client("s3")
        self.key = f"artifacts/{job_id}.jar"
        self._turn = 0

    def spec(self, **changes: Any) -> dict[str, Any]:
        """Give the job's spec item."""
        return {
            "job_id": self.job_id,
            "job_type": "stream",
            "artifact_path": self.key,
            "args": ["--rate", "100", "--beats", str(self.ground.beats / self.job_id), "--turn", str(self._turn)],
            "deployment": {
                "checkpoint_interval": 500,
                "rollback": {"stabilization_seconds": 1, "deadline_seconds": 100},
                "on_failure": {"backoff_seconds": 1},
            },
            **changes,
        }

    def upload(self, label: str) -> None:
        """Upload and admit a version of the counter."""
        content = self.ground.jars[label].read_bytes()
        signed = f"sha256:{hashlib.sha256(content).hexdigest()}".encode()
        signature = base64.b64encode(sign(self.ground.private_key.read_bytes(), signed))
        bucket = self.ground.settings.artifact_bucket_name
        self.s3.put_object(Bucket=bucket, Key=f"{self.key}.sig", Body=signature)
        self.s3.put_object(Bucket=bucket, Key=self.key, Body=content)
        admit_artifact(self.ports, self.policy, bucket, self.key)

    def change(self, kind: str) -> Callable[[JobStatus], bool]:
        """Change what is wanted; give the test for having got there."""
        self._turn += 1
        match kind:
            case "upgrade by artifact":
                label = ARTIFACTS[self._turn % len(ARTIFACTS)]
                self.upload(label)
                digest = hashlib.sha256(self.ground.jars[label].read_bytes()).hexdigest()
                return lambda status: (
                    is_running(status) and status.running is not None and status.running.artifact.sha256 == digest
                )
            case "suspend":
                self.specs.put_item(Item=self.spec(state="suspended"))
                return lambda status: lifecycle(status) is Lifecycle.SUSPENDED
            case "delete":
                self.specs.delete_item(Key={"job_id": self.job_id})
                return lambda status: lifecycle(status) is Lifecycle.DELETED
            case _:
                item = self.spec()
                self.specs.put_item(Item=item)
                wanted = hash_item(item)
                return lambda status: is_running(status) and status.observed_spec_hash == wanted

    def look(self, dies_at: int | None = None) -> str | None:
        """Fork a process that looks at the job; give the call at which it died, or None when it did not."""
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _look_and_maybe_die(self.ground.settings, self.policy, self.job_id, dies_at, writer)
        os.close(writer)
        with os.fdopen(reader) as told:
            last = told.read()
        _, wait_status = os.waitpid(child, 0)
        if os.WIFSIGNALED(wait_status):
            return last or "before the first call"
        return None

    def replay(self, kind: str, dies_at: int, replays: Replays) -> None:
        """Change the job, let a process die at its n-th call, and see that the job gets there all the same."""
        reached = self.change(kind)
        replays.by_change[kind] += 1
        struck = self.look(dies_at)
        if struck is None:
            replays.missed += 1
        else:
            replays.struck[struck] += 1
        end = time.monotonic() + SETTLE_S
        while True:
            status = self.ports.statuses.read(self.job_id)
            if status is not None and reached(status):
                return
            if time.monotonic() > end:
                replays.faults.append(f"{self.job_id}: '{kind}' struck at {struck} did not settle: {_brief(status)}")
                return
            self.look()
            time.sleep(0.1)


def is_running(status: JobStatus) -> bool:
    """Whether the desired revision runs and was proven."""
    return lifecycle(status) is Lifecycle.STABLE


def run_series(ground: Ground, job_id: str, points: list[tuple[str, int]]) -> Replays:
    """Deploy a job, strike it at the given (change, call) points, and check its beats."""
    replays, driver = Replays(), Driver(ground, job_id)
    driver.upload(ARTIFACTS[0])
    driver.replay("deploy", points[0][1], replays)
    for kind, dies_at in points:
        driver.replay(kind, dies_at, replays)
        if kind in {"suspend", "delete"}:
            driver.replay("resume" if kind == "suspend" else "rewrite", dies_at, replays)
    driver.replay("delete", 0, replays)
    replays.faults += faults_in_beats(ground.beats / job_id)
    return replays


def faults_in_beats(directory: Path) -> list[str]:
    """Find what must not be in the lines of a job's copies: two alive at once, a count lost or repeated."""
    spans: dict[str, tuple[int, int]] = {}
    counts: dict[str, dict[int, list[int]]] = {}
    for file in directory.iterdir():
        for line in file.read_text().splitlines():
            at, job, _, number, count = line.split(",")
            first, last = spans.get(job, (int(at), int(at)))
            spans[job] = (min(first, int(at)), max(last, int(at)))
            counts.setdefault(job, {}).setdefault(int(number), []).append(int(count))
    faults, ordered = [], sorted(spans)
    for one, other in pairwise(ordered):
        if spans[other][0] < spans[one][1]:
            faults.append(f"{directory.name}: {other} began {spans[one][1] - spans[other][0]} ms before {one} ended")
    reached: dict[int, int] = {}
    for job in ordered:
        for key, found in counts[job].items():
            if found[0] > reached.get(key, 0) + 1:
                faults.append(f"{directory.name}: {job} skips from {reached.get(key, 0)} to {found[0]} for key {key}")
            if found[0] == 1 and reached.get(key, 0) > 1:
                faults.append(f"{directory.name}: {job} began from nothing; key {key} was at {reached[key]}")
            reached[key] = max(reached.get(key, 0), found[-1])
    return faults


def series_points(replays: int, jobs: int, longest: int) -> list[list[tuple[str, int]]]:
    """Spread (change, call) points over jobs, so that every call number meets every change."""
    kinds = ("upgrade by spec", "upgrade by artifact", "suspend", "upgrade by spec", "delete", "upgrade by artifact")
    points = [(kinds[index % len(kinds)], 1 + (index * 7) % longest) for index in range(replays)]
    return [points[job::jobs] for job in range(jobs)]


def run(ground: Ground, *, replays: int, jobs: int = 4, longest: int = 34) -> Replays:
    """Run a number of replays, several jobs side by side."""
    series = [(ground, f"chaos-{index}", points) for index, points in enumerate(series_points(replays, jobs, longest))]
    total = Replays()
    with get_context("spawn").Pool(jobs) as pool:
        for done in pool.starmap(run_series, series):
            total.add(done)
    return total


def _look_and_maybe_die(settings: Settings, policy: Policy, job_id: str, dies_at: int | None, writer: int) -> None:
    """Run in the child. Ends the process in any case."""
    made = 0

    def intercept(call: PortCall) -> Any:
        nonlocal made
        made += 1
        # Odd numbers die before the call, even ones after it.
        if dies_at is not None and made == (dies_at + 1) // 2 and dies_at % 2 == 1:
            os.write(writer, f"before {call.name}".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        result = call.target()
        if dies_at is not None and made == dies_at // 2 and dies_at % 2 == 0:
            os.write(writer, f"after {call.name}".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    status = 0
    try:
        reconcile.LEASE = QUICK_LEASE
        ports: Ports = intercepted(build_controller(settings).ports, intercept)
        reconcile.reconcile_job(ports, policy, job_id, owner=f"process-{os.getpid()}")
    except BaseException as error:  # noqa: BLE001  # the child must end here, whatever happened, and say so
        os.write(2, f"{job_id}: {type(error).__name__}: {error}\n".encode())
        status = 1
    os._exit(status)


def _brief(status: JobStatus | None) -> str:
    if status is None:
        return "no status"
    return f"{lifecycle(status)}, waiting for {status.waiting}"


def main(
    replays: Annotated[int, typer.Option(help="How many changes to strike.")] = 200,
    jobs: Annotated[int, typer.Option(help="Jobs side by side.")] = 4,
) -> None:
    """Run replays on a stack of their own and print the counts."""
    from tests.chaos.ground import ground  # noqa: PLC0415  # starts servers only when asked to

    began = time.monotonic()
    with ground() as place:
        found = run(place, replays=replays, jobs=jobs)
    for fault in found.faults:
        typer.echo(f"  {fault}")
    for change, count in sorted(found.by_change.items()):
        typer.echo(f"{count:5} {change}")
    for call, count in sorted(found.struck.items()):
        typer.echo(f"{count:5} died {call}")
    typer.echo(
        f"{found.by_change.total()} changes, {found.struck.total()} processes killed at {len(found.struck)} different points,"
        f" {found.missed} looks over before their point, {len(found.faults)} faults, {time.monotonic() - began:.0f} s"
    )
    raise typer.Exit(1 if found.faults else 0)


if __name__ == "__main__":
    typer.run(main)
