"""Who is told, and when."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import aws_cdk as cdk

from flink_controller.domain.status import JobType
from flink_controller.telemetry import NAMESPACE, SERVICE, Deployment, Measurement, Metric, measured
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.jars import jar_bytes
from infra.alarms import DASHBOARD_ONLY
from infra.app import build
from infra.functions import FUNCTIONS
from tests.infra.conftest import ROOT, Resource, Synthesized
from tests.unit.services.bench import Bench

TOLD_BY_ALERTS = {
    "deployments-failed": "given-up",
    "deployments-rolled-back": "rolled-back",
    "jobs-stuck": "stuck",
    "runs-expired": "run-failed",
    "runs-failed": "run-failed",
    "runs-lost": "run-failed",
    "runs-missed": "run-missed",
}
"""Alarms that leave the topic to the alerts of jobs."""


def test_every_function_and_every_queue_of_failures_is_watched(prod: Synthesized) -> None:
    expected = {f"{row.name}-{aspect}" for row in FUNCTIONS for aspect in ("errors", "throttles", "duration")}
    expected |= {f"{row.name}-heartbeat" for row in FUNCTIONS if row.schedule}
    expected |= {
        "reconcile_job-iterator-age",
        "publish_events-iterator-age",
        "events-unreadable",
        "follow-ups-age",
        "jobs-distrusted",
        "artifacts-lost",
    }
    expected |= {
        f"{queue}-depth" for queue in ("follow-up-failures", "stream-failures", "event-failures", "invocation-failures")
    }

    expected |= {"reconciliation-errors", "look-lag", "jobs-stuck", "cluster-unhealthy", "circuit-open"}
    expected |= {"deployments-failed", "deployments-rolled-back", "artifacts-refused"}
    expected |= {"runs-failed", "runs-expired", "runs-lost", "runs-missed", "run-lateness"}

    assert set(_alarms(prod)) == expected


def test_every_metric_has_an_alarm_or_a_reason_why_not(prod: Synthesized) -> None:
    watched = {alarm["MetricName"] for alarm in _alarms(prod).values() if alarm["Namespace"] == NAMESPACE}

    assert watched | {metric.value[0] for metric in DASHBOARD_ONLY} == {metric.value[0] for metric in Metric}
    assert not watched & {metric.value[0] for metric in DASHBOARD_ONLY}


def test_alarms_watch_what_the_functions_publish(prod: Synthesized) -> None:
    published = {(one.metric.value[0], *sorted(one.labels.items())) for one in _published()}

    for name, alarm in _alarms(prod).items():
        if alarm["Namespace"] == NAMESPACE:
            dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
            assert dimensions.pop("service") == SERVICE
            assert not dimensions or (alarm["MetricName"], *sorted(dimensions.items())) in published, name


def test_one_alarm_tells_of_the_controller_itself(prod: Synthesized) -> None:
    (composite,) = prod.of_type("AWS::CloudWatch::CompositeAlarm").values()

    rule = prod.label(composite["Properties"]["AlarmRule"])
    watched = {name for name in _alarms(prod) if f"Alarms/{name}" in rule}
    jobs = {"deployments-", "artifacts-", "jobs-", "run", "cluster-", "circuit-"}
    assert watched == {name for name in _alarms(prod) if not name.startswith(tuple(jobs))}
    assert [prod.label(action) for action in composite["Properties"]["AlarmActions"]] == ["Messaging/Alerts"]


def test_the_dashboard_shows_every_metric_and_every_alarm(prod: Synthesized) -> None:
    (dashboard,) = prod.of_type("AWS::CloudWatch::Dashboard").values()
    body = json.loads(prod.label(dashboard["Properties"]["DashboardBody"]))

    shown = [line for widget in body["widgets"] for line in widget["properties"].get("metrics", [])]
    own = {tuple(part for part in line[1:] if isinstance(part, str)) for line in shown if line[0] == NAMESPACE}
    assert {name for name, *_ in own} == {metric.value[0] for metric in Metric} - {Metric.JOB_READY.value[0]}
    for status in Deployment:
        for kind in JobType:
            parts = ("job_type", kind.value, "service", SERVICE, "status", status.value)
            assert (Metric.DEPLOYMENTS.value[0], *parts) in own
    (alarms,) = [widget["properties"]["alarms"] for widget in body["widgets"] if widget["type"] == "alarm"]
    assert len(alarms) == len(_alarms(prod)) + 1
    titles = [widget["properties"]["markdown"] for widget in body["widgets"] if widget["type"] == "text"]
    assert [title.partition("\n")[0] for title in titles] == ["# Is it healthy?", "# Is it busy?", "# What failed?"]


def test_every_alarm_but_what_alerts_tell_tells_the_topic_that_it_began_and_that_it_ended(prod: Synthesized) -> None:
    for name, alarm in _alarms(prod).items():
        if name in TOLD_BY_ALERTS:
            assert "AlarmActions" not in alarm
            assert "OKActions" not in alarm
            assert f" The topic is told by the alert {TOLD_BY_ALERTS[name]}. What to do: " in alarm["AlarmDescription"]
        else:
            assert [prod.label(action) for action in alarm["AlarmActions"]] == ["Messaging/Alerts"]
            assert alarm["OKActions"] == alarm["AlarmActions"]


def test_the_docs_say_which_alarms_leave_the_topic_to_alerts() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")

    said = re.findall(r"`([a-z-]+)` \(alert ([a-z-]+)\)", text)
    assert dict(said) == TOLD_BY_ALERTS


def test_every_alarm_leads_to_the_section_of_the_runbook_that_names_it(prod: Synthesized) -> None:
    led = {
        name: alarm["AlarmDescription"].partition(" What to do: docs/runbook.md#")[2] for name, alarm in _all(prod).items()
    }

    named = {name: title for title, text in _sections().items() for name in re.findall(r"`([^`]+)`", _line(text, "Alarms"))}
    assert named == led


def test_every_section_of_the_runbook_says_what_to_look_at_what_to_do_and_whom_to_call() -> None:
    for title, text in _sections().items():
        for part in ("Alarms", "Means", "First look", "Remedy", "Escalate"):
            assert _line(text, part), (title, part)
        assert "\n```sh\n" in text, title


def test_alarms_link_to_where_the_runbook_can_be_read(context: Mapping[str, Any]) -> None:
    url = "https://wiki.example.com/flink/runbook"
    app = cdk.App(context={**context, "environment": "local", "runbook_url": url, "aws:cdk:bundling-stacks": []})
    stack = build(app)

    template = app.synth().get_stack_artifact(stack.artifact_id).template["Resources"].values()
    alarms = [resource for resource in template if resource["Type"] == "AWS::CloudWatch::Alarm"]
    assert all(f" What to do: {url}#" in alarm["Properties"]["AlarmDescription"] for alarm in alarms)


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


def _published() -> list[Measurement]:
    """Give measurements of a fleet in which everything happens that an alarm with dimensions tells of."""
    bench = Bench()
    bench.upload(behaviour=JobBehaviour(main_throws="no such topic"))
    bench.put()
    bench.look()
    bench.run(timedelta(minutes=5))
    bench.upload(jar_bytes("sound"))
    bench.look()
    bench.run(timedelta(minutes=5))
    bench.upload(jar_bytes("spoiled"), behaviour=JobBehaviour(main_throws="no such topic"))
    bench.look()
    bench.run(timedelta(minutes=5))
    return [one for commit in bench.told for one in measured(commit)]


def _sections() -> dict[str, str]:
    """Give the sections of the runbook's part on alarms, by their headings, which are their anchors."""
    text = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
    part = re.split(r"^## ", text.partition("\n## Alarms\n")[2], flags=re.MULTILINE)[0]
    headed = (section.partition("\n") for section in re.split(r"^### ", part, flags=re.MULTILINE)[1:])
    return {title: section for title, _, section in headed}


def _line(text: str, part: str) -> str:
    """Give what stands after a bold word that begins a line."""
    found = re.search(rf"^\*\*{part}:\*\* (.+)$", text, re.MULTILINE)
    return "" if found is None else found[1]


def _all(deployment: Synthesized) -> dict[str, Resource]:
    composite = deployment.of_type("AWS::CloudWatch::CompositeAlarm").values()
    return _alarms(deployment) | {deployment.path(one).split("/")[1]: one["Properties"] for one in composite}


def _alarms(deployment: Synthesized) -> dict[str, Resource]:
    return {
        deployment.path(alarm).split("/")[1]: alarm["Properties"]
        for alarm in deployment.of_type("AWS::CloudWatch::Alarm").values()
    }
