"""One dashboard, three questions: is it healthy, is it busy, what failed."""

from collections.abc import Sequence
from typing import Final

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from flink_controller.domain.status import JobType
from flink_controller.telemetry import Deployment, Metric
from infra.alarms import Alarms
from infra.compute import ControllerFunction
from infra.messaging import Messaging
from infra.metrics import published

_WIDTH: Final = 8
"""Three graphs a row of 24."""


class Dashboard(Construct):
    """What an on-call person opens first. Every metric of the controller is on it once."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        alarms: Alarms,
        functions: Sequence[ControllerFunction],
        messaging: Messaging,
    ) -> None:
        super().__init__(scope, construct_id)
        self.dashboard = cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=cdk.Stack.of(self).stack_name, default_interval=cdk.Duration.hours(6)
        )
        self._functions, self._messaging = functions, messaging
        self._section("Is it healthy?", "Red is an alarm; its description names what to do.", self._health(alarms))
        self._section("Is it busy?", "Nothing here is a fault by itself.", self._load())
        self._section("What failed?", "`flinkctl get` and `flinkctl events JOB` tell of each.", self._failures())

    def _section(self, title: str, says: str, widgets: Sequence[cloudwatch.IWidget]) -> None:
        self.dashboard.add_widgets(cloudwatch.TextWidget(markdown=f"# {title}\n{says}", width=24, height=2))
        self.dashboard.add_widgets(*widgets)

    def _health(self, alarms: Alarms) -> list[cloudwatch.IWidget]:
        return [
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms.all, width=24, height=6),
            _graph(
                "Clusters",
                published(Metric.CLUSTER_HEALTH, "Minimum", label="all clusters answer"),
                published(Metric.CLUSTERS_UNREACHABLE, label="clusters that do not answer"),
                published(Metric.CIRCUITS_OPEN, label="circuits open"),
            ),
            _graph(
                "Looks that fail",
                published(Metric.RECONCILIATION_ERRORS, "Sum", label="stores or queue did not answer"),
                published(Metric.UNEXPECTED_ERRORS, "Sum", label="faults of the controller"),
            ),
            _graph(
                "Jobs that need attention",
                published(Metric.STUCK_JOBS, label="stuck in a transition"),
                published(Metric.JOBS_DISTRUSTED, label="on distrusted bytes"),
                published(Metric.ARTIFACTS_LOST, label="artifacts lost"),
                published(Metric.FOREIGN_JOBS, label="foreign Flink jobs"),
            ),
            _graph("Lag of looks, seconds", published(Metric.LOOK_LAG, label="longest overdue look")),
            _graph("Errors of functions", *(f.function.metric_errors(label=f.row.name) for f in self._functions)),
            _graph("Throttles of functions", *(f.function.metric_throttles(label=f.row.name) for f in self._functions)),
        ]

    def _load(self) -> list[cloudwatch.IWidget]:
        queue = self._messaging.follow_ups
        return [
            _graph(
                "Jobs",
                published(Metric.FLEET_JOBS, label="on record"),
                *(
                    published(Metric.ACTIVE_JOBS, job_type=kind.value, label=f"{kind.value}: active on Flink")
                    for kind in JobType
                ),
            ),
            _graph(
                "Looks",
                published(Metric.LOOKS, "Sum", label="looks"),
                published(Metric.LOOKS_BUSY, "Sum", label="lease was taken"),
                published(Metric.LOOKS_OVERTAKEN, "Sum", label="overtaken"),
                published(Metric.FLEET_WOKEN, "Sum", label="woken by ticks"),
            ),
            _graph(
                "Events",
                published(Metric.EVENTS_PUBLISHED, "Sum", label="published"),
                published(Metric.ALERTS_SENT, "Sum", label="messages to people"),
            ),
            _graph(
                "Follow-up queue",
                queue.metric_approximate_number_of_messages_visible(label="ready"),
                queue.metric_approximate_number_of_messages_delayed(label="delayed"),
            ),
            _graph("Duration of functions, p99", *(_p99(function) for function in self._functions)),
            _graph(
                "Deployments",
                *(_deployments(status, kind) for status in (Deployment.STARTED, Deployment.SUCCEEDED) for kind in JobType),
            ),
            _graph(
                "Seconds",
                published(Metric.DEPLOYMENT_DURATION, "p50", label="deployment, p50"),
                published(Metric.DEPLOYMENT_DURATION, "p99", label="deployment, p99"),
                published(Metric.RUN_LATENESS, label="lateness of runs, most"),
                published(Metric.RUN_DURATION, "p50", label="run, p50"),
            ),
            _graph(
                "Runs of batch jobs",
                published(Metric.RUNS_RUNNING, "Sum", label="started"),
                published(Metric.RUNS_SUCCEEDED, "Sum", label="succeeded"),
                published(Metric.RUNS_SKIPPED, "Sum", label="skipped on purpose"),
                published(Metric.RUNS_CANCELLED, "Sum", label="cancelled"),
            ),
            _graph(
                "Artifacts",
                published(Metric.ARTIFACTS_ADMITTED, "Sum", label="admitted"),
                published(Metric.ARTIFACTS_MADE_UP_FOR, "Sum", label="judged without a notification"),
            ),
        ]

    def _failures(self) -> list[cloudwatch.IWidget]:
        messaging = self._messaging
        return [
            _graph(
                "Deployments that did not work out",
                *(_deployments(status, kind) for status in (Deployment.FAILED, Deployment.ROLLED_BACK) for kind in JobType),
            ),
            _graph(
                "Runs that did not",
                published(Metric.RUNS_FAILED, "Sum", label="failed"),
                published(Metric.RUNS_EXPIRED, "Sum", label="expired"),
                published(Metric.RUNS_LOST, "Sum", label="lost"),
                published(Metric.RUNS_MISSED, "Sum", label="missed"),
            ),
            _graph(
                "Given up or refused",
                published(Metric.ARTIFACTS_REFUSED, "Sum", label="artifacts refused"),
                published(Metric.EVENTS_UNREADABLE, "Sum", label="events that cannot be read"),
                *(
                    queue.metric_approximate_number_of_messages_visible(label=label)
                    for queue, label in (
                        (messaging.follow_up_failures, "follow-ups"),
                        (messaging.stream_failures, "batches of spec writes"),
                        (messaging.event_failures, "batches of events"),
                        (messaging.invocation_failures, "uploads"),
                    )
                ),
            ),
        ]


def _graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title, left=list(metrics), width=_WIDTH, height=6, left_y_axis=cloudwatch.YAxisProps(min=0, show_units=False)
    )


def _p99(target: ControllerFunction) -> cloudwatch.Metric:
    return target.function.metric_duration(statistic="p99", label=target.row.name)


def _deployments(status: Deployment, kind: JobType) -> cloudwatch.Metric:
    return published(
        Metric.DEPLOYMENTS, "Sum", status=status.value, job_type=kind.value, label=f"{kind.value}: {status.value}"
    )
