"""What operators decide beside keys: policies of namespaces with their quotas, and digests that must never run."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from flink_controller.domain.artifact import Artifact, KeyStatus, Sha256, TrustedKey, Value
from flink_controller.domain.errors import QuotaExceededError
from flink_controller.domain.names import NAME, namespace_of_key

MAX_THRESHOLD = 2
"""A statement fits into two of the three files beside an artifact, and one file holds one signature."""


ANY_CLUSTER = "*"


class StatementRule(StrEnum):
    """Whether a bare digest is enough."""

    OPTIONAL = "optional"
    REQUIRED = "required"
    """Every signature must cover a statement: audience, name, release, validity."""


class Reaction(StrEnum):
    """What happens to a running job whose artifact is not trusted any more."""

    FLAG = "flag"
    """Told and alarmed; it runs on."""
    SUSPEND = "suspend"
    """Stopped with a savepoint as well, until another artifact is admitted."""


def _owned(prefix: str) -> str:
    if namespace_of_key(prefix) is None:
        raise ValueError("is no prefix of artifacts: write artifacts/… or NAMESPACE/…")
    return prefix


class Threshold(Value):
    """How many different keys must sign what lies under a prefix."""

    prefix: Annotated[str, AfterValidator(_owned)]
    keys: Annotated[int, Field(ge=1, le=MAX_THRESHOLD)]


def _absolute(uri: str) -> str:
    scheme, found, rest = uri.partition("://")
    if not found or scheme not in {"s3", "file"} or not rest or ".." in rest or "%" in rest or not uri.isprintable():
        raise ValueError("is no root: write s3://bucket/path/")
    return uri if uri.endswith("/") else f"{uri}/"


def _cluster(name: str) -> str:
    if name != ANY_CLUSTER and not NAME.fullmatch(name):
        raise ValueError("is no name of a cluster: write a registered one's, or * for all")
    return name


class Quotas(Value):
    """How much a namespace may take."""

    active_runs: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Runs of batch jobs at a time. A hundred fill a session cluster of usual size, and stop a schedule gone wild."""
    jobs: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Streaming jobs at a time; None: as many as there are specs."""
    slots: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """Slots that they may take together, by their parallelism; None: what the clusters have."""

    @property
    def counts_streams(self) -> bool:
        """Whether streaming jobs are counted at all: a count is written by every start, so nobody pays who asks for none."""
        return self.jobs is not None or self.slots is not None


def asked_to_fit(quotas: Quotas | None, changes: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Give what is to be taken and has a limit: its name in `Quotas`, how many more, and the limit."""
    for name, more in changes.items():
        limit = None if quotas is None else getattr(quotas, name)
        if more > 0 and limit is not None:
            yield name, more, limit


def no_room(quotas: Quotas | None, changes: Mapping[str, int], taken: Mapping[str, int]) -> QuotaExceededError:
    """Say what a namespace has no room for.

    Args:
        quotas: the limits.
        changes: what was to be taken.
        taken: what is, as far as that is known.
    """
    told = [
        f"{more} more of {name.replace('_', ' ')}, with {taken.get(name, 0)} of {limit} in use"
        for name, more, limit in asked_to_fit(quotas, changes)
        if more + taken.get(name, 0) > limit
    ]
    options = " ".join(f"--max-{name.replace('_', '-')} N" for name, _, _ in asked_to_fit(quotas, changes))
    return QuotaExceededError(
        f"the namespace has no room for {' and '.join(told)}; flinkctl cluster usage shows who has it,"
        f" flinkctl policy set {options} raises it"
    )


