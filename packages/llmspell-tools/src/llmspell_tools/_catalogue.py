"""The built-in tools as data: what is listed before any of them is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmspell_core import ToolInfo


@dataclass(frozen=True, slots=True)
class Entry:
    """One built-in tool. `also` are secondary categories; a preset is a further name that fills
    in an operation (``file-reader`` reads).
    """

    name: str
    description: str
    category: str
    security_level: str
    aliases: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    presets: Mapping[str, str] = field(default_factory=dict[str, str])

    def info(self) -> ToolInfo:
        """As it is listed."""
        return ToolInfo(
            self.name,
            self.description,
            self.category,
            self.security_level,
            aliases=(*self.aliases, *self.presets),
        )


_ENTRIES = (
    Entry(
        "archive_handler",
        "Create, extract and list archives (zip, tar, tar.gz, gz) in the allowed directories",
        "filesystem",
        "restricted",
        aliases=("archive-handler", "archive-handler-tool"),
    ),
    Entry(
        "calculator",
        "Evaluate arithmetic expressions with functions, variables and comparisons",
        "utility",
        "safe",
    ),
    Entry(
        "csv_analyzer",
        "Analyse, convert, filter, transform, validate and query CSV",
        "data",
        "safe",
        aliases=("csv-analyzer", "csv-analyzer-tool", "csv-parse", "csv-processor"),
    ),
    Entry(
        "database-connector",
        "Query SQLite, PostgreSQL and MariaDB with bound values, and describe tables",
        "data",
        "restricted",
        aliases=("database_connector", "database-query"),
        also=("communication",),
    ),
    Entry(
        "date_time_handler",
        "Parse, format, convert, add, subtract and compare dates and times",
        "utility",
        "safe",
        aliases=("date-time-handler", "datetime_handler", "datetime-handler"),
    ),
    Entry(
        "file_converter",
        "Convert encodings, line ends, indentation and formats of text files",
        "filesystem",
        "restricted",
        aliases=("file-converter",),
    ),
    Entry(
        "file_operations",
        "Read, write, append, copy, move, delete and list files in the allowed directories",
        "filesystem",
        "privileged",
        aliases=("file-operations", "file-operations-tool"),
        presets={
            "file-reader": "read",
            "file-read": "read",
            "file-writer": "write",
            "file-write": "write",
            "directory-scanner": "list_dir",
        },
    ),
    Entry(
        "file_search",
        "Search the text of files, or files by name, with plain text or a regular expression",
        "filesystem",
        "restricted",
        aliases=("file-search",),
    ),
    Entry(
        "file_watcher",
        "Watch files and directories for changes, waiting or in the background",
        "filesystem",
        "restricted",
        aliases=("file-watcher",),
    ),
    Entry(
        "graph-builder",
        "Build graphs as JSON values and analyse them: density, components, cycles, shortest paths",
        "data",
        "safe",
        aliases=("graph_builder",),
        also=("analysis",),
    ),
    Entry(
        "hash_calculator",
        "Calculate and verify digests (MD5, SHA-1, SHA-2, SHA-3, BLAKE2, CRC-32) of text and files",
        "utility",
        "restricted",
        aliases=("hash-calculator",),
    ),
    Entry(
        "json_processor",
        "Query JSON with jq or JSONPath, validate it against a schema, merge and reformat it",
        "data",
        "safe",
        aliases=("json-processor", "json-processor-tool", "json-query"),
    ),
    Entry(
        "pdf-processor",
        "Extract text, pages and metadata of PDF files",
        "data",
        "restricted",
        aliases=("pdf_processor",),
        also=("document",),
    ),
    Entry(
        "uuid_generator",
        "Generate and validate UUIDs (versions 1, 4, 5, 7) and readable component ids",
        "utility",
        "safe",
        aliases=("uuid-generator",),
    ),
)

CATALOGUE: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""The built-in tools by canonical name."""

DISTRIBUTION = "llmspell-tools"
"""Whose tools the catalogue describes; the same name from elsewhere is another tool."""
