"""S3 object created: verify the artifact, record its version, wake the jobs that name it."""

from functools import partial
from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller
from flink_controller.services.admit_artifact import Admission, admit_artifact
from flink_controller.telemetry import Metric, count, log_verdict, make_logger, make_metrics, observed

metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> None:
    """Judge each object that the event names. A store that does not answer raises, and Lambda tries again."""
    wired = controller()
    logger = make_logger(wired.settings)
    for bucket, key, version_id, uploader in _objects(event):
        outcome = admit_artifact(
            wired.ports,
            wired.policy,
            bucket,
            key,
            version_id=version_id,
            uploader=uploader,
            told=partial(log_verdict, logger),
        )
        logger.info("upload judged", extra={"bucket": bucket, "key": key, "outcome": outcome.value})
        if outcome is Admission.ADMITTED:
            count(metrics, Metric.ARTIFACTS_ADMITTED)
        elif outcome is Admission.REFUSED:
            count(metrics, Metric.ARTIFACTS_REFUSED)


def _objects(event: object) -> list[tuple[str, str, str | None, str | None]]:
    """Give bucket, key, version and uploader of every well-formed record; S3 encodes keys as in a URL's query."""
    records = event.get("Records") if isinstance(event, dict) else None
    found = []
    for record in records if isinstance(records, list) else []:
        match record:
            case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key), **written}}}:
                identity = record.get("userIdentity")
                found.append((bucket, unquote_plus(key), _text(written.get("versionId")), _text(identity, "principalId")))
    return found


def _text(value: object, name: str | None = None) -> str | None:
    """Take a text out of an event, bounded; anything else is none."""
    if name is not None:
        value = value.get(name) if isinstance(value, dict) else None
    return value[:200] if isinstance(value, str) and value else None
