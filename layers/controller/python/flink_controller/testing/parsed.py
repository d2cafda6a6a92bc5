"""Parsing what a twin has stored, once per text: stories repeat themselves, and a value that is frozen can be shared."""

from functools import lru_cache
from typing import TypeVar

from flink_controller.domain.artifact import Value

_V = TypeVar("_V", bound=Value)


def parsed(model: type[_V], document: str) -> _V:
    """Give the value that a document holds."""
    found = _parsed(model, document)
    assert isinstance(found, model)
    return found


@lru_cache(maxsize=20_000)
def _parsed(model: type[Value], document: str) -> Value:
    return model.model_validate_json(document, extra="ignore")
