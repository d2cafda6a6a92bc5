"""Every two minutes: make up for uploads that nobody told of, and miss the versions that jobs need."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller
from flink_controller.services.sweep_artifacts import sweep_artifacts
from flink_controller.telemetry import Metric, count, make_logger, make_metrics, observed

SHOWN = 20
"""Lost versions that a line of the log names; the metric counts all."""
metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Sweep the artifacts that specs name and say what was found."""
    wired = controller()
    found = sweep_artifacts(wired.ports, wired.policy)
    count(metrics, Metric.ARTIFACTS_MADE_UP_FOR, len(found.judged))
    count(metrics, Metric.ARTIFACTS_LOST, len(found.lost))
    make_logger(wired.settings).info(
        "swept artifacts",
        extra={"artifacts": found.artifacts, "judged": found.judged[:SHOWN], "lost": found.lost[:SHOWN]},
    )
    return {"artifacts": found.artifacts, "judged": len(found.judged), "lost": len(found.lost)}
