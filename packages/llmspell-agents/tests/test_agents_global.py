"""`Agent` as scripts see it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell_agents import AgentGlobal, AgentHandle, AgentService, DestroyedError, InputError
from llmspell_core import (
    Agent,
    AgentInput,
    AgentOutput,
    ComponentError,
    ComponentMetadata,
    ConfigurationError,
    DuplicateError,
    ExecutionContext,
    NotFoundError,
    Parameter,
    Plugin,
    ProviderError,
    Record,
    ScriptFunction,
    SecurityError,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_testing import (
    HostDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    ToolsDouble,
    make_context,
    make_services,
)

KINDS = [
    Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1"),
    Plugin("llmspell.agents", "basic", "llmspell_agents:BasicAgent", "a", "1"),
]


class Weather(Tool):
    """Knows the weather."""

    aliases = ("forecast",)

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("get-weather", "Weather", (Parameter("city", "string"),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        if parameters.get("city") == "nowhere":
            return ToolResult(success=False, error="no such city", error_details={"code": "X"})
        return ToolResult(operation="get", result={"degrees": 7, "content": "cold"}, value=7)


class Callback(ScriptFunction):
    """A script's function that notes what it is called with."""

    where = "test.lua:1"

    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def __call__(self, *args: Any, context: ExecutionContext | None = None) -> Any:
        assert context is not None
        self.seen.append(args[0])

    def call(self, *args: Any) -> Any:
        raise AssertionError("not from inline code")


def world(*script: Any) -> tuple[AgentGlobal, ScriptedProvider, Services]:
    provider = ScriptedProvider(*script)
    services = make_services(
        plugins=KINDS, providers=ProvidersDouble(provider), tools=ToolsDouble(Weather())
    )
    services.provide("agents", AgentService(services))
    return AgentGlobal(HostDouble(context=make_context(services))), provider, services


EVERYTHING: dict[str, Any] = {
    "name": "ada",
    "description": "Knows things",
    "type": "llm",
    "model": "m",
    "provider": "scripted",
    "base_url": "http://h",
    "fallback": ["scripted/other"],
    "system_prompt": "P",
    "temperature": 0.4,
    "max_tokens": 30,
    "top_p": 0.8,
    "stop": ["X"],
    "seed": 5,
    "allowed_tools": ["forecast"],
    "tool_options": {"forecast": {"timeout_seconds": 0.5, "retry": 2}},
    "tool_choice": "auto",
    "tool_calling": "native",
    "parallel_tools": False,
    "output_schema": {"type": "object"},
    "capabilities": ["weather"],
    "memory_enabled": True,
    "memory": {"strategy": "summary", "threshold": 0.5, "keep": 2},
    "max_conversation_length": 10,
    "context_window": 1000,
    "approval": "always",
    "budget": {"tokens": 1000, "cost": 0.5, "calls": None, "seconds": None, "soft": 0.8},
    "on_error": "text",
    "resource_limits": {
        "max_execution_time_secs": 60,
        "max_tool_calls": 8,
        "max_recursion_depth": 3,
    },
    "custom_config": {"own": 1},
}


def ada(face: AgentGlobal) -> AgentHandle:
    return face.builder().name("ada").model("scripted/m").build()


