"""What the controller stored, read by a version that is older than the one that wrote it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from flink_controller import adapters
from flink_controller.adapters.dynamodb_items import document, parsed
from flink_controller.domain.artifact import ArtifactHead, ArtifactVersion, Value
from flink_controller.domain.circuit import Circuit
from flink_controller.domain.spec import recorded_spec
from flink_controller.domain.status import Event, JobStatus, Revision, Run, RunOutcome, SavepointRecord, StatusSummary
from flink_controller.domain.trust import RegistryEvent

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RECORDED: Final = Path(__file__).resolve().parents[2] / "integration" / "recorded_items_1.jsonl"
PLACES: Final[dict[type[Value], str]] = {
    JobStatus: "STATUS",
    Event: "EVENT#",
    Revision: "REVISION#",
    SavepointRecord: "SAVEPOINT#",
    ArtifactHead: "HEAD",
    ArtifactVersion: "VERSION#",
}
"""How the sort key of a recorded item begins."""
MADE: Final[tuple[Value, ...]] = (
    Run(scheduled_at=NOW, outcome=RunOutcome.RUNNING, attempt=1, started_at=NOW),
    Circuit(),
    RegistryEvent(time=NOW, action="Added", subject="KEY#team", message="", by="me"),
)
"""Of what the recorded items hold none."""
MAPS: Final = frozenset({"spec", "fingerprints"})
"""Whose names are data."""


def recorded() -> list[tuple[type[Value], dict[str, Any]]]:
    found: list[tuple[type[Value], dict[str, Any]]] = [(type(one), json.loads(document(one)["S"])) for one in MADE]
    for line in RECORDED.read_text().splitlines():
        item = json.loads(line).get("item", {})
        for model, place in PLACES.items():
            if item.get("sk", {}).get("S", "").startswith(place) and "document" in item:
                found.append((model, json.loads(item["document"]["S"])))
        if "summary" in item and "document" in item:
            found.append((StatusSummary, json.loads(item["summary"]["S"])))
    return found


def with_newer_fields(value: Any) -> Any:
    """Add a field to every object, as a newer version would."""
    if isinstance(value, list):
        return [with_newer_fields(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {name: one if name in MAPS else with_newer_fields(one) for name, one in value.items()} | {"newer": {"a": [1]}}


def stored(value: Any) -> dict[str, Any]:
    return {"document": {"S": json.dumps(value)}}


@pytest.mark.parametrize("model", sorted({model for model, _ in recorded()}, key=str))
def test_fields_that_a_newer_version_added_are_left_out(model: type[Value]) -> None:
    for kind, value in recorded():
        if kind is model:
            assert parsed(model, stored(with_newer_fields(value))) == parsed(model, stored(value))


def test_every_model_that_is_stored_as_a_document_is_among_them() -> None:
    (folder,) = adapters.__path__
    texts = [path.read_text() for path in Path(folder).glob("*.py")]
    read = {name for text in texts for name in re.findall(r"[ =(\[]parsed(?:_text)?\(([A-Z]\w+), ", text)}

    assert read == {model.__name__ for model, _ in recorded()}


def test_a_revision_s_spec_is_read_as_far_as_it_is_known() -> None:
    revision = next(parsed(Revision, stored(value)) for model, value in recorded() if model is Revision)
    newer = revision.model_copy(update={"spec": with_newer_fields(revision.spec)})

    assert recorded_spec(newer) == recorded_spec(revision)
