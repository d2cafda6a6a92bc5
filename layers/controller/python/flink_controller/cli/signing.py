"""Signatures on the command line: `artifact sign`, `artifact verify`, and what `artifact push` uploads beside."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from flink_controller.cli.context import SIGNING_KEY, Session, Signer, session_of
from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import printable, say, tell
from flink_controller.domain.archive import Contents
from flink_controller.domain.artifact import SIGNATURE_SUFFIX, TrustedKey, Verdict, fingerprint, signed_text
from flink_controller.domain.errors import RejectedError
from flink_controller.domain.inspection import inspect
from flink_controller.domain.names import DEFAULT_PREFIX, artifact_prefix, namespace_of_key, shown
from flink_controller.domain.signature_file import (
    BUNDLE_TYPES,
    DSSE_SUFFIX,
    MAX_SIGNATURE_BYTES,
    SIGNATURE_SUFFIXES,
    SIGSTORE_SUFFIX,
    pae,
)
from flink_controller.domain.statement import PAYLOAD_TYPE, Release, Statement, write_statement
from flink_controller.domain.trust import NamespacePolicy
from flink_controller.ports import SignatureVerifier
from flink_controller.services.read_contents import read_contents
from flink_controller.services.verify_signatures import Upload, verify_signatures
from flink_controller.settings import variable

MAX_KEY_BYTES: Final = 2**16
CONTROLLER_ID: Final = variable("controller_id")
VALID_DAYS: Final = 90
"""Of a statement: long enough for every release train, short enough that an old one is no use to a thief."""
KMS: Final = "awskms://"
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The artifact on this machine.")]


class SignatureFormat(Enum):
    """Which file a signature is written to; its value is what `--format` takes."""

    SIG = "sig"
    DSSE = "dsse"
    SIGSTORE = "sigstore"

    @property
    def suffix(self) -> str:
        """What its file's name ends with."""
        return {"sig": SIGNATURE_SUFFIX, "dsse": DSSE_SUFFIX, "sigstore": SIGSTORE_SUFFIX}[self.value]


@dataclass(frozen=True)
class Terms:
    """What a statement says beside the digest."""

    key: str
    audience: str
    release: int
    valid_for: timedelta


FormatFlag = Annotated[
    SignatureFormat,
    typer.Option(
        "--format",
        help="sig: over the digest alone. dsse: over a statement of name, installation, release and validity."
        " sigstore: that envelope in a Sigstore bundle.",
    ),
]
ReleaseFlag = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Release number; never goes backwards. Default: the time in seconds."),
]
AudienceFlag = Annotated[
    str | None, typer.Option(metavar="ID", help=f"Controller id that may run it. Default: ${CONTROLLER_ID}.")
]
ValidDaysFlag = Annotated[int, typer.Option(metavar="DAYS", min=1, max=3650, help="How long the statement may be used.")]


