"""Streaming, as a user of the command sees it: over HTTP, while the answer is still open."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmspell_testing import LoopbackServer

from .conftest import User

CHUNK_BYTES = 64 * 1024
CHUNKS = 400


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    async with LoopbackServer() as running:
        yield running


def piece(content: str | None = None, finish: str | None = None) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def start(user: User, server: LoopbackServer, script: str, *arguments: str) -> Any:
    """The command running *script*, with a model at *server*."""
    head = "local agent = Agent.builder():name('a'):model('openai/m'):build()\n"
    return subprocess.Popen(
        user.command(*arguments, "run", user.script(head + script)),
        cwd=user.folder,
        env={
            **user.environment,
            "OPENAI_API_KEY": "sk-x",
            "OPENAI_BASE_URL": f"{server.url}/v1",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def line_of(process: Any) -> str:
    return await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 60)


async def ended(process: Any, said: str | None = None) -> tuple[int, str, str]:
    out, err = await asyncio.wait_for(asyncio.to_thread(process.communicate, said), 60)
    return process.returncode, out, err


@pytest.fixture
def processes() -> Any:
    started: list[Any] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()


async def test_a_word_is_printed_before_the_next_is_sent(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    server.answer_events(
        piece("Good "), gates[0], piece("day"), gates[1], piece("."), piece(finish="stop")
    )
    process = start(
        user,
        server,
        """
        local result, err = agent:execute_streaming("hello", function(chunk)
          print(chunk.kind, chunk.text)
        end)
        print("all", result and result.text or err)
        """,
    )
    processes.append(process)
    assert await line_of(process) == "text\tGood \n"
    assert not server.exchanges[0].answered.is_set()
    gates[0].set()
    assert await line_of(process) == "text\tday\n"
    assert not server.exchanges[0].answered.is_set()
    gates[1].set()
    assert await ended(process) == (0, "text\t.\nend\t\nall\tGood day.\n", "")
    assert server.requests[0].json()["stream"] is True


async def test_what_is_written_without_a_newline_appears_when_it_is_flushed(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    gate = asyncio.Event()
    server.answer_events(piece("Good "), gate, piece("day."), piece(finish="stop"))
    process = start(
        user,
        server,
        "agent:execute_streaming('hello', function(chunk) io.write(chunk.text) io.flush() end)",
    )
    processes.append(process)
    said = await asyncio.wait_for(asyncio.to_thread(process.stdout.read, 5), 60)
    assert (said, server.exchanges[0].answered.is_set()) == ("Good ", False)
    gate.set()
    assert await ended(process) == (0, "day.", "")


async def test_a_slow_callback_slows_the_reading(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    sent = 0
    text = "x" * CHUNK_BYTES

    def answer(_: Any) -> Any:
        import json

        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        for _number in range(CHUNKS):
            yield f"data: {json.dumps(piece(text))}\n\n".encode()
            sent += 1
        yield f"data: {json.dumps(piece(finish='stop'))}\n\ndata: [DONE]\n\n".encode()

    server.answer_with(answer)
    process = start(
        user,
        server,
        """
        local bytes, waited = 0, false
        agent:execute_streaming("hello", function(chunk)
          bytes = bytes + #chunk.text
          if not waited then
            waited = true
            print("waits")
            io.read()
          end
        end)
        print(bytes)
        """,
    )
    processes.append(process)
    assert await line_of(process) == "waits\n"
    # The server writes until every buffer on the way is full, then stands still.
    before = -1
    while sent != before:
        before = sent
        for _ in range(30):
            await asyncio.sleep(0.01)
    assert sent < CHUNKS / 2, "the answer was read although nobody took it"
    assert await ended(process, "go on\n") == (0, f"{CHUNK_BYTES * CHUNKS}\n", "")
    assert sent == CHUNKS


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
async def test_a_signal_in_the_middle_closes_the_connection(
    user: User, server: LoopbackServer, processes: list[Any], number: int, code: int
) -> None:
    server.answer_events(piece("Good "), asyncio.Event(), piece("day."))
    process = start(
        user,
        server,
        """
        local ok = pcall(agent.execute_streaming, agent, "hello", function(chunk)
          print(chunk.text)
        end)
        print("swallowed", ok)
        """,
    )
    processes.append(process)
    assert await line_of(process) == "Good \n"
    process.send_signal(number)
    returned, out, err = await ended(process)
    assert (returned, out) == (code, "")
    assert err.startswith("Interrupted: ")
    await asyncio.wait_for(server.exchanges[0].disconnected.wait(), 30)


async def test_a_deadline_in_the_middle_closes_the_connection(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    script = "agent:execute_streaming('hello', function(chunk) print(chunk.text) end)"
    # On a busy machine the deadline may come before the first word: then there is more time.
    for seconds in (1, 4, 16):
        limit = f"[runtime]\nscript_timeout_seconds = {seconds}\n"
        (user.folder / "llmspell.toml").write_text(limit)
        server.answer_events(piece("Good "), asyncio.Event())
        process = start(user, server, script)
        processes.append(process)
        returned, out, err = await ended(process)
        assert returned == 1
        assert f"timed out after {seconds} seconds" in err
        if out:
            break
    assert out == "Good \n"
    await asyncio.wait_for(server.exchanges[-1].disconnected.wait(), 30)


async def test_a_callback_that_raises_ends_the_answer(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    server.answer_events(piece("Good "), asyncio.Event())
    process = start(
        user,
        server,
        """
        local result, err = agent:execute_streaming("hello", function(chunk)
          error("enough")
        end)
        print(result, err)
        """,
    )
    processes.append(process)
    returned, out, err = await ended(process)
    assert (returned, err) == (0, "")
    assert out.startswith("nil\t")
    assert "script.lua:4: enough" in out
    await asyncio.wait_for(server.exchanges[0].disconnected.wait(), 30)


async def test_a_stream_that_breaks_off_is_an_error_and_no_answer(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    from llmspell_testing import RESET

    server.answer_events(piece("Good "), RESET)
    process = start(
        user,
        server,
        """
        local result, err = agent:execute_streaming("hello", function(chunk) print(chunk.text) end)
        print(result, err)
        """,
    )
    processes.append(process)
    returned, out, err = await ended(process)
    assert (returned, err) == (0, "")
    assert out.startswith("Good \nnil\t")
    assert len(server.requests) == 1


async def test_two_answers_stream_beside_each_other(
    user: User, server: LoopbackServer, processes: list[Any]
) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    server.answer_events(piece("a1 "), first, piece("a2"), piece(finish="stop"))
    server.answer_events(piece("b1 "), second, piece("b2"), piece(finish="stop"))
    process = start(
        user,
        server,
        """
        local function ask(name)
          return function()
            local one = Agent.builder():name(name):model("openai/m"):build()
            one:execute_streaming("hello", function(chunk)
              if chunk.text ~= "" then print(chunk.text) end
            end)
          end
        end
        Workflow.parallel({ name = "both", steps = {
          { name = "one", type = "custom", execute = ask("one") },
          { name = "two", type = "custom", execute = ask("two") },
        } }):execute({})
        """,
    )
    processes.append(process)
    assert {await line_of(process), await line_of(process)} == {"a1 \n", "b1 \n"}
    second.set()
    assert await line_of(process) == "b2\n"
    first.set()
    assert await ended(process) == (0, "a2\n", "")
