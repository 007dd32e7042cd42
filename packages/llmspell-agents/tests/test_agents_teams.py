"""Teams: who works on what, what is joined, what is inherited, what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmspell_agents import (
    AgentBuilder,
    AgentService,
    CapabilityError,
    CompositeAgent,
    CycleError,
    DepthError,
    MemberError,
    Routing,
)
from llmspell_core import (
    Agent,
    AgentChunk,
    AgentInput,
    AgentOutput,
    BaseAgent,
    Budget,
    BudgetError,
    BudgetLimits,
    CancelSignal,
    ChatRequest,
    ChatResponse,
    Codec,
    ComponentError,
    ComponentMetadata,
    ConfigurationError,
    Deadline,
    EffectClass,
    ExecutionCancelled,
    ExecutionContext,
    LLMTimeoutError,
    NotFoundError,
    Plugin,
    Provider,
    ProviderError,
    Services,
    Tool,
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

KINDS = [
    Plugin("llmspell.agents", name, f"llmspell_agents:{cls}", "a", "1")
    for name, cls in (
        ("llm", "LLMAgent"),
        ("basic", "BasicAgent"),
        ("composite", "CompositeAgent"),
        ("tool-orchestrator", "ToolOrchestrator"),
    )
]


class Worker(BaseAgent):
    """Somebody else's agent: answers as it is told, and can be held or made to fail."""

    def __init__(
        self,
        name: str,
        answer: str | Callable[[AgentInput], str] | Exception | None = None,
        *,
        words: tuple[str, ...] = (),
        usage: Usage | None = None,
        gate: asyncio.Event | None = None,
    ) -> None:
        self._metadata = ComponentMetadata(name, f"Works as {name}", "agent", tags=words)
        self._answer = answer
        self._usage = usage
        self._gate = gate
        self.begun = asyncio.Event()
        self.asked: list[AgentInput] = []
        self.cancelled = False

    @property
    def metadata(self) -> ComponentMetadata:
        return self._metadata

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        self.asked.append(input)
        self.begun.set()
        if self._gate is not None:
            try:
                await self._gate.wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        answer = self._answer
        if isinstance(answer, Exception):
            raise answer
        text = (
            answer(input) if callable(answer) else answer or f"{self.metadata.name}({input.text})"
        )
        return AgentOutput(text, usage=self._usage)


class Recorded(Provider):
    """As the provider service wraps one: recorded, budgeted, over with its execution."""

    def __init__(self, inner: ScriptedProvider) -> None:
        self.name = inner.name
        self.inner = inner

    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[Any]:
        return self.inner.stream(request, context)

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        reservation = None
        if context.budget is not None:
            reservation = context.budget.reserve(tokens=10, cost=None, now=context.monotonic())

        async def ask(inside: ExecutionContext) -> ChatResponse:
            return await unless_cancelled(self.inner.chat(request, inside), inside)

        response = await context.effect(
            "model.chat",
            request,
            ask,
            effect_class=EffectClass.IDEMPOTENT,
            codec=Codec(ChatResponse.to_dict, ChatResponse.from_dict),
        )
        if context.budget is not None and reservation is not None:
            context.budget.settle(reservation, response.usage)
        return response


def world(*script: Any, tools: tuple[Tool, ...] = ()) -> tuple[Services, ScriptedProvider]:
    provider = ScriptedProvider(*script)
    services = make_services(
        plugins=KINDS,
        providers=ProvidersDouble(Recorded(provider)),
        tools=ToolsDouble(*tools),
    )
    services.provide("agents", AgentService(services))
    return services, provider


def team(services: Services, members: list[Any], routing: Any, **options: Any) -> CompositeAgent:
    made = AgentBuilder.composite("team", members, routing, **options).build(services)
    assert isinstance(made, CompositeAgent)
    return made


async def run(agent: BaseAgent, services: Services, input: Any = "x", **fields: Any) -> AgentOutput:
    return await agent.execute(input, make_context(services, **fields))


def results(output: AgentOutput) -> list[tuple[str, bool, str | None]]:
    return [(r["agent"], r["success"], r.get("text")) for r in output.metadata["agent_results"]]


