"""Every minute: wake the jobs that have a run past its time to live."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller
from flink_controller.domain.status import DueKind
from flink_controller.services.wake_due import wake_due
from flink_controller.telemetry import make_logger, make_metrics, observed

metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(_event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Wake them and say how many."""
    wired = controller()
    woken = wake_due(wired.ports, DueKind.EXPIRE)
    make_logger(wired.settings).info("woke due jobs", extra={"kind": DueKind.EXPIRE.value, "woken": len(woken)})
    return {"woken": len(woken)}
