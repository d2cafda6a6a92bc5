"""The first invocation of each function in a fresh interpreter: `python -m tests.bench.first_call` keeps first-call.json.

Emulator and Flink twin as for the fleet. What counts is the time of processor, since Lambda starts a sandbox for a first call
and nobody waits for an emulator. `reconcile_job` deploys a job that is new; the others find a small fleet. Beside it: imports
with and without byte code, and what a deployment uploads.
"""

import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flink_controller.bootstrap import controller
from infra.functions import FUNCTIONS
from infra.layers import CONTROLLER, NOT_FOR_FUNCTIONS, Target, install_dependencies
from infra.local.settings import CHECKOUT
from tests.bench.cold_start import processor_s
from tests.bench.fleet import Fleet
from tests.bench.ground import Ground, ground, keep, spec_item
from tests.bench.twins import served

JOBS: Final = 20
MB: Final = 1_000_000


def event_of(function: str, at: Ground, turn: int) -> Any:
    """Give an event that has the function do its usual work."""
    if function == "admit_artifact":
        return at.upload(key=f"artifacts/first-{turn}.jar")[-1]
    if function == "reconcile_job":
        job_id = f"first-{turn}"
        at.put_spec(spec_item(job_id, cluster="c00"))
        return {"Records": [{"messageId": "1", "body": json.dumps({"job_id": job_id})}]}
    if function == "publish_events":
        return {"Records": []}
    if function == "health":
        return {"rawPath": "/health/ready", "requestContext": {"http": {"method": "GET"}}}
    return {}


def measure(at: Ground, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Call every function in so many fresh interpreters."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in FUNCTIONS:
        taken: dict[str, list[float]] = {"imports_s": [], "first_s": [], "second_s": []}
        for turn in range(rounds):
            event = event_of(row.name, at, turn)
            command = [sys.executable, "-m", "tests.bench.bare", row.name, json.dumps(event)]
            done = subprocess.run(command, cwd=CHECKOUT, env=os.environ, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"bench: {row.name}: {done.stderr[-600:]}")
            for name, seconds in json.loads(done.stdout).items():
                taken[name].append(round(seconds, 4))
        found[row.name] = taken
        typer.echo(f"first call: {row.name} measured")
    return found


def byte_code(rounds: int) -> dict[str, list[float]]:
    """Time the imports of `reconcile_job` with byte code, and without any."""
    program = "import functions.reconcile_job.handler"
    taken: dict[str, list[float]] = {"with_s": [], "without_s": []}
    with tempfile.TemporaryDirectory() as empty:
        # An empty folder stands for a layer without byte code, and nothing is written to it.
        without = f"import sys; sys.pycache_prefix = {empty!r}; sys.dont_write_bytecode = True; {program}"
        for _ in range(rounds):
            taken["with_s"].append(round(processor_s(program), 4))
            taken["without_s"].append(round(processor_s(without), 4))
    return taken


def sizes() -> dict[str, int]:
    """Give the bytes of what a deployment uploads, unzipped."""
    with tempfile.TemporaryDirectory() as folder:
        # This machine's own wheels, which are as large as those of another of its kind.
        this = f"{sys.version_info.major}.{sys.version_info.minor}"
        install_dependencies(Target(python_version=this, machine="x86_64", is_host=True), Path(folder))
        files = [file for file in Path(folder).rglob("*") if file.is_file()]
        code = sum(file.stat().st_size for file in files if file.suffix == ".pyc")
        everything = sum(file.stat().st_size for file in files)
    own = sum(
        file.stat().st_size
        for file in CONTROLLER.rglob("*")
        if file.is_file()
        and file.suffix != ".pyc"
        and not file.relative_to(CONTROLLER).as_posix().startswith(NOT_FOR_FUNCTIONS)
    )
    handlers = [sum(file.stat().st_size for file in (CHECKOUT / "functions" / row.name).rglob("*.py")) for row in FUNCTIONS]
    return {
        "dependencies": everything - code,
        "byte_code": code,
        "controller": own,
        "largest_function": max(handlers),
    }


def tables(kept: Mapping[str, Any]) -> str:
    """Write the measurements as the page shows them."""
    lines = ["| function | imports | first call | second call |", "| --- | --- | --- | --- |"]
    for name, one in kept["functions"].items():
        cells = [f"{statistics.median(one[key]) * 1000:,.0f} ms" for key in ("imports_s", "first_s", "second_s")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    with_code, without = (statistics.median(kept["byte_code"][key]) for key in ("with_s", "without_s"))
    size = kept["bytes"]
    lines += [
        "",
        "| what a deployment uploads, unzipped | |",
        "| --- | --- |",
        f"| dependency layer: packages | {size['dependencies'] / MB:.1f} MB |",
        f"| dependency layer: their byte code | {size['byte_code'] / MB:.1f} MB |",
        f"| controller layer | {size['controller'] / MB:.1f} MB |",
        f"| a function, at most | {size['largest_function'] / 1000:.1f} kB |",
        "",
        f"Without any byte code the imports of `reconcile_job` take {without:.2f} s instead of {with_code:.2f} s.",
    ]
    return "\n".join(lines)


def main(
    rounds: Annotated[int, typer.Option(help="Fresh interpreters of each function.")] = 5,
) -> None:
    """Measure every function, print the tables, keep the numbers."""
    with ground() as at, served(1) as urls:
        os.environ.update(at.environ())
        bus = at.aws.client("events").create_event_bus(Name="bench")["EventBusArn"].rpartition("/")[2]
        topic = at.aws.client("sns").create_topic(Name="bench")["TopicArn"]
        os.environ.update(FLINKCTL_EVENT_BUS_NAME=bus, FLINKCTL_ALERT_TOPIC_ARN=topic)
        controller.cache_clear()
        with contextlib.redirect_stdout(io.StringIO()):
            Fleet(at, urls).deploy(JOBS)
        found = measure(at, rounds)
    kept = {"rounds": rounds, "functions": found, "byte_code": byte_code(rounds), "bytes": sizes()}
    keep("first-call", kept)
    typer.echo(tables(kept))


if __name__ == "__main__":
    typer.run(main)