async def test_every_builder_method_reaches_the_model_or_the_configuration() -> None:
    face, provider, services = world("{}")
    builder = face.builder()
    agent = (
        builder.name("ada")
        .description("Knows things")
        .type("llm")
        .model("scripted/m")
        .system_prompt("P")
        .temperature(0.4)
        .max_tokens(30)
        .top_p(0.8)
        .stop(["X"])
        .timeout(1500)
        .max_conversation_length(10)
        .api_key("sk-very-secret")
        .base_url("http://h")
        .seed(5)
        .fallback(["scripted/other"])
        .model_setting("logit_bias", {"1": 2})
        .tool("forecast", {"timeout": 500, "retry": 2})
        .tool_choice("auto")
        .tool_calling("native")
        .parallel_tools(False)
        .output_schema({"type": "object"})
        .capability("weather")
        .memory_enabled(True)
        .memory("summary", {"keep": 2.0, "threshold": 0.5})
        .approval("always")
        .budget({"tokens": 1000, "cost": 0.5})
        .on_error("text")
        .max_memory_mb(64)
        .context_window(1000)
        .max_execution_time(60)
        .max_tool_calls(9)
        .max_recursion_depth(3)
        .resource_limits({"max_tool_calls": 8, "max_memory_mb": 100})
        .custom_config({"own": 1})
        .build()
    )
    await agent.execute("hello")
    request = provider.requests[0]
    assert [(m.role, m.content) for m in request.messages] == [("system", "P"), ("user", "hello")]
    assert (request.temperature, request.max_tokens, request.top_p) == (0.4, 30, 0.8)
    assert (request.stop, request.timeout_seconds) == (("X",), 1.5)
    assert [tool.name for tool in request.tools] == ["get-weather"]
    assert request.seed == 5
    assert request.tool_choice == "auto"
    assert request.extra == {"logit_bias": {"1": 2}}
    assert request.response_format == {"type": "json_object"}
    assert agent.get_config() == EVERYTHING
    assert "sk-very-secret" not in f"{agent.get_config()}{agent.get_info()}{agent.agent!r}"
    assert services.secrets.redact("sk-very-secret") == "<REDACTED>"


def test_a_built_agent_is_also_the_result_that_old_scripts_look_for() -> None:
    face, _, services = world()
    agent = ada(face)
    assert (agent.success, agent.error, agent.result) == (True, None, agent)
    assert (agent.name, agent.type, agent.model) == ("ada", "llm", "m")
    assert agent.id == agent.get_id() == services.agents.list()[0].metadata.id
    assert agent.get_name() == "ada"
    assert agent.get_state() == "Uninitialized"


def test_an_agent_without_a_name_gets_one() -> None:
    face, _, _ = world()
    name = face.builder().model("scripted/m").build().name
    assert name.startswith("agent_")
    assert len(name) == len("agent_") + 8


async def test_agents_are_made_from_tables_too() -> None:
    face, _, _ = world()
    first = await face.create("scripted/m", {"name": "one"})
    second = await face.create(
        {
            "name": "two",
            "model": {
                "provider": "scripted",
                "model_id": "m2",
                "temperature": 0.2,
                "settings": {"base_url": "http://h", "api_key": "sk-secret", "seed": 4},
            },
            "allowed_tools": ["get-weather"],
            "custom_config": {"system_prompt": "From custom."},
            "stop": {},
            "resource_limits": {"max_execution_time_secs": 5},
        }
    )
    name = face.register("three", {"model": "scripted/m"})
    assert (first.name, second.name, name) == ("one", "two", "three")
    config = second.get_config()
    assert (config["model"], config["temperature"], config["base_url"]) == ("m2", 0.2, "http://h")
    assert config["system_prompt"] == "From custom."
    assert config["resource_limits"]["max_execution_time_secs"] == 5
    assert face.list_instances() == ["one", "three", "two"]
    assert [(r.text, r.fields["state"]) for r in face.list()] == [
        ("one", "Uninitialized"),
        ("three", "Uninitialized"),
        ("two", "Uninitialized"),
    ]
    assert face.get("one") is first
    assert face.get(first.id) is first
    assert face.get("nobody") is None


