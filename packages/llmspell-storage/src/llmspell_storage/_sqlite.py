"""`SqliteStorage`: bytes by key in one SQLite file that several processes may share."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from llmspell_core import OpenOnce, StorageBackend, StorageStats
from llmspell_storage._database import Kind, connect, translated, writing
from llmspell_storage._keys import checked_key, checked_value
from llmspell_storage._worker import Worker

if TYPE_CHECKING:
    from llmspell_core import Services

T = TypeVar("T")

_EXPIRY_INDEX = "CREATE INDEX entries_expiry ON entries(expires_at) WHERE expires_at IS NOT NULL"
KIND = Kind(
    name="a key/value store of LLMSpell",
    application_id=0x4C534B56,  # "LSKV"
    version=2,
    # The default collation compares UTF-8 bytes, which is the order of code points.
    schema=(
        "CREATE TABLE entries(key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at REAL)"
        " WITHOUT ROWID",
        _EXPIRY_INDEX,
    ),
    steps={1: ("ALTER TABLE entries ADD COLUMN expires_at REAL", _EXPIRY_INDEX)},
)
_PUT = (
    "INSERT INTO entries(key, value, expires_at) VALUES(?, ?, ?) ON CONFLICT DO UPDATE"
    " SET value=excluded.value, expires_at=excluded.expires_at"
)
_LIVE = "(expires_at IS NULL OR expires_at > ?)"
_SWEEP_SECONDS = 60.0
_PAGE_ROWS = 256
_PAGE_BYTES = 1 << 20


class SqliteStorage(StorageBackend):
    """A `StorageBackend` in the SQLite file *path*, in write-ahead mode.

    The directory (mode 0700) and the file (mode 0600) are created by the first write; reading
    what is not there finds nothing and creates nothing. A write that returned survives the death
    of the process; only a power cut may take the last moments, never half of a write. Other
    processes may use the same file: a write waits up to 10 s for theirs.

    `scan` reads page by page: it never blocks writers, and what they write meanwhile may or
    may not be seen.

    Raises:
        StorageError: by every method, when the file is damaged, read-only, of a newer version
            or locked for too long, or the disk is full.
    """

    persistent = True

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self._opened = OpenOnce(f"storage {self.path}", self._open, self._close)

    async def _open(self) -> _Session:
        return _Session(self.path)

    async def _close(self, session: _Session) -> None:
        await session.worker.finish(session.close)

    async def _run(self, work: Callable[[_Session], T]) -> T:
        session = await self._opened.get()
        return await session.worker.call(partial(work, session))

    async def get(self, key: str) -> bytes | None:
        checked_key(key)
        return await self._run(lambda session: session.get(key))

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        new = [(checked_key(key), checked_value(value), expires_at) for key, value in puts.items()]
        gone = [(checked_key(key),) for key in deletes]
        wanted = {checked_key(key): value for key, value in (expect or {}).items()}
        return await self._run(lambda session: session.write(new, gone, wanted))

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        end = _end_of(checked_key(prefix))
        after: str | None = None
        while True:
            page = await self._run(partial(_Session.page, prefix=prefix, end=end, after=after))
            for row in page:
                yield row
            if not page:
                return
            after = page[-1][0]

    async def list_keys(self, prefix: str = "") -> list[str]:
        end = _end_of(checked_key(prefix))
        return await self._run(lambda session: session.keys(prefix, end))

    async def get_batch(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = [checked_key(key) for key in keys]

        def read(session: _Session) -> dict[str, bytes]:
            found = ((key, session.get(key)) for key in wanted)
            return {key: value for key, value in found if value is not None}

        return await self._run(read)

    async def expiries(self) -> dict[str, float]:
        return await self._run(_Session.expiries)

    async def clear(self) -> int:
        return await self._run(_Session.clear)

    async def stats(self) -> StorageStats:
        return await self._run(_Session.stats)

    async def aclose(self) -> None:
        await self._opened.aclose()


def _end_of(prefix: str) -> str | None:
    """The first text behind all that begin with *prefix*; None when there is no end."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            following = 0xE000 if last == 0xD7FF else last + 1  # surrogates are no text
            return prefix[:-1] + chr(following)
        prefix = prefix[:-1]
    return None


def _value(connection: sqlite3.Connection, key: str) -> bytes | None:
    row = connection.execute("SELECT value, expires_at FROM entries WHERE key=?", (key,)).fetchone()
    if row is None or (row[1] is not None and row[1] <= time.time()):
        return None
    return row[0]


