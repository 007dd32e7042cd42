"""`MemoryStorage`: bytes by key in a dict, gone with the process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

from llmspell_core import StorageBackend, StorageStats
from llmspell_storage._keys import checked_key, checked_value

if TYPE_CHECKING:
    from llmspell_core import Services


_NEVER = float("inf")


class MemoryStorage(StorageBackend):
    """A `StorageBackend` in memory. Two instances share nothing."""

    persistent = False

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._ends: dict[str, float] = {}

    async def get(self, key: str) -> bytes | None:
        return self._live(checked_key(key))

    def _live(self, key: str) -> bytes | None:
        """The value, unless its time is over; then it is removed."""
        if self._ends and self._ends.get(key, _NEVER) <= time.time():
            del self._values[key], self._ends[key]
        return self._values.get(key)

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        # No await in here: on one event loop that makes it atomic.
        new = {checked_key(key): checked_value(value) for key, value in puts.items()}
        gone = [checked_key(key) for key in deletes]
        for key, value in (expect or {}).items():
            if self._live(key) != value:
                return False
        for key in gone:
            self._values.pop(key, None)
            self._ends.pop(key, None)
        self._values.update(new)
        if expires_at is not None:
            self._sweep()
            self._ends.update(dict.fromkeys(new, expires_at))
        elif self._ends:
            for key in new:
                self._ends.pop(key, None)
        return True

    def _sweep(self) -> None:
        now = time.time()
        for key in [key for key, end in self._ends.items() if end <= now]:
            del self._values[key], self._ends[key]

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for key in sorted(key for key in self._values if key.startswith(prefix)):
            value = self._live(key)
            if value is not None:  # else it was deleted while the consumer worked
                yield key, value

    async def expiries(self) -> dict[str, float]:
        self._sweep()
        return dict(self._ends)

    async def clear(self) -> int:
        self._sweep()
        count = len(self._values)
        self._values.clear()
        self._ends.clear()
        return count

    async def stats(self) -> StorageStats:
        self._sweep()
        return StorageStats(len(self._values), sum(map(len, self._values.values())))


def open_memory(services: Services, *, name: str, path: str | None = None) -> MemoryStorage:
    """The factory ``memory`` of the group ``llmspell.storage``; *name* and *path* say nothing."""
    return MemoryStorage()
