"""The table that teams write."""

from typing import Final

READ_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem"})
"""What reading one spec needs, on the spec table."""
SCAN_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:Scan"})
"""What paging through all specs needs, on the spec table."""
EDIT_ACTIONS: Final[frozenset[str]] = frozenset({"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"})
"""What the CLI needs beside; no function has it."""
