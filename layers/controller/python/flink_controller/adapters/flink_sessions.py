"""The way to a cluster: who is trusted, how the controller proves itself, and which addresses are never called.

Certificates and host names are verified always, against the cluster's own authority if it has one. What the environment
says of proxies, bundles and passwords is ignored; redirects are followed nowhere.
"""

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import socket as Socket  # noqa: N812  # a type here
from typing import Any, Final, Protocol

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.exceptions import SSLError as TLSError

from flink_controller.adapters.flink_answers import one_line
from flink_controller.domain.cluster import Auth, Cluster
from flink_controller.domain.cluster_check import url_fault
from flink_controller.domain.credentials import Credential, connection_fault, parse_credentials
from flink_controller.domain.errors import (
    REFUSED_CREDENTIALS,
    ControllerError,
    Delivery,
    FlinkUnreachableError,
    RejectedError,
    TransientError,
)
from flink_controller.ports import Secrets

REFUSALS: Final = frozenset({401, 403})
"""Of credentials. Flink itself says neither, and whoever stands before it says so instead of passing the request on."""
_NEVER: Final = tuple(
    ip_network(text)
    for text in ("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "fd00:ec2::/32", "ff00::/8", "::/128")
)
"""Nothing in these networks is a cluster: link-local addresses, where AWS keeps credentials, and what is nobody's own."""
_REFUSED_CERTIFICATE: Final = (
    "BAD_CERTIFICATE",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_REQUIRED",
    "UNSUPPORTED_CERTIFICATE",
    "ALERT_UNKNOWN_CA",
    "ACCESS_DENIED",
)
"""In the names of the alerts by which a server refuses a client's certificate."""


class Send(Protocol):
    """One request, sent by a session."""

    def __call__(self, session: requests.Session, /) -> requests.Response:
        """Send it."""


def address_fault(address: str, *, is_local: bool) -> str | None:
    """Say why an IP address is no cluster's, or None."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return None if is_local else f"{found} is the function itself"
    if any(found.version == network.version and found in network for network in _NEVER):
        return f"{found} is where AWS keeps credentials, or nobody's; it is no Flink cluster"
    return None


TICKET_S: Final = 300.0
"""How long a session with a ticket is used; the next one fetches another, long before the first has run out."""


class ClusterSession:
    """Requests to one cluster: connections are kept, and made anew with other credentials when these are replaced.

    Raises:
        RejectedError: the cluster is registered in a way that cannot be used; nothing was asked.
    """

    def __init__(self, cluster: Cluster, secrets: Secrets | None, *, is_local: bool) -> None:
        fault = url_fault(cluster.url, is_local=is_local) or connection_fault(cluster, is_local=is_local)
        if fault is None and cluster.auth is Auth.KERBEROS and not _has_kerberos():
            fault = (
                "auth kerberos needs the package requests-gssapi, which the optional layer brings to the functions"
                " (docs/network.md: Kerberos); install it here with pip install requests-gssapi"
            )
        if fault is None and cluster.auth is not Auth.NONE and secrets is None:
            fault = f"auth {cluster.auth}: secrets cannot be read here"
        if fault is not None:
            raise RejectedError(f"cluster {cluster.name}: {fault}")
        # Made once: reading the public authorities takes some 50 ms.
        self._trusted = _context(cluster)
        self._cluster = cluster
        self._secrets = secrets
        self._is_local = is_local
        self._open: tuple[Credential | None, requests.Session] | None = None
        self._made_at = 0.0

    def close(self) -> None:
        """Give the connections back."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    @contextmanager
    def sent(self, send: Send, *, is_repeatable: bool) -> Iterator[requests.Response]:
        """Send a request with credentials that are accepted, if there are any; give the answer, to be read inside.

        A refusal has the secret read again, and then the request sent again with what is new there: a request that was
        refused for its credentials was not carried out (RFC 9110, 15.5.2).

        Raises:
            FlinkUnreachableError: all credentials were refused, or there are none.
        """
        refused: list[Credential | None] = []
        said = "no credentials are registered for it" if self._cluster.auth is Auth.NONE else ""
        for credential in self._credentials(refused):
            try:
                response = send(self._session(credential))
            except requests.ConnectionError as error:
                if not _is_refused_certificate(error):
                    raise
                said = said or "it refuses the client certificate"
            else:
                if response.status_code not in REFUSALS:
                    with response:
                        yield response
                    return
                said = said or f"it answered {response.status_code}"
                response.close()
            refused.append(credential)
            if not is_repeatable:
                break
        raise FlinkUnreachableError(
            f"{self._cluster.url} refuses the controller: {said}", Delivery.NOT_SENT, reason=REFUSED_CREDENTIALS
        )

    def _credentials(self, refused: list[Credential | None]) -> Iterator[Credential | None]:
        """Give what is to be tried: the credential in use, then what the secret says now, the newer one first."""
        if self._cluster.auth is Auth.NONE:
            yield None
            return
        yield self._read(is_refused=False)[0]
        for credential in self._read(is_refused=True):
            if credential not in refused:
                yield credential

    def _read(self, *, is_refused: bool) -> tuple[Credential, ...]:
        cluster = self._cluster
        assert self._secrets is not None  # checked when the session was made
        assert cluster.secret is not None  # likewise
        try:
            return parse_credentials(cluster.auth, self._secrets.read(cluster.secret, is_refused=is_refused)).all
        except TransientError as error:
            raise FlinkUnreachableError(f"{cluster.url} was not asked: {error}", Delivery.NOT_SENT) from error
        except ControllerError as error:
            raise FlinkUnreachableError(
                f"{cluster.url} was not asked: secret {cluster.secret} of cluster {cluster.name}: {error}",
                Delivery.NOT_SENT,
                reason=REFUSED_CREDENTIALS,
            ) from error

    def _session(self, credential: Credential | None) -> requests.Session:
        is_old = self._cluster.auth is Auth.KERBEROS and time.monotonic() - self._made_at > TICKET_S
        if self._open is not None and self._open[0] == credential and not is_old:
            return self._open[1]
        self.close()
        try:
            session = self._made(credential)
        except (ssl.SSLError, ValueError, OSError) as error:
            raise FlinkUnreachableError(
                f"{self._cluster.url} was not asked: the credentials in secret {self._cluster.secret} cannot be used"
                f" ({type(error).__name__ if self._cluster.auth is Auth.MTLS else one_line(str(error))})",
                Delivery.NOT_SENT,
                reason=REFUSED_CREDENTIALS,
            ) from None
        self._open, self._made_at = (credential, session), time.monotonic()
        return session

    def _made(self, credential: Credential | None) -> requests.Session:
        session = requests.Session()
        # The environment must not redirect (proxies), unlock (.netrc) or widen trust (REQUESTS_CA_BUNDLE).
        session.trust_env = False
        # Compressed answers could be small on the wire and huge here.
        session.headers["Accept-Encoding"] = "identity"
        context = self._trusted
        if credential is not None:
            session.auth = _authentication(self._cluster, credential)
            if self._cluster.auth is Auth.MTLS:
                # A context keeps the certificate that it was given, so each has its own.
                context = _context(self._cluster)
                assert context is not None  # client certificates come with TLS, as was checked
                _load_certificate(context, credential)
        transport = _Transport(context, is_local=self._is_local)
        session.mount("https://", transport)
        session.mount("http://", transport)
        return session


def _context(cluster: Cluster) -> ssl.SSLContext | None:
    """Say whom to trust: the cluster's own authority and no other, or the public ones. None without TLS."""
    try:
        if cluster.ca is not None:
            return ssl.create_default_context(cadata=cluster.ca)
        return ssl.create_default_context(cafile=certifi.where()) if cluster.is_tls else None
    except (ssl.SSLError, ValueError) as error:
        raise RejectedError(
            f"cluster {cluster.name}: its ca is no PEM certificate ({one_line(f'{type(error).__name__}: {error}')})"
        ) from None


def _load_certificate(context: ssl.SSLContext, credential: Credential) -> None:
    # OpenSSL by way of Python reads files only; this one is nobody else's and is gone at once.
    with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
        file.write(credential["certificate"].rstrip() + "\n" + credential["private_key"])
        file.flush()
        # A key with a passphrase would ask for it at the terminal.
        context.load_cert_chain(file.name, password=lambda: b"")


def _authentication(cluster: Cluster, credential: Credential) -> AuthBase | None:
    match cluster.auth:
        case Auth.BEARER:
            return _Header("Authorization", f"Bearer {credential['token']}")
        case Auth.API_KEY:
            return _Header(credential["header"], credential["key"])
        case Auth.BASIC:
            return HTTPBasicAuth(credential["username"].encode(), credential["password"].encode())
        case Auth.KERBEROS:
            return _kerberos(cluster, credential)
        case Auth.MTLS | Auth.NONE:
            return None


class _Header(AuthBase):
    """Shows a credential in a header."""

    def __init__(self, name: str, value: str) -> None:
        self._name = name
        self._value = value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._name] = self._value
        return request


