"""JSONPath: ``$.a.b[0]``, ``[*]``, ``..name``, slices, unions of names and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from llmspell_core import ValidationError

_STEP = re.compile(
    r"""(?P<deep>\.\.)?
        (?: \.?(?P<name>[A-Za-z_\u0080-\uffff][\w\u0080-\uffff-]*)
          | \.?(?P<star>\*)
          | \[(?P<inside>(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\]'"])*)\]
        )""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
_SLICE = re.compile(r"(-?\d+)?\s*:\s*(-?\d+)?(?:\s*:\s*(-?\d+)?)?")
MOST_FOUND = 100_000

Selector = str | int | slice | None  # None is every member


def find(path: str, value: Any) -> list[Any]:
    """Everything in *value* that the *path* selects, in order.

    Raises:
        ValidationError: ``Invalid JSONPath``, or for more than 100,000 finds.
    """
    if not path.startswith("$"):
        raise _invalid(path, "it must begin with $")
    found: list[Any] = [value]
    place = 1
    while place < len(path):
        match = _STEP.match(path, place)
        if match is None:
            raise _invalid(path, f"cannot read '{path[place:]}'")
        selectors = _selectors(match, path)
        deep = match.group("deep") is not None
        found = [hit for item in found for hit in _selected(item, selectors, deep)]
        if len(found) > MOST_FOUND:
            raise ValidationError(f"JSONPath '{path}' selects more than {MOST_FOUND} values")
        place = match.end()
    return found


def _invalid(path: str, why: str) -> ValidationError:
    return ValidationError(
        f"Invalid JSONPath '{path}': {why}",
        field="query",
        hint="Supported: $.name, ['name'], [0], [-1], [1:3], [*], ..name, [0,2].",
    )


def _selectors(match: re.Match[str], path: str) -> list[Selector]:
    name = match.group("name")
    if name is not None:
        return [name]
    if match.group("star") is not None:
        return [None]
    inside = match.group("inside").strip()
    if inside == "*":
        return [None]
    selectors: list[Selector] = []
    place = 0
    while place < len(inside) or not selectors:
        quoted = _QUOTED.match(inside, place)
        if quoted is not None:
            raw = quoted.group(1) if quoted.group(1) is not None else quoted.group(2)
            selectors.append(re.sub(r"\\(.)", r"\1", raw))
            place = quoted.end()
        else:
            end = inside.find(",", place)
            end = len(inside) if end < 0 else end
            selectors.append(_number(inside[place:end].strip(), path))
            place = end
        rest = inside[place:].lstrip()
        if rest and not rest.startswith(","):
            raise _invalid(path, f"cannot read '[{inside}]'")
        place = len(inside) - len(rest) + 1 if rest else len(inside)
        place += len(inside[place:]) - len(inside[place:].lstrip())
    return selectors


def _number(text: str, path: str) -> Selector:
    if re.fullmatch(r"-?\d{1,9}", text):
        return int(text)
    found = _SLICE.fullmatch(text)
    if found is None or found.group(3) == "0":
        raise _invalid(path, f"cannot read '[{text}]'")
    return slice(*(None if part is None else int(part) for part in found.groups()))


def _selected(item: Any, selectors: list[Selector], deep: bool) -> Iterator[Any]:
    for selector in selectors:
        yield from _members(item, selector)
    if deep:
        for child in _members(item, None):
            yield from _selected(child, selectors, deep)


def _members(item: Any, selector: Selector) -> Iterator[Any]:
    if isinstance(item, dict):
        table = cast("dict[str, Any]", item)
        if selector is None:
            yield from table.values()
        elif isinstance(selector, str) and selector in table:
            yield table[selector]
    elif isinstance(item, list):
        items = cast("list[Any]", item)
        if selector is None:
            yield from items
        elif isinstance(selector, slice):
            yield from items[selector]
        elif isinstance(selector, int) and -len(items) <= selector < len(items):
            yield items[selector]
