"""How AWS is called: timeouts, retries, and clients that are made when first used.

Each client costs 70 to 140 ms of a cold start, so a function pays only for those that it calls.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient

CONNECT_TIMEOUT_S: Final = 2
"""An endpoint that is there answers a connect within milliseconds; two seconds leave room for two more tries."""
READ_TIMEOUT_S: Final = 10
"""A DynamoDB call takes milliseconds; ten seconds cover the first byte of a large object."""
MAX_ATTEMPTS: Final = 3
"""Tries of one call, together well under a function's timeout. Every call made through these clients may be repeated: the
adapters see to it that a second delivery does no harm."""

C = TypeVar("C")
ClientSource: TypeAlias = C | Callable[[], C]
"""A client, or what makes it on first use."""


def client_config() -> "Config":
    """Give the configuration that all clients share."""
    # botocore takes 0.2 s to import, and a test of a twin needs none of it.
    from botocore.config import Config  # noqa: PLC0415

    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
    )


def opened(source: ClientSource[C]) -> C:
    """Give the client of a source."""
    return source() if callable(source) else source


class AWSClients:
    """The clients of one process, each made on first use. Region, endpoint and credentials come from the environment."""

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Give the DynamoDB client."""
        import boto3  # noqa: PLC0415

        client: DynamoDBClient = boto3.client("dynamodb", config=client_config())  # here and nowhere else
        return client

    @cached_property
    def s3(self) -> "S3Client":
        """Give the S3 client."""
        import boto3  # noqa: PLC0415

        client: S3Client = boto3.client("s3", config=client_config())  # here and nowhere else
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        """Give the SQS client."""
        import boto3  # noqa: PLC0415

        client: SQSClient = boto3.client("sqs", config=client_config())  # here and nowhere else
        return client

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        """Give the Secrets Manager client."""
        import boto3  # noqa: PLC0415

        client: SecretsManagerClient = boto3.client("secretsmanager", config=client_config())  # here and nowhere else
        return client

    @cached_property
    def sns(self) -> "SNSClient":
        """Give the SNS client."""
        import boto3  # noqa: PLC0415

        client: SNSClient = boto3.client("sns", config=client_config())  # here and nowhere else
        return client

    @cached_property
    def events(self) -> Any:
        """Give the EventBridge client."""
        import boto3  # noqa: PLC0415

        return boto3.client("events", config=client_config())  # here and nowhere else

    def kms(self, endpoint_url: str | None = None) -> Any:
        """Give a KMS client, of an endpoint of its own if one is named."""
        import boto3  # noqa: PLC0415

        return boto3.client("kms", config=client_config(), endpoint_url=endpoint_url)  # here and nowhere else

    @cached_property
    def sts(self) -> Any:
        """Give the client that knows whose credentials these are."""
        import boto3  # noqa: PLC0415

        return boto3.client("sts", config=client_config())  # here and nowhere else
