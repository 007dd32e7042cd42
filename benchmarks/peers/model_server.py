"""A model that costs nothing: the OpenAI protocol over HTTP on loopback, as bare as can be.

``python model_server.py`` prints its address and answers until its standard input ends. With
tools offered it asks for the first of them once, then answers "done". Below ``/slow/v1`` every
answer takes 50 ms; below ``/clock/v1`` the words of a stream are the times at which they were
sent.
"""

import asyncio
import json
import sys
import time

DELAY = 0.05
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def answer(body: dict) -> dict:
    message = {"role": "assistant", "content": "done"}
    reason = "stop"
    if body.get("tools") and body["messages"][-1]["role"] == "user":
        name = body["tools"][0]["function"]["name"]
        call = {"name": name, "arguments": '{"text": "x"}'}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
        }
        reason = "tool_calls"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": USAGE,
    }


def event(delta: dict, reason: str | None = None, **more: object) -> bytes:
    choices = [] if more else [{"index": 0, "delta": delta, "finish_reason": reason}]
    made = {
        "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": choices, **more,
    }  # fmt: skip
    data = b"data: " + json.dumps(made).encode() + b"\n\n"
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1")
            size = next(
                int(line.partition(":")[2])
                for line in head.split("\r\n")
                if line.lower().startswith("content-length")
            )
            if len(self.buffer) < end + 4 + size:
                return
            body = json.loads(self.buffer[end + 4 : end + 4 + size])
            self.buffer = self.buffer[end + 4 + size :]
            self.respond(head.split(" ", 2)[1], body)

    def respond(self, path: str, body: dict) -> None:
        if path.startswith("/clock"):
            self.tick = asyncio.ensure_future(self.clock())
        elif path.startswith("/slow"):
            asyncio.get_running_loop().call_later(DELAY, self.whole, body)
        else:
            self.whole(body)

    def whole(self, body: dict) -> None:
        content = json.dumps(answer(body)).encode()
        head = (
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
        )
        self.transport.write(head.encode() + b"\r\n\r\n" + content)

    async def clock(self) -> None:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
        self.transport.write(head.encode() + b"\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.02)
            self.transport.write(event({"content": f"{time.monotonic():.7f} "}))
        self.transport.write(event({}, "stop") + event({}, usage=USAGE))
        data = b"data: [DONE]\n\n"
        self.transport.write(f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n")


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
