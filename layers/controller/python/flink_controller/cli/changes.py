"""Who changed what: told with each change of what operators write, and carried by every spec that a command writes."""

from collections.abc import Mapping
from typing import Any, Final

from flink_controller.cli.context import Remote, Session
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import Format, emit, print_table, printable
from flink_controller.domain.trust import RegistryEvent

WRITER: Final = "written_by"
"""Field of a spec item."""
_LONGEST_WRITER: Final = 256


def change_of(session: Session, subject: str, action: str, message: str) -> RegistryEvent:
    """Give the event of a change that is made now, by whoever runs the program."""
    return RegistryEvent(
        time=session.clock.now(), action=action, subject=subject, message=message, by=session.remote.whoami()
    )


def show_changes(remote: Remote, subject: str, name: str, output: Format) -> None:
    """Show every change of one item, oldest first.

    Raises:
        FailureError: nothing is recorded of it.
    """
    found = remote.registry.changes(subject)
    if not found:
        raise FailureError(f"nothing is recorded of {printable(name)}")
    emit(
        {"items": [event.model_dump(mode="json") for event in found]},
        output,
        table=lambda: print_table(("TIME", "CHANGE", "BY", "MESSAGE"), [(e.time, e.action, e.by, e.message) for e in found]),
    )


def signed(remote: Remote, item: Mapping[str, Any]) -> dict[str, Any]:
    """Give a spec item with the name of whoever runs the program; without any where that cannot be found out."""
    by = remote.whoami()[:_LONGEST_WRITER]
    return {**unsigned(item), **({WRITER: by} if by else {})}


def unsigned(item: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a spec item asks for, whoever wrote it."""
    return {name: value for name, value in item.items() if name != WRITER}
