"""Streaming: the answer while it grows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmspell_agents import AgentBuilder, AgentService
from llmspell_core import (
    Agent,
    AgentChunk,
    CancelSignal,
    ExecutionCancelled,
    ExecutionContext,
    Parameter,
    Plugin,
    ProviderError,
    Tool,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_testing import (
    EventsDouble,
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


class Upper(Tool):
    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("upper", "Shouts", (Parameter("t", "string", required=True),))

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        return ToolResult(text=parameters["t"].upper())


def world(
    *script: Any, kind: str = "llm"
) -> tuple[Agent, ScriptedProvider, ExecutionContext, EventsDouble]:
    provider = ScriptedProvider(*script)
    bus = EventsDouble()
    services = make_services(
        plugins=KINDS,
        providers=ProvidersDouble(provider),
        tools=ToolsDouble(Upper()),
        events=bus,
    )
    services.provide("agents", AgentService(services))
    builder = AgentBuilder("ada", kind)
    if kind == "llm":
        builder.model("scripted/m").tool("upper")
    return builder.build(services), provider, make_context(services), bus


def outer(bus: EventsDouble) -> list[str]:
    """The events of the execution itself, without those of the agent's life."""
    whole = {"agent.started", "agent.completed", "agent.failed"}
    return [topic for topic in bus.topics if topic in whole]


async def test_pieces_come_while_the_model_is_still_speaking() -> None:
    gate = asyncio.Event()
    agent, _, context, bus = world(Reply(pieces=("Hel", "lo"), between=gate))
    stream = agent.stream("hi", context)
    first = await asyncio.wait_for(anext(stream), 5)
    assert first == AgentChunk("text", 0, "Hel")
    assert not gate.is_set()
    gate.set()
    rest = [chunk async for chunk in stream]
    assert rest[0] == AgentChunk("text", 1, "lo")
    assert [(chunk.kind, chunk.index, chunk.is_final) for chunk in rest] == [
        ("text", 1, False),
        ("end", 2, True),
    ]
    assert rest[-1].output is not None
    assert rest[-1].output.text == "Hello"
    assert outer(bus) == ["agent.started", "agent.completed"]
    assert [m["content"] for m in agent.conversation] == ["hi", "Hello"]


async def test_tool_calls_and_their_results_are_pieces_too() -> None:
    agent, _, context, _ = world(
        Reply("Wait. ", tools=[("upper", {"t": "a"}), ("upper", "{broken")]), "Done."
    )
    chunks = [chunk async for chunk in agent.stream("hi", context)]
    assert [(c.kind, c.text) for c in chunks] == [
        ("text", "Wait. "),
        ("tool_call", ""),
        ("tool_call", ""),
        ("tool_result", ""),
        ("tool_result", ""),
        ("text", "Done."),
        ("end", ""),
    ]
    assert [c.index for c in chunks] == list(range(7))
    asked, done = chunks[1].data, chunks[3].data
    assert (asked["name"], asked["parameters"], asked["result"]) == ("upper", {"t": "a"}, None)
    assert done["result"]["success"] is True
    assert done["result"]["data"] == "A"
    assert chunks[4].data["result"]["success"] is False
    assert chunks[-1].output is not None
    assert chunks[-1].output.text == "Done."


async def test_an_error_in_the_middle_comes_after_the_pieces() -> None:
    agent, _, context, bus = world(Reply(pieces=("a", "b"), error=ProviderError("cut")))
    seen: list[str] = []

    async def read() -> None:
        async for chunk in agent.stream("hi", context):
            seen.append(chunk.text)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ProviderError, match="cut"):
        await read()
    assert seen == ["a", "b"]
    assert outer(bus) == ["agent.started", "agent.failed"]
    assert list(agent.conversation) == []


async def test_a_model_that_never_completes_its_answer_is_an_error() -> None:
    class Silent(ScriptedProvider):
        async def stream(self, request: Any, context: Any) -> Any:
            return
            yield

    services = make_services(plugins=KINDS, providers=ProvidersDouble(Silent()))
    services.provide("agents", AgentService(services))
    agent = AgentBuilder("ada", model="scripted/m").build(services)
    with pytest.raises(ProviderError, match="without completing it"):
        _ = [chunk async for chunk in agent.stream("hi", make_context(services))]


async def test_leaving_a_stream_ends_the_execution() -> None:
    closed = asyncio.Event()

    class Endless(ScriptedProvider):
        async def stream(self, request: Any, context: Any) -> Any:
            from llmspell_core import ChatChunk

            try:
                while True:
                    yield ChatChunk("x")
            finally:
                closed.set()

    services = make_services(plugins=KINDS, providers=ProvidersDouble(Endless()))
    services.provide("agents", AgentService(services))
    agent = AgentBuilder("ada", model="scripted/m").build(services)
    stream = agent.stream("hi", make_context(services))
    async for chunk in stream:
        if chunk.index == 3:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert list(agent.conversation) == []


async def test_a_cancelled_execution_ends_its_stream() -> None:
    cancel = CancelSignal()
    gate = asyncio.Event()
    reply = Reply(pieces=("a", "b"), between=gate, tools=[("upper", {"t": "a"})])
    agent, provider, context, _ = world(reply, "never")
    stream = agent.stream("hi", make_context(context.services, cancel=cancel))
    assert (await anext(stream)).text == "a"
    cancel.cancel("enough")
    gate.set()
    with pytest.raises(ExecutionCancelled, match="enough"):
        _ = [chunk async for chunk in stream]
    assert len(provider.requests) == 1


async def test_an_empty_question_is_refused_before_anything_is_asked() -> None:
    agent, provider, context, _ = world("never")
    with pytest.raises(ValidationError):
        _ = [chunk async for chunk in agent.stream(" ", context)]
    assert provider.requests == []


async def test_a_slow_reader_holds_the_model_back() -> None:
    pieces = tuple(f"{n} " for n in range(500))
    agent, _, context, _ = world(Reply(pieces=pieces))
    stream = agent.stream("hi", context)
    await anext(stream)
    for _ in range(200):
        await asyncio.sleep(0)
    text = "0 " + "".join([chunk.text async for chunk in stream])
    assert text == "".join(pieces)


async def test_the_basic_agent_streams_its_one_piece() -> None:
    agent, _, context, _ = world(kind="basic")
    chunks = [chunk async for chunk in agent.stream("hi", context)]
    assert [c.text for c in chunks] == ["BasicAgent 'ada' received: hi", ""]
    output = await agent.execute("again", context)
    assert output.text == "BasicAgent 'ada' received: again"
    assert len(agent.conversation) == 4
    assert agent.supports_streaming()
