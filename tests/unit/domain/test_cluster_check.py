"""Which clusters may be registered, and what is to be said about one."""

from dataclasses import replace

import pytest

from flink_controller.domain.cluster import Cluster
from flink_controller.domain.cluster_check import (
    CheckStatus,
    ClusterOverview,
    check_cluster,
    duration_s,
    heartbeat_timeout_s,
    is_highly_available,
    name_fault,
    root_fault,
    url_fault,
)

CLUSTER = Cluster(
    name="default", url="http://flink:8081", savepoint_root="s3://state/savepoints", checkpoint_root="s3://state/checkpoints"
)
OVERVIEW = ClusterOverview(version="2.3.0", taskmanagers=1, slots_total=8, slots_free=8)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("50 s", 50),
        ("10s", 10),
        ("50000 ms", 50),
        ("50000", 50),
        ("1 min", 60),
        ("2m", 120),
        ("1 h", 3600),
        ("1 d", 86_400),
        ("PT50S", 50),
        ("PT1M30S", 90),
        ("PT0.5S", 0.5),
        ("PT1H", 3600),
        (" 5 Seconds ", 5),
        ("1000000 µs", 1),
        ("1000000000ns", 1),
    ],
)
def test_durations_are_read_as_flink_spells_them(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "PT", "-5 s", "5 fortnights", "s", "5 s x", "\x1b"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration_s(text)


def test_a_timeout_is_flinks_default_until_it_is_set() -> None:
    assert heartbeat_timeout_s({}) == 50.0
    assert heartbeat_timeout_s({"heartbeat.timeout": "10000"}) == 10.0
    with pytest.raises(ValueError, match="not above zero"):
        heartbeat_timeout_s({"heartbeat.timeout": "0"})


@pytest.mark.parametrize(
    ("settings", "is_on"),
    [
        ({}, False),
        ({"high-availability.type": "NONE"}, False),
        ({"high-availability.type": "none"}, False),
        ({"high-availability.type": "zookeeper"}, True),
        ({"high-availability": "kubernetes"}, True),
        ({"high-availability.type": "", "high-availability": "zookeeper"}, True),
    ],
)
def test_high_availability_is_on_when_something_provides_it(settings: dict[str, str], is_on: bool) -> None:  # noqa: FBT001  # a case's outcome
    assert is_highly_available(settings) is is_on


@pytest.mark.parametrize(
    "url",
    [
        "http://flink:8081",
        "https://flink.internal",
        "http://10.0.0.7:8081/",
        "https://gateway:443/flink/a-1",
        "http://[fd00::7]:8081",
    ],
)
def test_an_address_of_a_cluster_is_accepted(url: str) -> None:
    assert url_fault(url, is_local=False) is None


def test_loopback_is_for_laptops() -> None:
    assert url_fault("http://127.0.0.1:8081", is_local=True) is None
    assert url_fault("http://127.0.0.1:8081", is_local=False) is not None


@pytest.mark.parametrize("root", ["s3://state", "s3://state/a/b-1"])
def test_a_root_in_a_known_bucket_is_accepted(root: str) -> None:
    assert root_fault(root, is_local=False, buckets=("state",)) is None
    assert root_fault(root, is_local=False, buckets=()) is None
    assert root_fault(root, is_local=False, buckets=("other",)) is not None


@pytest.mark.parametrize("root", ["s3://A_B/x", "s3:///x", "s3://a"])
def test_a_bucket_has_a_buckets_name(root: str) -> None:
    assert "no name of a bucket" in (root_fault(root, is_local=False, buckets=()) or "")


@pytest.mark.parametrize(("root", "is_short"), [("s3://state/" + "x" * 189, True), ("s3://state/" + "ä" * 95, False)])
def test_a_root_is_short_enough_to_stand_in_a_status_many_times(root: str, *, is_short: bool) -> None:
    assert (root_fault(root, is_local=False, buckets=()) is None) is is_short


def test_files_are_for_laptops() -> None:
    assert root_fault("file:///state", is_local=True, buckets=()) is None
    assert root_fault("file:///", is_local=True, buckets=()) is not None
    assert root_fault("file:///state", is_local=False, buckets=()) is not None


def test_a_name_is_plain() -> None:
    assert name_fault("default") is None
    assert "no name of a cluster" in (name_fault("De fault") or "")


def test_a_root_that_would_not_be_accepted_any_more_fails_its_check() -> None:
    checks = {one.name: one for one in check_cluster(CLUSTER, {}, OVERVIEW, is_local=False, buckets=("other",))}

    assert checks["savepoint root"].status is CheckStatus.FAILED
    assert "state_buckets" in checks["checkpoint root"].message


def test_a_cluster_without_a_free_slot_is_warned_of() -> None:
    full = ClusterOverview(version="2.3.0", taskmanagers=1, slots_total=8, slots_free=0)
    checks = {one.name: one.status for one in check_cluster(CLUSTER, {}, full, is_local=False, buckets=())}

    assert checks["slots"] is CheckStatus.WARNING


def test_a_version_that_changed_since_the_registration_is_told() -> None:
    known = CLUSTER.model_copy(update={"flink_version": "1.20.5"})
    checks = {one.name: one.message for one in check_cluster(known, {}, OVERVIEW, is_local=False, buckets=())}

    assert checks["version"] == "Flink 2.3.0, registered as 1.20.5"


@pytest.mark.parametrize(("version", "status"), [("2.3.0", CheckStatus.WARNING), ("1.20.5", CheckStatus.OK)])
def test_high_availability_that_one_failed_job_spoils_is_warned_of(version: str, status: CheckStatus) -> None:
    known = CLUSTER.model_copy(update={"high_availability": True})
    settings = {"high-availability.type": "zookeeper"}
    overview = replace(OVERVIEW, version=version)

    found = {check.name: check for check in check_cluster(known, settings, overview, is_local=False, buckets=("state",))}

    assert found["high availability"].status is status


def test_an_upload_directory_is_fine_where_high_availability_keeps_the_jars_jobs() -> None:
    known = CLUSTER.model_copy(update={"high_availability": True})
    settings = {"web.upload.dir": "/jars", "high-availability.type": "zookeeper"}
    checks = {one.name: one.status for one in check_cluster(known, settings, OVERVIEW, is_local=False, buckets=())}

    assert checks["web.upload.dir"] is CheckStatus.OK
