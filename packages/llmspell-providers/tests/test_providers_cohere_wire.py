"""Cohere's API: what is sent, and what is made of the answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    ExecutionContext,
    LLMTimeoutError,
    Media,
    Message,
    ModelInfo,
    Parameter,
    ProviderError,
    RateLimitError,
    Services,
    ToolRequest,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_providers import ContextLengthError
from llmspell_testing import Fault, LoopbackServer, ModelServer, Reply

Ask = Callable[..., Any]

TOOL = ToolSchema("add", "Adds", (Parameter("a", "number", "first", required=True),))
NOW = ToolSchema("now", "The time")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer("cohere") as running:
        yield running


async def test_a_whole_conversation_is_sent_as_the_protocol_says(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply("4", usage=Usage(20, 3)))
    response = await asking(server).chat(
        Message("system", "Be brief."),
        Message("user", "1+1?", media=(Media("image/png", b"PNG"),)),
        Message("assistant", "Let me see.", (ToolRequest("c1", "add", '{"a": 1}'),)),
        Message("tool", "2", tool_request_id="c1"),
        tools=(TOOL, NOW),
        tool_choice="add",
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=("1", "2", "3", "4", "5", "6"),
        seed=7,
        extra={"safety_mode": "STRICT"},
    )
    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", "/v2/chat")
    assert sent.headers["authorization"] == f"Bearer {server.key}"
    assert sent.json() == {
        "model": "test-model",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "1+1?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}},
                ],
            },
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a": 1}'},
                    }
                ],
            },
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
        ],
        "stream": False,
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
        "tool_choice": "REQUIRED",
        "temperature": 0.5,
        "max_tokens": 50,
        "p": 0.9,
        "stop_sequences": ["1", "2", "3", "4", "5"],
        "seed": 7,
        "safety_mode": "STRICT",
    }
    assert response == ChatResponse(
        "4", "test-model", (), "stop", Usage(20, 3), request_id="trace_2", provider="cohere"
    )


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v2/"])
async def test_the_address_may_name_the_version(server: ModelServer, asking: Ask, end: str) -> None:
    server.answer("Hi")
    await asking(server, base_url=server.url + end).chat("Hello")
    assert server.requests[0].target == "/v2/chat"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_plan_of_the_calls_goes_back(
    server: ModelServer, asking: Ask, stream: bool
) -> None:
    ask = asking(server)
    server.answer(Reply("", tools=[("add", {"a": 1}), ("now", {})], reasoning="Add."), "Done.")
    fields: dict[str, Any] = {"tools": (TOOL, NOW)}
    if stream:
        first = (await ask.stream("Go", **fields))[-1].response
    else:
        first = await ask.chat("Go", **fields)
    assert (first.reasoning, first.finish_reason) == ("Add.", "tool_calls")
    await ask.chat(
        "Go",
        Message("assistant", "", first.tool_requests, carry=first.carry),
        *(Message("tool", "", tool_request_id=call.id) for call in first.tool_requests),
        **fields,
    )
    asked, *answered = server.calls[1].body["messages"][1:]
    assert asked == {
        "role": "assistant",
        "tool_plan": "Add.",
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in first.tool_requests
        ],
    }
    assert [message["content"] for message in answered] == ["", ""]


async def test_a_schema_is_the_format_unless_there_are_tools(
    server: ModelServer, asking: Ask
) -> None:
    server.answer_always(Reply(data={"n": 1}))
    ask = asking(server)
    await ask.chat("Count", response_format=FORM)
    await ask.chat("Count", response_format={"type": "json_object"})
    await ask.chat("Count", response_format=FORM, tools=(TOOL,))
    one, two, three = (call.body for call in server.calls)
    assert one["response_format"] == {"type": "json_object", "json_schema": SCHEMA}
    assert len(one["messages"]) == 1
    assert two["response_format"] == {"type": "json_object"}
    assert two["messages"][0]["content"] == "Answer with one JSON object and nothing else."
    assert "response_format" not in three
    assert json.dumps(SCHEMA) in three["messages"][0]["content"]


async def test_a_medium_it_does_not_take_is_refused(server: ModelServer, asking: Ask) -> None:
    with pytest.raises(ValidationError, match="application/pdf"):
        await asking(server).chat(Message("user", "Read", media=(Media("application/pdf", b"x"),)))
    assert server.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_usage_is_what_went_through_the_model(
    server: ModelServer, asking: Ask, stream: bool
) -> None:
    told = Usage(100, 40, cached_tokens=64)
    server.answer(Reply("Hi", usage=told))
    ask = asking(server)
    made = (await ask.stream("Hi"))[-1].response if stream else await ask.chat("Hi")
    assert made.usage == told


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "cls", "kind"),
    [
        (Fault("auth"), ProviderError, "auth"),
        (Fault("quota"), ProviderError, "quota"),
        (Fault("model_not_found"), ProviderError, "model_not_found"),
        (Fault("content_filter"), ProviderError, "content_filter"),
        (Fault("invalid_request", status=422), ProviderError, "invalid_request"),
        (Fault("context_length"), ContextLengthError, "context_length"),
        (Fault("server"), ProviderError, "server"),
        (Fault("timeout"), LLMTimeoutError, None),
        (Fault("rate_limit"), RateLimitError, None),
        (Fault("error_event"), ProviderError, "server"),
        (Fault("cut", reply=Reply(tools=[("add", {"a": 1})])), ProviderError, "protocol"),
        (Fault("garbled", reply=Reply(tools=[("add", {"a": 1})])), ProviderError, "protocol"),
    ],
)
async def test_what_is_no_answer_is_a_typed_error(
    server: ModelServer, asking: Ask, fault: Fault, cls: type[Any], kind: str | None, stream: bool
) -> None:
    server.answer(fault)
    error = await asking(server).failure(stream=stream, tools=(TOOL,))
    assert type(error) is cls
    assert getattr(error, "kind", None) == kind
    if kind == "context_length":
        assert error.details == {"limit": 132096, "size": 140000}


@pytest.mark.parametrize(
    ("reason", "cls"), [("ERROR", ProviderError), ("TIMEOUT", LLMTimeoutError)]
)
async def test_an_answer_that_failed_on_the_way_is_no_answer(
    asking: Ask, reason: str, cls: type[Exception]
) -> None:
    async with LoopbackServer() as plain:
        message = {"role": "assistant", "content": [{"type": "text", "text": "half"}]}
        plain.answer_json({"id": "x", "finish_reason": reason, "message": message})
        table = {"base_url": plain.url, "max_retries": 0}
        async with Services({"providers": {"cohere": table}}) as services:
            provider, model = services.providers.resolve("cohere/m")
            with pytest.raises(cls, match=f"ended with {reason}"):
                await provider.chat(
                    ChatRequest(model, (Message("user", "Hello"),)), ExecutionContext(services)
                )


async def test_embeddings_are_asked_for_in_portions(server: ModelServer, asking: Ask) -> None:
    ask = asking(server, "embed-v4.0", input_type="search_query")
    texts = tuple(f"text {n}" for n in range(97))
    made = await ask.provider.embed(EmbeddingRequest(ask.model, texts, 256), ask.context)
    assert [len(call.inputs) for call in server.calls] == [96, 1]
    assert server.calls[1].body == {
        "model": "embed-v4.0",
        "input_type": "search_query",
        "embedding_types": ["float"],
        "output_dimension": 256,
        "texts": ["text 96"],
    }
    assert (len(made.vectors), len(made.vectors[0]), made.usage) == (97, 256, Usage(194))


async def test_models_are_listed_over_all_pages_with_their_sizes(asking: Ask) -> None:
    async with LoopbackServer() as plain:
        plain.answer_json(
            {"models": [{"name": "b", "context_length": 5.0}], "next_page_token": "x"}
        )
        plain.answer_json({"models": [{"name": "a"}]})
        async with Services({"providers": {"cohere": {"base_url": plain.url}}}) as services:
            provider, _ = services.providers.resolve("cohere/x")
            found = await provider.models()
        targets = [request.target for request in plain.requests]
    assert found == [ModelInfo("a", owner="cohere"), ModelInfo("b", 5, owner="cohere")]
    assert targets == ["/v1/models?page_size=1000", "/v1/models?page_size=1000&page_token=x"]
