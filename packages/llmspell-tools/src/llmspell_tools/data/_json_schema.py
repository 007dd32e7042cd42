"""JSON Schema, draft 7: every keyword of its validation vocabulary, with local references.

The specification: https://json-schema.org/draft-07/draft-handrews-json-schema-validation-01
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

MOST_ERRORS = 100
DEEPEST = 200

Violation = tuple[str, str, str]  # path, message, keyword


class SchemaError(ValueError):
    """The schema itself is wrong."""


def has_patterns(schema: Any) -> bool:
    """Whether a regular expression may run while validating."""
    if isinstance(schema, dict):
        table = cast("dict[str, Any]", schema)
        if "pattern" in table or "patternProperties" in table:
            return True
        return any(has_patterns(value) for value in table.values())
    return isinstance(schema, list) and any(map(has_patterns, cast("list[Any]", schema)))


def violations(value: Any, schema: Any) -> list[dict[str, str]]:
    """What is wrong with *value*: ``{path, message, keyword}``, at most 100.

    Raises:
        SchemaError: when the schema is wrong.
    """
    found: list[dict[str, str]] = []
    for path, message, keyword in _Validator(schema).check(value, schema, "$", 0):
        found.append({"path": path, "message": message, "keyword": keyword})
        if len(found) == MOST_ERRORS:
            break
    return found


_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: (
        (isinstance(v, int) and not isinstance(v, bool))
        or (isinstance(v, float) and v.is_integer())
    ),
}


def _same(left: Any, right: Any) -> bool:
    """JSON equality: 1 is 1.0 but not true."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        ours, theirs = cast("list[Any]", left), cast("list[Any]", right)
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(left, dict) and isinstance(right, dict):
        mine, other = cast("dict[str, Any]", left), cast("dict[str, Any]", right)
        return mine.keys() == other.keys() and all(_same(mine[k], other[k]) for k in mine)
    return left == right


