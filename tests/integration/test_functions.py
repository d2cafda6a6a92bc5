"""Every file of `events/` through its handler: what the world looks like afterwards, and what Lambda is told."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest
from moto.secretsmanager.models import secretsmanager_backends

from flink_controller.bootstrap import controller
from flink_controller.domain.artifact import Verdict
from flink_controller.domain.cluster import Auth
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.names import flink_job_id
from flink_controller.domain.status import DueKind
from flink_controller.services import sweep_artifacts
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import SOURCE
from flink_controller.testing.jars import jar_bytes
from infra.functions import FUNCTIONS
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import (
    BUCKET,
    CONTROLLER,
    EVENTS,
    JAR,
    REGION,
    RIGHTS,
    STATE_TABLE,
    Installation,
    deliver,
    follow_ups,
    invoke,
    sample,
    signature,
    spec_item,
    uploaded,
)

# Powertools warns about an invocation that counted nothing, such as an upload that waits for its signature.
pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")
NOTHING_FAILED: dict[str, list[Any]] = {"batchItemFailures": []}
UP = {Lifecycle.DEPLOYED, Lifecycle.STABLE}
"""Where one look can bring a new job, depending on when its first checkpoint comes."""
FLINK_SECRET = "example-flink-credentials"  # noqa: S105  # its name
"""What `flink_secrets` of the reviewed deployment names."""
COVERED: set[str] = set()
Test: TypeAlias = Callable[..., None]


def event(path: str) -> Callable[[Test], Test]:
    """Name the file that a test delivers."""
    COVERED.add(path)
    return lambda test: test


def test_every_event_file_has_a_test_and_every_function_has_events() -> None:
    found = {str(path.relative_to(EVENTS)) for path in EVENTS.rglob("*.json")}

    # Theirs are in test_published_events, and what leaves is an example for others and no event of ours.
    elsewhere = {path for path in found if path.startswith(("publish_events/", "published/"))}
    assert found - elsewhere == COVERED
    assert {Path(path).parts[0] for path in found} - {"published"} == {row.name for row in FUNCTIONS}


# admit_artifact


@event("admit_artifact/signed.json")
def test_a_signed_jar_is_admitted_and_its_jobs_are_woken(installed: Installation) -> None:
    digest = installed.upload_signed()
    waiting(installed)

    assert deliver("admit_artifact/signed.json") is None

    head = installed.head()
    assert head is not None
    assert head.admitted is not None
    assert (head.admitted.sha256, head.admitted.key_id, head.latest.verdict) == (digest, "demo", Verdict.ADMITTED)
    assert installed.woken() == ["etl"]


@event("admit_artifact/signed.json")
def test_a_repeated_upload_event_changes_no_record(installed: Installation) -> None:
    installed.upload_signed()
    deliver("admit_artifact/signed.json")
    before = installed.head()

    deliver("admit_artifact/signed.json")

    assert installed.head() == before


@event("admit_artifact/unsigned.json")
def test_an_unsigned_jar_waits_for_its_signature(installed: Installation) -> None:
    installed.upload(JAR, jar_bytes("v1"))

    assert deliver("admit_artifact/unsigned.json") is None

    head = installed.head()
    assert head is not None
    assert (head.latest.verdict, head.latest.reason, head.admitted) == (Verdict.WAITING, "SignatureMissing", None)


@event("admit_artifact/not_a_jar.json")
@pytest.mark.parametrize("content", [b"<html>504</html>\n", b"", jar_bytes("v1")[:-10]])
def test_what_is_no_whole_jar_is_refused(installed: Installation, content: bytes) -> None:
    installed.upload(JAR, content)
    installed.upload(f"{JAR}.sig", signature(hashlib.sha256(content).hexdigest()))

    assert deliver("admit_artifact/not_a_jar.json") is None

    head = installed.head()
    assert head is not None
    assert (head.latest.verdict, head.latest.reason) == (Verdict.REFUSED, "NotAJar")


@event("admit_artifact/signature_first.json")
def test_a_signature_without_its_jar_is_kept_in_mind_by_s3_alone(installed: Installation) -> None:
    content = jar_bytes("v1")
    installed.upload(f"{JAR}.sig", signature(hashlib.sha256(content).hexdigest()))

    assert deliver("admit_artifact/signature_first.json") is None
    assert installed.head() is None

    installed.upload(JAR, content)
    deliver("admit_artifact/unsigned.json")

    head = installed.head()
    assert head is not None
    assert head.latest.verdict is Verdict.ADMITTED


@event("admit_artifact/wrong_signature.json")
@pytest.mark.parametrize("content", [signature("00" * 32), b"not base64!", b""])
def test_a_signature_of_other_bytes_is_refused_and_the_old_version_stays_admitted(
    installed: Installation, content: bytes
) -> None:
    digest = installed.upload_signed("v1")
    deliver("admit_artifact/signed.json")
    installed.upload(JAR, jar_bytes("v2"))
    installed.upload(f"{JAR}.sig", content)

    assert deliver("admit_artifact/wrong_signature.json") is None

    head = installed.head()
    assert head is not None
    assert head.admitted is not None
    assert (head.latest.verdict, head.latest.reason) == (Verdict.REFUSED, "SignatureInvalid")
    assert head.admitted.sha256 == digest


@event("admit_artifact/encoded_key.json")
def test_a_key_is_decoded_as_s3_encodes_it(installed: Installation) -> None:
    key = "artifacts/daily sales/übersicht+v1.jar"
    installed.upload_signed(key=key)

    assert deliver("admit_artifact/encoded_key.json") is None

    head = installed.head(key)
    assert head is not None
    assert head.latest.verdict is Verdict.ADMITTED


@event("admit_artifact/foreign_bucket.json")
@event("admit_artifact/deleted_meanwhile.json")
@event("admit_artifact/outside_any_namespace.json")
@event("admit_artifact/garbage.json")
@pytest.mark.parametrize("name", ["foreign_bucket", "deleted_meanwhile", "outside_any_namespace", "garbage"])
def test_what_is_no_artifact_of_ours_leaves_no_trace(installed: Installation, name: str) -> None:
    before = installed.state_items()
    if name == "deleted_meanwhile":
        installed.upload_signed()
        installed.s3.delete_object(Bucket=BUCKET, Key=JAR)
    installed.upload("etl.jar", jar_bytes("v1"))

    assert deliver(f"admit_artifact/{name}.json") is None

    assert installed.state_items() == before
    assert installed.woken() == []


# reconcile_job


@event("reconcile_job/insert.json")
def test_a_new_spec_becomes_a_running_job(installed: Installation, flink: FlinkServer) -> None:
    digest = admitted(installed)
    installed.put_spec(spec_item())

    assert deliver("reconcile_job/insert.json") == NOTHING_FAILED

    (start,) = flink.twin.history
    assert (start.jar_sha256, start.flink_job_id) == (digest, flink_job_id(CONTROLLER, "etl", 1))
    assert installed.lifecycle() in UP
    settle(installed, Lifecycle.STABLE)
    assert installed.events() == ["ArtifactAdmitted", "SpecAccepted", "Submitted", "Running", "Stable"]


@event("reconcile_job/insert.json")
def test_a_deploy_costs_few_calls_on_flink(installed: Installation, flink: FlinkServer) -> None:
    admitted(installed)
    installed.put_spec(spec_item())

    deliver("reconcile_job/insert.json")

    writes = [request for request in flink.requests if not request.startswith("GET")]
    (upload, run) = writes
    assert (upload, run[-4:]) == ("POST /jars/upload", "/run")
    assert not [request for request in flink.requests if request == "GET /jars"]


@event("reconcile_job/insert.json")
def test_a_spec_without_its_artifact_waits_and_touches_nothing(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec(spec_item())

    assert deliver("reconcile_job/insert.json") == NOTHING_FAILED

    status = installed.status()
    assert status is not None
    assert (installed.lifecycle(), status.waiting) == (Lifecycle.WAITING, ("ArtifactMissing", f"{JAR} was not uploaded yet"))
    assert flink.twin.history == []


@event("reconcile_job/insert.json")
def test_a_spec_that_is_no_spec_says_every_fault_and_raises_nothing(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec({"job_id": "etl", "job_type": 7, "artifact_path": "../etl.jar", "colour": "red", "args": b"x"})

    assert deliver("reconcile_job/insert.json") == NOTHING_FAILED

    status = installed.status()
    assert status is not None
    valid = status.condition("SpecValid")
    assert valid is not None
    assert installed.lifecycle() is Lifecycle.FAILED
    for path in ("job_type", "artifact_path", "colour", "args"):
        assert f"{path}: " in valid.message
    assert flink.twin.history == []


def test_arguments_written_as_a_set_are_refused_because_a_set_has_no_order(
    installed: Installation, flink: FlinkServer
) -> None:
    installed.put_spec(spec_item(args={"--a", "--b"}))

    deliver("reconcile_job/insert.json")

    status = installed.status()
    assert status is not None
    assert status.rejected_spec_hash is not None
    assert flink.requests == []


@event("reconcile_job/insert.json")
def test_a_spec_of_an_unregistered_cluster_waits_for_its_operator(installed: Installation) -> None:
    admitted(installed)
    installed.put_spec(spec_item(cluster="nowhere"))

    assert deliver("reconcile_job/insert.json") == NOTHING_FAILED

    status = installed.status()
    assert status is not None
    assert status.waiting is not None
    assert (installed.lifecycle(), status.waiting[0]) == (Lifecycle.WAITING, "ClusterUnknown")


@event("reconcile_job/insert.json")
def test_a_cluster_that_does_not_answer_is_said_and_not_concluded_from(installed: Installation) -> None:
    admitted(installed)
    installed.add_cluster("http://127.0.0.1:9")
    installed.put_spec(spec_item())

    assert deliver("reconcile_job/insert.json") == NOTHING_FAILED

    status = installed.status()
    assert status is not None
    reachable = status.condition("ClusterReachable")
    assert reachable is not None
    assert (installed.lifecycle(), reachable.status) == (Lifecycle.WAITING, "False")
    assert status.attempt is None


@event("reconcile_job/modify.json")
def test_a_changed_spec_upgrades_the_job_from_its_savepoint(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    installed.put_spec(spec_item(args=["--fast"]))

    assert deliver("reconcile_job/modify.json") == NOTHING_FAILED
    settle(installed, Lifecycle.STABLE)

    first, second = flink.twin.history
    assert second.restored_from is not None
    assert second.restored_from.startswith(f"file:///state/savepoints/default/savepoints/{first.flink_job_id}-")
    assert second.progress >= first.progress
    assert flink.twin.overlaps == []


@event("reconcile_job/modify.json")
def test_a_change_that_flink_need_not_know_restarts_nothing(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    installed.put_spec(spec_item(labels={"team": "data"}))

    assert deliver("reconcile_job/modify.json") == NOTHING_FAILED

    status = installed.status()
    assert status is not None
    assert status.desired is not None
    assert (status.desired.number, status.running) == (2, status.desired)
    assert len(flink.twin.history) == 1


@event("reconcile_job/modify.json")
def test_an_invalid_change_leaves_the_running_job_alone(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    installed.put_spec(spec_item(deployment={"parallelism": "many"}))

    assert deliver("reconcile_job/modify.json") == NOTHING_FAILED

    status = installed.status()
    assert status is not None
    assert (installed.lifecycle(), installed.events()[-1]) == (Lifecycle.STABLE, "SpecRejected")
    assert status.rejected_spec_hash == status.observed_spec_hash
    assert len(flink.twin.live_copies()) == 1


def test_a_blue_that_was_never_proven_is_replaced_without_a_second_lane_and_a_refusal_is_no_error(
    installed: Installation, flink: FlinkServer
) -> None:
    admitted(installed)
    deployment = {"upgrade_mode": "blue-green", "checkpoint_interval": 50, "rollback": {"stabilization_seconds": 3600}}
    installed.put_spec(spec_item(deployment=deployment))
    deliver("reconcile_job/insert.json")
    digest = admitted(installed, "v2")
    flink.twin.behaviours[digest] = JobBehaviour(main_throws="no such topic")

    for _ in range(3):
        assert deliver("reconcile_job/modify.json") == NOTHING_FAILED

    assert "SubmissionRefused" in installed.events()
    assert (installed.lifecycle(), flink.twin.live_copies()) == (Lifecycle.FAILED, [])


@event("reconcile_job/modify.json")
def test_a_suspended_job_is_stopped_with_its_state(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    installed.put_spec(spec_item(state="suspended"))

    assert deliver("reconcile_job/modify.json") == NOTHING_FAILED
    settle(installed, Lifecycle.SUSPENDED)

    status = installed.status()
    assert status is not None
    assert status.savepoint is not None
    assert flink.twin.live_copies() == []


@event("reconcile_job/remove.json")
def test_a_removed_spec_ends_the_job_and_keeps_its_state(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    installed.delete_spec("etl")

    assert deliver("reconcile_job/remove.json") == NOTHING_FAILED
    settle(installed, Lifecycle.DELETED)

    status = installed.status()
    assert status is not None
    assert status.handover is not None
    assert status.handover.path is not None
    assert flink.twin.live_copies() == []
    assert flink.twin.jars() == []


@event("reconcile_job/remove.json")
def test_a_removed_spec_that_nobody_had_looked_at_leaves_nothing(installed: Installation) -> None:
    assert deliver("reconcile_job/remove.json") == NOTHING_FAILED

    assert installed.status() is None


@event("reconcile_job/mixed_batch.json")
def test_a_burst_of_specs_is_looked_at_through_the_queue_job_by_job(installed: Installation, flink: FlinkServer) -> None:
    admitted(installed)
    installed.put_spec(spec_item())
    installed.put_spec(spec_item("team-a/orders"))
    installed.put_spec(spec_item("Not A Name!"))

    assert deliver("reconcile_job/mixed_batch.json") == NOTHING_FAILED

    woken = installed.woken()
    assert flink.requests == []
    assert sorted(woken) == ["Not A Name!", "etl", "gone", "team-a/orders"]
    assert invoke("reconcile_job", follow_ups(*woken)) == NOTHING_FAILED
    found = {name: installed.lifecycle(name) for name in ("team-a/orders", "gone", "Not A Name!")}
    assert installed.lifecycle("etl") in UP
    assert found == {
        "team-a/orders": Lifecycle.WAITING,
        "gone": None,
        "Not A Name!": Lifecycle.FAILED,
    }
    assert len(flink.twin.history) == 1


@event("reconcile_job/mixed_batch.json")
def test_a_burst_of_specs_comes_again_when_the_queue_takes_none(installed: Installation) -> None:
    event = sample("reconcile_job/mixed_batch.json")
    installed.sqs.delete_queue(QueueUrl=installed.queue_url)

    answer = invoke("reconcile_job", event)

    told = {record["dynamodb"]["SequenceNumber"] for record in event["Records"] if "dynamodb" in record}
    assert {failure["itemIdentifier"] for failure in answer["batchItemFailures"]} <= told
    assert answer != NOTHING_FAILED


@event("reconcile_job/follow_up.json")
def test_a_follow_up_looks_as_a_spec_write_does(installed: Installation, flink: FlinkServer) -> None:
    admitted(installed)
    installed.put_spec(spec_item())

    assert deliver("reconcile_job/follow_up.json") == NOTHING_FAILED

    assert installed.lifecycle() in UP
    assert len(flink.twin.history) == 1


@event("reconcile_job/repeated_follow_ups.json")
def test_repeated_follow_ups_are_one_look(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    flink.requests.clear()

    assert deliver("reconcile_job/repeated_follow_ups.json") == NOTHING_FAILED

    assert flink.requests.count("GET /jobs/overview") == 1
    vital_signs = ("checkpoints", "checkpoints/config", "", f"vertices/{SOURCE.id}/backpressure")
    assert set(flink.requests) == {"GET /jobs/overview", *(signs(what) for what in vital_signs)}


@event("reconcile_job/follow_up.json")
def test_a_follow_up_without_time_left_is_sent_again_instead_of_begun(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec(spec_item())

    answer = invoke("reconcile_job", sample("reconcile_job/follow_up.json"), remaining=timedelta(seconds=34))

    assert answer == NOTHING_FAILED
    assert installed.woken() == ["etl"]
    assert flink.requests == []


@event("reconcile_job/follow_up_of_unknown_job.json")
@event("reconcile_job/garbage.json")
@pytest.mark.parametrize("name", ["follow_up_of_unknown_job", "garbage"])
def test_a_wake_up_of_nobody_is_consumed(installed: Installation, flink: FlinkServer, name: str) -> None:
    assert deliver(f"reconcile_job/{name}.json") == NOTHING_FAILED

    assert installed.woken() == []
    assert flink.requests == []


# The clocks


def signs(what: str) -> str:
    """Name a request for vital signs of the first attempt."""
    return f"GET /jobs/{flink_job_id(CONTROLLER, 'etl', 1)}/{what}".rstrip("/")


@event("reconcile_fleet/tick.json")
def test_a_quiet_tick_lists_the_cluster_samples_its_job_and_wakes_nobody(
    installed: Installation, flink: FlinkServer
) -> None:
    running(installed)
    flink.requests.clear()
    before = whole_state(installed)

    answer = deliver("reconcile_fleet/tick.json")

    assert answer == {"jobs": 1, "woken": 0, "unreachable": []}
    sample = (signs("checkpoints"), signs(""), signs(f"vertices/{SOURCE.id}/backpressure"))
    assert flink.requests == ["GET /jobs/overview", *sample]
    assert whole_state(installed) == before


@event("reconcile_fleet/tick.json")
def test_a_tick_wakes_a_job_that_was_cancelled_by_hand(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    flink.twin.cancel(flink_job_id(CONTROLLER, "etl", 1))

    answer = deliver("reconcile_fleet/tick.json")

    assert answer == {"jobs": 1, "woken": 1, "unreachable": []}
    assert installed.woken() == ["etl"]


@event("reconcile_fleet/tick.json")
def test_a_tick_tells_which_cluster_does_not_answer(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    flink.twin.kill_jobmanager()

    answer = deliver("reconcile_fleet/tick.json")

    assert answer == {"jobs": 1, "woken": 1, "unreachable": ["default"]}


@event("sweep_artifacts/tick.json")
def test_an_upload_that_nobody_told_of_is_judged_and_its_job_woken(installed: Installation) -> None:
    installed.put_spec(spec_item())
    deliver("reconcile_job/insert.json")
    installed.woken()
    content = jar_bytes("v1")
    installed.upload(JAR, content)
    installed.upload(f"{JAR}.sig", signature(hashlib.sha256(content).hexdigest()))

    assert deliver("sweep_artifacts/tick.json") == {"artifacts": 1, "judged": 1, "lost": 0, "pruned": 0}

    assert installed.woken() == ["etl"]
    assert deliver("sweep_artifacts/tick.json") == {"artifacts": 1, "judged": 0, "lost": 0, "pruned": 0}


@event("sweep_artifacts/tick.json")
@pytest.mark.usefixtures("flink")
def test_records_that_nothing_needs_are_pruned_and_those_of_revisions_are_kept(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLINKCTL_ARTIFACT_HISTORY_LIMIT", "1")
    monkeypatch.setenv("FLINKCTL_ARTIFACT_HISTORY_DAYS", "0")
    monkeypatch.setattr(sweep_artifacts, "TURNS_OF_PRUNING", 1)
    running(installed)
    for content in ("unsigned v2", "unsigned v3"):
        installed.upload(JAR, content.encode())
        uploaded(JAR)
    before = [version.verdict for version in installed.records.versions(BUCKET, JAR)]

    answer = deliver("sweep_artifacts/tick.json")

    after = [version.verdict for version in installed.records.versions(BUCKET, JAR)]
    assert (before, after) == (["admitted", "refused", "refused"], ["admitted", "refused"])
    # Uploads within one second have no order, so that the newest one may be judged once more.
    assert {name: answer[name] for name in ("artifacts", "lost", "pruned")} == {"artifacts": 1, "lost": 0, "pruned": 1}


@event("sweep_artifacts/version_removed.json")
@pytest.mark.usefixtures("flink")
def test_a_deleted_version_that_a_job_needs_is_missed_at_once(installed: Installation) -> None:
    running(installed)
    status = installed.status()
    assert status is not None
    assert status.running is not None
    before = deliver("sweep_artifacts/version_removed.json")
    installed.s3.delete_object(Bucket=BUCKET, Key=JAR, VersionId=status.running.artifact.version_id)

    assert before == {"artifacts": 0, "judged": 0, "lost": 0, "pruned": 0}
    assert deliver("sweep_artifacts/version_removed.json") == {"artifacts": 0, "judged": 0, "lost": 1, "pruned": 0}


@event("launch_batches/tick.json")
@event("expire_jobs/tick.json")
@pytest.mark.parametrize(("function", "kind"), [("launch_batches", DueKind.LAUNCH), ("expire_jobs", DueKind.EXPIRE)])
def test_a_schedule_wakes_what_is_due_and_nothing_else(installed: Installation, function: str, kind: DueKind) -> None:
    for number, (pk, due_kind, at) in enumerate(
        [("JOB#due", kind.value, 1), ("JOB#later", kind.value, 2**52), ("JOB#other", "SOMETHING", 1)]
    ):
        item = {"pk": {"S": pk}, "sk": {"S": "STATUS"}, "due_kind": {"S": due_kind}, "due_at": {"N": str(at)}}
        installed.dynamodb.put_item(TableName=STATE_TABLE, Item={**item, "version": {"N": str(number)}})

    assert deliver(f"{function}/tick.json") == {"woken": 1}

    assert installed.woken() == ["due"]


# health


@event("health/live.json")
def test_live_needs_no_table(installed: Installation) -> None:
    installed.dynamodb.delete_table(TableName=STATE_TABLE)

    assert body_of(deliver("health/live.json"), 200) == {"status": "ok"}


@event("health/ready.json")
def test_ready_reads_the_tables(installed: Installation, flink: FlinkServer) -> None:
    running(installed)

    stores = {"job_specs": "ok", "controller_state": "ok", "follow_ups": "ok"}
    assert body_of(deliver("health/ready.json"), 200) == {"status": "ok", "stores": stores, "clusters": {"default": "ok"}}
    assert flink.url


@event("health/unknown_path.json")
def test_another_path_is_told_which_ones_there_are(installed: Installation) -> None:
    assert installed.woken() == []
    assert body_of(deliver("health/unknown_path.json"), 404) == {
        "error": "ask for one of /health/live, /health/ready, /health/startup, /metrics"
    }


def body_of(answer: Any, status: int) -> Any:
    assert (answer["statusCode"], answer["headers"]) == (status, {"content-type": "application/json"})
    return json.loads(answer["body"])


def admitted(installed: Installation, label: str = "v1") -> str:
    """Have a signed jar on record, and nobody woken for it."""
    digest = installed.upload_signed(label)
    deliver("admit_artifact/signed.json")
    installed.woken()
    return digest


def waiting(installed: Installation) -> None:
    """Have a job that waits for its artifact."""
    installed.add_cluster("http://127.0.0.1:9")
    installed.put_spec(spec_item())
    deliver("reconcile_job/insert.json")
    installed.woken()


def running(installed: Installation) -> None:
    """Have a proven job."""
    admitted(installed)
    installed.put_spec(spec_item())
    deliver("reconcile_job/insert.json")
    settle(installed, Lifecycle.STABLE)
    installed.woken()


def settle(installed: Installation, goal: Lifecycle) -> None:
    """Deliver follow-ups until a lifecycle is reached; a look waits in the function for what is quick."""
    for _ in range(20):
        if installed.lifecycle() is goal:
            return
        deliver("reconcile_job/follow_up.json")
    raise AssertionError(f"still {installed.lifecycle()}: {installed.status()}")


def whole_state(installed: Installation) -> list[Any]:
    """Read the state table whole."""
    items: list[Any] = installed.dynamodb.scan(TableName=STATE_TABLE)["Items"]
    return sorted(items, key=str)


# rotate_credentials


@event("rotate_credentials/create.json")
@event("rotate_credentials/set.json")
@event("rotate_credentials/test.json")
@event("rotate_credentials/finish.json")
def test_a_proposed_credential_is_tried_on_the_cluster_and_put_in_force(
    installed: Installation, flink: FlinkServer, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = boto3.client("secretsmanager")
    arn = secrets.create_secret(Name=FLINK_SECRET, SecretString=json.dumps({"token": "0ld"}))["ARN"]
    token = sample("rotate_credentials/create.json")["ClientRequestToken"]
    proposed = json.dumps({"current": {"token": "n3w"}, "previous": {"token": "0ld"}})
    secrets.put_secret_value(SecretId=arn, ClientRequestToken=token, SecretString=proposed, VersionStages=["AWSPENDING"])
    known = installed.registry.cluster("default")
    assert known is not None
    installed.registry.put_cluster(known.model_copy(update={"auth": Auth.BEARER, "secret": arn}))

    done = [
        invoke("rotate_credentials", {**sample(f"rotate_credentials/{step}.json"), "SecretId": arn})["done"]
        for step in ("create", "set", "test", "finish", "finish")
    ]

    assert (done[0], done[2:]) == ("proposed already", ["accepted by default", "in force", "in force already"])
    assert secrets.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")["SecretString"] == proposed
    assert "GET /jobmanager/config" in flink.requests
    assert "n3w" not in caplog.text


@pytest.mark.usefixtures("installed")
def test_the_first_step_of_a_rotation_proposes_a_fresh_credential() -> None:
    secrets = boto3.client("secretsmanager")
    arn = secrets.create_secret(Name=FLINK_SECRET, SecretString=json.dumps({"token": "0ld"}))["ARN"]
    create = {**sample("rotate_credentials/create.json"), "SecretId": arn}
    # Secrets Manager makes the version, without a value, before it calls.
    token = create["ClientRequestToken"]
    backend = secretsmanager_backends["123456789012"][REGION]
    backend.secrets[arn].versions[token] = {"version_id": token, "version_stages": ["AWSPENDING"], "createdate": 0}

    assert invoke("rotate_credentials", create)["done"] == "proposed"

    found = json.loads(secrets.get_secret_value(SecretId=arn, VersionStage="AWSPENDING")["SecretString"])
    assert found["previous"] == {"token": "0ld"}


@pytest.mark.parametrize("function", ["reconcile_job", "reconcile_fleet"])
def test_a_cluster_that_asks_for_a_token_gets_the_one_in_its_secret(
    function: str, installed: Installation, flink: FlinkServer
) -> None:
    secret = boto3.client("secretsmanager").create_secret(Name=FLINK_SECRET, SecretString=json.dumps({"token": "t0ken"}))
    known = installed.registry.cluster("default")
    assert known is not None
    installed.registry.put_cluster(known.model_copy(update={"auth": Auth.BEARER, "secret": secret["ARN"]}))
    with RIGHTS.of(function):
        ports = controller().ports

        ports.flink.connect(ports.registry.cluster("default") or known).jobs()

    assert "GET /jobs/overview" in flink.requests
