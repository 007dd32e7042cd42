"""What the columns of a table hold; runs in the worker process of the CSV tool."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise
from typing import Any

from llmspell_tools.data._csv_text import Reader, kind_of

SAMPLES = 5
FEW = 10_000
"""Different values that are kept as they are; beyond that, eight bytes a cell."""


class Column:
    """One column: what is known of the cells so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._nulls = 0
        self._kinds: dict[str, int] = {}
        self._samples: list[str] = []
        self._distinct = _Distinct()
        self._numbers = _Numbers()
        self._least: str | None = None
        self._most: str | None = None

    def add(self, cell: str) -> None:
        """Another cell."""
        kind = kind_of(cell)
        if kind == "null":
            self._nulls += 1
            return
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        new = self._distinct.add(cell)
        if new and len(self._samples) < SAMPLES:
            self._samples.append(cell)
        if kind in ("integer", "float"):
            self._numbers.add(float(cell))
        if self._least is None or cell < self._least:
            self._least = cell
        if self._most is None or cell > self._most:
            self._most = cell

    @property
    def data_type(self) -> str:
        """The type of all cells that are not empty."""
        kinds = set(self._kinds)
        if len(kinds) == 1:
            return kinds.pop()
        if not kinds:
            return "string"
        if kinds == {"integer", "float"}:
            return "float"
        return "date_time" if kinds == {"date", "date_time"} else "mixed"

    def to_dict(self) -> dict[str, Any]:
        """As it is reported."""
        kind = self.data_type
        numeric = kind in ("integer", "float")
        made: dict[str, Any] = {
            "name": self.name,
            "data_type": kind,
            "null_count": self._nulls,
            "unique_count": self._distinct.count(),
            "min_value": self._least,
            "max_value": self._most,
            "mean": None,
            "median": None,
            "std_dev": None,
            "sample_values": self._samples,
        }
        if numeric:
            made.update(self._numbers.summary(whole=kind == "integer"))
        return made


class _Distinct:
    """How many different texts there were."""

    def __init__(self) -> None:
        self._few: set[str] = set()
        self._many: array[int] | None = None

    def add(self, text: str) -> bool:
        """Note it; whether it was certainly not there before."""
        if self._many is not None:
            self._many.append(hash(text))
            return False
        if text in self._few:
            return False
        self._few.add(text)
        if len(self._few) > FEW:
            # Two of a billion hashes of 64 bits are rarely the same.
            self._many = array("q", map(hash, self._few))
            self._few = set()
        return True

    def count(self) -> int:
        if self._many is None:
            return len(self._few)
        ordered = sorted(self._many)
        return 1 + sum(a != b for a, b in pairwise(ordered))


class _Numbers:
    """Mean, deviation and the exact median of numbers."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._few: dict[float, int] = {}
        self._many: array[float] | None = None

    def add(self, number: float) -> None:
        # Welford's way, which does not lose small deviations of large numbers.
        self._count += 1
        away = number - self._mean
        self._mean += away / self._count
        self._squares += away * (number - self._mean)
        if self._many is not None:
            self._many.append(number)
            return
        self._few[number] = self._few.get(number, 0) + 1
        if len(self._few) > FEW:
            self._many = array("d", (n for n, times in self._few.items() for _ in range(times)))
            self._few = {}

    def summary(self, *, whole: bool) -> dict[str, Any]:
        """``{min_value, max_value, mean, median, std_dev}``; finite, or null."""
        ordered = _Ordered(self._few if self._many is None else self._many)
        least, most = ordered.at(0), ordered.at(self._count - 1)
        middle = (ordered.at((self._count - 1) // 2) + ordered.at(self._count // 2)) / 2
        deviation = math.sqrt(self._squares / (self._count - 1)) if self._count > 1 else 0.0
        finite = {
            "min_value": least,
            "max_value": most,
            "mean": self._mean,
            "median": middle,
            "std_dev": deviation,
        }
        made: dict[str, Any] = {k: v if math.isfinite(v) else None for k, v in finite.items()}
        if whole:
            made["min_value"], made["max_value"] = int(least), int(most)
        return made


class _Ordered:
    """Numbers by their rank."""

    def __init__(self, numbers: dict[float, int] | array[float]) -> None:
        if isinstance(numbers, array):
            self._all = sorted(numbers)
            self._counts: list[tuple[float, int]] = []
        else:
            self._all = []
            self._counts = sorted(numbers.items())

    def at(self, rank: int) -> float:
        if self._all:
            return self._all[rank]
        for number, times in self._counts:
            if rank < times:
                return number
            rank -= times
        raise IndexError(rank)


def analysis(reader: Reader) -> dict[str, Any]:
    """Everything that `analyze` reports."""
    columns = [Column(name) for name in reader.columns]
    count = 0
    for row in reader.rows():
        count += 1
        for column, cell in zip(columns, row, strict=True):
            column.add(cell)
    return {
        "row_count": count,
        "column_count": len(columns),
        "encoding": reader.encoding,
        "delimiter": reader.delimiter,
        "has_headers": reader.has_headers,
        "columns": [column.to_dict() for column in columns],
        "file_size_bytes": reader.size,
        "parse_errors": reader.errors,
    }
