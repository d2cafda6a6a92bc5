"""What calls a person: per function from its row, and per queue of what failed.

Each description ends with the place that says what to do, so that whoever is woken does not have to search.
"""

from collections.abc import Iterable
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from flink_controller.telemetry import NAMESPACE, SERVICE, Metric
from infra.compute import ControllerFunction
from infra.config import DeploymentConfig
from infra.functions import SpecStream
from infra.messaging import Messaging

GUIDE: Final = "docs/operations.md"
"""What to do about each alarm, under the heading that its description names."""

_PERIOD: Final = Duration.minutes(5)
_NEAR_TIMEOUT: Final = 0.8
_ITERATOR_AGE_MS: Final = 120_000
"""A spec write that has waited two minutes: two ticks of reconcile_fleet would have found it by themselves."""
_OLDEST_FOLLOW_UP_S: Final = 1_200
"""SQS delays a message by 15 minutes at most; one that is older than 20 is waiting for a worker."""
_LATE_S: Final = 300
"""A run's usual lateness is up to a tick and its jitter; spread runs by more than five minutes and this must grow."""


class Alarms(Construct):
    """Every alarm, each telling the alert topic both when it starts and when it is over."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: DeploymentConfig,
        functions: Iterable[ControllerFunction],
        messaging: Messaging,
    ) -> None:
        super().__init__(scope, construct_id)
        self._action = actions.SnsAction(messaging.alerts)
        for function in functions:
            self._watch(function, schedules_enabled=config.schedules_enabled)
        self._watch_queues(messaging)
        self._watch_trust()
        self._watch_runs()

    def _watch_runs(self) -> None:
        for metric, says in (
            (Metric.RUNS_FAILED, "A run of a batch job has failed, its retries included."),
            (Metric.RUNS_EXPIRED, "A run of a batch job was stopped because it took longer than ttl_seconds."),
            (Metric.RUNS_LOST, "Nobody saw how a run of a batch job ended; it is not run again."),
            (Metric.RUNS_MISSED, "A scheduled run of a batch job could not start in time."),
        ):
            self._alarm(metric.value[0].replace("_", "-"), _counted(metric, "Sum"), threshold=1, says=says, guide="runs")
        self._alarm(
            "run-lateness",
            _counted(Metric.RUN_LATENESS),
            threshold=_LATE_S,
            says=f"A run of a batch job started over {_LATE_S} s after its instant.",
            guide="runs",
        )

    def _watch(self, target: ControllerFunction, *, schedules_enabled: bool) -> None:
        name, function = target.row.name, target.function
        self._alarm(
            f"{name}-errors",
            function.metric_errors(period=_PERIOD, statistic="Sum"),
            threshold=1,
            says=f"{name} ended with an error, or was cut off by its timeout.",
            guide="function-errors",
        )
        self._alarm(
            f"{name}-throttles",
            function.metric_throttles(period=_PERIOD, statistic="Sum"),
            threshold=1,
            says=f"{name} was refused an invocation: the account's or its own concurrency is used up.",
            guide="function-throttles",
        )
        self._alarm(
            f"{name}-duration",
            function.metric_duration(period=_PERIOD, statistic="p99"),
            threshold=_NEAR_TIMEOUT * target.sizing.timeout_s * 1_000,
            says=f"{name} takes over {_NEAR_TIMEOUT:.0%} of its {target.sizing.timeout_s} s.",
            guide="function-duration",
            periods=2,
        )
        if any(isinstance(trigger, SpecStream) for trigger in target.row.triggers):
            self._alarm(
                f"{name}-iterator-age",
                function.metric("IteratorAge", period=_PERIOD, statistic="Maximum"),
                threshold=_ITERATOR_AGE_MS,
                says="Spec writes wait for longer than two minutes before they are looked at.",
                guide="stream-behind",
            )
        if target.row.schedule and schedules_enabled:
            self._alarm(
                f"{name}-heartbeat",
                function.metric_invocations(period=_PERIOD, statistic="Sum"),
                threshold=1,
                operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
                # A function that nobody invokes publishes nothing at all.
                missing=cloudwatch.TreatMissingData.BREACHING,
                says=f"{name} has not been invoked for five minutes.",
                guide="missing-heartbeat",
            )

    def _watch_queues(self, messaging: Messaging) -> None:
        for key, queue, says in (
            ("follow-up-failures", messaging.follow_up_failures, "A wake-up was given up after five workers failed on it."),
            (
                "stream-failures",
                messaging.stream_failures,
                "A batch of spec writes was given up; the next sweeps look at its jobs.",
            ),
            (
                "invocation-failures",
                messaging.invocation_failures,
                "An upload was not admitted after three attempts; send it again.",
            ),
        ):
            self._alarm(f"{key}-depth", _depth(queue), threshold=1, says=says, guide=key)
        self._alarm(
            "follow-ups-age",
            messaging.follow_ups.metric_approximate_age_of_oldest_message(period=_PERIOD, statistic="Maximum"),
            threshold=_OLDEST_FOLLOW_UP_S,
            says="Wake-ups wait for workers.",
            guide="follow-ups-behind",
        )

    def _watch_trust(self) -> None:
        self._alarm(
            "jobs-distrusted",
            _counted(Metric.JOBS_DISTRUSTED),
            threshold=1,
            says="A job runs on a revoked key or on denied bytes.",
            guide="jobs-distrusted",
        )
        self._alarm(
            "artifacts-lost",
            _counted(Metric.ARTIFACTS_LOST),
            threshold=1,
            says="A version that a job may have to start again is gone from the bucket.",
            guide="artifacts-lost",
        )

    def _alarm(
        self,
        construct_id: str,
        metric: cloudwatch.Metric,
        *,
        threshold: float,
        says: str,
        guide: str,
        operator: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
        periods: int = 1,
    ) -> None:
        alarm = metric.create_alarm(
            self,
            construct_id,
            alarm_description=f"{says} What to do: {GUIDE}#{guide}",
            threshold=threshold,
            comparison_operator=operator,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)


def _counted(metric: Metric, statistic: str = "Maximum") -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=metric.value[0],
        dimensions_map={"service": SERVICE},
        period=_PERIOD,
        statistic=statistic,
    )


def _depth(queue: sqs.Queue) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=_PERIOD, statistic="Maximum")
