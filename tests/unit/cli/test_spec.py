"""`validate`, `plan`, `apply`."""

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from flink_controller.domain.errors import StaleWriteError
from flink_controller.domain.spec import hash_item
from flink_controller.services.admit_artifact import admit_artifact
from flink_controller.testing.flink_behaviour import JobBehaviour
from tests.unit.cli.bench import ARTIFACT, BUCKET, CLUSTER, SPEC, Bench


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SPEC), **fields}


def with_deployment(**fields: Any) -> dict[str, Any]:
    return changed(deployment={**SPEC["deployment"], **fields})


# validate


def test_a_valid_spec_is_said_to_be_valid_without_any_installation(bench: Bench) -> None:
    result = bench.run("validate", "-f", bench.file(SPEC))

    assert (result.status, result.out) == (0, "etl: valid\n")


def test_every_fault_is_listed_with_its_path(bench: Bench) -> None:
    result = bench.run("validate", "-f", bench.file("job_id: Bad\nfoo: 1\ndeployment: {parallelism: 1.5}\n"))

    assert result.status == 1
    for path in ("job_id:", "foo:", "deployment.parallelism:", "artifact_path:", "job_type:"):
        assert f"  {path}" in result.out


def test_fields_without_effect_and_misleading_names_are_pointed_out(bench: Bench) -> None:
    spec = changed(batch_config={"max_runs": 1}, monitoring={"log_level": "INFO"}, env_vars={"A": "1"})

    result = bench.run("validate", "-f", bench.file(spec), "-o", "json")

    (one,) = result.json["items"]
    assert result.status == 0
    assert one["valid"]
    assert one["warnings"] == ["batch_config.max_runs"]
    assert any("no process environment" in note for note in one["notes"])
    assert any("sets no logger" in note for note in one["notes"])


def test_a_file_that_is_not_there_is_wrong_usage(bench: Bench) -> None:
    result = bench.run("validate", "-f", str(bench.directory / "nope.yaml"))

    assert result.status == 2
    assert "No such file" in result.err


@pytest.mark.parametrize("command", ["validate", "plan", "apply"])
def test_a_spec_must_be_named(bench: Bench, command: str) -> None:
    assert bench.run(command).status == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds no spec"),
        ("---\n---\n", "holds no spec"),
        ("[1, 2]", "not a list"),
        ("just text", "not text"),
        ("a: [1", "line 1"),
        ("a: 1\na: 2\n", "stands twice"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"a": NaN}', "no number"),
        ("a: &x {b: 1}\nc: *x\n", "aliases"),
        ("1: a\n", "a key must be text"),
        ("a: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("a: \x00", "not allowed"),
        ("[" * 5000, "nested"),
        ('{"a":' * 5000, "nested"),
        ("a: " + "1" * 5000, "digits"),
        (f"{'job_id: x'}\n---\njob_id: x\n", "more than one document"),
    ],
)
def test_what_is_no_spec_is_refused_in_one_sentence(bench: Bench, text: str, told: str) -> None:
    result = bench.run("validate", "-f", "-", stdin=text)

    assert result.status == 1
    assert told in result.err
    assert len(result.err.splitlines()) == 1


def test_bytes_that_are_no_text_are_refused(bench: Bench) -> None:
    result = bench.run("validate", "-f", "-", stdin=b"PK\x03\x04\xff\xfe")

    assert result.status == 1
    assert "not UTF-8" in result.err


def test_a_huge_file_is_refused(bench: Bench) -> None:
    result = bench.run("validate", "-f", "-", stdin=b"#" * (5 * 2**20))

    assert result.status == 1
    assert "larger" in result.err


def test_yaml_guesses_no_types(bench: Bench) -> None:
    text = "job_id: etl\njob_type: stream\nartifact_path: artifacts/etl.jar\nlabels: {a: on, b: 12:30, c: 2026-01-01, d: 0x1f}\ndeployment: {checkpoint_interval: 060000}\n"

    assert bench.run("apply", "-f", "-", stdin=text).status == 0

    stored = bench.specs.read("etl")
    assert stored is not None
    assert stored["labels"] == {"a": "on", "b": "12:30", "c": "2026-01-01", "d": "0x1f"}
    assert stored["deployment"]["checkpoint_interval"] == 60_000


def test_control_characters_of_a_spec_reach_no_terminal(bench: Bench) -> None:
    result = bench.run("validate", "-f", "-", stdin='job_id: "a\\e[31mb"\n"\\e]0;x\\a": 1\n')

    assert result.status == 1
    assert "\x1b" not in result.out + result.err


