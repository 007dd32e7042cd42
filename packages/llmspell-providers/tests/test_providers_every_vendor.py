"""One matrix over all vendors: the same questions and faults, each in the vendor's protocol.

The server checks each request against the vendor's documentation, so a wrong field fails the test
whatever it asserts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    ExecutionCancelled,
    ExecutionContext,
    LLMSpellError,
    LLMTimeoutError,
    Media,
    Message,
    Parameter,
    PluginIndex,
    Provider,
    ProviderError,
    ProviderSettings,
    RateLimitError,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_testing import (
    Fault,
    Gate,
    ModelServer,
    ProviderSuite,
    Reply,
    make_context,
    make_services,
    model_vendors,
)
from llmspell_testing.vendors import vector_of

VENDORS = [*model_vendors(), "openai:responses"]
NO_TOOLS = {"perplexity", "replicate"}
NO_TURNS = {"replicate"}
NO_CHOICE = {"ollama"}
NO_SCHEMA = {"replicate"}
NO_PICTURES = {"cohere", "deepseek"}
NO_EMBEDDINGS = {"anthropic", "deepseek", "groq", "perplexity", "replicate", "xai"}
NO_LIST = {"perplexity", "replicate"}
NO_TOKENS_CACHED = {"cohere", "ollama", "perplexity", "replicate"}
NO_REASONING_TOKENS = {"anthropic", "cohere", "ollama", "replicate"}
NO_REASONING = {"azure", "openai", "perplexity", "replicate"}

PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
    b"\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\xdac\xfc\xcf\xc0P\x0f\x00\x04\x85\x01\x80\x84\xa9\x8c!"
    b"\x00\x00\x00\x00IEND\xaeB`\x82"
)
ADD = ToolSchema("add", "Adds two numbers", (Parameter("a", "number", "first", required=True),))
FIND = ToolSchema("find", "Finds", (Parameter("what", "string", required=True),))
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def with_vendors(without: set[str] = frozenset()) -> pytest.MarkDecorator:  # type: ignore[assignment]
    return pytest.mark.parametrize("vendor", [v for v in VENDORS if v not in without])


def playing(vendor: str, *script: Any, **options: Any) -> ModelServer:
    """The server of *vendor*; behind a colon stands which of its APIs is to be used."""
    name, _, api = vendor.partition(":")
    server = ModelServer(name, *script, **options)
    if api:
        API[server] = api
    return server


API: WeakKeyDictionary[ModelServer, str] = WeakKeyDictionary()


@asynccontextmanager
async def at(
    server: ModelServer, *, key: str | None = None, timeout: float = 20.0, **options: Any
) -> AsyncIterator[Provider]:
    """The vendor's provider, as the entry points have it, at *server*."""
    name = server.vendor.name
    factory = PluginIndex().load("llmspell.providers", "openai" if name == "custom" else name)
    if server in API:
        options["api"] = API[server]
    settings = ProviderSettings(
        name, name, server.base_url, key or server.key, timeout_seconds=timeout, options=options
    )
    provider = factory(settings, make_services())
    try:
        yield provider
    finally:
        await provider.aclose()


