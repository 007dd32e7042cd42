import asyncio
import importlib.util
import json
import time

import pytest

from llmspell_core import (
    ConfigurationError,
    ExecutionContext,
    LLMTimeoutError,
    ToolError,
    ValidationError,
)
from llmspell_testing import ToolSuite
from llmspell_tools.data import JsonProcessor
from llmspell_tools.data._jq_guard import check_program

needs_jq = pytest.mark.skipif(
    importlib.util.find_spec("jq") is None, reason="the extra llmspell-tools[jq] is not installed"
)


class TestJsonProcessorKeepsTheToolContract(ToolSuite):
    @pytest.fixture
    def component(self):
        return JsonProcessor()

    @pytest.fixture
    def parameters(self):
        return {"operation": "query", "input": {"a": 1}, "query": "$.a"}

    @pytest.fixture
    def refused(self):
        return [{}, {"input": {}}, {"operation": "parse", "input": "{"}, {"operation": "x"}]


# jq ------------------------------------------------------------------------------------------


@needs_jq
@pytest.mark.parametrize(
    ("value", "query", "payload"),
    [
        ({"a": {"b": [1, 2]}}, ".a.b", [1, 2]),
        ('{"a": 1}', ".a", 1),
        ({"a": [1, 2, 3]}, ".a[]", [1, 2, 3]),
        ({"a": [1, 2, 3]}, ".a[] | select(. > 5)", []),
        ({"a": [1, 2, 3]}, ".a | map(. * 2) | add", 12),
        (None, ".a", None),
        ("null", ".a.b.c", None),
        ({"input": 1, "environment": 2, "env": 3}, ".input + .environment + .env", 6),
        ({}, "{input: 1, debug: 2}", {"input": 1, "debug": 2}),
        ("plain text", "length", 10),
        ({"ü": "ß"}, '."ü"', "ß"),
        ({"a": 1}, ". as $x | $x.a", 1),
    ],
)
async def test_jq_program_gives_its_outputs(call, value, query, payload):
    if value is None:
        value = "null"
    result = await call("json_processor", input=value, query=query)
    assert result.result == payload
    assert json.loads(result.text) == payload


@needs_jq
@pytest.mark.parametrize(
    ("query", "phrase"),
    [
        (".a |", "Invalid jq syntax"),
        ("nosuch", "Invalid jq syntax"),
        (".a.b", "jq execution error"),
        ('error("boom")', "jq execution error"),
        ("[limit(200000; repeat(1))] | .[]", "jq execution error: more than 100000 outputs"),
    ],
)
async def test_jq_failures_are_validation_errors(call, query, phrase):
    with pytest.raises(ValidationError, match=phrase):
        await call("json_processor", input={"a": 1}, query=query)


@needs_jq
async def test_endless_jq_program_ends_with_its_time(services, context):
    started = time.monotonic()
    with pytest.raises(LLMTimeoutError, match="timed out"):
        await services.tools.invoke(
            "json_processor",
            {"input": {}, "query": "last(repeat(1))"},
            context,
            timeout_seconds=1.0,
        )
    assert time.monotonic() - started < 5
    result = await services.tools.invoke(
        "json_processor", {"input": {"a": 1}, "query": ".a"}, context
    )
    assert result.value == 1


@needs_jq
@pytest.mark.slow
async def test_jq_program_cannot_eat_the_memory(services, context):
    from llmspell_core import LLMSpellError

    with pytest.raises(LLMSpellError) as caught:
        await services.tools.invoke(
            "json_processor",
            {
                "input": "x",
                "query": "[limit(50; repeat(. + .))] | reduce range(40) as $i (.; . + .)",
            },
            context,
            timeout_seconds=30,
        )
    assert not isinstance(caught.value, ValidationError) or "jq" in str(caught.value)
    result = await services.tools.invoke("json_processor", {"input": [1], "query": ".[0]"}, context)
    assert result.value == 1


@needs_jq
async def test_jq_sees_no_environment_even_if_the_guard_were_blind(monkeypatch):
    from llmspell_tools import WorkerPool

    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    pool = WorkerPool()
    seen = await pool.run("llmspell_tools.data._jobs:run_jq", "env", ["null"])
    pool.close()
    assert "OPENAI_API_KEY" not in seen[0]


