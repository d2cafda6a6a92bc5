"""What each thing that the controller does asks of AWS and of Flink: `make bench` keeps it in docs/performance/operations.json.

The real handlers in a process of its own, among 1,000 jobs on the AWS emulator and on a Flink twin behind HTTP, as in
`tests.bench.fleet`; here every function takes its turn, and one job is uploaded, deployed and upgraded by exactly those
invocations that its stream records and follow-ups ask for. `tests.bench.cost` makes a bill of it.
"""

import contextlib
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final

import boto3
import typer
from boto3.dynamodb.types import TypeSerializer

from flink_controller.bootstrap import controller
from flink_controller.testing.jars import jar_bytes
from infra.functions import FUNCTIONS
from tests.bench.calls import FlinkCalls, invoke
from tests.bench.fleet import Fleet
from tests.bench.ground import SPECS, STATE, Ground, ground, keep, spec_item
from tests.bench.meter import Meter, size
from tests.bench.twins import served

JOBS: Final = 1_000
STORY: Final = "story"
STORY_JAR: Final = "artifacts/story.jar"
CLUSTER: Final = "c00"
"""The first of a fleet."""
QUIET_JOB: Final = "job-00007"
WARM: Final = 2
"""Invocations of each kind before the one that counts."""
SETTLE_LIMIT_S: Final = 60.0


class Recorder:
    """Invokes handlers and sums up what they ask for."""

    def __init__(self, watched: Any) -> None:
        self.meter, self.flink = Meter(watched), FlinkCalls()
        session = boto3.session.Session()
        boto3.DEFAULT_SESSION = session
        self.meter.listen(session.events)
        self.flink.listen()
        self.metrics: set[tuple[str, ...]] = set()
        """Every metric that was written, with its dimensions: what CloudWatch charges for."""

    def take(self, *invocations: tuple[str, Any]) -> dict[str, Any]:
        """Invoke functions, each with its event, and give their sum."""
        self.meter.reset()
        self.flink.counts.clear()
        written = io.StringIO()
        invoked: Counter[str] = Counter()
        seconds, processor = (
            dict.fromkeys((name for name, _ in invocations), 0.0),
            dict.fromkeys((name for name, _ in invocations), 0.0),
        )
        for function, event in invocations:
            began, busy = time.perf_counter(), time.process_time()
            with contextlib.redirect_stdout(written):
                invoke(function, event)
            invoked[function] += 1
            seconds[function] += time.perf_counter() - began
            processor[function] += time.process_time() - busy
        self._note_metrics(written.getvalue())
        figures = self.meter.figures()
        return {
            "invocations": dict(invoked),
            "wall_s": {name: round(value, 4) for name, value in seconds.items()},
            "cpu_s": {name: round(value, 4) for name, value in processor.items()},
            "aws_calls": figures["aws_calls"],
            "read_units": figures["read_units"],
            "write_units": figures["write_units"],
            "flink_calls": dict(sorted(self.flink.counts.items())),
            "log_bytes": len(written.getvalue().encode()),
        }

    def _note_metrics(self, text: str) -> None:
        for line in text.splitlines():
            document = json.loads(line)
            for group in document.get("_aws", {}).get("CloudWatchMetrics", ()):
                for dimensions in group["Dimensions"]:
                    labels = tuple(f"{name}={document[name]}" for name in dimensions)
                    self.metrics |= {(metric["Name"], *labels) for metric in group["Metrics"]}


