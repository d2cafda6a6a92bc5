"""Checkpoints and savepoints on S3.

Read by listing with a delimiter, so that the many files of shared state beside the checkpoints cost nothing.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import code_of, translated
from flink_controller.adapters.stored_state import HEADER_BYTES, UnreadableError, find_state, holds_state
from flink_controller.domain.errors import ControllerError
from flink_controller.domain.names import shown
from flink_controller.domain.observation import StorageUnreadable, StoredState

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_ACTIONS: Final[frozenset[str]] = frozenset({"s3:GetObject", "s3:ListBucket"})
"""`ListBucket` on the state buckets, `GetObject` on their objects."""
SCHEMES: Final = ("s3", "s3a", "s3p")
"""Flink's names for S3, by the plugin that serves them."""

_URI: Final = re.compile(r"(?:s3|s3a|s3p)://([^/]+)/(.+)")
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_EMPTY: Final = "InvalidRange"


class S3StateStorage:
    """`StateStorage` on S3: one listing per directory and one small read per checkpoint.

    Args:
        client: an S3 client, or what makes it.
        buckets: the only buckets that are looked at; the role can read no others.
    """

    def __init__(self, client: "ClientSource[S3Client]", *, buckets: Collection[str]) -> None:
        self._source = client
        self._buckets = frozenset(buckets)

    @cached_property
    def _client(self) -> "S3Client":
        return opened(self._source)

    def search(
        self, flink_job_id: str, *, checkpoint_root: str, savepoint_directories: Sequence[str]
    ) -> StoredState | StorageUnreadable:
        """List the complete checkpoints of a job id under a root, and the savepoints in given directories."""
        return find_state(self, flink_job_id, checkpoint_root=checkpoint_root, savepoint_directories=savepoint_directories)

    def holds(self, path: str) -> bool | StorageUnreadable:
        """Tell whether a complete savepoint or checkpoint lies at a place."""
        return holds_state(self, path)

    def names(self, uri: str) -> list[str]:
        """List the directories directly under a URI; a prefix that nothing has is an empty list, a bucket's absence not."""
        bucket, key = self._place(uri)
        prefix = f"{key}/"
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
        found: list[str] = []
        while True:
            try:
                with translated(f"list {uri}"):
                    page = self._client.list_objects_v2(**arguments)
            except ControllerError as error:
                raise UnreadableError(str(error)) from error
            found += [entry["Prefix"][len(prefix) : -1] for entry in page.get("CommonPrefixes", ())]
            if not page["IsTruncated"]:
                return found
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def head(self, uri: str) -> tuple[bytes, datetime] | None:
        """Read the first bytes of an object and when it was written; None when there is no such object."""
        bucket, key = self._place(uri)
        try:
            with translated(f"read {uri}"):
                try:
                    answer = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{HEADER_BYTES - 1}")
                    return answer["Body"].read(), answer["LastModified"]
                except ClientError as error:
                    # An object of no bytes has no range; it is as incomplete as one that is not there.
                    if code_of(error) in _ABSENT | {_EMPTY}:
                        return None
                    raise
        except ControllerError as error:
            raise UnreadableError(str(error)) from error

    def files(self, uri: str) -> "Iterator[tuple[str, int, datetime]]":
        """List every object under a URI, by its path from there, with its size in bytes and when it was written."""
        bucket, key = self._place(uri)
        prefix = f"{key}/"
        try:
            with translated(f"list {uri}"):
                for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                    for entry in page.get("Contents", ()):
                        yield entry["Key"].removeprefix(prefix), entry["Size"], entry["LastModified"]
        except ControllerError as error:
            raise UnreadableError(str(error)) from error

    def _place(self, uri: str) -> tuple[str, str]:
        match = _URI.fullmatch(uri)
        if match is None:
            raise UnreadableError(f"{shown(uri)} is no address on S3: write s3://BUCKET/PREFIX")
        bucket = match.group(1)
        if bucket not in self._buckets:
            raise UnreadableError(f"bucket {shown(bucket)} is not among the configured state buckets")
        return bucket, match.group(2)
