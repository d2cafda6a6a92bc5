"""How the jobs of a `FlinkTwin` behave: what is in an artifact, as far as Flink can tell.

A test chooses a behaviour per artifact; the configuration that the controller sends along is honoured as Flink does it,
job code winning where code and configuration both speak.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

INTERVAL: Final = "execution.checkpointing.interval"
TIMEOUT: Final = "execution.checkpointing.timeout"
RETENTION: Final = "execution.checkpointing.externalized-checkpoint-retention"
DIRECTORY: Final = "execution.checkpointing.dir"
NAME: Final = "pipeline.name"
RESTART_STRATEGY: Final = "restart-strategy.type"
RESTART_ATTEMPTS: Final = "restart-strategy.fixed-delay.attempts"
PARAMETERS: Final = "pipeline.global-job-parameters"
_ENTRY: Final = re.compile(r"([^':,]+):(?:'([^']*)'|([^',]*))(?:,|$)")
_DURATION: Final = re.compile(r"\s*(\d+)\s*(ms|s|sec|min|m|h)?\s*")
_UNIT: Final = {None: 0.001, "ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


class Retention(StrEnum):
    """What becomes of a job's checkpoints when it ends without being done."""

    NONE = "NO_EXTERNALIZED_CHECKPOINTS"
    """Deleted always; Flink's default."""
    DELETE = "DELETE_ON_CANCELLATION"
    """Deleted by a cancel, kept by a failure."""
    RETAIN = "RETAIN_ON_CANCELLATION"
    """Kept."""


@dataclass(frozen=True, kw_only=True)
class JobBehaviour:
    """What an artifact does once it is submitted. The default is a well-behaved streaming job."""

    main: timedelta = timedelta(0)
    """How long main() runs before the job exists; Flink's answer takes as long."""
    main_throws: str | None = None
    """Message of what main() throws."""
    class_is_missing: bool = False
    """Whether the entry class is not in the jar."""
    is_batch: bool = False
    """Batch jobs take no checkpoints and ignore a savepoint path, even one that does not exist."""
    tasks: int = 2
    schedule: timedelta = timedelta(milliseconds=200)
    """From the submit, or a restart, to all tasks running."""
    never_schedules: bool = False
    """RUNNING by name, without one task."""
    rate: int = 10
    """Progress per second of processing."""
    finishes_after: timedelta | None = None
    """Processing time until it is done."""
    fails_after: timedelta | None = None
    """Processing time, since each start, until it throws."""
    failure: str = "java.lang.IllegalStateException: told to fail"
    restarts: int | None = None
    """How often Flink restarts it before giving up. None: what the configuration says, or Flink's default."""
    restart_delay: timedelta = timedelta(seconds=1)
    rescale: timedelta = timedelta(milliseconds=500)
    """From a request for another parallelism until the tasks restart for it."""
    state_incompatible: bool = False
    """Whether the state it is given does not map; `allow_non_restored_state` helps."""
    checkpoint_interval: timedelta | None = None
    """As set in code. None: what the configuration says."""
    checkpoint_timeout: timedelta | None = None
    """As set in code. None: what the configuration says, or Flink's default."""
    checkpoints_fail: bool = False
    slow_for: timedelta | None = None
    """Since its submit, how long its sink cannot keep up with its source."""
    deletes_checkpoints_on_cancel: bool = False
    """Whether code sets this, against the configuration."""
    savepoint: timedelta = timedelta(milliseconds=100)
    """How long a savepoint takes."""
    stop_fails: str | None = None
    """Why no savepoint can be taken; the job restarts each time, outside its restart bound."""
    cancel: timedelta = timedelta(milliseconds=100)
    hangs_on_cancel: bool = False
    """CANCELLING for ever."""


BURN: Final = JobBehaviour(main=timedelta(0), tasks=1, finishes_after=timedelta(milliseconds=100))
"""The controller's own jar: streaming, so that a savepoint path that does not exist ends its id; given none it soon ends."""


def interval(behaviour: JobBehaviour, configuration: Mapping[str, str], default: timedelta | None) -> timedelta | None:
    """Give the time between a job's checkpoints; None: it takes none.

    Raises:
        ValueError: the configured value is no duration.
    """
    if behaviour.is_batch:
        return None
    if behaviour.checkpoint_interval is not None:
        return behaviour.checkpoint_interval
    text = configuration.get(INTERVAL)
    return default if text is None else (duration(text) or None)


def timeout(behaviour: JobBehaviour, configuration: Mapping[str, str]) -> timedelta:
    """Give how long a checkpoint may take.

    Raises:
        ValueError: the configured value is no duration.
    """
    if behaviour.checkpoint_timeout is not None:
        return behaviour.checkpoint_timeout
    return duration(configuration.get(TIMEOUT, "10 min"))


def retention(behaviour: JobBehaviour, configuration: Mapping[str, str]) -> Retention:
    """Say what becomes of a job's checkpoints.

    Raises:
        ValueError: the configured value is none of Flink's.
    """
    if behaviour.deletes_checkpoints_on_cancel:
        return Retention.DELETE
    return Retention(configuration.get(RETENTION, Retention.NONE))


def restart_limit(behaviour: JobBehaviour, configuration: Mapping[str, str], *, is_checkpointed: bool) -> int | None:
    """Give how often Flink restarts a job before giving up; None: it never gives up.

    Raises:
        ValueError: the configured number of attempts is none.
    """
    if behaviour.restarts is not None:
        return behaviour.restarts
    strategy = configuration.get(RESTART_STRATEGY)
    if strategy is None:
        return None if is_checkpointed else 0
    if strategy in {"none", "off", "disable"}:
        return 0
    return int(configuration.get(RESTART_ATTEMPTS, "1")) if strategy == "fixed-delay" else None


def duration(text: str) -> timedelta:
    """Read a duration as Flink does; a bare number is milliseconds.

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"text does not start with a number, and is not a valid ISO-8601 duration format: {text}")
    return timedelta(seconds=int(match.group(1)) * _UNIT[match.group(2)])


def parameters(configuration: Mapping[str, str]) -> dict[str, str]:
    """Give a job's global parameters: JSON, or a map in Flink's own form that needs no more than plain quotes."""
    text = configuration.get(PARAMETERS, "")
    if text.startswith("{"):
        return dict(json.loads(text))
    return {key: quoted or plain for key, quoted, plain in _ENTRY.findall(text)}