# In a row, at once, by vote ----------------------------------------------------------------------


async def test_in_a_row_each_gets_the_answer_of_the_one_before() -> None:
    services, _ = world()
    a, b, c = Worker("a"), Worker("b"), Worker("c")
    output = await run(team(services, [a, b, c], "sequential"), services)
    assert output.text == "c(b(a(x)))"
    assert results(output) == [
        ("a", True, "a(x)"),
        ("b", True, "b(a(x))"),
        ("c", True, "c(b(a(x)))"),
    ]
    assert output.metadata["strategy"] == "sequential"
    assert output.metadata["execution_time_ms"] >= 0


async def test_in_a_row_a_failure_ends_it_and_says_whose_it_was() -> None:
    services, _ = world()
    last = Worker("c")
    agent = team(services, [Worker("a"), Worker("b", ProviderError("down")), last], "sequential")
    with pytest.raises(
        MemberError, match="Agent 'b' of 'team' failed: LLM provider error: down"
    ) as e:
        await run(agent, services)
    assert e.value.is_retryable()
    assert results(e.value.partial) == [("a", True, "a(x)"), ("b", False, None)]
    assert last.asked == []
    assert agent.state == "Error"


async def test_at_once_all_work_at_the_same_time_and_are_joined_in_their_order() -> None:
    services, _ = world()
    gate = asyncio.Event()
    members = [Worker(name, gate=gate) for name in "abc"]
    running = asyncio.ensure_future(run(team(services, members, "parallel"), services))
    for member in members:
        await member.begun.wait()
    gate.set()
    output = await running
    assert output.text == "a(x)\n\nb(x)\n\nc(x)"
    assert output.data == {"a": "a(x)", "b": "b(x)", "c": "c(x)"}


async def test_at_once_no_more_than_allowed_work() -> None:
    services, _ = world()
    gate = asyncio.Event()
    members = [Worker(name, gate=gate) for name in "abc"]
    agent = team(services, members, {"strategy": "parallel", "max_concurrent": 2})
    running = asyncio.ensure_future(run(agent, services))
    await members[0].begun.wait()
    await members[1].begun.wait()
    assert members[2].asked == []
    gate.set()
    assert len((await running).data) == 3


async def test_at_once_the_first_failure_stops_the_others() -> None:
    services, _ = world()
    slow = Worker("slow", gate=asyncio.Event())
    agent = team(services, [slow, Worker("bad", ProviderError("down"))], "parallel")
    with pytest.raises(MemberError, match="'bad'"):
        await run(agent, services)
    assert slow.cancelled


async def test_at_once_a_team_can_go_on_without_those_who_fail() -> None:
    services, _ = world()
    bad = Worker("bad", ProviderError("down"))
    routing = {"strategy": "parallel", "on_failure": "continue"}
    output = await run(team(services, [bad, Worker("good")], routing), services)
    assert output.text == "good(x)"
    assert results(output) == [("bad", False, None), ("good", True, "good(x)")]
    alone = AgentBuilder.composite("alone", [bad], routing).build(services)
    with pytest.raises(MemberError, match="down"):
        await run(alone, services)


@pytest.mark.parametrize(
    ("answers", "routing", "winner", "share"),
    [
        (["yes", " Yes. ", "no"], "vote", "yes", 2 / 3),
        (["no", "yes", "yes"], {"strategy": "vote", "threshold": 0.6}, "yes", 2 / 3),
        (["a", "b"], "vote", "a", 0.5),
        (["a", ProviderError("down"), "b", "b"], "vote", "b", 0.5),
    ],
)
async def test_by_vote_the_most_win(
    answers: list[Any], routing: Any, winner: str, share: float
) -> None:
    services, _ = world()
    members = [Worker(f"m{n}", answer) for n, answer in enumerate(answers)]
    output = await run(team(services, members, routing), services)
    assert (output.text, output.metadata["share"]) == (winner, pytest.approx(share))
    assert output.metadata["votes"][0]["votes"] == round(share * len(answers))


