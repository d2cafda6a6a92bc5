"""The only way from S3 to Flink: verified bytes, or none."""

import hashlib
import io
from dataclasses import replace
from datetime import timedelta
from typing import IO

import pytest

from flink_controller.domain.actions import Burn, StageJar
from flink_controller.domain.artifact import Artifact, ArtifactType, KeyStatus, jar_name
from flink_controller.domain.errors import FlinkUnreachableError, RejectedError, TransientError
from flink_controller.domain.observation import Accepted, FlinkState, RefusalKind, Refused
from flink_controller.domain.plan import StagingRefused
from flink_controller.domain.status import JobStatus, StagedJar
from flink_controller.ports import Commit
from flink_controller.services.stage_jar import burn_submit, stage_jar
from flink_controller.testing.clock import START
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects
from tests.unit.services.bench import BUCKET, BURN_BYTES, JOB, KEY, POLICY, SECOND, Bench, signature_of, trusted


class Altering(MemoryArtifactObjects):
    """A bucket whose bytes change on their way."""

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        content = super().open(bucket, key, version_id).read()
        return io.BytesIO(content[:-1] + b"?")


class Away(MemoryArtifactObjects):
    """A bucket that does not answer, or stops half way."""

    opens = False

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        if not self.opens:
            raise TransientError(f"no answer from AWS about s3://{bucket}/{key} version {version_id}")
        return _Broken()


class _Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise TransientError(f"no answer from AWS after {size} bytes")


def uploaded() -> tuple[Bench, Artifact]:
    bench = Bench()
    bench.upload()
    admitted = bench.head.admitted
    assert admitted is not None
    assert admitted.artifact is not None
    return bench, admitted.artifact


def stage(bench: Bench, artifact: Artifact, **changes: str) -> StagedJar | StagingRefused:
    action = StageJar(artifact, changes.get("incarnation", bench.flink.incarnation), changes.get("void"))
    return stage_jar(bench.ports, POLICY, bench.cluster, action)


def recorded(bench: Bench, jar: StagedJar) -> None:
    held = bench.statuses.acquire(JOB, owner="me", now=START, until=START + SECOND)
    status = JobStatus(job_id=JOB, created_at=START, updated_at=START)
    bench.statuses.commit(held, Commit(status, jar=jar), release=True)


@pytest.mark.parametrize("opens", [False, True])
def test_bytes_that_cannot_be_read_now_are_waited_for_and_leave_no_jar(*, opens: bool) -> None:
    bench, artifact = uploaded()
    objects = Away(bench.clock.now)
    objects.opens = opens
    bench.ports = replace(bench.ports, objects=objects)

    staged = stage(bench, artifact)

    assert isinstance(staged, StagingRefused)
    assert staged.reason == "ArtifactUnreadable"
    assert "no answer from AWS" in staged.message
    assert bench.flink.jars() == []


def test_verified_bytes_are_uploaded_under_a_telling_name() -> None:
    bench, artifact = uploaded()

    staged = stage(bench, artifact)

    (jar,) = bench.flink.jars()
    assert staged == StagedJar(
        cluster="default",
        sha256=artifact.sha256,
        jar_id=jar.jar_id,
        incarnation=bench.flink.incarnation,
        path=f"/uploads/{jar.jar_id}",
    )
    assert jar.name == jar_name(bench.flink.incarnation, artifact.sha256, "tests")


def test_bytes_that_were_altered_are_taken_back_and_never_run() -> None:
    bench, artifact = uploaded()
    objects = Altering(bench.clock.now)
    objects.upload(BUCKET, KEY, jar_bytes())
    bench.ports = replace(bench.ports, objects=objects)

    refused = stage(bench, artifact)

    assert isinstance(refused, StagingRefused)
    assert refused.reason == "ArtifactAltered"
    assert bench.flink.jars() == []


def test_a_version_that_is_gone_is_told() -> None:
    bench, artifact = uploaded()
    bench.objects.purge(BUCKET, KEY, artifact.version_id)

    refused = stage(bench, artifact)

    assert isinstance(refused, StagingRefused)
    assert refused.reason == "ArtifactMissing"


def test_a_version_below_a_delete_marker_still_serves() -> None:
    bench, artifact = uploaded()
    bench.objects.delete(BUCKET, KEY)

    assert isinstance(stage(bench, artifact), StagedJar)


