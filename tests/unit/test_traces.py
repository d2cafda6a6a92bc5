"""Traces tell what happened inside of an invocation, and cost nothing where nobody traces."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import botocore.client
import botocore.endpoint
import pytest
import requests
from aws_xray_sdk.core import xray_recorder
from aws_xray_sdk.core.context import Context as TraceContext

from flink_controller.telemetry import make_metrics, observed, span
from infra.functions import FUNCTIONS
from tests.integration.installation import Context
from tests.unit.test_log import SETTINGS

TRACED = replace(SETTINGS, tracing=True)


class Kept:
    """Keeps what would be sent."""

    def __init__(self) -> None:
        self.segments: list[dict[str, Any]] = []

    def send_entity(self, entity: Any) -> None:
        """Keep a segment."""
        self.segments.append(entity.to_dict())


@pytest.fixture(autouse=True)
def traced_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what the tracer does to botocore and requests, for the tests that follow in this process."""
    for owner, names in (
        (botocore.client.BaseClient, ("_make_api_call",)),
        (botocore.endpoint.Endpoint, ("prepare_request",)),
        (requests.Session, ("request", "prepare_request")),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))


@pytest.fixture(autouse=True, scope="module")
def no_socket_stays() -> Iterator[None]:
    """Close what the tracer opens when it is imported."""
    yield
    xray_recorder.emitter._socket.close()


@pytest.fixture
def traces() -> Iterator[list[dict[str, Any]]]:
    """Record as Lambda does: the invocation's own segment is there already."""
    kept, before = Kept(), (xray_recorder.emitter, xray_recorder.context)
    xray_recorder.configure(sampling=False, emitter=kept, context=TraceContext(), context_missing="IGNORE_ERROR")
    xray_recorder.begin_segment("invocation")
    yield kept.segments
    xray_recorder.clear_trace_entities()
    xray_recorder.configure(emitter=before[0], context=before[1])


def test_without_tracing_the_tracer_is_not_imported() -> None:
    program = f"""
import sys
{"".join(f"import functions.{row.name}.handler; " for row in FUNCTIONS)}
from tests.unit.test_log import SETTINGS
from flink_controller.telemetry import span
with span(SETTINGS, "look", job="etl") as annotate:
    annotate(outcome="recorded")
print([name for name in sys.modules if name.startswith("aws_xray_sdk")])
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_look_is_found_by_its_job_and_its_change(traces: list[dict[str, Any]]) -> None:
    def handler(_event: Any, _context: Any) -> None:
        with span(TRACED, "look", job="etl") as annotate:
            annotate(correlation_id="9f2c1d0a7b3e4f55", outcome=None)

    observed(make_metrics(), lambda: TRACED)(handler)({}, Context())
    xray_recorder.end_segment()

    (invocation,) = traces
    (handle,) = invocation["subsegments"]
    (look,) = handle["subsegments"]
    assert handle["annotations"] == {"request_id": Context().aws_request_id}
    assert (look["name"], look["annotations"]) == ("look", {"job": "etl", "correlation_id": "9f2c1d0a7b3e4f55"})


def test_a_trace_tells_that_there_was_an_error_and_not_what_it_said(traces: list[dict[str, Any]]) -> None:
    def handler(_event: Any, _context: Any) -> None:
        raise KeyError("hunter2")

    with pytest.raises(Exception, match="KeyError"):
        observed(make_metrics(), lambda: TRACED)(handler)({"args": "hunter2"}, Context())
    xray_recorder.end_segment()

    assert traces[0]["subsegments"][0]["fault"] is True
    assert "hunter2" not in str(traces)


def test_an_invocation_that_is_not_sampled_goes_on_as_usual() -> None:
    with span(TRACED, "look", job="etl") as annotate:
        annotate(outcome="recorded")
