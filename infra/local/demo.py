"""The demonstration, `python -m infra.local.demo`: one stateful job on a real Flink, deployed, upgraded, its count intact.

Everything is done as a team would do it, with `flinkctl` and nothing else; only the count is read from Flink directly,
because that is the proof.
"""

import json
import os
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from rich.console import Console

from infra.local.errors import LocalStackError
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.stack import LocalStack
from tests.jobs.build import build, entry_class

JOB: Final = "demo-counter"
ARTIFACT: Final = "artifacts/demo-counter.jar"
RATE: Final = 50
"""Numbers that the job counts per second."""
STABLE_SECONDS: Final = 300
READ_SECONDS: Final = 60
"""How long a count may take to appear; Flink refreshes its metrics every few seconds."""
HEAD_START_SECONDS: Final = 20
"""How long the first version counts at least: long enough that the second could not have counted as far by itself."""
SPEC: Final = f"""\
# Written by `make demo`; change it and run `flinkctl apply -f` on it again.
job_id: {JOB}
job_type: stream
artifact_path: {ARTIFACT}
entry_class: {entry_class("CounterJob")}
args: ["--rate", "{RATE}"]
deployment:
  parallelism: 1
  checkpoint_interval: 2000          # ms
  rollback: {{stabilization_seconds: 5}}
"""


T = TypeVar("T")


class DemoError(LocalStackError):
    """The demonstration did not show what it is for; the message says what was seen instead."""


@dataclass(frozen=True)
class Count:
    """What the job had counted at some moment."""

    flink_job_id: str
    total: int
    alive_seconds: float
    """Since when this Flink job runs; a stretch in which it could have counted at most `possible`."""

    @property
    def possible(self) -> int:
        """How far a job that began at zero could have come by now, generously."""
        return int((self.alive_seconds + 2) * RATE)


