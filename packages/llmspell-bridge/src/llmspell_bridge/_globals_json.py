"""The global `JSON`."""

from __future__ import annotations

import json
import sys
from typing import Any

from llmspell_bridge._conversion import NULL
from llmspell_core import (
    ScriptHost,
    ValidationError,
    attribute,
    exposed,
    handle_name,
    script_global,
)


class JsonParseError(ValidationError):
    """The text is not JSON."""

    code = "JSON_PARSE_ERROR"
    prefix = ""


def _refused(value: Any) -> Any:
    if isinstance(value, bytes):
        raise ValidationError("a string is not UTF-8: JSON holds text only")
    name = handle_name(value)
    if name is not None:
        return name
    raise ValidationError(f"Unsupported Lua type for JSON conversion: {type(value).__name__}")


_compact = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, default=_refused
).encode


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # a key
        raise ValidationError("a string is not UTF-8: JSON holds text only") from None


def _wrong(error: ValueError) -> str:
    if "sys.set_int_max_str_digits" in str(error):
        return f"an integer has more than {sys.get_int_max_str_digits()} digits"
    return str(error)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


@script_global("JSON")
class JsonGlobal:
    """Read and write JSON."""

    def __init__(self, host: ScriptHost) -> None:
        self._host = host

    @exposed(names=("decode",))
    def parse(self, text: Any) -> Any:
        """The value of a JSON text; null is nil, arrays are sequences.

        Args:
            text: JSON.

        Raises:
            ValidationError: ``JSON parse error: …`` for anything else than JSON.
        """
        if not isinstance(text, str):
            raise JsonParseError("JSON parse error: a string is needed")
        try:
            found = json.loads(text, parse_constant=_constant)
            if "\\u" in text:
                json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise JsonParseError("JSON parse error: half of a character (a surrogate)") from None
        except RecursionError:
            raise JsonParseError("JSON parse error: Maximum nesting depth exceeded") from None
        except ValueError as error:
            raise JsonParseError(f"JSON parse error: {_wrong(error)}") from None
        return found

    @exposed(names=("encode",))
    def stringify(self, value: Any, indent: Any = None) -> bytes:
        """The JSON of a value, with sorted keys.

        Args:
            value: Any value; an empty table is ``{}``, see `array`.
            indent: Nothing for one line; true or a number of spaces for several.

        A handle (an agent, a tool, a workflow) is written as its name.

        Raises:
            ValidationError: For functions, coroutines, cycles, strings that are not UTF-8.
        """
        if indent is None or indent is False:
            return _utf8(_compact(value))
        width = 2 if indent is True else indent
        if not isinstance(width, int | float) or not 0 <= width <= 32:
            raise ValidationError("indent must be true or a number from 0 to 32", field="indent")
        return _utf8(
            json.dumps(
                value, ensure_ascii=False, indent=int(width), sort_keys=True, default=_refused
            )
        )

    @exposed()
    def array(self, items: list[Any] | None = None) -> list[Any]:
        """The same items as a table that is written as an array even when empty.

        Args:
            items: A sequence; without one the array is empty.
        """
        return items or []

    @attribute
    def null(self) -> Any:
        """A value that is written as ``null``, where nil would leave no trace."""
        return NULL