def _short(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


class _Validator:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._keywords: Mapping[str, Callable[..., Iterator[Violation]]] = {
            "type": self._type,
            "enum": self._enum,
            "const": self._const,
            "minimum": self._bounds,
            "maximum": self._bounds,
            "exclusiveMinimum": self._bounds,
            "exclusiveMaximum": self._bounds,
            "multipleOf": self._multiple,
            "minLength": self._sizes,
            "maxLength": self._sizes,
            "minItems": self._sizes,
            "maxItems": self._sizes,
            "minProperties": self._sizes,
            "maxProperties": self._sizes,
            "pattern": self._pattern,
            "format": self._format,
            "items": self._items,
            "contains": self._contains,
            "uniqueItems": self._unique,
            "required": self._required,
            "properties": self._properties,
            "propertyNames": self._names,
            "dependencies": self._dependencies,
            "allOf": self._all_of,
            "anyOf": self._any_of,
            "oneOf": self._one_of,
            "not": self._not,
            "if": self._if,
        }

    def check(self, value: Any, schema: Any, path: str, depth: int) -> Iterator[Violation]:
        if depth > DEEPEST:
            raise SchemaError("references lead in a circle, or the value is nested too deeply")
        if schema is True:
            return
        if schema is False:
            yield path, "Nothing is allowed here", "false"
            return
        if not isinstance(schema, dict):
            raise SchemaError(f"a schema must be an object or boolean, not {_short(schema)}")
        rules = cast("dict[str, Any]", schema)
        if "$ref" in rules:
            yield from self.check(value, self._resolved(rules["$ref"]), path, depth + 1)
            return
        for keyword in rules:
            rule = self._keywords.get(keyword)
            if rule is not None:
                yield from rule(value, rules, keyword, path, depth)
        if isinstance(value, dict) and (
            "additionalProperties" in rules or "patternProperties" in rules
        ):
            yield from self._additional(cast("dict[str, Any]", value), rules, path, depth)

    def _resolved(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(f"only local references (#/…) are followed, not {_short(reference)}")
        found = self._root
        for part in reference[1:].split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = cast("dict[str, Any]", found)[key]
            elif isinstance(found, list) and key.isdigit() and int(key) < len(found):  # pyright: ignore[reportUnknownArgumentType]
                found = cast("list[Any]", found)[int(key)]
            else:
                raise SchemaError(f"'{reference}' leads nowhere")
        return found

    def _valid(self, value: Any, schema: Any, path: str, depth: int) -> bool:
        return next(self.check(value, schema, path, depth + 1), None) is None

    # Any value -----------------------------------------------------------------------------

    def _type(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        wanted = rules["type"]
        names = cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted]
        for name in names:
            if not isinstance(name, str) or name not in _TYPES:
                raise SchemaError(f"unknown type {_short(name)}")
        if not any(_TYPES[name](value) for name in names):
            yield at[1], f"{_short(value)} is not of type {' or '.join(names)}", "type"

    def _enum(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        allowed = _list_of(rules, "enum")
        if not any(_same(value, one) for one in allowed):
            yield at[1], f"{_short(value)} is not one of {_short(allowed)}", "enum"

    def _const(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        if not _same(value, rules["const"]):
            yield at[1], f"{_short(value)} is not {_short(rules['const'])}", "const"

    # Numbers -------------------------------------------------------------------------------

    def _bounds(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        limit = _number_of(rules, keyword)
        if not _TYPES["number"](value):
            return
        fits, words = {
            "minimum": (value >= limit, "less than"),
            "maximum": (value <= limit, "greater than"),
            "exclusiveMinimum": (value > limit, "not above"),
            "exclusiveMaximum": (value < limit, "not below"),
        }[keyword]
        if not fits:
            yield path, f"{_short(value)} is {words} {limit}", keyword

    def _multiple(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        step = _number_of(rules, "multipleOf")
        if step <= 0:
            raise SchemaError("multipleOf must be above zero")
        if not _TYPES["number"](value):
            return
        quotient = value / step
        if not math.isfinite(quotient) or abs(quotient - round(quotient)) > 1e-9:
            yield at[1], f"{_short(value)} is not a multiple of {step}", "multipleOf"

    # Sizes ---------------------------------------------------------------------------------

    def _sizes(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        limit = _number_of(rules, keyword)
        kind = {"Length": "string", "Items": "array", "Properties": "object"}[keyword[3:]]
        if not _TYPES[kind](value):
            return
        size = len(value)
        if keyword.startswith("min") and size < limit:
            yield path, f"has {size} {_UNITS[kind]}, at least {limit} are needed", keyword
        if keyword.startswith("max") and size > limit:
            yield path, f"has {size} {_UNITS[kind]}, at most {limit} are allowed", keyword

    # Text ----------------------------------------------------------------------------------

    def _pattern(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        pattern = _compiled(rules["pattern"])
        if isinstance(value, str) and pattern.search(value) is None:
            message = f"{_short(value)} does not match pattern '{rules['pattern']}'"
            yield at[1], message, "pattern"

    def _format(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        check = _FORMATS.get(str(rules["format"]))
        if check is not None and isinstance(value, str) and not check(value):
            yield at[1], f"{_short(value)} is not a valid {rules['format']}", "format"

    # Arrays --------------------------------------------------------------------------------

    def _items(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        if not isinstance(value, list):
            return
        schema = rules["items"]
        for index, item in enumerate(cast("list[Any]", value)):
            rule = cast("Any", schema)
            if isinstance(schema, list):
                each = cast("list[Any]", schema)
                rule = each[index] if index < len(each) else rules.get("additionalItems", True)
            yield from self.check(item, rule, f"{path}[{index}]", depth + 1)

    def _contains(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        if isinstance(value, list) and not any(
            self._valid(item, rules["contains"], path, depth) for item in cast("list[Any]", value)
        ):
            yield path, "contains no item that fits", "contains"

    def _unique(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        if rules["uniqueItems"] is not True or not isinstance(value, list):
            return
        import json

        seen: set[str] = set()
        for item in cast("list[Any]", value):
            plain = int(item) if isinstance(item, float) and item.is_integer() else item
            text = json.dumps(plain, sort_keys=True)
            if text in seen:
                yield at[1], f"the item {_short(item)} must be unique", "uniqueItems"
                return
            seen.add(text)

    # Objects -------------------------------------------------------------------------------

    def _required(self, value: Any, rules: dict[str, Any], *at: Any) -> Iterator[Violation]:
        for name in _list_of(rules, "required"):
            if isinstance(value, dict) and name not in value:
                yield at[1], f"Missing required property '{name}'", "required"

    def _properties(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        for name, rule in _table_of(rules, "properties").items():
            if isinstance(value, dict) and name in value:
                inner = cast("dict[str, Any]", value)[name]
                yield from self.check(inner, rule, f"{path}.{name}", depth + 1)

    def _additional(
        self, value: dict[str, Any], rules: dict[str, Any], path: str, depth: int
    ) -> Iterator[Violation]:
        known = rules.get("properties", {})
        patterns = {
            _compiled(text): rule
            for text, rule in _table_of({"p": rules.get("patternProperties", {})}, "p").items()
        }
        rest = rules.get("additionalProperties", True)
        for name, inner in value.items():
            matched = [rule for pattern, rule in patterns.items() if pattern.search(name)]
            for rule in matched:
                yield from self.check(inner, rule, f"{path}.{name}", depth + 1)
            if matched or name in known:
                continue
            if rest is False:
                message = f"Additional property not allowed: '{name}'"
                yield f"{path}.{name}", message, "additionalProperties"
            else:
                yield from self.check(inner, rest, f"{path}.{name}", depth + 1)

    def _names(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        if isinstance(value, dict):
            for name in cast("dict[str, Any]", value):
                yield from self.check(name, rules[keyword], f"{path}.{name}", depth + 1)

    def _dependencies(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        for name, needs in _table_of(rules, keyword).items():
            if not isinstance(value, dict) or name not in value:
                continue
            if isinstance(needs, list):
                for other in cast("list[Any]", needs):
                    if other not in value:
                        yield path, f"'{name}' needs '{other}'", keyword
            else:
                yield from self.check(cast("Any", value), needs, path, depth + 1)

    # Combinations --------------------------------------------------------------------------

    def _all_of(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        for rule in _list_of(rules, keyword):
            yield from self.check(value, rule, path, depth + 1)

    def _any_of(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        if not any(self._valid(value, rule, path, depth) for rule in _list_of(rules, keyword)):
            yield path, f"{_short(value)} fits none of the alternatives", keyword

    def _one_of(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        fits = sum(self._valid(value, rule, path, depth) for rule in _list_of(rules, keyword))
        if fits != 1:
            yield path, f"{_short(value)} fits {fits} of the alternatives, not one", keyword

    def _not(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        if self._valid(value, rules["not"], path, depth):
            yield path, f"{_short(value)} is what is not allowed", keyword

    def _if(
        self, value: Any, rules: dict[str, Any], keyword: str, path: str, depth: int
    ) -> Iterator[Violation]:
        branch = "then" if self._valid(value, rules["if"], path, depth) else "else"
        if branch in rules:
            yield from self.check(value, rules[branch], path, depth + 1)


_UNITS = {"string": "characters", "array": "items", "object": "properties"}


def _list_of(rules: dict[str, Any], keyword: str) -> list[Any]:
    found = rules[keyword]
    if isinstance(found, dict) and not found:
        return []
    if not isinstance(found, list):
        raise SchemaError(f"'{keyword}' must be a list")
    return cast("list[Any]", found)


def _table_of(rules: dict[str, Any], keyword: str) -> dict[str, Any]:
    found = rules[keyword]
    if isinstance(found, list) and not found:
        return {}
    if not isinstance(found, dict):
        raise SchemaError(f"'{keyword}' must be an object")
    return cast("dict[str, Any]", found)


def _number_of(rules: dict[str, Any], keyword: str) -> float:
    found = rules[keyword]
    if not _TYPES["number"](found):
        raise SchemaError(f"'{keyword}' must be a number")
    return found


def _compiled(pattern: Any) -> re.Pattern[str]:
    if not isinstance(pattern, str):
        raise SchemaError(f"a pattern must be text, not {_short(pattern)}")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise SchemaError(f"pattern '{pattern}': {error}") from None


def _is_date_time(text: str) -> bool:
    from datetime import datetime

    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", text):
        return False
    return _parses(lambda: datetime.fromisoformat(text.upper()))


def _is_date(text: str) -> bool:
    from datetime import date

    return len(text) == 10 and _parses(lambda: date.fromisoformat(text))


def _is_address(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        from ipaddress import ip_address

        return _parses(lambda: ip_address(text)) and ip_address(text).version == version

    return check


def _parses(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ValueError:
        return False
    return True


def _matches(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FORMATS: Mapping[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "date": _is_date,
    "time": _matches(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?"),
    "email": _matches(rf"[^@\s]{{1,64}}@{_LABEL}(?:\.{_LABEL})*"),
    "hostname": _matches(rf"{_LABEL}(?:\.{_LABEL})*"),
    "ipv4": _is_address(4),
    "ipv6": _is_address(6),
    "uri": _matches(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]+"),
    "uuid": _matches(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    "json-pointer": _matches(r"(?:/(?:[^~/]|~[01])*)*"),
    "regex": lambda text: _is_pattern(text),
}


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True
