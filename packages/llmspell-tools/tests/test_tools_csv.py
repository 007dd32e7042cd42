import base64
import io
import json
import math
import re
import sqlite3
import statistics
import zipfile
from xml.etree import ElementTree

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    ExecutionContext,
    LLMTimeoutError,
    SecurityError,
    StorageError,
    ValidationError,
)
from llmspell_testing import ToolSuite
from llmspell_tools.data import CsvAnalyzer
from llmspell_tools.data._csv_expressions import computed, condition
from llmspell_tools.data._csv_statistics import analysis
from llmspell_tools.data._csv_text import Reader

PEOPLE = (
    "name,age,height,active,born,note\n"
    "Ann,31,1.70,true,1993-05-01,\n"
    "Bob,25,1.85,false,1999-12-24,likes; semicolons\n"
    'Cid,40,1.6,true,1984-01-31,"says ""hi"", often"\n'
    "Dan,,1.75,true,1990-07-07,x\n"
)


class TestCsvAnalyzerKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        tool = CsvAnalyzer()
        yield tool
        tool.close()

    @pytest.fixture
    def parameters(self):
        return {"operation": "analyze", "input": PEOPLE}

    @pytest.fixture
    def refused(self):
        return [
            {"operation": "convert", "input": PEOPLE},
            {"operation": "convert", "input": PEOPLE, "format": "doc"},
            {"operation": "filter", "input": PEOPLE, "filter": "nonsense"},
            {"operation": "write", "input": "text"},
            {"operation": "analyze"},
            {"operation": "fly", "input": PEOPLE},
        ]


@pytest.fixture
def csv(call):
    async def run(operation, text=None, /, **parameters):
        if text is not None:
            parameters["input"] = text
        return await call("csv_analyzer", operation=operation, **parameters)

    return run


# Analysis ------------------------------------------------------------------------------------


async def test_a_table_is_analysed(csv):
    found = await csv("analyze", PEOPLE)
    assert found.result == found.value == json.loads(found.text)
    assert found.metadata["analysis_result"] == found.result
    columns = {column.pop("name"): column for column in found.result.pop("columns")}
    assert found.result == {
        "row_count": 4,
        "column_count": 6,
        "encoding": "UTF-8",
        "delimiter": ",",
        "has_headers": True,
        "file_size_bytes": len(PEOPLE),
        "parse_errors": [],
    }
    ages = [31, 25, 40]
    assert columns["age"] == {
        "data_type": "integer",
        "null_count": 1,
        "unique_count": 3,
        "min_value": 25,
        "max_value": 40,
        "mean": pytest.approx(statistics.mean(ages)),
        "median": 31,
        "std_dev": pytest.approx(statistics.stdev(ages)),
        "sample_values": ["31", "25", "40"],
    }
    kinds = {name: column["data_type"] for name, column in columns.items()}
    assert kinds == {
        "name": "string",
        "age": "integer",
        "height": "float",
        "active": "boolean",
        "born": "date",
        "note": "string",
    }
    assert (columns["name"]["min_value"], columns["name"]["max_value"]) == ("Ann", "Dan")
    assert columns["name"]["mean"] is None
    assert columns["active"]["unique_count"] == 2


async def test_numbers_are_compared_as_numbers(csv):
    found = await csv("analyze", "n\n9\n10\n100\n2\n")
    column = found.result["columns"][0]
    assert (column["min_value"], column["max_value"], column["median"]) == (2, 100, 9.5)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2"], "integer"),
        (["1", "2.5"], "float"),
        (["1e3", "-.5"], "float"),
        (["007", "042"], "string"),
        (["true", "FALSE"], "boolean"),
        (["2024-01-02", "31.12.2024"], "date"),
        (["2024-01-02T10:00:00Z", "2024-01-02 10:00"], "date_time"),
        (["2024-01-02", "2024-01-02 10:00"], "date_time"),
        (["a", "b"], "string"),
        (["a", "1"], "mixed"),
        (["", " "], "string"),
        (["1" * 400], "float"),
        (["1e999", "1"], "float"),
    ],
)
async def test_types_of_columns_are_told(csv, cells, kind):
    found = await csv("analyze", "value,other\n" + "".join(f"{cell},x\n" for cell in cells))
    assert found.result["columns"][0]["data_type"] == kind


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_the_delimiter_is_found_out(csv, delimiter):
    text = PEOPLE.replace('"says ""hi"", often"', "x").replace("likes; semicolons", "y")
    found = await csv("analyze", text.replace(",", delimiter))
    assert (found.result["delimiter"], found.result["column_count"]) == (delimiter, 6)


