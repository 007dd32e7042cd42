"""What a database server's failures mean."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from llmspell_core import LLMSpellError, StorageError

if TYPE_CHECKING:
    from llmspell_storage.server._address import ServerKind

_COLLISIONS = {"40001", "40P01", "55P03"}
"""SQLSTATE of PostgreSQL (appendix A of its manual): serialization, deadlock, lock."""
_MYSQL_COLLISIONS = {1020, 1205, 1213}
"""Error numbers of MariaDB: record changed, lock wait, deadlock."""
_MYSQL_TOO_LARGE = {1153, 2006, 2013}


def collided(error: Exception) -> bool:
    """Whether it got in the way of another transaction, and was rolled back whole."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    return _state(error) in _COLLISIONS or _number(error) in _MYSQL_COLLISIONS


def _state(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _number(error: DBAPIError) -> int | None:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


@contextmanager
def translated(kind: ServerKind, place: str, what: str) -> Generator[None]:
    """Turn failures of the server, its driver and the network into `StorageError`s."""
    try:
        yield
    except LLMSpellError:
        raise
    except (SQLAlchemyError, OSError) as error:
        raise _failure(kind, place, what, error) from error


def _failure(kind: ServerKind, place: str, what: str, error: Exception) -> StorageError:
    cause, hint, operation = _cause(kind, error)
    return StorageError(
        f"cannot {what} {place}: {cause}",
        hint=hint,
        details={"place": place},
        operation=operation or what,
        source=error,
    )


def _cause(kind: ServerKind, error: Exception) -> tuple[str, str | None, str | None]:
    if isinstance(error, PoolTimeout):
        return (
            "all connections are in use",
            f"Raise storage.{kind.name}.pool_size or pool_timeout_secs.",
            "lock",
        )
    orig = error.orig if isinstance(error, DBAPIError) else error
    words = str(orig).partition("\n")[0]
    if isinstance(error, DBAPIError):
        if _number(error) in _MYSQL_TOO_LARGE and "packet" in words:
            return words, "Raise the server's max_allowed_packet.", "size"
        if _state(error) in {"28P01", "28000"} or _number(error) in {1044, 1045}:
            return words, f"Check user and password in storage.{kind.name}.url.", "permission"
        if _state(error) == "3D000" or _number(error) == 1049:
            return words, "Create the database first.", "open"
        if _state(error) == "53100" or _number(error) in {1021, 1114}:
            return "the server's disk is full", "Free some space, then try again.", "full"
    unreachable = isinstance(orig, OSError) or (
        isinstance(error, DBAPIError)
        and (error.connection_invalidated or _number(error) in {2002, 2003, 2006, 2013})
    )
    if unreachable or isinstance(error, InterfaceError | OperationalError):
        hint = f"Check that {kind.title} runs there and lets this machine in."
        return f"{kind.title} cannot be reached or went away: {words}", hint, "connection"
    return words, None, None
