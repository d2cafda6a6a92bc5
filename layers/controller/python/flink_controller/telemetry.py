"""Logs and metrics: their names once, and the only module beside the handlers that knows Powertools and X-Ray."""

import functools
import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Final, Protocol, TextIO, TypeVar

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller.domain.artifact import ArtifactVersion
from flink_controller.domain.census import Census
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import ControllerError
from flink_controller.domain.names import correlation_id_of_upload
from flink_controller.domain.redaction import fit_to_log, redacted
from flink_controller.domain.status import Attempt, JobStatus, JobType, Run, RunOutcome
from flink_controller.ports import Commit
from flink_controller.settings import Settings

NAMESPACE = "FlinkJobController"
SERVICE = "flink-job-controller"
Handler = TypeVar("Handler", bound=Callable[..., Any])


class Metric(Enum):
    """Every metric, with its unit. Those that begin with `flink_` have the names under which people look for them."""

    DEPLOYMENTS = ("flink_job_deployments_total", MetricUnit.Count)
    """Labels: `status` (`Deployment`) and `job_type`."""
    DEPLOYMENT_DURATION = ("flink_job_deployment_duration_seconds", MetricUnit.Seconds)
    ACTIVE_JOBS = ("flink_active_jobs", MetricUnit.Count)
    """Label: `job_type`."""
    RECONCILIATION_ERRORS = ("flink_reconciliation_errors_total", MetricUnit.Count)
    UNEXPECTED_ERRORS = ("unexpected_errors", MetricUnit.Count)
    """Faults of ours that a handler raised."""
    CLUSTER_HEALTH = ("flink_cluster_health_status", MetricUnit.Count)
    """1 for a cluster that answered, 0 for one that did not: the minimum tells whether all did."""
    JOB_READY = ("flink_job_ready", MetricUnit.Count)
    """Label: `job_id`. Only where the deployment asks for metrics of each job."""
    LOOKS = ("looks", MetricUnit.Count)
    LOOKS_BUSY = ("looks_busy", MetricUnit.Count)
    LOOKS_OVERTAKEN = ("looks_overtaken", MetricUnit.Count)
    LOOK_LAG = ("look_lag", MetricUnit.Seconds)
    STUCK_JOBS = ("stuck_jobs", MetricUnit.Count)
    CIRCUITS_OPEN = ("circuits_open", MetricUnit.Count)
    ARTIFACTS_ADMITTED = ("artifacts_admitted", MetricUnit.Count)
    ARTIFACTS_REFUSED = ("artifacts_refused", MetricUnit.Count)
    EVENTS_PUBLISHED = ("events_published", MetricUnit.Count)
    EVENTS_UNREADABLE = ("events_unreadable", MetricUnit.Count)
    ALERTS_SENT = ("alerts_sent", MetricUnit.Count)
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


class Deployment(StrEnum):
    """What became of an attempt to bring a revision to Flink: the values of the label `status`."""

    STARTED = "started"
    """Submitted; of a batch job, a run."""
    SUCCEEDED = "succeeded"
    """Proven healthy; of a batch job, the run's success."""
    ROLLED_BACK = "rolled_back"
    """Refused or not healthy by its deadline, and the stable revision comes back."""
    FAILED = "failed"
    """Given up, with nothing to go back to; of a batch job, a run that failed or was lost."""


@dataclass(frozen=True)
class Measurement:
    """One value of a metric."""

    metric: Metric
    value: float = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    """Dimensions beside `service`. Each combination is a metric of its own, and paid for as one."""


_DEPLOYMENTS: Final = {
    "Submitted": Deployment.STARTED,
    "Stable": Deployment.SUCCEEDED,
    "RollbackStarted": Deployment.ROLLED_BACK,
    "GivenUp": Deployment.FAILED,
}
"""What the events of a stream job tell of deployments."""
_RUNS: Final = {
    RunOutcome.RUNNING: Deployment.STARTED,
    RunOutcome.SUCCEEDED: Deployment.SUCCEEDED,
    RunOutcome.FAILED: Deployment.FAILED,
    RunOutcome.LOST: Deployment.FAILED,
}
"""What the outcomes of runs tell of deployments; the others are nobody's success or failure."""


