"""Every minute: look once at every cluster and wake only the jobs that need attention."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.telemetry import (
    Metric,
    clusters_measured,
    count,
    fleet_measured,
    make_logger,
    make_metrics,
    observed,
    publish,
)

CLUSTERS_AT_ONCE = 8
"""So that clusters that hang, five seconds each, hold up a tick one eighth as long."""
SHOWN = 20
"""Foreign jobs that a line of the log names; the metric counts all."""
metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Sweep the fleet and say what was found."""
    wired = controller()
    logger = make_logger(wired.settings)
    with ThreadPoolExecutor(CLUSTERS_AT_ONCE) as pool:
        found = reconcile_fleet(wired.ports, wired.policy, each=pool.map)
    count(metrics, Metric.FLEET_JOBS, found.jobs)
    count(metrics, Metric.FLEET_WOKEN, len(found.woken))
    count(metrics, Metric.CLUSTERS_UNREACHABLE, len(found.unreachable))
    count(metrics, Metric.FOREIGN_JOBS, len(found.foreign))
    count(metrics, Metric.JOBS_DISTRUSTED, len(found.distrusted))
    count(metrics, Metric.CIRCUITS_OPEN, len(found.open_circuits))
    publish(metrics, clusters_measured(found.clusters, len(found.unreachable)))
    publish(metrics, fleet_measured(found.census, per_job=wired.settings.per_job_metrics))
    logger.info(
        "swept",
        extra={
            "jobs": found.jobs,
            "clusters": found.clusters,
            "woken": len(found.woken),
            "unreachable": found.unreachable,
            "foreign": found.foreign[:SHOWN],
            "distrusted": found.distrusted[:SHOWN],
            "open_circuits": found.open_circuits,
            "stuck": found.census.stuck[:SHOWN],
        },
    )
    return {"jobs": found.jobs, "woken": len(found.woken), "unreachable": list(found.unreachable)}