async def test_one_column_and_one_row_and_nothing(csv):
    one = (await csv("analyze", "word\nalpha\nbeta\n")).result
    assert (one["column_count"], one["row_count"], one["has_headers"]) == (1, 2, True)
    headings = (await csv("analyze", "a,b\n")).result
    assert (headings["column_count"], headings["row_count"]) == (2, 0)
    nothing = (await csv("analyze", "")).result
    assert (nothing["column_count"], nothing["row_count"], nothing["columns"]) == (0, 0, [])


async def test_headings_are_found_out_or_said(csv):
    none = (await csv("analyze", "1,2\n3,4\n")).result
    assert (none["has_headers"], none["row_count"]) == (False, 2)
    assert [column["name"] for column in none["columns"]] == ["column_1", "column_2"]
    said = (await csv("analyze", "1,2\n3,4\n", headers=True)).result
    assert [column["name"] for column in said["columns"]] == ["1", "2"]
    twice = (await csv("analyze", "a,a,\nx,y,z\n", headers=True)).result
    assert [column["name"] for column in twice["columns"]] == ["a", "a_2", "column_3"]


async def test_rows_of_another_width_are_reported(csv):
    text = "a,b\n" + "1\n2,3,4\n5,6\n" + "7\n" * 20
    found = (await csv("analyze", text)).result
    assert found["row_count"] == 23
    assert found["parse_errors"][:2] == [
        "Row 1: expected 2 fields, found 1",
        "Row 2: expected 2 fields, found 3",
    ]
    assert len(found["parse_errors"]) == 10


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("näme\nä\n".encode(), "UTF-8"),
        (b"\xef\xbb\xbf" + "näme\nä\n".encode(), "UTF-8"),
        ("näme\nä\n".encode("utf-16"), "UTF-16LE"),
        (b"name\nb\n", "UTF-8"),
    ],
)
async def test_files_are_read_in_their_encoding(csv, allowed, content, encoding):
    (allowed / "x.csv").write_bytes(content)
    for name in ("path", "file", "file_path"):
        found = (await csv("analyze", **{name: str(allowed / "x.csv")})).result
        assert (found["encoding"], found["row_count"]) == (encoding, 1)
        assert found["columns"][0]["name"] in ("näme", "name")
        assert found["file_size_bytes"] == len(content)


@settings(max_examples=60)
@for_all(
    st.lists(
        st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6, allow_nan=False).map(float)),
        min_size=1,
        max_size=50,
    )
)
def test_statistics_are_those_of_the_standard_library(numbers):
    text = "n,x\n" + "".join(f"{n!r},y\n" for n in numbers)
    with Reader({"text": text}, {}) as reader:
        column = analysis(reader)["columns"][0]
    assert column["mean"] == pytest.approx(statistics.fmean(numbers), abs=1e-6)
    assert column["median"] == pytest.approx(statistics.median(numbers), abs=1e-6)
    if len(numbers) > 1:
        assert column["std_dev"] == pytest.approx(statistics.stdev(numbers), abs=1e-3)
    assert column["unique_count"] == len({repr(n) for n in numbers})


def test_many_different_values_are_counted_exactly():
    numbers = [n % 25_000 for n in range(60_000)]
    text = "n,s\n" + "".join(f"{n},s{n}\n" for n in numbers)
    with Reader({"text": text}, {}) as reader:
        first, second = analysis(reader)["columns"]
    assert (first["unique_count"], second["unique_count"]) == (25_000, 25_000)
    assert first["median"] == statistics.median(numbers)


# Conversion ----------------------------------------------------------------------------------

