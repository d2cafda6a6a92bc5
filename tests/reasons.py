"""Which reasons the code can give, read from its source: what an event, a wait, a condition or a verdict is called."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import flink_controller

PACKAGE: Final = Path(flink_controller.__file__).parent
_EVENT: Final = {"event": 0, "_tell": 2, "_resolve": 2}
_STATUS: Final = {
    "wait": 0,
    "_set": 3,
    "halt": 1,
    "refuse": 1,
    "StagingRefused": 0,
    "Distrust": 0,
    "Judgement": 1,
    "_FaultError": 0,
    "Inspection": 0,
    "judged": 1,
}
"""Functions and the position of the argument that is a reason."""
_FIELDS: Final = {"halt_reason"}
"""Fields of the status that hold one."""


def event_reasons() -> set[str]:
    """Name every reason that an event can have."""
    return {reason for function in _functions() for reason in _given(function, _EVENT, set())}


def status_reasons() -> set[str]:
    """Name every reason that a status can show, as a condition's or as what a job waits for."""
    return {reason for function in _functions() for reason in _given(function, _STATUS, _FIELDS)}


def refusal_reasons() -> set[str]:
    """Name every reason for which admission or staging refuses an artifact."""
    found = set()
    for function in _functions():
        for call in ast.walk(function):
            match call:
                case ast.Call(
                    func=ast.Name(id="Judgement"), args=[ast.Attribute(attr="REFUSED"), ast.Constant(value=str(reason)), *_]
                ):
                    found.add(reason)
                case ast.Call(
                    func=ast.Name(id="StagingRefused" | "_FaultError" | "Inspection" | "Distrust"),
                    args=[ast.Constant(value=str(reason)), *_],
                ):
                    found.add(reason)
                case _:
                    pass
    return found


def _functions() -> Iterator[ast.FunctionDef]:
    for folder in ("domain", "services"):
        for path in sorted((PACKAGE / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    yield node


def _given(function: ast.FunctionDef, positions: dict[str, int], fields: set[str]) -> Iterator[str]:
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        at = positions.get(name)
        if at is not None and len(call.args) > at:
            yield from _texts(call.args[at], function)
        for keyword in call.keywords:
            if keyword.arg in fields:
                yield from _texts(keyword.value, function)


def _texts(node: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    """Give the texts that an expression can be; of a local name, those assigned to it."""
    match node:
        case ast.Constant(value=str(text)):
            if text:
                yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body, function)
            yield from _texts(orelse, function)
        case ast.Name(id=name):
            for assignment in ast.walk(function):
                if isinstance(assignment, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == name for target in assignment.targets
                ):
                    yield from _texts(assignment.value, function)
        case _:
            return