async def test_a_vote_without_the_majority_that_is_asked_for_is_an_error_or_the_fallbacks() -> None:
    services, _ = world()
    members = [Worker("a"), Worker("b"), Worker("c")]
    strict = {"strategy": "vote", "threshold": 0.5}
    with pytest.raises(ComponentError, match=r"1 of 3 agree, the threshold is 0\.5") as caught:
        await run(team(services, members, strict), services)
    assert caught.value.code == "VOTE_UNDECIDED"
    judge = Worker("judge")
    services.agents.remove("team")
    agent = team(services, members, {**strict, "fallback_agent": judge})
    output = await run(agent, services)
    assert output.text == "judge(x)"
    assert output.metadata["fallback"]["agent"] == "judge"
    assert results(output)[-1] == ("judge", True, "judge(x)")


async def test_the_fallback_has_time_of_its_own_and_no_more_money() -> None:
    services, _ = world(Reply("saved", usage=Usage(5, 5)))
    slow = Worker("slow", gate=asyncio.Event())
    AgentBuilder.llm("spare", "scripted/m").build(services)
    routing = {"strategy": "sequential", "timeout_ms": 20, "fallback_agent": "spare"}
    agent = team(services, [slow], routing, budget={"tokens": 15})
    output = await run(agent, services)
    assert output.text == "saved"
    assert "timed out after 0.02s" in output.metadata["fallback"]["error"]
    assert output.metadata["budget"] == {"tokens": 10, "cost": 0.0, "calls": 1}


# Hierarchies -------------------------------------------------------------------------------------


async def test_in_a_hierarchy_the_first_gets_the_answers_of_the_others() -> None:
    services, _ = world()
    lead = Worker("lead", "done")
    output = await run(team(services, [lead, Worker("a"), Worker("b")], "hierarchical"), services)
    assert output.text == "done"
    assert lead.asked[0].text == ("x\n\nThe answers of your team:\n\n## a\na(x)\n\n## b\nb(x)")


async def test_a_supervisor_calls_the_others_as_tools() -> None:
    services, provider = world(
        Reply(tools=[("helper_tool", {"text": "part one"})]),
        "all done",
    )
    helper = Worker("helper", usage=Usage(100, 20, cost=0.5))
    boss = AgentBuilder.llm("boss", "scripted/m").build(services)
    agent = team(services, [boss, helper], "supervised")
    output = await run(agent, services)
    assert output.text == "all done"
    assert [tool.name for tool in provider.requests[0].tools] == ["helper_tool"]
    assert helper.asked[0].text == "part one"
    assert [(call.name, call.success) for call in output.tool_calls] == [("helper_tool", True)]
    # Two model calls of the boss and what the helper took.
    assert output.usage == Usage(120, 30, cost=0.502)
    await agent.destroy(make_context(services))
    assert not services.tools.has("helper_tool")


async def test_a_supervisor_needs_a_model() -> None:
    services, _ = world()
    with pytest.raises(ConfigurationError, match="'lead' cannot supervise 'team'"):
        await run(team(services, [Worker("lead"), Worker("b")], "supervised"), services)


# One of them -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["first_match", "best_match", "round_robin", "load_balanced"])
async def test_work_goes_to_a_member_with_the_capabilities(strategy: str) -> None:
    services, _ = world()
    members = [Worker("a", words=("Math",)), Worker("b", words=("math", "code-lua"))]
    agent = team(services, members, strategy)
    asked = AgentInput("x", {"capabilities": ["math", "code-*"]})
    output = await run(agent, services, asked)
    assert (output.text, output.metadata["chosen"]) == ("b(x)", ["b"])
    with pytest.raises(CapabilityError, match="no member of 'team' has the capabilities art") as e:
        await run(agent, services, AgentInput("x", {"capabilities": "art"}))
    assert e.value.details["provided"] == {"a": ["Math"], "b": ["math", "code-lua"]}


