"""Logs and metrics: their names once, and the only module beside the handlers that knows Powertools and X-Ray."""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.metrics import MetricUnit

from flink_controller.domain.status import Run, RunOutcome
from flink_controller.settings import Settings

NAMESPACE = "FlinkJobController"
SERVICE = "flink-job-controller"
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Metric(Enum):
    """Every metric, with its unit."""

    LOOKS = ("looks", MetricUnit.Count)
    LOOKS_BUSY = ("looks_busy", MetricUnit.Count)
    ARTIFACTS_ADMITTED = ("artifacts_admitted", MetricUnit.Count)
    ARTIFACTS_REFUSED = ("artifacts_refused", MetricUnit.Count)
    FLEET_JOBS = ("fleet_jobs", MetricUnit.Count)
    FLEET_WOKEN = ("fleet_woken", MetricUnit.Count)
    CLUSTERS_UNREACHABLE = ("clusters_unreachable", MetricUnit.Count)
    FOREIGN_JOBS = ("foreign_jobs", MetricUnit.Count)
    ARTIFACTS_MADE_UP_FOR = ("artifacts_made_up_for", MetricUnit.Count)
    ARTIFACTS_LOST = ("artifacts_lost", MetricUnit.Count)
    JOBS_DISTRUSTED = ("jobs_distrusted", MetricUnit.Count)
    RUNS_RUNNING = ("runs_started", MetricUnit.Count)
    RUNS_SUCCEEDED = ("runs_succeeded", MetricUnit.Count)
    RUNS_FAILED = ("runs_failed", MetricUnit.Count)
    RUNS_EXPIRED = ("runs_expired", MetricUnit.Count)
    RUNS_CANCELLED = ("runs_cancelled", MetricUnit.Count)
    RUNS_SKIPPED = ("runs_skipped", MetricUnit.Count)
    RUNS_MISSED = ("runs_missed", MetricUnit.Count)
    RUNS_LOST = ("runs_lost", MetricUnit.Count)
    RUN_DURATION = ("run_duration", MetricUnit.Seconds)
    RUN_LATENESS = ("run_lateness", MetricUnit.Seconds)


def make_logger(settings: Settings) -> Logger:
    """Give the structured logger, and have the package's own loggers write through it."""
    logger = Logger(service=SERVICE, level=settings.log_level, log_uncaught_exceptions=False)
    logging.getLogger("flink_controller").setLevel(settings.log_level)
    copy_config_to_registered_loggers(source_logger=logger, include={"flink_controller"})
    return logger


def make_metrics() -> Metrics:
    """Give the metrics in CloudWatch's embedded format."""
    return Metrics(namespace=NAMESPACE, service=SERVICE)


def count_run(metrics: Metrics, run: Run) -> None:
    """Add a run that has started, or ended, or was not started."""
    count(metrics, Metric[f"RUNS_{run.outcome.name}"])
    if run.outcome is RunOutcome.RUNNING and run.started_at is not None:
        count(metrics, Metric.RUN_LATENESS, (run.started_at - run.scheduled_at).total_seconds())
    elif run.started_at is not None and run.ended_at is not None:
        count(metrics, Metric.RUN_DURATION, (run.ended_at - run.started_at).total_seconds())


def count(metrics: Metrics, metric: Metric, value: float = 1) -> None:
    """Add to a metric."""
    name, unit = metric.value
    metrics.add_metric(name=name, unit=unit, value=value)
