"""`redrive`, against emulated queues, tables and ways out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.sqs.models import sqs_backends

from flink_controller.adapters import dynamodb_events, event_bus, sns_alerts
from flink_controller.adapters.dynamodb_artifacts import DynamoArtifactRecords
from flink_controller.adapters.dynamodb_events import DynamoEvents
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.event_bus import EventBridgeBus
from flink_controller.adapters.sns_alerts import SnsAlerts
from flink_controller.adapters.sqs_dead_letters import REDRIVE_ACTIONS, SqsDeadLetters
from flink_controller.adapters.sqs_follow_ups import SEND_ACTIONS, SqsFollowUps
from flink_controller.cli.context import Outlets, Remote
from flink_controller.domain.artifact import Verdict
from flink_controller.domain.status import Event, Incident, JobStatus
from flink_controller.ports import Commit
from tests.contract.samples import version
from tests.contract.tables import create_state_table
from tests.contract.worlds import NOW
from tests.unit.cli.bench import Bench, Result

UPLOAD = {"requestPayload": {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "artifacts/a+b.jar"}}}]}}


@dataclass
class Queues:
    """The queues of an installation, and the program in front of them."""

    bench: Bench
    sqs: Any
    remote: Remote
    state: Any
    calls: set[str]
    published: list[dict[str, Any]] = field(default_factory=list)
    """Details of what the bus was given."""
    letters: list[str] = field(default_factory=list)
    """Subjects of what people were told."""

    def put(self, queue: str, *bodies: object) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self._url(queue), MessageBody=json.dumps(body))

    def count(self, queue: str) -> int:
        return SqsDeadLetters(self.sqs, self._url(queue)).count()

    def hear(self, params: dict[str, Any], model: Any, **_: object) -> None:
        self.calls.add(f"{model.service_model.service_name}:{model.name.removesuffix('Batch')}")
        self.published += [json.loads(entry["Detail"]) for entry in params.get("Entries", ()) if "Detail" in entry]
        self.letters += [params["Subject"]] if "Subject" in params else []

    def show_again(self, queue: str) -> None:
        """End the visibility timeout of what was received."""
        moto_queue = sqs_backends["123456789012"]["us-east-1"].queues[queue.replace("-", "_")]
        for message in moto_queue._messages:
            message.change_visibility(0)

    def record(self, job_id: str, *events: Event) -> None:
        """Record events of a job as a look does."""
        statuses = DynamoStatusStore(self.state, "state")
        held = statuses.acquire(job_id, owner="me", now=NOW, until=NOW + timedelta(seconds=30))
        status = JobStatus(job_id=job_id, created_at=NOW, updated_at=NOW)
        statuses.commit(held, Commit(status, events=events), release=True)

    def woken(self) -> list[str]:
        found = self.sqs.receive_message(QueueUrl=self._url("follow-up"), MaxNumberOfMessages=10).get("Messages", [])
        return sorted(json.loads(message["Body"])["job_id"] for message in found)

    def run(self, *arguments: str) -> Result:
        self.calls.clear()
        return self.bench.run("redrive", *arguments)

    def _url(self, name: str) -> str:
        url: str = getattr(self.remote.settings, f"{name.replace('-', '_')}_queue_url")
        return url


@pytest.fixture
def queues(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queues]:
    with mock_aws():
        session = boto3.session.Session("test", "test", region_name="us-east-1")
        sqs, state, events, sns = (session.client(name) for name in ("sqs", "dynamodb", "events", "sns"))
        create_state_table(state, "state")
        events.create_event_bus(Name="bus")
        topic_arn = sns.create_topic(Name="alerts")["TopicArn"]
        names = ("follow_up", "follow_up_failures", "stream_failures", "invocation_failures", "event_failures")
        urls = {f"{name}_queue_url": sqs.create_queue(QueueName=name)["QueueUrl"] for name in names}
        remote = replace(
            bench.remote(),
            settings=replace(bench.settings, **urls, event_bus_name="bus", alert_topic_arn=topic_arn),
            follow_ups=SqsFollowUps(sqs, urls["follow_up_queue_url"]),
            # Waiting for what is not there makes AWS ask all its servers; here there is one.
            dead_letters=lambda url: SqsDeadLetters(sqs, url, wait_s=0),
            outlets=lambda: Outlets(
                DynamoEvents(state, "state", controller_id="test"), EventBridgeBus(events, "bus"), SnsAlerts(sns, topic_arn)
            ),
        )
        monkeypatch.setattr(bench, "remote", lambda: remote)
        queues = Queues(bench, sqs, remote, state, set())
        for client in (sqs, state, events, sns):
            client.meta.events.register("provide-client-params", queues.hear)
        yield queues


def test_all_queues_are_counted(queues: Queues) -> None:
    queues.put("follow-up-failures", {"job_id": "etl"}, {"job_id": "data/etl"})
    queues.put("stream-failures", {})

    assert queues.run("-o", "json").json["items"] == [
        {"queue": "follow-ups", "messages": 2},
        {"queue": "stream", "messages": 1},
        {"queue": "invocations", "messages": 0},
        {"queue": "events", "messages": 0},
    ]


def test_jobs_are_woken_once_each_and_their_messages_deleted(queues: Queues) -> None:
    queues.put("follow-up-failures", {"job_id": "etl"}, {"job_id": "data/etl"}, {"job_id": "etl"})

    result = queues.run("follow-ups")

    assert (result.status, result.out) == (0, "follow-ups: 2 jobs are woken again\n")
    assert set(queues.woken()) == {"etl", "data/etl"}
    assert queues.count("follow-up-failures") == 0


def test_more_than_one_reading_gives_are_woken(queues: Queues) -> None:
    queues.put("follow-up-failures", *({"job_id": f"job{number}"} for number in range(25)))

    assert "25 jobs" in queues.run("follow-ups").out
    assert (queues.count("follow-up"), queues.count("follow-up-failures")) == (25, 0)


@pytest.mark.parametrize("body", ["no object", {}, {"job_id": 1}, {"job_id": ""}, []])
def test_what_names_no_job_stays(queues: Queues, body: object) -> None:
    queues.put("follow-up-failures", body)

    result = queues.run("follow-ups")

    assert "1 messages name no job" in result.err
    assert (queues.count("follow-up"), queues.count("follow-up-failures")) == (0, 1)


@pytest.mark.parametrize(("name", "queue"), [("stream", "stream-failures"), ("invocations", "invocation-failures")])
def test_what_is_made_up_for_is_deleted_on_request_only(queues: Queues, name: str, queue: str) -> None:
    queues.put(queue, UPLOAD, UPLOAD)

    assert "2 messages, nothing to send" in queues.run(name).out
    assert queues.count(queue) == 2
    assert "2 messages deleted" in queues.run(name, "--delete").out
    assert (queues.count(queue), queues.count("follow-up")) == (0, 0)


def test_deleted_uploads_are_told(queues: Queues) -> None:
    queues.put("invocation-failures", UPLOAD)

    assert queues.run("invocations", "--delete").out.startswith("b/artifacts/a b.jar\n")


@pytest.mark.parametrize("arguments", [["--delete"], ["follow-ups", "--delete"], ["everything"]])
def test_wrong_usage_touches_nothing(queues: Queues, arguments: list[str]) -> None:
    queues.put("follow-up-failures", {"job_id": "etl"})

    assert queues.run(*arguments).status == 2
    assert queues.count("follow-up-failures") == 1


def test_an_address_that_is_missing_is_named(bench: Bench, queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = replace(queues.remote, settings=replace(queues.remote.settings, stream_failures_queue_url=""))
    monkeypatch.setattr(bench, "remote", lambda: remote)

    result = bench.run("redrive")

    assert result.status == 1
    assert "FLINKCTL_STREAM_FAILURES_QUEUE_URL is not set" in result.err


def given_up(since: datetime, until: datetime) -> dict[str, Any]:
    """Give what Lambda says of a batch of a table's stream that it gave up."""
    return {
        "requestContext": {"condition": "RetryAttemptsExhausted"},
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001573689847184-864758bb",
            "startSequenceNumber": "800000000003126276362",
            "endSequenceNumber": "800000000003126276999",
            "approximateArrivalOfFirstRecord": f"{since:%Y-%m-%dT%H:%M:%SZ}",
            "approximateArrivalOfLastRecord": f"{until:%Y-%m-%dT%H:%M:%SZ}",
            "batchSize": 25,
        },
    }


