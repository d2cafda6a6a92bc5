"""The rights of the deployed functions, held against every call that their handlers make in this suite.

A call that the reviewed table does not allow is refused as AWS would refuse it, so a handler that needs more than it has
fails here and not on AWS only; and what no handler has used by the end of the suite, it need not have.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import ClientError

from tests.permissions import LEADING_KEYS, Permission, requests_of

GOLDEN: Final = Path(__file__).resolve().parents[1] / "infra" / "golden" / "access.json"
_ENTRY: Final = re.compile(r"(?P<resource>.+?)(?: where the key is like (?P<keys>.+))?")


@cache
def granted(function: str) -> dict[Permission, str]:
    """Read a function's row of the reviewed table: each right, and how the table writes its resource."""
    found: dict[Permission, str] = {}
    for entry, actions in json.loads(GOLDEN.read_text())[function].items():
        match = _ENTRY.fullmatch(entry)
        assert match is not None
        keys = match["keys"]
        conditions = {"ForAllValues:StringLike": {LEADING_KEYS: tuple(keys.split(" or "))}} if keys else {}
        for action in actions:
            found[Permission(action=action, resource=match["resource"], conditions=conditions)] = entry
    return found


class Rights:
    """Judges the calls of the handler that is at work, and remembers which rights were used."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        """Judge calls on the tables, buckets and queues that `labels` names as the template does."""
        self._labels = dict(labels)
        self._function: str | None = None
        self.used: set[tuple[str, str, str]] = set()
        """Function, resource as the table writes it, action."""

    def watch(self, events: Any) -> None:
        """Judge every call of the clients that a botocore session makes from now on."""
        events.register("provide-client-params", self._judge)

    def know(self, name: str, label: str) -> None:
        """Say what a resource is called in the template."""
        self._labels[name] = label

    @contextmanager
    def of(self, function: str) -> Iterator[None]:
        """Act as a function."""
        self._function = function
        try:
            yield
        finally:
            self._function = None

    def unused(self, function: str) -> set[tuple[str, str]]:
        """Give the rights that a function has and never used."""
        return {
            (entry, permission.action)
            for permission, entry in granted(function).items()
            if (function, entry, permission.action) not in self.used
        }

    def _judge(self, params: Mapping[str, Any], model: Any, **_: object) -> None:
        if self._function is None:
            return
        for request in requests_of(model.service_model.service_name, model.name, params, self._labels):
            found = [entry for permission, entry in granted(self._function).items() if permission.allows(request)]
            if not found:
                message = f"{self._function} is not authorized to perform {request.action} on {request.resource}"
                raise ClientError(
                    {"Error": {"Code": "AccessDeniedException", "Message": f"{message} {dict(request.values)}"}}, model.name
                )
            self.used |= {(self._function, entry, request.action) for entry in found}
