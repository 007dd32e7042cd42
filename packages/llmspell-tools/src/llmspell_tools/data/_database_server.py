"""PostgreSQL and MariaDB (MySQL) through SQLAlchemy: one transaction a call, read-only unless it
shall write, ended at the server when the time is up or nobody waits any more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import (
    ConfigurationError,
    LLMSpellError,
    LLMTimeoutError,
    NetworkError,
    StorageError,
)
from llmspell_tools.data._database_values import Rows

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from llmspell_tools.data._database_places import Place
    from llmspell_tools.data._settings import DatabaseConfig

_log = logging.getLogger("llmspell.tools.database")

MOST_TABLES = 1000
_DRIVERS = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+asyncmy"}
_PATIENCE = 5.0
"""Seconds to wait for a server to end what it was told to end."""

# SQLSTATE of PostgreSQL (appendix A of its manual), error numbers of MariaDB and MySQL.
_LOGIN = {"28P01", "28000", 1044, 1045, 1698}
_TIMED_OUT = {"57014", 1969, 3024, 1317}
_LOST = {2002, 2003, 2006, 2013}


class Server:
    """A database server, with a pool of connections to it.

    Args:
        place: Where it is.
        settings: Time-outs.
        pool_size: Most connections at once; 0 makes one for each call.
    """

    def __init__(self, place: Place, settings: DatabaseConfig, pool_size: int) -> None:
        self._place = place
        self._settings = settings
        self._pool_size = pool_size
        self._engine: AsyncEngine | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._ending:
            await asyncio.wait(self._ending, timeout=_PATIENCE)
        if self._engine is not None:
            await self._engine.dispose()

    async def run(
        self, text: str, values: Mapping[str, Any], most: int, *, writes: bool
    ) -> tuple[Rows, int]:
        """Run one statement; its rows, and how many it changed.

        Raises:
            LLMTimeoutError: when it took too long; nothing is changed then.
            NetworkError: when the server cannot be reached or does not let us in.
            StorageError: as the server says.
        """
        async with self._connected(writes=writes, most=most) as connection:
            from sqlalchemy import text as sql

            statement = sql(text)
            if not writes and self._place.dialect == "postgresql":
                # A cursor at the server: rows beyond the limit never leave it.
                async with connection.stream(statement, dict(values)) as streamed:
                    rows = Rows(list(streamed.keys()), most)
                    async for row in streamed:
                        if not rows.add(row):
                            break
                return rows, 0
            found = await connection.execute(statement, dict(values))
            rows = Rows(list(found.keys()) if found.returns_rows else [], most)
            if found.returns_rows:
                for row in found:
                    if not rows.add(row):
                        break
            changed = max(cast("int", cast("Any", found).rowcount), 0) if writes else 0
            return rows, changed

    async def tables(self) -> list[dict[str, Any]]:
        """``{name, columns[{name, type, nullable, primary_key, default}]}`` of every table and
        view of the default schema. Raises as `run`.
        """
        async with self._connected(writes=False, most=None) as connection:
            return await connection.run_sync(_reflected)

    # Connections ---------------------------------------------------------------------------

    @asynccontextmanager
    async def _connected(
        self, *, writes: bool, most: int | None
    ) -> AsyncGenerator[AsyncConnection]:
        """A connection in a transaction, committed at the end of the block if it *writes*."""
        engine = await self._opened()
        seconds = self._settings.query_timeout_seconds
        bound = asyncio.timeout(None)
        try:
            async with bound, engine.connect() as connection:
                backend = await self._begin(connection, writes=writes, most=most)
                # The server's own limit comes first; this one is for a server that hangs.
                bound.reschedule(asyncio.get_running_loop().time() + seconds + 1)
                try:
                    yield connection
                except asyncio.CancelledError:
                    await self._end(connection, backend)
                    raise
                if writes:
                    await connection.commit()
                else:
                    await connection.rollback()
        except TimeoutError:
            if not bound.expired():
                raise self._unreachable("no connection in time") from None
            raise self._late() from None
        except LLMSpellError:
            raise
        except Exception as error:
            raise self._failure(error) from None

    async def _begin(
        self, connection: AsyncConnection, *, writes: bool, most: int | None
    ) -> int | None:
        """Set the limits of the transaction; what the server calls this connection."""
        milliseconds = max(1, round(self._settings.query_timeout_seconds * 1000))
        if self._place.dialect == "postgresql":
            if not writes:
                await connection.exec_driver_sql("SET TRANSACTION READ ONLY")
            # And without what an earlier call on this connection may have left behind.
            await connection.exec_driver_sql(
                f"SELECT set_config('statement_timeout', '{milliseconds}', true), "
                "pg_advisory_unlock_all()"
            )
            return None
        found = await connection.exec_driver_sql("SELECT CONNECTION_ID(), @@version")
        backend, version = cast("tuple[int, str]", found.one())
        if "mariadb" in version.lower():
            limit = f"max_statement_time = {milliseconds / 1000}"
        else:
            limit = f"max_execution_time = {milliseconds}"
        rows = 2**64 - 1 if writes or most is None else most + 1
        await connection.exec_driver_sql(f"SET SESSION {limit}, sql_select_limit = {rows}")
        await connection.exec_driver_sql("DO RELEASE_ALL_LOCKS()")
        await connection.commit()
        # Of the session, not of one transaction: in a read-only transaction MariaDB drops tables.
        mode = "READ WRITE" if writes else "READ ONLY"
        await connection.exec_driver_sql(f"SET SESSION TRANSACTION {mode}")
        return int(backend)

    async def _end(self, connection: AsyncConnection, backend: int | None) -> None:
        """Nobody waits for the statement any more: end it at the server too.

        asyncpg cancels by itself what it was running. MariaDB is told by another connection.
        """
        task = asyncio.ensure_future(self._killed(connection, backend))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), _PATIENCE)

    async def _killed(self, connection: AsyncConnection, backend: int | None) -> None:
        if backend is not None:
            other = await asyncio.to_thread(self._made, 0)
            try:
                async with other.connect() as killer:
                    await killer.exec_driver_sql(f"KILL QUERY {backend}")
            except Exception:  # noqa: S110
                pass
            finally:
                await other.dispose()
        await connection.invalidate()

    async def _opened(self) -> AsyncEngine:
        if self._engine is None:
            # Importing SQLAlchemy takes half a second.
            made = await asyncio.to_thread(self._made, self._pool_size)
            if self._engine is None:
                self._engine = made
        return self._engine

    def _made(self, pool_size: int) -> AsyncEngine:
        place, wait = self._place, self._settings.connection_timeout_seconds
        try:
            from sqlalchemy import URL
            from sqlalchemy.ext.asyncio import create_async_engine
            from sqlalchemy.pool import NullPool

            url = URL.create(
                _DRIVERS[place.dialect],
                username=place.username,
                password=place.password,
                host=place.host,
                port=place.port,
                database=place.database or None,
                query=dict(place.options),
            )
            # Without a password of its own the driver would look for one of the operator's.
            arguments: dict[str, Any] = {"password": place.password or ""}
            arguments["timeout" if place.dialect == "postgresql" else "connect_timeout"] = wait
            pool: dict[str, Any] = {"poolclass": NullPool}
            if pool_size:
                pool = {
                    "pool_size": pool_size,
                    "max_overflow": 0,
                    "pool_timeout": wait,
                    "pool_pre_ping": True,
                    "pool_recycle": 1800,
                }
            return create_async_engine(url, connect_args=arguments, hide_parameters=True, **pool)
        except ImportError as error:
            raise ConfigurationError(
                f"Databases of servers need a package that is not installed: {error.name}",
                hint="pip install 'llmspell-tools[sql]'",
                code="MISSING_DEPENDENCY",
            ) from None

    # Failures ------------------------------------------------------------------------------

    def _late(self) -> LLMTimeoutError:
        seconds = self._settings.query_timeout_seconds
        return LLMTimeoutError(
            f"timed out after {seconds:g} seconds",
            duration_ms=round(seconds * 1000),
            operation="query",
            hint="Raise query_timeout_seconds in [tools.database].",
        )

    def _unreachable(self, why: str) -> NetworkError:
        place = self._place
        return NetworkError(
            f"{place.host}:{place.port} cannot be reached: {why}",
            hint="Check that the database runs there and lets this machine in.",
        )

    def _failure(self, error: Exception) -> LLMSpellError:
        from sqlalchemy.exc import DBAPIError
        from sqlalchemy.exc import TimeoutError as PoolTimeout

        if isinstance(error, PoolTimeout):
            return StorageError(
                "all connections are in use",
                operation="lock",
                hint="Raise max_connections in [tools.database].",
            )
        orig: Any = error.orig if isinstance(error, DBAPIError) else error
        words, codes = _said(orig)
        if codes & _TIMED_OUT:
            return self._late()
        if codes & _LOGIN:
            return NetworkError(
                words, code="AUTH_FAILED", retryable=False, hint="Check user and password."
            )
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if isinstance(orig, OSError) or lost or codes & _LOST:
            return self._unreachable(words)
        return StorageError(words, operation="query", details={"codes": sorted(map(str, codes))})


def _said(error: Any) -> tuple[str, set[Any]]:
    """What a driver's error says, and its codes: SQLSTATE, and the number of MySQL."""
    arguments = getattr(error, "args", ())
    codes: set[Any] = {getattr(error, "sqlstate", None)}
    words = str(error)
    if len(arguments) > 1 and isinstance(arguments[0], int):
        codes.add(arguments[0])
        words = str(arguments[1])
    return words.partition("\n")[0], codes - {None}


def _reflected(connection: Any) -> list[dict[str, Any]]:
    from sqlalchemy import inspect

    inspector: Any = inspect(connection)
    names = sorted([*inspector.get_table_names(), *inspector.get_view_names()])[:MOST_TABLES]
    found: list[dict[str, Any]] = []
    for name in names:
        key = set(inspector.get_pk_constraint(name).get("constrained_columns") or ())
        columns = [
            {
                "name": column["name"],
                "type": str(column["type"]),
                "nullable": bool(column["nullable"]),
                "primary_key": column["name"] in key,
                "default": column.get("default"),
            }
            for column in inspector.get_columns(name)
        ]
        found.append({"name": name, "columns": columns})
    return found
