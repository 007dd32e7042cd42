"""`LoopbackServer`: a real HTTP server on this machine that answers byte for byte as told."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from llmspell_testing._gate import Gate

if TYPE_CHECKING:
    from typing import Protocol

    class Gated(Protocol):
        """An `asyncio.Event`, or a `Gate` that another thread opens."""

        async def wait(self) -> Any:
            """Until it is open."""
            ...


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it arrived. Header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Reset:
    """The piece of an answer at which the connection is torn down without a word."""


RESET: Final = Reset()

Piece: TypeAlias = "bytes | float | Gated | Reset"
"""Bytes to write, seconds to pause, something to wait for, or the end of the connection."""


@dataclass(slots=True)
class Exchange:
    """A request in progress: what was asked, and whether the client is still there."""

    request: HttpRequest
    disconnected: Gate = field(default_factory=Gate)
    """Set when the client closed the connection before the answer was complete."""
    answered: Gate = field(default_factory=Gate)
    """Set when the whole answer was written."""


Answer: TypeAlias = "Callable[[HttpRequest], Iterable[Piece]]"
Respond: TypeAlias = "Callable[[Exchange], Iterable[Piece]]"


class LoopbackServer:
    """Scripted answers over real sockets: ``async with LoopbackServer() as server:``.

    Queue answers in the order in which they are to be given, then point the code under test at
    `url`. A request for which no answer was queued gets a 500, and leaving the ``async with``
    then fails. A request may arrive on a connection that is kept alive, if the answers before
    it said how long they were (`answer_json` does). With *respond*, requests for which nothing
    is queued are answered by that function.
    """

    def __init__(self, respond: Respond | None = None) -> None:
        self._respond = respond
        self._server: asyncio.Server | None = None
        self._answers: deque[Answer] = deque()
        self._connections: set[asyncio.Task[None]] = set()
        self._arrivals: asyncio.Queue[Exchange] = asyncio.Queue()
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.unexpected: list[HttpRequest] = []

    @property
    def requests(self) -> list[HttpRequest]:
        """The requests so far."""
        return [exchange.request for exchange in self.exchanges]

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "the server was not started"
        return self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return f"http://127.0.0.1:{self.port}"

    def answer(self, *pieces: Piece) -> None:
        """Queue an answer: bytes are written as they are, an event or `Gate` is waited for, a
        number is a pause in seconds, `RESET` tears the connection down. Without a
        ``Content-Length`` among the bytes, the end of the answer closes the connection.
        """
        self._answers.append(lambda _: pieces)

    def answer_with(self, answer: Answer) -> None:
        """Queue an answer that depends on the request."""
        self._answers.append(answer)

    def answer_json(
        self, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Queue a JSON answer."""
        self.answer(http_response(json.dumps(body), status=status, headers=headers))

    def answer_events(
        self, *events: str | Mapping[str, Any] | asyncio.Event | Reset, done: str | None = "[DONE]"
    ) -> None:
        """Queue a stream of server-sent events, a chunk each; mappings are sent as JSON, *done*
        is the last event's data.
        """
        pieces: list[Piece] = [http_head(200, {"content-type": "text/event-stream"}, chunked=True)]
        for event in events:
            if isinstance(event, Reset) or hasattr(event, "wait"):
                pieces.append(cast("Piece", event))
            else:
                data = event if isinstance(event, str) else json.dumps(event)
                pieces.append(http_chunk(f"data: {data}\n\n".encode()))
        if done is not None:
            pieces.append(http_chunk(f"data: {done}\n\n".encode()))
        self.answer(*pieces, http_chunk(b""))

    async def next_exchange(self) -> Exchange:
        """The next request nobody waited for yet."""
        return await asyncio.wait_for(self._arrivals.get(), 30)

    async def __aenter__(self) -> LoopbackServer:
        """Listen on a free port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(), self._accept), "127.0.0.1", 0
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop, and fail if a request came that was not in the script."""
        assert self._server is not None
        self._server.close()
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        if kind is None and self.unexpected:
            one = self.unexpected[0]
            raise AssertionError(
                f"{len(self.unexpected)} requests without a scripted answer; the first: "
                f"{one.method} {one.target} {one.body[:500]!r}"
            )

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                if not await self._serve(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # The server is being stopped; asyncio's own callback would log this one.
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(
        self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer; whether the connection can go on."""
        exchange = Exchange(request)
        self.exchanges.append(exchange)
        self._arrivals.put_nowait(exchange)
        if self._answers:
            pieces = self._answers.popleft()(request)
        elif self._respond is not None:
            pieces = self._respond(exchange)
        else:
            self.unexpected.append(request)
            writer.write(http_response("no answer was scripted", status=500))
            await writer.drain()
            return True
        watcher = asyncio.ensure_future(_watch(reader, exchange))
        writing = asyncio.ensure_future(_write(pieces, writer))
        gone = asyncio.ensure_future(exchange.disconnected.wait())
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                return False
            try:
                keep = writing.result()
            except ConnectionError:
                exchange.disconnected.open()
                return False
            exchange.answered.open()
            return keep
        finally:
            for task in (watcher, writing, gone):
                task.cancel()
            await asyncio.gather(watcher, writing, gone, return_exceptions=True)


async def _write(pieces: Iterable[Piece], writer: asyncio.StreamWriter) -> bool:
    sized = False
    for piece in pieces:
        if isinstance(piece, Reset):
            writer.transport.abort()
            return False
        if isinstance(piece, int | float):
            await asyncio.sleep(piece)
        elif not isinstance(piece, bytes):
            await piece.wait()
        else:
            lower = piece.lower()
            sized = sized or b"content-length:" in lower or b"transfer-encoding:" in lower
            writer.write(piece)
            await writer.drain()
    return sized


class _Reader(asyncio.StreamReader):
    """A reader that tells of the end of the connection without giving away a byte."""

    def __init__(self) -> None:
        super().__init__(limit=2**20)
        self.ended = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.ended.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.ended.set()


async def _watch(reader: asyncio.StreamReader, exchange: Exchange) -> None:
    await cast("_Reader", reader).ended.wait()
    exchange.disconnected.open()


async def _read_request(reader: asyncio.StreamReader) -> HttpRequest | None:
    line = (await reader.readline()).decode("latin-1").strip()
    if not line:
        return None
    method, target, _ = line.split(" ", 2)
    headers: dict[str, str] = {}
    while text := (await reader.readline()).decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return HttpRequest(method, target, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).partition(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def http_head(
    status: int = 200, headers: Mapping[str, str] | None = None, *, chunked: bool = False
) -> bytes:
    """The beginning of an answer; *chunked* announces chunks."""
    from http.client import responses

    lines = [f"HTTP/1.1 {status} {responses.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if chunked:
        lines.append("transfer-encoding: chunked")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def http_chunk(body: bytes) -> bytes:
    """A chunk; an empty one is the last."""
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def http_response(
    body: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> bytes:
    """A whole answer, JSON unless the headers say otherwise."""
    content = body.encode() if isinstance(body, str) else body
    fields = {"content-type": "application/json", **(headers or {})}
    fields["content-length"] = str(len(content))
    return http_head(status, fields) + content
