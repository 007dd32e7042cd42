"""The settings of the Lua engines."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, cast

from llmspell_core import Config, ConfigurationError, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

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
                f"engines: stdlib is '{self.stdlib}'",
                hint="One of None, Basic, Standard, All.",
            )
        return found


@dataclass(frozen=True, slots=True)
class LuaJITConfig(LuaConfig):
    """The section ``engines.luajit``. What it leaves out is taken from ``engines.lua``."""

    jit: bool = setting(
        False,
        help="Compile to machine code: loops are several times as fast, but one that calls "
        "nothing cannot be ended, neither by a time limit nor by Ctrl-C",
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a state may use; `timeout_seconds` only where the execution has no deadline."""

    memory_bytes: int
    timeout_seconds: float | None
    spawn: bool
    level: int
    jit: bool = False


def lua_limits(config: Config) -> Limits:
    """The limits for a state, from ``engines.lua`` and ``runtime.security``.

    The smaller memory limit of those that were set counts.
    """
    return _limits(config, config.section("engines.lua", LuaConfig), _given(config, "lua"))


def luajit_limits(config: Config) -> Limits:
    """The same for LuaJIT, from ``engines.luajit`` over ``engines.lua``."""
    given = {**_given(config, "lua"), **_given(config, "luajit")}
    settings = config.replaced({"engines": {"luajit": given}})
    return _limits(config, settings.section("engines.luajit", LuaJITConfig), given)


def _given(config: Config, name: str) -> Mapping[str, Any]:
    """What was set in ``engines.<name>``."""
    found = config.get(f"engines.{name}")
    if isinstance(found, LuaConfig):
        usual = type(found)()
        values = {field.name: getattr(found, field.name) for field in fields(found)}
        return {key: value for key, value in values.items() if value != getattr(usual, key)}
    return cast("Mapping[str, Any]", found or {})


def _limits(config: Config, settings: LuaConfig, given: Mapping[str, Any]) -> Limits:
    memory = settings.max_memory_bytes
    general = _number(config.get("runtime.security.max_memory_bytes"))
    if general is not None:
        memory = min(memory, general) if given else general
    return Limits(
        memory,
        settings.timeout_ms / 1000 if "timeout_ms" in given else None,
        bool(config.get("runtime.security.allow_process_spawn", False)),
        settings.level,
        isinstance(settings, LuaJITConfig) and settings.jit,
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
