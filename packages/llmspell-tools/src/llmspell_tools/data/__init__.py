"""Data tools: JSON."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tools.data._json_processor import JsonProcessor as JsonProcessor

__all__ = ["JsonProcessor"]

_HOMES = {"JsonProcessor": "_json_processor"}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