def _has_kerberos() -> bool:
    try:
        import requests_gssapi  # noqa: F401, PLC0415  # optional: it needs MIT's libraries, which have no wheels
    except ImportError:
        return False
    return True


def _kerberos(cluster: Cluster, credential: Credential) -> AuthBase:
    """Give SPNEGO by a keytab. Tickets are kept in memory and fetched anew when they have run out."""
    import gssapi  # noqa: PLC0415  # optional, see above
    from requests_gssapi import REQUIRED, HTTPSPNEGOAuth  # noqa: PLC0415

    if (text := credential.get("krb5_conf")) is not None:
        with tempfile.NamedTemporaryFile("w", prefix="krb5-", suffix=".conf", delete=False) as config:
            config.write(text)
        # MIT's library knows no other way to be told.
        os.environ["KRB5_CONFIG"] = config.name  # noqa: TID251
    with tempfile.NamedTemporaryFile() as keytab:
        keytab.write(base64.b64decode(credential["keytab"]))
        keytab.flush()
        store = {"client_keytab": f"FILE:{keytab.name}", "ccache": f"MEMORY:{cluster.name} {cluster.kerberos_principal}"}
        try:
            name = gssapi.Name(cluster.kerberos_principal, gssapi.NameType.kerberos_principal)
            acquired = gssapi.Credentials(name=name, usage="initiate", store=store)
            # The ticket is fetched here, while the keytab is there.
            _ = acquired.lifetime
        except gssapi.exceptions.GSSError as error:
            raise ValueError(one_line(str(error))) from None
    authentication: AuthBase = HTTPSPNEGOAuth(creds=acquired, mutual_authentication=REQUIRED, opportunistic_auth=True)
    return authentication


