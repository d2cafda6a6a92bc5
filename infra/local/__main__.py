"""The command `python -m infra.local`: what `make local` and `make local-down` call."""

import dataclasses
import os
from enum import Enum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from infra.local.errors import LocalStackError
from infra.local.progress import Progress
from infra.local.settings import LocalSettings
from infra.local.stack import LocalStack
from infra.local.toolchain import Toolchain

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Part(Enum):
    """A part of the stack that can be started alone."""

    AWS = "aws"
    FLINK = "flink"


class Tool(Enum):
    """A tool that is of use without the local stack."""

    CDK = "cdk"
    """To deploy to AWS."""


@app.command()
def up(only: Annotated[Part | None, typer.Option(help="Start this part alone, with nothing deployed.")] = None) -> None:
    """Start the stack in the background and say how to use it."""
    stack = _stack()
    if only is Part.AWS:
        stack.start_aws()
        typer.echo(f"The AWS emulator answers on {stack.aws.url}.")
    elif only is Part.FLINK:
        cluster = stack.start_flink()
        typer.echo(f"Flink answers on {cluster.rest_url}.")
    else:
        if stack.is_up():
            typer.echo("The local stack is already running.")
        stack.up()
        typer.echo(_usage(stack))


@app.command()
def install(
    flink: Annotated[list[str] | None, typer.Option(help="Version of Flink, repeatable; default as for `up`.")] = None,
    only: Annotated[Tool | None, typer.Option(help="Download this alone.")] = None,
) -> None:
    """Download all that the stack and the tests need, and start nothing."""
    settings, progress = LocalSettings.from_env(os.environ), Progress()
    if only is Tool.CDK:
        Toolchain(settings.cache_directory, os.environ, progress).cdk()
        return
    for version in flink or [settings.flink_version]:
        LocalStack(dataclasses.replace(settings, flink_version=version), os.environ, progress).install()


@app.command()
def deploy() -> None:
    """Deploy the checkout's code into the running stack again."""
    stack = _stack()
    if not stack.is_up():
        raise LocalStackError(f"No local stack runs in {stack.settings.directory}; run `make local`.")
    stack.deployment.deploy()


@app.command()
def down() -> None:
    """Stop what `up` started."""
    _stack().down()


@app.command()
def status() -> None:
    """Say what runs, and where."""
    table = Table("part", "state", "where")
    for row in _stack().describe():
        table.add_row(*row)
    Console().print(table)


def main() -> None:
    """Run the command; what stands in the way is said in one sentence."""
    try:
        app()
    except LocalStackError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(1) from None


def _stack() -> LocalStack:
    return LocalStack(LocalSettings.from_env(os.environ), os.environ, Progress())


def _usage(stack: LocalStack) -> str:
    return f"""
The local stack is up.
  in a shell:   source {os.path.relpath(stack.environment_file)}
  then:         flinkctl get
  Flink's UI:   {stack.settings.flink_rest_url}
  AWS:          {stack.aws.url}
  state:        {stack.roots().savepoints}
  stop it:      make local-down"""


if __name__ == "__main__":
    main()
