"""Which records of artifact versions are kept."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Verdict
from flink_controller.domain.artifact_retention import VersionRetention, surplus

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RETENTION = VersionRetention(count=2, age=timedelta(days=10))


def version(number: int, *, days_old: int, verdict: Verdict = Verdict.ADMITTED) -> ArtifactVersion:
    return ArtifactVersion(
        bucket="b",
        key="artifacts/a.jar",
        version_id=f"v{number}",
        uploaded_at=NOW - timedelta(days=days_old),
        size_bytes=1,
        sha256=f"{number:064x}",
        verdict=verdict,
        reason="",
        message="",
        key_id="team",
        decided_at=NOW,
    )


def removed(versions: Sequence[ArtifactVersion], *, admitted: int | None = None, pinned: Collection[str] = ()) -> list[str]:
    head = ArtifactHead(latest=versions[-1], admitted=None if admitted is None else versions[admitted])
    found = surplus(versions, head, retention=RETENTION, pinned=pinned, now=NOW)
    return [one.version_id for one in found]


def test_what_is_beyond_the_count_and_old_is_surplus() -> None:
    assert removed([version(n, days_old=100 - n) for n in range(5)]) == ["v0", "v1", "v2"]


def test_the_newest_are_kept_however_old() -> None:
    assert removed([version(n, days_old=100 - n) for n in range(2)]) == []


def test_the_young_are_kept_however_many() -> None:
    assert removed([version(n, days_old=10) for n in range(5)]) == []


def test_the_newest_admitted_is_kept_behind_many_that_are_not() -> None:
    versions = [
        version(0, days_old=100),
        version(1, days_old=99),
        *(version(n, days_old=90 - n, verdict=Verdict.REFUSED) for n in range(2, 6)),
    ]

    assert removed(versions, admitted=1) == ["v0", "v2", "v3"]


def test_a_held_release_is_kept_for_whoever_pins_it() -> None:
    versions = [version(0, days_old=100, verdict=Verdict.HELD), *(version(n, days_old=90 - n) for n in range(1, 4))]

    assert removed(versions) == ["v1"]


def test_every_version_of_a_pinned_digest_is_kept() -> None:
    versions = [version(n, days_old=100 - n) for n in range(4)]

    assert removed(versions, pinned={versions[0].sha256 or ""}) == ["v1"]


@pytest.mark.parametrize("verdict", [Verdict.ADMITTED, Verdict.WAITING, Verdict.REFUSED])
def test_any_other_verdict_is_surplus_in_its_time(verdict: Verdict) -> None:
    assert removed([version(n, days_old=50, verdict=verdict) for n in range(3)]) == ["v0"]
