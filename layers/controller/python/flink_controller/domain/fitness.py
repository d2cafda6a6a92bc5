"""What a job requires of its cluster, held against what the cluster offers."""

from collections.abc import Iterator

from flink_controller.domain.cluster import Cluster
from flink_controller.domain.names import shown
from flink_controller.domain.spec import JobSpec


def unfit(spec: JobSpec, cluster: Cluster) -> str | None:
    """Say what a spec requires that a cluster does not offer, each with what is wanted and what there is, or None."""
    lacking = tuple(_lacking(spec, cluster))
    return f"cluster {cluster.name}: {'; '.join(lacking)}" if lacking else None


def _lacking(spec: JobSpec, cluster: Cluster) -> Iterator[str]:
    wanted = spec.security
    if wanted.ssl_enabled and not cluster.is_tls:
        yield "security.ssl_enabled wants https, the cluster is registered with http"
    if wanted.kerberos_principal not in {None, cluster.kerberos_principal}:
        offered = "none" if cluster.kerberos_principal is None else shown(cluster.kerberos_principal)
        yield f"security.kerberos_principal wants {shown(str(wanted.kerberos_principal))}, the cluster is registered with {offered}"
