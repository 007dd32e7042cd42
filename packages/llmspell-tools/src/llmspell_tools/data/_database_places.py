"""Which database a call means, and whether it may be reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from llmspell_core import ConfigurationError, SecurityError, ValidationError
from llmspell_tools.data._settings import DatabaseConfig

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools.data._sql_text import Dialect

_TYPES: Mapping[str, Dialect] = {
    "sqlite": "sqlite",
    "sqlite3": "sqlite",
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_PORTS = {"postgresql": 5432, "mysql": 3306}
_VARIABLES = {
    "postgresql": "DATABASE_POSTGRESQL_URL",
    "mysql": "DATABASE_MYSQL_URL",
    "sqlite": "DATABASE_SQLITE_PATH",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A database: a file (`path`; empty is in memory), or a server."""

    name: str
    dialect: Dialect
    path: str = ""
    host: str = ""
    port: int = 0
    database: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    options: tuple[tuple[str, str], ...] = ()


def place_of(parameters: Mapping[str, Any], context: ExecutionContext) -> Place:
    """The database that the *parameters* of a call name.

    What the configuration or the environment names may be anywhere; what a call describes by
    itself, on ``tools.database.allowed_hosts``. Its password becomes a known secret.

    Raises:
        ConfigurationError: ``Database '…' not configured``, ``Unsupported database type``.
        SecurityError: for a host that is not allowed.
    """
    settings = context.services.config.section("tools.database", DatabaseConfig)
    place = _described(parameters)
    if place is not None:
        _check_host(place, settings)
    else:
        place = _configured(parameters.get("database"), settings)
    context.services.secrets.add(place.password)
    return place


def _described(parameters: Mapping[str, Any]) -> Place | None:
    """The database of a call that says where it is, or None."""
    text = parameters.get("connection_string")
    database = parameters.get("database")
    if text is not None:
        place = parsed("the connection string", text)
        if place.options:
            raise ValidationError(
                "The connection string of a call takes no options after '?'",
                field="connection_string",
                hint="Put the connection into [tools.database.connections].",
            )
        return place
    provider, host = parameters.get("provider"), parameters.get("host")
    if provider is None and host is None:
        return None
    if provider is None:
        raise ValidationError(
            "Missing required parameter 'provider': postgresql, mysql or sqlite", field="provider"
        )
    dialect = _dialect(provider)
    if dialect == "sqlite":
        return Place("sqlite", "sqlite", path=_file(str(database or "")))
    return Place(
        str(provider),
        dialect,
        host=str(host or "localhost"),
        port=parameters.get("port") or _PORTS[dialect],
        database=str(database or ""),
        username=parameters.get("username"),
        password=parameters.get("password"),
    )


def _configured(name: Any, settings: DatabaseConfig) -> Place:
    wanted = None if name is None else str(name)
    for known, text in settings.connections.items():
        if known == wanted or (wanted is None and len(settings.connections) == 1):
            return parsed(known, os.path.expandvars(text))
    if wanted is not None and wanted.lower() in _TYPES:
        dialect = _TYPES[wanted.lower()]
        text = os.environ.get(_VARIABLES[dialect]) or _general(dialect)
        if text:
            plain = dialect == "sqlite" and ":" not in text
            return parsed(wanted, f"sqlite:///{text}" if plain else text)
    general = os.environ.get("DATABASE_URL")
    if wanted is None and general:
        return parsed("DATABASE_URL", general)
    known = ", ".join(sorted(settings.connections)) or "none"
    raise ConfigurationError(
        f"Database '{wanted or 'default'}' not configured",
        hint=f"Configured: {known}. Add it to [tools.database.connections], set DATABASE_URL, or "
        "give connection_string.",
        code="DATABASE_NOT_CONFIGURED",
    )


def _general(dialect: Dialect) -> str | None:
    text = os.environ.get("DATABASE_URL", "")
    scheme = text.partition(":")[0].partition("+")[0].lower()
    return text if _TYPES.get(scheme) == dialect else None


def _dialect(word: str) -> Dialect:
    found = _TYPES.get(str(word).lower().partition("+")[0])
    if found is None:
        raise ConfigurationError(
            f"Unsupported database type: '{word}'",
            hint="Supported: sqlite, postgresql, mysql (mariadb).",
            code="DATABASE_TYPE",
        )
    return found


def parsed(name: str, text: str) -> Place:
    """The database at a URL; errors do not repeat it, because there may be a password in it.

    Raises:
        ConfigurationError: for what is none.
    """
    if text == ":memory:":
        return Place(name, "sqlite")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ConfigurationError(
            f"{name} is no database URL",
            hint="Write sqlite:///FILE, postgresql://user@host/database or mysql://….",
            code="DATABASE_URL",
        )
    dialect = _dialect(scheme)
    if dialect == "sqlite":
        # sqlite:///file is relative, as everywhere; sqlite://file is meant so.
        return Place(name, "sqlite", path=_file(rest.removeprefix("/")))
    try:
        parts = urlsplit(f"{dialect}://{rest}")
        port = parts.port or _PORTS[dialect]
    except ValueError:
        raise ConfigurationError(f"{name} is no database URL", code="DATABASE_URL") from None
    options = [tuple(pair.partition("=")[::2]) for pair in parts.query.split("&") if pair]
    return Place(
        name,
        dialect,
        host=parts.hostname or "localhost",
        port=port,
        database=unquote(parts.path.removeprefix("/")),
        username=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
        options=tuple(options),  # pyright: ignore[reportArgumentType]
    )


def _file(path: str) -> str:
    return "" if path in ("", ":memory:") else path


def _check_host(place: Place, settings: DatabaseConfig) -> None:
    if place.dialect == "sqlite":
        return
    host = place.host.lower().rstrip(".")
    for allowed in settings.allowed_hosts:
        word = allowed.strip().lower()
        if word in ("*", host) or (word.startswith("*.") and host.endswith(word[1:])):
            return
    raise SecurityError(
        f"Database host not allowed: '{place.host}' is not in the list of allowed hosts",
        violation_type="network_access",
        hint="Add it to allowed_hosts in [tools.database], or configure the connection there.",
        details={"host": place.host},
    )
