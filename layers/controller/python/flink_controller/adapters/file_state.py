"""Checkpoints and savepoints on a file system."""

from typing import Final


READ_ACTIONS: Final[frozenset[str]] = frozenset()
"""A file system asks nothing of IAM."""
