"""Ollama's own API: what is sent, and what is made of the answers."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    EmbeddingRequest,
    ExecutionCancelled,
    ExecutionContext,
    Media,
    Message,
    ModelInfo,
    NetworkError,
    Parameter,
    ProviderError,
    Services,
    ToolRequest,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_providers._ollama import server_address
from llmspell_testing import (
    EventsDouble,
    Fault,
    LoopbackServer,
    ModelServer,
    Reply,
    http_chunk,
    http_head,
    make_context,
)

Ask = Callable[..., Any]

TOOL = ToolSchema("add", "Adds", (Parameter("a", "number", "first", required=True),))
NOW = ToolSchema("now", "The time")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
LONG = "word " * 10_000


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer("ollama") as running:
        yield running


async def test_a_whole_conversation_is_sent_as_the_protocol_says(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply("4", usage=Usage(20, 3)))
    ask = asking(
        server,
        "llama3.2:3b",
        api_key=None,
        keep_alive="10m",
        think=True,
        defaults={"num_gpu": 1, "temperature": 0.1},
    )
    response = await ask.chat(
        Message("system", "Be brief."),
        Message("user", "1+1?", media=(Media("image/png", b"PNG"),)),
        Message("assistant", "Let me see.", (ToolRequest("c1", "add", '{"a": 1}'),)),
        Message("tool", "2", tool_request_id="c1"),
        tools=(TOOL,),
        max_tokens=50,
        top_p=0.9,
        stop=("END",),
        seed=7,
    )
    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", "/api/chat")
    assert "authorization" not in sent.headers
    assert sent.json() == {
        "model": "llama3.2:3b",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?", "images": ["UE5H"]},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [{"id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "2", "tool_call_id": "c1", "tool_name": "add"},
        ],
        "stream": False,
        "options": {
            "num_gpu": 1,
            "temperature": 0.1,
            "top_p": 0.9,
            "seed": 7,
            "num_predict": 50,
            "num_ctx": 8192,
            "stop": ["END"],
        },
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
        "keep_alive": "10m",
        "think": True,
    }
    assert response == ChatResponse("4", "llama3.2:3b", (), "stop", Usage(20, 3), provider="ollama")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://localhost:11434", "http://localhost:11434"),
        ("localhost", "http://localhost:11434"),
        ("box.local:9000", "http://box.local:9000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        (":9000", "http://127.0.0.1:9000"),
        ("[::]:9000", "http://[::1]:9000"),
        ("[fe80::1]", "http://[fe80::1]:11434"),
        ("https://ollama.com", "https://ollama.com:443"),
        ("http://me:pw@box/", "http://me:pw@box:80"),
        ("http://box:1/ollama/", "http://box:1/ollama"),
        ("http://box:1/v1", "http://box:1"),
        ("http://box:1/api/", "http://box:1"),
    ],
)
def test_the_server_is_found_by_all_forms_of_its_address(text: str, url: str) -> None:
    assert server_address(text) == url


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'box:ninety' is no address"):
        server_address("box:ninety")


async def test_the_environment_may_name_the_server(
    server: ModelServer, asking: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
    server.answer("Hi")
    async with Services({}) as services:
        provider, model = services.providers.resolve("ollama/llama3")
        response = await provider.chat(_hello(model), ExecutionContext(services))
    assert (response.content, server.calls[0].model) == ("Hi", "llama3")


def _hello(model: str) -> ChatRequest:
    return ChatRequest(model, (Message("user", "Hello"),))


# The length of the context


async def test_the_context_grows_with_the_conversation_up_to_what_the_model_holds(
    server: ModelServer, asking: Ask
) -> None:
    server.answer_always("Hi")
    ask = asking(server)
    for text in ("short", LONG, "short", LONG * 3):
        await ask.chat(text)
    sizes = [call.body["options"]["num_ctx"] for call in server.calls]
    assert sizes == [8192, 32768, 32768, 32768]
    assert [call.operation for call in server.asides] == ["show"]
    assert ask.provider.window(ask.model) == 32768


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"context_window": 16_000}, 16_000),
        ({"defaults": {"num_ctx": 12_000}}, 12_000),
        ({"defaults": {"options": {"num_ctx": 12_000}}}, 12_000),
    ],
)
async def test_a_configured_length_is_kept(
    server: ModelServer, asking: Ask, options: dict[str, Any], sent: int
) -> None:
    server.answer("Hi")
    await asking(server, **options).chat(LONG)
    assert server.calls[0].body["options"]["num_ctx"] == sent
    assert server.asides == []


async def test_a_prompt_that_will_be_cut_off_is_told(
    server: ModelServer, asking: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer("Hi", "Hi")
    ask = asking(server, "tiny", context_window=4096)
    events = EventsDouble()
    ask.services.provide("events", events)
    seen: list[Any] = []
    events.subscribe("provider.*", seen.append)
    with caplog.at_level(logging.WARNING):
        await ask.chat("short")
        assert (caplog.records, seen) == ([], [])
        await ask.chat(LONG)
    assert "the prompt for tiny has about 12504 tokens, its context only 4096" in caplog.text
    assert [(event.topic, event.payload) for event in seen] == [
        (
            "provider.prompt_cut",
            {
                "provider": "ollama",
                "model": "tiny",
                "prompt_tokens": 12504,
                "context_tokens": 4096,
            },
        )
    ]


async def test_a_server_that_cannot_tell_the_length_is_asked_all_the_same() -> None:
    async with LoopbackServer() as plain:
        plain.answer_json({"error": "404 page not found"}, status=404)
        plain.answer_json({"message": {"content": "Hi"}, "done": True, "model": "m"})
        async with Services({"providers": {"ollama": {"base_url": plain.url}}}) as services:
            provider, model = services.providers.resolve("ollama/m")
            asked = _hello(model)
            long = replace(asked, messages=(Message("user", LONG),))
            response = await provider.chat(long, ExecutionContext(services))
        sent = plain.requests[1].json()
    assert response.content == "Hi"
    assert response.usage is not None
    assert response.usage.estimated
    assert sent["options"] == {"num_ctx": 32768}


# Tools, schemas, pictures


async def test_parallel_calls_and_reasoning_go_there_and_back(
    server: ModelServer, asking: Ask
) -> None:
    ask = asking(server)
    server.answer(
        Reply("", tools=[("add", {"a": 1}), ("now", {})], reasoning="Both are needed."), "Done."
    )
    chunks = await ask.stream("Go", tools=(TOOL, NOW))
    first = chunks[-1].response
    assert first.finish_reason == "tool_calls"
    assert [chunk.reasoning for chunk in chunks][:3] == ["Both", " are", " needed."]
    await ask.chat(
        "Go",
        Message("assistant", "", first.tool_requests, carry=first.carry),
        *(Message("tool", "ok", tool_request_id=call.id) for call in first.tool_requests),
        tools=(TOOL, NOW),
    )
    _, asked, *answered = server.calls[1].body["messages"]
    assert asked["thinking"] == "Both are needed."
    assert [(m["tool_name"], m["tool_call_id"]) for m in answered] == [
        (call.name, call.id) for call in first.tool_requests
    ]


@pytest.mark.parametrize(
    ("choice", "offered"),
    [
        (None, ("add", "now")),
        ("auto", ("add", "now")),
        ("required", ("add", "now")),
        ("none", ()),
        ("now", ("now",)),
    ],
)
async def test_a_choice_of_tools_is_made_by_leaving_the_others_out(
    server: ModelServer, asking: Ask, choice: str | None, offered: tuple[str, ...]
) -> None:
    server.answer("Hi")
    await asking(server).chat("Go", tools=(TOOL, NOW), tool_choice=choice)
    assert server.calls[0].tools == offered


async def test_a_schema_is_the_format_unless_there_are_tools(
    server: ModelServer, asking: Ask
) -> None:
    server.answer_always(Reply(data={"n": 1}))
    ask = asking(server)
    await ask.chat("Count", response_format=FORM)
    await ask.chat("Count", response_format={"type": "json_object"})
    await ask.chat("Count", response_format=FORM, tools=(TOOL,))
    one, two, three = (call.body for call in server.calls)
    assert (one["format"], two["format"], "format" in three) == (SCHEMA, "json", False)
    assert json.dumps(SCHEMA) in three["messages"][0]["content"]


@pytest.mark.parametrize(
    ("media", "words"),
    [
        (Media("image/png", url="https://example.com/x.png"), "as bytes, not by URL"),
        (Media("application/pdf", b"x"), "application/pdf"),
    ],
)
async def test_a_medium_it_does_not_take_is_refused(
    server: ModelServer, asking: Ask, media: Media, words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        await asking(server).chat(Message("user", "Look", media=(media,)))
    assert server.requests == []


# Errors, embeddings, models


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_is_not_there_says_how_to_fetch_it(asking: Ask, stream: bool) -> None:
    async with ModelServer("ollama", models=["llama3.2:latest"]) as server:
        ask = asking(server, "lama3.2:latest")
        error = await ask.failure(stream=stream)
    assert isinstance(error, ProviderError)
    assert (error.kind, error.message) == (
        "model_not_found",
        "Ollama has no model 'lama3.2:latest' (HTTP 404: model 'lama3.2:latest' not found)",
    )
    assert error.hint == (
        "Fetch it with: ollama pull lama3.2:latest. Did you mean 'llama3.2:latest'? "
        "List them with: llmspell provider models ollama"
    )


async def test_a_server_that_does_not_run_is_not_reached(asking: Ask) -> None:
    table = {"base_url": "http://127.0.0.1:9"}
    async with Services({"providers": {"ollama": table}}) as services:
        provider, model = services.providers.resolve("ollama/m")
        with pytest.raises(
            NetworkError, match=r"Ollama at http://127\.0\.0\.1:9 cannot be reached"
        ):
            await provider.chat(_hello(model), ExecutionContext(services))


@pytest.mark.parametrize(
    "fault",
    [
        Fault("cut", reply=Reply("one two three four")),
        Fault("ended", reply=Reply(tools=[("add", {"a": 1})])),
        Fault("garbled", reply=Reply(tools=[("add", {"a": 1})])),
    ],
)
async def test_a_stream_that_breaks_is_no_answer(
    server: ModelServer, asking: Ask, fault: Fault
) -> None:
    server.answer(fault)
    error = await asking(server).failure(stream=True, tools=(TOOL,))
    assert isinstance(error, ProviderError)
    assert error.kind == "protocol"


async def test_an_error_in_the_middle_of_the_lines_is_an_error(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Fault("error_event", message="llama runner process has terminated"))
    error = await asking(server).failure(stream=True)
    assert isinstance(error, ProviderError)
    assert error.kind == "server"
    assert "llama runner process has terminated" in error.message


async def test_lines_may_be_cut_anywhere() -> None:
    first = {"model": "m", "message": {"role": "assistant", "content": "grüße"}, "done": False}
    last = {"model": "m", "message": {"content": ""}, "done": True, "eval_count": 2}
    raw = f"{json.dumps(first, ensure_ascii=False)}\n\n{json.dumps(last)}".encode()
    async with LoopbackServer() as plain:
        pieces = [http_chunk(bytes([byte])) for byte in raw]
        head = http_head(200, {"content-type": "application/x-ndjson"}, chunked=True)
        plain.answer(head, *pieces, http_chunk(b""))
        async with Services({"providers": {"ollama": {"base_url": plain.url}}}) as services:
            provider, model = services.providers.resolve("ollama/m")
            flow = provider.stream(_hello(model), ExecutionContext(services))
            chunks = [chunk async for chunk in flow]
    assert [chunk.text for chunk in chunks] == ["grüße", ""]
    assert chunks[-1].response is not None
    assert chunks[-1].response.usage == Usage(0, 2)


async def test_embeddings_are_asked_for_together(server: ModelServer, asking: Ask) -> None:
    ask = asking(server, "nomic-embed-text", keep_alive=-1)
    made = await ask.provider.embed(EmbeddingRequest(ask.model, ("a b", "c"), 4), ask.context)
    assert server.calls[0].body == {
        "model": "nomic-embed-text",
        "input": ["a b", "c"],
        "dimensions": 4,
        "keep_alive": -1,
    }
    assert ([len(vector) for vector in made.vectors], made.usage) == ([4, 4], Usage(3))


async def test_the_models_that_are_there_are_listed(asking: Ask) -> None:
    async with ModelServer("ollama", models=["b:1", "a:1"]) as server:
        server.answer("Hi")
        ask = asking(server, "b:1")
        await ask.chat(LONG)
        found = await ask.provider.models()
    assert found == [ModelInfo("a:1", owner="ollama"), ModelInfo("b:1", 32768, owner="ollama")]


async def test_a_cancelled_execution_asks_not_even_for_the_length(
    server: ModelServer, asking: Ask
) -> None:
    ask = asking(server)
    context = make_context(ask.services)
    context.cancel.cancel("stop")
    with pytest.raises(ExecutionCancelled):
        await ask.provider.chat(ask.request(LONG), context)
    assert server.requests == []
