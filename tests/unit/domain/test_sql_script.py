"""SQL scripts: where statements begin, and which of them a job may run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_controller.domain.sql_script import (
    ALLOWED,
    DENIED,
    DENIED_SETTINGS,
    MAX_SCRIPT_FAULTS,
    byte_ranges,
    script_faults,
    statements,
)

RUNS = "INSERT INTO b SELECT k FROM a;"


def texts(script: str) -> list[str]:
    return [statement.text for statement in statements(script)]


def only_fault(script: str) -> str:
    (fault,) = script_faults(script)
    return fault


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", []),
        (";; -- nothing\n;", []),
        ("SET 'a' = 'b'; INSERT INTO x SELECT 1", ["SET 'a' = 'b'", "INSERT INTO x SELECT 1"]),
        ("-- a; b\nUSE c; // d; e\n/* f; g */ USE h", ["USE c", "USE h"]),
        ("SELECT ';', 'it''s; so', `a;``b`, \"c;d\"; X", ["SELECT ';', 'it''s; so', `a;``b`, \"c;d\"", "X"]),
        ("INSERT INTO a SELECT * FROM b /*+ OPTIONS('x'=';') */; USE c", None),
        ("SELECT 1 - -1; USE a", ["SELECT 1 - -1", "USE a"]),
        ("\ufeffUSE a;\r\nUSE b", ["USE a", "USE b"]),
    ],
)
def test_a_script_falls_apart_at_semicolons_outside_of_texts_and_comments(script: str, expected: list[str] | None) -> None:
    assert texts(script) == (expected or script.split("; ") if expected is None else expected)


@pytest.mark.parametrize(
    "script",
    [
        "EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;",
        "begin statement set; INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; end",
    ],
)
def test_the_marks_of_a_statement_set_are_not_run(script: str) -> None:
    encoded = script.encode()

    assert script_faults(script) == ()
    assert [encoded[start:end] for start, end in byte_ranges(script)] == [
        b"INSERT INTO a SELECT 1",
        b"INSERT INTO b SELECT 2",
    ]


def test_ranges_count_bytes_and_not_characters() -> None:
    script = "-- größer\nUSE ä; INSERT INTO `ü` SELECT '€'"

    found = [script.encode()[start:end].decode() for start, end in byte_ranges(script)]

    assert found == ["USE ä", "INSERT INTO `ü` SELECT '€'"]


@given(st.lists(st.sampled_from(["'", "`", '"', ";", "--", "/*", "*/", "\n", "é", "USE", " ", "(", ")", "${", "}"])))
def test_every_text_can_be_taken_apart_and_judged(parts: list[str]) -> None:
    script = "".join(parts)

    ranges = byte_ranges(script)
    found = [statement.text for statement in statements(script) if not statement.opens_a_set and not statement.closes_a_set]

    assert [script.encode()[start:end].decode() for start, end in ranges] == found
    assert len(script_faults(script)) <= MAX_SCRIPT_FAULTS + 1
    assert all(fault.isprintable() for fault in script_faults(script))


@pytest.mark.parametrize(
    "statement",
    [
        "SET 'table.exec.state.ttl' = '1 h'",
        "set 'execution.checkpointing.interval'='10 s'",
        "CREATE TEMPORARY TABLE IF NOT EXISTS t (a INT, b AS a + 1) WITH ('connector' = 'datagen')",
        "CREATE TABLE u LIKE t",
        "CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1",
        "CREATE TEMPORARY SYSTEM FUNCTION f AS 'com.example.F' LANGUAGE JAVA",
        "CREATE CATALOG c WITH ('type' = 'generic_in_memory')",
        "ALTER TABLE t RENAME TO u",
        "DROP TEMPORARY VIEW IF EXISTS v",
        "USE CATALOG c",
        "LOAD MODULE core",
        "INSERT OVERWRITE t SELECT 1",
    ],
)
def test_what_defines_configures_or_inserts_may_run(statement: str) -> None:
    assert script_faults(f"{statement};\n{RUNS}") == ()


@pytest.mark.parametrize(
    ("statement", "denied"),
    [
        ("SELECT 1", "SELECT"),
        ("with x as (select 1) select * from x", "WITH"),
        ("SHOW TABLES", "SHOW"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("ADD JAR 'lib/a.jar'", "ADD JAR"),
        ("CREATE FUNCTION f AS 'F' USING JAR 'https://example.com/f.jar'", "CREATE FUNCTION … USING"),
        ("CREATE TEMPORARY FUNCTION IF NOT EXISTS `f` AS 'F' /* x */ using JAR 's3://b/f.jar'", "CREATE FUNCTION … USING"),
        ("CREATE FUNCTION f AS 'm.f' LANGUAGE PYTHON", "CREATE FUNCTION … LANGUAGE PYTHON"),
        ("CREATE TABLE t WITH ('connector' = 'print') AS SELECT 1", "CREATE TABLE … AS"),
        ("CREATE OR REPLACE TABLE t AS SELECT 1", "CREATE TABLE … AS"),
        ("COMPILE AND EXECUTE PLAN 'plans/one' FOR INSERT INTO t SELECT 1", "COMPILE"),
        ("EXECUTE PLAN 'plans/one'", "EXECUTE PLAN"),
        ("DELETE FROM t", "DELETE"),
        ("RESET 'a'", "RESET"),
    ],
)
def test_what_shows_loads_or_runs_by_itself_is_refused(statement: str, denied: str) -> None:
    assert only_fault(f"{RUNS}\n  {statement};") == f"line 2, column 3: {denied} {DENIED[denied]}"


def test_what_nobody_knows_is_refused() -> None:
    assert only_fault(f"{RUNS} CREATE MATERIALIZED TABLE t AS SELECT 1") == (
        "line 1, column 32: 'CREATE MATERIALIZED' begins no statement that a job can run"
    )


@pytest.mark.parametrize("key", DENIED_SETTINGS)
def test_a_setting_that_is_not_the_scripts_is_refused(key: str) -> None:
    assert (
        only_fault(f"SET '{key}x' = 'y'; {RUNS}") == f"line 1, column 1: SET '{key}x' is refused: it {DENIED_SETTINGS[key]}"
    )


@pytest.mark.parametrize(
    "statement", ["SET", "SET a = b", "SET 'a'", "SET 'a' /* x */ = 'b'", "SET 'a b' = 'c'", "SET 'a' = 'b' 'c'"]
)
def test_a_setting_is_written_in_one_way_only(statement: str) -> None:
    assert only_fault(f"{statement}; {RUNS}") == "line 1, column 1: a setting is written SET 'key' = 'value';"


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("USE a;", "has no INSERT, so there is nothing to run"),
        ("INSERT INTO a SELECT 'b", 'line 1, column 22: "\'" is not closed'),
        (f"{RUNS}\n/* USE a; SELECT 1;", "line 2, column 1: '/*' is not closed"),
        (f"{RUNS} END;", "line 1, column 32: END closes no statement set"),
        (f"BEGIN STATEMENT SET; {RUNS}", "line 1, column 52: the statement set is not closed: write END;"),
        (f"BEGIN STATEMENT SET; USE a; {RUNS} END", "line 1, column 22: only INSERT may stand in a statement set"),
        (f"{RUNS} USE ${{a}};", "line 1, column 36: a variable may stand in a literal only: write '${name}'"),
        (f"{RUNS} USE '${{a b}}';", "line 1, column 36: 'a b' is no name of a variable: write '${name}'"),
    ],
)
def test_each_fault_has_its_place(script: str, fault: str) -> None:
    assert only_fault(script) == fault


def test_many_faults_are_bounded() -> None:
    assert len(script_faults("SELECT 1;" * 1000)) == MAX_SCRIPT_FAULTS + 1


def test_nothing_is_both_allowed_and_denied() -> None:
    assert not set(ALLOWED) & set(DENIED)
