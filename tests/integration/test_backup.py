"""The tables are lost, Flink runs on: what a backup brings back, and that nothing is started twice by it."""

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flink_controller.adapters.signatures import SignatureVerifier
from flink_controller.adapters.system_clock import SystemClock
from flink_controller.cli.context import Session, connect
from flink_controller.cli.main import app
from flink_controller.domain.errors import ControllerError
from flink_controller.domain.lifecycle import Lifecycle
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import BUCKET, HANDLERS, SPEC_TABLE, STATE_TABLE, Installation, deliver, spec_item
from tests.integration.test_functions import running, settle
from tests.permissions import permissions, requests_of

pytestmark = pytest.mark.filterwarnings("ignore:No application metrics to publish")


def flinkctl(*arguments: str) -> tuple[int, str]:
    """Run the program on this installation; give its status and all that it said."""
    environ = dict(os.environ)
    session = Session(lambda: connect(environ), SystemClock(), SignatureVerifier(), environ)
    result = CliRunner().invoke(app, list(arguments), obj=session, prog_name="flinkctl")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def items(installed: Installation, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = installed.dynamodb.scan(TableName=table)["Items"]
    return found


def lose_everything(installed: Installation) -> None:
    for table, names in ((STATE_TABLE, ("pk", "sk")), (SPEC_TABLE, ("job_id",))):
        for item in items(installed, table):
            installed.dynamodb.delete_item(TableName=table, Key={name: item[name] for name in names})


def upgrade(installed: Installation) -> None:
    installed.put_spec(spec_item(args=["--newer"]))
    deliver("reconcile_job/modify.json")
    for _ in range(20):
        status = installed.status()
        if status is not None and status.attempt_counter == 2 and installed.lifecycle() is Lifecycle.STABLE:
            return
        deliver("reconcile_job/follow_up.json")
    raise AssertionError(installed.status())


def test_a_restored_installation_goes_on_with_the_jobs_that_run(
    installed: Installation, flink: FlinkServer, tmp_path: Path
) -> None:
    running(installed)
    before = installed.status()
    assert flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))[0] == 0
    lose_everything(installed)

    status, said = flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))

    assert (status, "everything is paused" in said) == (0, True)
    deliver("reconcile_job/insert.json")
    paused = installed.status()
    assert paused is not None
    assert paused.waiting is not None
    assert paused.waiting[0] == "Paused"
    assert flinkctl("unpause", "--all")[0] == 0
    settle(installed, Lifecycle.STABLE)
    after = installed.status()
    assert before is not None
    assert after is not None
    assert after.attempt is not None
    assert before.attempt is not None
    assert (after.attempt.flink_job_id, after.attempt_counter) == (before.attempt.flink_job_id, 1)
    assert len(flink.twin.history) == 1

    upgrade(installed)

    assert [start.flink_job_id[-1] for start in flink.twin.history] == ["1", "2"]
    assert flink.twin.history[1].restored_from is not None


def until(installed: Installation, *, attempt: int, revision: int) -> None:
    """Deliver follow-ups until an attempt of a revision is proven."""
    for _ in range(20):
        deliver("reconcile_job/follow_up.json")
        if installed.lifecycle() is Lifecycle.STABLE and attempt_after(installed)[:2] == (attempt, revision):
            return
    raise AssertionError(installed.status())


def attempt_after(installed: Installation) -> tuple[int, int, str]:
    """Give number, revision and id of the attempt on record."""
    found = installed.status()
    assert found is not None
    assert found.attempt is not None
    return found.attempt.number, found.attempt.revision, found.attempt.flink_job_id


def test_a_job_that_was_upgraded_after_the_backup_is_adopted_as_the_revision_that_it_says(
    installed: Installation, flink: FlinkServer, tmp_path: Path
) -> None:
    running(installed)
    assert flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))[0] == 0
    upgrade(installed)
    live = flink.twin.history[-1].flink_job_id
    lose_everything(installed)

    status, said = flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))

    assert (status, "attempt 2 runs on Flink and is adopted as revision 2" in said) == (0, True)
    restored = installed.status()
    assert restored is not None
    assert (attempt_after(installed), restored.revision_counter) == ((2, 2, live), 2)
    deliver("reconcile_job/insert.json")
    # The team writes what runs again before anything may be done: nothing is restarted.
    installed.put_spec(spec_item(args=["--newer"]))
    deliver("reconcile_job/modify.json")
    flinkctl("unpause", "--all")
    settle(installed, Lifecycle.STABLE)
    assert attempt_after(installed) == (2, 4, live)
    assert "RevisionAdopted" in installed.events()
    assert [revision.number for revision in installed.statuses.revisions("etl")] == [1, 3, 4]
    assert len(flink.twin.history) == 2


