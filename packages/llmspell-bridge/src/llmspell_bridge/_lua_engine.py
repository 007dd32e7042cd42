"""The Lua engines: `lua` (5.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_bridge._config import limits
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

    def open_state(self, *, output: Output, input: Input | None = None) -> ScriptState:
        """A fresh state; its thread starts with the first execution."""
        from llmspell_bridge._lua_state import LuaState

        return LuaState(
            self._services,
            self._module(),
            limits(self._services.config),
            editor=self._editor,
            output=output,
            input=input,
        )
