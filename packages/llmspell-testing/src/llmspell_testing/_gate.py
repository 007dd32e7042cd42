"""`Gate`: an event that threads and event loops share."""

from __future__ import annotations

import asyncio
import threading


class Gate:
    """Closed until somebody opens it: from any thread, for waiters in any thread or loop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def open(self) -> None:
        """Let everybody through, now and later."""
        with self._lock:
            self._event.set()
            waiters, self._waiters = self._waiters, []
        for loop, future in waiters:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_release, future)

    def is_set(self) -> bool:
        """Whether it is open."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait on the running loop until it is open."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._event.is_set():
                return
            future: asyncio.Future[None] = loop.create_future()
            self._waiters.append((loop, future))
        await future

    def wait_blocking(self, timeout_seconds: float = 30.0) -> None:
        """Wait on this thread until it is open.

        Raises:
            TimeoutError: when that takes too long.
        """
        if not self._event.wait(timeout_seconds):
            raise TimeoutError(f"nobody opened the gate within {timeout_seconds:g} s")


def _release(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
