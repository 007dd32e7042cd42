"""Turning what a file or a variable says into what a field wants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin

SIZES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}
SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_QUANTITY = re.compile(r"\s*([+-]?\d[\d_]*(?:\.\d+)?)\s*([a-zA-Z]*)\s*")
TRUE_WORDS = {"true", "1", "yes", "on"}
FALSE_WORDS = {"false", "0", "no", "off"}


class Misfit(Exception):
    """A value that does not fit. The message says what was expected instead."""


def spelling(word: str) -> str:
    """The form in which words are compared: ``Sliding-Window`` is ``sliding_window``."""
    return word.strip().lower().replace("-", "_")


def unit_of(key: str) -> str:
    """The unit a key names itself: ``timeout_ms``, ``max_file_size``."""
    last = key.rsplit("_", 1)[-1]
    if last in {"ms", "millis", "milliseconds"}:
        return "milliseconds"
    if last in {"seconds", "secs", "timeout", "ttl"}:
        return "seconds"
    if last in {"bytes", "size"}:
        return "bytes"
    return "megabytes" if last == "mb" else ""


def scale(alias: str, key: str) -> int:
    """What a number under *alias* is multiplied by to stand under *key*."""
    pair = (unit_of(alias), unit_of(key))
    return {("seconds", "milliseconds"): 1000, ("megabytes", "bytes"): 10**6}.get(pair, 1)


def convert(value: Any, wanted: Any, unit: str = "") -> Any:
    """*value* as an instance of the annotation *wanted*.

    Text becomes numbers (with a unit where *unit* says what the number counts), booleans, lists
    (at commas) and members of enumerations, whatever their case, ``-`` and ``_`` alike.
    Annotations this module does not know are left to pydantic.

    Raises:
        Misfit: saying what was expected.
    """
    if wanted is Any:
        return value
    origin = get_origin(wanted)
    if origin in (Union, UnionType):
        return _one_of(value, get_args(wanted), unit)
    if origin is Literal:
        return _choice(value, {str(choice): choice for choice in get_args(wanted)})
    if wanted is None or wanted is NoneType:
        if value is None:
            return None
        raise Misfit("expected nothing")
    simple = _SIMPLE.get(wanted)
    if simple is not None:
        return simple(value, unit)
    kind = origin or wanted
    if isinstance(kind, type):
        if issubclass(kind, Enum):
            return _member(value, kind)
        if issubclass(kind, list | tuple | set | frozenset):
            return _collection(value, cast("type[Any]", kind), get_args(wanted), unit)
        if issubclass(kind, Mapping):
            return _table(value, get_args(wanted))
        if is_dataclass(cast("type[Any]", kind)):
            return _nested(value, cast("type[Any]", kind))
    return _by_pydantic(value, wanted)


def _nested(value: Any, cls: type[Any]) -> Any:
    from llmspell_config._schema import build

    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise Misfit("expected a table")
    return build("", cls, cast("Mapping[str, Any]", value))


def _one_of(value: Any, options: Sequence[Any], unit: str) -> Any:
    # An unset variable reads as empty text: where nothing is allowed, it means nothing.
    if (value is None or value == "") and NoneType in options:
        return None
    # `int | str` keeps text as it is; only what is of no listed type is converted.
    for option in options:
        if isinstance(option, type) and type(value) is option:
            return convert(value, option, unit)
    reasons: list[str] = []
    for option in options:
        if option is NoneType:
            continue
        try:
            return convert(value, option, unit)
        except Misfit as misfit:
            reasons.append(str(misfit))
    wanted = dict.fromkeys(reason.partition(", got ")[0] for reason in reasons)
    listed = " or ".join(reason.removeprefix("expected ") for reason in wanted)
    raise Misfit(f"expected {listed}, got {shown(value)}")


def _choice(value: Any, choices: Mapping[str, Any]) -> Any:
    for text, choice in choices.items():
        if value == choice and type(value) is type(choice):
            return choice
        if isinstance(value, str) and spelling(value) == spelling(text):
            return choice
    raise Misfit(f"expected one of {', '.join(choices)}, got {shown(value)}")


def _member(value: Any, kind: type[Enum]) -> Any:
    if isinstance(value, kind):
        return value
    names = {member.name: member for member in kind}
    values = {str(member.value): member for member in kind}
    try:
        return _choice(value, {**names, **values})
    except Misfit:
        raise Misfit(f"expected one of {', '.join(values)}, got {shown(value)}") from None


def _text(value: Any, unit: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if all(isinstance(item, str) for item in items):
            return ",".join(items)
    raise Misfit(f"expected text, got {shown(value)}")


def _truth(value: Any, unit: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.strip().lower()
        if word in TRUE_WORDS or word in FALSE_WORDS:
            return word in TRUE_WORDS
    raise Misfit(f"expected true or false, got {shown(value)}")


def _quantity(value: Any, unit: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        found = _QUANTITY.fullmatch(value)
        if found is not None:
            digits, suffix = found[1].replace("_", ""), found[2]
            number = float(digits) if "." in digits else int(digits)
            if not suffix:
                return number
            factor = _factor(suffix, unit)
            if factor is not None:
                return number * factor
    raise Misfit(f"expected {_wanted(unit)}, got {shown(value)}")


def _factor(suffix: str, unit: str) -> float | None:
    if unit == "bytes":
        return SIZES.get(suffix.lower())
    if unit == "megabytes":
        size = SIZES.get(suffix.lower())
        return None if size is None else size / 10**6
    seconds = SECONDS.get(suffix.lower())
    if seconds is None or unit not in {"seconds", "milliseconds"}:
        return None
    return seconds * 1000 if unit == "milliseconds" else seconds


def _wanted(unit: str) -> str:
    examples = {
        "bytes": " of bytes (like 1000000 or '10MB')",
        "megabytes": " of megabytes (like 100 or '1GB')",
        "seconds": " of seconds (like 30 or '5m')",
        "milliseconds": " of milliseconds (like 500 or '30s')",
    }
    return "a number" + examples.get(unit, "")


def _whole(value: Any, unit: str) -> int:
    number = _quantity(value, unit)
    if isinstance(number, int):
        return number
    near = round(number)
    # 0.3s is 300.00000000000006 ms in binary fractions.
    if abs(number - near) > 1e-6:
        raise Misfit(f"expected a whole number, got {shown(value)}")
    return near


def _number(value: Any, unit: str) -> float:
    return float(_quantity(value, unit))


_SIMPLE = {str: _text, bool: _truth, int: _whole, float: _number}


def _collection(value: Any, kind: type[Any], inner: tuple[Any, ...], unit: str) -> Any:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple | set | frozenset):
        raise Misfit(f"expected a list, got {shown(value)}")
    of = inner[0] if inner else Any
    items = [convert(item, of, unit) for item in cast("list[Any]", value)]
    return kind(items)


def _table(value: Any, inner: tuple[Any, ...]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Misfit(f"expected a table, got {shown(value)}")
    of = inner[1] if len(inner) == 2 else Any
    return {str(key): convert(item, of) for key, item in cast("Mapping[Any, Any]", value).items()}


def _by_pydantic(value: Any, wanted: Any) -> Any:
    from pydantic import TypeAdapter
    from pydantic import ValidationError as PydanticError

    try:
        return TypeAdapter(wanted).validate_python(value)
    except PydanticError as error:
        first = error.errors()[0]
        raise Misfit(f"expected {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def shown(value: Any) -> str:
    """*value* in a message: short, and text in quotes."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
