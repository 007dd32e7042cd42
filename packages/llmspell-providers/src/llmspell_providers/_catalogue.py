"""What is known about model vendors before any is asked: names, keys, addresses, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider type of the catalogue.

    Args:
        label: What people call it.
        key_variable: The environment variable that usually holds its key; None where none is
            needed.
        base_url: Its address; None where there is none that serves everybody.
        url_variable: The environment variable that says another address.
        default_model: Asked when nobody names one.
        models: Some that it has; its own list is longer.
        compatible: It speaks the OpenAI protocol, so that a configured address is all it takes.
        double: It only pretends to be a model, and is never chosen unasked.
        description: What it is, in a few words.
        category: ``cloud`` or ``local``.
        multimodal: Some of its models take pictures.
        tools: Its models can be given tools.
        features: What it is chosen for.
        other_keys: More variables that may hold the key.
        other_urls: More variables that may say an address.
    """

    label: str
    key_variable: str | None = None
    base_url: str | None = None
    url_variable: str | None = None
    default_model: str | None = None
    models: tuple[str, ...] = ()
    compatible: bool = True
    double: bool = False
    description: str = ""
    category: Literal["cloud", "local"] = "cloud"
    multimodal: bool = False
    tools: bool = True
    features: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()
    other_urls: tuple[str, ...] = ()