def test_templates_begin_an_agent() -> None:
    face, _, _ = world()
    assert {"basic", "llm", "tool-orchestrator"} <= {*face.list_templates()}
    basic = face.create_from_template("b", "basic", {"description": "Mine"})
    assert (basic.type, basic.agent.metadata.description) == ("basic", "Mine")
    model = face.create_from_template("llm", {"name": "x", "model": "scripted/m"})
    config = model.get_config()
    assert (config["temperature"], config["max_tokens"]) == (0.7, 2000)
    with pytest.raises(NotFoundError, match="Template 'nope' not found"):
        face.create_from_template("x", "nope")
    assert face.create_from_template("basic").type == "basic"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": "x"}, ConfigurationError, "Model is required"),
        ({"model": "martian/m"}, ConfigurationError, "Unsupported provider 'martian'"),
        ({"model": "scripted/m", "tools": ["nope"]}, ConfigurationError, "Tool 'nope' not found"),
        ({"model": "scripted/m", "type": "lm"}, ConfigurationError, "Unknown agent type: lm"),
        ({"model": "scripted/m", "temprature": 1}, ConfigurationError, "no option 'temprature'"),
        ({"model": "scripted/m", "temperature": 3}, ValidationError, "from 0 to 2"),
        ({"model": "scripted/m", "temperature": "hot"}, ValidationError, "must be a number"),
        ({"model": "scripted/m", "max_tokens": 0}, ValidationError, "above zero"),
        ({"model": "scripted/m", "max_tool_calls": -1}, ValidationError, "negative"),
        ({"model": "scripted/m", "max_tokens": 1.5}, ValidationError, "a whole number"),
        ({"model": "scripted/m", "memory_enabled": 1}, ValidationError, "true or false"),
        ({"model": "scripted/m", "tools": [5]}, ValidationError, "holds a int"),
        ({"model": "scripted/m", "resource_limits": 5}, ValidationError, "must be a table"),
        ({"model": "scripted/m", "resource_limits": {"x": 5}}, ConfigurationError, "option 'x'"),
        ({"model": {"model_id": "m", "odd": 1}}, ConfigurationError, r"option 'model\.odd'"),
        ({"model": "scripted/m", "name": "  "}, ValidationError, "needs a name"),
        (5, ValidationError, "described by a table, not by int"),
    ],
)
async def test_what_cannot_be_built_raises_and_leaves_nothing(
    options: Any, error: type[Exception], words: str
) -> None:
    face, _, services = world()
    with pytest.raises(error, match=words):
        await face.create(options)
    assert list(services.agents.list()) == []


async def test_a_name_is_taken_until_its_agent_is_destroyed() -> None:
    face, _, _ = world()
    first = ada(face)
    with pytest.raises(DuplicateError, match="Agent instance 'ada' already exists"):
        ada(face)
    assert await first.destroy() is True
    second = ada(face)
    assert second is not first
    with pytest.raises(DestroyedError):
        await first.destroy()
    assert face.get("ada") is second


def test_registering_needs_a_name() -> None:
    face, _, _ = world()
    with pytest.raises(ValidationError, match="needs a name"):
        face.register({"model": "scripted/m"})


def test_kinds_and_agents_are_described() -> None:
    face, _, _ = world()
    kind = face.get_info("llm")
    assert kind["required_parameters"] == ["name", "model"]
    assert "temperature" in kind["optional_parameters"]
    assert kind["description"] == "Talks to a model and uses tools."
    ada(face)
    info = face.get_info("ada")
    assert (info["type"], info["model"], info["provider"]) == ("llm", "m", "scripted")
    with pytest.raises(NotFoundError, match="Agent 'adda' not found") as caught:
        face.get_info("adda")
    assert caught.value.hint == "Did you mean 'ada'?"


def test_agents_are_discovered_by_kind_and_capability() -> None:
    face, _, _ = world()
    assert [kind["name"] for kind in face.discover()] == ["basic", "llm"]
    ada(face)
    face.create_from_template("echo", "basic", {"capabilities": ["fun"]})

    def names(options: dict[str, Any]) -> list[str]:
        return [info["name"] for info in face.discover(options)]

    assert names({"type": "llm"}) == ["ada"]
    assert names({"capabilities": ["supports_tools"]}) == ["ada"]
    assert names({"capabilities": "fun"}) == ["echo"]
    assert names({"type": "llm", "capabilities": ["fun"]}) == []
    with pytest.raises(ValidationError, match="no option 'colour'"):
        face.discover({"colour": 1})


