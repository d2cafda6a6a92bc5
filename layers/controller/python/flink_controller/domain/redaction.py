"""What must not be written where people read: secrets, taken out of texts and documents by what they look like.

A second line of defence: no code writes a secret into a message on purpose. What Flink, a driver or a program says may hold
one all the same.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

REDACTED: Final = "[redacted]"
TEXT_LIMIT: Final = 2_000
"""Characters of one text in a line of the log."""
TRACE_LIMIT: Final = 6_000
"""Characters of a stack trace; its end, where the fault is, is kept."""
ITEMS_LIMIT: Final = 50
"""Entries of one list or map in a line of the log."""
DEPTH_LIMIT: Final = 5
_LOOKED_AT: Final = 4 * TRACE_LIMIT
"""What is cut away anyway need not be looked at, and no text takes long."""

_NAME: Final = r"pass(?:word|wd|phrase)|api[-_.]?key|(?:secret|access|private|account)[-_.]?key|authorization|credentials?"
_DOUBTFUL_NAME: Final = r"secret|token|pwd"
"""Words that also stand in harmless sentences ("unexpected token: FROM"): only an assignment counts."""
_VALUE: Final = r"""(?!\[redacted\])(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;&"'}\])]+)"""
_SCHEME: Final = r"(?:(?:bearer|basic|negotiate|digest)\s+)?"
_RULES: Final = (
    # A private key, whole or cut off.
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), REDACTED),
    # https://user:password@host
    (re.compile(r"(?<=://)[^\s/@:]{0,200}:[^\s/@]{1,200}(?=@)"), REDACTED),
    # password=…, "db.password": "…", Authorization: Bearer …
    (
        re.compile(rf"(?i)((?:{_NAME})[\w.-]{{0,40}}[\"']?\s{{0,5}}[=:]\s{{0,5}})({_SCHEME}{_VALUE})"),
        rf"\1{REDACTED}",
    ),
    (
        re.compile(rf"(?i)((?:{_DOUBTFUL_NAME})[\w.-]{{0,40}}(?:\s{{0,5}}=|[\"']\s{{0,5}}:)\s{{0,5}})({_VALUE})"),
        rf"\1{REDACTED}",
    ),
    # --db-password …, "--token", "…"
    (
        re.compile(
            rf"(?i)(--?[\w.-]{{0,40}}(?:{_NAME}|{_DOUBTFUL_NAME})[\w.-]{{0,40}}[\"']?(?:\s{{1,5}}|,\s{{0,5}}))({_VALUE})"
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer|basic|negotiate)\s+[\w.~+/-]{8,}=*"), rf"\1 {REDACTED}"),
    # Names of AWS access keys, signed addresses, JSON web tokens.
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), REDACTED),
    (re.compile(r"(?i)(x-amz-(?:signature|security-token|credential)=)[^\s&\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), REDACTED),
)
_HIDDEN_FIELDS: Final = re.compile(
    rf"(?i)^(?:.*[-_.])?(?:{_NAME}|{_DOUBTFUL_NAME}|args|arguments|env_vars|headers|cookies?)$"
)


def redacted(text: str) -> str:
    """Take out of a text what looks like a secret."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def fit_to_log(document: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a line of the log may hold of a document: secrets and arguments taken out, everything bounded."""
    return {
        str(key)[:TEXT_LIMIT]: _trace(value) if key == "exception" and isinstance(value, str) else _fit(str(key), value, 0)
        for key, value in document.items()
    }


def _fit(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if _HIDDEN_FIELDS.match(name[:TEXT_LIMIT]):
        return REDACTED
    match value:
        case int():
            # A number beyond this is a text to most readers of JSON.
            return value if abs(value) < 1 << 63 else str(value)[:TEXT_LIMIT]
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return _text(value)
        case Mapping() | list() | tuple() | set() | frozenset() if depth >= DEPTH_LIMIT:
            return "…"
        case Mapping():
            kept = list(value.items())[:ITEMS_LIMIT]
            return {_text(str(key)): _fit(str(key), inner, depth + 1) for key, inner in kept}
        case list() | tuple() | set() | frozenset():
            return [_fit("", inner, depth + 1) for inner in list(value)[:ITEMS_LIMIT]]
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    clean = redacted(text[:_LOOKED_AT])
    return clean if len(clean) <= TEXT_LIMIT else f"{clean[: TEXT_LIMIT - 1]}…"


def _trace(text: str) -> str:
    clean = redacted(text[-_LOOKED_AT:])
    return clean if len(clean) <= TRACE_LIMIT else f"…{clean[1 - TRACE_LIMIT :]}"
