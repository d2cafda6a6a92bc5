"""What a cold start imports, beside boto3 and the clients that the function uses: `make bench` keeps docs/performance/cold-start.json.

Each function's handler is imported in a fresh interpreter, in turns with its yardstick, so that a busy machine slows both.
What counts is the ratio of processor times: an import waits for nothing.
"""

import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer

from infra.functions import FUNCTIONS, Access, FunctionSpec
from infra.local.settings import CHECKOUT
from tests.bench.ground import keep

BUDGET: Final = 1.5
"""Times the yardstick."""
SHOWN: Final = 8
"""Most expensive imports that are named."""
_SERVICES: Final[Mapping[str, frozenset[Access]]] = {
    "s3": frozenset({Access.READ_ARTIFACTS, Access.READ_ARTIFACT_VERSIONS, Access.READ_SAVED_STATE}),
    "sqs": frozenset({Access.SEND_FOLLOW_UPS, Access.COUNT_FOLLOW_UPS}),
    "events": frozenset({Access.PUBLISH_EVENTS}),
    "sns": frozenset({Access.PUBLISH_EVENTS}),
    "secretsmanager": frozenset({Access.ROTATE_SECRETS}),
}


def services(row: FunctionSpec) -> list[str]:
    """Give the services that a usual invocation of a function has a client of."""
    found = [service for service, accesses in _SERVICES.items() if accesses & set(row.access)]
    return found if row.access == (Access.PUBLISH_EVENTS,) else ["dynamodb", *found]


def processor_s(program: str) -> float:
    """Run a program in a fresh interpreter; give the seconds of processor that it took.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, env=_environment(), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _environment() -> dict[str, str]:
    return {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(CHECKOUT)}


def costs(module: str) -> dict[str, int]:
    """Name the packages whose own modules take longest to import, in microseconds, without what they import from others."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=CHECKOUT, env=_environment(), capture_output=True, text=True, check=True)
    packages: dict[str, int] = {}
    for line in done.stderr.splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        package = ".".join(name.strip().split(".")[: 2 if "flink_controller" in name else 1])
        packages[package] = packages.get(package, 0) + int(own)
    return dict(sorted(packages.items(), key=lambda item: -item[1])[:SHOWN])


def measure(row: FunctionSpec, rounds: int) -> dict[str, Any]:
    """Time a function's imports in turns with its yardstick."""
    handler = f"import functions.{row.name}.handler"
    used = services(row)
    clients = "".join(f"; boto3.client({service!r})" for service in used)
    programs = {
        "handler_s": handler,
        "yardstick_s": f"import boto3{clients}",
        "together_s": f"{handler}; import boto3{clients}",
    }
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(rounds):
        for name, program in programs.items():
            taken[name].append(round(processor_s(program), 4))
    return {"services": used, **taken}


def tables(kept: Mapping[str, Any]) -> str:
    """Write the measurements as the page shows them."""
    lines = [
        "| function | imports | boto3 and its clients | ratio | both | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in kept["functions"].items():
        handler, yardstick, both = (statistics.median(one[key]) for key in ("handler_s", "yardstick_s", "together_s"))
        cells = (
            f"{handler:.2f} s",
            f"{yardstick:.2f} s",
            f"{handler / yardstick:.2f}",
            f"{both:.2f} s",
            f"{both / yardstick:.2f}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    dearest = ", ".join(f"`{name}` {spent / 1000:.0f} ms" for name, spent in kept["dearest"].items())
    return "\n".join([*lines, "", f"Where the imports of `reconcile_job` spend their time, by package: {dearest}."])


def main(rounds: Annotated[int, typer.Option(help="Fresh interpreters of each kind.")] = 10) -> None:
    """Measure every function, print the table, keep the numbers."""
    found = {}
    for row in FUNCTIONS:
        found[row.name] = measure(row, rounds)
        typer.echo(f"cold start: {row.name} measured")
    kept = {"rounds": rounds, "budget": BUDGET, "functions": found, "dearest": costs("functions.reconcile_job.handler")}
    keep("cold-start", kept)
    typer.echo(tables(kept))


if __name__ == "__main__":
    typer.run(main)