async def test_the_result_has_the_text_under_all_its_names() -> None:
    face, _, _ = world(Reply("Hello", usage=Usage(1, 2)))
    result = await ada(face).execute("hi")
    fields = result.fields
    assert result.text == "Hello"
    for name in ("text", "response", "content", "output", "message"):
        assert fields[name] == "Hello"
    assert fields["success"] is True
    assert "error" not in fields
    assert fields["result"] == Record({"content": "Hello", "text": "Hello"}, "Hello")
    assert fields["usage"]["total_tokens"] == 3
    assert fields["metadata"]["model"] == "m"
    assert (fields["tool_calls"], fields["finish_reason"]) == ([], "stop")
    assert "data" not in fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', {"data": {"a": 1}}),
        ("[1, 2]", {"data": [1, 2]}),
        (
            '{"result": {"x": 1}, "operation": "op", "text": "no", "extra": 2}',
            {
                "data": {"result": {"x": 1}, "operation": "op", "text": "no", "extra": 2},
                "result": {"x": 1},
                "operation": "op",
                "extra": 2,
                "_raw_text": '{"result": {"x": 1}, "operation": "op", "text": "no", "extra": 2}',
            },
        ),
        ('{"success": false}', {"success": False}),
        ("{broken", {}),
    ],
)
async def test_a_json_answer_is_decoded(text: str, expected: dict[str, Any]) -> None:
    face, _, _ = world(text)
    fields = (await ada(face).execute("hi")).fields
    assert fields["text"] == text
    assert {key: fields.get(key) for key in expected} == expected
    assert ("data" in fields) is (text != "{broken")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("plain", "plain"),
        (42, "42"),
        ({"text": "t", "prompt": "p"}, "t"),
        ({"prompt": "p"}, "p"),
        ({"input": "i"}, "i"),
        ({"query": "q", "instruction": "do", "context": "ctx"}, "q\n\ndo\n\nctx"),
        ({"text": "t", "parameters": {"x": 1}, "media": []}, "t"),
    ],
)
async def test_the_text_is_found_in_every_form_of_input(given: Any, text: str) -> None:
    face, provider, _ = world("ok")
    await ada(face).execute(given)
    assert provider.requests[0].messages[-1].content == text


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ("", None, "cannot be empty"),
        ({}, None, "cannot be empty"),
        (None, None, "text or a table, not nothing"),
        (True, None, "text or a table"),
        ({"text": []}, None, "text must be text"),
        ({"text": "x", "parameters": 5}, None, "parameters must be a table"),
        ({"text": "x", "media": [{}]}, None, "image needs 'base64' or 'url'"),
        ({"text": "x", "media": "cat.png"}, None, "media must be a list, not str"),
        ({"media": [{"base64": "####"}]}, None, "Input text cannot be empty"),
        ({"text": "x", "image": {"url": "u", "format": "bmp"}}, None, "unknown format 'bmp'"),
        (
            {"text": "x", "output_modalities": ["image"]},
            None,
            "agents answer in text, not in image",
        ),
        ("x", {"temprature": 1}, "no option 'temprature'"),
        ("x", {"timeout": "soon"}, "timeout must be a number"),
    ],
)
async def test_a_wrong_input_raises_from_every_form_of_execution(
    given: Any, options: Any, words: str
) -> None:
    face, provider, _ = world("never")
    agent = ada(face)
    for call in (agent.execute, agent.invoke):
        with pytest.raises(InputError, match=words):
            await call(given, options)
    with pytest.raises(InputError, match=words):
        await agent.invoke_stream(given, options, Callback())
    assert provider.requests == []


async def test_options_override_for_one_call() -> None:
    face, provider, _ = world("ok")
    await ada(face).execute(
        {"text": "x", "temperature": 0.1}, {"temperature": 0.9, "timeout_ms": 2000, "stream": False}
    )
    request = provider.requests[0]
    assert (request.temperature, request.timeout_seconds) == (0.9, 2.0)


