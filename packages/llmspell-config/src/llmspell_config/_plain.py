"""The JSON form of settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, cast


def plain(value: Any) -> Any:
    """*value* as JSON knows it: dataclasses become tables, enumerations their values."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        table = cast("Mapping[Any, Any]", value)
        return {str(key): plain(item) for key, item in table.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in cast("set[Any]", value))
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
