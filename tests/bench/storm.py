"""A thousand specs written at once: how long until all run, what each costs, and who waits for whom.

The real handler in processes of its own, as Lambda would run it, on the AWS emulator and a Flink twin behind HTTP: two lanes
take the stream's records in batches, the others take the queue's messages. Nobody ticks, so that a wake-up that is lost shows.
Beside it the same number of processes deploys as many jobs by raw REST calls. `python -m tests.bench.storm` prints a line and
keeps docs/performance/storm.json.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import boto3
import typer
from boto3.dynamodb.types import TypeSerializer

from flink_controller.adapters.flink_rest import FlinkRestConnections
from flink_controller.domain.actions import Submit
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.names import JobName
from flink_controller.domain.observation import Accepted
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.simulator import DEMO_KEY
from infra.functions import FUNCTIONS, RECONCILER, FollowUps, SpecStream
from tests.bench.calls import FlinkCalls, invoke
from tests.bench.ground import SPECS, Ground, ground, keep, spec_item
from tests.bench.meter import Meter
from tests.bench.twins import served

WORKERS: Final = 6
"""Processes at once; the machine has two cores, and a look waits for Flink most of its time."""
LIMIT_S: Final = 600.0
CLUSTER: Final = "c00"
ALONE: Final = "alone/only"
"""The one job of its namespace, whose spec is written last."""
_ROW: Final = next(row for row in FUNCTIONS if row.name == RECONCILER)
_STREAM: Final = next(trigger for trigger in _ROW.triggers if isinstance(trigger, SpecStream))
_QUEUE: Final = next(trigger for trigger in _ROW.triggers if isinstance(trigger, FollowUps))


def names_of(jobs: int) -> list[str]:
    """Give the names: nine tenths in one namespace, the rest in nine others, and one alone and last."""
    few = [f"team-{number % 9}/job-{number:04}" for number in range(jobs // 10 - 1)]
    return [*(f"bulk/job-{number:04}" for number in range(jobs - len(few) - 1)), *few, ALONE]


# The processes


def work(kind: str) -> None:
    """Handle what comes until the input ends; print what it took, as JSON."""
    session = boto3.session.Session()
    boto3.DEFAULT_SESSION = session
    meter, flink = Meter(session.client("dynamodb")), FlinkCalls()
    meter.listen(session.events)
    flink.listen()
    print("READY", flush=True)  # noqa: T201
    looks = _drain_stream() if kind == "stream" else _drain_queue(session.client("sqs"))
    figures = {"looks": looks, "flink_calls": dict(flink.counts), **meter.figures()}
    print("BENCH", json.dumps(figures))  # noqa: T201


def _drain_stream() -> int:
    batches = 0
    for line in sys.stdin:
        waiting: list[str] = json.loads(line)
        while waiting:
            records = [
                {"eventName": "INSERT", "dynamodb": {"Keys": {"job_id": {"S": name}}, "SequenceNumber": str(at)}}
                for at, name in enumerate(waiting)
            ]
            failed = invoke(RECONCILER, {"Records": records})["batchItemFailures"]
            batches += 1
            # A stream comes again from the first record that failed.
            waiting = waiting[min(int(one["itemIdentifier"]) for one in failed) :] if failed else []
    return batches


def _drain_queue(sqs: Any) -> int:
    looks, url = 0, os.environ["FLINKCTL_FOLLOW_UP_QUEUE_URL"]
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(sys.stdin.read)
        while not ended.done():
            answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=_QUEUE.batch_size, WaitTimeSeconds=1)
            messages = {message["MessageId"]: message for message in answer.get("Messages", ())}
            if not messages:
                continue
            records = [{"messageId": name, "body": message["Body"]} for name, message in messages.items()]
            failed = {one["itemIdentifier"] for one in invoke(RECONCILER, {"Records": records})["batchItemFailures"]}
            for name in messages.keys() - failed:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=messages[name]["ReceiptHandle"])
            looks += len(messages)
    return looks


def work_by_hand(url: str, first: int, count: int) -> None:
    """Deploy jobs by raw REST calls: run, and ask until the job runs."""
    gateway = FlinkRestConnections(is_local=True).connect(_cluster(url))
    content = jar_bytes()
    jar_id = gateway.upload_jar("storm.jar", io.BytesIO(content), len(content)).jar_id
    print("READY", flush=True)  # noqa: T201
    sys.stdin.readline()
    for number in range(first, first + count):
        job_id = f"{number + 1:032x}"
        answer = gateway.submit(
            Submit(
                flink_job_id=job_id,
                jar_id=jar_id,
                entry_class=None,
                args=(),
                parallelism=1,
                restore_from=None,
                allow_non_restored_state=False,
                configuration={},
            )
        )
        assert isinstance(answer, Accepted), answer
        while not any(job.flink_job_id == job_id and job.is_processing for job in gateway.jobs(job_id)):
            time.sleep(0.1)
    print("BENCH", json.dumps({}))  # noqa: T201


def _cluster(url: str) -> Cluster:
    return Cluster(name=CLUSTER, url=url, savepoint_root="file:///state/s", checkpoint_root="file:///state/c")


class Worker:
    """One process."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.bench.storm", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        if self._out.readline().strip() != "READY":
            raise SystemExit(f"bench: a process of the storm did not start: {command}")

    def send(self, line: str) -> None:
        """Give it a line."""
        self._in.write(f"{line}\n")
        self._in.flush()

    def end(self) -> dict[str, Any]:
        """Let it end; give what it counted."""
        self._in.close()
        told = next((line for line in self._out if line.startswith("BENCH ")), None)
        if self._process.wait() != 0 or told is None:
            raise SystemExit("bench: a process of the storm failed; its error is above")
        found: dict[str, Any] = json.loads(told.removeprefix("BENCH "))
        return found

    def kill(self) -> None:
        """End it whatever it does."""
        self._process.kill()
        self._process.wait()


