"""Items as DynamoDB spells them, and as Python does.

boto3's own conversion gives `Decimal` and `Binary`, which the models would refuse for the wrong reason; here a number is an
int or a float, and whatever else a team put into an item stays recognisable, so that the model can refuse it by its path.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from flink_controller.domain.errors import ControllerError, RejectedError

AttributeValue: TypeAlias = Mapping[str, Any]
Item: TypeAlias = Mapping[str, AttributeValue]

BY_KIND: Final = "by_kind"
"""Index of items of one kind by name, with their summaries."""
BY_ARTIFACT: Final = "by_artifact"
"""Index of statuses by the artifact that they name."""
BY_DUE: Final = "by_due"
"""Index of statuses that a schedule must wake, by kind and time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HASHED: Final = "sha256:"
_LONGEST_NAME_BYTES: Final = 1000
"""Partition keys end at 2,048 bytes and sort keys at 1,024. A valid name has at most 127; anything longer is rubbish that
somebody wrote into the spec table, and still gets a status that says so."""

M = TypeVar("M", bound=BaseModel)


def name_key(name: str) -> str:
    """Make a name fit into any key: itself, or its hash when it is too long for one.

    Names that look like such a hash are hashed too, so that nobody can choose a name that lands on another's item.
    """
    raw = name.encode()
    if len(raw) <= _LONGEST_NAME_BYTES and not name.startswith(_HASHED):
        return name
    return _HASHED + hashlib.sha256(raw).hexdigest()


def is_hashed(key: str) -> bool:
    """Tell whether `name_key` replaced the name."""
    return key.startswith(_HASHED)


def to_python(value: AttributeValue) -> Any:
    """Read an attribute value. Never raises on what DynamoDB can hold."""
    ((kind, content),) = value.items()
    match kind:
        case "N":
            return _number(content)
        case "M":
            return {name: to_python(inner) for name, inner in content.items()}
        case "L":
            return [to_python(inner) for inner in content]
        case "NULL":
            return None
        case "NS":
            return {_number(text) for text in content}
        case "SS" | "BS":
            return set(content)
        case _:
            return content


def to_item(item: Item) -> dict[str, Any]:
    """Read a whole item."""
    return {name: to_python(value) for name, value in item.items()}


def to_attribute(value: Any) -> dict[str, Any]:  # one line per kind of value
    """Spell a value of a JSON document as an attribute value.

    Raises:
        RejectedError: the value is none that JSON knows.
    """
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | float():
            return {"N": str(Decimal(str(value)))}
        case Mapping():
            return {"M": {str(name): to_attribute(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [to_attribute(inner) for inner in value]}
        case _:
            raise RejectedError(f"cannot store a {type(value).__name__}: write text, numbers, booleans, lists and maps")


def text(value: str) -> dict[str, Any]:
    """Spell a string."""
    return {"S": value}


def number(value: int) -> dict[str, Any]:
    """Spell an integer."""
    return {"N": str(value)}


def document(model: BaseModel) -> dict[str, Any]:
    """Spell a model as one compact JSON string: small (defaults are left out), exact, and read back by the model alone."""
    return {"S": model.model_dump_json(exclude_defaults=True)}


def parsed(model: type[M], item: Item, attribute: str = "document") -> M:
    """Read a model that `document` wrote, whether in this version or another.

    Raises:
        ControllerError: another version of this package wrote it in a form that this one does not know.
    """
    return parsed_text(model, str(item[attribute].get("S", "")))


def parsed_text(model: type[M], json_text: str) -> M:
    """Read a model from JSON that the controller wrote.

    Fields that a newer version added are left out, here and when the item is written next: the newer one then finds what
    a version without them would have left, which it can read, and nothing of theirs that has gone stale meanwhile.

    Raises:
        ControllerError: the text has another form.
    """
    try:
        return model.model_validate_json(json_text, extra="ignore")
    except ValidationError as error:
        raise ControllerError(f"a stored {model.__name__} has an unknown form: {faults(error)}") from error


def faults(error: ValidationError) -> str:
    """List a validation error's faults with their paths, on one bounded line, without the values."""
    found = [f"{'.'.join(str(part) for part in fault['loc']) or 'item'}: {fault['msg']}" for fault in error.errors()]
    return "; ".join(found)[:1000]


def epoch_ms(moment: datetime) -> int:
    """Give milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_epoch_ms(value: int) -> datetime:
    """Read milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=value)


def _number(digits: str) -> int | float:
    value = Decimal(digits)
    return int(value) if value == value.to_integral_value() else float(value)