class Demo:
    """One run of the story."""

    def __init__(self, stack: LocalStack, progress: Progress) -> None:
        """Take the stack that the story is played on; it need not run yet."""
        self._stack = stack
        self._progress = progress
        self._console = Console(highlight=False, soft_wrap=True)
        self._directory = stack.settings.directory / "demo"
        self._environ: dict[str, str] = {}

    def play(self) -> None:
        """Tell the whole story.

        Raises:
            LocalStackError: something stands in the way, or the count did not carry over.
        """
        self._chapter("The local stack: the controller in an emulated AWS, and a real Flink")
        self._stack.up()
        self._environ = _environment(self._stack)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._clear_stage()
        jars = self._build()

        self._chapter("Version 1: sign, upload, declare")
        self._push(jars["v1"])
        spec = self._directory / "counter.yaml"
        spec.write_text(SPEC)
        self._flinkctl("apply", "-f", str(spec))
        self._flinkctl("wait", JOB, "--for", "stable", "--timeout", str(STABLE_SECONDS))
        self._flinkctl("get", JOB)
        before = self._count_before_upgrade()

        self._chapter("Version 2: upload it under the same key, and the job is upgraded with its state")
        self._push(jars["v2"])
        after = self._count_after_upgrade(before)
        self._flinkctl("wait", JOB, "--for", "stable", "--timeout", str(STABLE_SECONDS))
        self._flinkctl("get", JOB)

        self._chapter("The timeline")
        self._flinkctl("events", JOB)
        self._judge(before, after)

    def _clear_stage(self) -> None:
        """End the job of an earlier run; what it has counted is kept, and counted on."""
        known = self._json("get", JOB, check=False)
        if known and known["lifecycle"] != "DELETED":
            self._progress.say(f"{JOB} is there from an earlier run; it is stopped, and goes on from where it was.")
            self._flinkctl("delete", JOB)
            self._flinkctl("wait", JOB, "--for", "deleted", "--timeout", str(STABLE_SECONDS))

    def _build(self) -> dict[str, Path]:
        version = self._stack.settings.flink_version
        with self._progress.step("build versions 1 and 2 of the job"):
            return {label: build("CounterJob", version, label=label) for label in ("v1", "v2")}

    def _push(self, jar: Path) -> None:
        self._flinkctl("artifact", "push", str(jar), "--to", ARTIFACT)
        newest = self._until(self._verdict, "a verdict on the upload")
        self._progress.say(f"{ARTIFACT} version {newest['version_id']}: {newest['verdict']}, {newest['message']}")

    def _verdict(self) -> dict[str, Any] | None:
        """Give the record of the newest version once its signature was checked."""
        found = self._json("artifact", "list", ARTIFACT, check=False)
        newest = found["items"][-1] if found else None
        if newest is None or newest["verdict"] == "waiting":
            return None
        if newest["verdict"] == "refused":
            raise DemoError(f"The upload was refused: {newest['message']}.")
        return dict(newest)

    def _count_before_upgrade(self) -> Count:
        with self._progress.step(f"let version 1 count for {HEAD_START_SECONDS} s"):
            while (count := self._until(self._count, "the count")).alive_seconds < HEAD_START_SECONDS:
                time.sleep(1)
        self._console.print(f"Version 1 ({count.flink_job_id}) has counted to [bold]{count.total}[/bold].")
        return count

    def _count_after_upgrade(self, before: Count) -> Count:
        def count() -> Count | None:
            found = self._count()
            return found if found is not None and found.flink_job_id != before.flink_job_id else None

        with self._progress.step("wait for version 2 to count"):
            after = self._until(count, "version 2's count", seconds=STABLE_SECONDS)
        self._console.print(
            f"Version 2 ({after.flink_job_id}) has counted to [bold]{after.total}[/bold], {after.alive_seconds:.1f} s after its start."
        )
        return after

    def _count(self) -> Count | None:
        """Read the count over Flink's REST interface; None while it cannot be read."""
        job_id = self._json("get", JOB)["flink"]["job_id"]
        try:
            job = self._flink(f"/jobs/{job_id}")
            vertex = next(one["id"] for one in job["vertices"] if one["name"].startswith("count"))
            metrics = self._flink(f"/jobs/{job_id}/vertices/{vertex}/metrics?get=0.count.total")
            total = int(metrics[0]["value"])
        except (OSError, ValueError, LookupError, StopIteration):
            return None
        if job["state"] != "RUNNING" or total == 0:
            return None
        return Count(job_id, total, (job["now"] - job["start-time"]) / 1000)

    def _judge(self, before: Count, after: Count) -> None:
        savepoint = (self._json("get", JOB)["savepoint"] or {}).get("path", "none")
        if after.total < before.total or after.total <= after.possible:
            raise DemoError(
                f"The count did not carry over: version 1 had {before.total}, version 2 had {after.total} and could have counted"
                f" {after.possible} by itself. The timeline above says what happened."
            )
        self._console.print(
            f"\n[bold green]The count carried over.[/bold green] Version 1 had {before.total}; version 2 had {after.total}"
            f" {after.alive_seconds:.1f} s after its start, and could have counted at most {after.possible} by itself.\n"
            f"It started from {savepoint}"
        )
        environment = os.path.relpath(self._stack.environment_file)
        self._console.print(
            f"""
Look around:
  source {environment} && export PATH="$PWD/.venv/bin:$PATH"
  flinkctl describe {JOB}
  flinkctl history {JOB}
  flinkctl suspend {JOB} && flinkctl wait {JOB} --for suspended
  Flink's UI:  {self._stack.settings.flink_rest_url}
  The spec:    {os.path.relpath(self._directory / "counter.yaml")}
Stop everything:
  make local-down""",
            markup=False,
        )

    def _chapter(self, title: str) -> None:
        self._console.print(f"\n[bold]{title}[/bold]")

    def _until(self, read: Callable[[], T | None], what: str, seconds: float = READ_SECONDS) -> T:
        deadline = time.monotonic() + seconds
        while (found := read()) is None:
            if time.monotonic() > deadline:
                raise DemoError(f"There was no sign of {what} within {seconds:g} s; see flinkctl describe {JOB}.")
            time.sleep(0.3)
        return found

    def _flink(self, path: str) -> Any:
        # No proxy of the host may come between two processes of one machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self._stack.settings.flink_rest_url}{path}", timeout=10) as answer:
            return json.load(answer)

    def _flinkctl(self, *arguments: str) -> None:
        """Run a command as a person would, and show it."""
        self._console.print(f"$ flinkctl {shlex.join(arguments)}", style="dim", markup=False)
        sys.stdout.flush()
        done = subprocess.run(
            [_program(), *arguments], env=self._environ, stdin=subprocess.DEVNULL, check=False
        )  # our own program
        if done.returncode != 0:
            self._flinkctl_quietly("events", JOB)
            raise DemoError(f"`flinkctl {shlex.join(arguments)}` ended with status {done.returncode}; it says why above.")

    def _flinkctl_quietly(self, *arguments: str) -> None:
        subprocess.run(
            [_program(), *arguments], env=self._environ, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )  # our own program

    def _json(self, *arguments: str, check: bool = True) -> Any:
        """Run a reading command and give its document; None when it fails and that is all right."""
        done = subprocess.run(  # our own program
            [_program(), *arguments, "-o", "json"],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            if check:
                raise DemoError(f"`flinkctl {shlex.join(arguments)}` failed: {done.stderr.strip()}")
            return None
        return json.loads(done.stdout)


def main() -> None:
    """Play the demonstration; what stands in the way is said in one sentence."""
    progress = Progress()
    try:
        Demo(LocalStack(LocalSettings.from_env(os.environ), os.environ, progress), progress).play()
    except LocalStackError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


def _program() -> str:
    return str(Path(sys.executable).with_name("flinkctl"))


def _environment(stack: LocalStack) -> dict[str, str]:
    """Give what `source .local/env` gives, and of the host's own only what a terminal needs."""
    host: Mapping[str, str] = os.environ
    kept = {name: host[name] for name in ("PATH", "HOME", "LANG", "TERM", "COLUMNS", "NO_COLOR") if name in host}
    return {**kept, **stack.environ()}


if __name__ == "__main__":
    main()