@contextmanager
def workers(*kinds: Sequence[str]) -> Iterator[list[Worker]]:
    """Start processes; none outlives the block."""
    with ExitStack() as stack:
        made = []
        for arguments in kinds:
            made.append(Worker(*arguments))
            stack.callback(made[-1].kill)
        yield made


# The measurement


def storm(at: Ground, url: str, jobs: int) -> dict[str, Any]:
    """Write the specs, and wait until every job runs and nothing is left to do."""
    at.add_cluster(CLUSTER, url)
    namespaces = sorted({JobName.parse(name).namespace for name in names_of(jobs)})
    at.registry.put_key(DEMO_KEY.key.model_copy(update={"key_id": "storm", "namespaces": tuple(namespaces)}))
    os.environ.update(at.environ())
    for namespace in namespaces:
        for event in at.upload(key=_key(f"{namespace}/any")):
            invoke("admit_artifact", event)
    at.drain()
    items = [
        TypeSerializer().serialize(spec_item(name, artifact_path=_key(name), cluster=CLUSTER))["M"]
        for name in names_of(jobs)
    ]
    lanes = _STREAM.parallelization
    with workers(*[("--work", "stream")] * lanes, *[("--work", "queue")] * (WORKERS - lanes)) as processes:
        began, started = time.monotonic(), datetime.now(UTC)
        at.put_all(SPECS, items)
        names = names_of(jobs)
        for index, first in enumerate(range(0, len(names), _STREAM.batch_size)):
            processes[index % lanes].send(json.dumps(names[first : first + _STREAM.batch_size]))
        live = _await_all(at, jobs, began)
        took = time.monotonic() - began
        figures = [process.end() for process in processes]
    waits = {name: (moment - started).total_seconds() for name, moment in live.items()}
    return {"jobs": jobs, "wall_s": round(took, 1), **_shares(waits), **_costs(figures, jobs)}


def _key(name: str) -> str:
    """Name the artifact of a job: one for each namespace."""
    return f"{JobName.parse(name).artifact_prefix}storm.jar"


