"""Artifacts: `artifact sign`, `push`, `verify`, `list`, `revoke`, `prune`."""

import hashlib
import io
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from flink_controller.cli.changes import change_of
from flink_controller.cli.context import DELETED_AT_ONCE, SIGNING_KEY, Remote, Session, remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say, short, tell
from flink_controller.cli.signing import (
    VALID_DAYS,
    FileArgument,
    ReleaseFlag,
    SignatureFormat,
    ValidDaysFlag,
    demand_namespace,
    read,
    sign,
    signature_file,
    signer_of,
    small_file,
    suffix_of,
    terms_of,
    verify,
    warn_of_refusal,
)
from flink_controller.domain.archive import Contents
from flink_controller.domain.artifact import SIGNATURE_SUFFIX, ArtifactVersion
from flink_controller.domain.inspection import inspect
from flink_controller.domain.names import namespace_of_key
from flink_controller.domain.signature_file import MAX_SIGNATURE_BYTES, artifact_key
from flink_controller.domain.trust import Denial, StatementRule
from flink_controller.ports import ObjectVersion
from flink_controller.services.prune_artifacts import Place, uses

QUIET_SECONDS: Final = 2.0
"""An upload that takes longer says how far it is, this often."""
BAR_SECONDS: Final = 0.2
"""Between two pictures of the bar, and before the first one."""
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})")

app = typer.Typer(help="Sign, upload and look at artifacts.", no_args_is_help=True, rich_markup_mode=None)


app.command(epilog="Example: flinkctl artifact sign etl.jar --key release-key.pem --format dsse --release 17")(sign)
app.command(epilog="Example: flinkctl artifact verify etl.jar --signature etl.jar.sig --key release-key.pub.pem")(verify)


@app.command(epilog="Example: flinkctl artifact push target/etl.jar --to artifacts/etl.jar --sign-with release-key.pem")
def push(
    context: typer.Context,
    file: FileArgument,
    to: Annotated[str, typer.Option(metavar="KEY", help="Key in the artifact bucket, as specs name it (artifact_path).")],
    sign_with: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=f"Private key to sign with, or awskms:///KEY. Default: ${SIGNING_KEY}; unsigned without both.",
        ),
    ] = None,
    format_: Annotated[
        SignatureFormat | None,
        typer.Option("--format", help="Of the signature. Default: sig, or dsse where the namespace's policy asks for it."),
    ] = None,
    signature: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A signature made before; may be repeated. Instead of --sign-with."),
    ] = None,
    release: ReleaseFlag = None,
    valid_days: ValidDaysFlag = VALID_DAYS,
    *,
    immutable: Annotated[
        bool,
        typer.Option("--immutable", help="Refuse where there is an object already: every release has a key of its own."),
    ] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Upload an artifact, then its signature.

    Jobs that name it are upgraded. A new upload under the same key is a new version.
    """
    session = session_of(context)
    namespace = demand_namespace(to)
    contents = read(file)
    fault = inspect(to, contents).message
    if fault:
        raise FailureError(f"{printable(file)} {fault}; nothing was uploaded")
    remote = session.remote
    # Before the upload: a key that cannot sign must not leave an artifact that waits for its signature.
    made, origin = _signatures(session, contents, to, namespace, sign_with, format_, signature, release, valid_days)
    for suffix, content in made.items():
        warn_of_refusal(session.verifier, session, suffix, content, contents, to)
    bucket = remote.policy.bucket_of(to)
    with file.open("rb") as stream, progress(stream, f"uploading {printable(file)}", contents.size_bytes):
        version = remote.uploads.upload(
            bucket, to, stream, size_bytes=contents.size_bytes, sha256=contents.sha256, is_new=immutable
        )
    uploaded = {
        suffix: remote.uploads.upload(
            bucket,
            to + suffix,
            io.BytesIO(content),
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        for suffix, content in made.items()
    }
    document: dict[str, Any] = {
        "bucket": bucket,
        "key": to,
        "version_id": version,
        "sha256": contents.sha256,
        "size_bytes": contents.size_bytes,
        "signature_version_id": next(iter(uploaded.values()), None),
    }

    def table() -> None:
        say(f"{to}: uploaded as version {version}, sha256:{contents.sha256}, {contents.size_bytes} bytes")
        for suffix in uploaded:
            say(f"{to}{suffix}: uploaded, signed with {origin}")

    emit(document, output, table=table)
    if not uploaded:
        tell(
            f"warning: not signed, so it waits for {to}{SIGNATURE_SUFFIX}: push again with --sign-with FILE, or set {SIGNING_KEY}"
        )


def _signatures(
    session: Session,
    contents: Contents,
    to: str,
    namespace: str,
    sign_with: str | None,
    format_: SignatureFormat | None,
    signature: list[Path] | None,
    release: int | None,
    valid_days: int,
) -> tuple[dict[str, bytes], str]:
    """Give the signature files to upload, by suffix, and what made them."""
    if signature:
        if sign_with is not None:
            raise typer.BadParameter("say --signature or --sign-with, not both", param_hint="'--signature'")
        files = {suffix_of(path): small_file(path, MAX_SIGNATURE_BYTES, "--signature") for path in signature}
        return files, ", ".join(printable(path) for path in signature)
    chosen = sign_with or session.signing_key
    if chosen is None:
        return {}, ""
    signer, origin = signer_of(session, chosen)
    if format_ is None:
        is_stated = session.remote.registry.policy(namespace).statement is StatementRule.REQUIRED
        format_ = SignatureFormat.DSSE if is_stated else SignatureFormat.SIG
    terms = None
    if format_ is not SignatureFormat.SIG:
        terms = terms_of(session, to, release, session.remote.policy.controller_id, valid_days)
    return {format_.suffix: signature_file(signer, origin, format_, contents, terms, session.clock.now())}, origin


@app.command(name="list", epilog="Example: flinkctl artifact list artifacts/etl.jar")
def list_(
    context: typer.Context,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY", help="Key in the bucket: all its versions. Without: the newest of every key that specs name."
        ),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Show uploaded versions and the verdict on each.

    Oldest first.
    """
    remote = remote_of(context)
    found = _newest_of_all(remote) if key is None else remote.records.versions(remote.policy.bucket_of(key), key)
    users = {} if key is None else _users(remote, key)
    if not found and key is not None:
        raise FailureError(
            f"nothing is recorded of {printable(key)}; flinkctl artifact push FILE --to {printable(key)} uploads it"
        )

    def table() -> None:
        print_table(
            ("KEY", "VERSION", "UPLOADED", "VERDICT", "RELEASE", "SHA256", "SIGNED BY", "USED BY", "MESSAGE"),
            [
                (
                    v.key,
                    v.version_id,
                    v.uploaded_at,
                    v.verdict,
                    v.release,
                    short(v.sha256),
                    ", ".join((v.key_id, *v.co_signers)) if v.key_id else None,
                    ", ".join(users.get(v.version_id, ())),
                    v.message,
                )
                for v in found
            ],
        )

    items = [
        {**version.model_dump(mode="json"), "revisions": users.get(version.version_id, [])}
        if key is not None
        else version.model_dump(mode="json")
        for version in found
    ]
    emit({"items": items}, output, table=table)


