"""The Lua engines: `lua` (5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_bridge._config import limits
from llmspell_core import ScriptEngine

if TYPE_CHECKING:
    from llmspell_core import Input, Output, ScriptState, Services


class LuaEngine(ScriptEngine):
    """Lua 5.4, through lupa. Each state has a thread and an interpreter of its own."""

    language = "lua"
    suffixes = (".lua",)

    def __init__(self, services: Services) -> None:
        self._services = services

    def _module(self) -> Any:
        import lupa.lua54 as module

        return module

    def open_state(self, *, output: Output, input: Input | None = None) -> ScriptState:
        """A fresh state; its thread starts with the first execution."""
        from llmspell_bridge._lua_state import LuaState

        return LuaState(
            self._services,
            self._module(),
            limits(self._services.config),
            output=output,
            input=input,
        )
