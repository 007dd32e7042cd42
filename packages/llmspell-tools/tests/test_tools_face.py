import asyncio

import pytest

from llmspell_core import (
    ComponentError,
    DuplicateError,
    ExecutionContext,
    Items,
    NotFoundError,
    PluginIndex,
    ScriptError,
    ScriptFunction,
    ToolError,
    ValidationError,
)
from llmspell_testing import HostDouble, LedgerDouble, recording_context
from llmspell_tools import ToolGlobal, ToolHandle


class Function(ScriptFunction):
    """A function of a script, written in Python."""

    def __init__(self, body):
        self._body = body
        self.contexts = []

    @property
    def where(self):
        return "test.lua:1"

    async def __call__(self, *args, context=None):
        self.contexts.append(context)
        found = self._body(*args)
        return await found if asyncio.iscoroutine(found) else found

    def call(self, *args):
        return self._body(*args)


@pytest.fixture
def face(services, context):
    return ToolGlobal(HostDouble(services, context))


def test_global_is_registered_under_both_names():
    index = PluginIndex()
    assert index.load("llmspell.globals", "Tool") is ToolGlobal
    assert index.load("llmspell.globals", "Tools") is ToolGlobal
    assert ToolGlobal.__script_name__ == "Tool"


def test_list_entries_have_what_scripts_read_and_print_their_name(face):
    entries = {entry.text: entry.fields for entry in face.list()}
    assert list(entries) == sorted(entries)
    assert entries["uuid_generator"] == {
        "name": "uuid_generator",
        "description": "Generate and validate UUIDs (versions 1, 4, 5, 7) "
        "and readable component ids",
        "version": "0.1.0",
        "category": "utility",
        "security_level": "safe",
        "aliases": ["uuid-generator"],
    }


def test_finding(face):
    handle = face.get("uuid-generator")
    assert isinstance(handle, ToolHandle)
    assert handle is face.get("UUID_GENERATOR") is face.create("uuid_generator")
    assert handle is face.__script_index__("uuid_generator")
    assert (handle.name, handle.category, handle.security_level, handle.version) == (
        "uuid_generator",
        "utility",
        "safe",
        "0.1.0",
    )
    assert handle.description.startswith("Generate")
    assert face.get("nothing") is None
    assert face.__script_index__("nothing") is None
    with pytest.raises(NotFoundError, match="Tool 'nothing' not found"):
        face.create("nothing")
    assert (face.exists("calculator"), face.exists("nothing")) == (True, False)
    assert face.is_available("calculator")
    assert {"utility", "data", "filesystem"} <= set(face.categories())


def test_disabled_tool_exists_and_is_not_available(make_services):
    services = make_services(calculator={"enabled": False})
    face = ToolGlobal(HostDouble(services))
    assert (face.exists("calculator"), face.is_available("calculator")) == (True, False)
    assert face.get("calculator") is None
    assert face.get_info("calculator") is None
    with pytest.raises(NotFoundError):
        face.create("calculator")


@pytest.mark.parametrize(
    ("criteria", "names"),
    [
        (
            {"category": "FileSystem"},
            {
                "archive_handler",
                "file_converter",
                "file_operations",
                "file_search",
                "file_watcher",
            },
        ),
        ({"tag": "digests"}, {"hash_calculator"}),
        ({"query": "jq", "category": "data"}, {"json_processor"}),
        ({"search": "nothing like it"}, set()),
        ({"capabilities": ["copy", "move"]}, {"file_operations"}),
        ({"capabilities": "jq"}, {"json_processor"}),
        ({"min_security_level": "Dangerous"}, {"file_operations"}),
        (
            {"security_level": "safe", "category": "utility"},
            {"calculator", "date_time_handler", "uuid_generator"},
        ),
        (
            {"max_security_level": "moderate", "min_security_level": "restricted", "query": "hash"},
            {"hash_calculator"},
        ),
    ],
)
def test_discover(face, criteria, names):
    assert {entry.fields["name"] for entry in face.discover(criteria)} == names


def test_discover_without_criteria_is_all_and_an_unknown_level_is_refused(face):
    assert len(face.discover()) == len(face.list())
    with pytest.raises(ValidationError, match="Invalid security_level"):
        face.discover({"security_level": "godlike"})