def _await_all(at: Ground, jobs: int, began: float) -> dict[str, datetime]:
    told = 0.0
    while True:
        summaries = list(at.statuses.summaries())
        live = {one.job_id: one.live_at for one in summaries if one.live_at is not None}
        # Until nothing looks any more: the proofs of health are part of what a deploy costs.
        if len(live) == jobs and all(one.next_look is None for one in summaries):
            return live
        passed = time.monotonic() - began
        if passed > LIMIT_S:
            late = sorted(set(names_of(jobs)) - live.keys())[:5]
            raise SystemExit(
                f"bench: after {passed:.0f} s {len(live)} of {jobs} jobs run; {', '.join(late)} and others do not"
            )
        if passed >= told:
            typer.echo(f"storm: {len(live)} of {jobs} run after {passed:.0f} s")
            told = passed + 15
        time.sleep(2)


def _shares(waits: Mapping[str, float]) -> dict[str, Any]:
    bulk = sorted(wait for name, wait in waits.items() if name.startswith("bulk/"))
    few = sorted(wait for name, wait in waits.items() if name.startswith("team-"))
    return {
        "all_running_s": round(max(waits.values()), 1),
        "waits_s": {
            "bulk, median": round(statistics.median(bulk), 1),
            "small namespaces, median": round(statistics.median(few), 1),
            "the one job, written last": round(waits[ALONE], 1),
        },
    }


def _costs(figures: Sequence[Mapping[str, Any]], jobs: int) -> dict[str, Any]:
    flink: Counter[str] = Counter()
    aws: Counter[str] = Counter()
    for one in figures:
        flink.update(one["flink_calls"])
        aws.update(one["aws_calls"])
    return {
        "flink_calls": dict(sorted(flink.items())),
        "flink_calls_per_deploy": round(flink.total() / jobs, 2),
        "aws_calls": dict(sorted(aws.items())),
        "writes_per_deploy": round(sum(one["writes"] for one in figures) / jobs, 2),
        "read_units_per_deploy": round(sum(one["read_units"] for one in figures) / jobs, 1),
        "write_units_per_deploy": round(sum(one["write_units"] for one in figures) / jobs, 1),
    }


def by_hand(url: str, jobs: int) -> float:
    """Deploy as many jobs with as many processes by raw calls; give the seconds that it took."""
    share = jobs // WORKERS
    parts = [(index * share, share if index < WORKERS - 1 else jobs - index * share) for index in range(WORKERS)]
    with workers(*(("--by-hand", url, "--first", str(first), "--count", str(count)) for first, count in parts)) as processes:
        began = time.monotonic()
        for process in processes:
            process.send("go")
        for process in processes:
            process.end()
        return round(time.monotonic() - began, 1)


def tables(found: Mapping[str, Any]) -> str:
    """Write the storm as a table."""
    ratio = found["all_running_s"] / found["by_hand_s"]
    rows = {
        "jobs, all specs written at once": f"{found['jobs']:,}",
        "all running, by the controller": f"{found['all_running_s']:.0f} s",
        "all running, by raw REST calls of as many processes": f"{found['by_hand_s']:.0f} s; the controller takes {ratio:.1f} times that",
        **{f"wait until running: {name}": f"{wait:.0f} s" for name, wait in found["waits_s"].items()},
        "calls on Flink for each deploy, to STABLE": found["flink_calls_per_deploy"],
        "writes for each deploy, leases included": found["writes_per_deploy"],
        "read and write units for each": f"{found['read_units_per_deploy']} and {found['write_units_per_deploy']}",
        "wake-ups lost": 0,
    }
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())])


def main(
    jobs: Annotated[int, typer.Option(help="Specs written at once.")] = 1000,
    work_: Annotated[str, typer.Option("--work", hidden=True)] = "",
    by_hand_: Annotated[str, typer.Option("--by-hand", hidden=True)] = "",
    first: Annotated[int, typer.Option(hidden=True)] = 0,
    count: Annotated[int, typer.Option(hidden=True)] = 0,
) -> None:
    """Measure, print, keep."""
    if work_:
        work(work_)
        return
    if by_hand_:
        work_by_hand(by_hand_, first, count)
        return
    with ground() as at, served(2) as (url, other):
        found = storm(at, url, jobs)
        found["by_hand_s"] = by_hand(other, jobs)
    keep("storm", {"workers": WORKERS, **found})
    typer.echo(tables(found))


if __name__ == "__main__":
    typer.run(main)