# apply


def test_apply_says_created_then_unchanged_then_changed(bench: Bench) -> None:
    assert bench.run("apply", "-f", bench.file(SPEC)).out == "etl created\n"
    assert bench.run("apply", "-f", bench.file(SPEC)).out == "etl unchanged\n"
    assert bench.run("apply", "-f", bench.file(changed(labels={"team": "data"}))).out == "etl changed\n"
    assert bench.specs.read("etl") == changed(labels={"team": "data"})
    assert bench.specs.writes == 2


def test_yaml_and_json_of_one_spec_are_the_same_item(bench: Bench) -> None:
    text = "job_id: etl\njob_type: stream\nartifact_path: artifacts/etl.jar\ndeployment:\n  checkpoint_interval: 2000\n  rollback: {stabilization_seconds: 5}\n"
    bench.run("apply", "-f", bench.file(SPEC, "job.json"))

    assert bench.run("apply", "-f", "-", stdin=text).out == "etl unchanged\n"


def test_several_documents_are_several_jobs(bench: Bench) -> None:
    text = "".join(f"---\njob_id: {name}\njob_type: stream\nartifact_path: artifacts/a.jar\n" for name in ("one", "two"))

    assert bench.run("apply", "-f", "-", stdin=text).out == "one created\ntwo created\n"


def test_nothing_is_written_when_one_of_several_documents_has_a_fault(bench: Bench) -> None:
    text = "job_id: one\njob_type: stream\nartifact_path: artifacts/a.jar\n---\njob_id: two\n"

    result = bench.run("apply", "-f", "-", stdin=text)

    assert result.status == 1
    assert "two: artifact_path: is required" in result.err
    assert "nothing was written" in result.err
    assert list(bench.specs.items()) == []


def test_apply_refuses_an_item_that_changed_since_it_was_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def overtaken(*_: object, **__: object) -> None:
        raise StaleWriteError("the spec of 'etl' changed since it was read")

    monkeypatch.setattr(bench.specs, "replace", overtaken)

    result = bench.run("apply", "-f", bench.file(SPEC))

    assert result.status == 1
    assert "changed since it was read" in result.err
    assert "run this again" in result.err


def test_a_job_is_not_abandoned_by_apply(bench: Bench) -> None:
    result = bench.run("apply", "-f", "-", stdin="job_id: etl\nstate: abandoned\n")

    assert result.status == 1
    assert "flinkctl delete etl --abandon" in result.err


def test_apply_wait_ends_when_the_job_is_stable(bench: Bench) -> None:
    bench.deploy()

    assert bench.run("get", "etl", "-o", "json").json["lifecycle"] == "STABLE"


def test_apply_wait_tells_every_change_on_the_way(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    key = bench.trusted_key()
    bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(key))

    result = bench.run("apply", "-f", bench.file(SPEC), "--wait")

    assert result.status == 0
    assert result.out.splitlines() == ["etl created", "etl: revision 1 is stable"]
    assert "waiting for the controller" in result.err
    assert "DEPLOYED" in result.err


def test_apply_wait_times_out_with_what_the_job_waits_for(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)

    result = bench.run("apply", "-f", bench.file(SPEC), "--wait", "--timeout", "5")

    assert result.status == 3
    assert "ArtifactMissing" in result.err


def test_apply_wait_of_a_suspended_job_waits_for_its_suspension(deployed: Bench) -> None:
    result = deployed.run("apply", "-f", deployed.file(changed(state="suspended")), "--wait")

    assert result.status == 0
    assert "the job is suspended" in result.out


def test_apply_wait_fails_as_soon_as_the_new_revision_is_refused(deployed: Bench) -> None:
    deployed.flink.default_behaviour = JobBehaviour(main_throws="no such table")

    result = deployed.run("apply", "-f", deployed.file(changed(args=["--x"])), "--wait")

    assert result.status == 1
    assert "revision 2 was refused" in result.err


# plan


def planned(bench: Bench, document: dict[str, Any]) -> dict[str, Any]:
    result = bench.run("plan", "-f", bench.file(document), "-o", "json")
    assert result.status == 0, result.err
    (item,) = result.json["items"]
    assert isinstance(item, dict)
    return item


def test_a_first_plan_says_what_the_job_would_wait_for(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)

    found = planned(bench, SPEC)

    assert (found["step"], found["state"], found["restart"]) == ("wait", "none", False)
    assert "was not uploaded yet" in found["waits_for"]
    assert list(bench.specs.items()) == []
    assert bench.statuses.writes == 0


