"""Let a scraper in that cannot sign its requests: by a bearer token that an operator keeps in Secrets Manager."""

import hmac
from typing import Final

from flink_controller.domain.errors import RejectedError
from flink_controller.ports import Secrets

LEAST_TOKEN: Final = 24
"""Characters. Whoever makes one up by hand makes up fewer."""


def may_scrape(secrets: Secrets, secret: str, authorization: str | None) -> bool:
    """Tell whether a request's header carries the token.

    Args:
        secrets: where the token is kept, as the whole text of a secret.
        secret: its name or ARN; empty: nobody may.
        authorization: the header as it came.

    Raises:
        NotFoundError: there is no such secret.
        RejectedError: the token is too short to be one.
        ControllerError: the secret cannot be read; a retry helps if that is for want of an answer.
    """
    if not secret or authorization is None:
        return False
    if _matches(secrets.read(secret), authorization):
        return True
    # Perhaps it was replaced since it was read.
    return _matches(secrets.read(secret, is_refused=True), authorization)


def _matches(token: str, authorization: str) -> bool:
    token = token.strip()
    if len(token) < LEAST_TOKEN:
        raise RejectedError(f"the scrapers' token has {len(token)} characters; write a random one of {LEAST_TOKEN} or more")
    return hmac.compare_digest(authorization.encode(errors="replace"), f"Bearer {token}".encode())
