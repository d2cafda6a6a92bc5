"""Random stories of a batch job: schedules, limits and policies that change under its runs, with faults at any point."""

from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Any, ClassVar, Final

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.spec import hash_item
from flink_controller.domain.status import AttemptPhase, RunOutcome
from flink_controller.testing.batch_scenarios import ENDLESS, FAILING, QUICK, SLOW, batch_item
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.random_worlds import DEEDS, PLAIN, Teller
from flink_controller.testing.simulator import JOB, ViolationError

PROGRAMS: Final[Mapping[str, JobBehaviour]] = {
    "quick": QUICK,
    "slow": SLOW,
    "endless": ENDLESS,
    "failing": FAILING,
    "slow main": JobBehaviour(is_batch=True, main=timedelta(seconds=40), finishes_after=timedelta(seconds=4)),
    "main throws": JobBehaviour(is_batch=True, main_throws="no such table"),
    "slow cancel": JobBehaviour(is_batch=True, cancel=timedelta(seconds=30)),
    "never scheduled": JobBehaviour(is_batch=True, never_schedules=True),
}
_OF_STREAMS: Final = frozenset({"mode", "savepoint nonce", "expire triggers"})
CHOICES: Final[Mapping[str, tuple[object, ...]]] = {
    "cron": (None, "* * * * *", "* * * * *", "*/2 * * * *", "*/5 * * * *"),
    "overlap_policy": ("forbid", "allow", "replace", "queue_one"),
    "missed_run_policy": ("skip", "run_latest", "run_all"),
    "max_runs": (None, None, 2, 4),
    "ttl_seconds": (None, 5, 40, 120),
    "backoff_limit": (0, 0, 1, 2),
    "starting_deadline_seconds": (None, None, 90),
    "submission_deadline_seconds": (60, 600),
    "suspend_after_failures": (None, 2),
    "jitter_seconds": (0, 20),
    "cleanup_on_completion": (False, True),
}


class BatchTeller(Teller):
    """Does what happens to a batch job."""

    deeds: ClassVar[Mapping[str, int]] = {
        **{kind: weight for kind, weight in DEEDS.items() if kind not in _OF_STREAMS},
        "edit": 6,
        "run now": 4,
    }

    def _first_item(self) -> dict[str, object]:
        return batch_item()

    def _change(self, random: Random) -> None:
        config = {name: found for name, choices in CHOICES.items() if (found := random.choice(choices)) is not None}
        self._put({**self._item, "args": [f"--{random.randrange(3)}"], "batch_config": config, "state": "running"})

    def _edit(self, random: Random) -> None:
        """Change one field, beside active runs."""
        name = random.choice(list(CHOICES))
        config = {**self._config, name: random.choice(CHOICES[name])}
        self._put({**self._item, "batch_config": {key: found for key, found in config.items() if found is not None}})

    def _run_now(self, random: Random) -> None:
        wish = {"nonce": str(random.randrange(1000)), "args": ["--by-hand"]}
        self._put({**self._item, "batch_config": {**self._config, "run_now": wish}})

    def _upload(self, random: Random) -> None:
        self._uploads += 1
        kind = random.choice(("quick", "slow", *PROGRAMS))
        self._world.upload(f"{kind} {self._uploads}", PROGRAMS[kind])

    @property
    def _config(self) -> dict[str, Any]:
        found = self._item["batch_config"]
        assert isinstance(found, dict)
        return found

    def _wish(self, end: str) -> None:
        self._wished = self._world.upload("the last one", QUICK)
        if end == "deleted":
            self._world.delete()
            return
        # Whatever runs still gives way to it.
        config = {"overlap_policy": "replace"}
        self._put({**batch_item(), "args": ["--last"], "batch_config": config})
        if end == "suspended":
            if not self._world.run_until(lambda _: self._is_fulfilled("running"), PLAIN):
                raise ViolationError(f"L1: wished for one run: {self._world.lifecycle}")
            self._put({**batch_item("suspended"), "args": ["--last"], "batch_config": config})

    def _is_fulfilled(self, end: str) -> bool:
        world = self._world
        status, item = world.status, world.specs.read(JOB)
        if end == "deleted":
            return world.lifecycle in {Lifecycle.DELETED, Lifecycle.CREATED} and not world.running_jars
        if status is None or item is None or status.observed_spec_hash != hash_item(item) or world.running_jars:
            return False
        if end == "suspended":
            return world.lifecycle is Lifecycle.SUSPENDED
        last, desired = status.runs.last, status.desired
        if last is None or desired is None or world.lifecycle is not Lifecycle.COMPLETED:
            return False
        return last.outcome is RunOutcome.SUCCEEDED and last.revision == desired.number

    def _rests(self) -> bool:
        """Whether every copy that lives is the attempt of an active run, and the job is where it may be for now."""
        world, alive = self._world, self._world.promises.alive(JOB)
        status, item = world.status, world.specs.read(JOB)
        if status is None:
            return item is None and not alive
        if status.observed_spec_hash != (None if item is None else hash_item(item)):
            return False
        active = [run.attempt.flink_job_id for run in status.runs.active if run.attempt.phase is AttemptPhase.LIVE]
        if sorted(alive) != sorted(active) or len(active) != len(status.runs.active):
            return False
        match world.lifecycle:
            case Lifecycle.STABLE | Lifecycle.SUSPENDED | Lifecycle.SUSPENDING | Lifecycle.FAILED:
                return True
            case Lifecycle.COMPLETED | Lifecycle.DELETED | Lifecycle.CREATED:
                return not alive
            case Lifecycle.WAITING:
                return status.waiting is not None and status.waiting[0] in {"ArtifactMissing", "SignatureMissing"}
            case _:
                return False