@app.command(epilog='Example: flinkctl artifact revoke sha256:9f86… --reason "loses messages"')
def revoke(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="sha256:<64 hex digits> of the artifact.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; shown wherever it is refused.")] = "",
    *,
    lift: Annotated[bool, typer.Option("--lift", help="Allow it again.")] = False,
) -> None:
    """Deny bytes, whoever signed them.

    They are not admitted and not started any more, rollbacks and restarts included; what runs them is flagged. For
    operators.
    """
    matched = _DIGEST.fullmatch(digest)
    if matched is None:
        raise typer.BadParameter("write sha256: and 64 lower-case hex digits", param_hint="'DIGEST'")
    session, sha256 = session_of(context), matched.group(1)
    remote = session.remote
    is_denied = remote.registry.trust((), sha256).denial is not None
    if is_denied is not lift:
        say(f"sha256:{sha256} unchanged: {'denied' if is_denied else 'not denied'}")
        return
    now, action = session.clock.now(), "Lifted" if lift else "Denied"
    event = change_of(session, f"DENY#{sha256}", action, reason)
    if lift:
        remote.registry.delete_denial(sha256, event)
    else:
        remote.registry.put_denial(Denial(sha256=sha256, reason=reason, denied_at=now), event)
    say(f"sha256:{sha256} {action.lower()}")