def sign(
    context: typer.Context,
    file: FileArgument,
    key: Annotated[
        str | None,
        typer.Option(metavar="FILE", help=f"Private key as PEM, or awskms:///KEY. Default: ${SIGNING_KEY}."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write the signature. Default: FILE and the format's suffix."),
    ] = None,
    format_: FormatFlag = SignatureFormat.SIG,
    to: Annotated[
        str | None,
        typer.Option(metavar="KEY", help=f"Key in the bucket that is stated. Default: {DEFAULT_PREFIX} and FILE's name."),
    ] = None,
    release: ReleaseFlag = None,
    audience: AudienceFlag = None,
    valid_days: ValidDaysFlag = VALID_DAYS,
) -> None:
    """Sign an artifact.

    A `.sig` is base64 over the text `sha256:<hex of the file>`; the other formats cover a statement.
    """
    session = session_of(context)
    signer, origin = signer_of(session, key or session.signing_key)
    contents = read(file)
    fault = inspect(file.name, contents).message
    target = out or file.with_name(file.name + format_.suffix)
    terms = None
    if format_ is not SignatureFormat.SIG:
        terms = terms_of(session, to or f"{DEFAULT_PREFIX}{file.name}", release, audience, valid_days)
    content = signature_file(signer, origin, format_, contents, terms, session.clock.now())
    try:
        target.write_bytes(content)
    except OSError as error:
        raise FailureError(f"{printable(target)}: {error.strerror or error}") from error
    if fault:
        tell(f"warning: {printable(file)} {fault}; the controller would refuse it")
    stated = "" if terms is None else f" as release {terms.release} of {terms.key} for installation {terms.audience}"
    say(f"{target}: signature over sha256:{contents.sha256}{stated} by {origin}")


def verify(
    context: typer.Context,
    file: FileArgument,
    signature: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A signature; may be repeated. Default: those beside FILE."),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Public key as PEM; may be repeated. Default: the keys that are registered."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="KEY", help="Also check that it may be uploaded under this key of the bucket.")
    ] = None,
    audience: AudienceFlag = None,
) -> None:
    """Check an artifact and its signatures.

    With the very code that admits uploads; offline with --key.
    """
    session = session_of(context)
    contents = read(file)
    fault = inspect(to or file.name, contents).message
    if fault:
        raise FailureError(f"{printable(file)} {fault}")
    sources = signature or [path for suffix in SIGNATURE_SUFFIXES if (path := beside(file, suffix)).exists()]
    if not sources:
        raise typer.BadParameter(
            f"there is no signature beside {printable(file)}; name one with --signature", param_hint="'--signature'"
        )
    files = {suffix_of(source): small_file(source, MAX_SIGNATURE_BYTES, "--signature") for source in sources}
    namespace = "default" if to is None else demand_namespace(to)
    keys = [_public_key(path, namespace) for path in key] if key else session.remote.registry.keys()
    policy = NamespacePolicy(namespace=namespace)
    if not key:
        policy = session.remote.registry.policy(namespace)
        if session.remote.registry.trust((), contents.sha256).denial is not None:
            raise FailureError(f"{printable(file)}: sha256:{contents.sha256} was denied by an operator")
    stated = audience or session.environ.get(CONTROLLER_ID) or None
    upload = Upload(contents, to, namespace, stated)
    found = verify_signatures(session.verifier, keys, policy, files, upload, session.clock.now())
    if found.verdict is not Verdict.ADMITTED:
        known = ", ".join(one.key_id for one in keys) or "none"
        raise FailureError(f"{printable(file)}: {printable(found.message)} (keys: {printable(known)})")
    signers = ", ".join(found.key_ids)
    say(f"{file}: sha256:{contents.sha256} is signed by {printable(signers)}")


def signature_file(
    signer: Signer, origin: str, format_: SignatureFormat, contents: Contents, terms: Terms | None, now: datetime
) -> bytes:
    """Make the content of a signature file. `terms` are needed but for `sig`."""
    if format_ is SignatureFormat.SIG:
        return base64.b64encode(_signed(signer, origin, signed_text(contents.sha256))) + b"\n"
    assert terms is not None
    payload = write_statement(
        Statement(
            sha256=contents.sha256,
            release=Release(
                audience=terms.audience,
                namespace=demand_namespace(terms.key),
                name=terms.key,
                release=terms.release,
                size_bytes=contents.size_bytes,
                not_before=now,
                not_after=now + terms.valid_for,
            ),
        )
    )
    hint = fingerprint(signer.public_key_pem())
    made = base64.b64encode(_signed(signer, origin, pae(PAYLOAD_TYPE, payload))).decode()
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE}
    if format_ is SignatureFormat.DSSE:
        return _json({**envelope, "signatures": [{"keyid": hint, "sig": made}]})
    # As cosign names a key in a bundle: the fingerprint in base64.
    material = {"publicKey": {"hint": base64.b64encode(bytes.fromhex(hint)).decode()}}
    return _json(
        {
            "mediaType": BUNDLE_TYPES[0],
            "verificationMaterial": material,
            "dsseEnvelope": {**envelope, "signatures": [{"sig": made}]},
        }
    )


def terms_of(session: Session, key: str, release: int | None, audience: str | None, valid_days: int) -> Terms:
    """Complete what a statement says from the environment and the time.

    Raises:
        FailureError: nobody says for which installation.
    """
    stated = audience or session.environ.get(CONTROLLER_ID)
    if not stated:
        raise FailureError(f"a statement names the installation that may run it: --audience ID, or set {CONTROLLER_ID}")
    number = int(session.clock.now().timestamp()) if release is None else release
    return Terms(key, stated, number, timedelta(days=valid_days))


