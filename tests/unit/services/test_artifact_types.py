"""What is no jar goes the way of a jar, through whole looks."""

from dataclasses import replace

from flink_controller.adapters.runners import runners
from tests.unit.services.bench import BUCKET, SECOND, Bench, signature_of


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
    bench = bench_with("artifacts/etl.sql", b"CREATE TABLE a (k INT) WITH ('connector' = 'print'); INSERT INTO a SELECT 1;")
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
