"""What is no jar goes the way of a jar, through whole looks."""

from dataclasses import replace

from flink_controller.adapters.runners import runners
from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.lifecycle import Lifecycle, lifecycle
from flink_controller.testing.flink_behaviour import JobBehaviour
from flink_controller.testing.flink_twin import TwinOptions
from tests.unit.services.bench import BUCKET, SECOND, Bench, signature_of

SCRIPT = b"CREATE TABLE a (k INT) WITH ('connector' = 'print'); INSERT INTO a SELECT 1;"
UNKNOWN_COLUMN = JobBehaviour(
    main_throws="java.lang.IllegalArgumentException: line 1, column 78: Column 'x' not found in any table"
)


def bench_with(key: str, content: bytes) -> Bench:
    """Give a bench with an admitted artifact and a job that names it."""
    bench = Bench()
    bench.ports = replace(bench.ports, runners=runners())
    bench.objects.upload(BUCKET, key, content)
    bench.objects.upload(BUCKET, f"{key}.sig", signature_of(content))
    bench.admit(key)
    bench.put(artifact_path=key)
    return bench


def test_a_script_becomes_stable_and_releases_its_jar_when_it_is_deleted() -> None:
    bench = bench_with("artifacts/etl.sql", SCRIPT)
    bench.look()
    bench.run(60 * SECOND)
    (jar,) = bench.flink.jars()
    attempt = bench.status.attempt

    bench.specs.delete("etl")
    bench.look()
    bench.run(60 * SECOND)

    assert attempt is not None
    assert attempt.is_proven
    assert attempt.jar_id == jar.jar_id
    assert bench.flink.jars() == []


def after_another_script(behaviour: JobBehaviour, **rollback: object) -> Bench:
    """Give a bench whose job runs one script, and is then to run another one."""
    key, newer = "artifacts/etl.sql", SCRIPT.replace(b"SELECT 1", b"SELECT x")
    bench = bench_with(key, SCRIPT)
    rules = {"stabilization_seconds": 5, **rollback}
    bench.put(artifact_path=key, deployment={"checkpoint_interval": 2000, "rollback": rules})
    bench.look()
    bench.run(60 * SECOND)
    bench.objects.upload(BUCKET, key, newer)
    bench.objects.upload(BUCKET, f"{key}.sig", signature_of(newer))
    bench.admit(key)
    admitted = bench.records.head(BUCKET, key)
    assert admitted is not None
    assert admitted.admitted is not None
    assert admitted.admitted.artifact is not None
    script = admitted.admitted.artifact.model_copy(update={"type": ArtifactType.SQL})
    bench.flink.behaviours[script.staged_digest] = behaviour
    bench.look()
    bench.run(300 * SECOND)
    return bench


def test_a_script_that_flink_cannot_plan_is_refused_and_what_runs_is_never_stopped() -> None:
    bench = after_another_script(UNKNOWN_COLUMN)

    assert lifecycle(bench.status) is Lifecycle.ROLLED_BACK
    assert bench.status.attempt_counter == 1
    assert bench.status.refused is not None
    assert bench.status.refused.reason == "SubmissionRefused"
    assert "line 1, column 78: Column 'x' not found" in bench.status.refused.message
    assert bench.flink.calls["stop"] == 0


def test_without_a_revision_to_go_back_to_a_script_that_flink_cannot_plan_waits_beside_what_runs() -> None:
    bench = after_another_script(UNKNOWN_COLUMN, enabled=False)

    assert bench.status.waiting is not None
    assert bench.status.waiting[0] == "SubmissionRefused"
    assert bench.status.attempt_counter == 1
    assert bench.flink.calls["stop"] == 0


def test_a_plan_that_takes_too_long_keeps_no_script_from_being_tried() -> None:
    bench = after_another_script(JobBehaviour(main=TwinOptions().client_timeout))

    assert bench.status.attempt_counter == 2
    assert lifecycle(bench.status) is Lifecycle.STABLE


def test_modules_wait_until_their_cluster_is_registered_with_a_python() -> None:
    bench = bench_with("artifacts/etl.py", b"print()")
    bench.look()
    waiting, jars = bench.status.waiting, bench.flink.jars()

    bench.registry.put_cluster(bench.cluster.model_copy(update={"python": "/venv/bin/python"}))
    bench.run(120 * SECOND)

    assert waiting is not None
    assert waiting[0] == "PythonMissing"
    assert jars == []
    assert bench.status.attempt is not None
    assert bench.status.attempt.is_proven
