"""What the controller gave up: `redrive` counts it, wakes the jobs again, and clears what is made up for already."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from flink_controller.cli.context import DeadLetters, Remote, remote_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say, tell
from flink_controller.settings import variable


class Failures(StrEnum):
    """What was given up."""

    FOLLOW_UPS = "follow-ups"
    STREAM = "stream"
    INVOCATIONS = "invocations"


_SETTINGS: Final = {
    Failures.FOLLOW_UPS: "follow_up_failures_queue_url",
    Failures.STREAM: "stream_failures_queue_url",
    Failures.INVOCATIONS: "invocation_failures_queue_url",
}
_MADE_UP_FOR: Final = {
    Failures.STREAM: "within 15 minutes the ticks compare every spec with what was seen of it",
    Failures.INVOCATIONS: "within half an hour the sweep of artifacts judges every upload that a spec names",
}
"""Why there is nothing to send."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: flinkctl redrive follow-ups")(redrive)


def redrive(
    context: typer.Context,
    failures: Annotated[Failures | None, typer.Argument(help="Which queue; without one all are counted.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Clear a queue of which nothing is to be sent.")] = False,  # noqa: FBT002  # a flag
    output: FormatOption = Format.TABLE,
) -> None:
    """Show what the controller gave up, and send it on.

    Wake-ups are sent again. Of batches of spec writes and of uploads there is nothing to send: what they told of is found
    without them, and --delete clears their messages. Remove the cause first.
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
    else:
        count = _queue(remote, failures).count()
        say(f"{failures}: {count} messages, nothing to send: {_MADE_UP_FOR[failures]}")
        if count:
            say(f"once the cause is gone: flinkctl redrive {failures} --delete")


def _show(remote: Remote, output: Format) -> None:
    found = [(one, _queue(remote, one).count()) for one in Failures]
    rows = [(one, count, _MADE_UP_FOR.get(one, "flinkctl redrive follow-ups wakes the jobs again")) for one, count in found]
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


def _clear(queue: DeadLetters, failures: Failures) -> None:
    deleted = 0
    for letters in queue.batches():
        for uploaded in dict.fromkeys(name for letter in letters for name in letter.objects):
            say(printable(uploaded))
        queue.delete(letters)
        deleted += len(letters)
    say(f"{failures}: {deleted} messages deleted; {_MADE_UP_FOR[failures]}")


def _queue(remote: Remote, failures: Failures) -> DeadLetters:
    assert remote.dead_letters is not None  # `connect` always gives it
    setting = _SETTINGS[failures]
    address: str = getattr(remote.settings, setting)
    if not address:
        raise FailureError(f"{variable(setting)} is not set: export it from the stack's outputs (docs/cli.md)")
    return remote.dead_letters(address)
