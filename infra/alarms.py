"""What calls a person: per function from its row, and per queue of what failed.

Each description ends with the place that says what to do, so that whoever is woken does not have to search.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from flink_controller.domain.alerts import Alert
from flink_controller.domain.status import JobType
from flink_controller.telemetry import Deployment, Metric
from infra.compute import ControllerFunction
from infra.config import DeploymentConfig
from infra.functions import EventStream, SpecStream
from infra.messaging import Messaging
from infra.metrics import PERIOD, published

RUNBOOK: Final = "docs/runbook.md"
"""What to do about each alarm, under the heading that its description names; `runbook_url` says where it can be read."""

_NEAR_TIMEOUT: Final = 0.8
_ITERATOR_AGE_MS: Final = 120_000
"""A spec write that has waited two minutes: two ticks of reconcile_fleet would have found it by themselves."""
_OLDEST_FOLLOW_UP_S: Final = 1_200
"""SQS delays a message by 15 minutes at most; one that is older than 20 is waiting for a worker."""
_LATE_S: Final = 300
"""A run's usual lateness is up to a tick and its jitter; spread runs by more than five minutes and this must grow."""
_ERRORS_OF_LOOKS: Final = 5
"""One call to DynamoDB that failed three times is nobody's night; five within five minutes are an outage."""
_LOOK_LAG_S: Final = 180
"""A look is made up for by the next tick, so that a minute is usual; three without a better moment are not."""
_MINUTE: Final = Duration.minutes(1)
_AWAY_MINUTES: Final = 3
"""A JobManager that is restarted is back within one or two."""

DASHBOARD_ONLY: Final = {
    Metric.ACTIVE_JOBS: "a number that is neither good nor bad",
    Metric.ARTIFACTS_ADMITTED: "what should happen",
    Metric.ARTIFACTS_MADE_UP_FOR: "healed by itself",
    Metric.ALERTS_SENT: "each has called already",
    Metric.EVENTS_PUBLISHED: "load; events that are late have an alarm",
    Metric.CLUSTERS_UNREACHABLE: "the same as the alarm cluster-unhealthy, counted",
    Metric.DEPLOYMENT_DURATION: "how long a main() takes is the team's affair; jobs-stuck calls when it never ends",
    Metric.FLEET_JOBS: "a number that is neither good nor bad",
    Metric.FLEET_WOKEN: "healed by itself",
    Metric.FOREIGN_JOBS: "somebody else's jobs may be there on purpose",
    Metric.LOOKS: "load",
    Metric.LOOKS_BUSY: "load; looks that never come through show in the lag",
    Metric.LOOKS_OVERTAKEN: "load; likewise",
    Metric.RUNS_CANCELLED: "somebody's wish",
    Metric.RUNS_RUNNING: "what should happen",
    Metric.RUNS_SKIPPED: "the team's own policy",
    Metric.RUNS_SUCCEEDED: "what should happen",
    Metric.RUN_DURATION: "the team's affair, bounded by ttl_seconds",
    Metric.UNEXPECTED_ERRORS: "each is an error of its function as well, which has an alarm",
    Metric.JOB_READY: "a team's own: each decides for which of its jobs to be called",
}
"""Metrics without an alarm, and why."""


