"""What operators wrote, in memory."""

from collections.abc import Sequence

from flink_controller.domain.artifact import TrustedKey
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.errors import RejectedError, StaleWriteError
from flink_controller.domain.status import Pause
from flink_controller.domain.trust import Denial, NamespacePolicy, RegistryEvent, Trust
from flink_controller.testing.parsed import parsed


class MemoryRegistry:
    """Twin of `Registry` and `EditableRegistry`."""

    def __init__(self) -> None:
        self._clusters: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._pauses: dict[str, str] = {}
        self._policies: dict[str, str] = {}
        self._denials: dict[str, str] = {}
        self._changes: dict[str, list[str]] = {}
        self._malformed: set[str] = set()
        self.reads = 0
        self.writes = 0

    def cluster(self, name: str) -> Cluster | None:
        """Read a cluster."""
        self.reads += 1
        self._refuse_malformed(f"CLUSTER#{name}")
        document = self._clusters.get(name)
        return None if document is None else parsed(Cluster, document)

    def clusters(self) -> list[Cluster]:
        """Read all well-formed clusters, by name."""
        self.reads += 1
        return [
            parsed(Cluster, self._clusters[name])
            for name in sorted(self._clusters)
            if f"CLUSTER#{name}" not in self._malformed
        ]

    def key(self, key_id: str) -> TrustedKey | None:
        """Read a key."""
        self.reads += 1
        self._refuse_malformed(f"KEY#{key_id}")
        document = self._keys.get(key_id)
        return None if document is None else parsed(TrustedKey, document)

    def keys(self) -> list[TrustedKey]:
        """Read all well-formed keys, by id."""
        self.reads += 1
        return [
            parsed(TrustedKey, self._keys[key_id]) for key_id in sorted(self._keys) if f"KEY#{key_id}" not in self._malformed
        ]

    def trust(self, key_ids: Sequence[str], sha256: str) -> Trust:
        """Read some keys and whether a digest is denied."""
        self.reads += 1
        keys = {
            key_id: TrustedKey.model_validate_json(self._keys[key_id])
            if key_id in self._keys and f"KEY#{key_id}" not in self._malformed
            else None
            for key_id in key_ids
        }
        denied = self._denials.get(sha256)
        return Trust(keys, None if denied is None else Denial.model_validate_json(denied))

    def denials(self) -> list[Denial]:
        """Read every denied digest."""
        self.reads += 1
        return [Denial.model_validate_json(self._denials[sha256]) for sha256 in sorted(self._denials)]

    def policy(self, namespace: str) -> NamespacePolicy:
        """Read a namespace's policy."""
        self.reads += 1
        self._refuse_malformed(f"POLICY#{namespace}")
        document = self._policies.get(namespace)
        return NamespacePolicy(namespace=namespace) if document is None else NamespacePolicy.model_validate_json(document)

    def policies(self) -> list[NamespacePolicy]:
        """Read all policies, by namespace."""
        self.reads += 1
        names = (name for name in sorted(self._policies) if f"POLICY#{name}" not in self._malformed)
        return [NamespacePolicy.model_validate_json(self._policies[name]) for name in names]

    def changes(self, subject: str) -> list[RegistryEvent]:
        """Read the events of one item, oldest first."""
        self.reads += 1
        return [RegistryEvent.model_validate_json(event) for event in self._changes.get(subject, ())]

    def replace_key(self, key: TrustedKey, *, expected: TrustedKey | None, event: RegistryEvent) -> None:
        """Write a key on condition of the stored one."""
        document = self._keys.get(key.key_id)
        if (None if document is None else TrustedKey.model_validate_json(document)) != expected:
            raise StaleWriteError(f"key {key.key_id} changed since it was read")
        self.put_key(key)
        self._tell(event)

    def put_policy(self, policy: NamespacePolicy, event: RegistryEvent) -> None:
        """Write a policy."""
        self.writes += 1
        self._malformed.discard(f"POLICY#{policy.namespace}")
        self._policies[policy.namespace] = policy.model_dump_json()
        self._tell(event)

    def put_denial(self, denial: Denial, event: RegistryEvent) -> None:
        """Deny a digest."""
        self.writes += 1
        self._denials[denial.sha256] = denial.model_dump_json()
        self._tell(event)

    def delete_denial(self, sha256: str, event: RegistryEvent) -> None:
        """Lift a denial."""
        self.writes += 1
        self._denials.pop(sha256, None)
        self._tell(event)

    def _tell(self, event: RegistryEvent | None) -> None:
        if event is not None:
            self._changes.setdefault(event.subject, []).append(event.model_dump_json())

    def pauses(self) -> list[Pause]:
        """Read every pause, by scope."""
        self.reads += 1
        return [parsed(Pause, self._pauses[scope]) for scope in sorted(self._pauses)]

    def pause_of(self, scopes: Sequence[str]) -> Pause | None:
        """Read the first pause of some scopes."""
        self.reads += 1
        return next((parsed(Pause, self._pauses[scope]) for scope in scopes if scope in self._pauses), None)

    def put_cluster(self, cluster: Cluster, event: RegistryEvent | None = None) -> None:
        """Write a cluster."""
        self.writes += 1
        self._tell(event)
        self._malformed.discard(f"CLUSTER#{cluster.name}")
        self._clusters[cluster.name] = cluster.model_dump_json()

    def delete_cluster(self, name: str) -> None:
        """Remove a cluster."""
        self.writes += 1
        self._malformed.discard(f"CLUSTER#{name}")
        self._clusters.pop(name, None)

    def put_key(self, key: TrustedKey) -> None:
        """Write a key."""
        self.writes += 1
        self._malformed.discard(f"KEY#{key.key_id}")
        self._keys[key.key_id] = key.model_dump_json()

    def put_pause(self, pause: Pause, event: RegistryEvent | None = None) -> None:
        """Write a pause."""
        self.writes += 1
        self._tell(event)
        self._pauses[pause.scope] = pause.model_dump_json()

    def delete_pause(self, scope: str, event: RegistryEvent | None = None) -> None:
        """Remove a pause."""
        self.writes += 1
        self._tell(event)
        self._pauses.pop(scope, None)

    def spoil(self, partition_key: str) -> None:
        """Make an item malformed (`CLUSTER#name`, `KEY#id`), as a slip of an operator's hand does."""
        self._malformed.add(partition_key)

    def _refuse_malformed(self, partition_key: str) -> None:
        if partition_key in self._malformed:
            raise RejectedError(f"item {partition_key} is malformed: spoiled by hand")
