"""Secrets in memory, with the stages that Secrets Manager gives to versions."""

from collections.abc import Mapping

from flink_controller.domain.errors import ControllerError, NotFoundError

CURRENT = "AWSCURRENT"
PREVIOUS = "AWSPREVIOUS"
PENDING = "AWSPENDING"


class MemorySecrets:
    """`Secrets` and `RotatedSecrets`. What was read once is read so again until it is refused, as by an endless cache."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._versions = {arn: {"first": text} for arn, text in texts.items()}
        self._stages: dict[str, dict[str, str]] = {arn: {CURRENT: "first"} for arn in texts}
        self._cache: dict[str, str] = {}

    def replace(self, arn: str, text: str) -> None:
        """Put another text in force, as somebody does by hand."""
        token = f"by hand {len(self._versions[arn])}"
        self._versions[arn][token] = text
        self.put_in_force(arn, token, instead_of=self._stages[arn][CURRENT])

    def begin(self, arn: str, token: str) -> None:
        """Begin a rotation, as Secrets Manager does: the token has its stage before it has a value."""
        self._staged(arn)[PENDING] = token

    def read(self, arn: str, *, is_refused: bool = False) -> str:
        """Read the version in force, or the one that was."""
        if is_refused or arn not in self._cache:
            self._cache[arn] = self.current(arn)
        return self._cache[arn]

    def stages(self, arn: str) -> Mapping[str, frozenset[str]]:
        """Give the stages of every version."""
        staged = self._staged(arn)
        return {token: frozenset(stage for stage, of in staged.items() if of == token) for token in staged.values()}

    def current(self, arn: str) -> str:
        """Read the version in force."""
        token = self._staged(arn)[CURRENT]
        return self._versions[arn][token]

    def pending(self, arn: str, token: str) -> str | None:
        """Read a version that was proposed, or None."""
        return self._versions[arn].get(token) if self._staged(arn).get(PENDING) == token else None

    def propose(self, arn: str, token: str, text: str) -> None:
        """Write a version that is not in force yet; a token that has a version keeps it."""
        self._staged(arn)[PENDING] = token
        self._versions[arn].setdefault(token, text)

    def put_in_force(self, arn: str, token: str, *, instead_of: str | None) -> None:
        """Put a version in force; fails when another has been put in force meanwhile."""
        staged = self._staged(arn)
        if staged.get(CURRENT) not in {instead_of, token}:
            raise ControllerError(f"{instead_of} is not in force in {arn}")
        if staged[CURRENT] != token:
            staged[PREVIOUS], staged[CURRENT] = staged[CURRENT], token

    def _staged(self, arn: str) -> dict[str, str]:
        if arn not in self._stages:
            raise NotFoundError(f"there is no secret {arn}")
        return self._stages[arn]
