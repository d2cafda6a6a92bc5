"""JSON that means one thing: what two parsers could read in two ways is refused."""

import json
from typing import Any, NoReturn


def strict_json(content: bytes) -> Any:
    """Read one JSON value.

    Raises:
        ValueError: it is not UTF-8 or no JSON, has a key twice, a constant that JSON does not know, anything after its end,
            or is nested too deeply; the message continues a sentence.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"has the key {ascii(name)[:80]} twice")
        found[name] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"holds {name}, which is no JSON")
