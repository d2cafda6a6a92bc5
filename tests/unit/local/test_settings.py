"""The local stack's settings: defaults for everything, and a sentence for what is malformed."""

from pathlib import Path

import pytest

from infra.local.errors import LocalStackError
from infra.local.flink import derived_rpc_port
from infra.local.settings import CHECKOUT, LocalSettings


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = LocalSettings.from_env({})

    assert settings == LocalSettings()
    assert settings.directory == CHECKOUT / ".local"
    assert settings.aws_url == "http://127.0.0.1:4566"
    assert settings.flink_rest_url == "http://127.0.0.1:8081"


def test_every_variable_is_read() -> None:
    settings = LocalSettings.from_env(
        {
            "LOCAL_DIR": "two",
            "FLINKCTL_CACHE_DIR": "/cache",
            "AWS_PORT": "4567",
            "FLINK_REST_PORT": "8082",
            "FLINK_VERSION": "1.20.5",
            "FLINK_SLOTS": "3",
            "FLINK_HEAP_MB": "1500",
            "FLINK_HEARTBEAT_TIMEOUT": "10",
            "FLINK_STATE": "file",
        }
    )

    assert settings == LocalSettings(
        directory=CHECKOUT / "two",
        cache_directory=Path("/cache"),
        aws_port=4567,
        flink_rest_port=8082,
        flink_version="1.20.5",
        flink_slots=3,
        flink_heap_mb=1500,
        flink_heartbeat_timeout_seconds=10,
        flink_state="file",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_PORT", "http"), ("FLINK_REST_PORT", "0"), ("FLINK_SLOTS", "-1"), ("AWS_PORT", "65536"), ("FLINK_STATE", "nfs")],
)
def test_a_malformed_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(LocalStackError, match=f"{name} must be .*{value}"):
        LocalSettings.from_env({name: value})


@pytest.mark.parametrize(("rest", "rpc"), [(8081, 6123), (8082, 6124), (2000, 12000)])
def test_neighbouring_rest_ports_give_different_rpc_ports(rest: int, rpc: int) -> None:
    assert derived_rpc_port(rest) == rpc
