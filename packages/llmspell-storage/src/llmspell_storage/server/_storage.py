"""`ServerStorage`: bytes by key in a table of a database server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar

from llmspell_core import ConfigurationError, OpenOnce, StorageBackend, StorageStats
from llmspell_storage._keys import checked_key, checked_value
from llmspell_storage.server._address import (
    MARIADB,
    POSTGRES,
    ServerConfig,
    ServerKind,
    server_url,
    shown,
)

if TYPE_CHECKING:
    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from llmspell_core import Services

T = TypeVar("T")

_PAGE_ROWS = 500
_PAGE_BYTES = 1 << 20
_KEYS_AT_ONCE = 5000
_ROWS_AT_ONCE = 500
_TRIES = 20


class ServerStorage(StorageBackend):
    """A `StorageBackend` in the database at *url*; several stores and processes may share one.

    The table ``llmspell_entries`` is created or migrated at the first use. Connections are made
    when they are needed and checked before they are used, so a server that was restarted is
    found again. Writes that got in each other's way are tried again.

    `scan` reads page by page: what others write meanwhile may or may not be seen.

    Args:
        kind: What server it is.
        url: Its address.
        store: Which of the stores in that database.
        config: Sizes of the pool.

    Raises:
        StorageError: by every method, when the server cannot be reached or refuses.
        ConfigurationError: when the driver is not installed.
    """

    persistent = True

    def __init__(
        self, kind: ServerKind, url: URL, *, store: str, config: ServerConfig | None = None
    ) -> None:
        self.kind = kind
        self.store = store
        self.place = shown(url)
        self._url = url
        self._config = config or ServerConfig()
        self._opened = OpenOnce(f"storage {self.place}", self._open, self._close)
        self._writes: set[asyncio.Future[Any]] = set()

    # -- the connection ----------------------------------------------------------------------------

    async def _open(self) -> AsyncEngine:
        return await self._translated("open", self._prepared)

    async def _prepared(self) -> AsyncEngine:
        # Importing SQLAlchemy takes half a second.
        engine = await asyncio.to_thread(self._engine)
        from llmspell_storage.server._schema import prepare

        try:
            async with engine.begin() as connection:
                await connection.run_sync(prepare, self.place)
        except BaseException:
            await engine.dispose()
            raise
        return engine

    def _engine(self) -> AsyncEngine:
        try:
            import sqlalchemy.ext.asyncio as aio

            import llmspell_storage.server._schema

            assert llmspell_storage.server._schema.VERSION  # imported here, off the loop
            return aio.create_async_engine(
                self._url,
                # Each statement sees what was committed before it; the checks of `write` take
                # locks. Stricter levels of MariaDB lock gaps, and inserts then deadlock.
                isolation_level="READ COMMITTED",
                pool_size=self._config.pool_size,
                max_overflow=0,
                pool_timeout=self._config.pool_timeout_secs,
                pool_recycle=self._config.max_lifetime_secs,
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ImportError as error:
            raise ConfigurationError(
                f"the storage back end '{self.kind.name}' needs a package that is not installed: "
                f"{error.name}",
                hint=f"Install it with: pip install 'llmspell-storage[{self.kind.extra}]'",
                code="STORAGE_DRIVER",
            ) from error

    async def _close(self, engine: AsyncEngine) -> None:
        if self._writes:
            await asyncio.wait(self._writes)
        await engine.dispose()

    async def _translated(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """What *work* brings; failures as `StorageError`, collisions tried again."""
        from llmspell_storage.server._failures import collided, translated

        for turn in range(_TRIES):
            with translated(self.kind, self.place, what):
                try:
                    return await work()
                except Exception as error:
                    if turn == _TRIES - 1 or not collided(error):
                        raise
            await asyncio.sleep(0.001 * 2 ** min(turn, 6))
        raise AssertionError("unreachable")

    async def _reading(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        engine = await self._opened.get()

        async def run() -> T:
            async with engine.connect() as connection:
                return await work(connection)

        return await self._translated("read", run)

    async def _writing(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run *work* in a transaction, to its end even if the caller is cancelled."""
        engine = await self._opened.get()

        async def run() -> T:
            async with engine.begin() as connection:
                return await work(connection)

        task = asyncio.ensure_future(self._translated("write", run))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    # -- reading -----------------------------------------------------------------------------------

    async def get(self, key: str) -> bytes | None:
        return (await self.get_batch((key,))).get(key)

    async def get_batch(self, keys: Iterable[str]) -> dict[str, bytes]:
        wanted = {_digest(key): key for key in map(checked_key, keys)}
        if not wanted:
            return {}

        async def read(connection: AsyncConnection) -> dict[str, bytes]:
            found: dict[str, bytes] = {}
            for some in _parts(list(wanted), _ROWS_AT_ONCE):
                for digest, value in await _values(connection, self.store, some):
                    found[wanted[digest]] = value
            return found

        return await self._reading(read)

    async def scan(self, prefix: str = "") -> AsyncIterator[tuple[str, bytes]]:
        beginning = checked_key(prefix).encode()
        after: bytes | None = None
        rows = 16
        while True:
            page = await self._page(beginning, after, rows, values=True)
            for key, value in page:
                yield key.decode(), value
            if len(page) < rows:
                return
            after = page[-1][0]
            # Pages of many small values, and few large ones.
            size = sum(len(value) for _, value in page) // len(page) + 1
            rows = max(1, min(_PAGE_ROWS, rows * 4, _PAGE_BYTES // size))

    async def list_keys(self, prefix: str = "") -> list[str]:
        beginning = checked_key(prefix).encode()
        found: list[str] = []
        after: bytes | None = None
        while True:
            page = await self._page(beginning, after, _KEYS_AT_ONCE, values=False)
            found.extend(row[0].decode() for row in page)
            if len(page) < _KEYS_AT_ONCE:
                return found
            after = page[-1][0]

    async def _page(
        self, beginning: bytes, after: bytes | None, rows: int, *, values: bool
    ) -> Sequence[Any]:
        async def read(connection: AsyncConnection) -> Sequence[Any]:
            from llmspell_storage.server._statements import page

            statement = page(self.store, beginning, after, rows, values=values)
            return (await connection.execute(statement)).fetchall()

        return await self._reading(read)

    async def expiries(self) -> dict[str, float]:
        async def read(connection: AsyncConnection) -> dict[str, float]:
            from llmspell_storage.server._statements import ends

            rows = await connection.execute(ends(self.store))
            return {bytes(key).decode(): end for key, end in rows}

        return await self._reading(read)

    async def stats(self) -> StorageStats:
        async def read(connection: AsyncConnection) -> StorageStats:
            from llmspell_storage.server._statements import totals

            keys, size = (await connection.execute(totals(self.store))).one()
            return StorageStats(int(keys), int(size))

        return await self._reading(read)

    # -- writing -----------------------------------------------------------------------------------

    async def write(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        *,
        expect: Mapping[str, bytes | None] | None = None,
        expires_at: float | None = None,
    ) -> bool:
        new = {_digest(checked_key(k)): _row(self.store, k, v, expires_at) for k, v in puts.items()}
        gone = sorted({_digest(checked_key(key)) for key in deletes} - set(new))
        wanted = {_digest(checked_key(k)): (k, v) for k, v in (expect or {}).items()}
        if not new and not gone and not wanted:
            return True
        return await self._writing(partial(self._write, new=new, gone=gone, wanted=wanted))

    async def _write(
        self,
        connection: AsyncConnection,
        *,
        new: Mapping[bytes, dict[str, Any]],
        gone: Sequence[bytes],
        wanted: Mapping[bytes, tuple[str, bytes | None]],
    ) -> bool:
        from llmspell_storage.server._statements import delete_digests, upserts

        absent = {d: key for d, (key, value) in wanted.items() if value is None}
        if not await self._as_expected(connection, wanted) or not await self._claimed(
            connection, {d: new.get(d) or _row(self.store, key, b"") for d, key in absent.items()}
        ):
            await connection.rollback()
            return False
        doomed = sorted({*gone, *(d for d in absent if d not in new)})
        for some in _parts(doomed, _ROWS_AT_ONCE):
            await connection.execute(delete_digests(self.store, some))
        # Sorted: whoever writes the same rows takes their locks in the same order.
        rows = [new[digest] for digest in sorted(new) if digest not in absent]
        for some in _parts(rows, _ROWS_AT_ONCE):
            await connection.execute(upserts(connection.dialect.name), some)
        return True

    async def _as_expected(
        self, connection: AsyncConnection, wanted: Mapping[bytes, tuple[str, bytes | None]]
    ) -> bool:
        """Whether the rows that are expected have their values; they are locked."""
        there = {d: value for d, (_, value) in wanted.items() if value is not None}
        for some in _parts(sorted(there), _ROWS_AT_ONCE):
            found = dict(await _values(connection, self.store, some, lock=True))
            if any(found.get(digest) != there[digest] for digest in some):
                return False
        return True

    async def _claimed(
        self, connection: AsyncConnection, rows: Mapping[bytes, dict[str, Any]]
    ) -> bool:
        """Insert *rows* that must not exist; False when one does. A row that is not there
        cannot be locked, but inserting it keeps everybody else from it.
        """
        from sqlalchemy.exc import IntegrityError

        from llmspell_storage.server._statements import delete_expired, inserts

        if rows:
            # What has expired is absent, but its row would be in the way.
            await connection.execute(delete_expired(self.store, sorted(rows)))
        try:
            for digest in sorted(rows):
                await connection.execute(inserts(), [rows[digest]])
        except IntegrityError:
            return False
        return True

    async def update(
        self, key: str, change: Callable[[bytes | None], bytes | None]
    ) -> bytes | None:
        digest = _digest(checked_key(key))

        async def run(connection: AsyncConnection) -> bytes | None:
            from llmspell_storage.server._statements import (
                claims,
                delete_digests,
                delete_expired,
                upserts,
            )

            await connection.execute(delete_expired(self.store, (digest,)))
            # Whoever comes second waits at the row instead of trying again and again. One that
            # is absent cannot be locked: it is claimed by inserting it.
            rows = await _values(connection, self.store, (digest,), lock=True)
            if not rows:
                claim = claims(connection.dialect.name)
                claimed = await connection.execute(claim, _row(self.store, key, b""))
                if not claimed.rowcount:
                    raise _OvertakenError
            old = rows[0][1] if rows else None
            new = change(old)
            if new is None:
                await connection.execute(delete_digests(self.store, (digest,)))
            else:
                row = _row(self.store, key, new)
                await connection.execute(upserts(connection.dialect.name), [row])
            return new

        while True:
            try:
                return await self._writing(run)
            except _OvertakenError:
                continue  # it was inserted between the two statements: now it can be locked

    async def clear(self) -> int:
        async def run(connection: AsyncConnection) -> int:
            from llmspell_storage.server._statements import delete_all, delete_expired

            await connection.execute(delete_expired(self.store))
            return (await connection.execute(delete_all(self.store))).rowcount

        return await self._writing(run)

    async def aclose(self) -> None:
        await self._opened.aclose()


class _OvertakenError(Exception):
    """A row that was absent a moment ago is there."""


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def _row(store: str, key: str, value: bytes, expires_at: float | None = None) -> dict[str, Any]:
    from llmspell_storage.server._statements import HEAD_BYTES

    raw = key.encode()
    return {
        "store": store,
        "digest": sha256(raw).digest(),
        "head": raw[:HEAD_BYTES],
        "key": raw,
        "value": checked_value(value),
        "expires_at": expires_at,
    }


def _parts(items: Sequence[T], size: int) -> Iterable[Sequence[T]]:
    return (items[at : at + size] for at in range(0, len(items), size))


async def _values(
    connection: AsyncConnection, store: str, digests: Sequence[bytes], *, lock: bool = False
) -> list[tuple[bytes, bytes]]:
    from llmspell_storage.server._statements import values_of

    rows = await connection.execute(values_of(store, digests, lock=lock))
    return [(bytes(digest), bytes(value)) for digest, value in rows]


def open_postgres(services: Services, *, name: str, path: str | None = None) -> ServerStorage:
    """The factory ``postgres`` of the group ``llmspell.storage``: the database of
    ``[storage.postgres]``, the store *name* in it. *path* says nothing.
    """
    config = services.config.section("storage.postgres", ServerConfig)
    return open_server(POSTGRES, config, services, name)


def open_mariadb(services: Services, *, name: str, path: str | None = None) -> ServerStorage:
    """The factory ``mariadb`` of the group ``llmspell.storage``, as `open_postgres`."""
    config = services.config.section("storage.mariadb", ServerConfig)
    return open_server(MARIADB, config, services, name)


def open_server(
    kind: ServerKind, config: ServerConfig, services: Services, store: str
) -> ServerStorage:
    """The store *store* at the address of *config*; connects at its first use.

    Raises:
        ConfigurationError: for an address that does not fit, or without SQLAlchemy.
    """
    try:
        url = server_url(kind, config, services)
    except ImportError as error:
        raise ConfigurationError(
            f"the storage back end '{kind.name}' needs SQLAlchemy",
            hint=f"Install it with: pip install 'llmspell-storage[{kind.extra}]'",
            code="STORAGE_DRIVER",
        ) from error
    return ServerStorage(kind, url, store=store, config=config)
