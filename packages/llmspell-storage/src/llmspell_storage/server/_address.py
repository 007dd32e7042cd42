"""Where a database server is: settings, read into a URL that never shows its password."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmspell_core import ConfigurationError, setting

if TYPE_CHECKING:
    from sqlalchemy import URL

    from llmspell_core import Services


@dataclass(frozen=True, slots=True)
class ServerKind:
    """A kind of server: what it is called, and what talks to it."""

    name: str
    title: str
    drivername: str
    port: int
    extra: str
    schemes: tuple[str, ...]


POSTGRES = ServerKind(
    "postgres",
    "PostgreSQL",
    "postgresql+asyncpg",
    5432,
    "postgres",
    ("postgres", "postgresql"),
)
MARIADB = ServerKind("mariadb", "MariaDB", "mariadb+asyncmy", 3306, "mariadb", ("mariadb", "mysql"))


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """``[storage.postgres]`` and ``[storage.mariadb]``: a URL, or its parts."""

    url: str | None = setting(
        None,
        help="postgresql://user:password@host:port/database; may hold ${VARIABLE}",
        aliases=("connection_string",),
        sensitive=True,
    )
    host: str | None = setting(None, help="instead of a URL: the server")
    port: int | None = setting(None, help="its port")
    database: str | None = setting(None, help="the database")
    username: str | None = setting(None, help="who connects")
    password: str | None = setting(None, help="may hold ${VARIABLE}", sensitive=True)
    pool_size: int = setting(20, help="most connections at once", above_zero=True)
    pool_timeout_secs: float = setting(
        30.0,
        help="how long to wait for a connection",
        aliases=("pool_timeout_seconds",),
        above_zero=True,
    )
    max_lifetime_secs: float = setting(
        1800.0, help="after this a connection is replaced", above_zero=True
    )


def _expanded(text: str) -> str:
    return os.path.expandvars(text)


def server_url(kind: ServerKind, config: ServerConfig, services: Services) -> URL:
    """The URL of *config*, else of ``DATABASE_URL`` where that is one of *kind*.

    Its password becomes a known secret of *services*.

    Raises:
        ConfigurationError: when there is none, or it is not one of *kind*.
    """
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    text = config.url or (None if config.host else _from_environment(kind))
    if text is not None:
        try:
            url = make_url(_expanded(text))
        except ArgumentError as error:
            raise _unfit(kind, "is not a URL") from error
        if url.get_backend_name() not in kind.schemes:
            raise _unfit(kind, f"names '{url.get_backend_name()}', not {kind.title}")
        url = url.set(drivername=kind.drivername)
    elif config.host is not None:
        password = None if config.password is None else _expanded(config.password)
        url = URL.create(
            kind.drivername,
            username=config.username,
            password=password,
            host=config.host,
            port=config.port,
            database=config.database,
        )
    else:
        raise ConfigurationError(
            f"the storage back end '{kind.name}' needs an address",
            hint=f'Set storage.{kind.name}.url = "{kind.schemes[-1]}://user@host/database", or '
            "the environment variable DATABASE_URL.",
            code="STORAGE_ADDRESS",
        )
    if not url.database:
        raise _unfit(kind, "names no database")
    services.secrets.add(None if url.password is None else str(url.password))
    return url


def _from_environment(kind: ServerKind) -> str | None:
    text = os.environ.get("DATABASE_URL", "")
    scheme = text.partition(":")[0].partition("+")[0].lower()
    return text if scheme in kind.schemes else None


def _unfit(kind: ServerKind, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the address of the storage back end '{kind.name}' {what}",
        hint=f"Write storage.{kind.name}.url as {kind.schemes[-1]}://user:password@host/database",
        code="STORAGE_ADDRESS",
    )


def shown(url: Any) -> str:
    """*url* without its password."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)
