"""Random stories: what teams, operators and clusters do in any order, with faults at any point, from a seed.

A story is a list of steps and a list of faults, drawn before it is told, so a story that breaks a promise can be made
shorter by leaving parts out. While it goes on the promises are checked after every point. At its end faults stop, and
the world must come to rest; then somebody uploads a good artifact and says plainly what they want, and that must happen.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import ClassVar, Final

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.spec import hash_item
from flink_controller.testing.faults import Fault, FaultKind
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import TwinOptions
from flink_controller.testing.simulator import JOB, ViolationError, World, spec_item

REST: Final = timedelta(hours=3)
"""Virtual time in which the world must come to rest; a job that fails again and again is given up within it."""
PLAIN: Final = timedelta(minutes=30)
"""Virtual time in which a plain wish must come true."""
STAY: Final = timedelta(minutes=3)

BEHAVIOURS: Final[Mapping[str, JobBehaviour]] = {
    "good": JobBehaviour(),
    "slow main": JobBehaviour(main=timedelta(seconds=40)),
    "slow savepoint": JobBehaviour(savepoint=timedelta(seconds=20)),
    "no savepoint": JobBehaviour(stop_fails="a task refuses"),
    "main throws": JobBehaviour(main_throws="no such topic"),
    "never scheduled": JobBehaviour(never_schedules=True),
    "crash loop": JobBehaviour(fails_after=timedelta(seconds=4)),
    "gives up": JobBehaviour(fails_after=timedelta(seconds=4), restarts=0),
    "incompatible": JobBehaviour(state_incompatible=True),
    "bounded": JobBehaviour(finishes_after=timedelta(seconds=200)),
    "slow cancel": JobBehaviour(cancel=timedelta(seconds=30)),
}
_GOOD: Final = ("good", "slow main", "slow savepoint", "no savepoint", "slow cancel")
_MODES: Final = ("savepoint", "savepoint", "last-state", "stateless", "blue-green")
DEEDS: Final[Mapping[str, int]] = {
    "change": 6,
    "revert": 2,
    "mode": 2,
    "suspend": 3,
    "resume": 3,
    "delete": 2,
    "invalid": 2,
    "restart nonce": 2,
    "savepoint nonce": 2,
    "upload": 6,
    "upload unsigned": 1,
    "overwrite": 1,
    "revoke": 1,
    "trust": 2,
    "restart JobManager": 2,
    "kill JobManager": 2,
    "kill TaskManagers": 2,
    "cancel by hand": 2,
    "forget terminal": 2,
    "expire triggers": 1,
    "stale index": 1,
    "wake together": 6,
    "wait": 8,
}
"""What somebody may do, and how often beside the rest."""


@dataclass(frozen=True)
class Step:
    """Something that somebody does, and how long it is quiet after it."""

    kind: str
    seed: int
    quiet: timedelta

    def __str__(self) -> str:
        return f"{self.kind} ({self.seed}), then {self.quiet.total_seconds():.0f} s"


@dataclass(frozen=True)
class Story:
    """What happens in a random world."""

    seed: int
    steps: tuple[Step, ...]
    faults: tuple[Fault, ...]
    end: str
    """What is wished for in the end: running, suspended or deleted."""
    enforces_leases: bool = True
    options: TwinOptions = field(default_factory=TwinOptions)
    teller: "type[Teller]" = field(default_factory=lambda: Teller)

    def told(self) -> str:
        """Say it line by line, so that it can be told again."""
        lease = "on" if self.enforces_leases else "off"
        lines = [f"seed {self.seed}, {self.teller.__name__}: lease {lease}; {self.options}; in the end {self.end}"]
        lines += [f"  {step}" for step in self.steps]
        lines += [f"  '{fault.kind}' at point {fault.at}" for fault in self.faults]
        return "\n".join(lines)


def draw(seed: int, teller: "type[Teller] | None" = None) -> Story:
    """Draw a story, of a streaming job unless another teller is named."""
    teller = teller or Teller
    random = Random(seed)
    kinds, weights = zip(*teller.deeds.items(), strict=True)
    steps = [Step("upload", random.randrange(1000), timedelta(0)), Step("change", random.randrange(1000), timedelta(0))]
    for kind in random.choices(kinds, weights, k=random.randrange(2, 12)):
        quiet = random.choice((0, 0, 1, 5, 15, 40, 100, 240))
        steps.append(Step(kind, random.randrange(1000), timedelta(seconds=quiet)))
    skews = [random.choice((FaultKind.CLOCK_FAST, FaultKind.CLOCK_SLOW))]
    # Two clocks that are off to different sides are further apart than the margin of a quarantine allows.
    allowed = [kind for kind in FaultKind if kind not in {FaultKind.CLOCK_FAST, FaultKind.CLOCK_SLOW}] + skews
    faults = tuple(Fault(random.randrange(1, 60 * len(steps)), random.choice(allowed)) for _ in range(random.randrange(8)))
    return Story(
        seed,
        tuple(steps),
        tuple(sorted(faults, key=lambda fault: fault.at)),
        end=random.choice(("running", "running", "running", "suspended", "deleted")),
        enforces_leases=random.random() < 0.7,
        options=draw_options(random),
        teller=teller,
    )


def draw_options(random: Random) -> TwinOptions:
    """Draw how the cluster is set up."""
    version = random.choice(("1.20", "2.3", "2.3"))
    return TwinOptions(
        version=version,
        keeps_jars=random.random() < 0.3,
        high_availability=random.random() < 0.25,
        forgets_ended=random.random() < 0.5,
        is_adaptive=random.random() < 0.3,
        runs_applications=version == "2.3" and random.random() < 0.3,
    )


def tell(story: Story) -> int:
    """Tell a story; give the number of its points.

    Raises:
        ViolationError: a promise was broken.
    """
    world = World(story.faults, enforces_leases=story.enforces_leases, options=story.options)
    teller = story.teller(world)
    for step in story.steps:
        teller.do(step.kind, step.seed)
        world.run_for(step.quiet)
    teller.end(story.end)
    return world.calls.count


def shortened(story: Story) -> Story:
    """Leave out steps and faults as long as the same promise stays broken."""
    promise = _broken(story)
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for shorter in _shorter(story):
            if _broken(shorter) == promise:
                story, is_shorter = shorter, True
                break
    return story


def violation(story: Story) -> str | None:
    """Tell a story; give the promise that was broken, or None."""
    try:
        tell(story)
    except ViolationError as error:
        return str(error)
    return None


def _broken(story: Story) -> str:
    return (violation(story) or "").partition(":")[0]


def _shorter(story: Story) -> Iterator[Story]:
    for index in range(len(story.faults)):
        yield replace(story, faults=story.faults[:index] + story.faults[index + 1 :])
    for index in range(len(story.steps)):
        yield replace(story, steps=story.steps[:index] + story.steps[index + 1 :])
    for index, step in enumerate(story.steps):
        if step.quiet:
            steps = (*story.steps[:index], replace(step, quiet=timedelta(0)), *story.steps[index + 1 :])
            yield replace(story, steps=steps)


class Teller:
    """Does what teams, operators and clusters do."""

    deeds: ClassVar[Mapping[str, int]] = DEEDS

    def __init__(self, world: World) -> None:
        self._world = world
        self._item = self._first_item()
        self._former = self._item
        self._uploads = 0
        self._wished: str | None = None

    def do(self, kind: str, seed: int) -> None:
        """Do one of the deeds; a seed says which of its kind."""
        action: Callable[[Random], None] = getattr(self, f"_{kind.replace(' ', '_').lower()}")
        action(Random(seed))

    def end(self, wish: str) -> None:
        """Let faults stop; the world must come to rest, then become what is plainly wished for, and stay so.

        Raises:
            ViolationError: it does not.
        """
        world = self._world
        world.end_faults()
        if not world.run_until(lambda w: w.is_drained and self._rests(), REST):
            raise ViolationError(f"L1: comes to no rest: {_where(world)}")
        self._wish(wish)
        if not world.run_until(lambda _: self._is_fulfilled(wish), PLAIN):
            raise ViolationError(f"L1: wished for {wish}: {_where(world)}")
        world.run_for(STAY)
        if not world.run_until(lambda _: self._is_fulfilled(wish), STAY):
            raise ViolationError(f"L1: does not stay {wish}: {_where(world)}")
        world.promises.check_rest(JOB)

    def _first_item(self) -> dict[str, object]:
        return spec_item()

    def _rests(self) -> bool:
        """Whether the job is where it will stay, and Flink is as the record says."""
        return _rests(self._world)

    def _wish(self, end: str) -> None:
        """Say plainly what is wanted, with an artifact that is good."""
        self._wished = self._world.upload("the last one")
        if end == "deleted":
            self._world.delete()
        else:
            self._put(spec_item(args=["--last"], state=end))

    def _is_fulfilled(self, end: str) -> bool:
        """Whether the last wish has come true."""
        world = self._world
        status, item = world.status, world.specs.read(JOB)
        if end == "deleted":
            return world.lifecycle in {Lifecycle.DELETED, Lifecycle.CREATED} and not world.running_jars
        if status is None or item is None or status.observed_spec_hash != hash_item(item):
            return False
        if end == "suspended":
            return world.lifecycle is Lifecycle.SUSPENDED and not world.running_jars
        return world.lifecycle is Lifecycle.STABLE and world.running_jars == [self._wished]

    def _put(self, item: dict[str, object]) -> None:
        self._former, self._item = self._item, item
        self._world.put(item)

    def _change(self, random: Random) -> None:
        deployment = {**_deployment(self._item), "parallelism": random.randrange(1, 4)}
        self._put({**self._item, "args": [f"--{random.randrange(3)}"], "deployment": deployment, "state": "running"})

    def _revert(self, _: Random) -> None:
        self._put(self._former)

    def _mode(self, random: Random) -> None:
        self._put({**self._item, "deployment": {**_deployment(self._item), "upgrade_mode": random.choice(_MODES)}})

    def _suspend(self, _: Random) -> None:
        self._put({**self._item, "state": "suspended"})

    def _resume(self, _: Random) -> None:
        self._put({**self._item, "state": "running"})

    def _delete(self, _: Random) -> None:
        self._world.delete()

    def _invalid(self, _: Random) -> None:
        self._world.put({**self._item, "nonsense": True})

    def _restart_nonce(self, random: Random) -> None:
        nonce = str(random.randrange(1000))
        self._put({**self._item, "deployment": {**_deployment(self._item), "restart_nonce": nonce}})

    def _savepoint_nonce(self, random: Random) -> None:
        nonce = str(random.randrange(1000))
        self._put({**self._item, "deployment": {**_deployment(self._item), "savepoint_nonce": nonce}})

    def _upload(self, random: Random) -> None:
        self._uploads += 1
        kind = _uploaded(random)
        self._world.upload(f"{kind} {self._uploads}", BEHAVIOURS[kind])

    def _upload_unsigned(self, _: Random) -> None:
        self._uploads += 1
        self._world.upload(f"unsigned {self._uploads}", signed=False)

    def _overwrite(self, _: Random) -> None:
        self._world.overwrite()

    def _revoke(self, _: Random) -> None:
        self._world.trust_key(is_trusted=False)

    def _trust(self, _: Random) -> None:
        self._world.trust_key(is_trusted=True)

    def _restart_jobmanager(self, _: Random) -> None:
        self._world.flink.restart_jobmanager()

    def _kill_jobmanager(self, random: Random) -> None:
        self._world.kill_jobmanager(timedelta(seconds=random.randrange(5, 300)))

    def _kill_taskmanagers(self, random: Random) -> None:
        self._world.kill_taskmanagers(timedelta(seconds=random.randrange(5, 300)))

    def _cancel_by_hand(self, _: Random) -> None:
        for job in self._world.flink.jobs() if self._world.flink.is_up else ():
            if not job.state.is_terminal:
                self._world.flink.cancel(job.flink_job_id)

    def _forget_terminal(self, _: Random) -> None:
        self._world.flink.forget_terminal()

    def _expire_triggers(self, _: Random) -> None:
        self._world.flink.expire_triggers()

    def _stale_index(self, _: Random) -> None:
        self._world.hold_indexes()

    def _wake_together(self, random: Random) -> None:
        self._world.wake_together(random.randrange(1 << 30), [JOB] * random.randrange(2, 5))

    def _wait(self, _: Random) -> None:
        return


def _uploaded(random: Random) -> str:
    return random.choice((*_GOOD, *BEHAVIOURS))


def _deployment(item: Mapping[str, object]) -> dict[str, object]:
    found = item["deployment"]
    assert isinstance(found, dict)
    return found


def _rests(world: World) -> bool:
    status, alive = world.status, world.promises.alive(JOB)
    item = world.specs.read(JOB)
    if status is None:
        return item is None and not alive
    if status.observed_spec_hash != (None if item is None else hash_item(item)):
        return False
    attempt = status.attempt
    match world.lifecycle:
        case Lifecycle.STABLE | Lifecycle.ROLLED_BACK:
            return attempt is not None and alive == [attempt.flink_job_id]
        case Lifecycle.DEPLOYED:
            stalled = status.condition("Stalled")
            return stalled is not None and stalled.status == "True" and len(alive) == 1
        case Lifecycle.WAITING:
            return not alive and status.waiting is not None and status.waiting[0] in {"ArtifactMissing", "SignatureMissing"}
        case Lifecycle.SUSPENDED | Lifecycle.DELETED | Lifecycle.COMPLETED | Lifecycle.FAILED | Lifecycle.CREATED:
            return not alive
        case _:
            return False


def _where(world: World) -> str:
    status = world.status
    if status is None:
        return "nothing is recorded"
    return f"{world.lifecycle}, waiting for {status.waiting}, alive {world.promises.alive(JOB)}"
