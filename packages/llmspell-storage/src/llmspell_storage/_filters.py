"""Metadata filters: conditions on fields, all of which must hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from llmspell_core import ValidationError, nearest

Metadata = Mapping[str, Any]
Test = Callable[[Any], bool]


class _Missing:
    pass


_MISSING = _Missing()


def compile_filters(filters: Mapping[str, Any]) -> Callable[[Metadata], bool]:
    """Compile *filters* into a test of an entry's metadata.

    A plain value asks for equality as JSON (numbers by value); a stored list also matches when
    it holds the wanted value. A table of operators asks for ``$eq $ne $gt $gte $lt $lte $in $nin
    $exists $contains``, or for a range with ``min`` and ``max``, both inclusive. A field name may
    carry an operator as suffix: ``tags_contains``, ``date_after``, ``date_before``, ``year_gt``,
    ``_gte``, ``_lt``, ``_lte``, ``_in``, ``_ne``; a field really called so comes first. A missing
    field matches nothing but ``$ne``, ``$nin`` and ``{"$exists": false}``.

    Raises:
        ValidationError: for an unknown operator or an operand it cannot use.
    """
    tests = [_field_test(str(name), wanted) for name, wanted in filters.items()]
    return lambda metadata: all(test(metadata) for test in tests)


def equalities(filters: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The conditions that a database may check first: fields equal to a text. A database that
    lets entries through whose field is a list, too, loses nothing.
    """
    return [
        (name, wanted)
        for name, wanted in filters.items()
        if isinstance(wanted, str)
        and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)
        and not any(name.endswith(suffix) for suffix in _SUFFIXES)
    ]


def _field_test(name: str, wanted: Any) -> Callable[[Metadata], bool]:
    test = _value_test(name, wanted)
    suffix = next((s for s in _SUFFIXES if name.endswith(s) and len(name) > len(s)), None)
    operator = _SUFFIXES.get(suffix or "")
    named = isinstance(wanted, Mapping) or (
        operator == "$in" and not isinstance(wanted, list | tuple)
    )
    if suffix is None or operator is None or named:  # the operand tells: plug_in="hnsw"
        return lambda metadata: test(metadata.get(name, _MISSING))
    field = name.removesuffix(suffix)
    by_suffix = _operator_test(name, operator, wanted)

    def either(metadata: Metadata) -> bool:
        if name in metadata:
            return test(metadata[name])
        return by_suffix(metadata.get(field, _MISSING))

    return either


def _value_test(name: str, wanted: Any) -> Test:
    if not isinstance(wanted, Mapping):
        return _operator_test(name, "$eq", wanted)
    table = cast("Mapping[str, Any]", wanted)
    if table and all(key in ("min", "max") for key in table):
        bounds = [
            _operator_test(name, "$gte" if key == "min" else "$lte", bound)
            for key, bound in table.items()
        ]
        return lambda value: all(test(value) for test in bounds)
    if any(str(key).startswith("$") for key in table):
        tests = [_operator_test(name, str(key), operand) for key, operand in table.items()]
        return lambda value: all(test(value) for test in tests)
    return _operator_test(name, "$eq", table)


def _operator_test(name: str, operator: str, wanted: Any) -> Test:
    make = _OPERATORS.get(operator)
    if make is None:
        close = nearest(operator, list(_OPERATORS))
        raise ValidationError(
            f"unknown operator '{operator}' in the filter on '{name}'",
            field="filters",
            hint=f"Did you mean '{close}'?" if close else f"Known: {' '.join(_OPERATORS)}",
        )
    try:
        return make(wanted)
    except (TypeError, ValueError) as error:
        raise ValidationError(
            f"the filter on '{name}' cannot use {wanted!r} with {operator}: {error}",
            field="filters",
        ) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    """Equality as JSON: true is not 1, 1 is 1.0."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        left, right = cast("Metadata", one), cast("Metadata", other)
        return left.keys() == right.keys() and all(_same(left[k], right[k]) for k in left)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        first, second = cast("Sequence[Any]", one), cast("Sequence[Any]", other)
        return len(first) == len(second) and all(map(_same, first, second))
    return one == other


def _equal(wanted: Any) -> Test:
    def test(value: Any) -> bool:
        if value is _MISSING:
            return False
        if isinstance(value, list) and not isinstance(wanted, list | tuple):
            return any(_same(item, wanted) for item in cast("list[Any]", value))
        return _same(value, wanted)

    return test


def _unequal(wanted: Any) -> Test:
    equal = _equal(wanted)
    return lambda value: not equal(value)


def _members(wanted: Any) -> Test:
    if not isinstance(wanted, list | tuple | set | frozenset):
        raise TypeError("it takes a list")
    tests = [_equal(item) for item in cast("Sequence[Any]", wanted)]
    return lambda value: any(test(value) for test in tests)


def _no_members(wanted: Any) -> Test:
    members = _members(wanted)
    return lambda value: not members(value)


def _exists(wanted: Any) -> Test:
    return lambda value: (value is not _MISSING and value is not None) == bool(wanted)


def _contains(wanted: Any) -> Test:
    def test(value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(wanted, str) and wanted in value
        if isinstance(value, list):
            return any(_same(item, wanted) for item in cast("list[Any]", value))
        return False

    return test


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    """Numbers are compared with numbers, texts with texts; anything else does not match."""

    def make(wanted: Any) -> Test:
        if _is_number(wanted):
            return lambda value: _is_number(value) and compare(value, wanted)
        if isinstance(wanted, str):
            return lambda value: isinstance(value, str) and compare(value, wanted)
        raise TypeError("it takes a number or a text")

    return make


def _dated(compare: Callable[[float, float], bool]) -> Callable[[Any], Test]:
    """Dates, as Unix seconds or ISO 8601, on both sides."""

    def make(wanted: Any) -> Test:
        moment = seconds(wanted)

        def test(value: Any) -> bool:
            try:
                return compare(seconds(value), moment)
            except (TypeError, ValueError):
                return False

        return test

    return make


def seconds(moment: Any) -> float:
    """Unix seconds of a number or an ISO 8601 text; a text without a zone is UTC.

    Raises:
        TypeError, ValueError: for anything else.
    """
    if _is_number(moment):
        return float(moment)
    if not isinstance(moment, str):
        raise TypeError(f"{moment!r} is not a date")
    from datetime import UTC, datetime

    read = datetime.fromisoformat(moment.strip())
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "$eq": _equal,
    "$ne": _unequal,
    "$gt": _ordered(lambda a, b: a > b),
    "$gte": _ordered(lambda a, b: a >= b),
    "$lt": _ordered(lambda a, b: a < b),
    "$lte": _ordered(lambda a, b: a <= b),
    "$in": _members,
    "$nin": _no_members,
    "$exists": _exists,
    "$contains": _contains,
    "$after": _dated(lambda a, b: a > b),
    "$before": _dated(lambda a, b: a < b),
}
_SUFFIXES = {
    "_contains": "$contains",
    "_after": "$after",
    "_before": "$before",
    "_gte": "$gte",
    "_gt": "$gt",
    "_lte": "$lte",
    "_lt": "$lt",
    "_in": "$in",
    "_ne": "$ne",
}
