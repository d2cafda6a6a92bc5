"""A job's whole life on a real Flink, by raw writes alone."""

import base64
import time

import pytest
import requests

from tests.e2e.conftest import Team, assert_exactly_once, assert_one_copy_at_a_time, assert_state_was_kept
from tests.jobs.build import build

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]


def test_a_raw_item_and_a_raw_upload_deploy_upgrade_suspend_and_delete_a_job(team: Team) -> None:
    job = "life"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job))
    deployed = team.wait_stable(job, 1)

    team.upload_counter(f"artifacts/{job}.jar", "v2")
    upgraded = team.wait_stable(job, 2)
    restored = team.get(f"/jobs/{upgraded['flink']['job_id']}/checkpoints")["latest"]["restored"]

    team.put({**team.spec(job), "state": "suspended"})
    suspended = team.wait(job, lambda status: status["lifecycle"] == "SUSPENDED")
    live_while_suspended = team.live_ids(job)

    team.put(team.spec(job))
    resumed = team.wait_stable(job)
    time.sleep(1)

    team.remove(job)
    deleted = team.wait(job, lambda status: status["lifecycle"] == "DELETED")
    live_while_deleted = team.live_ids(job)

    team.put(team.spec(job))
    rewritten = team.wait_stable(job)
    time.sleep(1)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")
    beats = team.beats(job)

    assert restored["is_savepoint"]
    assert restored["external_path"] == upgraded["savepoint"]["path"]
    assert (live_while_suspended, live_while_deleted) == ([], [])
    assert suspended["savepoint"]["path"] != upgraded["savepoint"]["path"]
    assert deleted["savepoint"]["path"]
    attempts = [status["flink"]["job_id"] for status in (deployed, upgraded, resumed, rewritten)]
    assert [int(attempt[16:], 16) for attempt in attempts] == [1, 2, 3, 4]
    assert {beat.version for beat in beats} == {"v1", "v2"}
    assert_one_copy_at_a_time(beats)
    assert_exactly_once(beats)


def test_a_refused_upgrade_brings_the_old_revision_back_with_its_state(team: Team) -> None:
    job = "refused"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job))
    team.wait_stable(job, 1)

    team.put(team.spec(job, args=("--fail-main",)))
    rolled_back = team.wait(job, lambda status: status["lifecycle"] == "ROLLED_BACK")
    time.sleep(1)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    assert rolled_back["revision"] == {"desired": 2, "running": 1, "stable": 1}
    assert "told to fail in main" in rolled_back["message"]
    assert_one_copy_at_a_time(team.beats(job))
    assert_exactly_once(team.beats(job))


def test_a_first_submit_that_is_refused_says_why_and_a_new_spec_heals_it(team: Team) -> None:
    job = "first-refused"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job, args=("--fail-main",)))
    failed = team.wait(job, lambda status: status["lifecycle"] == "FAILED")

    team.put(team.spec(job))
    team.wait_stable(job, 2)
    team.remove(job)

    assert "told to fail in main" in failed["message"]


def test_nothing_unsigned_wrongly_signed_or_altered_reaches_flink(team: Team) -> None:
    content = build("CounterJob", team.stack.settings.flink_version, label="v1").read_bytes()
    altered = content.replace(b"v1", b"v9", 1)
    cases = {
        "unsigned": "SignatureMissing",
        "forged": "SignatureInvalid",
        "altered": "SignatureInvalid",
        "no-jar": "NotAJar",
    }
    team.upload("artifacts/unsigned.jar", content, signed=False)
    team.upload("artifacts/forged.jar", content, signature=base64.b64encode(b"not a signature of anything"))
    team.upload("artifacts/altered.jar", altered, signature=team.signature(content))
    team.upload("artifacts/no-jar.jar", b"this is no jar")
    jars_before = len(team.get("/jars")["files"])

    for job in cases:
        team.put(team.spec(job))
    reasons = {
        job: team.wait(job, lambda status: status["reason"] not in {"ArtifactMissing", "Created"})["reason"] for job in cases
    }
    jars_after = len(team.get("/jars")["files"])

    assert reasons == cases
    assert jars_after <= jars_before
    assert [team.live_ids(job) for job in cases] == [[], [], [], []]
    for job in cases:
        team.remove(job)


