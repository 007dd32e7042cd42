"""The global `Streaming`."""

from __future__ import annotations

from llmspell_core import ScriptHost, script_global


@script_global("Streaming")
class StreamingGlobal:
    """Streams of values: ``create(generator?)``, ``yield(value)``.

    A generator is a coroutine of the script language, so each engine brings these itself
    (``lua/natives.lua``).
    """

    def __init__(self, host: ScriptHost) -> None:
        self._host = host
