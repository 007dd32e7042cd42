"""SQLite files: opened late, created at the first write only, with failures a person can read."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmspell_core import StorageError

BUSY_SECONDS = 10.0
"""How long a statement waits for another process before it fails."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is for. `application_id` and `version` are stamped into its header.

    `schema` makes a new file; `steps` bring an older one up: ``steps[1]`` from version 1 to 2.
    """

    name: str
    application_id: int
    version: int
    schema: Sequence[str]
    steps: Mapping[int, Sequence[str]] = field(default_factory=dict[int, Sequence[str]])


def make_directory(path: str) -> None:
    """Create *path* and what is missing above it, for this user alone."""
    if not path or os.path.isdir(path):
        return
    make_directory(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def connect(path: str | None, kind: Kind, *, create: bool) -> sqlite3.Connection | None:
    """Open the file, or a database in memory for None. Use `translated` around it.

    Returns:
        None, without *create*, for a file that is not there or has nothing in it yet.

    Raises:
        StorageError: for a file of another kind or of a newer version, which stays untouched.
    """
    if path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        _create_schema(connection, kind)
        return connection
    if not os.path.exists(path):
        if not create:
            return None
        make_directory(os.path.dirname(path))
        # Journal files take the mode of the database file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS
    )
    try:
        if not _is_ours(connection, path, kind):
            if not create:
                connection.close()
                return None
            _switch_to_wal(connection)
            _create_schema(connection, kind)
        _migrate(connection, kind)
        connection.execute("PRAGMA synchronous=NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_ours(connection: sqlite3.Connection, path: str, kind: Kind) -> bool:
    """Whether the schema is there; False for an empty file."""
    with reading(connection):  # one state: another process may be creating it right now
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not application and not version and not tables:
        return False
    if application != kind.application_id:
        raise StorageError(
            f"{path} is a database of another program, not {kind.name}",
            hint="Point the configuration to another path, or move this file away.",
            details={"path": path},
            operation="open",
            code="STORAGE_FOREIGN",
        )
    if version > kind.version:
        raise StorageError(
            f"{path} was written by a newer version (format {version}, this one reads up to "
            f"{kind.version})",
            hint="Upgrade llmspell-storage, or point the configuration to another path.",
            details={"path": path, "format": version, "supported": kind.version},
            operation="open",
            code="STORAGE_NEWER",
        )
    return True


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    # Changing the journal mode does not wait for other connections as other statements do.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _create_schema(connection: sqlite3.Connection, kind: Kind) -> None:
    with writing(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version:
            return  # another process was faster
        for statement in kind.schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={kind.application_id}")
        connection.execute(f"PRAGMA user_version={kind.version}")


def _migrate(connection: sqlite3.Connection, kind: Kind) -> None:
    """Bring an older file up to date, in one transaction; another process waits for it."""
    if connection.execute("PRAGMA user_version").fetchone() == (kind.version,):
        return
    with writing(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for step in range(version, kind.version):
            for statement in kind.steps[step]:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={kind.version}")


@contextmanager
def writing(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """A write transaction: committed at the end, rolled back by any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def reading(connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
    """A read transaction: all statements see one state."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


_CAUSES = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space, then try again.", "full"),
    sqlite3.SQLITE_READONLY: (
        "it is read-only",
        "Allow writing to the file and its directory, or set LLMSPELL_HOME to another place.",
        "permission",
    ),
    sqlite3.SQLITE_PERM: ("permission denied", "Check who owns the file.", "permission"),
    sqlite3.SQLITE_CANTOPEN: (
        "it cannot be opened",
        "Check that the directory exists and that you may write to it, "
        "or set LLMSPELL_HOME to another place.",
        "permission",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "Restore it from a backup, or move it away to start empty.",
        "corrupt",
    ),
    sqlite3.SQLITE_NOTADB: (
        "the file is damaged or not a database",
        "Restore it from a backup, or move it away to start empty.",
        "corrupt",
    ),
    sqlite3.SQLITE_BUSY: (
        f"another process has kept it locked for {BUSY_SECONDS:g} s",
        "End the process that uses it, or try again.",
        "lock",
    ),
    sqlite3.SQLITE_LOCKED: ("it is locked", "Try again.", "lock"),
    sqlite3.SQLITE_IOERR: (
        "the disk reports an error",
        "Check the disk, its space and your quota.",
        "io",
    ),
}


@contextmanager
def translated(path: str | None, what: str) -> Generator[None]:
    """Turn failures of SQLite and the file system into `StorageError`s that name *path*.

    *what* is the verb of the message: ``read``, ``write``.
    """
    place = path or "memory"
    try:
        yield
    except sqlite3.Error as error:
        number = getattr(error, "sqlite_errorcode", 0)
        if not number:
            raise  # not SQLite's: a defect of ours
        cause, hint, operation = _CAUSES.get(number & 0xFF, (str(error), None, what))
        raise StorageError(
            f"cannot {what} {place}: {cause}",
            hint=hint,
            details={"path": place, "sqlite": getattr(error, "sqlite_errorname", None)},
            operation=operation,
            source=error,
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        denied = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        raise StorageError(
            f"cannot {what} {place}: {error.strerror or error}",
            hint="Free some space, then try again."
            if full
            else "Allow writing to that directory, or set LLMSPELL_HOME to another place."
            if denied
            else None,
            details={"path": place},
            operation="full" if full else "permission" if denied else what,
            source=error,
        ) from error
