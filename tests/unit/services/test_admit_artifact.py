"""What admission makes of uploads, whatever their order and shape."""

import base64
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import IO

import pytest

from flink_controller.domain.artifact import KeyStatus, Verdict
from flink_controller.domain.errors import StaleWriteError
from flink_controller.domain.signature_file import MAX_SIGNATURE_BYTES, artifact_key
from flink_controller.ports import UNVERSIONED, ObjectVersion
from flink_controller.services.admit_artifact import (
    Admission,
)
from flink_controller.testing.clock import START
from flink_controller.testing.jars import jar_bytes
from flink_controller.testing.memory_artifacts import MemoryArtifactObjects
from tests.unit.services.bench import BUCKET, JOB, KEY, Bench, signature_of, trusted


def zip_bytes(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "content")
    return buffer.getvalue()


JAR = jar_bytes()
DAY = timedelta(days=1)


class Hooked(MemoryArtifactObjects):
    """A bucket in which something happens between two calls."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.clock.now)
        self.before_read: Callable[[], object] = lambda: None
        self.before_open: Callable[[], object] = lambda: None

    def read(self, bucket: str, key: str, *, limit_bytes: int) -> bytes | None:
        self.before_read()
        return super().read(bucket, key, limit_bytes=limit_bytes)

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        self.before_open()
        return super().open(bucket, key, version_id)


def bench_with(content: bytes = JAR, signature: bytes | None = None) -> Bench:
    bench = Bench()
    bench.objects.upload(BUCKET, KEY, content)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(content) if signature is None else signature)
    return bench


def hooked() -> tuple[Bench, Hooked]:
    bench = Bench()
    objects = Hooked(bench)
    bench.objects = objects
    bench.ports = replace(bench.ports, objects=objects)
    return bench, objects


def test_jar_and_signature_in_this_order_are_admitted() -> None:
    bench = Bench()
    bench.objects.upload(BUCKET, KEY, JAR)

    first = bench.admit()
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))
    second = bench.admit(f"{KEY}.sig")

    assert (first, second) == (Admission.WAITING, Admission.ADMITTED)
    assert bench.head.latest.key_id == "team"
    assert bench.head.latest.sha256 is not None


def test_signature_and_jar_in_this_order_are_admitted() -> None:
    bench = Bench()
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))

    first = bench.admit(f"{KEY}.sig")
    bench.objects.upload(BUCKET, KEY, JAR)
    second = bench.admit()

    assert (first, second) == (Admission.IGNORED, Admission.ADMITTED)


def test_an_unsigned_jar_says_which_file_is_missing() -> None:
    bench = Bench()
    bench.objects.upload(BUCKET, KEY, JAR)

    bench.admit()

    assert bench.head.latest.reason == "SignatureMissing"
    assert f"{KEY}.sig" in bench.head.latest.message
    assert bench.head.admitted is None


def test_a_repeated_event_changes_nothing() -> None:
    bench = bench_with()
    bench.admit()
    writes = bench.records.writes
    bench.clock.advance(DAY)

    again = bench.admit()

    assert again is Admission.ADMITTED
    assert bench.records.writes == writes


def test_a_newer_version_that_arrives_meanwhile_is_judged_too() -> None:
    bench, objects = hooked()
    newer = jar_bytes("v2")
    objects.upload(BUCKET, KEY, JAR)
    objects.upload(BUCKET, f"{KEY}.sig", signature_of(newer))

    def overtake() -> None:
        objects.before_read = lambda: None
        objects.upload(BUCKET, KEY, newer)

    objects.before_read = overtake

    found = bench.admit()

    assert found is Admission.ADMITTED
    assert bench.head.latest == bench.head.admitted
    assert len(bench.records.versions(BUCKET, KEY)) == 2


def test_versions_that_overtake_each_other_for_ever_are_left_to_their_own_events() -> None:
    bench, objects = hooked()
    objects.upload(BUCKET, KEY, JAR)
    objects.before_read = lambda: objects.upload(BUCKET, KEY, JAR)

    found = bench.admit()

    assert found is Admission.WAITING


def test_an_object_that_was_deleted_is_ignored() -> None:
    bench = bench_with()
    bench.objects.delete(BUCKET, KEY)

    assert bench.admit() is Admission.IGNORED
    assert bench.records.head(BUCKET, KEY) is None


def test_a_version_that_goes_away_meanwhile_is_ignored() -> None:
    bench, objects = hooked()
    version = objects.upload(BUCKET, KEY, JAR)
    objects.before_open = lambda: objects.purge(BUCKET, KEY, version.version_id)

    assert bench.admit() is Admission.IGNORED


def test_a_verdict_that_somebody_else_recorded_meanwhile_is_reached_again() -> None:
    bench = bench_with()
    record = bench.records.record
    failures = [StaleWriteError("moved on")]

    class Contended:
        def __getattr__(self, name: str) -> object:
            return getattr(bench.records, name)

        def record(self, *args: object, **kwargs: object) -> object:
            if failures:
                raise failures.pop()
            return record(*args, **kwargs)  # type: ignore[arg-type]  # handed through

    bench.ports = replace(bench.ports, records=Contended())  # type: ignore[arg-type]  # a twin with one fault

    assert bench.admit() is Admission.ADMITTED


@pytest.mark.parametrize("key", ["etl.jar", "/etl.jar", "Team/etl.jar", "artifacts/", "default/etl.jar"])
def test_what_lies_outside_of_every_namespace_is_ignored(key: str) -> None:
    bench = Bench()
    bench.objects.upload(BUCKET, key, JAR)

    assert bench.admit(key) is Admission.IGNORED


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty"),
        (b"hello", "is not a jar (it begins with 'hell')"),
        (b"PK\x03\x04 and nothing else", "truncated jar: its central directory is missing"),
        (JAR[:-4], "truncated jar"),
        (JAR + b"more", "does not close the file"),
        (JAR[:4] + JAR[20:], "lies outside of the file"),
        (zip_bytes("notes.txt"), "but no jar: it has no META-INF/MANIFEST.MF"),
        (b"PK\x03\x04" + b"PK\x05\x06" + bytes(18), "without entries"),
    ],
)
def test_what_is_no_whole_jar_is_refused_even_if_it_is_signed(content: bytes, fault: str) -> None:
    bench = bench_with(content)

    assert bench.admit() is Admission.REFUSED
    assert bench.head.latest.reason == "NotAJar"
    assert fault in bench.head.latest.message
    assert bench.head.latest.message.isprintable()


def test_a_large_jar_is_read_in_parts() -> None:
    buffer = io.BytesIO(JAR)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("filler", bytes(range(256)) * 12 * 1024)
    bench = bench_with(buffer.getvalue())

    assert bench.admit() is Admission.ADMITTED


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"no base64!", "is not base64"),
        (b"A", "is not base64"),
        (b"QUJD\nQUJD", "is not base64"),
        (b"QQ==QQ==", "base64"),
        (b"QR==", "is not canonical base64"),
        (b"A" * (MAX_SIGNATURE_BYTES + 1), "more than 65536 bytes"),
        (base64.b64encode(b"x" * 64), "no signature of these bytes"),
        (signature_of(jar_bytes("v2")), "no signature of these bytes"),
        (signature_of(JAR, b"stranger"), "no signature of these bytes"),
    ],
)
def test_a_signature_that_does_not_fit_refuses_the_jar(signature: bytes, message: str) -> None:
    bench = bench_with(JAR, signature)

    assert bench.admit() is Admission.REFUSED
    assert bench.head.latest.reason == "SignatureInvalid"
    assert message in bench.head.latest.message
    assert bench.head.admitted is None


def test_white_space_after_a_signature_does_no_harm() -> None:
    bench = bench_with(JAR, signature_of(JAR) + b"\r\n \t\n")

    assert bench.admit() is Admission.ADMITTED


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"namespaces": ("team",)}, "may not sign for namespace default"),
        ({"namespaces": (), "prefixes": ("artifacts/other/",)}, "may not sign for namespace default"),
        ({"status": KeyStatus.REVOKED}, "is revoked"),
        ({"status": KeyStatus.RETIRING}, "is retiring"),
        ({"not_after": START - DAY}, "was valid until"),
        ({"not_before": START + DAY}, "is valid from"),
    ],
)
def test_a_key_that_may_not_sign_this_refuses_the_jar(changes: dict[str, object], message: str) -> None:
    bench = bench_with()
    bench.registry.put_key(trusted("team", b"team", **changes))

    assert bench.admit() is Admission.REFUSED
    assert bench.head.latest.reason == "KeyNotAllowed"
    assert message in bench.head.latest.message


def test_a_key_may_be_trusted_for_a_prefix_alone() -> None:
    bench = bench_with()
    bench.registry.put_key(trusted("team", b"team", namespaces=(), prefixes=("artifacts/etl",)))

    assert bench.admit() is Admission.ADMITTED


def test_the_right_one_among_several_keys_is_found() -> None:
    bench = bench_with()
    bench.registry.put_key(trusted("another", b"another"))

    bench.admit()

    assert bench.head.latest.key_id == "team"


def test_of_one_public_key_under_two_ids_the_one_that_may_sign_counts() -> None:
    bench = bench_with()
    bench.registry.put_key(trusted("a-former-team", b"team", namespaces=("other",)))

    assert bench.admit() is Admission.ADMITTED
    assert bench.head.latest.key_id == "team"


def test_a_refused_version_leaves_the_last_admitted_one() -> None:
    bench = bench_with()
    bench.admit()
    bench.clock.advance(DAY)
    bench.objects.upload(BUCKET, KEY, jar_bytes("v2"))

    assert bench.admit() is Admission.REFUSED
    assert bench.head.latest.verdict is Verdict.REFUSED
    assert bench.head.admitted is not None
    assert bench.head.admitted.version_id == "version-000001"


def test_the_jobs_that_name_an_artifact_are_woken_and_no_others() -> None:
    bench = Bench()
    bench.put()
    bench.put("other", artifact_path="artifacts/other.jar")
    bench.look()
    bench.look("other")
    bench.follow_ups.take_due(bench.clock.now() + DAY)
    bench.objects.upload(BUCKET, KEY, JAR)

    bench.admit()

    assert [found.job_id for found in bench.follow_ups.pending] == [JOB]


def test_without_anybody_to_wake_nothing_is_sent() -> None:
    bench = bench_with()

    bench.admit()

    assert bench.follow_ups.writes == 0


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.jar", "a.jar"),
        ("a.jar.sig", "a.jar"),
        ("a.jar.dsse.json", "a.jar"),
        ("a.jar.sigstore.json", "a.jar"),
        (".sig", ".sig"),
    ],
)
def test_a_signature_belongs_to_the_object_beside_it(key: str, expected: str) -> None:
    assert artifact_key(key) == expected


def test_a_version_tells_what_head_told() -> None:
    bench = bench_with()
    found = bench.objects.latest(BUCKET, KEY)

    bench.admit()

    assert isinstance(found, ObjectVersion)
    assert (bench.head.latest.version_id, bench.head.latest.size_bytes) == (found.version_id, found.size_bytes)


class Unversioned(MemoryArtifactObjects):
    """A bucket that keeps no versions."""

    def latest(self, bucket: str, key: str) -> ObjectVersion | None:
        found = super().latest(bucket, key)
        return None if found is None else replace(found, version_id=UNVERSIONED)

    def open(self, bucket: str, key: str, version_id: str) -> IO[bytes]:
        assert version_id == UNVERSIONED
        found = super().latest(bucket, key)
        assert found is not None
        return super().open(bucket, key, found.version_id)


def test_what_the_next_upload_would_overwrite_is_refused_however_well_it_is_signed() -> None:
    bench = Bench()
    bench.objects = Unversioned(bench.clock.now)
    bench.ports = replace(bench.ports, objects=bench.objects)
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))

    assert bench.admit() is Admission.REFUSED
    assert bench.head.latest.reason == "BucketNotVersioned"
    assert "turn them on, and upload it again" in bench.head.latest.message
