"""Replace the credential of a cluster without a request that fails: the four steps of a Secrets Manager rotation.

What makes it seamless is a window in which two credentials are good. A proposed version holds the new credential with the
one in force behind it; whatever stands before Flink accepts what is proposed, what is in force and what was before
(docs/security.md). The new one is put in force only once each cluster has accepted it, and whoever still has the old one
in a cache is let in until the next rotation.

Every step may be delivered twice, late, or in the middle of another rotation: a version that is in force already is left
alone, and one that another has overtaken is never put in force.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from flink_controller.domain.credentials import kind_of, only_current, parse_credentials, rotated
from flink_controller.domain.errors import RejectedError
from flink_controller.ports import FlinkConnections, Registry, RotatedSecrets, Secrets

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"


class Step(StrEnum):
    """The steps, as Secrets Manager calls them, in their order."""

    CREATE = "createSecret"
    SET = "setSecret"
    TEST = "testSecret"
    FINISH = "finishSecret"


@dataclass(frozen=True)
class Rotation:
    """What a rotation works with."""

    secrets: RotatedSecrets
    registry: Registry
    connections: Callable[[Secrets], FlinkConnections]
    """Gives the way to clusters by given credentials."""
    fresh: Callable[[], str]
    """Makes up a token, key or password that nobody can guess."""


def rotate(rotation: Rotation, arn: str, token: str, step: Step) -> str:
    """Take one step of a rotation, and say in a line what was done.

    Raises:
        RejectedError: the version was overtaken, or the secret is of a kind that cannot be rotated.
        FlinkUnreachableError: a cluster does not accept the new credential yet; Secrets Manager tries again.
        ControllerError: Secrets Manager does not answer.
    """
    stages = rotation.secrets.stages(arn)
    if CURRENT in stages.get(token, frozenset()):
        return "in force already"
    if PENDING not in stages.get(token, frozenset()):
        raise RejectedError(f"version {token} of secret {arn} is not proposed: another rotation has taken its place")
    match step:
        case Step.CREATE:
            return _create(rotation, arn, token)
        case Step.SET:
            _proposed(rotation, arn, token)
            return "nothing is to be told to anybody: gateways read what is proposed"
        case Step.TEST:
            return _test(rotation, arn, token)
        case Step.FINISH:
            return _finish(rotation, arn, token)


def _create(rotation: Rotation, arn: str, token: str) -> str:
    if rotation.secrets.pending(arn, token) is not None:
        return "proposed already"
    current = rotation.secrets.current(arn)
    rotation.secrets.propose(arn, token, rotated(kind_of(current), current, rotation.fresh()))
    return "proposed"


def _test(rotation: Rotation, arn: str, token: str) -> str:
    proposed = _proposed(rotation, arn, token)
    # By itself: the one before, which a client falls back to, would be accepted in any case.
    connections = rotation.connections(_Only(arn, only_current(kind_of(proposed), proposed)))
    asked = [cluster for cluster in rotation.registry.clusters() if cluster.secret == arn]
    for cluster in asked:
        connections.connect(cluster).config()
    return f"accepted by {', '.join(cluster.name for cluster in asked) or 'nobody: no cluster is registered with it'}"


def _finish(rotation: Rotation, arn: str, token: str) -> str:
    in_force = next((other for other, stages in rotation.secrets.stages(arn).items() if CURRENT in stages), None)
    # After the version was named, so that a change in between makes the last call fail instead of passing unseen. Asked
    # again, because a rotation that came in between has gateways forget what this one proposed.
    _test(rotation, arn, token)
    rotation.secrets.put_in_force(arn, token, instead_of=in_force)
    return "in force"


def _proposed(rotation: Rotation, arn: str, token: str) -> str:
    """Read the proposed version, which must follow on the one in force: who knows that one must be let in after it."""
    proposed = rotation.secrets.pending(arn, token)
    if proposed is None:
        raise RejectedError(f"version {token} of secret {arn} has no value; the step {Step.CREATE} comes first")
    current = rotation.secrets.current(arn)
    kind = kind_of(current)
    if parse_credentials(kind, proposed).previous != parse_credentials(kind, current).current:
        raise RejectedError(f"version {token} of secret {arn} follows on one that is not in force any more: rotate again")
    return proposed


@dataclass(frozen=True)
class _Only:
    """`Secrets` that knows one."""

    arn: str
    text: str

    def read(self, arn: str, *, is_refused: bool = False) -> str:
        """Give it."""
        del is_refused
        if arn != self.arn:
            raise RejectedError(f"secret {arn} is not the one that is rotated")
        return self.text