class NamespacePolicy(Value):
    """What is asked of a namespace beyond the defaults, which are the field's own."""

    namespace: str
    statement: StatementRule = StatementRule.OPTIONAL
    thresholds: tuple[Threshold, ...] = ()
    """The longest prefix counts."""
    on_distrust: Reaction = Reaction.FLAG
    state_roots: tuple[Annotated[str, AfterValidator(_absolute)], ...] = ()
    """Where first savepoints may lie beside the namespace's own directories."""
    quotas: Quotas = Quotas()
    allowed_clusters: Annotated[tuple[Annotated[str, AfterValidator(_cluster)], ...], Field(min_length=1)] = (ANY_CLUSTER,)
    """Where its jobs may be started; `*` stands for every registered cluster."""

    def allows(self, cluster: str) -> bool:
        """Tell whether the namespace's jobs may be started on a cluster."""
        return not {ANY_CLUSTER, cluster}.isdisjoint(self.allowed_clusters)

    def fault_of(self, cluster: str) -> str | None:
        """Say why the namespace's jobs may not be started on a cluster; None: they may."""
        if self.allows(cluster):
            return None
        return (
            f"namespace {self.namespace} may not use cluster {cluster}, only {', '.join(self.allowed_clusters)}; an operator"
            " decides that (flinkctl policy set --cluster)"
        )

    def keys_for(self, key: str) -> int:
        """Give how many different keys must sign an object."""
        found = [rule for rule in self.thresholds if key.startswith(rule.prefix)]
        return max(found, key=lambda rule: len(rule.prefix)).keys if found else 1


class Denial(Value):
    """A digest that must not run, whoever signed it."""

    sha256: Sha256
    reason: str = ""
    denied_at: datetime | None = None


class RegistryEvent(Value):
    """One change of an operators' item."""

    time: datetime
    action: str
    """Added, Changed, Retired, Revoked, Denied, Lifted, Paused, Unpaused."""
    subject: str
    """`KEY#id`, `DENY#sha256`, `POLICY#namespace`, `CLUSTER#name`, `PAUSE#scope`."""
    message: str
    by: str = ""
    """Whom AWS took the writer for; empty where that could not be found out."""


@dataclass(frozen=True)
class Distrust:
    """Why an artifact must not run now."""

    reason: str
    message: str


@dataclass(frozen=True)
class RunningDistrust:
    """Why the bytes that a job runs would not be started again, and what its namespace's policy says to that."""

    sha256: str
    reason: str
    message: str
    reaction: Reaction


def trust_mark(keys: Sequence[TrustedKey], policy: NamespacePolicy, now: datetime) -> str:
    """Digest what a judgement on signatures rests on beside the upload: another mark may mean another verdict."""
    # Where a job may run, and how much may, says nothing about who signed its artifact.
    asked = policy.model_dump_json(exclude={"allowed_clusters": True, "quotas": {"jobs", "slots"}})
    said = [(key.model_dump_json(), key.distrusted(now) is None) for key in sorted(keys, key=lambda key: key.key_id)]
    return hashlib.sha256(repr((said, asked)).encode()).hexdigest()[:16]


DISTRUST_REASONS = frozenset({"KeyUnknown", "KeyRevoked", "DigestDenied"})


@dataclass(frozen=True)
class Trust:
    """What is registered of an artifact's signers and its digest."""

    keys: Mapping[str, TrustedKey | None]
    """By id; None: not registered, or malformed."""
    denial: Denial | None = None


def distrust(artifact: Artifact, trust: Trust) -> Distrust | None:
    """Say why an artifact that was admitted must not be started any more, or None when it may.

    A retiring or expired key keeps what it signed in its time; a revoked one does not.
    """
    if trust.denial is not None:
        because = f": {trust.denial.reason}" if trust.denial.reason else ""
        return Distrust("DigestDenied", f"sha256:{artifact.sha256} was denied by an operator{because}")
    for key_id in artifact.signers:
        key = trust.keys.get(key_id)
        if key is None:
            return Distrust("KeyUnknown", f"key {key_id}, which signed the artifact, is not registered any more")
        if key.status is KeyStatus.REVOKED:
            return Distrust("KeyRevoked", f"key {key_id}, which signed the artifact, was revoked")
    return None
