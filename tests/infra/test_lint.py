"""The template passes cfn-lint, and cdk-nag but for what is acknowledged with a reason."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest

from infra.app import build
from tests.infra.conftest import Synthesized

IGNORED = {
    "W3005": "The CDK states dependencies that references imply already; CloudFormation does not mind.",
}


def test_every_template_is_clean(synthesized: Callable[[str], Synthesized]) -> None:
    # One run for all: most of its time is reading CloudFormation's schemas.
    templates = [str(synthesized(environment).template_file) for environment in ("local", "dev", "prod")]

    answer = subprocess.run(  # a tool of this interpreter's environment
        [str(Path(sys.executable).with_name("cfn-lint")), "--ignore-checks", *IGNORED, "--", *templates],
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_cdk_nag_has_nothing_to_say(environment: str, synthesized: Callable[[str], Synthesized]) -> None:
    reports = _reports(synthesized(environment).folder)

    assert {report["pluginName"] for report in reports} == {"AwsSolutions", "Serverless"}
    assert {report["conclusion"] for report in reports} == {"success"}
    assert [report["violations"] for report in reports] == [[], []]


def test_cdk_nag_has_nothing_to_say_of_what_a_deployment_may_choose(context: Mapping[str, Any], tmp_path: Path) -> None:
    chosen = {"environment": "dev", "tracing": "false", "alarm_email": "on-call@example.com", "scrape_secret": "scrapers"}
    app = cdk.App(context={**context, **chosen, "aws:cdk:bundling-stacks": []}, outdir=str(tmp_path))
    build(app)

    app.synth()  # raises when something was found

    assert [report["violations"] for report in _reports(tmp_path)] == [[], []]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_every_acknowledgement_stands_on_the_construct_that_it_is_about(
    environment: str, synthesized: Callable[[str], Synthesized]
) -> None:
    for report in _reports(synthesized(environment).folder):
        assert report["suppressedViolations"]
        for finding in report["suppressedViolations"]:
            (construct,) = finding["violatingConstructs"]
            assert finding["reason"]
            assert construct["constructPath"].startswith(finding["acknowledgedAt"])
            assert finding["acknowledgedAt"].count("/") >= 2, "not on a stack or on a whole function"


def _reports(folder: Path) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = json.loads((folder / "validation-report.json").read_text())["pluginReports"]
    return reports
