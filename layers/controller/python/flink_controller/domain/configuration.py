"""From a spec to what Flink is told: the per-job configuration of a submit."""

import json
from collections.abc import Mapping

from flink_controller.domain.cluster import Cluster
from flink_controller.domain.spec import JobSpec
from flink_controller.domain.stamp import ATTEMPT_PARAMETER, JOB_PARAMETER, STAMP_PARAMETER


def flink_configuration(
    spec: JobSpec, cluster: Cluster, *, revision: int, attempt: int, stamp: str, correlation_id: str = ""
) -> Mapping[str, str]:
    """Give the configuration of one submit.

    Retention on cancellation is always asked for: what a cancelled or lost job wrote last is its only state. Flink's names
    are the ones that both 1.20 and 2.x take per job (measured; see docs/job-spec.md).
    """
    deployment, stream, advanced = spec.deployment, spec.stream_config, spec.advanced
    found: dict[str, str | None] = {
        "pipeline.name": spec.job_id,
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.dir": cluster.checkpoint_root,
        "execution.checkpointing.interval": _ms(deployment.checkpoint_interval),
        "execution.checkpointing.timeout": _ms(stream.checkpoint_timeout),
        "execution.checkpointing.min-pause": _ms(stream.min_pause_between_checkpoints),
        "execution.checkpointing.max-concurrent-checkpoints": _text(stream.max_concurrent_checkpoints),
        "execution.buffer-timeout.interval": _ms(advanced.network_buffer_timeout),
        **_restart_strategy(spec),
        "pipeline.global-job-parameters": _parameters(
            spec, revision=revision, attempt=attempt, stamp=stamp, correlation_id=correlation_id
        ),
    }
    return {key: value for key, value in found.items() if value is not None}


def _restart_strategy(spec: JobSpec) -> dict[str, str | None]:
    deployment = spec.deployment
    attempts, delay = str(deployment.max_restart_attempts), _ms(deployment.restart_delay)
    match deployment.restart_strategy:
        case None:
            return {}
        case "fixed-delay":
            return {
                "restart-strategy.type": "fixed-delay",
                "restart-strategy.fixed-delay.attempts": attempts,
                "restart-strategy.fixed-delay.delay": delay,
            }
        case "exponential-delay":
            return {
                "restart-strategy.type": "exponential-delay",
                "restart-strategy.exponential-delay.initial-backoff": delay,
                "restart-strategy.exponential-delay.attempts-before-reset-backoff": attempts,
            }
        case "failure-rate":
            return {
                "restart-strategy.type": "failure-rate",
                "restart-strategy.failure-rate.max-failures-per-interval": attempts,
                "restart-strategy.failure-rate.delay": delay,
            }


def _parameters(spec: JobSpec, *, revision: int, attempt: int, stamp: str, correlation_id: str) -> str:
    parameters = {
        **spec.env_vars,
        **({} if spec.monitoring.log_level is None else {"log_level": spec.monitoring.log_level}),
        JOB_PARAMETER: spec.job_id,
        "flinkctl.revision": str(revision),
        ATTEMPT_PARAMETER: str(attempt),
        STAMP_PARAMETER: stamp,
        **({"flinkctl.correlation-id": correlation_id} if correlation_id else {}),
    }
    return _map(parameters)


def _map(entries: Mapping[str, str]) -> str:
    """Write a map as Flink reads it.

    Flink's own form breaks at separators and quotes, even inside of quotes (measured, 2.3.0 and 1.20.5); JSON arrives whole
    wherever the cluster's configuration is YAML, which one in the old `flink-conf.yaml` is not.
    """
    if any(char in ",:'\"" for part in (*entries, *entries.values()) for char in part):
        return json.dumps(entries)
    return ",".join(f"{_quoted(key)}:{_quoted(value)}" for key, value in entries.items())


def _quoted(text: str) -> str:
    if all(char.isalnum() or char in "-_./" for char in text) and text:
        return text
    return f"'{text}'"


def _ms(value: int | None) -> str | None:
    return None if value is None else f"{value} ms"


def _text(value: object) -> str | None:
    return None if value is None else str(value)