async def test_the_best_match_is_who_did_well() -> None:
    services, _ = world()
    fails = iter([ProviderError("down")])

    def moody(input: AgentInput) -> str:
        error = next(fails, None)
        if error is not None:
            raise error
        return "moody"

    members = [Worker("moody", moody), Worker("solid", "solid")]
    agent = team(services, members, "best_match")
    # Both are unknown: the first is tried, fails, and the next one does it.
    first = await run(agent, services)
    assert first.text == "solid"
    assert results(first) == [("moody", False, None), ("solid", True, "solid")]
    # From here on what they did counts.
    assert [(await run(agent, services)).text for _ in range(3)] == ["solid"] * 3
    scores = {name: done.score() for name, done in agent.member_statistics().items()}
    assert scores["solid"] == pytest.approx(1.0, abs=0.01)
    assert scores["moody"] == pytest.approx(0.3, abs=0.01)


async def test_the_next_best_is_tried_as_often_as_allowed() -> None:
    services, _ = world()
    members = [Worker(name, ProviderError(f"{name} is down")) for name in "abcd"]
    agent = team(services, members, {"strategy": "first_match", "retries": 1})
    with pytest.raises(MemberError, match="b is down") as caught:
        await run(agent, services)
    assert [name for name, _, _ in results(caught.value.partial)] == ["a", "b"]


async def test_in_turns_each_is_asked_once() -> None:
    services, _ = world()
    agent = team(services, [Worker(name) for name in "abc"], "round_robin")
    assert [(await run(agent, services)).text for _ in range(4)] == ["a(x)", "b(x)", "c(x)", "a(x)"]


async def test_work_goes_to_who_has_the_least_to_do() -> None:
    services, _ = world()
    gate = asyncio.Event()
    busy = Worker("busy", gate=gate)
    agent = team(services, [busy, Worker("idle")], "load_balanced")
    waiting = asyncio.ensure_future(run(agent, services))
    await busy.begun.wait()
    assert (await run(agent, services)).text == "idle(x)"
    gate.set()
    assert (await waiting).text == "busy(x)"


async def test_any_of_them_is_chosen_and_a_replay_chooses_the_same() -> None:
    async def work(context: ExecutionContext) -> list[str]:
        agent = team(context.services, [Worker(n, n) for n in "abcdefgh"], "random")
        return [(await agent.execute("x", context)).text for _ in range(6)]

    services, _ = world()
    again, _ = world()
    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=services, replay_with=again
    )
    assert first == second
    assert len(set(first)) > 1


async def test_the_first_member_whose_condition_holds_does_it() -> None:
    services, _ = world()

    async def short(input: AgentInput) -> bool:
        return len(input.text) < 5

    routing = {"strategy": "conditional", "conditions": {"b": short, "c": lambda _: True}}
    agent = team(services, [Worker("a"), Worker("b"), Worker("c")], routing)
    assert (await run(agent, services, "x")).text == "b(x)"
    assert (await run(agent, services, "longer")).text == "c(longer)"
    services.agents.remove("team")
    never = team(
        services, [Worker("a")], {"conditions": {"a": lambda _: False}, "strategy": "conditional"}
    )
    with pytest.raises(ComponentError, match="no condition of 'team' holds"):
        await run(never, services)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("b", "b(x)"),
        (["b", "a"], "a(b(x))"),
        ({"agents": ["a", "b"], "strategy": "parallel"}, "a(x)\n\nb(x)"),
    ],
)
async def test_a_function_names_who_works(answer: Any, text: str) -> None:
    services, _ = world()
    seen: list[Any] = []

    def choose(input: AgentInput, names: list[str]) -> Any:
        seen.append((input.text, names))
        return answer

    output = await run(team(services, [Worker("a"), Worker("b")], choose), services)
    assert output.text == text
    assert seen == [("x", ["a", "b"])]


@pytest.mark.parametrize("answer", [None, "nobody", []])
async def test_a_function_that_names_nobody_is_an_error(answer: Any) -> None:
    services, _ = world()
    agent = team(services, [Worker("a")], lambda input, names: answer)
    with pytest.raises(ComponentError, match="named") as caught:
        await run(agent, services)
    assert caught.value.hint == "Members: a."


async def test_a_team_delegates_by_hand_too() -> None:
    services, _ = world()
    members = [Worker("a", ProviderError("down"), words=("m",)), Worker("b", words=("m",))]
    agent = team(services, members, "sequential")
    made = await agent.delegate("x", make_context(services), capabilities=["m"])
    assert (made.delegated_to, made.output.text, made.tried) == ("b", "b(x)", ("a", "b"))


