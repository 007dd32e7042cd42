"""Functions of a script in the hands of Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmspell_bridge._conversion import LuaFunctionBase
from llmspell_bridge._portal import Callback
from llmspell_core import ExecutionCancelled, ExecutionContext

if TYPE_CHECKING:
    from llmspell_bridge._lua_state import LuaState


class LuaFunction(LuaFunctionBase):
    """A Lua function; two of the same function are equal."""

    __slots__ = ("_state", "_where", "identity")

    def __init__(self, state: LuaState, identity: int, where: str) -> None:
        self._state = state
        self._where = where
        self.identity = identity
        state.hold(identity)

    @property
    def where(self) -> str:
        """``file:line`` of its definition."""
        return self._where

    def __repr__(self) -> str:
        return f"<Lua function {self._where}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, LuaFunction)
            and other.identity == self.identity
            and other._state is self._state
        )

    def __hash__(self) -> int:
        return hash((id(self._state), self.identity))

    def __del__(self) -> None:
        self._state.let_go(self.identity)

    async def __call__(self, *args: Any, context: ExecutionContext | None = None) -> Any:
        """Call it from the event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        item = Callback(self.identity, args, context, loop, loop.create_future())
        self._state.post(item)
        ends = [] if context is None else self._limits(item, context, loop)
        try:
            return await item.future
        except asyncio.CancelledError:
            self._state.abort(item, ExecutionCancelled("the callback was cancelled"))
            raise
        finally:
            for end in ends:
                end()

    def _limits(self, item: Callback, context: ExecutionContext, loop: Any) -> list[Any]:
        """Let the context's own deadline and cancel signal reach the callback."""
        ends: list[Any] = []
        run = self._state.run_context
        if run is None or context.cancel is not run.cancel:
            ends.append(
                context.cancel.subscribe(
                    lambda reason: self._state.abort(item, ExecutionCancelled(reason))
                )
            )
        if run is None or context.deadline is not run.deadline:
            remaining = context.deadline.remaining()
            if remaining is not None:
                from llmspell_bridge._execution import timed_out

                handle = loop.call_later(
                    remaining, lambda: self._state.abort(item, timed_out(context))
                )
                ends.append(handle.cancel)
        return ends

    def call(self, *args: Any) -> Any:
        """Call it in place, on the script's thread."""
        return self._state.call_now(self.identity, args)
