"""Utility tools: calculator, dates, digests, identifiers."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_tools.utility._calculator import Calculator as Calculator
    from llmspell_tools.utility._date_time_handler import DateTimeHandler as DateTimeHandler
    from llmspell_tools.utility._hash_calculator import HashCalculator as HashCalculator
    from llmspell_tools.utility._uuid_generator import UuidGenerator as UuidGenerator

__all__ = ["Calculator", "DateTimeHandler", "HashCalculator", "UuidGenerator"]

_HOMES = {
    "Calculator": "_calculator",
    "DateTimeHandler": "_date_time_handler",
    "HashCalculator": "_hash_calculator",
    "UuidGenerator": "_uuid_generator",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
