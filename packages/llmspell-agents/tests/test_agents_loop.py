"""The tool-calling loop: what the model is sent, what is run, when it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService, LLMAgent
from llmspell_core import (
    AgentInput,
    AgentOutput,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    Codec,
    ComponentError,
    ConfigurationError,
    Deadline,
    EffectClass,
    ExecutionContext,
    LLMTimeoutError,
    Message,
    Parameter,
    Plugin,
    Provider,
    ProviderError,
    Services,
    Tool,
    ToolError,
    ToolRequest,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_testing import (
    AgentSuite,
    LedgerDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    ToolsDouble,
    make_context,
    make_services,
    recorded_and_replayed,
)
from llmspell_utils import unless_cancelled

KINDS = (
    Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1"),
    Plugin("llmspell.agents", "basic", "llmspell_agents:BasicAgent", "a", "1"),
)


class Adder(Tool):
    """Adds; knows how to fail, to wait and to talk too much."""

    def __init__(self, name: str = "add") -> None:
        self._name = name
        self.gates: dict[str, asyncio.Event] = {}
        self.running: list[str] = []
        self.cancelled: list[str] = []
        self.opens: dict[str, str] = {}
        self.waiting = asyncio.Event()

    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(self._name, "Adds", (Parameter("a", "number", required=True),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        word = str(parameters.get("a"))
        self.running.append(word)
        if word in self.opens:
            self.gates[self.opens[word]].set()
        if word in self.gates:
            self.waiting.set()
            try:
                await self.gates[word].wait()
            except asyncio.CancelledError:
                self.cancelled.append(word)
                raise
        if word == "hard":
            raise ToolError("the wheel came off", tool_name=self._name, hint="Try 1.")
        if word == "soft":
            return ToolResult(success=False, error="no such number")
        if word == "huge":
            return ToolResult(text="x" * 10_000_000)
        return ToolResult(result={"sum": word}, text=f"sum {word}")


class Wrapped(Provider):
    """As the provider service wraps one: recorded, and over with its execution."""

    def __init__(self, inner: Provider) -> None:
        self.name = inner.name
        self._inner = inner

    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[ChatChunk]:
        return self._inner.stream(request, context)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        return await context.effect(
            "model.chat",
            request,
            lambda inside: unless_cancelled(self._inner.chat(request, inside), inside),
            effect_class=EffectClass.IDEMPOTENT,
            codec=Codec(ChatResponse.to_dict, ChatResponse.from_dict),
        )


def world(
    *script: Any, tools: tuple[Tool, ...] = (), **options: Any
) -> tuple[LLMAgent, ScriptedProvider, Services]:
    provider = ScriptedProvider(*script)
    services = make_services(
        plugins=KINDS, providers=ProvidersDouble(provider), tools=ToolsDouble(*tools)
    )
    services.provide("agents", AgentService(services))
    builder = AgentBuilder("ada", model="scripted/m", system_prompt="Be ada.", **options)
    agent = builder.build(services)
    assert isinstance(agent, LLMAgent)
    return agent, provider, services


def calls(*arguments: Any, text: str = "", name: str = "add") -> Reply:
    made = [(name, a if isinstance(a, str) else {"a": a[0]}) for a in arguments]
    return Reply(text, tools=made)


async def run(agent: LLMAgent, services: Services, text: str = "go") -> AgentOutput:
    return await agent.execute(text, make_context(services))


def told(provider: ScriptedProvider, request: int = -1) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in provider.requests[request].messages]


async def test_a_plain_answer_is_the_text_with_its_figures() -> None:
    agent, provider, services = world(Reply("Hello", usage=Usage(7, 3, cost=0.02)))
    output = await run(agent, services)
    assert (output.text, output.finish_reason, output.tool_calls) == ("Hello", "stop", ())
    assert output.usage == Usage(7, 3, cost=0.02)
    took = output.metadata.pop("execution_time_ms")
    assert took == output.metadata.pop("duration_ms") >= 0
    assert output.metadata == {
        "model": "m",
        "provider": "scripted",
        "token_count": 10,
        "estimated_tokens": 10,
        "token_count_estimated": False,
        "finish_reason": "stop",
        "tool_rounds": 0,
        "request_id": None,
        "cost": 0.02,
        "estimated_cost_cents": 2.0,
    }
    request = provider.requests[0]
    assert request.messages == (Message("system", "Be ada."), Message("user", "go"))
    assert (request.temperature, request.max_tokens, request.tools) == (None, None, ())


async def test_unknown_cost_stays_unknown() -> None:
    agent, _, services = world(Reply("x", usage=Usage(1, 1)), Reply("y", usage=None))
    output = await run(agent, services)
    assert "cost" not in output.metadata
    nothing = await run(agent, services)
    assert (nothing.usage, nothing.metadata["token_count"]) == (None, None)


async def test_tools_are_offered_called_and_answered_until_the_model_is_done() -> None:
    agent, provider, services = world(
        calls(["1"], ["2"], text="Let me see."),
        Reply("Both added."),
        tools=(Adder(),),
        allowed_tools=["add"],
    )
    output = await run(agent, services)
    first, second = provider.requests
    assert first.tools == (Adder().schema,)
    asked = (ToolRequest("call_1", "add", '{"a": "1"}'), ToolRequest("call_2", "add", '{"a": "2"}'))
    assert second.messages[2:] == (
        Message("assistant", "Let me see.", asked),
        Message("tool", "sum 1", tool_request_id="call_1"),
        Message("tool", "sum 2", tool_request_id="call_2"),
    )
    assert output.text == "Both added."
    assert [(c.name, c.parameters, c.success, c.result) for c in output.tool_calls] == [
        ("add", {"a": "1"}, True, {"sum": "1"}),
        ("add", {"a": "2"}, True, {"sum": "2"}),
    ]
    assert all(c.duration_ms is not None and c.duration_ms >= 0 for c in output.tool_calls)
    assert output.usage == Usage(20, 10, cost=0.002)
    assert output.metadata["tool_rounds"] == 1


async def test_calls_of_one_reply_run_at_once_and_answer_in_their_order() -> None:
    adder = Adder()
    adder.gates = {"slow": asyncio.Event()}
    adder.opens = {"quick": "slow"}
    agent, provider, services = world(
        calls(["slow"], ["quick"]), "done", tools=(adder,), allowed_tools=["add"]
    )
    await asyncio.wait_for(run(agent, services), 5)
    assert told(provider)[3:] == [("tool", "sum slow"), ("tool", "sum quick")]


FAILURES: list[tuple[Reply, dict[str, Any]]] = [
    (
        calls(["hard"]),
        {
            "success": False,
            "error": "the wheel came off",
            "error_type": "Tool",
            "hint": "Try 1.",
        },
    ),
    (calls(["soft"]), {"success": False, "error": "no such number", "error_type": "Tool"}),
    (
        calls('{"a": '),
        {
            "success": False,
            "error": "the arguments are not valid JSON: Expecting value: line 1 column 7 (char 6)",
            "error_type": "Validation",
            "hint": "Send the arguments as one JSON object that fits the tool's schema.",
        },
    ),
    (
        calls("[1]"),
        {
            "success": False,
            "error": "the arguments must be a JSON object, not list",
            "error_type": "Validation",
            "hint": "Send the arguments as one JSON object that fits the tool's schema.",
        },
    ),
    (
        calls("{}", name="addd"),
        {
            "success": False,
            "error": "Tool 'addd' is not available",
            "error_type": "Component",
            "hint": "Did you mean 'add'? Available: add.",
        },
    ),
    (
        calls("{}", name="rm"),
        {
            "success": False,
            "error": "Tool 'rm' is not available",
            "error_type": "Component",
            "hint": "Available: add.",
        },
    ),
]


@pytest.mark.parametrize(("asked", "answer"), FAILURES)
async def test_a_call_that_fails_is_told_to_the_model(asked: Reply, answer: dict[str, Any]) -> None:
    agent, provider, services = world(
        asked, "sorry", tools=(Adder(), Adder("rm")), allowed_tools=["add"]
    )
    output = await run(agent, services)
    assert json.loads(told(provider)[-1][1]) == answer
    assert output.text == "sorry"
    assert [(c.success, c.error) for c in output.tool_calls] == [(False, answer["error"])]


async def test_an_agent_without_tools_says_so_to_a_model_that_calls_one() -> None:
    agent, provider, services = world(calls("{}"), "fine")
    await run(agent, services)
    assert "this agent has no tools" in told(provider)[-1][1]


async def test_a_result_too_long_to_read_is_shortened_for_the_model_only() -> None:
    agent, provider, services = world(
        calls(["huge"]), "ok", tools=(Adder(),), allowed_tools=["add"]
    )
    output = await run(agent, services)
    text = told(provider)[-1][1]
    assert len(text) < 101_000
    assert text.endswith("of 10000000 characters; ask for a smaller part]")
    assert len(output.tool_calls[0].result) == 10_000_000


async def test_a_structured_result_is_told_without_its_timings_in_a_fixed_order() -> None:
    class Structured(Adder):
        async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
            return ToolResult(
                operation="o", result={"b": 1, "a": "ü"}, metadata={"execution_time_ms": 3.5}
            )

    agent, provider, services = world(
        calls(["1"]), "ok", tools=(Structured(),), allowed_tools=["add"]
    )
    await run(agent, services)
    assert told(provider)[-1][1] == (
        '{"operation": "o", "result": {"a": "ü", "b": 1}, "success": true}'
    )


async def test_names_that_providers_refuse_are_exported_under_others() -> None:
    long = "ä tool/with.dots " * 6
    agent, provider, services = world(
        lambda request: Reply(tools=[(request.tools[1].name, {"a": "1"})]),
        "ok",
        tools=(Adder("a.b"), Adder("a/b"), Adder(long)),
        allowed_tools=["a.b", "a/b", long],
    )
    output = await run(agent, services)
    names = [tool.name for tool in provider.requests[0].tools]
    assert names[:2] == ["a_b", "a_b_2"]
    assert all(len(n) <= 64 and n.replace("_", "").replace("-", "").isalnum() for n in names)
    assert names[2].isascii()
    assert output.tool_calls[0].name == "a/b"


async def test_a_star_is_every_registered_tool() -> None:
    agent, provider, services = world("hi", tools=(Adder("one"), Adder("two")), allowed_tools=["*"])
    await run(agent, services)
    assert [tool.name for tool in provider.requests[0].tools] == ["one", "two"]
    assert agent.tool_names() == ["one", "two"]


async def test_the_limit_of_calls_ends_with_what_there_is() -> None:
    agent, provider, services = world(
        calls(["1"], ["2"], ["3"], text="so far"),
        tools=(Adder(),),
        allowed_tools=["add"],
        max_tool_calls=2,
    )
    output = await run(agent, services)
    assert (output.text, output.finish_reason) == ("so far", "tool_calls")
    assert [c.success for c in output.tool_calls] == [True, True, False]
    assert output.tool_calls[2].error == "the limit of 2 tool calls is reached"
    assert len(provider.requests) == 1


async def test_the_limit_of_rounds_ends_with_what_there_is() -> None:
    agent, _, services = world(
        calls(["1"]),
        calls(["2"]),
        calls(["3"], text="enough"),
        tools=(Adder(),),
        allowed_tools=["add"],
        max_recursion_depth=2,
    )
    output = await run(agent, services)
    assert (output.text, output.finish_reason) == ("enough", "recursion_depth")
    assert [c.success for c in output.tool_calls] == [True, True, False]


async def test_the_same_call_again_and_again_is_refused_and_then_ended() -> None:
    adder = Adder()
    agent, provider, services = world(
        *[calls(["7"]) for _ in range(5)], tools=(adder,), allowed_tools=["add"]
    )
    output = await run(agent, services)
    assert output.finish_reason == "repeated_calls"
    assert adder.running == ["7", "7"]
    assert "use the results you have" in told(provider, 3)[-1][1]


async def test_the_same_call_after_another_is_no_loop() -> None:
    adder = Adder()
    steps = [calls([n]) for n in ("1", "1", "2", "1", "1", "2")]
    agent, _, services = world(*steps, "ok", tools=(adder,), allowed_tools=["add"])
    output = await run(agent, services)
    assert output.finish_reason == "stop"
    assert adder.running == ["1", "1", "2", "1", "1", "2"]


async def test_the_time_limit_ends_with_what_there_is() -> None:
    never = asyncio.Event()
    provider = Wrapped(ScriptedProvider(calls(["1"], text="begun"), Reply("late", after=never)))
    services = make_services(
        plugins=KINDS,
        providers=ProvidersDouble(provider),
        tools=ToolsDouble(Adder()),
    )
    services.provide("agents", AgentService(services))
    agent = AgentBuilder("ada", model="scripted/m", tools=["add"], max_execution_time=0.05).build(
        services
    )
    output = await asyncio.wait_for(agent.execute("go", make_context(services)), 5)
    assert (output.text, output.finish_reason) == ("begun", "execution_time")
    assert [c.success for c in output.tool_calls] == [True]
    roles = [message["role"] for message in agent.conversation]
    assert roles == ["user", "assistant", "tool"]


async def test_no_time_at_all_asks_nothing() -> None:
    agent, provider, services = world("never", max_execution_time=1e-9)
    output = await run(agent, services)
    assert (output.text, output.finish_reason) == ("", "execution_time")
    assert provider.requests == []


async def test_the_deadline_of_the_execution_is_not_the_agents_limit() -> None:
    agent, _, services = world(LLMTimeoutError("slow"))
    with pytest.raises(LLMTimeoutError, match="slow"):
        await agent.execute("go", make_context(services, deadline=Deadline(60)))
    assert agent.state == "Error"


async def test_a_provider_error_is_an_error_and_the_question_is_forgotten() -> None:
    agent, _, services = world(ProviderError("down", kind="server"), "better")
    with pytest.raises(ProviderError, match="down"):
        await run(agent, services)
    assert (agent.state, agent.last_error) == ("Error", "LLM provider error: down")
    assert list(agent.conversation) == []
    assert (await run(agent, services)).text == "better"
    assert agent.state == "Running"


async def test_an_error_after_tools_were_run_keeps_what_was_done() -> None:
    agent, provider, services = world(
        calls(["1"]),
        ProviderError("down"),
        "again",
        tools=(Adder(),),
        allowed_tools=["add"],
    )
    with pytest.raises(ProviderError):
        await run(agent, services)
    await run(agent, services, "and now?")
    assert told(provider) == [
        ("system", "Be ada."),
        ("user", "go"),
        ("assistant", ""),
        ("tool", "sum 1"),
        ("user", "and now?"),
    ]


async def test_a_cancelled_run_answers_every_open_call_in_its_history() -> None:
    adder = Adder()
    adder.gates = {"hang": asyncio.Event()}
    agent, _, services = world(calls(["1"], ["hang"]), tools=(adder,), allowed_tools=["add"])
    running = asyncio.ensure_future(run(agent, services))
    await asyncio.wait_for(adder.waiting.wait(), 5)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert adder.cancelled == ["hang"]
    history = agent.conversation
    assert [m["role"] for m in history] == ["user", "assistant", "tool", "tool"]
    answered = {m["tool_request_id"] for m in history if m["role"] == "tool"}
    assert answered == {request["id"] for request in history[1]["tool_requests"]}
    assert history[2]["content"] == "sum 1"
    assert "cancelled before it finished" in history[3]["content"]


async def test_an_input_may_override_what_the_agent_was_built_with() -> None:
    other = ScriptedProvider("other", name="other")
    mine = ScriptedProvider("mine")
    services = make_services(
        plugins=KINDS, providers=ProvidersDouble(mine, other), tools=ToolsDouble(Adder())
    )
    services.provide("agents", AgentService(services))
    agent = AgentBuilder("ada", model="scripted/m", temperature=0.1).build(services)
    asked = AgentInput(
        "hi",
        {
            "model": "other/big",
            "temperature": 0.9,
            "max_tokens": 5,
            "top_p": 0.5,
            "stop": ["X"],
            "system_prompt": "Else.",
            "tools": ["add"],
            "timeout_seconds": 3,
            "something": "else",
        },
    )
    output = await agent.execute(asked, make_context(services))
    request = other.requests[0]
    assert output.metadata["provider"] == "other"
    assert (request.model, request.temperature, request.max_tokens) == ("big", 0.9, 5)
    assert (request.top_p, request.stop, request.timeout_seconds) == (0.5, ("X",), 3)
    assert request.messages[0] == Message("system", "Else.")
    assert [tool.name for tool in request.tools] == ["add"]
    await agent.execute("hi", make_context(services))
    assert mine.requests[0].temperature == 0.1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"temperature": 3}, "temperature must be from 0 to 2"),
        ({"max_tokens": "many"}, "max_tokens must be a whole number, not str"),
        ({"tools": ["nobody"]}, "Tool 'nobody' not found"),
    ],
)
async def test_a_wrong_override_is_refused_before_anything_is_sent(
    wrong: dict[str, Any], words: str
) -> None:
    agent, provider, services = world("never")
    with pytest.raises((ValidationError, ConfigurationError), match=words):
        await agent.execute(AgentInput("hi", wrong), make_context(services))
    assert provider.requests == []


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_an_empty_question_is_refused(text: str) -> None:
    agent, _, services = world("never")
    with pytest.raises(ValidationError, match="Input text cannot be empty"):
        await run(agent, services, text)


async def test_a_destroyed_agent_raises_and_its_name_is_free() -> None:
    agent, _, services = world("never")
    await agent.destroy(make_context(services))
    with pytest.raises(ComponentError, match="was destroyed"):
        await run(agent, services)
    assert agent.state == "Terminated"
    assert services.agents.get("ada") is None


async def test_a_run_with_tools_replays_without_model_and_tools() -> None:
    made: list[tuple[ScriptedProvider, Adder]] = []

    async def work(context: ExecutionContext) -> tuple[AgentOutput, Any]:
        adder = Adder()
        script = ScriptedProvider(calls(["1"], ["2"]), "done")
        made.append((script, adder))
        services = make_services(
            plugins=KINDS, providers=ProvidersDouble(Wrapped(script)), tools=ToolsDouble(adder)
        )
        services.provide("agents", AgentService(services))
        inner = ExecutionContext(services, effects=context.effects)
        agent = AgentBuilder(model="scripted/m", tools=["add"]).build(services, context=inner)
        return await agent.execute("go", inner), agent.conversation

    first, second = await recorded_and_replayed(work, LedgerDouble())
    assert first == second
    assert [(len(s.requests), t.running) for s, t in made] == [(2, ["1", "2"]), (0, [])]


async def test_a_replay_chooses_the_model_that_the_run_chose_or_fails_as_it_did() -> None:
    configured = iter(["first", "second"])

    async def work(context: ExecutionContext) -> list[str]:
        name = next(configured)
        providers = ProvidersDouble(ScriptedProvider(name=name))
        if name == "second":
            providers = ProvidersDouble(ScriptedProvider(name="first"), ScriptedProvider(name="x"))
        services = make_services(plugins=KINDS, providers=providers)
        services.provide("agents", AgentService(services))
        inner = ExecutionContext(services, effects=context.effects)
        made = AgentBuilder("a", model="m").build(services, context=inner)
        assert isinstance(made, LLMAgent)
        with pytest.raises(ConfigurationError, match="Unsupported provider 'x'") as caught:
            AgentBuilder("b", model="x/m").build(services, context=inner)
        return [made.provider, made.model, caught.value.message]

    first, second = await recorded_and_replayed(work, LedgerDouble())
    assert first == second == ["first", "m", "Unsupported provider 'x'"]


class TestLLMAgentKeepsTheContract(AgentSuite):
    @pytest.fixture
    def component(self) -> LLMAgent:
        from llmspell_core import ProviderSettings
        from llmspell_testing import EchoProvider

        services = make_services(plugins=KINDS)
        echo = EchoProvider(ProviderSettings("echo", "echo"), services)
        services.provide("providers", ProvidersDouble(echo))
        services.provide("agents", AgentService(services))
        agent = AgentBuilder("ada", model="echo/x").build(services)
        assert isinstance(agent, LLMAgent)
        return agent
