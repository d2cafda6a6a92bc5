"""Whatever Hypothesis thinks of, every promise is kept, the world comes to rest, and does what it is told."""

from collections import Counter
from datetime import UTC, datetime

from tests.simulation import state_machine

WORLDS = 30
FRESH = 10


def test_worlds_of_a_state_machine_keep_every_promise(counted: Counter[str]) -> None:
    counted["state machine"] += state_machine.run(0, WORLDS)


def test_worlds_of_a_fresh_state_machine_keep_every_promise(counted: Counter[str]) -> None:
    counted["state machine"] += state_machine.run(datetime.now(UTC).toordinal(), FRESH)
