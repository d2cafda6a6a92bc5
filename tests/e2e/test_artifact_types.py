"""What is no jar, on a real Flink: the same life as a jar's."""

import io
import json
import os
import re
import zipfile
from typing import Any

import pytest

from infra.local.progress import Progress
from infra.local.toolchain import Toolchain
from tests.e2e.conftest import Team

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]
SQL = """\
-- Counts what arrives; -U and +U lines go to the TaskManager's output.
SET 'table.exec.state.ttl' = '1 h';
SET 'execution.checkpointing.interval' = '800 ms';
CREATE TABLE numbers (k INT) WITH (
  'connector' = 'datagen', 'rows-per-second' = '50', 'fields.k.min' = '0', 'fields.k.max' = '2'
);
CREATE TABLE counts (k INT, n BIGINT) WITH ('connector' = 'print', 'print-identifier' = '${label}');
CREATE TABLE nowhere (k INT) WITH ('connector' = 'blackhole');
EXECUTE STATEMENT SET BEGIN
INSERT INTO counts SELECT k, COUNT(*) FROM numbers GROUP BY k;
INSERT INTO nowhere SELECT k FROM numbers;
END;
"""


def sql_spec(team: Team, job: str, label: str, **changes: Any) -> dict[str, Any]:
    return {**team.spec(job), "artifact_path": f"artifacts/{job}.sql", "args": [f"label={label}"], **changes}


def printed(team: Team, label: str) -> list[tuple[int, int]]:
    """Read the counts that a label's copy printed, as (key, count), in order."""
    output = (team.flink.config.directory / "taskmanager-0.out").read_text()
    return [(int(k), int(n)) for k, n in re.findall(rf"^{label}> \+[IU]\[(\d+), (\d+)\]$", output, re.MULTILINE)]


def assert_counts_go_on(counts: list[tuple[int, int]]) -> None:
    """Each key counts on by one over all copies: nothing lost, nothing repeated."""
    last: dict[int, int] = {}
    for key, count in counts:
        assert count == last.get(key, 0) + 1
        last[key] = count
    assert len(last) == 3


def test_a_script_is_deployed_upgraded_with_its_state_suspended_and_resumed(team: Team) -> None:
    job = "sql"
    team.upload(f"artifacts/{job}.sql", SQL.encode())
    team.put(sql_spec(team, job, "sql-v1"))
    deployed = team.wait_stable(job, 1)
    interval = team.get(f"/jobs/{deployed['flink']['job_id']}/checkpoints/config")["interval"]
    parameters = team.get(f"/jobs/{deployed['flink']['job_id']}/config")["execution-config"]["user-config"]

    team.upload(f"artifacts/{job}.sql", SQL.replace("'rows-per-second' = '50'", "'rows-per-second' = '60'").encode())
    upgraded = team.wait_stable(job, 2)
    restored = team.get(f"/jobs/{upgraded['flink']['job_id']}/checkpoints")["latest"]["restored"]
    team.put(sql_spec(team, job, "sql-v1", state="suspended"))
    team.wait(job, lambda status: status["lifecycle"] == "SUSPENDED")
    live_while_suspended = team.live_ids(job)
    team.put(sql_spec(team, job, "sql-v2"))
    resumed = team.wait_stable(job, 3)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    assert interval == 800
    assert parameters["flinkctl.job-id"] == job
    assert restored["external_path"] == upgraded["savepoint"]["path"]
    assert live_while_suspended == []
    assert [int(status["flink"]["job_id"][16:], 16) for status in (deployed, upgraded, resumed)] == [1, 2, 3]
    assert printed(team, "sql-v2")
    assert_counts_go_on(printed(team, "sql-v1") + printed(team, "sql-v2"))


def test_a_script_that_flink_does_not_understand_says_where(team: Team) -> None:
    job = "sql-wrong"
    team.upload(f"artifacts/{job}.sql", SQL.encode())
    team.put(sql_spec(team, job, job))
    running = team.wait_stable(job, 1)["flink"]["job_id"]

    team.upload(f"artifacts/{job}.sql", SQL.replace("SELECT k FROM numbers", "SELECT nothing FROM numbers").encode())
    back = team.wait(job, lambda status: status["lifecycle"] == "ROLLED_BACK")
    team.upload(f"artifacts/{job}.sql", f"{SQL}\nSELECT 1;".encode())
    refused = team.wait(job, lambda status: "SELECT gives rows" in str(status["conditions"]))
    team.remove(job)

    assert "line 11, column 28: Column 'nothing' not found in any table" in back["message"]
    # Flink has said so to a plan: what ran was never stopped for it.
    assert back["flink"] == {"job_id": running, "state": "RUNNING"}
    verified = next(found for found in refused["conditions"] if found["type"] == "ArtifactVerified")
    assert verified["reason"] == "ScriptRefused"
    assert "line 14, column 1: SELECT gives rows" in verified["message"]


SQL_BATCH = """\
CREATE TABLE numbers (k INT) WITH ('connector' = 'datagen', 'number-of-rows' = '30', 'fields.k.min' = '1', 'fields.k.max' = '1');
CREATE TABLE counts (k INT, n BIGINT) WITH ('connector' = 'print', 'print-identifier' = '${label}');
INSERT INTO counts SELECT k, COUNT(*) FROM numbers GROUP BY k;
"""


