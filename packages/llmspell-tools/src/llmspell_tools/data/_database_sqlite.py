"""SQLite files, through the path policy and SQLite's own authorizer."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from llmspell_core import LLMTimeoutError, SecurityError, StorageError
from llmspell_tools._files import open_file, redirected, wrap_os_error
from llmspell_tools._threads import Stop, Stopped
from llmspell_tools.data._database_values import Rows
from llmspell_tools.data._sql_text import DDL, DML
from llmspell_tools.data._sqlite_guard import READING, restrict

MOST_TABLES = 1000
_STEPS = 2000
_NEVER = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA})
_WRITING = READING | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_ALL = frozenset(range(64)) - _NEVER


class SqliteFile:
    """One file, opened for one call.

    Args:
        real: Its real path, or empty for a database in memory.
        shown: Its path as given.
        seconds: How long a statement may run.
    """

    def __init__(self, real: str, shown: str, seconds: float) -> None:
        self._real = real
        self._shown = shown
        self._seconds = seconds
        self._refused: list[str] = []

    def run(
        self, stop: Stop, kind: str, text: str, values: Mapping[str, Any], most: int
    ) -> tuple[Rows, int]:
        """Run one statement, until *stop*; its rows, and how many it changed.

        Raises:
            SecurityError: for what SQLite was told to refuse.
            LLMTimeoutError: when it took too long; nothing is changed then.
            StorageError: as SQLite says.
        """
        reads = kind not in DML | DDL
        allowed = READING if reads else _WRITING if kind in DML else _ALL
        with self._connected(stop, writable=not reads) as connection:
            connection.execute("BEGIN" if reads else "BEGIN IMMEDIATE")
            restrict(connection, allowed, self._refused.append)
            cursor = connection.execute(text, values)
            rows = Rows([column[0] for column in cursor.description or ()], most)
            for row in cursor:
                if not rows.add(row):
                    break
            changed = max(cursor.rowcount, 0)
            cursor.close()
            connection.set_authorizer(None)
            connection.execute("ROLLBACK" if reads else "COMMIT")
            return rows, changed

    def tables(self, stop: Stop) -> list[dict[str, Any]]:
        """``{name, columns[{name, type, nullable, primary_key, default}]}`` of every table and
        view. Raises as `run`.
        """
        with self._connected(stop, writable=False) as connection:
            names = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT ?",
                (MOST_TABLES,),
            ).fetchall()
            return [{"name": name, "columns": _columns(connection, name)} for (name,) in names]

    @contextmanager
    def _connected(self, stop: Stop, *, writable: bool) -> Generator[sqlite3.Connection]:
        end = time.monotonic() + self._seconds

        def over() -> int:
            return int(stop.is_set() or time.monotonic() > end)

        try:
            connection = self._open(writable)
            try:
                connection.set_progress_handler(over, _STEPS)
                yield connection
            finally:
                connection.close()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._failure(error, stop, end) from None

    def _open(self, writable: bool) -> sqlite3.Connection:
        if not self._real:
            return sqlite3.connect(":memory:", isolation_level=None)
        mode = "rw" if writable else "ro"
        with wrap_os_error("read", self._shown):
            with open_file(self._real, os.O_RDONLY) as file:
                before = os.fstat(file.fileno())
            connection = sqlite3.connect(
                f"file:{quote(self._real)}?mode={mode}",
                uri=True,
                isolation_level=None,
                timeout=min(5.0, self._seconds),
                check_same_thread=False,
            )
            # SQLite opens by name. If somebody put a link in the way meanwhile, it shows here.
            try:
                with open_file(self._real, os.O_RDONLY) as file:
                    after = os.fstat(file.fileno())
                where = connection.execute("PRAGMA database_list").fetchone()[2]
                if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) or (
                    where != self._real
                ):
                    raise redirected(self._shown)
                if not writable:
                    connection.execute("PRAGMA query_only = ON")
            except BaseException:
                connection.close()
                raise
        return connection

    def _failure(self, error: Exception, stop: Stop, end: float) -> Exception:
        words = str(error).partition("\n")[0]
        if self._refused:
            return SecurityError(
                f"Database operation is not allowed: {words}", violation_type="sql"
            )
        if stop.is_set():
            return Stopped()
        if time.monotonic() > end:
            return LLMTimeoutError(
                f"timed out after {self._seconds:g} seconds",
                duration_ms=round(self._seconds * 1000),
                operation="query",
                hint="Raise query_timeout_seconds in [tools.database].",
            )
        locked = "locked" in words
        return StorageError(words, operation="lock" if locked else "query")


def _columns(connection: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    found = connection.execute(
        "SELECT name, type, [notnull], dflt_value, pk FROM pragma_table_info(?)", (table,)
    )
    return [
        {
            "name": name,
            "type": kind or "",
            "nullable": not required and not key,
            "primary_key": bool(key),
            "default": default,
        }
        for name, kind, required, default, key in found
    ]