class _Transport(HTTPAdapter):
    """Trusts what its context says and no bundle, and connects to nobody who can be no cluster."""

    def __init__(self, context: ssl.SSLContext | None, *, is_local: bool) -> None:
        self._context = context
        self._pools = _pools(is_local=is_local)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave trust to the context: the usual bundle would be added to it here."""
        del verify, cert
        if url.startswith("https://"):
            conn.cert_reqs = "CERT_REQUIRED"


def _pools(*, is_local: bool) -> dict[str, Any]:
    """Give pools whose connections look whom they have reached.

    The address that counts is the one that the connection has: a name that was checked before could resolve otherwise now.
    Nothing was sent yet when it is found wrong.
    """

    def checked(connection: Any, made: Socket) -> Socket:
        fault = address_fault(made.getpeername()[0], is_local=is_local)
        if fault is not None:
            made.close()
            raise NewConnectionError(connection, f"{connection.host} is not called: {fault}")
        return made

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> Socket:
            return checked(self, super()._new_conn())

    class TLSConnection(HTTPSConnection):
        def _new_conn(self) -> Socket:
            return checked(self, super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = TLSConnection

    return {"http": PlainPool, "https": TLSPool}


def _is_refused_certificate(error: BaseException) -> bool:
    found: Any = error
    while isinstance(inner := getattr(found, "reason", None) or (found.args[0] if found.args else None), BaseException):
        found = inner
    return isinstance(found, (ssl.SSLError, TLSError)) and any(
        name in str(found).upper().replace(" ", "_") for name in _REFUSED_CERTIFICATE
    )
