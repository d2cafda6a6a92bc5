"""Putting artifacts into their bucket, and old versions out of it.

For the CLI, which acts with its user's own rights: no function writes there.
"""

import base64
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import code_of, translated
from flink_controller.domain.errors import RejectedError
from flink_controller.ports import ObjectVersion

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

WRITE_ACTIONS: Final[frozenset[str]] = frozenset({"s3:PutObject"})
"""On the bucket's objects; no function has it."""
PRUNE_ACTIONS: Final[frozenset[str]] = frozenset({"s3:ListBucketVersions", "s3:DeleteObjectVersion"})
"""On the bucket, and on its objects; no function has them, nor does any policy of the stack."""
_EXISTS: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412"})
MAX_BYTES: Final = 5 * 2**30
"""What S3 takes in one request. More would need parts, and a version must appear whole or not at all."""


class S3Uploads:
    """`ArtifactUploads` to S3. Each upload is a single PUT, checked by S3 against the digest that was computed here."""

    def __init__(self, client: "ClientSource[S3Client]") -> None:
        self._source = client

    @cached_property
    def _client(self) -> "S3Client":
        return opened(self._source)

    def upload(
        self, bucket: str, key: str, content: IO[bytes], *, size_bytes: int, sha256: str, is_new: bool = False
    ) -> str:
        """Put an object and give its version id.

        Args:
            bucket: where to.
            key: under which name.
            content: the bytes; seekable, because a connection that breaks is tried again from the start.
            size_bytes: how many they are.
            sha256: their digest, 64 hex digits; S3 refuses others.
            is_new: have S3 refuse the upload where there is an object already (`If-None-Match: *`).

        Raises:
            RejectedError: there is an object already; or they are too many for one request, or the bucket keeps no versions.
        """
        if size_bytes > MAX_BYTES:
            raise RejectedError(
                f"{size_bytes} bytes are more than S3 takes in one request ({MAX_BYTES}); make the artifact smaller"
            )
        with translated(f"upload s3://{bucket}/{key}"):
            condition: dict[str, Any] = {"IfNoneMatch": "*"} if is_new else {}
            try:
                answer = self._client.put_object(
                    Bucket=bucket,
                    Key=key,
                    Body=content,
                    ContentLength=size_bytes,
                    ChecksumSHA256=base64.b64encode(bytes.fromhex(sha256)).decode(),
                    **condition,
                )
            except ClientError as error:
                if code_of(error) in _EXISTS:
                    raise RejectedError(f"there is an s3://{bucket}/{key} already, and a release is immutable") from error
                raise
        version_id = answer.get("VersionId")
        if not version_id:
            raise RejectedError(
                f"bucket {bucket} keeps no versions; switch versioning on, or use the controller's own bucket"
            )
        return version_id

    def superseded(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        """List versions that are not the newest of their object: one call per 1,000 versions."""
        with translated(f"list the versions of s3://{bucket}/{prefix}"):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Versions", ()):
                    if not found["IsLatest"]:
                        yield ObjectVersion(bucket, found["Key"], found["VersionId"], found["Size"], found["LastModified"])

    def delete(self, versions: Sequence[ObjectVersion]) -> None:
        """Delete some versions of one bucket for good: one call. Harmless twice."""
        bucket = versions[0].bucket
        named = [{"Key": found.key, "VersionId": found.version_id} for found in versions]
        with translated(f"delete versions in s3://{bucket}"):
            # Without `Quiet` S3 would name each one that is gone.
            answer = self._client.delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})  # type: ignore[typeddict-item]  # built as plain dicts
        for error in answer.get("Errors", ()):
            because = error.get("Message") or error.get("Code")
            raise RejectedError(
                f"S3 did not delete s3://{bucket}/{error.get('Key')} version {error.get('VersionId')}: {because}"
            )