def asked(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest("test-model", messages or (Message("user", "Hello"),), **fields)


async def streamed(
    provider: Provider, request: ChatRequest, context: ExecutionContext | None = None
) -> list[ChatChunk]:
    return [chunk async for chunk in provider.stream(request, context or make_context())]


async def answered(provider: Provider, request: ChatRequest, *, stream: bool) -> ChatResponse:
    """The whole answer; of a stream, after its deltas were seen to add up to it."""
    if not stream:
        return await provider.chat(request, make_context())
    chunks = await streamed(provider, request)
    whole = [chunk.response for chunk in chunks if chunk.response is not None]
    assert len(whole) == 1
    assert chunks[-1].response is whole[0]
    assert "".join(chunk.text for chunk in chunks) == whole[0].content
    assert "".join(chunk.reasoning for chunk in chunks) == whole[0].reasoning
    return whole[0]


@pytest.mark.covers("chat")
@with_vendors(NO_TURNS)
async def test_a_conversation_is_sent_and_its_answer_read(vendor: str) -> None:
    messages = (
        Message("system", "Be brief."),
        Message("user", "Hi, I am Ada. ü 文"),
        Message("assistant", "Hello Ada."),
        Message("user", "Who am I?"),
    )
    said = "You are Ada. \U0001f511"
    async with playing(vendor, said) as server, at(server) as provider:
        response = await provider.chat(
            asked(*messages, temperature=0.5, max_tokens=50, top_p=0.9), make_context()
        )
        (call,) = server.calls
    assert (response.content, response.finish_reason) == (said, "stop")
    assert (call.model, call.stream) == ("test-model", False)
    assert call.messages == messages


@pytest.mark.covers("stream")
@with_vendors()
async def test_words_arrive_while_the_answer_is_still_open(vendor: str) -> None:
    gate = Gate()
    reply = Reply("one two three", between=gate)
    async with playing(vendor, reply) as server, at(server) as provider:
        seen: list[str] = []
        stream = provider.stream(asked(), make_context())
        async for chunk in stream:
            seen.append(chunk.text)
            if "".join(seen):
                break
        assert not server.calls[0].answered.is_set()
        assert "".join(seen).strip() == "one"
        gate.open()
        seen += [chunk.text async for chunk in stream]
    assert "".join(seen) == "one two three"


@pytest.mark.covers("usage")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors()
async def test_the_vendors_own_usage_is_told(vendor: str, stream: bool) -> None:
    told = Usage(
        100,
        40,
        cached_tokens=0 if vendor in NO_TOKENS_CACHED else 64,
        reasoning_tokens=0 if vendor in NO_REASONING_TOKENS else 30,
        cost=0.25,
    )
    async with playing(vendor, Reply("Hi", usage=told)) as server, at(server) as provider:
        response = await answered(provider, asked(), stream=stream)
    cost = 0.25 if vendor in {"openrouter", "perplexity", "xai"} else None
    assert response.usage == replace(told, cost=cost)


@pytest.mark.covers("tools")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors(NO_TOOLS)
async def test_parallel_tool_calls_go_there_and_back(vendor: str, stream: bool) -> None:
    calls = Reply("Let me see.", tools=[("add", {"a": 1.5}), ("find", {"what": 'ü "x"'})])
    async with playing(vendor, calls, "Done.") as server, at(server) as provider:
        question = asked(Message("user", "Please"), tools=(ADD, FIND))
        first = await answered(provider, question, stream=stream)
        assert [(c.name, json.loads(c.arguments)) for c in first.tool_requests] == [
            ("add", {"a": 1.5}),
            ("find", {"what": 'ü "x"'}),
        ]
        assert (first.content, first.finish_reason) == ("Let me see.", "tool_calls")
        results = [
            Message("tool", f"result {n}", tool_request_id=request.id, name=request.name)
            for n, request in enumerate(first.tool_requests)
        ]
        answer = Message("assistant", first.content, first.tool_requests, carry=first.carry)
        again = replace(question, messages=(*question.messages, answer, *results))
        second = await answered(provider, again, stream=stream)
        one, two = server.calls
    assert (second.content, second.tool_requests) == ("Done.", ())
    assert one.tools == two.tools == ("add", "find")
    assert [m.role for m in two.messages] == ["user", "assistant", "tool", "tool"]
    assert [c.name for c in two.messages[1].tool_requests] == ["add", "find"]
    assert [m.content for m in two.messages[2:]] == ["result 0", "result 1"]
    assert [m.tool_request_id for m in two.messages[2:]] == [
        c.id for c in two.messages[1].tool_requests
    ]


@pytest.mark.covers("tools")
@pytest.mark.parametrize("choice", ["auto", "none", "required", "add"])
@with_vendors(NO_TOOLS | NO_CHOICE)
async def test_the_choice_of_tools_is_told(vendor: str, choice: str) -> None:
    async with playing(vendor, "ok") as server, at(server) as provider:
        await provider.chat(asked(tools=(ADD, FIND), tool_choice=choice), make_context())
        (call,) = server.calls
    assert call.tool_choice in {choice, "any" if choice == "required" else choice}


@with_vendors()
async def test_tools_are_refused_where_there_are_none(vendor: str) -> None:
    if vendor not in NO_TOOLS:
        pytest.skip("it has tools")
    async with playing(vendor) as server, at(server) as provider:
        with pytest.raises(ValidationError, match="take no tools"):
            await provider.chat(asked(tools=(ADD,)), make_context())
        assert server.calls == []


@pytest.mark.covers("structured output")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors(NO_SCHEMA)
async def test_an_answer_in_a_schema(vendor: str, stream: bool) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    reply = Reply(data={"city": "Köln"})
    async with playing(vendor, reply) as server, at(server) as provider:
        response = await answered(
            provider, asked(Message("user", "Where?"), response_format=form), stream=stream
        )
        (call,) = server.calls
    assert response.content == '{"city": "Köln"}'
    if vendor == "deepseek":
        assert '"city": {"type": "string"}' in call.messages[0].content
    else:
        assert call.schema is not None
        assert call.schema["properties"]["city"]["type"] == "string"


@pytest.mark.covers("structured output")
@with_vendors(NO_SCHEMA)
async def test_an_answer_in_any_json(vendor: str) -> None:
    request = asked(Message("user", "Where? In JSON."), response_format={"type": "json_object"})
    async with playing(vendor, Reply(data={"a": 1})) as server, at(server) as provider:
        response = await provider.chat(request, make_context())
    assert response.content == '{"a": 1}'


@pytest.mark.covers("images")
@with_vendors(NO_PICTURES)
async def test_a_picture_is_seen(vendor: str) -> None:
    picture = Media("image/png", data=PNG)
    message = Message("user", "What is this?", media=(picture,))
    async with playing(vendor, "A dot.") as server, at(server) as provider:
        await provider.chat(asked(message), make_context())
        (call,) = server.calls
    assert call.messages[0].media == (picture,)
    assert call.messages[0].content == "What is this?"


@pytest.mark.parametrize("kind", ["video/mp4", "application/x-thing"])
@with_vendors({"gemini"})
async def test_media_of_a_strange_kind_are_refused_before_anything_is_sent(
    vendor: str, kind: str
) -> None:
    message = Message("user", "What is this?", media=(Media(kind, data=b"x"),))
    async with playing(vendor) as server, at(server) as provider:
        with pytest.raises(ValidationError, match=kind):
            await provider.chat(asked(message), make_context())
        assert server.requests == []


@pytest.mark.covers("reasoning")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors(NO_REASONING)
async def test_reasoning_is_told_apart_and_goes_back_unchanged(vendor: str, stream: bool) -> None:
    thought = Reply("Adding.", tools=[("add", {"a": 1})], reasoning="First think, then act.")
    if vendor in NO_TOOLS:
        thought = replace(thought, tools=())
    async with playing(vendor, thought, "Done.") as server, at(server) as provider:
        question = asked(Message("user", "Please"), tools=() if vendor in NO_TOOLS else (ADD,))
        if vendor == "openai:responses":
            question = replace(question, model="o3")
        first = await answered(provider, question, stream=stream)
        assert (first.content, first.reasoning) == ("Adding.", "First think, then act.")
        answer = Message("assistant", first.content, first.tool_requests, carry=first.carry)
        results = [Message("tool", "2", tool_request_id=r.id) for r in first.tool_requests]
        tail = results or [Message("user", "Go on.")]
        again = replace(question, messages=(*question.messages, answer, *tail))
        # Signed or encrypted thoughts that were changed or lost are refused by the server.
        assert (await answered(provider, again, stream=stream)).content == "Done."


@pytest.mark.covers("embeddings")
@with_vendors(NO_EMBEDDINGS)
async def test_texts_become_vectors_in_their_order(vendor: str) -> None:
    texts = tuple(f"text number {n}" for n in range(300))
    async with playing(vendor) as server, at(server) as provider:
        response = await provider.embed(EmbeddingRequest("test-model", texts), make_context())
        assert [list(v) for v in response.vectors] == [vector_of(t, 64) for t in texts]
        assert sum((call.inputs for call in server.calls), ()) == texts
    assert response.usage is None or response.usage.prompt_tokens == 900


@with_vendors()
async def test_embeddings_that_do_not_exist_are_a_typed_error(vendor: str) -> None:
    if vendor not in NO_EMBEDDINGS:
        pytest.skip("it has embeddings")
    async with playing(vendor) as server, at(server) as provider:
        with pytest.raises(ProviderError, match="embeddings not implemented") as caught:
            await provider.embed(EmbeddingRequest("m", ("x",)), make_context())
        assert (caught.value.kind, server.requests) == ("unsupported", [])


@pytest.mark.covers("models")
@with_vendors(NO_LIST)
async def test_models_are_listed_by_name(vendor: str) -> None:
    async with playing(vendor, models=["z-model", "a-model"]) as server, at(server) as provider:
        models = await provider.models()
    assert [model.id for model in models] == ["a-model", "z-model"]


@pytest.mark.covers("check")
@with_vendors()
async def test_a_check_tells_a_good_key_from_a_bad_one_without_a_chat(vendor: str) -> None:
    async with playing(vendor) as server:
        async with at(server) as provider:
            await provider.check()
        if server.vendor.key_variable is not None:
            async with at(server, key="sk-not-the-right-key") as provider:
                with pytest.raises(ProviderError) as caught:
                    await provider.check()
            assert caught.value.kind == "auth"
            assert "not-the-right" not in str(caught.value)
        assert [call.operation for call in server.calls if call.operation == "chat"] == []


ERRORS = [
    ("auth", ProviderError, "auth", False),
    ("forbidden", ProviderError, "auth", False),
    ("quota", ProviderError, "quota", False),
    ("invalid_request", ProviderError, "invalid_request", False),
    ("context_length", ValidationError, "context_length", False),
    ("content_filter", ProviderError, "content_filter", False),
    ("conflict", ProviderError, "server", True),
    ("server", ProviderError, "server", True),
    ("unavailable", ProviderError, "server", True),
    ("overloaded", ProviderError, "server", True),
    ("timeout", LLMTimeoutError, None, True),
    ("rate_limit", RateLimitError, None, True),
]


@pytest.mark.covers("errors")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fault", "cls", "kind", "retryable"), ERRORS)
@with_vendors()
async def test_a_refusal_is_a_typed_error(
    vendor: str,
    fault: str,
    cls: type[LLMSpellError],
    kind: str | None,
    retryable: bool,
    stream: bool,
) -> None:
    async with playing(vendor, Fault(fault, retry_after=7)) as server, at(server) as provider:
        with pytest.raises(cls) as caught:
            await answered(provider, asked(), stream=stream)
        error = caught.value
        assert server.key not in f"{error} {error!r} {error.hint} {error.to_dict()}"
    if kind is not None:
        assert isinstance(error, ProviderError)
        assert error.kind == kind
    assert error.is_retryable() is retryable
    if fault == "rate_limit":
        assert error.retry_after == 7


@pytest.mark.covers("errors")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors()
async def test_an_unknown_model_is_told_with_the_nearest_name(vendor: str, stream: bool) -> None:
    async with (
        playing(vendor, models=["tested-model-5", "other"]) as server,
        at(server) as provider,
    ):
        with pytest.raises(ProviderError) as caught:
            await answered(provider, replace(asked(), model="test-model-5"), stream=stream)
    assert caught.value.kind == "model_not_found"
    assert "test-model-5" in caught.value.message
    if vendor not in NO_LIST:
        assert caught.value.hint is not None
        assert "Did you mean 'tested-model-5'?" in caught.value.hint


BROKEN = ["cut", "ended", "garbled", "web_page", "no_body"]


@pytest.mark.covers("errors")
@pytest.mark.parametrize("tool", [False, True], ids=["text", "tool"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", BROKEN)
@with_vendors()
async def test_a_broken_answer_is_never_taken_for_one(
    vendor: str, fault: str, stream: bool, tool: bool
) -> None:
    if tool and vendor in NO_TOOLS:
        pytest.skip("it has no tools")
    reply = Reply(tools=[("add", {"a": 12345})]) if tool else Reply("one two three four")
    request = asked(tools=(ADD,)) if tool else asked()
    async with playing(vendor, Fault(fault, reply)) as server, at(server) as provider:
        with pytest.raises(LLMSpellError) as caught:
            await answered(provider, request, stream=stream)
    assert isinstance(caught.value, ProviderError)
    assert caught.value.kind == "protocol"


@pytest.mark.covers("errors")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors()
async def test_an_error_instead_of_the_rest_is_an_error(vendor: str, stream: bool) -> None:
    fault = Fault("error_event", message="the backend fell over")
    async with playing(vendor, fault) as server, at(server) as provider:
        with pytest.raises(ProviderError, match="the backend fell over"):
            await answered(provider, asked(), stream=stream)


@pytest.mark.covers("errors")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors()
async def test_an_empty_answer_is_an_error(vendor: str, stream: bool) -> None:
    async with playing(vendor, Reply("")) as server, at(server) as provider:
        with pytest.raises(ProviderError, match="empty") as caught:
            await answered(provider, asked(), stream=stream)
    assert caught.value.kind == "protocol"


@pytest.mark.covers("errors")
@pytest.mark.parametrize("stream", [False, True])
@with_vendors({"replicate"})
async def test_a_filtered_answer_is_an_error_and_a_cut_off_one_says_so(
    vendor: str, stream: bool
) -> None:
    filtered = Reply("some words", finish_reason="content_filter")
    short = Reply("some words", finish_reason="length")
    async with playing(vendor, filtered, short) as server, at(server) as provider:
        if vendor not in {"ollama"}:
            with pytest.raises(ProviderError) as caught:
                await answered(provider, asked(), stream=stream)
            assert caught.value.kind == "content_filter"
        else:
            await answered(provider, asked(), stream=stream)
        response = await answered(provider, asked(), stream=stream)
    assert (response.content, response.finish_reason) == ("some words", "length")


@pytest.mark.parametrize("stream", [False, True])
@with_vendors()
async def test_a_hanging_server_is_given_up(vendor: str, stream: bool) -> None:
    async with playing(vendor, Fault("hang")) as server:
        async with at(server, timeout=0.3) as provider:
            with pytest.raises(LLMTimeoutError):
                await answered(provider, asked(), stream=stream)
        await asyncio.wait_for(server.calls[0].disconnected.wait(), 10)


@pytest.mark.parametrize("stream", [False, True])
@with_vendors()
async def test_cancelling_closes_the_connection(vendor: str, stream: bool) -> None:
    async with (
        playing(vendor, Reply("one two three", after=Gate())) as server,
        at(server) as provider,
    ):
        task = asyncio.ensure_future(answered(provider, asked(), stream=stream))
        call = await server.next_call()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(call.disconnected.wait(), 10)


@with_vendors()
async def test_leaving_a_stream_closes_the_connection(vendor: str) -> None:
    async with (
        playing(vendor, Reply("one two three", between=Gate())) as server,
        at(server) as provider,
    ):
        stream = provider.stream(asked(), make_context())
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(server.calls[0].disconnected.wait(), 10)


@pytest.mark.covers("chat")
@with_vendors()
async def test_calls_share_their_connections(vendor: str) -> None:
    async with playing(vendor) as server, at(server) as provider:
        server.answer_always("Hello there")
        for stream in (False, True, False, True):
            await answered(provider, asked(), stream=stream)
        assert server.connections == 1


@with_vendors()
async def test_a_cancelled_execution_asks_nothing(vendor: str) -> None:
    async with playing(vendor) as server, at(server) as provider:
        context = make_context()
        context.cancel.cancel("stop")
        with pytest.raises((ExecutionCancelled, asyncio.CancelledError)):
            await provider.chat(asked(), context)
        assert server.requests == []


class TestEveryVendorKeepsTheContract(ProviderSuite):
    @pytest.fixture(params=VENDORS)
    def vendor(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.fixture
    def server(self, vendor: str) -> Iterator[ModelServer]:
        with playing(vendor) as server:
            server.answer_always("a few words")
            yield server

    @pytest.fixture
    async def provider(self, server: ModelServer) -> AsyncIterator[Provider]:  # type: ignore[override]
        async with at(server) as provider:
            yield provider

    @pytest.fixture
    async def failing(self, vendor: str) -> AsyncIterator[Provider]:  # type: ignore[override]
        async with playing(vendor) as server, at(server) as provider:
            server.answer_always(Fault("unavailable"))
            yield provider

    async def test_the_request_is_not_changed(  # type: ignore[override]
        self, provider: Provider, context: ExecutionContext, vendor: str
    ) -> None:
        if vendor in NO_TOOLS:
            pytest.skip("it has no tools")
        request = asked(
            Message("system", "Be brief."),
            Message("user", "Hello"),
            tools=(ADD,),
            temperature=0.5,
            max_tokens=50,
        )
        before = str(request.to_dict())
        await provider.chat(request, context)
        assert str(request.to_dict()) == before