# What members inherit ----------------------------------------------------------------------------


async def test_usage_of_all_is_summed_however_deep() -> None:
    services, _ = world(Reply("one", usage=Usage(10, 1, cost=0.1)), Reply("two", usage=Usage(5, 2)))
    first = AgentBuilder.llm("first", "scripted/m").build(services)
    second = AgentBuilder.llm("second", "scripted/m").build(services)
    inner = AgentBuilder.composite("inner", [first], "sequential").build(services)
    third = Worker("third", usage=Usage(100, 100, cost=1.0))
    outer = team(services, [inner, second, third], "sequential")
    output = await run(outer, services)
    assert output.usage == Usage(115, 103, cost=None)
    assert output.metadata["token_count"] == 218
    inner_result = output.metadata["agent_results"][0]
    assert inner_result["usage"]["total_tokens"] == 11
    assert (outer.statistics.tokens, first.statistics.tokens) == (218, 11)


async def test_usage_of_a_failed_team_is_counted_up_to_the_failure() -> None:
    services, _ = world(Reply("one", usage=Usage(10, 1, cost=0.1)))
    first = AgentBuilder.llm("first", "scripted/m").build(services)
    agent = team(services, [first, Worker("bad", ProviderError("down"))], "sequential")
    outer = AgentBuilder.composite("outer", [agent], "sequential").build(services)
    with pytest.raises(MemberError) as caught:
        await run(outer, services)
    assert caught.value.partial.usage == Usage(10, 1, cost=0.1)
    assert (agent.statistics.tokens, outer.statistics.tokens) == (11, 11)


async def test_the_budget_of_a_team_holds_for_all_its_members() -> None:
    replies = [Reply(f"answer {n}", usage=Usage(30, 10)) for n in range(3)]
    services, provider = world(*replies)
    members = [AgentBuilder.llm(f"m{n}", "scripted/m").build(services) for n in range(3)]
    agent = team(services, members, "sequential", budget={"tokens": 85})
    output = await run(agent, services)
    assert (output.text, output.finish_reason) == ("answer 1", "budget")
    assert len(provider.requests) == 2
    assert output.metadata["budget"]["tokens"] == 80


async def test_a_budget_that_allows_nothing_is_an_error() -> None:
    services, _ = world("never")
    member = AgentBuilder.llm("m", "scripted/m").build(services)
    agent = team(services, [member], "sequential")
    budget = Budget(BudgetLimits(tokens=5), started=0.0)
    with pytest.raises(BudgetError, match="budget tokens"):
        await run(agent, services, budget=budget)


async def test_cancelling_a_team_cancels_whoever_works() -> None:
    services, _ = world()
    slow = Worker("slow", gate=asyncio.Event())
    agent = team(services, [Worker("a"), slow], "sequential")
    cancel = CancelSignal()
    running = asyncio.ensure_future(run(agent, services, cancel=cancel))
    await slow.begun.wait()
    cancel.cancel("enough")
    with pytest.raises(ExecutionCancelled, match="enough") as caught:
        await running
    assert slow.cancelled
    assert results(caught.value.partial) == [("a", True, "a(x)"), ("slow", False, None)]
    assert agent.state == "Running"
    assert (agent.statistics.total, agent.statistics.failed, agent.statistics.active) == (1, 0, 0)


@pytest.mark.parametrize("by", ["routing", "limits", "context"])
async def test_a_team_has_no_more_time_than_it_is_given(by: str) -> None:
    services, _ = world()
    slow = Worker("slow", gate=asyncio.Event())
    routing: dict[str, Any] = {"strategy": "sequential"}
    options: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    if by == "routing":
        routing["timeout_ms"] = 20
    elif by == "limits":
        options["max_execution_time"] = 0.02
    else:
        fields["deadline"] = Deadline(0.05)
    with pytest.raises(LLMTimeoutError, match="timed out"):
        await run(team(services, [slow], routing, **options), services, **fields)
    assert slow.cancelled


