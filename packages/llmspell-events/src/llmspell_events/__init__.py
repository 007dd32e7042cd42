"""LLMSpell's in-process event bus."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_events._bus import BusService as BusService
    from llmspell_events._bus import BusStats as BusStats
    from llmspell_events._patterns import compile_pattern as compile_pattern

__all__ = ["BusService", "BusStats", "compile_pattern"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {"BusService": "_bus", "BusStats": "_bus", "compile_pattern": "_patterns"},
)
