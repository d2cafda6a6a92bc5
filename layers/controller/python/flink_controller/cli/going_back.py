"""`rollback`: an earlier revision's spec, written again with exactly its bytes. `restore`: an earlier state."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from flink_controller.cli.changes import signed
from flink_controller.cli.context import Remote, remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.job import JobArgument
from flink_controller.cli.output import printable, say, short
from flink_controller.cli.wish import edit, item_of, nonce_of
from flink_controller.domain.errors import NotFoundError, StaleWriteError
from flink_controller.domain.going_back import is_current, item_for
from flink_controller.domain.spec import AbandonedSpec, InvalidSpec, read_spec
from flink_controller.domain.status import DesiredState, JobType, Revision
from flink_controller.domain.trust import distrust


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog="Example: flinkctl rollback etl --to 7 && flinkctl wait etl --for stable")(rollback)
    app.command(epilog="Example: flinkctl restore etl --from 12 && flinkctl wait etl --for stable")(restore)


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
        remote.specs.replace(job, signed(remote, wanted), expected=item)
    except StaleWriteError as error:
        raise FailureError(f"{name}: changed since it was read, and was not written; run the command again") from error
    pin = f"{revision.artifact.key} pinned to sha256:{short(revision.artifact.sha256)}"
    say(f"{name}: goes back to revision {to} as a new revision, {pin}")
    if wanted.get("state") == DesiredState.SUSPENDED.value:
        say(f"{name}: stays suspended; flinkctl resume {name} starts it")


def restore(
    context: typer.Context,
    job: JobArgument,
    from_: Annotated[
        str,
        typer.Option(
            "--from", metavar="PATH|ID", help="Savepoint or checkpoint: its path, or its id in flinkctl savepoint list."
        ),
    ],
) -> None:
    """Stop a job and start it from an older state, once.

    What it has now is kept in a savepoint, and is what the job goes back to if it does not start from there. A path without
    a scheme lies below the namespace's own directory. Also gets a FAILED job going again. Sets deployment.restore.
    """
    remote, name = remote_of(context), printable(job)
    item = item_of(remote, job)
    if item.get("job_type") == JobType.BATCH.value:
        raise FailureError(f"{name}: is a batch job, whose runs start from nothing; there is nothing to restore")
    path, nonce = path_of(remote, job, from_), nonce_of(session_of(context))

    def change(wanted: dict[str, Any]) -> None:
        deployment = wanted.get("deployment", {})
        if not isinstance(deployment, Mapping):
            raise FailureError(f"{name}: deployment is no map of fields; mend the spec with flinkctl apply -f FILE")
        wanted["deployment"] = {**deployment, "restore": {"from": path, "nonce": nonce}}
        view = read_spec(job, wanted)
        if isinstance(view, InvalidSpec):
            raise FailureError(f"{name}: {'; '.join(view.faults)}")

    edit(remote, job, item, change)
    say(f"{name}: is stopped with a savepoint and starts from {path} (deployment.restore.nonce: {nonce})")
    if item.get("state", DesiredState.RUNNING.value) == DesiredState.SUSPENDED.value:
        say(f"{name}: stays suspended; flinkctl resume {name} starts it from there")


def path_of(remote: Remote, job: str, named: str) -> str:
    """Give the path of a savepoint that is named by it, or by its id in the list.

    Raises:
        FailureError: no savepoint has the id.
    """
    if not named.isdecimal():
        return named
    found = next((one.path for one in remote.statuses.savepoints(job) if one.number == int(named)), None)
    if found is None:
        raise FailureError(
            f"{printable(job)}: there is no savepoint {named} on record; flinkctl savepoint list {printable(job)} lists them"
        )
    return found


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
