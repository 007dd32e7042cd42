"""The base of model providers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from llmspell_core._chat import (
    ChatChunk,
    ChatRequest,
    ChatResponse,
    EmbeddingRequest,
    EmbeddingResponse,
)
from llmspell_core._errors import ProviderError

if TYPE_CHECKING:
    from llmspell_core._context import ExecutionContext
    from llmspell_core._services import Services


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """A provider as scripts and commands list it. `available`: enabled, and its key is known.

    `circuit` is ``closed`` while it is asked as usual, ``open`` while calls fail at once because
    it failed too often, ``half-open`` while a few are let through to see whether it is back.
    """

    name: str
    provider_type: str
    enabled: bool = True
    available: bool = True
    default_model: str | None = None
    base_url: str | None = None
    supports_streaming: bool = True
    supports_multimodal: bool = False
    supports_tools: bool = True
    max_context_tokens: int | None = None
    max_output_tokens: int | None = None
    models: tuple[str, ...] = ()
    circuit: str = "closed"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as its provider lists it; what the provider does not say is None."""

    id: str
    context_tokens: int | None = None
    output_tokens: int | None = None
    owner: str | None = None
    created: float | None = None


class Provider(ABC):
    """A model back end, configured: knows its URL and key, keeps its connections.

    Subclasses write `stream`; `chat` collects it, unless the back end has a better way.
    """

    name: str

    @abstractmethod
    def stream(self, request: ChatRequest, context: ExecutionContext) -> AsyncIterator[ChatChunk]:
        """Ask, and yield text deltas as they arrive, then one chunk with the whole response.

        Raises:
            ProviderError, NetworkError, RateLimitError, LLMTimeoutError, ConfigurationError:
                never an answer that only looks like one.
        """

    async def chat(self, request: ChatRequest, context: ExecutionContext) -> ChatResponse:
        """Ask and wait for the whole answer. Raises as `stream`."""
        async for chunk in self.stream(request, context):
            if chunk.response is not None:
                return chunk.response
        raise ProviderError(
            f"{self.name} ended its answer without completing it",
            provider=self.name,
            kind="protocol",
        )

    async def embed(
        self, request: EmbeddingRequest, context: ExecutionContext
    ) -> EmbeddingResponse:
        """Turn texts into vectors. Raises as `stream`, and `ProviderError` of kind
        ``unsupported`` where the back end has no such models.
        """
        raise ProviderError(
            f"embeddings not implemented for provider '{self.name}'",
            provider=self.name,
            kind="unsupported",
        )

    async def models(self) -> list[ModelInfo]:
        """The models it offers, by id. Costs nothing at the vendor. Raises as `embed`."""
        raise ProviderError(
            f"{self.name} cannot list its models", provider=self.name, kind="unsupported"
        )

    async def check(self) -> None:
        """See that it can be reached and accepts the key, without paying: lists the models.

        Raises:
            ProviderError, NetworkError, LLMTimeoutError, ConfigurationError: why it cannot.
        """
        await self.models()

    def window(self, model: str) -> int | None:
        """How many tokens a prompt and its answer may have together for *model*, as far as that
        is known without asking; None when it is not.
        """
        return None

    async def aclose(self) -> None:
        """Close its connections."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """What a provider is built from. `options` are the keys nobody else understood.

    `heard`, where it is set, is to be called with the model's name and the headers of every
    answer (any case) as soon as they are there: vendors tell in them how much may still be asked.
    """

    name: str
    provider_type: str
    base_url: str | None = None
    api_key: str | None = None
    default_model: str | None = None
    timeout_seconds: float = 30.0
    max_retries: int = 3
    headers: dict[str, str] = field(default_factory=dict[str, str])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    heard: Callable[[str, Mapping[str, str]], None] | None = field(
        default=None, repr=False, compare=False
    )


class ProviderFactory(Protocol):
    """What the entry-point group ``llmspell.providers`` holds."""

    def __call__(self, settings: ProviderSettings, services: Services) -> Provider:
        """Make the provider; no I/O."""
        ...
