"""What Flink is told, and that every applied field reaches it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain.configuration import flink_configuration
from flink_controller.testing import flink_behaviour
from tests.unit.domain.builders import CLUSTER, JOB, valid_spec

PARAMETERS = "pipeline.global-job-parameters"


def configured(**changes: Any) -> dict[str, str]:
    return dict(flink_configuration(valid_spec(**changes).spec, CLUSTER, revision=3, attempt=7, stamp="e30"))


def test_the_least_spec_asks_for_names_places_and_retention() -> None:
    assert configured() == {
        "pipeline.name": JOB,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.dir": "s3://state/checkpoints",
        "execution.checkpointing.interval": "60000 ms",
        PARAMETERS: "flinkctl.job-id:etl,flinkctl.revision:3,flinkctl.attempt:7,flinkctl.stamp:e30",
    }


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"deployment__checkpoint_interval": 1000}, "execution.checkpointing.interval", "1000 ms"),
        ({"deployment__checkpoint_interval": None}, "execution.checkpointing.interval", None),
        ({"stream_config__checkpoint_timeout": 60_000}, "execution.checkpointing.timeout", "60000 ms"),
        ({"stream_config__min_pause_between_checkpoints": 0}, "execution.checkpointing.min-pause", "0 ms"),
        ({"stream_config__max_concurrent_checkpoints": 2}, "execution.checkpointing.max-concurrent-checkpoints", "2"),
        ({"advanced__network_buffer_timeout": -1}, "execution.buffer-timeout.interval", "-1 ms"),
        ({}, "restart-strategy.type", None),
    ],
)
def test_a_field_sets_its_key(changes: dict[str, Any], key: str, expected: str | None) -> None:
    assert configured(**changes).get(key) == expected


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("fixed-delay", {"attempts": "3", "delay": "10000 ms"}),
        ("exponential-delay", {"initial-backoff": "10000 ms", "attempts-before-reset-backoff": "3"}),
        ("failure-rate", {"max-failures-per-interval": "3", "delay": "10000 ms"}),
    ],
)
def test_a_restart_strategy_comes_with_its_own_keys(strategy: str, expected: dict[str, str]) -> None:
    found = {
        key: value
        for key, value in configured(deployment__restart_strategy=strategy).items()
        if key.startswith("restart-strategy")
    }

    assert found == {
        "restart-strategy.type": strategy,
        **{f"restart-strategy.{strategy}.{key}": value for key, value in expected.items()},
    }


def test_parameters_and_log_level_travel_as_global_job_parameters() -> None:
    found = configured(env_vars={"TOPIC": "a,b:c"}, monitoring__log_level="DEBUG")

    assert flink_behaviour.parameters(found) == {
        "TOPIC": "a,b:c",
        "log_level": "DEBUG",
        "flinkctl.job-id": JOB,
        "flinkctl.revision": "3",
        "flinkctl.attempt": "7",
        "flinkctl.stamp": "e30",
    }


@settings(derandomize=True, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True), st.text(max_size=40), max_size=5))
def test_any_parameter_arrives_as_it_was_written(parameters: dict[str, str]) -> None:
    names = {"flinkctl.job-id", "flinkctl.revision", "flinkctl.attempt", "flinkctl.stamp", "flinkctl.correlation-id"}
    written = {key: value for key, value in parameters.items() if key not in names}

    found = flink_behaviour.parameters(configured(env_vars=written))

    assert {key: value for key, value in found.items() if key not in names} == written
