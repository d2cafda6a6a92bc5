"""What is no event of ours is dropped: a handler that raised would have Lambda send the same again and again."""

import contextlib
import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_controller.domain.errors import ControllerError
from infra.functions import FUNCTIONS, RECONCILER
from tests.integration.installation import EVENTS, Installation, deliver, invoke, sample

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
SAMPLES = sorted(str(path.relative_to(EVENTS)) for row in FUNCTIONS for path in (EVENTS / row.name).glob("*.json"))
BOUNDED = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    # The installation is shared by the examples on purpose: no event may spoil it for the next one.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Give the path of every part of a document."""
    yield path
    parts = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, part in parts:
        yield from places(part, (*path, key))


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[str, Any]:
    """Give a function and one of its sample events with one part replaced or missing."""
    path = draw(st.sampled_from(SAMPLES))
    document = sample(path)
    *parents, last = draw(st.sampled_from([place for place in places(document) if place]))
    inner = document
    for key in parents:
        inner = inner[key]
    if draw(st.booleans()):
        inner[last] = draw(JSON)
    else:
        del inner[last]
    return path.partition("/")[0], document


@pytest.mark.usefixtures("installed")
@BOUNDED
@given(event=JSON)
@pytest.mark.parametrize("function", [row.name for row in FUNCTIONS])
def test_no_json_document_makes_a_handler_raise(function: str, event: Any) -> None:
    assert answers_well(function, event)


@pytest.mark.usefixtures("installed")
@BOUNDED
@given(case=spoiled())
def test_no_event_with_a_wrong_part_makes_a_handler_raise(case: tuple[str, Any]) -> None:
    function, event = case

    assert answers_well(function, event)


@pytest.mark.usefixtures("installed")
@BOUNDED
@given(body=st.text(max_size=60) | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps({"job_id": value})))
def test_no_body_of_a_follow_up_makes_the_handler_raise(body: str) -> None:
    assert answers_well(RECONCILER, follow_up(body))


@pytest.mark.usefixtures("installed")
@BOUNDED
@given(key=st.text(min_size=1, max_size=60).map(lambda text: f"artifacts/{text}") | st.text(max_size=60))
def test_no_key_of_an_upload_makes_the_handler_raise(key: str) -> None:
    event = copy.deepcopy(sample("admit_artifact/signed.json"))
    event["Records"][0]["s3"]["object"]["key"] = key

    assert answers_well("admit_artifact", event)


@settings(BOUNDED, max_examples=25)
@given(item=st.dictionaries(st.sampled_from(["job_type", "artifact_path", "deployment", "args", "x"]), JSON, max_size=5))
def test_no_spec_item_makes_the_handler_raise(installed: Installation, item: dict[str, Any]) -> None:
    installed.put_spec({**{name: numbers_for_dynamodb(value) for name, value in item.items()}, "job_id": "etl"})

    assert deliver("reconcile_job/insert.json") == {"batchItemFailures": []}
    status = installed.status()
    assert status is not None
    valid = status.condition("SpecValid")
    assert valid is not None
    assert (valid.status, valid.reason) == ("False", "SpecRejected")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    "job_id",
    [
        pytest.param("x" * 3000, id="longer than any key"),
        pytest.param("\ud800", id="half a surrogate"),
    ],
)
def test_a_follow_up_that_names_what_no_table_can_hold_is_dropped(job_id: str) -> None:
    assert invoke(RECONCILER, follow_up(json.dumps({"job_id": job_id}))) == {"batchItemFailures": []}


def follow_up(body: str) -> Any:
    """Give the sample follow-up with another body."""
    event = copy.deepcopy(sample("reconcile_job/follow_up.json"))
    event["Records"][0]["body"] = body
    return event


def answers_well(function: str, event: Any) -> bool:
    """Tell whether a handler's answer is one that its source understands, with nothing to send again."""
    if function == "rotate_credentials":
        # A step that fails is raised: that is how Secrets Manager learns of it.
        with contextlib.suppress(ControllerError):
            return set(invoke(function, event)) == {"refused"}
        return True
    answer = invoke(function, event)
    match function:
        case "admit_artifact":
            return answer is None
        case "reconcile_job" | "publish_events":
            return bool(answer == {"batchItemFailures": []})
        case "health":
            return answer["statusCode"] in {200, 404, 405}
        case "sweep_artifacts":
            return bool(answer == {"artifacts": 0, "judged": 0, "lost": 0, "pruned": 0})
        case _:
            return bool(answer["woken"] == 0)


def numbers_for_dynamodb(value: Any) -> Any:
    """Give a document with numbers as DynamoDB takes them; what it would refuse becomes text."""
    match value:
        case bool() | None | str():
            return value
        case int() | float():
            text = str(value)
            return Decimal(text) if abs(value) < 1e30 and len(text) < 30 and (value == 0 or abs(value) > 1e-30) else text
        case list():
            return [numbers_for_dynamodb(inner) for inner in value]
        case _:
            # moto takes a map for an attribute value when its keys look like type names, or are empty.
            return {f"key {key}": numbers_for_dynamodb(inner) for key, inner in value.items()}
