"""The queues of what was given up: counted, read and emptied by a person's command, never by the controller."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.domain.dead_letter import DeadLetter
from flink_controller.domain.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REDRIVE_ACTIONS: Final[frozenset[str]] = frozenset({"sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:DeleteMessage"})
"""On a queue of failures."""

_BATCH: Final = 10
"""Messages that SQS gives at once."""
_COUNTED: Final = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")


class SqsDeadLetters:
    """A queue of failures on SQS.

    Args:
        client: an SQS client, or what makes it.
        queue_url: the queue.
        wait_s: how long a reading waits before it finds nothing. Above zero SQS asks all its servers, at zero some, and
            what lies on the others seems not to be there.
    """

    def __init__(self, client: "ClientSource[SQSClient]", queue_url: str, *, wait_s: int = 1) -> None:
        self._source = client
        self._queue_url = queue_url
        self._wait_s = wait_s

    @cached_property
    def _client(self) -> "SQSClient":
        return opened(self._source)

    def count(self) -> int:
        """Count the messages, by one call; SQS tells about how many there are."""
        with translated("count what was given up"):
            found = self._client.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=[*_COUNTED])["Attributes"]
        return sum(int(found.get(name, "0")) for name in _COUNTED)

    def batches(self) -> Iterator[Sequence[DeadLetter]]:
        """Read until nothing new comes. What is not deleted comes back by itself after the queue's visibility timeout."""
        seen = set[str]()
        while True:
            with translated("read what was given up"):
                answer = self._client.receive_message(
                    QueueUrl=self._queue_url, MaxNumberOfMessages=_BATCH, WaitTimeSeconds=self._wait_s
                )
            found = [
                DeadLetter(message["MessageId"], message["ReceiptHandle"], message["Body"])
                for message in answer.get("Messages", ())
                if message["MessageId"] not in seen
            ]
            if not found:
                return
            seen.update(letter.message_id for letter in found)
            yield found

    def delete(self, letters: Sequence[DeadLetter]) -> None:
        """Delete what was read, at most ten at once. Harmless twice."""
        if not letters:
            return
        with translated("delete what was given up"):
            answer = self._client.delete_message_batch(
                QueueUrl=self._queue_url,
                Entries=[{"Id": str(index), "ReceiptHandle": letter.receipt} for index, letter in enumerate(letters)],
            )
        failed = answer.get("Failed", ())
        if failed:
            raise TransientError(f"SQS deleted {len(letters) - len(failed)} of {len(letters)} messages; say it again")