@app.command(epilog="Example: flinkctl artifact prune artifacts/etl.jar --delete")
def prune(
    context: typer.Context,
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="What keys in the bucket begin with; of one namespace.")],
    older_than: Annotated[
        int, typer.Option(metavar="DAYS", min=1, help="Leave alone what was uploaded within so many days.")
    ] = 90,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Do it. Without, they are only shown.")] = False,
    output: FormatOption = Format.TABLE,
) -> None:
    """Delete old versions of objects that nothing can start again.

    Those are versions whose record is pruned, and earlier versions of signatures; never the newest of an object, nor one
    that a revision uses. With your own rights: the controller itself deletes no object.
    """
    session = session_of(context)
    remote, namespace = session.remote, namespace_of_key(prefix)
    if namespace is None:
        raise typer.BadParameter("write artifacts/… or NAMESPACE/…: versions of one namespace", param_hint="'PREFIX'")
    gone = _out_of_reach(remote, namespace, prefix, session.clock.now() - timedelta(days=older_than))
    size = sum(found.size_bytes for found in gone)
    if delete:
        for done in range(0, len(gone), DELETED_AT_ONCE):
            if done:
                tell(f"{done} of {len(gone)} versions are deleted")
            remote.uploads.delete(gone[done : done + DELETED_AT_ONCE])

    def table() -> None:
        columns = ("KEY", "VERSION", "UPLOADED", "BYTES")
        print_table(columns, [(found.key, found.version_id, found.uploaded_at, found.size_bytes) for found in gone])
        what = f"{len(gone)} version(s), {size} bytes"
        say(f"{what} deleted" if delete else f"{what}; --delete deletes them for good")

    items = [
        {
            "bucket": found.bucket,
            "key": found.key,
            "version_id": found.version_id,
            "uploaded_at": found.uploaded_at.isoformat(),
            "size_bytes": found.size_bytes,
        }
        for found in gone
    ]
    emit({"deleted": delete, "items": items}, output, table=table)


def _out_of_reach(remote: Remote, namespace: str, prefix: str, until: datetime) -> list[ObjectVersion]:
    """Find versions that nothing can be started from any more.

    Only by a record is a version resolved to by a spec, and only by a revision is it started again. So the records are read
    first, and the revisions after them: what was resolved before its record was pruned is a revision by then, or its pin
    stands in a spec still, and then its key is left alone.
    """
    bucket = remote.policy.bucket_of(prefix)
    old = [found for found in remote.uploads.superseded(bucket, prefix) if found.uploaded_at < until]
    pins = _pins(remote)
    unrecorded: list[ObjectVersion] = []
    for key, versions in groupby(sorted(old, key=attrgetter("key", "uploaded_at")), attrgetter("key")):
        if artifact_key(key) != key:
            # Of signatures none but the newest is ever read.
            unrecorded += versions
            continue
        records = remote.records.versions(bucket, key)
        missing = pins.get(key, set()) - {record.sha256 for record in records}
        if missing:
            tell(f"warning: {printable(key)} is left alone: a spec pins sha256:{min(missing)}, of which nothing is recorded")
            continue
        known = {record.version_id for record in records}
        unrecorded += (found for found in versions if found.version_id not in known)
    used: Mapping[Place, list[str]] = uses(remote.statuses, namespace) or {}
    return [found for found in unrecorded if (found.bucket, found.key, found.version_id) not in used]


def _pins(remote: Remote) -> dict[str, set[str]]:
    """Give the digests that specs pin, by the key that they name."""
    pins: dict[str, set[str]] = {}
    for _, item in remote.specs.items():  # noqa: PERF102  # a store, which has no `values`
        key, digest = item.get("artifact_path"), item.get("artifact_signature")
        if isinstance(key, str) and isinstance(digest, str):
            pins.setdefault(key, set()).add(digest.removeprefix("sha256:"))
    return pins


def _newest_of_all(remote: Remote) -> list[ArtifactVersion]:
    paths = {path for _, item in remote.specs.items() if isinstance(path := item.get("artifact_path"), str)}
    heads = [remote.records.head(remote.policy.bucket_of(path), path) for path in sorted(paths)]
    return [head.latest for head in heads if head is not None]


def _users(remote: Remote, key: str) -> dict[str, list[str]]:
    """Find which revisions use each version of a key."""
    bucket, used = remote.policy.bucket_of(key), uses(remote.statuses, namespace_of_key(key) or "") or {}
    return {version: revisions for (at, name, version), revisions in used.items() if (at, name) == (bucket, key)}


@contextmanager
def progress(stream: IO[bytes], title: str, size_bytes: int) -> Iterator[None]:
    """Say how far a slow upload is: by a bar where a person watches, by a line now and then elsewhere."""
    is_over = threading.Event()
    is_watched = sys.stderr.isatty()

    def report() -> None:
        if is_watched:
            _draw(stream, title, size_bytes, is_over)
            return
        while not is_over.wait(QUIET_SECONDS):
            tell(f"{title}: {min(stream.tell(), size_bytes) * 100 // max(size_bytes, 1)} % of {size_bytes} bytes")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        is_over.set()
        reporter.join()


def _draw(stream: IO[bytes], title: str, size_bytes: int, is_over: threading.Event) -> None:
    """Draw a bar until it is over; none for what is there at once."""
    if is_over.wait(BAR_SECONDS):
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=size_bytes)
        while True:
            bar.update(task, completed=min(stream.tell(), size_bytes))
            if is_over.wait(BAR_SECONDS):
                return
