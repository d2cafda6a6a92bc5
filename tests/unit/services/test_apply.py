"""Preparations and effects, where a look's own story does not already tell of them."""

import io
from datetime import timedelta

from flink_controller.domain.actions import ReleaseJar
from flink_controller.domain.artifact import jar_name
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.domain.observation import Observation
from flink_controller.domain.plan import Facts
from flink_controller.domain.spec import NoSpec
from flink_controller.services.apply import prepare
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import FlinkTwin, TwinOptions
from tests.unit.services.bench import JOB, POLICY, SECOND, Bench

MINUTE = timedelta(minutes=1)


def test_after_a_restart_of_the_jobmanager_only_our_own_old_jars_go() -> None:
    bench = Bench()
    bench.flink = FlinkTwin(bench.clock, bench.storage, TwinOptions(keeps_jars=True))
    bench.stabilise()
    (ours,) = bench.flink.jars()
    foreign = bench.flink.upload_jar("somebody-elses.jar", io.BytesIO(b"jar"), 3).jar_id
    bench.flink.restart_jobmanager()

    bench.look()
    bench.run(3 * MINUTE)

    names = {jar.jar_id: jar.name for jar in bench.flink.jars()}
    assert ours.jar_id not in names
    assert foreign in names
    assert len(names) == 2
    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert bench.flink.history[-1].restored_from is not None


def test_the_jar_of_a_deleted_job_is_removed() -> None:
    bench = Bench()
    bench.stabilise()
    bench.specs.delete("etl")

    bench.look()
    bench.run(MINUTE)

    assert lifecycle(bench.status) is Lifecycle.DELETED
    assert bench.flink.jars() == []


def test_a_jar_that_another_job_still_uses_stays() -> None:
    bench = Bench()
    bench.stabilise()
    bench.put("other")
    bench.look("other")
    bench.specs.delete("etl")

    bench.look()
    bench.run(MINUTE)

    assert len(bench.flink.jars()) == 1


def test_a_jar_on_a_cluster_whose_item_is_malformed_is_given_up_all_the_same() -> None:
    bench = Bench()
    bench.stabilise()
    facts = Facts(JOB, NoSpec(), Observation(cluster=bench.cluster, flink=None), bench.clock.now(), POLICY)
    digest = bench.status.staged_digests[0]
    bench.registry.spoil("CLUSTER#default")

    after = prepare(bench.ports, POLICY, facts, ReleaseJar("default", digest))

    assert after.findings.released == {digest}
    assert bench.statuses.staged_jar("default", digest) is None
    assert len(bench.flink.jars()) == 1


def test_a_stop_that_cannot_be_taken_ends_with_the_newest_checkpoint() -> None:
    bench = Bench()
    digest = bench.upload(behaviour=JobBehaviour(stop_fails="a task refuses"))
    bench.put()
    bench.look()
    bench.run(MINUTE)
    bench.put(args=["--new"])

    bench.look()
    bench.run(30 * MINUTE)

    assert lifecycle(bench.status) is Lifecycle.STABLE
    assert [start.jar_sha256 for start in bench.flink.history if not start.is_restart] == [digest, digest]
    assert "/chk-" in (bench.flink.history[-1].restored_from or "")


def test_the_name_of_an_uploaded_jar_is_the_one_that_is_looked_for() -> None:
    bench = Bench()
    digest = bench.upload()
    bench.put()

    bench.look()
    bench.run(SECOND)

    assert [jar.name for jar in bench.flink.jars()] == [jar_name(bench.flink.incarnation, digest, "tests")]
