"""Retries inside one call to a cluster, by the kind of the call.

They bridge a dropped connection or a leader election, within a few seconds: whatever lasts longer is for the next
look, because a function must not wait. A submit and an upload are never repeated in here: the protocol decides that,
with a record of what was tried.
"""

from typing import Final

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_before_delay, wait_random_exponential

from flink_controller.domain.errors import REFUSED_CREDENTIALS, FlinkUnreachableError


def _may_pass(error: BaseException) -> bool:
    """Tell whether another try may go better at once. Refused credentials were tried in all their versions."""
    return isinstance(error, FlinkUnreachableError) and error.reason != REFUSED_CREDENTIALS


READS: Final = Retrying(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(3) | stop_before_delay(3.0),
    wait=wait_random_exponential(multiplier=0.1, max=1.0),
    reraise=True,
)
"""Up to three tries, none begun later than 3 s after the first; waits are spread over their whole length (full jitter),
so that many functions do not come back together."""

IDEMPOTENT_WRITES: Final = Retrying(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(2) | stop_before_delay(3.0),
    wait=wait_random_exponential(multiplier=0.1, max=1.0),
    reraise=True,
)
"""One more try for what is harmless twice: cancel, delete, and operations that carry their own trigger id."""
