"""The documentation names everything that the code can say, and its links lead somewhere."""

import ast
import json
import re
import shlex
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from botocore import xform_name
from botocore.session import Session
from pydantic import TypeAdapter

from flink_controller.cli.main import app
from flink_controller.cli.reference import commands
from flink_controller.domain import configuration
from flink_controller.domain.alerts import GUIDES, MEANINGS
from flink_controller.domain.lifecycle import Lifecycle
from flink_controller.domain.spec import field_paths
from flink_controller.domain.sql_script import ALLOWED, DENIED, DENIED_SETTINGS
from flink_controller.settings import Settings, variable
from flink_controller.telemetry import Deployment, Metric
from infra import docs
from infra.config import DeploymentConfig, FunctionOverride, NetworkConfig, Team
from infra.functions import FUNCTIONS
from tests.bench import budgets, cost
from tests.bench import page as performance
from tests.reasons import event_reasons, status_reasons

ROOT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE: Final = re.compile(r"```.*?```", re.DOTALL)
_COMMAND: Final = re.compile(r"`+([^`]+)`+")
_AWS: Final = re.compile(r"\baws ([a-z0-9]+) ([a-z0-9-]+)((?: (?!aws )[^|()`\n]*)?)")
_ABOVE_OPERATIONS: Final = frozenset({("logs", "tail"), ("s3", "ls"), ("cloudformation", "wait"), ("dynamodb", "wait")})
"""Commands of the AWS CLI that are no operation of a service's interface."""


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """Give the text below a heading, up to the next one of its level."""
    level = heading.partition(" ")[0]
    _, found, rest = page(name).partition(f"\n{heading}\n")
    assert found, f"{name} has no {heading}"
    return re.split(rf"\n{level} ", rest)[0]


def first_column(table: str) -> set[str]:
    """Give the first word of each row of a table, without quotes."""
    rows = [line.split("|")[1].strip().strip("`") for line in table.splitlines() if line.startswith("|")]
    return {row.split(" ")[0] for row in rows if row and not row.startswith("-")} - {
        "reason",
        "metric",
        "variable",
        "function",
    }


def rows(table: str) -> dict[str, str]:
    """Give the rows of a table with two columns, without the quotes of the first."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    return {key.strip("`"): value for key, value in cells[2:]}


def parse(line: str) -> None:
    """Have the program read a command line without carrying it out; raise what it says of a wrong one."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        context = command.make_context("flinkctl", words)
        _, found, words = command.resolve_command(context, words)
        command = found
    command.make_context("flinkctl", words)


