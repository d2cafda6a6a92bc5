"""What a team may write, and what is said about everything else."""

import subprocess
import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain import spec as spec_module
from flink_controller.domain.artifact import ArtifactType
from flink_controller.domain.change import SpecChange
from flink_controller.domain.spec import (
    MAX_FAULTS,
    MAX_SPEC_BYTES,
    AbandonedSpec,
    Advanced,
    InvalidSpec,
    JobSpec,
    NoSpec,
    ValidSpec,
    canonical_json,
    field_paths,
    hash_item,
    read_spec,
    spec_field,
)
from tests.unit.domain.builders import JOB, KEY, invalid_spec, spec_item, valid_spec

FIELDS = {path: (change, treatment, doc) for path, change, treatment, doc in field_paths()}

ACCEPTED: dict[str, list[Any]] = {
    "job_id": [JOB],
    "labels": [{}, {"team": "data"}, {"ü": "\n"}],
    "job_type": ["stream"],
    "cluster": ["default", "a", "a-1"],
    "state": ["running", "suspended"],
    "artifact_path": [KEY, "artifacts/a b/c+d.jar", "artifacts/ä.JAR"],
    "artifact_type": ["jar", None],
    "artifact_signature": [None, "sha256:" + "a" * 64],
    "entry_class": [None, "Etl", "com.example.Etl$Inner", "_x.$y"],
    "deployment.parallelism": [1, 32_768],
    "deployment.checkpoint_interval": [1, 604_800_000, None],
    "deployment.savepoint_path": ["savepoints", "/savepoints/etl", "a/b"],
    "deployment.restart_strategy": ["fixed-delay", "exponential-delay", "failure-rate", None],
    "deployment.max_restart_attempts": [0, 1_000_000],
    "deployment.restart_delay": [1, 604_800_000],
    "deployment.upgrade_mode": ["savepoint", "last-state", "stateless", "blue-green"],
    "deployment.allow_non_restored_state": [True, False],
    "deployment.initial_savepoint_path": [None, "old/savepoint-1"],
    "deployment.restore.from": [None, "s3://state/savepoints/x"],
    "deployment.restore.nonce": [None, "1"],
    "deployment.savepoint_timeout_seconds": [1, 2_592_000],
    "deployment.savepoint_fallback": ["last-state", "wait"],
    "deployment.max_checkpoint_age_seconds": [None, 60],
    "deployment.rollback.enabled": [True, False],
    "deployment.rollback.deadline_seconds": [1, 2_592_000],
    "deployment.rollback.stabilization_seconds": [0, 86_400],
    "deployment.on_failure.action": ["restart", "rollback", "none"],
    "deployment.on_failure.limit": [0, 1000],
    "deployment.on_failure.backoff_seconds": [1, 2_592_000],
    "deployment.restart_nonce": [None, "2030-01-01", "x" * 128],
    "deployment.savepoint_nonce": [None, "1"],
    "deployment.savepoint_disposal.id": [None, 1],
    "deployment.savepoint_disposal.nonce": [None, "1"],
    "resources.memory": [None, "2g", "512mb"],
    "resources.cpu_cores": [None, 2, 0.5],
    "resources.network_memory": [None, "1g"],
    "security.kerberos_principal": [None, "flink@REALM"],
    "security.ssl_enabled": [None, True, False],
    "security.artifact_verification": [True],
    "monitoring.metrics_port": [None, 1, 65_535],
    "monitoring.log_level": [None, "TRACE", "DEBUG", "INFO", "WARN", "ERROR"],
    "monitoring.alert_on_failure": [True, False],
    "monitoring.alert_on_backpressure": [True, False],
    "written_by": [None, "arn:aws:sts::123456789012:assumed-role/deploy/ann"],
    "args": [[], ["--env", "production"], ["ü\n'"]],
    "env_vars": [{}, {"LOG_LEVEL": "INFO", "a.b-c": ""}],
    "batch_config.cron": [None, "0 2 * * *", "@daily"],
    "batch_config.timezone": ["UTC", "Europe/Berlin"],
    "batch_config.start_at": [None, "2027-01-01T00:00:00Z"],
    "batch_config.end_at": [None, "2027-12-31T23:59:59+01:00"],
    "batch_config.jitter_seconds": [0, 3600],
    "batch_config.submission_deadline_seconds": [600, 1],
    "batch_config.suspend_after_failures": [None, 1],
    "batch_config.succeeded_runs_kept": [50, 1],
    "batch_config.other_runs_kept": [50, 1000],
    "batch_config.max_runs": [None, 1],
    "batch_config.ttl_seconds": [None, 7200],
    "batch_config.cleanup_on_completion": [True, False],
    "batch_config.overlap_policy": ["forbid", "allow", "replace", "queue_one"],
    "batch_config.starting_deadline_seconds": [None, 600],
    "deployment.on_failure.when": ["failed", "unhealthy"],
    "monitoring.checkpoint_window_seconds": [None, 1, 86_400],
    "monitoring.restart_window_seconds": [1, 86_400],
    "monitoring.backpressure_window_seconds": [1, 86_400],
    "batch_config.missed_run_policy": ["skip", "run_latest", "run_all"],
    "batch_config.backoff_limit": [0, 100],
    "batch_config.run_now.nonce": [None, "1"],
    "batch_config.run_now.args": [[], ["--day"]],
    "stream_config.savepoint_trigger_interval": [None, 300_000],
    "stream_config.checkpoint_timeout": [None, 60_000],
    "stream_config.min_pause_between_checkpoints": [None, 0, 10_000],
    "stream_config.max_concurrent_checkpoints": [None, 1, 1000],
    "stream_config.savepoint_retention.count": [1, 10_000],
    "stream_config.savepoint_retention.days": [1, 3650],
    "advanced.classloader_resolve_order": [None, "parent-first", "child-first"],
    "advanced.classloader_cache_mode": [None, "per-job"],
    "advanced.network_buffer_timeout": [None, -1, 0, 100],
    "advanced.taskmanager_heap_size": [None, "4g"],
}
"""Values of each field at the edges of what is allowed."""

