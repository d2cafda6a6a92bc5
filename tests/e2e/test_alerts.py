"""What leaves a running stack: an incident reaches the bus and the alert topic, and so does its end."""

import json
import time
from typing import Any

import boto3
import pytest

from tests.e2e.conftest import Team
from tests.jobs.build import build

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]


class Listener:
    """A queue that hears the whole bus, and one that hears the alert topic."""

    def __init__(self, team: Team) -> None:
        session = boto3.session.Session(
            aws_access_key_id=team.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=team.environ["AWS_SECRET_ACCESS_KEY"],
            region_name=team.environ["AWS_DEFAULT_REGION"],
        )
        self._sqs = session.client("sqs", endpoint_url=team.endpoint)
        events, bus = session.client("events", endpoint_url=team.endpoint), team.environ["FLINKCTL_EVENT_BUS_NAME"]
        self.bus, bus_arn = self._queue("heard-on-the-bus")
        self.topic, topic_arn = self._queue("heard-by-people")
        events.put_rule(Name="hears-all", EventBusName=bus, EventPattern=json.dumps({"source": ["flink-job-controller"]}))
        events.put_targets(Rule="hears-all", EventBusName=bus, Targets=[{"Id": "queue", "Arn": bus_arn}])
        session.client("sns", endpoint_url=team.endpoint).subscribe(
            TopicArn=team.environ["FLINKCTL_ALERT_TOPIC_ARN"], Protocol="sqs", Endpoint=topic_arn
        )

    def _queue(self, name: str) -> tuple[str, str]:
        url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def hear(self, queue: str, job: str, *words: str, timeout_s: float = 60) -> list[str]:
        """Wait until what is heard of a job has each of some words, in their order; give every message of the job."""
        heard: list[str] = []
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            answer: Any = self._sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self._sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                if job in message["Body"]:
                    heard.append(message["Body"])
            left = iter(heard)
            if all(any(word in message for message in left) for word in words):
                return heard
        raise AssertionError(f"of {words} this was heard: {heard}")


def test_an_incident_and_its_end_reach_programs_and_people(team: Team) -> None:
    listener, key = Listener(team), "artifacts/alerting.jar"
    content = build("CounterJob", label="v1").read_bytes()
    team.upload(key, content, signature=team.signature(b"other bytes"))
    team.put({"job_id": "alerting", "job_type": "stream", "state": "suspended", "artifact_path": key})

    told = listener.hear(listener.topic, "alerting", "[warning] artifact-refused")
    team.upload(key, content)

    told += listener.hear(listener.topic, "alerting", "[over] artifact-refused")
    published = listener.hear(listener.bus, "alerting", "ArtifactRefused", "ArtifactAdmitted")
    assert "Look first: flinkctl artifact list" in told[0]
    assert len(told) == 2
    assert any("Flink Artifact Event" in message for message in published)
    # Delivered at least once: a program knows an event that it has heard already by its id.
    heard = {(detail["id"], detail["reason"]) for detail in (json.loads(message)["detail"] for message in published)}
    assert len(heard) == len({event_id for event_id, _ in heard})
