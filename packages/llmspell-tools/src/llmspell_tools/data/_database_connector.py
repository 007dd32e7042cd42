"""The tool ``database-connector``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ConfigurationError,
    EffectClass,
    LLMSpellError,
    Parameter,
    SecurityError,
    ToolResult,
    ToolSchema,
    ValidationError,
)
from llmspell_tools._operation_tool import (
    OperationTool,
    built_in,
    described,
    operation_parameter,
)
from llmspell_tools._results import soft_failure
from llmspell_tools._threads import in_thread
from llmspell_tools.data._settings import DatabaseConfig
from llmspell_tools.data._sql_text import DDL, DML, Statement, statement_of

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext
    from llmspell_tools.data._database_places import Place
    from llmspell_tools.data._database_server import Server
    from llmspell_tools.data._database_values import Rows

NAME = "database-connector"
MOST_SERVERS = 10


@built_in(NAME)
class DatabaseConnector(OperationTool):
    """SQL on SQLite files, PostgreSQL and MariaDB (MySQL).

    Values are bound, never written into the text. A SELECT runs in a read-only transaction (on
    SQLite: on a file opened for reading, under SQLite's own authorizer), whatever it looks like;
    inserting, updating and deleting can be switched off, creating and dropping is. One statement a
    call; it ends at the server when the time is up or the caller is cancelled. SQLite files follow
    the path policy, servers that a call names by itself ``tools.database.allowed_hosts``. What goes
    wrong is a soft failure.
    """

    operations = {  # noqa: RUF012 - a ClassVar by its base
        "query": ("select", "sql"),
        "execute": ("exec", "run"),
        "schema": ("tables", "describe"),
    }
    unknown_operation = "Unknown operation"
    effect_class = EffectClass.IRREVERSIBLE
    timeout_seconds = 60.0

    def __init__(self) -> None:
        self._servers: dict[tuple[Any, ...], Server] = {}

    @property
    def schema(self) -> ToolSchema:
        """The parameters."""
        entry = described(NAME)
        return ToolSchema(
            entry.name,
            entry.description,
            (
                operation_parameter(type(self)),
                Parameter("query", "string", "One statement of SQL", aliases=("sql", "input")),
                Parameter(
                    "query_type",
                    "string",
                    "What the statement is: SELECT, INSERT, UPDATE, DELETE; else it is found out",
                ),
                Parameter(
                    "params",
                    "any",
                    "The values: a list for ? and $1, a table for :name",
                    aliases=("values",),
                ),
                Parameter(
                    "database",
                    "string",
                    "A configured name, postgresql, mysql or sqlite; with provider the name of "
                    "the database",
                ),
                Parameter(
                    "connection_string",
                    "string",
                    "sqlite:///FILE, postgresql://user:password@host/database, mysql://…",
                    aliases=("connection",),
                    sensitive=True,
                ),
                Parameter("provider", "string", "postgresql, mysql or sqlite, with host …"),
                Parameter("host", "string", "The server"),
                Parameter("port", "integer", "Its port", minimum=1, maximum=65535),
                Parameter("username", "string", "Who connects", aliases=("user",)),
                Parameter("password", "string", "With which password", sensitive=True),
                Parameter("use_pool", "boolean", "Keep connections for later", default=True),
                Parameter(
                    "pool_size", "integer", "Most of them", default=10, minimum=1, maximum=100
                ),
                Parameter("max_rows", "integer", "Most rows of the answer", minimum=1),
            ),
            "object",
        )

    def effect_of(self, parameters: Mapping[str, Any]) -> EffectClass:
        """Reading is; whatever else a statement does cannot be taken back."""
        if parameters.get("operation") == "schema" or _verb(parameters) == "SELECT":
            return EffectClass.PURE
        return self.effect_class

    def destructive_of(self, parameters: Mapping[str, Any]) -> bool:
        """All but reading and inserting."""
        reads = parameters.get("operation") == "schema"
        return not reads and _verb(parameters) not in ("SELECT", "INSERT")

    async def aclose(self) -> None:
        """Close the connections."""
        servers, self._servers = list(self._servers.values()), {}
        for server in servers:
            await server.aclose()

    async def run(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """Do the operation; failures are soft, but for a package that is not installed."""
        try:
            return await super().run(parameters, context)
        except ConfigurationError as error:
            if error.code == "MISSING_DEPENDENCY":
                raise
            return _failed(parameters, error, context)
        except LLMSpellError as error:
            return _failed(parameters, error, context)

    async def do_query(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{database_type, query, status, rows_affected, results, rows, columns, truncated,
        execution_time_ms, timestamp}``.
        """
        return await self._executed("query", parameters, context)

    async def do_execute(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """As query."""
        return await self._executed("execute", parameters, context)

    async def do_schema(self, parameters: dict[str, Any], context: ExecutionContext) -> ToolResult:
        """``{database, database_type, tables[{name, columns}], timestamp}``."""
        from llmspell_tools.data._database_places import place_of

        place = place_of(parameters, context)
        settings = _settings(context)
        if place.dialect == "sqlite":
            tables = await in_thread(_sqlite(place, "read", settings, context).tables)
        else:
            tables = await (await self._server(place, parameters, settings)).tables()
        return ToolResult(
            operation="schema",
            message=f"Found {len(tables)} tables",
            result={
                "database": place.database or place.path or place.name,
                "database_type": place.dialect,
                "tables": tables,
                "timestamp": _now(context),
            },
            value=tables,
        )

    async def _executed(
        self, operation: str, parameters: dict[str, Any], context: ExecutionContext
    ) -> ToolResult:
        from llmspell_tools.data._database_places import place_of

        text, params = _query(parameters)
        settings = _settings(context)
        place = place_of(parameters, context)
        statement = statement_of(text, place.dialect, parameterised=bool(params))
        _check(statement, parameters, settings)
        if settings.enable_query_logging:
            import logging

            logging.getLogger("llmspell.tools.database").info("%s: %s", place.name, text)
        most = min(parameters.get("max_rows", settings.max_rows), settings.max_rows)
        started = time.perf_counter()
        rows, changed = await self._ran(statement, params, most, place, parameters, context)
        took = (time.perf_counter() - started) * 1000
        return _answer(operation, place, text, rows, changed, took, context)

    async def _ran(
        self,
        statement: Statement,
        params: Any,
        most: int,
        place: Place,
        parameters: dict[str, Any],
        context: ExecutionContext,
    ) -> tuple[Rows, int]:
        settings = _settings(context)
        writes = statement.kind in DML | DDL
        if place.dialect == "sqlite":
            text, values = statement.bound(params)
            file = _sqlite(place, "write" if writes else "read", settings, context)
            return await in_thread(lambda stop: file.run(stop, statement.kind, text, values, most))
        text, values = statement.bound(params, escape=True)
        server = await self._server(place, parameters, settings)
        return await server.run(text, values, most, writes=writes)

    async def _server(
        self, place: Place, parameters: dict[str, Any], settings: DatabaseConfig
    ) -> Server:
        from llmspell_tools.data._database_server import Server

        pool = min(parameters.get("pool_size", 10), settings.max_connections)
        size = pool if parameters.get("use_pool", True) else 0
        key = (place, size)
        server = self._servers.pop(key, None)
        if server is None:
            if len(self._servers) >= MOST_SERVERS:
                await self._servers.pop(next(iter(self._servers))).aclose()
            server = Server(place, settings, size)
        # What was used last goes to the end, so that the first is what was not used longest.
        self._servers[key] = server
        return server


def _settings(context: ExecutionContext) -> DatabaseConfig:
    return context.services.config.section("tools.database", DatabaseConfig)


def _sqlite(place: Place, mode: Any, settings: DatabaseConfig, context: ExecutionContext) -> Any:
    from llmspell_tools.data._database_sqlite import SqliteFile

    real = ""
    if place.path:
        real = context.services.security.path(place.path, mode, context, caller="tool")
    return SqliteFile(real, place.path, settings.query_timeout_seconds)


# Parameters ----------------------------------------------------------------------------------


def _verb(parameters: Mapping[str, Any]) -> str:
    """The verb of the statement, before its database is known; ``?`` where that is unclear."""
    try:
        text = str(parameters.get("query", ""))
        kinds = {
            statement_of(text, dialect, parameterised=True).kind
            for dialect in ("sqlite", "postgresql", "mysql")
        }
    except LLMSpellError:
        return "?"
    return kinds.pop() if len(kinds) == 1 else "?"


def _query(parameters: dict[str, Any]) -> tuple[str, Any]:
    text = parameters.get("query")
    if text is None:
        raise ValidationError(
            "Missing required parameter 'query'", field="query", code="MISSING_REQUIRED"
        )
    params = parameters.get("params")
    if params is not None and not isinstance(params, list | Mapping):
        raise ValidationError(
            "Invalid type for parameter 'params': expected a list or a table", field="params"
        )
    return text, params or None  # pyright: ignore[reportUnknownVariableType]


def _check(statement: Statement, parameters: dict[str, Any], settings: DatabaseConfig) -> None:
    kind = statement.kind
    wanted = parameters.get("query_type")
    if wanted is not None and str(wanted).upper() != kind:
        raise ValidationError(
            f"query_type is {str(wanted).upper()}, and the query is {kind}", field="query_type"
        )
    if kind in DDL:
        if not settings.allow_ddl:
            raise _forbidden(f"DDL operations ({kind}) are not allowed", "allow_ddl")
        return
    if kind in DML:
        if not settings.allow_dml:
            raise _forbidden(f"DML operations ({kind}) are not allowed", "allow_dml")
        return
    if kind != "SELECT":
        raise SecurityError(
            f"Database operation '{kind}' is not allowed",
            violation_type="sql",
            hint="Allowed: SELECT, INSERT, UPDATE, DELETE.",
        )


def _forbidden(message: str, setting: str) -> SecurityError:
    return SecurityError(
        message, violation_type="sql", hint=f"{setting} = true in [tools.database] allows them."
    )


# Answers -------------------------------------------------------------------------------------


def _now(context: ExecutionContext) -> str:
    moment = datetime.fromtimestamp(context.now(), UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _answer(
    operation: str,
    place: Place,
    text: str,
    rows: Rows,
    changed: int,
    took: float,
    context: ExecutionContext,
) -> ToolResult:
    count = len(rows.rows)
    return ToolResult(
        operation=operation,
        message=f"{count} rows" if rows.columns else f"{changed} rows changed",
        result={
            "database_type": place.dialect,
            "query": text,
            "status": "executed",
            "rows_affected": changed,
            "results": rows.rows,
            "rows": rows.rows,
            "columns": rows.columns,
            "truncated": rows.truncated,
            "execution_time_ms": took,
            "timestamp": _now(context),
        },
        value=rows.rows,
        metadata={"count": count},
    )


def _failed(
    parameters: dict[str, Any], error: LLMSpellError, context: ExecutionContext
) -> ToolResult:
    error.message = context.services.secrets.redact(f"Database query failed: {error.message}")
    return soft_failure(parameters.get("operation"), error)