REFUSED: dict[str, list[Any]] = {
    "job_id": [None, "", "Etl", "a/b/c", "-a", "artifacts/x", "a" * 64, "../x", "a%2fb", "a\n"],
    "labels": [None, [], {"a": 1}, {"": "x"}, {"a" * 64: "x"}, {"a": "x" * 257}, {str(n): "" for n in range(65)}],
    "job_type": [None, "streams", 1, True],
    "cluster": [None, "", "Default", "http://flink:8081", "a.b", "a" * 64],
    "state": [None, "paused", "deleted", True],
    "artifact_path": [
        None,
        "",
        "/artifacts/a.jar",
        "artifacts//a.jar",
        "artifacts/../b/a.jar",
        "artifacts/./a.jar",
        "artifacts/a%2f.jar",
        "artifacts\\a.jar",
        "artifacts/a\n.jar",
        "artifacts/a\u2028.jar",
        "artifacts/a\x7f.jar",
        "artifacts/",
        "s3://bucket/artifacts/a.jar",
        "artifacts/" + "a" * 1024,
        7,
    ],
    "artifact_type": ["tar", 1],
    "artifact_signature": ["", "a" * 64, "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:x", "sha256:" + "a" * 64 + "\n"],
    "entry_class": ["", "com..x", "1a", "a b", "a.", "a\n", "a" * 513],
    "deployment.savepoint_path": [None, "", "..", "a/../b", "a/./b", "a%b", "a\\b", "a\x00", "a" * 1025],
    "deployment.initial_savepoint_path": ["", "a/../b", "s3://state/../x", "a\tb"],
    "security.artifact_verification": [False, None, "true"],
    "args": [None, "--x", [1], ["\x00"], ["x" * 4097], [""] * 257],
    "env_vars": [None, [], {"a b": ""}, {"1a": ""}, {"a": 1}, {"a": "x" * 4097}, {f"a{n}": "" for n in range(129)}],
    "resources.memory": ["2", "0g", "2 g", "2G", "-1g", 2],
    "resources.cpu_cores": [0, -1, "2", True, 0.0],
    "advanced.classloader_cache_mode": ["shared", "", 1],
    "deployment.restart_nonce": ["", "x" * 129, 1],
    "batch_config.run_now.args": ["x", [1]],
    "batch_config.cron": ["0 0 2 * * *", "0 24 * * *", "0 0 30 2 *", "@reboot", ""],
    "batch_config.timezone": ["CEST", "+02:00", ""],
    "batch_config.start_at": ["tomorrow", "2027-01-01T00:00:00", 1],
    "batch_config.end_at": ["2027-13-01T00:00:00Z"],
    "batch_config.max_runs": [0, "3"],
    "batch_config.jitter_seconds": [-1, 3601],
}
"""Values that no field of this kind takes, beside those that the type rules out."""

