"""Records of the state table's stream through the handler: what the bus and the alert topic get of them."""

import json
from typing import Any

import pytest

from flink_controller import settings
from flink_controller.bootstrap import controller
from flink_controller.domain.announcements import SOURCE
from infra import announcements
from tests.integration.installation import BUS, RIGHTS, SESSION, Installation, deliver, invoke, sample


class Listener:
    """A queue that hears the whole bus, and one that hears the alert topic."""

    def __init__(self, installed: Installation) -> None:
        self._sqs = SESSION.client("sqs")
        events, sns = SESSION.client("events"), SESSION.client("sns")
        self._bus_queue, bus_queue_arn = self._queue("bus")
        self._alert_queue, alert_queue_arn = self._queue("alerts")
        events.put_rule(Name="all", EventBusName=BUS, EventPattern=json.dumps({"source": [SOURCE]}))
        events.put_targets(Rule="all", EventBusName=BUS, Targets=[{"Id": "queue", "Arn": bus_queue_arn}])
        sns.subscribe(TopicArn=installed.topic_arn, Protocol="sqs", Endpoint=alert_queue_arn)

    def published(self) -> list[dict[str, Any]]:
        """Take what the bus carried."""
        return self._take(self._bus_queue)

    def told(self) -> list[dict[str, Any]]:
        """Take what people were told."""
        return self._take(self._alert_queue)

    def _queue(self, name: str) -> tuple[str, str]:
        url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        return url, self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

    def _take(self, url: str) -> list[dict[str, Any]]:
        found = []
        while messages := self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


@pytest.fixture
def listener(installed: Installation) -> Listener:
    return Listener(installed)


def test_a_transition_is_published_and_nobody_is_called(listener: Listener) -> None:
    assert deliver("publish_events/transition.json") == {"batchItemFailures": []}

    (event,) = listener.published()
    assert (event["source"], event["detail-type"]) == (SOURCE, "Flink Job Event")
    detail = event["detail"]
    assert (detail["id"], detail["job_id"], detail["namespace"]) == ("integration/data/etl#7", "data/etl", "data")
    assert (detail["reason"], detail["notices"]) == ("Running", [])
    assert listener.told() == []


def test_an_incident_calls_a_person_and_says_what_to_look_at_first(listener: Listener) -> None:
    deliver("publish_events/incident.json")

    (event,), (message,) = listener.published(), listener.told()
    assert [(one["alert"], one["state"]) for one in event["detail"]["notices"]] == [("job-failed", "opened")]
    assert message["Subject"] == "[warning] job-failed: data/etl"
    assert "poisoned record" in message["Message"]
    assert "\nLook first: The root cause in the message;" in message["Message"]
    assert message["MessageAttributes"]["namespace"]["Value"] == "data"


def test_an_incident_that_is_muted_is_published_all_the_same(listener: Listener) -> None:
    deliver("publish_events/muted_incident.json")

    (event,) = listener.published()
    assert [one["is_told"] for one in event["detail"]["notices"]] == [False]
    assert listener.told() == []


def test_a_recovery_is_told(listener: Listener) -> None:
    deliver("publish_events/recovery.json")

    (message,) = listener.told()
    assert message["Subject"] == "[over] job-failed: data/etl"


def test_a_refused_artifact_is_published_for_whoever_uploads(listener: Listener) -> None:
    deliver("publish_events/refused_artifact.json")

    (event,) = listener.published()
    assert (event["detail-type"], event["detail"]["reason"]) == ("Flink Artifact Event", "SignatureInvalid")
    assert listener.told() == []


def test_a_batch_is_published_whole_and_again_under_the_same_ids(listener: Listener) -> None:
    deliver("publish_events/mixed_batch.json")
    first = {event["detail"]["id"] for event in listener.published()}
    deliver("publish_events/mixed_batch.json")
    second = [event["detail"]["id"] for event in listener.published()]

    assert len(first) == 4
    assert sorted(second) == sorted(first)


def test_what_cannot_be_read_is_dropped_and_what_is_no_event_is_nobodys_business(listener: Listener) -> None:
    assert deliver("publish_events/garbage.json") == {"batchItemFailures": []}

    assert listener.published() == []


def test_records_come_again_from_the_first_that_could_not_be_published(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = sample("publish_events/mixed_batch.json")
    gone = "arn:aws:sns:eu-west-1:123456789012:gone"
    RIGHTS.know(gone, "Messaging/Alerts")
    for name, value in settings.environment({"alert_topic_arn": gone}).items():
        monkeypatch.setenv(name, value)
    controller.cache_clear()

    answer = invoke("publish_events", event)

    failed = event["Records"][1]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert [found["detail"]["reason"] for found in listener.published()] == ["Running", "JobFailed"]


def test_a_bus_that_is_gone_loses_no_record_and_tells_nobody_before_it_is_back(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = sample("publish_events/mixed_batch.json")
    RIGHTS.know("gone", "Messaging/Events")
    with monkeypatch.context() as broken:
        for name, value in settings.environment({"event_bus_name": "gone"}).items():
            broken.setenv(name, value)
        controller.cache_clear()

        answer = invoke("publish_events", event)

    first = event["Records"][0]["dynamodb"]["SequenceNumber"]
    assert answer == {"batchItemFailures": [{"itemIdentifier": first}]}
    assert (listener.published(), listener.told()) == ([], [])
    controller.cache_clear()
    assert invoke("publish_events", event) == {"batchItemFailures": []}
    assert len(listener.published()) == 4


def test_schema_and_examples_are_what_the_code_publishes() -> None:
    for name, text in announcements.files().items():
        assert (announcements.ROOT / name).read_text(encoding="utf-8") == text, "run python -m infra.announcements"
    kept = {path.name for path in (announcements.ROOT / announcements.EXAMPLES).iterdir()}
    assert kept == {f"{name}.json" for name in announcements.examples()}
