"""State table stream: events and refused artifacts leave, in the order of their records."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.adapters.announcement_records import announced
from flink_controller.bootstrap import controller
from flink_controller.domain.announcements import ArtifactEvent, JobEvent
from flink_controller.domain.errors import ControllerError
from flink_controller.services.publish_events import publish_event
from flink_controller.telemetry import Metric, count, make_logger, make_metrics, observed

metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(event: dict[str, Any], _context: LambdaContext) -> dict[str, Any]:
    """Publish each record's event; from the first that could not be published, the records come again."""
    wired = controller()
    logger = make_logger(wired.settings)
    for record_id, found in _announced(event):
        try:
            told = publish_event(wired.bus, wired.topic, found)
        except ControllerError as error:
            # Whatever it is, it is none of the event's fault: a right that is missing is given, and the event still there.
            logger.warning("not published", extra={"event": found.id, "reason": str(error)})
            return {"batchItemFailures": [{"itemIdentifier": record_id}]}
        count(metrics, Metric.EVENTS_PUBLISHED)
        count(metrics, Metric.ALERTS_SENT, told)
    return {"batchItemFailures": []}


def _announced(event: object) -> list[tuple[str, JobEvent | ArtifactEvent]]:
    """Give each event with its record's id; what cannot be read would fail each time, and is left out."""
    wired = controller()
    records = event.get("Records") if isinstance(event, dict) else None
    found = []
    for record in records if isinstance(records, list) else []:
        match record:
            case {"dynamodb": {"SequenceNumber": str(record_id)}}:
                try:
                    read = announced(wired.settings.controller_id, record)
                except ControllerError as error:
                    make_logger(wired.settings).warning("cannot be read", extra={"record": record_id, "reason": str(error)})
                    count(metrics, Metric.EVENTS_UNREADABLE)
                    continue
                if read is not None:
                    found.append((record_id, read))
    return found
