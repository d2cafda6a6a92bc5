"""What AWS and botocore say, as an answer to one question: does a retry help?"""

from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, IncompleteReadError, NoCredentialsError, ReadTimeoutError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from flink_controller.adapters.aws_errors import translated
from flink_controller.adapters.dynamodb_statuses import DynamoStatusStore
from flink_controller.adapters.s3_artifacts import S3ArtifactObjects
from flink_controller.adapters.sqs_follow_ups import SqsFollowUps
from flink_controller.domain.errors import ControllerError, RejectedError, StaleWriteError, TransientError
from flink_controller.ports import Commit, Held
from tests.contract.samples import event, status

HELD = Held("job", None, fence=1, version=0)
COMMIT = Commit(status(), events=(event(1),))


def client(service: str, **config: Any) -> Any:
    return boto3.session.Session("test", "test", region_name="us-east-1").client(
        service, config=Config(proxies={}, retries={"total_max_attempts": 1}, **config), endpoint_url="http://127.0.0.1:1"
    )


@pytest.mark.parametrize(
    ("code", "http_status", "expected"),
    [
        ("ThrottlingException", 400, TransientError),
        ("ProvisionedThroughputExceededException", 400, TransientError),
        ("TransactionConflictException", 400, TransientError),
        ("SlowDown", 503, TransientError),
        ("SomethingNew", 500, TransientError),
        ("ValidationException", 400, RejectedError),
        ("AccessDeniedException", 400, ControllerError),
        ("ResourceNotFoundException", 400, ControllerError),
    ],
)
def test_a_refusal_is_sorted_by_whether_a_retry_helps(code: str, http_status: int, expected: type[Exception]) -> None:
    response: Any = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": http_status}}

    with pytest.raises(ControllerError, match=code) as caught, translated("try"):
        raise ClientError(response, "Operation")

    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ReadTimeoutError(endpoint_url="http://x"), TransientError),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), TransientError),
        (NoCredentialsError(), ControllerError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_a_missing_answer_is_transient_and_a_missing_configuration_is_not(error: Exception, expected: type) -> None:
    with pytest.raises(ControllerError) as caught, translated("try"):
        raise error

    assert type(caught.value) is expected


def test_a_refused_connection_is_transient() -> None:
    with pytest.raises(TransientError):
        DynamoStatusStore(client("dynamodb"), "state").read("job")


def test_a_request_that_cannot_be_made_is_rejected() -> None:
    with pytest.raises(RejectedError):
        S3ArtifactObjects(client("s3")).latest("bucket", "")


def test_an_empty_name_is_rejected_by_dynamodb_and_translated() -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stub:
        stub.add_client_error("get_item", "ValidationException", http_status_code=400)
        with pytest.raises(RejectedError):
            DynamoStatusStore(dynamodb, "state").read("")


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (["ConditionalCheckFailed", "None"], StaleWriteError),
        (["ConditionalCheckFailed", "TransactionConflict"], StaleWriteError),
        (["ThrottlingError", "None"], TransientError),
        (["ProvisionedThroughputExceeded", "None"], TransientError),
        (["ItemCollectionSizeLimitExceeded", "None"], ControllerError),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_cancelled_commit_says_why(codes: list[str], expected: type[Exception]) -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stub:
        _add_cancellation(stub, codes)
        with pytest.raises(ControllerError) as caught:
            DynamoStatusStore(dynamodb, "state").commit(HELD, COMMIT, release=False)

    assert type(caught.value) is expected


def test_a_commit_that_meets_another_request_is_tried_again() -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stub:
        _add_cancellation(stub, ["TransactionConflict", "None"])
        stub.add_response("transact_write_items", {})

        result = DynamoStatusStore(dynamodb, "state").commit(HELD, COMMIT, release=False)

        stub.assert_no_pending_responses()
    assert result.version == 1


def test_a_commit_that_always_meets_another_request_gives_up_for_now() -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stub:
        for _ in range(3):
            stub.add_client_error("update_item", "TransactionConflictException", http_status_code=400)

        with pytest.raises(TransientError, match="busy"):
            DynamoStatusStore(dynamodb, "state").commit(HELD, Commit(status()), release=False)

        stub.assert_no_pending_responses()


def test_only_follow_ups_that_were_not_taken_are_sent_again() -> None:
    sqs = client("sqs")
    with Stubber(sqs) as stub:
        _add_batch(stub, ["a", "b", "c"], failed=["1"])
        _add_batch(stub, ["b"], failed=[], first=1)

        SqsFollowUps(sqs, "https://queue").send_now(["a", "b", "c"])

        stub.assert_no_pending_responses()


def test_follow_ups_that_are_never_taken_are_a_transient_error() -> None:
    sqs = client("sqs")
    with Stubber(sqs) as stub:
        _add_batch(stub, ["a", "b"], failed=["1"])
        _add_batch(stub, ["b"], failed=["1"], first=1)
        _add_batch(stub, ["b"], failed=["1"], first=1)

        with pytest.raises(TransientError, match="1 of 2"):
            SqsFollowUps(sqs, "https://queue").send_now(["a", "b"])


def test_a_follow_up_that_sqs_blames_us_for_is_not_sent_again() -> None:
    sqs = client("sqs")
    with Stubber(sqs) as stub:
        _add_batch(stub, ["a"], failed=["0"], is_our_fault=True)

        with pytest.raises(RejectedError):
            SqsFollowUps(sqs, "https://queue").send_now(["a"])


def test_an_object_whose_connection_breaks_half_way_is_a_transient_error() -> None:
    s3 = client("s3")
    with Stubber(s3) as stub:
        stub.add_response("get_object", {"Body": StreamingBody(BytesIO(b"half"), 8)})
        body = S3ArtifactObjects(s3).open("bucket", "key", "version")

        with body, pytest.raises(TransientError):
            body.read()


def test_a_status_of_an_unknown_form_says_so() -> None:
    dynamodb = client("dynamodb")
    with Stubber(dynamodb) as stub:
        stub.add_response("get_item", {"Item": {"document": {"S": '{"job_id": "job"}'}}})
        with pytest.raises(ControllerError, match="a stored JobStatus has an unknown form"):
            DynamoStatusStore(dynamodb, "state").read("job")


def _add_cancellation(stub: Stubber, codes: list[str]) -> None:
    stub.add_client_error(
        "transact_write_items",
        "TransactionCanceledException",
        http_status_code=400,
        modeled_fields={"CancellationReasons": [{"Code": code} for code in codes]},
    )


def _add_batch(stub: Stubber, names: list[str], *, failed: list[str], first: int = 0, is_our_fault: bool = False) -> None:
    ids = [str(first + index) for index in range(len(names))]
    entries = [{"Id": id_, "MessageBody": f'{{"job_id": "{name}"}}'} for id_, name in zip(ids, names, strict=True)]
    answer = {
        "Successful": [{"Id": id_, "MessageId": id_, "MD5OfMessageBody": ""} for id_ in ids if id_ not in failed],
        "Failed": [{"Id": id_, "SenderFault": is_our_fault, "Code": "InternalError"} for id_ in failed],
    }
    stub.add_response("send_message_batch", answer, {"QueueUrl": "https://queue", "Entries": entries})
