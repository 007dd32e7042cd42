"""Blocking work on a worker thread, told to stop when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The work was told to stop; nobody reads this."""


class Stop:
    """Whether the work should go on; asked between pieces of it."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        """End the work at its next `check`."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether it should end."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` once set."""
        if self._event.is_set():
            raise Stopped


async def in_thread(work: Callable[[Stop], T]) -> T:
    """Run ``work(stop)`` on a worker thread. When the caller is cancelled, a time-out included,
    *stop* is set and the work ends at its next check, cleaning up behind itself.
    """
    stop = Stop()
    try:
        return await asyncio.get_running_loop().run_in_executor(None, work, stop)
    except asyncio.CancelledError:
        stop.set()
        raise
