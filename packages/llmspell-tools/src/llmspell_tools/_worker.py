"""Work that cannot be interrupted, in child processes that can be killed.

A jq program or a regular expression may run for ever inside C code, where neither a time-out
nor a cancellation reaches it. Here it runs in a child without environment, network rights of its
own making or files to write, with bounded memory; when nobody waits any more the child is killed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, cast

from llmspell_core import (
    LLMSpellError,
    ResourceLimitError,
    SecurityError,
    StorageError,
    ToolError,
    ValidationError,
)

IDLE = 2
AT_ONCE = 4
MEMORY_BYTES = 2 * 1024**3

_START = (
    "import sys, json\n"
    "setup = json.loads(sys.stdin.buffer.readline())\n"
    "sys.path[:] = setup['path']\n"
    "from llmspell_tools._worker_main import serve\n"
    "serve(setup['memory'])\n"
)
_KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class _Worker:
    """One child. It answers one call at a time."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, fixed text
            [sys.executable, "-I", "-S", "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
        )
        self._send({"path": sys.path, "memory": MEMORY_BYTES})

    def _send(self, message: dict[str, Any]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps(message).encode() + b"\n")
        stdin.flush()

    def call(self, job: str, arguments: list[Any]) -> Any:
        """Do the job and wait; blocks."""
        stdout = self._process.stdout
        assert stdout is not None
        try:
            self._send({"job": job, "arguments": arguments})
            line = stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise ToolError("the worker process ended before it answered", code="WORKER_DIED")
        return json.loads(line)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it now."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    # What was not flushed to a dead process is of no interest.
                    continue


class WorkerPool:
    """Child processes for the calls of one tool: started on demand, four at most, two of them
    kept while idle. Further calls wait for their turn.
    """

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(AT_ONCE)
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False

    def _take(self) -> _Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.alive:
                    return worker
                worker.kill()
        return _Worker()

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < IDLE and worker.alive:
                self._idle.append(worker)
                return
        worker.kill()

    async def run(self, job: str, *arguments: Any) -> Any:
        """Call the function *job* (``module:function``) in a child; JSON in, JSON out.

        Cancelling kills the child.

        Raises:
            ValidationError, SecurityError, StorageError, ToolError: as the function raised.
            ResourceLimitError: when it needed more than 2 GiB.
        """
        async with self._places:
            return await self._run(job, arguments)

    async def _run(self, job: str, arguments: tuple[Any, ...]) -> Any:
        loop = asyncio.get_running_loop()
        taking = loop.run_in_executor(None, self._take)
        try:
            worker = await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(lambda done: self._give_back(done.result()))
            raise
        try:
            answer = await loop.run_in_executor(None, worker.call, job, list(arguments))
        except BaseException:
            # Killing takes a system call; waiting for the end of a killed process, microseconds.
            worker.kill()
            raise
        self._give_back(worker)
        return _value(answer)

    def close(self) -> None:
        """End the idle children; those at work end when they have answered."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()


def _value(answer: Any) -> Any:
    table = cast("dict[str, Any]", answer)
    if "value" in table:
        return table["value"]
    kind, message = table["error"]
    if kind == "memory":
        raise ResourceLimitError("memory", limit=MEMORY_BYTES, used=f"more than {MEMORY_BYTES}")
    raise _FAILURES.get(kind, ToolError)(message)


_FAILURES: Mapping[str, type[LLMSpellError]] = {
    "security": SecurityError,
    "storage": StorageError,
    "validation": ValidationError,
}