def event(sequence: int, time: datetime, **more: Any) -> Event:
    return Event(
        **{"sequence": sequence, "time": time, "type": "Warning", "reason": "JobFailed", "message": "poison", **more}
    )


def test_events_are_published_again_in_their_order_and_under_their_ids(queues: Queues) -> None:
    queues.record("etl", *(event(number, NOW + timedelta(minutes=10 * number)) for number in range(1, 7)))
    queues.record("data/etl", event(1, NOW + timedelta(minutes=25), opens=Incident(alert="job-failed")))
    queues.put("event-failures", given_up(NOW + timedelta(minutes=20), NOW + timedelta(minutes=40)))

    result = queues.run("events")

    assert (result.status, result.out) == (0, "events: 4 events are published again\n")
    assert [one["id"] for one in queues.published] == ["test/etl#2", "test/data/etl#1", "test/etl#3", "test/etl#4"]
    assert queues.letters == ["[warning] job-failed: data/etl"]
    assert queues.count("event-failures") == 0


def test_an_event_that_repeated_itself_since_is_published_too(queues: Queues) -> None:
    queues.record("etl", event(1, NOW + timedelta(hours=20), count=3, opens=Incident(alert="job-failed")))
    queues.put("event-failures", given_up(NOW, NOW))

    queues.run("events")

    assert queues.letters == ["[warning] job-failed: etl"]


