"""Clusters that specs may name: `cluster add`, `history`, `list`, `check`, `usage`."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flink_controller.cli import usage
from flink_controller.cli.changes import change_of, show_changes
from flink_controller.cli.context import FlinkProbe, Remote, remote_of, session_of
from flink_controller.cli.fault import FAILED, FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say
from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.cluster_check import (
    Check,
    CheckStatus,
    check_cluster,
    has_adaptive_scheduler,
    heartbeat_timeout_s,
    is_highly_available,
    name_fault,
    root_fault,
    runs_applications,
    url_fault,
)
from flink_controller.domain.credentials import connection_fault
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError
from flink_controller.domain.usage import capacity, check_memory

MAX_CA_BYTES: Final = 2**16
_SECRET: Final = re.compile(r"arn:[a-z-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:[\w/+=.@-]{1,512}")

_PYTHON: Final = re.compile(r"/?[\w.+-]+(/[\w.+-]+)*", re.ASCII)
_PRINCIPAL: Final = re.compile(r"[\w.-]+(/[\w.-]+)?@[\w.-]+", re.ASCII)

app = typer.Typer(help="Register Flink session clusters.", no_args_is_help=True, rich_markup_mode=None)


@app.command(
    epilog="Example: flinkctl cluster add default --url http://flink.internal:8081"
    " --savepoint-root s3://state/savepoints --checkpoint-root s3://state/checkpoints"
)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What specs call it.")],
    url: Annotated[str, typer.Option(metavar="URL", help="Address of Flink's REST interface, as the functions reach it.")],
    savepoint_root: Annotated[str, typer.Option(metavar="URI", help="Where savepoints are written.")],
    checkpoint_root: Annotated[str, typer.Option(metavar="URI", help="Where checkpoints are kept.")],
    auth: Annotated[Auth, typer.Option(help="How the controller proves itself to it.")] = Auth.NONE,
    secret: Annotated[str | None, typer.Option(metavar="ARN", help="Secret that holds the credentials.")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Private certificate authority, as PEM.")] = None,
    kerberos_principal: Annotated[
        str | None, typer.Option(metavar="NAME@REALM", help="As whom the controller speaks to it, with --auth kerberos.")
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Python with PyFlink, on all its machines. Default: it runs no PyFlink."),
    ] = None,
    heartbeat_timeout: Annotated[
        float | None,
        typer.Option(
            min=1, metavar="SECONDS", help="How long TaskManagers outlive their JobManager. Default: as Flink says."
        ),
    ] = None,
) -> None:
    """Register a cluster, or register it again.

    High availability, heartbeat timeout and version are read from Flink. Its address cannot change while a job on it is not known to be dead: two copies of the job could run.
    """
    remote = remote_of(context)
    _check_given(remote, name, url, (savepoint_root, checkpoint_root), auth, secret)
    if kerberos_principal is not None and (auth is not Auth.KERBEROS or not _PRINCIPAL.fullmatch(kerberos_principal)):
        raise FailureError("--kerberos-principal: write NAME@REALM, and --auth kerberos")
    if python is not None and not _PYTHON.fullmatch(python):
        raise FailureError(
            "--python: write the path of an interpreter on the cluster's machines, such as /opt/flink/venv/bin/python"
        )
    cluster = Cluster(
        name=name,
        url=url.rstrip("/"),
        savepoint_root=savepoint_root.rstrip("/"),
        checkpoint_root=checkpoint_root.rstrip("/"),
        auth=auth,
        secret=secret,
        ca=None if ca is None else _certificate(ca),
        kerberos_principal=kerberos_principal,
        python=python,
    )
    fault = connection_fault(cluster, is_local=remote.is_local)
    if fault is not None:
        raise FailureError(fault)
    known = _registered(remote, name)
    if known is not None and known.url != cluster.url:
        _refuse_move(remote, known)
    cluster = _learned(remote.probe(cluster), cluster, heartbeat_timeout)
    outcome = "created" if known is None else "unchanged" if known == cluster else "changed"
    if outcome != "unchanged":
        action, text = (
            "Added" if known is None else "Changed",
            cluster.model_dump_json(exclude_defaults=True, exclude={"name", "ca"}),
        )
        remote.registry.put_cluster(cluster, change_of(session_of(context), f"CLUSTER#{name}", action, text))
    ha = "with high availability" if cluster.high_availability else "without high availability"
    say(
        f"{name} {outcome}: Flink {cluster.flink_version} at {cluster.url}, {ha}, heartbeat timeout {cluster.heartbeat_timeout_s:g} s"
    )


@app.command(epilog="Example: flinkctl cluster history default")
def history(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The cluster.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Show who changed a cluster's registration, oldest first."""
    show_changes(remote_of(context), f"CLUSTER#{name}", f"cluster {name}", output)


