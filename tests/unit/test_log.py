"""Lines of the log: JSON on one line whatever somebody wrote, without secrets, and bound to the change they belong to."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain.errors import TransientError
from flink_controller.domain.names import correlation_id_of_upload
from flink_controller.domain.redaction import REDACTED
from flink_controller.settings import Settings
from flink_controller.telemetry import UnexpectedError, log_events, make_logger, make_metrics, observed, written
from flink_controller.testing.jars import jar_bytes
from tests.integration.installation import Context
from tests.unit.services.bench import JOB, SECOND, Bench

SETTINGS = Settings(
    job_spec_table_name="specs",
    controller_state_table_name="state",
    artifact_bucket_name="artifacts",
    follow_up_queue_url="queue",
    controller_id="tests",
)
NASTY = (
    'x"}\n{"level": "ERROR", "message": "forged"}',
    "line\r\nbreak\u2028\u2029\x85",
    "\x1b[31mred\x00\x7f\x9b",
    "half \ud800 of a pair",
    '{"message": "forged", "level": "CRITICAL"}',
)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=30)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
Answer = Callable[[Any, Context], Any]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("text", NASTY)
def test_what_somebody_wrote_forges_no_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    logger = make_logger(SETTINGS)

    logger.info(text, extra={"key": text, "listed": [text]})

    out = capsys.readouterr().out
    (line,) = out.splitlines()
    assert out == line + "\n"
    assert line.isascii()
    assert line.isprintable()
    found = json.loads(line)
    assert (found["level"], found["message"], found["key"], found["listed"]) == ("INFO", text, text, [text])


@settings(max_examples=150, derandomize=True, deadline=None)
@given(document=st.dictionaries(st.text(st.characters(codec=None), max_size=10), DOCUMENTS, max_size=6))
def test_any_document_is_one_line_of_json(document: dict[str, Any]) -> None:
    line = written(document)

    assert line.isascii()
    assert line.isprintable()
    assert isinstance(json.loads(line, parse_constant=pytest.fail), dict)


def test_a_line_of_the_package_s_own_loggers_is_written_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    make_logger(SETTINGS)

    logging.getLogger("flink_controller").warning("password=%s", "hunter2hunter2")

    (line,) = lines(capsys)
    assert line["message"] == f"password={REDACTED}"


def test_the_threshold_is_that_of_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    make_logger(replace(SETTINGS, log_level="WARNING")).info("quiet")
    make_logger(SETTINGS).info("told")

    assert [line["message"] for line in lines(capsys)] == ["told"]


# Errors


def handler(answer: Answer) -> Answer:
    return observed(make_metrics(), lambda: SETTINGS)(answer)


def test_an_unexpected_error_is_told_once_bounded_and_without_its_secret(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_event: Any, _context: Context) -> None:
        secret = "hunter2hunter2"  # noqa: S105  # looks like one, on purpose
        raise KeyError(f"password={secret} " + "x" * 100_000)

    with pytest.raises(UnexpectedError) as raised:
        handler(fail)({"args": ["--secret", "hunter2hunter2"]}, Context())

    assert "hunter2" not in str(raised.value)
    assert len(str(raised.value)) < 600
    assert raised.value.__suppress_context__
    line, counted = lines(capsys)
    assert "hunter2" not in json.dumps(line)
    assert len(json.dumps(line)) < 10_000
    assert (line["level"], line["exception_name"]) == ("ERROR", "KeyError")
    assert line["function_request_id"] == Context().aws_request_id
    assert counted["unexpected_errors"] == [1.0]


def test_an_error_in_our_own_words_is_told_and_raised_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_event: Any, _context: Context) -> None:
        raise TransientError("DynamoDB does not answer")

    with pytest.raises(TransientError, match="DynamoDB"):
        handler(fail)({}, Context())

    (line,) = lines(capsys)
    assert (line["level"], line["error"], line["reason"]) == ("WARNING", "TransientError", "DynamoDB does not answer")


def test_a_handler_that_counts_nothing_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert handler(lambda event, _context: event)(7, Context()) == 7
    assert lines(capsys) == []


# Correlation


def correlations(bench: Bench) -> dict[str, str]:
    """Give the correlation id that each event was last told with, by its reason."""
    return {event.reason: commit.status.correlation_id for commit in bench.told for event in commit.events}


def parameters(bench: Bench) -> list[str]:
    """Give what Flink was told about the change behind each start."""
    found = []
    for start in bench.flink.history:
        entries = dict(part.split(":", 1) for part in start.configuration["pipeline.global-job-parameters"].split(","))
        found.append(entries["flinkctl.correlation-id"])
    return found


def test_everything_that_a_spec_write_leads_to_carries_its_id_flink_included() -> None:
    bench = Bench()

    bench.stabilise()

    found = correlations(bench)
    assert {"SpecAccepted", "Submitted", "Running", "Stable"} <= set(found)
    assert set(found.values()) == {bench.status.correlation_id}
    assert parameters(bench) == [bench.status.correlation_id]
    assert len(bench.status.correlation_id) == 16


def test_an_upload_s_id_is_known_before_any_job_is_looked_at() -> None:
    bench = Bench()
    bench.stabilise()
    before = bench.status.correlation_id
    bench.told.clear()
    bench.upload(jar_bytes("v2"))
    verdict = bench.verdicts[-1]
    upload = correlation_id_of_upload(verdict.bucket, verdict.key, verdict.version_id)

    bench.run(60 * SECOND)
    bench.look()
    bench.run(60 * SECOND)

    assert bench.status.correlation_id == upload != before
    assert correlations(bench)["UpgradeStarted"] == correlations(bench)["Stable"] == upload
    assert parameters(bench)[-1] == upload


def test_the_same_spec_written_again_later_is_another_change() -> None:
    bench = Bench()
    bench.stabilise()
    ids = [bench.status.correlation_id]

    for label in ("a", "b", "a"):
        bench.put(labels={"team": label})
        bench.look()
        ids.append(bench.status.correlation_id)

    assert len(set(ids)) == 4


def test_a_wish_is_a_change_too() -> None:
    bench = Bench()
    bench.stabilise()
    before = bench.status.correlation_id
    bench.put(state="suspended")

    bench.look()
    bench.run(60 * SECOND)

    assert correlations(bench)["SuspendRequested"] == correlations(bench)["Stopped"] != before


def test_each_transition_is_a_line_with_its_change(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench()
    bench.stabilise()

    for commit in bench.told:
        log_events(make_logger(SETTINGS), commit)

    found = lines(capsys)
    assert [line["reason"] for line in found] == ["ArtifactAdmitted", "SpecAccepted", "Submitted", "Running", "Stable"]
    assert {(line["job"], line["correlation_id"]) for line in found} == {(JOB, bench.status.correlation_id)}
