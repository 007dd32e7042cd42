"""What the CSV tool lets its worker process do. JSON in, JSON out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from llmspell_tools._worker_main import Refused
from llmspell_tools.data._csv_text import Reader, Writer, too_large, typed

LARGEST_RESULT = 64 * 1024**2
"""Characters of a payload."""
MOST_QUERY_ROWS = 10_000

Source = Mapping[str, Any]
Options = Mapping[str, Any]


def analyze(source: Source, options: Options) -> dict[str, Any]:
    """What is in the table."""
    from llmspell_tools.data._csv_statistics import analysis

    with Reader(source, options) as reader:
        return analysis(reader)


def objects(source: Source, options: Options) -> list[Any]:
    """The rows as objects; without headings, as arrays."""
    made: list[Any] = []
    size = 0
    with Reader(source, options) as reader:
        names = reader.columns if reader.has_headers else None
        for row in reader.rows():
            size += sum(map(len, row)) + 8 * len(row)
            if size > LARGEST_RESULT:
                raise too_large(LARGEST_RESULT)
            cells = [typed(cell) for cell in row]
            made.append(cells if names is None else dict(zip(names, cells, strict=True)))
    return made


def convert(source: Source, options: Options) -> Any:
    """The table in another format: a list (json), a text, or a table with base64 in it."""
    form = str(options["format"]).lower()
    if form == "json":
        return objects(source, options)
    if form in ("jsonlines", "jsonl", "ndjson"):
        rows = objects(source, {**options, "headers": options.get("headers", True)})
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if form in ("tsv", "csv"):
        return _copied(source, options, "\t" if form == "tsv" else ",")
    if form in ("excel", "xlsx"):
        return _packed("xlsx", source, options, _workbook)
    if form == "parquet":
        return _packed("parquet", source, options, _parquet)
    known = "json, jsonlines, tsv, csv, excel, parquet"
    raise Refused(f"Unknown export format: '{form}'. Known: {known}")


def _copied(source: Source, options: Options, delimiter: str) -> str:
    with Reader(source, options) as reader:
        writer = Writer(LARGEST_RESULT, delimiter)
        if reader.has_headers:
            writer.row(reader.columns)
        for row in reader.rows():
            writer.row(row)
        return writer.text()


def filter_rows(source: Source, options: Options) -> str:
    """The rows for which the condition holds, as CSV."""
    from llmspell_tools.data._csv_expressions import condition

    with Reader(source, options) as reader:
        wanted = condition(options["filter"], reader.position)
        writer = Writer(LARGEST_RESULT, reader.delimiter)
        writer.row(reader.columns)
        for row in reader.rows():
            if wanted(row):
                writer.row(row)
        return writer.text()


def transform(source: Source, options: Options) -> str:
    """The table with other names and further columns, as CSV."""
    from llmspell_tools.data._csv_expressions import computed

    renamed = cast("Mapping[str, str]", options.get("rename_columns") or {})
    added = cast("Mapping[str, str]", options.get("add_columns") or {})
    with Reader(source, options) as reader:
        for name in renamed:
            reader.position(name)
        sums = [computed(str(text), reader.position) for text in added.values()]
        writer = Writer(LARGEST_RESULT, reader.delimiter)
        writer.row([*(renamed.get(name, name) for name in reader.columns), *added])
        for row in reader.rows():
            values = [compute(row) for compute in sums]
            writer.row([*row, *("" if v is None else f"{v:.2f}" for v in values)])
        return writer.text()


def validate(source: Source, options: Options) -> dict[str, Any]:
    """Which cells break which rules."""
    from llmspell_tools.data._csv_rules import checked

    with Reader(source, options) as reader:
        return checked(reader, options["rules"])


def sample(source: Source, options: Options) -> str:
    """A few rows with the headings, as CSV: the first, or any."""
    size: int = options.get("size", 10)
    kept: list[tuple[int, list[str]]] = []
    from random import Random

    chance = Random(options["seed"]) if options.get("method") == "random" else None  # noqa: S311 - no secret
    with Reader(source, options) as reader:
        for number, row in enumerate(reader.rows()):
            if number < size:
                kept.append((number, row))
            elif chance is None:
                break
            else:
                place = chance.randrange(number + 1)
                if place < size:
                    kept[place] = (number, row)
        writer = Writer(LARGEST_RESULT, reader.delimiter)
        if reader.has_headers:
            writer.row(reader.columns)
        for _, row in sorted(kept):
            writer.row(row)
        return writer.text()


def write(rows: list[Any], options: Options) -> str:
    """Objects (their keys are the headings) or arrays as CSV."""
    writer = Writer(LARGEST_RESULT, options.get("delimiter") or ",")
    names: dict[str, None] = {}
    for row in rows:
        if isinstance(row, Mapping):
            names.update(dict.fromkeys(cast("Mapping[str, Any]", row)))
        elif not isinstance(row, list):
            raise Refused("CSV error: 'input' must be an array of objects or of arrays")
    if names:
        writer.row(names)
    for row in rows:
        cells: Iterable[Any]
        if isinstance(row, Mapping):
            table = cast("Mapping[str, Any]", row)
            cells = (table.get(name) for name in names)
        else:
            cells = cast("list[Any]", row)
        writer.row([_cell(value) for value in cells])
    return writer.text()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | str):
        return value
    return json.dumps(value, ensure_ascii=False)


# Formats of other libraries ------------------------------------------------------------------


def _packed(
    form: str, source: Source, options: Options, make: Callable[[Reader], bytes]
) -> dict[str, Any]:
    with Reader(source, options) as reader:
        content = make(reader)
    data = base64.b64encode(content).decode("ascii")
    return {"format": form, "encoding": "base64", "data": data, "size_bytes": len(content)}


def _workbook(reader: Reader) -> bytes:
    import io

    try:
        import xlsxwriter
    except ImportError:
        raise Refused("MISSING:excel") from None
    buffer = io.BytesIO()
    # A cell that begins with = stays the text it is: nobody's CSV gets to run formulas.
    plain = {"strings_to_formulas": False, "strings_to_urls": False}
    book: Any = xlsxwriter.Workbook(buffer, {"in_memory": True, **plain})
    sheet = book.add_worksheet("data")
    sheet.write_row(0, 0, reader.columns)
    for number, row in enumerate(reader.rows(), 1):
        if number >= 1_048_576:
            raise Refused("CSV error: a sheet holds at most 1048575 rows")
        for column, cell in enumerate(row):
            value = typed(cell)
            if value is not None:
                sheet.write(number, column, value)
    book.close()
    return buffer.getvalue()


def _parquet(reader: Reader) -> bytes:
    import io

    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise Refused("MISSING:parquet") from None
    columns: list[list[Any]] = [[] for _ in reader.columns]
    for row in reader.rows():
        for cells, cell in zip(columns, row, strict=True):
            cells.append(typed(cell))
    arrow: Any = pyarrow
    table = arrow.table({n: _array(c) for n, c in zip(reader.columns, columns, strict=True)})
    buffer = io.BytesIO()
    cast("Any", pyarrow.parquet).write_table(table, buffer)
    return buffer.getvalue()


def _array(values: list[Any]) -> list[Any]:
    """Values of one type, as a column needs it: else all of them texts."""
    kinds: set[type[Any]] = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


# SQL -----------------------------------------------------------------------------------------


def query(source: Source, options: Options) -> list[dict[str, Any]]:
    """The rows that a SELECT over the table ``data`` brings."""
    import sqlite3

    from llmspell_tools.data._sqlite_guard import reads_only

    with Reader(source, options) as reader:
        database = sqlite3.connect(":memory:")
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in reader.columns)
        marks = ", ".join("?" * len(reader.columns))
        try:
            database.execute(f"CREATE TABLE data ({names})")
            database.executemany(
                f"INSERT INTO data VALUES ({marks})",  # noqa: S608 - question marks only
                ([typed(cell) for cell in row] for row in reader.rows()),
            )
            database.commit()
            reads_only(database)
            found = database.execute(str(options["query"]))
            labels = [item[0] for item in found.description or ()]
            rows = found.fetchmany(MOST_QUERY_ROWS)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise Refused(f"CSV error: the query failed: {error}") from None
        finally:
            database.close()
    return [dict(zip(labels, map(_plain, row), strict=True)) for row in rows]


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value
