"""The artifact bucket.

What is deployed is a version, never "the object": versions are named in every call that reads bytes which matter.
"""

import io
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import ClientError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import code_of, translated
from flink_controller.domain.errors import NotFoundError
from flink_controller.ports import UNVERSIONED, ObjectVersion

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from mypy_boto3_s3 import S3Client

READ_ACTIONS: Final[frozenset[str]] = frozenset({"s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket"})
"""`ListBucket` on the bucket: without it S3 answers 403 for a missing object. The others on its objects."""

VERSION_ACTIONS: Final[frozenset[str]] = frozenset({"s3:GetObjectVersion"})
"""Those of them that `open` and `part` need, which name a version."""
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NotFound", "KeyTooLongError"})
_NO_VERSION: Final = _ABSENT | {"NoSuchVersion", "MethodNotAllowed", "405", "InvalidArgument"}
"""A delete marker is a version without bytes, which S3 refuses with 405; an id that is none of its own with 400."""
_EMPTY: Final = "InvalidRange"
_BUFFER_BYTES: Final = 1024 * 1024


class _Stream(Protocol):
    def read(self, amt: int | None = None) -> bytes: ...
    def close(self) -> None: ...


class _Body(io.RawIOBase):
    """An object's bytes as they arrive; a connection that breaks half way is this package's error, not botocore's."""

    def __init__(self, stream: _Stream, name: str) -> None:
        self._stream = stream
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        view = memoryview(buffer).cast("B")
        with translated(f"read {self._name}"):
            # botocore checks at the end that as many bytes came as were announced.
            content = self._stream.read(len(view))
        view[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._stream.close()
        super().close()


class S3ArtifactObjects:
    """`ArtifactObjects` on S3. Each method is one call, a list one per 1,000 objects."""

    def __init__(self, client: "ClientSource[S3Client]") -> None:
        self._source = client

    @cached_property
    def _client(self) -> "S3Client":
        return opened(self._source)

    def latest(self, bucket: str, key: str) -> ObjectVersion | None:
        """Look up the newest version, or None when there is no object (or it was deleted)."""
        with translated(f"look up s3://{bucket}/{key}"):
            try:
                found = self._client.head_object(Bucket=bucket, Key=key)
            except ClientError as error:
                # A deleted object answers 404 too, and says in a header that a marker hides its versions.
                if code_of(error) in _ABSENT:
                    return None
                raise
        return ObjectVersion(bucket, key, found.get("VersionId", UNVERSIONED), found["ContentLength"], found["LastModified"])

    def uploaded_since(self, bucket: str, prefix: str, since: datetime) -> Iterator[str]:
        """List what was uploaded lately."""
        arguments: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
        while True:
            with translated(f"list s3://{bucket}/{prefix}"):
                page = self._client.list_objects_v2(**arguments)
            yield from (found["Key"] for found in page.get("Contents", ()) if found["LastModified"] >= since)
            token = page.get("NextContinuationToken")
            if token is None:
                return
            arguments["ContinuationToken"] = token

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        """Open a version for streaming; the caller closes it."""
        name = f"s3://{bucket}/{key} version {version_id}"
        with translated(f"open {name}"):
            try:
                found = self._client.get_object(Bucket=bucket, Key=key, VersionId=version_id)
            except ClientError as error:
                if code_of(error) in _NO_VERSION:
                    raise NotFoundError(f"there is no {name}") from error
                raise
        return io.BufferedReader(_Body(found["Body"], name), _BUFFER_BYTES)

    def part(self, bucket: str, key: str, version_id: str, *, start: int, length: int) -> bytes:
        """Read some bytes of a version; fewer where it ends before."""
        name = f"s3://{bucket}/{key} version {version_id}"
        with translated(f"read a part of {name}"):
            try:
                found = self._client.get_object(
                    Bucket=bucket, Key=key, VersionId=version_id, Range=f"bytes={start}-{start + length - 1}"
                )
                if "ContentRange" not in found:
                    # The AWS emulator of the local stack knows no range of a version and sends the whole.
                    return found["Body"].read(start + length)[start:]
                return found["Body"].read()
            except ClientError as error:
                if code_of(error) == _EMPTY:
                    return b""
                if code_of(error) in _NO_VERSION:
                    raise NotFoundError(f"there is no {name}") from error
                raise

    def read(self, bucket: str, key: str, *, limit_bytes: int) -> bytes | None:
        """Read a small object whole; None when there is none, at most `limit_bytes` + 1 bytes otherwise."""
        with translated(f"read s3://{bucket}/{key}"):
            try:
                found = self._client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{limit_bytes}")
                return found["Body"].read()
            except ClientError as error:
                if code_of(error) in _ABSENT:
                    return None
                # No range lies within an object of no bytes.
                if code_of(error) == _EMPTY:
                    return b""
                raise