class Alarms(Construct):
    """Every alarm, telling the alert topic both when it starts and when it is over what no alert of a job tells it."""

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
        self._runbook = config.runbook_url or RUNBOOK
        self.all: list[cloudwatch.IAlarm] = []
        self._of_controller: list[cloudwatch.IAlarm] = []
        for function in functions:
            self._watch(function, schedules_enabled=config.schedules_enabled)
        self._watch_queues(messaging)
        self._watch_looks()
        self._watch_clusters()
        self._watch_deployments()
        self._watch_trust()
        self._watch_runs()
        if not config.is_local:
            # The embedded AWS knows no composite alarms.
            self._watch_all()

    def _watch_all(self) -> None:
        alarm = cloudwatch.CompositeAlarm(
            self,
            "controller-unhealthy",
            alarm_description=self._described("The controller itself does not work.", guide="controller-unhealthy"),
            alarm_rule=cloudwatch.AlarmRule.any_of(
                *(cloudwatch.AlarmRule.from_alarm(one, cloudwatch.AlarmState.ALARM) for one in self._of_controller)
            ),
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
        self.all.insert(0, alarm)

    def _watch_looks(self) -> None:
        self._alarm(
            "reconciliation-errors",
            published(Metric.RECONCILIATION_ERRORS, "Sum"),
            threshold=_ERRORS_OF_LOOKS,
            says="Looks at jobs fail again and again: a table or the queue does not answer.",
            guide="reconciliation-errors",
        )
        self._alarm(
            "look-lag",
            published(Metric.LOOK_LAG, "Minimum"),
            threshold=_LOOK_LAG_S,
            says=f"A job's recorded look has been overdue for over {_LOOK_LAG_S} s all the time.",
            guide="look-lag",
        )
        self._alarm(
            "jobs-stuck",
            # The least value: a job that has just begun after a long wait is counted for a moment.
            published(Metric.STUCK_JOBS, "Minimum"),
            threshold=1,
            says="A job has been in a transition for over 20 minutes.",
            guide="jobs-stuck",
            periods=2,
            is_controller=False,
            alerts=(Alert.STUCK,),
        )

    def _watch_clusters(self) -> None:
        self._alarm(
            "cluster-unhealthy",
            published(Metric.CLUSTER_HEALTH, "Minimum", period=_MINUTE),
            threshold=1,
            operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            says=f"A cluster has not answered for {_AWAY_MINUTES} minutes, or jobs name one that is not registered.",
            guide="cluster-unhealthy",
            periods=_AWAY_MINUTES,
            is_controller=False,
        )
        self._alarm(
            "circuit-open",
            published(Metric.CIRCUITS_OPEN, "Minimum", period=_MINUTE),
            threshold=1,
            says="Looks do not ask a cluster, because it did not answer three times in a row.",
            guide="cluster-unhealthy",
            periods=_AWAY_MINUTES,
            is_controller=False,
        )

    def _watch_deployments(self) -> None:
        # Of batch jobs these are runs that failed, which have an alarm of their own.
        for status, alert, says in (
            (Deployment.FAILED, Alert.GIVEN_UP, "A job was given up: it failed, and there is nothing to go back to."),
            (Deployment.ROLLED_BACK, Alert.ROLLED_BACK, "A revision was refused, and the stable one comes back."),
        ):
            self._alarm(
                f"deployments-{status.value.replace('_', '-')}",
                published(Metric.DEPLOYMENTS, "Sum", status=status.value, job_type=JobType.STREAM.value),
                threshold=1,
                says=says,
                guide="deployment-failures",
                is_controller=False,
                alerts=(alert,),
            )
        self._alarm(
            "events-unreadable",
            published(Metric.EVENTS_UNREADABLE, "Sum"),
            threshold=1,
            says="An event could not be read and was not published.",
            guide="event-failures",
        )
        self._alarm(
            "artifacts-refused",
            published(Metric.ARTIFACTS_REFUSED, "Sum"),
            threshold=1,
            says="An upload was refused: no jar, or no signature that counts.",
            guide="artifacts-refused",
            is_controller=False,
        )

    def _watch_runs(self) -> None:
        for metric, alert, says in (
            (Metric.RUNS_FAILED, Alert.RUN_FAILED, "A run of a batch job has failed, its retries included."),
            (
                Metric.RUNS_EXPIRED,
                Alert.RUN_FAILED,
                "A run of a batch job was stopped because it took longer than ttl_seconds.",
            ),
            (Metric.RUNS_LOST, Alert.RUN_FAILED, "Nobody saw how a run of a batch job ended; it is not run again."),
            (Metric.RUNS_MISSED, Alert.RUN_MISSED, "A scheduled run of a batch job could not start in time."),
        ):
            self._alarm(
                metric.value[0].replace("_", "-"),
                published(metric, "Sum"),
                threshold=1,
                says=says,
                guide="runs",
                is_controller=False,
                alerts=(alert,),
            )
        self._alarm(
            "run-lateness",
            published(Metric.RUN_LATENESS),
            threshold=_LATE_S,
            says=f"A run of a batch job started over {_LATE_S} s after its instant.",
            guide="runs",
            is_controller=False,
        )

    def _watch(self, target: ControllerFunction, *, schedules_enabled: bool) -> None:
        name, function = target.row.name, target.function
        self._alarm(
            f"{name}-errors",
            function.metric_errors(period=PERIOD, statistic="Sum"),
            threshold=1,
            says=f"{name} ended with an error, or was cut off by its timeout.",
            guide="function-errors",
        )
        self._alarm(
            f"{name}-throttles",
            function.metric_throttles(period=PERIOD, statistic="Sum"),
            threshold=1,
            says=f"{name} was refused an invocation: the account's or its own concurrency is used up.",
            guide="function-throttles",
        )
        self._alarm(
            f"{name}-duration",
            function.metric_duration(period=PERIOD, statistic="p99"),
            threshold=_NEAR_TIMEOUT * target.sizing.timeout_s * 1_000,
            says=f"{name} takes over {_NEAR_TIMEOUT:.0%} of its {target.sizing.timeout_s} s.",
            guide="function-duration",
            periods=2,
        )
        if any(isinstance(trigger, SpecStream) for trigger in target.row.triggers):
            self._alarm(
                f"{name}-iterator-age",
                function.metric("IteratorAge", period=PERIOD, statistic="Maximum"),
                threshold=_ITERATOR_AGE_MS,
                says="Spec writes wait for longer than two minutes before they are looked at.",
                guide="stream-behind",
            )
        if any(isinstance(trigger, EventStream) for trigger in target.row.triggers):
            self._alarm(
                f"{name}-iterator-age",
                function.metric("IteratorAge", period=PERIOD, statistic="Maximum"),
                threshold=_ITERATOR_AGE_MS,
                says="Events and alerts wait for longer than two minutes before they are published.",
                guide="events-behind",
            )
        if target.row.schedule and schedules_enabled:
            self._alarm(
                f"{name}-heartbeat",
                function.metric_invocations(period=PERIOD, statistic="Sum"),
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
                "event-failures",
                messaging.event_failures,
                "Events could not be published for twelve hours; nobody was told of them.",
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
            messaging.follow_ups.metric_approximate_age_of_oldest_message(period=PERIOD, statistic="Maximum"),
            threshold=_OLDEST_FOLLOW_UP_S,
            says="Wake-ups wait for workers.",
            guide="follow-ups-behind",
        )

    def _watch_trust(self) -> None:
        self._alarm(
            "jobs-distrusted",
            published(Metric.JOBS_DISTRUSTED),
            threshold=1,
            says="A job runs on a revoked key or on denied bytes.",
            guide="jobs-distrusted",
            is_controller=False,
        )
        self._alarm(
            "artifacts-lost",
            published(Metric.ARTIFACTS_LOST),
            threshold=1,
            says="A version that a job may have to start again is gone from the bucket.",
            guide="artifacts-lost",
            is_controller=False,
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
        is_controller: bool = True,
        alerts: Sequence[Alert] = (),
    ) -> None:
        """Add an alarm.

        `is_controller` says whether it tells of the controller itself rather than of somebody's job; `alerts`, which notices
        tell the topic of the same already, job by job: such an alarm changes its state, and the topic is not told twice.
        """
        alarm = metric.create_alarm(
            self,
            construct_id,
            alarm_description=self._described(_told(says, alerts), guide=guide),
            threshold=threshold,
            comparison_operator=operator,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        if not alerts:
            alarm.add_alarm_action(self._action)
            alarm.add_ok_action(self._action)
        self.all.append(alarm)
        if is_controller:
            self._of_controller.append(alarm)

    def _described(self, says: str, *, guide: str) -> str:
        return f"{says} What to do: {self._runbook}#{guide}"


def _told(says: str, alerts: Sequence[Alert]) -> str:
    return says if not alerts else f"{says} The topic is told by the alert {' or '.join(alert.value for alert in alerts)}."


def _depth(queue: sqs.Queue) -> cloudwatch.Metric:
    return queue.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum")
