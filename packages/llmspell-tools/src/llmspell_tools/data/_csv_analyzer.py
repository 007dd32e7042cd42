"""The tool ``csv_analyzer``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    Parameter,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._files import wrap_os_error
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._threads import Stop, in_thread
from llmspell_tools.data._payloads import payload, plain
from llmspell_tools.data._settings import DataConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools._worker import WorkerPool

_OPTIONS = (
    "format",
    "filter",
    "rename_columns",
    "add_columns",
    "rules",
    "size",
    "method",
    "headers",
    "delimiter",
    "query",
)
_EXTRAS = {"excel": "XlsxWriter", "parquet": "pyarrow"}
_JOBS = "llmspell_tools.data._csv_jobs:"


@built_in("csv_analyzer")
class CsvAnalyzer(OperationTool):
    """CSV: analysed, converted, filtered, transformed, validated, queried.

    Encoding, delimiter and headings are found out. The work is done in a child process without
    environment and with bounded memory, which is killed when the time is up: regular
    expressions and queries of a stranger are no danger. Excel and Parquet need the extras
    ``llmspell-tools[excel]`` and ``llmspell-tools[parquet]``.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "analyze": ("analyse", "stats", "statistics"),
        "convert": ("export",),
        "filter": (),
        "transform": (),
        "validate": (),
        "sample": ("head",),
        "parse": ("read",),
        "write": ("stringify",),
        "query": ("sql",),
    }
    default_operation = "analyze"
    unknown_operation = "Unknown CSV operation"
    binary = frozenset({"input"})
    timeout_seconds = 120.0

    def __init__(self) -> None:
        self._workers: WorkerPool | None = None

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("csv_analyzer")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="analyze"),
                Parameter(
                    "input",
                    "any",
                    "The CSV text; write: an array of objects",
                    aliases=("csv_data", "data", "content"),
                ),
                Parameter(
                    "path",
                    "string",
                    "A CSV file, instead of input; write: where the text goes",
                    aliases=("file", "file_path"),
                ),
                Parameter("options", "object", "The parameters below, in a table of their own"),
                Parameter("format", "string", "convert: json, jsonlines, tsv, csv, excel, parquet"),
                Parameter("filter", "string", "filter: column operator value, with and, or, not"),
                Parameter("rename_columns", "object", "transform: old name and new name"),
                Parameter("add_columns", "object", "transform: name and expression (a * b + 1)"),
                Parameter(
                    "rules",
                    "object",
                    "validate: column and rule or list of rules: required, email, "
                    "range:0-100, regex:…, type:integer",
                ),
                Parameter("size", "integer", "sample: rows", minimum=0, maximum=100_000),
                Parameter("method", "string", "sample: first or random", enum=("first", "random")),
                Parameter("headers", "boolean", "Whether the first row names the columns"),
                Parameter("delimiter", "string", "One character, where it cannot be found out"),
                Parameter("query", "string", "query: a SELECT over the table data"),
            ),
            "any",
        )

    def close(self) -> None:
        """End the worker processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """Writing a file may be done again."""
        writes = parameters.get("operation") == "write" and "path" in parameters
        return EffectClass.IDEMPOTENT if writes else EffectClass.PURE

    def destructive_of(self, parameters: Mapping[str, Any]) -> bool:
        """Writing over a file."""
        path = parameters.get("path")
        if parameters.get("operation") != "write" or not isinstance(path, str):
            return False
        return "\0" not in path and os.path.lexists(path)

    async def do_analyze(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{row_count, column_count, encoding, delimiter, has_headers, columns, …}``."""
        found = await self._run("analyze", parameters, context)
        return payload("analyze", found, metadata={"analysis_result": found})

    async def do_convert(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Row objects, a text, or ``{format, encoding, data, size_bytes}``."""
        _needs(parameters, "Convert", "format")
        made = await self._run("convert", parameters, context)
        return plain("convert", made) if isinstance(made, str) else payload("convert", made)

    async def do_parse(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Row objects."""
        if "headers" not in _merged(parameters):
            parameters = {**parameters, "headers": True}
        return payload("parse", await self._run("objects", parameters, context))

    async def do_filter(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The rows that fit, as CSV."""
        _needs(parameters, "Filter", "filter")
        return plain("filter", await self._run("filter_rows", parameters, context))

    async def do_transform(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The table with other names and more columns, as CSV."""
        return plain("transform", await self._run("transform", parameters, context))

    async def do_validate(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{valid, errors[{row, column, value, error}], total_rows, error_count}``."""
        _needs(parameters, "Validate", "rules")
        found = await self._run("validate", parameters, context)
        return payload("validate", found, metadata={"validation_result": found})

    async def do_sample(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Some rows with the headings, as CSV."""
        seeded = {**parameters, "seed": context.new_id()}
        return plain("sample", await self._run("sample", seeded, context))

    async def do_query(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The rows that a SELECT brings, as objects."""
        _needs(parameters, "Query", "query")
        return payload("query", await self._run("query", parameters, context))

    async def do_write(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The CSV text of rows; with `path` it is written there too."""
        rows = parameters.get("input")
        if not isinstance(rows, list):
            raise ValidationError(
                "Write operation requires 'input': an array of objects", field="input"
            )
        options = _options(parameters, context)
        text: str = await self._call("write", rows, options)
        path = parameters.get("path")
        if path is None:
            return plain("write", text)
        await _write(path, text, context)
        return plain("write", text, metadata={"file_path": path, "file_size": len(text.encode())})

    # The worker ----------------------------------------------------------------------------

    async def _run(self, job: str, parameters: dict[str, Any], context: ExecutionContext) -> Any:
        options = _options(parameters, context)
        return await self._call(job, _source(parameters, context), options)

    async def _call(self, job: str, *arguments: Any) -> Any:
        if self._workers is None:
            from llmspell_tools._worker import WorkerPool

            self._workers = WorkerPool()
        try:
            return await self._workers.run(_JOBS + job, *arguments)
        except ValidationError as error:
            extra = error.message.removeprefix("MISSING:")
            if extra not in _EXTRAS:
                raise
            raise ConfigurationError(
                f"This format needs the package '{_EXTRAS[extra]}', which is not installed",
                hint=f"pip install 'llmspell-tools[{extra}]'",
                code="MISSING_DEPENDENCY",
            ) from None


def _merged(parameters: dict[str, Any]) -> dict[str, Any]:
    """The options: those of the table, over them those at the top level."""
    given = cast("dict[str, Any]", parameters.get("options") or {})
    own = {name: parameters[name] for name in (*_OPTIONS, "seed") if name in parameters}
    return {**given, **own}


_TYPES: Mapping[str, tuple[type, str]] = {
    "format": (str, "string"),
    "filter": (str, "string"),
    "rename_columns": (Mapping, "object"),
    "add_columns": (Mapping, "object"),
    "rules": (Mapping, "object"),
    "size": (int, "integer"),
    "method": (str, "string"),
    "headers": (bool, "boolean"),
    "delimiter": (str, "string"),
    "query": (str, "string"),
}


def _options(parameters: dict[str, Any], context: ExecutionContext) -> dict[str, Any]:
    options = {k: v for k, v in _merged(parameters).items() if v is not None and v != []}
    for name, (wanted, word) in _TYPES.items():
        value = options.get(name)
        fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if name in options and not fits:
            raise ValidationError(
                f"Invalid type for parameter '{name}': expected {word}", field=name
            )
    delimiter = options.get("delimiter", ",")
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise ValidationError(
            f"Invalid delimiter: '{delimiter}'. It is one character", field="delimiter"
        )
    if options.get("method", "first") not in ("first", "random"):
        raise ValidationError(
            f"Invalid method: '{options['method']}'. Allowed values: first, random", field="method"
        )
    if options.get("size", 0) < 0:
        raise ValidationError("'size' must not be negative", field="size")
    return options


def _needs(parameters: dict[str, Any], operation: str, name: str) -> None:
    if _merged(parameters).get(name) in (None, [], {}):
        raise ValidationError(
            f"{operation} operation requires '{name}' (Missing required parameter '{name}')",
            field=name,
            code="MISSING_REQUIRED",
        )


def _source(parameters: dict[str, Any], context: ExecutionContext) -> dict[str, Any]:
    limit = context.services.config.section("tools.data", DataConfig).max_csv_size
    if "input" in parameters:
        text = _text(parameters["input"])
        if len(text) > limit:
            raise _too_large("The CSV text", limit)
        return {"text": text}
    path = parameters.get("path")
    if path is None:
        raise ValidationError(
            "Missing required parameter 'input': the CSV text, or 'path' of a file",
            field="input",
            code="MISSING_REQUIRED",
        )
    real = context.services.security.path(path, "read", context, caller="tool")
    with wrap_os_error("read", path):
        size = os.stat(real, follow_symlinks=False).st_size
    if size > limit:
        raise _too_large(f"The file {path}", limit)
    return {"path": real, "shown": path}


def _text(given: Any) -> str:
    if isinstance(given, bytes):
        try:
            return given.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValidationError(
                f"CSV error: the input is not UTF-8: {error}", field="input"
            ) from None
    if not isinstance(given, str):
        raise ValidationError(
            "Invalid type for parameter 'input': expected a string of CSV", field="input"
        )
    return given


def _too_large(what: str, limit: int) -> ValidationError:
    return ValidationError(
        f"CSV error: {what} exceeds maximum allowed size {limit}",
        field="input",
        hint="Raise max_csv_size in [tools.data].",
    )


async def _write(path: str, text: str, context: ExecutionContext) -> None:
    from llmspell_tools.filesystem._atomic import replacing
    from llmspell_tools.filesystem._file_rules import bounded, check_extension, file_rules

    rules = file_rules(context)
    check_extension(path, rules)
    content = bounded(text.encode("utf-8", "replace"), path, rules)
    real = context.services.security.path(path, "write", context, caller="tool")

    def work(stop: Stop) -> None:
        with wrap_os_error("write", path), replacing(real) as file:
            file.write(content)

    await in_thread(work)
