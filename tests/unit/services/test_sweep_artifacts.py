"""What the sweep of artifacts makes up for, and what it misses."""

from collections import Counter
from dataclasses import replace

import pytest

from flink_controller.domain.trust import Denial, RegistryEvent
from flink_controller.services.admit_artifact import Admission, admit_artifact
from flink_controller.services.reconcile import reconcile_job
from flink_controller.services.sweep_artifacts import FRESH, PERIOD, TURNS, missed_by_jobs, sweep_artifacts
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.bench import BUCKET, JOB, KEY, POLICY, SECOND, Bench, signature_of, trusted

JAR = jar_bytes()


def lost_in_a_round(bench: Bench) -> list[str]:
    """Sweep until everything was looked at."""
    found: list[str] = []
    for _ in range(TURNS):
        found += sweep_artifacts(bench.ports, POLICY).lost
        bench.run(PERIOD)
    return found


def named() -> Bench:
    bench = Bench()
    bench.put()
    return bench


def test_an_upload_that_nobody_told_of_is_found_and_its_jobs_are_woken() -> None:
    bench = named()
    bench.look()
    bench.follow_ups.take_due(bench.clock.now() + 3600 * SECOND)
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))

    found = sweep_artifacts(bench.ports, POLICY)

    assert (found.artifacts, found.judged, found.lost) == (1, (KEY,), ())
    assert bench.head.admitted is not None
    assert [follow_up.job_id for follow_up in bench.follow_ups.pending] == [JOB]


def test_a_signature_that_nobody_told_of_is_found() -> None:
    bench = named()
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.admit()
    bench.clock.advance(60 * SECOND)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))

    sweep_artifacts(bench.ports, POLICY)

    assert bench.head.admitted is not None


def test_what_still_waits_or_was_refused_is_not_judged_again() -> None:
    bench = named()
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.objects.upload(BUCKET, f"{KEY}.sig", b"AAAA")
    bench.clock.advance(60 * SECOND)
    bench.admit()
    writes = bench.records.writes

    found = sweep_artifacts(bench.ports, POLICY)

    assert (found.judged, bench.records.writes) == ((), writes)


def test_a_quiet_sweep_writes_nothing_and_wakes_nobody() -> None:
    bench = Bench()
    bench.stabilise()
    writes = (bench.records.writes, bench.follow_ups.writes)

    found = sweep_artifacts(bench.ports, POLICY)

    assert (found.judged, found.lost) == ((), ())
    assert (bench.records.writes, bench.follow_ups.writes) == writes


def test_what_no_spec_names_is_left_alone() -> None:
    bench = Bench()
    bench.objects.upload(BUCKET, KEY, JAR)

    assert sweep_artifacts(bench.ports, POLICY).artifacts == 0
    assert bench.records.head(BUCKET, KEY) is None


@pytest.mark.parametrize("item", [{"artifact_path": 7}, {"artifact_path": ""}, {}])
def test_a_spec_that_names_nothing_sensible_does_no_harm(item: dict[str, object]) -> None:
    bench = Bench()
    bench.specs.put("odd", item)

    assert sweep_artifacts(bench.ports, POLICY).artifacts == 0


def test_a_deleted_object_disturbs_nothing_while_its_version_is_there() -> None:
    bench = Bench()
    bench.stabilise()
    bench.objects.delete(BUCKET, KEY)

    assert lost_in_a_round(bench) == []


def test_a_version_that_a_job_needs_and_that_is_gone_is_told_and_the_job_runs_on() -> None:
    bench = Bench()
    bench.stabilise()
    version = bench.head.latest.version_id
    bench.objects.purge(BUCKET, KEY, version)

    found = lost_in_a_round(bench)

    assert found == [f"{JOB} {KEY} {version}"]
    assert missed_by_jobs(bench.ports, BUCKET, KEY) == (f"{JOB} {KEY} {version}",)
    assert bench.status.attempt is not None
    assert not bench.status.attempt.is_dead


