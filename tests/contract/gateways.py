"""What stands before Flink in production, for real: nginx, Apache with SPNEGO, a KDC. On loopback, ended by process id.

They are unpacked into the cache and not installed, so no right is needed; where they cannot be had, the tests say why
they are skipped.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from flink_controller.adapters.system_clock import SystemClock

REALM = "EXAMPLE.TEST"
CLIENT = f"flink-controller@{REALM}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Authority:
    """A private certificate authority, and what it issues. RSA, for which alone Flink has ciphers by default."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65_537, 2048)
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
        self.pem, _ = self._issued(self._name, self._key, is_authority=True)

    def issue(self, name: str, *hosts: str) -> tuple[str, str]:
        """Give certificate and private key."""
        key = rsa.generate_private_key(65_537, 2048)
        return self._issued(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]), key, hosts=hosts)

    def _issued(
        self, subject: x509.Name, key: rsa.RSAPrivateKey, *, hosts: Sequence[str] = (), is_authority: bool = False
    ) -> tuple[str, str]:
        now = SystemClock().now()
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if hosts:
            names = [x509.IPAddress(ip_address(h)) if h[0].isdigit() else x509.DNSName(h) for h in hosts]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@contextmanager
def running(command: Sequence[str], port: int, log: Path, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until it listens, and end it."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=dict(environ))
    try:
        for _ in range(200):
            if process.poll() is not None:
                raise AssertionError(f"{command[0]} ended: {log.read_text()[-2000:]}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


class Nginx:
    """nginx with TLS in front of an upstream. What it accepts can be changed while it runs."""

    def __init__(self, root: Path, folder: Path, authority: Authority, upstream: str) -> None:
        self._root, self._folder, self._upstream = root, folder, upstream
        self.port = free_port()
        certificate, key = authority.issue("nginx", "127.0.0.1")
        (folder / "server.pem").write_text(certificate)
        (folder / "server.key").write_text(key)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @contextmanager
    def serving(self, headers: Mapping[str, Sequence[str]], basic: Mapping[str, str] | None = None) -> Iterator["Nginx"]:
        """Serve those who show one of the values in a header, or a name and a password."""
        self._write(headers, basic)
        command = [str(self._root / "usr/sbin/nginx"), "-c", str(self._folder / "nginx.conf"), "-p", str(self._folder)]
        with running(command, self.port, self._folder / "nginx.out", searching(self._root)) as self._process:
            yield self

    def accept(self, headers: Mapping[str, Sequence[str]]) -> None:
        """Accept something else from now on: new workers take over, old ones end with their requests."""
        assert self._process is not None
        self._write(headers, None)
        self._process.send_signal(signal.SIGHUP)

    def _write(self, headers: Mapping[str, Sequence[str]], basic: Mapping[str, str] | None) -> None:
        if basic is None:
            ((name, values),) = headers.items()
            accepted = "\n".join(f'    "{value}" 1;' for value in values)
            access = f"map $http_{name.lower().replace('-', '_')} $accepted {{\n    default 0;\n{accepted}\n  }}"
            gate = "if ($accepted = 0) { return 401; }"
        else:
            (self._folder / "passwords").write_text("".join(f"{n}:{{PLAIN}}{p}\n" for n, p in basic.items()))
            access, gate = "", f'auth_basic "flink"; auth_basic_user_file {self._folder / "passwords"};'
        temporary = "\n".join(
            f"  {kind}_temp_path {self._folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.geteuid() == 0 else ""
        (self._folder / "nginx.conf").write_text(
            f"""daemon off; {user} worker_processes 1; pid {self._folder / "nginx.pid"};
error_log {self._folder / "error.log"};
events {{ worker_connections 64; }}
http {{
  access_log off;
{temporary}
  {access}
  server {{
    listen 127.0.0.1:{self.port} ssl;
    ssl_certificate {self._folder / "server.pem"};
    ssl_certificate_key {self._folder / "server.key"};
    client_max_body_size 200m;
    location / {{ {gate} proxy_pass {self._upstream}; }}
  }}
}}
"""
        )


class Kdc:
    """A Kerberos realm of one test: its KDC, the controller's keytab, and a gateway that asks for SPNEGO."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root, self._folder = root, folder
        self.port = free_port()
        self.config = folder / "krb5.conf"
        self.environ = searching(root) | {
            "KRB5_CONFIG": str(self.config),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
        }
        self.config.write_text(
            f"""[libdefaults]
  default_realm = {REALM}
  dns_lookup_kdc = false
  dns_lookup_realm = false
  rdns = false
  dns_canonicalize_hostname = false
  udp_preference_limit = 1
[realms]
  {REALM} = {{
    kdc = 127.0.0.1:{self.port}
  }}
[dbmodules]
  db_module_dir = {self._library / "krb5/plugins/kdb"}
"""
        )
        (folder / "kdc.conf").write_text(
            f"""[kdcdefaults]
  kdc_listen = 127.0.0.1:{self.port}
  kdc_tcp_listen = 127.0.0.1:{self.port}
[realms]
  {REALM} = {{
    database_name = {folder / "principal"}
    key_stash_file = {folder / "stash"}
    acl_file = {folder / "acl"}
  }}
[logging]
  kdc = FILE:{folder / "kdc.log"}
"""
        )

    @property
    def _library(self) -> Path:
        (library,) = (self._root / "usr/lib").glob("*-linux-gnu")
        return library

    @contextmanager
    def serving(self) -> Iterator["Kdc"]:
        sbin = self._root / "usr/sbin"
        self._run(str(sbin / "kdb5_util"), "create", "-s", "-r", REALM, "-P", "master")
        for principal, keytab in ((CLIENT, "client"), (f"HTTP/localhost@{REALM}", "http")):
            self._admin(f"addprinc -randkey {principal}")
            self._admin(f"ktadd -k {self._folder / keytab}.keytab {principal}")
        command = [str(sbin / "krb5kdc"), "-n", "-r", REALM]
        with running(command, self.port, self._folder / "kdc.out", self.environ):
            yield self

    @property
    def keytab(self) -> bytes:
        return (self._folder / "client.keytab").read_bytes()

    @contextmanager
    def gateway(self, authority: Authority, upstream: str) -> Iterator[str]:
        """Run Apache, which lets the controller's principal through; give its address."""
        port, modules = free_port(), self._root / "usr/lib/apache2/modules"
        certificate, key = authority.issue("apache", "localhost")
        (self._folder / "apache.pem").write_text(certificate + key)
        loaded = "\n".join(
            f"LoadModule {name}_module {modules / f'mod_{name}.so'}"
            for name in ("mpm_event", "authn_core", "authz_core", "authz_user", "auth_gssapi", "proxy", "proxy_http", "ssl")
        )
        user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
        if os.geteuid() == 0:
            # Apache's workers give root's rights up; the realm's folder has nothing but this test in it.
            for path in (*self._folder.parents, self._folder, self._folder / "http.keytab", self.config):
                if path.owner() == "root" and Path(tempfile.gettempdir()) in path.parents:  # pytest's folders
                    path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
        (self._folder / "apache.conf").write_text(
            f"""ServerRoot {self._folder}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {self._folder / "apache.pid"}
ErrorLog {self._folder / "apache.log"}
DefaultRuntimeDir {self._folder}
{loaded}
{user}
SSLEngine on
SSLCertificateFile {self._folder / "apache.pem"}
<Location />
  AuthType GSSAPI
  AuthName flink
  GssapiCredStore keytab:{self._folder / "http.keytab"}
  Require user {CLIENT}
  ProxyPass {upstream}/
</Location>
"""
        )
        command = [str(self._root / "usr/sbin/apache2"), "-DFOREGROUND", "-f", str(self._folder / "apache.conf")]
        with running(command, port, self._folder / "apache.out", self.environ):
            yield f"https://localhost:{port}"

    def _admin(self, query: str) -> None:
        self._run(str(self._root / "usr/sbin/kadmin.local"), "-r", REALM, "-q", query)

    def _run(self, *command: str) -> None:
        done = subprocess.run(command, env=self.environ, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def searching(root: Path) -> dict[str, str]:
    """Give the environment in which unpacked programs find their libraries."""
    (library,) = (root / "usr/lib").glob("*-linux-gnu")
    return {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": str(library)}