WRONG_TYPES: tuple[Any, ...] = (b"bytes", {"a", "b"}, {b"x"}, [[]], {"x": {}}, Decimal(2), float("nan"), float("inf"))
"""What an item in DynamoDB can hold and no field of ours takes."""


COMPANIONS: Mapping[str, Mapping[str, Any]] = {"deployment.restore.nonce": {"deployment__restore__from": "older"}}
"""What a field cannot be without."""


def item_with(path: str, value: Any) -> dict[str, Any]:
    return spec_item(**COMPANIONS.get(path, {}), **{path.replace(".", "__"): value})


def faults_of(item: Mapping[str, Any]) -> tuple[str, ...]:
    view = read_spec(JOB, item)
    assert isinstance(view, InvalidSpec), view
    return view.faults


def test_every_field_is_tried() -> None:
    assert set(ACCEPTED) == set(FIELDS)


def test_every_field_has_a_line_in_the_reference() -> None:
    assert [path for path, (_, _, doc) in FIELDS.items() if not doc] == []


def test_three_fields_are_all_that_is_needed() -> None:
    view = read_spec(JOB, {"job_id": JOB, "job_type": "stream", "artifact_path": KEY})

    assert isinstance(view, ValidSpec)
    assert view.warnings == ()
    assert view.spec.name.namespace == "default"
    assert view.spec.pinned_digest is None


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in ACCEPTED.items() for value in values])
def test_a_value_within_the_bounds_is_accepted(path: str, value: Any) -> None:
    view = read_spec(JOB, item_with(path, value))

    assert isinstance(view, ValidSpec), view


@pytest.mark.parametrize("path", [path for path in FIELDS if path not in {"job_id", "job_type", "artifact_path"}])
def test_the_default_of_a_field_may_be_written_out(path: str) -> None:
    value: Any = valid_spec().spec.model_dump(mode="json", by_alias=True)
    for part in path.split("."):
        value = value[part]

    view = read_spec(JOB, item_with(path, value))

    assert isinstance(view, ValidSpec)
    assert view.revision_hash == valid_spec().revision_hash


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in REFUSED.items() for value in values])
def test_a_value_out_of_bounds_is_refused_by_its_path(path: str, value: Any) -> None:
    faults = faults_of(item_with(path, value))

    assert all(fault.startswith(path) for fault in faults), faults


@pytest.mark.parametrize("value", WRONG_TYPES, ids=ascii)
@pytest.mark.parametrize("path", [path for path in FIELDS if path != "resources.cpu_cores"])
def test_a_value_of_another_kind_is_refused_by_its_path(path: str, value: Any) -> None:
    faults = faults_of(item_with(path, value))

    assert all(fault.startswith(path) for fault in faults), faults


@pytest.mark.parametrize(
    "path",
    [
        path
        for path, values in ACCEPTED.items()
        if path != "resources.cpu_cores" and any(isinstance(value, int) and not isinstance(value, bool) for value in values)
    ],
)
@pytest.mark.parametrize("value", [2.0, 2.5, "2", True])
def test_an_integer_is_no_float_no_text_and_no_truth(path: str, value: Any) -> None:
    faults = faults_of(item_with(path, value))

    assert all(fault.startswith(path) for fault in faults)


@pytest.mark.parametrize("part", ["", "deployment", "deployment.rollback", "batch_config.run_now", "advanced", "resources"])
def test_an_unknown_field_is_named_by_its_path(part: str) -> None:
    path = f"{part}.nonsense" if part else "nonsense"

    assert faults_of(item_with(path, 1)) == (f"{path}: is no field of a spec",)


