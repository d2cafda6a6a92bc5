"""Signed address: say whether the controller can work, and its figures for scrapers."""

import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from flink_controller import __version__
from flink_controller.bootstrap import Controller, controller
from flink_controller.domain.errors import ControllerError
from flink_controller.services.admit_scraper import may_scrape
from flink_controller.services.check_health import OK, Verdict, answers, check_health, check_stores, read_fleet
from flink_controller.settings import SCRAPE_ALIAS
from flink_controller.telemetry import PROMETHEUS_TYPE, make_logger, make_metrics, observed, prometheus_text

Answer = dict[str, Any]


@observed(make_metrics(), lambda: controller().settings)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> Answer:
    """Answer GET on one of the four paths; 503 when a store of the controller's own does not answer."""
    path, method = _asked(event)
    refusal = _refusal(controller(), event, path) if _is_unsigned(context) else None
    if refusal is not None:
        return refusal
    ask = _PATHS.get(path)
    if ask is None:
        return _json(404, {"error": f"ask for one of {', '.join(_PATHS)}"})
    if method != "GET":
        return _json(405, {"error": "these addresses are read only: GET"}, allow="GET")
    return ask(controller())


def _live(_wired: Controller) -> Answer:
    return _json(200, {"status": OK})


def _startup(wired: Controller) -> Answer:
    found = check_stores(wired.ports)
    body = {"status": found.verdict.value, "version": __version__, "stores": dict(found.stores)}
    return _told(wired, found.verdict, body)


def _ready(wired: Controller) -> Answer:
    found = check_health(wired.ports)
    clusters = {name: OK if answers(circuit) else "unreachable" for name, circuit in found.clusters.items()}
    return _told(wired, found.verdict, {"status": found.verdict.value, "stores": dict(found.stores), "clusters": clusters})


def _metrics(wired: Controller) -> Answer:
    try:
        fleet = read_fleet(wired.ports)
    except ControllerError as error:
        return _told(wired, Verdict.UNAVAILABLE, {"error": str(error)})
    return {
        "statusCode": 200,
        "headers": {"content-type": PROMETHEUS_TYPE},
        "body": prometheus_text(fleet.census, fleet.clusters, fleet.follow_ups),
    }


_METRICS = "/metrics"
_PATHS: dict[str, Callable[[Controller], Answer]] = {
    "/health/live": _live,
    "/health/ready": _ready,
    "/health/startup": _startup,
    _METRICS: _metrics,
}


def _is_unsigned(context: LambdaContext) -> bool:
    """Whether the request came by the address for scrapers, where AWS lets everybody through to this function."""
    return context.invoked_function_arn.split(":")[7:] == [SCRAPE_ALIAS]


def _refusal(wired: Controller, event: object, path: str) -> Answer | None:
    """Say why a request that is not signed is turned away; None when it carries the token and asks for the metrics."""
    if path != _METRICS:
        return _json(404, {"error": f"ask for {_METRICS}"})
    headers = event.get("headers") if isinstance(event, dict) else None
    given = headers.get("authorization") if isinstance(headers, dict) else None
    try:
        if may_scrape(wired.secrets, wired.settings.scrape_secret, given if isinstance(given, str) else None):
            return None
    except ControllerError as error:
        make_logger(wired.settings).warning("no token to compare with", extra={"reason": str(error)})
        return _json(503, {"error": "the token cannot be read"})
    return _json(401, {"error": "a bearer token is needed"}, **{"www-authenticate": "Bearer"})


def _told(wired: Controller, verdict: Verdict, body: Answer) -> Answer:
    if verdict is Verdict.OK:
        return _json(200, body)
    make_logger(wired.settings).warning("not well", extra={"found": body})
    return _json(503 if verdict is Verdict.UNAVAILABLE else 200, body)


def _asked(event: object) -> tuple[str, str]:
    """Give path and method; what is malformed is a GET of nothing."""
    match event:
        case {"rawPath": str(path), "requestContext": {"http": {"method": str(method)}}}:
            return path, method
        case _:
            return "", "GET"


def _json(status: int, body: Answer, **headers: str) -> Answer:
    return {"statusCode": status, "headers": {"content-type": "application/json", **headers}, "body": json.dumps(body)}
