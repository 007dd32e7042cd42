import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from llmspell_core import (
    ComponentError,
    Config,
    DuplicateError,
    EffectClass,
    ExecutionContext,
    NotFoundError,
    Plugin,
    PluginError,
    PluginIndex,
    SecurityLevel,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools import ToolService, tool
from llmspell_tools._catalogue import CATALOGUE


class Shout(Tool):
    """A stranger's tool."""

    category = "text"
    security_level = SecurityLevel.SAFE
    aliases = ("yell",)

    @property
    def schema(self):
        return ToolSchema("shout", "Says it louder")

    async def run(self, parameters, context):
        return ToolResult(result="LOUD", value="LOUD")


not_a_tool = "just text"


def plugin(name, value, distribution="strange-tools"):
    return Plugin("llmspell.tools", name, value, distribution, "9.9")


def services_with(*plugins, **tools):
    installed = [
        p
        for p in PluginIndex().all()
        if p.group != "llmspell.tools" or p.distribution == "llmspell-tools"
    ]
    return Services(
        Config({"tools": tools} if tools else {}), plugins=PluginIndex([*installed, *plugins])
    )


@pytest.fixture
def stranger(monkeypatch):
    import types

    module = types.ModuleType("strange_tools")
    module.Shout, module.text = Shout, not_a_tool

    @tool(name="whisper", category="text")
    def whisper(text: str) -> str:
        """Say it softly."""
        return text.lower()

    module.whisper = whisper
    monkeypatch.setitem(sys.modules, "strange_tools", module)


# The catalogue -------------------------------------------------------------------------------


def test_catalogue_is_what_the_package_registers():
    with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
        registered = tomllib.load(file)["project"]["entry-points"]["llmspell.tools"]
    assert sorted(registered) == sorted(CATALOGUE)


@pytest.mark.parametrize("name", list(CATALOGUE))
def test_catalogue_entry_is_what_the_code_says(name):
    entry = CATALOGUE[name]
    made = PluginIndex().load("llmspell.tools", name)()
    assert made.schema.name == made.metadata.name == entry.name == name
    assert made.schema.description == made.metadata.description == entry.description
    assert made.category == entry.category
    assert made.security_level.value == entry.security_level
    assert made.aliases == entry.info().aliases
    assert str(made.metadata.version) == entry.info().version
    for operation in entry.presets.values():
        assert operation in made.operations
    for operation in made.operations:
        assert callable(getattr(made, f"do_{operation}"))


def test_listing_imports_no_tool_and_no_library():
    code = """if True:
        import sys
        from llmspell_core import Services
        names = [info.name for info in Services().tools.list()]
        assert "calculator" in names, names
        bad = {"asyncio", "pydantic", "numpy", "httpx", "jq", "sqlite3", "llmspell_tools._pipeline",
               "llmspell_tools.utility", "llmspell_tools.filesystem._file_operations"}
        print(sorted(bad & set(sys.modules)))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_list_has_each_tool_once_sorted_with_its_aliases(services):
    infos = {info.name: info for info in services.tools.list()}
    assert list(infos) == sorted(infos)
    assert set(CATALOGUE) <= set(infos)
    assert infos["file_operations"].security_level == "privileged"
    assert "file-reader" in infos["file_operations"].aliases
    assert isinstance(services.tools, ToolService)


# Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("calculator", "calculator"),
        ("Calculator", "calculator"),
        (" calculator ", "calculator"),
        ("calculator-tool", "calculator"),
        ("uuid-generator", "uuid_generator"),
        ("UUID_Generator_Tool", "uuid_generator"),
        ("datetime-handler", "date_time_handler"),
        ("datetime_handler", "date_time_handler"),
        ("date-time-handler", "date_time_handler"),
        ("hash-calculator", "hash_calculator"),
        ("json-processor-tool", "json_processor"),
        ("json-query", "json_processor"),
        ("file-operations-tool", "file_operations"),
        ("file_reader", "file_operations"),
        ("file-write", "file_operations"),
        ("directory-scanner", "file_operations"),
    ],
)
def test_name_resolves(services, asked, name):
    assert services.tools.get(asked).schema.name == name
    assert services.tools.has(asked)


def test_unknown_name_suggests_the_nearest(services):
    with pytest.raises(NotFoundError) as caught:
        services.tools.get("calculater")
    assert caught.value.message == "Tool 'calculater' not found"
    assert caught.value.hint == "Did you mean 'calculator'?"
    with pytest.raises(NotFoundError) as caught:
        services.tools.get("")
    assert caught.value.hint.startswith("Known: ")
    assert "calculator" in caught.value.hint
    assert not services.tools.has("tool")


def test_same_tool_is_made_once(services):
    assert services.tools.get("calculator") is services.tools.get("Calculator")


def test_two_sets_of_services_share_no_tools(make_services):
    one, two = make_services(), make_services()
    one.tools.register(Shout())
    assert one.tools.has("shout")
    assert not two.tools.has("shout")
    assert one.tools.get("calculator") is not two.tools.get("calculator")


# Strangers -----------------------------------------------------------------------------------


def test_strangers_tool_is_listed_unseen_and_described_once_loaded(stranger):
    services = services_with(plugin("shout", "strange_tools:Shout"))
    before = next(i for i in services.tools.list() if i.name == "shout")
    assert before.description == "A tool of strange-tools 9.9"
    assert not services.tools.has("yell")
    services.tools.get("shout")
    after = next(i for i in services.tools.list() if i.name == "shout")
    assert (after.description, after.category, after.aliases) == (
        "Says it louder",
        "text",
        ("yell",),
    )
    assert services.tools.get("Yell").schema.name == "shout"


async def test_decorated_function_may_be_registered_as_an_entry_point(stranger):
    services = services_with(plugin("whisper", "strange_tools:whisper"))
    result = await services.tools.invoke("whisper", {"text": "HI"}, ExecutionContext(services))
    assert result.text == "hi"


def test_what_is_no_tool_is_a_plugin_error(stranger):
    services = services_with(plugin("text", "strange_tools:text"), plugin("gone", "no_module:X"))
    with pytest.raises(PluginError, match="is not a Tool but str"):
        services.tools.get("text")
    with pytest.raises(PluginError, match=r"strange-tools 9\.9 cannot be loaded"):
        services.tools.get("gone")
    assert services.tools.has("calculator")


def test_name_with_two_owners_is_listed_with_both_and_needs_a_decision(stranger):
    rival = plugin("calculator", "strange_tools:Shout")
    services = services_with(rival)
    info = next(i for i in services.tools.list() if i.name == "calculator")
    assert "strange-tools 9.9" in info.description
    assert "llmspell-tools" in info.description
    with pytest.raises(PluginError, match="registered by"):
        services.tools.get("calculator")
    chosen = services_with(rival)
    chosen.plugins._prefer["tools.calculator"] = "strange-tools"
    assert isinstance(chosen.tools.get("calculator"), Shout)
    assert next(i for i in chosen.tools.list() if i.name == "calculator").category == "text"


# Registering ---------------------------------------------------------------------------------


def test_registered_tool_is_found_listed_and_removed(services):
    services.tools.register(Shout())
    assert services.tools.get("YELL").schema.name == "shout"
    assert "shout" in [info.name for info in services.tools.list()]
    assert services.tools.unregister("yell") is True
    assert not services.tools.has("shout")
    assert services.tools.unregister("shout") is False


def test_taken_names_are_refused(services):
    services.tools.register(Shout())

    def named(name, *others):
        class Named(Shout):
            aliases = others

            @property
            def schema(self):
                return ToolSchema(name, "Something")

        return Named()

    for made in (
        named("shout"),
        named("SHOUT"),
        named("yell"),
        named("calculator"),
        named("file_reader"),
        named("new", "Calculator"),
        named("new", "shout"),
        named("new", "NEW"),
        named("new", "a", "A"),
    ):
        with pytest.raises(DuplicateError, match="already exists: it is already registered"):
            services.tools.register(made)
    assert not services.tools.has("new")


@pytest.mark.parametrize(("name", "description"), [("", "x"), ("x", " "), (" ", "x")])
def test_tool_without_name_or_description_is_refused(services, name, description):
    class Nameless(Shout):
        @property
        def schema(self):
            return ToolSchema(name, description)

    with pytest.raises(ValidationError, match="A tool needs a"):
        services.tools.register(Nameless())


def test_installed_tool_stays(services):
    with pytest.raises(ComponentError, match="installed and cannot be unregistered"):
        services.tools.unregister("calculator")


# Configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tools",
    [
        {"uuid_generator": {"enabled": False}},
        {"uuid-generator": {"enabled": False}},
        {"custom": {"uuid_generator": {"enabled": False}}},
        {"categories": {"disabled": ["Utility"]}},
        {"categories": {"enabled": ["filesystem"]}},
    ],
)
def test_disabled_tool_is_neither_listed_nor_found(make_services, tools):
    services = make_services(**tools)
    assert "uuid_generator" not in [info.name for info in services.tools.list()]
    assert "file_operations" in [info.name for info in services.tools.list()]
    assert not services.tools.has("uuid-generator")
    assert services.tools.resolve("uuid-generator") == ("uuid_generator", None)
    with pytest.raises(NotFoundError, match="Tool 'uuid_generator' not found") as caught:
        services.tools.get("uuid_generator")
    assert "disabled" in caught.value.hint


async def test_disabled_tool_is_not_invoked(make_services):
    services = make_services(calculator={"enabled": False})
    with pytest.raises(NotFoundError, match="Tool 'calculator' not found"):
        await services.tools.invoke("calculator", {"input": "1"}, ExecutionContext(services))


def test_settings_are_typed_with_nested_tables(make_services):
    rules = make_services(
        timeouts={"default": 5}, categories={"disabled": ["web"]}, security={"max_level": "safe"}
    ).tools.settings
    assert rules.timeouts == {"default": 5}
    assert rules.categories.disabled == ["web"]
    assert rules.security.max_level == "safe"
    assert rules.file_operations.max_file_size == 50_000_000


def test_tools_that_are_no_table_are_a_configuration_error():
    from llmspell_core import ConfigurationError

    with pytest.raises(ConfigurationError, match="'tools' must be a table"):
        Services({"tools": "all"}).tools.list()


# Functions as tools --------------------------------------------------------------------------


async def test_decorated_function_is_a_tool_and_still_a_function(services, context):
    from typing import Literal

    @tool(category="text", aliases=("rep",), effect_class=EffectClass.PURE)
    async def repeat(
        text: str,
        times: int = 2,
        tags: list[str] | None = None,
        style: Literal["plain", "loud"] = "plain",
        factor: float = 1.0,
        options: dict[str, int] | None = None,
        context: ExecutionContext | None = None,
    ) -> dict:
        """Repeat a text
        some times.

        And more about it.

        Args:
            text: What is
                repeated.
            times (int): How often.
        """
        assert context is not None
        return {"text": text * times, "tags": tags, "style": style}

    services.tools.register(repeat)
    schema = repeat.schema
    assert schema.description == "Repeat a text some times."
    assert [(p.name, p.type, p.required, p.items, p.enum) for p in schema.parameters] == [
        ("text", "string", True, None, ()),
        ("times", "integer", False, None, ()),
        ("tags", "array", False, "string", ()),
        ("style", "string", False, None, ("plain", "loud")),
        ("factor", "number", False, None, ()),
        ("options", "object", False, None, ()),
    ]
    assert schema.parameters[0].description == "What is repeated."
    assert schema.parameters[1].description == "How often."
    result = await services.tools.invoke("rep", {"text": "ab", "times": 3.0}, context)
    assert result.text == "ababab"
    assert (await repeat("x", context=context))["text"] == "xx"
    with pytest.raises(
        ValidationError, match=r"Invalid style: 'shy'\. Allowed values: plain, loud"
    ):
        await services.tools.invoke("repeat", {"text": "x", "style": "shy"}, context)
    with pytest.raises(ValidationError, match=r"tags\[0\]': expected string, got integer"):
        await services.tools.invoke("repeat", {"text": "x", "tags": [1]}, context)


def test_function_that_json_cannot_call_is_refused():
    with pytest.raises(TypeError, match="needs a JSON type"):

        @tool()
        def untyped(text):
            """No type."""

    with pytest.raises(TypeError, match="has no JSON type"):

        @tool()
        def strange(text: bytes) -> None:
            """A type JSON lacks."""

    with pytest.raises(TypeError, match="needs a JSON type"):

        @tool()
        def variable(*texts: str) -> None:
            """Any number."""


@pytest.mark.parametrize(
    ("returned", "result", "text", "value"),
    [
        ("x", "x", "x", "x"),
        (5, 5, None, 5),
        (None, None, None, None),
        ([1, 2], [1, 2], None, None),
        ({"a": 1}, {"a": 1}, None, None),
        ({"text": "t", "a": 1}, {"a": 1}, "t", None),
        ({"success": True, "result": {"b": 1}, "a": 2, "output": 9}, {"a": 2, "b": 1}, None, 9),
        ({"success": True, "result": 5, "a": 2}, 5, None, None),
        (ToolResult(result=1), 1, None, None),
    ],
)
async def test_returned_value_becomes_the_result(services, context, returned, result, text, value):
    @tool(name="given")
    def given() -> object:
        """Return what the test gave."""
        return returned

    services.tools.register(given)
    made = await services.tools.invoke("given", {}, context)
    assert (made.success, made.result, made.text, made.value) == (True, result, text, value)


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        ({"success": False}, "The tool failed"),
        ({"error": "broken"}, "broken"),
        ({"error": {"message": "deep", "code": "X"}}, "deep"),
        ({"success": False, "error": "x", "text": "t"}, "x"),
    ],
)
async def test_returned_failure_is_a_soft_failure(services, context, returned, error):
    @tool(name="given")
    def given() -> object:
        """Return what the test gave."""
        return returned

    services.tools.register(given)
    made = await services.tools.invoke("given", {}, context)
    assert (made.success, made.error, made.text) == (False, error, None)
