"""References that are made from the models, of the spec and of a deployment's settings.

`python -m infra.docs > docs/job-spec.md`, `python -m infra.docs settings > docs/settings.md`.

A test compares the files with what this prints, so the documents cannot drift from the program.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from flink_controller.domain.cluster import Cluster
from flink_controller.domain.configuration import flink_configuration
from flink_controller.domain.spec import MAX_SPEC_BYTES, JobSpec, field_paths
from infra.config import DeploymentConfig
from infra.functions import FUNCTIONS

ROOT: Final = Path(__file__).resolve().parents[1]

NOTES: Final[Mapping[str, str]] = {
    "job_id": "1 to 63 lower-case letters, digits and inner hyphens each. No slash means namespace `default`.",
    "job_type": "`batch` is refused in this version.",
    "cluster": "A change moves the job: stopped with a savepoint there, started from it here.",
    "state": "`suspended` stops with a savepoint. `abandoned` stands alone with `job_id`, to end a delete that cannot end.",
    "artifact_path": "Below `artifacts/` in namespace `default`, below `<namespace>/` in any other.",
    "artifact_type": "What follows from each: [artifact types](artifact-types.md). `pyflink` is refused in this version.",
    "entry_class": "SQL scripts have none.",
    "artifact_signature": "An older version with this digest is deployed, if it was admitted. Other bytes are an UPGRADE.",
    "args": "Write a list; a string set has no order. Of a SQL script: its variables, as `name=value`.",
    "deployment.parallelism": "Alone and from 2 or more, on a cluster with the adaptive scheduler, a change is made in place, unless"
    " `upgrade_mode` is `blue-green`; else it is an upgrade.",
    "deployment.upgrade_mode": "`stateless` starts empty every time. `last-state` cancels and starts from the newest checkpoint. `blue-green`"
    " starts the new revision beside the old one, which needs free slots and repeats the outputs since its savepoint.",
    "deployment.savepoint_fallback": "`wait` holds only while the job lives.",
    "deployment.rollback.stabilization_seconds": "Health also needs a checkpoint since the start, if checkpoints are on.",
    "deployment.on_failure.action": "Of a proven revision; an unproven one is rolled back if `rollback.enabled`, or by `rollback`.",
    "deployment.on_failure.when": "[Vital signs](operations.md#vital-signs) say what is unhealthy. Jobs without periodic checkpoints are never cancelled for it.",
    "deployment.initial_savepoint_path": "Below the namespace's own savepoint directory; relative to it, or a whole URI.",
    "deployment.restart_nonce": "Also gets a FAILED job going again. `flinkctl restart` writes it.",
    "deployment.restore.from": "Below the namespace's own savepoint directory, relative to it or a whole URI; below a root of the"
    " namespace's policy; or a checkpoint of the job itself.",
    "deployment.restore.nonce": "What there is now is kept in a savepoint. Also gets a FAILED job going again. `flinkctl restore`"
    " writes both.",
    "stream_config.savepoint_trigger_interval": "At least 1000. Each job at instants of its own, so that a fleet is spread over the"
    " interval; only while it runs and is proven.",
    "deployment.savepoint_disposal.nonce": "Refused, with an event, while the savepoint is needed. `flinkctl savepoint delete` writes"
    " both.",
    "stream_config.savepoint_retention.count": "Of periodic ones; of those that somebody asked for too, where the spec writes"
    " `savepoint_retention`. Never what is needed still.",
    "deployment.savepoint_nonce": "`flinkctl savepoint` writes it.",
    "security.artifact_verification": "`false` is refused.",
}
"""What the model cannot say by itself."""
SAMPLES: Final[Mapping[str, Any]] = {
    "env_vars": {"KEY": "value"},
    "deployment.checkpoint_interval": 1,
    "deployment.restart_strategy": "fixed-delay",
    "deployment.max_restart_attempts": 7,
    "deployment.restart_delay": 1,
    "monitoring.log_level": "WARN",
    "stream_config.checkpoint_timeout": 1,
    "stream_config.min_pause_between_checkpoints": 1,
    "stream_config.max_concurrent_checkpoints": 2,
    "advanced.network_buffer_timeout": 1,
}
"""For each field that becomes Flink configuration, a value that shows; a test compares the list with the code."""

_INTRODUCTION: Final = f"""\
# The spec

