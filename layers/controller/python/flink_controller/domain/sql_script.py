"""SQL scripts: where their statements begin, and which of them a job may run.

A script is read here as far as is needed to tell its statements apart and to name each by its first words. Whether a
statement is good SQL is Flink's to say, with its own parser; what only the runner could notice, it refuses as well.
Nothing here may let code in that no signature covers, or leave a statement without effect: both are refused.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from typing import Final

from flink_controller.domain.names import shown

MAX_SCRIPT_BYTES: Final = 256 * 1024
"""Thousands of lines; a script is read whole, here and on the cluster."""
MAX_SCRIPT_FAULTS: Final = 10
OBJECTS: Final = ("TABLE", "VIEW", "FUNCTION", "DATABASE", "CATALOG", "MODEL")
"""What CREATE, ALTER and DROP may be about."""
ALLOWED: Final = (
    "INSERT INTO",
    "INSERT OVERWRITE",
    "SET",
    *(f"{verb} {thing}" for verb in ("CREATE", "ALTER", "DROP") for thing in OBJECTS),
    "USE",
    "LOAD MODULE",
    "UNLOAD MODULE",
    "EXECUTE STATEMENT SET BEGIN",
    "BEGIN STATEMENT SET",
    "END",
)
"""First words of what a script may hold; `TEMPORARY`, `SYSTEM` and `IF …` come between as Flink allows them."""
_ROWS = "gives rows, which nobody would see: write INSERT INTO a table"
_SHOWS = "shows something to a person at a prompt, and a job has none: leave it out"
_UNSIGNED = "loads code that no signature covers: put the jar on the cluster, or into the artifact"
_FILES = "reads or writes files of the JobManager: leave the statement in the script itself"
_OWN_JOB = "would run as a job of its own: one script is one job"
DENIED: Final = {
    **dict.fromkeys(("SELECT", "WITH", "VALUES", "TABLE"), _ROWS),
    **dict.fromkeys(("SHOW", "DESCRIBE", "DESC", "EXPLAIN", "HELP", "CLEAR", "QUIT", "EXIT"), _SHOWS),
    **dict.fromkeys(("ADD JAR", "REMOVE JAR", "CREATE FUNCTION … USING"), _UNSIGNED),
    "CREATE FUNCTION … LANGUAGE PYTHON": "needs Python on the cluster: write the job as a pyflink artifact",
    **dict.fromkeys(("COMPILE", "EXECUTE PLAN"), _FILES),
    **dict.fromkeys(("UPDATE", "DELETE", "TRUNCATE", "CALL", "ANALYZE", "STOP", "CREATE TABLE … AS", "REPLACE"), _OWN_JOB),
    "RESET": "takes back what a SET of the same script said: leave out both",
}
"""Statements that are refused, with the reason; whatever is in neither list is refused as unknown."""
_STATE = "decides where state lies or what is started from, which is the controller's"
_CLUSTER = "is the cluster's, and a job cannot change it: ask an operator"
DENIED_SETTINGS: Final = {
    "$internal.": "is internal to Flink",
    "pipeline.name": "is the job_id",
    "pipeline.global-job-parameters": "is env_vars of the spec",
    "pipeline.fixed-job-id": "is the controller's",
    **dict.fromkeys(("pipeline.jars", "pipeline.classpaths", "pipeline.cached-files"), "loads what no signature covers"),
    "parallelism.default": "is deployment.parallelism of the spec",
    "execution.runtime-mode": "is job_type of the spec",
    **dict.fromkeys(("execution.target", "execution.attached", "execution.shutdown-on"), "is how the controller submits"),
    **dict.fromkeys(
        (
            "execution.savepoint",
            "execution.state-recovery",
            "execution.checkpointing.dir",
            "execution.checkpointing.savepoint-dir",
            "execution.checkpointing.storage",
            "execution.checkpointing.externalized-checkpoint-retention",
            "state.checkpoints.dir",
            "state.savepoints.dir",
            "state.checkpoint-storage",
        ),
        _STATE,
    ),
    "python.": "is set where the cluster is registered",
    **dict.fromkeys(("sql-client.", "table.dml-sync", "table.resources.download-dir"), "is a client's, and there is none"),
    **dict.fromkeys(
        (
            "akka.",
            "blob.",
            "classloader.",
            "cluster.",
            "env.",
            "fs.",
            "heartbeat.",
            "high-availability",
            "io.tmp.dirs",
            "job-result-store.",
            "jobmanager.",
            "kubernetes.",
            "metrics.",
            "pekko.",
            "plugin.",
            "rest.",
            "s3.",
            "security.",
            "taskmanager.",
            "web.",
            "yarn.",
            "zookeeper.",
        ),
        _CLUSTER,
    ),
}
"""Beginnings of keys that SET may not name, with the reason. Every other key is Flink's to judge, and wins over the spec."""
_TOKEN: Final = re.compile(
    r"""
    (?P<blank>[\s\ufeff]+ | --[^\r\n]* | //[^\r\n]* | /\*(?!\+).*?\*/)
  | (?P<text>'(?:[^']|'')*')
  | (?P<name>`(?:[^`]|``)*` | "(?:[^"]|"")*")
  | (?P<word>[^\W\d][\w$]*)
  | (?P<unclosed>['`"] | /\*(?!\+))
  | (?P<end>;)
  | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SETTING: Final = re.compile(r"SET\s+'([^']+)'\s*=\s*'((?:[^']|'')*)'", re.IGNORECASE | re.DOTALL)
_KEY: Final = re.compile(r"[A-Za-z$][A-Za-z0-9$._-]*")
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}?")
VARIABLE_NAME: Final = r"[A-Za-z_][A-Za-z0-9_.-]*"
"""What stands between `${` and `}`, in a literal of a script."""
_NEWLINE: Final = re.compile(r"\r\n|\r|\n")
_MODIFIERS: Final = {"OR", "REPLACE", "TEMPORARY", "SYSTEM"}
_OPENINGS: Final = (("EXECUTE", "STATEMENT", "SET", "BEGIN"), ("BEGIN", "STATEMENT", "SET"))


class _Kind(StrEnum):
    TEXT = "text"
    NAME = "name"
    WORD = "word"
    UNCLOSED = "unclosed"
    SIGN = "sign"


@dataclass(frozen=True)
class _Token:
    kind: _Kind
    text: str
    start: int
    depth: int
    """How many parentheses are open around it."""

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind is _Kind.WORD else ""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True)
class Statement:
    """One statement, without the semicolon and the comments around it."""

    start: int
    """Characters before it."""
    end: int
    text: str
    tokens: tuple[_Token, ...]

    @property
    def opens_a_set(self) -> bool:
        """Whether it only begins a group of INSERTs."""
        return _words(self.tokens, 4) in _OPENINGS

    @property
    def closes_a_set(self) -> bool:
        """Whether it only ends a group of INSERTs."""
        return _words(self.tokens, 2) == ("END",)

    @property
    def is_insert(self) -> bool:
        """Whether it writes into a table."""
        return _words(self.tokens, 1) == ("INSERT",)


def script_faults(text: str) -> tuple[str, ...]:
    """Name what keeps a script from running as one job, each with line and column; nothing when it may be tried."""
    faults = list(islice(_faults(text), MAX_SCRIPT_FAULTS + 1))
    if len(faults) > MAX_SCRIPT_FAULTS:
        faults[MAX_SCRIPT_FAULTS:] = ["and more"]
    return tuple(faults)


def variables(text: str) -> frozenset[str]:
    """Name the variables that a script's literals use."""
    return frozenset(name for statement in statements(text) for token in statement.tokens for name in _variables_of(token))


def byte_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Give first byte and end of each statement that is to be run, in UTF-8; marks of statement sets left out."""
    found, characters, at = [], 0, 0
    for statement in statements(text):
        if statement.opens_a_set or statement.closes_a_set:
            continue
        at += len(text[characters : statement.start].encode())
        end = at + len(statement.text.encode())
        found.append((at, end))
        characters, at = statement.end, end
    return tuple(found)


def statements(text: str) -> Iterator[Statement]:
    """Take a script apart."""
    tokens: list[_Token] = []
    for token in _tokens(text):
        if token is not None:
            tokens.append(token)
        if tokens and (token is None or _words(tokens, 5) == _OPENINGS[0]):
            yield _statement(text, tokens)
            tokens = []
    if tokens:
        yield _statement(text, tokens)


def _statement(text: str, tokens: Sequence[_Token]) -> Statement:
    start, end = tokens[0].start, tokens[-1].end
    return Statement(start, end, text[start:end], tuple(tokens))


def _tokens(text: str) -> Iterator[_Token | None]:
    """Give what a statement is made of, and None for each semicolon between two."""
    depth = 0
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "end":
            depth = 0
            yield None
        elif match.lastgroup != "blank":
            depth -= match.group() == ")"
            yield _Token(_Kind(match.lastgroup or ""), match.group(), match.start(), depth)
            depth += match.group() == "("
            if match.lastgroup == _Kind.UNCLOSED:
                # What follows may be text or statements: nobody can tell.
                return


def _words(tokens: Sequence[_Token], count: int) -> tuple[str, ...]:
    """Give the first words of a statement, up to what is no word."""
    found: list[str] = []
    for token in tokens[:count]:
        if not token.word:
            break
        found.append(token.word)
    return tuple(found)


def _faults(text: str) -> Iterator[str]:
    is_open, inserts = False, 0
    for statement in statements(text):
        last = statement.tokens[-1]
        if last.kind is _Kind.UNCLOSED:
            yield f"{_place(text, last.start)}: {shown(last.text)} is not closed"
            return
        for at, fault in _statement_faults(statement):
            yield f"{_place(text, at)}: {fault}"
        inserts += statement.is_insert
        if statement.opens_a_set:
            if is_open:
                yield f"{_place(text, statement.start)}: a statement set is open already: write END; before"
            is_open = True
        elif statement.closes_a_set:
            if not is_open:
                yield f"{_place(text, statement.start)}: END closes no statement set"
            is_open = False
        elif is_open and not statement.is_insert:
            yield f"{_place(text, statement.start)}: only INSERT may stand in a statement set"
    if is_open:
        yield f"{_place(text, len(text))}: the statement set is not closed: write END;"
    if not inserts:
        yield "has no INSERT, so there is nothing to run"


def _statement_faults(statement: Statement) -> Iterator[tuple[int, str]]:
    tokens = statement.tokens
    for token, following in zip(tokens, (*tokens[1:], None), strict=True):
        if token.text == "$" and following is not None and following.text == "{":
            yield token.start, "a variable may stand in a literal only: write '${name}'"
        for name in _variables_of(token):
            if not re.fullmatch(VARIABLE_NAME, name):
                yield token.start, f"{shown(name)} is no name of a variable: write '${{name}}'"
    if statement.opens_a_set or statement.closes_a_set:
        return
    denied = _denied(tokens)
    if denied is not None:
        yield statement.start, f"{denied} {DENIED[denied]}"
    elif not _is_allowed(tokens):
        first = " ".join(token.text for token in tokens[:2])
        yield statement.start, f"{shown(first, 40)} begins no statement that a job can run"
    elif tokens[0].word == "SET":
        fault = _setting_fault(statement.text)
        if fault is not None:
            yield statement.start, fault


def _denied(tokens: Sequence[_Token]) -> str | None:
    """Find the entry of `DENIED` that a statement falls under."""
    words = _words(tokens, 2)
    verb, thing = _kind_of(tokens)
    outer = [token.word for token in tokens if token.depth == 0]
    if verb == "CREATE" and thing == "FUNCTION":
        if "USING" in outer:
            return "CREATE FUNCTION … USING"
        if ("LANGUAGE", "PYTHON") in pairwise(outer):
            return "CREATE FUNCTION … LANGUAGE PYTHON"
    if verb == "CREATE" and thing == "TABLE" and "AS" in outer:
        return "CREATE TABLE … AS"
    return next((key for key in (" ".join(words), words[0] if words else "") if key in DENIED), None)


def _is_allowed(tokens: Sequence[_Token]) -> bool:
    verb, thing = _kind_of(tokens)
    return verb in ALLOWED or f"{verb} {thing}" in ALLOWED


def _kind_of(tokens: Sequence[_Token]) -> tuple[str, str]:
    words = _words(tokens, 6)
    rest = [word for word in words[1:] if word not in _MODIFIERS]
    return (words[0] if words else ""), (rest[0] if rest else "")


def _setting_fault(text: str) -> str | None:
    match = _SETTING.fullmatch(text)
    if match is None or not _KEY.fullmatch(match.group(1)):
        return "a setting is written SET 'key' = 'value';"
    key = match.group(1)
    reason = next((why for start, why in DENIED_SETTINGS.items() if key.startswith(start)), None)
    return None if reason is None else f"SET '{key}' is refused: it {reason}"


def _variables_of(token: _Token) -> list[str]:
    return _VARIABLE.findall(token.text) if token.kind is _Kind.TEXT else []


def _place(text: str, at: int) -> str:
    breaks = list(_NEWLINE.finditer(text, 0, at))
    column = at - (breaks[-1].end() if breaks else 0) + 1
    return f"line {len(breaks) + 1}, column {column}"
