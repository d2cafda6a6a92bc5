"""Artifacts: `artifact sign`, `push`, `verify`, `list`."""

import base64
import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from flink_controller.cli.context import SIGNING_KEY, Remote, Session, remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say, short, tell
from flink_controller.domain.archive import Contents
from flink_controller.domain.artifact import SIGNATURE_SUFFIX, ArtifactVersion, TrustedKey, signed_text
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.inspection import inspect
from flink_controller.domain.names import artifact_prefix, namespace_of_key, shown
from flink_controller.services.admit_artifact import (
    MAX_SIGNATURE_BYTES,
    SIGNATURE_SUFFIXES,
    decode_signature,
    find_signer,
    key_fault,
)
from flink_controller.services.read_contents import read_contents

QUIET_SECONDS: Final = 2.0
"""An upload that takes longer says how far it is, this often."""
MAX_KEY_BYTES: Final = 2**16
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The artifact on this machine.")]

app = typer.Typer(help="Sign, upload and look at artifacts.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: flinkctl artifact sign etl.jar --key release-key.pem")
def sign(
    context: typer.Context,
    file: FileArgument,
    key: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Private key, Ed25519 or ECDSA P-256, as PEM. Default: ${SIGNING_KEY}."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the signature. Default: FILE.sig.")
    ] = None,
) -> None:
    """Sign an artifact.

    The signature is base64 over the text `sha256:<hex of the file>`.
    """
    private_key, origin = _private_key(key or session_of(context).signing_key)
    contents = read(file)
    fault = inspect(file.name, contents).message
    target = out or file.with_name(file.name + SIGNATURE_SUFFIX)
    try:
        target.write_bytes(_signature(private_key, origin, contents.sha256))
    except OSError as error:
        raise FailureError(f"{printable(target)}: {error.strerror or error}") from error
    if fault:
        tell(f"warning: {printable(file)} {fault}; the controller would refuse it")
    say(f"{target}: signature over sha256:{contents.sha256} by {origin}")


