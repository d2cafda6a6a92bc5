"""What botocore raises, as this package's errors: the only question is whether a retry helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ParamValidationError,
)
from botocore.exceptions import (
    ConnectionError as UnconnectedError,
)

from flink_controller.domain.errors import ControllerError, RejectedError, TransientError

_BUSY: Final = frozenset(
    {
        "InternalError",
        "InternalServerError",
        "LimitExceededException",
        "OverLimit",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingError",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflict",
        "TransactionConflictException",
        "TransactionInProgressException",
    }
)
"""Refusals that pass by themselves."""
_FIRST_SERVER_ERROR: Final = 500


def code_of(error: ClientError) -> str:
    """Name the error as AWS does."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_busy(code: str) -> bool:
    """Tell whether a refusal passes by itself."""
    return code in _BUSY


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Translate what botocore raises inside the block.

    Args:
        doing: what is tried, for the message; no secret.

    Raises:
        TransientError: no answer, a server error, or throttling.
        RejectedError: the request cannot be made with this input.
        ControllerError: anything else that AWS refuses: permissions, a missing table.
    """
    try:
        yield
    except ClientError as error:
        code = code_of(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = f"{doing}: AWS answered {code or status}: {error.response.get('Error', {}).get('Message', '')}"
        if is_busy(code) or status >= _FIRST_SERVER_ERROR:
            raise TransientError(message) from error
        if code == "ValidationException":
            raise RejectedError(message) from error
        raise ControllerError(message) from error
    except (HTTPClientError, UnconnectedError, IncompleteReadError) as error:
        raise TransientError(f"{doing}: no answer from AWS: {error}") from error
    except ParamValidationError as error:
        raise RejectedError(f"{doing}: {error}") from error
    except BotoCoreError as error:
        raise ControllerError(f"{doing}: {error}") from error
