"""The Lua engines: `lua` (5.4) and `luajit` (2.1), the same code over two lupa modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_bridge._config import Limits, lua_limits, luajit_limits
from llmspell_core import ScriptEngine

if TYPE_CHECKING:
    from llmspell_bridge._editor import Editor
    from llmspell_core import (
        Completeness,
        Completions,
        Documentation,
        Input,
        Output,
        ScriptState,
        Services,
    )


class LuaEngine(ScriptEngine):
    """Lua 5.4, through lupa. Each state has a thread and an interpreter of its own."""

    language = "lua"
    suffixes = (".lua",)

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked: Editor | None = None

    def _editor(self) -> Editor:
        if self._asked is None:
            from llmspell_bridge._editor import Editor

            self._asked = Editor(self._services.plugins)
        return self._asked

    def complete(self, code: str, cursor: int) -> Completions:
        """From declarations, the language's library and the code before the cursor."""
        return self._editor().complete(code, cursor)

    def inspect(self, code: str, cursor: int) -> Documentation | None:
        """From the same."""
        return self._editor().inspect(code, cursor)

    def is_complete(self, code: str) -> Completeness:
        """Asks Lua's compiler."""
        from llmspell_bridge._completeness import completeness

        return completeness(code, self._module())

    def _module(self) -> Any:
        import lupa.lua54 as module

        return module

    def _limits(self) -> Limits:
        return lua_limits(self._services.config)

    def open_state(self, *, output: Output, input: Input | None = None) -> ScriptState:
        """A fresh state; its thread starts with the first execution."""
        from llmspell_bridge._lua_state import LuaState

        return LuaState(
            self._services,
            self._module(),
            self._limits(),
            language=self.language,
            editor=self._editor,
            output=output,
            input=input,
        )


class LuaJITEngine(LuaEngine):
    """LuaJIT 2.1: Lua 5.1 with the library of 5.4. Chosen by name, since files are Lua 5.4.

    Its compiler is off, because compiled loops look at no hook and so could not be ended;
    ``engines.luajit.jit`` turns it on.
    """

    language = "luajit"

    def _module(self) -> Any:
        import lupa.luajit21 as module

        return module

    def _limits(self) -> Limits:
        limits = luajit_limits(self._services.config)
        if limits.jit:
            import logging

            logging.getLogger("llmspell.script").warning(
                "engines.luajit.jit is on: a compiled loop that calls nothing can be ended neither "
                "by a time limit nor by Ctrl-C; its state is abandoned, and its thread runs on."
            )
        return limits