def assert_runs_once_to_its_end(team: Team, job: str) -> None:
    """Wait for the one run of a batch job, and see what it printed."""
    team.wait(job, lambda status: status["lifecycle"] == "COMPLETED", timeout_s=180)
    (run,) = json.loads(team.flinkctl("runs", job, "-o", "json").stdout)["items"]
    assert run["outcome"] == "Succeeded"
    assert printed(team, job) == [(1, 30)]


def test_a_script_runs_as_a_batch_job_to_its_end(team: Team) -> None:
    job = "sql-batch"
    team.upload(f"artifacts/{job}.sql", SQL_BATCH.encode())
    team.put({"job_id": job, "job_type": "batch", "artifact_path": f"artifacts/{job}.sql", "args": [f"label={job}"]})

    assert_runs_once_to_its_end(team, job)


PYFLINK = """\
import sys

from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.functions import KeyedProcessFunction
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import StreamTableEnvironment

import counting

label, version = sys.argv[1:3]
if version == "wrong":
    raise ValueError("told to fail in main")


class Count(KeyedProcessFunction):
    def open(self, context):
        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, key, context):
        self.count.update((self.count.value() or 0) + 1)
        yield counting.line(key, self.count.value())


environment = StreamExecutionEnvironment.get_execution_environment()
tables = StreamTableEnvironment.create(environment)
tables.execute_sql(
    "CREATE TABLE numbers (k INT) WITH ('connector' = 'datagen', 'rows-per-second' = '20', 'fields.k.min' = '0', 'fields.k.max' = '2')"
)
keys = tables.to_data_stream(tables.from_path("numbers")).map(lambda row: row[0], Types.INT())
keys.key_by(lambda key: key).process(Count(), Types.STRING()).uid("count").print(label)
environment.execute()
"""
COUNTING = 'def line(key, count):\n    return f"+I[{key}, {count}]"\n'


def modules(**changes: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {"main.py": PYFLINK, "counting.py": COUNTING, **changes}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.pyflink
def test_modules_wait_for_a_python_and_are_deployed_upgraded_with_their_state_suspended_and_resumed(team: Team) -> None:
    job, key = "pyflink", "artifacts/pyflink.zip"
    team.upload(key, modules())

    def spec(version: str, **changes: Any) -> dict[str, Any]:
        return {**team.spec(job), "artifact_path": key, "args": ["pyflink", version], **changes}

    team.put(spec("v1"))
    waiting = team.wait(job, lambda status: status["reason"] == "PythonMissing")
    add_python(team)
    team.flinkctl("restart", job)
    deployed = team.wait_stable(job, timeout_s=180)
    team.upload(key, modules(**{"notes.txt": "v2"}))
    upgraded = team.wait_stable(job, 2, timeout_s=180)
    restored = team.get(f"/jobs/{upgraded['flink']['job_id']}/checkpoints")["latest"]["restored"]
    team.put(spec("v2", state="suspended"))
    team.wait(job, lambda status: status["lifecycle"] == "SUSPENDED")
    live_while_suspended = team.live_ids(job)
    team.put(spec("v2"))
    resumed = team.wait_stable(job, 3, timeout_s=180)
    team.put(spec("wrong"))
    back = team.wait(job, lambda status: status["lifecycle"] == "ROLLED_BACK", timeout_s=180)
    team.remove(job)
    team.wait(job, lambda status: status["lifecycle"] == "DELETED")

    assert "each of its machines needs a Python with PyFlink" in waiting["message"]
    assert restored["external_path"] == upgraded["savepoint"]["path"]
    assert live_while_suspended == []
    assert [int(status["flink"]["job_id"][16:], 16) for status in (deployed, upgraded, resumed)] == [1, 2, 3]
    assert "main.py, line 13: ValueError: told to fail in main" in back["message"]
    assert_counts_go_on(printed(team, job))


def add_python(team: Team) -> None:
    """Prepare the cluster for Python, as an operator does."""
    settings = team.stack.settings
    python = Toolchain(settings.cache_directory, os.environ, Progress()).pyflink(settings.flink_version)
    (cluster,) = json.loads(team.flinkctl("cluster", "list", "-o", "json").stdout)["items"]
    done = team.flinkctl(
        *("cluster", "add", cluster["name"], "--url", cluster["url"], "--python", str(python)),
        *("--savepoint-root", cluster["savepoint_root"], "--checkpoint-root", cluster["checkpoint_root"]),
    )
    assert done.returncode == 0, done.stderr


PYFLINK_BATCH = """\
import sys

from pyflink.table import EnvironmentSettings, TableEnvironment

tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
tables.execute_sql(
    "CREATE TABLE numbers (k INT) WITH ('connector' = 'datagen', 'number-of-rows' = '30', 'fields.k.min' = '1', 'fields.k.max' = '1')"
)
tables.execute_sql(f"CREATE TABLE counts (k INT, n BIGINT) WITH ('connector' = 'print', 'print-identifier' = '{sys.argv[1]}')")
tables.execute_sql("INSERT INTO counts SELECT k, COUNT(*) FROM numbers GROUP BY k")
"""


@pytest.mark.pyflink
def test_a_module_runs_as_a_batch_job_to_its_end(team: Team) -> None:
    job = "pyflink-batch"
    team.upload(f"artifacts/{job}.py", PYFLINK_BATCH.encode())
    add_python(team)
    team.put({"job_id": job, "job_type": "batch", "artifact_path": f"artifacts/{job}.py", "args": [job]})

    assert_runs_once_to_its_end(team, job)
