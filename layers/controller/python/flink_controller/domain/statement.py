"""What a signer states of an artifact beside its digest: for whom, under which name, as which release, and until when.

An in-toto statement whose predicate is this package's own. A bare digest can be put under another name, into another
installation, or uploaded again years later; a statement cannot.
"""

from datetime import datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, ValidationError

from flink_controller.domain.artifact import Sha256, Value
from flink_controller.domain.names import shown
from flink_controller.domain.strict_json import strict_json

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
OLDER_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v0.1"
"""Still written by cosign; differs in nothing that is read here."""
PREDICATE_TYPE: Final = "urn:flink-job-controller:artifact-release:v1"
CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far a signer's clock may be ahead."""
_LONGEST_TEXT: Final = 2048
_BOUNDED = Field(max_length=_LONGEST_TEXT)


class _Strict(Value):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Digest(_Strict):
    sha256: Sha256


class _Subject(_Strict):
    name: Annotated[str, _BOUNDED] = ""
    """For readers; what counts is the predicate's name, which every tool lets the signer choose."""
    digest: _Digest


class Release(_Strict):
    """The predicate."""

    audience: Annotated[str, _BOUNDED]
    """Controller id of the installation that may run it."""
    namespace: Annotated[str, _BOUNDED]
    name: Annotated[str, _BOUNDED]
    """Key in the artifact bucket."""
    release: Annotated[int, Field(ge=0, lt=2**63)]
    """Chosen by the signer; never goes backwards under one name."""
    size_bytes: Annotated[int, Field(ge=0)]
    not_before: AwareDatetime
    not_after: AwareDatetime


def _one(subjects: tuple[_Subject, ...]) -> tuple[_Subject, ...]:
    if len(subjects) != 1:
        raise ValueError("must name one subject")
    return subjects


class _Document(_Strict):
    type_: Annotated[Literal["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"], Field(alias="_type")]
    subject: Annotated[tuple[_Subject, ...], AfterValidator(_one)]
    predicate_type: Annotated[Literal["urn:flink-job-controller:artifact-release:v1"], Field(alias="predicateType")]
    predicate: Release


class Statement(Value):
    """A statement as read; whether it fits an upload is another question."""

    sha256: Sha256
    release: Release


def parse_statement(payload: bytes) -> Statement:
    """Read a statement.

    Raises:
        ValueError: it is none; the message continues a sentence.
    """
    strict_json(payload)
    try:
        document = _Document.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "document"
        raise ValueError(f"states nothing that can be used: {path}: {first['msg']}") from None
    return Statement(sha256=document.subject[0].digest.sha256, release=document.predicate)


def write_statement(statement: Statement) -> bytes:
    """Write a statement as it is signed."""
    document = {
        "_type": STATEMENT_TYPE,
        "subject": ({"name": statement.release.name, "digest": {"sha256": statement.sha256}},),
        "predicateType": PREDICATE_TYPE,
        "predicate": statement.release,
    }
    return _Document.model_validate(document).model_dump_json(by_alias=True).encode()


def statement_fault(
    statement: Statement,
    *,
    sha256: str,
    size_bytes: int,
    audience: str | None,
    name: str | None,
    namespace: str,
    now: datetime,
) -> str | None:
    """Say why a statement is not about an upload, or None when it is. `audience` or `name` None: not asked."""
    release = statement.release
    checks = (
        (statement.sha256 != sha256, "is about other bytes"),
        (release.size_bytes != size_bytes, f"is about {release.size_bytes} bytes, not {size_bytes}"),
        (
            audience is not None and release.audience != audience,
            f"is for the installation {shown(release.audience)}, not {shown(audience or '')}",
        ),
        (name is not None and release.name != name, f"is for {shown(release.name)}, not {shown(name or '')}"),
        (
            name is not None and release.namespace != namespace,
            f"is for namespace {shown(release.namespace)}, not {shown(namespace)}",
        ),
        (now + CLOCK_SKEW < release.not_before, f"is valid from {release.not_before.isoformat()}"),
        (now > release.not_after, f"was valid until {release.not_after.isoformat()}"),
    )
    return next((fault for is_wrong, fault in checks if is_wrong), None)