def test_refused_artifacts_are_published_again_and_admitted_ones_are_not(queues: Queues) -> None:
    records = DynamoArtifactRecords(queues.state, "state")
    for verdict, decided_at in (
        (Verdict.REFUSED, NOW),
        (Verdict.ADMITTED, NOW),
        (Verdict.REFUSED, NOW + timedelta(hours=1)),
    ):
        one = version(f"{verdict}-{decided_at:%H}", verdict=verdict, decided_at=decided_at)
        records.record(one, burst_window=timedelta(0))
    queues.put("event-failures", given_up(NOW, NOW))

    queues.run("events")

    assert [one["version_id"] for one in queues.published] == ["refused-12"]


def test_what_a_death_in_between_left_is_published_once_more_and_nothing_is_lost(
    queues: Queues, monkeypatch: pytest.MonkeyPatch
) -> None:
    queues.record("etl", *(event(number, NOW) for number in (1, 2)))
    queues.put("event-failures", given_up(NOW, NOW))
    put, left = EventBridgeBus.put, [1]

    def dying(self: EventBridgeBus, events: Any) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        put(self, events)

    with monkeypatch.context() as dies:
        dies.setattr(EventBridgeBus, "put", dying)
        queues.run("events")
    assert ([one["sequence"] for one in queues.published], queues.count("event-failures")) == ([1], 1)

    # The messages come back by themselves after the queue's visibility timeout.
    queues.show_again("event-failures")
    queues.run("events")

    assert ([one["sequence"] for one in queues.published], queues.count("event-failures")) == ([1, 1, 2], 0)


@pytest.mark.parametrize(
    "body",
    [
        "no object",
        {},
        {"DDBStreamBatchInfo": {}},
        {"DDBStreamBatchInfo": dict.fromkeys(("approximateArrivalOfFirstRecord", "approximateArrivalOfLastRecord"), "soon")},
    ],
)
def test_what_names_no_batch_of_events_stays(queues: Queues, body: object) -> None:
    queues.record("etl", event(1, NOW))
    queues.put("event-failures", body)

    assert "1 messages name no batch of events" in queues.run("events").err
    assert (queues.published, queues.count("event-failures")) == ([], 1)


def test_events_that_nobody_wants_any_more_are_cleared(queues: Queues) -> None:
    queues.record("etl", event(1, NOW))
    queues.put("event-failures", given_up(NOW, NOW))

    assert "1 messages deleted" in queues.run("events", "--delete").out
    assert (queues.published, queues.count("event-failures")) == ([], 0)


def test_without_a_bus_nothing_is_taken(bench: Bench, queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    queues.put("event-failures", given_up(NOW, NOW))
    remote = replace(queues.remote, settings=replace(queues.remote.settings, event_bus_name=""))
    monkeypatch.setattr(bench, "remote", lambda: remote)

    result = bench.run("redrive", "events")

    assert (result.status, queues.count("event-failures")) == (1, 1)
    assert "FLINKCTL_EVENT_BUS_NAME is not set" in result.err


def test_it_needs_what_the_operators_policy_grants(queues: Queues) -> None:
    queues.record("etl", event(1, NOW, opens=Incident(alert="job-failed")))
    queues.put("follow-up-failures", {"job_id": "etl"})
    queues.put("event-failures", given_up(NOW, NOW))
    used = set[str]()
    for arguments in ([], ["follow-ups"], ["events"]):
        queues.run(*arguments)
        used |= queues.calls

    ways_out = dynamodb_events.READ_ACTIONS | event_bus.PUT_ACTIONS | sns_alerts.PUBLISH_ACTIONS
    assert used == REDRIVE_ACTIONS | SEND_ACTIONS | ways_out
