"""The topic that people are told by."""

from functools import cached_property
from typing import TYPE_CHECKING, Final

from flink_controller.adapters.aws_clients import ClientSource, opened
from flink_controller.adapters.aws_errors import translated
from flink_controller.domain.announcements import Letter

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

PUBLISH_ACTIONS: Final[frozenset[str]] = frozenset({"sns:Publish"})
"""On the alert topic."""


class SnsAlerts:
    """`AlertTopic` on SNS: one call per message."""

    def __init__(self, client: "ClientSource[SNSClient]", topic_arn: str) -> None:
        self._source = client
        self._topic_arn = topic_arn

    @cached_property
    def _client(self) -> "SNSClient":
        return opened(self._source)

    def tell(self, letter: Letter) -> None:
        """Send a message to everybody who subscribed."""
        with translated("publish an alert"):
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=letter.subject,
                Message=letter.text,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in letter.attributes.items()
                },
            )
