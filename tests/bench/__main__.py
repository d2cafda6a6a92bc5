"""The whole bench, unattended: `python -m tests.bench`, which is `make bench`.

Each part is a program of its own, prints its tables, and keeps its numbers under docs/performance/. One that fails fails the
command, and the others run all the same. The page and the plots are made at the end, of the numbers that are there.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

import typer

from infra.local.settings import CHECKOUT

PARTS: Final[Mapping[str, Sequence[str]]] = {
    "verification": ("tests.bench.verification",),
    "schedule": ("tests.bench.schedule",),
    "operations": ("tests.bench.operations",),
    "cost": ("tests.bench.cost",),
    "cold-start": ("tests.bench.cold_start",),
    "first-call": ("tests.bench.first_call",),
    "latency": ("tests.bench.latency",),
    "storm": ("tests.bench.storm",),
    "fleet": ("tests.bench.fleet",),
    "budgets": ("tests.bench.budgets",),
    "plots": ("tests.bench.plots",),
    "page": ("tests.bench.page",),
}
"""By name: a module and its arguments, in the order in which they run. `cost` reads what `operations` kept."""
LIMIT_S: Final = 20 * 60.0
"""Of one part. One that hangs is interrupted, so that it stops what it started."""
GRACE_S: Final = 60.0


def run(part: Sequence[str], limit_s: float = LIMIT_S) -> int:
    """Run a part with its output going through; give its exit status, and not 0 if it was interrupted."""
    module, *arguments = part
    child = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=CHECKOUT)
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        typer.echo(f"bench: {module} took more than {limit_s:.0f} s and is interrupted", err=True)
        child.send_signal(signal.SIGINT)
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        return 1


def run_all(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Run parts one after the other, telling which; give the names of those that failed."""
    failed, began = [], time.monotonic()
    for at, (name, part) in enumerate(parts.items(), 1):
        typer.echo(f"bench: {name}, part {at} of {len(parts)}, after {time.monotonic() - began:.0f} s")
        started = time.monotonic()
        status = run(part)
        if status:
            failed.append(name)
        outcome = f"failed with exit status {status}" if status else "done"
        typer.echo(f"bench: {name} {outcome} in {time.monotonic() - started:.0f} s")
    return failed


def chosen(only: str, skip: str) -> dict[str, Sequence[str]]:
    """Pick parts by their names, comma-separated; all that `only` names, or all, without those that `skip` names.

    Raises:
        typer.BadParameter: there is no part of a name.
    """
    wanted, unwanted = ({name for name in names.split(",") if name} for names in (only, skip))
    unknown = (wanted | unwanted) - set(PARTS)
    if unknown:
        raise typer.BadParameter(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return {name: part for name, part in PARTS.items() if name not in unwanted and (not wanted or name in wanted)}


def main(
    only: Annotated[str, typer.Option(help="Parts to run, comma-separated; all without it.")] = "",
    skip: Annotated[str, typer.Option(help="Parts to leave out, comma-separated.")] = "",
) -> None:
    """Run the bench, and say at the end what failed."""
    began = time.monotonic()
    failed = run_all(chosen(only, skip))
    typer.echo(f"bench: {time.monotonic() - began:.0f} s in all")
    if failed:
        raise SystemExit(f"bench: failed: {', '.join(failed)}")


if __name__ == "__main__":
    typer.run(main)
