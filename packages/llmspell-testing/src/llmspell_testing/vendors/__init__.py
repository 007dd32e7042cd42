"""The protocols a `ModelServer` speaks, a module each; `Vendor` is what they have in common."""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_testing.vendors._anthropic import Anthropic as Anthropic
    from llmspell_testing.vendors._cohere import Cohere as Cohere
    from llmspell_testing.vendors._gemini import Gemini as Gemini
    from llmspell_testing.vendors._ollama import Ollama as Ollama
    from llmspell_testing.vendors._openai import OpenAI as OpenAI
    from llmspell_testing.vendors._replicate import Replicate as Replicate
    from llmspell_testing.vendors._shapes import Shape as Shape
    from llmspell_testing.vendors._shapes import ShapeError as ShapeError
    from llmspell_testing.vendors._shapes import check as check
    from llmspell_testing.vendors._vendor import Call as Call
    from llmspell_testing.vendors._vendor import Fault as Fault
    from llmspell_testing.vendors._vendor import Frame as Frame
    from llmspell_testing.vendors._vendor import Limits as Limits
    from llmspell_testing.vendors._vendor import Refusal as Refusal
    from llmspell_testing.vendors._vendor import Vendor as Vendor
    from llmspell_testing.vendors._vendor import vector_of as vector_of

__all__ = [
    "Anthropic",
    "Call",
    "Cohere",
    "Fault",
    "Frame",
    "Gemini",
    "Limits",
    "Ollama",
    "OpenAI",
    "Refusal",
    "Replicate",
    "Shape",
    "ShapeError",
    "Vendor",
    "check",
    "vector_of",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "Anthropic": "_anthropic",
        "Call": "_vendor",
        "Cohere": "_cohere",
        "Fault": "_vendor",
        "Frame": "_vendor",
        "Gemini": "_gemini",
        "Limits": "_vendor",
        "Ollama": "_ollama",
        "OpenAI": "_openai",
        "Refusal": "_vendor",
        "Replicate": "_replicate",
        "Shape": "_shapes",
        "ShapeError": "_shapes",
        "Vendor": "_vendor",
        "check": "_shapes",
        "vector_of": "_vendor",
    },
)
