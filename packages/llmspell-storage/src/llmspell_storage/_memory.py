"""`MemoryStorage`: bytes by key in a dict, gone with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

from llmspell_core import StorageBackend, StorageStats
from llmspell_storage._keys import checked_key, checked_value

if TYPE_CHECKING:
    from llmspell_core import Services


class MemoryStorage(StorageBackend):
    """A `StorageBackend` in memory. Two instances share nothing."""

    persistent = False

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self._values.get(checked_key(key))

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
    ) -> bool:
        # No await in here: on one event loop that makes it atomic.
        new = {checked_key(key): checked_value(value) for key, value in puts.items()}
        gone = [checked_key(key) for key in deletes]
        for key, value in (expect or {}).items():
            if self._values.get(key) != value:
                return False
        for key in gone:
            self._values.pop(key, None)
        self._values.update(new)
        return True

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        for key in sorted(key for key in self._values if key.startswith(prefix)):
            value = self._values.get(key)
            if value is not None:  # else it was deleted while the consumer worked
                yield key, value

    async def clear(self) -> int:
        count = len(self._values)
        self._values.clear()
        return count

    async def stats(self) -> StorageStats:
        return StorageStats(len(self._values), sum(map(len, self._values.values())))


def open_memory(services: Services, *, name: str, path: str | None = None) -> MemoryStorage:
    """The factory ``memory`` of the group ``llmspell.storage``; *name* and *path* say nothing."""
    return MemoryStorage()