def added(sums: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up measurements."""
    total: dict[str, Any] = {}
    for one in sums:
        for name, value in one.items():
            if isinstance(value, dict):
                inner = Counter(total.get(name, {}))
                inner.update(value)
                total[name] = dict(sorted(inner.items()))
            else:
                total[name] = total.get(name, 0) + value
    return total


class Story:
    """One job among many, from its upload to its upgrade."""

    def __init__(self, at: Ground, recorder: Recorder) -> None:
        self.ground, self.recorder = at, recorder
        self._published: set[str] = set()

    def upload(self, content: bytes) -> dict[str, Any]:
        """Upload a jar and its signature."""
        events = self.ground.upload(content, STORY_JAR)
        return self.recorder.take(*(("admit_artifact", event) for event in events))

    def write(self, **changes: Any) -> dict[str, Any]:
        """Write the spec, and invoke the reconciler for as long as something asks for it."""
        self.ground.put_spec(spec_item(STORY, artifact_path=STORY_JAR, cluster=CLUSTER, **changes))
        keys = TypeSerializer().serialize({"job_id": STORY})["M"]
        return added([self.recorder.take(("reconcile_job", _stream_event("MODIFY", keys, None))), self.settle()])

    def settle(self) -> dict[str, Any]:
        """Invoke the reconciler for each follow-up until none is asked for any more."""
        taken: list[dict[str, Any]] = []
        end = time.monotonic() + SETTLE_LIMIT_S
        while time.monotonic() < end:
            asked = list(self._follow_ups())
            taken += [self.recorder.take(("reconcile_job", event)) for event in asked]
            status = self.ground.statuses.read(STORY)
            if not asked and status is not None and status.next_look is None:
                return added(taken)
        raise SystemExit(f"bench: {STORY} did not settle in {SETTLE_LIMIT_S} s: {self.ground.statuses.read(STORY)}")

    def publish(self) -> dict[str, Any]:
        """Publish what was recorded since the last time, an invocation for each record: what a quiet stream makes of them."""
        events = [item for item in _records(self.ground, STORY) if item["sk"]["S"].startswith("EVENT#")]
        fresh = [item for item in events if item["sk"]["S"] not in self._published]
        self._published |= {item["sk"]["S"] for item in fresh}
        inserts = [_stream_event("INSERT", {name: item[name] for name in ("pk", "sk")}, item) for item in fresh]
        return self.recorder.take(*(("publish_events", event) for event in inserts))

    def _follow_ups(self) -> Iterator[Any]:
        answer = self.ground.sqs.receive_message(QueueUrl=self.ground.queue_url, MaxNumberOfMessages=1, WaitTimeSeconds=1)
        for message in answer.get("Messages", ()):
            self.ground.sqs.delete_message(QueueUrl=self.ground.queue_url, ReceiptHandle=message["ReceiptHandle"])
            yield {"Records": [{"messageId": message["MessageId"], "body": message["Body"]}]}


def _stream_event(name: str, keys: Any, image: Any) -> dict[str, Any]:
    change = {"Keys": keys, "SequenceNumber": "1", **({"NewImage": image} if image else {})}
    return {"Records": [{"eventName": name, "eventSource": "aws:dynamodb", "dynamodb": change}]}


def record(at: Ground, recorder: Recorder) -> dict[str, Any]:
    """Take every operation, among the jobs that are there."""
    taken: dict[str, Any] = {}
    for row in FUNCTIONS:
        if row.schedule is not None:
            for _ in range(1 + WARM):
                taken[row.name] = recorder.take((row.name, {}))
    look = {"Records": [{"messageId": "1", "body": json.dumps({"job_id": QUIET_JOB})}]}
    for _ in range(1 + WARM):
        taken["a look that changes nothing"] = recorder.take(("reconcile_job", look))
    at.drain()
    story = Story(at, recorder)
    story.upload(jar_bytes("story 1"))
    taken["first deploy"] = story.write()
    taken["events of a first deploy"] = story.publish()
    taken["upload"] = story.upload(jar_bytes("story 2"))
    taken["upgrade"] = story.settle()
    taken["events of an upgrade"] = story.publish()
    return taken


def stored_bytes(at: Ground) -> int:
    """Give what one job takes in both tables, its artifact's records aside."""
    spec = at.dynamodb.get_item(TableName=SPECS, Key={"job_id": {"S": STORY}})["Item"]
    return sum(size(item) for item in [spec, *_records(at, STORY)])


def _records(at: Ground, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = at.dynamodb.query(
        TableName=STATE, KeyConditionExpression="pk = :job", ExpressionAttributeValues={":job": {"S": f"JOB#{job_id}"}}
    )["Items"]
    return found


def main(jobs: Annotated[int, typer.Option(help="Jobs of the fleet.")] = JOBS) -> None:
    """Measure, print a line for each operation, keep the numbers."""
    with ground() as at, served(1) as urls:
        os.environ.update(at.environ())
        # As deployed: with lines of the log and metrics, which cost something too.
        os.environ.update(FLINKCTL_LOG_LEVEL="INFO", POWERTOOLS_METRICS_DISABLED="false")
        at.aws.client("events").create_event_bus(Name="bench")
        topic = at.aws.client("sns").create_topic(Name="bench")["TopicArn"]
        os.environ.update(FLINKCTL_EVENT_BUS_NAME="bench", FLINKCTL_ALERT_TOPIC_ARN=topic)
        recorder = Recorder(at.dynamodb)
        controller.cache_clear()
        with contextlib.redirect_stdout(io.StringIO()):
            Fleet(at, urls).deploy(jobs)
        taken = record(at, recorder)
        metrics = sorted(" ".join(parts) for parts in recorder.metrics)
        functions = {
            row.name: {
                "memory_mb": row.memory_mb,
                "every_minutes": None if row.schedule is None else row.schedule.rate_minutes,
            }
            for row in FUNCTIONS
        }
        kept = {"jobs": jobs, "functions": functions, "metrics": metrics, "bytes_per_job": stored_bytes(at)}
        keep("operations", {**kept, "operations": taken})
    for name, one in taken.items():
        typer.echo(
            f"{name:28} invocations {sum(one['invocations'].values()):2}  AWS calls {sum(one['aws_calls'].values()):3}"
            f"  read units {one['read_units']:6.1f}  write units {one['write_units']:5.1f}"
            f"  Flink calls {sum(one['flink_calls'].values()):3}  log {one['log_bytes']:6} B"
        )


if __name__ == "__main__":
    typer.run(main)
