"""One subscriber: a bounded queue, and either a handler that empties it or receivers that wait."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from llmspell_core import IO_LOOP

if TYPE_CHECKING:
    import asyncio

    from llmspell_core._bases import Event, EventHandler


class Subscription:
    """Events wait here, the oldest first; a full queue loses its oldest and counts it.

    Args:
        id: What the subscriber knows it by.
        matches: Whether a topic is meant.
        capacity: How many events wait at most.
        handler: Called with each event, one after the other; None leaves them to `receive`.
        loop: Where the handler runs; None is the process-wide loop, started by the first event.
    """

    def __init__(
        self,
        id: str,
        matches: Callable[[str], bool],
        *,
        capacity: int,
        handler: EventHandler | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.id = id
        self.matches = matches
        self.handler = handler
        self.dropped = 0
        self.delivered = 0
        self._capacity = capacity
        self._loop = loop
        self._queue: deque[Event] = deque()
        self._lock = threading.Lock()
        self._serving = False
        self._closed = False
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._queue)

    def offer(self, event: Event) -> None:
        """Queue *event* and wake whoever takes it; from any thread."""
        with self._lock:
            if self._closed:
                return
            if len(self._queue) >= self._capacity:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(event)
            if self.handler is not None:
                if self._serving:
                    return
                self._serving = True
                waiting = None
            elif not self._waiting:
                return
            else:
                waiting, self._waiting = self._waiting, []
        if waiting is None:
            self._start_serving()
            return
        for wake in waiting:
            wake()

    def _start_serving(self) -> None:
        loop = self._loop or IO_LOOP.loop()
        try:
            loop.call_soon_threadsafe(self._spawn, loop)
        except RuntimeError:
            # The subscriber's own loop has ended, and the subscriber with it.
            self.close()

    def _spawn(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            if not self._closed:
                self._task = loop.create_task(self._serve())

    async def _serve(self) -> None:
        from inspect import isawaitable

        handler = self.handler
        assert handler is not None
        while True:
            event = self._next()
            if event is None:
                return
            try:
                answer = handler(event)
                if isawaitable(answer):
                    await answer
            except BaseException as error:
                if not isinstance(error, Exception):
                    self.close()
                    raise
                import logging

                logging.getLogger("llmspell.events").exception(
                    "the handler %r failed on the event '%s'", handler, event.topic
                )

    def _next(self) -> Event | None:
        with self._lock:
            if self._queue:
                self.delivered += 1
                return self._queue.popleft()
            self._serving = False
            waiting, self._waiting = self._waiting, []
        for wake in waiting:
            wake()
        return None

    async def receive(self, timeout_seconds: float | None) -> Event | None:
        """The next event; None after the time-out or when the subscription ends."""
        import asyncio

        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    with self._lock:
                        if self._queue:
                            self.delivered += 1
                            return self._queue.popleft()
                        if self._closed:
                            return None
                        woken = self._waiter()
                    await woken
        except TimeoutError:
            return None

    async def drain(self) -> None:
        """Wait until the handler has had every event that was queued."""
        while True:
            with self._lock:
                if not self._serving or self._closed:
                    return
                woken = self._waiter()
            await woken

    def _waiter(self) -> asyncio.Future[None]:
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            with suppress(RuntimeError):  # that loop may have ended, and the waiter with it
                loop.call_soon_threadsafe(finish)

        self._waiting.append(wake)
        return future

    def close(self) -> None:
        """Forget what is queued, end the handler, release those who wait."""
        with self._lock:
            self._closed = True
            self._queue.clear()
            task, self._task = self._task, None
            waiting, self._waiting = self._waiting, []
        if task is not None and not task.done() and not _inside(task):
            with suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(task.cancel)
        for wake in waiting:
            wake()


def _inside(task: asyncio.Task[None]) -> bool:
    """Whether this is the task itself: a handler that unsubscribes finishes what it does."""
    import asyncio

    try:
        return asyncio.current_task() is task
    except RuntimeError:
        return False
