"""What `SpecStore` and `EditableSpecStore` promise."""

from decimal import Decimal
from typing import Any

import pytest

from flink_controller.domain.errors import StaleWriteError, TransientError
from tests.contract.worlds import AwsWorld, World

SPEC = {"job_type": "stream", "artifact_path": "artifacts/a.jar", "deployment": {"parallelism": 4}, "labels": {}}


def test_a_spec_that_nobody_wrote_is_none(world: World) -> None:
    assert world.specs.read("absent") is None


def test_a_raw_put_is_read_back_with_plain_numbers(world: World) -> None:
    world.put_spec("job", SPEC)

    found = world.specs.read("job")

    assert found == {**SPEC, "job_id": "job"}
    assert type(found["deployment"]["parallelism"]) is int


def test_fractions_are_floats_and_whole_numbers_are_ints(aws_world: AwsWorld) -> None:
    aws_world.put_spec("job", {"half": Decimal("0.5"), "whole": Decimal("4.0"), "large": Decimal(10) ** 40})

    found = aws_world.specs.read("job")

    assert found is not None
    assert found == {"job_id": "job", "half": 0.5, "whole": 4, "large": 10**40}
    assert [float, int, int] == [type(found[name]) for name in ("half", "whole", "large")]


def test_bytes_and_sets_in_a_raw_item_do_not_raise(world: World) -> None:
    world.put_spec("job", {"labels": {"a", "b"}, "args": b"\x00\xff", "env_vars": None, "deployment": [True, "x"]})

    found = world.specs.read("job")

    assert found == {
        "job_id": "job",
        "labels": {"a", "b"},
        "args": b"\x00\xff",
        "env_vars": None,
        "deployment": [True, "x"],
    }


def test_sets_of_numbers_and_of_bytes_do_not_raise(aws_world: AwsWorld) -> None:
    aws_world.put_spec("job", {"numbers": {1, 2}, "blobs": {b"a", b"b"}})

    assert aws_world.specs.read("job") == {"job_id": "job", "numbers": {1, 2}, "blobs": {b"a", b"b"}}


def test_an_item_near_400_kb_is_read(world: World) -> None:
    world.put_spec("job", {"args": "x" * 399_000})

    found = world.specs.read("job")

    assert found is not None
    assert len(found["args"]) == 399_000


def test_of_many_names_those_with_a_spec_are_told(world: World) -> None:
    written = {f"job-{number}" for number in range(230)}
    for name in written:
        world.put_spec(name, SPEC)

    found = world.specs.present([*sorted(written), "absent", "job-1", "ns/absent"])

    assert found == written
    assert world.specs.present([]) == frozenset()


def test_a_hundred_names_are_asked_for_at_once_and_by_name_alone(aws_world: AwsWorld) -> None:
    calls: list[dict[str, Any]] = []
    aws_world.specs._client.meta.events.register(
        "provide-client-params.dynamodb.*", lambda params, **_: calls.append(params["RequestItems"])
    )

    aws_world.specs.present(f"job-{number}" for number in range(230))

    asked = [call[aws_world.spec_table] for call in calls]
    assert [len(one["Keys"]) for one in asked] == [100, 100, 30]
    assert all(one["ConsistentRead"] and one["ExpressionAttributeNames"] == {"#0": "job_id"} for one in asked)


@pytest.mark.parametrize("read", [1, 30, 99])
def test_names_that_a_busy_table_leaves_unread_are_asked_for_again(aws_world: AwsWorld, read: int) -> None:
    written = {f"job-{number}" for number in range(150)}
    for name in written:
        aws_world.put_spec(name, SPEC)
    _Busy(aws_world, read)

    assert aws_world.specs.present(written) == written


def test_names_that_stay_unread_are_not_taken_for_deleted_ones(aws_world: AwsWorld) -> None:
    aws_world.put_spec("job", SPEC)
    _Busy(aws_world, 0)

    with pytest.raises(TransientError, match="left 1 items unread"):
        aws_world.specs.present(["job"])


