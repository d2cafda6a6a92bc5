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
    is_settled = known is not None and known.verdict is Verdict.ADMITTED
    # The first admission stands: a repeated event must neither take it back nor restart its burst.
    version = known if known is not None and is_settled else verdict
    if head is None:
        is_admitted = version.verdict is Verdict.ADMITTED
        return Recorded(
            version,
            ArtifactHead(
                latest=version,
                admitted=version if is_admitted else None,
                burst_started_at=version.decided_at if is_admitted else None,
            ),
        )
    latest = version if _is_newer(version, head.latest, is_new=known is None) else head.latest
    if not _becomes_admitted(version, latest, head):
        return Recorded(version, head.model_copy(update={"latest": latest}))
    return Recorded(
        version,
        ArtifactHead(latest=latest, admitted=version, burst_started_at=_burst_start(version, head, burst_window)),
    )


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