@app.command(name="list", epilog="Example: flinkctl cluster list")
def list_(context: typer.Context, output: FormatOption = Format.TABLE) -> None:
    """Show the registered clusters."""
    found = remote_of(context).registry.clusters()

    def table() -> None:
        if not found:
            say("no clusters; flinkctl cluster add registers one")
            return
        print_table(
            ("CLUSTER", "URL", "FLINK", "HA", "SAVEPOINTS", "CHECKPOINTS"),
            [
                (c.name, c.url, c.flink_version, "on" if c.high_availability else "off", c.savepoint_root, c.checkpoint_root)
                for c in found
            ],
        )

    emit({"items": [cluster.model_dump(mode="json") for cluster in found]}, output, table=table)


@app.command(epilog="Example: flinkctl cluster check default")
def check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which one; all without it.")] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Compare clusters with what Flink says now.

    Ends with 1 if a check fails.
    """
    remote = remote_of(context)
    found = remote.registry.clusters() if name is None else [_named(remote, name)]
    results = [(cluster.name, _checks(remote, cluster)) for cluster in found]

    def table() -> None:
        if not results:
            say("no clusters; flinkctl cluster add registers one")
            return
        rows = [(cluster, one.name, one.status, one.message) for cluster, checks in results for one in checks]
        print_table(("CLUSTER", "CHECK", "RESULT", "MESSAGE"), rows)

    document: dict[str, Any] = {
        "items": [{"cluster": cluster, "checks": [asdict(one) for one in checks]} for cluster, checks in results]
    }
    emit(document, output, table=table)
    if any(one.status is CheckStatus.FAILED for _, checks in results for one in checks):
        raise typer.Exit(FAILED)


usage.register(app)


def _check_given(remote: Remote, name: str, url: str, roots: tuple[str, str], auth: Auth, secret: str | None) -> None:
    fault = name_fault(name)
    if fault is not None:
        raise typer.BadParameter(fault, param_hint="'NAME'")
    fault = url_fault(url, is_local=remote.is_local)
    if fault is not None:
        raise FailureError(f"--url: {fault}")
    for option, root in zip(("--savepoint-root", "--checkpoint-root"), roots, strict=True):
        fault = root_fault(root.rstrip("/"), is_local=remote.is_local, buckets=remote.settings.buckets_of_state)
        if fault is not None:
            raise FailureError(f"{option}: {fault}")
    if secret is not None and not _SECRET.fullmatch(secret):
        raise FailureError("--secret: write the ARN of a secret in Secrets Manager, not the secret itself")
    if auth is not Auth.NONE and secret is None:
        raise typer.BadParameter(f"--auth {auth.value} needs --secret ARN", param_hint="'--auth'")


def _certificate(path: Path) -> str:
    try:
        text = path.read_bytes()[:MAX_CA_BYTES].decode("utf-8", "replace")
    except OSError as error:
        raise typer.BadParameter(f"{printable(path)}: {error.strerror or error}", param_hint="'--ca'") from None
    if "PRIVATE KEY" in text:
        raise FailureError(f"{printable(path)}: holds a private key; give the certificate alone")
    return text


def _registered(remote: Remote, name: str) -> Cluster | None:
    try:
        return remote.registry.cluster(name)
    except RejectedError:
        # Registering again is how a malformed item is mended.
        return None


def _named(remote: Remote, name: str) -> Cluster:
    cluster = remote.registry.cluster(name)
    if cluster is None:
        raise FailureError(f"there is no cluster {printable(name)}; flinkctl cluster list shows all")
    return cluster


def _refuse_move(remote: Remote, known: Cluster) -> None:
    alive = sorted(
        one.job_id for one in remote.statuses.summaries() if one.cluster == known.name and one.running_revision is not None
    )
    if alive:
        raise FailureError(
            f"the address of {known.name} cannot change from {known.url} while jobs on it are not known to be dead:"
            f" {', '.join(alive)}; suspend them first, or add the new address under another name"
        )


def _learned(probe: FlinkProbe, cluster: Cluster, heartbeat_timeout: float | None) -> Cluster:
    try:
        settings, overview = probe.config().settings, probe.overview()
    except FlinkUnreachableError as error:
        raise FailureError(
            f"{error}; see that Flink runs there and can be reached from here, then run this again"
        ) from error
    try:
        timeout_s = heartbeat_timeout or heartbeat_timeout_s(settings)
    except ValueError as error:
        raise FailureError(
            f"Flink's heartbeat.timeout cannot be read: {error}; give it with --heartbeat-timeout SECONDS"
        ) from error
    return cluster.model_copy(
        update={
            "heartbeat_timeout_s": timeout_s,
            "high_availability": is_highly_available(settings),
            "adaptive_scheduler": has_adaptive_scheduler(settings),
            "runs_applications": runs_applications(overview.version, settings),
            "flink_version": overview.version,
        }
    )


def _checks(remote: Remote, cluster: Cluster) -> tuple[Check, ...]:
    try:
        probe = remote.probe(cluster)
        settings, overview, found = probe.config().settings, probe.overview(), capacity(probe.task_managers())
    except (FlinkUnreachableError, RejectedError) as error:
        return (Check("reachable", CheckStatus.FAILED, f"{error}; its jobs are left alone until it answers"),)
    checks = check_cluster(cluster, settings, overview, is_local=remote.is_local, buckets=remote.settings.buckets_of_state)
    return (*checks, check_memory(found))