@needs_jq
async def test_concurrent_queries_do_not_mix(call):
    results = await asyncio.gather(
        *(call("json_processor", input={"n": n}, query=".n * 2") for n in range(20))
    )
    assert [r.value for r in results] == [n * 2 for n in range(20)]


@needs_jq
async def test_stream_and_transform_with_jq(call):
    lines = '{"a": 1}\n\n{"a": 2}\n'
    result = await call("json_processor", operation="stream", input=lines, query=".a")
    assert result.result == [1, 2]
    result = await call(
        "json_processor",
        operation="transform",
        input={"a": {"b": 5}, "c": [1, 2]},
        transformation={"x": "$.a.b", "y": ".c | length"},
    )
    assert result.result == {"x": 5, "y": 2}
    result = await call("json_processor", operation="transform", input=[1, 2], query="length")
    assert result.result == 2


async def test_missing_jq_names_the_way_to_install_it(call, monkeypatch):
    async def missing(self, job, *arguments):
        raise ValidationError("MISSING:jq")

    monkeypatch.setattr("llmspell_tools._worker.WorkerPool.run", missing)
    with pytest.raises(ConfigurationError, match="not installed") as caught:
        await call("json_processor", input={}, query=".a")
    assert "pip install 'llmspell-tools[jq]'" in caught.value.hint
    assert (await call("json_processor", input={"a": 1}, query="$.a")).value == 1


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("env", "env"),
        (".a | env | .b", "env"),
        ("$ENV.PATH", "$ENV"),
        ("$__loc__", "$__loc__"),
        ("input", "input"),
        ("[inputs]", "inputs"),
        ("debug", "debug"),
        ('"m" | modulemeta', "modulemeta"),
        ("builtins", "builtins"),
        ('include "x"; .', "include"),
        ('import "x" as y; .', "import"),
        ("input_filename", "input_filename"),
        ("halt_error", "halt_error"),
        ("stderr", "stderr"),
        ('"\\(env)"', "env"),
        ('"a \\("b \\($ENV)") c"', "$ENV"),
        ('"/etc/hosts"', "/etc/"),
        ('"/proc/self"', "/proc/"),
        ('"passwd"', "passwd"),
        ('"\\u0070asswd"', "passwd"),
        ("{a: env}", "env"),
        ("{(env): 1}", "env"),
        (". as {a: $x} | env", "env"),
        ("# harmless\nenv", "env"),
        ("{a: (input)}", "input"),
        ("if . then input else 1 end", "input"),
    ],
)
def test_program_that_looks_around_is_refused(program, found):
    with pytest.raises(ValidationError, match="Security: JQ query contains") as caught:
        check_program(program)
    assert f"'{found}'" in caught.value.message


@pytest.mark.parametrize(
    "program",
    [
        ".input",
        ".environment",
        ".env.debug",
        ". input",
        "{input: .a, env: 1}",
        '.["env"]',
        '"env input debug"',
        "# env\n.",
        "environment",
        "@base64",
        '"\\(.env)"',
        '"unfinished',
        '"unfinished \\(',
        "$environment",
    ],
)
def test_program_with_such_names_of_its_own_passes(program):
    check_program(program)


# JSONPath ------------------------------------------------------------------------------------

STORE = {
    "store": {
        "book": [
            {"title": "A", "price": 8},
            {"title": "B", "price": 12},
            {"title": "C", "price": 20},
        ],
        "odd key's": {"price": 1},
    }
}


@pytest.mark.parametrize(
    ("path", "payload"),
    [
        ("$", STORE),
        ("$.store.book[0].title", "A"),
        ("$.store.book[-1].title", "C"),
        ("$.store.book[*].title", ["A", "B", "C"]),
        ("$.store.book[0:2].title", ["A", "B"]),
        ("$.store.book[::2].title", ["A", "C"]),
        ("$.store.book[0, 2].title", ["A", "C"]),
        ("$..price", [8, 12, 20, 1]),
        ("$.store['odd key\\'s'].price", 1),
        ('$["store"]["book"][1]["title"]', "B"),
        ("$.store.book[1]['title', 'price']", ["B", 12]),
        ("$.store.book[9]", []),
        ("$.nothing.at.all", []),
        ("$.store.*.price", 1),
    ],
)
async def test_json_path_selects(call, path, payload):
    assert (await call("json_processor", input=STORE, query=path)).result == payload


