"""The sections ``[tools]`` and ``[tools.file_operations]``."""

# ruff: noqa: RUF009 - setting() returns a dataclass field, not a shared default

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import ConfigurationError, setting

if TYPE_CHECKING:
    from llmspell_core import Config


@dataclass(frozen=True, slots=True)
class ToolCategoriesConfig:
    """``[tools.categories]``: which categories there are."""

    enabled: list[str] = setting(factory=list, help="only these categories; empty means all")
    disabled: list[str] = setting(factory=list, help="not these categories")


@dataclass(frozen=True, slots=True)
class ToolSecurityConfig:
    """``[tools.security]``."""

    max_level: str = setting(
        "privileged", help="highest security level that runs: safe, restricted, privileged"
    )
    require_approval: bool = setting(
        False,
        help="ask before calls that overwrite, remove or cannot be taken back",
        env=("LLMSPELL_TOOLS_REQUIRE_APPROVAL",),
    )


@dataclass(frozen=True, slots=True)
class FileOperationsConfig:
    """``[tools.file_operations]``: where files may be touched, and which."""

    enabled: bool = setting(
        True, help="offer the file tool", env=("LLMSPELL_TOOLS_FILE_OPS_ENABLED",)
    )
    allowed_paths: list[str] = setting(
        factory=lambda: ["/tmp"],  # noqa: S108 - the documented default
        help='directories that may be read and written; "*" is everywhere',
        env=("LLMSPELL_TOOLS_ALLOWED_PATHS",),
    )
    max_file_size: int = setting(
        50_000_000,
        help="largest file that is read or written",
        env=("LLMSPELL_TOOLS_MAX_FILE_SIZE",),
        unit="bytes",
        above_zero=True,
    )
    atomic_writes: bool = setting(True, help="write beside the file, then rename over it")
    max_depth: int = setting(
        10,
        help="levels that recursive work descends",
        env=("LLMSPELL_TOOLS_MAX_DEPTH",),
        above_zero=True,
    )
    allowed_extensions: list[str] = setting(factory=list, help="only these; empty means all")
    blocked_extensions: list[str] = setting(
        factory=lambda: ["exe", "dll", "so", "dylib"],
        help="never these",
        env=("LLMSPELL_TOOLS_BLOCKED_EXTENSIONS",),
    )
    validate_file_types: bool = setting(
        True, help="refuse to write programs (ELF, PE, Mach-O) under another extension"
    )


@dataclass(frozen=True, slots=True)
class ToolsConfig:
    """``[tools]``. Any other table below it belongs to the tool of that name; of those,
    ``enabled = false`` removes the tool.
    """

    enabled: bool = setting(True, help="offer tools at all", env=("LLMSPELL_TOOLS_ENABLED",))
    rate_limit_per_minute: int | None = setting(
        None,
        help="calls of all tools in a minute; unset means no limit",
        env=("LLMSPELL_TOOLS_RATE_LIMIT",),
        above_zero=True,
    )
    cache_enabled: bool = setting(False, help="keep results of calls that have no side effects")
    cache_ttl_seconds: float = setting(
        300.0, help="how long a kept result is used", unit="seconds", above_zero=True
    )
    timeouts: dict[str, float] = setting(
        factory=dict, help="seconds a call may take, by tool, and 'default'"
    )
    permissions: dict[str, str] = setting(
        factory=dict, help="highest level at which one tool runs, by tool"
    )
    categories: ToolCategoriesConfig = setting(factory=ToolCategoriesConfig)
    security: ToolSecurityConfig = setting(factory=ToolSecurityConfig)
    file_operations: FileOperationsConfig = setting(factory=FileOperationsConfig)


_NESTED: Mapping[str, type[Any]] = {
    "categories": ToolCategoriesConfig,
    "security": ToolSecurityConfig,
    "file_operations": FileOperationsConfig,
}


def tools_config(config: Config) -> ToolsConfig:
    """The section, without the tables that belong to single tools.

    Raises:
        ConfigurationError: when ``tools`` or a table of its own is no table.
    """
    raw = config.get("tools", {})
    if isinstance(raw, ToolsConfig):
        return raw
    if not isinstance(raw, Mapping):
        raise ConfigurationError(
            f"'tools' must be a table, not {type(raw).__name__}",
            hint="Write it as [tools] with keys below it.",
        )
    table = cast("Mapping[str, Any]", raw)
    known = {field.name for field in fields(ToolsConfig)}
    values: dict[str, Any] = {key: value for key, value in table.items() if key in known}
    for name, cls in _NESTED.items():
        if name in values:
            values[name] = config.section(f"tools.{name}", cls)
    return ToolsConfig(**values)


def tool_table(config: Config, name: str) -> Mapping[str, Any]:
    """The free table of one tool: ``[tools.NAME]`` or ``[tools.custom.NAME]``, ``-`` as ``_``."""
    for place in ("tools", "tools.custom"):
        tables = config.get(place)
        if not isinstance(tables, Mapping):
            continue
        for key, value in cast("Mapping[str, Any]", tables).items():
            if key.lower().replace("-", "_") == name and isinstance(value, Mapping):
                return cast("Mapping[str, Any]", value)
    return {}