class _Busy:
    """Has DynamoDB read only the first few keys of each batch."""

    def __init__(self, world: AwsWorld, read: int) -> None:
        self._read, self._table = read, world.spec_table
        events = world.specs._client.meta.events
        events.register("provide-client-params.dynamodb.BatchGetItem", self._shorten)
        events.register("after-call.dynamodb.BatchGetItem", self._leave)

    def _shorten(self, params: dict[str, Any], **_: object) -> None:
        asked = params["RequestItems"][self._table]
        self._unread = {**asked, "Keys": asked["Keys"][self._read :]}
        # An empty batch is no call: the one key that is left stands for a call that reads nothing.
        params["RequestItems"] = {self._table: {**asked, "Keys": asked["Keys"][: max(self._read, 1)]}}

    def _leave(self, parsed: dict[str, Any], **_: object) -> None:
        if not self._read:
            parsed["Responses"] = {self._table: []}
        parsed["UnprocessedKeys"] = {self._table: self._unread} if self._unread["Keys"] else {}


def test_segments_cover_every_item_once(world: World) -> None:
    names = {f"job-{number}" for number in range(23)}
    for name in names:
        world.put_spec(name, SPEC)

    found = [job_id for index in range(15) for job_id, _ in world.specs.segment(index, 15)]

    assert sorted(found) == sorted(names)


def test_items_lists_everything_over_many_pages(world: World) -> None:
    # Eight items of 300 KB are more than the megabyte that one page holds.
    for number in range(8):
        world.put_spec(f"job-{number}", {"args": "x" * 300_000})

    assert sorted(job_id for job_id, _ in world.specs.items()) == [f"job-{number}" for number in range(8)]


def test_replace_writes_a_new_item_where_none_was(world: World) -> None:
    world.specs.replace("job", SPEC, expected=None)

    assert world.specs.read("job") == {**SPEC, "job_id": "job"}


def test_replace_refuses_when_an_item_appeared(world: World) -> None:
    world.put_spec("job", SPEC)

    with pytest.raises(StaleWriteError):
        world.specs.replace("job", {"job_type": "batch"}, expected=None)

    assert world.specs.read("job") == {**SPEC, "job_id": "job"}


def test_replace_overwrites_what_was_read(world: World) -> None:
    world.put_spec("job", SPEC)
    read = world.specs.read("job")

    world.specs.replace("job", {"job_type": "batch"}, expected=read)

    assert world.specs.read("job") == {"job_id": "job", "job_type": "batch"}


@pytest.mark.parametrize(
    "change",
    [
        {**SPEC, "deployment": {"parallelism": 5}},
        {**SPEC, "job_type": "batch"},
        {**SPEC, "surprise": 1},
        {name: value for name, value in SPEC.items() if name != "labels"},
    ],
    ids=["nested", "top", "added", "removed"],
)
def test_replace_refuses_what_changed_since_it_was_read(world: World, change: dict[str, object]) -> None:
    world.put_spec("job", SPEC)
    read = world.specs.read("job")
    world.put_spec("job", change)

    with pytest.raises(StaleWriteError):
        world.specs.replace("job", {"job_type": "batch"}, expected=read)

    assert world.specs.read("job") == {**change, "job_id": "job"}


def test_replace_deletes_what_was_read(world: World) -> None:
    world.put_spec("job", SPEC)

    world.specs.replace("job", None, expected=world.specs.read("job"))

    assert world.specs.read("job") is None


def test_replace_does_not_delete_what_changed(world: World) -> None:
    world.put_spec("job", SPEC)
    read = world.specs.read("job")
    world.put_spec("job", {**SPEC, "labels": {"team": "data"}})

    with pytest.raises(StaleWriteError):
        world.specs.replace("job", None, expected=read)

    assert world.specs.read("job") is not None


def test_replace_works_on_an_item_with_values_that_python_cannot_hold_exactly(aws_world: AwsWorld) -> None:
    aws_world.put_spec("job", {"deployment": Decimal("0.12345678901234567890123456789"), "labels": {b"x"}})

    aws_world.specs.replace("job", SPEC, expected=aws_world.specs.read("job"))

    assert aws_world.specs.read("job") == {**SPEC, "job_id": "job"}


def test_replace_works_on_an_item_near_400_kb(world: World) -> None:
    world.put_spec("job", {"args": "x" * 399_000})

    world.specs.replace("job", {"args": "y" * 399_000}, expected=world.specs.read("job"))

    found = world.specs.read("job")
    assert found is not None
    assert found["args"] == "y" * 399_000
