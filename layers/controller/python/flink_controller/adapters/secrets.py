"""Secrets Manager: read with a bounded cache, and rotated by versions."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import code_of, translated
from flink_controller.domain.errors import NotFoundError, RejectedError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

READ_ACTIONS: Final[frozenset[str]] = frozenset({"secretsmanager:GetSecretValue"})
"""On the secrets of clusters."""
ROTATE_ACTIONS: Final[frozenset[str]] = frozenset(
    {
        "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
    }
)
"""On the secrets of clusters."""
CURRENT: Final = "AWSCURRENT"
PENDING: Final = "AWSPENDING"
MAX_AGE_S: Final = 300.0
"""A secret that was replaced by hand is in use after this at the latest, or as soon as the old one is refused."""
REREAD_S: Final = 5.0
"""A secret that is refused is read again at most this often, so that a wrong one costs calls to nobody."""
MAX_SECRETS: Final = 64
"""One per cluster; more only change places."""


class SecretsManager:
    """`Secrets` and `RotatedSecrets` on AWS Secrets Manager."""

    def __init__(self, client: "ClientSource[SecretsManagerClient]") -> None:
        self._source = client
        self._cache: OrderedDict[str, tuple[float, str]] = OrderedDict()
        # The fleet's tick asks several clusters at once, and several of them may share a secret.
        self._reading = Lock()

    @cached_property
    def _client(self) -> "SecretsManagerClient":
        return opened(self._source)

    def read(self, arn: str, *, is_refused: bool = False) -> str:
        """Read the version in force: from the cache, or by one call."""
        with self._reading:
            known = self._cache.get(arn)
            now = time.monotonic()
            if known is not None and now - known[0] < (REREAD_S if is_refused else MAX_AGE_S):
                return known[1]
            found = self._value(arn, VersionStage=CURRENT)
            self._cache[arn] = (now, found)
            self._cache.move_to_end(arn)
            while len(self._cache) > MAX_SECRETS:
                self._cache.popitem(last=False)
            return found

    def stages(self, arn: str) -> Mapping[str, frozenset[str]]:
        """Give the stages of every version by its token. One call."""
        with translated(f"describe secret {arn}"):
            found = self._client.describe_secret(SecretId=arn)
        return {token: frozenset(stages) for token, stages in found.get("VersionIdsToStages", {}).items()}

    def current(self, arn: str) -> str:
        """Read the version in force, uncached. One call."""
        return self._value(arn, VersionStage=CURRENT)

    def pending(self, arn: str, token: str) -> str | None:
        """Read a version that was proposed, or None. One call."""
        try:
            return self._value(arn, VersionStage=PENDING, VersionId=token)
        except NotFoundError:
            return None

    def propose(self, arn: str, token: str, text: str) -> None:
        """Write a version that is not in force yet. One call; a token that has a version keeps it."""
        with translated(f"propose a version of secret {arn}"):
            try:
                self._client.put_secret_value(
                    SecretId=arn, ClientRequestToken=token, SecretString=text, VersionStages=[PENDING]
                )
            except ClientError as error:
                # Somebody else was first with this token: what they wrote is what counts.
                if code_of(error) != "ResourceExistsException":
                    raise

    def put_in_force(self, arn: str, token: str, *, instead_of: str | None) -> None:
        """Put a proposed version in force. One call; fails when another has been put in force meanwhile."""
        arguments = {} if instead_of is None else {"RemoveFromVersionId": instead_of}
        with translated(f"put a version of secret {arn} in force"):
            self._client.update_secret_version_stage(SecretId=arn, VersionStage=CURRENT, MoveToVersionId=token, **arguments)
        self._cache.pop(arn, None)

    def _value(self, arn: str, **version: str) -> str:
        with translated(f"read secret {arn}"):
            try:
                found = self._client.get_secret_value(SecretId=arn, **version)
            except ClientError as error:
                if code_of(error) == "ResourceNotFoundException":
                    raise NotFoundError(f"there is no secret {arn}, or no such version of it") from error
                raise
        text = found.get("SecretString")
        if text is None:
            raise RejectedError(f"secret {arn} is binary; it must be a JSON text")
        return text
