"""A global that calls functions in contexts of their own, and tells where calls come from."""

import asyncio
from typing import Any

from llmspell_core import ExecutionContext, ScriptFunction, exposed, script_global


@script_global("Places")
class Places:
    """Calls functions in contexts of their own, and tells where calls come from."""

    def __init__(self, host: Any) -> None:
        self._host = host

    @exposed()
    async def each(self, functions: list[Any]) -> list[str]:
        """Call them at once, each in a context of its own."""

        async def call(at: int, function: ScriptFunction) -> str:
            context: ExecutionContext = self._host.context.child(path=f"/place{at}")
            return await function(context=context)

        return await asyncio.gather(*(call(at, f) for at, f in enumerate(functions)))

    @exposed(async_twin=True)
    async def here(self, turns: int = 0) -> str:
        """Where the call comes from, looked at after others had their turn."""
        seen = {self._host.context.path}
        for _ in range(turns):
            await asyncio.sleep(0)
            seen.add(self._host.context.path)
        return ",".join(sorted(seen))

    @exposed()
    def at_once(self) -> str:
        """The same, without waiting."""
        return self._host.context.path