One item in the spec table, or the same document in YAML or JSON for `flinkctl apply -f`. Three fields are required: `job_id`, `job_type` and `artifact_path`. Types are strict, a field that is not listed here is an error, and the whole may have {MAX_SPEC_BYTES // 1024} KB as canonical JSON. All faults are told at once, with their paths.

This page is made from the model (`python -m infra.docs > docs/job-spec.md`).

**Change** says what another value does to a running job, the most severe one wins:

| class | means |
| --- | --- |
| NONE | a wish of its own (a state, a nonce); makes no revision |
| IGNORE | taken over; the job is not touched |
| RESCALE | in place where the cluster has the adaptive scheduler: Flink restarts the tasks from the newest checkpoint; else an upgrade |
| UPGRADE | stopped with a savepoint, started from it |
| REDEPLOY | likewise, possibly on another cluster |

**Effect** is *applied*: it reaches Flink, or the controller acts on it; *required*: held against what the cluster offers before every start, which waits (`ClusterUnfit`) while it is not met, and what runs goes on. No field is ignored silently: those that say nothing about a job of its type (`batch_config` of a stream) are named in the message of condition `SpecValid`.

A session cluster cannot be resized for a job, so what `resources` and its like say is *required* of every TaskManager: the smallest that is registered counts, as `/taskmanagers` tells it. Sizes are Flink's, `1g` being 1,073,741,824 bytes.
While none is registered, what the JobManager's configuration says of those to come counts (`taskmanager.memory.process.size` for memory; `kubernetes.taskmanager.cpu.amount` and its like for cores; `taskmanager.memory.network.min`; `taskmanager.memory.task.heap.size`), as where TaskManagers are started on demand; where it says nothing the job waits, and the message says for what.
A job that moves asks the cluster that it moves to, before it is stopped.

Counters of revisions and attempts are never reset: a job_id that is deleted and written again goes on from its state, unless its `upgrade_mode` is `stateless`.
"""


def job_spec() -> str:
    """Write the whole page."""
    schema = JobSpec.model_json_schema()
    sections: dict[str, list[str]] = {}
    for path, change, treatment, text in field_paths():
        field = _field(schema, path)
        note = " ".join(filter(None, (text, NOTES.get(path, ""))))
        row = (
            f"| `{path}` | {_type(schema, field)} | {_default(schema, path)} | {change.name} | {treatment.value} | {note} |"
        )
        sections.setdefault(path.rpartition(".")[0], []).append(row)
    head = "| field | type | default | change | effect | |\n| --- | --- | --- | --- | --- | --- |"
    tables = [
        f"## {f'`{name}`' if name else 'The job'}\n\n{head}\n" + "\n".join(rows) + "\n" for name, rows in sections.items()
    ]
    return "\n".join([_INTRODUCTION, *tables, _configuration_table()])


def configured_by(path: str) -> dict[str, str]:
    """Give the entries of Flink's configuration that a field changes."""
    sample: dict[str, Any] = {}
    place = sample
    *parents, last = path.split(".")
    for parent in parents:
        place = place.setdefault(parent, {})
    place[last] = SAMPLES[path]
    if last in {"max_restart_attempts", "restart_delay"}:
        before = _configuration({"deployment": {"restart_strategy": "fixed-delay"}})
        place["restart_strategy"] = "fixed-delay"
    else:
        before = _configuration({})
    return {key: value for key, value in _configuration(sample).items() if before.get(key) != value}


def settings() -> str:
    """Write the whole page of what `cdk.json` may say."""
    schema = TypeAdapter(DeploymentConfig).json_schema()
    chosen = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]["environments"]
    parts = [("A deployment", schema), *((f"`{name}`", schema["$defs"][model]) for name, model in _PARTS.items())]
    tables = [
        f"## {title}\n\n{_linked(part['description'])}\n\n| setting | type | default | `cdk.json` has |"
        " what, and why |\n| --- | --- | --- | --- | --- |\n"
        + "\n".join(_setting(schema, part, name, chosen if part is schema else {}) for name in _declared(part, schema))
        for title, part in parts
    ]
    return "\n\n".join([_SETTINGS, *tables, _functions()])


_PARTS: Final = {"network": "NetworkConfig", "teams": "Team", "function_overrides": "FunctionOverride"}
"""Settings that have settings of their own, with the models of these."""
_SETTINGS: Final = """\
# Settings of a deployment

What `cdk.json` may say under `environments`, for each of `local`, `dev` and `prod`. `-c setting=value` overrides one on the command line, where a list is written with commas and anything else as JSON. Everything is checked when the template is made, and all faults are told at once; what is not listed here is an error.

A change takes effect with `make deploy ENVIRONMENT=…`. What functions are told of it as environment variables stands under [operations](operations.md#settings).

This page is made from the model (`python -m infra.docs settings > docs/settings.md`)."""


