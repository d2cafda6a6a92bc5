"""Teams, operators, clusters and faults as rules of a Hypothesis state machine: what it breaks it also makes short.

Random worlds (`flink_controller.testing.random_worlds`) are drawn before they are told, many a second; here each step is
chosen by Hypothesis, and a broken promise comes out as the few lines of Python that break it.
"""

from datetime import timedelta

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from flink_controller.testing.faults import Fault, FaultKind
from flink_controller.testing.flink_twin import TwinOptions
from flink_controller.testing.random_worlds import DEEDS, Teller
from flink_controller.testing.simulator import World

STEPS = 14
POINTS_AHEAD = 60
_CLOCKS = {FaultKind.CLOCK_FAST, FaultKind.CLOCK_SLOW}


class Worlds(RuleBasedStateMachine):
    """One job in a world where anything may happen next."""

    world: World
    teller: Teller
    told = 0
    """How many worlds were told to their end."""
    end = "running"
    is_whole = False
    """Whether the last step was taken to its end: only then is it worth while to wait for rest."""

    @initialize(
        enforces_leases=st.booleans(),
        options=st.builds(
            TwinOptions,
            version=st.sampled_from(["2.3", "1.20"]),
            keeps_jars=st.booleans(),
            high_availability=st.booleans(),
            is_adaptive=st.booleans(),
        ),
        end=st.sampled_from(["running", "suspended", "deleted"]),
    )
    def begin(self, *, enforces_leases: bool, options: TwinOptions, end: str) -> None:
        """A team writes its first spec and uploads a good artifact."""
        self.world = World(enforces_leases=enforces_leases, options=options)
        self.teller, self.end = Teller(self.world), end
        self.world.upload("the first one")
        self.teller.do("change", 0)
        self.is_whole = True

    @rule(deed=st.sampled_from(sorted(DEEDS)), choice=st.integers(0, 31))
    def somebody_does(self, deed: str, choice: int) -> None:
        """Somebody edits the spec, uploads, revokes, cancels, kills."""
        self.is_whole = False
        self.teller.do(deed, choice)
        self.is_whole = True

    @rule(kind=st.sampled_from(list(FaultKind)), ahead=st.integers(1, POINTS_AHEAD))
    def something_will_go_wrong(self, kind: FaultKind, ahead: int) -> None:
        """A fault strikes soon."""
        planned = {found for kinds in self.world.calls.faults.values() for found in kinds}
        # Two clocks that are off to different sides are further apart than the margin of a quarantine allows.
        if kind not in _CLOCKS or not (planned & _CLOCKS) - {kind}:
            self.world.plan(Fault(self.world.calls.count + ahead, kind))

    @rule(seconds=st.sampled_from([1, 5, 15, 40, 100, 240]))
    def time_passes(self, seconds: int) -> None:
        """It is quiet for a while."""
        self.is_whole = False
        self.world.run_for(timedelta(seconds=seconds))
        self.is_whole = True

    @invariant()
    def every_promise_holds(self) -> None:
        """What really runs and what is really stored is as promised."""
        if self.is_whole:
            self.world.check()

    def teardown(self) -> None:
        """Faults stop, the world comes to rest, and a plain wish comes true."""
        if self.is_whole:
            self.teller.end(self.end)
            type(self).told += 1


def run(first: int, examples: int) -> int:
    """Let the state machine find worlds of its own.

    Args:
        first: the seed; with the same one it finds the same.
        examples: how many worlds, about.

    Returns:
        How many worlds were told to their end.

    Raises:
        ViolationError: a promise was broken; Hypothesis prints the shortest way there.
    """

    class Seeded(Worlds):
        """Counts for itself."""

    run_state_machine_as_test(
        seed(first)(Seeded),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return Seeded.told
