"""A wrong configuration is refused before anything is declared, with every fault in one message."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from functions.reconcile_job.handler import RESERVE
from infra.config import LEAST_RECONCILER_TIMEOUT_S, ConfigError, DeploymentConfig, Environment, FunctionOverride

GOOD: Mapping[str, Any] = {
    "controller_id": "orders",
    "python_version": "3.14",
    "architecture": "arm64",
    "retain_data": True,
    "deletion_protection": True,
    "log_retention_days": 30,
}


def _config(
    values: Mapping[str, Any], environment: str = "dev", overrides: Mapping[str, Any] | None = None
) -> DeploymentConfig:
    return DeploymentConfig.from_context(
        {"environments": {environment: values}, "environment": environment, **(overrides or {})}
    )


def test_dev_is_what_nobody_chose() -> None:
    assert DeploymentConfig.from_context({"environments": {"dev": GOOD}}).environment is Environment.DEV


@pytest.mark.parametrize("environment", ["local", "dev", "prod"])
def test_the_repository_s_own_environments_are_usable(environment: str, context: Mapping[str, Any]) -> None:
    config = DeploymentConfig.from_context({**context, "environment": environment})

    assert config.environment.value == environment


def test_every_fault_is_named_at_once() -> None:
    values = {**GOOD, "log_retention_days": 2, "architecture": "m1", "colour": "red", "retain_data": "yes"}

    with pytest.raises(ConfigError) as raised:
        _config(values, overrides={"debounce_second": "3"})

    lines = str(raised.value).splitlines()
    assert lines[0] == "environment 'dev' is not usable:"
    assert set(lines[1:]) == {
        "  - architecture: input should be 'arm64', 'x86_64' or 'host', not 'm1'",
        "  - retain_data: input should be a valid boolean, not 'yes'",
        "  - log_retention_days: input should be 1, 7, 14, 30, 90, 180, 365, 731, 1827 or 3653, not 2",
        "  - colour: there is no such field",
        "  - debounce_second: there is no such field; did you mean debounce_seconds?",
    }


def test_a_missing_field_is_named() -> None:
    values = {key: value for key, value in GOOD.items() if key != "controller_id"}

    with pytest.raises(ConfigError, match="controller_id: is required"):
        _config(values)


def test_an_environment_that_nobody_described_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="environment 'staging' is none of local, dev, prod"):
        DeploymentConfig.from_context({"environments": {"dev": GOOD}, "environment": "staging"})


def test_a_context_without_environments_says_where_they_stand() -> None:
    with pytest.raises(ConfigError, match=r"cdk\.json"):
        DeploymentConfig.from_context({})


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("debounce_seconds", "30", 30),
        ("tracing", "false", False),
        ("state_buckets", "team-a, team-b", ("team-a", "team-b")),
        ("state_buckets", "", ()),
        ("python_version", "3.13", "3.13"),
        ("controller_id", "7", "7"),
        ("alarm_email", "on-call@example.com", "on-call@example.com"),
        ("log_level", "DEBUG", "DEBUG"),
        ("follow_up_max_concurrency", "null", None),
        (
            "function_overrides",
            json.dumps({"health": {"timeout_seconds": 5}}),
            {"health": FunctionOverride(timeout_seconds=5)},
        ),
    ],
)
def test_any_field_can_be_overridden_on_the_command_line(field: str, text: str, value: object) -> None:
    assert getattr(_config(GOOD, overrides={field: text}), field) == value


def test_an_override_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="debounce_seconds: input should be a valid integer, not 'soon'"):
        _config(GOOD, overrides={"debounce_seconds": "soon"})


def test_an_override_of_no_function_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"function_overrides\.reconcile_jobs: there is no such function"):
        _config(GOOD, overrides={"function_overrides": '{"reconcile_jobs": {"memory_mb": 256}}'})


@pytest.mark.parametrize(("timeout_s", "is_enough"), [(1, False), (45, False), (46, True), (900, True)])
def test_the_reconciler_has_time_for_a_look(timeout_s: int, *, is_enough: bool) -> None:
    overrides = {"function_overrides": json.dumps({"reconcile_job": {"timeout_seconds": timeout_s}})}

    if is_enough:
        assert _config(GOOD, overrides=overrides).function_overrides["reconcile_job"].timeout_seconds == timeout_s
    else:
        with pytest.raises(ConfigError, match=rf"reconcile_job\.timeout_seconds: {timeout_s} is too short.*for ever"):
            _config(GOOD, overrides=overrides)


def test_the_least_time_of_the_reconciler_is_more_than_it_keeps_in_reserve() -> None:
    with pytest.raises(ConfigError, match=f"less than {RESERVE.total_seconds():.0f} s left"):
        _config(GOOD, overrides={"function_overrides": json.dumps({"reconcile_job": {"timeout_seconds": 1}})})

    assert timedelta(seconds=LEAST_RECONCILER_TIMEOUT_S) > RESERVE + timedelta(seconds=10)


def test_other_tools_context_is_left_alone() -> None:
    config = _config(GOOD, overrides={"@aws-cdk/core:checkSecretUsage": True, "cli-telemetry": False})

    assert config.controller_id == "orders"


@pytest.mark.parametrize("field", ["retain_data", "deletion_protection"])
def test_production_keeps_its_data(field: str) -> None:
    with pytest.raises(ConfigError, match="prod keeps its data"):
        _config({**GOOD, field: False}, "prod")


@pytest.mark.parametrize(
    ("environment", "changes"),
    [
        ("dev", {"python_version": "host"}),
        ("dev", {"architecture": "host"}),
        ("local", {}),
        ("local", {"python_version": "host"}),
    ],
)
def test_the_host_s_interpreter_is_for_a_laptop_and_only_for_it(environment: str, changes: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError, match="`host` is for local"):
        _config({**GOOD, **changes}, environment)