class _Stdout(logging.StreamHandler[TextIO]):
    """Writes to whatever is standard output when the line is written."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        """The stream of this moment."""
        return sys.stdout

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        """Keep none."""


def written(line: Mapping[str, Any]) -> str:
    """Write a line of the log: one line of ASCII that is JSON, whatever its texts hold, without secrets, bounded."""
    return json.dumps(fit_to_log(line), ensure_ascii=True, allow_nan=False)


def make_logger(settings: Settings) -> Logger:
    """Give the structured logger, and have the package's own loggers write through it."""
    logger = _logger()
    logger.setLevel(settings.log_level)
    logging.getLogger("flink_controller").setLevel(settings.log_level)
    return logger


@functools.cache
def _logger() -> Logger:
    logger = Logger(
        service=SERVICE,
        log_uncaught_exceptions=False,
        logger_handler=_Stdout(),
        json_serializer=written,
        # A message that happens to be JSON stays the text that it is.
        json_deserializer=str,
        serialize_stacktrace=False,
        utc=True,
    )
    logging.getLogger("flink_controller")
    copy_config_to_registered_loggers(source_logger=logger, include={"flink_controller"})
    return logger


class UnexpectedError(Exception):
    """A fault of ours, told in a bounded line without secrets; the log has its trace."""


class Annotate(Protocol):
    """Adds what a trace can be found by."""

    def __call__(self, **annotations: str | None) -> None:
        """Add values; None adds nothing."""


@contextmanager
def span(settings: Settings, name: str, **annotations: str | None) -> Iterator[Annotate]:
    """Tell a trace what happens meanwhile; nothing, and nothing is imported, unless the deployment traces.

    This is the only place that knows the tracer. It never tells what an error says, only that there was one.
    """
    if not settings.tracing:
        yield _annotate_nothing
        return
    recorder = _recorder()
    begun = recorder.begin_subsegment(name)

    def annotate(**values: str | None) -> None:
        for key, value in values.items():
            if begun is not None and value:
                begun.put_annotation(key, value)

    annotate(**annotations)
    try:
        yield annotate
    except BaseException:
        if begun is not None:
            begun.add_fault_flag()
        raise
    finally:
        if begun is not None:
            recorder.end_subsegment()


def _annotate_nothing(**_annotations: str | None) -> None:
    """Where nothing is traced."""


@functools.cache
def _recorder() -> Any:
    """Give the tracer, with every call to AWS and to Flink traced from now on."""
    from aws_xray_sdk.core import patch, xray_recorder  # noqa: PLC0415  # 0.2 s of a cold start

    # An invocation that Lambda does not sample has no segment: that is no error of ours.
    xray_recorder.configure(service=SERVICE, context_missing="IGNORE_ERROR")
    patch(("botocore", "requests"), raise_errors=False)
    return xray_recorder


def observed(metrics: Metrics, settings: Callable[[], Settings]) -> Callable[[Handler], Handler]:
    """Have a handler's metrics published and its errors told, however it ends.

    What it raises is raised on, so that Lambda delivers the event again: in our own words as it is, anything else as an
    `UnexpectedError`, because Lambda writes what an error says as it stands.

    Args:
        metrics: what the handler counts into.
        settings: read when the handler first runs, not when it is imported.
    """

    def wrap(handler: Handler) -> Handler:
        @functools.wraps(handler)
        def run(event: Any, context: LambdaContext) -> Any:
            known = settings()
            logger = make_logger(known)
            logger.append_keys(function_request_id=context.aws_request_id, function_name=context.function_name)
            try:
                with span(known, "handle", request_id=context.aws_request_id):
                    return handler(event, context)
            except ControllerError as error:
                logger.warning("not done", extra={"error": type(error).__name__, "reason": str(error)})
                raise
            # Whatever it is, it is counted, told without its secrets, and raised on.
            except Exception as error:
                logger.exception("unexpected error")
                count(metrics, Metric.UNEXPECTED_ERRORS)
                raise UnexpectedError(f"{type(error).__name__}: {redacted(str(error)[:500])}") from None
            finally:
                if metrics.provider.metric_set:
                    metrics.flush_metrics()

        return run  # type: ignore[return-value]  # takes and gives what the handler does

    return wrap