@pytest.mark.parametrize("status", [KeyStatus.ACTIVE, KeyStatus.RETIRING])
def test_what_a_retiring_key_signed_keeps_running(status: KeyStatus) -> None:
    bench, artifact = uploaded()
    bench.registry.put_key(trusted("team", b"team", status=status, not_after=START - SECOND))

    assert isinstance(stage(bench, artifact), StagedJar)


def test_a_class_that_is_not_in_the_jar_is_found_before_anything_is_stopped() -> None:
    bench = Bench()
    bench.stabilise()
    bench.put(entry_class="com.example.Absent")

    bench.look()

    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "EntryClassMissing"
    assert "its manifest names: 'com.example.Job'" in bench.status.waiting[1]
    assert bench.status.attempt is not None
    assert (bench.status.attempt.number, bench.status.attempt.is_dead, bench.status.operation) == (1, False, None)


def test_a_class_that_is_in_the_jar_is_started() -> None:
    bench = Bench()
    bench.upload()
    bench.put(entry_class="com.example.Job")

    bench.look()

    assert bench.status.attempt is not None


def test_a_jar_that_names_no_class_says_so_when_it_is_admitted() -> None:
    bench = Bench()
    bench.upload(jar_bytes(entry_class=None))

    assert "names no class to start" in bench.head.latest.message


def test_a_revocation_counts_at_the_next_submit_even_for_a_staged_jar() -> None:
    bench, artifact = uploaded()
    staged = stage(bench, artifact)
    assert isinstance(staged, StagedJar)
    recorded(bench, staged)
    bench.registry.put_key(trusted("team", b"team", status=KeyStatus.REVOKED))

    refused = stage(bench, artifact)

    assert isinstance(refused, StagingRefused)
    assert refused.reason == "KeyRevoked"


def test_a_key_that_is_gone_or_malformed_is_not_trusted() -> None:
    bench, artifact = uploaded()
    unknown = stage(bench, artifact.model_copy(update={"key_id": "nobody"}))
    bench.registry.spoil("KEY#team")

    malformed = stage(bench, artifact)

    assert isinstance(unknown, StagingRefused)
    assert isinstance(malformed, StagingRefused)
    assert (unknown.reason, malformed.reason) == ("KeyUnknown", "KeyUnknown")
    assert bench.flink.jars() == []


def test_a_recorded_jar_of_this_incarnation_is_used_again() -> None:
    bench, artifact = uploaded()
    first = stage(bench, artifact)
    assert isinstance(first, StagedJar)
    recorded(bench, first)

    second = stage(bench, artifact)

    assert second == first
    assert bench.flink.calls["upload_jar"] == 1


def test_a_jar_of_another_incarnation_is_uploaded_anew() -> None:
    bench, artifact = uploaded()
    first = stage(bench, artifact)
    assert isinstance(first, StagedJar)
    recorded(bench, first)
    bench.flink.restart_jobmanager()

    second = stage(bench, artifact)

    assert isinstance(second, StagedJar)
    assert second.incarnation == bench.flink.incarnation != first.incarnation


def test_a_jar_that_flink_called_gone_is_uploaded_anew() -> None:
    bench, artifact = uploaded()
    first = stage(bench, artifact)
    assert isinstance(first, StagedJar)
    recorded(bench, first)

    second = stage(bench, artifact, void=first.jar_id)

    assert isinstance(second, StagedJar)
    assert second.jar_id != first.jar_id


def test_a_cluster_that_does_not_take_it_is_unreachable() -> None:
    bench, artifact = uploaded()
    bench.flink.kill_jobmanager()

    with pytest.raises(FlinkUnreachableError):
        stage(bench, artifact)


def test_an_id_is_used_up_by_our_own_jar_from_a_savepoint_that_does_not_exist() -> None:
    bench = Bench()
    action = Burn("ab" * 16, bench.flink.incarnation)

    submit = burn_submit(bench.ports, POLICY, bench.cluster, action)
    again = burn_submit(bench.ports, POLICY, bench.cluster, action)
    answer = bench.flink.submit(submit)

    assert submit == again
    assert bench.flink.calls["upload_jar"] == 1
    assert isinstance(answer, Refused)
    assert answer.kind is RefusalKind.PROGRAM
    assert hashlib.sha256(BURN_BYTES).hexdigest() in bench.flink.jars()[0].name


