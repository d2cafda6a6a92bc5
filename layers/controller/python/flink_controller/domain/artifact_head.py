"""How the head of an artifact moves when a verdict on one of its versions is recorded.

Events of uploads arrive late, twice and out of order; this is the one place that says what they add up to.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict


@dataclass(frozen=True)
class Recorded:
    """What is to be stored after a verdict."""

    version: ArtifactVersion
    head: ArtifactHead


def record(
    verdict: ArtifactVersion, *, head: ArtifactHead | None, known: ArtifactVersion | None, burst_window: timedelta
) -> Recorded:
    """Work out what a verdict makes of a version's record and of its key's head.

    Args:
        verdict: what admission decided now.
        head: the key's head so far.
        known: what is recorded of the same version so far.
        burst_window: an admission this close to the previous one belongs to the same burst.
    """
    # The first admission stands: a repeated event must neither take it back nor restart its burst. A verdict that was
    # reached again with the same outcome is no change either, whenever it was.
    is_settled = known is not None and (known.verdict is Verdict.ADMITTED or _is_same(known, verdict))
    version = known if known is not None and is_settled else _in_order(verdict, head)
    if known is not None and _is_same(known, version):
        version = known
    if head is None:
        is_admitted = version.verdict is Verdict.ADMITTED
        return Recorded(
            version,
            ArtifactHead(
                latest=version,
                admitted=version if is_admitted else None,
                burst_started_at=version.decided_at if is_admitted else None,
                release=version.release if is_admitted else None,
                release_sha256=version.sha256 if is_admitted and version.release is not None else None,
            ),
        )
    latest = version if _is_newer(version, head.latest, is_new=known is None) else head.latest
    if not _becomes_admitted(version, latest, head):
        return Recorded(version, _released(head.model_copy(update={"latest": latest}), version))
    return Recorded(
        version,
        _released(
            head.model_copy(
                update={
                    "latest": latest,
                    "admitted": version,
                    "burst_started_at": _burst_start(version, head, burst_window),
                }
            ),
            version,
        ),
    )


def _in_order(verdict: ArtifactVersion, head: ArtifactHead | None) -> ArtifactVersion:
    """Hold back an older release: whoever may write to the bucket could bring back what was replaced for a reason."""
    if head is None or head.release is None or verdict.verdict is not Verdict.ADMITTED or verdict.release is None:
        return verdict
    is_same = verdict.release == head.release and verdict.sha256 == head.release_sha256
    if verdict.release > head.release or is_same:
        return verdict
    said = "is older than" if verdict.release < head.release else "was given to other bytes before, as"
    return verdict.judged(
        Verdict.HELD,
        "ReleaseOutOfOrder",
        f"release {verdict.release} {said} {head.release}, which was admitted: only a spec that pins"
        " artifact_signature runs it",
    )


def _released(head: ArtifactHead, version: ArtifactVersion) -> ArtifactHead:
    if version.verdict is not Verdict.ADMITTED or version.release is None:
        return head
    if head.release is not None and version.release <= head.release:
        return head
    return head.model_copy(update={"release": version.release, "release_sha256": version.sha256})


def _is_same(one: ArtifactVersion, other: ArtifactVersion) -> bool:
    return one == other.model_copy(update={"decided_at": one.decided_at, "uploader": one.uploader or other.uploader})


def _is_newer(version: ArtifactVersion, than: ArtifactVersion, *, is_new: bool) -> bool:
    if version.version_id == than.version_id:
        return True
    # S3 tells the time of an upload in whole seconds and its version ids have no order. Within one second the version that
    # was seen last counts as the newer one, but only when it is seen for the first time: a repetition moves nothing.
    return version.uploaded_at > than.uploaded_at or (is_new and version.uploaded_at == than.uploaded_at)


def _becomes_admitted(version: ArtifactVersion, latest: ArtifactVersion, head: ArtifactHead) -> bool:
    if version.verdict is not Verdict.ADMITTED:
        return False
    before = head.admitted
    if before is None:
        return True
    if before.version_id == version.version_id:
        return False
    return version.uploaded_at > before.uploaded_at or (
        version.uploaded_at == before.uploaded_at and latest.version_id == version.version_id
    )


def _burst_start(version: ArtifactVersion, head: ArtifactHead, window: timedelta) -> datetime:
    before = head.admitted
    if before is not None and head.burst_started_at is not None and version.decided_at - before.decided_at <= window:
        return head.burst_started_at
    return version.decided_at
