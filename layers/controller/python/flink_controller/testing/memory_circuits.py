"""What may hold a look back, in memory."""

from collections.abc import Sequence

from flink_controller.domain.circuit import Circuit
from flink_controller.domain.errors import StaleWriteError
from flink_controller.ports import Barriers
from flink_controller.testing.memory_registry import MemoryRegistry


class MemoryCircuits:
    """Twin of `Circuits`; the pauses are those of a registry's twin."""

    def __init__(self, registry: MemoryRegistry) -> None:
        self._registry = registry
        self._circuits: dict[str, str] = {}
        self.reads = 0
        self.writes = 0

    def read(self, cluster: str, scopes: Sequence[str] = ()) -> Barriers:
        """Read a circuit and the first pause of some scopes."""
        self.reads += 1
        return Barriers(self._circuit(cluster), self._registry.pause_of(scopes))

    def replace(self, cluster: str, circuit: Circuit, *, expected: Circuit) -> None:
        """Record a circuit on condition of the version."""
        stored = self._circuit(cluster)
        if stored.version != expected.version:
            if stored == circuit:
                return
            raise StaleWriteError(f"the circuit of cluster {cluster} changed since it was read")
        self.writes += 1
        self._circuits[cluster] = circuit.model_dump_json()

    def _circuit(self, cluster: str) -> Circuit:
        document = self._circuits.get(cluster)
        return Circuit() if document is None else Circuit.model_validate_json(document)
