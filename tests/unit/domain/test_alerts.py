"""Incidents: told when they begin and when they are over, once."""

from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.alerts import GUIDES, MEANINGS, Alert
from flink_controller.domain.artifact import ArtifactHead, Verdict
from flink_controller.domain.census import STUCK_AFTER
from flink_controller.domain.observation import Answer, FlinkState
from flink_controller.domain.plan import Plan
from flink_controller.domain.status import Incident, JobType
from tests.reasons import event_reasons
from tests.unit.domain.builders import Job, head, version

DAY = timedelta(days=1)


class Heard(Job):
    """A job that keeps what begins (+) and ends (-) with its events, as alert and whether a person is told."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self._heard: list[tuple[str, str, bool]] = []

    def look(self, answer: Answer | None = None) -> Plan:
        made = super().look(answer)
        for event in made.events:
            self._heard += [("-", one.alert, one.is_told) for one in event.closes]
            if event.opens is not None:
                self._heard.append(("+", event.opens.alert, event.opens.is_told))
        return made

    def heard(self) -> list[tuple[str, str, bool]]:
        """Take what was heard since the last time."""
        heard, self._heard = self._heard, []
        return heard

    def fail(self) -> None:
        """Let Flink give up on the job, and bring it back once its wait is over."""
        self.end(FlinkState.FAILED, cause="poisoned record")
        self.wait(timedelta(minutes=10)).run()


def test_every_reason_is_classified_and_every_alert_can_begin_and_end() -> None:
    opened = {meaning.opens for meaning in MEANINGS.values()} - {None}
    closed = {alert for reason, meaning in MEANINGS.items() if reason != "DeleteRequested" for alert in meaning.closes}

    assert set(MEANINGS) == event_reasons(), "say in domain/alerts.py which incident it opens or closes, if any"
    assert set(GUIDES) == set(Alert)
    assert opened <= closed


def test_an_incident_is_told_once_while_it_lasts_and_once_when_it_is_over() -> None:
    job = Heard()
    job.prove()

    job.fail()
    assert job.heard() == [("+", "job-failed", True)]

    job.fail()
    assert job.heard() == []

    job.prove()
    assert job.heard() == [("-", "job-failed", True)]
    assert job.known.incidents == ()


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_job_says_whether_a_person_is_told(is_wanted: bool) -> None:  # noqa: FBT001  # parametrized
    job = Heard(monitoring={"alert_on_failure": is_wanted})
    job.prove()

    job.fail()

    assert job.heard() == [("+", "job-failed", is_wanted)]


def test_what_nobody_was_told_of_is_not_told_to_be_over() -> None:
    job = Heard(monitoring={"alert_on_failure": False})
    job.prove()
    job.fail()
    job.put(monitoring={"alert_on_failure": True})

    job.prove()

    assert job.heard()[-1] == ("-", "job-failed", False)


def test_a_job_that_is_not_wanted_any_more_has_no_incidents() -> None:
    job = Heard()
    job.prove()
    job.fail()
    job.put(state="suspended")

    job.look()

    assert job.heard()[-1] == ("-", "job-failed", True)


def test_a_suspended_job_still_has_no_artifact_that_may_run() -> None:
    job = Heard(state="suspended")
    refused = version(1, verdict=Verdict.REFUSED, reason="SignatureInvalid", message="no")
    job.head = ArtifactHead(latest=refused, admitted=None, burst_started_at=job.now)

    job.look()
    assert job.heard() == [("+", "artifact-refused", True)]

    job.head = head(2)
    job.look()
    assert job.heard() == [("-", "artifact-refused", True)]


def test_a_rollback_is_over_once_another_revision_is_healthy() -> None:
    job = Heard()
    job.prove()
    job.head = head(2)
    job.look()
    draft = job.draft()
    draft.event("RollbackStarted", "revision 2", warning=True)
    draft.event("RolledBack", "revision 1 runs again")

    assert [incident.alert for incident in draft.status.incidents] == ["rolled-back"]

    draft.event("Stable", "revision 3")

    assert draft.status.incidents == ()


def test_an_event_that_is_repeated_within_a_look_keeps_what_it_begins() -> None:
    job = Heard()
    draft = job.draft()

    for _ in range(2):
        draft.event("SavepointFailed", "timeout", warning=True)

    (event,) = draft.events
    assert (event.count, event.opens) == (2, Incident(alert="savepoint-failed"))
    assert draft.status.last_event == event


def test_a_run_that_is_tried_again_is_nobodys_incident() -> None:
    draft = Heard().draft()
    draft.set(job_type=JobType.BATCH)

    draft.event("JobFailed", "tried again", warning=True)
    draft.event("RunEnded", "Failed", warning=True)
    assert [incident.alert for incident in draft.status.incidents] == ["run-failed"]


def test_a_job_on_which_nothing_moves_is_told_of_once_and_again_when_it_moves() -> None:
    job = Heard()
    job.head = None
    waits = job.look()
    assert job.heard() == []
    assert waits.next_look is not None
    assert waits.next_look <= job.now + STUCK_AFTER

    stuck = job.wait(STUCK_AFTER).look()

    assert job.heard() == [("+", "stuck", True)]
    assert "ArtifactMissing" in stuck.events[-1].message

    job.wait(DAY).look()
    assert job.heard() == []

    job.head = head()
    job.prove()

    assert job.heard() == [("-", "stuck", True)]
    assert job.told[-1] == "Recovered"


def test_a_paused_job_is_not_stuck() -> None:
    job = Heard()
    job.is_paused = True
    job.look()

    job.wait(DAY).look()

    assert job.heard() == []