def _declared(part: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """List a model's settings in the order of their declaration, which a schema does not keep."""
    return [field.name for field in fields(DeploymentConfig)] if part is schema else list(part["properties"])


def _setting(schema: Mapping[str, Any], part: Mapping[str, Any], name: str, chosen: Mapping[str, Mapping[str, Any]]) -> str:
    field = part["properties"][name]
    default = "*required*" if name in part.get("required", ()) else f"`{json.dumps(field.get('default', {}))}`"
    has = ", ".join(
        f"{environment} `{json.dumps(values[name])}`" for environment, values in chosen.items() if name in values
    )
    return f"| `{name}` | {_type(schema, field)} | {default} | {has} | {_linked(field['description'])} |"


def _linked(text: str) -> str:
    """Write a docstring as one line, with links for the pages that it names."""
    return re.sub(r"docs/([a-z-]+)\.md", r"[\1](\1.md)", " ".join(text.split()))


def _functions() -> str:
    rows = [f"| `{row.name}` | {row.timeout_s} | {row.memory_mb} | {row.reserved_concurrency} |" for row in FUNCTIONS]
    return "\n".join(
        [
            "## What functions have",
            "",
            "Where `function_overrides` says nothing; `infra/functions.py` has the reasons.",
            "",
            "| function | timeout, seconds | memory, MiB | reserved concurrency |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Print a page."""
    sys.stdout.write(settings() if sys.argv[1:] == ["settings"] else job_spec())


def _configuration(fields: Mapping[str, Any]) -> Mapping[str, str]:
    spec = JobSpec.model_validate({"job_id": "job", "job_type": "stream", "artifact_path": "artifacts/job.jar", **fields})
    cluster = Cluster(name="default", url="http://flink:8081", savepoint_root="s3://b/s", checkpoint_root="s3://b/c")
    return flink_configuration(spec, cluster, revision=1, attempt=1, stamp="")


def _configuration_table() -> str:
    rows = [f"| `{path}` | {', '.join(f'`{key}`' for key in configured_by(path))} |" for path in SAMPLES]
    always = ", ".join(f"`{key}`" for key in _configuration({"deployment": {"checkpoint_interval": None}}))
    return "\n".join(
        [
            "## What Flink is told",
            "",
            "Fields that become configuration of the submitted job; `restart_strategy` chooses the prefix of its two companions.",
            "What the program sets in its own code wins over checkpoint interval and restart strategy.",
            "",
            "| field | Flink's configuration |",
            "| --- | --- |",
            *rows,
            "",
            f"Always set: {always}.",
            "Checkpoints are retained on cancellation: what a cancelled or lost job wrote last is its only state.",
            "The global job parameters also carry `flinkctl.job-id`, `flinkctl.revision`, `flinkctl.attempt`,",
            "`flinkctl.correlation-id`, by which the controller's log names the change that led to this start,",
            "and `flinkctl.stamp`, by which a restored backup knows what runs.",
            "They are no process environment and no logger setting.",
            "",
        ]
    )


def _field(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema
    for part in path.split("."):
        found = _resolved(schema, found)["properties"][part]
    return found


def _resolved(schema: Mapping[str, Any], field: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = field.get("$ref")
    return field if reference is None else schema["$defs"][reference.rpartition("/")[2]]


def _type(schema: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    field = _resolved(schema, field)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(schema, one) for one in field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"] if value != "deleted")
    match field["type"]:
        case "null":
            return "null"
        case "boolean":
            return "true or false"
        case "string":
            return "size as `2g`" if "(k|m|g|t" in field.get("pattern", "") else "text"
        case "array":
            return f"list of {_type(schema, field['items'])}"
        case "object":
            return _type_of_object(schema, field)
        case kind:
            return "".join([str(kind), *_bounds(field)])


def _type_of_object(schema: Mapping[str, Any], field: Mapping[str, Any]) -> str:
    if "properties" in field:
        return "settings below"
    inner = field.get("additionalProperties")
    return f"map of text to {_type(schema, inner)}" if isinstance(inner, dict) else "map of text to text"


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    if "exclusiveMinimum" in field:
        yield f" above {low}"
    elif low is not None:
        yield f" from {low}"
    if high is not None:
        yield f" to {high}"


def _default(schema: Mapping[str, Any], path: str) -> str:
    if "." not in path and path in schema["required"]:
        return "*required*"
    value = _field(schema, path).get("default")
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    main()
