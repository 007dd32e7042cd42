"""Whatever a vendor sends in the place of what its documentation says, it is a typed error or an
answer; nothing else ever comes out.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ChatResponse,
    ExecutionContext,
    LLMSpellError,
    Message,
    Parameter,
    Services,
    ToolSchema,
    Usage,
)
from llmspell_testing import (
    Call,
    HttpRequest,
    LoopbackServer,
    ModelServer,
    Reply,
    http_chunk,
    http_head,
    http_response,
    model_vendors,
)

JUNK: list[Any] = [None, True, -1, 1.5, "", "x", [], [5], ["x"], {}, {"x": 1}, [{}], [[]]]
ROUNDS = 40
TOOLS = (ToolSchema("add", "Adds", (Parameter("a", "number", required=True),)),)
GIVEN = Usage(10, 5, 3, 1, 2)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all nodes of a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, below in inner:
        yield from places(below, (*path, key))


def damaged(value: Any, chance: random.Random) -> Any:
    """*value* with one node replaced or left out."""
    made = copy.deepcopy(value)
    path = chance.choice(list(places(made)))
    if not path:
        return chance.choice(JUNK)
    holder = made
    for key in path[:-1]:
        holder = holder[key]
    if isinstance(holder, dict) and chance.random() < 0.3:
        del holder[path[-1]]
    else:
        holder[path[-1]] = chance.choice(JUNK)
    return made


def damaged_frame(frame: bytes, chance: random.Random) -> bytes:
    """A frame whose JSON is damaged; one without JSON as it is."""
    lines = frame.decode().split("\n")
    for index, line in enumerate(lines):
        head, data = ("data: ", line[6:]) if line.startswith("data: ") else ("", line)
        if data.startswith("{"):
            lines[index] = head + json.dumps(damaged(json.loads(data), chance))
    return "\n".join(lines).encode()


def asked(vendor: str) -> ChatRequest:
    tools = () if vendor in {"perplexity", "replicate"} else TOOLS
    return ChatRequest("test-model", (Message("user", "Hello"),), tools=tools)


def reply(vendor: str) -> Reply:
    tools = [] if vendor in {"perplexity", "replicate"} else [("add", {"a": 1}), ("add", {"a": 2})]
    return Reply("some words", tools=tools, reasoning="some thoughts", usage=GIVEN)


def call(vendor: str, request: HttpRequest) -> Call:
    body: Any = {"stream_options": {"include_usage": True}, "input": {}, "messages": []}
    return Call(request, "chat", "test-model", body=body)


async def outcome(server: LoopbackServer, vendor: str, *, stream: bool) -> None:
    kind = "openai" if vendor == "custom" else vendor
    table = {"provider_type": kind, "base_url": server.url, "api_key": "k", "max_retries": 0}
    async with Services({"providers": {"v": {**table, "timeout_seconds": 2}}}) as services:
        provider, _ = services.providers.resolve("v/test-model")
        context = ExecutionContext(services)
        for _ in range(ROUNDS):
            try:
                if stream:
                    chunks = [c async for c in provider.stream(asked(vendor), context)]
                    response = chunks[-1].response
                else:
                    response = await provider.chat(asked(vendor), context)
            except LLMSpellError:
                continue
            assert isinstance(response, ChatResponse)
            assert response.content.strip() or response.tool_requests
            json.dumps(response.to_dict())


@pytest.mark.parametrize("vendor", model_vendors())
async def test_a_damaged_body_is_an_error_or_an_answer(vendor: str) -> None:
    chance = random.Random(vendor)
    playing = ModelServer(vendor).vendor
    async with LoopbackServer() as server:

        def answer(request: HttpRequest) -> list[bytes]:
            whole = playing.whole(call(vendor, request), reply(vendor))
            return [http_response(json.dumps(damaged(whole, chance)))]

        for _ in range(ROUNDS * 4):
            server.answer_with(answer)
        await outcome(server, vendor, stream=False)


@pytest.mark.parametrize("vendor", sorted({*model_vendors()} - {"replicate"}))
async def test_a_damaged_stream_is_an_error_or_an_answer(vendor: str) -> None:
    chance = random.Random(vendor)
    playing = ModelServer(vendor).vendor
    head = http_head(200, {"content-type": playing.stream_type}, chunked=True)
    async with LoopbackServer() as server:

        def answer(request: HttpRequest) -> list[bytes]:
            frames = [f.data for f in playing.frames(call(vendor, request), reply(vendor))]
            at = chance.randrange(len(frames))
            frames[at] = damaged_frame(frames[at], chance)
            return [head, *(http_chunk(frame) for frame in frames), http_chunk(b"")]

        for _ in range(ROUNDS * 2):
            server.answer_with(answer)
        await outcome(server, vendor, stream=True)
