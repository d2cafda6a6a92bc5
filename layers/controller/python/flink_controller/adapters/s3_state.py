"""Checkpoints and savepoints on S3."""

from typing import Final


READ_ACTIONS: Final[frozenset[str]] = frozenset({"s3:GetObject", "s3:ListBucket"})
"""`ListBucket` on the state buckets, `GetObject` on their objects."""
