"""The controller's own metrics as alarms and the dashboard read them."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

from flink_controller.telemetry import NAMESPACE, SERVICE, Metric

PERIOD = Duration.minutes(5)


def published(
    metric: Metric, statistic: str = "Maximum", *, period: Duration = PERIOD, label: str | None = None, **dimensions: str
) -> cloudwatch.Metric:
    """Give a metric as the functions publish it, of one combination of its dimensions beside `service`."""
    return cloudwatch.Metric(
        namespace=NAMESPACE,
        metric_name=metric.value[0],
        dimensions_map={"service": SERVICE, **dimensions},
        period=period,
        statistic=statistic,
        label=label,
    )
