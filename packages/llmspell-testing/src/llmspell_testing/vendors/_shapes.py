"""The shape of a request as a vendor documents it, and what a request gets wrong.

A shape is written as data: a type (``str``, ``bool``, ``int``, ``float`` for any number, ``dict``,
``object`` for anything), ``None``, a set of the only values, ``[shape]`` for a list, a dict for an
object with exactly these keys (``"name?"`` may be missing), a tuple of alternatives, `Range`,
`Tagged`, or a function of the value that raises `ShapeError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

Shape: TypeAlias = Any


class ShapeError(Exception):
    """What does not fit, and where: ``messages[1].role``."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two, both included; *whole* for integers."""

    low: float
    high: float = float("inf")
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object whose shape is chosen by the value of one of its keys."""

    key: str
    shapes: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Many:
    """A list of *shape* with at least *least* and at most *most* members."""

    shape: Shape
    least: int = 0
    most: float = float("inf")


def check(value: Any, shape: Shape, place: str = "") -> None:
    """See that *value* has the *shape*.

    Raises:
        ShapeError: naming the place and what was expected there.
    """
    if isinstance(shape, dict):
        _check_object(value, cast("dict[str, Shape]", shape), place)
    elif isinstance(shape, Tagged):
        _check_tagged(value, shape, place)
    elif isinstance(shape, list):
        check(value, Many(cast("list[Shape]", shape)[0]), place)
    elif isinstance(shape, Many):
        _check_many(value, shape, place)
    elif isinstance(shape, tuple):
        _check_alternatives(value, cast("tuple[Shape, ...]", shape), place)
    elif isinstance(shape, set | frozenset):
        if not _among(value, cast("set[Any]", shape)):
            allowed = ", ".join(sorted(map(repr, cast("set[Any]", shape))))
            raise ShapeError(f"'{place}' is {value!r:.80}; supported values are: {allowed}")
    elif isinstance(shape, Range):
        _check_range(value, shape, place)
    elif shape is None:
        if value is not None:
            raise ShapeError(f"'{place}' must be null, not {_kind(value)}")
    elif isinstance(shape, type):
        _check_type(value, shape, place)
    else:
        cast("Callable[[Any, str], None]", shape)(value, place)


def _kind(value: Any) -> str:
    names: dict[Any, str] = {dict: "object", list: "array", str: "string", bool: "boolean"}
    return "null" if value is None else names.get(type(value), "number")


def _among(value: Any, allowed: set[Any] | frozenset[Any]) -> bool:
    return isinstance(value, str | int | bool) and any(
        value == one and type(value) is type(one) for one in allowed
    )


_WORDS: dict[Any, str] = {
    dict: "an object",
    str: "a string",
    bool: "a boolean",
    list: "an array",
}


def _check_type(value: Any, wanted: Any, place: str) -> None:
    if wanted is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif wanted is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = isinstance(value, wanted)
    if not fits:
        words = _WORDS.get(wanted, "a number")
        raise ShapeError(f"'{place}' must be {words}, not {_kind(value)}")


def _check_range(value: Any, shape: Range, place: str) -> None:
    check(value, int if shape.whole else float, place)
    if not shape.low <= value <= shape.high:
        raise ShapeError(f"'{place}' is {value}; it must be from {shape.low:g} to {shape.high:g}")


def _check_many(value: Any, shape: Many, place: str) -> None:
    check(value, list, place)
    if not shape.least <= len(value) <= shape.most:
        raise ShapeError(
            f"'{place}' has {len(value)} items; it must have {shape.least} to {shape.most:g}"
        )
    for index, one in enumerate(value):
        check(one, shape.shape, f"{place}[{index}]")


def _check_object(value: Any, shape: dict[str, Shape], place: str) -> None:
    check(value, dict, place or "body")
    start = f"{place}." if place else ""
    known = {key.rstrip("?"): key for key in shape}
    for key in value:
        if key not in known:
            raise ShapeError(f"unknown parameter: '{start}{key}'")
    for name, key in known.items():
        if name in value:
            check(value[name], shape[key], start + name)
        elif not key.endswith("?"):
            raise ShapeError(f"missing required parameter: '{start}{name}'")


def _check_tagged(value: Any, shape: Tagged, place: str) -> None:
    check(value, dict, place)
    if shape.key not in value:
        raise ShapeError(f"missing required parameter: '{place}.{shape.key}'")
    tag = value[shape.key]
    check(tag, set(shape.shapes), f"{place}.{shape.key}")
    check(value, shape.shapes[tag], place)


def _check_alternatives(value: Any, shapes: tuple[Shape, ...], place: str) -> None:
    """The complaint is the one that got furthest: of the alternative that was meant."""
    said: list[str] = []
    for shape in shapes:
        try:
            check(value, shape, place)
        except ShapeError as error:
            said.append(str(error))
        else:
            return
    deeper = [text for text in said if f"'{place}'" not in text]
    raise ShapeError((deeper or said)[0])