class _Session:
    """The connection, used on the worker's thread only."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.worker = Worker(f"llmspell-storage {os.path.basename(path)}")
        self._connection: sqlite3.Connection | None = None
        self._swept = 0.0

    def _sweep(self, connection: sqlite3.Connection, *, at_once: bool = False) -> None:
        """Free what has expired, now and then."""
        now = time.time()
        if at_once or abs(now - self._swept) > _SWEEP_SECONDS:
            self._swept = now
            connection.execute("DELETE FROM entries WHERE expires_at <= ?", (now,))

    def _readable(self) -> sqlite3.Connection | None:
        if self._connection is None:
            self._connection = connect(self.path, KIND, create=False)
        return self._connection

    def _writable(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.path, KIND, create=True)
            assert self._connection is not None
        return self._connection

    def get(self, key: str) -> bytes | None:
        with translated(self.path, "read"):
            connection = self._readable()
            if connection is None:
                return None
            return _value(connection, key)

    def write(
        self,
        puts: list[tuple[str, bytes, float | None]],
        deletes: list[tuple[str]],
        expect: Mapping[str, bytes | None],
    ) -> bool:
        with translated(self.path, "write"):
            if not puts and self._connection is None and not os.path.exists(self.path):
                return all(value is None for value in expect.values())
            connection = self._writable()
            if len(puts) == 1 and not deletes and not expect and puts[0][2] is None:
                connection.execute(_PUT, puts[0])  # a statement is a transaction of its own
                return True
            with writing(connection):
                if any(_value(connection, key) != value for key, value in expect.items()):
                    return False
                self._sweep(connection)
                connection.executemany("DELETE FROM entries WHERE key=?", deletes)
                connection.executemany(_PUT, puts)
            return True

    def _rows(
        self, columns: str, prefix: str, end: str | None, after: str | None
    ) -> sqlite3.Cursor | None:
        connection = self._readable()
        if connection is None:
            return None
        conditions: list[str] = ["key >= ?" if after is None else "key > ?", _LIVE]
        values: list[str | float] = [prefix if after is None else after, time.time()]
        if end is not None:
            conditions.append("key < ?")
            values.append(end)
        return connection.execute(
            f"SELECT {columns} FROM entries WHERE {' AND '.join(conditions)} ORDER BY key",  # noqa: S608 - constants
            values,
        )

    def page(self, *, prefix: str, end: str | None, after: str | None) -> list[tuple[str, bytes]]:
        with translated(self.path, "read"):
            rows: list[tuple[str, bytes]] = []
            size = 0
            cursor = self._rows("key, value", prefix, end, after)
            for row in cursor or ():
                rows.append(row)
                size += len(row[1])
                if len(rows) == _PAGE_ROWS or size > _PAGE_BYTES:
                    break
            if cursor is not None:
                cursor.close()  # an open cursor would hold back checkpoints
            return rows

    def keys(self, prefix: str, end: str | None) -> list[str]:
        with translated(self.path, "read"):
            return [key for (key,) in self._rows("key", prefix, end, None) or ()]

    def expiries(self) -> dict[str, float]:
        with translated(self.path, "read"):
            connection = self._readable()
            if connection is None:
                return {}
            return dict(
                connection.execute(
                    "SELECT key, expires_at FROM entries WHERE expires_at > ?", (time.time(),)
                )
            )

    def clear(self) -> int:
        with translated(self.path, "write"):
            if self._readable() is None:
                return 0
            with writing(self._writable()) as connection:
                self._sweep(connection, at_once=True)
                return connection.execute("DELETE FROM entries").rowcount

    def stats(self) -> StorageStats:
        with translated(self.path, "read"):
            connection = self._readable()
            if connection is None:
                return StorageStats(0, 0)
            keys, size = connection.execute(
                f"SELECT COUNT(*), COALESCE(SUM(LENGTH(value)), 0) FROM entries WHERE {_LIVE}",  # noqa: S608 - constants
                (time.time(),),
            ).fetchone()
            return StorageStats(keys, size)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def open_sqlite(services: Services, *, name: str, path: str | None = None) -> SqliteStorage:
    """The factory ``sqlite`` of the group ``llmspell.storage``: the file *path*, or without one
    ``<name>.db`` in the directory for data.
    """
    return SqliteStorage(path or os.path.join(services.config.home, f"{name}.db"))