def test_an_unknown_field_with_a_wild_name_is_told_safely() -> None:
    (fault,) = faults_of({**spec_item(), "a\nb\x1b[31m" + "x" * 500: 1})

    assert fault.isprintable()
    assert len(fault) < 100


def test_missing_fields_are_named() -> None:
    assert set(faults_of({})) == {"job_id: is required", "job_type: is required", "artifact_path: is required"}


def test_all_faults_are_told_at_once() -> None:
    item = spec_item(deployment__parallelism=0, deployment__rollback__enabled=1, nonsense=1, cluster="X", args=[1])

    faults = faults_of(item)

    assert {fault.partition(":")[0] for fault in faults} == {
        "deployment.parallelism",
        "deployment.rollback.enabled",
        "nonsense",
        "cluster",
        "args.0",
    }


def test_faults_between_fields_are_told_with_those_of_single_fields() -> None:
    faults = invalid_spec(artifact_path="team/etl", deployment__parallelism=0).faults

    assert [fault.partition(":")[0] for fault in faults] == ["deployment.parallelism", "artifact_path", "artifact_type"]


def test_a_fault_shows_what_was_written() -> None:
    (fault,) = faults_of(item_with("deployment.parallelism", -3))

    assert fault.endswith("not '-3'")


def test_faults_beyond_a_readable_number_are_counted() -> None:
    faults = faults_of({**spec_item(), **{f"nonsense_{n}": 1 for n in range(100)}})

    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1] == "and 70 more"


@pytest.mark.parametrize(
    ("job_id", "key", "is_allowed"),
    [
        ("etl", "artifacts/etl.jar", True),
        ("default/etl", "artifacts/etl.jar", True),
        ("team/etl", "team/etl.jar", True),
        ("team/etl", "team/a/b/etl.jar", True),
        ("etl", "etl.jar", False),
        ("etl", "default/etl.jar", False),
        ("default/etl", "default/etl.jar", False),
        ("etl", "team/etl.jar", False),
        ("team/etl", "artifacts/etl.jar", False),
        ("team/etl", "other/etl.jar", False),
        ("team/etl", "teams/etl.jar", False),
        ("team/etl", "Team/etl.jar", False),
    ],
)
def test_a_namespace_names_only_its_own_keys(job_id: str, key: str, is_allowed: bool) -> None:  # noqa: FBT001  # a case's outcome
    view = read_spec(job_id, spec_item(job_id=job_id, artifact_path=key))

    assert isinstance(view, ValidSpec) is is_allowed
    if isinstance(view, InvalidSpec):
        assert view.faults[0].startswith("artifact_path: namespace")


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"artifact_path": "artifacts/etl.py", "entry_class": "etl"}, "entry_class: one module is started as it is"),
        (
            {"artifact_path": "artifacts/etl.zip", "artifact_type": "sql"},
            "artifact_type: a name such as 'etl.zip' says pyflink",
        ),
        ({"artifact_path": "artifacts/etl"}, "artifact_type: cannot be inferred"),
        ({"artifact_type": "sql"}, "artifact_type: a name such as 'etl.jar' says jar, not sql"),
        (
            {"artifact_path": "artifacts/etl.sql", "artifact_type": "jar"},
            "artifact_type: a name such as 'etl.sql' says sql, not jar",
        ),
        ({"artifact_path": "artifacts/etl.sql", "entry_class": "com.example.Etl"}, "entry_class: a SQL script has none"),
        ({"artifact_path": "artifacts/etl.sql", "args": ["--env"]}, "args.0: an argument of a SQL script is a variable"),
        ({"artifact_path": "artifacts/etl.sql", "args": ["a=1", "a=2"]}, "args.1: variable a has a value already"),
        (
            {"job_type": "batch", "deployment__initial_savepoint_path": "s3://x"},
            "deployment.initial_savepoint_path: a run of a batch job starts from nothing",
        ),
        ({"state": "abandoned"}, "state: abandoned stands alone"),
        ({"state": "deleted"}, "state: remove the item"),
        ({"env_vars": {"flinkctl.revision": "9"}}, "env_vars: flinkctl.revision: names that begin with flinkctl."),
        ({"security__artifact_verification": False}, "security.artifact_verification: verification cannot be switched off"),
    ],
)
def test_what_this_version_cannot_do_is_refused_with_the_reason(changes: dict[str, Any], fault: str) -> None:
    view = invalid_spec(**changes)

    assert len(view.faults) == 1
    assert view.faults[0].startswith(fault)


