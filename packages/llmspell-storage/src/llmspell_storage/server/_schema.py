"""The table on the server, and bringing an older one up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Column, Double, Index, LargeBinary, MetaData, String, Table, text
from sqlalchemy.dialects import mysql, postgresql

from llmspell_core import StorageError

if TYPE_CHECKING:
    from sqlalchemy import Connection

VERSION = "0002"
"""The newest migration there is, and the version this package reads and writes."""
VERSION_TABLE = "llmspell_storage_version"
HEAD_BYTES = 512
"""Bytes of a key that are indexed for order; longer keys are compared as a whole after that."""

_DIGEST = LargeBinary(32).with_variant(mysql.BINARY(32), "mysql", "mariadb")
_HEAD = LargeBinary(HEAD_BYTES).with_variant(mysql.VARBINARY(HEAD_BYTES), "mysql", "mariadb")
_BYTES = (
    LargeBinary()
    .with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
    .with_variant(postgresql.BYTEA(), "postgresql")
)
_STORE = String(64).with_variant(mysql.VARCHAR(64, collation="utf8mb4_bin"), "mysql", "mariadb")

METADATA = MetaData()
ENTRIES = Table(
    "llmspell_entries",
    METADATA,
    Column("store", _STORE, primary_key=True),
    # Keys may be longer than what servers can index: SHA-256 is their identity, `head` their
    # order.
    Column("digest", _DIGEST, primary_key=True),
    Column("head", _HEAD, nullable=False),
    Column("key", _BYTES, nullable=False),
    Column("value", _BYTES, nullable=False),
    Column("expires_at", Double, nullable=True),
    Index("llmspell_entries_order", "store", "head"),
    Index("llmspell_entries_expiry", "expires_at"),
    mysql_engine="InnoDB",
    mariadb_engine="InnoDB",
)


def prepare(connection: Connection, place: str) -> None:
    """Create the table, or migrate the one that is there. Several processes may do so at once.

    Raises:
        StorageError: for a table of a newer version, which stays untouched.
    """
    found = _version(connection)
    if found == VERSION:
        return
    with _Lock(connection):
        found = _version(connection)
        if found == VERSION:
            return
        if found is not None and found > VERSION:
            raise StorageError(
                f"{place} was written by a newer version (format {found}, this one reads up to "
                f"{VERSION})",
                hint="Upgrade llmspell-storage, or point the configuration to another database.",
                details={"format": found, "supported": VERSION},
                operation="open",
                code="STORAGE_NEWER",
            )
        _upgrade(connection)


def _version(connection: Connection) -> str | None:
    from sqlalchemy import inspect

    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    row = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).fetchone()  # noqa: S608 - a constant
    return None if row is None else str(row[0])


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "llmspell_storage:server/migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


class _Lock:
    """One process at a time, for as long as the connection holds it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._postgres = connection.dialect.name == "postgresql"

    def __enter__(self) -> None:
        # On MariaDB, DDL commits by itself; a named lock outlives that, a row lock would not.
        self._connection.execute(
            text("SELECT pg_advisory_xact_lock(5503612417)")
            if self._postgres
            else text("SELECT GET_LOCK('llmspell_storage', 60)")
        )

    def __exit__(self, *_: object) -> None:
        if not self._postgres:
            self._connection.execute(text("SELECT RELEASE_LOCK('llmspell_storage')"))
