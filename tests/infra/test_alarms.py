"""Who is told, and when."""

from collections.abc import Mapping
from typing import Any

import aws_cdk as cdk

from flink_controller.telemetry import NAMESPACE, SERVICE, Metric
from infra.app import build
from infra.functions import FUNCTIONS
from tests.infra.conftest import Resource, Synthesized


def test_every_function_and_every_queue_of_failures_is_watched(prod: Synthesized) -> None:
    expected = {f"{row.name}-{aspect}" for row in FUNCTIONS for aspect in ("errors", "throttles", "duration")}
    expected |= {f"{row.name}-heartbeat" for row in FUNCTIONS if row.schedule}
    expected |= {"reconcile_job-iterator-age", "follow-ups-age", "jobs-distrusted", "artifacts-lost"}
    expected |= {f"{queue}-depth" for queue in ("follow-up-failures", "stream-failures", "invocation-failures")}

    expected |= {"runs-failed", "runs-expired", "runs-lost", "runs-missed", "run-lateness"}

    assert set(_alarms(prod)) == expected


def test_alarms_of_runs_watch_what_the_functions_publish(prod: Synthesized) -> None:
    watched = {name: alarm for name, alarm in _alarms(prod).items() if name.startswith("run")}

    assert {alarm["MetricName"] for alarm in watched.values()} < {metric.value[0] for metric in Metric}
    for alarm in watched.values():
        assert (alarm["Namespace"], alarm["Dimensions"]) == (NAMESPACE, [{"Name": "service", "Value": SERVICE}])


def test_every_alarm_tells_the_topic_that_it_began_and_that_it_ended(prod: Synthesized) -> None:
    for alarm in _alarms(prod).values():
        assert [prod.label(action) for action in alarm["AlarmActions"]] == ["Messaging/Alerts"]
        assert alarm["OKActions"] == alarm["AlarmActions"]


def test_every_alarm_says_what_to_do(prod: Synthesized) -> None:
    for alarm in _alarms(prod).values():
        assert " What to do: docs/operations.md#" in alarm["AlarmDescription"]


def test_a_clock_that_stopped_is_noticed_although_it_says_nothing(prod: Synthesized) -> None:
    for row in FUNCTIONS:
        if row.schedule:
            alarm = _alarms(prod)[f"{row.name}-heartbeat"]
            assert alarm["MetricName"] == "Invocations"
            assert alarm["ComparisonOperator"] == "LessThanThreshold"
            assert alarm["Threshold"] == 1
            assert alarm["TreatMissingData"] == "breaching"


def test_a_quiet_function_raises_no_alarm(prod: Synthesized) -> None:
    for name, alarm in _alarms(prod).items():
        if not name.endswith("-heartbeat"):
            assert alarm["TreatMissingData"] == "notBreaching"


def test_a_slow_function_is_noticed_before_its_timeout(prod: Synthesized) -> None:
    for row in FUNCTIONS:
        alarm = _alarms(prod)[f"{row.name}-duration"]
        assert alarm["ExtendedStatistic"] == "p99"
        assert alarm["Threshold"] == 0.8 * row.timeout_s * 1000


def test_stopped_clocks_are_not_missed(context: Mapping[str, Any]) -> None:
    app = cdk.App(context={**context, "environment": "local", "schedules_enabled": "false", "aws:cdk:bundling-stacks": []})
    stack = build(app)

    template = app.synth().get_stack_artifact(stack.artifact_id).template["Resources"].values()
    rules = [resource for resource in template if resource["Type"] == "AWS::Events::Rule"]
    assert {rule["Properties"]["State"] for rule in rules} == {"DISABLED"}
    assert not [
        resource
        for resource in template
        if resource["Type"] == "AWS::CloudWatch::Alarm" and resource["Properties"]["MetricName"] == "Invocations"
    ]


def test_a_person_is_subscribed_where_one_is_named(context: Mapping[str, Any]) -> None:
    app = cdk.App(
        context={
            **context,
            "environment": "local",
            "alarm_email": "on-call@example.com",
            "aws:cdk:bundling-stacks": [],
        }
    )
    stack = build(app)

    template = app.synth().get_stack_artifact(stack.artifact_id).template["Resources"].values()
    (subscription,) = [resource for resource in template if resource["Type"] == "AWS::SNS::Subscription"]
    assert (subscription["Properties"]["Protocol"], subscription["Properties"]["Endpoint"]) == (
        "email",
        "on-call@example.com",
    )


def _alarms(deployment: Synthesized) -> dict[str, Resource]:
    return {
        deployment.path(alarm).split("/")[1]: alarm["Properties"]
        for alarm in deployment.of_type("AWS::CloudWatch::Alarm").values()
    }
