"""Model providers for LLMSpell over httpx.

Names load on first use; httpx is imported by the first call that needs it.
"""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_providers._anthropic import AnthropicProvider as AnthropicProvider
    from llmspell_providers._face import ProviderGlobal as ProviderGlobal
    from llmspell_providers._failures import ContextLengthError as ContextLengthError
    from llmspell_providers._failures import MissingKeyError as MissingKeyError
    from llmspell_providers._model_text import ModelText as ModelText
    from llmspell_providers._openai import OpenAIProvider as OpenAIProvider
    from llmspell_providers._registry import ProviderService as ProviderService

__all__ = [
    "AnthropicProvider",
    "ContextLengthError",
    "MissingKeyError",
    "ModelText",
    "OpenAIProvider",
    "ProviderGlobal",
    "ProviderService",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AnthropicProvider": "_anthropic",
        "ContextLengthError": "_failures",
        "MissingKeyError": "_failures",
        "ModelText": "_model_text",
        "OpenAIProvider": "_openai",
        "ProviderGlobal": "_face",
        "ProviderService": "_registry",
    },
)
