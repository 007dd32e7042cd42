"""Copying a store from one back end to another, and proving that it arrived."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from llmspell_core import StorageError

if TYPE_CHECKING:
    from llmspell_core import StorageBackend

UNFINISHED = "\x00llmspell:copying"
"""The key that a target holds while it is written to. A store that has it is no store yet."""

_BATCH_KEYS = 1000
_BATCH_BYTES = 4 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied. `digest` is the SHA-256 over all keys and values, equal at both ends."""

    keys: int
    size_bytes: int
    digest: str


async def copy_store(
    source: StorageBackend,
    target: StorageBackend,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy all keys in batches, then read the target again and compare.

    What is written to *source* meanwhile may or may not be copied. The source is never changed.

    Args:
        source: Where from.
        target: Where to: empty, or left over from a copy that was interrupted.
        overwrite: Replace what *target* holds.
        progress: Called after each batch with the keys copied so far and how many there were
            at the beginning.

    Raises:
        StorageError: when the target is not empty, or does not hold what was written to it; the
            target is empty then (but for the first case).
    """
    total = (await source.stats()).keys
    await _make_empty(target, overwrite=overwrite)
    await target.set(UNFINISHED, b"")
    try:
        written = await _write_all(source, target, total, progress)
        arrived = await _read_all(target)
        if arrived != written:
            raise StorageError(
                f"the copy differs: {written.keys} keys with digest {written.digest[:12]} were "
                f"written, {arrived.keys} with {arrived.digest[:12]} came back",
                hint="Somebody else writes to the target; stop it, then copy again.",
                operation="verify",
                code="STORAGE_COPY_DIFFERS",
            )
        await target.delete(UNFINISHED)
    except BaseException:
        await target.clear()
        raise
    return written


async def _make_empty(target: StorageBackend, *, overwrite: bool) -> None:
    if await target.exists(UNFINISHED):
        await target.clear()
        return
    held = (await target.stats()).keys
    if held and not overwrite:
        raise StorageError(
            f"the target holds {held} keys already",
            hint="Copy into an empty store, or replace all that it holds with --overwrite.",
            operation="copy",
            code="STORAGE_NOT_EMPTY",
        )
    await target.clear()


async def _write_all(
    source: StorageBackend, target: StorageBackend, total: int, progress: Progress | None
) -> CopyReport:
    seal = _Seal()
    ends = await source.expiries()
    batch: dict[str, bytes] = {}
    held = 0
    async for key, value in source.scan():
        seal.add(key, value)
        if key in ends:
            await target.set(key, value, expires_at=ends[key])
            continue
        batch[key] = value
        held += len(value)
        if len(batch) >= _BATCH_KEYS or held >= _BATCH_BYTES:
            await target.write(batch)
            batch, held = {}, 0
            if progress is not None:
                progress(seal.keys, max(total, seal.keys))
    await target.write(batch)
    if progress is not None:
        progress(seal.keys, max(total, seal.keys))
    return seal.report()


async def _read_all(target: StorageBackend) -> CopyReport:
    seal = _Seal()
    async for key, value in target.scan():
        if key != UNFINISHED:
            seal.add(key, value)
    return seal.report()


class _Seal:
    """Counts, and hashes keys and values with their lengths, so that no two stores look alike."""

    def __init__(self) -> None:
        self.keys = 0
        self._size = 0
        self._hash = sha256()

    def add(self, key: str, value: bytes) -> None:
        raw = key.encode()
        self._hash.update(b"%d:%d:" % (len(raw), len(value)))
        self._hash.update(raw)
        self._hash.update(value)
        self.keys += 1
        self._size += len(value)

    def report(self) -> CopyReport:
        return CopyReport(self.keys, self._size, self._hash.hexdigest())
