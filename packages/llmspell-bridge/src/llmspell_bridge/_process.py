"""Programs that a script runs, where that is allowed: ``os.execute`` and ``io.popen``."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from contextlib import suppress
from typing import Any

from llmspell_core import ExecutionContext, ResourceLimitError

_LOOK = 0.05
"""Seconds between two looks at the cancel signal and the deadline."""
_PIECE = 64 * 1024


def run_process(
    command: bytes, given: bytes | None, context: ExecutionContext, *, capture: bool, limit: int
) -> dict[str, Any]:
    """Run *command* in a shell to its end: ``{output, how: exit|signal, code}``.

    When the execution is cancelled or its time is over, the shell and all that it started end.

    Args:
        command: For the shell.
        given: Its standard input; None for an empty one.
        context: Of the execution.
        capture: Whether its standard output is kept.
        limit: How many bytes of it.

    Raises:
        ResourceLimitError: when there is more output.
    """
    process = subprocess.Popen(  # noqa: S602 the script asked for a shell and is allowed one
        command,
        shell=True,
        stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else None,
        start_new_session=True,
    )
    try:
        output = _talk(process, given, context, limit)
        while True:
            try:
                code = process.wait(_LOOK)
                break
            except subprocess.TimeoutExpired:
                context.check()
    except BaseException:
        _end(process)
        raise
    finally:
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    return {"output": output, "how": "exit" if code >= 0 else "signal", "code": abs(code)}


def _talk(
    process: subprocess.Popen[bytes], given: bytes | None, context: ExecutionContext, limit: int
) -> bytes:
    """Write all of *given* and read all there is, both as the program is ready for it."""
    pieces: list[bytes] = []
    read = written = 0
    rest = memoryview(given or b"")
    with selectors.DefaultSelector() as ready:
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            ready.register(process.stdin, selectors.EVENT_WRITE)
        if process.stdout is not None:
            ready.register(process.stdout, selectors.EVENT_READ)
        while ready.get_map():
            for key, _ in ready.select(_LOOK):
                if key.fileobj is process.stdout:
                    piece = os.read(key.fd, _PIECE)
                    read += len(piece)
                    if read > limit:
                        raise ResourceLimitError("memory", limit=limit, used=f"more than {limit}")
                    if piece:
                        pieces.append(piece)
                        continue
                else:
                    try:
                        written += os.write(key.fd, rest[written : written + _PIECE])
                    except BrokenPipeError:  # it does not want the rest
                        written = len(rest)
                    if written < len(rest):
                        continue
                ready.unregister(key.fileobj)
                if process.stdin is not None and process.stdin is key.fileobj:
                    process.stdin.close()
            context.check()
    return b"".join(pieces)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The shell is the first of a session of its own: its whole group ends."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
