"""The child's side of `WorkerPool`: reads calls from stdin, writes answers to stdout."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any


class Refused(Exception):
    """What a job raises for input that is wrong; its text reaches the caller."""


def _limit(memory_bytes: int) -> None:
    import resource

    limits = ((resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0))
    for kind, value in (*limits, (resource.RLIMIT_AS, memory_bytes)):
        try:
            resource.setrlimit(kind, (value, value))
        except (ValueError, OSError):
            # macOS refuses RLIMIT_AS; the time limit still holds there.
            continue


def _answer(call: dict[str, Any]) -> dict[str, Any]:
    module, _, name = call["job"].partition(":")
    try:
        return {"value": getattr(import_module(module), name)(*call["arguments"])}
    except Refused as error:
        return {"error": ["validation", str(error)]}
    except (MemoryError, RecursionError) as error:
        if isinstance(error, MemoryError):
            return {"error": ["memory", "out of memory"]}
        return {"error": ["validation", "the input is nested too deeply"]}
    except Exception as error:
        # An error of the core's tree keeps its kind; the core itself is not imported for that.
        kind = getattr(error, "error_type", None)
        if isinstance(kind, str):
            return {"error": [kind.lower(), getattr(error, "message", str(error))]}
        return {"error": ["tool", f"{type(error).__name__}: {error}"]}


def serve(memory_bytes: int) -> None:
    """Answer until stdin ends. Whatever a library prints goes nowhere."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit(memory_bytes)
    while line := sys.stdin.buffer.readline():
        made = _answer(json.loads(line))
        try:
            text = json.dumps(made).encode()
        except MemoryError:
            text = b'{"error": ["memory", "out of memory"]}'
        channel.write(text + b"\n")
        channel.flush()
