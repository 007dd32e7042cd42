"""Arguments of declared methods: one converter for each kind of annotation."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from llmspell_bridge._conversion import (
    EMPTY,
    NULL,
    Foreign,
    Mark,
    kind_of,
    lua_number,
    text_or_bytes,
)
from llmspell_core import ScriptFunction, ValidationError

Convert = Callable[[Any], Any]


class Unfit(Exception):
    """The argument is not what the parameter takes; the text says what it takes."""


def type_name(value: Any) -> str:
    """What Lua calls the type of an argument."""
    if value is None or value is NULL:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str | bytes):
        return "string"
    if isinstance(value, ScriptFunction):
        return "function"
    if isinstance(value, Foreign):
        return value.kind
    return getattr(cast("type[Any]", type(value)), "__script_name__", "table")


def to_text(value: Any) -> str:
    """`str`: text, formatted numbers, the text of a record."""
    kind = kind_of(value)
    if kind is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Unfit("text in UTF-8") from None
    if kind is str:
        return value
    if kind is int or kind is float:
        return lua_number(value)
    if kind is Mark:
        text = cast("Mark", value).pull()[1]
        if text is not None:
            return text
    raise Unfit("a string")


def to_int(value: Any) -> int:
    """`int`: integers, floats without a fraction, numeric text."""
    kind = kind_of(value)
    if kind is int:
        return value
    if kind is bytes or kind is str:
        value = _number_in(value)
        kind = kind_of(value)
    if kind is float and abs(value) < 2**63 and value == math.floor(value):
        return int(value)
    if kind is int and -(2**63) <= value < 2**63:
        return value
    raise Unfit("an integer")


def to_float(value: Any) -> float:
    """`float`: numbers, numeric text."""
    kind = kind_of(value)
    if kind is float or kind is int:
        return value
    if kind is bytes or kind is str:
        found = _number_in(value)
        if found is not None:
            return found
    raise Unfit("a number")


def _number_in(value: bytes | str) -> int | float | None:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    text = text.strip()
    if "_" in text:
        return None
    try:
        return int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
    except ValueError:
        pass
    try:
        found = float(text)
    except ValueError:
        return None
    return found if text.lower().lstrip("+-")[:1] not in "in" else None


def to_bool(value: Any) -> bool:
    """`bool`: true or false only."""
    if value is True or value is False:
        return value
    raise Unfit("a boolean")


def to_bytes(value: Any) -> bytes:
    """`bytes`: the bytes of a string, of a formatted number, of the text of a record."""
    kind = kind_of(value)
    if kind is bytes:
        return value
    if kind is str:
        return value.encode("utf-8", "surrogateescape")
    if kind is int or kind is float:
        return lua_number(value).encode()
    if kind is Mark:
        text = cast("Mark", value).pull()[1]
        if text is not None:
            return text.encode("utf-8", "surrogateescape")
    raise Unfit("a string")


def to_any(value: Any) -> Any:
    """`Any`: whatever it is."""
    kind = kind_of(value)
    if kind is bytes:
        return text_or_bytes(value)
    if kind is Mark:
        found = cast("Mark", value).pull()[0]
        return {} if found is EMPTY else found
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is Foreign:
        raise ValidationError(f"Unsupported Lua type for JSON conversion: {value.kind}")
    return None if value is NULL else value


def to_dict(value: Any) -> dict[str, Any]:
    """`dict`: a table that is no sequence."""
    found: Any = value.pull()[0] if type(value) is Mark else value
    if found is EMPTY:
        return {}
    if isinstance(found, dict):
        return cast("dict[str, Any]", found)
    raise Unfit("a table with named fields")


def to_list(inner: Convert | None) -> Convert:
    """`list`: a sequence, each element by its own annotation."""

    def convert(value: Any) -> list[Any]:
        found: Any = value.pull()[0] if type(value) is Mark else value
        if found is EMPTY:
            return []
        if not isinstance(found, list):
            raise Unfit("an array")
        if inner is None:
            return cast("list[Any]", found)
        try:
            return [inner(item) for item in cast("list[Any]", found)]
        except Unfit as error:
            raise Unfit(f"an array whose elements are each {error}") from None

    return convert


def to_function(value: Any) -> ScriptFunction:
    """`ScriptFunction`."""
    if isinstance(value, ScriptFunction):
        return value
    raise Unfit("a function")


def to_instance(cls: type) -> Convert:
    """A handle of the class."""

    def convert(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise Unfit(f"a {getattr(cls, '__script_name__', cls.__name__)}")

    return convert


def to_word(words: tuple[Any, ...]) -> Convert:
    """`Literal`: one of some words."""

    def convert(value: Any) -> Any:
        found = text_or_bytes(value) if type(value) is bytes else value
        if found in words:
            return found
        raise Unfit("one of " + ", ".join(str(word) for word in words))

    return convert


def _union(options: Sequence[Any]) -> Convert:
    """The first option that fits; a table is pulled once and shown to each."""
    converters = [annotation_converter(option) for option in _ranked(options)]
    if len(converters) == 1:
        return converters[0]

    def convert(value: Any) -> Any:
        if type(value) is Mark:
            value = _Pulled.of(value, to_text in converters)
        refusals: list[str] = []
        for converter in converters:
            try:
                return converter(value)
            except Unfit as refusal:
                refusals.append(str(refusal))
        raise Unfit(" or ".join(dict.fromkeys(refusals)))

    return convert


class _Pulled:
    """Chooses what a table shows itself as to the options of a union."""

    @staticmethod
    def of(mark: Mark, wants_text: bool) -> Any:
        found, text = mark.pull()
        return text if wants_text and text is not None else found


_RANK: dict[Any, int] = {bool: 0, int: 1, float: 2}


def _ranked(options: Sequence[Any]) -> list[Any]:
    """Strict options before lenient ones: text takes numbers, Any takes all."""

    def rank(option: Any) -> int:
        if option is Any:
            return 9
        if option is str or option is bytes:
            return 5
        return _RANK.get(option, 3)

    kept = [o for o in options if o is not type(None)]
    if str in kept and (int in kept or float in kept):
        # A string stays one where both are taken; numbers go to the number.
        return sorted(kept, key=lambda o: -1 if o is str else rank(o))
    return sorted(kept, key=rank)


def _strict_text(value: Any) -> str:
    if isinstance(value, bytes | str):
        return to_text(value)
    raise Unfit("a string")


_SIMPLE: dict[Any, Convert] = {
    str: to_text,
    int: to_int,
    float: to_float,
    bool: to_bool,
    bytes: to_bytes,
    dict: to_dict,
    ScriptFunction: to_function,
    Any: to_any,
    object: to_any,
}


def annotation_converter(annotation: Any) -> Convert:
    """The converter for an evaluated annotation."""
    simple = _SIMPLE.get(annotation) if _hashable(annotation) else None
    if simple is not None:
        return simple
    origin = get_origin(annotation)
    if origin is Annotated:
        return annotation_converter(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        options = get_args(annotation)
        if str in options and (int in options or float in options):
            rest = _union([o for o in options if o is not str])
            return _first_of(_first_of(_strict_text, rest), to_text)
        return _union(options)
    if origin is Literal:
        return to_word(get_args(annotation))
    kind: Any = origin or annotation
    if isinstance(kind, type):
        if issubclass(kind, dict) or kind is Mapping or issubclass(kind, Mapping):
            return to_dict
        if issubclass(kind, list | tuple) or kind is Sequence:
            inner = get_args(annotation)
            if not inner or inner[0] is Any:
                return to_list(None)
            return to_list(annotation_converter(inner[0]))
        cls = cast("type[Any]", kind)
        if getattr(cls, "__script_kind__", None) == "object":
            return to_instance(cls)
    return to_any


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _first_of(first: Convert, second: Convert) -> Convert:
    def convert(value: Any) -> Any:
        try:
            return first(value)
        except Unfit:
            return second(value)

    return convert
