"""Between us and the vendor: proxies, private authorities, many calls at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llmspell_core import (
    ChatRequest,
    ConfigurationError,
    ExecutionContext,
    LLMSpellError,
    Message,
    NetworkError,
    Provider,
    ProviderError,
    ProviderSettings,
    RateLimitError,
    Services,
)
from llmspell_providers import OpenAIProvider
from llmspell_testing import (
    Fault,
    LoopbackServer,
    ModelServer,
    Reply,
    http_response,
    make_context,
    make_services,
)

KEY = "sk-secret-0123456789"
HELLO = ChatRequest("m", (Message("user", "Hello"),))
ANSWER = {
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in {"http_proxy", "https_proxy", "all_proxy", "no_proxy"} or name in {
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        }:
            monkeypatch.delenv(name)


@asynccontextmanager
async def at(url: str, **options: Any) -> AsyncIterator[Provider]:
    settings = ProviderSettings("mine", "openai", url, KEY, timeout_seconds=20, options=options)
    provider = OpenAIProvider(settings, make_services())
    try:
        yield provider
    finally:
        await provider.aclose()


async def failure(url: str, **options: Any) -> LLMSpellError:
    async with at(url, **options) as provider:
        with pytest.raises(LLMSpellError) as caught:
            await provider.chat(HELLO, make_context())
    error = caught.value
    shown = f"{error} {error!r} {error.hint} {error.to_dict()} {error.__dict__} {error.__cause__!r}"
    assert KEY not in shown
    return error


async def test_two_hundred_calls_at_once_get_their_own_answers() -> None:
    async with ModelServer("openai", key=KEY) as server:
        server.answer_always(lambda call: f"You said {call.text}")
        async with at(server.base_url) as provider:
            requests = [ChatRequest("m", (Message("user", str(n)),)) for n in range(200)]
            for _ in range(2):
                calls = (provider.chat(request, make_context()) for request in requests)
                answers = await asyncio.gather(*calls)
                assert [a.content for a in answers] == [f"You said {n}" for n in range(200)]
        assert server.connections <= 200


async def test_calls_go_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with LoopbackServer() as proxy:
        proxy.answer_json(ANSWER)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with at("http://models.example/v1") as provider:
            assert (await provider.chat(HELLO, make_context())).content == "Hi"
    (request,) = proxy.requests
    assert request.target == "http://models.example/v1/chat/completions"
    assert request.headers["host"] == "models.example"


async def test_a_host_in_no_proxy_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ModelServer("openai", "Hi", key=KEY) as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
        async with at(server.base_url) as provider:
            assert (await provider.chat(HELLO, make_context())).content == "Hi"


async def test_a_configured_proxy_is_stronger_and_its_password_is_sent_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with LoopbackServer() as proxy:
        address = proxy.url.replace("//", "//ada:hunter2secret@")
        proxy.answer_json(ANSWER)
        async with at("http://models.example/v1", proxy=address) as provider:
            assert (await provider.chat(HELLO, make_context())).content == "Hi"
        proxy.answer(http_response("no", status=407))
        error = await failure("http://models.example/v1", proxy=address)
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic YWRhOmh1bnRlcjJzZWNyZXQ="
    assert "hunter2secret" not in str(error)


async def test_a_proxy_that_is_not_there_is_told_as_such() -> None:
    error = await failure("http://models.example/v1", proxy="http://127.0.0.1:1")
    assert type(error) is NetworkError
    assert "the proxy does not let the call through" in error.message
    assert "providers.mine.proxy" in (error.hint or "")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://", "http://[::1"])
async def test_a_proxy_that_cannot_be_used_is_a_configuration_error(proxy: str) -> None:
    error = await failure("http://models.example/v1", proxy=proxy)
    assert type(error) is ConfigurationError
    assert "providers.mine.proxy" in error.message
    assert "SOCKS is not supported" in (error.hint or "")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("authority")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


@asynccontextmanager
async def encrypted(authority: tuple[Path, Path], url: str) -> AsyncIterator[int]:
    """TLS in front of the server at *url*: the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority)
    port = int(url.rpartition(":")[2])

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            pipe(reader, there_writer), pipe(there_reader, writer), return_exceptions=True
        )

    listening = await asyncio.start_server(join, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


def by_variable(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> dict[str, Any]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return {}


def by_option(monkeypatch: pytest.MonkeyPatch, certificate: Path) -> dict[str, Any]:
    return {"ca_file": str(certificate)}


@pytest.mark.parametrize("way", [by_variable, by_option])
async def test_a_private_authority_is_trusted_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
    authority: tuple[Path, Path],
    way: Callable[[pytest.MonkeyPatch, Path], dict[str, Any]],
) -> None:
    async with ModelServer("openai", "Hi") as server, encrypted(authority, server.url) as port:
        error = await failure(f"https://localhost:{port}/v1")
        assert type(error) is NetworkError
        assert "providers.mine.ca_file" in (error.hint or "")
        options = way(monkeypatch, authority[0])
        async with at(f"https://localhost:{port}/v1", **options) as provider:
            # The key of this server is another.
            with pytest.raises(ProviderError) as caught:
                await provider.chat(HELLO, make_context())
            assert caught.value.kind == "auth"
        assert server.requests


async def test_an_encrypted_call_goes_through_a_tunnel_of_the_proxy(
    authority: tuple[Path, Path],
) -> None:
    seen: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(
            pipe(reader, there_writer), pipe(there_reader, writer), return_exceptions=True
        )

    async with ModelServer("openai", "Hi", key=KEY) as server:
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        async with encrypted(authority, server.url) as port, proxy:
            address = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
            options = {"proxy": address, "ca_file": str(authority[0])}
            async with at(f"https://localhost:{port}/v1", **options) as provider:
                assert (await provider.chat(HELLO, make_context())).content == "Hi"
    assert seen[0].startswith(f"CONNECT localhost:{port} HTTP/1.1".encode())
    assert KEY.encode() not in seen[0]


@pytest.mark.parametrize("text", ["", "no certificate"])
async def test_authorities_that_cannot_be_read_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ca.pem"
    if text:
        path.write_text(text)
    error = await failure("https://localhost:1/v1", ca_file=str(path))
    assert type(error) is ConfigurationError
    assert str(path) in error.message


@pytest.mark.parametrize("key", ["proxy", "ca_file"])
def test_an_option_of_the_wrong_type_is_named(key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"'providers\.mine\.{key}' must be text"):
        OpenAIProvider(
            ProviderSettings("mine", "openai", "http://h", options={key: 5}), make_services()
        )


async def test_compressed_answers_are_read() -> None:
    async with LoopbackServer() as server:
        body = gzip.compress(json.dumps(ANSWER).encode())
        server.answer(http_response(body, headers={"content-encoding": "gzip"}))
        async with at(server.url) as provider:
            assert (await provider.chat(HELLO, make_context())).content == "Hi"
    assert "gzip" in server.requests[0].headers["accept-encoding"]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_end_is_given_up(stream: bool) -> None:
    async with ModelServer("openai", Fault("endless"), key=KEY) as server:
        async with at(server.base_url) as provider:
            flow = provider.stream(HELLO, make_context())
            with pytest.raises(ProviderError, match="the answer exceeds") as caught:
                await (anext(flow) if stream else provider.chat(HELLO, make_context()))
        assert caught.value.kind == "protocol"
        await asyncio.wait_for(server.calls[0].disconnected.wait(), 10)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_huge_answer_arrives_whole(stream: bool) -> None:
    words = "many words " * 500_000
    call = Reply(words, tools=[("add", {"text": "x" * 2_000_000})])
    async with ModelServer("openai", call, key=KEY) as server, at(server.base_url) as provider:
        if stream:
            flow = provider.stream(HELLO, make_context())
            response = [chunk async for chunk in flow][-1].response
        else:
            response = await provider.chat(HELLO, make_context())
    assert response is not None
    assert response.content == words
    assert len(response.tool_requests[0].arguments) > 2_000_000


async def test_a_storm_of_refusals_is_ridden_out_and_ends() -> None:
    async with ModelServer("openai") as server:
        table = {**server.settings, "retry_delay": 1, "max_retries": 2}
        async with Services({"providers": {"openai": table}}) as services:
            context = ExecutionContext(services)
            provider, model = services.providers.resolve("openai/m")
            storm = [Fault("rate_limit", retry_after=0.01)] * 2
            server.answer(*storm, "Calm.")
            request = ChatRequest(model, HELLO.messages)
            assert (await provider.chat(request, context)).content == "Calm."
            server.answer_always(Fault("rate_limit", retry_after=0.01))
            with pytest.raises(RateLimitError):
                await provider.chat(request, context)
        assert len(server.calls) == 6


def test_nothing_heavy_is_imported_before_the_first_call() -> None:
    code = (
        "import sys, llmspell_core as c\n"
        "s = c.Services({'providers': {'x': {'provider_type': 'openai', 'base_url': 'http://h'}}})\n"
        "s.providers.list(); s.providers.resolve('x/m')\n"
        "print(sorted({'httpx', 'aiohttp', 'httpx_aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
