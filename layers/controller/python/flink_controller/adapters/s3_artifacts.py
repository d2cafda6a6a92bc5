"""The artifact bucket."""

from typing import Final


READ_ACTIONS: Final[frozenset[str]] = frozenset({"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"})
"""`ListBucket` on the bucket: without it S3 answers 403 for a missing object. The others on its objects."""