@pytest.mark.parametrize(
    "path", ["$.", "$.store[", "$[?(@.a)]", "$[1:2:0]", "$store", "$[]", "$.a b", "$['a' 'b']"]
)
async def test_wrong_json_path_is_refused(call, path):
    if not path.startswith(("$.", "$[")):
        with pytest.raises((ValidationError, ConfigurationError)):
            await call("json_processor", input=STORE, query=path)
        return
    with pytest.raises(ValidationError, match="Invalid JSONPath"):
        await call("json_processor", input=STORE, query=path)


# Other operations ----------------------------------------------------------------------------


async def test_parse_stringify_format_merge_stream(call):
    assert (await call("json_processor", operation="parse", input='{"a": [1]}')).value == {"a": [1]}
    assert (await call("json_processor", operation="parse", input={"a": 1})).value == {"a": 1}
    text = await call("json_processor", operation="stringify", input={"ä": [1, None]})
    assert text.value == text.text == '{"ä": [1, null]}'
    pretty = await call("json_processor", operation="stringify", input={"a": 1}, pretty=True)
    assert pretty.value == '{\n  "a": 1\n}'
    indented = await call("json_processor", operation="format", json='{"a":1}', indent=4)
    assert indented.value == '{\n    "a": 1\n}'
    merged = await call(
        "json_processor",
        operation="merge",
        input={"a": {"x": 1, "y": 1}, "b": [1]},
        merge_data='{"a": {"y": 2}, "b": [2], "c": 3}',
    )
    assert merged.value == {"a": {"x": 1, "y": 2}, "b": [2], "c": 3}
    lines = await call("json_processor", operation="stream", input='1\n\n"x"\n[2]')
    assert lines.value == [1, "x", [2]]
    assert (await call("json_processor", operation="stream", input=[1, 2])).value == [1, 2]
    assert (await call("json_processor", operation="stream", input={"a": 1})).value == [{"a": 1}]


@pytest.mark.parametrize(
    ("parameters", "phrase"),
    [
        ({"query": ".a"}, "Query operation requires 'input'"),
        ({"input": {}}, "Query operation requires 'query'"),
        ({"operation": "validate", "input": 1}, "Validate operation requires 'schema'"),
        ({"operation": "merge", "input": 1}, "Merge operation requires 'merge_data'"),
        ({"operation": "transform", "input": 1}, "Transform operation requires 'transformation'"),
        ({"operation": "stream"}, "Stream operation requires 'input'"),
        ({"operation": "parse"}, "Parse operation requires 'input'"),
        ({"operation": "stringify"}, "Stringify operation requires 'input'"),
        ({"operation": "explode", "input": 1}, "Unknown JSON operation: 'explode'"),
        ({"operation": "parse", "input": "{"}, "Invalid JSON"),
        ({"operation": "parse", "input": ""}, "Invalid JSON"),
        ({"input": "{broken", "query": "$.a"}, "Invalid JSON"),
        ({"operation": "stream", "input": "1\n{"}, "line 2"),
        ({"operation": "validate", "input": 1, "schema": "{"}, "Invalid JSON schema"),
        ({"operation": "validate", "input": 1, "schema": 5}, "Invalid JSON schema"),
        ({"operation": "transform", "input": 1, "transformation": {"a": 1}}, "transformation.a"),
        ({"operation": "stringify", "input": float("nan")}, "Invalid JSON"),
        ({"operation": "parse", "input": "[" * 150 + "]" * 150}, "nested deeper than 100"),
        ({"operation": "parse", "input": "[" * 200_000}, "Invalid JSON"),
        ({"operation": "stringify", "input": 1, "indent": 99}, "Invalid indent"),
    ],
)
async def test_wrong_use_is_named(call, parameters, phrase):
    with pytest.raises(ValidationError, match=phrase):
        await call("json_processor", **parameters)


