"""A registered Flink cluster: what operators write about it."""

from enum import StrEnum

from pydantic import Field

from flink_controller.domain.artifact import Value

DEFAULT_HEARTBEAT_TIMEOUT_S = 50.0
"""Flink's own default of `heartbeat.timeout`."""


class Auth(StrEnum):
    """How the controller proves itself to a cluster's REST interface."""

    NONE = "none"
    MTLS = "mtls"
    BEARER = "bearer"
    BASIC = "basic"
    API_KEY = "api-key"
    KERBEROS = "kerberos"


class Cluster(Value):
    """A Flink session cluster that specs may name."""

    name: str
    url: str
    """Base address of the REST interface, without a trailing slash."""
    savepoint_root: str
    """URI under which savepoints are written, without a trailing slash."""
    checkpoint_root: str
    """URI under which checkpoints are retained, without a trailing slash."""
    auth: Auth = Auth.NONE
    secret: str | None = None
    """ARN of the secret that holds the credentials."""
    ca: str | None = None
    """PEM of a private certificate authority."""
    kerberos_principal: str | None = None
    """As whom the controller speaks to the cluster, such as `flink@REALM`; with `kerberos` only."""
    heartbeat_timeout_s: float = Field(default=DEFAULT_HEARTBEAT_TIMEOUT_S, gt=0)
    """How long a TaskManager outlives its JobManager; part of the quarantine."""
    high_availability: bool = False
    """Whether a JobManager restart keeps the jobs."""
    adaptive_scheduler: bool = False
    """Whether a running job's parallelism can be changed in place."""
    runs_applications: bool = False
    """Whether submits go by `run-application`, which answers at once and runs `main()` on its own time."""
    python: str | None = None
    """The Python of JobManager and TaskManagers that has PyFlink; None: the cluster runs no PyFlink."""
    flink_version: str = ""
    """As read at registration; for messages only."""

    @property
    def is_tls(self) -> bool:
        """Whether the way to its REST interface is encrypted."""
        return self.url.startswith("https://")
