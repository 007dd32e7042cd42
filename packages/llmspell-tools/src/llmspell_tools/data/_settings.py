"""The sections ``[tools.data]``, ``[tools.document]`` and ``[tools.database]``."""

# ruff: noqa: RUF009 - setting() returns a dataclass field, not a shared default

from __future__ import annotations

from dataclasses import dataclass

from llmspell_core import setting


@dataclass(frozen=True, slots=True)
class DataConfig:
    """``[tools.data]``: how much the data tools take in."""

    max_csv_size: int = setting(
        100 * 1024**2,
        help="largest CSV text or file",
        env=("LLMSPELL_TOOLS_DATA_MAX_CSV_SIZE",),
        unit="bytes",
        above_zero=True,
    )
    max_json_depth: int = setting(
        100,
        help="levels that JSON may be nested",
        env=("LLMSPELL_TOOLS_DATA_MAX_JSON_DEPTH",),
        above_zero=True,
    )


@dataclass(frozen=True, slots=True)
class DocumentConfig:
    """``[tools.document]``."""

    max_pdf_size: int = setting(
        50 * 1024**2,
        help="largest PDF that is read",
        env=("LLMSPELL_TOOLS_DOC_MAX_PDF_SIZE",),
        unit="bytes",
        above_zero=True,
    )
    max_pages: int | None = setting(
        None, help="most pages of which the text is taken; unset means all", above_zero=True
    )


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """``[tools.database]``."""

    connections: dict[str, str] = setting(
        factory=dict,
        help="URLs by name; may hold ${VARIABLE}",
        sensitive=True,
    )
    allow_dml: bool = setting(
        True,
        help="let statements insert, update and delete",
        env=("DATABASE_ALLOW_DML",),
    )
    allow_ddl: bool = setting(
        False,
        help="let statements create, drop and alter",
        env=("DATABASE_ALLOW_DDL",),
    )
    max_rows: int = setting(
        1000, help="most rows of an answer", env=("DATABASE_MAX_ROWS",), above_zero=True
    )
    allowed_hosts: list[str] = setting(
        factory=lambda: ["localhost", "127.0.0.1"],
        help='servers that a call may name by itself; "*.example.org", "*" for any',
        env=("LLMSPELL_TOOLS_DB_ALLOWED_HOSTS",),
    )
    connection_timeout_seconds: float = setting(
        10.0,
        help="how long to wait for a connection",
        env=("LLMSPELL_TOOLS_DB_CONNECTION_TIMEOUT",),
        unit="seconds",
        above_zero=True,
    )
    query_timeout_seconds: float = setting(
        30.0, help="how long a statement may run", unit="seconds", above_zero=True
    )
    max_connections: int = setting(
        10,
        help="most connections to one server",
        env=("LLMSPELL_TOOLS_DB_MAX_CONNECTIONS",),
        above_zero=True,
    )
    enable_query_logging: bool = setting(False, help="log the text of statements, without values")
