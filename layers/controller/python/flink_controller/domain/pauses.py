"""Where an operator can stop all effects, and which of these places concern a job."""

import re
from collections.abc import Iterable
from typing import Final

from flink_controller.domain.names import NAME, JobName, shown
from flink_controller.domain.status import Pause

EVERYTHING: Final = "all"
"""The scope of the whole installation."""
_TOLD: Final = "paused by "


def cluster_scope(name: str) -> str:
    """Name the scope of a cluster."""
    return f"cluster/{name}"


def namespace_scope(name: str) -> str:
    """Name the scope of a namespace."""
    return f"namespace/{name}"


def job_scope(job_id: str) -> str:
    """Name the scope of one job."""
    return f"job/{job_id}"


def scopes_of(job_id: str, clusters: Iterable[str]) -> tuple[str, ...]:
    """Name every scope that concerns a job, the widest first.

    Args:
        job_id: the job.
        clusters: those that it may be touched on now; while it moves there are two.
    """
    try:
        namespaces = [namespace_scope(JobName.parse(job_id).namespace)]
    except ValueError:
        # Rubbish in the spec table is in no namespace; it is never deployed either.
        namespaces = []
    found = [EVERYTHING, *(cluster_scope(name) for name in clusters if name), *namespaces, job_scope(job_id)]
    return tuple(dict.fromkeys(found))


def scope_fault(scope: str) -> str | None:
    """Say why a text is no scope; None when it is one."""
    if scope == EVERYTHING:
        return None
    kind, _, name = scope.partition("/")
    if kind == "job":
        try:
            JobName.parse(name)
        except ValueError as error:
            return str(error)
        return None
    if kind in {"cluster", "namespace"} and NAME.fullmatch(name):
        return None
    return f"{shown(name)} is no name of a {kind}: write 1 to 63 lower-case letters, digits and inner hyphens"


def pause_told(pause: Pause) -> str:
    """Say in a status who stopped everything; `scope_told` reads it back."""
    because = f": {pause.reason}" if pause.reason else ""
    return f"{_TOLD}{pause.scope}{because}; the job is only watched"


def scope_told(message: str) -> str | None:
    """Find the scope in what `pause_told` said; None in any other text."""
    if not message.startswith(_TOLD):
        return None
    scope = re.split("[:;]", message.removeprefix(_TOLD), maxsplit=1)[0]
    return scope if scope_fault(scope) is None else None
