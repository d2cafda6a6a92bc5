"""Flink twins behind HTTP, as a process of their own, so that they take no time of the process that is measured.

`python -m tests.bench.twins --clusters 20` prints a JSON list of addresses and serves them until its input ends.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Annotated

import typer

from flink_controller.testing.flink_twin import TwinOptions
from tests.integration.flink_server import serving


@contextmanager
def served(clusters: int) -> Iterator[list[str]]:
    """Give the addresses of so many twins, served for as long as the block lasts."""
    command = [sys.executable, "-m", "tests.bench.twins", "--clusters", str(clusters)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


def main(clusters: Annotated[int, typer.Option(help="How many.")] = 1) -> None:
    """Serve until the input ends."""
    options = TwinOptions(slots=10_000, statistics_age=timedelta(milliseconds=50))
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(options)) for _ in range(clusters)]
        typer.echo(json.dumps([server.url for server in servers]))
        sys.stdin.read()


if __name__ == "__main__":
    typer.run(main)