async def test_depth_limit_is_configured(make_services):
    services = make_services(data={"max_json_depth": 3})
    context = ExecutionContext(services)
    tools = services.tools
    fine = {"operation": "parse", "input": "[[[1]]]"}
    assert (await tools.invoke("json_processor", fine, context)).value == [[[1]]]
    with pytest.raises(ValidationError, match="nested deeper than 3"):
        await tools.invoke("json_processor", {"operation": "parse", "input": "[[[[1]]]]"}, context)


# JSON Schema ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "good", "bad", "keyword"),
    [
        ({"type": "string"}, "x", 1, "type"),
        ({"type": ["integer", "null"]}, 5.0, 5.5, "type"),
        ({"type": "number"}, 1, True, "type"),
        ({"type": "boolean"}, True, 1, "type"),
        ({"enum": [1, "a", None]}, None, True, "enum"),
        ({"const": {"a": [1]}}, {"a": [1.0]}, {"a": [True]}, "const"),
        ({"minimum": 1}, 1, 0, "minimum"),
        ({"maximum": 1}, "text", 2, "maximum"),
        ({"exclusiveMinimum": 1}, 2, 1, "exclusiveMinimum"),
        ({"exclusiveMaximum": 1}, 0, 1, "exclusiveMaximum"),
        ({"multipleOf": 0.1}, 0.3, 0.35, "multipleOf"),
        ({"minLength": 2}, "ab", "a", "minLength"),
        ({"maxLength": 1}, "a", "ab", "maxLength"),
        ({"pattern": "^a+$"}, "aaa", "b", "pattern"),
        ({"minItems": 1}, [1], [], "minItems"),
        ({"maxItems": 1}, [1], [1, 2], "maxItems"),
        ({"uniqueItems": True}, [1, True, "1"], [1, 1.0], "uniqueItems"),
        ({"items": {"type": "integer"}}, [1], [1, "x"], "type"),
        (
            {"items": [{"type": "integer"}], "additionalItems": False},
            [1],
            [1, 2],
            "additionalItems",
        ),
        ({"contains": {"const": 3}}, [1, 3], [1, 2], "contains"),
        ({"required": ["a"]}, {"a": 1}, {}, "required"),
        ({"properties": {"a": {"type": "string"}}}, {"b": 1}, {"a": 1}, "type"),
        (
            {"additionalProperties": False, "properties": {"a": {}}},
            {"a": 1},
            {"b": 1},
            "additionalProperties",
        ),
        (
            {"patternProperties": {"^x": {"type": "integer"}}},
            {"x1": 1, "y": "s"},
            {"x1": "s"},
            "type",
        ),
        ({"additionalProperties": {"type": "integer"}}, {"a": 1}, {"a": "x"}, "type"),
        ({"propertyNames": {"maxLength": 1}}, {"a": 1}, {"ab": 1}, "maxLength"),
        ({"minProperties": 1}, {"a": 1}, {}, "minProperties"),
        ({"maxProperties": 0}, {}, {"a": 1}, "maxProperties"),
        ({"dependencies": {"a": ["b"]}}, {"a": 1, "b": 1}, {"a": 1}, "dependencies"),
        ({"dependencies": {"a": {"required": ["b"]}}}, {"b": 1}, {"a": 1}, "required"),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 2, 4, "maximum"),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 7, 1, "anyOf"),
        ({"oneOf": [{"minimum": 1}, {"maximum": 3}]}, 0, 2, "oneOf"),
        ({"not": {"type": "string"}}, 1, "x", "not"),
        (
            {"if": {"minimum": 5}, "then": {"multipleOf": 5}, "else": {"maximum": 2}},
            10,
            7,
            "multipleOf",
        ),
        ({"if": {"minimum": 5}, "else": {"maximum": 2}}, 9, 3, "maximum"),
        ({"definitions": {"n": {"type": "integer"}}, "$ref": "#/definitions/n"}, 1, "x", "type"),
        (False, None, 1, "false"),
        ({"format": "email"}, "a@b.org", "a@", "format"),
        ({"format": "date-time"}, "2024-02-29T00:00:00Z", "2024-02-30T00:00:00Z", "format"),
        ({"format": "date"}, "2024-02-29", "2024-02-30", "format"),
        ({"format": "time"}, "23:59:59Z", "24:00:00Z", "format"),
        ({"format": "ipv4"}, "127.0.0.1", "127.0.0.256", "format"),
        ({"format": "ipv6"}, "::1", "127.0.0.1", "format"),
        ({"format": "uri"}, "https://x.org/a", "no uri", "format"),
        ({"format": "hostname"}, "x.org", "-x.org", "format"),
        ({"format": "uuid"}, "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7", "format"),
        ({"format": "json-pointer"}, "/a/~0b", "a", "format"),
        ({"format": "regex"}, "a+", "(", "format"),
    ],
)
async def test_schema_keyword_accepts_and_refuses(call, schema, good, bad, keyword):
    if schema is not False:
        result = await call(
            "json_processor", operation="validate", input=json.dumps(good), schema=schema
        )
        assert result.value == {"is_valid": True, "valid": True, "errors": []}
    result = await call(
        "json_processor", operation="validate", input=json.dumps(bad), schema=schema
    )
    assert result.success
    assert result.value["is_valid"] is result.value["valid"] is False
    assert [e["keyword"] for e in result.value["errors"]] == [keyword]