@pytest.mark.parametrize("method", ["invoke_stream", "execute_streaming"])
@pytest.mark.parametrize("with_options", [False, True])
async def test_the_callback_gets_each_piece_while_the_model_speaks(
    method: str, with_options: bool
) -> None:
    gate = asyncio.Event()
    face, _, _ = world(Reply(pieces=("Hel", "lo"), between=gate))
    callback = Callback()
    call = getattr(ada(face), method)
    arguments = ("hi", {"temperature": 0.5}, callback) if with_options else ("hi", callback)
    running = asyncio.ensure_future(call(*arguments))
    while not callback.seen:  # noqa: ASYNC110 - the script's side of the stream
        await asyncio.sleep(0)
    assert not gate.is_set()
    gate.set()
    result = await running
    assert (result.fields["success"], result.fields["text"]) == (True, "Hello")
    assert (result.text, result.fields["chunks_received"]) == ("Hello", 2)
    pieces = callback.seen
    assert [(p.text, p.fields["index"], p.fields["is_final"]) for p in pieces] == [
        ("Hel", 0, False),
        ("lo", 1, False),
        ("", 2, True),
    ]
    assert pieces[-1].fields["full_text"] == "Hello"
    assert pieces[-1].fields["metadata"]["model"] == "m"


async def test_a_stream_needs_a_callback_and_options_that_are_a_table() -> None:
    face, _, _ = world()
    agent = ada(face)
    with pytest.raises(InputError, match="callback"):
        await agent.invoke_stream("hi")
    with pytest.raises(InputError, match="options must be a table"):
        await agent.invoke_stream("hi", 5, Callback())


async def test_a_failure_of_the_callback_ends_the_stream() -> None:
    class Broken(Callback):
        async def __call__(self, *args: Any, context: ExecutionContext | None = None) -> Any:
            raise ComponentError("the callback failed")

    face, _, _ = world(Reply(pieces=("a", "b")))
    with pytest.raises(ComponentError, match="the callback failed"):
        await ada(face).invoke_stream("hi", Broken())


async def test_history_is_shown_and_reset() -> None:
    face, _, _ = world("one")
    agent = ada(face)
    await agent.execute("hi")
    assert [(m["role"], m["content"]) for m in agent.get_history()] == [
        ("user", "hi"),
        ("assistant", "one"),
    ]
    assert agent.get_state() == "Running"
    assert agent.reset() is True
    assert agent.get_history() == []


async def test_a_failed_execution_shows_in_the_state() -> None:
    face, _, _ = world(ProviderError("down"))
    agent = ada(face)
    with pytest.raises(ProviderError):
        await agent.execute("hi")
    assert agent.get_state() == "Error"


async def test_tools_are_called_by_hand_if_they_are_the_agents() -> None:
    face, _, _ = world()
    agent = face.builder().name("w").model("scripted/m").tools(["get-weather"]).build()
    assert agent.discover_tools() == ["get-weather"]
    assert [agent.has_tool(n) for n in ("get_weather", "forecast", "nope")] == [True, True, False]
    result = await agent.invoke_tool("forecast", {"city": "Ulm"})
    assert (result.fields["value"], result.fields["output"], result.fields["content"]) == (
        7,
        7,
        "cold",
    )
    assert result.fields["result"] == {"degrees": 7, "content": "cold"}
    assert result.fields["degrees"] == 7
    failed = await agent.invoke_tool("get-weather", {"city": "nowhere"})
    assert (failed.fields["success"], failed.fields["error"]) == (False, "no such city")
    assert failed.text == "no such city"
    with pytest.raises(NotFoundError, match="Tool 'nope' not found"):
        await agent.invoke_tool("nope")
    bare = ada(face)
    assert (bare.discover_tools(), bare.has_tool("get-weather")) == ([], False)
    with pytest.raises(SecurityError, match="Permission denied: tool 'get-weather'"):
        await bare.invoke_tool("get-weather", {})


async def test_a_destroyed_agent_refuses_everything_that_acts() -> None:
    face, _, _ = world()
    agent = ada(face)
    await agent.destroy()
    for call in (agent.execute("x"), agent.invoke("x"), agent.invoke_tool("get-weather")):
        with pytest.raises(DestroyedError, match="cannot execute in state Terminated"):
            await call
    with pytest.raises(DestroyedError):
        agent.reset()
    assert agent.get_state() == "Terminated"


