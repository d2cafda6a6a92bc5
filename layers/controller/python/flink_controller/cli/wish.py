"""What a team asks of a job: `suspend`, `resume`, `restart`, `delete`.

Each is one conditional write of spec fields, so that whoever writes items directly can do all of it.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from flink_controller.cli.changes import signed
from flink_controller.cli.context import Remote, Session, remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.job import JobArgument
from flink_controller.cli.output import printable, say
from flink_controller.domain.errors import StaleWriteError
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.status import DesiredState, JobType


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: flinkctl suspend etl && flinkctl wait etl --for suspended")(suspend)
    app.command(epilog="Example: flinkctl resume etl")(resume)
    app.command(epilog="Example: flinkctl restart etl && flinkctl wait etl --for stable")(restart)
    app.command(epilog="Example: flinkctl delete etl && flinkctl wait etl --for deleted")(delete)


def suspend(context: typer.Context, job: JobArgument) -> None:
    """Stop a job with a savepoint until it is resumed.

    Sets state: suspended.
    """
    _set_state(remote_of(context), job, DesiredState.SUSPENDED, "is stopped with a savepoint")


def resume(context: typer.Context, job: JobArgument) -> None:
    """Start a suspended job from where it stopped.

    Sets state: running.
    """
    _set_state(remote_of(context), job, DesiredState.RUNNING, "starts from where it stopped")


def restart(context: typer.Context, job: JobArgument) -> None:
    """Stop and start a job with its state, once.

    Also gets a FAILED job going again. Sets deployment.restart_nonce.
    """
    ask_once(context, job, "restart_nonce", "is restarted")


def delete(
    context: typer.Context,
    job: JobArgument,
    abandon: Annotated[  # noqa: FBT002  # a flag
        bool,
        typer.Option(
            "--abandon", help="End a delete that cannot end (cluster gone): forget the job without seeing it stopped."
        ),
    ] = False,
) -> None:
    """Stop a job with a final savepoint and remove it.

    Deletes the spec item; the state stays where it is.
    """
    remote = remote_of(context)
    item, status = remote.specs.read(job), remote.statuses.read(job)
    state = None if status is None else lifecycle(status)
    if abandon:
        _abandon(remote, job, item, state)
    elif item is not None:
        _write(remote, job, None, item)
        say(f"{printable(job)}: is being deleted; flinkctl wait {printable(job)} --for deleted waits for its end")
    elif state is not None and state is not Lifecycle.DELETED:
        say(f"{printable(job)}: is being deleted already; flinkctl describe {printable(job)} says what it waits for")
    else:
        raise FailureError(f"{printable(job)}: there is no such job{'' if state is None else '; it is deleted already'}")


def _abandon(remote: Remote, job: str, item: Mapping[str, Any] | None, state: Lifecycle | None) -> None:
    if item is None and (state is None or state is Lifecycle.DELETED):
        raise FailureError(f"{printable(job)}: there is no such job{'' if state is None else '; it is deleted already'}")
    wanted = {"job_id": job, "state": DesiredState.ABANDONED.value}
    if item is not None and dict(item) == wanted:
        say(f"{printable(job)}: unchanged, it is being abandoned already")
        return
    _write(remote, job, wanted, item)
    say(f"{printable(job)}: is being abandoned; whatever may still run of it on Flink is not watched any more")


def _set_state(remote: Remote, job: str, state: DesiredState, effect: str) -> None:
    item = item_of(remote, job)
    current = item.get("state", DesiredState.RUNNING.value)
    if current == DesiredState.ABANDONED.value:
        raise FailureError(f"{printable(job)}: is abandoned; flinkctl apply -f FILE writes a whole spec again")
    if current == state.value:
        say(f"{printable(job)}: unchanged, state is {state.value} already")
        return
    edit(remote, job, item, lambda wanted: wanted.update(state=state.value))
    say(f"{printable(job)}: {effect}")


def ask_once(context: typer.Context, job: str, name: str, effect: str) -> str:
    """Write a nonce, so that something is done once, and give it.

    Raises:
        FailureError: nothing runs of which it could be asked, or the item changed meanwhile.
    """
    remote = remote_of(context)
    item = item_of(remote, job)
    if name == "savepoint_nonce" and item.get("job_type") == JobType.BATCH.value:
        raise FailureError(f"{printable(job)}: is a batch job, whose runs keep no state; there is nothing to save")
    current = item.get("state", DesiredState.RUNNING.value)
    if current != DesiredState.RUNNING.value:
        raise FailureError(
            f"{printable(job)}: its state is {printable(current)}, so nothing runs; flinkctl resume {printable(job)} starts it"
        )
    nonce = nonce_of(session_of(context))

    def change(wanted: dict[str, Any]) -> None:
        deployment = wanted.get("deployment", {})
        if not isinstance(deployment, Mapping):
            raise FailureError(
                f"{printable(job)}: deployment is no map of fields; mend the spec with flinkctl apply -f FILE"
            )
        wanted["deployment"] = {**deployment, name: nonce}

    edit(remote, job, item, change)
    say(f"{printable(job)}: {effect} (deployment.{name}: {nonce})")
    return nonce


def nonce_of(session: Session) -> str:
    """Say when, for people, and differ from every other one."""
    return f"{session.clock.now():%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(3)}"


def item_of(remote: Remote, job: str) -> Mapping[str, Any]:
    """Read a job's spec item.

    Raises:
        FailureError: there is none.
    """
    item = remote.specs.read(job)
    if item is None:
        raise FailureError(f"{printable(job)}: there is no such job; flinkctl apply -f FILE creates one")
    return item


def edit(remote: Remote, job: str, item: Mapping[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    """Write a changed item, on condition that it is as it was read.

    Raises:
        FailureError: it changed meanwhile.
    """
    wanted = dict(item)
    change(wanted)
    _write(remote, job, signed(remote, wanted), item)


def _write(remote: Remote, job: str, wanted: Mapping[str, Any] | None, item: Mapping[str, Any] | None) -> None:
    try:
        remote.specs.replace(job, wanted, expected=item)
    except StaleWriteError as error:
        raise FailureError(
            f"{printable(job)}: changed since it was read, and was not written; run the command again"
        ) from error
