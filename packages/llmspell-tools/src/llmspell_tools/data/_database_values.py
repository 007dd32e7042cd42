"""What databases answer, as JSON values of bounded size."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

MOST_BYTES = 10 * 1024**2
"""What the values of an answer may take together; it is cut off behind that."""
_EXACT = 1 << 53


@dataclass(slots=True)
class Rows:
    """Rows that arrive one by one, up to *most* of them."""

    columns: list[str]
    most: int
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    truncated: bool = False
    _size: int = 0

    def __post_init__(self) -> None:
        self.columns = _unique(self.columns)

    def add(self, values: Iterable[Any]) -> bool:
        """Another row; whether there is room for more."""
        if len(self.rows) >= self.most or self._size > MOST_BYTES:
            self.truncated = True
            return False
        row = [plain(value) for value in values]
        self._size += sum(len(v) if isinstance(v, str) else 16 for v in row)
        self.rows.append(dict(zip(self.columns, row, strict=True)))
        return True


def _unique(names: list[str]) -> list[str]:
    """Names of columns; the second ``id`` is ``id_2``."""
    made: list[str] = []
    for name in names:
        wanted, count = name, 1
        while wanted in made:
            count += 1
            wanted = f"{name}_{count}"
        made.append(wanted)
    return made


def plain(value: Any) -> Any:
    """*value* as JSON: exact numbers stay exact (as text where JSON has no number for them),
    bytes are base64, moments ISO 8601.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else str(value)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(bytes(cast("bytes", value))).decode("ascii")
    if isinstance(value, Mapping):
        table = cast("Mapping[Any, Any]", value)
        return {str(key): plain(inner) for key, inner in table.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in cast("Iterable[Any]", value)]
    return str(value)


def _number(value: Decimal) -> Any:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return int(value) if abs(value) <= _EXACT else str(value)
    near = float(value)
    return near if Decimal(repr(near)) == value else str(value)
