"""The scripted HTTP server, spoken to over bare sockets."""

import asyncio
import json

import pytest

from llmspell_testing import RESET, LoopbackServer, http_chunk, http_head, http_response


async def ask(server: LoopbackServer, text: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(text.encode())
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def post(path: str, body: str, *, close: bool = True) -> str:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"


async def test_bytes_arrive_exactly_as_written() -> None:
    async with LoopbackServer() as server:
        server.answer(b"HTTP/1.1 200 OK\r\n\r\n", b"gar\x00bage \xff", b"!")
        answer = await ask(server, "GET /a?b=c HTTP/1.1\r\nX-One: 1\r\n\r\n")
    assert answer == b"HTTP/1.1 200 OK\r\n\r\ngar\x00bage \xff!"
    (request,) = server.requests
    assert (request.method, request.target, request.path, request.body) == (
        "GET",
        "/a?b=c",
        "/a",
        b"",
    )
    assert request.headers == {"x-one": "1"}


async def test_requests_of_one_connection_are_answered_in_order() -> None:
    async with LoopbackServer() as server:
        server.answer_json({"n": 1})
        server.answer_with(lambda request: [http_response(request.body.upper(), status=404)])
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write((post("/1", '{"ü": 1}') + post("/2", '"x"')).encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        first = await reader.readexactly(8)
        second_head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        second = await reader.readexactly(3)
        writer.close()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert json.loads(first) == {"n": 1}
        assert second_head.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert second == b'"X"'
        assert server.connections == 1
        assert [request.json() for request in server.requests] == [{"ü": 1}, "x"]


async def test_chunked_requests_are_read() -> None:
    async with LoopbackServer() as server:
        server.answer_json(None)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"null"), 10)
        writer.close()
        assert server.requests[0].body == b"abcdefg"


async def test_an_event_holds_the_answer_back() -> None:
    async with LoopbackServer() as server:
        gate = asyncio.Event()
        server.answer(http_head(chunked=True), http_chunk(b"one"), gate, http_chunk(b""))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        exchange = await server.next_exchange()
        await asyncio.wait_for(reader.readuntil(b"one\r\n"), 10)
        assert not exchange.answered.is_set()
        gate.set()
        await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10)
        await asyncio.wait_for(exchange.answered.wait(), 10)
        writer.close()


async def test_a_client_that_leaves_is_noticed() -> None:
    async with LoopbackServer() as server:
        server.answer(http_head(chunked=True), asyncio.Event())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        exchange = await server.next_exchange()
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert not exchange.disconnected.is_set()
        writer.close()
        await asyncio.wait_for(exchange.disconnected.wait(), 10)
        assert not exchange.answered.is_set()


async def test_reset_tears_the_connection_down() -> None:
    async with LoopbackServer() as server:
        server.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", RESET)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")

        async def read_all() -> bytes:
            return await reader.readexactly(200)

        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(read_all(), 10)
        writer.close()


async def test_server_sent_events() -> None:
    async with LoopbackServer() as server:
        server.answer_events({"a": 1}, "raw")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
        writer.close()
    assert answer == (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        b'10\r\ndata: {"a": 1}\n\n\r\nb\r\ndata: raw\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n'
    )


async def test_an_unexpected_request_fails_the_test() -> None:
    server = LoopbackServer()
    await server.__aenter__()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(post("/surprise", "body").encode())
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert line == b"HTTP/1.1 500 Internal Server Error\r\n"
    with pytest.raises(AssertionError, match="POST /surprise b'body'"):
        await server.__aexit__(None, None, None)
