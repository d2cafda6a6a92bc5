"""`redrive`, against an emulated SQS."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from moto import mock_aws

from flink_controller.adapters.sqs_dead_letters import REDRIVE_ACTIONS, SqsDeadLetters
from flink_controller.adapters.sqs_follow_ups import SEND_ACTIONS, SqsFollowUps
from flink_controller.cli.context import Remote
from tests.unit.cli.bench import Bench, Result

UPLOAD = {"requestPayload": {"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": "artifacts/a+b.jar"}}}]}}


@dataclass
class Queues:
    """The queues of an installation, and the program in front of them."""

    bench: Bench
    sqs: Any
    remote: Remote
    calls: set[str]

    def put(self, queue: str, *bodies: object) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self._url(queue), MessageBody=json.dumps(body))

    def count(self, queue: str) -> int:
        return SqsDeadLetters(self.sqs, self._url(queue)).count()

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
        sqs = boto3.session.Session("test", "test", region_name="us-east-1").client("sqs")
        names = ("follow_up", "follow_up_failures", "stream_failures", "invocation_failures")
        urls = {f"{name}_queue_url": sqs.create_queue(QueueName=name)["QueueUrl"] for name in names}
        calls = set[str]()
        sqs.meta.events.register(
            "provide-client-params.sqs.*", lambda model, **_: calls.add(f"sqs:{model.name.removesuffix('Batch')}")
        )
        remote = replace(
            bench.remote(),
            settings=replace(bench.settings, **urls),
            follow_ups=SqsFollowUps(sqs, urls["follow_up_queue_url"]),
            dead_letters=lambda url: SqsDeadLetters(sqs, url),
        )
        monkeypatch.setattr(bench, "remote", lambda: remote)
        yield Queues(bench, sqs, remote, calls)


def test_all_queues_are_counted(queues: Queues) -> None:
    queues.put("follow-up-failures", {"job_id": "etl"}, {"job_id": "data/etl"})
    queues.put("stream-failures", {})

    assert queues.run("-o", "json").json["items"] == [
        {"queue": "follow-ups", "messages": 2},
        {"queue": "stream", "messages": 1},
        {"queue": "invocations", "messages": 0},
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


@pytest.mark.parametrize("arguments", [["--delete"], ["follow-ups", "--delete"], ["events"]])
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


def test_it_needs_what_the_operators_policy_grants(queues: Queues) -> None:
    queues.put("follow-up-failures", {"job_id": "etl"})
    queues.run()
    counted = set(queues.calls)

    queues.run("follow-ups")

    assert counted | queues.calls == REDRIVE_ACTIONS | SEND_ACTIONS
