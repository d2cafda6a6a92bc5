"""Signed URL: say whether the controller itself can work."""

import json
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller
from flink_controller.domain.errors import TransientError
from flink_controller.services.check_health import check_health
from flink_controller.telemetry import make_logger


def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Answer `/health/live` and `/health/ready`; 503 when a table does not answer."""
    path = event.get("rawPath") if isinstance(event, dict) else None
    if path == "/health/live":
        return _answer(200, {"status": "ok"})
    if path != "/health/ready":
        return _answer(404, {"error": "ask for /health/live or /health/ready"})
    wired = controller()
    try:
        found = check_health(wired.ports)
    except TransientError as error:
        make_logger(wired.settings).warning("not ready", extra={"reason": str(error)})
        return _answer(503, {"status": "unavailable", "reason": str(error)})
    return _answer(200, {"status": "ok", "jobs": found.jobs, "clusters": found.clusters})


def _answer(status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": status, "headers": {"content-type": "application/json"}, "body": json.dumps(body)}
