"""The health addresses over HTTP, held to their description."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, settings

from flink_controller.bootstrap import controller
from flink_controller.settings import SCRAPE_ALIAS
from flink_controller.testing.memory_secrets import MemorySecrets
from functions.health import handler
from tests.integration.flink_server import FlinkServer
from tests.integration.installation import (
    STATE_TABLE,
    Installation,
    deliver,
    invoke,
    sample,
    spec_item,
)

DESCRIPTION: Final = Path(__file__).resolve().parents[2] / "docs/health.openapi.yaml"
SCHEMA: Final = schemathesis.openapi.from_path(DESCRIPTION)
PATHS: Final = ["/health/live", "/health/ready", "/health/startup", "/metrics"]
BOUNDED = settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Address(http.server.BaseHTTPRequestHandler):
    """Hands requests to the handler as a function URL does."""

    def _serve(self) -> None:
        event = sample("health/live.json")
        event["rawPath"], _, event["rawQueryString"] = self.path.partition("?")
        event["requestContext"]["http"] |= {"method": self.command, "path": event["rawPath"]}
        event["headers"] = {name.lower(): value for name, value in self.headers.items()}
        self.rfile.read(int(self.headers.get("content-length") or 0))
        answer = invoke("health", event)
        body = answer["body"].encode()
        self.send_response(answer["statusCode"])
        for name, value in answer["headers"].items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_TRACE = do_QUERY = _serve  # noqa: N815  # http.server's names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's name
        """Say nothing."""


@pytest.fixture
def url(installed: Installation) -> Iterator[str]:  # noqa: ARG001  # the handler's world
    server = http.server.HTTPServer(("127.0.0.1", 0), Address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(path: str, method: str = "GET") -> Any:
    event = sample("health/live.json")
    event["rawPath"] = path
    event["requestContext"]["http"] |= {"path": path, "method": method}
    return invoke("health", event)


def figures(text: str) -> dict[str, float]:
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


@SCHEMA.parametrize()
@BOUNDED
def test_every_answer_is_as_described(case: Any, url: str) -> None:
    case.call_and_validate(base_url=url)


@SCHEMA.parametrize()
@BOUNDED
def test_every_answer_is_as_described_without_the_tables(case: Any, url: str, installed: Installation) -> None:
    if STATE_TABLE in installed.dynamodb.list_tables()["TableNames"]:
        installed.dynamodb.delete_table(TableName=STATE_TABLE)

    case.call_and_validate(base_url=url, excluded_checks=[schemathesis.checks.not_a_server_error])


@pytest.mark.usefixtures("installed")
def test_the_description_names_every_address() -> None:
    described = yaml.safe_load(DESCRIPTION.read_text(encoding="utf-8"))["paths"]

    assert sorted(described) == PATHS
    assert json.loads(ask("/nowhere")["body"]) == {"error": f"ask for one of {', '.join(PATHS)}"}


def test_only_reading_is_allowed(url: str) -> None:
    answer = requests.post(f"{url}/health/ready", timeout=10)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.usefixtures("installed")
def test_startup_names_the_version_and_what_answered() -> None:
    body = json.loads(ask("/health/startup")["body"])

    assert body["status"] == "ok"
    assert body["stores"] == {"job_specs": "ok", "controller_state": "ok", "follow_ups": "ok"}


def test_a_store_that_is_away_is_named_and_the_others_are_told_too(installed: Installation) -> None:
    installed.sqs.delete_queue(QueueUrl=installed.queue_url)

    for path in ("/health/startup", "/health/ready"):
        answer = ask(path)

        stores = json.loads(answer["body"])["stores"]
        assert answer["statusCode"] == 503
        assert (stores["job_specs"], stores["controller_state"]) == ("ok", "ok")
        assert "count the follow-ups" in stores["follow_ups"]


def test_a_cluster_that_is_away_degrades_and_is_no_fault_of_the_controller(installed: Installation) -> None:
    installed.add_cluster("http://127.0.0.1:9")
    installed.put_spec(spec_item())
    deliver("reconcile_job/insert.json")
    deliver("reconcile_fleet/tick.json")

    answer = ask("/health/ready")

    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["status"], body["clusters"]) == (200, "degraded", {"default": "unreachable"})
    assert figures(ask("/metrics")["body"])['flink_cluster_health_status{cluster="default"}'] == 0


def test_scrapers_read_the_fleet_from_the_state_table(installed: Installation, flink: FlinkServer) -> None:
    installed.upload_signed()
    deliver("admit_artifact/signed.json")
    installed.put_spec(spec_item())
    deliver("reconcile_job/insert.json")
    installed.put_spec(spec_item("team-a/orders"))
    invoke("reconcile_job", {"Records": [{"messageId": "1", "body": '{"job_id": "team-a/orders"}'}]})
    requests_before = len(flink.requests)

    answer = ask("/metrics")

    found = figures(answer["body"])
    assert answer["headers"]["content-type"].startswith("text/plain; version=0.0.4")
    assert found['flink_active_jobs{job_type="stream"}'] == 1
    assert found['flink_active_jobs{job_type="batch"}'] == 0
    assert found['flink_jobs{job_type="stream",lifecycle="WAITING"}'] == 1
    assert found['flink_jobs_waiting{reason="ArtifactMissing"}'] == 1
    assert found['flink_job_ready{job_id="team-a/orders"}'] == 0
    assert found['flink_cluster_health_status{cluster="default"}'] == 1
    assert found["flink_controller_circuits_open"] == 0
    assert found["flink_controller_follow_ups"] >= 1
    assert len(flink.requests) == requests_before


# Scrapers that cannot sign


TOKEN = "a-token-that-nobody-guesses-1234"  # noqa: S105  # of a test


@pytest.fixture
def scraped(monkeypatch: pytest.MonkeyPatch, installed: Installation) -> MemorySecrets:  # noqa: ARG001  # the handler's world
    """Give the secrets, with the token in force, and an installation that names it."""
    monkeypatch.setenv("FLINKCTL_SCRAPE_SECRET", "prometheus/token")
    secrets = MemorySecrets({"prometheus/token": f"{TOKEN}\n"})
    monkeypatch.setattr(handler, "controller", lambda: replace(controller(), secrets=secrets))
    return secrets


def scrape(authorization: Any, path: str = "/metrics") -> Any:
    event = sample("health/live.json")
    event["rawPath"] = path
    event["requestContext"]["http"] |= {"path": path}
    event["headers"] |= {} if authorization is None else {"authorization": authorization}
    return invoke("health", event, alias=SCRAPE_ALIAS)


@pytest.mark.usefixtures("scraped")
def test_a_scraper_with_the_token_reads_the_metrics_and_nothing_else() -> None:
    assert "flink_active_jobs" in scrape(f"Bearer {TOKEN}")["body"]
    for path in ("/health/ready", "/health/live", "/"):
        assert scrape(f"Bearer {TOKEN}", path)["statusCode"] == 404


@pytest.mark.usefixtures("scraped")
@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", f"Bearer {TOKEN}x", TOKEN, f"bearer {TOKEN}", "Bearer \ud800", 7, [TOKEN]]
)
def test_a_scraper_without_the_token_is_turned_away(given: Any) -> None:
    answer = scrape(given)

    assert (answer["statusCode"], answer["headers"]["www-authenticate"]) == (401, "Bearer")
    assert TOKEN not in json.dumps(answer)


def test_a_token_that_was_replaced_is_good_at_once(scraped: MemorySecrets) -> None:
    scrape(f"Bearer {TOKEN}")
    scraped.replace("prometheus/token", "another-token-that-nobody-guesses")

    assert scrape("Bearer another-token-that-nobody-guesses")["statusCode"] == 200
    assert scrape(f"Bearer {TOKEN}")["statusCode"] == 401


def test_a_token_that_anybody_guesses_is_none(scraped: MemorySecrets) -> None:
    scraped.replace("prometheus/token", "prometheus")

    assert scrape("Bearer prometheus")["statusCode"] == 503


@pytest.mark.usefixtures("installed")
def test_without_a_secret_nobody_comes_in_unsigned() -> None:
    assert scrape("Bearer ")["statusCode"] == 401
