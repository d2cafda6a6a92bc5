"""Names of jobs, and the ids that are derived from them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain.names import (
    JobName,
    artifact_prefix,
    attempt_number,
    flink_job_id,
    namespace_of_key,
    shown,
    tag,
    trigger_id,
)


@pytest.mark.parametrize(
    ("job_id", "expected"),
    [
        ("etl", JobName("default", "etl")),
        ("default/etl", JobName("default", "etl")),
        ("team/etl-1", JobName("team", "etl-1")),
        ("a/" + "b" * 63, JobName("a", "b" * 63)),
        ("0", JobName("default", "0")),
        ("artifacts", JobName("default", "artifacts")),
    ],
)
def test_a_job_id_is_a_name_with_or_without_a_namespace(job_id: str, expected: JobName) -> None:
    assert JobName.parse(job_id) == expected


@pytest.mark.parametrize(
    "job_id", ["", "/", "a/", "/a", "a/b/c", "A", "a_b", "-a", "a-", "a b", "a\n", "ä", "a" * 64, "..", "a/..", "%61"]
)
def test_anything_else_is_refused_and_shown_safely(job_id: str) -> None:
    with pytest.raises(ValueError, match="is no job id") as refused:
        JobName.parse(job_id)

    assert str(refused.value).isprintable()


def test_the_namespace_of_the_default_prefix_is_reserved() -> None:
    with pytest.raises(ValueError, match="reserved"):
        JobName.parse("artifacts/etl")


@pytest.mark.parametrize("job_id", ["flinkctl-burn", "team/flinkctl-burn"])
def test_the_name_of_a_used_up_id_is_reserved(job_id: str) -> None:
    with pytest.raises(ValueError, match="reserved"):
        JobName.parse(job_id)


@pytest.mark.parametrize(("namespace", "expected"), [("default", "artifacts/"), ("team", "team/")])
def test_a_namespace_owns_one_prefix(namespace: str, expected: str) -> None:
    assert artifact_prefix(namespace) == expected
    assert JobName(namespace, "etl").artifact_prefix == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("artifacts/etl.jar", "default"),
        ("team/etl.jar", "team"),
        ("team/a/b.jar", "team"),
        ("default/etl.jar", None),
        ("etl.jar", None),
        ("/etl.jar", None),
        ("Team/etl.jar", None),
        ("te.am/etl.jar", None),
        ("", None),
    ],
)
def test_a_key_belongs_to_the_namespace_of_its_prefix(key: str, expected: str | None) -> None:
    assert namespace_of_key(key) == expected


def test_two_controllers_and_two_jobs_have_different_tags() -> None:
    tags = {tag("one", "etl"), tag("two", "etl"), tag("one", "etl2"), tag("onee", "tl")}

    assert len(tags) == 4


@settings(derandomize=True, deadline=None)
@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_the_number_of_an_attempt_can_be_read_from_its_id(number: int) -> None:
    found = flink_job_id("one", "etl", number)

    assert len(found) == 32
    assert attempt_number(tag("one", "etl"), found) == number


@pytest.mark.parametrize("other", ["", "x" * 32, "0" * 32, "0" * 31, tag("one", "etl") + "X" * 16, tag("one", "etl")])
def test_ids_of_others_have_no_number(other: str) -> None:
    assert attempt_number(tag("one", "etl"), other) is None


def test_operations_of_another_kind_or_sequence_have_other_ids() -> None:
    ids = {
        trigger_id("a", "stop", 1),
        trigger_id("a", "savepoint", 1),
        trigger_id("a", "stop", 2),
        trigger_id("b", "stop", 1),
    }

    assert len(ids) == 4
    assert all(len(found) == 32 for found in ids)


def test_text_of_others_is_shown_escaped_and_cut() -> None:
    assert shown("a\n\x1b") == r"'a\n\x1b'"
    assert shown("x" * 500, 20) == "'" + "x" * 15 + "...'"
