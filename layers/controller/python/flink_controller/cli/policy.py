"""What operators ask of a namespace and grant it: `policy set`, `policy list`."""

from collections.abc import Iterable
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from flink_controller.cli.changes import change_of, show_changes
from flink_controller.cli.context import Remote, remote_of, session_of
from flink_controller.cli.output import Format, FormatOption, emit, print_table, say, tell
from flink_controller.domain.names import NAME, shown
from flink_controller.domain.trust import ANY_CLUSTER, NamespacePolicy, Quotas, Reaction, StatementRule

_OPTIONS: Final = {"thresholds": "--threshold", "state_roots": "--state-root", "allowed_clusters": "--cluster"}

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
    cluster: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A cluster that jobs may be started on; may be repeated. Not said: any."),
    ] = None,
    max_active_runs: Annotated[
        int, typer.Option(min=0, max=10_000, metavar="N", help="Runs of batch jobs at a time; 0 lets none start.")
    ] = Quotas().active_runs,
    max_jobs: Annotated[
        int | None,
        typer.Option(
            min=0, max=100_000, metavar="N", help="Streaming jobs at a time. Not said: as many as there are specs."
        ),
    ] = None,
    max_slots: Annotated[
        int | None,
        typer.Option(min=0, max=1_000_000, metavar="N", help="Slots they may take, by parallelism. Not said: any number."),
    ] = None,
) -> None:
    """Write a namespace's whole policy.

    What is not said gets its default. Counts for uploads and starts from now on; what was admitted or runs stays so. What
    runs on a cluster that is not allowed any more is left running, told, and not started there again.
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
                "quotas": {"active_runs": max_active_runs, "jobs": max_jobs, "slots": max_slots},
                "allowed_clusters": cluster or (ANY_CLUSTER,),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = _OPTIONS[str(first["loc"][0])]
        raise typer.BadParameter(first["msg"].removeprefix("Value error, "), param_hint=f"'{where}'") from None
    text = policy.model_dump_json(exclude_defaults=True, exclude={"namespace"})
    event = change_of(session, f"POLICY#{namespace}", "Changed", text)
    _warn_of_nothing(session.remote, cluster or ())
    session.remote.registry.put_policy(policy, event)
    say(f"{namespace}: {text}")


@app.command(epilog="Example: flinkctl policy history payments")
def history(
    context: typer.Context,
    namespace: Annotated[str, typer.Argument(metavar="NAMESPACE", help="The namespace.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Show who changed a namespace's policy, oldest first."""
    show_changes(remote_of(context), f"POLICY#{namespace}", f"the policy of {namespace}", output)


@app.command(name="list", epilog="Example: flinkctl policy list")
def list_(context: typer.Context, output: FormatOption = Format.TABLE) -> None:
    """Show the policies that are not the default."""
    found = remote_of(context).registry.policies()

    def table() -> None:
        if not found:
            say("no policies; every namespace has the defaults")
            return
        print_table(
            (
                "NAMESPACE",
                "STATEMENT",
                "THRESHOLDS",
                "ON DISTRUST",
                "STATE ROOTS",
                "ACTIVE RUNS",
                "JOBS",
                "SLOTS",
                "CLUSTERS",
            ),
            [
                (
                    one.namespace,
                    one.statement,
                    ", ".join(f"{rule.prefix}={rule.keys}" for rule in one.thresholds),
                    one.on_distrust,
                    ", ".join(one.state_roots),
                    one.quotas.active_runs,
                    one.quotas.jobs,
                    one.quotas.slots,
                    ", ".join(one.allowed_clusters),
                )
                for one in found
            ],
        )

    emit({"items": [one.model_dump(mode="json") for one in found]}, output, table=table)


def _warn_of_nothing(remote: Remote, clusters: Iterable[str]) -> None:
    """A slip in a name would keep every job from starting."""
    known = {found.name for found in remote.registry.clusters()} | {ANY_CLUSTER}
    for name in clusters:
        if name not in known:
            tell(f"warning: no cluster {name} is registered")


def _pair(text: str) -> tuple[str, int]:
    prefix, found, number = text.rpartition("=")
    if not found or not number.isdecimal():
        raise typer.BadParameter(f"{shown(text)}: write PREFIX=N", param_hint="'--threshold'")
    return prefix, int(number)
