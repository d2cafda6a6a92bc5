"""What a job requires of its cluster, held against what the cluster offers."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from flink_controller.domain.cluster import Cluster
from flink_controller.domain.names import shown
from flink_controller.domain.observation import Offer, TaskManagerSeen
from flink_controller.domain.spec import JobSpec

RESOLVE_ORDER: Final = "classloader.resolve-order"
DEFAULT_RESOLVE_ORDER: Final = "child-first"
PROMETHEUS: Final = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"
PROMETHEUS_PORT: Final = 9249
"""Where that reporter listens if its configuration names no port."""
_REPORTER: Final = re.compile(r"metrics\.reporter\.([^.]+)\.")
_SIZE: Final = re.compile(r"\s*(\d{1,18})\s*([a-z]*)\s*", re.ASCII)
_UNITS: Final = {
    **dict.fromkeys(("", "b", "bytes"), 1),
    **dict.fromkeys(("k", "kb", "kibibytes"), 2**10),
    **dict.fromkeys(("m", "mb", "mebibytes"), 2**20),
    **dict.fromkeys(("g", "gb", "gibibytes"), 2**30),
    **dict.fromkeys(("t", "tb", "tebibytes"), 2**40),
}
"""Flink's own, all of them binary."""
_TO_COME: Final[Mapping[str, tuple[str, ...]]] = {
    "resources.memory": ("taskmanager.memory.process.size",),
    "resources.cpu_cores": (
        "taskmanager.cpu.cores",
        "kubernetes.taskmanager.cpu.amount",
        "kubernetes.taskmanager.cpu",
        "yarn.containers.vcores",
    ),
    "resources.network_memory": ("taskmanager.memory.network.min",),
    "advanced.taskmanager_heap_size": ("taskmanager.memory.task.heap.size",),
}
"""Where the JobManager's configuration says what a TaskManager will have at least, the first that is there.

With Kubernetes and YARN, whose TaskManagers are started on demand, they are started with this very configuration.
"""


def size_bytes(text: str) -> int:
    """Read a size as Flink writes it, such as `1728m`.

    Raises:
        ValueError: it is none.
    """
    found = _SIZE.fullmatch(text.lower())
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{shown(text)} is no size")
    return int(found[1]) * _UNITS[found[2]]


def size_text(size: float) -> str:
    """Write a size for people, cut to two decimals: never more than it is."""
    for unit, factor in (("g", 2**30), ("m", 2**20), ("k", 2**10)):
        if size >= factor:
            return f"{int(size * 100 / factor) / 100:g}{unit}"
    return f"{size:g} bytes"


def asks_flink(spec: JobSpec) -> bool:
    """Whether a spec requires something that only Flink itself can tell of."""
    return any(wanted is not None for wanted in (*_of_task_managers(spec).values(), *_of_configuration(spec)))


def unfit(spec: JobSpec, cluster: Cluster, offer: Offer | None = None) -> str | None:
    """Say what a spec requires that a cluster does not offer, each with what is wanted and what there is, or None.

    Args:
        spec: who requires.
        cluster: as it is registered.
        offer: what Flink tells of it; needed only where the spec `asks_flink`.
    """
    lacking = (*_lacking_in_registration(spec, cluster), *(() if offer is None else _lacking(spec, offer)))
    return f"cluster {cluster.name}: {'; '.join(lacking)}" if lacking else None


def _of_task_managers(spec: JobSpec) -> dict[str, tuple[float, str] | None]:
    """Give what is wanted of every TaskManager: how much, and how the spec writes it."""
    sizes = {
        "resources.memory": spec.resources.memory,
        "resources.network_memory": spec.resources.network_memory,
        "advanced.taskmanager_heap_size": spec.advanced.taskmanager_heap_size,
    }
    cores = spec.resources.cpu_cores
    found = {path: None if text is None else (float(size_bytes(text)), text) for path, text in sizes.items()}
    return {**found, "resources.cpu_cores": None if cores is None else (cores, f"{cores:g}")}


