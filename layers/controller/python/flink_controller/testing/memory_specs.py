"""The table that teams write, in memory."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flink_controller.domain.errors import StaleWriteError


class MemorySpecs:
    """Twin of `SpecStore` and `EditableSpecStore`, with the raw writes of a team beside."""

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}
        self.reads = 0
        self.writes = 0

    def put(self, job_id: str, item: Mapping[str, Any]) -> None:
        """Write an item as a team does with a raw put: nothing is checked."""
        # Copied, not serialised: a raw item may hold bytes and sets, which a malformed spec must be testable with.
        self._items[job_id] = {**copy.deepcopy(dict(item)), "job_id": job_id}

    def delete(self, job_id: str) -> None:
        """Remove an item as a team does with a raw delete."""
        self._items.pop(job_id, None)

    def read(self, job_id: str) -> Mapping[str, Any] | None:
        """Read an item."""
        self.reads += 1
        return copy.deepcopy(self._items.get(job_id))

    def present(self, job_ids: Iterable[str]) -> frozenset[str]:
        """Tell which of some jobs have an item."""
        self.reads += 1
        return frozenset(self._items).intersection(job_ids)

    def segment(self, index: int, total: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read one part of all items; an item's part is fixed by its place in the sorted list of names."""
        self.reads += 1
        names = sorted(self._items)[index::total]
        return iter([(name, copy.deepcopy(self._items[name])) for name in names])

    def items(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Read all items."""
        return self.segment(0, 1)

    def replace(self, job_id: str, item: Mapping[str, Any] | None, *, expected: Mapping[str, Any] | None) -> None:
        """Write or delete an item on condition that the stored one equals `expected`."""
        stored = self._items.get(job_id)
        if stored != (None if expected is None else {**expected, "job_id": job_id}):
            raise StaleWriteError(f"the spec of {job_id} changed since it was read")
        self.writes += 1
        if item is None:
            self.delete(job_id)
        else:
            self.put(job_id, item)
