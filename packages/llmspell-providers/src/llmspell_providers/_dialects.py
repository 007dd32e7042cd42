"""How the servers that speak OpenAI's protocol differ from OpenAI: what each takes and tells.

One row a vendor; whoever adds one adds a row here, one in `_catalogue` and an entry point.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One vendor's way of speaking.

    Args:
        limit: The field for the longest answer.
        new_limit: OpenAI's newer models take ``max_completion_tokens`` instead.
        streams_usage: Streams take ``stream_options``; without it they tell the usage unasked.
        any_tool: The word of ``tool_choice`` for "one of them".
        seed: The field for a seed; None where there is none.
        names: Messages may have a ``name``.
        schemas: ``response_format`` may be a JSON Schema. Without it the schema is told in words
            and any JSON object asked for.
        objects: ``response_format`` may be ``json_object``.
        tools: Models may be given tools.
        images: Messages may have pictures.
        stops: Requests may have ``stop``.
        call_id: The ids of tool calls must have nine letters and digits.
        reasoning_back: The field in which the reasoning of earlier answers wants to come back.
        reasoning_on_top: Reasoning tokens are not part of the completion tokens.
        models: The path that lists models; None where the vendor does not.
        checked: A path that needs the key, where listing models does not.
        responses: There is a Responses API.
        embeddings: There are embeddings.
        dimensions: The field for shorter vectors; None where there is none.
        batch: The most texts of one embeddings request.
    """

    limit: str = "max_tokens"
    new_limit: bool = False
    streams_usage: bool = True
    any_tool: str = "required"
    seed: str | None = "seed"
    names: bool = True
    schemas: bool = True
    objects: bool = True
    tools: bool = True
    images: bool = True
    stops: bool = True
    call_id: bool = False
    reasoning_back: str | None = None
    reasoning_on_top: bool = False
    models: str | None = "/models"
    checked: str | None = None
    responses: bool = False
    embeddings: bool = True
    dimensions: str | None = "dimensions"
    batch: int = 256


_OPENAI = Dialect(new_limit=True, responses=True, batch=2048)

GENERIC = Dialect(responses=True)
"""A server of the user's own, of which nothing is known: it is asked what it was told to be."""

DIALECTS: dict[str, Dialect] = {
    # https://platform.openai.com/docs/api-reference
    "openai": _OPENAI,
    # https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle
    "azure": _OPENAI,
    # https://api-docs.deepseek.com/guides/thinking_mode: an answer with tool calls must come
    # back with its reasoning.
    "deepseek": Dialect(
        schemas=False, images=False, seed=None, reasoning_back="reasoning_content", embeddings=False
    ),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility
    "fireworks": Dialect(streams_usage=False, reasoning_back="reasoning_content", responses=True),
    # https://console.groq.com/docs/openai: streams tell the usage in ``x_groq``.
    "groq": Dialect(
        limit="max_completion_tokens",
        streams_usage=False,
        names=False,
        responses=True,
        embeddings=False,
    ),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
    "llama_cpp": Dialect(dimensions=None, responses=True),
    # https://lmstudio.ai/docs/developer/openai-compat
    "lmstudio": Dialect(dimensions=None, objects=False, responses=True),
    # https://docs.mistral.ai/api/endpoint/chat: unknown fields are refused.
    "mistral": Dialect(
        streams_usage=False,
        any_tool="any",
        seed="random_seed",
        names=False,
        call_id=True,
        dimensions="output_dimension",
        batch=128,
    ),
    # https://openrouter.ai/docs/api-reference: anybody may list the models.
    "openrouter": Dialect(reasoning_back="reasoning_details", checked="/key", responses=True),
    # https://docs.perplexity.ai/docs/sonar/openai-compatibility
    "perplexity": Dialect(
        streams_usage=False,
        seed=None,
        names=False,
        objects=False,
        tools=False,
        stops=False,
        models=None,
        embeddings=False,
    ),
    # https://docs.together.ai/reference/chat-completions
    "together": Dialect(streams_usage=False, dimensions=None, responses=True),
    # https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
    "vllm": Dialect(responses=True),
    # https://docs.x.ai/docs/api-reference
    "xai": Dialect(
        limit="max_completion_tokens",
        reasoning_on_top=True,
        responses=True,
        embeddings=False,
    ),
}


def dialect_of(provider_type: str) -> Dialect:
    """The dialect of a provider type."""
    return DIALECTS.get(provider_type, GENERIC)
