"""What admission decided about object versions."""

from typing import Final


READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""On the state table."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem"})
"""On the state table."""
