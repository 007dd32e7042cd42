"""`Worker`: one thread that does the blocking work of one database, in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], "asyncio.Future[Any] | None", "asyncio.AbstractEventLoop | None"]


class Worker:
    """A daemon thread, started by the first job, that runs jobs one after the other.

    A hop there and back costs half of what an executor's does, and the order of jobs is the
    order of calls. A job whose caller was cancelled before it began is left out.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def call(self, work: Callable[[], T]) -> T:
        """Run *work* on the thread and wait for what it returns or raises."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._put((work, future, loop))
        return await future

    def post(self, work: Callable[[], object]) -> None:
        """Run *work* some time; it must deal with its own failures."""
        self._put((work, None, None))

    def _put(self, job: _Job) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=_serve, args=(self._queue,), name=self._name, daemon=True
            )
            self._thread.start()
        self._queue.put(job)

    async def finish(self, last: Callable[[], object]) -> None:
        """Run *last* behind all that is queued, then end the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._queue.put((last, future, loop))
        self._queue.put(None)
        await asyncio.shield(future)


def _serve(queue: SimpleQueue[_Job | None]) -> None:
    while (job := queue.get()) is not None:
        work, future, loop = job
        if future is None or loop is None:
            work()
        elif not future.cancelled():
            result: Any = None
            failure: BaseException | None = None
            try:
                result = work()
            except BaseException as error:
                failure = error
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, future, result, failure)
            del result, failure
        # An idle thread must not keep the last result alive.
        del job, work, future, loop


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
