"""What the end-to-end tests share: the installed command, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

PROJECT = Path(__file__).parent.parent
COMMAND = Path(sys.executable).with_name("llmspell")


@dataclass(frozen=True)
class Finished:
    """A finished command."""

    code: int
    out: str
    err: str


@dataclass
class User:
    """Somebody with a home directory of their own, a working directory and the command."""

    home: Path
    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str) -> list[str]:
        return [str(COMMAND), *arguments]

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float = 60,
        prefix: tuple[str, ...] = (),
    ) -> Finished:
        done = subprocess.run(
            [*prefix, *self.command(*arguments)],
            cwd=folder or self.folder,
            env={**self.environment, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environment, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def script(self, text: str, name: str = "script.lua") -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return name


@pytest.fixture
def user(tmp_path: Path) -> User:
    home = tmp_path / "home"
    folder = tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LLMSPELL_", "OPENAI_", "ANTHROPIC_")) and key != "RUST_LOG"
    }
    environment = {**kept, "HOME": str(home), "NO_COLOR": "1", "PYTHONWARNINGS": "error"}
    return User(home, folder, environment)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL, and wait until it is gone."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


@dataclass
class ModelServer:
    """An OpenAI-compatible server on loopback that answers with what the test says."""

    url: str
    requests: list[dict[str, Any]]
    headers: list[dict[str, str]]


Answer = Callable[[dict[str, Any]], tuple[int, str, bytes]]


@pytest.fixture
def model_server() -> Iterator[Callable[[Answer], ModelServer]]:
    """Start servers: ``answer(request) -> (status, content type, body)``."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> ModelServer:
        seen: list[dict[str, Any]] = []
        headers: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                request = json.loads(self.rfile.read(size))
                seen.append(request)
                headers.append(dict(self.headers.items()))
                status, kind, body = answer(request)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return ModelServer(f"http://127.0.0.1:{server.server_port}/v1", seen, headers)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def completion(text: str | None = None, calls: list[tuple[str, str, str]] | None = None) -> bytes:
    """The body of a chat completion: a text, or tool calls as (id, name, arguments)."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = [
            {"id": i, "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, name, arguments in calls
        ]
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "test-model",
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "finish_reason": "tool_calls" if calls else "stop",
                }
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }
    ).encode()


def streamed(text: str | None = None, calls: list[tuple[str, str, str]] | None = None) -> bytes:
    """The same as server-sent events, for requests with ``stream: true``."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if text:
        deltas += [{"content": word + " "} for word in text.split(" ")[:-1]]
        deltas.append({"content": text.split(" ")[-1]})
    for index, (i, name, arguments) in enumerate(calls or []):
        half = len(arguments) // 2
        deltas.append(
            {
                "tool_calls": [
                    {
                        "index": index,
                        "id": i,
                        "type": "function",
                        "function": {"name": name, "arguments": arguments[:half]},
                    }
                ]
            }
        )
        deltas.append(
            {"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}
        )
    frames = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    frames.append(
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls" if calls else "stop"}]}
    )
    frames.append(
        {
            "choices": [],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }
    )
    lines = [
        "data: " + json.dumps({"id": "chatcmpl-1", "model": "test-model", **frame})
        for frame in frames
    ]
    return ("\n\n".join([*lines, "data: [DONE]"]) + "\n\n").encode()


def answering(
    text: str | None = None, calls: list[tuple[str, str, str]] | None = None
) -> Callable[[dict[str, Any]], tuple[int, str, bytes]]:
    """An answer in the form the request asks for."""

    def answer(request: dict[str, Any]) -> tuple[int, str, bytes]:
        if request.get("stream"):
            return 200, "text/event-stream", streamed(text, calls)
        return 200, "application/json", completion(text, calls)

    return answer