def log_verdict(logger: Logger, verdict: ArtifactVersion) -> None:
    """Write a line for the verdict on an upload. Its correlation id is that of the looks that take it in."""
    logger.info(
        "verdict",
        extra={
            "bucket": verdict.bucket,
            "key": verdict.key,
            "version_id": verdict.version_id,
            "correlation_id": correlation_id_of_upload(verdict.bucket, verdict.key, verdict.version_id),
            "sha256": verdict.sha256,
            "verdict": verdict.verdict.value,
            "reason": verdict.reason,
            "detail": verdict.message,
        },
    )


def log_events(logger: Logger, commit: Commit) -> None:
    """Write a line for each transition of a job, with the change that it belongs to."""
    status = commit.status
    for event in commit.events:
        write = logger.warning if event.type == "Warning" else logger.info
        write(
            "event",
            extra={
                "job": status.job_id,
                "correlation_id": status.correlation_id,
                "reason": event.reason,
                "detail": event.message,
                "revision": event.revision,
                "attempt": event.attempt,
                "count": event.count,
            },
        )


def make_metrics() -> Metrics:
    """Give the metrics in CloudWatch's embedded format."""
    return Metrics(namespace=NAMESPACE, service=SERVICE)


def measured(commit: Commit, *, per_job: bool = False) -> Iterator[Measurement]:
    """Give what a look's record is in figures.

    Args:
        commit: what was recorded.
        per_job: tell deployments once more under the job's name.
    """
    status = commit.status
    # Another attempt of a run is neither a start nor an end.
    runs = [*commit.started_runs, *(run for run in commit.runs if run.outcome is not RunOutcome.RUNNING)]
    for run in runs:
        yield from _run_measured(run)
    if status.job_type is JobType.STREAM:
        deployments = [_DEPLOYMENTS[event.reason] for event in commit.events if event.reason in _DEPLOYMENTS]
    else:
        deployments = [_RUNS[run.outcome] for run in runs if run.outcome in _RUNS]
    for deployment in deployments:
        labels = {"status": deployment.value}
        yield Measurement(Metric.DEPLOYMENTS, labels={**labels, "job_type": status.job_type.value})
        if per_job:
            yield Measurement(Metric.DEPLOYMENTS, labels={**labels, "job_id": status.job_id})
    begun = {attempt.number: attempt.created_at for attempt in _attempts(status)}
    for event in commit.events:
        if event.reason == "Running" and event.attempt in begun:
            seconds = (event.time - begun[event.attempt]).total_seconds()
            yield Measurement(Metric.DEPLOYMENT_DURATION, seconds)
            if per_job:
                yield Measurement(Metric.DEPLOYMENT_DURATION, seconds, {"job_id": status.job_id})


def _run_measured(run: Run) -> Iterator[Measurement]:
    yield Measurement(Metric[f"RUNS_{run.outcome.name}"])
    if run.outcome is RunOutcome.RUNNING and run.started_at is not None:
        yield Measurement(Metric.RUN_LATENESS, (run.started_at - run.scheduled_at).total_seconds())
    elif run.started_at is not None and run.ended_at is not None:
        yield Measurement(Metric.RUN_DURATION, (run.ended_at - run.started_at).total_seconds())


def _attempts(status: JobStatus) -> Iterator[Attempt]:
    if status.attempt is not None:
        yield status.attempt
    if status.second is not None:
        yield status.second.attempt
    for run in status.runs.active:
        yield run.attempt


def clusters_measured(asked: int, unanswered: int) -> Iterator[Measurement]:
    """Give the health of the clusters that a tick has asked."""
    for index in range(asked):
        yield Measurement(Metric.CLUSTER_HEALTH, float(index >= unanswered))