def test_schema_by_position_and_by_name(face):
    schema = face.get_schema("hash-calculator")
    parameters = schema["parameters"]
    assert isinstance(parameters, Items)
    assert parameters.items[0]["name"] == "operation"
    assert parameters.fields["algorithm"] == {
        "name": "algorithm",
        "type": "string",
        "description": "md5, sha1, sha256, sha512, sha3-256, sha3-512, blake2b or crc32",
        "required": False,
        "default": "sha256",
    }
    assert schema["returns"] == "object"
    assert face.get("hash_calculator").schema == schema == face.get("hash_calculator").get_schema()
    assert face.get_schema("uuid_generator")["parameters"].fields["count"]["type"] == "number"
    assert face.get_schema("nothing") is None


def test_info_is_everything(face):
    info = face.get_info("calculator")
    assert info.text == "calculator"
    assert "evaluate" in info.fields["operations"]
    assert info.fields["schema"]["parameters"] is info.fields["parameters"]
    assert face.get_info("nothing") is None


# Results -------------------------------------------------------------------------------------


async def test_structured_tool_gives_envelope_payload_and_primary_value(face):
    result, error = await face.invoke("calculator", {"input": "2 + 2"})
    import json

    fields = result.fields
    assert error is None
    assert json.loads(fields["text"])["success"] is True
    assert fields["_raw_text"] == fields["text"] == result.text
    assert (fields["success"], fields["operation"]) == (True, "evaluate")
    assert fields["result"]["result"] == 4
    assert fields["value"] == fields["output"] == 4
    assert fields["resource_usage"]["operations_count"] == 1
    assert fields["metadata"]["execution_time_ms"] >= 0
    assert "error" not in fields
    assert "data" not in fields


async def test_file_tool_gives_the_content_as_text(face, allowed):
    path = str(allowed / "a.txt")
    await face.invoke("file-writer", {"path": path, "input": "hello"})
    result, _ = await face.invoke("file-operations", {"operation": "read", "path": path})
    fields = result.fields
    assert fields["text"] == fields["content"] == fields["output"] == fields["value"] == "hello"
    assert fields["result"]["size"] == 5
    assert fields["metadata"]["operation"] == "read"
    assert fields["metadata"]["response"]["success"] is True
    assert "_raw_text" not in fields


async def test_payload_that_is_a_list_is_a_sequence(face):
    result, _ = await face.invoke("json_processor", {"operation": "parse", "input": "[1, 2]"})
    assert isinstance(result, Items)
    assert result.items == [1, 2]
    assert result.fields["data"] == [1, 2]
    assert result.fields["success"] is True
    assert result.text == "[\n  1,\n  2\n]"


async def test_fields_of_the_payload_are_on_top_unless_taken(face):
    result, _ = await face.invoke("uuid_generator", {"operation": "validate", "uuid": "x"})
    assert result.fields["valid"] is False
    assert result.fields["success"] is True
    assert "error" not in {k for k, v in result.fields.items() if v is None}


@pytest.mark.parametrize(
    ("name", "parameters", "phrase", "kind", "code"),
    [
        ("calculator", {}, "Missing required parameter 'input'", "validation", "MISSING_REQUIRED"),
        (
            "file_operations",
            {"operation": "read", "path": "/etc/passwd"},
            "Path not allowed: /etc/passwd not in allowlist",
            "security",
            "SECURITY_VIOLATION",
        ),
    ],
)
async def test_hard_failure_is_returned_at_the_top_and_raised_by_the_handle(
    face, name, parameters, phrase, kind, code
):
    result, error = await face.invoke(name, parameters)
    fields = result.fields
    assert fields["success"] is False
    assert fields["error"] == error == result.text
    assert error.startswith("Tool execution failed: ")
    assert phrase in error
    assert (fields["error_type"], fields["error_details"]["code"]) == (kind, code)
    assert "text" not in fields
    with pytest.raises(ToolError, match=f"Tool '{name}' execution failed: ") as caught:
        await face.get(name).execute(parameters)
    assert phrase in str(caught.value)
    assert caught.value.code == code


async def test_soft_failure_is_returned_everywhere(face):
    result, error = await face.invoke("calculator", {"input": "2 +"})
    assert (result.fields["success"], result.fields["error"]) == (False, error)
    assert result.fields["error_type"] == "tool"
    handled = await face.get("calculator").execute({"input": "2 +"})
    assert handled.fields["success"] is False
    unsupported = await face.get("hash_calculator").execute({"input": "x", "algorithm": "md6"})
    assert "Invalid algorithm" in unsupported.fields["error"]


async def test_unknown_tool_and_wrong_options_at_the_top(face):
    with pytest.raises(NotFoundError, match="Tool 'nothing' not found"):
        await face.invoke("nothing", {})
    result, error = await face.invoke("calculator", {"input": "1"}, {"timeout": "long"})
    assert result.fields["success"] is False
    assert "option 'timeout' must be a number" in error


