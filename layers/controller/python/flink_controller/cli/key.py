"""Keys that are trusted to sign artifacts: `keys add`, `keys retire`, `keys revoke`, `keys list`, `keys history`."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from flink_controller.cli.changes import change_of, show_changes
from flink_controller.cli.context import remote_of, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import Format, FormatOption, emit, print_table, printable, say
from flink_controller.domain.artifact import KeyStatus, TrustedKey
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.names import DEFAULT_NAMESPACE, NAME, namespace_of_key, shown

MAX_KEY_BYTES: Final = 2**16
_KEY_ID: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")

app = typer.Typer(help="Register the keys that may sign artifacts.", no_args_is_help=True, rich_markup_mode=None)


@app.command(epilog="Example: flinkctl keys add release-2026 --public-key release.pub.pem --namespace payments")
def add(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="What to call the key.")],
    public_key: Annotated[Path, typer.Option(metavar="FILE", help="Public key as PEM: Ed25519, ECDSA P-256 or P-384, RSA.")],
    namespace: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMESPACE", help="Namespace it may sign for; may be repeated. Default: default."),
    ] = None,
    prefix: Annotated[
        list[str] | None,
        typer.Option(metavar="PREFIX", help="Prefix of keys in the bucket that it may sign; may be repeated."),
    ] = None,
    not_before: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not before then, as 2026-01-31T00:00:00Z. Default: as it was, or now."),
    ] = None,
    not_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Nothing new after then. Default: as it was, or without end.")
    ] = None,
) -> None:
    """Trust a key.

    Its algorithm is the key's own; weak keys are refused.
    """
    from flink_controller.adapters.signatures import parse_public_key  # noqa: PLC0415  # cryptography takes 0.1 s to load

    _check(key_id, namespace or [], prefix or [])
    pem = _read(public_key)
    try:
        algorithm = parse_public_key(pem)
    except RejectedError as error:
        raise FailureError(f"{printable(public_key)}: {error}") from error
    remote = remote_of(context)
    known = remote.registry.key(key_id)
    if known is not None and known.public_key.split() != pem.split():
        raise FailureError(f"key {key_id} is registered with another public key; register the new one under a new id")
    if known is not None and known.status is not KeyStatus.ACTIVE:
        raise FailureError(f"key {key_id} is {known.status.value}, and stays so; register a new key under a new id")
    namespaces = tuple(dict.fromkeys(namespace or ([] if prefix else [DEFAULT_NAMESPACE])))
    key = TrustedKey(
        key_id=key_id,
        algorithm=algorithm,
        public_key=pem,
        namespaces=namespaces,
        prefixes=tuple(dict.fromkeys(prefix or ())),
        not_before=_time(not_before, "--not-before") or (None if known is None else known.not_before),
        not_after=_time(not_after, "--not-after") or (None if known is None else known.not_after),
    )
    if key.not_before is not None and key.not_after is not None and key.not_after <= key.not_before:
        raise typer.BadParameter("the end of its validity comes before its start", param_hint="'--not-after'")
    outcome = "created" if known is None else "unchanged" if known == key else "changed"
    if outcome != "unchanged":
        _replace(context, key, known, "Added" if known is None else "Changed", _scope(key))
    say(f"{key_id} {outcome}: {key.algorithm.value}, may sign for {_scope(key)}")


@app.command(epilog="Example: flinkctl keys retire release-2025")
def retire(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the key's history.")] = "",
) -> None:
    """Admit nothing new that a key signed.

    What it signed keeps running and can be brought back. There is no way back: register a new key under a new id.
    """
    _distrust(context, key_id, KeyStatus.RETIRING, "Retired", reason)


@app.command(epilog='Example: flinkctl keys revoke release-2025 --reason "laptop lost"')
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the key's history.")] = "",
) -> None:
    """Start nothing any more that a key signed.

    Rollbacks and restarts included. Jobs that run on it are flagged, and suspended where their namespace's policy says
    so. There is no way back.
    """
    _distrust(context, key_id, KeyStatus.REVOKED, "Revoked", reason)


@app.command(epilog="Example: flinkctl keys history release-2025")
def history(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The key.")],
    output: FormatOption = Format.TABLE,
) -> None:
    """Show every change of a key, oldest first."""
    show_changes(remote_of(context), f"KEY#{key_id}", f"key {key_id}", output)


@app.command(name="list", epilog="Example: flinkctl keys list")
def list_(context: typer.Context, output: FormatOption = Format.TABLE) -> None:
    """Show the registered keys."""
    found = remote_of(context).registry.keys()

    def table() -> None:
        if not found:
            say("no keys; flinkctl keys add registers one")
            return
        print_table(
            ("KEY", "ALGORITHM", "STATUS", "NAMESPACES", "PREFIXES", "NOT BEFORE", "NOT AFTER"),
            [
                (k.key_id, k.algorithm, k.status, ", ".join(k.namespaces), ", ".join(k.prefixes), k.not_before, k.not_after)
                for k in found
            ],
        )

    emit({"items": [key.model_dump(mode="json") for key in found]}, output, table=table)


def _distrust(context: typer.Context, key_id: str, status: KeyStatus, action: str, reason: str) -> None:
    known = remote_of(context).registry.key(key_id)
    if known is None:
        raise FailureError(f"no key {printable(key_id)} is registered")
    # One way only: whoever could make a revoked key count again could undo an operator's last resort.
    if known.status is status or known.status is KeyStatus.REVOKED:
        say(f"{key_id} unchanged: {known.status.value}")
        return
    _replace(context, known.model_copy(update={"status": status}), known, action, reason)
    say(f"{key_id} {status.value}")


def _replace(context: typer.Context, key: TrustedKey, known: TrustedKey | None, action: str, message: str) -> None:
    session = session_of(context)
    event = change_of(session, f"KEY#{key.key_id}", action, message)
    session.remote.registry.replace_key(key, expected=known, event=event)


def _scope(key: TrustedKey) -> str:
    return ", ".join([f"namespace {name}" for name in key.namespaces] + [f"keys under {text}" for text in key.prefixes])


def _time(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(
            f"{shown(text)} is no time with its zone, as 2026-01-31T00:00:00Z", param_hint=f"'{option}'"
        )
    return moment.astimezone(UTC)


def _check(key_id: str, namespaces: list[str], prefixes: list[str]) -> None:
    if not _KEY_ID.fullmatch(key_id):
        raise typer.BadParameter(
            f"{shown(key_id)}: write 1 to 128 letters, digits, dots, underscores and hyphens", param_hint="'KEY_ID'"
        )
    for name in namespaces:
        if not NAME.fullmatch(name) or name == "artifacts":
            raise typer.BadParameter(f"{shown(name)} is no name of a namespace", param_hint="'--namespace'")
    for prefix in prefixes:
        is_odd = not prefix.isprintable() or "%" in prefix or any(part in {".", ".."} for part in prefix.split("/"))
        if is_odd or "//" in prefix or namespace_of_key(prefix) is None:
            raise typer.BadParameter(
                f"{shown(prefix)} is no prefix of artifacts: write artifacts/… or NAMESPACE/…", param_hint="'--prefix'"
            )


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_KEY_BYTES).decode("utf-8", "replace").strip() + "\n"
    except OSError as error:
        raise typer.BadParameter(f"{printable(path)}: {error.strerror or error}", param_hint="'--public-key'") from None