ROWS = [
    {"name": "Ann", "age": 31, "height": 1.7, "active": True, "born": "1993-05-01", "note": None},
    {
        "name": "Bob",
        "age": 25,
        "height": 1.85,
        "active": False,
        "born": "1999-12-24",
        "note": "likes; semicolons",
    },
    {
        "name": "Cid",
        "age": 40,
        "height": 1.6,
        "active": True,
        "born": "1984-01-31",
        "note": 'says "hi", often',
    },
    {"name": "Dan", "age": None, "height": 1.75, "active": True, "born": "1990-07-07", "note": "x"},
]


async def test_rows_become_json_and_lines_of_it(csv):
    assert (await csv("convert", PEOPLE, format="json")).value == ROWS
    assert (await csv("parse", PEOPLE)).value == ROWS
    assert (await csv("convert", PEOPLE, options={"format": "JSON"})).value == ROWS
    for form in ("jsonl", "jsonlines"):
        lines = await csv("convert", PEOPLE, format=form)
        assert lines.text == lines.value
        assert [json.loads(line) for line in lines.text.splitlines()] == ROWS
    assert (await csv("parse", "1,2\n", headers=False)).value == [[1, 2]]


async def test_rows_become_tab_separated(csv):
    made = await csv("convert", PEOPLE, format="tsv")
    assert made.text.splitlines()[1] == "Ann\t31\t1.70\ttrue\t1993-05-01\t"
    again = await csv("convert", made.text, format="json")
    assert again.value == ROWS


