"""Model providers for LLMSpell over httpx.

Names load on first use; httpx is imported by the first call that needs it.
"""

from typing import TYPE_CHECKING

from llmspell_core import lazy_exports

if TYPE_CHECKING:
    from llmspell_providers._anthropic import AnthropicProvider as AnthropicProvider
    from llmspell_providers._azure import AzureProvider as AzureProvider
    from llmspell_providers._breaker import CircuitOpenError as CircuitOpenError
    from llmspell_providers._cohere import CohereProvider as CohereProvider
    from llmspell_providers._embedders import open_embedder as open_embedder
    from llmspell_providers._face import ProviderGlobal as ProviderGlobal
    from llmspell_providers._failures import ContextLengthError as ContextLengthError
    from llmspell_providers._failures import MissingKeyError as MissingKeyError
    from llmspell_providers._gemini import GeminiProvider as GeminiProvider
    from llmspell_providers._model_text import ModelText as ModelText
    from llmspell_providers._ollama import OllamaProvider as OllamaProvider
    from llmspell_providers._openai import OpenAIProvider as OpenAIProvider
    from llmspell_providers._registry import ProviderService as ProviderService
    from llmspell_providers._replicate import ReplicateProvider as ReplicateProvider

__all__ = [
    "AnthropicProvider",
    "AzureProvider",
    "CircuitOpenError",
    "CohereProvider",
    "ContextLengthError",
    "GeminiProvider",
    "MissingKeyError",
    "ModelText",
    "OllamaProvider",
    "OpenAIProvider",
    "ProviderGlobal",
    "ProviderService",
    "ReplicateProvider",
    "open_embedder",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "AnthropicProvider": "_anthropic",
        "AzureProvider": "_azure",
        "CircuitOpenError": "_breaker",
        "CohereProvider": "_cohere",
        "ContextLengthError": "_failures",
        "GeminiProvider": "_gemini",
        "MissingKeyError": "_failures",
        "ModelText": "_model_text",
        "OllamaProvider": "_ollama",
        "OpenAIProvider": "_openai",
        "ProviderGlobal": "_face",
        "ProviderService": "_registry",
        "ReplicateProvider": "_replicate",
        "open_embedder": "_embedders",
    },
)