async def test_the_context_reaches_every_member() -> None:
    services, provider = world("one", "two")
    members = [AgentBuilder.llm(f"m{n}", "scripted/m").build(services) for n in range(2)]
    asked = AgentInput("go", {"temperature": 0.1}, {"context": {"city": "Ulm"}})
    await run(team(services, members, "parallel"), services, asked)
    for request in provider.requests:
        assert request.messages[-1].content == "city: Ulm\n\ngo"
        assert request.temperature == 0.1


# Structure ---------------------------------------------------------------------------------------


async def test_a_team_inside_itself_is_refused_when_it_is_built() -> None:
    services, _ = world()
    inner = AgentBuilder.composite("inner", [Worker("a")], "sequential").build(services)
    outer = team(services, [inner], "sequential")
    assert isinstance(inner, CompositeAgent)
    with pytest.raises(
        CycleError, match="'inner' would be a member of itself: inner → team → inner"
    ):
        inner.add_member(outer)
    with pytest.raises(CycleError, match="inner → inner"):
        inner.add_member(inner)
    assert [m.metadata.name for m in inner.members()] == ["a"]


async def test_agents_that_call_each_other_as_tools_are_stopped() -> None:
    services, provider = world(
        Reply(tools=[("b_tool", {"text": "to b"})]),
        Reply(tools=[("a_tool", {"text": "back to a"})]),
        "b gives up",
        "a is done",
    )
    agents = services.agents
    a = AgentBuilder.llm("a", "scripted/m").build(services)
    agents.wrap(a)
    b = AgentBuilder.llm("b", "scripted/m", tools=["a_tool"]).build(services)
    agents.wrap(b)
    a.config = AgentBuilder("a", model="scripted/m", tools=["b_tool"]).config
    output = await run(a, services)
    assert output.text == "a is done"
    told = provider.requests[2].messages[-1].content
    assert "Agent 'a' would run inside itself: a → b → a" in told


async def test_teams_are_nested_ten_deep_at_most() -> None:
    services, _ = world()
    agent: BaseAgent = Worker("w")
    for n in range(9):
        agent = AgentBuilder.composite(f"t{n}", [agent], "sequential").build(services)
    assert isinstance(agent, CompositeAgent)
    assert agent.depth() == 9
    assert (await run(agent, services)).text == "w(x)"
    top = AgentBuilder.composite("t9", [agent], "sequential")
    with pytest.raises(DepthError, match="more than 10 deep"):
        top.build(services)


async def test_members_come_and_go() -> None:
    services, _ = world()
    agent = team(services, [Worker("a")], "parallel")
    services.agents.add(AgentBuilder.basic("late").build(make_other(services)))
    agent.add_member("late")
    assert (await run(agent, services)).text == "a(x)\n\nBasicAgent 'late' received: x"
    assert [agent.remove_member("a"), agent.remove_member("a")] == [True, False]
    assert [m.metadata.name for m in agent.members()] == ["late"]


def make_other(services: Services) -> Services:
    other = make_services(plugins=KINDS, tools=services.tools)
    other.provide("agents", AgentService(other))
    return other


@pytest.mark.parametrize(
    ("members", "routing", "error", "words"),
    [
        ([], "sequential", ConfigurationError, "has no members"),
        (["nobody"], "sequential", NotFoundError, "Agent 'nobody' not found"),
        ([5], "sequential", ValidationError, "an agent or the name of one, not int"),
        (["w"], "sequnce", ValidationError, "Unknown routing strategy: sequnce"),
        (["w"], 7, ValidationError, "a strategy, a function or a table, not int"),
        (["w"], "custom", ValidationError, "needs a function"),
        (["w"], "conditional", ValidationError, "needs conditions"),
        (["w"], {"strategy": "vote", "threshold": 2}, ValidationError, "at most 1, not 2"),
        (["w"], {"strategy": "vote", "treshold": 1}, ValidationError, "no option 'treshold'"),
        (["w"], {"timeout_ms": 0}, ValidationError, "timeout must be above zero"),
        (["w"], {"timeout_ms": "soon"}, ValidationError, "timeout_ms must be a number"),
        (["w"], {"on_failure": "shrug"}, ValidationError, "'fail' or 'continue'"),
        (["w"], {"select": 3}, ValidationError, "select must be a function"),
        (["w"], {"conditions": [1]}, ValidationError, "a table of functions"),
        (["w"], {"capabilities": [1]}, ValidationError, "a list of words"),
        (["w"], {"retries": 1.5}, ValidationError, "a whole number"),
        (["w"], {"max_concurrent": 0}, ValidationError, "max_concurrent at least 1"),
        (["w"], {"fallback_agent": "nobody"}, NotFoundError, "Agent 'nobody' not found"),
    ],
)
def test_a_team_that_cannot_be_is_refused_and_leaves_nothing(
    members: list[Any], routing: Any, error: type[Exception], words: str
) -> None:
    services, _ = world()
    services.agents.add(Foreign("w"))
    with pytest.raises(error, match=words):
        team(services, members, routing)
    assert [a.metadata.name for a in services.agents.list()] == ["w"]