def sheet_of(content):
    """The cells of a workbook, read without the library that wrote it."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        shared = [
            "".join(part.text or "" for part in item.iter(f"{space}t"))
            for item in ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
        ]
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    rows = []
    for row in sheet.iter(f"{space}row"):
        cells = {}
        for cell in row:
            assert cell.find(f"{space}f") is None, "a formula"
            kind, value = cell.get("t"), cell.find(f"{space}v").text
            cells[re.sub(r"\d", "", cell.get("r"))] = (
                shared[int(value)] if kind == "s" else value == "1" if kind == "b" else float(value)
            )
        rows.append(cells)
    return rows


async def test_rows_become_a_workbook_without_formulas(csv):
    text = "name,n,ok,evil\nä,1.5,true,=1+1\nb,2,false,http://x\n"
    for form in ("excel", "xlsx"):
        made = (await csv("convert", text, format=form)).value
        assert (made["format"], made["encoding"]) == ("xlsx", "base64")
        content = base64.b64decode(made["data"])
        assert made["size_bytes"] == len(content)
        assert sheet_of(content) == [
            {"A": "name", "B": "n", "C": "ok", "D": "evil"},
            {"A": "ä", "B": 1.5, "C": True, "D": "=1+1"},
            {"A": "b", "B": 2.0, "C": False, "D": "http://x"},
        ]


async def test_rows_become_parquet(csv):
    reading = pytest.importorskip("pyarrow.parquet", reason="llmspell-tools[parquet] is missing")
    made = (await csv("convert", PEOPLE, format="parquet")).value
    table = reading.read_table(io.BytesIO(base64.b64decode(made["data"])))
    assert table.to_pylist() == ROWS
    assert made["format"] == "parquet"


async def test_rows_of_a_script_become_csv(csv, allowed):
    rows = [{"a": 1, "b": 'say "x", y'}, {"a": True, "c": [1, 2]}]
    made = await csv("write", rows)
    assert made.text == 'a,b,c\n1,"say ""x"", y",\ntrue,,"[1, 2]"\n'
    path = allowed / "new" / "x.csv"
    written = await csv("write", data=rows, path=str(path))
    assert path.read_text() == written.text == made.text
    assert written.metadata["file_path"] == str(path)
    assert (await csv("write", [[1, "x"], [None, "y"]], delimiter=";")).text == "1;x\n;y\n"


# Filter and transform ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("age > 25", "Ann Cid"),
        ("age >= 25", "Ann Bob Cid"),
        ("age < 31.5", "Ann Bob"),
        ("name == Bob", "Bob"),
        ("name = 'Bob'", "Bob"),
        ("name != Bob", "Ann Cid Dan"),
        ("age > 25 and height < 1.65", "Cid"),
        ("name == Ann or name == Bob and active == true", "Ann"),
        ("(name == Ann or name == Bob) and active == false", "Bob"),
        ("not active == true", "Bob"),
        ("note contains 'hi\"'", "Cid"),
        ('note == "likes; semicolons"', "Bob"),
        ("note == likes; semicolons", "Bob"),
        ("name starts_with A", "Ann"),
        ("name ends_with n", "Ann Dan"),
        ("`name` == Dan", "Dan"),
        ("note == ''", "Ann"),
    ],
)
async def test_rows_are_filtered(csv, expression, names):
    made = await csv("filter", PEOPLE, filter=expression)
    lines = made.value.splitlines()
    assert lines[0] == "name,age,height,active,born,note"
    assert [line.split(",")[0] for line in lines[1:]] == names.split()


async def test_columns_are_renamed_and_computed(csv):
    text = "item,price,number of\npen,1.5,4\nink,x,2\nbag,10,0\n"
    made = await csv(
        "transform",
        text,
        rename_columns={"item": "what"},
        add_columns={"total": "price * `number of`", "each": "(price + 1) / `number of` - -1"},
    )
    assert made.text == (
        "what,price,number of,total,each\npen,1.5,4,6.00,1.62\nink,x,2,,\nbag,10,0,0.00,\n"
    )


@settings(max_examples=60)
@for_all(st.floats(-100, 100), st.floats(-100, 100), st.sampled_from("+-*/"))
def test_sums_are_what_python_makes_of_them(a, b, sign):
    try:
        expected = eval(f"{a!r} {sign} ({b!r}) * 2 - 1")
    except ZeroDivisionError:
        expected = None
    row = [f"{a:.20f}", f"{b:.20f}"]
    made = computed(f"a {sign} b * 2 - 1", ["a", "b"].index)(row)
    if expected is None or not math.isfinite(expected) or abs(b) < 1e-6:
        return
    assert made == pytest.approx(expected, rel=1e-6, abs=1e-6)


@for_all(st.text(max_size=60))
def test_no_text_breaks_the_parsers(text):
    from llmspell_tools._worker_main import Refused

    for parse in (condition, computed):
        try:
            parse(text, lambda name: 0)
        except Refused:
            continue


# Validation, samples, queries ----------------------------------------------------------------


async def test_cells_are_held_to_rules(csv):
    text = "mail,age,code\na@b.example,30,AB\nnobody,130,x\n,-5,CD\nc@d,abc,EF\n"
    rules = {
        "mail": ["required", "email"],
        "age": ["range:0-120", "type:integer"],
        "code": "regex:^[A-Z]{2}$",
    }
    found = await csv("validate", text, rules=rules)
    assert found.metadata["validation_result"] == found.result
    assert found.result == {
        "valid": False,
        "total_rows": 4,
        "error_count": 8,
        "errors": [
            {"row": 2, "column": "mail", "value": "nobody", "error": "is no e-mail address"},
            {"row": 2, "column": "age", "value": "130", "error": "is not between 0 and 120"},
            {"row": 2, "column": "code", "value": "x", "error": "does not match ^[A-Z]{2}$"},
            {"row": 3, "column": "mail", "value": "", "error": "is required"},
            {"row": 3, "column": "age", "value": "-5", "error": "is not between 0 and 120"},
            {"row": 4, "column": "mail", "value": "c@d", "error": "is no e-mail address"},
            {"row": 4, "column": "age", "value": "abc", "error": "is no number"},
            {"row": 4, "column": "age", "value": "abc", "error": "is no integer"},
        ],
    }
    good = await csv("validate", "mail,age,code\na@b.example,30,AB\n", options={"rules": rules})
    assert good.result == {"valid": True, "errors": [], "total_rows": 1, "error_count": 0}


async def test_a_sample_is_the_first_rows_or_any(csv):
    text = "n,x\n" + "".join(f"{n},y\n" for n in range(1000))
    first = await csv("sample", text, size=3)
    assert first.text == "n,x\n0,y\n1,y\n2,y\n"
    assert len((await csv("sample", text)).text.splitlines()) == 11
    some = await csv("sample", text, size=20, method="random")
    numbers = [int(line.split(",")[0]) for line in some.text.splitlines()[1:]]
    assert len(set(numbers)) == 20
    assert numbers == sorted(numbers)
    assert numbers != list(range(20))
    assert (await csv("sample", "n,x\n1,y\n", size=5, method="random")).text == "n,x\n1,y\n"


async def test_a_table_is_queried_with_sql(csv):
    query = "SELECT active, count(*) AS n, avg(age) AS age FROM data GROUP BY active ORDER BY n"
    found = await csv("query", PEOPLE, query=query)
    assert found.value == [
        {"active": 0, "n": 1, "age": 25.0},
        {"active": 1, "n": 3, "age": 35.5},
    ]
    nothing = await csv("query", PEOPLE, query="SELECT name FROM data WHERE age > 100")
    assert nothing.value == []


# Attacks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM data",
        "DROP TABLE data",
        "UPDATE data SET name = 'x'",
        "INSERT INTO data (name) VALUES ('x')",
        "ATTACH '/tmp/evil.db' AS evil",
        "VACUUM INTO '/tmp/evil.db'",
        "PRAGMA writable_schema = on",
        "SELECT load_extension('evil')",
        "SELECT 1; DROP TABLE data",
        "CREATE TABLE x (a)",
        "SELECT zeroblob(1000000000)",
    ],
)
async def test_a_query_only_reads(csv, allowed, query):
    evil = allowed / "evil.db"
    with pytest.raises(ValidationError, match="CSV error: the query failed"):
        await csv("query", PEOPLE, query=query.replace("/tmp/evil.db", str(evil)))
    assert not evil.exists()


async def test_what_never_ends_is_ended(services, context):
    forever = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"
    for parameters in (
        {"operation": "query", "query": forever},
        {"operation": "validate", "rules": {"name": r"regex:^(a|a)*$"}},
    ):
        text = f"name,x\n{'a' * 60}b,y\n"
        with pytest.raises(LLMTimeoutError):
            await services.tools.invoke(
                "csv_analyzer", {"input": text, **parameters}, context, timeout_seconds=1.0
            )


async def test_tables_that_are_too_large_are_refused(make_services, allowed):
    services = make_services(data={"max_csv_size": 1000})
    (allowed / "x.csv").write_text("a,b\n" * 300)
    for parameters in ({"path": str(allowed / "x.csv")}, {"input": "a,b\n" * 300}):
        with pytest.raises(ValidationError, match="exceeds maximum allowed size 1000"):
            await services.tools.invoke("csv_analyzer", parameters, ExecutionContext(services))
    wide = "a," * 10_001 + "b\n"
    roomy = make_services()
    with pytest.raises(ValidationError, match="columns, at most 10000"):
        await roomy.tools.invoke("csv_analyzer", {"input": wide}, ExecutionContext(roomy))


async def test_files_outside_and_links_are_refused(csv, allowed, secret):
    (allowed / "link.csv").symlink_to(secret / "key.txt")
    for path in (secret / "key.txt", allowed / "link.csv"):
        with pytest.raises(SecurityError):
            await csv("analyze", path=str(path))
    with pytest.raises(SecurityError):
        await csv("write", [{"a": 1}], path=str(secret / "x.csv"))
    with pytest.raises(StorageError, match="Failed to access path"):
        await csv("analyze", path=str(allowed / "none.csv"))


@pytest.mark.parametrize(
    ("operation", "given", "words"),
    [
        ("fly", {}, "Unknown CSV operation: 'fly'"),
        ("convert", {}, "Convert operation requires 'format'"),
        ("convert", {"format": "doc"}, "Unknown export format: 'doc'"),
        ("filter", {}, "Filter operation requires 'filter'"),
        ("filter", {"filter": "age"}, "Filter expression must be in format"),
        ("filter", {"filter": "age >"}, "Filter expression must be in format"),
        ("filter", {"filter": "(age > 1"}, "closing bracket"),
        ("filter", {"filter": "age > 1)"}, "cannot read from"),
        ("filter", {"filter": "age like 1"}, "Unknown operator: 'like'"),
        ("filter", {"filter": "age ~ 1"}, "Unknown operator: '~'"),
        ("filter", {"filter": "size > 1"}, "Column 'size' not found"),
        ("filter", {"filter": "not " * 100 + "age > 1"}, "nested too deeply"),
        ("transform", {"add_columns": {"x": "size * 2"}}, "Column 'size' not found"),
        ("transform", {"add_columns": {"x": "age *"}}, "Invalid expression"),
        ("transform", {"add_columns": {"x": "__import__('os')"}}, "Invalid expression"),
        ("transform", {"rename_columns": {"size": "x"}}, "Column 'size' not found"),
        ("validate", {}, "Validate operation requires 'rules'"),
        ("validate", {"rules": {"age": "even"}}, "Unknown validation rule: 'even'"),
        ("validate", {"rules": {"age": "regex:("}}, "Invalid regex pattern"),
        ("validate", {"rules": {"size": "required"}}, "Column 'size' not found"),
        ("query", {}, "Query operation requires 'query'"),
        ("query", {"query": "SELECT"}, "CSV error: the query failed"),
        ("analyze", {"delimiter": ",,"}, "Invalid delimiter"),
        ("analyze", {"delimiter": ""}, "Invalid delimiter"),
        ("analyze", {"options": {"headers": "yes"}}, "Invalid type for parameter 'headers'"),
        ("sample", {"options": {"size": -1}}, "must not be negative"),
        ("sample", {"options": {"size": True}}, "Invalid type for parameter 'size'"),
        ("sample", {"options": {"method": "best"}}, "Invalid method"),
    ],
)
async def test_what_makes_no_sense_is_refused(csv, operation, given, words):
    with pytest.raises(ValidationError, match=re.escape(words)):
        await csv(operation, PEOPLE, **given)


async def test_input_that_is_no_csv_is_refused(csv):
    with pytest.raises(ValidationError, match="Missing required parameter 'input'"):
        await csv("analyze")
    with pytest.raises(ValidationError, match="Invalid type for parameter 'input'"):
        await csv("analyze", {"a": 1})
    with pytest.raises(ValidationError, match="CSV error: line 2"):
        await csv("analyze", "a,b\nx" + "y" * 10_000_001 + ",z\n")
    with pytest.raises(ValidationError, match="the input is not UTF-8"):
        await csv("analyze", b"\xff\xfe\x00")
    with pytest.raises(ValidationError, match="Write operation requires 'input'"):
        await csv("write", "text")


async def test_a_missing_package_is_named_with_the_line_that_installs_it(csv, monkeypatch):
    from llmspell_tools._worker import WorkerPool

    async def without(self, job, *arguments):
        raise ValidationError("MISSING:excel")

    monkeypatch.setattr(WorkerPool, "run", without)
    with pytest.raises(ConfigurationError) as caught:
        await csv("convert", PEOPLE, format="excel")
    assert caught.value.hint == "pip install 'llmspell-tools[excel]'"


def test_operations_say_what_they_may_do(allowed):
    tool = CsvAnalyzer()
    for operation in CsvAnalyzer.operations:
        assert tool.effect_of({"operation": operation}) is EffectClass.PURE
    (allowed / "x.csv").write_text("")
    write = {"operation": "write", "path": str(allowed / "x.csv")}
    assert tool.effect_of(write) is EffectClass.IDEMPOTENT
    assert tool.destructive_of(write)
    assert not tool.destructive_of({"operation": "write", "path": str(allowed / "y.csv")})
    assert not tool.destructive_of({**write, "operation": "analyze"})


def test_the_guard_tells_what_it_refused():
    from llmspell_tools.data._sqlite_guard import restrict

    database = sqlite3.connect(":memory:")
    asked = []
    restrict(database, {sqlite3.SQLITE_SELECT}, asked.append)
    with pytest.raises(sqlite3.DatabaseError):
        database.execute("SELECT load_extension('x')")
    database.close()
    assert asked == ["load_extension"]
