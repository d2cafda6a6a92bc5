"""What a tick of the batch clock costs among 10,000 cron jobs of which 100 are due: `make bench` prints it.

The real adapters on an in-process imitation of DynamoDB and SQS, which is slower than either; counts are the same anywhere.
Beside it, the look that starts one of those runs, and how both change when there are ten times fewer jobs.
"""

import os
import time
from collections import Counter
from datetime import timedelta
from typing import Any, Final

import boto3
import typer
from moto import mock_aws

from flink_controller.domain.names import JobName
from flink_controller.domain.status import DueKind, JobStatus, JobType, Runs
from flink_controller.ports import Commit
from flink_controller.services.wake_due import wake_due
from tests.contract.worlds import NOW, AwsWorld
from tests.unit.services.batch_bench import BatchBench

JOBS: Final = 10_000
DUE: Final = 100
LIMIT_S: Final = 10.0


class Clock:
    """Stands still."""

    def now(self) -> Any:
        """Give the time of the tick."""
        return NOW

    def sleep(self, duration: timedelta) -> None:
        """Wait for nothing."""


class Waking:
    """The three ports that a tick of the clock uses."""

    def __init__(self, world: AwsWorld) -> None:
        self.clock, self.statuses, self.follow_ups = Clock(), world.statuses, world.follow_ups


def fill(world: AwsWorld, jobs: int) -> None:
    """Record cron jobs, the first hundred of them due now and the others later; one by the adapter, the rest as its copies."""
    job_id = "cron-000000"
    status = JobStatus(
        job_id=job_id,
        job_type=JobType.BATCH,
        created_at=NOW,
        updated_at=NOW,
        due=(DueKind.LAUNCH, NOW),
        runs=Runs(schedule="minutely", decided_until=NOW, next_at=NOW),
    )
    held = world.statuses.acquire(job_id, owner="bench", now=NOW, until=NOW + timedelta(seconds=1))
    world.statuses.commit(held, Commit(status), release=True)
    (item,) = [found for found in world.raw_items() if found["sk"]["S"] == "STATUS"]
    due_at = int(item["due_at"]["N"])
    for first in range(1, jobs, 25):
        numbers = range(first, min(first + 25, jobs))
        copies = [_copy(item, number, due_at if number < DUE else due_at + 60_000 * number) for number in numbers]
        world.dynamodb.batch_write_item(
            RequestItems={world.state_table: [{"PutRequest": {"Item": copy}} for copy in copies]}
        )


def _copy(item: dict[str, Any], number: int, due_at: int) -> dict[str, Any]:
    name = str(JobName.parse(f"cron-{number:06d}").name)
    return {
        **item,
        "pk": {"S": item["pk"]["S"].replace("cron-000000", name)},
        "name": {"S": name},
        "due_at": {"N": str(due_at)},
    }


def tick(jobs: int) -> tuple[float, Counter[str], int]:
    """Give the seconds of a tick, its calls by operation, and how many jobs it woke."""
    calls: Counter[str] = Counter()

    def watch(client: Any) -> None:
        client.meta.events.register("before-call", lambda model, **_: calls.update([model.name]))

    with mock_aws():
        world = AwsWorld(lambda service: boto3.client(service, region_name="eu-west-1"), watch)
        fill(world, jobs)
        ports = Waking(world)
        _ = ports.follow_ups.send(job_id="warm", delay=timedelta(0))  # type: ignore[func-returns-value]  # makes its client
        calls.clear()
        begun = time.perf_counter()
        woken = wake_due(ports, DueKind.LAUNCH)  # type: ignore[arg-type]  # what a tick uses of them
        return time.perf_counter() - begun, calls, len(woken)


def start() -> float:
    """Give the seconds that the look of one due run takes on twins: decide, record, submit, see it run."""
    bench = BatchBench()
    bench.schedule()
    bench.run(bench.to_next_minute)
    begun = time.perf_counter()
    bench.look()
    return time.perf_counter() - begun


def main() -> None:
    """Print both."""
    os.environ.update(AWS_ACCESS_KEY_ID="bench", AWS_SECRET_ACCESS_KEY="bench", AWS_DEFAULT_REGION="eu-west-1")  # noqa: S106
    few_s, few, _ = tick(JOBS // 10)
    many_s, many, woken = tick(JOBS)
    typer.echo(
        f"cron jobs {JOBS}, due {woken}: one tick {many_s:.2f} s, index reads {many['Query']}, queue calls {many['SendMessageBatch']}"
    )
    typer.echo(
        f"cron jobs {JOBS // 10}, due {DUE}: one tick {few_s:.2f} s, index reads {few['Query']}; ratio {many_s / few_s:.2f}"
    )
    typer.echo(f"a look that starts a run: {start() * 1000:.0f} ms of this package's own time")
    if woken != DUE or many["Query"] > -(-DUE // 100) or many_s > LIMIT_S:
        raise SystemExit(f"bench: a tick takes more than {LIMIT_S} s or a page of index reads per hundred due")


if __name__ == "__main__":
    main()
