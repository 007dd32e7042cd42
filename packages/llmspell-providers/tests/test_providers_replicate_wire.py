"""Replicate's predictions: what is sent, what is made of them, and that none is left running."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    ExecutionContext,
    LLMTimeoutError,
    Media,
    Message,
    ModelInfo,
    Parameter,
    ProviderError,
    Services,
    ToolRequest,
    ToolSchema,
    Usage,
    ValidationError,
)
from llmspell_testing import Call, Fault, Gate, LoopbackServer, ModelServer, Reply

Ask = Callable[..., Any]

MODEL = "meta/llama-4-chat"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer("replicate") as running:
        yield running


async def test_a_prediction_is_created_as_the_protocol_says(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply("4 it is", usage=Usage(20, 3)))
    response = await asking(server, MODEL, defaults={"seed": 1}).chat(
        Message("system", "Be brief."),
        "1+1?",
        temperature=0.5,
        max_tokens=50,
        top_p=0.9,
        stop=("END", "STOP"),
        extra={"webhook": "https://example.com/hook"},
    )
    sent = server.requests[0]
    assert (sent.method, sent.target) == ("POST", f"/v1/models/{MODEL}/predictions")
    assert sent.headers["authorization"] == f"Bearer {server.key}"
    assert (sent.headers["prefer"], sent.headers["cancel-after"]) == ("wait=10", "30s")
    assert sent.json() == {
        "input": {
            "prompt": "1+1?",
            "system_prompt": "Be brief.",
            "temperature": 0.5,
            "max_tokens": 50,
            "top_p": 0.9,
            "seed": 1,
            "stop_sequences": "END,STOP",
        },
        "webhook": "https://example.com/hook",
    }
    assert len(server.requests) == 1
    assert response == ChatResponse(
        "4 it is", MODEL, (), "stop", Usage(20, 3), request_id="pred1", provider="replicate"
    )


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        (MODEL, f"/v1/models/{MODEL}/predictions", None),
        ("acme/mine:abc123", "/v1/predictions", "abc123"),
        ("a" * 64, "/v1/predictions", "a" * 64),
        ("deployments/acme/mine", "/v1/deployments/acme/mine/predictions", None),
    ],
)
async def test_models_versions_and_deployments_have_paths_of_their_own(
    server: ModelServer, asking: Ask, model: str, path: str, version: str | None
) -> None:
    server.answer("Hi")
    await asking(server, model).chat("Hello")
    assert server.requests[0].target == path
    assert server.requests[0].json().get("version") == version


async def test_a_conversation_is_one_prompt(server: ModelServer, asking: Ask) -> None:
    server.answer("Hi")
    await asking(server, MODEL).chat(
        "Hello",
        Message("assistant", "Hi!", (ToolRequest("t", "now", "{}"),)),
        Message("tool", "noon", tool_request_id="t"),
        "What time?",
    )
    assert server.calls[0].text == (
        "User: Hello\n\nAssistant: Hi!\n\nTool: noon\n\nUser: What time?\n\nAssistant:"
    )


@pytest.mark.parametrize(
    ("options", "pictures", "sent"),
    [
        ({}, 1, {"image": "data:image/png;base64,eDA="}),
        ({"image_field": "images"}, 1, {"images": ["data:image/png;base64,eDA="]}),
        (
            {"image_field": "images"},
            2,
            {"images": ["data:image/png;base64,eDA=", "data:image/png;base64,eDE="]},
        ),
    ],
)
async def test_pictures_go_where_the_model_wants_them(
    server: ModelServer, asking: Ask, options: dict[str, str], pictures: int, sent: dict[str, Any]
) -> None:
    server.answer("A cat.")
    media = tuple(Media("image/png", f"x{n}".encode()) for n in range(pictures))
    await asking(server, MODEL, **options).chat(Message("user", "What?", media=media))
    body = server.calls[0].body["input"]
    assert {key: body[key] for key in body if key != "prompt"} == sent


async def test_a_schema_is_told_in_words(server: ModelServer, asking: Ask) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    server.answer(Reply(data={"n": 1}))
    response = await asking(server, MODEL).chat("Count", response_format=form)
    assert json.loads(response.content) == {"n": 1}
    assert json.dumps(schema) in server.calls[0].body["input"]["system_prompt"]


async def test_what_models_there_cannot_do_is_refused_before_it_is_sent(
    server: ModelServer, asking: Ask
) -> None:
    ask = asking(server, MODEL)
    tool = ToolSchema("add", "Adds", (Parameter("a", "number"),))
    with pytest.raises(ValidationError, match="take no tools: add") as caught:
        await ask.chat("Go", tools=(tool,))
    assert caught.value.field == "tools"
    with pytest.raises(ValidationError, match="audio/wav"):
        await ask.chat(Message("user", "Hear", media=(Media("audio/wav", b"x"),)))
    assert server.requests == []


# Waiting


async def test_a_prediction_that_takes_longer_is_asked_for_until_it_ended(
    server: ModelServer, asking: Ask
) -> None:
    server.vendor.holds = False
    server.vendor.polls = 3
    server.answer(Reply("At last", usage=Usage(5, 2)))
    response = await asking(server, MODEL).chat("Hello")
    assert (response.content, response.usage) == ("At last", Usage(5, 2))
    assert [(r.method, r.target) for r in server.requests[1:]] == [
        ("GET", "/v1/predictions/pred1")
    ] * 3


async def test_a_stream_is_read_where_the_prediction_says(server: ModelServer, asking: Ask) -> None:
    gate = Gate()
    server.answer(Reply("one\ntwo three", between=gate, usage=Usage(5, 3)))
    ask = asking(server, MODEL)
    flow = ask.provider.stream(ask.request("Hello"), ask.context)
    assert await asyncio.wait_for(anext(flow), 10) == ChatChunk("one")
    assert not server.calls[0].answered.is_set()
    gate.open()
    chunks = [chunk async for chunk in flow]
    assert "".join(chunk.text for chunk in chunks) == "\ntwo three"
    assert chunks[-1].response == ChatResponse(
        "one\ntwo three", MODEL, (), "stop", Usage(5, 3), "pred1", provider="replicate"
    )
    assert [(r.method, r.target) for r in server.requests] == [
        ("POST", f"/v1/models/{MODEL}/predictions"),
        ("GET", "/v1/stream/pred1"),
        ("GET", "/v1/predictions/pred1"),
    ]
    assert server.requests[0].json()["stream"] is True


async def test_a_model_that_does_not_stream_is_waited_for(server: ModelServer, asking: Ask) -> None:
    server.vendor.streams = False
    server.answer("All at once")
    chunks = await asking(server, MODEL).stream("Hello")
    assert [chunk.text for chunk in chunks] == ["All at once", ""]


async def test_the_key_is_not_told_to_a_stream_at_another_host(asking: Ask) -> None:
    async with LoopbackServer() as elsewhere, LoopbackServer() as plain:
        stream = f"http://localhost:{elsewhere.port}/s"
        made = {"id": "p1", "status": "starting", "urls": {"stream": stream}}
        plain.answer_json(made, status=201)
        elsewhere.answer_events("Hi", done=None)
        plain.answer_json({**made, "status": "succeeded", "output": ["Hi"]})
        plain.answer_json({})
        table = {"base_url": plain.url, "api_key": "r8_secret", "max_retries": 0}
        async with Services({"providers": {"replicate": table}}) as services:
            provider, model = services.providers.resolve(f"replicate/{MODEL}")
            flow = provider.stream(_hello(model), ExecutionContext(services))
            with pytest.raises(ProviderError, match="the stream ended early"):
                _ = [chunk async for chunk in flow]
        assert "authorization" not in elsewhere.requests[0].headers
        assert plain.requests[0].headers["authorization"] == "Bearer r8_secret"
        assert [r.target for r in plain.requests][1:] == ["/v1/predictions/p1/cancel"]


def _hello(model: str) -> ChatRequest:
    return ChatRequest(model, (Message("user", "Hello"),))


# Nothing is left running


async def test_a_cancelled_stream_cancels_the_prediction(server: ModelServer, asking: Ask) -> None:
    server.answer(Reply("one two three", between=Gate()))
    ask = asking(server, MODEL)
    flow = ask.provider.stream(ask.request("Hello"), ask.context)
    await anext(flow)
    waiting = asyncio.ensure_future(anext(flow))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert server.vendor.cancelled == ["pred1"]
    await asyncio.to_thread(server.calls[0].disconnected.wait_blocking)


async def test_a_stream_that_is_left_cancels_the_prediction(
    server: ModelServer, asking: Ask
) -> None:
    server.answer(Reply("one two three", between=Gate()))
    ask = asking(server, MODEL)
    flow = ask.provider.stream(ask.request("Hello"), ask.context)
    await anext(flow)
    await flow.aclose()
    assert server.vendor.cancelled == ["pred1"]


async def test_a_cancelled_chat_cancels_the_prediction(server: ModelServer, asking: Ask) -> None:
    server.vendor.holds = False
    server.vendor.polls = 10**9
    polled = Gate()

    def poll(_: Call) -> Reply:
        polled.open()
        return Reply()

    server.answer("never")
    server.answer(poll, to="poll")
    ask = asking(server, MODEL)
    asked = asyncio.ensure_future(ask.chat("Hello"))
    await asyncio.wait_for(polled.wait(), 10)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert server.vendor.cancelled == ["pred1"]


async def test_a_prediction_that_takes_too_long_is_cancelled(
    server: ModelServer, asking: Ask
) -> None:
    server.vendor.holds = False
    server.vendor.polls = 10**9
    server.answer("never")
    ask = asking(server, MODEL, timeout_seconds=0.5)
    with pytest.raises(LLMTimeoutError, match=r"did not complete its answer within 0\.5s"):
        await ask.chat("Hello")
    assert server.vendor.cancelled == ["pred1"]


async def test_a_finished_prediction_is_not_cancelled(server: ModelServer, asking: Ask) -> None:
    server.answer_always("Hi there")
    ask = asking(server, MODEL)
    await ask.chat("Hello")
    await ask.stream("Hello")
    assert server.vendor.cancelled == []


# Failures


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Fault("auth"), "auth"),
        (Fault("quota"), "quota"),
        (Fault("model_not_found"), "model_not_found"),
        (Fault("invalid_request", status=422), "invalid_request"),
        (Fault("server"), "server"),
        (Fault("error_event"), "server"),
        (Fault("cut"), "protocol"),
        (Fault("no_body"), "protocol"),
        (Reply("x", finish_reason="content_filter"), "content_filter"),
        (Reply(""), "protocol"),
    ],
)
async def test_what_is_no_answer_is_a_typed_error(
    server: ModelServer, asking: Ask, answer: Any, kind: str, stream: bool
) -> None:
    server.answer(answer)
    error = await asking(server, MODEL).failure(stream=stream)
    assert isinstance(error, ProviderError)
    assert error.kind == kind


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        ({"id": "p", "status": "failed", "error": "CUDA out of memory"}, "CUDA out of memory"),
        ({"id": "p", "status": "canceled"}, "the prediction was canceled"),
        ({"id": "p", "status": "aborted"}, "the prediction was aborted"),
        ({"status": "succeeded"}, "without an 'id'"),
        ({"id": "p", "status": "succeeded", "metrics": 5}, "the answer is empty"),
    ],
)
async def test_a_prediction_that_failed_says_why(
    asking: Ask, prediction: dict[str, Any], words: str
) -> None:
    async with LoopbackServer() as plain:
        plain.answer_json(prediction, status=201)
        table = {"base_url": plain.url, "max_retries": 0}
        async with Services({"providers": {"replicate": table}}) as services:
            provider, model = services.providers.resolve(f"replicate/{MODEL}")
            with pytest.raises(ProviderError) as caught:
                await provider.chat(_hello(model), ExecutionContext(services))
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("output", "text"), [("Hi", "Hi"), (["a", "b"], "ab"), ({"n": 1}, '{"n": 1}')]
)
async def test_any_kind_of_output_is_a_text(asking: Ask, output: Any, text: str) -> None:
    async with LoopbackServer() as plain:
        plain.answer_json({"id": "p", "status": "succeeded", "output": output}, status=201)
        async with Services({"providers": {"replicate": {"base_url": plain.url}}}) as services:
            provider, model = services.providers.resolve(f"replicate/{MODEL}")
            response = await provider.chat(_hello(model), ExecutionContext(services))
    assert response.content == text
    assert response.usage is not None
    assert response.usage.estimated


async def test_language_models_are_listed_and_a_check_asks_for_the_account(
    asking: Ask,
) -> None:
    async with ModelServer("replicate", models=["b/two", "a/one"]) as server:
        ask = asking(server, "a/one")
        await ask.provider.check()
        found = await ask.provider.models()
        targets = [request.target for request in server.requests]
    assert found == [ModelInfo("a/one", owner="a"), ModelInfo("b/two", owner="b")]
    assert targets == ["/v1/account", "/v1/collections/language-models"]
