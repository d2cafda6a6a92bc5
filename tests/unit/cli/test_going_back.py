"""`rollback`."""

from typing import Any

import pytest

from flink_controller.domain.artifact import KeyStatus
from flink_controller.domain.errors import StaleWriteError
from tests.unit.cli.bench import ARTIFACT, BUCKET, SPEC, Bench

TWO = {**SPEC, "args": ["--two"], "labels": {"team": "data"}}


@pytest.fixture
def upgraded(deployed: Bench) -> Bench:
    """Give an installation where `etl` runs revision 2, with other arguments and other bytes than revision 1."""
    assert deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT).status == 0
    assert deployed.run("apply", "-f", deployed.file(TWO)).status == 0
    assert deployed.run("wait", "etl", "--for", "stable").status == 0
    return deployed


def item(bench: Bench) -> dict[str, Any]:
    found = bench.specs.read("etl")
    assert found is not None
    return dict(found)


def first(bench: Bench) -> Any:
    revision = bench.statuses.revision("etl", 1)
    assert revision is not None
    return revision


def last(bench: Bench) -> int:
    number: int = bench.run("get", "etl", "-o", "json").json["revision"]["desired"]
    return number


def test_the_spec_of_the_revision_is_written_with_its_digest_and_comes_up_stable(upgraded: Bench) -> None:
    number = last(upgraded)
    result = upgraded.run("rollback", "etl", "--to", "1")

    assert (result.status, "goes back to revision 1" in result.out) == (0, True)
    assert item(upgraded) == {**SPEC, "artifact_signature": f"sha256:{first(upgraded).artifact.sha256}"}
    assert upgraded.run("wait", "etl", "--for", "stable").status == 0
    told = upgraded.run("get", "etl", "-o", "json").json
    assert told["artifact"]["sha256"] == first(upgraded).artifact.sha256
    assert told["revision"]["running"] == number + 1
    assert [start.restored_from is None for start in upgraded.flink.history] == [True] + [False] * number


def test_wishes_stay_as_they_are_so_that_nothing_old_is_asked_for_again(upgraded: Bench) -> None:
    upgraded.run("restart", "etl")
    upgraded.run("wait", "etl", "--for", "stable")
    upgraded.run("suspend", "etl")
    nonce = item(upgraded)["deployment"]["restart_nonce"]

    result = upgraded.run("rollback", "etl", "--to", "1")

    assert "flinkctl resume etl" in result.out
    assert item(upgraded) == {
        **SPEC,
        "state": "suspended",
        "deployment": {**SPEC["deployment"], "restart_nonce": nonce},
        "artifact_signature": f"sha256:{first(upgraded).artifact.sha256}",
    }


def test_a_nonce_of_the_old_spec_is_not_honoured_again(deployed: Bench) -> None:
    deployed.run("restart", "etl")
    deployed.run("wait", "etl", "--for", "stable")
    deployed.run("apply", "-f", deployed.file(TWO), "--wait")
    old = deployed.statuses.revision("etl", last(deployed))
    assert old is not None
    deployed.run("apply", "-f", deployed.file({**TWO, "args": ["--three"]}), "--wait")

    assert deployed.run("rollback", "etl", "--to", str(old.number)).status == 0

    assert "restart_nonce" not in item(deployed)["deployment"]


def test_a_revision_that_nobody_knows_is_refused(upgraded: Bench) -> None:
    before = item(upgraded)

    result = upgraded.run("rollback", "etl", "--to", "99")

    assert (result.status, "no revision 99" in result.err, item(upgraded)) == (1, True, before)


def test_the_current_revision_is_nothing_to_go_back_to(upgraded: Bench) -> None:
    result = upgraded.run("rollback", "etl", "--to", str(last(upgraded)))

    assert (result.status, "nothing to go back to" in result.err) == (1, True)


def test_going_back_twice_is_going_back_once(upgraded: Bench) -> None:
    upgraded.run("rollback", "etl", "--to", "1")
    upgraded.run("wait", "etl", "--for", "stable")
    writes = upgraded.specs.writes

    for number in (1, last(upgraded)):
        result = upgraded.run("rollback", "etl", "--to", str(number))

        assert (result.status, "nothing to go back to" in result.err) == (1, True)
    assert upgraded.specs.writes == writes


def test_the_last_good_revision_can_be_written_over_an_invalid_spec(upgraded: Bench) -> None:
    upgraded.specs.put("etl", {**TWO, "nonsense": True})
    upgraded.pass_time(2)

    assert upgraded.run("rollback", "etl", "--to", str(last(upgraded))).status == 0
    assert "nonsense" not in item(upgraded)


def test_bytes_that_are_gone_are_refused(upgraded: Bench) -> None:
    artifact = first(upgraded).artifact
    upgraded.objects.purge(BUCKET, ARTIFACT, artifact.version_id)

    result = upgraded.run("rollback", "etl", "--to", "1")

    assert (result.status, "gone from the bucket" in result.err) == (1, True)


def test_a_revoked_key_refuses_a_rollback_too(upgraded: Bench) -> None:
    key = upgraded.registry.key("team")
    assert key is not None
    upgraded.registry.put_key(key.model_copy(update={"status": KeyStatus.REVOKED}))

    result = upgraded.run("rollback", "etl", "--to", "1")

    assert (result.status, "revision 1 cannot be brought back: key team" in result.err) == (1, True)
    assert "was revoked" in result.err


def test_denied_bytes_refuse_a_rollback_too(upgraded: Bench) -> None:
    revision = upgraded.statuses.revision("etl", 1)
    assert revision is not None
    upgraded.run("artifact", "revoke", f"sha256:{revision.artifact.sha256}", "--reason", "loses messages")

    result = upgraded.run("rollback", "etl", "--to", "1")

    assert (result.status, "was denied by an operator: loses messages" in result.err) == (1, True)


def test_a_rollback_works_while_the_newest_upload_is_bad(upgraded: Bench) -> None:
    upgraded.objects.upload(BUCKET, ARTIFACT, b"no jar")
    upgraded.uploads.uploaded.append(ARTIFACT)
    upgraded.work()

    result = upgraded.run("rollback", "etl", "--to", "1")
    upgraded.work()

    revision, status = upgraded.statuses.revision("etl", 1), upgraded.statuses.read("etl")
    assert (result.status, upgraded.records.versions(BUCKET, ARTIFACT)[-1].reason) == (0, "NotAJar")
    assert revision is not None
    assert status is not None
    assert status.desired is not None
    assert status.desired.artifact.sha256 == revision.artifact.sha256


def test_an_item_that_changed_meanwhile_is_not_written(upgraded: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*_: object, **__: object) -> None:
        raise StaleWriteError("changed")

    monkeypatch.setattr(upgraded.specs, "replace", overtaken)

    result = upgraded.run("rollback", "etl", "--to", "1")

    assert (result.status, "changed since it was read" in result.err) == (1, True)


def test_there_must_be_a_job_and_a_number(upgraded: Bench) -> None:
    assert upgraded.run("rollback", "etl").status == 2
    assert upgraded.run("rollback", "etl", "--to", "0").status == 2
    assert "there is no such job" in upgraded.run("rollback", "x", "--to", "1").err
    upgraded.specs.put("etl", {"state": "abandoned"})
    assert "is abandoned" in upgraded.run("rollback", "etl", "--to", "1").err
