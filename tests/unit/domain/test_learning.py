"""The advance rule: what makes an attempt dead, and what does not."""

from datetime import timedelta

import pytest

from flink_controller.domain.learning import learn
from flink_controller.domain.observation import Checkpoints, FlinkState, NotSent
from flink_controller.domain.plan import Draft, Findings
from flink_controller.domain.status import AttemptPhase, EndState, Quarantine
from tests.unit.domain.builders import CHECKPOINTED, CLUSTER, LIFE, NEW_LIFE, OTHER, QUARANTINE, Job

LIVE, SUBMITTING, BURNING, DEAD = AttemptPhase.LIVE, AttemptPhase.SUBMITTING, AttemptPhase.BURNING, AttemptPhase.DEAD


def job_in(phase: AttemptPhase, *, is_ha: bool = False, quarantined: timedelta | None = None) -> Job:
    """Give a job whose attempt is in a phase, possibly some time into the quarantine of a new life."""
    job = Job()
    if is_ha:
        job.cluster, job.life = CLUSTER.model_copy(update={"high_availability": True}), "ha"
    job.submit()
    job.status = job.known.model_copy(
        update={
            "attempt": job.attempt.model_copy(update={"phase": phase}),
            "quarantine": None
            if quarantined is None
            else Quarantine(incarnation="ha" if is_ha else NEW_LIFE, since=job.now),
        }
    )
    return job.wait(quarantined or timedelta(0))


def learned(job: Job) -> tuple[AttemptPhase, EndState | None]:
    draft = job.draft()
    learn(draft)
    assert draft.status.attempt is not None
    return draft.status.attempt.phase, draft.status.attempt.end


@pytest.mark.parametrize("phase", [LIVE, SUBMITTING, BURNING])
@pytest.mark.parametrize(
    ("state", "end"),
    [
        (FlinkState.FINISHED, EndState.FINISHED),
        (FlinkState.CANCELED, EndState.CANCELED),
        (FlinkState.FAILED, EndState.FAILED),
    ],
)
def test_what_was_seen_terminal_is_dead(phase: AttemptPhase, state: FlinkState, end: EndState) -> None:
    job = job_in(phase)
    job.show(state)

    assert learned(job) == (DEAD, end)


@pytest.mark.parametrize("phase", [LIVE, SUBMITTING, BURNING])
@pytest.mark.parametrize("state", [state for state in FlinkState if not state.is_terminal])
def test_what_was_seen_otherwise_is_live(phase: AttemptPhase, state: FlinkState) -> None:
    job = job_in(phase)
    job.show(state)

    assert learned(job) == (LIVE, None)


@pytest.mark.parametrize(
    ("state", "expected"),
    [(FlinkState.FAILED, (DEAD, EndState.BURNED)), (FlinkState.INITIALIZING, (BURNING, None))],
)
def test_our_own_jar_under_the_id_is_no_life_of_the_job(
    state: FlinkState, expected: tuple[AttemptPhase, EndState | None]
) -> None:
    job = job_in(BURNING)
    job.show(state, name="flinkctl-burn")

    assert learned(job) == expected


@pytest.mark.parametrize(
    ("phase", "life", "is_ha", "quarantined", "expected"),
    [
        (LIVE, LIFE, False, None, (DEAD, EndState.UNKNOWN)),
        (LIVE, NEW_LIFE, False, None, (LIVE, None)),
        (LIVE, None, False, None, (LIVE, None)),
        (LIVE, NEW_LIFE, False, QUARANTINE - timedelta(seconds=1), (LIVE, None)),
        (LIVE, NEW_LIFE, False, QUARANTINE, (DEAD, EndState.LOST)),
        (LIVE, "flink-web-3", False, QUARANTINE, (LIVE, None)),
        (LIVE, "ha", True, None, (LIVE, None)),
        (LIVE, "ha", True, QUARANTINE, (DEAD, EndState.LOST)),
        (SUBMITTING, LIFE, False, None, (SUBMITTING, None)),
        (SUBMITTING, NEW_LIFE, False, None, (SUBMITTING, None)),
        (SUBMITTING, NEW_LIFE, False, QUARANTINE, (DEAD, EndState.LOST)),
        (SUBMITTING, "ha", True, None, (SUBMITTING, None)),
        (BURNING, LIFE, False, None, (BURNING, None)),
        (BURNING, NEW_LIFE, False, None, (BURNING, None)),
        (BURNING, NEW_LIFE, False, QUARANTINE, (DEAD, EndState.LOST)),
    ],
)
def test_an_absence_is_a_death_only_where_nothing_can_live_on(
    phase: AttemptPhase,
    life: str | None,
    is_ha: bool,  # noqa: FBT001  # a case's outcome
    quarantined: timedelta | None,
    expected: tuple[AttemptPhase, EndState | None],
) -> None:
    job = job_in(phase, is_ha=is_ha, quarantined=quarantined)
    job.life = life

    assert learned(job) == expected


def test_another_clusters_list_says_nothing() -> None:
    job = job_in(LIVE)
    job.cluster = OTHER

    assert learned(job) == (LIVE, None)


def test_an_unreachable_cluster_says_nothing() -> None:
    job = job_in(LIVE)
    job.unreachable = "connection refused"

    assert learned(job) == (LIVE, None)


def test_a_request_that_was_not_sent_is_remembered_even_so() -> None:
    job = job_in(SUBMITTING)
    job.unreachable = "connection refused"
    draft = Draft(job.facts(Findings(answer=NotSent("connection refused"))), job.known)

    learn(draft)

    assert draft.status.attempt is not None
    assert draft.status.attempt.is_unsent


def test_the_life_in_which_a_job_is_listed_becomes_its_own() -> None:
    job = Job().run()
    job.life = NEW_LIFE

    job.look()

    assert job.attempt.incarnation == NEW_LIFE


def test_tasks_that_change_between_two_looks_are_not_settled() -> None:
    job = Job().run()
    since = job.attempt.settled_at
    job.show(modified_ms=2)

    job.wait(10).look()

    assert since is not None
    assert job.attempt.settled_at == job.now


def test_a_job_without_all_its_tasks_is_not_settled() -> None:
    job = Job().run()
    job.show(tasks=1)

    job.look()

    assert job.attempt.settled_at is None


@pytest.mark.parametrize(
    ("checkpoints", "is_on", "has_one", "retains"),
    [
        (CHECKPOINTED, True, True, True),
        (Checkpoints(is_enabled=False), False, False, True),
        (Checkpoints(is_enabled=True, deletes_on_cancellation=True), True, False, False),
    ],
)
def test_statistics_tell_of_checkpoints(checkpoints: Checkpoints, *, is_on: bool, has_one: bool, retains: bool) -> None:
    job = Job().run()
    job.checkpoints = checkpoints

    job.look()

    assert (job.attempt.is_checkpointed, job.attempt.has_completed_checkpoint, job.attempt.retains_state) == (
        is_on,
        has_one,
        retains,
    )
