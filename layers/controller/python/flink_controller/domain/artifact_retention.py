"""Which records of artifact versions are kept.

A record is what a pinned digest, and so a rollback, is looked up in; without one its version is out of reach, and its bytes
may go as well (`flinkctl artifact prune`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict


@dataclass(frozen=True)
class VersionRetention:
    """How many records of one artifact are kept, whatever needs them."""

    count: int = 50
    """The newest uploads; as many as there are revisions of a job."""
    age: timedelta = timedelta(days=90)
    """Uploads younger than this, however many."""


def surplus(
    versions: Sequence[ArtifactVersion],
    head: ArtifactHead | None,
    *,
    retention: VersionRetention,
    pinned: Collection[str],
    now: datetime,
) -> list[ArtifactVersion]:
    """Find the versions of one key that its own records give no reason to keep. What revisions use is another matter.

    Kept are the newest and the young ones, what the head names, what is held (it waits for somebody to pin it), and every
    version of a pinned digest.

    Args:
        versions: all records of the key, oldest upload first.
        head: the key's head.
        retention: how many are kept anyway.
        pinned: digests that specs pin, 64 hex digits each.
        now: the present time.
    """
    named = {found.version_id for found in (head.latest, head.admitted) if found is not None} if head is not None else set()
    return [
        version
        for version in versions[: -retention.count]
        if version.uploaded_at < now - retention.age
        and version.version_id not in named
        and version.verdict is not Verdict.HELD
        and version.sha256 not in pinned
    ]
