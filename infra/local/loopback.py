"""Small HTTP reads on loopback, deaf to proxies and certificates that the host's environment may name."""

import http.client
import json
from typing import Any


def get_json(port: int, path: str, *, timeout_seconds: float = 5.0) -> Any:
    """Return the parsed answer, or nothing if the server does not answer with 200 yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
