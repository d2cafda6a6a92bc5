"""Which records of versions go, and that a death on the way costs nothing."""

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from flink_controller.domain.artifact_retention import VersionRetention
from flink_controller.domain.errors import TransientError
from flink_controller.services import prune_artifacts as pruning
from flink_controller.services import sweep_artifacts as sweep
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.services.sweep_artifacts import FRESH, PERIOD, sweep_artifacts
from flink_controller.testing.interception import PortCall, intercepted
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.bench import BUCKET, JOB, KEY, POLICY, SECOND, Bench

LONG = timedelta(hours=1)
FEW = replace(POLICY, version_retention=VersionRetention(count=2, age=LONG))


def uploads(bench: Bench, *names: str) -> list[str]:
    """Upload jars, a minute apart, and give their versions; time that passes is a minute each."""
    versions = []
    for name in names:
        bench.upload(jar_bytes(name))
        versions.append(bench.head.latest.version_id)
        bench.run(60 * SECOND)
    return versions


def pruned_by_a_sweep(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sweep when every namespace has its turn, and give the versions whose records went."""
    monkeypatch.setattr(sweep, "TURNS_OF_PRUNING", 1)
    return [version.version_id for version in sweep_artifacts(bench.ports, FEW).pruned]


def recorded(bench: Bench) -> list[str]:
    return [version.version_id for version in bench.records.versions(BUCKET, KEY)]


def test_surplus_records_go_within_a_day_of_the_next_upload_whether_or_not_a_spec_names_them() -> None:
    bench = Bench()
    old = uploads(bench, "1", "2", "3")
    bench.clock.advance(2 * FRESH)
    after_no_upload = [sweep_artifacts(bench.ports, FEW).pruned for _ in range(FRESH // PERIOD)]
    new = uploads(bench, "4")

    found = []
    for _ in range(FRESH // PERIOD):
        found += [version.version_id for version in sweep_artifacts(bench.ports, FEW).pruned]
        bench.clock.advance(PERIOD)

    assert not any(after_no_upload)
    assert found == old[:2]
    assert recorded(bench) == [old[2], *new]


def test_what_a_retained_revision_uses_is_kept_and_can_be_rolled_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.stabilise()
    first = bench.head.latest
    assert first.sha256 is not None
    uploads(bench, *"2345")
    bench.clock.advance(LONG)
    uploads(bench, "6")

    pruned = pruned_by_a_sweep(bench, monkeypatch)
    bench.put(artifact_signature=f"sha256:{first.sha256}")
    bench.look()

    assert first.version_id not in pruned
    assert bench.status.desired is not None
    assert bench.status.desired.artifact.version_id == first.version_id


def test_a_suspended_job_keeps_what_it_will_resume_from(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.upload(jar_bytes("1"))
    digest = bench.head.latest.sha256
    bench.put(state="suspended", artifact_signature=f"sha256:{digest}")
    bench.look()
    bench.specs.delete(JOB)
    versions = uploads(bench, *"234")
    bench.clock.advance(LONG)
    uploads(bench, "5")

    assert pruned_by_a_sweep(bench, monkeypatch) == versions[:2]
    assert bench.records.versions(BUCKET, KEY)[0].sha256 == digest


def test_a_digest_that_a_spec_pins_is_kept_though_no_job_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    versions = uploads(bench, *"123")
    digest = hashlib.sha256(jar_bytes("1")).hexdigest()
    bench.put("waiting", artifact_signature=f"sha256:{digest}")
    bench.put("odd", artifact_signature=7)
    bench.put("malformed", artifact_signature="sha256:no")
    bench.clock.advance(LONG)
    uploads(bench, "4")

    assert pruned_by_a_sweep(bench, monkeypatch) == [versions[1]]


def test_the_records_of_a_namespace_with_too_many_jobs_are_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.stabilise()
    bench.put("other")
    bench.look("other")
    bench.put("broken/name/of/job")
    bench.look("broken/name/of/job")
    uploads(bench, *"234")
    bench.clock.advance(LONG)
    uploads(bench, "5")
    monkeypatch.setattr(pruning, "MAX_JOBS", 1)

    assert pruned_by_a_sweep(bench, monkeypatch) == []


def test_a_pass_is_bounded_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    old = uploads(bench, *"1234")
    bench.clock.advance(LONG)
    uploads(bench, "5")
    monkeypatch.setattr(pruning, "MAX_PRUNED", 2)

    assert pruning.prune_artifacts(bench.ports, FEW, "default", {KEY}, ())[0].version_id == old[0]
    assert [v.version_id for v in pruning.prune_artifacts(bench.ports, FEW, "default", {KEY}, ())] == [old[2]]
    assert pruning.prune_artifacts(bench.ports, FEW, "default", {KEY}, ()) == ()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", range(3))
def test_dying_at_any_removal_leaves_the_rest_to_the_next_pass(when: str, number: int) -> None:
    bench = Bench()
    old = uploads(bench, *"1234")
    bench.clock.advance(LONG)
    new = uploads(bench, "5")
    seen = 0

    def dies(call: PortCall) -> object:
        nonlocal seen
        if call.method != "prune":
            return call.target()
        seen += 1
        if seen - 1 != number:
            return call.target()
        if when == "after":
            call.target()
        raise TransientError("the process died")

    with pytest.raises(TransientError):
        pruning.prune_artifacts(intercepted(bench.ports, dies), FEW, "default", {KEY}, ())
    pruning.prune_artifacts(bench.ports, FEW, "default", {KEY}, ())

    assert recorded(bench) == [old[3], *new]
    assert bench.head.latest.version_id == new[0]


def test_a_pruned_version_that_is_the_newest_again_is_judged_again() -> None:
    bench = Bench()
    old = uploads(bench, *"123")
    bench.clock.advance(LONG)
    new = uploads(bench, "4")
    pruning.prune_artifacts(bench.ports, FEW, "default", {KEY}, ())
    for gone in (old[1], old[2], *new):
        bench.objects.purge(BUCKET, KEY, gone)

    admit_artifact(bench.ports, FEW, BUCKET, KEY)

    assert old[0] in recorded(bench)
