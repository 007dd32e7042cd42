"""Writing TOML, which the standard library only reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

_BARE = re.compile(r"[A-Za-z0-9_-]+")

Path = tuple[str, ...]


def to_toml(
    values: Mapping[str, Any], *, above: Path = (), remark: Callable[[Path], str] | None = None
) -> str:
    """*values* as a TOML document that reads back as they are; None is left out.

    Args:
        values: Tables of JSON values.
        above: The path of the table they are.
        remark: Gives the comment behind a key, for people.
    """
    return "\n".join(_lines(values, above, remark)).strip("\n") + "\n"


def _lines(
    values: Mapping[str, Any], path: Path, remark: Callable[[Path], str] | None
) -> Iterator[str]:
    leaves = {k: v for k, v in values.items() if not isinstance(v, Mapping) and v is not None}
    tables = {k: cast("Mapping[str, Any]", v) for k, v in values.items() if isinstance(v, Mapping)}
    if path and (leaves or not tables):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for name, value in leaves.items():
        line = f"{_key(name)} = {_value(value)}"
        note = remark((*path, name)) if remark else ""
        yield f"{line}  # {note}" if note else line
    for name, table in tables.items():
        yield from _lines(table, (*path, name), remark)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return "[" + ", ".join(_value(item) for item in items if item is not None) + "]"
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        inner = ", ".join(f"{_key(k)} = {_value(v)}" for k, v in table.items() if v is not None)
        return "{ " + inner + " }" if inner else "{}"
    # JSON escapes are TOML escapes, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
