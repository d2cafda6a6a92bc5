"""The jar with which the controller uses up a Flink job id that must never start any more.

A submit whose answer was lost may still be on its way. Waiting for it is no protection; taking its id away is: inside
one JobManager an id can be registered once, and a streaming job whose savepoint does not exist is registered, fails,
and leaves the id refused for good, whichever of the two submits arrives first. The jar is our own because a team's
jar may be gone, refused or slow to start, and because a batch job would ignore the savepoint path and simply run.

The shipped jar is built from `FlinkctlBurn.java` beside it (`make burn-jar`); a test compares the bytes.
"""

from functools import cache
from importlib.resources import files
from typing import Final

BURN_ENTRY_CLASS: Final = "FlinkctlBurn"
"""What `entryClass` of the submit names."""
BURN_JOB_NAME: Final = "flinkctl-burn"
"""How a burned id shows in Flink; set by the job's code, so no configuration can change it."""
BURN_JAR_NAME: Final = "flinkctl-burn.jar"
"""File name in this package."""
BURN_SOURCE_NAME: Final = "FlinkctlBurn.java"
"""File name of the source in this package."""


@cache
def burn_jar() -> bytes:
    """Return the jar's bytes: a few kilobytes, read once per process."""
    return files(__package__).joinpath(BURN_JAR_NAME).read_bytes()