def test_an_unknown_cluster_is_told(bench: Bench) -> None:
    assert "cluster default, which nobody registered" in planned(bench, SPEC)["waits_for"]


def test_a_spec_that_runs_already_plans_nothing(deployed: Bench) -> None:
    found = planned(deployed, SPEC)

    assert (found["step"], found["change"], found["changed_fields"]) == ("nothing", "NONE", [])


def test_an_upgrade_restarts_from_a_new_savepoint_and_repeats_nothing(deployed: Bench) -> None:
    found = planned(deployed, with_deployment(checkpoint_interval=3000))

    assert (found["step"], found["change"], found["restart"]) == ("upgrade", "UPGRADE", True)
    assert found["changed_fields"] == ["deployment.checkpoint_interval"]
    assert (found["state"], found["outputs"]) == ("kept", "not repeated")
    assert found["starts_from"] == "a new savepoint below s3://state/savepoints/default/savepoints"
    assert any("rolled back to revision 1" in note for note in found["notes"])


def test_the_plan_of_an_upgrade_comes_true(deployed: Bench) -> None:
    document = with_deployment(checkpoint_interval=3000)
    found = planned(deployed, document)

    deployed.run("apply", "-f", deployed.file(document), "--wait")

    status = deployed.statuses.read("etl")
    assert status is not None
    assert status.attempt is not None
    assert status.attempt.number == 2
    assert status.attempt.revision == found["revision"]
    assert status.attempt.restore_from is not None
    assert status.attempt.restore_from.startswith("s3://state/savepoints/default/savepoints/")


def test_an_upgrade_from_the_last_checkpoint_repeats_outputs(deployed: Bench) -> None:
    found = planned(deployed, with_deployment(checkpoint_interval=3000, upgrade_mode="last-state"))

    assert (found["state"], found["outputs"]) == ("kept", "repeated")
    assert "newest checkpoint" in found["starts_from"]


def test_a_stateless_upgrade_drops_the_state(deployed: Bench) -> None:
    found = planned(deployed, with_deployment(checkpoint_interval=3000, upgrade_mode="stateless"))

    assert (found["state"], found["starts_from"], found["outputs"]) == ("dropped", None, "repeated")


def test_a_policy_is_taken_over_without_a_restart(deployed: Bench) -> None:
    found = planned(deployed, changed(labels={"team": "data"}))

    assert (found["step"], found["restart"], found["state"]) == ("take over", False, "untouched")


def test_a_suspension_keeps_the_state(deployed: Bench) -> None:
    found = planned(deployed, changed(state="suspended"))

    assert (found["step"], found["state"]) == ("suspend", "kept")


def test_a_resume_goes_on_from_the_savepoint_of_the_suspension(deployed: Bench) -> None:
    deployed.run("suspend", "etl")
    deployed.run("wait", "etl", "--for", "suspended")

    found = planned(deployed, SPEC)

    kept = deployed.run("get", "etl", "-o", "json").json["savepoint"]["path"]
    assert (found["step"], found["state"], found["starts_from"]) == ("deploy", "kept", kept)


def test_a_restart_and_a_savepoint_are_foreseen(deployed: Bench) -> None:
    assert planned(deployed, with_deployment(restart_nonce="1"))["step"] == "restart"
    assert planned(deployed, with_deployment(savepoint_nonce="1"))["step"] == "savepoint"


def test_a_new_upload_that_was_not_taken_over_yet_is_an_upgrade(deployed: Bench) -> None:
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT)
    admit_artifact(deployed.ports, deployed.policy, BUCKET, ARTIFACT)

    found = planned(deployed, SPEC)

    assert (found["step"], found["changed_fields"]) == ("upgrade", [])


def test_a_late_initial_savepoint_is_refused_by_the_plan(deployed: Bench) -> None:
    result = deployed.run("plan", "-f", deployed.file(with_deployment(initial_savepoint_path="savepoints/x")))

    assert result.status == 1
    assert "very first start only" in result.out


def test_the_first_start_may_begin_from_a_savepoint(deployed: Bench) -> None:
    document = {**with_deployment(initial_savepoint_path="old/sp-1"), "job_id": "other"}

    found = planned(deployed, document)

    assert (found["state"], found["starts_from"]) == ("initial", "s3://state/savepoints/default/old/sp-1")


