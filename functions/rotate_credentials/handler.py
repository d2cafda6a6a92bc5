"""Secrets Manager: take one step of replacing the credential of a cluster."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller, rotation
from flink_controller.services.rotate_credentials import Step, rotate
from flink_controller.telemetry import make_logger, make_metrics, observed

metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Take the step. A failure is raised: that is how Secrets Manager learns of it, and tries again.

    Raises:
        RejectedError: the version was overtaken, or the secret cannot be rotated.
        ControllerError: a cluster refuses the new credential, or AWS does not answer.
    """
    given = event if isinstance(event, dict) else {}
    arn, token, step = (given.get(name) for name in ("SecretId", "ClientRequestToken", "Step"))
    if not (isinstance(arn, str) and isinstance(token, str) and isinstance(step, str) and step in set(Step)):
        return {"refused": "this is no event of a rotation: SecretId, ClientRequestToken and Step are needed"}
    done = rotate(rotation(), arn, token, Step(step))
    make_logger(controller().settings).info(
        "rotated", extra={"secret_arn": arn, "version": token, "step": step, "done": done}
    )
    return {"step": step, "done": done}
