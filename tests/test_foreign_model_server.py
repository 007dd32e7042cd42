"""Our providers against a server that nobody here wrote: aimock, from npm.

https://www.npmjs.com/package/@copilotkit/aimock — MIT, no dependencies; installed once into the
temporary directory of the user.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    ExecutionContext,
    Message,
    Parameter,
    Provider,
    ProviderError,
    RateLimitError,
    Services,
    ToolSchema,
    Usage,
)

from .conftest import User

pytestmark = [pytest.mark.slow]

PACKAGE = "@copilotkit/aimock@1.43.0"
KEY = "test-key-0123456789"

USAGE = {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30}
FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": "Hello from afar! \U0001f511"}},
    {
        "match": {"userMessage": "weather", "hasToolResult": False},
        "response": {
            "toolCalls": [
                {"name": "weather", "arguments": '{"city": "Köln"}'},
                {"name": "weather", "arguments": '{"city": "Bonn"}'},
            ]
        },
    },
    {
        "match": {"userMessage": "weather", "hasToolResult": True},
        "response": {"content": "Rain in both."},
    },
    {"match": {"userMessage": "where"}, "response": {"content": '{"city": "Bonn"}'}},
    {
        "match": {"userMessage": "slow down"},
        "response": {
            "error": {"message": "Too many requests", "type": "rate_limit_error"},
            "status": 429,
            "retryAfter": 9,
        },
    },
    {
        "match": {"userMessage": "break"},
        "response": {"error": {"message": "it broke", "type": "server_error"}, "status": 500},
    },
    {"match": {"userMessage": "usage"}, "response": {"content": "Counted.", "usage": USAGE}},
    {
        "match": {"userMessage": "think"},
        "response": {"content": "It is 4.", "reasoning": "Two and two."},
    },
    {"match": {"inputText": "a text"}, "response": {"embedding": [0.25, 0.5, -1.0]}},
]

BASES = {
    "anthropic": "",
    "azure": "",
    "cohere": "",
    "gemini": "",
    "ollama": "",
    "openai": "/v1",
    "openrouter": "/api/v1",
}
WEATHER = ToolSchema("weather", "The weather", (Parameter("city", "string", required=True),))


def program() -> Path:
    """The installed server; the test is skipped where it cannot be had."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("aimock needs node and npm, which are not installed")
    folder = Path(tempfile.gettempdir()) / f"llmspell-aimock-{PACKAGE.rpartition('@')[2]}"
    found = folder / "node_modules" / ".bin" / "llmock"
    if not found.exists():
        fresh = tempfile.mkdtemp(dir=folder.parent, prefix="llmspell-aimock-")
        command = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", fresh]
        done = subprocess.run(
            [*command, PACKAGE], capture_output=True, text=True, timeout=100, check=False
        )
        try:
            if done.returncode == 0:
                # Whole or not at all: other processes may be installing it too.
                os.rename(fresh, folder)
        except OSError:
            pass
        shutil.rmtree(fresh, ignore_errors=True)
        if not found.exists():
            pytest.skip(f"npm cannot install {PACKAGE}: {done.stderr[-200:]}")
    return found


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the running server."""
    llmock = program()
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [llmock, "-p", str(port), "-f", fixtures, "--strict", "--log-level", "silent"]
    environment = {**os.environ, "AIMOCK_API_KEYS": KEY}
    with subprocess.Popen(
        [str(word) for word in command], env=environment, stdout=subprocess.DEVNULL
    ) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(url, server)
            yield url
        finally:
            server.terminate()


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        assert server.poll() is None, "aimock ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    pytest.fail("aimock did not start")


def services_for(foreign: str, name: str, key: str = KEY, **options: Any) -> Services:
    table = {"base_url": foreign + BASES[name], "api_key": key, "max_retries": 0, **options}
    return Services({"providers": {name: table}})


async def answer(
    provider: Provider, request: ChatRequest, context: ExecutionContext, *, stream: bool
) -> ChatResponse:
    if not stream:
        return await provider.chat(request, context)
    chunks = [chunk async for chunk in provider.stream(request, context)]
    whole = chunks[-1].response
    assert whole is not None
    assert "".join(chunk.text for chunk in chunks) == whole.content
    assert len([chunk for chunk in chunks if chunk.text]) > 1 or len(whole.content) <= 20
    return whole


WAYS = [(name, {}) for name in BASES] + [
    ("openai", {"api": "responses"}),
    ("azure", {"api_version": "2024-10-21"}),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("name", "options"), WAYS, ids=[f"{n}-{next(iter(o), 'usual')}" for n, o in WAYS]
)
async def test_a_foreign_server_is_understood(
    foreign: str, name: str, options: dict[str, Any], stream: bool
) -> None:
    async with services_for(foreign, name, **options) as services:
        provider, model = services.providers.resolve(f"{name}/gpt-4o")
        context = ExecutionContext(services)

        async def said(*messages: Message, **fields: Any) -> ChatResponse:
            request = ChatRequest(model, messages, **fields)
            return await answer(provider, request, context, stream=stream)

        response = await said(Message("system", "Be kind."), Message("user", "hello"))
        assert (response.content, response.finish_reason) == (
            "Hello from afar! \U0001f511",
            "stop",
        )

        question = Message("user", "weather?")
        first = await said(question, tools=(WEATHER,))
        assert [json.loads(call.arguments) for call in first.tool_requests] == [
            {"city": "Köln"},
            {"city": "Bonn"},
        ]
        results = [
            Message("tool", "rain", tool_request_id=call.id, name=call.name)
            for call in first.tool_requests
        ]
        said_before = Message("assistant", first.content, first.tool_requests, carry=first.carry)
        second = await said(question, said_before, *results, tools=(WEATHER,))
        assert second.content == "Rain in both."

        schema = {"type": "object", "properties": {"city": {"type": "string"}}}
        form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
        assert json.loads((await said(Message("user", "where"), response_format=form)).content) == {
            "city": "Bonn"
        }

        with pytest.raises(ProviderError, match="it broke") as broken:
            await said(Message("user", "break"))
        assert broken.value.kind == "server"
        # Last, because calls after it wait as long as they were told to.
        with pytest.raises(RateLimitError) as slowed:
            await said(Message("user", "slow down"))
        assert slowed.value.retry_after == 9


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", ["openai", "openrouter"])
async def test_a_foreign_server_counts(foreign: str, name: str, stream: bool) -> None:
    async with services_for(foreign, name) as services:
        provider, model = services.providers.resolve(f"{name}/gpt-4o")
        request = ChatRequest(model, (Message("user", "usage"),))
        response = await answer(provider, request, ExecutionContext(services), stream=stream)
    assert response.usage is not None
    assert replace(response.usage, cost=None) == Usage(21, 9)


@pytest.mark.parametrize("name", ["anthropic", "openai", "openrouter"])
async def test_a_foreign_servers_thoughts_are_told(foreign: str, name: str) -> None:
    options = {"api": "responses"} if name == "openai" else {}
    async with services_for(foreign, name, **options) as services:
        provider, model = services.providers.resolve(f"{name}/o3")
        request = ChatRequest(model, (Message("user", "think"),))
        response = await answer(provider, request, ExecutionContext(services), stream=True)
    assert (response.content, response.reasoning) == ("It is 4.", "Two and two.")


async def test_a_foreign_server_lists_embeds_and_refuses(foreign: str) -> None:
    async with services_for(foreign, "openai") as services:
        provider, model = services.providers.resolve("openai/text-embedding-3-small")
        context = ExecutionContext(services)
        made = await provider.embed(EmbeddingRequest(model, ("a text",)), context)
        assert made.vectors == ((0.25, 0.5, -1.0),)
        assert await provider.models()
        await provider.check()
    async with services_for(foreign, "openai", key="not-the-key-at-all") as services:
        provider, _ = services.providers.resolve("openai/gpt-4o")
        with pytest.raises(ProviderError) as refused:
            await provider.check()
        assert refused.value.kind == "auth"


def test_a_script_talks_to_a_foreign_server(foreign: str, user: User) -> None:
    script = user.script(
        'local agent = Agent.builder():name("a"):model("openai/gpt-4o"):build()\n'
        'print(agent:execute({text = "hello"}).text)\n'
    )
    variables = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{foreign}/v1"}
    done = user.run("run", script, env=variables)
    assert (done.code, done.out.strip()) == (0, "Hello from afar! \U0001f511"), done.err
