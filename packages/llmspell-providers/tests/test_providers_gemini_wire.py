"""The Gemini API: what is sent, and what is made of the answers."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ChatResponse,
    ConfigurationError,
    EmbeddingRequest,
    ExecutionContext,
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
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer("gemini") as running:
        yield running


async def test_a_whole_conversation_is_sent_as_the_protocol_says(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply("4", usage=Usage(20, 3)))
    response = await asking(server, safety={"harassment": "block_only_high"}).chat(
        Message("system", "Be brief."),
        "1+1 and now?",
        Message("assistant", "Let me see.", (ToolRequest("c1", "add", '{"a": 1}'),)),
        Message("tool", "2", tool_request_id="c1"),
        "And now?",
        tools=(TOOL, NOW),
        tool_choice="add",
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=("END",),
        seed=7,
        extra={"generationConfig": {"topK": 3}},
    )
    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", "/v1beta/models/test-model:generateContent")
    assert sent.headers["x-goog-api-key"] == server.key
    assert "authorization" not in sent.headers
    assert sent.json() == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "1+1 and now?"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "Let me see."},
                    {
                        "functionCall": {"id": "c1", "name": "add", "args": {"a": 1}},
                        "thoughtSignature": "skip_thought_signature_validator",
                    },
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "id": "c1",
                            "name": "add",
                            "response": {"output": "2"},
                        }
                    }
                ],
            },
            {"role": "user", "parts": [{"text": "And now?"}]},
        ],
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "add",
                        "description": "Adds",
                        "parametersJsonSchema": {
                            "type": "object",
                            "properties": {"a": {"description": "first", "type": "number"}},
                            "required": ["a"],
                        },
                    },
                    {"name": "now", "description": "The time"},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["add"]}},
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
        ],
        "generationConfig": {
            "temperature": 0.5,
            "topP": 0.9,
            "seed": 7,
            "maxOutputTokens": 50,
            "stopSequences": ["END"],
            "topK": 3,
        },
    }
    assert response == ChatResponse(
        "4", "test-model", (), "stop", Usage(20, 3), request_id="resp_1", provider="gemini"
    )


async def test_a_stream_is_asked_for_as_events(server: ModelServer, asking: Ask) -> None:
    server.answer("Hello you")
    chunks = await asking(server).stream("Hello")
    assert server.requests[0].target == "/v1beta/models/test-model:streamGenerateContent?alt=sse"
    assert [chunk.text for chunk in chunks] == ["Hello", " you", ""]


@pytest.mark.parametrize(
    ("end", "path"),
    [("", "/v1beta"), ("/", "/v1beta"), ("/v1beta", "/v1beta"), ("/v1beta/", "/v1beta")],
)
async def test_the_address_may_name_the_version(
    server: ModelServer, asking: Ask, end: str, path: str
) -> None:
    server.answer("Hi")
    await asking(server, base_url=server.url + end).chat("Hello")
    assert server.requests[0].path == f"{path}/models/test-model:generateContent"


async def test_the_key_stands_in_no_address(server: ModelServer, asking: Ask) -> None:
    server.answer("Hi", "Hi")
    ask = asking(server)
    await ask.chat("Hello")
    await ask.stream("Hello")
    await ask.provider.models()
    assert [server.key in request.target for request in server.requests] == [False] * 3


async def test_nothing_is_sent_that_nobody_set(server: ModelServer, asking: Ask) -> None:
    server.answer("Hi")
    await asking(server).chat("Hello")
    assert server.calls[0].body == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


# Signatures


async def test_signed_parts_go_back_as_they_came(server: ModelServer, asking: Ask) -> None:
    ask = asking(server)
    server.answer(
        Reply("I look.", tools=[("add", {"a": 1}), ("now", {})], reasoning="Both."), "Done."
    )
    chunks = await ask.stream("Go", tools=(TOOL, NOW))
    first = chunks[-1].response
    assert (first.content, first.reasoning) == ("I look.", "Both.")
    calls = first.tool_requests
    await ask.chat(
        "Go",
        Message("assistant", first.content, calls, carry=json.loads(json.dumps(first.carry))),
        *(Message("tool", "ok", tool_request_id=call.id) for call in calls),
        tools=(TOOL, NOW),
    )
    asked, answered = server.calls[1].body["contents"][1:]
    assert asked["parts"] == [
        {"text": "Both.", "thought": True},
        {"text": "I look."},
        {
            "functionCall": {"id": calls[0].id, "name": "add", "args": {"a": 1}},
            "thoughtSignature": first.carry["content"][2]["thoughtSignature"],
        },
        {"functionCall": {"id": calls[1].id, "name": "now", "args": {}}},
    ]
    assert [part["functionResponse"]["id"] for part in answered["parts"]] == [
        call.id for call in calls
    ]


async def test_models_that_give_no_ids_are_sent_none(server: ModelServer, asking: Ask) -> None:
    ask = asking(server, "gemini-2.5-flash")
    server.answer(Reply("", tools=[("add", {"a": 1}), ("add", {"a": 2})]), "3")
    first = await ask.chat("Go", tools=(TOOL,))
    assert len({call.id for call in first.tool_requests}) == 2
    await ask.chat(
        "Go",
        Message("assistant", "", first.tool_requests, carry=first.carry),
        *(Message("tool", call.arguments, tool_request_id=call.id) for call in first.tool_requests),
        tools=(TOOL,),
    )
    parts = server.calls[1].body["contents"][2]["parts"]
    assert [part["functionResponse"] for part in parts] == [
        {"name": "add", "response": {"output": '{"a": 1}'}},
        {"name": "add", "response": {"output": '{"a": 2}'}},
    ]


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        ("gemini-3.8-flash", {"thoughtSignature": "skip_thought_signature_validator"}),
        ("gemini-2.5-flash", {}),
    ],
)
async def test_calls_of_another_model_are_marked_as_unsigned(
    server: ModelServer, asking: Ask, model: str, signature: dict[str, str]
) -> None:
    server.answer("Done.")
    carry = {"vendor": "anthropic", "model": model, "content": [{"type": "thinking"}]}
    calls = (ToolRequest("t1", "add", '{"a": 1}'), ToolRequest("t2", "now", "{}"))
    await asking(server, model).chat(
        "Go",
        Message("assistant", "", calls, carry=carry),
        Message("tool", "2", tool_request_id="t1"),
        Message("tool", "noon", tool_request_id="t2"),
        tools=(TOOL, NOW),
    )
    assert server.calls[0].body["contents"][1]["parts"] == [
        {"functionCall": {"id": "t1", "name": "add", "args": {"a": 1}}, **signature},
        {"functionCall": {"id": "t2", "name": "now", "args": {}}},
    ]


# Schemas and media


async def test_a_schema_is_sent_as_it_is(server: ModelServer, asking: Ask) -> None:
    server.answer(Reply(data={"n": 1}))
    await asking(server).chat("Count", response_format=FORM, tools=(TOOL,))
    assert server.calls[0].body["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }


async def test_older_models_with_tools_are_told_the_schema_in_words(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply(data={"n": 1}), Reply(data={"n": 1}))
    ask = asking(server, "gemini-2.5-pro")
    await ask.chat("Count", response_format=FORM, tools=(TOOL,))
    await ask.chat("Count", response_format=FORM)
    told, held = server.calls
    assert "generationConfig" not in told.body
    assert json.dumps(SCHEMA) in told.messages[0].content
    assert held.schema == SCHEMA


async def test_media_are_sent_inline_or_by_their_address(server: ModelServer, asking: Ask) -> None:
    server.answer("A cat.")
    media = (
        Media("image/png", b"PNG"),
        Media("video/mp4", url="https://example.com/cat.mp4"),
        Media("image/*", url="https://example.com/cat"),
        Media("application/pdf", b"PDF"),
    )
    await asking(server).chat(Message("user", "What?", media=media))
    assert server.calls[0].body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "UE5H"}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.com/cat.mp4"}},
        {"fileData": {"fileUri": "https://example.com/cat"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "UERG"}},
        {"text": "What?"},
    ]


async def test_pictures_that_tools_brought_stand_behind_all_results(
    server: ModelServer, asking: Ask
) -> None:
    server.answer("Seen.")
    calls = (ToolRequest("t1", "add", "{}"), ToolRequest("t2", "now", "{}"))
    await asking(server).chat(
        "Go",
        Message("assistant", "", calls),
        Message("tool", "here", tool_request_id="t1", media=(Media("image/png", b"x"),)),
        Message("tool", "noon", tool_request_id="t2"),
        tools=(TOOL, NOW),
    )
    kinds = [next(iter(part)) for part in server.calls[0].body["contents"][2]["parts"]]
    assert kinds == ["functionResponse", "functionResponse", "inlineData"]


@pytest.mark.parametrize("kind", ["application/zip", "font/woff"])
async def test_a_medium_the_vendor_does_not_take_is_named(
    server: ModelServer, asking: Ask, kind: str
) -> None:
    with pytest.raises(ValidationError, match=kind):
        await asking(server).chat(Message("user", "Open", media=(Media(kind, b"x"),)))
    assert server.requests == []


async def test_nothing_to_say_is_refused_before_it_is_sent(
    server: ModelServer, asking: Ask
) -> None:
    with pytest.raises(ValidationError) as caught:
        await asking(server).chat(Message("system", "Be brief."), " ")
    assert (caught.value.field, server.requests) == ("input", [])


# Usage, errors


@pytest.mark.parametrize("stream", [False, True])
async def test_thoughts_and_cache_are_counted_in(
    server: ModelServer, asking: Ask, stream: bool
) -> None:
    told = Usage(100, 50, cached_tokens=60, reasoning_tokens=30)
    server.answer(Reply("Hi", usage=told))
    ask = asking(server)
    made = (await ask.stream("Hi"))[-1].response if stream else await ask.chat("Hi")
    assert made.usage == told


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Fault("content_filter"), "content_filter", "PROHIBITED_CONTENT (harassment)"),
        (
            Reply("part", finish_reason="content_filter"),
            "content_filter",
            "SAFETY (dangerous_content)",
        ),
        (Fault("auth"), "auth", "API key not valid"),
        (Fault("forbidden"), "auth", ""),
        (Fault("quota"), "quota", "plan and billing"),
        (Fault("model_not_found"), "model_not_found", ""),
        (Fault("overloaded"), "server", "overloaded"),
        (Fault("error_event", status=503), "server", ""),
        (Fault("cut"), "protocol", ""),
        (Fault("cut", reply=Reply(tools=[("add", {"a": 1})])), "protocol", ""),
        (Fault("ended", reply=Reply(tools=[("add", {"a": 1})])), "protocol", ""),
        (Reply(""), "protocol", "empty"),
    ],
)
async def test_what_is_no_answer_is_a_typed_error(
    server: ModelServer, asking: Ask, answer: Any, kind: str, words: str, stream: bool
) -> None:
    server.answer(answer)
    error = await asking(server).failure(stream=stream, tools=(TOOL,))
    assert isinstance(error, ProviderError)
    assert error.kind == kind
    assert words in error.message


async def test_a_limit_that_passes_says_when(server: ModelServer, asking: Ask) -> None:
    server.answer(Fault("rate_limit", retry_after=2.5))
    error = await asking(server).failure()
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 2.5


async def test_a_prompt_that_is_too_long_names_both_sizes(server: ModelServer, asking: Ask) -> None:
    server.answer(Fault("context_length"))
    error = await asking(server).failure()
    assert isinstance(error, ContextLengthError)
    assert error.details == {"limit": 1048576, "size": 1200000}


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ({"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "print(x)"}, "print(x)"),
        ({"finishReason": "MISSING_THOUGHT_SIGNATURE"}, "MISSING_THOUGHT_SIGNATURE"),
        ({"content": "text"}, "'content' is str"),
        ({"content": {"parts": [{"functionCall": {"args": {}}}]}}, "no name"),
        ({"finishReason": "MAX_TOKENS"}, "token limit"),
    ],
)
async def test_garbage_is_never_an_answer(
    asking: Ask, candidate: dict[str, Any], words: str
) -> None:
    async with LoopbackServer() as plain:
        plain.answer_json({"candidates": [candidate]})
        table = {"base_url": plain.url, "max_retries": 0}
        async with Services({"providers": {"gemini": table}}) as services:
            provider, model = services.providers.resolve("gemini/m")
            asked = _hello(model)
            with pytest.raises(ProviderError, match=re.escape(words)):
                await provider.chat(asked, ExecutionContext(services))


def _hello(model: str) -> ChatRequest:
    return ChatRequest(model, (Message("user", "Hello"),))


async def test_settings_of_the_wrong_kind_are_told(server: ModelServer, asking: Ask) -> None:
    with pytest.raises(ConfigurationError, match=r"safety\.harassment' must be text"):
        await asking(server, safety={"harassment": 1}).chat("Hello")


# Embeddings, models


async def test_embeddings_are_asked_for_in_hundreds(server: ModelServer, asking: Ask) -> None:
    ask = asking(server, task_type="RETRIEVAL_DOCUMENT")
    texts = tuple(f"text {n}" for n in range(101))
    made = await ask.provider.embed(EmbeddingRequest(ask.model, texts, 8), ask.context)
    assert [len(call.inputs) for call in server.calls] == [100, 1]
    assert server.calls[1].body == {
        "requests": [
            {
                "model": "models/test-model",
                "content": {"parts": [{"text": "text 100"}]},
                "taskType": "RETRIEVAL_DOCUMENT",
                "outputDimensionality": 8,
            }
        ]
    }
    assert (len(made.vectors), len(made.vectors[0])) == (101, 8)
    assert made.usage == Usage(202)


async def test_models_are_listed_over_all_pages_with_their_sizes(asking: Ask) -> None:
    row = {"name": "models/b", "inputTokenLimit": 10, "outputTokenLimit": 5}
    async with LoopbackServer() as plain:
        plain.answer_json({"models": [row], "nextPageToken": "p2"})
        plain.answer_json({"models": [{"name": "models/a"}]})
        async with Services({"providers": {"gemini": {"base_url": plain.url}}}) as services:
            provider, _ = services.providers.resolve("gemini/x")
            found = await provider.models()
        targets = [request.target for request in plain.requests]
    assert found == [ModelInfo("a", owner="google"), ModelInfo("b", 10, 5, "google")]
    assert targets == ["/v1beta/models?pageSize=1000", "/v1beta/models?pageSize=1000&pageToken=p2"]
