"""Reading CSV: encoding, delimiter and headings are found out, rows come one after the other.

Runs in the worker process of the tool.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from llmspell_tools._files import open_file, wrap_os_error
from llmspell_tools._worker_main import Refused

DELIMITERS = (",", ";", "\t", "|")
SNIFFED_LINES = 10
MOST_ERRORS = 10
LONGEST_FIELD = 10_000_000
MOST_COLUMNS = 10_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d{1,3})?")
_LEADING_ZERO = re.compile(r"[-+]?0\d")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{4}")
_DATE_TIME = re.compile(
    r"(?:\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{4})[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?"
    r"(?:Z|[-+]\d{2}:?\d{2})?"
)
_BOOLEANS = {"true": True, "false": False}
_DIGITS = frozenset("0123456789+-.")


def kind_of(cell: str) -> str:
    """``integer``, ``float``, ``boolean``, ``date``, ``date_time`` or ``string``; ``null`` for
    an empty cell. A number with a leading zero is a string: it is a code of some sort.
    """
    text = cell.strip()
    if not text:
        return "null"
    if text[0] not in _DIGITS:
        return "boolean" if text.lower() in _BOOLEANS else "string"
    if _INTEGER.fullmatch(text):
        return "integer"
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.match(text):
        return "float"
    if _DATE.fullmatch(text):
        return "date"
    return "date_time" if _DATE_TIME.fullmatch(text) else "string"


def typed(cell: str) -> Any:
    """The cell as a JSON value: numbers and booleans are such, an empty cell is null."""
    kind = kind_of(cell)
    if kind == "integer":
        return int(cell)
    if kind == "float":
        number = float(cell)
        return number if abs(number) != float("inf") else cell
    if kind == "boolean":
        return _BOOLEANS[cell.strip().lower()]
    return None if kind == "null" else cell


class Reader:
    """A CSV text, from its beginning; closed by ``with``.

    Args:
        source: ``{"text": …}``, or ``{"path": real path, "shown": path as given}``.
        options: ``delimiter``, ``headers`` (else both are found out).
    """

    def __init__(self, source: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        csv.field_size_limit(LONGEST_FIELD)
        self.errors: list[str] = []
        self._stack = ExitStack()
        try:
            self._text = self._opened(source)
            self._begin(options)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _opened(self, source: Mapping[str, Any]) -> io.TextIOBase:
        if "text" in source:
            text: str = source["text"]
            self.size = len(text.encode("utf-8", "surrogatepass"))
            self.encoding = "UTF-8"
            return io.StringIO(text.removeprefix("\ufeff"), newline="")
        from llmspell_tools.filesystem._encodings import detect

        self._stack.enter_context(wrap_os_error("read", source["shown"]))
        file = self._stack.enter_context(open_file(source["path"], os.O_RDONLY))
        self.size = os.fstat(file.fileno()).st_size
        found = detect(file, _go_on)
        self.encoding = "UTF-8" if found.name == "ascii" else found.shown
        file.seek(len(found.bom))
        return io.TextIOWrapper(file, found.name, errors="replace", newline="")

    def _begin(self, options: Mapping[str, Any]) -> None:
        head: list[str] = []
        for line in self._text:
            head.append(line)
            if len(head) == SNIFFED_LINES:
                break
        delimiter = options.get("delimiter")
        self.delimiter: str = delimiter if delimiter is not None else _sniffed(head)
        self._lines = self._counted(head)
        self.line = 0
        rows = self._parsed()
        nothing: list[str] = []
        first = next(rows, nothing)
        second = next(rows, None)
        headers = options.get("headers")
        self.has_headers: bool = _has_headings(first) if headers is None else headers
        width = len(first)
        if width > MOST_COLUMNS:
            raise Refused(f"CSV error: {width} columns, at most {MOST_COLUMNS}")
        if self.has_headers:
            self.columns = _unique(first)
            self._waiting = [] if second is None else [second]
        else:
            self.columns = [f"column_{number}" for number in range(1, width + 1)]
            self._waiting = [row for row in (first, second) if row]
        self._rows = rows

    def _counted(self, head: list[str]) -> Iterator[str]:
        yield from head
        yield from self._text

    def _parsed(self) -> Iterator[list[str]]:
        rows = csv.reader(self._lines, delimiter=self.delimiter)
        try:
            for row in rows:
                self.line = rows.line_num
                if row:
                    yield row
        except csv.Error as error:
            raise Refused(f"CSV error: line {rows.line_num}: {error}") from None

    def rows(self) -> Iterator[list[str]]:
        """The rows below the headings, each as wide as these; what was wrong goes to `errors`."""
        width = len(self.columns)
        for number, row in enumerate(self._all(), 1):
            if len(row) != width:
                if len(self.errors) < MOST_ERRORS:
                    self.errors.append(f"Row {number}: expected {width} fields, found {len(row)}")
                row = row[:width] + [""] * (width - len(row))
            yield row

    def _all(self) -> Iterator[list[str]]:
        yield from self._waiting
        yield from self._rows

    def position(self, name: str) -> int:
        """Where the column *name* stands.

        Raises:
            Refused: ``Column '…' not found``.
        """
        try:
            return self.columns.index(name)
        except ValueError:
            known = ", ".join(self.columns[:50])
            raise Refused(f"Column '{name}' not found. Columns: {known}") from None


def _go_on() -> None:
    """Nobody asks a worker to stop: it is killed."""


def _sniffed(lines: list[str]) -> str:
    """The delimiter that divides every line into the same number of fields, the most of them;
    a comma where there is one column.
    """
    best, most = ",", 1
    for delimiter in DELIMITERS:
        try:
            counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        # The last line may be cut inside a quoted field.
        whole = counts[:-1] if len(counts) > 2 else counts
        if whole and min(whole) == max(whole) and whole[0] > most:
            best, most = delimiter, whole[0]
    if most > 1:
        return best
    totals = {d: sum(line.count(d) for line in lines) for d in DELIMITERS}
    loudest = max(totals, key=lambda d: totals[d])
    return loudest if totals[loudest] >= len(lines) else ","


def _has_headings(first: list[str]) -> bool:
    """Whether the first row names the columns: it is all text, and no text twice."""
    cells = [cell.strip() for cell in first]
    return (
        bool(cells)
        and all(kind_of(cell) == "string" for cell in cells)
        and len(set(cells)) == len(cells)
    )


def _unique(names: Iterable[str]) -> list[str]:
    made: list[str] = []
    seen: set[str] = set()
    for number, given in enumerate(names, 1):
        name = given.strip() or f"column_{number}"
        count = 1
        wanted = name
        while wanted in seen:
            count += 1
            wanted = f"{name}_{count}"
        seen.add(wanted)
        made.append(wanted)
    return made


class Writer:
    """Rows as CSV text, at most *limit* characters of it.

    Args:
        limit: Where it stops.
        delimiter: Between the fields.
    """

    def __init__(self, limit: int, delimiter: str = ",") -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, delimiter=delimiter, lineterminator="\n")
        self._limit = limit

    def row(self, cells: Iterable[Any]) -> None:
        """Another row.

        Raises:
            Refused: when there is too much.
        """
        self._writer.writerow(cells)
        if self._buffer.tell() > self._limit:
            raise too_large(self._limit)

    def text(self) -> str:
        """What was written."""
        return self._buffer.getvalue()


def too_large(limit: int) -> Refused:
    """The error for an answer that no script or model could hold."""
    return Refused(
        f"CSV error: the result is larger than {limit} bytes; filter the rows, or take a sample"
    )
