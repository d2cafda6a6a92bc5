"""`rollback`: an earlier revision's spec, written again with exactly its bytes."""

from typing import Annotated

import typer

from flink_controller.cli.context import Remote, remote_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.job import JobArgument
from flink_controller.cli.output import printable, say, short
from flink_controller.domain.errors import NotFoundError, StaleWriteError
from flink_controller.domain.going_back import is_current, item_for
from flink_controller.domain.spec import AbandonedSpec, InvalidSpec, read_spec
from flink_controller.domain.status import DesiredState, Revision
from flink_controller.domain.trust import distrust


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: flinkctl rollback etl --to 7 && flinkctl wait etl --for stable")(rollback)


def rollback(
    context: typer.Context,
    job: JobArgument,
    to: Annotated[int, typer.Option("--to", min=1, metavar="REVISION", help="Its number, as flinkctl history shows it.")],
) -> None:
    """Go back to an earlier revision.

    Writes that revision's spec, pinned to its artifact's digest; state and nonces stay as they are. It becomes a new
    revision, which starts from the running one's state.
    """
    remote, name = remote_of(context), printable(job)
    item = remote.specs.read(job)
    if item is None:
        raise FailureError(f"{name}: there is no such job; flinkctl apply -f FILE creates one")
    if isinstance(read_spec(job, item), AbandonedSpec):
        raise FailureError(f"{name}: is abandoned; flinkctl apply -f FILE writes a whole spec again")
    revision = remote.statuses.revision(job, to)
    if revision is None:
        raise FailureError(f"{name}: there is no revision {to} on record; flinkctl history {name} lists them")
    if is_current(revision, item, remote.statuses.read(job)):
        raise FailureError(f"{name}: revision {to} is what the spec asks for already; there is nothing to go back to")
    wanted = item_for(revision, item)
    view = read_spec(job, wanted)
    if isinstance(view, InvalidSpec):
        raise FailureError(f"{name}: the spec of revision {to} is not accepted any more: {'; '.join(view.faults)}")
    _demand_artifact(remote, name, revision)
    try:
        remote.specs.replace(job, wanted, expected=item)
    except StaleWriteError as error:
        raise FailureError(f"{name}: changed since it was read, and was not written; run the command again") from error
    pin = f"{revision.artifact.key} pinned to sha256:{short(revision.artifact.sha256)}"
    say(f"{name}: goes back to revision {to} as a new revision, {pin}")
    if wanted.get("state") == DesiredState.SUSPENDED.value:
        say(f"{name}: stays suspended; flinkctl resume {name} starts it")


def _demand_artifact(remote: Remote, name: str, revision: Revision) -> None:
    """Find out beforehand what the controller would stop at: the very bytes must be there, and trusted still."""
    artifact = revision.artifact
    bucket = remote.policy.bucket_of(artifact.key)
    version = remote.records.admitted_with_digest(bucket, artifact.key, artifact.sha256)
    if version is None:
        raise FailureError(
            f"{name}: no admitted version of {artifact.key} has sha256:{short(artifact.sha256)} any more; push it again"
        )
    try:
        remote.objects.open(bucket, artifact.key, version.version_id).close()
    except NotFoundError as error:
        raise FailureError(
            f"{name}: version {version.version_id} of {artifact.key} is gone from the bucket; push those bytes again"
        ) from error
    found = version.artifact
    refusal = None if found is None else distrust(found, remote.registry.trust(found.signers, found.sha256))
    if refusal is not None:
        raise FailureError(f"{name}: revision {revision.number} cannot be brought back: {refusal.message}")
