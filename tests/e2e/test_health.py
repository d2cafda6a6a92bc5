"""The health addresses of the deployed stack, held to their description by signed requests."""

from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, settings

from tests.e2e.conftest import Team
from tests.integration.test_health import DESCRIPTION, figures

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.aws]
SCHEMA: Final = schemathesis.openapi.from_path(DESCRIPTION)


class Signed(requests.auth.AuthBase):
    """Signs a request as callers of a function URL do; the emulator finds the function by the host's name."""

    def __init__(self, team: Team) -> None:
        self._host = urlsplit(team.environ["FLINKCTL_HEALTH_URL"]).netloc
        self._region = team.environ["AWS_DEFAULT_REGION"]
        self._credentials = Credentials(team.environ["AWS_ACCESS_KEY_ID"], team.environ["AWS_SECRET_ACCESS_KEY"])

    def __call__(self, request: Any) -> Any:
        """Add the signature."""
        target = urlsplit(request.url)
        url = f"https://{self._host}{target.path}{'?' if target.query else ''}{target.query}"
        signed = AWSRequest(request.method, url, headers={"host": self._host}, data=request.body)
        SigV4Auth(self._credentials, "lambda", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request


@SCHEMA.parametrize()
@settings(
    max_examples=5,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_deployed_addresses_answer_as_described(case: Any, team: Team) -> None:
    # What is no request of HTTP any more is refused by whoever is in front of the function.
    case.call_and_validate(
        base_url=team.endpoint, auth=Signed(team), excluded_checks=[schemathesis.checks.not_a_server_error]
    )


def test_the_deployed_controller_is_ready_and_tells_its_figures(team: Team) -> None:
    for path in ("/health/live", "/health/startup", "/health/ready"):
        answer = team.http.get(team.endpoint + path, auth=Signed(team), timeout=30)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    scraped = team.http.get(f"{team.endpoint}/metrics", auth=Signed(team), timeout=30)

    assert figures(scraped.text)['flink_cluster_health_status{cluster="default"}'] == 1


def test_the_deployed_addresses_answer_nobody_who_does_not_sign(team: Team) -> None:
    host = urlsplit(team.environ["FLINKCTL_HEALTH_URL"]).netloc

    answer = team.http.get(f"{team.endpoint}/metrics", headers={"host": host}, timeout=30)

    assert answer.status_code == 403
