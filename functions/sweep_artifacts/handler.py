"""Every two minutes: make up for uploads that nobody told of, miss the versions that jobs need, prune records.

What jobs need is looked after at every delete as well.
"""

from typing import Any
from urllib.parse import unquote_plus

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.bootstrap import controller
from flink_controller.services.sweep_artifacts import missed_by_jobs, sweep_artifacts
from flink_controller.telemetry import Metric, count, make_logger, make_metrics, observed

SHOWN = 20
"""Lost versions that a line of the log names; the metric counts all."""
metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Sweep the artifacts that specs name, or look after the deleted object that an event tells of."""
    wired = controller()
    logger = make_logger(wired.settings)
    if isinstance(event, dict) and "Records" in event:
        missed = [line for bucket, key in _objects(event["Records"]) for line in missed_by_jobs(wired.ports, bucket, key)]
        count(metrics, Metric.ARTIFACTS_LOST, len(missed))
        logger.info("an object was deleted", extra={"lost": missed[:SHOWN]})
        return {"artifacts": 0, "judged": 0, "lost": len(missed), "pruned": 0}
    found = sweep_artifacts(wired.ports, wired.policy)
    count(metrics, Metric.ARTIFACTS_MADE_UP_FOR, len(found.judged))
    count(metrics, Metric.ARTIFACTS_LOST, len(found.lost))
    logger.info(
        "swept artifacts",
        extra={"artifacts": found.artifacts, "judged": found.judged[:SHOWN], "lost": found.lost[:SHOWN]},
    )
    for version in found.pruned:
        logger.info(
            "pruned a record", extra={"key": version.key, "version_id": version.version_id, "sha256": version.sha256}
        )
    return {
        "artifacts": found.artifacts,
        "judged": len(found.judged),
        "lost": len(found.lost),
        "pruned": len(found.pruned),
    }


def _objects(records: object) -> list[tuple[str, str]]:
    """Give bucket and key of every well-formed record; S3 encodes keys as in a URL's query."""
    found = []
    for record in records if isinstance(records, list) else []:
        match record:
            case {"s3": {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}}}:
                found.append((bucket, unquote_plus(key)))
    return found