def test_a_move_to_another_cluster_is_told(deployed: Bench) -> None:
    deployed.registry.put_cluster(CLUSTER.model_copy(update={"name": "east"}))

    found = planned(deployed, changed(cluster="east"))

    assert (found["step"], found["restart"], found["state"]) == ("move", True, "kept")


def test_the_table_of_a_plan_says_the_same(deployed: Bench) -> None:
    result = deployed.run("plan", "-f", deployed.file(with_deployment(checkpoint_interval=3000)))

    assert "etl: the job is upgraded" in result.out
    assert "deployment.checkpoint_interval" in result.out


def test_a_plan_writes_nothing(deployed: Bench) -> None:
    before = (deployed.specs.writes, deployed.statuses.writes, deployed.registry.writes, deployed.records.writes)

    planned(deployed, with_deployment(checkpoint_interval=3000))

    assert before == (deployed.specs.writes, deployed.statuses.writes, deployed.registry.writes, deployed.records.writes)


def test_the_hash_that_the_controller_observes_is_that_of_the_stored_item(deployed: Bench) -> None:
    stored = deployed.specs.read("etl")
    assert stored is not None

    assert deployed.run("get", "etl", "-o", "json").json["observed_spec_hash"] == hash_item(stored)


def test_apply_wait_is_content_with_a_bounded_job_that_has_completed(bench: Bench) -> None:
    bench.flink.default_behaviour = JobBehaviour(finishes_after=timedelta(seconds=2))
    bench.registry.put_cluster(CLUSTER)
    key = bench.trusted_key()
    bench.run("artifact", "push", str(bench.jar()), "--to", ARTIFACT, "--sign-with", str(key))

    result = bench.run("apply", "-f", bench.file(SPEC), "--wait")

    assert result.status == 0
    assert "the job has completed" in result.out


def test_what_validate_finds_is_told_to_people_too(bench: Bench) -> None:
    spec = changed(batch_config={"max_runs": 1}, env_vars={"A": "1"})
    text = f"{json.dumps(spec)}\n---\njob_id: gone\nstate: abandoned\n"

    result = bench.run("validate", "-f", "-", stdin=f"---\n{text}")

    assert result.status == 0
    assert "  warning: batch_config.max_runs has no effect on a job of its type" in result.out
    assert "no process environment" in result.out
    assert "gone: valid" in result.out


def test_plans_of_several_jobs_are_told_one_after_the_other(bench: Bench) -> None:
    bench.registry.put_cluster(CLUSTER)
    text = "".join(
        f"---\njob_id: {name}\njob_type: stream\nartifact_path: artifacts/a.jar\nenv_vars: {{A: b}}\nbatch_config: {{max_runs: 1}}\n"
        for name in ("one", "two")
    )

    out = bench.run("plan", "-f", "-", stdin=text).out

    assert out.index("one:") < out.index("two:")
    assert "note: env_vars" in out
    assert "warning: batch_config.max_runs" in out


def test_abandoning_has_no_plan(bench: Bench) -> None:
    assert bench.run("plan", "-f", "-", stdin="job_id: etl\nstate: abandoned\n").status == 1


def test_a_malformed_cluster_is_told_by_the_plan(bench: Bench) -> None:
    bench.registry.spoil("CLUSTER#default")

    result = bench.run("plan", "-f", bench.file(SPEC))

    assert result.status == 1
    assert "is malformed" in result.err


def test_a_pinned_digest_is_planned_with_the_version_that_has_it(deployed: Bench) -> None:
    first = deployed.run("get", "etl", "-o", "json").json["artifact"]["sha256"]
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT)
    deployed.run("wait", "etl", "--for", "stable")

    found = planned(deployed, changed(artifact_signature=f"sha256:{first}"))

    assert (found["step"], found["change"]) == ("upgrade", "UPGRADE")
    assert "has the pinned" in (planned(deployed, changed(artifact_signature=f"sha256:{'0' * 64}"))["waits_for"] or "")


def test_a_pinned_job_does_not_wait_for_uploads(deployed: Bench) -> None:
    first = deployed.run("get", "etl", "-o", "json").json["artifact"]["sha256"]
    deployed.run("apply", "-f", deployed.file(changed(artifact_signature=f"sha256:{first}")), "--wait")
    deployed.is_working = False
    deployed.run("artifact", "push", str(deployed.jar("v2")), "--to", ARTIFACT)

    assert deployed.run("wait", "etl", "--for", "stable", "--timeout", "2").status == 0