def signer_of(session: Session, key: str | None) -> tuple[Signer, str]:
    """Give what signs, and what to call it: a file's key, or one in KMS."""
    if key is None:
        raise typer.BadParameter(f"name a private key with --key FILE, or set {SIGNING_KEY}", param_hint="'--key'")
    if key.startswith(KMS):
        if session.kms is None:
            raise FailureError("keys in AWS KMS cannot be reached from here")
        return session.kms(key), printable(key)
    return _FileSigner(small_file(Path(key), MAX_KEY_BYTES, "--key")), printable(key)


def read(file: Path) -> Contents:
    """Hash a file in one pass of bounded memory.

    Raises:
        typer.BadParameter: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return read_contents(stream, with_sha384=beside(file, SIGSTORE_SUFFIX).exists())
    except OSError as error:
        raise typer.BadParameter(f"{printable(file)}: {error.strerror or error}", param_hint="'FILE'") from None


def small_file(path: Path, limit_bytes: int, option: str) -> bytes:
    """Read a small file, at most one byte more than the limit."""
    try:
        with path.open("rb") as stream:
            return stream.read(limit_bytes + 1)
    except OSError as error:
        raise typer.BadParameter(f"{printable(path)}: {error.strerror or error}", param_hint=f"'{option}'") from None


def demand_namespace(key: str) -> str:
    """Give the namespace of a key that a spec can name.

    Raises:
        typer.BadParameter: no spec can name it.
    """
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


def suffix_of(path: Path) -> str:
    """Tell a signature file's format by its name; what has none is a `.sig`."""
    return next((suffix for suffix in SIGNATURE_SUFFIXES if path.name.endswith(suffix)), SIGNATURE_SUFFIX)


def beside(file: Path, suffix: str) -> Path:
    """Name a signature's file."""
    return file.with_name(file.name + suffix)


class _FileSigner:
    """Signs with a key that was read from a file."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem

    def sign(self, message: bytes) -> bytes:
        from flink_controller.adapters.signing import sign as sign_bytes  # noqa: PLC0415  # takes 0.1 s to load

        return sign_bytes(self._pem, message)

    def public_key_pem(self) -> str:
        from flink_controller.adapters.signing import public_key_of  # noqa: PLC0415

        return public_key_of(self._pem)


def _signed(signer: Signer, origin: str, message: bytes) -> bytes:
    try:
        return signer.sign(message)
    except RejectedError as error:
        raise FailureError(f"{origin}: {error}") from error


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _public_key(path: Path, namespace: str) -> TrustedKey:
    from flink_controller.adapters.signatures import parse_public_key  # noqa: PLC0415

    pem = small_file(path, MAX_KEY_BYTES, "--key").decode("utf-8", "replace")
    try:
        algorithm = parse_public_key(pem)
    except RejectedError as error:
        raise FailureError(f"{printable(path)}: {error}") from error
    return TrustedKey(key_id=str(path), algorithm=algorithm, public_key=pem, namespaces=(namespace,))


def warn_of_refusal(
    verifier: SignatureVerifier, session: Session, suffix: str, content: bytes, contents: Contents, key: str
) -> None:
    """Say beforehand what admission would say afterwards; a key may still be registered before it looks."""
    registry, namespace = session.remote.registry, demand_namespace(key)
    upload = Upload(contents, key, namespace, session.remote.policy.controller_id)
    found = verify_signatures(
        verifier, registry.keys(), registry.policy(namespace), {suffix: content}, upload, session.clock.now()
    )
    if found.verdict is Verdict.ADMITTED:
        return
    if found.reason == "SignatureInvalid":
        tell(
            "warning: the public half of this key is not registered, so the upload will be refused; an operator runs flinkctl keys add"
        )
        return
    outcome = "wait" if found.verdict is Verdict.WAITING else "be refused"
    tell(f"warning: {printable(found.message)}, so the upload will {outcome}")
