"""The settings of the Lua engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmspell_core import Config, ConfigurationError, setting

MAX_SOURCE_BYTES = 10_000_000
DEFAULT_MEMORY_BYTES = 50_000_000

_LEVELS = {"none": 0, "basic": 1, "standard": 2, "all": 3, "full": 3}


@dataclass(frozen=True, slots=True)
class LuaConfig:
    """The section ``engines.lua``."""

    stdlib: str = setting(
        "Standard",
        help="None (base only), Basic (+ string, table, math), Standard (+ os, io, debug), All",
        aliases=("stdlib_level",),
    )
    max_memory_bytes: int = setting(
        DEFAULT_MEMORY_BYTES,
        help="The heap of a script",
        aliases=("memory_limit",),
        unit="bytes",
        above_zero=True,
    )
    timeout_ms: int = setting(
        30_000,
        help="Time limit of an execution that has no other",
        unit="milliseconds",
        above_zero=True,
    )
    security_level: str = setting("Safe", help="Safe, Privileged or Unrestricted")
    sandbox_mode: bool | None = setting(None, help="false: the whole standard library")

    @property
    def level(self) -> int:
        """`stdlib` as a number, 0 to 3.

        Raises:
            ConfigurationError: for an unknown word.
        """
        if self.sandbox_mode is False or self.security_level.lower() == "unrestricted":
            return 3
        found = _LEVELS.get(self.stdlib.lower())
        if found is None:
            raise ConfigurationError(
                f"engines.lua.stdlib is '{self.stdlib}'",
                hint="One of None, Basic, Standard, All.",
            )
        return found


@dataclass(frozen=True, slots=True)
class Limits:
    """What a state may use; `timeout_seconds` only where the execution has no deadline."""

    memory_bytes: int
    timeout_seconds: float | None
    spawn: bool
    level: int


def limits(config: Config) -> Limits:
    """The limits for a state, from ``engines.lua`` and ``runtime.security``.

    The smaller memory limit of those that were set counts.
    """
    lua = config.section("engines.lua", LuaConfig)
    memory = lua.max_memory_bytes
    general = _number(config.get("runtime.security.max_memory_bytes"))
    if general is not None:
        memory = general if config.get("engines.lua") is None else min(memory, general)
    explicit = config.get("engines.lua.timeout_ms") is not None
    return Limits(
        memory,
        lua.timeout_ms / 1000 if explicit else None,
        bool(config.get("runtime.security.allow_process_spawn", False)),
        lua.level,
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
