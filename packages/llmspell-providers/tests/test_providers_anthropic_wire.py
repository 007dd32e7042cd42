"""Anthropic's Messages API: what is sent, and what is made of the answers."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ConfigurationError,
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
from llmspell_providers import ContextLengthError, MissingKeyError
from llmspell_testing import Fault, Gate, LoopbackServer, ModelServer, Reply

Ask = Callable[..., Any]

TOOL = ToolSchema("add", "Adds", (Parameter("a", "number", "first", required=True),))
OTHER = ToolSchema("mul", "", (Parameter("b", "number", "second"),))
EPHEMERAL = {"cache_control": {"type": "ephemeral"}}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer("anthropic") as running:
        yield running


async def test_a_whole_conversation_is_sent_as_the_protocol_says(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply("4", usage=Usage(20, 3)))
    ask = asking(server, headers={"anthropic-beta": "files-api-2025-04-14"})
    response = await ask.chat(
        Message("system", "Be brief."),
        "1+1 and 2*2?",
        Message(
            "assistant",
            "Let me see.",
            (ToolRequest("toolu_1", "add", '{"a": 1}'), ToolRequest("call:2", "mul", "")),
        ),
        Message("tool", "2", tool_request_id="toolu_1"),
        Message("tool", "", tool_request_id="call:2"),
        "And now?",
        tools=(TOOL, OTHER),
        tool_choice="add",
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=("END", " "),
        seed=7,
        extra={"metadata": {"user_id": "u1"}},
    )
    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", "/v1/messages")
    wanted = ("x-api-key", "anthropic-version", "anthropic-beta", "content-type", "accept")
    assert {name: sent.headers.get(name) for name in wanted} == {
        "x-api-key": server.key,
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "files-api-2025-04-14",
        "content-type": "application/json",
        "accept": "application/json",
    }
    assert "authorization" not in sent.headers
    assert sent.json() == {
        "model": "test-model",
        "system": [{"type": "text", "text": "Be brief.", **EPHEMERAL}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "1+1 and 2*2?", **EPHEMERAL}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}},
                    {"type": "tool_use", "id": "call_2", "name": "mul", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "2"},
                    {"type": "tool_result", "tool_use_id": "call_2"},
                    {"type": "text", "text": "And now?", **EPHEMERAL},
                ],
            },
        ],
        "tools": [
            {
                "name": "add",
                "description": "Adds",
                "input_schema": {
                    "type": "object",
                    "properties": {"a": {"description": "first", "type": "number"}},
                    "required": ["a"],
                },
            },
            {
                "name": "mul",
                "input_schema": {
                    "type": "object",
                    "properties": {"b": {"description": "second", "type": "number"}},
                    "required": [],
                },
                **EPHEMERAL,
            },
        ],
        "tool_choice": {"type": "tool", "name": "add"},
        "temperature": 0.5,
        "max_tokens": 50,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
    }
    assert response == ChatResponse(
        "4", "test-model", (), "stop", Usage(20, 3), request_id="req_2", provider="anthropic"
    )


async def test_a_limit_is_always_sent_because_the_vendor_wants_one(
    server: ModelServer, asking: Ask
) -> None:
    server.answer("a", "b", "c", "d")
    await asking(server).chat("Hello")
    await asking(server, max_tokens=9).chat("Hello")
    await asking(server, max_tokens=9).chat("Hello", max_tokens=5)
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    await asking(server, defaults=thinking).chat("Hello")
    assert [call.body["max_tokens"] for call in server.calls] == [4096, 9, 5, 6096]
    assert server.calls[0].body == {
        "model": "test-model",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
async def test_the_address_may_end_in_v1(server: ModelServer, asking: Ask, end: str) -> None:
    server.answer("Hi")
    await asking(server, base_url=server.url + end).chat("Hello")
    assert server.requests[0].target == "/v1/messages"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("mul", {"type": "tool", "name": "mul"}),
    ],
)
async def test_the_choice_of_tools_is_put_in_the_vendors_words(
    server: ModelServer, asking: Ask, choice: str, sent: dict[str, str]
) -> None:
    server.answer("Hi")
    await asking(server).chat("Hello", tools=(TOOL, OTHER), tool_choice=choice)
    assert server.calls[0].body["tool_choice"] == sent


# Reasoning


async def test_signed_reasoning_goes_back_as_it_came(server: ModelServer, asking: Ask) -> None:
    ask = asking(server)
    server.answer(
        Reply(
            "I ask.",
            tools=[("add", {"a": 1}), ("mul", {"b": 2})],
            reasoning="Both are needed.",
            usage=Usage(10, 30, reasoning_tokens=20),
        ),
        "Done.",
    )
    chunks = await ask.stream("Go", tools=(TOOL, OTHER))
    first = chunks[-1].response
    assert first is not None
    assert "".join(chunk.reasoning for chunk in chunks) == "Both are needed." == first.reasoning
    assert first.usage == Usage(10, 30, reasoning_tokens=20)
    calls = first.tool_requests
    await ask.chat(
        "Go",
        Message("assistant", first.content, calls, carry=json.loads(json.dumps(first.carry))),
        *(Message("tool", "ok", tool_request_id=call.id) for call in calls),
        tools=(TOOL, OTHER),
    )
    assert server.calls[1].body["messages"][1]["content"] == [
        {
            "type": "thinking",
            "thinking": "Both are needed.",
            "signature": first.carry["content"][0]["signature"],
        },
        {"type": "text", "text": "I ask."},
        {"type": "tool_use", "id": calls[0].id, "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": calls[1].id, "name": "mul", "input": {"b": 2}},
    ]


@pytest.mark.parametrize(
    "carry",
    [
        {"vendor": "gemini", "model": "test-model", "content": [{"text": "x"}]},
        {"vendor": "anthropic", "model": "other", "content": [{"type": "text", "text": "x"}]},
        {"vendor": "anthropic", "model": "test-model", "content": [{"type": "tool_use"}]},
        {"vendor": "anthropic", "model": "test-model"},
    ],
)
async def test_what_somebody_else_left_to_carry_is_not_sent(
    server: ModelServer, asking: Ask, carry: dict[str, Any]
) -> None:
    server.answer("Hi")
    await asking(server).chat("1", Message("assistant", "One.", carry=carry), "2")
    assert server.calls[0].body["messages"][1]["content"] == [{"type": "text", "text": "One."}]


async def test_hidden_reasoning_is_kept_too(asking: Ask) -> None:
    blocks = [
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "text", "text": ""},
        {"type": "text", "text": "Hi"},
    ]
    async with LoopbackServer() as plain:
        plain.answer_json({"content": blocks, "stop_reason": "end_turn", "model": "m"})
        services = Services({"providers": {"anthropic": {"base_url": plain.url}}})
        async with services:
            provider, model = services.providers.resolve("anthropic/m")
            made = await provider.chat(request(model), ExecutionContext(services))
    assert made.carry == {
        "vendor": "anthropic",
        "model": "m",
        "content": [blocks[0], blocks[2]],
    }


def request(model: str) -> ChatRequest:
    return ChatRequest(model, (Message("user", "Hello"),))


# Caching


async def test_what_stays_the_same_is_marked_for_the_cache(
    server: ModelServer, asking: Ask
) -> None:
    ask = asking(server)
    history: list[Message | str] = [Message("system", "S"), "1", Message("assistant", "one"), "2"]
    server.answer("two", "three")
    await ask.chat(*history, tools=(TOOL,))
    await ask.chat(*history, Message("assistant", "two"), "3", tools=(TOOL,))
    marked = [
        [turn["content"][0]["text"] for turn in call.body["messages"] if marks(turn["content"])]
        for call in server.calls
    ]
    assert marked == [["1", "2"], ["2", "3"]]
    assert all(marks(call.body["tools"]) and marks(call.body["system"]) for call in server.calls)


def marks(blocks: list[dict[str, Any]]) -> bool:
    return "cache_control" in blocks[-1]


@pytest.mark.parametrize(
    "options", [{"prompt_caching": False}, {"defaults": {"cache_control": {"type": "ephemeral"}}}]
)
async def test_nothing_is_marked_when_the_configuration_says_otherwise(
    server: ModelServer, asking: Ask, options: dict[str, Any]
) -> None:
    server.answer("Hi")
    await asking(server, **options).chat(
        Message("system", "S"), "1", Message("assistant", "one"), "2", tools=(TOOL,)
    )
    body = server.calls[0].body
    body.pop("cache_control", None)
    assert "cache_control" not in json.dumps(body)


async def test_a_question_that_may_stay_alone_is_not_kept(server: ModelServer, asking: Ask) -> None:
    server.answer("Hi")
    await asking(server).chat("Hello")
    assert "cache_control" not in json.dumps(server.calls[0].body)


async def test_cached_tokens_are_counted_as_parts_of_the_prompt(
    server: ModelServer, asking: Ask
) -> None:
    told = Usage(100, 20, cached_tokens=60, cache_write_tokens=30, reasoning_tokens=5)
    server.answer(Reply("Hi", usage=told), Reply("Hi", usage=told))
    ask = asking(server)
    assert (await ask.chat("Hello")).usage == told
    chunks = await ask.stream("Hello")
    assert chunks[-1].response.usage == told


# Schemas, pictures, edges


async def test_a_schema_is_sent_as_the_decoder_takes_it(server: ModelServer, asking: Ask) -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "title": "Person",
        "properties": {
            "name": {"type": "string", "minLength": 1, "description": "full"},
            "age": {"type": ["integer", "null"], "minimum": 0},
            "mail": {"type": "string", "format": "email"},
            "kind": {"type": ["string", "null"], "enum": ["a", "b", None]},
            "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 3, "minItems": 1},
            "home": {"$ref": "#/$defs/Place"},
            "one": {"oneOf": [{"type": "integer"}, {"type": "string", "pattern": "^x"}]},
        },
        "required": ["name"],
        "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    server.answer(Reply(data={"name": "Ada"}))
    response = await asking(server).chat(
        "Who?",
        response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}},
        extra={"output_config": {"effort": "low"}},
    )
    assert json.loads(response.content) == {"name": "Ada"}
    assert server.calls[0].body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "title": "Person",
                "properties": {
                    "name": {"type": "string", "description": 'full\n{"minLength": 1}'},
                    "age": {
                        "anyOf": [
                            {"type": "integer", "description": '{"minimum": 0}'},
                            {"type": "null"},
                        ]
                    },
                    "mail": {"type": "string", "format": "email"},
                    "kind": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]},
                    "tags": {
                        "type": "array",
                        "items": {"type": "string"},
                        "minItems": 1,
                        "description": '{"maxItems": 3}',
                    },
                    "home": {"$ref": "#/$defs/Place"},
                    "one": {
                        "anyOf": [
                            {"type": "integer"},
                            {"type": "string", "description": '{"pattern": "^x"}'},
                        ]
                    },
                },
                "required": ["name"],
                "additionalProperties": False,
                "$defs": {
                    "Place": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "additionalProperties": False,
                    }
                },
            },
        },
    }


async def test_any_json_object_is_asked_for_in_words(server: ModelServer, asking: Ask) -> None:
    server.answer("{}")
    await asking(server).chat(
        Message("system", "Be brief."), "Go", response_format={"type": "json_object"}
    )
    assert server.calls[0].messages[0] == Message(
        "system", "Be brief.\n\nAnswer with one JSON object and nothing else."
    )
    assert "output_config" not in server.calls[0].body


async def test_media_go_before_the_text(server: ModelServer, asking: Ask) -> None:
    server.answer("A cat.")
    media = (
        Media("image/png", b"PNG"),
        Media("image/jpeg", url="https://example.com/cat.jpg"),
        Media("application/pdf", b"PDF"),
        Media("text/plain", b"plain"),
    )
    await asking(server).chat(Message("user", "What?", media=media))
    assert server.calls[0].body["messages"][0]["content"] == [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "UE5H"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://example.com/cat.jpg"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "UERG"},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "plain"},
        },
        {"type": "text", "text": "What?"},
    ]


async def test_a_tool_may_answer_with_a_picture(server: ModelServer, asking: Ask) -> None:
    server.answer("A plot.")
    await asking(server).chat(
        "Plot it",
        Message("assistant", "", (ToolRequest("t1", "add", "{}"),)),
        Message("tool", "here", tool_request_id="t1", media=(Media("image/png", b"PNG"),)),
        tools=(TOOL,),
    )
    result = server.calls[0].body["messages"][2]["content"][0]
    assert [block["type"] for block in result["content"]] == ["image", "text"]


async def test_a_medium_the_vendor_does_not_take_is_named(server: ModelServer, asking: Ask) -> None:
    ask = asking(server)
    with pytest.raises(ValidationError, match=r"no media of type 'audio/wav'") as caught:
        await ask.chat(Message("user", "Hear", media=(Media("audio/wav", b"x"),)))
    assert caught.value.field == "media"
    assert server.requests == []


async def test_blank_messages_are_left_out_and_roles_alternate(
    server: ModelServer, asking: Ask
) -> None:
    server.answer("Hi")
    await asking(server).chat(
        " ", "a", Message("assistant", ""), "b", Message("assistant", "so "), Message("user", "")
    )
    assert server.calls[0].body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b", **EPHEMERAL}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "so", **EPHEMERAL}]},
    ]


async def test_nothing_to_say_is_refused_before_it_is_sent(
    server: ModelServer, asking: Ask
) -> None:
    with pytest.raises(ValidationError) as caught:
        await asking(server).chat(Message("system", "Be brief."), " ")
    assert caught.value.field == "input"
    assert server.requests == []


async def test_arguments_that_are_no_json_go_back_to_be_seen(
    server: ModelServer, asking: Ask
) -> None:
    server.answer("Sorry.")
    await asking(server).chat(
        "Go",
        Message("assistant", "", (ToolRequest("t1", "add", '{"a": '),)),
        Message("tool", "invalid JSON", tool_request_id="t1"),
        tools=(TOOL,),
    )
    assert server.calls[0].body["messages"][1]["content"][0]["input"] == {"INVALID_JSON": '{"a": '}


@pytest.mark.parametrize(
    ("model", "refuses"),
    [
        ("claude-opus-4-7", True),
        ("claude-opus-5-5", True),
        ("claude-haiku-5-5-20261007", True),
        ("claude-sonnet-10", True),
        ("claude-opus-4-6", False),
        ("claude-opus-4-20250514", False),
        ("claude-sonnet-4-5-20250929", False),
        ("claude-3-5-haiku-latest", False),
        ("somebody-elses", False),
    ],
)
async def test_models_that_refuse_sampling_settings_are_asked_without(
    server: ModelServer, asking: Ask, caplog: pytest.LogCaptureFixture, model: str, refuses: bool
) -> None:
    server.answer("Hi", "Hi")
    ask = asking(server, model, temperature=0.7)
    with caplog.at_level(logging.WARNING):
        await ask.chat("Hello")
        await ask.chat("Hello")
    assert [("temperature" in call.body) for call in server.calls] == [not refuses] * 2
    told = [record.getMessage() for record in caplog.records]
    assert told == ([f"{model} refuses temperature: asked without"] if refuses else [])


async def test_the_newer_protocol_is_spoken_where_it_is_asked_for(
    server: ModelServer, asking: Ask
) -> None:
    server.answer("Hi")
    await asking(server, version="2026-10-21", temperature=0.7).chat("Hello")
    assert server.requests[0].headers["anthropic-version"] == "2026-10-21"
    assert "temperature" not in server.calls[0].body


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt_caching": "no"}, "prompt_caching' must be true or false"),
        ({"temperature": "hot"}, r"defaults\.temperature' must be a number, not str"),
        ({"max_tokens": 1.5}, r"defaults\.max_tokens' must be a whole number, not float"),
        ({"defaults": {"stop": 5}}, r"defaults\.stop' must be a text or a list of texts"),
        ({"defaults": {"seed": True}}, r"defaults\.seed' must be a whole number, not bool"),
        ({"defaults": 5}, r"defaults' must be a table, not int"),
    ],
)
async def test_settings_of_the_wrong_kind_are_told(
    server: ModelServer, asking: Ask, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        asking(server, **options)


async def test_configured_stops_are_sent(server: ModelServer, asking: Ask) -> None:
    server.answer("a", "b", "c")
    await asking(server, defaults={"stop": "END"}).chat("Hello")
    await asking(server, defaults={"stop": ["END", "STOP"]}).chat("Hello")
    await asking(server, defaults={"stop": ["END"]}).chat("Hello", stop=("OWN",))
    sent = [call.body["stop_sequences"] for call in server.calls]
    assert sent == [["END"], ["END", "STOP"], ["OWN"]]


# Errors


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "cls", "kind", "retryable"),
    [
        (Fault("auth"), ProviderError, "auth", False),
        (Fault("forbidden"), ProviderError, "auth", False),
        (Fault("model_not_found"), ProviderError, "model_not_found", False),
        (Fault("quota"), ProviderError, "quota", False),
        (Fault("quota", status=402), ProviderError, "quota", False),
        (
            Fault("rate_limit", message="You have reached your organization's spend limit."),
            ProviderError,
            "quota",
            False,
        ),
        (Fault("context_length"), ContextLengthError, "context_length", False),
        (Fault("invalid_request", status=413), ProviderError, "invalid_request", False),
        (Fault("overloaded"), ProviderError, "server", True),
        (Fault("server"), ProviderError, "server", True),
        (Fault("error_event", status=529), ProviderError, "server", True),
    ],
)
async def test_refusals_are_typed_errors_with_the_request_id(
    server: ModelServer,
    asking: Ask,
    fault: Fault,
    cls: type[ProviderError],
    kind: str,
    retryable: bool,
    stream: bool,
) -> None:
    server.answer(fault)
    error = await asking(server).failure(stream=stream)
    assert type(error) is cls
    assert (error.kind, error.is_retryable()) == (kind, retryable)
    assert error.request_id == "req_1" or error.request_id == "req_2"
    if kind == "context_length":
        assert error.details == {"limit": 200000, "size": 215000}


async def test_a_rate_limit_says_how_long_to_wait(server: ModelServer, asking: Ask) -> None:
    server.answer(Fault("rate_limit", retry_after=7))
    error = await asking(server).failure()
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 7


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_answer_says_why(server: ModelServer, asking: Ask, stream: bool) -> None:
    server.answer(Reply("I", finish_reason="content_filter"))
    error = await asking(server).failure(stream=stream)
    assert isinstance(error, ProviderError)
    assert error.kind == "content_filter"
    assert "withheld its answer: not allowed: cyber" in error.message


@pytest.mark.parametrize("kind", ["cut", "ended", "garbled"])
async def test_a_stream_that_breaks_in_a_tool_call_is_no_answer(
    server: ModelServer, asking: Ask, kind: str
) -> None:
    server.answer(Fault(kind, reply=Reply("", tools=[("add", {"a": 1})])))
    error = await asking(server).failure(stream=True, tools=(TOOL,))
    assert isinstance(error, ProviderError)
    assert error.kind == "protocol"


async def test_without_a_key_nothing_is_sent_and_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    async with Services({}) as services:
        provider, model = services.providers.resolve("anthropic/claude-haiku-5-5")
        with pytest.raises(MissingKeyError, match="Anthropic API key required") as caught:
            await provider.chat(request(model), ExecutionContext(services))
    assert "ANTHROPIC_API_KEY" in (caught.value.hint or "")


async def test_models_are_listed_over_all_pages(asking: Ask) -> None:
    def page(names: list[str], *, more: bool) -> dict[str, Any]:
        rows = [{"id": n, "created_at": "2026-01-01T00:00:00Z", "max_tokens": 5} for n in names]
        return {"data": rows, "has_more": more, "last_id": names[-1]}

    async with LoopbackServer() as plain:
        plain.answer_json(page(["c", "b"], more=True))
        plain.answer_json(page(["a"], more=False))
        services = Services({"providers": {"anthropic": {"base_url": plain.url}}})
        async with services:
            provider, _ = services.providers.resolve("anthropic/x")
            found = await provider.models()
        targets = [r.target for r in plain.requests]
    made = [ModelInfo(n, None, 5, "anthropic", 1767225600.0) for n in ("a", "b", "c")]
    assert found == made
    assert targets == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=b"]


@pytest.mark.parametrize(
    "body",
    [
        {"content": "text", "stop_reason": "end_turn"},
        {"content": [5], "stop_reason": "end_turn"},
        {"content": [{"type": "text", "text": 5}], "stop_reason": "end_turn"},
        {"content": [{"type": "tool_use", "id": "x"}], "stop_reason": "tool_use"},
        {"content": [], "stop_reason": "end_turn"},
        {},
    ],
)
async def test_garbage_is_never_an_answer(asking: Ask, body: dict[str, Any]) -> None:
    async with LoopbackServer() as plain:
        plain.answer_json(body)
        table = {"base_url": plain.url, "max_retries": 0}
        async with Services({"providers": {"anthropic": table}}) as services:
            provider, model = services.providers.resolve("anthropic/m")
            with pytest.raises(ProviderError) as caught:
                await provider.chat(request(model), ExecutionContext(services))
    assert caught.value.kind == "protocol"


async def test_the_first_words_arrive_while_the_answer_is_open(
    server: ModelServer, asking: Ask
) -> None:
    gate = Gate()
    server.answer(Reply(pieces=("Hel", "lo"), between=gate))
    ask = asking(server)
    flow = ask.provider.stream(ask.request("Hello"), ask.context)
    assert await asyncio.wait_for(anext(flow), 10) == ChatChunk("Hel")
    call = await server.next_call()
    assert not call.answered.is_set()
    gate.open()
    rest = [chunk async for chunk in flow]
    assert rest[0] == ChatChunk("lo")
    assert rest[1].response.content == "Hello"
