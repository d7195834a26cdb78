"""How a configuration's file becomes a checked value, and what is said where it does not; it knows no field."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from spavl.errors import UserError
from spavl.strict_yaml import apply_override, parse_yaml

C = TypeVar("C", bound=BaseModel)


def read_body(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Reads a YAML file and applies `key.path=value` overrides; nothing is checked yet.

    Raises:
        UserError: The file is missing, is not a YAML mapping, or has a key twice.
    """
    try:
        body = parse_yaml(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}. Give a configuration; `spavl demo --print-config` prints one."
        ) from error
    if not isinstance(body, dict):
        raise UserError(f"{path}: a configuration is a mapping of keys; `spavl demo --print-config` prints one.")
    for override in overrides:
        apply_override(body, override)
    return body


def validate_body(kind: type[C], body: dict[str, Any], path: Path) -> C:
    """Returns the configuration that a file's body says.

    Raises:
        UserError: A field is unknown, missing or out of range.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise UserError(f"{path}: {describe_errors(error, body)}") from error


def describe_errors(error: ValidationError, body: object = None) -> str:
    """Returns one line for a validation error: each field, what is wrong, and the value.

    Args:
        error: What pydantic raised.
        body: What was validated; with it, fields are named as they stand in the file.
    """
    details = error.errors()
    # pydantic leaves an entry that is wrong out, and then finds too few of them
    wrong = [detail["loc"] for detail in details if detail["type"] != "too_short"]
    said = [
        detail
        for detail in details
        if detail["type"] != "too_short" or not any(place[: len(detail["loc"])] == detail["loc"] for place in wrong)
    ]
    return "; ".join(_describe(detail, body) for detail in said)


def _describe(detail: Any, body: object) -> str:  # noqa: ANN401  # pydantic's ErrorDetails
    where = ".".join(_keys(detail["loc"], body)) or "configuration"
    if detail["type"] == "extra_forbidden":
        return f"`{where}` is not a known key; look for a typing error"
    if detail["type"] == "missing":
        return f"`{where}` is missing"
    if detail["type"] == "union_tag_not_found":
        return f"`{where}.kind` is missing"
    if detail["type"] == "union_tag_invalid":
        key = "method" if "method" in detail["ctx"]["discriminator"] else "kind"
        return f"`{where}.{key}`: {detail['ctx']['tag']!r} is none of {detail['ctx']['expected_tags']}"
    said = detail["msg"].removeprefix("Value error, ").replace("Tuple should", "List should")
    if detail["type"] == "tuple_type":
        said = "Input should be a list, for example [a, b]"
    value = "" if isinstance(detail["input"], dict) else f" (value: {detail['input']!r})"
    return f"`{where}`: {said}{value}"


def _keys(location: Sequence[str | int], body: object) -> list[str]:
    """Leaves out of pydantic's location the kinds it puts between the keys of a union."""
    keys: list[str] = []
    node: Any = body
    for part in location[:-1]:
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]  # type: ignore[index]  # an int where it is a list
        elif isinstance(node, dict | list):
            continue
        keys.append(str(part))
    is_field = body is None or isinstance(node, dict) or (isinstance(node, list) and isinstance(location[-1], int))
    return [*keys, str(location[-1])] if is_field and location else keys
