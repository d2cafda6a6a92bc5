"""What operators ask of a namespace and grant it: `policy set`, `policy list`."""

from typing import Annotated

import typer
from pydantic import ValidationError

from flink_controller.cli.context import remote_of, session_of
from flink_controller.cli.output import Format, FormatOption, emit, print_table, say
from flink_controller.domain.names import NAME, shown
from flink_controller.domain.trust import NamespacePolicy, Quotas, Reaction, RegistryEvent, StatementRule

app = typer.Typer(
    help="Say what a namespace must fulfil and may take.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(name="set", epilog="Example: flinkctl policy set payments --statement required --threshold payments/core/=2")
def set_(
    context: typer.Context,
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="Whose artifacts.")],
    statement: Annotated[
        StatementRule, typer.Option(help="Whether every signature must cover a statement.")
    ] = StatementRule.OPTIONAL,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX=N", help="How many different keys must sign under a prefix, 1 or 2; may be repeated."),
    ] = None,
    on_distrust: Annotated[
        Reaction, typer.Option(help="What happens to a job that runs on a revoked key or denied bytes.")
    ] = Reaction.FLAG,
    state_root: Annotated[
        list[str] | None,
        typer.Option(metavar="URI", help="Where first savepoints may lie beside the namespace's own; may be repeated."),
    ] = None,
    max_active_runs: Annotated[
        int, typer.Option(min=0, max=10_000, metavar="N", help="Runs of batch jobs at a time; 0 lets none start.")
    ] = Quotas().active_runs,
) -> None:
    """Write a namespace's whole policy.

    What is not said gets its default. Counts for uploads and starts from now on; what was admitted or runs stays so.
    """
    if not NAME.fullmatch(namespace) or namespace == "artifacts":
        raise typer.BadParameter(f"{shown(namespace)} is no name of a namespace", param_hint="'NAMESPACE'")
    session = session_of(context)
    thresholds = [dict(zip(("prefix", "keys"), _pair(text), strict=True)) for text in threshold or ()]
    try:
        policy = NamespacePolicy.model_validate(
            {
                "namespace": namespace,
                "statement": statement,
                "thresholds": thresholds,
                "on_distrust": on_distrust,
                "state_roots": state_root or (),
                "quotas": {"active_runs": max_active_runs},
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = "--threshold" if "thresholds" in first["loc"] else "--state-root"
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=f"'{where}'") from None
    text = policy.model_dump_json(exclude_defaults=True, exclude={"namespace"})
    event = RegistryEvent(
        time=session.clock.now(),
        action="Changed",
        subject=f"POLICY#{namespace}",
        message=text,
        by=session.remote.whoami(),
    )
    session.remote.registry.put_policy(policy, event)
    say(f"{namespace}: {text}")


@app.command(name="list", epilog="Example: flinkctl policy list")
def list_(context: typer.Context, output: FormatOption = Format.TABLE) -> None:
    """Show the policies that are not the default."""
    found = remote_of(context).registry.policies()

    def table() -> None:
        if not found:
            say("no policies; every namespace has the defaults")
            return
        print_table(
            ("NAMESPACE", "STATEMENT", "THRESHOLDS", "ON DISTRUST", "STATE ROOTS", "ACTIVE RUNS"),
            [
                (
                    one.namespace,
                    one.statement,
                    ", ".join(f"{rule.prefix}={rule.keys}" for rule in one.thresholds),
                    one.on_distrust,
                    ", ".join(one.state_roots),
                    one.quotas.active_runs,
                )
                for one in found
            ],
        )

    emit({"items": [one.model_dump(mode="json") for one in found]}, output, table=table)


def _pair(text: str) -> tuple[str, int]:
    prefix, found, number = text.rpartition("=")
    if not found or not number.isdecimal():
        raise typer.BadParameter(f"{shown(text)}: write PREFIX=N", param_hint="'--threshold'")
    return prefix, int(number)