def test_a_provider_is_chosen_by_name_entry_or_handle() -> None:
    face, _, _ = world()
    entry = {"name": "scripted"}
    for number, given in enumerate((entry, Record(entry, "scripted"), "scripted")):
        builder = face.builder().name(f"a{number}").model("m").provider(given)
        assert builder.build().get_config()["provider"] == "scripted"
    with pytest.raises(ValidationError, match="provider must be a name or a handle"):
        face.builder().provider({})
    with pytest.raises(ValidationError, match="tool must be a name or a handle"):
        face.builder().tool(5)


class Foreign(Agent):
    """An agent of somebody else's."""

    metadata = ComponentMetadata("foreign", "F", "agent")
    conversation = ()

    def clear_conversation(self) -> None:
        pass

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        return AgentOutput(f"foreign: {input.text}")


async def test_a_foreign_agent_is_held_like_ours_as_far_as_it_goes() -> None:
    face, _, services = world()
    services.agents.add(Foreign())
    agent = face.get("foreign")
    assert agent is not None
    assert (await agent.execute("x")).text == "foreign: x"
    assert (agent.type, agent.model, agent.discover_tools()) == ("agent", None, [])
    assert agent.get_info()["result"]["type"] == "agent"
    with pytest.raises(ComponentError, match="cannot tell"):
        agent.get_config()
    with pytest.raises(ComponentError, match="Streaming execution not supported"):
        await agent.invoke_stream("x", Callback())
    assert await agent.destroy() is True
    assert face.list_instances() == []


def test_the_python_builder_takes_methods_and_keywords_alike() -> None:
    from llmspell_agents import AgentBuilder

    chained = (
        AgentBuilder()
        .name("ada")
        .description("D")
        .type("llm")
        .model("scripted/m")
        .provider("scripted")
        .base_url("http://h")
        .api_key("sk-secret")
        .system_prompt("P")
        .temperature(0.5)
        .max_tokens(5)
        .top_p(0.5)
        .stop(["X"])
        .timeout(2000)
        .tool("a")
        .tools(["b", "c"])
        .capability("x")
        .memory_enabled(False)
        .max_conversation_length(7)
        .context_window(70)
        .resource_limits({"max_execution_time": 9})
        .max_execution_time(10)
        .max_tool_calls(3)
        .max_recursion_depth(2)
        .custom_config({"k": "v"})
        .config
    )
    by_keywords = AgentBuilder(
        "ada",
        "llm",
        description="D",
        model="scripted/m",
        provider="scripted",
        base_url="http://h",
        api_key="sk-secret",
        system_prompt="P",
        temperature=0.5,
        max_tokens=5,
        top_p=0.5,
        stop=["X"],
        timeout_seconds=2.0,
        tools=["b", "c"],
        capabilities=["x"],
        memory_enabled=False,
        max_conversation_length=7,
        context_window=70,
        max_execution_time=10,
        max_tool_calls=3,
        max_recursion_depth=2,
        custom_config={"k": "v"},
    ).config
    assert chained == by_keywords
    assert "sk-secret" not in repr(chained)


async def test_a_tool_object_is_registered_with_its_agent() -> None:
    from llmspell_agents import AgentBuilder

    _, provider, services = world("ok", "ok")
    services.tools.unregister("get-weather")
    builder = AgentBuilder("ada").with_model("scripted", "m").with_tool(Weather())
    builder.model_setting("seed", 4)
    agent = builder.build(services)
    await agent.execute("x", make_context(services))
    assert (provider.requests[0].seed, provider.requests[0].extra) == (4, {})
    assert services.tools.has("get-weather")
    everything = AgentBuilder("all", model="scripted/m").allow_all_tools().build(services)
    await everything.execute("x", make_context(services))
    assert [t.name for t in provider.requests[1].tools] == ["get-weather"]