def test_a_spec_of_the_backup_comes_back_as_a_newer_revision_with_the_state_of_what_ran(
    installed: Installation, flink: FlinkServer, tmp_path: Path
) -> None:
    running(installed)
    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))
    upgrade(installed)
    lose_everything(installed)
    flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))
    flinkctl("unpause", "--all")

    until(installed, attempt=3, revision=3)

    found = installed.status()
    assert found is not None
    assert found.revision_counter == 3
    assert found.stable is not None
    assert found.stable.number == 3
    first, second, third = flink.twin.history
    assert (first.args, second.args, third.args) == ((), ("--newer",), ())
    assert third.progress > second.progress > first.progress


def test_what_ended_after_the_backup_is_followed_by_its_own_state(
    installed: Installation, flink: FlinkServer, tmp_path: Path
) -> None:
    running(installed)
    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))
    upgrade(installed)
    live = flink.twin.history[-1].flink_job_id
    flink.twin.cancel(live)
    # A cancel takes the twin a moment, as it takes Flink.
    while live in flink.twin.live_copies():
        time.sleep(0.01)
    lose_everything(installed)

    said = flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))[1]

    assert "attempt 2 ended on Flink and is adopted as revision 2" in said
    flinkctl("unpause", "--all")
    until(installed, attempt=3, revision=3)
    assert flink.twin.history[2].progress >= flink.twin.history[1].progress > 0


def test_a_jar_from_before_the_backup_does_not_replace_a_newer_one_that_runs(
    installed: Installation, flink: FlinkServer, tmp_path: Path
) -> None:
    running(installed)
    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))
    installed.upload_signed("v2")
    deliver("admit_artifact/signed.json")
    until(installed, attempt=2, revision=2)
    live = flink.twin.history[1].flink_job_id
    lose_everything(installed)
    flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))
    flinkctl("unpause", "--all")

    deliver("reconcile_job/insert.json")

    waiting = installed.status()
    assert waiting is not None
    assert waiting.waiting is not None
    assert waiting.waiting[0] == "ArtifactBehind"
    assert attempt_after(installed) == (2, 2, live)

    deliver("admit_artifact/signed.json")
    until(installed, attempt=2, revision=3)

    assert attempt_after(installed)[2] == live
    assert len(flink.twin.history) == 2


def test_a_job_that_says_nothing_of_itself_is_adopted_as_the_revision_of_the_backup(
    installed: Installation, flink: FlinkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running(installed)
    assert flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))[0] == 0
    upgrade(installed)
    live = flink.twin.history[-1].flink_job_id
    lose_everything(installed)
    # As earlier versions submitted, or with parameters that the job's code has set in place of ours.
    monkeypatch.setattr(flink.twin, "parameters", lambda _: {"its": "own"})

    status, said = flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))

    assert (status, "does not say which revision it is, and is adopted as 1" in said) == (0, True)
    flinkctl("unpause", "--all")
    settle(installed, Lifecycle.STABLE)
    assert attempt_after(installed) == (2, 1, live)
    assert len(flink.twin.history) == 2


def test_a_backup_lies_in_s3_and_is_not_replaced(installed: Installation) -> None:
    installed.put_spec(spec_item())
    uri = f"s3://{BUCKET}/backups/all.jsonl"

    assert flinkctl("backup", "create", "--to", uri)[0] == 0
    assert flinkctl("backup", "create", "--to", uri)[0] == 1
    lose_everything(installed)
    assert flinkctl("backup", "restore", "--from", uri)[0] == 0

    assert [item["job_id"]["S"] for item in items(installed, SPEC_TABLE)] == ["etl"]


def test_a_backup_on_disk_is_its_owners_alone(installed: Installation, tmp_path: Path) -> None:
    installed.put_spec(spec_item())

    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))

    assert (tmp_path / "all.jsonl").stat().st_mode & 0o777 == 0o600


@contextmanager
def acting_under(policy: Mapping[str, Any]) -> Iterator[set[tuple[str, str]]]:
    """Refuse what a policy of docs/operations.md does not allow; give what was used of it, as action and resource."""
    table, bucket = "arn:aws:dynamodb:REGION:ACCOUNT:table", "arn:aws:s3:::BACKUP_BUCKET"
    labels = {SPEC_TABLE: f"{table}/SPEC_TABLE", STATE_TABLE: f"{table}/STATE_TABLE", BUCKET: bucket}
    allowed, used = permissions(policy["Statement"], str), set()

    def judge(params: Mapping[str, Any], model: Any, **_: object) -> None:
        for request in requests_of(model.service_model.service_name, model.name, params, labels):
            found = {(one.action, one.resource) for one in allowed if one.allows(request)}
            assert found, f"the documented policy lacks {request.action} on {request.resource}"
            used.update(found)

    HANDLERS.events.register("provide-client-params", judge)
    try:
        yield used
    finally:
        HANDLERS.events.unregister("provide-client-params", judge)


