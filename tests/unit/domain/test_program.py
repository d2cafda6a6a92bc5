"""What a submit says to start an artifact of each type."""

from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.cluster import Cluster
from flink_controller.domain.program import Program, cluster_fault, program_of

CLUSTER = Cluster(
    name="default", url="http://flink:8081", savepoint_root="s3://b/s", checkpoint_root="s3://b/c", flink_version="2.3.0"
)


def started(type_: ArtifactType, entry_class: str | None = None, *, is_batch: bool = False) -> Program:
    return program_of(
        type_,
        entry_class=entry_class,
        args=("a=1",),
        jar_path="/up/x.jar",
        python="/venv/bin/python",
        is_batch=is_batch,
    )


def test_what_says_no_mode_itself_is_told_to_run_as_a_batch() -> None:
    modes = {type_: started(type_, is_batch=True).configuration.get("execution.runtime-mode") for type_ in ArtifactType}

    assert modes == {ArtifactType.JAR: None, ArtifactType.SQL: "BATCH", ArtifactType.PYFLINK: "BATCH"}


def test_a_jar_starts_what_the_spec_says() -> None:
    assert started(ArtifactType.JAR, "com.example.Etl") == Program("com.example.Etl", ("a=1",))


def test_a_script_starts_the_runner_that_is_packed_beside_it() -> None:
    assert started(ArtifactType.SQL) == Program("FlinkctlSql", ("a=1",))


def test_modules_start_in_the_python_of_the_cluster_with_the_staged_jar_on_their_path() -> None:
    program = started(ArtifactType.PYFLINK, "etl.jobs")

    assert program.entry_class == "org.apache.flink.client.python.PythonDriver"
    assert program.args == ("-pym", "flinkctl_pyflink", "etl.jobs", "a=1")
    assert program.configuration == {
        "python.client.executable": "/venv/bin/python",
        "python.executable": "/venv/bin/python",
        "python.files": "/up/x.jar",
    }
    assert started(ArtifactType.PYFLINK).args[2] == "main"


def test_a_cluster_without_python_says_what_is_missing() -> None:
    fault = cluster_fault(ArtifactType.PYFLINK, CLUSTER)

    assert fault is not None
    assert "PyFlink 2.3.0" in fault
    assert "flinkctl cluster add default … --python PATH" in fault
    assert cluster_fault(ArtifactType.PYFLINK, CLUSTER.model_copy(update={"python": "python3"})) is None
    assert cluster_fault(ArtifactType.SQL, CLUSTER) is None
