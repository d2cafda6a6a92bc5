"""What operators wrote: clusters, keys, pauses."""

from typing import Final


READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""`GetItem` on the state table, `Query` on its index `by_kind`."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem", "dynamodb:DeleteItem"})
"""What operators tools need beside, on the state table; no function has it."""
