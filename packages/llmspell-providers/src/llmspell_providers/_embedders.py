"""The embedders of retrieval that ask a provider."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmspell_core import (
    ConfigurationError,
    Embedder,
    EmbeddingRequest,
    ProviderError,
    ValidationError,
)

if TYPE_CHECKING:
    from llmspell_core import ExecutionContext, Services


@dataclass(frozen=True, slots=True)
class Model:
    """An embedding model: how long its vectors are, and whether it can make shorter ones."""

    dimensions: int
    shortens: bool = False


MODELS: dict[str, dict[str, Model]] = {
    # The first of each is asked when nobody names one.
    "cohere": {
        "embed-v4.0": Model(1536, shortens=True),
        "embed-english-v3.0": Model(1024),
        "embed-multilingual-v3.0": Model(1024),
    },
    "gemini": {"gemini-embedding-001": Model(3072, shortens=True)},
    "mistral": {"mistral-embed": Model(1024), "codestral-embed": Model(1536, shortens=True)},
    "ollama": {
        "nomic-embed-text": Model(768),
        "all-minilm": Model(384),
        "mxbai-embed-large": Model(1024),
        "bge-m3": Model(1024),
    },
    "openai": {
        "text-embedding-3-small": Model(1536, shortens=True),
        "text-embedding-3-large": Model(3072, shortens=True),
        "text-embedding-ada-002": Model(1536),
    },
    "together": {
        "intfloat/multilingual-e5-large-instruct": Model(1024),
        "BAAI/bge-base-en-v1.5": Model(768),
        "BAAI/bge-large-en-v1.5": Model(1024),
    },
}
"""Published lengths, by provider and model."""


class ProviderEmbedder(Embedder):
    """Asks the provider *name* for vectors, and makes their length one.

    The model is ``rag.embedding.model`` if this is the configured embedder, else
    ``providers.NAME.embedding_model``, else the provider's usual one. `dimensions` is
    ``rag.vector_storage.dimensions`` where that was set, else as the model makes them; a model
    that can make shorter vectors is asked for them.

    Raises:
        ConfigurationError: for a model whose vectors have another length or, while none was set,
            one that is not known.
    """

    def __init__(self, services: Services, name: str) -> None:
        self.name = name
        self._services = services
        self._model = _model_name(services, name)
        known = MODELS[name].get(self._model.partition(":")[0])
        wanted: Any = services.config.get("rag.vector_storage.dimensions")
        if wanted is None and known is None:
            raise ConfigurationError(
                f"how long the vectors of '{name}/{self._model}' are is not known",
                hint="Set rag.vector_storage.dimensions.",
            )
        native = None if known is None else known.dimensions
        self.dimensions: int = native if wanted is None else int(wanted)  # type: ignore[assignment]
        self._ask: int | None = None
        if known is not None and self.dimensions != known.dimensions:
            if not known.shortens or self.dimensions > known.dimensions:
                raise self._mismatch(known.dimensions)
            self._ask = self.dimensions

    def _mismatch(self, found: int) -> ConfigurationError:
        return ConfigurationError(
            f"'{self.name}/{self._model}' makes vectors of {found} numbers, "
            f"not of {self.dimensions}",
            hint=f"Set rag.vector_storage.dimensions to {found}, or choose another "
            "rag.embedding.model.",
        )

    async def embed(
        self, texts: Sequence[str], context: ExecutionContext
    ) -> Sequence[Sequence[float]]:
        """One vector for each text. Raises as `Provider.embed`."""
        if not all(texts):
            raise ValidationError("an empty text cannot be embedded", field="texts")
        if not texts:
            return []
        provider, model = self._services.providers.resolve(self._model, provider=self.name)
        response = await provider.embed(EmbeddingRequest(model, tuple(texts), self._ask), context)
        if len(response.vectors) != len(texts):
            raise ProviderError(
                f"'{self.name}' gave {len(response.vectors)} vectors for {len(texts)} texts",
                provider=self.name,
                kind="protocol",
            )
        return [self._normal(vector) for vector in response.vectors]

    def _normal(self, vector: Sequence[float]) -> list[float]:
        if len(vector) != self.dimensions:
            raise self._mismatch(len(vector))
        length = math.sqrt(math.fsum(number * number for number in vector))
        if not 0.0 < length < math.inf:
            raise ProviderError(
                f"'{self.name}' gave a vector without a direction",
                provider=self.name,
                kind="protocol",
            )
        return [number / length for number in vector]


def _model_name(services: Services, name: str) -> str:
    """The model to ask the provider *name* for."""
    config = services.config
    told: Any = None
    if name in (config.get("rag.embedding.default_provider"), config.get("rag.embedding.provider")):
        told = config.get("rag.embedding.model")
    told = told or config.get(f"providers.{name}.embedding_model")
    if told is not None and not isinstance(told, str):
        raise ConfigurationError(f"the embedding model of '{name}' must be a name")
    return told or next(iter(MODELS[name]))


def open_embedder(
    services: Services, *, name: str, dimensions: int | None = None
) -> ProviderEmbedder:
    """The factory of all entries of `MODELS` in the group ``llmspell.embedders``.

    *dimensions* is not looked at: whether it was set or only left as it is cannot be seen there,
    and a provider's models have lengths of their own.
    """
    return ProviderEmbedder(services, name)