def test_a_broken_item_is_answered_with_every_fault_and_disturbs_nothing(team: Team) -> None:
    job = "broken"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job))
    before = team.wait_stable(job, 1)

    team.put({"job_id": job, "job_type": "strem", "artifact_path": "../x.jar", "surprise": True, "labels": {"a": 1}})
    broken = team.wait(job, lambda status: status["rejected_spec_hash"] is not None)
    live = team.live_ids(job)
    team.put({"job_id": "never-good", "job_type": "stream", "artifact_path": "elsewhere/x.jar"})
    never = team.wait("never-good", lambda status: status["lifecycle"] == "FAILED")
    team.remove(job)
    team.remove("never-good")

    valid = next(found for found in broken["conditions"] if found["type"] == "SpecValid")
    assert all(path in valid["message"] for path in ("job_type", "artifact_path", "surprise", "labels.a"))
    assert live == [before["flink"]["job_id"]]
    assert "artifact_path" in never["message"]


def test_a_job_cancelled_by_hand_comes_back_from_its_last_checkpoint(team: Team) -> None:
    job = "by-hand"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job))
    before = team.wait_stable(job, 1)
    time.sleep(3)

    requests.patch(f"{team.flink.rest_url}/jobs/{before['flink']['job_id']}?mode=cancel", timeout=10)
    after = team.wait(
        job,
        lambda status: status["lifecycle"] == "STABLE" and status["flink"]["job_id"] != before["flink"]["job_id"],
        timeout_s=150,
    )
    time.sleep(1)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    assert int(after["flink"]["job_id"][16:], 16) == 2
    assert_one_copy_at_a_time(team.beats(job))
    assert_state_was_kept(team.beats(job))


def test_a_lost_jobmanager_is_reported_and_its_jobs_come_back_after_the_quarantine(team: Team) -> None:
    job = "lost"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job))
    team.wait_stable(job, 1)
    time.sleep(3)

    team.flink.kill_jobmanager()
    unreachable = team.wait(job, lambda status: status["flink"]["state"] == "UNKNOWN", timeout_s=150)
    lifecycle_while_away = unreachable["lifecycle"]
    team.flink.start_jobmanager()
    back = team.wait(
        job,
        lambda status: status["lifecycle"] == "STABLE" and int(status["flink"]["job_id"][16:], 16) == 2,
        timeout_s=300,
    )
    time.sleep(1)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    reachable = next(found for found in unreachable["conditions"] if found["type"] == "ClusterReachable")
    assert reachable["status"] == "False"
    assert lifecycle_while_away == "STABLE"
    assert back["revision"] == {"desired": 1, "running": 1, "stable": 1}
    assert_one_copy_at_a_time(team.beats(job))
    assert_state_was_kept(team.beats(job))


def test_a_blue_green_upgrade_leaves_no_gap_and_one_copy_in_the_end(team: Team) -> None:
    job = "blue-green"
    team.upload_counter(f"artifacts/{job}.jar", "v1")
    team.put(team.spec(job, upgrade_mode="blue-green"))
    before = team.wait_stable(job, 1)

    team.upload_counter(f"artifacts/{job}.jar", "v2")
    after = team.wait_stable(job, 2)
    team.wait(job, lambda _: team.live_ids(job) == [after["flink"]["job_id"]])
    time.sleep(1)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")
    beats = team.beats(job)

    spans = {
        flink_id: [beat.at_ms for beat in beats if beat.flink_job_id == flink_id]
        for flink_id in (before["flink"]["job_id"], after["flink"]["job_id"])
    }
    blue, green = spans.values()
    assert min(green) < max(blue), "green had begun before blue ended"
    assert_state_was_kept(beats)
