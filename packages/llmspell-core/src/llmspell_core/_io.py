"""The process-wide event loop, and the synchronous door to it."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from llmspell_core._errors import InternalError

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future

T = TypeVar("T")


class IoLoop:
    """An asyncio event loop on a daemon thread of its own, started by the first `submit`.

    Starting late matters: importing asyncio costs more than the rest of a short script.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def started(self) -> bool:
        """Whether anything has used it."""
        return self._loop is not None

    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop; starts it."""
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        import asyncio

        loop = asyncio.new_event_loop()
        ready = threading.Event()

        def serve() -> None:
            asyncio.set_event_loop(loop)
            loop.call_soon(ready.set)
            loop.run_forever()

        threading.Thread(target=serve, name="llmspell-io", daemon=True).start()
        ready.wait()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)
        return loop

    def _forget(self) -> None:
        # Threads do not survive a fork: the child starts a loop of its own.
        self._lock = threading.Lock()
        self._loop = None

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run *coroutine* on the loop; from any thread but the loop's own."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(coroutine, self.loop())


IO_LOOP = IoLoop()
"""The one loop of the process; the only singleton there is."""


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* on the process-wide loop and wait: the door for synchronous Python code.

    Raises:
        InternalError: when called from that loop itself, where waiting would never end.
        Exception: whatever the coroutine raises.
    """
    import asyncio

    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is not None:
        coroutine.close()
        raise InternalError(
            "run_sync() was called where an event loop is already running",
            hint="Write `await` instead: all of this API is async.",
        )
    future = IO_LOOP.submit(coroutine)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


class OpenOnce(Generic[T]):
    """Something that must be opened: opened at the first `get`, on the loop that asked first.

    Args:
        name: What it is, for messages.
        open: Opens it.
        close: Closes it, called by `aclose` if it was opened.
    """

    def __init__(
        self,
        name: str,
        open: Callable[[], Awaitable[T]],
        close: Callable[[T], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._open = open
        self._close = close
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Future[T] | None = None
        self._closed = False

    async def get(self) -> T:
        """The opened thing; concurrent callers share one opening, a failed one is tried again.

        Raises:
            InternalError: on a second event loop, or after `aclose`.
        """
        import asyncio

        loop = asyncio.get_running_loop()
        if self._closed:
            raise InternalError(
                f"{self._name} is closed", hint="Make new Services; closed ones stay closed."
            )
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise InternalError(
                f"{self._name} was opened on another event loop",
                hint="Use one set of Services with one loop: make another Services for this one.",
                code="WRONG_LOOP",
            )
        if self._task is None:
            self._task = asyncio.ensure_future(self._open())
            self._task.add_done_callback(self._forget_failure)
        return await asyncio.shield(self._task)

    def _forget_failure(self, task: asyncio.Future[T]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._task = None

    async def aclose(self) -> None:
        """Close it if it was opened, on the loop it was opened on; again is harmless."""
        self._closed = True
        task, self._task = self._task, None
        if task is None or self._close is None:
            return
        import asyncio

        home = self._loop
        if home is None or home.is_closed():
            return
        if asyncio.get_running_loop() is home:
            await self._shut(task)
        elif home.is_running():
            shutting = asyncio.run_coroutine_threadsafe(self._shut(task), home)
            await asyncio.wrap_future(shutting)

    async def _shut(self, task: asyncio.Future[T]) -> None:
        try:
            opened = await task
        except Exception:
            return  # It never opened, and who waited for it knows why.
        if self._close is not None:
            await self._close(opened)
