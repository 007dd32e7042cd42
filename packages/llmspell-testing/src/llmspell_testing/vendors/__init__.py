"""The protocols a `ModelServer` speaks, a module each; `Vendor` is what they have in common."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_testing.vendors._anthropic import Anthropic as Anthropic
    from llmspell_testing.vendors._openai import OpenAI as OpenAI
    from llmspell_testing.vendors._shapes import Shape as Shape
    from llmspell_testing.vendors._shapes import ShapeError as ShapeError
    from llmspell_testing.vendors._shapes import check as check
    from llmspell_testing.vendors._vendor import Call as Call
    from llmspell_testing.vendors._vendor import Fault as Fault
    from llmspell_testing.vendors._vendor import Frame as Frame
    from llmspell_testing.vendors._vendor import Limits as Limits
    from llmspell_testing.vendors._vendor import Refusal as Refusal
    from llmspell_testing.vendors._vendor import Vendor as Vendor

__all__ = [
    "Anthropic",
    "Call",
    "Fault",
    "Frame",
    "Limits",
    "OpenAI",
    "Refusal",
    "Shape",
    "ShapeError",
    "Vendor",
    "check",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Anthropic": "_anthropic",
        "Call": "_vendor",
        "Fault": "_vendor",
        "Frame": "_vendor",
        "Limits": "_vendor",
        "OpenAI": "_openai",
        "Refusal": "_vendor",
        "Shape": "_shapes",
        "ShapeError": "_shapes",
        "Vendor": "_vendor",
        "check": "_shapes",
    },
)
