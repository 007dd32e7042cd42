"""What an execution may spend, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService
from llmspell_core import (
    AgentInput,
    Budget,
    BudgetError,
    BudgetLimits,
    ChatChunk,
    ChatRequest,
    EffectClass,
    ExecutionContext,
    Parameter,
    Provider,
    Tool,
    ToolResult,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_testing import (
    HooksDouble,
    ProvidersDouble,
    Reply,
    ScriptedProvider,
    ToolsDouble,
    make_context,
    make_services,
)

Make = Callable[..., Any]


class Budgeted(Provider):
    """A model whose calls are reserved and settled, each for *estimate* tokens."""

    name = "scripted"

    def __init__(self, inner: ScriptedProvider, estimate: int) -> None:
        self.inner = inner
        self._estimate = estimate

    async def stream(
        self, request: ChatRequest, context: ExecutionContext
    ) -> AsyncIterator[ChatChunk]:
        budget = context.budget
        assert budget is not None
        held = budget.reserve(tokens=self._estimate, cost=0.01, now=context.monotonic())
        async for chunk in self.inner.stream(request, context):
            if chunk.response is not None:
                budget.settle(held, chunk.response.usage)
            yield chunk


class Noop(Tool):
    effect_class = EffectClass.PURE

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("noop", "Does nothing", (Parameter("n", "number"),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        return ToolResult(text="nothing")


def call(number: int, tokens: int, text: str = "") -> Reply:
    return Reply(text, tools=[("noop", {"n": number})], usage=Usage(tokens, 0, cost=0.001))


def world(*script: Any, estimate: int = 10, **options: Any) -> Any:
    provider = ScriptedProvider(*script)
    from llmspell_core import Plugin

    hooks = HooksDouble()
    services = make_services(
        plugins=[Plugin("llmspell.agents", "llm", "llmspell_agents:LLMAgent", "a", "1")],
        providers=ProvidersDouble(Budgeted(provider, estimate)),
        tools=ToolsDouble(Noop()),
        hooks=hooks,
    )
    services.provide("agents", AgentService(services))
    agent = AgentBuilder("ada", model="scripted/m", tools=["noop"], **options).build(services)
    return agent, provider, services, hooks


async def test_at_the_soft_limit_the_model_is_told_to_finish_once() -> None:
    agent, provider, services, _ = world(
        call(1, 50), call(2, 30), call(3, 1, "still calling"), "done", budget={"tokens": 100}
    )
    output = await agent.execute("go", make_context(services))
    assert (output.text, output.finish_reason) == ("done", "stop")
    notes = [
        [m.content for m in request.messages if "budget of this task" in m.content]
        for request in provider.requests
    ]
    assert [len(note) for note in notes] == [0, 0, 1, 1]
    assert [request.tool_choice for request in provider.requests] == [None, None, "none", "none"]
    assert [c.error for c in output.tool_calls] == [None, None, "the budget is nearly spent"]
    # The note is no part of the conversation.
    assert not any("budget of this task" in m["content"] for m in agent.conversation)
    assert output.metadata["budget"]["calls"] == 4


async def test_a_model_that_will_not_finish_is_ended() -> None:
    agent, provider, services, _ = world(
        call(1, 90), call(2, 1), call(3, 1, "on and on"), budget={"tokens": 1000, "soft": 0.05}
    )
    output = await agent.execute("go", make_context(services))
    assert (output.text, output.finish_reason) == ("on and on", "budget")
    assert len(provider.requests) == 3


async def test_at_the_hard_limit_there_is_what_was_done() -> None:
    agent, _provider, services, hooks = world(
        call(1, 95, "so far"), "never", budget={"tokens": 100, "soft": 1}
    )
    seen: list[Any] = []

    async def see(point: str, data: Any, context: Any) -> None:
        seen.append(data)

    hooks.register("ResourceLimitExceeded", see)
    output = await agent.execute("go", make_context(services))
    assert (output.text, output.finish_reason) == ("so far", "budget")
    assert [c.success for c in output.tool_calls] == [True]
    assert output.usage == Usage(95, 0, cost=0.001)
    assert output.metadata["budget"] == {"tokens": 95, "cost": 0.001, "calls": 1}
    assert seen == [{"agent_name": "ada", "limit": "budget", "reason": "budget"}]
    assert [m["role"] for m in agent.conversation] == ["user", "assistant", "tool"]


async def test_a_budget_that_is_too_small_for_anything_is_an_error() -> None:
    agent, provider, services, _ = world("never", estimate=500, budget={"tokens": 100})
    with pytest.raises(BudgetError, match="budget tokens limit of 100 exceeded"):
        await agent.execute("go", make_context(services))
    assert provider.requests == []


@pytest.mark.parametrize(
    "limits", [{"calls": 2}, {"cost": 0.0115}, {"tokens": 69}, {"seconds": 1e-9}]
)
async def test_every_limit_ends_it(limits: dict[str, Any]) -> None:
    agent, _, services, _ = world(
        *[call(n, 30) for n in range(9)], estimate=10, budget={**limits, "soft": 1}
    )
    if "seconds" in limits:
        with pytest.raises(BudgetError, match="budget seconds"):
            await agent.execute("go", make_context(services))
        return
    output = await agent.execute("go", make_context(services))
    assert output.finish_reason == "budget"
    assert len(output.tool_calls) == 2


async def test_each_execution_has_its_own_and_spends_from_the_one_around_it() -> None:
    agent, _, services, _ = world("one", "two", "never", budget={"calls": 1})
    around = Budget(BudgetLimits(calls=2), started=0.0)
    context = make_context(services, budget=around)
    assert (await agent.execute("go", context)).text == "one"
    assert (await agent.execute("go", context)).text == "two"
    with pytest.raises(BudgetError, match="budget calls limit of 2"):
        await agent.execute("go", context)
    assert around.to_dict()["calls"] == 2


async def test_one_call_may_have_a_budget_of_its_own() -> None:
    agent, _, services, _ = world(call(1, 5), call(2, 5), "done", "never", budget={"calls": 9})
    asked = AgentInput("go", {"budget": {"calls": 2, "soft": 1}})
    output = await agent.execute(asked, make_context(services))
    assert output.finish_reason == "budget"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (100, "budget must be a table of tokens, cost, calls, seconds, soft, not int"),
        ({"token": 5}, "budget has no limit 'token'"),
        ({"tokens": "many"}, r"budget\.tokens must be a number"),
        ({"tokens": 0}, r"budget\.tokens must be above 0"),
        ({"tokens": float("nan")}, r"budget\.tokens must be a number"),
        ({"soft": 2}, r"budget\.soft must be above 0 and at most 1"),
    ],
)
def test_a_wrong_budget_is_refused(value: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        AgentBuilder("ada", budget=value)


def test_the_builder_takes_keywords() -> None:
    assert AgentBuilder("ada").budget(cost=2, seconds=5).config.budget == BudgetLimits(
        cost=2, seconds=5
    )
    assert AgentBuilder(budget={"tokens": 5.0}).config.budget == BudgetLimits(tokens=5)
