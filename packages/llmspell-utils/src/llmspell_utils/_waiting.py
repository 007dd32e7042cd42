"""Waits that end: with the execution's cancellation or deadline, or with the first failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from llmspell_core import ExecutionCancelled, LLMTimeoutError

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext

T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds for a cancelled sibling to clean up before it is left to itself."""


async def unless_cancelled(awaitable: Awaitable[T], context: ExecutionContext) -> T:
    """Await, but no longer than the execution lives; *awaitable* is cancelled with it.

    Raises:
        ExecutionCancelled: when the context's cancel signal is turned, by whatever thread.
        LLMTimeoutError: when the context's deadline passes.
    """
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(context.deadline.remaining())
    inside = False

    def end() -> None:
        if inside and not scope.expired():
            scope.reschedule(loop.time())

    def wake(_: str) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(end)

    try:
        async with scope:
            inside = True
            unsubscribe = context.cancel.subscribe(wake)
            try:
                return await awaitable
            finally:
                inside = False
                unsubscribe()
    except TimeoutError:
        if not scope.expired():
            raise
    if context.cancel.reason is not None:
        raise ExecutionCancelled(context.cancel.reason)
    seconds = context.deadline.seconds or 0.0
    raise LLMTimeoutError(
        f"execution timed out after {seconds:g}s",
        duration_ms=round(seconds * 1000),
        operation="execution",
    )


async def in_order(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run *work* concurrently; results in the order of *work*.

    When one fails or the caller is cancelled, the others are cancelled and waited for before
    that failure goes on. One that will not be cancelled is waited for at most five seconds.
    """
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        if tasks:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failed = next((t for t in tasks if t.done() and not t.cancelled() and t.exception()), None)
        if failed is not None:
            await failed
        return [await task for task in tasks]
    finally:
        unfinished = [task for task in tasks if not task.done()]
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished, timeout=_PATIENCE)
        for task in tasks:
            # Looked at, so that asyncio does not complain about failures nobody asked for.
            if task.done() and not task.cancelled():
                task.exception()


@asynccontextmanager
async def closing(source: AsyncIterator[T]) -> AsyncGenerator[AsyncIterator[T]]:
    """Close *source* at the end, if it can be closed; generators can, other iterators may."""
    try:
        yield source
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
