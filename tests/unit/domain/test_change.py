"""How severe the difference between two revisions is."""

from typing import Any

import pytest

from flink_controller.domain.change import SpecChange, classify
from flink_controller.domain.status import RevisionRef
from tests.unit.domain.builders import artifact, valid_spec


def revision(number: int = 1, *, jar: int = 1, **changes: Any) -> RevisionRef:
    view = valid_spec(**changes)
    return RevisionRef(
        number=number,
        cluster=view.spec.cluster,
        spec_hash=view.revision_hash,
        fingerprints=view.fingerprints,
        artifact=artifact(jar),
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, SpecChange.NONE),
        ({"state": "suspended", "deployment__restart_nonce": "a"}, SpecChange.NONE),
        ({"labels": {"team": "data"}}, SpecChange.IGNORE),
        ({"deployment__rollback__enabled": False}, SpecChange.IGNORE),
        ({"deployment__parallelism": 4}, SpecChange.RESCALE),
        ({"deployment__parallelism": 4, "labels": {"team": "data"}}, SpecChange.RESCALE),
        ({"args": ["--x"]}, SpecChange.UPGRADE),
        ({"args": ["--x"], "deployment__parallelism": 4}, SpecChange.UPGRADE),
        ({"monitoring__log_level": "DEBUG"}, SpecChange.UPGRADE),
        ({"stream_config__checkpoint_timeout": 1}, SpecChange.UPGRADE),
        ({"cluster": "other"}, SpecChange.REDEPLOY),
        ({"cluster": "other", "args": ["--x"]}, SpecChange.REDEPLOY),
    ],
)
def test_the_most_severe_change_wins(changes: dict[str, Any], expected: SpecChange) -> None:
    assert classify(revision(), revision(2, **changes)) is expected


def test_other_bytes_are_an_upgrade_whatever_the_spec_says() -> None:
    assert classify(revision(), revision(2, jar=2)) is SpecChange.UPGRADE
    assert classify(revision(), revision(2, jar=2, labels={"a": "b"})) is SpecChange.UPGRADE
    assert classify(revision(), revision(2, jar=2, cluster="other")) is SpecChange.REDEPLOY


def test_another_upload_of_the_same_bytes_is_no_change() -> None:
    again = revision(2)
    again = again.model_copy(update={"artifact": again.artifact.model_copy(update={"version_id": "version-9"})})

    assert classify(revision(), again) is SpecChange.NONE
