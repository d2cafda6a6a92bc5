"""What can be set about the local stack, read once from the environment.

Every value has a default that works on a fresh checkout; two stacks side by side need another `LOCAL_DIR`,
`AWS_PORT` and `FLINK_REST_PORT` each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from infra.local.errors import LocalStackError

CHECKOUT: Final = Path(__file__).resolve().parents[2]
"""The root of the working copy."""
STATE_CHOICES: Final = ("auto", "s3", "file")


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """One local stack."""

    directory: Path = CHECKOUT / ".local"
    """Run state: logs, process records, keys, Flink's scratch. `LOCAL_DIR`; removing it costs no download."""
    cache_directory: Path = CHECKOUT / ".cache"
    """Downloads, shared by all stacks of this checkout. `FLINKCTL_CACHE_DIR`."""
    aws_port: int = 4566
    """Loopback port of the AWS emulator. `AWS_PORT`; the default is the emulator's own."""
    flink_rest_port: int = 8081
    """Loopback port of Flink's REST API and UI. `FLINK_REST_PORT`; the default is Flink's own."""
    flink_version: str = "2.3.0"
    """Release of Flink. `FLINK_VERSION`; 2.3.0 and 1.20.5 are tested."""
    flink_slots: int = 8
    """Task slots of the one TaskManager. `FLINK_SLOTS`; enough for the demo and the tests' jobs at once."""
    flink_heap_mb: int = 768
    """Java heap of the JobManager, and of the TaskManager. `FLINK_HEAP_MB`; hundreds of jobs want 1500 and more."""
    flink_heartbeat_timeout_seconds: int | None = None
    """Flink's `heartbeat.timeout`. `FLINK_HEARTBEAT_TIMEOUT`; unset leaves Flink's default of 50 s."""
    flink_state: str = "auto"
    """Where savepoints and checkpoints live. `FLINK_STATE`: `s3` in the emulator, `file` under `directory`, or
    `auto`: `s3` if the filesystem plugin can be had."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises:
            LocalStackError: a value is malformed; the message names the variable.
        """
        timeout = environ.get("FLINK_HEARTBEAT_TIMEOUT", "")
        state = environ.get("FLINK_STATE", "") or "auto"
        if state not in STATE_CHOICES:
            raise LocalStackError(f"FLINK_STATE must be one of {', '.join(STATE_CHOICES)}, not {state!r}.")
        return cls(
            directory=_path(environ.get("LOCAL_DIR", ""), cls.directory),
            cache_directory=_path(environ.get("FLINKCTL_CACHE_DIR", ""), cls.cache_directory),
            aws_port=_number("AWS_PORT", environ, cls.aws_port),
            flink_rest_port=_number("FLINK_REST_PORT", environ, cls.flink_rest_port),
            flink_version=environ.get("FLINK_VERSION", "") or cls.flink_version,
            flink_slots=_number("FLINK_SLOTS", environ, cls.flink_slots),
            flink_heap_mb=_number("FLINK_HEAP_MB", environ, cls.flink_heap_mb),
            flink_heartbeat_timeout_seconds=_number("FLINK_HEARTBEAT_TIMEOUT", environ, 0) if timeout else None,
            flink_state=state,
        )

    @property
    def aws_url(self) -> str:
        """Where the AWS emulator answers."""
        return f"http://127.0.0.1:{self.aws_port}"

    @property
    def flink_rest_url(self) -> str:
        """Where Flink's REST API answers."""
        return f"http://127.0.0.1:{self.flink_rest_port}"


def _path(text: str, default: Path) -> Path:
    return (CHECKOUT / text).resolve() if text else default


def _number(name: str, environ: Mapping[str, str], default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise LocalStackError(f"{name} must be a whole number from 1 to 65535, not {text!r}.")
    return int(text)
