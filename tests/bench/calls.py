"""Call the handlers as Lambda does, from a bench."""

import importlib
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import requests

from tests.integration.installation import Context


def invoke(function: str, event: Any) -> Any:
    """Call a function's handler with an event, and give its answer."""
    handler = importlib.import_module(f"functions.{function}.handler").lambda_handler
    return handler(event, Context(timedelta(seconds=60), function))


def wake(*job_ids: str) -> Any:
    """Deliver wake-ups from the follow-up queue."""
    records = [{"messageId": f"m{at}", "body": json.dumps({"job_id": job_id})} for at, job_id in enumerate(job_ids)]
    return invoke("reconcile_job", {"Records": records})


class FlinkCalls:
    """Counts the calls of this process on Flink, by method and kind of path."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._send = requests.Session.request

    def listen(self) -> None:
        """Begin to count."""
        send = self._send

        def counted(session: requests.Session, method: str, url: str, **rest: Any) -> requests.Response:
            self.counts[f"{method} {_kind(url)}"] += 1
            return send(session, method, url, **rest)

        requests.Session.request = counted  # type: ignore[assignment,method-assign]  # this process ends soon


def _kind(url: str) -> str:
    parts = url.split("/", 3)[3].partition("?")[0].split("/")
    return "/" + "/".join(":id" if len(part) >= 32 else part for part in parts)