def anchors(path: Path) -> set[str]:
    """Give the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_of_the_spec_is_what_the_model_says() -> None:
    assert page("docs/job-spec.md") == docs.job_spec(), "run python -m infra.docs > docs/job-spec.md"


def test_the_reference_of_the_settings_is_what_the_models_say() -> None:
    assert page("docs/settings.md") == docs.settings(), "run python -m infra.docs settings > docs/settings.md"


@pytest.mark.parametrize("model", [DeploymentConfig, NetworkConfig, Team, FunctionOverride])
def test_every_setting_says_what_it_is_and_every_number_its_unit(model: type) -> None:
    unit = re.compile(r"seconds|days|MiB|ports|times|records|revisions|workers|invocations", re.IGNORECASE)

    for name, field in TypeAdapter(model).json_schema()["properties"].items():
        assert len(field["description"].split()) > 3 or "likewise" in field["description"], name
        if '"integer"' in json.dumps(field):
            assert unit.search(field["description"]), name


def test_every_note_on_a_field_is_about_a_field() -> None:
    paths = {path for path, *_ in field_paths()}

    assert set(docs.NOTES) <= paths
    assert set(docs.SAMPLES) <= paths


def test_every_field_that_reaches_flink_as_configuration_is_listed_with_its_keys() -> None:
    for path in docs.SAMPLES:
        assert docs.configured_by(path), path
    source = ast.parse(Path(configuration.__file__).read_text(encoding="utf-8"))
    leaves = {path.rpartition(".")[2] for path, *_ in field_paths()} - {"job_id"}
    read = {node.attr for node in ast.walk(source) if isinstance(node, ast.Attribute) and node.attr in leaves}

    assert {path.rpartition(".")[2] for path in docs.SAMPLES} == read


def test_every_command_is_documented() -> None:
    for words in commands():
        assert f"\n## flinkctl {words}\n" in page("docs/cli.md"), words


def test_every_setting_is_documented() -> None:
    assert first_column(section("docs/operations.md", "## Settings")) == {variable(field.name) for field in fields(Settings)}


def test_every_metric_is_documented() -> None:
    assert first_column(section("docs/operations.md", "## Metrics")) == {metric.value[0] for metric in Metric}


def test_every_event_reason_is_documented_and_no_other() -> None:
    assert first_column(section("docs/operations.md", "## Event reasons")) == event_reasons()


def test_every_alert_is_documented_as_it_is_told() -> None:
    table = [line.split("|")[1:-1] for line in section("docs/operations.md", "## Alerts").splitlines() if line[:2] == "| "]
    found = {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in table[2:]}

    assert {alert: (row[0], row[2], row[3]) for alert, row in found.items()} == {
        alert: (guide.severity, guide.says, guide.first_look) for alert, guide in GUIDES.items()
    }
    for alert, row in found.items():
        opening = {reason for reason, meaning in MEANINGS.items() if meaning.opens == alert}
        assert {reason for reason in event_reasons() if re.search(rf"\b{reason}\b", row[1])} == opening, alert
        assert row[4], alert


def test_every_status_reason_is_documented_and_no_other() -> None:
    assert first_column(section("docs/operations.md", "## Status reasons")) == status_reasons()


def test_what_a_sql_script_may_hold_is_documented_with_the_reasons() -> None:
    refused = section("docs/artifact-types.md", "### Statements that are refused")
    settings = section("docs/artifact-types.md", "### Settings that are refused")

    assert rows(refused) == dict(DENIED)
    assert rows(settings) == dict(DENIED_SETTINGS)
    runs = section("docs/artifact-types.md", "### Statements that run")
    assert re.findall(r"`([^`]+)`", runs) == list(ALLOWED)


def test_the_reasons_are_found_at_all() -> None:
    assert {"SpecAccepted", "Submitted", "Stopped", "Cancelled", "JobFailed", "SubmissionRefused"} <= event_reasons()
    assert {"ArtifactMissing", "SignatureMissing", "KeyRevoked", "Abandoned", "NotHealthy", "Quarantine"} <= status_reasons()


def test_every_threat_has_what_does_not_stop_it_and_tests_that_hold_what_does() -> None:
    table = [line.split("|")[1:-1] for line in section("docs/security.md", "## Threats").splitlines() if line[:2] == "| "]

    assert len(table) > 15
    for threat, *cells, held in table[2:]:
        assert all(cell.strip() for cell in cells), threat
        names = re.findall(r"`([^`]+)`", held)
        assert names, threat
        for file, name in (one.split("::") for one in names):
            assert re.search(rf"^def {name}\(", page(file), re.MULTILINE), name


def test_every_lifecycle_is_documented() -> None:
    for state in Lifecycle:
        assert state.value in page("docs/concepts.md"), state
        assert f"`{state.value.title().replace('_', '')}`" in section("docs/operations.md", "## Status reasons"), state


def test_success_is_watched_by_what_exists() -> None:
    rows_ = [line.split("|")[2] for line in page("docs/success.md").splitlines() if line.startswith("| ")][2:]
    named = {name for row in rows_ for name in re.findall(r"`([^`]+)`", row)}
    alarms = set(re.findall(r'^ +"([a-z-]+)",$', page("infra/alarms.py"), re.MULTILINE))
    alarms |= {f"deployments-{status.value.replace('_', '-')}" for status in Deployment}
    alarms |= {f"{row.name}-{aspect}" for row in FUNCTIONS for aspect in ("duration", "heartbeat", "iterator-age")}
    others = {"/health/ready", "main()", "numRecordsOutPerSecond", "Errors", "Invocations", *Deployment}

    assert len(rows_) == 12
    assert named <= {metric.value[0] for metric in Metric} | alarms | event_reasons() | status_reasons() | others


def test_the_tables_of_the_performance_page_are_what_was_measured() -> None:
    text = page("docs/performance.md")

    assert set(performance.TABLES) == set(performance.blocks(text))
    assert text == performance.made(text), "run python -m tests.bench.page"


def test_the_plots_of_the_performance_page_show_what_was_measured() -> None:
    shown = set(re.findall(r"!\[[^]]+\]\(performance/([a-z-]+)\.svg\)", page("docs/performance.md")))

    assert shown == set(performance.PLOTS)
    for name, source in performance.PLOTS.items():
        assert performance.drawn_from(source) in page(f"docs/performance/{name}.svg"), "run make bench ONLY=plots"


def test_the_judgements_of_the_performance_page_follow_from_what_was_measured() -> None:
    rows = [asdict(row) for row in budgets.rows(budgets.measured())]

    assert json.loads(page("docs/performance/budgets.json"))["rows"] == rows, "run python -m tests.bench.budgets"


def test_the_bill_follows_from_the_counted_operations_and_the_prices() -> None:
    kept, measured = (json.loads(page(f"docs/performance/{name}.json")) for name in ("cost", "operations"))

    assert kept["counted_at"] == measured["taken_on"], "run python -m tests.bench.cost"
    assert kept["bill"] == cost.bill(measured, kept["template"], cost.Prices.read())
    assert all(price["source"] and price["usd"] > 0 for price in cost.Prices.read().document["prices"].values())


def test_every_function_is_documented() -> None:
    assert first_column(section("docs/operations.md", "## Functions")) == {row.name for row in FUNCTIONS}


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_links_lead_somewhere(path: Path) -> None:
    for target in _LINK.findall(_CODE.sub("", path.read_text(encoding="utf-8"))):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        if path in reached or not path.is_file():
            continue
        reached.add(path)
        targets = [target.partition("#")[0] for target in _LINK.findall(_CODE.sub("", path.read_text(encoding="utf-8")))]
        found = [(path.parent / target).resolve() for target in targets if target and "://" not in target]
        ahead += [
            inner
            for one in found
            for inner in (sorted(one.glob("*.md")) if one.is_dir() else [one])
            if inner.suffix == ".md"
        ]

    assert set(PAGES) <= reached


@pytest.mark.parametrize(("name", "least"), [("docs/runbook.md", 40), ("docs/connections.md", 7)])
def test_the_program_takes_every_command_that_is_to_be_typed(name: str, least: int) -> None:
    shown = [line.strip() for code in _COMMAND.findall(page(name)) for line in code.splitlines()]
    lines = [line[line.index("flinkctl ") :] for line in shown if re.match(r"(\w+=\S+ )*flinkctl ", line)]

    assert len(lines) >= least
    for line in lines:
        parse(line.partition(" > ")[0])


@pytest.mark.parametrize("line", ["flinkctl redrive everything", "flinkctl pause --everything", "flinkctl repair etl"])
def test_a_command_that_the_program_does_not_take_is_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"No such|is not one of"):
        parse(line)


@pytest.mark.parametrize(("name", "least"), [("docs/runbook.md", 25), ("docs/connections.md", 1)])
def test_aws_has_every_operation_that_is_to_be_called(name: str, least: int) -> None:
    session = Session()
    found = _AWS.findall(page(name))

    assert len(found) >= least
    for service, command, rest in found:
        if (service, command) in _ABOVE_OPERATIONS:
            continue
        model = session.get_service_model("s3" if service == "s3api" else service)
        (name,) = [one for one in model.operation_names if xform_name(one, "-") == command]
        shape = model.operation_model(name).input_shape
        known = set() if shape is None else {xform_name(member, "-") for member in shape.members}
        known |= {f"no-{option}" for option in known} | {"query", "output"}
        assert set(re.findall(r" --([a-z-]+)", rest)) <= known, command


def test_what_the_readme_shows_as_commands_exists() -> None:
    text = page("README.md")
    shown = set(re.findall(r"flinkctl ((?:artifact |keys |cluster )?[a-z-]+)", "".join(_CODE.findall(text))))
    targets = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE))

    assert shown <= set(commands())
    assert targets <= set(re.findall(r"^([a-z-]+):", page("Makefile"), re.MULTILINE))
