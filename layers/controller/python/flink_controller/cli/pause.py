"""The kill switch: `pause`, `unpause`. What is paused is watched, and nothing is done about it."""

from typing import Annotated, TypeAlias

import typer

from flink_controller.cli.changes import change_of, show_changes
from flink_controller.cli.context import Remote, remote_of, session_of
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say, tell
from flink_controller.domain.pauses import EVERYTHING, cluster_scope, job_scope, namespace_scope, scope_fault, scopes_of
from flink_controller.domain.status import Pause

ClusterOption: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="Every job on a cluster.")]
NamespaceOption: TypeAlias = Annotated[str | None, typer.Option(metavar="NAME", help="Every job of a namespace.")]
JobOption: TypeAlias = Annotated[str | None, typer.Option(metavar="JOB", help="One job.")]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="Every job.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog='Example: flinkctl pause --cluster default --reason "maintenance until noon"')(pause)
    app.command(epilog="Example: flinkctl unpause --cluster default")(unpause)


def pause(
    context: typer.Context,
    cluster: ClusterOption = None,
    namespace: NamespaceOption = None,
    job: JobOption = None,
    everything: AllOption = False,  # noqa: FBT002  # a flag
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; every paused job's status shows it.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show what is paused instead.")] = False,  # noqa: FBT002  # a flag
    history: Annotated[  # noqa: FBT002  # a flag
        bool, typer.Option("--history", help="Show instead when a scope was paused and unpaused, and by whom.")
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Let the controller do nothing more to jobs.

    Flink runs on as it is; the controller goes on watching. A step under way is finished, an upgrade under way stays half done.
    """
    remote = remote_of(context)
    if list_:
        if cluster or namespace or job or everything or reason:
            raise typer.BadParameter("stands alone", param_hint="'--list'")
        _list(remote, output)
        return
    scope = _scope(cluster, namespace, job, everything=everything)
    if history:
        show_changes(remote, f"PAUSE#{scope}", f"pauses of {scope}", output)
        return
    if not reason or not reason.strip():
        raise typer.BadParameter("say why, for whoever looks at a paused job", param_hint="'--reason'")
    wanted = Pause(scope=scope, reason=printable(reason).strip())
    known = remote.registry.pause_of([scope])
    if known == wanted:
        say(f"{scope}: unchanged, it is paused already")
        return
    _warn_of_nothing(remote, cluster, job)
    remote.registry.put_pause(wanted, change_of(session_of(context), f"PAUSE#{scope}", "Paused", wanted.reason))
    again = "is paused for another reason now" if known is not None else "is paused"
    say(f"{scope}: {again}; {_unpausing(scope)} ends it")


def unpause(
    context: typer.Context,
    cluster: ClusterOption = None,
    namespace: NamespaceOption = None,
    job: JobOption = None,
    everything: AllOption = False,  # noqa: FBT002  # a flag
) -> None:
    """End a pause; the jobs go on within a minute.

    Ends that one pause only: what is paused by a wider one as well stays so.
    """
    remote = remote_of(context)
    scope = _scope(cluster, namespace, job, everything=everything)
    if remote.registry.pause_of([scope]) is None:
        say(f"{scope}: unchanged, it is not paused")
    else:
        remote.registry.delete_pause(scope, change_of(session_of(context), f"PAUSE#{scope}", "Unpaused", ""))
        say(f"{scope}: is not paused any more; its jobs go on within a minute")
    left = remote.registry.pause_of(_around(remote, cluster, namespace, job))
    if left is not None:
        tell(f"warning: {left.scope} is paused as well; {_unpausing(left.scope)} ends that")


def _scope(cluster: str | None, namespace: str | None, job: str | None, *, everything: bool) -> str:
    named = [
        *([] if cluster is None else [cluster_scope(cluster)]),
        *([] if namespace is None else [namespace_scope(namespace)]),
        *([] if job is None else [job_scope(job)]),
        *([EVERYTHING] if everything else []),
    ]
    if len(named) != 1:
        raise typer.BadParameter("name one of --cluster, --namespace, --job and --all")
    fault = scope_fault(named[0])
    if fault is not None:
        raise typer.BadParameter(fault, param_hint=f"'--{named[0].partition('/')[0]}'")
    return named[0]


def _warn_of_nothing(remote: Remote, cluster: str | None, job: str | None) -> None:
    """A slip in a name would pause nothing, and seem to."""
    if cluster is not None and cluster not in {found.name for found in remote.registry.clusters()}:
        tell(f"warning: no cluster {cluster} is registered")
    if job is not None and remote.specs.read(job) is None and remote.statuses.read(job) is None:
        tell(f"warning: there is no job {job} yet")


def _around(remote: Remote, cluster: str | None, namespace: str | None, job: str | None) -> tuple[str, ...]:
    """Name the scopes around one."""
    if job is None:
        return () if cluster is None and namespace is None else (EVERYTHING,)
    status = remote.statuses.read(job)
    return scopes_of(job, () if status is None else (status.cluster,))


def _unpausing(scope: str) -> str:
    kind, slash, name = scope.partition("/")
    return f"flinkctl unpause --{kind}{' ' if slash else ''}{name}"


def _list(remote: Remote, output: Format) -> None:
    found = remote.registry.pauses()

    def table() -> None:
        if not found:
            say("nothing is paused")
            return
        print_table(("SCOPE", "REASON"), [(one.scope, one.reason) for one in found])

    emit({"items": [one.model_dump(mode="json") for one in found]}, output, table=table)
