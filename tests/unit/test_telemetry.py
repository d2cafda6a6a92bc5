"""What the controller publishes about itself: figures that say what happened, under names that are written down."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.census import STUCK_AFTER, census
from flink_controller.domain.status import JobType, StatusSummary
from flink_controller.telemetry import (
    NAMESPACE,
    Measurement,
    Metric,
    clusters_measured,
    fleet_measured,
    make_metrics,
    measured,
    publish,
)
from flink_controller.testing.clock import START
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.batch_bench import FAILING, QUICK, BatchBench
from tests.unit.services.bench import JOB, SECOND, Bench

MINUTE = timedelta(minutes=1)


def deployments(bench: Bench) -> Counter[str]:
    """Count deployments of the bench's job by the label `status`."""
    found = [one for commit in bench.told for one in measured(commit) if one.metric is Metric.DEPLOYMENTS]
    assert len({one.labels["job_type"] for one in found}) == 1
    return Counter(one.labels["status"] for one in found)


def summary(job_id: str = JOB, **changes: Any) -> StatusSummary:
    known = {"job_type": JobType.STREAM, "cluster": "default", "lifecycle": "STABLE", "is_expected_live": True, **changes}
    return StatusSummary(job_id=job_id, **known)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


# Deployments


def test_a_deploy_is_counted_once_it_starts_and_once_it_is_proven() -> None:
    bench = Bench()

    bench.stabilise()

    assert deployments(bench) == {"started": 1, "succeeded": 1}


def test_a_deploy_lasts_from_the_decision_to_submit_until_the_job_is_seen() -> None:
    bench = Bench()
    bench.upload(behaviour=JobBehaviour(main=7 * SECOND))
    bench.put()

    bench.look()
    bench.run(60 * SECOND)

    (found,) = [one for told in bench.told for one in measured(told) if one.metric is Metric.DEPLOYMENT_DURATION]
    assert 7 <= found.value <= 9
    assert found.labels == {}


def test_a_revision_that_is_refused_is_a_rollback_and_no_success() -> None:
    bench = Bench()
    bench.stabilise()
    bench.told.clear()
    bench.upload(jar_bytes("v2"), behaviour=JobBehaviour(main_throws="no such topic"))

    bench.look()
    bench.run(5 * MINUTE)

    assert deployments(bench) == {"started": 2, "rolled_back": 1}


def test_a_first_revision_that_is_refused_is_a_failure() -> None:
    bench = Bench()
    bench.upload(behaviour=JobBehaviour(main_throws="no such topic"))
    bench.put()

    bench.look()
    bench.run(5 * MINUTE)

    assert deployments(bench)["failed"] == 1


@pytest.mark.parametrize(("behaviour", "end"), [(QUICK, "succeeded"), (FAILING, "failed")])
def test_a_run_of_a_batch_job_is_a_deployment(behaviour: JobBehaviour, end: str) -> None:
    bench = BatchBench()
    bench.schedule(behaviour, cron="*/5 * * * *")

    bench.minutes(7)

    assert deployments(bench)["started"] == deployments(bench)[end] == 1


def test_a_deployment_is_told_under_the_job_s_name_only_on_request() -> None:
    bench = Bench()
    bench.stabilise()

    fleet = [one for told in bench.told for one in measured(told)]
    each = [one for told in bench.told for one in measured(told, per_job=True)]

    assert not [one for one in fleet if "job_id" in one.labels]
    assert {one.metric for one in each if one.labels.get("job_id") == JOB} == {
        Metric.DEPLOYMENTS,
        Metric.DEPLOYMENT_DURATION,
    }


# The fleet


def test_active_jobs_are_what_should_run_now() -> None:
    runs = summary("nightly", job_type=JobType.BATCH, is_expected_live=False, live_run_ids=("a", "b"))
    idle = summary("off", lifecycle="SUSPENDED", is_expected_live=False)

    found = census([summary(), runs, idle], START)

    assert found.active == {JobType.STREAM: 1, JobType.BATCH: 2}
    assert found.jobs == {("STABLE", JobType.STREAM): 1, ("STABLE", JobType.BATCH): 1, ("SUSPENDED", JobType.STREAM): 1}


def test_the_lag_is_that_of_the_look_that_is_longest_overdue() -> None:
    late, later, ahead = (summary(next_look=START + timedelta(seconds=s)) for s in (-5, -90, 60))

    assert census([late, later, ahead, summary()], START).look_lag == timedelta(seconds=90)
    assert census([ahead], START).look_lag == timedelta(0)


@pytest.mark.parametrize(("lifecycle", "stuck"), [("UPGRADING", (JOB,)), ("DELETING", (JOB,)), ("WAITING", ())])
def test_a_transition_that_takes_too_long_is_stuck(lifecycle: str, stuck: tuple[str, ...]) -> None:
    known = summary(lifecycle=lifecycle, unready_since=START)

    assert census([known], START + STUCK_AFTER + SECOND).stuck == stuck
    assert census([known], START + STUCK_AFTER).stuck == ()


def test_the_index_tells_since_when_a_job_is_not_ready() -> None:
    bench = Bench()
    bench.upload()
    bench.put()
    bench.look()
    (before,) = bench.statuses.summaries()

    bench.run(60 * SECOND)

    (after,) = bench.statuses.summaries()
    assert before.unready_since == START
    assert after.unready_since is None


def test_the_minimum_of_cluster_health_tells_whether_all_answered() -> None:
    assert [one.value for one in clusters_measured(3, 1)] == [0, 1, 1]
    assert [one.value for one in clusters_measured(2, 0)] == [1, 1]


def test_readiness_of_each_job_is_told_on_request() -> None:
    found = census([summary(), summary("late", unready_since=START), summary("gone", lifecycle="DELETED")], START)

    ready = {one.labels["job_id"]: one.value for one in fleet_measured(found, per_job=True) if "job_id" in one.labels}
    assert ready == {JOB: 1, "late": 0}
    assert not [one for one in fleet_measured(found) if "job_id" in one.labels]


# How it is published


def test_measurements_are_lines_that_cloudwatch_takes(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = make_metrics()

    publish(
        metrics,
        [
            Measurement(Metric.LOOKS),
            Measurement(Metric.DEPLOYMENTS, labels={"status": "started", "job_type": "stream"}),
            Measurement(Metric.DEPLOYMENTS, labels={"status": "failed", "job_type": "stream"}),
        ],
    )
    metrics.flush_metrics()

    started, failed, plain = lines(capsys.readouterr().out)
    for line, status in ((started, "started"), (failed, "failed")):
        (told,) = line["_aws"]["CloudWatchMetrics"]
        assert told["Namespace"] == NAMESPACE
        assert sorted(*told["Dimensions"]) == ["job_type", "service", "status"]
        assert told["Metrics"] == [{"Name": "flink_job_deployments_total", "Unit": "Count"}]
        assert (line["status"], line["job_type"]) == (status, "stream")
    assert plain["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]
    assert plain["looks"] == [1.0]


def test_the_names_of_the_original_plan_are_kept() -> None:
    assert {metric.value[0] for metric in Metric} >= {
        "flink_job_deployments_total",
        "flink_job_deployment_duration_seconds",
        "flink_active_jobs",
        "flink_reconciliation_errors_total",
        "flink_cluster_health_status",
    }