def test_with_high_availability_a_recorded_jar_is_looked_for_before_it_counts() -> None:
    bench, artifact = uploaded()
    bench.cluster = bench.cluster.model_copy(update={"high_availability": True})
    first = stage(bench, artifact, incarnation="ha")
    assert isinstance(first, StagedJar)
    recorded(bench, first)
    again = stage(bench, artifact, incarnation="ha")

    bench.flink.restart_jobmanager()
    after = stage(bench, artifact, incarnation="ha")

    assert again == first
    assert isinstance(after, StagedJar)
    assert after.jar_id != first.jar_id


def test_with_high_availability_an_id_is_used_up_by_a_job_that_ends_so_that_a_jobmanager_comes_up_again() -> None:
    bench = Bench()
    bench.flink.options = replace(bench.flink.options, high_availability=True)
    cluster = bench.cluster.model_copy(update={"high_availability": True})
    action = Burn("ab" * 16, bench.flink.incarnation)

    answer = bench.flink.submit(burn_submit(bench.ports, POLICY, cluster, action))

    assert answer == Accepted()
    bench.clock.advance(timedelta(seconds=1))
    assert [job.state for job in bench.flink.jobs()] == [FlinkState.FINISHED]
    bench.flink.restart_jobmanager()
    late = bench.flink.submit(burn_submit(bench.ports, POLICY, cluster, action))
    assert isinstance(late, Refused)
    assert late.kind is RefusalKind.DUPLICATE


def test_a_malformed_key_is_no_reason_to_fail() -> None:
    bench, _ = uploaded()
    bench.registry.spoil("KEY#team")

    with pytest.raises(RejectedError):
        bench.registry.key("team")


SCRIPT = b"CREATE TABLE a (k INT) WITH ('connector' = 'print'); INSERT INTO a SELECT 1;"


def scripted(content: bytes = SCRIPT) -> tuple[Bench, Artifact]:
    """A bench with an admitted script, as a spec would use it."""
    bench, key = Bench(), "artifacts/etl.sql"
    bench.objects.upload(BUCKET, key, content)
    bench.objects.upload(BUCKET, f"{key}.sig", signature_of(content))
    bench.admit(key)
    head = bench.records.head(BUCKET, key)
    assert head is not None
    assert head.admitted is not None
    assert head.admitted.artifact is not None
    bench.ports = replace(bench.ports, runners={ArtifactType.SQL: {"Runner.class": b"class"}})
    return bench, head.admitted.artifact.model_copy(update={"type": ArtifactType.SQL})


def test_a_script_is_staged_in_a_jar_under_a_digest_that_names_script_and_runner() -> None:
    bench, script = scripted()

    staged = stage(bench, script)

    (jar,) = bench.flink.jars()
    assert isinstance(staged, StagedJar)
    assert staged.sha256 == script.staged_digest != script.sha256
    assert jar.name == jar_name(bench.flink.incarnation, script.staged_digest, "tests")


def test_a_recorded_script_is_not_packed_again() -> None:
    bench, script = scripted()
    first = stage(bench, script)
    assert isinstance(first, StagedJar)
    recorded(bench, first)

    assert stage(bench, script) == first
    assert bench.flink.calls["upload_jar"] == 1


def test_a_script_that_was_altered_is_never_sent() -> None:
    bench, script = scripted()
    objects = Altering(bench.clock.now)
    objects.upload(BUCKET, script.key, SCRIPT)
    bench.ports = replace(bench.ports, objects=objects)

    refused = stage(bench, script)

    assert isinstance(refused, StagingRefused)
    assert refused.reason == "ArtifactAltered"
    assert bench.flink.calls["upload_jar"] == 0


def test_a_script_admitted_under_older_rules_is_refused_by_the_newer_ones() -> None:
    bench, script = scripted()
    content = b"SELECT 1;"
    bench.objects.upload(BUCKET, script.key, content)
    latest = bench.objects.latest(BUCKET, script.key)
    assert latest is not None
    digest = hashlib.sha256(content).hexdigest()

    refused = stage(bench, script.model_copy(update={"version_id": latest.version_id, "sha256": digest}))

    assert isinstance(refused, StagingRefused)
    assert refused.reason == "ScriptRefused"
    assert "line 1, column 1: SELECT gives rows" in refused.message
