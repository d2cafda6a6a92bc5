"""What leaves the controller: its events in the form that the bus carries, and what a person reads of them.

`docs/events.schema.json` is generated from the models here. Fields may be added; a name that stands here is a promise to
programs outside.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from flink_controller.domain.alerts import GUIDES, Alert, Severity
from flink_controller.domain.artifact import ArtifactVersion, Value
from flink_controller.domain.names import namespace_of
from flink_controller.domain.status import Event, Incident

SOURCE = "flink-job-controller"
"""`source` of every event on the bus."""
SUBJECT_LIMIT = 100
"""Characters of an SNS subject."""
GUIDE = "docs/operations.md#alerts"


class Notice(Value):
    """A change of an incident."""

    alert: str = Field(description="Kind of incident.")
    state: Literal["opened", "closed"] = Field(description="Whether it begins or is over.")
    severity: Severity = Field(description="How soon a person should look.")
    says: str = Field(description="What it means.")
    first_look: str = Field(description="What to look at first.")
    is_told: bool = Field(description="Whether the alert topic is told as well.")


class JobEvent(Value):
    """A transition of a job."""

    detail_type: Literal["Flink Job Event"] = Field("Flink Job Event", description="`detail-type` on the bus.")
    id: str = Field(description="The same for each delivery of one event: `<controller id>/<job id>#<sequence>`.")
    controller_id: str
    time: datetime
    job_id: str
    namespace: str
    sequence: int = Field(description="Grows with each event of the job; events may arrive in another order.")
    type: str = Field(description="Normal or Warning.")
    reason: str = Field(description="One of the event reasons in docs/operations.md.")
    message: str = Field(description="For people; its wording may change.")
    revision: int | None = None
    attempt: int | None = None
    by: str = Field("", description="Who wrote the spec item that it answers to, as the item says; not verified.")
    notices: tuple[Notice, ...] = Field((), description="Incidents that begin or end with it.")


class ArtifactEvent(Value):
    """An upload that may not run. Jobs that name it tell of it by events of their own."""

    detail_type: Literal["Flink Artifact Event"] = Field("Flink Artifact Event", description="`detail-type` on the bus.")
    id: str = Field(description="The same for each delivery: `<controller id>/<bucket>/<key>@<version>:<reason>`.")
    controller_id: str
    time: datetime
    bucket: str
    key: str
    version_id: str
    reason: str
    message: str


Announcement = Annotated[JobEvent | ArtifactEvent, Field(discriminator="detail_type")]


class Letter(Value):
    """A message to people."""

    subject: str
    """ASCII, one line, at most `SUBJECT_LIMIT` characters: what SNS takes for an email."""
    text: str
    attributes: dict[str, str]
    """What subscriptions can filter by."""


def of_job(controller_id: str, job_id: str, event: Event) -> JobEvent:
    """Give an event of a job as it leaves."""
    return JobEvent(
        id=f"{controller_id}/{job_id}#{event.sequence}",
        controller_id=controller_id,
        time=event.time,
        job_id=job_id,
        namespace=namespace_of(job_id),
        sequence=event.sequence,
        type=event.type,
        reason=event.reason,
        message=event.message,
        revision=event.revision,
        attempt=event.attempt,
        by=event.by,
        notices=tuple(_notices(event)),
    )


def of_artifact(controller_id: str, version: ArtifactVersion) -> ArtifactEvent:
    """Give the refusal of an upload as it leaves."""
    return ArtifactEvent(
        id=f"{controller_id}/{version.bucket}/{version.key}@{version.version_id}:{version.reason}",
        controller_id=controller_id,
        time=version.decided_at,
        bucket=version.bucket,
        key=version.key,
        version_id=version.version_id,
        reason=version.reason,
        message=version.message,
    )


def letters(event: JobEvent) -> Iterator[Letter]:
    """Give what people are told of an event: nothing of most."""
    for notice in event.notices:
        if not notice.is_told:
            continue
        is_over = notice.state == "closed"
        mark = "over" if is_over else notice.severity.value
        first_look = () if is_over else (f"Look first: {notice.first_look}", f"Then: {GUIDE} ({notice.alert})")
        lines = (
            f"{'Over' if is_over else 'Begun'}: {notice.alert} of job {event.job_id}: {notice.says}.",
            f"{event.reason}: {event.message}",
            *first_look,
            "",
            f"{event.time:%Y-%m-%d %H:%M:%S} UTC, revision {event.revision}, attempt {event.attempt}",
            f"event {event.id}",
        )
        yield Letter(
            subject=_subject(f"[{mark}] {notice.alert}: {event.job_id}"),
            text="\n".join(lines),
            attributes={
                "alert": notice.alert,
                "state": notice.state,
                "severity": notice.severity.value,
                "job_id": event.job_id,
                "namespace": event.namespace,
                "event_id": event.id,
            },
        )


def _subject(text: str) -> str:
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return printable if len(printable) <= SUBJECT_LIMIT else f"{printable[: SUBJECT_LIMIT - 3]}..."


def _notices(event: Event) -> Iterator[Notice]:
    if event.opens is not None:
        yield _notice(event.opens, "opened")
    for incident in event.closes:
        yield _notice(incident, "closed")


def _notice(incident: Incident, state: Literal["opened", "closed"]) -> Notice:
    known = incident.alert in set(Alert)
    guide = GUIDES[Alert(incident.alert)] if known else GUIDES[Alert.STUCK]
    return Notice(
        alert=incident.alert,
        state=state,
        severity=guide.severity,
        # A kind of a newer version, told by an older one during a deployment.
        says=guide.says if known else incident.alert,
        first_look=guide.first_look,
        is_told=incident.is_told,
    )
