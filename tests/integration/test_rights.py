"""Least privilege, seen from the handlers: what was granted is what the whole suite has used, neither more nor less.

More is refused where it happens (`rights.py`); less is found here, after all other tests of this folder.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from flink_controller.bootstrap import controller
from flink_controller.services.sweep import SEGMENTS, reconcile_fleet
from flink_controller.testing.clock import VirtualClock
from infra.functions import FUNCTIONS
from tests.integration.installation import (
    REGION,
    RIGHTS,
    STATE_BUCKET,
    Installation,
    deliver,
    follow_up_of,
    spec_item,
)
from tests.integration.rights import granted

# Powertools warns about an invocation that counted nothing.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")
FLINK_JOB: Final = "0123456789abcdef0000000000000001"
BY_LAMBDA: Final = {
    "logs:CreateLogStream": "Lambda writes the log",
    "logs:PutLogEvents": "Lambda writes the log",
    "xray:PutTelemetryRecords": "X-Ray's daemon sends what was traced",
    "xray:PutTraceSegments": "X-Ray's daemon sends what was traced",
    "dynamodb:DescribeStream": "Lambda polls the stream",
    "dynamodb:GetRecords": "Lambda polls the stream",
    "dynamodb:GetShardIterator": "Lambda polls the stream",
    "dynamodb:ListStreams": "Lambda polls the stream",
    "sqs:ReceiveMessage": "Lambda polls the queue",
    "sqs:DeleteMessage": "Lambda polls the queue",
    "sqs:ChangeMessageVisibility": "Lambda polls the queue",
    "sqs:GetQueueAttributes": "Lambda polls the queue, or sends to it what failed",
    "sqs:GetQueueUrl": "Lambda polls the queue, or sends to it what failed",
}
"""Rights that the service uses in a function's name, outside of its code."""
FAILURE_QUEUES: Final = ("Messaging/EventFailures", "Messaging/InvocationFailures", "Messaging/StreamFailures")
"""Lambda sends there what it gave up on."""
IMPLIED: Final = ("Storage/Artifacts", "s3:ListBucket")
"""Makes S3 answer 404, not 403, for an object that is not there."""
NAMESPACE_BUCKET: Final = "arn:<AWS::Partition>:s3:::example-payments-artifacts"
"""A namespace's own bucket is read by the same calls as the common one."""


def test_what_handlers_rarely_do_is_allowed_too(installed: Installation) -> None:
    installed.upload_signed()
    deliver("admit_artifact/signed.json")
    for job_id in ("kept", "removed"):
        installed.put_spec(spec_item(job_id))
        follow_up_of(job_id)
    installed.delete_spec("removed")
    installed.s3.create_bucket(Bucket=STATE_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    installed.s3.put_object(Bucket=STATE_BUCKET, Key=f"checkpoints/{FLINK_JOB}/chk-7/_metadata", Body=b"no metadata")
    ports = controller().ports

    with RIGHTS.of("reconcile_job"):
        # After the loss of a job whose state lies on S3, and when a batch job has more history than is kept.
        ports.storage.search(FLINK_JOB, checkpoint_root=f"s3://{STATE_BUCKET}/checkpoints", savepoint_directories=[])
        ports.statuses.prune_runs("etl", succeeded=1, other=1)
    clock = VirtualClock()
    with RIGHTS.of("reconcile_fleet"):
        # Each of these ticks compares another part of all specs.
        for _ in range(SEGMENTS):
            clock.advance(timedelta(minutes=1))
            reconcile_fleet(replace(ports, clock=clock), controller().policy)

    assert "removed" in installed.woken()


@pytest.mark.parametrize("function", [row.name for row in FUNCTIONS])
def test_a_function_has_no_right_that_it_does_not_use(function: str, *, is_whole_suite: bool) -> None:
    if not is_whole_suite:
        pytest.skip("needs every test of tests/integration before it")

    left = {
        (entry, action)
        for entry, action in RIGHTS.unused(function)
        if action not in BY_LAMBDA
        and not entry.startswith((*FAILURE_QUEUES, NAMESPACE_BUCKET))
        and (entry, action) != IMPLIED
    }

    assert left == set()


def test_what_lambda_uses_by_itself_is_granted_somewhere() -> None:
    actions = {permission.action for row in FUNCTIONS for permission in granted(row.name)}

    assert set(BY_LAMBDA) <= actions