async def test_options(face, services):
    handle = face.get("calculator")
    for options in ({"cache": True}, {"cache": 60, "timeout": 5000, "retry": 1}):
        result = await handle.execute({"input": "1 + 1"}, options)
        assert result.fields["value"] == 2
    assert result.fields["metadata"]["cached"] is True
    fresh = await handle.execute({"input": "1 + 1"}, {"cache": False, "timeout_seconds": 3})
    assert "cached" not in fresh.fields["metadata"]
    function = Function(lambda p: asyncio.sleep(60))
    face.register("slow", function)
    result, error = await face.invoke("slow", {}, {"timeout": 20})
    assert "timed out after 0.02s" in error
    assert result.fields["error_type"] == "timeout"


async def test_handle_keeps_the_preset_it_was_asked_by(face, allowed):
    (allowed / "a").write_text("1")
    reader = face.get("file-reader")
    assert reader.name == "file_operations"
    assert (await reader.execute({"path": str(allowed / "a")})).fields["text"] == "1"
    assert reader is not face.get("file_operations")


def test_validate_runs_nothing(face):
    handle = face.get("calculator")
    assert handle.validate({"input": "1"}) == (True, None)
    good, message = handle.validate({"input": 1})
    assert good is False
    assert "expected string" in message
    assert handle.validate()[0] is True


async def test_metrics(face):
    await face.invoke("calculator", {"input": "1"})
    assert face.get_metrics("calculator")["invocations"] == 1
    with pytest.raises(NotFoundError):
        face.get_metrics("nothing")


# Batch and pipeline --------------------------------------------------------------------------


async def test_batch_keeps_the_order_and_puts_failures_in_it(face):
    results = await face.batch(
        [
            {"tool": "calculator", "params": {"input": "1 + 1"}},
            {"name": "nothing"},
            {"tool": "calculator"},
            {"tool": face.get("uuid_generator"), "options": {"timeout": 1000}},
        ]
    )
    assert [r.fields["success"] for r in results] == [True, False, False, True]
    assert results[1].fields["error"] == "Tool not found: nothing"
    assert "Missing required parameter" in results[2].fields["error"]


async def test_batch_runs_at_the_same_time_unless_told_otherwise(face):
    running, most = 0, 0
    everyone = asyncio.Event()

    async def meet(parameters):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            everyone.set()
        if parameters.get("wait"):
            await asyncio.wait_for(everyone.wait(), 10)
        running -= 1
        return {}

    face.register("meet", Function(meet))
    await face.batch([{"tool": "meet", "params": {"wait": True}}] * 3)
    assert most == 3
    most = 0
    await face.batch([{"tool": "meet"}] * 3, {"parallel": False})
    assert most == 1


async def test_batch_stops_on_error_when_asked(face):
    operations = [{"tool": "calculator", "params": {"input": text}} for text in ("1", "+", "2")]
    results = await face.batch(operations, {"parallel": False, "stop_on_error": True})
    assert [r.fields["success"] for r in results] == [True, False, False]
    assert "not run" in results[2].fields["error"]


@pytest.mark.parametrize("operation", ["calculator", {}, {"tool": 5}])
async def test_operation_that_names_no_tool_is_misuse(face, operation):
    with pytest.raises(ValidationError):
        await face.batch([operation])
    with pytest.raises(ValidationError):
        await face.pipeline([operation])


async def test_pipeline_hands_the_primary_value_on(face):
    result, error = await face.pipeline(
        [
            {"tool": "calculator", "params": {"input": "6 * 7"}},
            {"tool": "json_processor", "params": {"operation": "stringify"}},
            {"tool": "hash_calculator", "params": {"algorithm": "md5"}},
        ]
    )
    import hashlib

    assert error is None
    assert result.fields["value"] == hashlib.md5(b"42").hexdigest()
    assert [step.fields["success"] for step in result.fields["steps"]] == [True, True, True]


async def test_pipeline_stops_at_the_first_failure(face):
    result, error = await face.pipeline(
        [
            {"tool": "json_processor", "params": {"operation": "parse", "input": "[1]"}},
            {"tool": "calculator"},
            {"tool": "uuid_generator"},
        ]
    )
    assert result.fields["success"] is False
    assert "expected string, got array" in error
    assert len(result.fields["steps"]) == 2
    listed, _ = await face.pipeline(
        [{"tool": "json_processor", "params": {"operation": "parse", "input": "[1]"}}]
    )
    assert isinstance(listed, Items)
    assert len(listed.fields["steps"]) == 1
    with pytest.raises(ValidationError, match="at least one operation"):
        await face.pipeline([])


