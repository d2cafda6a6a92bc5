"""What a function is told by its environment, and what is said when it is told wrongly."""

import pytest

from flink_controller.settings import Settings, SettingsError, environment, variable

REQUIRED = {
    "FLINKCTL_JOB_SPEC_TABLE_NAME": "specs",
    "FLINKCTL_CONTROLLER_STATE_TABLE_NAME": "state",
    "FLINKCTL_ARTIFACT_BUCKET_NAME": "artifacts",
    "FLINKCTL_FOLLOW_UP_QUEUE_URL": "https://queue",
    "FLINKCTL_CONTROLLER_ID": "one",
}


def test_the_least_environment_gives_the_defaults() -> None:
    found = Settings.from_env(REQUIRED)

    assert found.controller_id == "one"
    assert (found.debounce_seconds, found.function_timeout_seconds, found.submit_timeout_seconds) == (5, 60, 120)
    assert found.tracing is False
    assert found.buckets_of_state == ()


def test_what_infrastructure_writes_the_code_reads() -> None:
    written: dict[str, str | int | bool] = {
        "job_spec_table_name": "specs",
        "controller_state_table_name": "state",
        "artifact_bucket_name": "artifacts",
        "follow_up_queue_url": "https://queue",
        "controller_id": "one",
        "debounce_seconds": 7,
        "tracing": True,
        "state_buckets": "a,b,",
        "namespace_buckets": "payments=bucket-p,web=bucket-w",
    }

    found = Settings.from_env(environment(written))

    assert (found.debounce_seconds, found.tracing) == (7, True)
    assert found.buckets_of_state == ("a", "b")
    assert found.buckets_of_namespaces == {"payments": "bucket-p", "web": "bucket-w"}


def test_all_missing_variables_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as missing:
        Settings.from_env({})

    assert all(name in str(missing.value) for name in REQUIRED)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("FLINKCTL_DEBOUNCE_SECONDS", "five", "must be a whole number, not 'five'"),
        ("FLINKCTL_DEBOUNCE_SECONDS", "-1", "must be a whole number"),
        ("FLINKCTL_DEBOUNCE_SECONDS", "", "must be a whole number"),
        ("FLINKCTL_TRACING", "True", "must be true or false, not 'True'"),
    ],
)
def test_a_malformed_variable_is_named_with_its_value(name: str, text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as malformed:
        Settings.from_env({**REQUIRED, name: text})

    assert name in str(malformed.value)


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_a_required_variable_that_is_empty_is_missing(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({**REQUIRED, name: ""})


def test_an_unknown_setting_cannot_be_written() -> None:
    with pytest.raises(SettingsError, match="no such settings: a, b"):
        environment({"b": 1, "a": 2, "controller_id": "one"})


def test_a_variable_is_the_field_in_capitals() -> None:
    assert variable("controller_id") == "FLINKCTL_CONTROLLER_ID"
