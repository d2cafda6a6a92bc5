"""A key is revoked, or bytes are denied, while a job runs on them."""

import pytest

from flink_controller.domain.artifact import KeyStatus
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.status import DesiredState
from flink_controller.domain.trust import Denial, NamespacePolicy, Reaction, RegistryEvent
from flink_controller.services.sweep import reconcile_fleet
from flink_controller.testing.clock import START
from flink_controller.testing.jars import jar_bytes
from tests.unit.services.bench import BUCKET, JOB, KEY, POLICY, SECOND, Bench, signature_of, trusted

TOLD = RegistryEvent(time=START, action="Changed", subject="POLICY#default", message="")


def running(*, reaction: Reaction = Reaction.FLAG) -> Bench:
    bench = Bench()
    bench.registry.put_policy(NamespacePolicy(namespace="default", on_distrust=reaction), TOLD)
    bench.stabilise()
    return bench


def revoke(bench: Bench) -> None:
    bench.registry.put_key(trusted("team", b"team", status=KeyStatus.REVOKED))


def tick(bench: Bench) -> tuple[str, ...]:
    found = reconcile_fleet(bench.ports, POLICY)
    bench.run(30 * SECOND)
    return found.distrusted


def verified(bench: Bench) -> tuple[str, str]:
    condition = bench.status.condition("ArtifactVerified")
    assert condition is not None
    return condition.status, condition.reason


def test_a_job_on_a_revoked_key_is_flagged_within_a_tick_and_runs_on() -> None:
    bench = running()
    attempt = bench.status.attempt
    revoke(bench)

    assert tick(bench) == (JOB,)

    assert verified(bench) == ("False", "KeyRevoked")
    assert [event.reason for event in bench.statuses.events(JOB)].count("ArtifactDistrusted") == 1
    assert bench.status.attempt is not None
    assert attempt is not None
    assert (bench.status.attempt.number, lifecycle(bench.status)) == (attempt.number, Lifecycle.STABLE)


def test_a_flagged_job_is_counted_each_tick_and_not_woken_again() -> None:
    bench = running()
    revoke(bench)
    tick(bench)

    found = reconcile_fleet(bench.ports, POLICY)

    assert (found.distrusted, found.woken) == ((JOB,), ())


def test_denied_bytes_are_flagged_and_a_lifted_denial_takes_the_flag_away() -> None:
    bench = running()
    sha256 = bench.head.latest.sha256
    assert sha256 is not None
    bench.registry.put_denial(Denial(sha256=sha256, reason="loses messages"), TOLD)
    tick(bench)
    flagged = verified(bench)
    bench.registry.delete_denial(sha256, TOLD)

    assert tick(bench) == ()

    assert flagged == ("False", "DigestDenied")
    assert verified(bench) == ("True", "ArtifactAdmitted")


def test_a_key_that_nobody_registered_any_more_counts_as_revoked() -> None:
    bench = running()
    bench.registry.spoil("KEY#team")

    tick(bench)

    assert verified(bench) == ("False", "KeyUnknown")


def test_where_the_policy_says_so_the_job_is_stopped_with_its_state_and_waits() -> None:
    bench = running(reaction=Reaction.SUSPEND)
    revoke(bench)

    tick(bench)
    bench.run(60 * SECOND)

    assert bench.status.savepoint is not None
    assert bench.status.attempt is not None
    assert bench.status.attempt.is_dead
    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "KeyRevoked"
    assert bench.status.desired_state is DesiredState.RUNNING


def test_a_job_stopped_for_distrust_goes_on_from_its_state_with_the_next_artifact() -> None:
    bench = running(reaction=Reaction.SUSPEND)
    revoke(bench)
    tick(bench)
    bench.run(60 * SECOND)
    savepoint = bench.status.savepoint
    bench.registry.put_key(trusted("fresh", b"team"))

    bench.upload(jar_bytes("v2"))
    bench.run(180 * SECOND)

    assert savepoint is not None
    assert bench.status.attempt is not None
    assert bench.status.attempt.restore_from == savepoint.path
    assert (lifecycle(bench.status), verified(bench)) == (Lifecycle.STABLE, ("True", "ArtifactAdmitted"))


def test_a_policy_that_cannot_be_read_stops_nothing() -> None:
    bench = running(reaction=Reaction.SUSPEND)
    bench.registry.spoil("POLICY#default")
    revoke(bench)

    tick(bench)

    assert verified(bench) == ("False", "KeyRevoked")
    assert bench.status.attempt is not None
    assert not bench.status.attempt.is_dead


@pytest.mark.parametrize("status", [KeyStatus.ACTIVE, KeyStatus.RETIRING])
def test_a_key_that_only_retires_flags_nothing(status: KeyStatus) -> None:
    bench = running()
    bench.registry.put_key(trusted("team", b"team", status=status, not_after=START))

    assert tick(bench) == ()
    assert verified(bench) == ("True", "ArtifactAdmitted")


def test_a_signature_that_does_not_come_is_told_as_a_fault_and_still_counts_later() -> None:
    bench = Bench()
    bench.put()
    bench.objects.upload(BUCKET, KEY, jar_bytes())
    bench.admit()
    bench.look()
    waiting = bench.status.waiting
    bench.run(700 * SECOND)
    overdue = (bench.status.waiting, verified(bench))
    bench.objects.upload(BUCKET, f"{KEY}.sig", signature_of(jar_bytes()))
    bench.admit(f"{KEY}.sig")
    bench.run(60 * SECOND)

    assert waiting is not None
    assert waiting[0] == "SignatureMissing"
    assert overdue[0] is not None
    assert (overdue[0][0], overdue[1]) == ("SignatureOverdue", ("False", "SignatureOverdue"))
    assert lifecycle(bench.status) is Lifecycle.STABLE


@pytest.mark.parametrize(("root", "expected"), [("s3://shared/first", True), ("s3://shared/firs", False), (None, False)])
def test_a_first_savepoint_may_lie_below_a_root_that_the_policy_names(root: str | None, expected: bool) -> None:  # noqa: FBT001  # a case's outcome
    bench = Bench()
    if root is not None:
        bench.registry.put_policy(NamespacePolicy(namespace="default", state_roots=(root,)), TOLD)
    bench.upload()
    bench.put(deployment={"initial_savepoint_path": "s3://shared/first/savepoint-1"})

    bench.look()

    forbidden = bench.status.waiting is not None and bench.status.waiting[0] == "StateForbidden"
    assert forbidden is not expected
    assert (bench.status.attempt is not None) is expected