class Foreign(Agent):
    """The least that the registry takes."""

    conversation = ()

    def __init__(self, name: str) -> None:
        self._metadata = ComponentMetadata(name, "F", "agent")

    @property
    def metadata(self) -> ComponentMetadata:
        return self._metadata

    def clear_conversation(self) -> None:
        pass

    async def execute_impl(self, input: AgentInput, context: ExecutionContext) -> AgentOutput:
        return AgentOutput(input.text)


def test_the_names_of_strategies_are_understood_as_people_write_them() -> None:
    spelled = ["pipeline", "ensemble", "voting", "delegation", "capability-based", "Round Robin"]
    assert [Routing.of(word).strategy for word in spelled] == [
        "sequential",
        "parallel",
        "vote",
        "best_match",
        "best_match",
        "round_robin",
    ]


async def test_a_team_speaks_while_its_last_member_speaks() -> None:
    gate = asyncio.Event()
    services, _ = world("first", Reply(pieces=("Hel", "lo"), between=gate))
    members = [AgentBuilder.llm(f"m{n}", "scripted/m").build(services) for n in range(2)]
    stream = team(services, members, "sequential").stream("go", make_context(services))
    first = await anext(stream)
    assert (first.kind, first.text, first.index) == ("text", "Hel", 0)
    gate.set()
    rest: list[AgentChunk] = [chunk async for chunk in stream]
    assert [(chunk.text, chunk.index, chunk.is_final) for chunk in rest] == [
        ("lo", 1, False),
        ("", 2, True),
    ]
    assert rest[-1].output is not None
    assert rest[-1].output.text == "Hello"


async def test_a_team_and_its_agents_replay_without_any_model() -> None:
    async def work(context: ExecutionContext) -> list[Any]:
        services = context.services
        made = [AgentBuilder.llm(f"m{n}", "scripted/m").build(services) for n in range(3)]
        inner = AgentBuilder.composite("inner", made[:2], "parallel").build(services)
        outer = AgentBuilder.composite("outer", [inner, made[2]], "best_match").build(services)
        row = AgentBuilder.composite("row", [inner, made[2]], "sequential").build(services)
        found = []
        for agent in (outer, row):
            output = await agent.execute("go", context)
            found.append((output.text, output.usage, output.metadata["agent_results"]))
        return found

    recording, _ = world("a", "b", "c", "d", "e")
    replaying, provider = world()
    first, second = await recorded_and_replayed(
        work, LedgerDouble(), record_with=recording, replay_with=replaying
    )
    assert first == second
    assert provider.requests == []


async def test_hundreds_of_members_work_at_once() -> None:
    services, _ = world()
    members = [Worker(f"w{n}") for n in range(300)]
    agent = team(services, members, {"strategy": "parallel", "max_concurrent": 300})
    output = await run(agent, services)
    assert len(output.data) == 300
    assert output.text.startswith("w0(x)\n\nw1(x)")


class TestComposite(AgentSuite):
    @pytest.fixture
    def component(self) -> BaseAgent:
        services, _ = world()
        return team(services, [AgentBuilder.basic("b").build(services)], "sequential")
