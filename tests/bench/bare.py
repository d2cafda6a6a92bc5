"""Imports a handler and invokes it twice, in an interpreter that has imported nothing else: `python -m tests.bench.bare NAME EVENT`.

Prints what each step took of the processor, as JSON.
"""

import contextlib
import importlib
import io
import json
import sys
import time
from itertools import pairwise
from types import SimpleNamespace


def main(function: str, event: str) -> None:
    """Call and print."""
    name = f"flink-job-controller-dev-{function}"
    context = SimpleNamespace(
        function_name=name,
        function_version="$LATEST",
        memory_limit_in_mb=1024,
        invoked_function_arn=f"arn:aws:lambda:eu-central-1:123456789012:function:{name}",
        aws_request_id="8f0c5b1e-6a53-4f1e-9d25-2f2f5a0f9c11",
        get_remaining_time_in_millis=lambda: 60_000,
    )
    marks = [time.process_time()]
    with contextlib.redirect_stdout(io.StringIO()):
        handler = importlib.import_module(f"functions.{function}.handler").lambda_handler
        marks.append(time.process_time())
        for _ in range(2):
            handler(json.loads(event), context)
            marks.append(time.process_time())
    taken = [later - earlier for earlier, later in pairwise(marks)]
    print(json.dumps(dict(zip(("imports_s", "first_s", "second_s"), taken, strict=True))))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
