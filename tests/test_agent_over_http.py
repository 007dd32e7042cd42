"""An agent, its tools and its model over real HTTP: all parts as they are installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmspell_agents import AgentBuilder
from llmspell_core import (
    AgentInput,
    ExecutionContext,
    ProviderError,
    Recording,
    Replaying,
    RunRecord,
    Services,
)
from llmspell_testing import LedgerDouble, LoopbackServer

ASKED = {
    "id": "call_1",
    "type": "function",
    "function": {
        "name": "calculator",
        "arguments": json.dumps({"operation": "evaluate", "input": "17 * 23"}),
    },
}


def answered(message: dict[str, Any], reason: str) -> dict[str, Any]:
    return {
        "id": "c",
        "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10},
    }


def services_for(server: LoopbackServer) -> Services:
    return Services(
        {
            "providers": {
                "default_provider": "local",
                "local": {
                    "base_url": f"{server.url}/v1",
                    "default_model": "test-model",
                    "api_key": "sk-local-secret",
                    "retry": {"initial_delay_ms": 1, "max_delay_ms": 1},
                    "pricing": {"test-model": {"input": 0.1, "output": 0.2}},
                },
            }
        }
    )


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer() as running:
        yield running


def script_the_loop(server: LoopbackServer) -> None:
    server.answer_json(answered({"content": None, "tool_calls": [ASKED]}, "tool_calls"))
    server.answer_json(answered({"content": "It is 391."}, "stop"))


async def test_the_loop_is_seen_on_the_wire(server: LoopbackServer) -> None:
    script_the_loop(server)
    async with services_for(server) as services:
        agent = AgentBuilder("ada").tool("calculator").build(services)
        output = await agent.execute("What is 17 * 23?", ExecutionContext(services))
    first, second = (request.json() for request in server.requests)
    offered = first["tools"][0]["function"]
    assert offered["name"] == "calculator"
    assert offered["parameters"]["type"] == "object"
    assert "input" in offered["parameters"]["properties"]
    assert second["messages"][:3] == [
        *first["messages"],
        {"role": "assistant", "content": None, "tool_calls": [ASKED]},
    ]
    result = second["messages"][3]
    assert (result["role"], result["tool_call_id"]) == ("tool", "call_1")
    assert "391" in result["content"]
    assert output.text == "It is 391."
    assert output.usage is not None
    assert output.usage.cost == pytest.approx(2 * (20 * 0.1 + 10 * 0.2) / 1000)
    assert [(call.name, call.success) for call in output.tool_calls] == [("calculator", True)]


async def test_a_recorded_run_replays_with_the_server_gone() -> None:
    ledger = LedgerDouble()
    ledger.open_run(RunRecord("r", "test", 0.0))

    async def run(server: LoopbackServer, policy: Any) -> tuple[str, Any]:
        async with services_for(server) as services:
            context = ExecutionContext(services, effects=policy(services))
            agent = AgentBuilder().tool("calculator").build(services, context=context)
            output = await agent.execute("What is 17 * 23?", context)
            return agent.metadata.name, output

    async with LoopbackServer() as server:
        script_the_loop(server)
        first = await run(server, lambda s: Recording(ledger, "r", secrets=s.secrets))
    async with LoopbackServer() as silent:
        second = await run(silent, lambda s: Replaying(ledger, "r", secrets=s.secrets))
        assert silent.requests == []
    assert first == second
    kept = "".join(f"{e.intent.request}{e.outcome}" for e in ledger.effects("r"))
    assert "sk-local-secret" not in kept


async def test_a_server_in_trouble_is_asked_again(server: LoopbackServer) -> None:
    server.answer_json({"error": {"message": "overloaded"}}, status=503)
    server.answer_json(
        {"error": {"message": "slow down"}}, status=429, headers={"retry-after-ms": "1"}
    )
    server.answer_json(answered({"content": "Here."}, "stop"))
    async with services_for(server) as services:
        agent = AgentBuilder("ada").build(services)
        output = await agent.execute("hi", ExecutionContext(services))
    assert (output.text, len(server.requests)) == ("Here.", 3)


async def test_an_agent_says_how_often_a_call_is_made_again(server: LoopbackServer) -> None:
    services = services_for(server)
    never = AgentBuilder("never").retry(0).build(services)
    server.answer_json({"error": {"message": "overloaded"}}, status=503)
    with pytest.raises(ProviderError, match="overloaded"):
        await never.execute("hello", ExecutionContext(services))
    for _ in range(5):
        server.answer_json({"error": {"message": "overloaded"}}, status=503)
    server.answer_json(answered({"content": "hello"}, "stop"))
    often = AgentInput("hello", {"retry": 5})
    assert (await never.execute(often, ExecutionContext(services))).text == "hello"
    assert len(server.requests) == 1 + 6
    await services.aclose()


async def test_the_first_word_arrives_while_the_response_is_open(server: LoopbackServer) -> None:
    gate = asyncio.Event()

    def piece(finish: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    server.answer_events(piece(content="Good "), gate, piece(content="day."), piece("stop"))
    async with services_for(server) as services:
        agent = AgentBuilder("ada").build(services)
        stream = agent.stream("hi", ExecutionContext(services))
        first = await asyncio.wait_for(anext(stream), 10)
        assert (first.text, server.exchanges[0].answered.is_set()) == ("Good ", False)
        gate.set()
        rest = [chunk async for chunk in stream]
    assert rest[-1].output is not None
    assert rest[-1].output.text == "Good day."


async def test_cancelling_an_execution_closes_the_connection(server: LoopbackServer) -> None:
    server.answer(asyncio.Event())
    async with services_for(server) as services:
        context = ExecutionContext(services)
        agent = AgentBuilder("ada").build(services)
        running = asyncio.ensure_future(agent.execute("hi", context))
        exchange = await server.next_exchange()
        await asyncio.to_thread(context.cancel.cancel, "enough")
        outcome = (await asyncio.gather(running, return_exceptions=True))[0]
        assert type(outcome).__name__ == "ExecutionCancelled"
        await asyncio.wait_for(exchange.disconnected.wait(), 5)
