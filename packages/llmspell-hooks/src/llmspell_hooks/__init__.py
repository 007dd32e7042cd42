"""LLMSpell hook points and their executor."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_hooks._points import POINTS as POINTS
    from llmspell_hooks._points import resolve_point as resolve_point
    from llmspell_hooks._service import HookInfo as HookInfo
    from llmspell_hooks._service import HookService as HookService

__all__ = ["POINTS", "HookInfo", "HookService", "resolve_point"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "HookInfo": "_service",
        "HookService": "_service",
        "POINTS": "_points",
        "resolve_point": "_points",
    },
)
