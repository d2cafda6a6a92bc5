"""The program `flinkctl`: its commands, put together, and the way in."""

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from flink_controller.cli import (
    artifact,
    backup,
    batch,
    cluster,
    describe,
    fleet,
    going_back,
    job,
    key,
    pause,
    policy,
    redrive,
    savepoint,
    spec,
    wish,
)
from flink_controller.cli.context import real_session
from flink_controller.cli.fault import told


class Program(TyperGroup):
    """The outermost command: every error that this package raises on purpose ends here, as a sentence and a status."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with told():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Program,
    name="flinkctl",
    help="Run Flink jobs by declaration: write what you want, and the controller makes the cluster match.",
    epilog="Exit status: 0 done, 1 refused, failed or not there, 2 wrong usage, 3 timed out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for noun in (spec, job, describe, fleet, batch, wish, going_back, pause, redrive):
    noun.register(app)
app.add_typer(savepoint.app, name="savepoint")
app.add_typer(artifact.app, name="artifact")
app.add_typer(key.app, name="keys")
app.add_typer(policy.app, name="policy")
app.add_typer(cluster.app, name="cluster")
app.add_typer(backup.app, name="backup")


def run() -> None:
    """Run the program on this process's arguments."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets its escape instead of a stack trace.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # real streams are text wrappers
    app(obj=real_session())


if __name__ == "__main__":
    run()
