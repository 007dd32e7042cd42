"""What `validate` holds the cells of a column to; runs in the worker process of the CSV tool."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from llmspell_tools._worker_main import Refused
from llmspell_tools.data._csv_text import Reader, kind_of

MOST_ERRORS = 1000

Rule = Callable[[str], str | None]
"""Says what is wrong with a cell, or None. An empty cell breaks no rule but `required`."""

_EMAIL = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9-]+)+")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)-(-?\d+(?:\.\d+)?)")
_TYPES: Mapping[str, frozenset[str]] = {
    "integer": frozenset({"integer"}),
    "number": frozenset({"integer", "float"}),
    "float": frozenset({"integer", "float"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "date_time": frozenset({"date_time"}),
    "string": frozenset({"integer", "float", "boolean", "date", "date_time", "string"}),
}
_KNOWN = "required, email, range:MIN-MAX, regex:PATTERN, type:TYPE"


def checked(reader: Reader, rules: Mapping[str, Any]) -> dict[str, Any]:
    """``{valid, errors[{row, column, value, error}], total_rows, error_count}``."""
    tests = [
        (name, reader.position(name), [_rule(word) for word in _listed(given)])
        for name, given in rules.items()
    ]
    errors: list[dict[str, Any]] = []
    count = total = 0
    for row in reader.rows():
        total += 1
        for name, at, wanted in tests:
            for rule in wanted:
                wrong = rule(row[at])
                if wrong is None:
                    continue
                count += 1
                if len(errors) < MOST_ERRORS:
                    value = row[at][:1000]
                    errors.append({"row": total, "column": name, "value": value, "error": wrong})
    return {"valid": count == 0, "errors": errors, "total_rows": total, "error_count": count}


def _listed(given: Any) -> Iterable[str]:
    words = cast("list[Any]", given) if isinstance(given, list) else [given]
    for word in words:
        if not isinstance(word, str):
            raise Refused(f"A validation rule must be a text: {_KNOWN}")
    return words


def _rule(word: str) -> Rule:
    name, _, rest = word.strip().partition(":")
    if name == "required" and not rest:
        return lambda cell: None if cell.strip() else "is required"
    if name == "email" and not rest:
        return _unless_empty(
            lambda cell: None if _EMAIL.fullmatch(cell.strip()) else "is no e-mail address"
        )
    if name == "range":
        return _range(rest, word)
    if name == "type" and rest in _TYPES:
        kinds = _TYPES[rest]
        return _unless_empty(lambda cell: None if kind_of(cell) in kinds else f"is no {rest}")
    if name == "regex" and rest:
        return _regex(rest)
    raise Refused(f"Unknown validation rule: '{word}'. Known: {_KNOWN}")


def _unless_empty(rule: Rule) -> Rule:
    return lambda cell: rule(cell) if cell.strip() else None


def _range(text: str, word: str) -> Rule:
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise Refused(f"Unknown validation rule: '{word}'. Write it as range:0-100")
    least, most = float(found.group(1)), float(found.group(2))

    def rule(cell: str) -> str | None:
        if kind_of(cell) not in ("integer", "float"):
            return "is no number"
        inside = least <= float(cell) <= most
        return None if inside else f"is not between {found.group(1)} and {found.group(2)}"

    return _unless_empty(rule)


def _regex(text: str) -> Rule:
    try:
        pattern = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused(f"Invalid regex pattern: '{text}': {error}") from None
    return _unless_empty(lambda cell: None if pattern.search(cell) else f"does not match {text}")
