"""Every environment's template, synthesized once per session: starting the CDK takes seconds.

Dependencies are not built here; `test_packaging.py` builds them once by themselves.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# The CDK's runtime warns about the age of Node 20, which this project supports; it reads this when it is first imported.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "20")

import aws_cdk as cdk

from infra.app import build
from infra.config import DeploymentConfig

ROOT = Path(__file__).resolve().parents[2]

Resource = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Synthesized:
    """One environment's cloud assembly."""

    config: DeploymentConfig
    folder: Path
    template: Mapping[str, Any]

    @property
    def template_file(self) -> Path:
        """Where the template lies."""
        return self.folder / f"flink-job-controller-{self.config.environment.value}.template.json"

    def of_type(self, kind: str) -> dict[str, Resource]:
        """Give the resources of a CloudFormation type, by logical id."""
        return {key: value for key, value in self.template["Resources"].items() if value["Type"] == kind}

    def only(self, kind: str, path: str) -> Resource:
        """Give the one resource of a type whose construct path holds a text."""
        found = [resource for resource in self.of_type(kind).values() if path in self.path(resource)]
        assert len(found) == 1, f"{len(found)} of {kind} at {path}"
        return found[0]

    def path(self, resource: Resource) -> str:
        """Give the construct path of a resource, without the stack's name."""
        path: str = resource.get("Metadata", {}).get("aws:cdk:path", "")
        return path.partition("/")[2]

    def functions(self) -> dict[str, Resource]:
        """Give our functions by their rows' names; not the CDK's own."""
        return {
            self.path(resource).partition("/")[0]: resource
            for resource in self.of_type("AWS::Lambda::Function").values()
            if self.path(resource).endswith("/Function/Resource")
        }

    def label(self, value: Any) -> str:
        """Write a reference in a template as a reader would: the construct's path instead of a logical id."""
        match value:
            case str():
                return value
            case {"Ref": str(name)} if name.startswith("AWS::"):
                return f"<{name}>"
            case {"Ref": str(name)}:
                return self._name(name)
            case {"Fn::GetAtt": [str(name), str(attribute)]}:
                return self._name(name) + ("/stream" if attribute == "StreamArn" else "")
            case {"Fn::Join": [str(separator), list(parts)]}:
                return separator.join(self.label(part) for part in parts)
        raise AssertionError(f"no label for {value!r}")

    def _name(self, logical_id: str) -> str:
        path = self.path(self.template["Resources"][logical_id])
        return re.sub(r"/Resource$", "", path)


@pytest.fixture(scope="session")
def context() -> Mapping[str, Any]:
    """What cdk.json says."""
    content: Mapping[str, Any] = json.loads((ROOT / "cdk.json").read_text())["context"]
    return content


@pytest.fixture(scope="session")
def synthesized(context: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Synthesized]:
    """Synthesize an environment on first use."""

    @cache
    def synthesize(environment: str) -> Synthesized:
        folder = tmp_path_factory.mktemp(f"cdk-{environment}")
        chosen = {
            **context,
            "environment": environment,
            "aws:cdk:bundling-stacks": [],
            "aws:cdk:enable-path-metadata": True,
            "aws:cdk:enable-asset-metadata": True,
        }
        if environment != "local":
            # Deployments name their own; one of each stands here so that its grants are seen.
            chosen["state_buckets"] = ["example-flink-state"]
            chosen["flink_secrets"] = ["example-flink-credentials"]
            chosen["namespace_buckets"] = {"payments": "example-payments-artifacts"}
        app = cdk.App(context=chosen, outdir=str(folder))
        stack = build(app)
        # Raises when cdk-nag finds what nobody acknowledged.
        template = app.synth().get_stack_artifact(stack.artifact_id).template
        return Synthesized(config=DeploymentConfig.from_context(chosen), folder=folder, template=template)

    return synthesize


@pytest.fixture(scope="session", params=["local", "dev", "prod"])
def deployment(request: pytest.FixtureRequest, synthesized: Callable[[str], Synthesized]) -> Synthesized:
    """Each environment in turn."""
    return synthesized(request.param)


@pytest.fixture(scope="session")
def prod(synthesized: Callable[[str], Synthesized]) -> Synthesized:
    """The production environment."""
    return synthesized("prod")


@pytest.fixture(scope="session")
def local(synthesized: Callable[[str], Synthesized]) -> Synthesized:
    """The laptop's environment."""
    return synthesized("local")
