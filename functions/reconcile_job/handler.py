"""Spec stream and follow-up queue: bring the named jobs on their way. The event says whom to look at, and nothing else."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

# Every look calls Flink, and an import at the start has a whole core, where one in an invocation has this function's share.
import flink_controller.adapters.flink_rest  # noqa: F401
from flink_controller.bootstrap import controller
from flink_controller.domain.errors import ControllerError
from flink_controller.ports import Commit, FollowUps
from flink_controller.services.reconcile import Outcome, reconcile_job
from flink_controller.telemetry import (
    Metric,
    count,
    log_events,
    make_logger,
    make_metrics,
    measured,
    observed,
    publish,
    span,
)

RESERVE = timedelta(seconds=35)
"""No look begins with less time left: a submit may wait 25 s for a job's main() to return."""

_LOOKS = {Outcome.BUSY: Metric.LOOKS_BUSY, Outcome.OVERTAKEN: Metric.LOOKS_OVERTAKEN}
metrics = make_metrics()


@observed(metrics, lambda: controller().settings)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Look at each job once, or hand a burst of specs on; report what failed, so that only this comes again."""
    wired = controller()
    logger = make_logger(wired.settings)
    failed, correlated = [], dict[str, str]()

    def told(commit: Commit) -> None:
        publish(metrics, measured(commit, per_job=wired.settings.per_job_metrics))
        log_events(logger, commit)
        correlated[commit.status.job_id] = commit.status.correlation_id

    wake_ups = _wake_ups(event)
    if len(wake_ups) > 1 and _is_of_stream(event):
        logger.info("handed on to the queue", extra={"jobs": len(wake_ups)})
        return _handed_on(wired.ports.follow_ups, wake_ups)
    for job_id, record_ids in wake_ups.items():
        if timedelta(milliseconds=context.get_remaining_time_in_millis()) < RESERVE:
            wired.ports.follow_ups.send_now([job_id])
            continue
        try:
            with span(wired.settings, "look", job=job_id) as annotate:
                outcome = reconcile_job(wired.ports, wired.policy, job_id, owner=context.aws_request_id, told=told)
                annotate(correlation_id=correlated.get(job_id), outcome=outcome.value)
        except ControllerError as error:
            logger.warning("look failed", extra={"job": job_id, "reason": str(error)})
            count(metrics, Metric.RECONCILIATION_ERRORS)
            failed += record_ids
            continue
        logger.info("looked", extra={"job": job_id, "correlation_id": correlated.get(job_id), "outcome": outcome.value})
        count(metrics, _LOOKS.get(outcome, Metric.LOOKS))
    return _failed(failed)


def _handed_on(follow_ups: FollowUps, wake_ups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Wake each job through the queue: its workers are many, where a shard of the stream has two, and each look takes a while.

    A burst of specs so keeps no later spec waiting, whoever's it is. Dying here sends the records again, and a wake-up that
    comes twice is harmless.
    """
    try:
        follow_ups.send_now(list(wake_ups))
    except ControllerError:
        count(metrics, Metric.RECONCILIATION_ERRORS)
        return _failed(record_id for record_ids in wake_ups.values() for record_id in record_ids)
    return _failed(())


def _failed(record_ids: Iterable[str]) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": record_id} for record_id in record_ids]}


def _is_of_stream(event: object) -> bool:
    match event:
        case {"Records": [{"dynamodb": _}, *_]}:
            return True
        case _:
            return False


def _wake_ups(event: object) -> dict[str, list[str]]:
    """Give each named job with the ids of the records that name it; what names none is dropped."""
    records = event.get("Records") if isinstance(event, dict) else None
    found: dict[str, list[str]] = {}
    for record in records if isinstance(records, list) else []:
        match record:
            case {"dynamodb": {"Keys": {"job_id": {"S": str(job_id)}}, "SequenceNumber": str(record_id)}}:
                found.setdefault(job_id, []).append(record_id)
            case {"messageId": str(record_id), "body": str(body)}:
                named = _named(body)
                if named is not None:
                    found.setdefault(named, []).append(record_id)
    return found


def _named(body: str) -> str | None:
    try:
        message = json.loads(body)
    except ValueError:
        return None
    job_id = message.get("job_id") if isinstance(message, dict) else None
    if not isinstance(job_id, str) or not job_id:
        return None
    # Half a surrogate is a string to JSON and no text to anybody else; no table can hold it.
    return job_id if job_id.isascii() or job_id == job_id.encode(errors="ignore").decode() else None