def _of_configuration(spec: JobSpec) -> tuple[object, ...]:
    return spec.monitoring.metrics_port, spec.advanced.classloader_resolve_order


_OFFERED: Final[Mapping[str, Callable[[TaskManagerSeen], float | None]]] = {
    "resources.memory": lambda seen: seen.memory_bytes,
    "resources.cpu_cores": lambda seen: seen.cpu_cores,
    "resources.network_memory": lambda seen: seen.network_bytes,
    "advanced.taskmanager_heap_size": lambda seen: seen.heap_bytes,
}


def _lacking_in_registration(spec: JobSpec, cluster: Cluster) -> Iterator[str]:
    wanted = spec.security
    if wanted.ssl_enabled and not cluster.is_tls:
        yield "security.ssl_enabled wants https, the cluster is registered with http"
    if wanted.kerberos_principal not in {None, cluster.kerberos_principal}:
        offered = "none" if cluster.kerberos_principal is None else shown(cluster.kerberos_principal)
        yield f"security.kerberos_principal wants {shown(str(wanted.kerberos_principal))}, the cluster is registered with {offered}"


def _lacking(spec: JobSpec, offer: Offer) -> Iterator[str]:
    for path, wanted in _of_task_managers(spec).items():
        if wanted is not None:
            amount, text = wanted
            fault = _too_little(path, amount, offer)
            if fault is not None:
                yield f"{path} wants {text}, {fault}"
    port, order = spec.monitoring.metrics_port, spec.advanced.classloader_resolve_order
    if port is not None:
        ports = tuple(_reporter_ports(offer.settings))
        if not any(low <= port <= high for low, high in ports):
            offered = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ports) or "none"
            yield f"monitoring.metrics_port wants {port}, ports of the cluster's metrics reporters: {offered}"
    offered = offer.settings.get(RESOLVE_ORDER, DEFAULT_RESOLVE_ORDER)
    if order not in {None, offered}:
        yield f"advanced.classloader_resolve_order wants {order}, the cluster's {RESOLVE_ORDER} is {shown(offered)}"


def _too_little(path: str, wanted: float, offer: Offer) -> str | None:
    """Say what there is instead of an amount; None: there is enough."""
    write = size_text if path != "resources.cpu_cores" else lambda cores: f"{cores:g}"
    if not offer.task_managers:
        key, amount = _to_come(path, offer.settings)
        if amount is None:
            return (
                f"no TaskManager is registered, and the JobManager's configuration does not say ({key}) what one will have:"
                " start one"
            )
        return None if amount >= wanted else f"no TaskManager is registered, and one will have {write(amount)} ({key})"
    known = [amount for seen in offer.task_managers if (amount := _OFFERED[path](seen)) is not None]
    if len(known) < len(offer.task_managers):
        return "Flink does not tell what its TaskManagers have"
    return None if min(known) >= wanted else f"the smallest of {len(known)} TaskManagers has {write(min(known))}"


def _to_come(path: str, settings: Mapping[str, str]) -> tuple[str, float | None]:
    key = next((key for key in _TO_COME[path] if key in settings), _TO_COME[path][0])
    try:
        text = settings[key]
        return key, float(text) if path == "resources.cpu_cores" else size_bytes(text)
    except (KeyError, ValueError):
        return key, None


def _reporter_ports(settings: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """Give the ports of the reporters in use, each as the first and last of a range."""
    found = (_REPORTER.match(key) for key in settings)
    used = {name.strip() for name in settings.get("metrics.reporters", "").split(",")} - {""}
    for name in dict.fromkeys(match[1] for match in found if match is not None):
        if used and name not in used:
            continue
        prefix = f"metrics.reporter.{name}."
        is_prometheus = settings.get(f"{prefix}factory.class") == PROMETHEUS
        text = settings.get(f"{prefix}port", str(PROMETHEUS_PORT) if is_prometheus else "")
        for part in text.split(","):
            low, _, high = part.strip().partition("-")
            if low.strip().isdecimal() and (high or low).strip().isdecimal():
                yield int(low), int(high or low)
