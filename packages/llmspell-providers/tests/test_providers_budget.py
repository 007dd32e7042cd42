"""Calls fit into the budget of their execution, in replays too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from llmspell_core import (
    Budget,
    BudgetError,
    BudgetLimits,
    ChatRequest,
    ConfigurationError,
    EmbeddingRequest,
    EmbeddingResponse,
    ExecutionContext,
    Message,
    NetworkError,
    Plugin,
    ProviderError,
    Usage,
)
from llmspell_providers import ProviderService
from llmspell_testing import (
    LedgerDouble,
    Reply,
    ScriptedProvider,
    make_context,
    make_services,
    recorded_and_replayed,
)

PRICED = {"pricing": {"m": {"input": 0.001, "output": 0.002}}}
PROMPT = "x" * 384
"""A hundred tokens, with the four that a message takes."""


@dataclass(frozen=True)
class Given(Plugin):
    """A provider type made of providers that are there."""

    made: Any = None

    def load(self) -> Any:
        return lambda settings, services: self.made[settings.name]


def service(*scripts: ScriptedProvider, **tables: Any) -> ProviderService:
    made = {script.name: script for script in scripts}
    plugin = Given("llmspell.providers", "given", "", "t", "1", made)
    config = {
        name: {
            "provider_type": "given",
            "base_url": "http://x",
            "max_retries": 0,
            **tables.get(name, {}),
        }
        for name in made
    }
    return ProviderService(make_services({"providers": config}, plugins=(plugin,)))


def spending(context: ExecutionContext | None = None, **limits: Any) -> ExecutionContext:
    outer = context or make_context()
    return outer.child(budget=Budget(BudgetLimits(**limits), started=outer.monotonic()))


def request(max_tokens: int | None = None, model: str = "m") -> ChatRequest:
    return ChatRequest(model, (Message("user", PROMPT),), max_tokens=max_tokens)


def spent(context: ExecutionContext) -> dict[str, Any]:
    assert context.budget is not None
    return context.budget.to_dict()


@pytest.mark.parametrize("stream", [False, True])
async def test_what_a_call_took_is_charged(stream: bool) -> None:
    script = ScriptedProvider(Reply("hello", usage=Usage(90, 10)), name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    context = spending(cost=1.0, tokens=10_000)
    if stream:
        async for _ in provider.stream(request(50), context):
            pass
    else:
        await provider.chat(request(50), context)
    assert spent(context) == {"tokens": 100, "cost": pytest.approx(0.00011), "calls": 1}


async def test_a_call_there_is_no_room_for_is_not_made() -> None:
    script = ScriptedProvider(name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    for limits in ({"tokens": 110}, {"cost": 0.0001}, {"calls": 1}):
        context = spending(**limits)
        if "calls" in limits:
            assert context.budget is not None
            context.budget.hold(tokens=0, cost=None)
        with pytest.raises(BudgetError, match=f"budget {next(iter(limits))} limit"):
            await provider.chat(request(50), context)
    assert script.requests == []


async def test_an_answer_is_no_longer_than_what_is_left() -> None:
    replies = [Reply("x", usage=Usage(100, 20)) for _ in range(5)]
    script = ScriptedProvider(*replies, name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    await provider.chat(request(500), spending(tokens=1000))
    await provider.chat(request(500), spending(tokens=400))
    await provider.chat(request(), spending(tokens=400))
    # 0.0009 dollars: 0.0001 for the prompt, the rest for 400 tokens of answer.
    await provider.chat(request(), spending(cost=0.0009))
    await provider.chat(request(), spending(cost=100.0))
    assert [asked.max_tokens for asked in script.requests] == [500, 300, 300, 400, 4096]


async def test_where_neither_tokens_nor_money_are_limited_nothing_is_added() -> None:
    script = ScriptedProvider("a", "b", name="a")
    provider, _ = service(script).resolve("a/m")
    await provider.chat(request(), spending(calls=3, seconds=60.0))
    await provider.chat(request(), make_context())
    assert [asked.max_tokens for asked in script.requests] == [None, None]


async def test_the_length_that_the_provider_is_configured_for_stays_in_its_hands() -> None:
    script = ScriptedProvider("a", "b", name="a")
    provider, _ = service(script, a={**PRICED, "max_tokens": 200}).resolve("a/m")
    await provider.chat(request(), spending(tokens=5000))
    await provider.chat(request(), spending(tokens=250))
    assert [asked.max_tokens for asked in script.requests] == [None, 150]


async def test_thinking_is_reserved_beside_the_answer() -> None:
    script = ScriptedProvider("a", "b", name="a")
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    provider, _ = service(script, a={**PRICED, "defaults": thinking}).resolve("a/m")
    await provider.chat(request(), spending(tokens=50_000))
    plain, _ = service(script, a=PRICED).resolve("a/m")
    asked = ChatRequest("m", (Message("user", PROMPT),), extra=thinking)
    await plain.chat(asked, spending(tokens=50_000))
    assert [asked.max_tokens for asked in script.requests] == [None, 6096]


async def test_money_cannot_be_limited_for_a_model_whose_price_nobody_knows() -> None:
    script = ScriptedProvider("free", name="a")
    provider, _ = service(script).resolve("a/m")
    with pytest.raises(ConfigurationError, match="price of 'a/m' is unknown") as caught:
        await provider.chat(request(), spending(cost=5.0))
    assert caught.value.code == "PRICE_UNKNOWN"
    context = spending(tokens=5000)
    await provider.chat(request(), context)
    assert spent(context)["cost"] == 0.001  # as the double reports it


async def test_the_price_of_every_model_that_may_answer_has_to_be_known() -> None:
    scripts = [ScriptedProvider(name="a"), ScriptedProvider(name="b")]
    provider, _ = service(*scripts, a={**PRICED, "fallback": ["b/other"]}).resolve("a/m")
    with pytest.raises(ConfigurationError, match="price of 'b/other' is unknown"):
        await provider.chat(request(), spending(cost=5.0))


async def test_the_dearest_model_that_may_answer_is_reserved_and_the_real_one_charged() -> None:
    first = ScriptedProvider(NetworkError("gone"), name="a")
    second = ScriptedProvider(Reply("x", usage=Usage(100, 100)), name="b")
    dear = {"pricing": {"*": {"input": 0.01, "output": 0.02}}}
    providers = service(first, second, a={**PRICED, "fallback": ["b/m"]}, b=dear)
    provider, _ = providers.resolve("a/m")
    context = spending(cost=0.004)
    await provider.chat(request(), context)
    # 0.001 for the prompt, the rest for 150 tokens at the price of the second.
    assert [asked.max_tokens for asked in second.requests] == [150]
    assert spent(context) == {"tokens": 200, "cost": pytest.approx(0.003), "calls": 1}


async def test_a_call_that_failed_costs_nothing_but_counts() -> None:
    script = ScriptedProvider(ProviderError("no", kind="invalid_request"), name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    context = spending(cost=1.0)
    with pytest.raises(ProviderError):
        await provider.chat(request(), context)
    assert spent(context) == {"tokens": 0, "cost": 0.0, "calls": 1}


async def test_a_stream_that_was_left_or_broke_is_charged_for_what_came() -> None:
    cut = Reply(pieces=("x" * 40, "y"), error=ProviderError("cut", kind="protocol"))
    script = ScriptedProvider(Reply(pieces=("x" * 40, "rest")), cut, name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    context = spending(cost=1.0)
    flow = provider.stream(request(), context)
    await anext(flow)
    await flow.aclose()  # type: ignore[attr-defined]
    assert spent(context) == {"tokens": 110, "cost": pytest.approx(0.00012), "calls": 1}
    with pytest.raises(ProviderError):
        async for _ in provider.stream(request(), context):
            pass
    assert spent(context) == {"tokens": 220, "cost": pytest.approx(0.00024), "calls": 2}


async def test_a_cancelled_call_is_charged_for_what_was_sent() -> None:
    script = ScriptedProvider(Reply("x", after=asyncio.Event()), name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    context = spending(cost=1.0)
    calling = asyncio.ensure_future(provider.chat(request(), context))
    for _ in range(5):
        await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert spent(context) == {"tokens": 100, "cost": pytest.approx(0.0001), "calls": 1}


async def test_a_budget_of_seconds_ends_the_call_that_is_under_way() -> None:
    script = ScriptedProvider(Reply("x", after=asyncio.Event()), name="a")
    provider, _ = service(script).resolve("a/m")
    context = spending(seconds=0.2)
    with pytest.raises(BudgetError, match=r"budget seconds limit of 0\.2"):
        await provider.chat(request(), context)
    with pytest.raises(BudgetError, match="budget seconds"):
        await provider.chat(request(), context)


async def test_calls_at_once_share_a_budget_without_passing_it() -> None:
    replies = [Reply("x", usage=Usage(100, 100)) for _ in range(50)]
    script = ScriptedProvider(*replies, name="a")
    provider, _ = service(script, a=PRICED).resolve("a/m")
    context = spending(tokens=2000)
    done = await asyncio.gather(
        *(provider.chat(request(100), context) for _ in range(50)), return_exceptions=True
    )
    assert [type(one).__name__ for one in done].count("ChatResponse") == 10
    assert {type(one).__name__ for one in done} == {"ChatResponse", "BudgetError"}
    assert spent(context)["tokens"] == 2000


async def test_embeddings_are_charged_too() -> None:
    class Embedding(ScriptedProvider):
        async def embed(self, request: Any, context: Any) -> EmbeddingResponse:
            return EmbeddingResponse(((1.0,),), "m", Usage(100, 0))

    provider, _ = service(Embedding(name="a"), a=PRICED).resolve("a/m")
    context = spending(cost=0.00015)
    await provider.embed(EmbeddingRequest("m", ("x" * 400,)), context)
    assert spent(context) == {"tokens": 100, "cost": pytest.approx(0.0001), "calls": 1}
    with pytest.raises(BudgetError, match="budget cost"):
        await provider.embed(EmbeddingRequest("m", ("x" * 400,)), context)


async def test_a_replay_decides_and_counts_as_the_run_did_though_calls_were_at_once() -> None:
    turns = iter([[40, 20, 0], [0, 0, 0]])

    async def work(context: ExecutionContext) -> Any:
        replies = [Reply(str(n), usage=Usage(100, 10 * n)) for n in range(6)]
        script = ScriptedProvider(*replies, name="a")
        provider, _ = service(script, a=PRICED).resolve("a/m")
        inside = spending(context, tokens=500)
        late = next(turns)

        async def branch(number: int) -> Any:
            told: list[Any] = []
            with inside.span("step", f"branch {number}") as own:
                # Who comes first is another one in the replay.
                for _ in range(late[number]):
                    await asyncio.sleep(0)
                for _ in range(2):
                    try:
                        answer = await provider.chat(request(), own)
                        told.append((answer.content, answer.usage))
                    except BudgetError as error:
                        told.append(str(error))
            return told

        told = await asyncio.gather(*(branch(number) for number in range(3)))
        return told, spent(inside)

    ledger = LedgerDouble()
    first, second = await recorded_and_replayed(work, ledger)
    assert first == second
    refused = [one for branch in first[0] for one in branch if isinstance(one, str)]
    assert refused
