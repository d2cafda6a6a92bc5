"""The artifact bucket and the records of its object versions, in memory."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import IO

from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict
from flink_controller.domain.artifact_head import record
from flink_controller.domain.errors import NotFoundError
from flink_controller.ports import ObjectVersion
from flink_controller.testing.parsed import parsed


class MemoryArtifactRecords:
    """Twin of `ArtifactRecords`."""

    def __init__(self) -> None:
        self._heads: dict[str, str] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self.reads = 0
        self.writes = 0

    def head(self, bucket: str, key: str) -> ArtifactHead | None:
        """Read the newest version and the newest admitted one."""
        self.reads += 1
        return self._head(f"{bucket}/{key}")

    def heads(self, places: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], ArtifactHead]:
        """Read the heads of many keys."""
        self.reads += 1
        found = {(bucket, key): self._head(f"{bucket}/{key}") for bucket, key in places}
        return {place: head for place, head in found.items() if head is not None}

    def admitted_with_digest(self, bucket: str, key: str, sha256: str) -> ArtifactVersion | None:
        """Find the newest admitted version with a digest."""
        found = [
            version
            for version in self.versions(bucket, key)
            if version.verdict in {Verdict.ADMITTED, Verdict.HELD} and version.sha256 == sha256
        ]
        return found[-1] if found else None

    def versions(self, bucket: str, key: str) -> list[ArtifactVersion]:
        """Read all versions, oldest upload first."""
        self.reads += 1
        documents = self._versions.get(f"{bucket}/{key}", {}).values()
        found = [parsed(ArtifactVersion, document) for document in documents]
        return sorted(found, key=lambda version: (version.uploaded_at, version.decided_at, version.version_id))

    def record(self, version: ArtifactVersion, *, burst_window: timedelta) -> ArtifactHead:
        """Record a verdict and move the head along."""
        place = f"{version.bucket}/{version.key}"
        stored = self._versions.get(place, {}).get(version.version_id)
        known = None if stored is None else parsed(ArtifactVersion, stored)
        head = self._head(place)
        result = record(version, head=head, known=known, burst_window=burst_window)
        if result.version != known or result.head != head:
            self.writes += 1
            self._versions.setdefault(place, {})[version.version_id] = result.version.model_dump_json()
            self._heads[place] = result.head.model_dump_json()
        return result.head

    def prune(self, version: ArtifactVersion) -> None:
        """Delete a version's record."""
        self.writes += 1
        self._versions.get(f"{version.bucket}/{version.key}", {}).pop(version.version_id, None)

    def _head(self, place: str) -> ArtifactHead | None:
        document = self._heads.get(place)
        return None if document is None else parsed(ArtifactHead, document)


@dataclass(frozen=True)
class _Stored:
    version_id: str
    uploaded_at: datetime
    content: bytes | None
    """None: a delete marker."""


class MemoryArtifactObjects:
    """Twin of `ArtifactObjects`: a versioned bucket, with the uploads of a team beside.

    Args:
        now: tells when an upload arrives; the fraction of the second is dropped, as S3 does.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._objects: dict[str, list[_Stored]] = {}
        self._uploads = 0
        self.reads = 0

    def upload(self, bucket: str, key: str, content: bytes) -> ObjectVersion:
        """Put an object; an older version under the same key stays."""
        stored = self._add(bucket, key, content)
        return _version(bucket, key, stored)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object as a team does: a marker hides it, its versions stay."""
        self._add(bucket, key, None)

    def purge(self, bucket: str, key: str, version_id: str) -> None:
        """Delete a version for good."""
        place = f"{bucket}/{key}"
        self._objects[place] = [found for found in self._objects.get(place, []) if found.version_id != version_id]

    def superseded(self, bucket: str, prefix: str) -> Iterator[ObjectVersion]:
        """List versions that are not the newest, as a team can."""
        for place in sorted(self._objects):
            key = place.removeprefix(f"{bucket}/")
            if place != key and key.startswith(prefix):
                yield from (_version(bucket, key, found) for found in self._objects[place][:-1] if found.content is not None)

    def latest(self, bucket: str, key: str) -> ObjectVersion | None:
        """Look up the newest version."""
        self.reads += 1
        history = self._objects.get(f"{bucket}/{key}", [])
        if not history or history[-1].content is None:
            return None
        return _version(bucket, key, history[-1])

    def uploaded_since(self, bucket: str, prefix: str, since: datetime) -> Iterator[str]:
        """List what was uploaded lately."""
        self.reads += 1
        for place in sorted(self._objects):
            key = place.removeprefix(f"{bucket}/")
            newest = self._objects[place][-1] if place != key and key.startswith(prefix) and self._objects[place] else None
            if newest is not None and newest.content is not None and newest.uploaded_at >= since:
                yield key

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        """Open a version for streaming."""
        self.reads += 1
        for found in self._objects.get(f"{bucket}/{key}", []):
            if found.version_id == version_id and found.content is not None:
                return io.BytesIO(found.content)
        raise NotFoundError(f"s3://{bucket}/{key} has no version {version_id}")

    def part(self, bucket: str, key: str, version_id: str, *, start: int, length: int) -> bytes:
        """Read some bytes of a version."""
        with self.open(bucket, key, version_id) as stream:
            stream.seek(start)
            return stream.read(length)

    def read(self, bucket: str, key: str, *, limit_bytes: int) -> bytes | None:
        """Read the start of the newest version."""
        self.reads += 1
        history = self._objects.get(f"{bucket}/{key}", [])
        content = history[-1].content if history else None
        return None if content is None else content[: limit_bytes + 1]

    def _add(self, bucket: str, key: str, content: bytes | None) -> _Stored:
        self._uploads += 1
        stored = _Stored(f"version-{self._uploads:06d}", self._now().replace(microsecond=0), content)
        self._objects.setdefault(f"{bucket}/{key}", []).append(stored)
        return stored


def _version(bucket: str, key: str, stored: _Stored) -> ObjectVersion:
    return ObjectVersion(bucket, key, stored.version_id, len(stored.content or b""), stored.uploaded_at)
