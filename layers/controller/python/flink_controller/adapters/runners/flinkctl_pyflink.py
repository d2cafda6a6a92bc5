"""Run a PyFlink program as the main module, and tell Flink in the program's own terms why it ended.

Flink's `PythonDriver` starts this module with the name of the program's module and its arguments, in the Python of the
cluster. By itself Flink says no more of a failed program than "Python process exits with code: 1".
"""

import runpy
import sys
import traceback
from pathlib import Path


def main() -> None:
    """Run the module that the first argument names; the others are its own."""
    # The next line makes the program's arguments what they would be without this module.
    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    # A team's program may raise anything; it is told to Flink, and raised on.
    except Exception as error:
        _report(error)
        raise


def _report(error: Exception) -> None:
    """Hand the reason to the JVM, which keeps Flink's own refusals only if they are wrapped as `PythonDriver` expects."""
    from py4j.protocol import Py4JJavaError  # noqa: PLC0415  # comes with PyFlink; what fails before is told by Python
    from pyflink.java_gateway import get_gateway  # noqa: PLC0415
    from pyflink.version import __version__  # noqa: PLC0415

    flink = get_gateway().jvm.org.apache.flink
    cause = error.java_exception if isinstance(error, Py4JJavaError) else None
    is_first = __version__.startswith("1.")
    statuses = flink.runtime.clusterframework.ApplicationStatus if is_first else flink.api.common.JobStatus
    # Of the job that there is not, any id will do.
    job_id = flink.api.common.JobID.generate()
    wrapped = flink.client.deployment.application.UnsuccessfulExecutionException(
        job_id, statuses.FAILED, _told(error), cause
    )
    flink.client.python.PythonEnvUtils.setPythonException(wrapped)


def _told(error: Exception) -> str:
    """Write one line: where in the program, then what."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: {what}"
    root = Path(__file__).parent
    frames = [(Path(frame.filename), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [(path, line) for path, line in frames if path.is_relative_to(root) and path != Path(__file__)]
    return f"{own[-1][0].relative_to(root)}, line {own[-1][1]}: {what}" if own else what


if __name__ == "__main__":
    main()
