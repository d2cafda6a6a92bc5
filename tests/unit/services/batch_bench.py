"""Batch jobs on top of twins, with the clocks that wake them."""

from datetime import datetime, timedelta
from typing import Any

from flink_controller.domain.status import DueKind, Run, RunOutcome
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.services.wake_due import wake_due
from flink_controller.testing.flink_behaviour import JobBehaviour
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

MINUTE = timedelta(minutes=1)
QUICK = JobBehaviour(is_batch=True, finishes_after=5 * SECOND)
LONG = JobBehaviour(is_batch=True, finishes_after=150 * SECOND)
FAILING = JobBehaviour(is_batch=True, fails_after=1 * SECOND, restarts=0)


class BatchBench(Bench):
    """An installation whose clocks tick every minute."""

    def schedule(self, behaviour: JobBehaviour = QUICK, **config: Any) -> None:
        """Upload a jar and write a batch job, every minute unless said otherwise."""
        self.upload(behaviour=behaviour)
        self.edit(**config)
        self.look()

    def edit(self, *, state: str = "running", args: tuple[str, ...] = (), **config: Any) -> None:
        """Write the spec."""
        self.put(
            job_type="batch",
            state=state,
            args=list(args),
            deployment={"on_failure": {"backoff_seconds": 10}},
            batch_config={"cron": "* * * * *", **config},
        )

    def tick(self) -> None:
        """Let the clocks fire once."""
        for kind in DueKind:
            wake_due(self.ports, kind)
        reconcile_fleet(self.ports, POLICY)

    def minutes(self, count: int) -> None:
        """Let time pass with a tick at the beginning of each minute."""
        for _ in range(count):
            self.tick()
            self.run(self.to_next_minute)

    @property
    def to_next_minute(self) -> timedelta:
        """Until the clocks fire."""
        now = self.clock.now()
        return MINUTE - timedelta(seconds=now.second, microseconds=now.microsecond)

    @property
    def now(self) -> datetime:
        """The time."""
        return self.clock.now()

    @property
    def history(self) -> list[Run]:
        """Every record of a run, oldest first."""
        return self.statuses.runs(JOB)

    def outcomes(self) -> list[RunOutcome]:
        """What became of each instant, oldest first."""
        return [run.outcome for run in self.history]

    def reasons(self) -> list[str]:
        """Why, oldest first."""
        return [run.reason for run in self.history]
