"""Every way a provider can fail is a typed error, on the wire of a real server."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llmspell_core import (
    ChatChunk,
    ChatRequest,
    ConfigurationError,
    LLMSpellError,
    LLMTimeoutError,
    Message,
    NetworkError,
    ProviderError,
    ProviderSettings,
    RateLimitError,
    ToolRequest,
    ValidationError,
)
from llmspell_providers import ContextLengthError, MissingKeyError, OpenAIProvider
from llmspell_testing import (
    RESET,
    LoopbackServer,
    http_chunk,
    http_head,
    http_response,
    make_context,
    make_services,
)

KEY = "sk-secret-0123456789"
HELLO = ChatRequest("gpt-x", (Message("user", "Hello"),))
OPEN: list[OpenAIProvider] = []


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer() as running:
        yield running
        while OPEN:
            await OPEN.pop().aclose()


def at(url: str, **settings: Any) -> OpenAIProvider:
    options: dict[str, Any] = {"api_key": KEY, "timeout_seconds": 5.0, **settings}
    made = OpenAIProvider(ProviderSettings("openai", "openai", url, **options), make_services())
    OPEN.append(made)
    return made


async def failure(url: str, *, stream: bool = False, **settings: Any) -> LLMSpellError:
    """The error of one call, which must not show the key anywhere."""
    provider = at(url, **settings)

    async def call() -> None:
        if not stream:
            await provider.chat(HELLO, make_context())
            return
        async for _ in provider.stream(HELLO, make_context()):
            pass

    with pytest.raises(LLMSpellError) as caught:
        await call()
    error = caught.value
    shown = f"{error} {error!r} {error.hint} {error.to_dict()} {error.__dict__}"
    assert KEY not in shown
    return error


def complaint(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


TABLE = [
    (401, complaint("Incorrect API key"), ProviderError, "auth", False),
    (403, complaint("Country not supported"), ProviderError, "auth", False),
    (404, complaint("The model `gpt-x` does not exist"), ProviderError, "model_not_found", False),
    (404, {"detail": "Not Found"}, ProviderError, "model_not_found", False),
    (400, complaint("bad", code="invalid"), ProviderError, "invalid_request", False),
    (422, {"detail": "field missing"}, ProviderError, "invalid_request", False),
    (402, complaint("pay"), ProviderError, "quota", False),
    (429, complaint("spent", code="insufficient_quota"), ProviderError, "quota", False),
    (409, complaint("conflict"), ProviderError, "server", True),
    (500, complaint("oops"), ProviderError, "server", True),
    (502, complaint("bad gateway"), ProviderError, "server", True),
    (503, complaint("later"), ProviderError, "server", True),
    (529, complaint("overloaded"), ProviderError, "server", True),
    (400, complaint("no", code="content_filter"), ProviderError, "content_filter", False),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "body", "cls", "kind", "retryable"), TABLE)
async def test_an_error_status_is_a_typed_error(
    server: LoopbackServer,
    status: int,
    body: Any,
    cls: type[LLMSpellError],
    kind: str,
    retryable: bool,
    stream: bool,
) -> None:
    text = json.dumps(body)
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(text)}\r\nx-request-id: r1\r\n\r\n"
    server.answer(head.encode() + text.encode())
    if status == 404:
        # The names there are, to find the nearest.
        server.answer_json({"data": []})
    error = await failure(f"{server.url}/v1", stream=stream)
    assert type(error) is cls
    assert isinstance(error, ProviderError)
    assert (error.kind, error.status_code, error.request_id) == (kind, status, "r1")
    assert error.is_retryable() is retryable
    words = body.get("detail") or body["error"]["message"]
    assert words in error.message
    assert ("OpenAI completion failed:" in error.message) is (kind in {"server", "invalid_request"})


async def test_408_is_a_timeout(server: LoopbackServer) -> None:
    server.answer_json(complaint("slow"), status=408)
    error = await failure(server.url)
    assert type(error) is LLMTimeoutError
    assert error.is_retryable()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (
            # The date counts from the server's own clock, however wrong ours is.
            {
                "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT",
                "date": "Wed, 21 Oct 2015 07:28:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
async def test_429_says_how_long_to_wait(
    server: LoopbackServer, headers: dict[str, str], seconds: float | None
) -> None:
    server.answer_json(complaint("slow down"), status=429, headers=headers)
    error = await failure(server.url)
    assert type(error) is RateLimitError
    assert error.retry_after == seconds
    assert error.is_retryable()


async def test_a_prompt_that_is_too_long_names_limit_and_size(server: LoopbackServer) -> None:
    server.answer_json(
        complaint(
            "This model's maximum context length is 8192 tokens. However, your messages "
            "resulted in 9001 tokens.",
            code="context_length_exceeded",
        ),
        status=400,
    )
    error = await failure(server.url)
    assert type(error) is ContextLengthError
    assert isinstance(error, ValidationError)
    assert (error.field, error.kind, error.details) == (
        "input",
        "context_length",
        {"limit": 8192, "size": 9001},
    )
    assert str(error).startswith("Validation error: ")
    assert not error.is_retryable()


async def test_a_web_page_is_named_as_one(server: LoopbackServer) -> None:
    page = "<!doctype html><html><title>502 Bad\n Gateway</title>secret body</html>"
    server.answer(http_response(page, status=502, headers={"content-type": "text/html"}))
    error = await failure(server.url)
    assert "answered with a web page: 502 Bad Gateway" in error.message
    assert "secret body" not in error.message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        ("<html><title>Hello</title></html>", "text/html", "a web page: Hello instead of"),
        ("this is not JSON", "application/json", "not JSON: 'this is not JSON'"),
        ("", "application/json", "not JSON: ''"),
        ("[]", "application/json", "the answer is list, not an object"),
        ("{}", "application/json", "no 'choices'"),
        ('{"choices": []}', "application/json", "the answer is empty"),
        ('{"choices": [{"message": "text"}]}', "application/json", "'message' is str"),
        ('{"choices": [{"message": {"content": 5}}]}', "application/json", "content is int"),
        ('{"choices": [{"message": {"content": "  "}}]}', "application/json", "answer is empty"),
        (
            '{"choices": [{"message": {"tool_calls": [5]}}]}',
            "application/json",
            "an entry of 'tool_calls' is int, not an object",
        ),
        (
            '{"choices": [{"message": {"tool_calls": [{"id": "x"}]}}]}',
            "application/json",
            "no 'function'",
        ),
        (
            '{"choices": [{"message": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}',
            "application/json",
            "a tool call has no name",
        ),
    ],
)
async def test_garbage_is_never_an_answer(
    server: LoopbackServer, body: str, content_type: str, words: str, stream: bool
) -> None:
    server.answer(http_response(body, headers={"content-type": content_type}))
    error = await failure(server.url, stream=stream)
    assert isinstance(error, ProviderError)
    assert error.kind == "protocol"
    assert error.message.startswith("OpenAI completion failed: ")
    assert words in error.message


async def test_an_error_with_status_200_is_an_error(server: LoopbackServer) -> None:
    server.answer_json({"error": {"message": "no such model: model x", "code": 404}})
    error = await failure(server.url)
    assert isinstance(error, ProviderError)
    assert error.kind == "model_not_found"


async def test_only_reasoning_and_no_text_asks_for_more_tokens(server: LoopbackServer) -> None:
    server.answer_json({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]})
    error = await failure(server.url)
    assert isinstance(error, ProviderError)
    assert (error.kind, error.hint) == ("invalid_request", "Raise max_tokens.")


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": "part"}, "finish_reason": "content_filter"},
        {"message": {"content": None, "refusal": "I will not"}, "finish_reason": "stop"},
    ],
)
async def test_a_filtered_answer_is_an_error(
    server: LoopbackServer, choice: dict[str, Any]
) -> None:
    server.answer_json({"choices": [choice]})
    error = await failure(server.url)
    assert isinstance(error, ProviderError)
    assert error.kind == "content_filter"
    assert not error.is_retryable()


def delta(**fields: Any) -> bytes:
    choice = {"index": 0, "delta": fields}
    return http_chunk(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())


EVENTS = http_head(200, {"content-type": "text/event-stream"}, chunked=True)
TOOL_PART = {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "x", "arguments": '{"a'}}]}


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([EVENTS, delta(content="Hel"), http_chunk(b"")], id="ends-without-an-end"),
        pytest.param([EVENTS, delta(content="Hel"), RESET], id="reset"),
        pytest.param([EVENTS, delta(**TOOL_PART), RESET], id="reset-in-a-tool-call"),
        pytest.param([EVENTS, delta(**TOOL_PART), http_chunk(b"")], id="ends-in-a-tool-call"),
        pytest.param([EVENTS, http_chunk(b'data: {"choi'), http_chunk(b"")], id="half-an-event"),
    ],
)
async def test_a_stream_cut_in_the_middle_is_an_error(
    server: LoopbackServer, pieces: list[Any]
) -> None:
    server.answer(*pieces)
    seen: list[ChatChunk] = []

    async def read() -> None:
        async for chunk in at(server.url).stream(HELLO, make_context()):
            seen.append(chunk)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(ProviderError) as caught:
        await read()
    assert caught.value.kind == "protocol"
    assert [chunk for chunk in seen if chunk.response is not None] == []


async def test_an_error_inside_a_stream_is_that_error(server: LoopbackServer) -> None:
    server.answer_events({"error": {"message": "slow down", "code": 429}})
    assert type(await failure(server.url, stream=True)) is RateLimitError


async def test_a_body_shorter_than_announced_is_an_error(server: LoopbackServer) -> None:
    server.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{", RESET)
    error = await failure(server.url)
    assert isinstance(error, ProviderError)
    assert error.kind == "protocol"


async def test_a_server_that_hangs_up_without_a_word_is_a_network_error(
    server: LoopbackServer,
) -> None:
    server.answer(RESET)
    error = await failure(server.url)
    assert type(error) is NetworkError
    assert error.is_retryable()


async def test_something_that_is_not_http_is_a_network_error(server: LoopbackServer) -> None:
    server.answer(b"220 mail.example ESMTP\r\n")
    assert type(await failure(server.url)) is NetworkError


async def test_slow_headers_time_out(server: LoopbackServer) -> None:
    never = asyncio.Event()
    server.answer(b"HTTP/1.1 200 OK\r\n", never)
    error = await failure(server.url, timeout_seconds=0.05)
    assert type(error) is LLMTimeoutError
    assert error.duration_ms == 50
    exchange = await server.next_exchange()
    await asyncio.wait_for(exchange.disconnected.wait(), 5)


async def test_a_drip_of_bytes_does_not_outlast_the_total(server: LoopbackServer) -> None:
    gates = [asyncio.Event() for _ in range(1000)]

    async def drip() -> None:
        for gate in gates:
            gate.set()
            await asyncio.sleep(0.005)

    pieces: list[Any] = [http_head(200, {"content-type": "text/event-stream"}, chunked=True)]
    for gate in gates:
        pieces += [gate, http_chunk(b": keep-alive\n\n")]
    server.answer(*pieces)
    dripping = asyncio.ensure_future(drip())
    request = ChatRequest("m", HELLO.messages, timeout_seconds=0.1)
    with pytest.raises(LLMTimeoutError, match=r"complete its answer within 0\.1s"):
        async for _ in at(server.url).stream(request, make_context()):
            pass
    dripping.cancel()


async def test_silence_in_a_stream_times_out(server: LoopbackServer) -> None:
    never = asyncio.Event()
    server.answer(EVENTS, delta(content="Hi"), never)
    error = await failure(server.url, stream=True, timeout_seconds=0.05)
    assert type(error) is LLMTimeoutError
    assert "continue its answer" in error.message


async def test_nobody_listening_is_a_network_error(server: LoopbackServer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(f"http://127.0.0.1:{port}/v1")
    assert type(error) is NetworkError
    assert f"127.0.0.1:{port}" in error.message
    assert error.is_retryable()


async def test_an_unknown_host_is_a_network_error(server: LoopbackServer) -> None:
    error = await failure("http://nowhere.invalid/v1")
    assert type(error) is NetworkError
    assert "cannot be found" in error.message or "cannot be reached" in error.message


@pytest.fixture
def own_certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    return certificate, key


async def test_a_certificate_nobody_trusts_is_not_tried_again(
    server: LoopbackServer, own_certificate: tuple[Path, Path]
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*own_certificate)

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    listening = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=tls)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        error = await failure(f"https://localhost:{port}/v1")
    assert type(error) is NetworkError
    assert "certificate" in error.message
    assert not error.is_retryable()


@pytest.mark.parametrize("url", ["ftp://example.org", "http://", "http://[::1", "nonsense"])
async def test_an_address_that_is_none_is_a_configuration_error(
    server: LoopbackServer, url: str
) -> None:
    error = await failure(url)
    assert isinstance(error, ConfigurationError | NetworkError)
    assert not isinstance(error, ProviderError)


async def test_a_redirect_is_not_followed(server: LoopbackServer) -> None:
    server.answer(b"HTTP/1.1 308 X\r\nlocation: http://evil.invalid/\r\ncontent-length: 0\r\n\r\n")
    error = await failure(server.url)
    assert isinstance(error, ProviderError)
    assert error.kind == "invalid_request"
    assert "redirect" in error.message


async def test_without_a_key_the_vendor_is_not_asked() -> None:
    provider = OpenAIProvider(ProviderSettings("openai", "openai"), make_services())
    for _ in range(2):
        with pytest.raises(MissingKeyError) as caught:
            await provider.chat(HELLO, make_context())
    error = caught.value
    assert isinstance(error, ConfigurationError)
    assert str(error) == "LLM provider error: OpenAI API key required"
    assert error.hint is not None
    assert "OPENAI_API_KEY" in error.hint
    assert "llmspell.toml" in error.hint
    assert not error.is_retryable()


async def test_a_key_with_a_line_break_is_refused_without_showing_it(
    server: LoopbackServer,
) -> None:
    error = await failure(server.url, api_key=f"{KEY}\nx")
    assert isinstance(error, ConfigurationError)
    assert "line break" in (error.hint or "")


async def test_a_server_that_repeats_the_key_does_not_make_us_show_it(
    server: LoopbackServer,
) -> None:
    server.answer_json(complaint(f"Incorrect API key provided: {KEY}"), status=401)
    error = await failure(server.url)
    assert "<REDACTED>" in error.message


async def test_credentials_in_the_address_are_not_shown(server: LoopbackServer) -> None:
    server.answer(RESET)
    server.answer(RESET)
    address = server.url.replace("//", "//user:hunter2secret@")
    error = await failure(address)
    assert "hunter2secret" not in str(error)
    assert "127.0.0.1" in str(error)
    await failure(address, api_key=None)
    assert [request.headers["authorization"] for request in server.requests] == [
        f"Bearer {KEY}",
        "Basic dXNlcjpodW50ZXIyc2VjcmV0",
    ]


async def test_a_text_that_cannot_be_encoded_is_sent_all_the_same(server: LoopbackServer) -> None:
    server.answer_json({"choices": [{"message": {"content": "ok"}, "finish_reason": "eos"}]})
    request = ChatRequest("m", (Message("user", "half a pair: \ud800"),))
    response = await at(server.url).chat(request, make_context())
    assert (response.content, response.finish_reason) == ("ok", "stop")
    assert "half a pair" in server.requests[0].json()["messages"][0]["content"]


async def test_broken_arguments_of_a_model_come_through_as_they_are(
    server: LoopbackServer,
) -> None:
    call = {"id": "a", "function": {"name": "x", "arguments": '{"a": '}}
    server.answer_json(
        {"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "length"}]}
    )
    response = await at(server.url).chat(HELLO, make_context())
    assert response.tool_requests == (ToolRequest("a", "x", '{"a":'),)
    assert response.finish_reason == "length"
