"""What a cluster's secret says: the credentials that the controller shows, and the shape in which they are kept.

The secret is a JSON document with the credential in force under `current` and, while one is being replaced, the one
before it under `previous`. Whatever stands before Flink accepts both, so that nobody who still knows the old one is
turned away during a rotation (docs/security.md says what a gateway owes).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.errors import RejectedError

FIELDS: Final[Mapping[Auth, tuple[str, ...]]] = {
    Auth.BEARER: ("token",),
    Auth.API_KEY: ("header", "key"),
    Auth.BASIC: ("username", "password"),
    Auth.MTLS: ("certificate", "private_key"),
    Auth.KERBEROS: ("keytab",),
}
"""What a credential of each kind consists of; every value is a text."""
ROTATED: Final[Mapping[Auth, str]] = {Auth.BEARER: "token", Auth.API_KEY: "key", Auth.BASIC: "password"}
"""The field that a rotation replaces. Certificates and keytabs are issued by somebody else, who replaces them too."""
MAX_SECRET_BYTES: Final = 65_536
"""Of a secret in Secrets Manager."""
_OPTIONAL: Final[Mapping[Auth, tuple[str, ...]]] = {Auth.KERBEROS: ("krb5_conf",)}
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
_NOT_FOR_KEYS: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "te", "upgrade"}
)


@dataclass(frozen=True)
class Credential:
    """One credential of a cluster. Its values are secret: they are in no representation and no message."""

    values: Mapping[str, str] = field(repr=False)

    def __getitem__(self, name: str) -> str:
        """Give one value."""
        return self.values[name]

    def get(self, name: str) -> str | None:
        """Give an optional value."""
        return self.values.get(name)


@dataclass(frozen=True)
class Credentials:
    """The credential in force, and the one before it while that is still accepted."""

    current: Credential
    previous: Credential | None = None

    @property
    def all(self) -> tuple[Credential, ...]:
        """Both, in the order in which they are tried."""
        if self.previous is None or self.previous == self.current:
            return (self.current,)
        return (self.current, self.previous)


def connection_fault(cluster: Cluster, *, is_local: bool) -> str | None:
    """Say why the way to a cluster cannot be as it is registered, or None."""
    if cluster.auth is Auth.NONE:
        return None
    if cluster.secret is None:
        return f"auth {cluster.auth} needs a secret with the credentials: register it again with --secret ARN"
    if not cluster.is_tls and (cluster.auth is Auth.MTLS or not is_local):
        return (
            f"auth {cluster.auth} over http:// would show the credentials to everybody on the way: use an https:// address"
        )
    if cluster.auth is Auth.KERBEROS and cluster.kerberos_principal is None:
        return "auth kerberos needs a principal: register it again with --kerberos-principal NAME@REALM"
    return None


def parse_credentials(auth: Auth, text: str) -> Credentials:
    """Read a secret.

    Raises:
        RejectedError: it is not what the kind of authentication needs; the message quotes none of it.
    """
    document = _document(text)
    if "current" in document:
        strangers = sorted(set(document) - {"current", "previous"})
        if strangers:
            raise RejectedError("beside `current` and `previous` the secret holds other fields: remove them")
        previous = document.get("previous")
        return Credentials(
            _credential(auth, document["current"], "current"),
            None if previous is None else _credential(auth, previous, "previous"),
        )
    return Credentials(_credential(auth, document, "the secret"))


def rotated(auth: Auth, text: str, fresh: str) -> str:
    """Write the secret that a rotation proposes: a fresh credential, with the one in force behind it.

    Raises:
        RejectedError: the secret is malformed, or of a kind that nobody can make up.
    """
    replaced = ROTATED.get(auth)
    if replaced is None:
        raise RejectedError(f"auth {auth} is not rotated by the controller: whoever issues the credential replaces it")
    current = parse_credentials(auth, text).current
    return json.dumps({"current": {**current.values, replaced: fresh}, "previous": dict(current.values)})


def only_current(auth: Auth, text: str) -> str:
    """Write a secret without the credential before: for a proof that the new one is accepted by itself."""
    return json.dumps({"current": dict(parse_credentials(auth, text).current.values)})


def kind_of(text: str) -> Auth:
    """Tell of which kind a secret is, by its fields.

    Raises:
        RejectedError: of none.
    """
    for auth in FIELDS:
        try:
            parse_credentials(auth, text)
        except RejectedError:
            continue
        return auth
    raise RejectedError(f"the secret is of no known kind: it needs {', or '.join(' and '.join(f) for f in FIELDS.values())}")


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text) if len(text) <= MAX_SECRET_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise RejectedError("the secret is no JSON object")
    return document


def _credential(auth: Auth, found: Any, where: str) -> Credential:
    wanted, optional = FIELDS[auth], _OPTIONAL.get(auth, ())
    if not isinstance(found, dict) or not set(wanted) <= set(found) <= {*wanted, *optional}:
        raise RejectedError(f"{where} must hold {' and '.join(wanted)} for auth {auth}, and nothing else")
    for name, value in found.items():
        fault = _value_fault(auth, name, value)
        if fault is not None:
            raise RejectedError(f"{where}: {name} {fault}")
    return Credential(dict(found))


def _value_fault(auth: Auth, name: str, value: Any) -> str | None:
    """Say what is wrong with a value, without the value."""
    if not isinstance(value, str) or not value:
        return "must be a text that is not empty"
    match auth, name:
        case Auth.API_KEY, "header":
            if not _HEADER.fullmatch(value) or value.lower() in _NOT_FOR_KEYS:
                return "is no name of a header that may carry a key"
        case ((Auth.BEARER | Auth.API_KEY), _):
            if not _VISIBLE.fullmatch(value):
                return "must consist of visible ASCII characters"
        case Auth.BASIC, _:
            if not value.isprintable() or (name == "username" and ":" in value):
                return "must consist of printable characters, a username of none that is ':'"
        case Auth.MTLS, _:
            if "-----BEGIN " not in value:
                return "must be PEM"
        case Auth.KERBEROS, "keytab":
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                return "must be a keytab in base64"
    return None