VENDORS: dict[str, Vendor] = {
    "openai": Vendor(
        "OpenAI",
        "OPENAI_API_KEY",
        "https://api.openai.com/v1",
        "OPENAI_BASE_URL",
        "gpt-3.5-turbo",
        ("gpt-3.5-turbo", "gpt-4", "gpt-4-turbo", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini"),
        description="GPT models",
        multimodal=True,
        features=("function_calling", "json_mode", "vision", "embeddings"),
    ),
    "anthropic": Vendor(
        "Anthropic",
        "ANTHROPIC_API_KEY",
        "https://api.anthropic.com",
        "ANTHROPIC_BASE_URL",
        "claude-haiku-5-5",
        ("claude-haiku-4-5", "claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5"),
        compatible=False,
        description="Claude models",
        multimodal=True,
        features=("large_context", "vision", "artifacts", "prompt_caching"),
    ),
    "azure": Vendor(
        "Azure OpenAI",
        "AZURE_OPENAI_API_KEY",
        None,
        "AZURE_OPENAI_ENDPOINT",
        description="OpenAI's models in an Azure resource of one's own",
        multimodal=True,
        features=("function_calling", "json_mode", "vision", "embeddings"),
    ),
    "cohere": Vendor(
        "Cohere",
        "COHERE_API_KEY",
        "https://api.cohere.com",
        "COHERE_BASE_URL",
        models=("command-a-03-2025", "command-r-08-2024", "command-r7b-12-2024"),
        compatible=False,
        description="Command models, made for retrieval",
        features=("retrieval_augmented", "search", "embeddings"),
    ),
    "custom": Vendor("Custom", description="any server that speaks the OpenAI protocol"),
    "deepseek": Vendor(
        "DeepSeek",
        "DEEPSEEK_API_KEY",
        "https://api.deepseek.com",
        "DEEPSEEK_BASE_URL",
        models=("deepseek-flash", "deepseek-v4-pro"),
        description="DeepSeek models, which show their thinking",
        features=("function_calling", "json_mode", "reasoning"),
    ),
    "fireworks": Vendor(
        "Fireworks",
        "FIREWORKS_API_KEY",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_BASE_URL",
        models=(
            "accounts/fireworks/models/llama-v3-70b-instruct",
            "accounts/fireworks/models/mixtral-8x7b-instruct",
        ),
        description="open models, served fast",
        features=("fast_inference", "serverless", "embeddings"),
    ),
    "gemini": Vendor(
        "Gemini",
        "GEMINI_API_KEY",
        "https://generativelanguage.googleapis.com",
        "GEMINI_BASE_URL",
        models=("gemini-2.5-flash", "gemini-2.5-pro", "gemini-3.8-flash"),
        compatible=False,
        description="Google's Gemini models",
        multimodal=True,
        features=("multimodal", "long_context", "vision", "embeddings"),
        other_keys=("GOOGLE_API_KEY",),
    ),
    "groq": Vendor(
        "Groq",
        "GROQ_API_KEY",
        "https://api.groq.com/openai/v1",
        "GROQ_BASE_URL",
        models=("llama-3.1-8b-instant", "llama-3.3-70b-versatile"),
        description="open models on Groq's own chips",
        features=("ultra_fast_inference", "low_latency"),
    ),
    "llama_cpp": Vendor(
        "llama.cpp",
        None,
        "http://localhost:8080/v1",
        "LLAMA_CPP_URL",
        description="a llama-server of one's own",
        category="local",
        features=("local", "embeddings"),
    ),
    "lmstudio": Vendor(
        "LM Studio",
        None,
        "http://localhost:1234/v1",
        "LMSTUDIO_BASE_URL",
        description="models in LM Studio on this machine",
        category="local",
        features=("local", "embeddings"),
    ),
    "mistral": Vendor(
        "Mistral",
        "MISTRAL_API_KEY",
        "https://api.mistral.ai/v1",
        "MISTRAL_BASE_URL",
        models=("mistral-large-latest", "mistral-medium-latest", "mistral-small-latest"),
        description="Mistral's models, hosted in Europe",
        features=("efficient_inference", "multilingual", "embeddings"),
    ),
    "ollama": Vendor(
        "Ollama",
        None,
        "http://localhost:11434",
        "OLLAMA_BASE_URL",
        compatible=False,
        description="models in Ollama on this machine",
        category="local",
        multimodal=True,
        features=("local", "embeddings"),
        other_urls=("OLLAMA_HOST",),
    ),
    "openrouter": Vendor(
        "OpenRouter",
        "OPENROUTER_API_KEY",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_BASE_URL",
        description="the models of many vendors behind one key",
        multimodal=True,
        features=("many_models", "cost_reporting", "embeddings"),
    ),
    "perplexity": Vendor(
        "Perplexity",
        "PERPLEXITY_API_KEY",
        "https://api.perplexity.ai",
        "PERPLEXITY_BASE_URL",
        models=("sonar", "sonar-deep-research", "sonar-pro", "sonar-reasoning-pro"),
        description="answers from the web, with their sources",
        tools=False,
        features=("web_search", "real_time_data", "citations"),
    ),
    "replicate": Vendor(
        "Replicate",
        "REPLICATE_API_TOKEN",
        "https://api.replicate.com",
        "REPLICATE_BASE_URL",
        compatible=False,
        description="models that people published",
        multimodal=True,
        features=("model_zoo", "custom_deployments", "webhooks"),
    ),
    "together": Vendor(
        "Together",
        "TOGETHER_API_KEY",
        "https://api.together.xyz/v1",
        "TOGETHER_BASE_URL",
        models=("meta-llama/Llama-3-70b-chat-hf", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
        description="open models",
        features=("open_source_models", "custom_models", "embeddings"),
    ),
    "vllm": Vendor(
        "vLLM",
        None,
        "http://localhost:8000/v1",
        "VLLM_BASE_URL",
        description="a vLLM server of one's own",
        category="local",
        features=("local", "embeddings"),
    ),
    "xai": Vendor(
        "xAI",
        "XAI_API_KEY",
        "https://api.x.ai/v1",
        "XAI_BASE_URL",
        models=("grok-4.3", "grok-latest"),
        description="Grok models",
        multimodal=True,
        features=("function_calling", "json_mode", "vision", "citations"),
    ),
    "echo": Vendor(
        "Echo",
        default_model="echo",
        models=("echo",),
        compatible=False,
        double=True,
        description="repeats what it is told; no model",
        category="local",
    ),
    "mock": Vendor(
        "Mock",
        default_model="mock-model",
        compatible=False,
        double=True,
        description="the same as echo",
        category="local",
    ),
}

COMPATIBLE_WORDS = frozenset({"custom", "openai-compatible", "openai_compatible"})
"""Provider types that mean: the OpenAI protocol at the configured address."""

_OTHER_NAMES = {
    "azure-openai": "azure",
    "azure_openai": "azure",
    "google": "gemini",
    "grok": "xai",
    "llama.cpp": "llama_cpp",
    "llamacpp": "llama_cpp",
    "lm-studio": "lmstudio",
    "lm_studio": "lmstudio",
    "local": "llama_cpp",
}


def canonical(provider_type: str) -> str:
    """The name under which a provider type is known here."""
    return _OTHER_NAMES.get(provider_type, provider_type)


def vendor_of(provider_type: str) -> Vendor:
    """The row of a provider type; one that nobody knows is a server of the user's own."""
    return VENDORS.get(canonical(provider_type)) or VENDORS["custom"]


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
    "cohere": (
        ("command-a-reasoning", 256_000),
        ("command-a-vision", 128_000),
        ("command-a", 256_000),
        ("command-r", 128_000),
    ),
    "gemini": (("gemini-pro", 32_768), ("gemini-", 1_048_576), ("", 1_048_576)),
    "ollama": (("", 8_192),),
    "openai": (
        ("gpt-3.5-turbo", 16_384),
        ("gpt-4.1", 1_047_576),
        ("gpt-4", 128_000),
        ("gpt-5-chat", 128_000),
        ("gpt-5", 400_000),
        ("o1", 200_000),
        ("o3", 200_000),
        ("o4", 200_000),
        ("", 8_192),
    ),
    "perplexity": (("sonar-pro", 200_000), ("sonar", 128_000)),
}


def known_window(provider_type: str, model: str | None) -> int | None:
    """The context window of *model*, as far as it is known by its name."""
    for beginning, tokens in _CONTEXT.get(canonical(provider_type), ()):
        if beginning and (model or "").startswith(beginning):
            return tokens
    return None


def max_context_tokens(provider_type: str, model: str | None) -> int:
    """The context window that is told of *model*: by the longest known beginning of its name,
    else what the vendor's smallest have.
    """
    for beginning, tokens in _CONTEXT.get(canonical(provider_type), ()):
        if (model or "").startswith(beginning):
            return tokens
    return 4_096
