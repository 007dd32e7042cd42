"""How the loop calls tools: options of single tools, the choice of one, order, what hangs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, ToolRules
from llmspell_core import (
    AgentInput,
    CancelSignal,
    ConfigurationError,
    Deadline,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
    NetworkError,
    Parameter,
    ProviderError,
    Services,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_testing import HooksDouble, ProvidersDouble, Reply, ScriptedProvider, make_context

Make = Callable[..., Any]


class Bell(Tool):
    """Rings; `act` says how."""

    effect_class = EffectClass.PURE

    def __init__(self, name: str = "bell", act: Any = None) -> None:
        self._name = name
        self._act = act
        self.rung: list[dict[str, Any]] = []
        self.started = asyncio.Event()

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema(self._name, "Rings", (Parameter("tone", "string"),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        self.rung.append(parameters)
        self.started.set()
        if self._act is not None:
            made = self._act(len(self.rung))
            if asyncio.iscoroutine(made):
                made = await made
            if isinstance(made, ToolResult):
                return made
        return ToolResult(text="dong")


def ring(*tones: str, name: str = "bell") -> Reply:
    return Reply(tools=[(name, {"tone": tone}) for tone in tones])


def told(provider: ScriptedProvider, request: int = -1) -> list[str]:
    return [m.content for m in provider.requests[request].messages if m.role == "tool"]


def real_world(provider: ScriptedProvider, *tools: Tool, **config: Any) -> Services:
    """Services as installed, with the real pipeline of tools, and a scripted model."""
    services = Services({"tools": config})
    services.provide("providers", ProvidersDouble(provider))
    for tool in tools:
        services.tools.register(tool)
    return services


async def test_a_tool_may_have_a_time_out_of_its_own() -> None:
    async def forever(_: int) -> None:
        await asyncio.get_running_loop().create_future()

    slow, quick = Bell("slow", forever), Bell("quick")
    provider = ScriptedProvider(ring("a", name="slow"), ring("b", name="quick"), "ok")
    async with real_world(provider, slow, quick) as services:
        agent = (
            AgentBuilder("ada", model="scripted/m")
            .tool("slow", timeout_seconds=0.02)
            .tool("quick")
            .build(services)
        )
        output = await agent.execute("go", make_context(services))
    failure = json.loads(told(provider, 1)[0])
    assert (failure["error_type"], failure["success"]) == ("Timeout", False)
    assert failure["error"] == "Tool 'slow' timed out after 0.02s"
    assert [call.success for call in output.tool_calls] == [False, True]


async def test_without_one_the_configured_time_out_holds() -> None:
    async def forever(_: int) -> None:
        await asyncio.get_running_loop().create_future()

    provider = ScriptedProvider(ring("a"), "ok")
    async with real_world(provider, Bell(act=forever), timeouts={"bell": 0.03}) as services:
        agent = AgentBuilder("ada", model="scripted/m", tools=["bell"]).build(services)
        await agent.execute("go", make_context(services))
    assert "timed out after 0.03s" in told(provider)[0]


async def test_a_tool_may_be_tried_again() -> None:
    def flaky(count: int) -> None:
        if count < 3:
            raise NetworkError("line dead", retry_after=0)

    bell = Bell(act=flaky)
    provider = ScriptedProvider(ring("a"), "ok")
    async with real_world(provider, bell) as services:
        builder = AgentBuilder("ada", model="scripted/m", tools=["bell"])
        builder.tool_options({"bell": {"retry": 2}})
        agent = builder.build(services)
        await agent.execute("go", make_context(services))
    assert told(provider) == ["dong"]
    assert len(bell.rung) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bell": {"timeout": 0}}, "must be above zero"),
        ({"bell": {"retry": -1}}, "from 0 to 10"),
        ({"bell": {"retries": 1}}, "no option 'retries'"),
        ({"bell": {"timeout": "soon"}}, "timeout of a tool must be a number"),
        ({"bell": 5}, "options of a tool must be a table"),
        (5, "tool_options must be a table"),
    ],
)
def test_wrong_options_of_a_tool_are_refused(options: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AgentBuilder("ada", tool_options=options)


def test_options_of_a_tool_are_written_in_either_unit() -> None:
    rules = AgentBuilder(tool_options={"a": {"timeout": 500}, "b": {"timeout_seconds": 2}}).config
    assert rules.tool_options == {"a": ToolRules(0.5), "b": ToolRules(2)}


@pytest.mark.parametrize("choice", ["required", "ring/bell"])
async def test_a_choice_holds_until_the_first_call(make_agent: Make, choice: str) -> None:
    agent, provider, services = make_agent(
        Reply(tools=[("ring_bell", {"tone": "a"})]),
        "ok",
        "again",
        tools=(Bell("ring/bell"),),
        tool_choice=choice,
    )
    context = make_context(services)
    await agent.execute("go", context)
    await agent.execute(AgentInput("go", {"tool_choice": "none"}), context)
    named = "ring_bell" if choice == "ring/bell" else choice
    assert [request.tool_choice for request in provider.requests] == [named, None, "none"]


@pytest.mark.parametrize("tools", [(), (Bell("other"),)])
def test_a_choice_that_is_no_tool_of_the_agent_is_refused(
    make_agent: Make, tools: tuple[Tool, ...]
) -> None:
    with pytest.raises(ConfigurationError, match="tool_choice 'bell' is none of the agent's"):
        make_agent(tools=tools, tool_choice="bell")


async def test_calls_may_be_made_one_after_the_other(make_agent: Make) -> None:
    running, most = 0, 0

    async def count(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    for parallel, expected in ((True, 3), (False, 1)):
        most = 0
        agent, provider, services = make_agent(
            ring("1", "2", "3"), "ok", tools=(Bell(act=count),), parallel_tools=parallel
        )
        await agent.execute("go", make_context(services))
        assert most == expected
        assert told(provider) == ["dong"] * 3


async def test_a_tool_that_swallows_its_cancellation_does_not_hold_the_agent(
    make_agent: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    import llmspell_utils._waiting as waiting

    monkeypatch.setattr(waiting, "_PATIENCE", 0.02)
    gate = asyncio.Event()

    async def deaf(_: int) -> None:
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    agent, _, services = make_agent(
        Reply("begun", tools=[("bell", {"tone": "x"})]),
        tools=(Bell(act=deaf),),
        max_execution_time=0.05,
    )
    output = await asyncio.wait_for(agent.execute("go", make_context(services)), 10)
    assert (output.text, output.finish_reason) == ("begun", "execution_time")
    assert output.tool_calls[0].error == "the time of the agent was over"
    gate.set()
    await asyncio.sleep(0)


async def test_cancelling_ends_a_tool_and_keeps_what_was_done(make_agent: Make) -> None:
    second = asyncio.Event()

    async def hang(count: int) -> None:
        if count == 2:
            second.set()
            await asyncio.get_running_loop().create_future()

    agent, _, services = make_agent(ring("first"), ring("second"), tools=(Bell(act=hang),))
    cancel = CancelSignal()
    running = asyncio.ensure_future(agent.execute("go", make_context(services, cancel=cancel)))
    await asyncio.wait_for(second.wait(), 10)
    cancel.cancel("enough")
    cancel.cancel("more than enough")
    with pytest.raises(ExecutionCancelled, match=r"^enough$") as caught:
        await asyncio.wait_for(running, 10)
    partial = caught.value.partial
    assert [(c.parameters["tone"], c.success) for c in partial.tool_calls] == [
        ("first", True),
        ("second", False),
    ]
    roles = [m["role"] for m in agent.conversation]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]
    assert "cancelled before it finished" in agent.conversation[-1]["content"]


async def test_the_deadline_of_the_execution_ends_a_tool_as_an_error(make_agent: Make) -> None:
    async def hang(_: int) -> None:
        await asyncio.get_running_loop().create_future()

    agent, _, services = make_agent(ring("a"), tools=(Bell(act=hang),))
    context = make_context(services, deadline=Deadline(0.05))
    with pytest.raises(LLMTimeoutError) as caught:
        await asyncio.wait_for(agent.execute("go", context), 10)
    assert caught.value.partial.tool_calls[0].name == "bell"


async def test_an_error_after_tools_has_the_calls_with_it(make_agent: Make) -> None:
    agent, _, services = make_agent(ring("a"), ProviderError("gone"), tools=(Bell(),))
    with pytest.raises(ProviderError) as caught:
        await agent.execute("go", make_context(services))
    partial = caught.value.partial
    assert [(c.name, c.result) for c in partial.tool_calls] == [("bell", "dong")]
    assert partial.finish_reason == "error"


async def test_a_tool_that_is_not_the_agents_is_refused_and_told_to_hooks(
    make_agent: Make,
) -> None:
    hooks = HooksDouble()

    async def see(point: str, data: Any, context: Any) -> None:
        return None

    hooks.register("SecurityViolation", see)
    safe = Bell("safe")
    agent, provider, services = make_agent(
        ring("a", name="bell"), "ok", tools=(safe,), services={"hooks": hooks}
    )
    bell = Bell("bell")
    services.tools.register(bell)
    await agent.execute("go", make_context(services))
    assert "Tool 'bell' is not available" in told(provider)[0]
    assert bell.rung == []
    assert [(point, data["tool_name"], data["agent_name"]) for point, data in hooks.ran] == [
        ("SecurityViolation", "bell", "ada")
    ]


async def test_results_are_shortened_to_what_the_window_can_hold(make_agent: Make) -> None:
    class Small(ScriptedProvider):
        def window(self, model: str) -> int | None:
            return 4_000

    long = Bell(act=lambda _: ToolResult(text="x" * 50_000))
    provider = Small(ring("a"), "ok")
    agent, _, services = make_agent(provider=provider, tools=(long,))
    output = await agent.execute("go", make_context(services))
    assert len(told(provider)[0]) < 4_000
    assert "of 50000 characters; ask for a smaller part]" in told(provider)[0]
    assert len(output.tool_calls[0].result) == 50_000


async def test_a_result_that_has_no_json_form_is_told_as_such(make_agent: Make) -> None:
    knot: dict[Any, Any] = {}
    knot["itself"] = knot
    bell = Bell(act=lambda _: ToolResult(result=knot))
    agent, provider, services = make_agent(ring("a"), "ok", tools=(bell,))
    await agent.execute("go", make_context(services))
    assert told(provider)[0].startswith("(the result has no JSON form")


async def test_what_the_vendor_wants_back_goes_with_the_answer(make_agent: Make) -> None:
    class Thinking(ScriptedProvider):
        def _response(self, reply: Any, request: Any) -> Any:
            from dataclasses import replace

            made = super()._response(reply, request)
            return replace(made, carry={"signature": str(len(self.requests))})

    provider = Thinking(ring("a"), "ok", "more")
    agent, _, services = make_agent(provider=provider, tools=(Bell(),))
    context = make_context(services)
    await agent.execute("go", context)
    await agent.execute("again", context)
    carried = [m.carry for m in provider.requests[-1].messages if m.role == "assistant"]
    assert carried == [{"signature": "1"}, {"signature": "2"}]


# Without function calling ----------------------------------------------------------------------

CALL = 'Let me ring.\n```tool_call\n{"name": "bell", "arguments": {"tone": "a"}}\n```'


async def test_a_model_without_function_calling_is_told_of_tools_in_the_prompt(
    make_agent: Make,
) -> None:
    agent, provider, services = make_agent(CALL, "It rang.", tools=(Bell(),), tool_calling="prompt")
    output = await agent.execute("go", make_context(services))
    first, second = provider.requests
    assert (first.tools, second.tools, first.tool_choice) == ((), (), None)
    prompt = first.messages[0].content
    assert prompt.startswith("Be ada.\n\nYou can call tools.")
    assert "- bell: Rings" in prompt
    assert '"tone"' in prompt
    assert [(m.role, m.content) for m in second.messages[1:]] == [
        ("user", "go"),
        ("assistant", CALL),
        ("user", "Result of bell:\ndong"),
    ]
    assert (output.text, output.finish_reason) == ("It rang.", "stop")
    assert [(c.name, c.parameters, c.success) for c in output.tool_calls] == [
        ("bell", {"tone": "a"}, True)
    ]
    # The conversation is kept as any other.
    assert [m["role"] for m in agent.conversation] == ["user", "assistant", "tool", "assistant"]
    assert agent.conversation[1]["content"] == "Let me ring."


@pytest.mark.parametrize(
    ("text", "tones"),
    [
        (CALL, ["a"]),
        (CALL + "\n" + CALL.replace('"a"', '"b"'), ["a", "b"]),
        ('<tool_call>{"name": "bell", "arguments": {"tone": "a"}}</tool_call>', ["a"]),
        ('<tool_call>\n{"name": "bell", "arguments": {"tone": "a"}}', ["a"]),
        ('{"name": "bell", "arguments": {"tone": "a"}}', ["a"]),
        ('```tool_call\n{"name": "bell", "arguments": "{\\"tone\\": \\"a\\"}"}\n```', ["a"]),
        ('```tool_call\n{"name": "bell", "parameters": {"tone": "a"}}\n```', ["a"]),
        ('```json\n{"name": "bell", "tone": "a"}\n```', []),
        ('{"name": "Oslo", "arguments": {}}', []),
        ("no call", []),
    ],
)
async def test_calls_are_read_in_the_forms_models_write(
    make_agent: Make, text: str, tones: list[str]
) -> None:
    bell = Bell()
    agent, _, services = make_agent(text, "ok", tools=(bell,), tool_calling="prompt")
    output = await agent.execute("go", make_context(services))
    assert [parameters["tone"] for parameters in bell.rung] == tones
    if not tones:
        assert output.text == text


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ('{"name": "bell", "arguments": {"tone": }}', "the arguments are not valid JSON"),
        ('{"name": "gong", "arguments": {}}', "Tool 'gong' is not available"),
        ("bell(tone=a)", "Tool '' is not available"),
    ],
)
async def test_a_broken_call_is_told_to_the_model(
    make_agent: Make, broken: str, words: str
) -> None:
    agent, provider, services = make_agent(
        f"```tool_call\n{broken}\n```", "ok", tools=(Bell(),), tool_calling="prompt"
    )
    await agent.execute("go", make_context(services))
    assert words in provider.requests[1].messages[-1].content


async def test_calls_are_numbered_on_through_the_conversation(make_agent: Make) -> None:
    agent, _, services = make_agent(
        CALL, CALL, "one", CALL, "two", tools=(Bell(),), tool_calling="prompt"
    )
    context = make_context(services)
    await agent.execute("go", context)
    await agent.execute("go", context)
    ids = [r["id"] for m in agent.conversation for r in m.get("tool_requests", ())]
    assert ids == ["call_1", "call_2", "call_3"]


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
async def test_a_stream_shows_the_words_and_not_the_call(make_agent: Make, size: int) -> None:
    text = "Wait `a` moment.\n" + CALL
    pieces = tuple(text[at : at + size] for at in range(0, len(text), size))
    agent, _, services = make_agent(
        Reply(pieces=pieces),
        Reply(pieces=("It ", "```py\nrang\n```")),
        tools=(Bell(),),
        tool_calling="prompt",
    )
    seen = [chunk async for chunk in agent.stream("go", make_context(services))]
    text = "".join(chunk.text for chunk in seen)
    assert text == "Wait `a` moment.\nLet me ring.\nIt ```py\nrang\n```"
    kinds = [chunk.kind for chunk in seen if chunk.kind != "text"]
    assert kinds == ["tool_call", "tool_result", "end"]


async def test_a_whole_answer_in_braces_is_shown_when_it_is_no_call(make_agent: Make) -> None:
    pieces = ('{"name": ', '"Oslo"}')
    agent, _, services = make_agent(Reply(pieces=pieces), tools=(Bell(),), tool_calling="prompt")
    seen = [chunk.text async for chunk in agent.stream("go", make_context(services))]
    assert "".join(seen) == '{"name": "Oslo"}'


async def test_a_model_that_refuses_tools_is_told_about_with_the_way_out(
    make_agent: Make,
) -> None:
    refusal = ProviderError("this model does not support tools", kind="invalid_request")
    agent, _, services = make_agent(refusal, tools=(Bell(),))
    with pytest.raises(ProviderError) as caught:
        await agent.execute("go", make_context(services))
    assert caught.value.hint == 'Describe the tools in the prompt: tool_calling = "prompt".'
