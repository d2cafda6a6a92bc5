"""What the controller gave up: `redrive` counts it, wakes the jobs again, publishes again, and clears the rest."""

from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

import typer

from flink_controller.cli.context import DeadLetters, Outlets, Remote, remote_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say, tell
from flink_controller.domain.announcements import ArtifactEvent, JobEvent
from flink_controller.domain.dead_letter import Span
from flink_controller.services.publish_events import publish_event
from flink_controller.settings import variable


class Failures(StrEnum):
    """What was given up."""

    FOLLOW_UPS = "follow-ups"
    STREAM = "stream"
    INVOCATIONS = "invocations"
    EVENTS = "events"


_SETTINGS: Final = {
    Failures.FOLLOW_UPS: "follow_up_failures_queue_url",
    Failures.STREAM: "stream_failures_queue_url",
    Failures.INVOCATIONS: "invocation_failures_queue_url",
    Failures.EVENTS: "event_failures_queue_url",
}
_MADE_UP_FOR: Final = {
    Failures.STREAM: "within 15 minutes the ticks compare every spec with what was seen of it",
    Failures.INVOCATIONS: "within half an hour the sweep of artifacts judges every upload that a spec names",
}
"""Why there is nothing to send."""
_SENT: Final = {
    Failures.FOLLOW_UPS: "flinkctl redrive follow-ups wakes the jobs again",
    Failures.EVENTS: "flinkctl redrive events publishes them again",
}
_TOLD_EACH: Final = 100
"""Events between two lines of progress; each takes some 20 ms."""
_LOOK: Final = timedelta(minutes=2)
"""An event has the time of its decision, its record is written up to a function's life later, by another clock."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: flinkctl redrive follow-ups")(redrive)


def redrive(
    context: typer.Context,
    failures: Annotated[Failures | None, typer.Argument(help="Which queue; without one all are counted.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Clear a queue and send nothing; not of wake-ups.")] = False,  # noqa: FBT002  # a flag
    output: FormatOption = Format.TABLE,
) -> None:
    """Show what the controller gave up, and send it on.

    Wake-ups are sent again. Events are published again under their ids, from the state table: all that was recorded at the
    time of what was given up, so that some may come twice. Of batches of spec writes and of uploads there is nothing to
    send: what they told of is found without them. --delete clears messages without sending. Remove the cause first.
    """
    remote = remote_of(context)
    if failures is None:
        if delete:
            raise typer.BadParameter("name a queue", param_hint="'--delete'")
        _show(remote, output)
    elif failures is Failures.FOLLOW_UPS:
        if delete:
            raise typer.BadParameter("wake-ups are sent on, not deleted", param_hint="'--delete'")
        _wake(remote, _queue(remote, failures))
    elif delete:
        _clear(_queue(remote, failures), failures)
    elif failures is Failures.EVENTS:
        _publish(remote, _queue(remote, failures))
    else:
        count = _queue(remote, failures).count()
        say(f"{failures}: {count} messages, nothing to send: {_MADE_UP_FOR[failures]}")
        if count:
            say(f"once the cause is gone: flinkctl redrive {failures} --delete")


def _show(remote: Remote, output: Format) -> None:
    found = [(one, _queue(remote, one).count()) for one in Failures]
    rows = [(one, count, (_MADE_UP_FOR | _SENT)[one]) for one, count in found]
    emit(
        {"items": [{"queue": one.value, "messages": count} for one, count in found]},
        output,
        table=lambda: print_table(("QUEUE", "MESSAGES", "WHAT TO DO"), rows),
    )


def _wake(remote: Remote, queue: DeadLetters) -> None:
    assert remote.follow_ups is not None  # `connect` always gives it
    woken, left = set[str](), 0
    for letters in queue.batches():
        named = {letter: letter.job_id for letter in letters}
        job_ids = sorted({job_id for job_id in named.values() if job_id is not None})
        # Sent before it is deleted: whoever dies in between wakes a job twice, which is harmless.
        remote.follow_ups.send_now(job_ids)
        queue.delete([letter for letter, job_id in named.items() if job_id is not None])
        woken.update(job_ids)
        left += sum(job_id is None for job_id in named.values())
        tell(f"{len(woken)} jobs woken")
    say(f"follow-ups: {len(woken)} jobs are woken again")
    if left:
        tell(f"warning: {left} messages name no job; they stay in the queue")


def _publish(remote: Remote, queue: DeadLetters) -> None:
    """Publish before anything is deleted: whoever dies in between publishes again, under the same ids."""
    outlets = _outlets(remote)
    batches = list(queue.batches())
    readable = [[letter for letter in letters if letter.recorded is not None] for letters in batches]
    spans = [
        Span(letter.recorded.since - _LOOK, letter.recorded.until + _LOOK)
        for letters in readable
        for letter in letters
        if letter.recorded is not None
    ]
    events: list[JobEvent | ArtifactEvent] = []
    if spans:
        tell("reading the state table")
        for page in outlets.recorded.pages(_joined(spans)):
            events += page
            tell(f"{len(events)} events found")
    for number, event in enumerate(sorted(events, key=lambda found: (found.time, found.id)), 1):
        publish_event(outlets.bus, outlets.topic, event)
        if number % _TOLD_EACH == 0:
            tell(f"{number} of {len(events)} events published")
    for letters in readable:
        queue.delete(letters)
    say(f"events: {len(events)} events are published again")
    left = sum(map(len, batches)) - len(spans)
    if left:
        tell(f"warning: {left} messages name no batch of events; they stay in the queue")


def _joined(spans: Sequence[Span]) -> list[Span]:
    """Give the same times in as few spans as can be."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.since):
        if found and span.since <= found[-1].until:
            found[-1] = Span(found[-1].since, max(found[-1].until, span.until))
        else:
            found.append(span)
    return found


def _outlets(remote: Remote) -> Outlets:
    assert remote.outlets is not None  # `connect` always gives it
    for setting in ("event_bus_name", "alert_topic_arn"):
        _demand(remote, setting)
    return remote.outlets()


def _clear(queue: DeadLetters, failures: Failures) -> None:
    deleted = 0
    for letters in queue.batches():
        for uploaded in dict.fromkeys(name for letter in letters for name in letter.objects):
            say(printable(uploaded))
        queue.delete(letters)
        deleted += len(letters)
    made_up_for = _MADE_UP_FOR.get(failures, "events stay in the state table: flinkctl events JOB")
    say(f"{failures}: {deleted} messages deleted; {made_up_for}")


def _queue(remote: Remote, failures: Failures) -> DeadLetters:
    assert remote.dead_letters is not None  # `connect` always gives it
    return remote.dead_letters(_demand(remote, _SETTINGS[failures]))


def _demand(remote: Remote, setting: str) -> str:
    value: str = getattr(remote.settings, setting)
    if not value:
        raise FailureError(f"{variable(setting)} is not set: export it from the stack's outputs (docs/cli.md)")
    return value