def test_a_namespace_with_a_bucket_of_its_own_is_looked_after_there_and_nowhere_else() -> None:
    policy, key = replace(POLICY, namespace_buckets={"payments": "payments-bucket"}), "payments/etl.jar"
    bench = Bench()
    bench.registry.put_key(trusted("payments", b"team", namespaces=("payments",)))
    bench.put("payments/etl", artifact_path=key)
    for bucket in (BUCKET, "payments-bucket"):
        bench.objects.upload(bucket, key, JAR)
        bench.objects.upload(bucket, f"{key}.sig", signature_of(JAR))

    foreign = admit_artifact(bench.ports, policy, BUCKET, key)
    found = sweep_artifacts(bench.ports, policy)
    reconcile_job(bench.ports, policy, "payments/etl", owner="me")

    assert foreign is Admission.IGNORED
    assert bench.records.head(BUCKET, key) is None
    assert found.judged == (key,)
    status = bench.statuses.read("payments/etl")
    assert status is not None
    assert status.desired is not None
    assert status.desired.artifact.bucket == "payments-bucket"
    assert list(bench.statuses.jobs_naming("payments-bucket", key)) == ["payments/etl"]


def test_a_key_that_is_registered_after_the_upload_admits_it_and_is_asked_once() -> None:
    bench = named()
    bench.look()
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR, b"other team"))
    bench.clock.advance(60 * SECOND)
    bench.admit()
    refused = bench.head.latest.reason
    bench.registry.put_key(trusted("unrelated", b"unrelated"))

    in_vain, again = sweep_artifacts(bench.ports, POLICY), sweep_artifacts(bench.ports, POLICY)
    bench.registry.put_key(trusted("other", b"other team"))
    found = sweep_artifacts(bench.ports, POLICY)

    assert refused == "SignatureInvalid"
    assert (in_vain.judged, again.judged, found.judged) == ((KEY,), (), (KEY,))
    assert bench.head.admitted is not None
    assert bench.head.admitted.key_id == "other"
    assert [follow_up.job_id for follow_up in bench.follow_ups.pending][-1] == JOB


def test_a_key_whose_time_has_come_and_a_denial_that_was_lifted_admit_what_waited_for_them() -> None:
    bench = named()
    bench.registry.put_key(trusted("team", b"team", not_before=bench.clock.now() + 3600 * SECOND))
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))
    bench.clock.advance(60 * SECOND)
    bench.admit()
    early = sweep_artifacts(bench.ports, POLICY)
    digest = bench.head.latest.sha256
    assert digest is not None
    event = RegistryEvent(time=bench.clock.now(), action="Denied", subject=f"DENY#{digest}", message="")
    bench.registry.put_denial(Denial(sha256=digest), event)
    bench.clock.advance(3600 * SECOND)

    sweep_artifacts(bench.ports, POLICY)
    denied = bench.head.latest.reason
    still = sweep_artifacts(bench.ports, POLICY)
    bench.registry.delete_denial(digest, event)
    sweep_artifacts(bench.ports, POLICY)

    assert (early.judged, denied, still.judged) == ((), "DigestDenied", ())
    assert bench.head.admitted is not None


def test_an_old_upload_that_a_spec_names_at_last_is_found_within_a_round() -> None:
    bench = Bench()
    bench.objects.upload(BUCKET, KEY, JAR)
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(JAR))
    bench.clock.advance(2 * FRESH)
    bench.put()

    lost_in_a_round(bench)

    assert bench.head.admitted is not None


def test_a_quiet_sweep_of_a_thousand_jobs_makes_a_few_hundred_calls_and_a_round_looks_at_each_job_once() -> None:
    bench = Bench()
    for number in range(1000):
        key = f"artifacts/job-{number}.jar"
        bench.put(f"job-{number}", artifact_path=key)
        bench.objects.upload(BUCKET, key, JAR)
        bench.objects.upload(BUCKET, f"{key}.sig", signature_of(JAR))
        bench.admit(key)
    bench.objects.upload(BUCKET, "artifacts/nobody-names-it.jar", JAR)
    bench.clock.advance(2 * FRESH)
    calls: list[Counter[str]] = []

    def counted(call: PortCall) -> object:
        calls[-1][call.name] += 1
        return call.target()

    ports = intercepted(bench.ports, counted)
    for _ in range(TURNS):
        calls.append(Counter())
        sweep_artifacts(ports, POLICY)
        bench.clock.advance(PERIOD)

    each = sum(calls, Counter())
    assert max(found.total() for found in calls) < 300
    assert each["statuses.read"] == each["objects.latest"] == each["records.head"] == 1000
    assert each["specs.segment"] == each["objects.uploaded_since"] == TURNS
    assert set(each) == {"specs.segment", "objects.uploaded_since", "objects.latest", "records.head", "statuses.read"}
    assert bench.records.head(BUCKET, "artifacts/nobody-names-it.jar") is None