# Registering ---------------------------------------------------------------------------------


async def test_function_of_a_script_is_a_tool(face, services, context):
    function = Function(lambda p: {"doubled": p["n"] * 2})
    assert face.register("double", function) is True
    result, _ = await face.invoke("double", {"n": 4})
    assert result.fields["success"] is True
    assert result.fields["result"] == {"doubled": 8}
    assert result.fields["doubled"] == 8
    assert isinstance(function.contexts[0], ExecutionContext)
    assert (await services.tools.invoke("Double", {"n": 1}, context)).result == {"doubled": 2}
    assert "double" in [entry.text for entry in face.list()]
    with pytest.raises(DuplicateError):
        face.register("double", function)
    assert face.unregister("double") is True
    assert face.get("double") is None
    assert face.unregister("double") is False
    with pytest.raises(ComponentError, match="installed"):
        face.unregister("calculator")


@pytest.mark.parametrize(
    "parameters",
    [
        [
            {"name": "city", "type": "string", "required": True, "description": "Where"},
            {"name": "days", "type": "integer", "default": 3, "minimum": 1},
        ],
        {
            "city": {"type": "String", "required": True, "description": "Where"},
            "days": {"type": "integer", "default": 3, "minimum": 1},
        },
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where"},
                "days": {"type": "integer", "default": 3, "minimum": 1},
            },
            "required": ["city"],
        },
    ],
)
async def test_declared_parameters_are_checked(face, parameters):
    face.register(
        {
            "name": "weather",
            "description": "Tells the weather",
            "category": "Nature",
            "security_level": "Restricted",
            "aliases": ["forecast"],
            "parameters": parameters,
            "execute": Function(lambda p: f"{p['days']} days of sun in {p['city']}"),
        }
    )
    result, _ = await face.invoke("forecast", {"city": "Rome"})
    assert result.fields["text"] == "3 days of sun in Rome"
    _, error = await face.invoke("weather", {})
    assert "Missing required parameter 'city'" in error
    _, error = await face.invoke("weather", {"city": "Rome", "days": 0})
    assert "at least 1" in error
    info = face.get_info("weather").fields
    assert (info["category"], info["security_level"]) == ("nature", "restricted")
    assert "nature" in face.categories()


async def test_definition_table_may_follow_the_name(face):
    face.register("a", {"handler": Function(lambda p: 1), "description": "A"})
    face.register("b", Function(lambda p: 2), {"description": "B", "parameters": {"x": "number"}})
    assert face.get("a").description == "A"
    assert face.get("b").schema["parameters"].fields["x"]["type"] == "number"


async def test_error_in_the_function_is_a_failed_result(face):
    def fail(parameters):
        raise ScriptError("boom at line 3")

    face.register("fails", Function(fail))
    result, error = await face.invoke("fails", {})
    assert (result.fields["success"], error) == (False, "boom at line 3")
    assert (await face.get("fails").execute({})).fields["success"] is False


async def test_function_of_a_script_runs_in_a_span(face, services):
    ledger = LedgerDouble()
    host = HostDouble(services, recording_context(ledger, services))
    recorded = ToolGlobal(host)
    recorded.register("f", Function(lambda p: 1))
    await recorded.invoke("f", {})
    kinds = [e.intent.kind for e in ledger.effects("run")]
    assert kinds[0] == "tool"
    assert "tool.call" not in kinds


@pytest.mark.parametrize(
    ("definition", "handler", "phrase"),
    [
        ("x", None, "needs a function"),
        ("x", 5, "needs a function"),
        (5, Function(lambda p: 1), "needs a name"),
        ("", Function(lambda p: 1), "needs a name"),
        ({"execute": Function(lambda p: 1)}, None, "needs a name"),
        ({"name": "x"}, None, "needs a function"),
        ({"name": "x", "execute": Function(lambda p: 1), "parameters": 5}, None, "list or a table"),
        ({"name": "x", "execute": Function(lambda p: 1), "parameters": [5]}, None, "by a table"),
        ({"name": "x", "execute": Function(lambda p: 1), "parameters": [{}]}, None, "needs a name"),
        (
            {"name": "x", "execute": Function(lambda p: 1), "parameters": {"y": "text"}},
            None,
            "Invalid type of parameter 'y'",
        ),
        (
            {"name": "x", "execute": Function(lambda p: 1), "security_level": "root"},
            None,
            "Invalid security_level",
        ),
    ],
)
def test_wrong_definition_is_misuse(face, definition, handler, phrase):
    with pytest.raises(ValidationError, match=phrase):
        face.register(definition, handler)
