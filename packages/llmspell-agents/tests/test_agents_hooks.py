"""Hooks around an execution, and failures as answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from llmspell_core import (
    AgentInput,
    ComponentError,
    EffectClass,
    ExecutionContext,
    HookOutcome,
    Parameter,
    ProviderError,
    ReplayError,
    Tool,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
    component_id,
)
from llmspell_testing import HooksDouble, Reply, make_context

Make = Callable[..., Any]
POINTS = ("BeforeAgentExecution", "AfterAgentExecution", "AgentError")


class Noop(Tool):
    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("noop", "Does nothing", (Parameter("n", "number"),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        return ToolResult(text="nothing")


def hooks_with(**answers: Any) -> HooksDouble:
    """Hooks at all three points; a named one gives that outcome."""
    hooks = HooksDouble(*POINTS)
    for point in POINTS:

        async def answer(at: str, data: Any, context: Any) -> HookOutcome | None:
            return answers.get(at)

        hooks.register(point, answer)
    return hooks


async def test_each_point_fires_once_with_what_it_is_about(make_agent: Make) -> None:
    hooks = hooks_with()
    agent, _, services = make_agent(
        Reply(tools=[("noop", {"n": 1})], usage=Usage(7, 3)),
        Reply("done", usage=Usage(20, 4)),
        tools=(Noop(),),
        services={"hooks": hooks},
    )
    await agent.execute(
        AgentInput("go", {"temperature": 1, "schema": None}), make_context(services)
    )
    (before, asked), (after, done) = hooks.ran
    assert (before, after) == ("BeforeAgentExecution", "AfterAgentExecution")
    who = {
        "agent_name": "ada",
        "agent_id": component_id("ada"),
        "input": {"text": "go", "parameters": {"temperature": 1, "schema": None}},
    }
    assert asked == who
    assert done.pop("duration_ms") >= 0
    calls = done["output"].pop("tool_calls")
    assert [one["name"] for one in calls] == ["noop"]
    assert done == {
        **who,
        "output": {"text": "done", "finish_reason": "stop"},
        "token_usage": {
            "input_tokens": 27,
            "output_tokens": 7,
            "total_tokens": 34,
            "model": "m",
            "provider": "scripted",
        },
    }


async def test_they_fire_for_a_stream_too(make_agent: Make) -> None:
    hooks = hooks_with()
    agent, _, services = make_agent("hi", services={"hooks": hooks})
    _ = [chunk async for chunk in agent.stream("go", make_context(services))]
    assert [point for point, _ in hooks.ran] == ["BeforeAgentExecution", "AfterAgentExecution"]


async def test_a_hook_may_change_what_is_asked_and_what_is_answered(make_agent: Make) -> None:
    hooks = hooks_with(
        BeforeAgentExecution=HookOutcome(
            "modified", {"input": {"text": "else", "parameters": {"max_tokens": 5}}}
        ),
        AfterAgentExecution=HookOutcome("modified", {"output": {"text": "changed"}}),
    )
    agent, provider, services = make_agent("hi", services={"hooks": hooks})
    output = await agent.execute("go", make_context(services))
    assert output.text == "changed"
    assert provider.requests[0].messages[-1].content == "else"
    assert provider.requests[0].max_tokens == 5


@pytest.mark.parametrize(
    ("outcome", "text", "reason"),
    [
        (HookOutcome("skip"), "", "skipped"),
        (HookOutcome("replace", "mine"), "mine", "replaced"),
        (HookOutcome("replace", {"text": "mine", "data": 5}), "mine", "replaced"),
    ],
)
async def test_a_hook_may_take_the_place_of_the_work(
    make_agent: Make, outcome: HookOutcome, text: str, reason: str
) -> None:
    hooks = hooks_with(BeforeAgentExecution=outcome)
    agent, provider, services = make_agent("never", services={"hooks": hooks})
    output = await agent.execute("go", make_context(services))
    assert (output.text, output.finish_reason) == (text, reason)
    assert provider.requests == []


@pytest.mark.parametrize("point", ["BeforeAgentExecution", "AfterAgentExecution"])
async def test_a_hook_may_cancel_and_says_why(make_agent: Make, point: str) -> None:
    hooks = hooks_with(**{point: HookOutcome("cancel", reason="too late")})
    agent, _provider, services = make_agent("hi", services={"hooks": hooks})
    with pytest.raises(ComponentError, match=f"too late \\({point}\\)") as caught:
        await agent.execute("go", make_context(services))
    assert caught.value.code == "HOOK_CANCELLED"
    assert [at for at, _ in hooks.ran][-1] == "AgentError"


async def test_a_hook_hears_of_an_error_and_may_answer_instead(make_agent: Make) -> None:
    for outcome in (None, HookOutcome("replace", "I am ill")):
        hooks = hooks_with(AgentError=outcome)
        agent, _, services = make_agent(ProviderError("down"), services={"hooks": hooks})
        if outcome is None:
            with pytest.raises(ProviderError):
                await agent.execute("go", make_context(services))
        else:
            assert (await agent.execute("go", make_context(services))).text == "I am ill"
        point, data = hooks.ran[-1]
        assert point == "AgentError"
        assert (data["error"], data["error_type"]) == ("LLM provider error: down", "Provider")


async def test_a_failure_may_be_an_answer(make_agent: Make) -> None:
    agent, _, services = make_agent(
        Reply("so far", tools=[("noop", {"n": 1})]),
        ProviderError("down", kind="server"),
        "well again",
        tools=(Noop(),),
        on_error="text",
    )
    output = await agent.execute("go", make_context(services))
    assert output.text == "I could not finish: LLM provider error: down"
    assert (output.finish_reason, output.metadata["finish_reason"]) == ("error", "error")
    assert output.metadata["error"]["kind"] == "server"
    assert [call.name for call in output.tool_calls] == ["noop"]
    assert (agent.state, agent.last_error) == ("Error", "LLM provider error: down")
    chunks = [chunk async for chunk in agent.stream("go", make_context(services))]
    assert chunks[-1].output.text == "well again"
    agent, _, services = make_agent(ReplayError("differs"), on_error="text")
    with pytest.raises(ReplayError):
        await agent.execute("go", make_context(services))
    with pytest.raises(ValidationError, match="on_error must be 'raise' or 'text'"):
        make_agent(on_error="ignore")


async def test_an_empty_answer_says_that_it_is_empty(make_agent: Make) -> None:
    agent, _, services = make_agent("")
    output = await agent.execute("go", make_context(services))
    assert (output.text, output.finish_reason) == ("", "empty")


async def test_what_is_known_is_told_ahead_of_the_question(make_agent: Make) -> None:
    agent, provider, services = make_agent("hi")
    about = {"context": {"city": "Oslo", "limits": {"b": 1, "a": [2]}}}
    await agent.execute(AgentInput("Where?", metadata=about), make_context(services))
    assert provider.requests[0].messages[-1].content == (
        'city: Oslo\nlimits: {"a": [2], "b": 1}\n\nWhere?'
    )


async def test_thinking_is_shown_apart_from_the_answer(make_agent: Make) -> None:
    agent, _, services = make_agent(Reply("42", reasoning="6 times 7"))
    chunks = [chunk async for chunk in agent.stream("go", make_context(services))]
    assert [(c.kind, c.text, c.data) for c in chunks[:-1]] == [
        ("reasoning", "", "6 times 7"),
        ("text", "42", None),
    ]
    assert chunks[-1].output.metadata["reasoning"] == "6 times 7"
