"""What the simulation runs into that is known: each gap has a story of its own in `BROKEN`, and goes when that is mended."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from flink_controller.testing.faults import FaultKind
from flink_controller.testing.random_worlds import Story
from flink_controller.testing.scenarios import BROKEN


@dataclass(frozen=True)
class Gap:
    """A way to break a promise that is known."""

    story: str
    """Name of the story in `BROKEN` that shows it alone."""
    explains: Callable[[Story, str], bool]
    """Tells whether a random world that broke a promise ran into this."""


GAPS: Final = (
    Gap("upgrade_of_what_never_ran", lambda _, told: told.startswith("L1") and "'Stopping'" in told),
    Gap("new_spec_as_the_job_ends", lambda story, told: "COMPLETED" in told and "bounded" in story.uploads),
    Gap("correction_during_a_refusal", lambda _, told: told.startswith("L1: wished for running: FAILED")),
    Gap("bounded_job_forgotten", lambda story, told: _begins_empty(told) and "bounded" in story.uploads),
    Gap("stateless_start_taken_back", lambda story, told: _begins_empty(told) and "stateless" in story.modes),
)


STORY_GAPS: Final[Mapping[tuple[str, str], str]] = {
    ("bounded_job", "S3"): "bounded_job_forgotten",
    ("first_submit_refused", "L1"): "upload_that_no_index_names",
}
"""By story and promise, where single faults or pairs run into a gap."""
_STRUCK_BY: Final[Mapping[str, frozenset[FaultKind]]] = {
    "bounded_job_forgotten": frozenset({FaultKind.FORGET_TERMINAL, FaultKind.RESTART_JOBMANAGER, FaultKind.KILL_JOBMANAGER}),
    "upload_that_no_index_names": frozenset({FaultKind.STALE_INDEX}),
}


def story_gap(name: str, kinds: Iterable[FaultKind], told: str) -> str | None:
    """Name the known gap that a story runs into under faults of these kinds."""
    gap = STORY_GAPS.get((name, told.partition(":")[0]))
    is_open = gap in {scenario.__name__ for scenario in BROKEN}
    return gap if gap is not None and is_open and _STRUCK_BY[gap] & set(kinds) else None


def _begins_empty(told: str) -> bool:
    return told.startswith("S3") and "started at 0 from None" in told


def gap_of(story: Story, told: str) -> Gap | None:
    """Find the known gap that explains a broken promise."""
    names = {scenario.__name__ for scenario in BROKEN}
    return next((gap for gap in GAPS if gap.story in names and gap.explains(story, told)), None)


def unexplained(violations: Iterable[tuple[Story, str]]) -> list[str]:
    """Give the broken promises that no known gap explains, with all it takes to see them again."""
    return [f"{told}\n{story.told()}" for story, told in violations if gap_of(story, told) is None]
