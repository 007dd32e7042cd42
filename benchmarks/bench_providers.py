"""What a provider costs beside its HTTP library, alone and with two hundred calls at once."""

import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

CALLS = 200
ROUNDS = 5
PAUSE = 0.05
SEQUENTIAL = 300
TOKENS = 50

ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * 100},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Peer(asyncio.Protocol):
    """Answers each POST: at once below /now, after the pause below /later, token by token, each
    with the time it was sent at, when a stream is asked for.
    """

    def __init__(self) -> None:
        self.seen = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head, found, body = self.seen.partition(b"\r\n\r\n")
        if not found:
            return
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < size:
            return
        self.seen = b""
        if b'"stream": true' in body:
            self.task = asyncio.ensure_future(self.stream())
        elif head.startswith(b"POST /later"):
            asyncio.get_running_loop().call_later(PAUSE, self.answer)
        else:
            self.answer()

    def answer(self) -> None:
        if self.transport is not None:
            self.transport.write(HEAD % len(ANSWER) + ANSWER)

    async def stream(self) -> None:
        assert self.transport is not None
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
            b"\r\n"
        )
        for _ in range(TOKENS):
            await asyncio.sleep(0.01)
            choice = {"index": 0, "delta": {"content": f"{time.monotonic_ns()} "}}
            self.write({"id": "c", "model": "m", "choices": [choice]})
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self.write({"id": "c", "model": "m", "choices": [end]})
        self.transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    def write(self, event: object) -> None:
        assert self.transport is not None
        data = b"data: " + json.dumps(event).encode() + b"\n\n"
        self.transport.write(b"%x\r\n%s\r\n" % (len(data), data))


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.asynccontextmanager
async def a_provider(url: str, **options: object) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """The whole stack that `Services` builds, and a call through it."""
    from llmspell_core import ChatRequest, ExecutionContext, Message, Services

    table = {"provider_type": "openai", "base_url": url, "api_key": "k" * 20, **options}
    async with Services({"providers": {"bench": table}}) as services:
        provider, model = services.providers.resolve("bench/m")
        context = ExecutionContext(services)
        request = ChatRequest(model, (Message("user", "Hello"),))
        yield lambda: provider.chat(request, context)


@contextlib.asynccontextmanager
async def agents(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Two hundred agents, each of which is asked in turn."""
    from llmspell_agents import AgentBuilder
    from llmspell_core import ExecutionContext, Services

    table = {"provider_type": "openai", "base_url": url, "api_key": "k" * 20}
    async with Services({"providers": {"bench": table}}) as services:
        made = [
            AgentBuilder(f"a{n}", model="bench/m", memory_enabled=False).build(services)
            for n in range(CALLS)
        ]
        context = ExecutionContext(services)
        turn = itertools.cycle(made)
        yield lambda: next(turn).execute("Hello", context)


BODY = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@contextlib.asynccontextmanager
async def raw_httpx(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def call() -> object:
            return (await client.post(f"{url}/chat/completions", json=BODY)).json()

        yield call


@contextlib.asynccontextmanager
async def raw_aiohttp(url: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call() -> object:
            async with session.post(f"{url}/chat/completions", json=BODY) as reply:
                return await reply.json()

        yield call


WAYS = {"provider": a_provider, "raw httpx": raw_httpx, "raw aiohttp": raw_aiohttp}


async def together(url: str) -> None:
    print(
        f"{CALLS} calls at once to a server that takes {PAUSE * 1000:.0f} ms, as multiples of that"
    )
    for name, way in {"agents": agents, **WAYS}.items():
        async with way(f"{url}/later") as call:
            await asyncio.gather(*(call() for _ in range(10)))
            times, work = [], []
            for _ in range(ROUNDS if name != "raw httpx" else 1):
                start, begun = time.perf_counter(), time.process_time()
                await asyncio.gather(*(call() for _ in range(CALLS)))
                times.append((time.perf_counter() - start) / PAUSE)
                work.append((time.process_time() - begun) / CALLS * 1e6)
        first, best = times[0], min(times)
        bound = "  (bound: 4)" if name == "agents" else ""
        print(
            f"  {name:12} first round {first:6.1f} x   best round {best:6.1f} x{bound}   "
            f"processor {min(work):5.0f} µs a call"
        )


async def alone(url: str) -> None:
    print(f"one call after the other, {SEQUENTIAL} of them")
    for name, way in WAYS.items():
        async with way(f"{url}/now") as call:
            for _ in range(20):
                await call()
            times = []
            for _ in range(SEQUENTIAL):
                start = time.perf_counter()
                await call()
                times.append(time.perf_counter() - start)
        print(f"  {name:12} {statistics.median(times) * 1e6:7.0f} µs a call")


async def tokens(url: str) -> None:
    from llmspell_core import ChatRequest, ExecutionContext, Message, Services

    table = {"provider_type": "openai", "base_url": f"{url}/now", "api_key": "k" * 20}
    async with Services({"providers": {"bench": table}}) as services:
        provider, model = services.providers.resolve("bench/m")
        context = ExecutionContext(services)
        request = ChatRequest(model, (Message("user", "Hello"),))
        await provider.chat(request, context)
        late = [
            (time.monotonic_ns() - int(chunk.text)) / 1e6
            async for chunk in provider.stream(request, context)
            if chunk.text
        ]
    print(
        f"a streamed token, from the server's write to the reader: first {late[0]:.2f} ms, "
        f"median {statistics.median(late):.2f} ms"
    )


def main() -> None:
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        url = f"http://127.0.0.1:{peer.stdout.readline().strip()}"
        try:
            for part in (together, alone, tokens):
                asyncio.run(part(url))
        finally:
            peer.terminate()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve())
    else:
        main()
