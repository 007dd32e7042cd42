"""What goes over the wire, byte for byte, and what is made of the answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmspell_core import (
    CancelSignal,
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ExecutionCancelled,
    Message,
    Parameter,
    Provider,
    ProviderSettings,
    ToolRequest,
    ToolSchema,
    Usage,
)
from llmspell_providers import OpenAIProvider
from llmspell_testing import (
    LoopbackServer,
    http_chunk,
    http_head,
    make_context,
    make_services,
)

KEY = "sk-test-0123456789"
HELLO = ChatRequest("gpt-x", (Message("user", "Hello"),))


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer() as running:
        yield running


OPEN: list[OpenAIProvider] = []


@pytest.fixture(autouse=True)
async def close_providers() -> AsyncIterator[None]:
    yield
    while OPEN:
        await OPEN.pop().aclose()


def provider_at(server: LoopbackServer, **settings: Any) -> OpenAIProvider:
    options = {"api_key": KEY, "timeout_seconds": 5.0, **settings}
    made = OpenAIProvider(
        ProviderSettings("openai", "openai", f"{server.url}/v1", **options), make_services()
    )
    OPEN.append(made)
    return made


def answer(content: Any = "Hi", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-x-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        **fields,
    }


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": fields, "finish_reason": finish}
    return {"id": "chatcmpl-2", "model": "gpt-x-2026", "choices": [choice]}


async def read(provider: Provider, request: ChatRequest = HELLO) -> list[ChatChunk]:
    return [chunk async for chunk in provider.stream(request, make_context())]


TOOL = ToolSchema("add", "Adds", (Parameter("a", "number", "first", required=True),))


async def test_a_whole_conversation_is_sent_as_the_protocol_says(server: LoopbackServer) -> None:
    server.answer_json(answer(), headers={"x-request-id": "req-9"})
    provider = provider_at(server, headers={"X-Team": "blue"}, options={"organization": "org-1"})
    request = ChatRequest(
        "gpt-x",
        (
            Message("system", "Be brief."),
            Message("user", "1+1? ü"),
            Message("assistant", "", (ToolRequest("call_1", "add", '{"a": 1}'),)),
            Message("tool", "2", tool_request_id="call_1"),
        ),
        tools=(TOOL,),
        tool_choice="add",
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=("END",),
        seed=7,
        response_format={"type": "json_object"},
        extra={"user": "u1"},
    )
    response = await provider.chat(request, make_context())
    await provider.aclose()

    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", "/v1/chat/completions")
    assert {
        name: sent.headers[name]
        for name in ("authorization", "content-type", "accept", "x-team", "openai-organization")
    } == {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "accept": "application/json",
        "x-team": "blue",
        "openai-organization": "org-1",
    }
    assert sent.json() == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1? ü"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 1}'},
                    }
                ],
            },
            {"role": "tool", "content": "2", "tool_call_id": "call_1"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "add",
                    "description": "Adds",
                    "parameters": {
                        "type": "object",
                        "properties": {"a": {"description": "first", "type": "number"}},
                        "required": ["a"],
                    },
                },
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "temperature": 0.5,
        "max_tokens": 50,
        "top_p": 0.9,
        "stop": ["END"],
        "seed": 7,
        "response_format": {"type": "json_object"},
        "user": "u1",
    }
    assert response == ChatResponse("Hi", "gpt-x-2026", (), "stop", Usage(5, 2), request_id="req-9")


async def test_what_nobody_set_is_not_sent(server: LoopbackServer) -> None:
    server.answer_json(answer())
    await provider_at(server).chat(HELLO, make_context())
    assert server.requests[0].json() == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "Hello"}],
    }


async def test_configured_defaults_are_weaker_than_the_request(server: LoopbackServer) -> None:
    server.answer_json(answer())
    provider = provider_at(server, options={"defaults": {"temperature": 0.1, "max_tokens": 9}})
    await provider.chat(ChatRequest("m", HELLO.messages, temperature=0.7), make_context())
    body = server.requests[0].json()
    assert (body["temperature"], body["max_tokens"]) == (0.7, 9)


@pytest.mark.parametrize(
    ("options", "header", "value"),
    [
        ({"auth_header": "api-key", "auth_prefix": ""}, "api-key", KEY),
        ({"auth_prefix": "Token"}, "authorization", f"Token {KEY}"),
    ],
)
async def test_the_key_goes_where_the_configuration_says(
    server: LoopbackServer, options: dict[str, str], header: str, value: str
) -> None:
    server.answer_json(answer())
    await provider_at(server, options=options).chat(HELLO, make_context())
    assert server.requests[0].headers[header] == value


async def test_another_server_is_asked_without_a_key_when_there_is_none(
    server: LoopbackServer,
) -> None:
    server.answer_json(answer())
    await provider_at(server, api_key=None).chat(HELLO, make_context())
    assert "authorization" not in server.requests[0].headers


async def test_cached_and_reasoning_tokens_are_told(server: LoopbackServer) -> None:
    server.answer_json(
        answer(
            usage={
                "prompt_tokens": 100,
                "completion_tokens": 40,
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 30},
            }
        )
    )
    response = await provider_at(server).chat(HELLO, make_context())
    assert response.usage == Usage(100, 40, cached_tokens=64, reasoning_tokens=30)


async def test_missing_usage_is_estimated_and_says_so(server: LoopbackServer) -> None:
    server.answer_json(answer("x" * 40, usage=None))
    request = ChatRequest("m", (Message("user", "y" * 80),))
    response = await provider_at(server).chat(request, make_context())
    assert response.usage == Usage(20, 10, estimated=True)


async def test_parallel_calls_of_a_whole_answer_keep_their_order(server: LoopbackServer) -> None:
    calls = [
        {"id": "b", "type": "function", "function": {"name": "two", "arguments": '{"x":2}'}},
        {"id": "a", "type": "function", "function": {"name": "one", "arguments": {"x": 1}}},
        {"type": "function", "function": {"name": "three", "arguments": ""}},
    ]
    server.answer_json(answer(None, message={"tool_calls": calls}))
    response = await provider_at(server).chat(HELLO, make_context())
    assert response.content == ""
    assert response.finish_reason == "tool_calls"
    assert response.tool_requests == (
        ToolRequest("b", "two", '{"x":2}'),
        ToolRequest("a", "one", '{"x": 1}'),
        ToolRequest("chatcmpl-1_2", "three", "{}"),
    )


async def test_content_in_parts_is_one_text(server: LoopbackServer) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "other"}, {"type": "text", "text": "lo"}]
    server.answer_json(answer(parts))
    assert (await provider_at(server).chat(HELLO, make_context())).content == "Hello"


async def test_deltas_arrive_while_the_response_is_open(server: LoopbackServer) -> None:
    go_on = asyncio.Event()
    server.answer_events(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        go_on,
        delta(content="lo"),
        delta("stop"),
        {
            "id": "c",
            "model": "gpt-x-2026",
            "choices": [],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2},
        },
    )
    stream = provider_at(server).stream(HELLO, make_context())
    first = await asyncio.wait_for(anext(stream), 5)
    exchange = await server.next_exchange()
    assert first == ChatChunk("Hel")
    assert not exchange.answered.is_set()
    go_on.set()
    rest = [chunk async for chunk in stream]
    assert rest == [
        ChatChunk("lo"),
        ChatChunk(response=ChatResponse("Hello", "gpt-x-2026", (), "stop", Usage(3, 2), "c")),
    ]
    body = exchange.request.json()
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert exchange.request.headers["accept"] == "text/event-stream"


async def test_fragmented_parallel_tool_calls_are_put_together(server: LoopbackServer) -> None:
    def call(index: int, **fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[{"index": index, **fields}])

    server.answer_events(
        call(0, id="call_a", type="function", function={"name": "add", "arguments": ""}),
        call(1, id="call_b", type="function", function={"name": "mul", "arguments": '{"x'}),
        call(0, function={"arguments": '{"a"'}),
        call(1, function={"arguments": '": 2}'}),
        call(0, function={"arguments": ": 1}"}),
        delta("tool_calls"),
    )
    chunks = await read(provider_at(server))
    assert len(chunks) == 1
    assert chunks[0].response is not None
    assert chunks[0].response.tool_requests == (
        ToolRequest("call_a", "add", '{"a": 1}'),
        ToolRequest("call_b", "mul", '{"x": 2}'),
    )


async def test_calls_without_an_index_go_on_by_their_id(server: LoopbackServer) -> None:
    def call(**fields: Any) -> dict[str, Any]:
        return delta(tool_calls=[fields])

    server.answer_events(
        call(id="a", function={"name": "one", "arguments": "{"}),
        call(function={"arguments": "}"}),
        call(id="b", function={"name": "two", "arguments": ""}),
        call(id="b", function={"arguments": "{}"}),
        delta("stop"),
    )
    chunks = await read(provider_at(server))
    assert chunks[-1].response is not None
    assert chunks[-1].response.tool_requests == (
        ToolRequest("a", "one", "{}"),
        ToolRequest("b", "two", "{}"),
    )
    assert chunks[-1].response.finish_reason == "tool_calls"


async def test_a_stream_cut_into_single_bytes_is_the_same_stream(server: LoopbackServer) -> None:
    text = "data: " + json.dumps(delta(content="gr\u00fc\u00dfe \U0001f600"), ensure_ascii=False)
    end = f"data: {json.dumps(delta('stop'))}\n\ndata: [DONE]\n\n"
    raw = f": comment\r\n\r\nevent: x\r\n{text}\r\n\r\n{end}"
    pieces = [http_chunk(bytes([byte])) for byte in raw.encode()]
    server.answer(
        http_head(200, {"content-type": "text/event-stream"}, chunked=True),
        *pieces,
        http_chunk(b""),
    )
    chunks = await read(provider_at(server))
    assert [chunk.text for chunk in chunks] == ["gr\u00fc\u00dfe \U0001f600", ""]


async def test_a_stream_without_done_is_complete_when_it_named_its_end(
    server: LoopbackServer,
) -> None:
    server.answer_events(delta(content="Hi"), delta("length"), done=None)
    chunks = await read(provider_at(server))
    assert chunks[-1].response is not None
    assert (chunks[-1].response.content, chunks[-1].response.finish_reason) == ("Hi", "length")


async def test_a_server_that_cannot_stream_still_answers(server: LoopbackServer) -> None:
    server.answer_json(answer("whole"))
    chunks = await read(provider_at(server))
    assert [chunk.text for chunk in chunks] == ["whole", ""]


async def test_a_finished_stream_gives_its_connection_back(server: LoopbackServer) -> None:
    provider = provider_at(server)
    for _ in range(3):
        server.answer_events(delta(content="Hi"), delta("stop"))
        await read(provider)
    server.answer_json(answer())
    await provider.chat(HELLO, make_context())
    await provider.aclose()
    assert server.connections == 1


async def test_a_server_that_keeps_talking_after_the_end_is_left(server: LoopbackServer) -> None:
    never = asyncio.Event()
    server.answer_events(delta(content="Hi"), delta("stop"), "[DONE]", never)
    chunks = await asyncio.wait_for(read(provider_at(server)), 5)
    assert chunks[-1].response is not None
    assert chunks[-1].response.content == "Hi"


async def test_cancelling_a_stream_closes_the_connection(server: LoopbackServer) -> None:
    never = asyncio.Event()
    server.answer_events(delta(content="Hi"), never)
    stream = provider_at(server).stream(HELLO, make_context())
    await anext(stream)
    exchange = await server.next_exchange()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(exchange.disconnected.wait(), 5)


async def test_leaving_a_stream_early_closes_the_connection(server: LoopbackServer) -> None:
    never = asyncio.Event()
    server.answer_events(delta(content="Hi"), never)
    stream = provider_at(server).stream(HELLO, make_context())
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    exchange = await server.next_exchange()
    await asyncio.wait_for(exchange.disconnected.wait(), 5)


async def test_a_cancelled_chat_closes_the_connection(server: LoopbackServer) -> None:
    never = asyncio.Event()
    server.answer(never)
    asking = asyncio.ensure_future(provider_at(server).chat(HELLO, make_context()))
    exchange = await server.next_exchange()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(exchange.disconnected.wait(), 5)


async def test_a_cancelled_execution_sends_nothing(server: LoopbackServer) -> None:
    cancel = CancelSignal()
    cancel.cancel("no")
    with pytest.raises(ExecutionCancelled):
        await provider_at(server).chat(HELLO, make_context(cancel=cancel))
    assert server.requests == []
