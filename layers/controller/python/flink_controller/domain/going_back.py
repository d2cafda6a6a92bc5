"""Going back to an earlier revision: which spec item asks for it.

An earlier spec is a new wish, not an undoing: what a team asks beside the revision itself (running or suspended, the
nonces of what was done once) stays as the item has it, or an old restart would be asked for again.
"""

import copy
from collections.abc import Mapping
from typing import Any

from flink_controller.domain.change import SpecChange
from flink_controller.domain.spec import ValidSpec, field_paths, read_spec
from flink_controller.domain.status import JobStatus, Revision

_WISHES = tuple(path for path, change, *_ in field_paths() if change is SpecChange.NONE and path != "job_id")
"""Fields that make no revision."""


def item_for(revision: Revision, item: Mapping[str, Any]) -> dict[str, Any]:
    """Give the item that asks for a revision's spec with exactly its bytes, and otherwise for what the item asks now."""
    wanted: dict[str, Any] = copy.deepcopy(dict(revision.spec))
    for path in _WISHES:
        _move(item, wanted, path.split("."))
    return {**wanted, "job_id": revision.job_id, "artifact_signature": f"sha256:{revision.artifact.sha256}"}


def is_current(revision: Revision, item: Mapping[str, Any], status: JobStatus | None) -> bool:
    """Tell whether an item asks for a revision already, and the controller has taken it so."""
    desired = None if status is None else status.desired
    if desired is None or desired.artifact.sha256 != revision.artifact.sha256:
        return False
    asked = _revision_hash(revision.job_id, item)
    same = (revision.spec, item_for(revision, item))
    return asked is not None and asked in {_revision_hash(revision.job_id, one) for one in same}


def _revision_hash(job_id: str, item: Mapping[str, Any]) -> str | None:
    view = read_spec(job_id, item)
    return view.revision_hash if isinstance(view, ValidSpec) else None


def _move(source: Any, target: dict[str, Any], path: list[str]) -> None:
    """Make a field of the target what it is in the source: the same value, or absent."""
    *parents, name = path
    for part in parents:
        source = source.get(part) if isinstance(source, Mapping) else None
    has_value = isinstance(source, Mapping) and name in source
    for part in parents:
        if not isinstance(target.get(part), dict):
            if not has_value:
                return
            target[part] = {}
        target = target[part]
    if has_value:
        target[name] = copy.deepcopy(source[name])
    else:
        target.pop(name, None)
