"""The queue of delayed wake-ups."""

from typing import Final


SEND_ACTIONS: Final[frozenset[str]] = frozenset({"sqs:SendMessage"})
"""On the follow-up queue."""