def test_a_script_is_known_by_its_name() -> None:
    assert valid_spec(artifact_path="artifacts/etl.sql", args=["path=/data"]).spec.type is ArtifactType.SQL


def test_an_artifact_type_overrides_the_suffix() -> None:
    assert valid_spec(artifact_path="artifacts/etl", artifact_type="jar").spec.artifact_path == "artifacts/etl"


def test_an_item_that_is_gone_is_no_spec() -> None:
    assert read_spec(JOB, None) == NoSpec()


def test_the_abandoned_form_stands_alone() -> None:
    item = {"job_id": JOB, "state": "abandoned"}

    assert read_spec(JOB, item) == AbandonedSpec(hash_item(item))
    assert isinstance(read_spec(JOB, {**item, "labels": {}}), InvalidSpec)
    assert isinstance(read_spec("other", item), InvalidSpec)


@pytest.mark.parametrize("filler", ["x", "ü", "🦔"])
def test_an_item_of_more_than_64_kib_is_refused(filler: str) -> None:
    part = filler * 4000
    item = spec_item(args=[part] * 20)

    view = read_spec(JOB, item)

    size = len(canonical_json(item).encode())
    assert size > MAX_SPEC_BYTES
    assert view == InvalidSpec(hash_item(item), (f"item: {size} bytes as canonical JSON; at most 65536 are allowed",))


