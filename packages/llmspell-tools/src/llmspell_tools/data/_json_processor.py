"""The tool ``json_processor``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ConfigurationError,
    Parameter,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._threads import in_thread
from llmspell_tools.data._jq_guard import check_program
from llmspell_tools.data._json_path import find
from llmspell_tools.data._payloads import json_text, payload, plain
from llmspell_tools.data._settings import DataConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools._worker import WorkerPool

LARGEST_INPUT = 100 * 1024 * 1024
ON_THREAD_FROM = 1 << 18


@built_in("json_processor")
class JsonProcessor(OperationTool):
    """JSON: queried, validated, merged, reformatted.

    jq programs run in a worker process, because nothing else can end one that loops; they need
    ``llmspell-tools[jq]``. JSONPath and all other operations do not.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "query": ("jq", "filter"),
        "transform": (),
        "validate": ("validate_schema",),
        "stream": ("json_lines", "jsonl"),
        "parse": ("decode",),
        "stringify": ("encode",),
        "merge": (),
        "format": ("pretty", "prettify"),
    }
    default_operation = "query"
    unknown_operation = "Unknown JSON operation"

    def __init__(self) -> None:
        self._workers: WorkerPool | None = None

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described("json_processor")
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self), default="query"),
                Parameter(
                    "input",
                    "any",
                    "A JSON value, or its text; stream: JSON lines",
                    aliases=("data", "json_data", "json"),
                ),
                Parameter(
                    "query",
                    "string",
                    "A jq program, or a JSONPath ($.…)",
                    aliases=("filter", "expression", "path"),
                ),
                Parameter("schema", "any", "validate: a JSON Schema (draft 7)"),
                Parameter("merge_data", "any", "merge: what is merged in; it wins"),
                Parameter("transformation", "object", "transform: field and where it comes from"),
                Parameter("pretty", "boolean", "stringify: with line breaks", default=False),
                Parameter("indent", "integer", "stringify, format: spaces", minimum=0, maximum=16),
            ),
            "any",
        )

    def close(self) -> None:
        """End the worker processes."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    async def do_query(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The single output, or the list of all when there is not exactly one."""
        value = await _input(parameters, "Query", context)
        program = parameters.get("query")
        if program is None:
            raise _needs("Query", "query")
        return payload("query", _single(await self._select(program, value)))

    async def do_transform(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """An object of the fields of `transformation`; without one, as query."""
        value = await _input(parameters, "Transform", context)
        rules: Mapping[str, Any] | None = parameters.get("transformation")
        if rules is None:
            if "query" not in parameters:
                raise _needs("Transform", "transformation")
            found = await self._select(parameters["query"], value)
            return payload("transform", _single(found))
        made: dict[str, Any] = {}
        for name, program in rules.items():
            if not isinstance(program, str):
                raise ValidationError(
                    f"transformation.{name} must be a JSONPath or jq program",
                    field="transformation",
                )
            made[name] = _single(await self._select(program, value))
        return payload("transform", made)

    async def do_stream(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The outputs for every line of JSON lines, in one list."""
        if "input" not in parameters:
            raise _needs("Stream", "input")
        given = parameters["input"]
        if isinstance(given, str):
            values: list[Any] = await _off_loop(given, lambda: _lines(given, context))
        else:
            values = cast("list[Any]", given) if isinstance(given, list) else [given]
        program = parameters.get("query", ".")
        if program.strip() == ".":
            return payload("stream", values)
        outputs = await self._run(program, [json.dumps(value) for value in values])
        return payload("stream", outputs)

    async def do_validate(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """``{is_valid, valid, errors[{path, message, keyword}]}``; invalid is no failure."""
        value = await _input(parameters, "Validate", context)
        if "schema" not in parameters:
            raise _needs("Validate", "schema")
        schema = _schema_of(parameters["schema"])
        from llmspell_utils import JsonSchema

        try:
            checked = JsonSchema(schema, draft=7)
        except ValidationError as error:
            raise ValidationError(f"Invalid JSON schema: {error.message}", field="schema") from None
        found = await in_thread(lambda stop: checked.problems(value))
        errors = [problem.to_dict() for problem in found]
        valid = not errors
        verdict = {"is_valid": valid, "valid": valid, "errors": errors}
        return payload("validate", verdict)

    async def do_parse(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The value of a JSON text."""
        if "input" not in parameters:
            raise _needs("Parse", "input")
        given = parameters["input"]
        if not isinstance(given, str):
            return payload("parse", given)
        return payload("parse", await _off_loop(given, lambda: _parsed(given, context)))

    async def do_stringify(
        self, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        """The JSON text of a value."""
        if "input" not in parameters:
            raise _needs("Stringify", "input")
        indent = parameters.get("indent", 2 if parameters.get("pretty") else None)
        text = json_text(parameters["input"], indent)
        return plain("stringify", text)

    async def do_format(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """The JSON text of a value or text, with line breaks."""
        value = await _input(parameters, "Format", context)
        text = json_text(value, parameters.get("indent", 2))
        return plain("format", text)

    async def do_merge(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Both values merged deeply; `merge_data` wins."""
        value = await _input(parameters, "Merge", context)
        if "merge_data" not in parameters:
            raise _needs("Merge", "merge_data")
        other = await _value(parameters["merge_data"], context)
        return payload("merge", _merged(value, other))

    # Queries -------------------------------------------------------------------------------

    def _pool(self) -> WorkerPool:
        if self._workers is None:
            from llmspell_tools._worker import WorkerPool

            self._workers = WorkerPool()
        return self._workers

    async def _select(self, program: str, value: Any) -> list[Any]:
        text = program.strip()
        if _is_json_path(text):
            return await in_thread(lambda stop: find(text, value))
        return await self._run(program, [json.dumps(value)])

    async def _run(self, program: str, texts: list[str]) -> list[Any]:
        check_program(program)
        try:
            return await self._pool().run("llmspell_tools.data._jobs:run_jq", program, texts)
        except ValidationError as error:
            if error.message == "MISSING:jq":
                raise ConfigurationError(
                    "jq programs need the package 'jq', which is not installed",
                    hint="pip install 'llmspell-tools[jq]'; a JSONPath ($.…) works without it.",
                    code="MISSING_DEPENDENCY",
                ) from None
            raise


def _is_json_path(text: str) -> bool:
    # A jq program that starts with $ names a variable: $x, $ENV, $__loc__.
    return text == "$" or text.startswith(("$.", "$["))


def _needs(operation: str, name: str) -> ValidationError:
    return ValidationError(
        f"{operation} operation requires '{name}' (Missing required parameter '{name}')",
        field=name,
        code="MISSING_REQUIRED",
    )


def _single(outputs: list[Any]) -> Any:
    return outputs[0] if len(outputs) == 1 else outputs


# Input ---------------------------------------------------------------------------------------


async def _off_loop(text: str, work: Any) -> Any:
    """Long texts are parsed on a thread, so that nothing else has to wait."""
    if len(text) < ON_THREAD_FROM:
        return work()
    return await in_thread(lambda stop: work())


async def _input(parameters: dict[str, Any], operation: str, context: ExecutionContext) -> Any:
    if "input" not in parameters:
        raise _needs(operation, "input")
    return await _value(parameters["input"], context)


async def _value(given: Any, context: ExecutionContext) -> Any:
    """The value; a text that is valid JSON is parsed, any other text is a string."""
    if not isinstance(given, str):
        _check_depth(given, context)
        return given
    try:
        return await _off_loop(given, lambda: _parsed(given, context))
    except ValidationError as error:
        if error.code == "NOT_JSON" and not given.lstrip().startswith(("{", "[")):
            return given
        raise


def _parsed(text: str, context: ExecutionContext) -> Any:
    if len(text) > LARGEST_INPUT:
        raise ValidationError(
            f"Invalid JSON: the input exceeds maximum allowed size {LARGEST_INPUT}", field="input"
        )
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValidationError("Invalid JSON: nested too deeply", field="input") from None
    except ValueError as error:
        raise ValidationError(f"Invalid JSON: {error}", field="input", code="NOT_JSON") from None
    _check_depth(value, context)
    return value


def _check_depth(value: Any, context: ExecutionContext) -> None:
    limit = context.services.config.section("tools.data", DataConfig).max_json_depth
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            raise ValidationError(
                f"Invalid JSON: nested deeper than {limit}",
                field="input",
                hint="Raise max_json_depth in [tools.data].",
            )
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(cast("dict[str, Any]", item).values())
            elif isinstance(item, list):
                below.extend(cast("list[Any]", item))
        level = [item for item in below if isinstance(item, dict | list)]


def _lines(text: str, context: ExecutionContext) -> list[Any]:
    values: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            values.append(_parsed(line, context))
        except ValidationError as error:
            raise ValidationError(f"{error.message} (line {number})", field="input") from None
    return values


def _schema_of(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except (ValueError, RecursionError) as error:
        raise ValidationError(f"Invalid JSON schema: {error}", field="schema") from None


def _merged(left: Any, right: Any) -> Any:
    if isinstance(left, dict) and isinstance(right, dict):
        ours, theirs = cast("dict[str, Any]", left), cast("dict[str, Any]", right)
        made = dict(ours)
        for key, value in theirs.items():
            made[key] = _merged(ours[key], value) if key in ours else value
        return made
    return right