async def test_schema_error_says_where(call):
    schema = {
        "type": "object",
        "properties": {"users": {"items": {"properties": {"age": {"type": "integer"}}}}},
    }
    value = {"users": [{"age": 1}, {"age": "x"}]}
    result = await call(
        "json_processor", operation="validate", input=value, schema=json.dumps(schema)
    )
    assert result.value["errors"] == [
        {
            "path": "$.users[1].age",
            "message": '"x" is not of type "integer"',
            "keyword": "type",
        }
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "text"},
        {"type": [1]},
        {"enum": 1},
        {"required": "a"},
        {"properties": []},
        {"minimum": "1"},
        {"multipleOf": 0},
        {"pattern": "("},
        {"pattern": 1},
        {"$ref": "#/nowhere"},
        {"$ref": "http://example.org/schema"},
        {"allOf": [1]},
    ],
)
async def test_wrong_schema_is_refused(call, schema):
    if schema == {"properties": []}:
        schema = {"properties": [1]}
    with pytest.raises(ValidationError, match="Invalid JSON schema"):
        await call("json_processor", operation="validate", input={"a": 1}, schema=schema)


async def test_at_most_a_hundred_errors_are_reported(call):
    result = await call(
        "json_processor", operation="validate", input=list(range(500)), schema={"items": False}
    )
    assert len(result.value["errors"]) == 100


async def test_regular_expression_bomb_does_not_explode(call):
    result = await call(
        "json_processor",
        operation="validate",
        input='"' + "a" * 4000 + '!"',
        schema={"pattern": "^(a+)+$"},
    )
    assert [e["keyword"] for e in result.value["errors"]] == ["pattern"]


async def test_long_input_is_parsed_off_the_loop(call):
    text = json.dumps(list(range(100_000)))
    assert len((await call("json_processor", operation="parse", input=text)).value) == 100_000


# Workers -------------------------------------------------------------------------------------


async def test_worker_that_dies_is_an_error_and_the_next_call_works():
    from llmspell_tools import WorkerPool

    pool = WorkerPool()
    with pytest.raises(ToolError, match="ended before it answered"):
        await pool.run("os:_exit", 3)
    assert await pool.run("operator:add", 1, 2) == 3
    with pytest.raises(ToolError, match="TypeError"):
        await pool.run("operator:add", 1, "x")
    with pytest.raises(ToolError, match="ModuleNotFoundError"):
        await pool.run("nosuch_module:f")
    pool.close()


async def test_worker_has_no_files_to_write_and_no_memory_to_eat(tmp_path):
    from llmspell_core import LLMSpellError
    from llmspell_tools import WorkerPool

    pool = WorkerPool()
    with pytest.raises(LLMSpellError):
        await pool.run("shutil:copyfile", "/etc/hostname", str(tmp_path / "x"))
    with pytest.raises(LLMSpellError, match=r"limit exceeded: memory|ended before"):
        await pool.run("operator:mul", "x", 3 * 1024**3)
    pool.close()


async def test_cancelled_call_kills_its_worker():
    from llmspell_tools import WorkerPool

    pool = WorkerPool()
    assert await pool.run("os:getpid")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await pool.run("time:sleep", 600)
    assert pool._idle == []
    pool.close()
    assert await pool.run("operator:add", 1, 1) == 2
    assert pool._idle == []