@app.command(epilog="Example: flinkctl artifact push target/etl.jar --to artifacts/etl.jar --sign-with release-key.pem")
def push(
    context: typer.Context,
    file: FileArgument,
    to: Annotated[str, typer.Option(metavar="KEY", help="Key in the artifact bucket, as specs name it (artifact_path).")],
    sign_with: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Private key to sign with. Default: ${SIGNING_KEY}; unsigned without both."),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Upload an artifact, then its signature.

    Jobs that name it are upgraded. A new upload under the same key is a new version.
    """
    session = session_of(context)
    namespace = _namespace(to)
    contents = read(file)
    fault = inspect(to, contents).message
    if fault:
        raise FailureError(f"{printable(file)} {fault}; nothing was uploaded")
    signature = None
    chosen = sign_with or session.signing_key
    if chosen is not None:
        # Before the upload: a key that cannot sign must not leave an artifact that waits for its signature.
        private_key, origin = _private_key(chosen)
        signature = _signature(private_key, origin, contents.sha256)
    remote = session.remote
    if signature is not None:
        _warn_of_untrusted(session, remote, to, namespace, contents.sha256, signature)
    bucket = remote.settings.artifact_bucket_name
    with file.open("rb") as stream, _progress(stream, f"uploading {printable(file)}", contents.size_bytes):
        version = remote.uploads.upload(bucket, to, stream, size_bytes=contents.size_bytes, sha256=contents.sha256)
    document: dict[str, Any] = {
        "bucket": bucket,
        "key": to,
        "version_id": version,
        "sha256": contents.sha256,
        "size_bytes": contents.size_bytes,
        "signature_version_id": None,
    }
    if signature is not None:
        document["signature_version_id"] = remote.uploads.upload(
            bucket,
            to + SIGNATURE_SUFFIX,
            io.BytesIO(signature),
            size_bytes=len(signature),
            sha256=hashlib.sha256(signature).hexdigest(),
        )

    def table() -> None:
        say(f"{to}: uploaded as version {version}, sha256:{contents.sha256}, {contents.size_bytes} bytes")
        if signature is not None:
            say(f"{to}{SIGNATURE_SUFFIX}: uploaded, signed with {origin}")

    emit(document, output, table=table)
    if signature is None:
        tell(
            f"warning: not signed, so it waits for {to}{SIGNATURE_SUFFIX}: push again with --sign-with FILE, or set {SIGNING_KEY}"
        )


@app.command(epilog="Example: flinkctl artifact verify etl.jar --signature etl.jar.sig --key release-key.pub.pem")
def verify(
    context: typer.Context,
    file: FileArgument,
    signature: Annotated[Path | None, typer.Option(metavar="FILE", help="The signature. Default: FILE.sig.")] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Public key as PEM; may be repeated. Default: the keys that are registered."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="KEY", help="Also check that the key may sign for this key of the bucket.")
    ] = None,
) -> None:
    """Check an artifact and its signature.

    With the very code that admits uploads; offline with --key.
    """
    session = session_of(context)
    source = signature or file.with_name(file.name + SIGNATURE_SUFFIX)
    contents = read(file)
    fault = inspect(to or file.name, contents).message
    if fault:
        raise FailureError(f"{printable(file)} {fault}")
    try:
        raw = decode_signature(_small_file(source, MAX_SIGNATURE_BYTES, "--signature"))
    except ValueError as error:
        raise FailureError(f"{printable(source)}: {error}") from error
    keys = [_public_key(path) for path in key] if key else session.remote.registry.keys()
    signer = find_signer(session.verifier, keys, raw, signed_text(contents.sha256))
    if signer is None:
        known = ", ".join(found.key_id for found in keys) or "none"
        raise FailureError(
            f"{printable(source)} is no signature of {printable(file)} (sha256:{contents.sha256}) by a key given (keys: {printable(known)})"
        )
    if to is not None and not key:
        distrust = key_fault(signer, to, _namespace(to), session.clock.now())
        if distrust is not None:
            raise FailureError(distrust)
    say(f"{file}: sha256:{contents.sha256} is signed by {signer.key_id}")


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
    found = _newest_of_all(remote) if key is None else remote.records.versions(remote.settings.artifact_bucket_name, key)
    if not found and key is not None:
        raise FailureError(
            f"nothing is recorded of {printable(key)}; flinkctl artifact push FILE --to {printable(key)} uploads it"
        )

    def table() -> None:
        print_table(
            ("KEY", "VERSION", "UPLOADED", "VERDICT", "SHA256", "SIGNED BY", "MESSAGE"),
            [(v.key, v.version_id, v.uploaded_at, v.verdict, short(v.sha256), v.key_id, v.message) for v in found],
        )

    emit({"items": [version.model_dump(mode="json") for version in found]}, output, table=table)


def read(file: Path) -> Contents:
    """Hash a file in one pass of bounded memory.

    Raises:
        typer.BadParameter: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return read_contents(stream)
    except OSError as error:
        raise typer.BadParameter(f"{printable(file)}: {error.strerror or error}", param_hint="'FILE'") from None


def _namespace(key: str) -> str:
    namespace = namespace_of_key(key)
    is_odd = not key.isprintable() or any(part in {"", ".", ".."} for part in key.split("/")) or "%" in key
    if namespace is None or is_odd:
        raise typer.BadParameter(
            f"{shown(key)} is no key that a spec can name: write {artifact_prefix('default')}name.jar, or NAMESPACE/name.jar",
            param_hint="'--to'",
        )
    if key.endswith(SIGNATURE_SUFFIXES):
        raise typer.BadParameter("this key is a signature's; name the artifact's", param_hint="'--to'")
    return namespace


def _private_key(file: str | None) -> tuple[bytes, str]:
    if file is None:
        raise typer.BadParameter(f"name a private key with --key FILE, or set {SIGNING_KEY}", param_hint="'--key'")
    if file.startswith("awskms://"):
        raise FailureError("keys in AWS KMS cannot sign in this version; use a key file")
    return _small_file(Path(file), MAX_KEY_BYTES, "--key"), printable(file)


def _small_file(path: Path, limit_bytes: int, option: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(limit_bytes + 1)
    except OSError as error:
        raise typer.BadParameter(f"{printable(path)}: {error.strerror or error}", param_hint=f"'{option}'") from None


def _signature(private_key: bytes, origin: str, sha256: str) -> bytes:
    from flink_controller.adapters.signing import sign as sign_bytes  # noqa: PLC0415  # cryptography takes 0.1 s to load

    try:
        return base64.b64encode(sign_bytes(private_key, signed_text(sha256))) + b"\n"
    except RejectedError as error:
        raise FailureError(f"{origin}: {error}") from error


def _public_key(path: Path) -> TrustedKey:
    from flink_controller.adapters.signatures import parse_public_key  # noqa: PLC0415

    pem = _small_file(path, MAX_KEY_BYTES, "--key").decode("utf-8", "replace")
    try:
        algorithm = parse_public_key(pem)
    except RejectedError as error:
        raise FailureError(f"{printable(path)}: {error}") from error
    return TrustedKey(key_id=str(path), algorithm=algorithm, public_key=pem)


def _warn_of_untrusted(session: Session, remote: Remote, key: str, namespace: str, sha256: str, signature: bytes) -> None:
    """Say beforehand what admission would say afterwards; a key may still be registered before it looks."""
    raw = decode_signature(signature)
    signer = find_signer(session.verifier, remote.registry.keys(), raw, signed_text(sha256))
    if signer is None:
        tell(
            "warning: the public half of this key is not registered, so the upload will be refused; an operator runs flinkctl keys add"
        )
        return
    fault = key_fault(signer, key, namespace, session.clock.now())
    if fault is not None:
        tell(f"warning: {fault}, so the upload will be refused")


def _newest_of_all(remote: Remote) -> list[ArtifactVersion]:
    bucket = remote.settings.artifact_bucket_name
    paths = {path for _, item in remote.specs.items() if isinstance(path := item.get("artifact_path"), str)}
    heads = [remote.records.head(bucket, path) for path in sorted(paths)]
    return [head.latest for head in heads if head is not None]


@contextmanager
def _progress(stream: IO[bytes], title: str, size_bytes: int) -> Iterator[None]:
    """Say how far a slow upload is."""
    is_over = threading.Event()

    def report() -> None:
        while not is_over.wait(QUIET_SECONDS):
            tell(f"{title}: {min(stream.tell(), size_bytes) * 100 // max(size_bytes, 1)} % of {size_bytes} bytes")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        is_over.set()
        reporter.join()
