"""Where OpenAI's protocols and those who speak them differ from each other."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ConfigurationError,
    EmbeddingRequest,
    Media,
    Message,
    Parameter,
    Provider,
    ProviderError,
    ProviderSettings,
    ToolRequest,
    ToolSchema,
    ValidationError,
)
from llmspell_providers import AzureProvider, OpenAIProvider
from llmspell_testing import ModelServer, Reply, make_context, make_services

ADD = ToolSchema("add", "Adds", (Parameter("a", "number", required=True),))
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


@asynccontextmanager
async def at(server: ModelServer, **options: Any) -> AsyncIterator[Provider]:
    name = server.vendor.name
    factory = AzureProvider if name == "azure" else OpenAIProvider
    settings = ProviderSettings(name, name, server.base_url, server.key, options=options)
    provider = factory(settings, make_services())
    try:
        yield provider
    finally:
        await provider.aclose()


def asked(model: str, *messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(model, messages or (Message("user", "Hello"),), **fields)


async def body_of(vendor: str, request: ChatRequest, **options: Any) -> dict[str, Any]:
    """What is sent; the server has checked it against the documentation."""
    async with ModelServer(vendor, "ok") as server, at(server, **options) as provider:
        await provider.chat(request, make_context())
        return server.calls[0].body


@pytest.mark.parametrize(
    ("vendor", "model", "field"),
    [
        ("openai", "gpt-5-mini", "max_completion_tokens"),
        ("openai", "o3", "max_completion_tokens"),
        ("openai", "gpt-5.6", "max_completion_tokens"),
        ("openai", "gpt-4o", "max_tokens"),
        ("azure", "o3", "max_completion_tokens"),
        ("custom", "o3", "max_tokens"),
        ("groq", "any", "max_completion_tokens"),
        ("xai", "any", "max_completion_tokens"),
        ("mistral", "any", "max_tokens"),
    ],
)
async def test_the_limit_has_the_name_the_model_wants(vendor: str, model: str, field: str) -> None:
    if vendor == "custom":
        # The server plays OpenAI's rules for OpenAI's names; this one is somebody else's.
        model = "o3-of-mine"
    async with ModelServer(vendor) as server, at(server) as provider:
        path, body = provider.chat_call(asked(model, max_tokens=50), stream=False)  # type: ignore[attr-defined]
    assert body[field] == 50
    assert len(body.keys() & {"max_tokens", "max_completion_tokens"}) == 1
    assert path.startswith("/")


async def test_a_configured_limit_gets_the_same_name() -> None:
    body = await body_of("openai", asked("o3"), defaults={"max_tokens": 70})
    assert body["max_completion_tokens"] == 70
    assert "max_tokens" not in body


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_sampling_that_a_model_refuses_is_left_out_and_told_once(
    api: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with ModelServer("openai", "a", "b") as server, at(server, api=api) as provider:
        for _ in range(2):
            await provider.chat(asked("gpt-5", temperature=0.2, top_p=0.5), make_context())
        assert not server.calls[0].body.keys() & {"temperature", "top_p"}
    assert [r.message for r in caplog.records if r.levelno == logging.WARNING] == [
        "gpt-5 refuses temperature and top_p: asked without"
    ]


async def test_mistral_gets_ids_of_nine_characters_and_its_own_words() -> None:
    messages = (
        Message("user", "Hi", name="ada"),
        Message("assistant", "", (ToolRequest("call_from_another_vendor", "add", "{}"),)),
        Message("tool", "1", tool_request_id="call_from_another_vendor"),
    )
    request = asked("m", *messages, tools=(ADD,), tool_choice="required", seed=7)
    body = await body_of("mistral", request)
    call, result = body["messages"][1]["tool_calls"][0], body["messages"][2]
    assert call["id"] == result["tool_call_id"]
    assert len(call["id"]) == 9
    assert (body["tool_choice"], body["random_seed"]) == ("any", 7)
    assert "name" not in body["messages"][0]


async def test_a_name_is_sent_where_it_is_taken() -> None:
    body = await body_of("openai", asked("m", Message("user", "Hi", name="ada")))
    assert body["messages"][0]["name"] == "ada"


@pytest.mark.parametrize("vendor", ["deepseek", "lmstudio", "perplexity"])
async def test_any_json_is_asked_for_in_the_vendors_way(vendor: str) -> None:
    request = asked("m", Message("user", "JSON?"), response_format={"type": "json_object"})
    body = await body_of(vendor, request)
    wanted = "json_object" if vendor == "deepseek" else "json_schema"
    assert body["response_format"]["type"] == wanted


async def test_a_schema_goes_with_its_name_and_strictness() -> None:
    inner = {"name": "place", "schema": {**SCHEMA, "additionalProperties": False}, "strict": True}
    form = {"type": "json_schema", "json_schema": inner}
    chat = await body_of("openai", asked("m", response_format=form))
    assert chat["response_format"] == form
    responses = await body_of("openai", asked("m", response_format=form), api="responses")
    assert responses["text"]["format"] == {"type": "json_schema", **inner}


@pytest.mark.parametrize("vendor", ["openai", "openai:responses"])
async def test_pictures_of_a_tool_come_with_its_result(vendor: str) -> None:
    name, _, api = vendor.partition(":")
    picture = Media("image/png", data=b"\x89PNG")
    calls = (ToolRequest("call_a", "add", "{}"), ToolRequest("call_b", "add", "{}"))
    messages = (
        Message("user", "Draw"),
        Message("assistant", "", calls),
        Message("tool", "done", tool_request_id="call_a", media=(picture,)),
        Message("tool", "none", tool_request_id="call_b"),
    )
    async with ModelServer(name, "ok") as server, at(server, api=api or "chat") as provider:
        await provider.chat(asked("m", *messages, tools=(ADD,)), make_context())
        seen = server.calls[0].messages
    assert [m.role for m in seen][:4] == ["user", "assistant", "tool", "tool"]
    shown = seen[2] if api else seen[4]
    assert shown.media == (picture,)
    assert "call_a" in shown.content or api


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (Media("image/jpeg", url="https://h/p.jpg"), "image_url"),
        (Media("audio/wav", data=b"RIFF"), "input_audio"),
        (Media("application/pdf", data=b"%PDF"), "file"),
    ],
)
async def test_media_are_sent_as_their_kind_wants(media: Media, part: str) -> None:
    body = await body_of("openai", asked("m", Message("user", "See", media=(media,))))
    assert [p["type"] for p in body["messages"][0]["content"]] == ["text", part]


@pytest.mark.parametrize("role", ["system", "assistant"])
async def test_media_elsewhere_than_with_a_user_are_refused(role: str) -> None:
    message = Message(role, "x", media=(Media("image/png", data=b"x"),))
    with pytest.raises(ValidationError, match=f"not with one of role '{role}'"):
        await body_of("openai", asked("m", message))


async def test_the_responses_api_is_chosen_by_option_and_by_name() -> None:
    by_option = await body_of("openai", asked("gpt-4o"), api="responses")
    by_name = await body_of("openai", asked("responses/gpt-4o"))
    assert by_option == by_name
    assert (by_name["model"], by_name["store"]) == ("gpt-4o", False)
    assert by_name["input"] == [{"role": "user", "content": "Hello"}]


async def test_words_of_completions_are_translated_for_responses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = asked(
        "o3",
        max_tokens=500,
        stop=("END",),
        seed=3,
        extra={"reasoning_effort": "low", "verbosity": "high", "reasoning": {"summary": "auto"}},
    )
    body = await body_of("openai", request, api="responses")
    assert body["max_output_tokens"] == 500
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}
    assert body["text"] == {"verbosity": "high"}
    assert body["include"] == ["reasoning.encrypted_content"]
    assert not body.keys() & {"stop", "seed", "max_tokens"}
    assert "the Responses API has no stop, seed: asked without" in caplog.text


async def test_thoughts_that_did_not_come_encrypted_are_not_named_again() -> None:
    reply = Reply(tools=[("add", {"a": 1})], reasoning="Hm.")
    server = ModelServer("openai", reply, "Done.")
    async with server, at(server, api="responses") as provider:
        # Nothing says that this model thinks, so its thoughts were not asked for.
        question = asked("new-model", tools=(ADD,))
        first = await provider.chat(question, make_context())
        assert (first.reasoning, first.carry) == ("Hm.", None)
        answer = Message("assistant", "", first.tool_requests, carry=first.carry)
        result = Message("tool", "1", tool_request_id=first.tool_requests[0].id)
        messages = (*question.messages, answer, result)
        await provider.chat(replace(question, messages=messages), make_context())


async def test_thoughts_of_another_model_are_left_out() -> None:
    reply = Reply(tools=[("add", {"a": 1})], reasoning="Hm.")
    async with ModelServer("openai", reply, "Done.") as server:
        async with at(server, api="responses") as provider:
            question = asked("o3", tools=(ADD,))
            first = await provider.chat(question, make_context())
            answer = Message("assistant", "", first.tool_requests, carry=first.carry)
            result = Message("tool", "1", tool_request_id=first.tool_requests[0].id)
            messages = (*question.messages, answer, result)
            other = replace(question, model="o4-mini", messages=messages)
            await provider.chat(other, make_context())
        kinds = [item.get("type") for item in server.calls[1].body["input"]]
    assert kinds == [None, "function_call", "function_call_output"]


@pytest.mark.parametrize("api", [5, "completions", None])
def test_an_api_that_is_none_is_refused(api: Any) -> None:
    with pytest.raises(ConfigurationError, match="it may be 'chat' or 'responses'"):
        OpenAIProvider(ProviderSettings("x", "openai", options={"api": api}), make_services())


def test_the_responses_api_of_a_vendor_without_one_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'mistral' has no Responses API"):
        OpenAIProvider(
            ProviderSettings("mistral", "mistral", options={"api": "responses"}), make_services()
        )


async def test_organization_and_project_go_into_headers() -> None:
    options = {"organization": "org-1", "project": "proj-2"}
    async with ModelServer("openai", "ok") as server, at(server, **options) as provider:
        await provider.chat(asked("m"), make_context())
        headers = server.requests[0].headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-2")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("vendor", ["perplexity"])
async def test_sources_are_told_once_each(vendor: str, stream: bool) -> None:
    async with ModelServer(vendor, "From the web.") as server, at(server) as provider:
        if stream:
            flow = provider.stream(asked("sonar"), make_context())
            response = [chunk async for chunk in flow][-1].response
        else:
            response = await provider.chat(asked("sonar"), make_context())
    assert response is not None
    assert response.citations == ("https://example.org/a", "https://example.org/b")


@pytest.mark.parametrize(
    ("vendor", "window"),
    [
        ("groq", 131_072),
        ("mistral", 131_072),
        ("together", 131_072),
        ("fireworks", 131_072),
        ("openrouter", 200_000),
        ("vllm", 40_960),
        ("llama_cpp", 32_768),
        ("openai", None),
    ],
)
async def test_the_size_of_a_model_is_read_in_every_vendors_words(
    vendor: str, window: int | None
) -> None:
    async with ModelServer(vendor) as server, at(server) as provider:
        (model,) = await provider.models()
    assert (model.id, model.context_tokens) == ("test-model", window)


@pytest.mark.parametrize("version", [None, "2024-10-21"])
@pytest.mark.parametrize("suffix", ["", "/", "/openai", "/openai/v1/"])
async def test_azure_is_asked_at_the_deployment(version: str | None, suffix: str) -> None:
    options = {} if version is None else {"api_version": version}
    async with ModelServer("azure", "ok", "ok") as server:
        settings = ProviderSettings(
            "azure", "azure", server.url + suffix, server.key, options=options
        )
        provider = AzureProvider(settings, make_services())
        await provider.chat(asked("my deployment"), make_context())
        await provider.embed(EmbeddingRequest("embeds", ("x",)), make_context())
        await provider.aclose()
        targets = [request.target for request in server.requests]
        assert [call.model for call in server.calls] == ["my deployment", "embeds"]
        assert server.requests[0].headers["api-key"] == server.key
        assert "authorization" not in server.requests[0].headers
    if version is None:
        assert targets == ["/openai/v1/chat/completions", "/openai/v1/embeddings"]
    else:
        start = "/openai/deployments"
        assert targets == [
            f"{start}/my%20deployment/chat/completions?api-version={version}",
            f"{start}/embeds/embeddings?api-version={version}",
        ]


@pytest.mark.parametrize("version", [None, "2025-04-01-preview"])
async def test_azure_has_the_responses_api_too(version: str | None) -> None:
    options: dict[str, Any] = {"api": "responses"}
    if version is not None:
        options["api_version"] = version
    async with ModelServer("azure", "ok") as server, at(server, **options) as provider:
        response = await provider.chat(asked("my-gpt"), make_context())
        target = server.requests[0].target
    assert response.content == "ok"
    dated = f"/openai/responses?api-version={version}"
    assert target == ("/openai/v1/responses" if version is None else dated)


async def test_a_configured_deployment_stands_for_every_chat_model() -> None:
    async with ModelServer("azure", "ok") as server:
        async with at(server, deployment_name="prod", api_version="2024-10-21") as provider:
            response = await provider.chat(asked("gpt-4o"), make_context())
        assert server.calls[0].model == "prod"
    assert response.model == "prod"


async def test_azure_without_an_address_or_a_key_says_what_is_missing() -> None:
    provider = AzureProvider(ProviderSettings("azure", "azure", api_key="k" * 8), make_services())
    with pytest.raises(ConfigurationError, match="'azure' has no address") as caught:
        await provider.chat(asked("m"), make_context())
    assert "AZURE_OPENAI_ENDPOINT" in (caught.value.hint or "")
    async with ModelServer("azure") as server:
        settings = ProviderSettings("azure", "azure", server.base_url)
        keyless = AzureProvider(settings, make_services())
        with pytest.raises(ProviderError, match="Azure OpenAI API key required") as missing:
            await keyless.chat(asked("m"), make_context())
        assert "AZURE_OPENAI_API_KEY" in (missing.value.hint or "")
        assert server.requests == []


@pytest.mark.parametrize("vendor", ["llama_cpp", "lmstudio", "vllm"])
async def test_a_server_of_ones_own_is_asked_without_a_key(vendor: str) -> None:
    async with ModelServer(vendor, "ok") as server:
        # As it is often written, without the path.
        provider = OpenAIProvider(ProviderSettings(vendor, vendor, server.url), make_services())
        await provider.chat(asked("m"), make_context())
        await provider.aclose()
        (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert "authorization" not in request.headers


async def test_shorter_vectors_are_refused_where_nobody_can_make_them() -> None:
    async with ModelServer("together") as server, at(server) as provider:
        with pytest.raises(ValidationError, match="cannot shorten its vectors"):
            await provider.embed(EmbeddingRequest("m", ("x",), 8), make_context())
        with pytest.raises(ValidationError, match="an empty text"):
            await provider.embed(EmbeddingRequest("m", ("x", "")), make_context())
        assert server.requests == []
