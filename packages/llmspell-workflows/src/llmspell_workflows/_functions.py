"""Functions that a workflow calls: of the script, or of Python."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from llmspell_core import ScriptFunction

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

Function = Callable[..., Any]
"""A Python callable, plain or async, or a `ScriptFunction` (which is callable too)."""


def is_function(value: Any) -> bool:
    """Whether a workflow can call it."""
    return isinstance(value, ScriptFunction) or (callable(value) and not isinstance(value, type))


async def call(function: Function, *args: Any, context: ExecutionContext) -> Any:
    """Call it on the event loop and wait for its answer.

    A plain Python function runs on the loop's thread and must not block.
    """
    if isinstance(function, ScriptFunction):
        return await function(*args, context=context)
    answer = function(*args)
    return await answer if isawaitable(answer) else answer
