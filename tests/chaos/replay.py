"""Kill the reconciling process at the n-th port call, over and over, on the AWS emulator and a real Flink.

Each replay changes a job (`KINDS`) and forks processes that look at it, of which one dies by SIGKILL at the n-th port call
since the change; later ones bring the job where its spec says. A job that writes a line per record shows what really
happened: whether two copies were ever alive, and whether any count was lost.

`python -m tests.chaos.replay --replays 200` prints the counts; the suite runs a few.
"""

import base64
import hashlib
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
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
KINDS = (
    "upgrade by spec",
    "upgrade by artifact",
    "suspend",
    "blue-green",
    "rollback after a failure",
    "last-state",
    "delete",
    "restart",
    "rollback of a refused submit",
)
"""Changes in the order in which a job meets them. `suspend` and `delete` are followed by their way back."""
THEN = {"suspend": "resume", "delete": "rewrite"}
LONGEST = 41
"""Half-calls of a change, before and after each port call, among which one is struck; prime to the steps between them."""
BEATS_PER_S = 100
KEYS = 4
STALE = BEATS_PER_S // KEYS * 30
"""Counts of one key in half a minute. What came after a checkpoint is repeated; two a second are asked for, and a busy
machine takes fewer."""
BLUE_GREEN, LAST_STATE, FAILING = "blue-green", "last-state", "failing"
"""What copies of such an upgrade, and of a revision that must be refused, write in place of their version."""
REPEATING = frozenset({BLUE_GREEN, LAST_STATE})
"""All others go on exactly where their predecessor was stopped."""


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
    """Replays in which the job was where it should be before the n-th call."""
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

    def spec(self, *args: str, state: str = "running", **deployment: Any) -> dict[str, Any]:
        """Give the job's spec item, another one each turn."""
        beats = ("--rate", str(BEATS_PER_S), "--keys", str(KEYS), "--beats", str(self.ground.beats / self.job_id))
        return {
            "job_id": self.job_id,
            "job_type": "stream",
            "state": state,
            "artifact_path": self.key,
            "args": [*beats, "--turn", str(self._turn), *args],
            "deployment": {
                "checkpoint_interval": 500,
                "rollback": {"stabilization_seconds": 1, "deadline_seconds": 100},
                "on_failure": {"backoff_seconds": 1},
                **deployment,
            },
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
            case "blue-green":
                return self._put(self.spec("--version", BLUE_GREEN, upgrade_mode=BLUE_GREEN), Lifecycle.STABLE)
            case "last-state":
                return self._put(self.spec("--version", LAST_STATE, upgrade_mode=LAST_STATE), Lifecycle.STABLE)
            case "restart":
                return self._put(self.spec(restart_nonce=str(self._turn)), Lifecycle.STABLE)
            case "rollback of a refused submit":
                return self._put(self.spec("--fail-main"), Lifecycle.ROLLED_BACK)
            case "rollback after a failure":
                at_once: dict[str, Any] = {"restart_strategy": "fixed-delay", "max_restart_attempts": 0}
                return self._put(self.spec("--fail-after", "60", "--version", FAILING, **at_once), Lifecycle.ROLLED_BACK)
            case _:
                return self._put(self.spec(), Lifecycle.STABLE)

    def _put(self, item: dict[str, Any], end: Lifecycle) -> Callable[[JobStatus], bool]:
        self.specs.put_item(Item=item)
        wanted = hash_item(item)
        return lambda status: (
            lifecycle(status) is end and status.observed_spec_hash == wanted and status.rejected_spec_hash is None
        )

    def look(self, dies_at: int = 0) -> tuple[str | None, int]:
        """Fork a process that looks at the job, and let it die at its n-th half-call (0: at none).

        Returns:
            The call at which it died, None when it did not; and how many half-calls it made.
        """
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
            return last or "before the first call", dies_at
        return None, int(last or 0)

    def replay(self, kind: str, dies_at: int, replays: Replays) -> None:
        """Change the job, let a process die at the n-th half-call, and see that the job gets there all the same."""
        reached = self.change(kind)
        replays.by_change[kind] += 1
        struck, left = None, dies_at
        end = time.monotonic() + SETTLE_S
        while True:
            died, made = self.look(left)
            struck, left = died or struck, max(left - made, 0)
            if died is not None:
                replays.struck[died] += 1
            status = self.ports.statuses.read(self.job_id)
            if status is not None and reached(status):
                replays.missed += 1 if dies_at and struck is None else 0
                return
            if time.monotonic() > end:
                replays.faults.append(f"{self.job_id}: '{kind}' struck at {struck} did not settle: {_brief(status)}")
                return
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
        if kind in THEN:
            driver.replay(THEN[kind], dies_at, replays)
    driver.replay("delete", 0, replays)
    replays.faults += faults_in_beats(ground.beats / job_id)
    return replays


@dataclass
class Copy:
    """One attempt as its lines show it."""

    job: str
    version: str
    lines: list[tuple[int, int, int]] = field(default_factory=list)
    """Time in milliseconds, key and count of each record, in order of time."""

    def first_counts(self) -> dict[int, int]:
        """Give the first count of each key."""
        return {key: count for _, key, count in reversed(self.lines)}

    def last_counts(self, until_ms: float = math.inf) -> dict[int, int]:
        """Give the last count of each key, up to a time."""
        return {key: count for at, key, count in self.lines if at <= until_ms}


def read_copies(directory: Path) -> list[Copy]:
    """Read what the copies of a job wrote, in the order of their attempts."""
    copies: dict[str, Copy] = {}
    for file in directory.iterdir():
        for line in file.read_text().splitlines():
            at, job, version, key, count = line.split(",")
            copies.setdefault(job, Copy(job, version)).lines.append((int(at), int(key), int(count)))
    for copy in copies.values():
        copy.lines.sort()
    return sorted(copies.values(), key=lambda copy: copy.job)


def faults_in_beats(directory: Path) -> list[str]:
    """Find what must not be in the lines of a job's copies: two alive at once, a count lost, old state, a failed one's state."""
    faults: list[str] = []
    copies = read_copies(directory)
    for index, copy in enumerate(copies):
        begins, told = copy.lines[0][0], f"{directory.name}: {copy.job} ({copy.version})"
        alive = [other for other in copies[:index] if begins < other.lines[-1][0]]
        if len(alive) > (1 if copy.version == BLUE_GREEN else 0):
            faults.append(f"{told} began while {', '.join(other.job for other in alive)} lived")
        # A refused revision's state is given up with it, and blue's with blue: green goes on behind it.
        earlier = [other for other in copies[:index] if other.version != FAILING]
        reached = _highest(other.last_counts() for other in earlier)
        before = Counter(earlier[-1].last_counts(begins) if earlier else {})
        repeated = STALE if copy.version in REPEATING else 0
        for key, first in copy.first_counts().items():
            if first > reached[key] + 1:
                faults.append(f"{told} skips from {reached[key]} to {first} for key {key}")
            if first + repeated < before[key] + 1:
                faults.append(f"{told} begins at {first} for key {key}, which was at {before[key]}")
    return faults


def _highest(counts: Iterable[dict[int, int]]) -> Counter[int]:
    highest: Counter[int] = Counter()
    for found in counts:
        highest |= Counter(found)
    return highest


def series_points(replays: int, jobs: int) -> list[list[tuple[str, int]]]:
    """Spread (change, half-call) points over jobs, so that every change is struck all along."""
    points = [(KINDS[index % len(KINDS)], 1 + (index * 7) % LONGEST) for index in range(replays)]
    return [points[job::jobs] for job in range(jobs)]


def run(ground: Ground, *, replays: int, jobs: int = 4) -> Replays:
    """Run a number of replays, several jobs side by side."""
    series = [(ground, f"chaos-{index}", points) for index, points in enumerate(series_points(replays, jobs))]
    total = Replays()
    with get_context("spawn").Pool(jobs) as pool:
        for done in pool.starmap(run_series, series):
            total.add(done)
    return total


def _look_and_maybe_die(settings: Settings, policy: Policy, job_id: str, dies_at: int, writer: int) -> None:
    """Run in the child. Ends the process in any case."""
    made = 0

    def intercept(call: PortCall) -> Any:
        nonlocal made
        made += 1
        # Odd numbers die before the call, even ones after it.
        if made == (dies_at + 1) // 2 and dies_at % 2 == 1:
            os.write(writer, f"before {call.name}".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        result = call.target()
        if made == dies_at // 2 and dies_at % 2 == 0:
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
    os.write(writer, str(2 * made).encode())
    os._exit(status)


def _brief(status: JobStatus | None) -> str:
    if status is None:
        return "no status"
    refused = "" if status.refused is None else f", refused: {status.refused.reason}: {status.refused.message}"
    return f"{lifecycle(status)}, waiting for {status.waiting}{refused}"


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
        f" {found.missed} changes done before their point, {len(found.faults)} faults, {time.monotonic() - began:.0f} s"
    )
    raise typer.Exit(1 if found.faults else 0)


if __name__ == "__main__":
    typer.run(main)
