"""What clusters have and what jobs take of it: `cluster usage`."""

from dataclasses import asdict
from typing import Any

import typer

from flink_controller.cli.context import Remote, remote_of
from flink_controller.cli.output import Format, FormatOption, emit, print_table, say
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError
from flink_controller.domain.trust import Quotas
from flink_controller.domain.usage import Capacity, Load, capacity, loads, memory_text


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: flinkctl cluster usage")(usage)


def usage(context: typer.Context, output: FormatOption = Format.TABLE) -> None:
    """Show what clusters have and what namespaces take.

    A cluster that does not answer is shown with the reason, and what is recorded of its jobs. Slots of a namespace are the parallelism in the specs of what runs.
    """
    remote = remote_of(context)
    by_cluster, by_namespace = loads(dict(remote.specs.items()), remote.statuses.summaries())
    quotas = {one.namespace: one.quotas for one in remote.registry.policies()}
    found = {cluster.name: _asked(remote, cluster) for cluster in remote.registry.clusters()}
    found |= dict.fromkeys(by_cluster.keys() - found.keys(), "is not registered")
    clusters = [(name, found[name], by_cluster.get(name, Load())) for name in sorted(found)]
    namespaces = [(name, by_namespace[name], quotas.get(name, Quotas())) for name in sorted(by_namespace)]

    def table() -> None:
        if clusters:
            print_table(
                ("CLUSTER", "TASKMANAGERS", "SLOTS FREE", "MEMORY FREE", "RUNNING", "MESSAGE"),
                [(name, *_figures(had), load.running, _fault(had)) for name, had, load in clusters],
            )
        else:
            say("no clusters; flinkctl cluster add registers one")
        if namespaces:
            say("")
            print_table(
                ("NAMESPACE", "JOBS", "RUNNING", "SLOTS", "ACTIVE RUNS"),
                [
                    (
                        name,
                        load.jobs,
                        _of(str(load.running), quota.jobs),
                        _of(_slots(load), quota.slots),
                        _of(str(load.active_runs), quota.active_runs if name in quotas else None),
                    )
                    for name, load, quota in namespaces
                ],
            )

    document: dict[str, Any] = {
        "clusters": [
            {
                "cluster": name,
                "capacity": asdict(had) if isinstance(had, Capacity) else None,
                "running": load.running,
                "message": _fault(had),
            }
            for name, had, load in clusters
        ],
        "namespaces": [
            {"namespace": name, **asdict(load), "quotas": quota.model_dump(mode="json")} for name, load, quota in namespaces
        ],
    }
    emit(document, output, table=table)


def _asked(remote: Remote, cluster: Cluster) -> Capacity | str:
    """Ask a cluster what it has: one call; or say why it did not tell."""
    try:
        return capacity(remote.probe(cluster).task_managers())
    except (FlinkUnreachableError, RejectedError) as error:
        return str(error)


def _fault(had: Capacity | str) -> str:
    return had if isinstance(had, str) else ""


def _figures(had: Capacity | str) -> tuple[object, object, object]:
    if isinstance(had, str):
        return None, None, None
    return had.task_managers, f"{had.slots_free} of {had.slots}", memory_text(had)


def _slots(load: Load) -> str:
    return f"{load.slots}, and {load.unknown_slots} unknown" if load.unknown_slots else str(load.slots)


def _of(taken: str, quota: int | None) -> str:
    return taken if quota is None else f"{taken} of {quota}"
