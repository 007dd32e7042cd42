"""`JsonSchema`: values held to a JSON Schema, by the package ``jsonschema-rs``.

The specification: https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from llmspell_core import ConfigurationError, ValidationError

DEEPEST = 200
_LONGEST_MESSAGE = 200
_CLOSING = frozenset(("additionalProperties", "unevaluatedProperties"))
_LISTS = frozenset(("allOf", "anyOf", "enum", "examples", "oneOf", "prefixItems", "required"))
_NAMES = frozenset(
    ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
)
_VALUES = frozenset(("const", "default", "enum", "examples"))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a value: where (``$.users[1].age``), what, by which keyword."""

    path: str
    message: str
    keyword: str

    def to_dict(self) -> dict[str, str]:
        """The fields."""
        return {"path": self.path, "message": self.message, "keyword": self.keyword}

    def __str__(self) -> str:
        """``path: message``."""
        return f"{self.path}: {self.message}"


class JsonSchema:
    """A JSON Schema, checked and compiled once.

    References are followed inside the schema only. Patterns cannot run for long: they are
    matched in linear time, or give up. Formats are checked.

    Args:
        schema: The schema: a table, or true or false.
        draft: Its draft where it names none in ``$schema``: 7 or 2020.

    Raises:
        ValidationError: when it is not a schema, with field ``schema``.
        ConfigurationError: when the package is missing.
    """

    def __init__(self, schema: Any, *, draft: int = 2020) -> None:
        try:
            import jsonschema_rs
        except ImportError:
            raise ConfigurationError(
                "JSON Schemas need the package 'jsonschema-rs', which is not installed",
                hint="pip install 'llmspell-utils[schema]'",
                code="MISSING_DEPENDENCY",
            ) from None
        if not isinstance(schema, Mapping | bool):
            raise _wrong(f"it must be an object, not {type(schema).__name__}")
        if _depth(schema) > DEEPEST:
            raise _wrong(f"it is nested more than {DEEPEST} levels deep")
        made: Any = _with_lists(schema)
        self.schema = made
        usual = jsonschema_rs.Draft7Validator if draft == 7 else jsonschema_rs.Draft202012Validator
        try:
            named = made not in (True, False) and "$schema" in made
            make = jsonschema_rs.validator_for if named else usual
            self._validator: Any = make(
                made, validate_formats=True, formats=_FORMATS, retriever=_refused
            )
        except jsonschema_rs.ValidationError as error:
            raise _wrong(_where(error.instance_path) + _first_line(error.message)) from None
        except (ValueError, TypeError, OverflowError) as error:
            raise _wrong(_first_line(str(error))) from None

    def problems(self, value: Any, *, most: int = 100) -> list[Problem]:
        """What is wrong with a JSON value, at most *most*; empty when it fits."""
        if _depth(value) > DEEPEST:
            return [Problem("$", f"is nested more than {DEEPEST} levels deep", "depth")]
        try:
            found: Iterator[Any] = self._validator.iter_errors(value)
            return [_problem(error) for error in islice(found, most)]
        except (ValueError, TypeError, OverflowError) as error:
            return [Problem("$", f"is not JSON: {_first_line(str(error))}", "type")]


def _problem(error: Any) -> Problem:
    named = (part for part in reversed(error.schema_path) if isinstance(part, str))
    keyword = next(named, "false")
    if type(error.kind).__name__ == "FalseSchema" and keyword not in _CLOSING:
        keyword = "false"
    return Problem(_json_path(error.instance_path), _first_line(error.message), keyword)


def _json_path(parts: Sequence[Any]) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)


def _where(parts: Sequence[Any]) -> str:
    return f"at {_json_path(parts)}: " if parts else ""


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0]
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def _wrong(words: str) -> ValidationError:
    return ValidationError(f"Not a JSON Schema: {words}", field="schema", code="INVALID_SCHEMA")


def _is_uuid(text: str) -> bool:
    from uuid import UUID

    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


_FORMATS = {"uuid": _is_uuid}
"""Draft 7 does not know this one, and everybody uses it."""


def _refused(address: str) -> Any:
    raise ValueError(f"only references inside the schema are followed, not {address}")


def _depth(value: Any, depth: int = 0) -> int:
    """How deep it is nested; counting ends where it is too deep."""
    if depth > DEEPEST:
        return depth
    inner: Any = ()
    if isinstance(value, Mapping):
        inner = cast("Mapping[Any, Any]", value).values()
    elif isinstance(value, list | tuple):
        inner = cast("Sequence[Any]", value)
    return max((_depth(one, depth + 1) for one in inner), default=depth)


def _with_lists(value: Any, *, names: bool = False) -> Any:
    """A copy of a schema with lists where a script, whose empty tables may be either, wrote
    ``{}``. With *names* the keys are names of properties, not keywords.
    """
    if isinstance(value, list | tuple):
        return [_with_lists(item) for item in cast("Sequence[Any]", value)]
    if not isinstance(value, Mapping):
        return value
    made: dict[str, Any] = {}
    for key, item in cast("Mapping[str, Any]", value).items():
        if names:
            made[key] = _with_lists(item)
        elif key in _LISTS and item == {}:
            made[key] = []
        elif key in _VALUES:
            made[key] = item
        else:
            made[key] = _with_lists(
                {} if key in _NAMES and item == [] else item, names=key in _NAMES
            )
    return made
