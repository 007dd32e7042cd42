"""What the globals of a state reach of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llmspell_core import ExecutionContext, ScriptHost

if TYPE_CHECKING:
    from llmspell_bridge._log import ScriptLog
    from llmspell_bridge._lua_state import LuaState
    from llmspell_core import Services


class LuaHost(ScriptHost):
    """What script globals are made with."""

    log: ScriptLog
    """Set by `log_of`, when something is logged."""

    def __init__(self, state: LuaState) -> None:
        self._state = state

    def heap(self) -> tuple[int, int, int]:
        """Bytes the script uses, its limit, collections so far."""
        interpreter = self._state.interpreter
        assert interpreter is not None
        return interpreter.heap_bytes(), self._state.limits.memory_bytes, interpreter.collections

    @property
    def strict(self) -> bool:
        """Whether scripts have no standard library that reaches out of them."""
        return self._state.limits.level < 2

    @property
    def services(self) -> Services:
        """The services of the kernel."""
        return self._state.services

    @property
    def context(self) -> ExecutionContext:
        """The context of the task that runs."""
        return self._state.context()

    def write(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        """Emit output of the script."""
        self._state.output.write(stream, text.encode("utf-8", "surrogateescape"))
