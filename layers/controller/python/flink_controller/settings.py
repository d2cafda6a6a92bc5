"""The controller's configuration: every environment variable, once.

`Settings.from_env` reads what `Settings.environment` writes, so infrastructure and code cannot disagree on a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

ENVIRONMENT_PREFIX = "FLINKCTL_"
SCRAPE_ALIAS = "scrape"
"""Of the function `health`: requests that come by it are not signed, and may ask for the metrics alone."""


class SettingsError(ValueError):
    """A variable is missing or malformed; the message names it. A retry does not help."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a function or the CLI must know about its deployment.

    Each field is read from `FLINKCTL_` + its name in capitals.
    """

    job_spec_table_name: str
    """Table that teams write; partition key `job_id`."""
    controller_state_table_name: str
    """Table that the controller writes, and operators under their own keys."""
    artifact_bucket_name: str
    """Versioned bucket that teams upload to."""
    namespace_buckets: str = ""
    """Buckets of namespaces that have one of their own, as `namespace=bucket`, comma-separated."""
    follow_up_queue_url: str
    """Queue of delayed wake-ups."""
    follow_up_failures_queue_url: str = ""
    """Queue of wake-ups that were given up. For `redrive` alone, as the next three."""
    stream_failures_queue_url: str = ""
    """Queue of batches of spec writes that were given up."""
    invocation_failures_queue_url: str = ""
    """Queue of uploads' events that were given up."""
    event_failures_queue_url: str = ""
    """Queue of batches of events that could not be published."""
    alert_topic_arn: str = ""
    """Topic for what needs a person. Empty: none."""
    event_bus_name: str = ""
    """Bus that every event leaves by. Empty: none."""
    controller_id: str
    """Names this installation in every Flink job id; two controllers on one cluster must differ."""
    environment: str = "dev"
    """`local`, `dev` or `prod`. Only `local` may use loopback addresses and `file://` state."""
    state_buckets: str = ""
    """Comma-separated buckets that hold savepoints and checkpoints; roles can read these and no others."""
    debounce_seconds: int = 5
    """Uploads to one key this close together become one upgrade. 5 s covers a jar with its signature and a re-upload."""
    revision_history_limit: int = 50
    """Revisions of a job that are kept beside those in use; rollbacks reach no further back."""
    artifact_history_limit: int = 50
    """Newest records of an artifact's versions that are kept, beside young ones and those in use."""
    artifact_history_days: int = 90
    """How long every record of an artifact's version is kept, however many there are."""
    function_timeout_seconds: int = 60
    """Longest life of one invocation; part of the quarantine after a JobManager was lost."""
    submit_timeout_seconds: int = 120
    """A submit whose answer was lost is not sent again before this; twice the longest invocation."""
    scrape_secret: str = ""
    """Name of the secret whose text lets scrapers in that cannot sign. Empty: there is no address for these."""
    per_job_metrics: bool = False
    """Whether some metrics are published for each job as well; each job then costs some 6 metrics."""
    log_level: str = "INFO"
    """Threshold of the structured log."""
    tracing: bool = False
    """Whether X-Ray is imported at all; it costs about 0.2 s of a cold start."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read settings from environment variables.

        Raises:
            SettingsError: one or more variables are missing or malformed; all are named at once.
        """
        values: dict[str, str | int | bool] = {}
        faults: list[str] = []
        for field in fields(cls):
            name = variable(field.name)
            text = environ.get(name)
            if text is None:
                if field.name in _REQUIRED:
                    faults.append(f"{name} is not set")
                continue
            if not text and field.name in _REQUIRED:
                faults.append(f"{name} is empty")
                continue
            if field.type is int:
                if not text.isdecimal():
                    faults.append(f"{name} must be a whole number, not {text!r}")
                    continue
                values[field.name] = int(text)
            elif field.type is bool:
                if text not in {"true", "false"}:
                    faults.append(f"{name} must be true or false, not {text!r}")
                    continue
                values[field.name] = text == "true"
            else:
                values[field.name] = text
        if faults:
            raise SettingsError("; ".join(faults))
        return cls(**values)  # type: ignore[arg-type]  # each value was converted to its field's type above

    @property
    def buckets_of_state(self) -> tuple[str, ...]:
        """The names in `state_buckets`."""
        return tuple(name for name in self.state_buckets.split(",") if name)

    @property
    def buckets_of_namespaces(self) -> dict[str, str]:
        """The pairs in `namespace_buckets`."""
        pairs = (pair.partition("=") for pair in self.namespace_buckets.split(",") if pair)
        return {namespace: bucket for namespace, _, bucket in pairs}


def variable(field_name: str) -> str:
    """Name the environment variable that carries a field."""
    return ENVIRONMENT_PREFIX + field_name.upper()


def environment(values: Mapping[str, str | int | bool]) -> dict[str, str]:
    """Turn field values (strings may be CDK tokens) into the variables that `Settings.from_env` reads.

    Raises:
        SettingsError: a name is no field of `Settings`.
    """
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"no such settings: {', '.join(unknown)}")
    return {variable(name): str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}


_REQUIRED = {
    "job_spec_table_name",
    "controller_state_table_name",
    "artifact_bucket_name",
    "follow_up_queue_url",
    "controller_id",
}
