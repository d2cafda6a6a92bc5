"""The example of the original plan, against a cluster named `default`: held word by word."""

import yaml

from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.spec import ValidSpec, field_paths, read_spec
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import EVENTS, Installation, follow_up_of, uploaded

SPEC = yaml.safe_load((EVENTS / "original-spec.yaml").read_text(encoding="utf-8"))
WITHOUT_EFFECT = (
    "batch_config.backoff_limit",
    "batch_config.cleanup_on_completion",
    "batch_config.cron",
    "batch_config.jitter_seconds",
    "batch_config.max_runs",
    "batch_config.missed_run_policy",
    "batch_config.other_runs_kept",
    "batch_config.overlap_policy",
    "batch_config.run_now.args",
    "batch_config.starting_deadline_seconds",
    "batch_config.submission_deadline_seconds",
    "batch_config.succeeded_runs_kept",
    "batch_config.timezone",
    "batch_config.ttl_seconds",
)


def test_it_names_every_field_of_the_contract() -> None:
    assert set(leaves(SPEC)) >= {path for path, *_ in field_paths() if path not in {"labels", "env_vars"}}


def test_it_is_valid_and_its_warnings_name_each_field_without_effect() -> None:
    view = read_spec(SPEC["job_id"], SPEC)

    assert isinstance(view, ValidSpec)
    assert view.warnings == WITHOUT_EFFECT
    foreign = {path for path, *_ in field_paths() if path.startswith("batch_config.")}
    asks_for_nothing = {
        "batch_config.end_at",
        "batch_config.run_now.nonce",
        "batch_config.start_at",
        "batch_config.suspend_after_failures",
    }
    assert set(WITHOUT_EFFECT) == foreign - asks_for_nothing


def test_the_controller_accepts_it_with_the_same_warnings_and_waits_for_its_artifact(
    installed: Installation, flink: FlinkServer
) -> None:
    installed.put_spec(SPEC)

    assert follow_up_of(SPEC["job_id"]) == {"batchItemFailures": []}

    status = installed.status(SPEC["job_id"])
    assert status is not None
    valid = status.condition("SpecValid")
    assert valid is not None
    assert (valid.status, valid.reason) == ("True", "SpecAccepted")
    assert valid.message == f"without effect on a job of this type: {', '.join(WITHOUT_EFFECT)}"
    digest = SPEC["artifact_signature"].removeprefix("sha256:")
    assert installed.lifecycle(SPEC["job_id"]) is Lifecycle.WAITING
    assert status.waiting == (
        "ArtifactMissing",
        f"no admitted version of artifacts/etl-pipeline.jar has the pinned sha256:{digest[:12]}…",
    )
    assert flink.twin.history == []


def test_a_signed_upload_of_other_bytes_does_not_satisfy_its_pin(installed: Installation, flink: FlinkServer) -> None:
    installed.put_spec(SPEC)
    installed.upload_signed(key=SPEC["artifact_path"])
    uploaded(SPEC["artifact_path"])

    follow_up_of(SPEC["job_id"])

    status = installed.status(SPEC["job_id"])
    assert status is not None
    assert status.waiting is not None
    assert (installed.lifecycle(SPEC["job_id"]), status.waiting[0]) == (Lifecycle.WAITING, "ArtifactMissing")
    verified = status.condition("ArtifactVerified")
    assert verified is not None
    assert verified.status == "True"
    assert flink.twin.history == []


def leaves(document: object, prefix: str = "") -> list[str]:
    """Give the paths of a document's leaves."""
    if not isinstance(document, dict):
        return [prefix]
    return [leaf for key, inner in document.items() for leaf in leaves(inner, f"{prefix}.{key}" if prefix else str(key))]
