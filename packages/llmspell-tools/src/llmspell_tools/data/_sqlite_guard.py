"""What SQLite itself refuses on a connection, whatever the text of a statement looks like."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

LONGEST_VALUE = 10_000_000
LONGEST_STATEMENT = 1_000_000

READING = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_FUNCTIONS = frozenset({"load_extension", "fts3_tokenizer", "writefile", "readfile", "edit"})

Refusal = Callable[[str], None]


def reads_only(connection: sqlite3.Connection) -> None:
    """From here on *connection* only reads what is open: no writing, attaching, pragmas."""
    restrict(connection, READING)


def restrict(
    connection: sqlite3.Connection, allowed: Iterable[int], refused: Refusal | None = None
) -> None:
    """From here on *connection* does only what is *allowed* (codes of SQLite's authorizer),
    with values and statements of bounded size; *refused* is told what it was asked besides.
    """
    codes = frozenset(allowed)

    def authorize(code: int, first: str | None, second: str | None, *_: str | None) -> int:
        function = code == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FUNCTIONS
        if code in codes and not function:
            return sqlite3.SQLITE_OK
        if refused is not None:
            refused(second or first or "")
        return sqlite3.SQLITE_DENY

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, LONGEST_STATEMENT)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(authorize)
