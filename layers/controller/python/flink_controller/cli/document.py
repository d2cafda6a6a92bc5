"""Reading spec documents: YAML or JSON, one or several, strictly.

YAML guesses types; a spec must not be guessed. Numbers stay what they are written as, `on` and `12:30` stay text, a key
that stands twice is a fault and never silently the last one.
"""

import json
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeAlias

import typer
import yaml

from flink_controller.cli.fault import FailureError
from flink_controller.cli.output import PLAIN_TYPES, printable
from flink_controller.domain.names import shown

MAX_FILE_BYTES: Final = 4 * 2**20
"""Sixty-four specs of the largest size; a file beyond that is not a file of specs."""
FileOption: TypeAlias = Annotated[
    str,
    typer.Option("-f", "--file", metavar="FILE", help="Spec in YAML or JSON, several separated by `---`; - reads stdin."),
]


class _Loader(yaml.SafeLoader):
    """YAML with JSON's types only, and without aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it out
            self._refuse(event, "aliases (*name) are not supported: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  # PyYAML's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                self._refuse(key_node, "a key must be text: put it in quotes")
            if key_node.value in seen:
                self._refuse(key_node, f"{shown(key_node.value)} stands twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)

    def _refuse(self, at: Any, message: str) -> NoReturn:
        raise yaml.constructor.ConstructorError(problem=message, problem_mark=at.start_mark)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _starts in PLAIN_TYPES:
    _Loader.add_implicit_resolver(_tag, _pattern, _starts)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    # PyYAML reads 010 as eight and 1:30 as ninety; a spec says what it says.
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def read_documents(file: str) -> list[dict[str, Any]]:
    """Read the documents of a file, or of stdin.

    Raises:
        typer.BadParameter: the file cannot be read.
        FailureError: it holds no specs; the message says where it is wrong.
    """
    name = "stdin" if file == "-" else file
    documents = parse_documents(_content(file), name)
    jobs = [document.get("job_id") for document in documents]
    for job_id in jobs:
        if jobs.count(job_id) > 1:
            raise FailureError(f"{printable(name)}: job_id {shown(str(job_id))} stands in more than one document")
    return documents


def parse_documents(content: bytes, name: str) -> list[dict[str, Any]]:
    """Parse documents.

    Raises:
        FailureError: they are no specs.
    """
    name = printable(name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FailureError(f"{name}: is not UTF-8 text (byte {error.start}); is this the spec?") from None
    found = _json(text, name) if text.lstrip().startswith("{") else None
    documents = [found] if found is not None else _yaml(text, name)
    for document in documents:
        if not isinstance(document, Mapping):
            raise FailureError(f"{name}: a spec is a map of fields, not {_kind(document)}; see docs/job-spec.md")
    if not documents:
        raise FailureError(f"{name}: holds no spec")
    return [dict(document) for document in documents]


def _content(file: str) -> bytes:
    try:
        content = typer.get_binary_stream("stdin").read(MAX_FILE_BYTES + 1) if file == "-" else _read(Path(file))
    except OSError as error:
        raise typer.BadParameter(f"{printable(file)}: {error.strerror or error}", param_hint="'-f'") from None
    if len(content) > MAX_FILE_BYTES:
        raise FailureError(f"{printable(file)}: is larger than {MAX_FILE_BYTES} bytes; is this a spec?")
    return content


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_FILE_BYTES + 1)


def _yaml(text: str, name: str) -> list[Any]:
    try:
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise FailureError(f"{name}: {where}{printable(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FailureError(f"{name}: {_first_line(error)}") from None


def _json(text: str, name: str) -> Any:
    """Parse JSON; None for what is no JSON at all, which YAML in braces is not."""
    try:
        return json.loads(text, object_pairs_hook=_unique(name), parse_constant=_no_constant(name))
    except RecursionError as error:
        raise FailureError(f"{name}: {_first_line(error)}") from None
    except ValueError:
        return None


def _unique(name: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise FailureError(f"{name}: {shown(key)} stands twice")
            found[key] = value
        return found

    return collect


def _no_constant(name: str) -> Callable[[str], NoReturn]:
    def refuse(text: str) -> NoReturn:
        raise FailureError(f"{name}: {text} is no number")

    return refuse


def _kind(document: object) -> str:
    return {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}.get(
        type(document), "this"
    )


def _first_line(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return printable((str(error).splitlines() or [type(error).__name__])[0])