def test_the_documented_rights_are_those_that_a_backup_and_a_restore_use(
    installed: Installation, flink: FlinkServer
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    to_back_up, to_restore = map(
        json.loads, re.findall(r"```json\n(.+?)```", page.partition("## Rights to back up and to restore")[2], re.DOTALL)
    )
    running(installed)
    uri, asked = f"s3://{BUCKET}/backups/all.jsonl", len(flink.requests)

    with acting_under(to_back_up) as used_to_back_up:
        assert flinkctl("backup", "create", "--to", uri)[0] == 0
    lose_everything(installed)
    with acting_under(to_restore) as used_to_restore:
        assert flinkctl("backup", "restore", "--from", uri)[0] == 0
        # Repeated, it has to see whose pause there is.
        assert flinkctl("backup", "restore", "--from", uri)[0] == 0

    for policy, used in ((to_back_up, used_to_back_up), (to_restore, used_to_restore)):
        assert used == {(one.action, one.resource) for one in permissions(policy["Statement"], str)}
    assert {request.partition(" ")[0] for request in flink.requests[asked:]} == {"GET"}


def test_an_installation_with_jobs_is_not_overwritten(installed: Installation, tmp_path: Path) -> None:
    installed.put_spec(spec_item())
    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))

    status, said = flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))

    assert (status, "has jobs" in said) == (1, True)


def test_a_restore_that_broke_off_is_repeated(installed: Installation, tmp_path: Path) -> None:
    installed.put_spec(spec_item())
    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))
    lose_everything(installed)
    flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))

    assert flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))[0] == 0


def test_nothing_is_written_while_a_cluster_cannot_be_asked(installed: Installation, tmp_path: Path) -> None:
    installed.add_cluster("http://127.0.0.1:9")
    installed.put_spec(spec_item())
    flinkctl("backup", "create", "--to", str(tmp_path / "all.jsonl"))
    lose_everything(installed)

    status, said = flinkctl("backup", "restore", "--from", str(tmp_path / "all.jsonl"))

    assert (status, "cluster default does not answer" in said) == (1, True)
    assert items(installed, STATE_TABLE) == []


@pytest.mark.parametrize("damage", ["half", "changed", "newer", "other", "rubbish", "foreign"])
def test_a_damaged_backup_is_refused_before_anything_is_written(
    installed: Installation, tmp_path: Path, damage: str
) -> None:
    installed.put_spec(spec_item())
    path = tmp_path / "all.jsonl"
    flinkctl("backup", "create", "--to", str(path))
    lose_everything(installed)
    first, *rest = path.read_text().splitlines(keepends=True)
    header = json.loads(first)
    path.write_text(
        {
            "half": "".join([first, *rest[:-1]]),
            "changed": "".join([first, *rest]).replace("etl.jar", "evil.jar"),
            "newer": "".join([json.dumps({**header, "version": 2}) + "\n", *rest]),
            "other": "".join([json.dumps({**header, "controller_id": "other"}) + "\n", *rest]),
            "rubbish": "\x00{]",
            "foreign": json.dumps([1]) + "\n{}\n{}\n",
        }[damage]
    )

    status, said = flinkctl("backup", "restore", "--from", str(path))

    assert (status, "Traceback" in said) == (1, False)
    assert items(installed, SPEC_TABLE) == items(installed, STATE_TABLE) == []


def test_items_of_the_first_form_are_read_by_this_version(installed: Installation) -> None:
    """`recorded_items_1.jsonl` was made by `flinkctl backup create` and is never made anew: later versions must read it."""
    path = Path(__file__).with_name("recorded_items_1.jsonl")

    assert flinkctl("backup", "restore", "--from", str(path))[0] == 0

    recorded = installed.status()
    assert recorded is not None
    assert recorded.attempt is not None
    assert (recorded.attempt.number, recorded.attempt_counter, recorded.revision_counter) == (2, 2, 2)
    assert [revision.number for revision in installed.statuses.revisions("etl")] == [1, 2]
    assert installed.events()[-1] == "Stable"
    assert installed.head() is not None
    assert installed.registry.key("demo") is not None


@pytest.mark.usefixtures("flink")
def test_a_job_goes_on_over_items_with_fields_of_a_newer_version(installed: Installation) -> None:
    running(installed)
    for item in items(installed, STATE_TABLE):
        for name in item.keys() & {"document", "summary"}:
            item[name] = {"S": json.dumps(json.loads(item[name]["S"]) | {"newer": {"a": 1}})}
        installed.dynamodb.put_item(TableName=STATE_TABLE, Item=item)

    upgrade(installed)

    status = next(item for item in items(installed, STATE_TABLE) if item["sk"]["S"] == "STATUS")
    assert not {name for name in ("document", "summary") if '"newer":' in status[name]["S"]}, "as it would have written it"


def test_an_item_of_a_newer_form_is_left_alone_and_said(installed: Installation, flink: FlinkServer) -> None:
    running(installed)
    installed.dynamodb.update_item(
        TableName=STATE_TABLE,
        Key={"pk": {"S": "JOB#etl"}, "sk": {"S": "STATUS"}},
        UpdateExpression="SET schema_version = :newer",
        ExpressionAttributeValues={":newer": {"N": "2"}},
    )
    before = len(flink.requests)

    answer = deliver("reconcile_job/insert.json")

    assert answer["batchItemFailures"] != []
    assert len(flink.requests) == before
    with pytest.raises(ControllerError, match="newer controller"):
        installed.status()
