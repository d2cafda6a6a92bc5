"""The controller's own record of every job."""

from typing import Final


READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:Query"})
"""On the state table, and `Query` on its indexes `by_kind` and `by_artifact`."""
WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"})
"""On the state table."""
