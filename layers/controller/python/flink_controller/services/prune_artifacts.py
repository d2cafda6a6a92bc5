"""Prune the records of artifact versions that nothing needs any more. The objects themselves are never touched here.

Records of a key grow by uploads alone, so a key is looked at on the day of an upload to it, once. Each removal stands for
itself: dying between two of them leaves the rest to the next pass.

Cost: per key one query and one read; where these leave something, one listing of all jobs and one query per job of the
namespace, for all its keys together; one write per record.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from flink_controller.domain.artifact import ArtifactVersion
from flink_controller.domain.artifact_retention import surplus
from flink_controller.domain.names import JobName, namespace_of_key
from flink_controller.domain.plan import Policy
from flink_controller.ports import Ports, StatusStore

MAX_PRUNED: Final = 200
"""Records in one pass over a namespace, some seconds of writes; what is left over comes with the next upload."""
MAX_JOBS: Final = 10_000
"""Jobs of a namespace whose revisions are read, a minute or two; the records of a larger one are all kept."""

Place = tuple[str, str, str]
"""Bucket, key and version id."""


def prune_artifacts(
    ports: Ports, policy: Policy, namespace: str, keys: Iterable[str], pinned: Collection[str]
) -> tuple[ArtifactVersion, ...]:
    """Delete the surplus records of some keys of a namespace. Harmless twice.

    Args:
        ports: the world.
        policy: the installation's numbers.
        namespace: whose keys these are.
        keys: in the namespace's bucket.
        pinned: digests that specs pin.

    Returns:
        What was deleted.

    Raises:
        TransientError: the state table does not answer; what was deleted by then is surplus all the same.
    """
    now, found = ports.clock.now(), list[ArtifactVersion]()
    for key in sorted(keys):
        bucket = policy.bucket_of(key)
        versions = ports.records.versions(bucket, key)
        if len(versions) > policy.version_retention.count:
            # The head after the versions: it may name a newer one than these, but none of these for the first time.
            head = ports.records.head(bucket, key)
            found += surplus(versions, head, retention=policy.version_retention, pinned=pinned, now=now)
    if not found:
        return ()
    # The revisions last: whatever was resolved to one of these records until now is seen.
    used = uses(ports.statuses, namespace, max_jobs=MAX_JOBS)
    if used is None:
        return ()
    gone = [version for version in found if (version.bucket, version.key, version.version_id) not in used][:MAX_PRUNED]
    for version in gone:
        ports.records.prune(version)
    return tuple(gone)


def uses(statuses: StatusStore, namespace: str, *, max_jobs: int | None = None) -> Mapping[Place, list[str]] | None:
    """Say which retained revisions of a namespace's jobs use which version, as `job@revision`.

    Only jobs of its namespace can name an artifact. What a job runs, or may go back to, is among its revisions.

    Returns:
        None: there are more jobs than `max_jobs`.
    """
    jobs = [summary.job_id for summary in statuses.summaries() if _is_of(summary.job_id, namespace)]
    if max_jobs is not None and len(jobs) > max_jobs:
        return None
    found: dict[Place, list[str]] = {}
    for job_id in jobs:
        for revision in statuses.revisions(job_id):
            artifact = revision.artifact
            place = (artifact.bucket, artifact.key, artifact.version_id)
            found.setdefault(place, []).append(f"{job_id}@{revision.number}")
    return found


def by_namespace(keys: Iterable[str]) -> dict[str, set[str]]:
    """Sort keys by the namespace that they belong to; what belongs to none is left out."""
    found: dict[str, set[str]] = {}
    for key in keys:
        namespace = namespace_of_key(key)
        if namespace is not None:
            found.setdefault(namespace, set()).add(key)
    return found


def _is_of(job_id: str, namespace: str) -> bool:
    try:
        return JobName.parse(job_id).namespace == namespace
    except ValueError:
        return False
