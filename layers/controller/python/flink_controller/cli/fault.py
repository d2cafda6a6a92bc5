"""From what went wrong to an exit status and one sentence.

| status | means |
| --- | --- |
| 0 | done |
| 1 | refused, failed, or not there |
| 2 | wrong usage |
| 3 | timed out |
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from flink_controller.cli.output import tell
from flink_controller.domain.errors import ControllerError, StaleWriteError, TransientError
from flink_controller.settings import SettingsError

FAILED: Final = 1
TIMED_OUT: Final = 3
_CREDENTIALS: Final = (
    "Unable to locate credentials",
    "ExpiredToken",
    "UnrecognizedClient",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
)
_REGION: Final = "You must specify a region"
_ABSENT: Final = ("ResourceNotFoundException", "NoSuchBucket")
_DENIED: Final = ("AccessDenied", "not authorized")


class FailureError(ControllerError):
    """What was asked for cannot be done, or was not done; the message is for the user, as it stands."""


class TimedOutError(ControllerError):
    """What was waited for did not happen in time; the message says what it waits for."""


@contextmanager
def told() -> Iterator[None]:
    """Turn this package's errors inside the block into a sentence on stderr and an exit status."""
    try:
        yield
    except TimedOutError as error:
        tell(f"flinkctl: {error}")
        raise typer.Exit(TIMED_OUT) from error
    except (ControllerError, SettingsError) as error:
        advice = _advice(error)
        tell(f"flinkctl: {str(error).rstrip('.') if advice else error}{advice}")
        raise typer.Exit(FAILED) from error


def _advice(error: Exception) -> str:
    """Say what to do about what AWS, not this program, has said."""
    text = str(error)
    if isinstance(error, FailureError | SettingsError):
        return ""
    if isinstance(error, StaleWriteError):
        return "; nothing was written: run the command again"
    if any(sign in text for sign in _CREDENTIALS):
        return "; run `source .local/env` for a local stack, or log in to AWS"
    if _REGION in text:
        return "; set AWS_DEFAULT_REGION, or run `source .local/env` for a local stack"
    if any(sign in text for sign in _ABSENT):
        return "; see that FLINKCTL_* and the AWS account and region belong to the same installation"
    if any(sign in text for sign in _DENIED):
        return "; your AWS identity lacks this right (docs/cli.md)"
    if isinstance(error, TransientError):
        return "; see that it runs and can be reached from here (AWS_ENDPOINT_URL, network), then try again"
    return ""
