"""A bounded part of the crash replays; `make chaos` runs two hundred."""

import pytest

from tests.chaos.ground import ground
from tests.chaos.replay import KINDS, run

pytestmark = [pytest.mark.flink, pytest.mark.aws]


def test_a_process_killed_at_any_call_leaves_no_second_copy_and_loses_no_count() -> None:
    with ground() as place:
        found = run(place, replays=len(KINDS), jobs=3)

    assert found.faults == []
    assert found.struck.total() >= 6
    assert len(found.struck) >= 4