def test_an_item_of_exactly_64_kib_is_read() -> None:
    item = spec_item(args=["x" * 4096] * 15 + ["", ""])
    free = MAX_SPEC_BYTES - len(canonical_json(item).encode())
    item["args"][-2:] = ["y" * (free // 2), "y" * (free - free // 2)]

    view = read_spec(JOB, item)

    assert len(canonical_json(item).encode()) == MAX_SPEC_BYTES
    assert isinstance(view, ValidSpec)


def test_an_item_near_dynamodbs_own_limit_is_refused_by_its_size_alone() -> None:
    assert len(faults_of(spec_item(nonsense=["x" * 1000] * 390))) == 1


def test_the_order_of_fields_does_not_change_the_hash() -> None:
    item = spec_item(labels={"a": "1", "b": "2"}, args=["x"])
    turned = {key: item[key] for key in reversed(item)} | {"labels": {"b": "2", "a": "1"}}

    assert hash_item(item) == hash_item(turned)


def test_a_set_hashes_alike_in_every_process() -> None:
    program = (
        "from flink_controller.domain.spec import hash_item; "
        "print(hash_item({'labels': {'a', 'b', 'c', 'd'}, 'args': [{b'1', b'2', b'3'}]}))"
    )
    hashes = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(hashes) == 1


def test_the_hash_of_an_item_is_the_same_in_every_release() -> None:
    assert hash_item(spec_item()) == "65b90fa8c26a62fa149e1ff1a3f8ed5e6c14bd40642e95569e067f3174455ccb"


def test_an_item_and_its_revision_have_different_hashes() -> None:
    view, suspended = valid_spec(), valid_spec(state="suspended")

    assert view.spec_hash != suspended.spec_hash
    assert view.revision_hash == suspended.revision_hash


def test_a_field_that_a_later_release_adds_changes_no_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    before = valid_spec()

    class LaterAdvanced(Advanced):
        later: int = spec_field(7, change=SpecChange.UPGRADE, doc="A field of a later release.")

    class LaterSpec(JobSpec):
        advanced: LaterAdvanced = spec_field(LaterAdvanced, change=SpecChange.IGNORE, doc="Settings for experts.")

    monkeypatch.setattr(spec_module, "JobSpec", LaterSpec)
    monkeypatch.setattr(spec_module, "_FIELDS", tuple(field_paths(LaterSpec)))
    after = valid_spec()

    assert isinstance(after.spec, LaterSpec)
    assert (after.revision_hash, after.fingerprints) == (before.revision_hash, before.fingerprints)


@pytest.mark.parametrize("path", [path for path, (change, _, _) in FIELDS.items() if change is SpecChange.NONE])
def test_wishes_make_no_revision(path: str) -> None:
    value = next((value for value in reversed(ACCEPTED[path]) if value is not None), None)

    assert (
        valid_spec(**COMPANIONS.get(path, {}), **{path.replace(".", "__"): value}).revision_hash
        == valid_spec().revision_hash
    )


@pytest.mark.parametrize(
    "path", [path for path, (change, _, _) in FIELDS.items() if change is not SpecChange.NONE and path != "job_type"]
)
def test_a_field_changes_the_fingerprint_of_its_class_alone(path: str) -> None:
    before = valid_spec()
    different = [item_with(path, value) for value in ACCEPTED[path]]
    if path == "security.artifact_verification":
        return
    others = [view for view in (read_spec(JOB, item) for item in different) if isinstance(view, ValidSpec)]

    changed = [
        {name for name in view.fingerprints if view.fingerprints[name] != before.fingerprints[name]} for view in others
    ]

    assert {FIELDS[path][0].name} in changed
    assert all(names <= {FIELDS[path][0].name} for names in changed)


@pytest.mark.parametrize("path", FIELDS)
def test_no_field_is_without_effect_on_a_job_of_its_type(path: str) -> None:
    values = [value for value in ACCEPTED[path] if value != "blue-green"]
    kind = "batch" if path.startswith("batch_config.") else "stream"

    fields = {"job_type": kind, **COMPANIONS.get(path, {})}
    warnings = [valid_spec(**{**fields, path.replace(".", "__"): value}).warnings for value in values]

    assert warnings == [()] * len(values)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("stream", "batch_config.max_runs", 3),
        ("batch", "stream_config.checkpoint_timeout", 1000),
        ("batch", "deployment.upgrade_mode", "savepoint"),
        ("batch", "deployment.rollback.enabled", True),
    ],
)
def test_what_only_the_other_kind_of_job_can_use_is_warned_of(kind: str, path: str, value: object) -> None:
    assert valid_spec(**{"job_type": kind, path.replace(".", "__"): value}).warnings == (path,)


def test_a_pin_gives_its_digits() -> None:
    assert valid_spec(artifact_signature="sha256:" + "ab" * 32).spec.pinned_digest == "ab" * 32


def test_a_spec_survives_its_own_dump() -> None:
    spec = valid_spec(deployment__restore__from="s3://x", env_vars={"A": "1"}, resources__cpu_cores=0.5, args=["x"]).spec

    again = JobSpec.model_validate(spec.model_dump(mode="json", by_alias=True, exclude_unset=True))

    assert again == spec


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals()
    | st.sets(st.integers() | st.text())
    | st.sets(st.binary())
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
ITEMS = st.dictionaries(st.sampled_from(sorted(JobSpec.model_fields)) | st.text(), VALUES, max_size=8)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(ITEMS)
def test_reading_never_raises_whatever_the_item_holds(item: dict[str, Any]) -> None:
    view = read_spec(JOB, {"job_id": JOB, **item})

    assert not isinstance(view, InvalidSpec) or all(fault.isprintable() and len(fault) <= 300 for fault in view.faults)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FIELDS)), VALUES)
def test_reading_never_raises_whatever_a_field_holds(path: str, value: Any) -> None:
    view = read_spec(JOB, item_with(path, value))

    assert isinstance(view, ValidSpec | InvalidSpec)


@pytest.mark.parametrize("depth", [32, 200])
def test_deep_nesting_is_refused(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"x": [value]}

    assert faults_of(spec_item(labels=value)) != ()


def test_a_number_of_any_length_that_the_table_holds_is_refused() -> None:
    assert faults_of(item_with("deployment.parallelism", 10**125)) != ()
    assert sys.get_int_max_str_digits() > 126
