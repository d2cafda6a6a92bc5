"""Least privilege: every permission of every function stands in one reviewed file."""

import json
from pathlib import Path
from typing import Any

from infra.access import ARTIFACT_KEYS, OPERATORS_KEYS
from infra.functions import FUNCTIONS, Access
from tests.infra.conftest import Resource, Synthesized

GOLDEN = Path(__file__).parent / "golden" / "access.json"

Granted = dict[str, list[str]]
"""Resource to actions."""


def test_functions_may_do_exactly_what_was_reviewed(prod: Synthesized, tmp_path: Path) -> None:
    found = {row.name: _granted(prod, _statements_of_function(prod, row.name)) for row in FUNCTIONS}
    found["operators"] = _granted(prod, _operators_statements(prod))
    actual = tmp_path / "access.json"
    actual.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")

    assert json.loads(GOLDEN.read_text()) == found, f"after review: cp {actual} {GOLDEN}"


def test_only_tracing_is_allowed_on_everything(prod: Synthesized) -> None:
    on_everything = {
        action
        for row in FUNCTIONS
        for statement in _statements_of_function(prod, row.name)
        if "*" in _listed(statement["Resource"])
        for action in _listed(statement["Action"])
    }

    # X-Ray's write actions know no resource.
    assert on_everything == {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}


def test_a_laptop_allows_nothing_on_everything(local: Synthesized) -> None:
    for row in FUNCTIONS:
        for statement in _statements_of_function(local, row.name):
            assert "*" not in _listed(statement["Resource"])


def test_no_action_is_a_pattern(deployment: Synthesized) -> None:
    for row in FUNCTIONS:
        for statement in _statements_of_function(deployment, row.name):
            assert not [action for action in _listed(statement["Action"]) if "*" in action]


def test_no_function_writes_what_operators_own(prod: Synthesized) -> None:
    for row in FUNCTIONS:
        for statement in _statements_of_function(prod, row.name):
            if not {"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"} & set(_listed(statement["Action"])):
                continue
            match statement["Condition"]:
                case {"ForAllValues:StringNotLike": {"dynamodb:LeadingKeys": list(excluded)}}:
                    assert set(OPERATORS_KEYS) <= set(excluded)
                case {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": allowed}}:
                    assert not set(OPERATORS_KEYS) & set(_listed(allowed))
                case other:
                    raise AssertionError(f"{row.name} writes without a bound: {other}")


def test_only_admission_records_artifacts(prod: Synthesized) -> None:
    writers = set()
    for row in FUNCTIONS:
        for statement in _statements_of_function(prod, row.name):
            allowed = statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", [])
            if "dynamodb:PutItem" in _listed(statement["Action"]) and set(ARTIFACT_KEYS) & set(_listed(allowed)):
                writers.add(row.name)

    assert writers == {"admit_artifact", "sweep_artifacts"}


def test_nothing_of_ours_writes_specs_or_artifacts(prod: Synthesized) -> None:
    for row in FUNCTIONS:
        granted = _granted(prod, _statements_of_function(prod, row.name))
        for resource, actions in granted.items():
            if resource.startswith(("Storage/JobSpecs", "Storage/Artifacts", "arn:<AWS::Partition>:s3")):
                reads = ("Get", "BatchGet", "List", "Scan", "Describe")
                assert not [action for action in actions if not action.split(":")[1].startswith(reads)]


def test_every_role_writes_to_its_own_log_alone(prod: Synthesized) -> None:
    for row in FUNCTIONS:
        logs = [
            resource
            for resource, actions in _granted(prod, _statements_of_function(prod, row.name)).items()
            if any(action.startswith("logs:") for action in actions)
        ]
        assert logs == [f"{row.name}/Logs"]


def test_our_roles_have_no_managed_policies(prod: Synthesized) -> None:
    for row in FUNCTIONS:
        role = prod.only("AWS::IAM::Role", f"{row.name}/Role")
        assert "ManagedPolicyArns" not in role["Properties"]


def test_the_operators_policy_is_attached_to_nobody(deployment: Synthesized) -> None:
    (policy,) = deployment.of_type("AWS::IAM::ManagedPolicy").values()

    assert not {"Roles", "Users", "Groups"} & set(policy["Properties"])


def test_every_kind_of_access_is_used() -> None:
    assert {access for row in FUNCTIONS for access in row.access} == set(Access)


def _statements_of_function(deployment: Synthesized, name: str) -> list[dict[str, Any]]:
    policy = deployment.only("AWS::IAM::Policy", f"{name}/Role/DefaultPolicy")
    return _statements(policy)


def _operators_statements(deployment: Synthesized) -> list[dict[str, Any]]:
    (policy,) = deployment.of_type("AWS::IAM::ManagedPolicy").values()
    return _statements(policy)


def _statements(policy: Resource) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = policy["Properties"]["PolicyDocument"]["Statement"]
    assert all(statement["Effect"] == "Allow" for statement in statements)
    return statements


def _granted(deployment: Synthesized, statements: list[dict[str, Any]]) -> Granted:
    """Turn a policy around: resource, with its condition, to actions."""
    granted: dict[str, set[str]] = {}
    for statement in statements:
        for resource in _listed(statement["Resource"]):
            label = deployment.label(resource) + _condition(statement)
            granted.setdefault(label, set()).update(_listed(statement["Action"]))
    return {label: sorted(actions) for label, actions in sorted(granted.items())}


def _condition(statement: dict[str, Any]) -> str:
    match statement.get("Condition"):
        case None:
            return ""
        case {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}}:
            return f" where the key is like {' or '.join(_listed(keys))}"
        case {"ForAllValues:StringNotLike": {"dynamodb:LeadingKeys": keys}}:
            return f" where the key is not like {' or '.join(_listed(keys))}"
        case other:
            return f" if {json.dumps(other, sort_keys=True)}"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
