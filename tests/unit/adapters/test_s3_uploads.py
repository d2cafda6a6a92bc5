"""`S3Uploads` on an emulated S3."""

import hashlib
import io
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from flink_controller.adapters.s3_uploads import MAX_BYTES, S3Uploads
from flink_controller.domain.errors import ControllerError, RejectedError


@pytest.fixture
def uploads() -> Iterator[S3Uploads]:
    with mock_aws():
        client = boto3.session.Session("test", "test", region_name="us-east-1").client("s3")
        client.create_bucket(Bucket="plain")
        client.create_bucket(Bucket="versioned")
        client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        yield S3Uploads(client)


def upload(uploads: S3Uploads, bucket: str, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return uploads.upload(bucket, "artifacts/a.jar", io.BytesIO(content), size_bytes=len(content), sha256=digest)


def test_each_upload_is_another_version(uploads: S3Uploads) -> None:
    assert upload(uploads, "versioned", b"one") != upload(uploads, "versioned", b"one")


def test_a_bucket_without_versions_is_refused(uploads: S3Uploads) -> None:
    with pytest.raises(RejectedError, match="keeps no versions"):
        upload(uploads, "plain", b"one")


def test_a_bucket_that_is_not_there_is_told(uploads: S3Uploads) -> None:
    with pytest.raises(ControllerError, match="NoSuchBucket"):
        upload(uploads, "absent", b"one")


def test_what_one_request_cannot_carry_is_refused(uploads: S3Uploads) -> None:
    with pytest.raises(RejectedError, match="more than S3 takes"):
        uploads.upload("versioned", "k", io.BytesIO(), size_bytes=MAX_BYTES + 1, sha256="0" * 64)
