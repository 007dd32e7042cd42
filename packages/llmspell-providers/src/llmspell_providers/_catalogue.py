"""What is known about model vendors before any is asked: names, keys, addresses, sizes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider type of the catalogue.

    `compatible` says that it speaks the OpenAI protocol, so that a configured address is all it
    takes. A `double` only pretends to be a model and is never chosen unasked.
    """

    label: str
    key_variable: str | None = None
    base_url: str | None = None
    url_variable: str | None = None
    default_model: str | None = None
    models: tuple[str, ...] = ()
    compatible: bool = True
    double: bool = False


VENDORS: dict[str, Vendor] = {
    "openai": Vendor(
        "OpenAI",
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        "OPENAI_BASE_URL",
        "gpt-3.5-turbo",
        ("gpt-3.5-turbo", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini"),
    ),
    "anthropic": Vendor(
        "Anthropic",
        "ANTHROPIC_API_KEY",
        "https://api.anthropic.com",
        "ANTHROPIC_BASE_URL",
        "claude-haiku-5-5",
        ("claude-haiku-4-5", "claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5"),
        compatible=False,
    ),
    "azure": Vendor("Azure OpenAI", "AZURE_OPENAI_API_KEY", compatible=False),
    "cohere": Vendor(
        "Cohere", "COHERE_API_KEY", "https://api.cohere.com", "COHERE_BASE_URL", compatible=False
    ),
    "fireworks": Vendor("Fireworks", "FIREWORKS_API_KEY"),
    "gemini": Vendor(
        "Gemini",
        "GEMINI_API_KEY",
        "https://generativelanguage.googleapis.com",
        "GEMINI_BASE_URL",
        compatible=False,
    ),
    "groq": Vendor("Groq", "GROQ_API_KEY"),
    "mistral": Vendor("Mistral", "MISTRAL_API_KEY"),
    "ollama": Vendor("Ollama", None, "http://localhost:11434", "OLLAMA_BASE_URL", compatible=False),
    "openrouter": Vendor("OpenRouter", "OPENROUTER_API_KEY"),
    "perplexity": Vendor("Perplexity", "PERPLEXITY_API_KEY"),
    "replicate": Vendor(
        "Replicate",
        "REPLICATE_API_TOKEN",
        "https://api.replicate.com",
        "REPLICATE_BASE_URL",
        compatible=False,
    ),
    "together": Vendor("Together", "TOGETHER_API_KEY"),
    "echo": Vendor("Echo", default_model="echo", models=("echo",), compatible=False, double=True),
    "mock": Vendor("Mock", default_model="mock-model", compatible=False, double=True),
}

COMPATIBLE_WORDS = frozenset({"custom", "openai-compatible", "openai_compatible"})
"""Provider types that mean: the OpenAI protocol at the configured address."""

_CONTEXT = {
    "anthropic": (
        ("claude-2", 100_000),
        ("claude-opus-4-6", 1_000_000),
        ("claude-opus-4-7", 1_000_000),
        ("claude-opus-4-8", 1_000_000),
        ("claude-sonnet-4-6", 1_000_000),
        ("claude-fable-", 1_000_000),
        ("claude-haiku-5", 1_000_000),
        ("claude-mythos-", 1_000_000),
        ("claude-opus-5", 1_000_000),
        ("claude-sonnet-5", 1_000_000),
        ("claude-", 200_000),
        ("", 100_000),
    ),
    "gemini": (("", 1_048_576),),
    "ollama": (("", 8_192),),
    "openai": (
        ("gpt-4.1", 1_047_576),
        ("gpt-4", 128_000),
        ("gpt-3.5-turbo", 16_384),
        ("", 8_192),
    ),
}


def max_context_tokens(provider_type: str, model: str | None) -> int:
    """The context window, by the longest known beginning of the model's name."""
    for beginning, tokens in _CONTEXT.get(provider_type, ()):
        if (model or "").startswith(beginning):
            return tokens
    return 4_096
