"""Backups of an installation: `backup create`, `backup restore`."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from flink_controller.cli.context import Backups, Remote, remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import say, tell
from flink_controller.domain.backup import Numbered, Part, attempts_listed, read, reconciled, written
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import RejectedError, TransientError
from flink_controller.domain.observation import JobSeen
from flink_controller.domain.pauses import EVERYTHING
from flink_controller.domain.status import JobStatus

app = typer.Typer(help="Keep what the controller knows, and bring it back.", no_args_is_help=True, rich_markup_mode=None)
STEP = 500
"""Items between two lines of progress."""


@app.command(epilog="Example: flinkctl backup create --to s3://my-backups/controller/2026-03-01.jsonl")
def create(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="URI", help="s3://BUCKET/KEY, or a file that does not exist yet.")],
) -> None:
    """Write every spec and everything that is recorded into one file.

    Specs, statuses with their counters, revisions, events, runs, savepoints' addresses, records of artifacts, clusters,
    keys, policies, pauses, denials. Not in it: artifacts and savepoints themselves, which stay in their buckets.
    """
    session = session_of(context)
    remote = session.remote
    lines, count = [], 0
    for line in written(remote.settings.controller_id, session.clock.now(), _backups(remote).items()):
        lines.append(line)
        count += 1
        if count % STEP == 0:
            tell(f"{count} items read")
    content = "".join(lines).encode()
    if to.startswith("s3://"):
        _backups(remote).write_object(to, content)
    else:
        _write(Path(to), content)
    say(f"{to}: {count - 2} items, {len(content)} bytes")


@app.command(epilog="Example: flinkctl backup restore --from s3://my-backups/controller/2026-03-01.jsonl")
def restore(
    context: typer.Context,
    source: Annotated[str, typer.Option("--from", metavar="URI", help="s3://BUCKET/KEY, or a file.")],
) -> None:
    """Bring a backup back into an installation without jobs, which then is paused.

    Every cluster is asked what runs: counters are raised above every attempt that it lists, and a job that went on since
    is adopted as it runs. Nothing is started or stopped before `flinkctl unpause --all`. One that broke off is repeated.
    """
    remote = remote_of(context)
    content = _backups(remote).read_object(source) if source.startswith("s3://") else _read(Path(source))
    try:
        backup = read(content.decode("utf-8", "replace"))
    except RejectedError as error:
        raise FailureError(f"{source} {error}") from error
    if backup.controller_id != remote.settings.controller_id:
        raise FailureError(
            f"{source} is of controller {backup.controller_id}, this one is {remote.settings.controller_id}: its jobs would"
            " not be recognised on Flink; deploy with the same controller_id"
        )
    tables, reason = _backups(remote), f"restored from backup {backup.sha256[:12]}"
    paused = remote.registry.pause_of([EVERYTHING])
    if tables.jobs() and (paused is None or paused.reason != reason):
        raise FailureError(
            "this installation has jobs; a backup is restored into one without, or what is newer would be lost"
        )
    statuses = [(item, tables.status_in(item)) for part, item in backup.items if part is Part.STATE]
    listed = _listed(remote, [item for item, _ in statuses])
    attempts = {
        status.job_id: _with_parameters(remote, status, attempts_listed(status.job_id, listed, backup.controller_id))
        for _, status in statuses
        if status is not None
    }
    # The pause is there before the first job is, and the specs come last: whatever wakes the controller half way, and
    # wherever this program dies, finds a pause, and no spec without its counter.
    tables.put(Part.STATE, tables.pause_item(reason))
    for done, (item, status) in enumerate(statuses, start=1):
        if item["pk"]["S"] == f"PAUSE#{EVERYTHING}":
            tell("the backup was of a paused installation; what paused it is replaced by this restore's own pause")
            continue
        if status is not None:
            found = reconciled(status, attempts[status.job_id])
            if found.note:
                tell(f"{status.job_id}: {found.note}")
            tables.put(Part.STATE, item if found.status is status else tables.with_status(item, found.status))
        else:
            tables.put(Part.STATE, item)
        if done % STEP == 0:
            tell(f"{done} of {len(backup.items)} items restored")
    for part, item in backup.items:
        if part is Part.SPECS:
            tables.put(part, item)
    say(f"{len(backup.items)} items of {backup.created_at} restored, and everything is paused")
    say("look at flinkctl get, then: flinkctl unpause --all")


def _backups(remote: Remote) -> Backups:
    assert remote.backups is not None  # `connect` always gives it
    return remote.backups()


def _listed(remote: Remote, items: list[Mapping[str, Any]]) -> list[tuple[Cluster, JobSeen]]:
    """Ask every cluster of the backup for its jobs."""
    found: list[tuple[Cluster, JobSeen]] = []
    for cluster in _backups(remote).clusters_in(items):
        with _answering(cluster):
            found += [(cluster, job) for job in remote.probe(cluster).jobs()]
    return found


def _with_parameters(remote: Remote, status: JobStatus, attempts: tuple[Numbered, ...]) -> tuple[Numbered, ...]:
    """Ask the attempts that the backup does not know what they are."""
    found = []
    for one in attempts:
        if one.number > status.attempt_counter:
            with _answering(one.cluster):
                parameters = remote.probe(one.cluster).parameters(one.job.flink_job_id)
            found.append(replace(one, parameters=parameters))
        else:
            found.append(one)
    return tuple(found)


@contextmanager
def _answering(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except TransientError as error:
        raise FailureError(
            f"cluster {cluster.name} does not answer ({error}): without its list of jobs a counter might be too low;"
            " restore from where Flink can be reached"
        ) from error


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; it names savepoints and arguments, so it is its owner's alone."""
    if path.exists():
        raise FailureError(f"{path} exists; name another file")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).rename(path)
    except OSError as error:
        raise FailureError(f"{path}: {error.strerror or error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FailureError(f"{path}: {error.strerror or error}") from error
