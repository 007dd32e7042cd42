"""The model server as OpenAI's own client sees it: a client that nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_type_hints

import pytest

from llmspell_core import Usage
from llmspell_testing import Fault, ModelServer, Reply

openai = pytest.importorskip("openai", reason="OpenAI's client is not installed")

HELLO: Any = [{"role": "user", "content": "Hello"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}
USAGE = Usage(100, 40, cached_tokens=64, cache_write_tokens=8, reasoning_tokens=30)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer("openai", models=["gpt-4o", "o3", "embed"]) as running:
        yield running


@pytest.fixture
async def client(server: ModelServer) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        base_url=server.base_url, api_key=server.key, max_retries=0, timeout=20
    ) as made:
        yield made


async def test_a_completion_is_what_the_client_expects(server: ModelServer, client: Any) -> None:
    server.answer(Reply("Hi!", usage=USAGE), Reply(tools=[("add", {"a": 1}), ("add", "{bad")]))
    first = await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (first.choices[0].message.content, first.choices[0].finish_reason) == ("Hi!", "stop")
    assert first.usage.prompt_tokens_details.cached_tokens == 64
    assert first.usage.completion_tokens_details.reasoning_tokens == 30
    second = await client.chat.completions.create(model="gpt-4o", messages=HELLO, tools=[TOOL])
    calls = second.choices[0].message.tool_calls
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ("add", '{"a": 1}'),
        ("add", "{bad"),
    ]
    assert len({c.id for c in calls}) == 2


async def test_a_stream_is_put_together_by_the_client(server: ModelServer, client: Any) -> None:
    server.answer(Reply("one two three", tools=[("add", {"a": [1, 2]})], usage=USAGE))
    async with client.chat.completions.stream(
        model="gpt-4o", messages=HELLO, tools=[TOOL], stream_options={"include_usage": True}
    ) as stream:
        events = [event async for event in stream]
        whole = await stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta"]
    assert [delta for delta in deltas if delta] == ["one", " two", " three"]
    message = whole.choices[0].message
    assert message.content == "one two three"
    assert json.loads(message.tool_calls[0].function.arguments) == {"a": [1, 2]}
    assert whole.usage.total_tokens == 140


async def test_a_response_is_what_the_client_expects(server: ModelServer, client: Any) -> None:
    reply = Reply("Hi!", tools=[("add", {"a": 1})], reasoning="Let me think.", usage=USAGE)
    server.answer(reply, reply)
    asked: Any = {
        "model": "o3",
        "input": "Hello",
        "tools": [{"type": "function", "name": "add", "parameters": {}, "strict": False}],
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    whole = await client.responses.create(**asked)
    async with client.responses.stream(**asked) as stream:
        kinds = [event.type async for event in stream]
        streamed = await stream.get_final_response()
    for made in (whole, streamed):
        assert made.output_text == "Hi!"
        assert [item.type for item in made.output] == ["reasoning", "message", "function_call"]
        assert made.output[0].summary[0].text == "Let me think."
        assert made.output[0].encrypted_content
        assert made.output[2].arguments == '{"a": 1}'
        assert made.usage.input_tokens_details.cached_tokens == 64
        assert made.usage.output_tokens_details.reasoning_tokens == 30
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert "response.reasoning_summary_text.delta" in kinds
    assert "response.function_call_arguments.delta" in kinds


async def test_a_conversation_goes_back_as_the_client_has_it(
    server: ModelServer, client: Any
) -> None:
    server.answer(Reply(tools=[("add", {"a": 1})], reasoning="Hm."), "Two.")
    tools: Any = [{"type": "function", "name": "add", "parameters": {}, "strict": False}]
    more: Any = {"include": ["reasoning.encrypted_content"], "store": False, "tools": tools}
    first = await client.responses.create(model="o3", input="1+1?", **more)
    items: Any = [{"role": "user", "content": "1+1?"}, *first.output]
    items.append(
        {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "2"}
    )
    second = await client.responses.create(model="o3", input=items, **more)
    assert second.output_text == "Two."
    roles = [message.role for message in server.calls[1].messages]
    assert roles == ["user", "assistant", "tool"]


async def test_vectors_and_models_are_what_the_client_expects(
    server: ModelServer, client: Any
) -> None:
    # The client asks for base64 unless it is told otherwise.
    packed = await client.embeddings.create(model="embed", input=["a b", "c"])
    plain = await client.embeddings.create(
        model="embed", input=["a b", "c"], encoding_format="float"
    )
    assert [row.embedding for row in packed.data] == [row.embedding for row in plain.data]
    assert len(packed.data[0].embedding) == 64
    names = [model.id async for model in client.models.list()]
    assert names == ["gpt-4o", "o3", "embed"]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("auth", "AuthenticationError"),
        ("forbidden", "PermissionDeniedError"),
        ("model_not_found", "NotFoundError"),
        ("invalid_request", "BadRequestError"),
        ("context_length", "BadRequestError"),
        ("conflict", "ConflictError"),
        ("rate_limit", "RateLimitError"),
        ("quota", "RateLimitError"),
        ("server", "InternalServerError"),
        ("unavailable", "InternalServerError"),
    ],
)
async def test_faults_are_the_clients_errors(
    server: ModelServer, client: Any, fault: str, error: str
) -> None:
    server.answer(Fault(fault, message="as told", retry_after=3))
    with pytest.raises(getattr(openai, error)) as caught:
        await client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert "as told" in str(caught.value)
    assert caught.value.response.headers["retry-after"] == "3"
    if fault == "context_length":
        assert caught.value.code == "context_length_exceeded"


async def test_an_error_inside_a_stream_is_the_clients_error(
    server: ModelServer, client: Any
) -> None:
    server.answer(Fault("error_event", message="as told"))
    with pytest.raises(openai.APIError, match="as told"):
        async for _ in await client.chat.completions.create(
            model="gpt-4o", messages=HELLO, stream=True
        ):
            pass


async def test_an_unknown_model_and_a_wrong_key_are_refused(
    server: ModelServer, client: Any
) -> None:
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="gpt-99", messages=HELLO)
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="sk-wrong").models.list()


def test_no_field_is_accepted_that_the_client_does_not_know() -> None:
    from openai.types.chat import completion_create_params
    from openai.types.responses import response_create_params

    from llmspell_testing.vendors._openai import CHAT
    from llmspell_testing.vendors._responses import RESPONSES

    for shape, known in (
        (CHAT, completion_create_params.CompletionCreateParamsBase),
        (RESPONSES, response_create_params.ResponseCreateParamsBase),
    ):
        names = {*get_type_hints(known), "stream"}
        assert {key.rstrip("?") for key in shape} <= names