def fleet_measured(found: Census, *, per_job: bool = False) -> Iterator[Measurement]:
    """Give the fleet in figures, and with `per_job` the readiness of each job."""
    if per_job:
        for job_id, is_ready in found.ready.items():
            yield Measurement(Metric.JOB_READY, float(is_ready), {"job_id": job_id})
    for job_type, number in found.active.items():
        yield Measurement(Metric.ACTIVE_JOBS, number, {"job_type": job_type.value})
    yield Measurement(Metric.LOOK_LAG, found.look_lag.total_seconds())
    yield Measurement(Metric.STUCK_JOBS, len(found.stuck))


PROMETHEUS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Media type of what `prometheus_text` writes."""


def prometheus_text(found: Census, clusters: Mapping[str, Circuit], follow_ups: int) -> str:
    """Write the fleet's figures as Prometheus reads them. Rates and durations are not among them: no state keeps these.

    Args:
        found: the census of all jobs.
        clusters: what is recorded of each registered cluster.
        follow_ups: wake-ups that wait.
    """
    # 0.1 s of the first scrape, and of nobody else's.
    from prometheus_client.exposition import generate_latest  # noqa: PLC0415
    from prometheus_client.metrics_core import GaugeMetricFamily  # noqa: PLC0415
    from prometheus_client.registry import CollectorRegistry  # noqa: PLC0415

    jobs = GaugeMetricFamily("flink_jobs", "Jobs on record.", labels=("lifecycle", "job_type"))
    for (lifecycle, job_type), number in sorted(found.jobs.items()):
        jobs.add_metric((lifecycle, job_type.value), number)
    active = GaugeMetricFamily(Metric.ACTIVE_JOBS.value[0], "Flink jobs that should be running.", labels=("job_type",))
    for job_type, number in found.active.items():
        active.add_metric((job_type.value,), number)
    waiting = GaugeMetricFamily("flink_jobs_waiting", "Jobs that wait for something.", labels=("reason",))
    for reason, number in sorted(found.waiting.items()):
        waiting.add_metric((reason,), number)
    ready = GaugeMetricFamily(Metric.JOB_READY.value[0], "Whether the job is as its spec says.", labels=("job_id",))
    for job_id, is_ready in sorted(found.ready.items()):
        ready.add_metric((job_id,), is_ready)
    health = GaugeMetricFamily(
        Metric.CLUSTER_HEALTH.value[0], "Whether the cluster answered the last call.", labels=("cluster",)
    )
    for name, circuit in sorted(clusters.items()):
        health.add_metric((name,), circuit.is_closed and not circuit.failures)
    families = (
        jobs,
        active,
        waiting,
        ready,
        health,
        GaugeMetricFamily(
            "flink_controller_circuits_open",
            "Clusters that looks do not ask.",
            value=sum(not circuit.is_closed for circuit in clusters.values()),
        ),
        GaugeMetricFamily(
            "flink_controller_look_lag_seconds",
            "By how much the look that is longest overdue is late.",
            value=found.look_lag.total_seconds(),
        ),
        GaugeMetricFamily(
            "flink_controller_stuck_jobs", "Jobs in a transition for over 20 minutes.", value=len(found.stuck)
        ),
        GaugeMetricFamily("flink_controller_follow_ups", "Wake-ups that wait.", value=follow_ups),
    )
    registry = CollectorRegistry()
    registry.register(_Collected(families))
    return generate_latest(registry).decode()


class _Collected:
    """A collector of figures that are there already."""

    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        """Give them."""
        return self._families


def publish(metrics: Metrics, measurements: Iterable[Measurement]) -> None:
    """Add measurements: those without labels are told together, each combination of labels in a line of its own."""
    labelled: dict[tuple[tuple[str, str], ...], list[Measurement]] = {}
    for one in measurements:
        if one.labels:
            labelled.setdefault(tuple(sorted(one.labels.items())), []).append(one)
        else:
            count(metrics, one.metric, one.value)
    for labels, ones in labelled.items():
        apart = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
        apart.add_dimension("service", SERVICE)
        for name, value in labels:
            apart.add_dimension(name, value)
        for one in ones:
            count(apart, one.metric, one.value)
        apart.flush_metrics()


def count(metrics: Metrics | EphemeralMetrics, metric: Metric, value: float = 1) -> None:
    """Add to a metric."""
    name, unit = metric.value
    metrics.add_metric(name=name, unit=unit, value=value)
